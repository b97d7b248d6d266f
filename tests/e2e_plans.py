#!/usr/bin/env python3
"""Passes: what they cost, what they are good for, and how they end.  See harness.py."""
import struct
import tempfile
import threading
import time
from decimal import Decimal

from harness import FEEDS, TICK_USD, Daemon, Sim, run, until

BTC, SOL = FEEDS
DAY_NS = 24 * 3600 * 10**9
_shared = {}


def _daemon():
    if not _shared:
        _shared["sim"] = Sim(200)
        _shared["daemon"] = Daemon(_shared["sim"], shards__count=2, limits__unpaid_grace="500ms")
    return _shared["daemon"]


def _end():
    if _shared:
        _shared["daemon"].stop()
        _shared["daemon"].audit()
        _shared["sim"].end()


def _funded(usd="1"):
    d = _daemon()
    _shared["n"] = _shared.get("n", 0) + 1
    account = f"local:agent-{_shared['n']}"
    return d, account, d.mint(account, usd)


def _buy(d, token, *feeds, key=None, body=None):
    return d.ask("POST", "/v1/passes", body if body is not None else {"feeds": list(feeds)}, token=token, headers={"Idempotency-Key": key} if key else {})


def _passes(d, token):
    return {p["feed"]: int(p["expires_at"]) for p in d.ask("GET", "/v1/account", token=token).json["passes"]}


def a_pass_streams_free_and_an_unpassed_feed_does_not():
    d, account, token = _funded()
    now = time.time_ns()
    a = _buy(d, token, "BTCUSDT")  # an alias
    assert a.status == 200 and a.json["charged"] == "0.010000000" and a.json["balance"] == "0.990000000", a.body
    assert [p["feed"] for p in a.json["passes"]] == [BTC] and now + DAY_NS <= int(a.json["passes"][0]["expires_at"]) < now + DAY_NS + 60 * 10**9
    for _ in range(4):  # on both shards
        assert _passes(d, token) == {BTC: int(a.json["passes"][0]["expires_at"])}
    sold = 0
    for _ in range(2):
        w = d.ws(token)
        s = w.subscribe(BTC, plan="pass")
        assert s["feeds"][0]["price_tick"] == "0.000000000" and s["feeds"][0]["plan"] == "pass", s
        w.count(50)  # offsets as ever: the client checks
        assert w.balance()["charged_ticks"] == 0 and (sold or w.balance()["balance"] == "0.990000000")
        w.send({"op": "subscribe", "id": 2, "feeds": [SOL], "plan": "pass"})
        e = w.next("error", id=2)
        assert e["code"] == "no_pass" and SOL in e["message"] and not e["retry"], e
        w.send({"op": "subscribe", "id": 3, "feeds": [BTC, SOL], "plan": "pass"})
        assert w.next("error", id=3)["code"] == "no_pass"
        w.send({"op": "subscribe", "id": 4, "feeds": [SOL], "plan": "yearly"})
        assert w.next("error", id=4)["code"] == "bad_request"
        assert w.subscribe(SOL)["feeds"][0]["plan"] == "metered"
        w.count(20)
        w.close()
        sold += sum(t["feed"] == SOL for t in w.ticks)
    d.settled(account, Decimal("0.01") + sold * TICK_USD)
    refused = d.ask("GET", f"/v1/stream?feeds={BTC}&plan=pass", headers={"Accept": "text/event-stream"}, token=d.mint("local:nobody"))
    assert refused.status == 403 and refused.json["code"] == "no_pass", refused.body


