#!/usr/bin/env python3
"""Receipts: each charged tick stands in one, the chain goes on over connections, drains and kill -9, and `kamiyo verify` sees what is wrong.
See harness.py."""
import base64
import json
import signal
import subprocess
import tempfile
from decimal import Decimal

from harness import FEEDS, KAMIYO, SECONDS, TICK_USD, Daemon, Sim, run, until

BTC, SOL = FEEDS


def _receipts(w):
    return [e for e in w.other if e["type"] == "receipt"]


def _payload(frame):
    body = frame["sig"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def _verify(lines, key, code=0):
    """`kamiyo verify` of these frames or texts: (its answer, its errors)."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for line in lines:
            f.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
        f.flush()
        args = [KAMIYO, "verify", f.name, "--key", key]
        r = subprocess.run([*args, "--json"], capture_output=True, text=True, timeout=SECONDS)
        plain = subprocess.run(args, capture_output=True, text=True, timeout=SECONDS)
    assert r.returncode == plain.returncode == code, (r.returncode, r.stdout, plain.stderr)
    out = json.loads(r.stdout)
    assert out["ok"] == (code == 0), out
    return out, plain.stderr


def _url(d):
    return f"http://{d.public[0]}:{d.public[1]}/v1/keys"


def _ask(w, **more):
    w.send({"op": "receipt", "id": "r", **more})
    return w.next("receipts", id="r")["fresh"]


def _cover(w, receipts):
    """The receipts of one connection say exactly what it was sent."""
    for feed in {t["feed"] for t in w.ticks}:
        offsets = [t["offset"] for t in w.ticks if t["feed"] == feed]
        mine = [r for r in receipts if r["feed"] == feed]
        assert sum(r["ticks"] for r in mine) == len(offsets), (feed, mine, len(offsets))
        assert mine[0]["from"] == offsets[0] and mine[-1]["to"] == offsets[-1], (mine, offsets[0], offsets[-1])
        for a, b in zip(mine, mine[1:]):
            assert a["to"] < b["from"], (a, b)
    for r in receipts:
        assert Decimal(r["amount"]) == r["ticks"] * TICK_USD, r
        p = _payload(r)
        assert all(p[k] == r[k] for k in ("feed", "from", "to", "ticks", "amount", "seq", "prev")), (p, r)


def every_charged_tick_stands_in_one_receipt_over_connections_drains_and_restarts():
    with Sim(400) as sim, tempfile.TemporaryDirectory() as folder:
        data, lines, keys = folder + "/data", [], None
        ticks = {"local:a": 0, "local:b": 0}
        for life in range(2):
            d = Daemon(sim, data=data, shards__count=2, receipts__every="1s")
            keys = d.ask("GET", "/v1/keys").body.decode()
            conns = []
            for i in range(4):
                account = "local:a" if i % 2 else "local:b"
                w = d.ws(d.mint(account, "1"))
                w.subscribe(BTC, SOL, max_hz=0 if i < 3 else 20)
                w.paced = {BTC, SOL} if i == 3 else set()
                conns.append((account, w))
            for _, w in conns:
                w.count(50)
            first = conns[0][1]
            assert _ask(first) >= 1  # on request
            first.next("receipt")
            first.next("tick", feed=SOL)  # one that no receipt covers yet
            first.send({"op": "unsubscribe", "id": 2, "feeds": [SOL]})
            first.next("unsubscribed")
            last = first.at[SOL]
            while not any(r["feed"] == SOL and r["to"] == last for r in _receipts(first)):  # at a subscription's end
                first.next("receipt", feed=SOL)
            with_time = conns[1][1]
            with_time.next("receipt")  # and every second
            d.proc.send_signal(signal.SIGTERM)
            for account, w in conns:
                said, code = w.last_words()
                assert code == 1012 and any(e["type"] == "goaway" for e in said), (code, said[-1])
                _cover(w, _receipts(w))
                lines += _receipts(w)
                ticks[account] += len(w.ticks)
                w.drop()
            d.stop()
        with tempfile.NamedTemporaryFile("w") as key:
            key.write(keys)
            key.flush()
            out, _ = _verify(lines, key.name)
        for a in out["accounts"]:
            assert a["from_seq"] == 1 and a["receipts"] == a["to_seq"], a
            assert a["ticks"] == a["total_ticks"] == ticks[a["account"]], (a, ticks)
            assert Decimal(a["amount"]) == Decimal(a["total_amount"]) == a["ticks"] * TICK_USD, a
        assert sum(a["ticks"] for a in out["accounts"]) * TICK_USD == Decimal(d.audit()["consumed"])


def what_a_broken_connection_did_not_get_a_later_one_may_have():
    with Sim(200) as sim, Daemon(sim, lease__report_every="200ms") as d:
        token = d.mint("local:a", "1")
        w = d.ws(token)
        w.subscribe(BTC, SOL)
        w.count(50)
        w.drop()
        until(lambda: d.metrics()["receipt_total"] == 2, text="two subscriptions ended")
        w = d.ws(token)
        assert _ask(w, after=0) == 0
        w.next("receipt", seq=1)
        w.next("receipt", seq=2)
        consumed = sum(Decimal(r["amount"]) for r in _receipts(w))
        d.settled("local:a", consumed)  # what the connection never saw included
        out, _ = _verify(_receipts(w), _url(d))
        assert out["accounts"][0]["to_seq"] == 2, out
        # Known ones are not told again; and not more often than once a second.
        w.send({"op": "receipt", "id": 9, "after": 1})
        e = w.next("error", id=9)
        assert e["code"] == "limit_reached" and e["retry"] is True and e["retry_after_ms"] > 0, e
        w.send({"op": "receipt", "id": 10, "after": "1"})
        assert w.next("error", id=10)["code"] == "bad_request"
        w.close()
        other = d.ws(d.mint("local:b", "1"))
        assert _ask(other, after=0) == 0
        other.quiet()
        assert not _receipts(other), "nobody sees another account's"
        other.close()


def the_chain_goes_on_over_kill_9():
    with Sim(400) as sim, tempfile.TemporaryDirectory() as folder:
        lines = []
        for life in range(4):
            d = Daemon(sim, data=folder + "/data", lease__report_every="10ms")
            w = d.ws(d.mint("local:a", "1"))
            w.subscribe(BTC, SOL)
            w.count(40)
            assert _ask(w) >= 1
            w.next("receipt")
            w.count(20)
            if life < 3:
                d.end(signal.SIGKILL)
                w.sock.close()
            lines += _receipts(w)
        w.send({"op": "unsubscribe", "id": 1, "feeds": [BTC, SOL]})
        before = len(w.other)
        while len([e for e in w.other[before:] if e["type"] == "receipt"]) < 2:
            w.event()
        last = w.other[-1]["seq"]
        lines += _receipts(w)
        # All that was told belongs to one chain; what a crash cut off was kept.
        late = d.ws(d.mint("local:a", "0"))
        _ask(late, after=0)
        late.next("receipt", seq=last)
        out, _ = _verify(lines + _receipts(late), _url(d))
        a = out["accounts"][0]
        assert a["from_seq"] == 1 and a["to_seq"] == last and a["total_ticks"] == a["ticks"], a
        assert Decimal(a["amount"]) <= d.account("local:a")["consumed"], "a receipt never says more than the ledger"
        d.stop()


def verify_says_what_is_wrong_and_where():
    with Sim(200) as sim, Daemon(sim) as d, Daemon(sim) as stranger:
        w = d.ws(d.mint("local:a", "1"))
        good = []
        for _ in range(4):
            w.subscribe(BTC)
            w.count(10)
            w.send({"op": "unsubscribe", "id": 2, "feeds": [BTC]})
            good.append(w.next("receipt"))
            w.at = {}
        w.close()
        key = _url(d)
        assert _verify(good, key)[0]["receipts"] == 4
        _verify([*good, good[1]], key)  # told twice is no fault
        _verify(good[::-1], key)
        _verify([r["sig"] for r in good], key)  # bare
        _verify([{"receipts": [r["sig"] for r in good]}], key)
        _verify([w.ticks[0], *good, w.hello], key)  # beside other frames
        _verify(good[1:], key)  # the front may be elsewhere; the sums say so
        assert _verify(good[1:], key)[0]["accounts"][0]["from_seq"] == 2
        head, body, tag = good[1]["sig"].split(".")
        more = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b'"ticks":', b'"ticks":1')).rstrip(b"=").decode()
        for what, lines, line in (
                ("missing", [good[0], good[2], good[3]], 2),
                ("signature", [good[0], {**good[1], "sig": f"{head}.{more}.{tag}"}], 2),
                ("something else", [good[0], {**good[1], "ticks": 1}, good[2]], 2),
                ("something else", [{**good[0], "amount": "0.000000001"}], 1),
                ("without", [{"type": "receipt", "feed": BTC}], 1),
                ("neither", ["hello", good[0]], 1),
                ("no receipt", [w.ticks[0]], 0)):
            out, err = _verify(lines, key, 1)
            assert out["faults"][0]["line"] == line and what in out["faults"][0]["fault"], (what, out)
            assert what in err and (f"line {line}" in err if line else len(err.splitlines()) == 1), err
        assert "key set" in _verify(good, _url(stranger), 1)[1]
        r = subprocess.run([KAMIYO, "verify", "/nonexistent", "--key", key], capture_output=True, text=True, timeout=SECONDS)
        assert r.returncode == 1 and "cannot read" in r.stderr, r


def what_kamiyo_stream_printed_holds_the_receipts_of_all_its_ticks():
    with Sim(200) as sim, Daemon(sim) as d:
        base = f"http://{d.public[0]}:{d.public[1]}"
        for how in (["--seconds", "1"], ["--count", "30"]):
            done = subprocess.run([KAMIYO, "stream", *FEEDS, *how, "--json", "--url", base, "--token", d.mint("local:a", "1")],
                                  capture_output=True, text=True, timeout=SECONDS)
            assert done.returncode == 0, done.stderr
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            out, _ = _verify(lines, _url(d))
            assert out["receipts"] == 2 and out["accounts"][0]["ticks"] == lines[-1]["received"] > 0, (out, lines[-1])


def server_sent_events_bring_receipts_as_well():
    with Sim(200) as sim, Daemon(sim, receipts__every="1s") as d:
        s = d.connect()
        s.sendall(f"GET /v1/stream?feeds={BTC.replace('/', '%2F')} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
                  f"Authorization: Bearer {d.mint('local:a', '1')}\r\n\r\n".encode())
        got = b""
        while b"event: receipt" not in got or not got.split(b"event: receipt", 1)[1].count(b"\n\n"):
            more = s.recv(65536)
            assert more
            got += more
        frame = json.loads(got.split(b"event: receipt", 1)[1].split(b"data: ", 1)[1].split(b"\n", 1)[0])
        assert _verify([frame], _url(d))[0]["ok"]
        s.close()


if __name__ == "__main__":
    run(globals())
