#!/usr/bin/env python3
"""What an operator does to a running daemon: drain it, keep it quiet, have it read its configuration again.  See harness.py."""
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from decimal import Decimal

from harness import FEEDS, KAMIYO, KAMIYOD, QUERY_USD, SECONDS, TICK_USD, Closed, Daemon, Sim, ended, read_answer, run, until

BTC, SOL = FEEDS


def _ready(d):
    a = d.ask("GET", "/readyz", door="admin")
    return a.status, a.json["reasons"]


def _crowd(d, n, token):
    ws = [d.ws(token) for _ in range(n)]
    for w in ws:
        w.send({"op": "subscribe", "feeds": [BTC]})
    for w in ws:
        w.next("subscribed")
    return ws


def _ends(ws, seconds=20):
    """When each was closed, and what it was told; all are read as they come."""
    told, closed, code, open_ = {}, {}, {}, {w.sock.fileno(): w for w in ws}
    stop = time.monotonic() + seconds
    while open_:
        assert time.monotonic() < stop, f"{len(open_)} are still open"
        for fd in select.select(list(open_), [], [], 0.1)[0]:
            w = open_[fd]
            try:
                e = w.event()
                while True:
                    if e["type"] == "goaway":
                        told[w] = e
                    if len(w.buf) < 2:
                        break
                    e = w.event()
            except Closed as c:
                closed[w], code[w] = time.monotonic(), c.code
                del open_[fd]
    return told, closed, code


def a_crowd_is_told_at_once_and_closed_one_after_the_other():
    with Sim(50) as sim:
        d = Daemon(sim, shards__count=2)
        token = d.mint("local:a", "10")
        ws = _crowd(d, 200, token)
        begin = time.monotonic()
        d.proc.send_signal(signal.SIGTERM)
        told, closed, code = _ends(ws)
        assert len(told) == 200 and set(code.values()) == {1012}, (len(told), set(code.values()))
        back = sorted(e["reconnect_after_ms"] for e in told.values())
        assert 1000 <= back[0] and back[-1] <= 3000 and back[-1] - back[0] > 600 and len(set(back)) > 100, (back[0], back[-1], len(set(back)))
        when = sorted(t - begin for t in closed.values())
        assert when[-1] - when[0] > 0.6 and when[-1] < 5, (when[0], when[-1])  # 100 a shard and second
        near = max(sum(t <= u < t + 0.2 for u in when) for t in when)
        assert near < 100, f"{near} of 200 were closed within 0.2 s"
        ticks = sum(len(w.ticks) for w in ws)
        d.stop()
        a = d.audit()
        assert Decimal(a["leased"]) == 0 and Decimal(a["consumed"]) == ticks * TICK_USD, (a, ticks)
        for w in ws:
            w.drop()


def few_are_not_kept_waiting():
    with Sim(50) as sim:
        d = Daemon(sim)
        ws = _crowd(d, 3, d.mint("local:a", "10"))
        begin = time.monotonic()
        d.stop()
        assert time.monotonic() - begin < 5
        for w in ws:
            w.drop()