def a_second_pass_extends_the_first_and_an_order_is_done_once():
    d, account, token = _funded()
    first = _buy(d, token, BTC, SOL, key="k1")
    assert first.status == 200 and first.json["charged"] == "0.020000000"
    again = []
    threads = [threading.Thread(target=lambda: again.append(_buy(d, token, BTC, SOL, key="k1"))) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert {(a.status, a.body) for a in again} == {(200, first.body)}
    other = _buy(d, token, BTC, key="k1")
    assert other.status == 409 and other.json["code"] == "conflict", other.body
    more = _buy(d, token, BTC)
    assert int(more.json["passes"][0]["expires_at"]) == int(first.json["passes"][0]["expires_at"]) + DAY_NS
    until(lambda: _passes(d, token)[BTC] == int(more.json["passes"][0]["expires_at"]))
    d.settled(account, Decimal("0.03"))


def all_feeds_of_an_order_or_none():
    d, account, token = _funded("0.015")
    w = d.ws(token)  # a stream holds a part of it, on a shard
    w.subscribe(BTC)
    w.count(1)
    short = _buy(d, token, BTC, SOL, key="k1")
    assert short.status == 402 and short.json["code"] == "insufficient_balance" and short.json["required"] == "0.020000000", short.body
    assert _passes(d, token) == {}
    w.close()
    one = _buy(d, token, SOL, key="k1")  # nothing was done under that key
    assert one.status == 200, one.body
    paid = d.settled(account, Decimal("0.01") + len(w.ticks) * TICK_USD)
    assert paid["balance"] + paid["leased"] == Decimal("0.005") - len(w.ticks) * TICK_USD


def what_shards_hold_pays_as_well():
    d, account, token = _funded("0.0102")
    streams = [d.ws(token) for _ in range(4)]
    for w in streams:
        w.subscribe(BTC)
        w.count(1)
    for w in streams:
        w.close()
    sold = sum(len(w.ticks) for w in streams)
    if sold <= 200:
        a = _buy(d, token, BTC)
        assert a.status == 200, a.body
        d.settled(account, Decimal("0.01") + sold * TICK_USD)


def what_is_wrong_is_refused_in_words():
    d, _, token = _funded()
    many = [f"F{i}/USD" for i in range(33)]
    for body, status, code in ((b"{", 400, "bad_request"), ({"feeds": []}, 400, "bad_request"), ({"feeds": "BTC"}, 400, "bad_request"),
                               ({"feeds": [1]}, 400, "bad_request"), ({}, 400, "bad_request"), ({"feeds": ["*"]}, 404, "unknown_feed"),
                               ({"feeds": [BTC, "BTCUSDT"]}, 400, "bad_request"), ({"feeds": many}, 404, "unknown_feed")):
        a = _buy(d, token, body=body)
        assert a.status == status and a.json["code"] == code, (body, a.status, a.body)
    assert _buy(d, token, BTC, key="x" * 128).status == 400
    a = _buy(d, None, BTC)
    assert a.status == 402 and a.json["required"] == "0.010000000", a.body
    assert _passes(d, token) == {}


def a_pass_runs_on_while_the_balance_is_used_up():
    d, account, token = _funded("0.01005")
    assert _buy(d, token, BTC).status == 200
    w = d.ws(token)
    w.subscribe(BTC, plan="pass")
    w.subscribe(SOL)
    due = w.next("payment_required")
    assert due["required"] == "0.000001000", due
    assert sum(t["feed"] == SOL for t in w.ticks) == 50
    end = time.monotonic() + 1  # twice the grace
    while time.monotonic() < end:
        assert {t["feed"] for t in w.count(20)} == {BTC}
    d.mint(account, "0.00003")
    w.next("payment_required")
    assert sum(t["feed"] == SOL for t in w.ticks) == 80 and not w.gaps  # from where it stood
    w.count(50)
    w.send({"op": "unsubscribe", "id": 9, "feeds": [BTC]})
    w.next("unsubscribed")
    assert w.closed() == 4402  # nothing is left that is paid for
    d.settled(account, Decimal("0.01008"))


def a_pass_survives_a_restart_and_its_stream_ends_with_it():
    import lmdb
    with Sim(200) as sim, tempfile.TemporaryDirectory() as folder:
        d = Daemon(sim, data=folder + "/data")
        token = d.mint("local:a", "0.03")
        first = _buy(d, token, BTC, SOL, key="k1")
        assert first.status == 200
        d.stop()
        d.audit()
        # A day has gone by: the ledger's row says so.
        env = lmdb.open(d.data + "/ledger", max_dbs=64, map_size=1 << 36)
        with env.begin(write=True) as txn:
            db = env.open_db(b"passes", txn, create=False)
            key = next(k for k, _ in txn.cursor(db) if k.endswith(BTC.encode()))
            end_ns = time.time_ns() + 2 * 10**9
            txn.put(key, struct.pack("<8Bq", 1, *[0] * 7, end_ns), db=db)
        env.close()
        d = Daemon(sim, data=folder + "/data")
        assert _passes(d, token)[BTC] == end_ns
        assert _buy(d, token, BTC, SOL, key="k1").body == first.body
        w = d.ws(token)
        w.subscribe(BTC, SOL, plan="pass")
        got = w.next("unsubscribed")
        assert got == {"type": "unsubscribed", "feeds": [BTC], "reason": "pass_ended"}, got
        assert time.time_ns() >= end_ns
        assert {t["feed"] for t in w.count(50)} == {SOL}
        w.send({"op": "subscribe", "id": 2, "feeds": [BTC], "plan": "pass"})
        assert w.next("error", id=2)["code"] == "no_pass"
        assert _passes(d, token).keys() == {SOL}
        w.close()
        assert d.account("local:a")["consumed"] == Decimal("0.02")  # not a tick fell back to metered
        d.stop()


run(globals(), _end)