def usr2_takes_no_new_sessions_and_ends_those_that_are_there_until_usr2():
    with Sim(50) as sim, Daemon(sim, shards__count=2) as d:
        token = d.mint("local:a", "10")
        idle = d.connect()
        idle.sendall(b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n")
        read_answer(idle)
        admin, spent = d.connect("admin"), Decimal(0)
        for turn in range(2):
            ws = _crowd(d, 20, token)
            if turn == 0:
                d.proc.send_signal(signal.SIGUSR2)
            else:
                r = subprocess.run([KAMIYO, "drain", "--data", d.data, "--admin", f"http://{d.at['admin']}"], capture_output=True, text=True)
                assert r.returncode == 0 and "draining" in r.stdout, r
            told, _, code = _ends(ws)
            assert len(told) == 20 and set(code.values()) == {1012} and {e["reason"] for e in told.values()} == {"drain"}, (told, code)
            if turn == 0:
                assert ended(idle) == b"", "an idle connection ends"
            assert _ready(d) == (503, ["draining"])
            s = d.connect()
            try:
                s.sendall(b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_answer(s)[0].status == 503
            except (ConnectionResetError, BrokenPipeError):
                pass
            assert d.ask("GET", "/v1/admin/conns", door="admin", headers={"Authorization": "Bearer " + d.bearer}).status == 200
            admin.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert read_answer(admin)[0].status == 200, "the operator's connection goes on"
            spent += sum(len(w.ticks) for w in ws) * TICK_USD
            d.settled("local:a", spent)
            if turn == 0:
                d.proc.send_signal(signal.SIGUSR2)
            else:
                r = subprocess.run([KAMIYO, "drain", "off", "--data", d.data, "--admin", f"http://{d.at['admin']}"], capture_output=True, text=True)
                assert r.returncode == 0, r
            until(lambda: _ready(d) == (200, []))
            assert d.ask("GET", f"/v1/ingest-data?feed={BTC}", token=token).status == 200
            spent += QUERY_USD
        a = d.ask("POST", "/v1/admin/drain", {"on": "yes"}, door="admin", headers={"Authorization": "Bearer " + d.bearer})
        assert a.status == 400, a.body
        assert d.ask("POST", "/v1/admin/drain", {}, door="admin").status == 401


def _rewrite(d, **sections):
    d.conf_file.seek(0)
    conf = json.load(open(d.conf_file.name))
    for section, values in sections.items():
        if isinstance(values, dict):
            conf.setdefault(section, {}).update(values)
        else:
            conf[section] = values
    with open(d.conf_file.name, "w") as f:
        json.dump(conf, f)


def _hup(d, *lines):
    d.proc.send_signal(signal.SIGHUP)
    until(lambda: all(line in d.stderr() for line in lines), text=f"{lines} in the log")


def hup_changes_prices_and_each_tick_costs_what_was_told_for_it():
    with Sim(300) as sim, Daemon(sim, shards__count=2) as d:
        account, token = "local:a", d.mint("local:a", "10")
        ws = [d.ws(token) for _ in range(4)]
        for i, w in enumerate(ws):
            w.subscribe(BTC, SOL, encoding="json", **({"max_hz": 20} if i == 3 else {}))
            w.paced = {BTC, SOL} if i == 3 else set()
        for w in ws:
            w.count(20)
        borders = [{BTC: [], SOL: []} for _ in ws]
        for i, price in enumerate(("0.000003", "0.0000005")):
            _rewrite(d, prices={"tick": price, "query": "0.0002"})
            _hup(d, f"prices.tick: {('0.000001', '0.000003')[i]} -> {price}")
            for w, b in zip(ws, borders):
                p = w.next("prices")
                assert {f["feed"]: f["price_tick"] for f in p["feeds"]} == {BTC: f"{Decimal(price):.9f}", SOL: f"{Decimal(price):.9f}"}, p
                for f in p["feeds"]:
                    b[f["feed"]].append((f["from"], Decimal(price)))
            for w in ws:
                w.count(20)
        assert d.feeds()[BTC]["price_tick"] == "0.000000500" and d.feeds()[BTC]["price_query"] == "0.000200000"
        late = d.ws(token)
        ack = late.subscribe(BTC)
        assert ack["feeds"][0]["price_tick"] == "0.000000500", ack
        late.count(10)
        for w in (*ws, late):
            w.send({"op": "unsubscribe", "id": 9, "feeds": ["*"]})
            w.next("unsubscribed")
        cost = len(late.ticks) * Decimal("0.0000005")
        for w, b in zip(ws, borders):
            for t in w.ticks:
                cost += ([TICK_USD] + [p for at, p in b[t["feed"]] if t["offset"] >= at])[-1]
        a = d.ask("GET", f"/v1/ingest-data?feed={BTC}", token=token).json
        assert a["charged"] == "0.000200000"
        d.settled(account, cost + Decimal("0.0002"))
        for w in (*ws, late):
            w.drop()


def ticks_that_wait_for_money_cost_what_they_did_when_they_were_published():
    with Sim(200) as sim, Daemon(sim) as d:
        w = d.ws(d.mint("local:poor", "0.00002"))
        w.subscribe(BTC)
        w.next("payment_required")
        assert len(w.ticks) == 20
        until(lambda: d.feeds()[BTC]["offset"] > w.at[BTC] + 30)
        _rewrite(d, prices={"tick": "0.000005"})
        _hup(d, "prices.tick: 0.000001 -> 0.000005")
        border = w.next("prices")["feeds"][0]["from"]
        assert border > w.at[BTC] + 30
        d.mint("local:poor", "1")
        while w.at[BTC] < border + 20:
            w.count(1)
        w.send({"op": "unsubscribe", "id": 9, "feeds": ["*"]})
        w.next("unsubscribed")
        assert not w.gaps
        d.settled("local:poor", sum(Decimal("0.000005") if t["offset"] >= border else TICK_USD for t in w.ticks))
        w.drop()


def hup_tells_what_differs_and_what_needs_a_restart_and_a_wrong_file_changes_nothing():
    with Daemon() as d:
        _rewrite(d, stream={"heartbeat": "100ms"}, ring={"slots": 65536}, limits={"connections": 5, "idle_timeout": "300ms"})
        _hup(d, "reload: stream.heartbeat: 15s -> 100ms", "reload: ring.slots: 131072 -> 65536; needs a restart", "reload: limits.connections: 20000 -> 5; needs a restart", "keys differ")
        w = d.ws(d.mint("local:a"))
        assert w.closed() == 4408, "the new idle timeout counts"
        before = d.stderr().count("keys differ")
        _rewrite(d, prices={"tick": "-1"})
        _hup(d, "nothing was changed")
        assert d.stderr().count("keys differ") == before
        _rewrite(d, prices={"tick": "0.5"}, log_level="error")
        d.proc.send_signal(signal.SIGHUP)
        until(lambda: "log_level" in d.stderr())
        assert d.ask("GET", "/v1/feeds").status == 200 and d.proc.poll() is None


def what_run_refuses_check_config_refuses_with_the_same_words_and_makes_nothing():
    listen = {"listen": "127.0.0.1:0"}
    with tempfile.TemporaryDirectory() as folder:
        rows = ({"sources": {"binance": {"symbols": ["HELLO"]}}, "why": "HELLO ends in no known quote asset"},
                {"feeds": [{"name": "WEATHER/USD", "required": True}], "why": "feed WEATHER/USD: no source of it is available"},
                {"public": {**listen, "tls_cert": folder + "/none", "tls_key": folder + "/none"}, "why": "none"},
                {"public": {"listen": "nowhere"}, "why": "nowhere"},
                {"public": {**listen, "url": "https://feed.example/?a"}, "why": "public.url"},
                {"why": None})
        for row in rows:
            why = row.pop("why")
            with open(folder + "/conf.yaml", "w") as f:
                json.dump({"public": listen, "admin": listen, "data": folder + "/data", **row}, f)
            told = []
            for verb in ("check-config", "run") if why else ("check-config",):
                r = subprocess.run([KAMIYOD, verb, "--config", folder + "/conf.yaml"], capture_output=True, text=True, timeout=SECONDS)
                if verb == "check-config":
                    assert not os.path.exists(folder + "/data"), "it makes nothing"
                assert r.returncode == (1 if why else 0), (verb, row, r)
                told.append(r.stderr.splitlines()[-1:])
            shutil.rmtree(folder + "/data", ignore_errors=True)
            assert not why or (told[0] == told[1] and why in told[0][0]), (why, told)


if __name__ == "__main__":
    run(globals())
