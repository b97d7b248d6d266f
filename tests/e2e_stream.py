#!/usr/bin/env python3
"""The stream (WebSocket /v1/stream) of the real daemon: who may listen, what is sent, what it costs, what happens to those who do not
pay or do not read.  See harness.py."""
import asyncio
import json
import os
import re
import socket
import struct
import sys
import time
from decimal import Decimal

from harness import (BINARY, EVERY_FEED, FEEDS, SECONDS, TEXT, TICK_USD, Closed, Daemon, Sim, Ws, ended, forge, run, until, ws_frame)

BTC, SOL = FEEDS
DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?\Z")
NS = re.compile(r"[1-9][0-9]{18}\Z")
MONEY = re.compile(r"(0|[1-9][0-9]*)\.[0-9]{9}\Z")
_shared = {}


def _daemon():
    """One daemon with usual settings for all rules that need nothing special."""
    if not _shared:
        _shared["sim"] = Sim()
        _shared["daemon"] = Daemon(_shared["sim"], stream__heartbeat="1s", limits__auth_timeout="500ms")
    return _shared["daemon"]


def _funded(usd="1"):
    d = _daemon()
    _shared["n"] = _shared.get("n", 0) + 1
    account = f"local:agent-{_shared['n']}"
    return d, account, d.mint(account, usd)


# --- who may -------------------------------------------------------------------------------------

def a_token_is_taken_by_header_by_query_by_op_and_bare():
    d, account, token = _funded()
    for by in ("header", "query", "op", "bare"):
        for path in ("/v1/stream", "/stream-data", "/api/v1/stream"):
            w = d.ws(token, by=by, path=path)
            assert w.hello["account"] == account and MONEY.match(w.hello["balance"]) and len(w.hello["session"]) == 32, w.hello
            w.close()


def the_subprotocol_is_chosen_if_offered():
    d, _, token = _funded()
    for offered, want in (("kamiyo.v1", "kamiyo.v1"), ("other, kamiyo.v1", "kamiyo.v1"), ("other", None), (None, None)):
        w = d.ws(token, extra=f"Sec-WebSocket-Protocol: {offered}\r\n" if offered else "")
        assert w.answer.headers.get("sec-websocket-protocol") == want, offered
        w.close()


def bad_tokens_are_closed_with_4401():
    d, _, token = _funded()
    with open(d.data + "/token.key", "rb") as f:
        key = f.read()
    head, claims, sig = token.split(".")
    rows = {
        "no token at all": "x",
        "another key": forge(b"k" * 32),
        "expired": forge(key, "local:agent-1", age=1000, life=600),
        "alg none": forge(key, "local:agent-1", alg="none"),
        "alg none, unsigned": ".".join(forge(key, "local:agent-1", alg="none").split(".")[:2]) + ".",
        "another issuer": forge(key, "local:agent-1", iss="somebody"),
        "from the future": forge(key, "local:agent-1", age=-4000),
        "an account not in this ledger": forge(key, "local:nobody"),
        "signature cut": token[:-2],
        "signature of another": f"{head}.{claims}.{forge(b'k' * 32).split('.')[2]}",
        "claims changed": f"{head}.{claims[:-3]}AAA.{sig}",
        "too long": "a" * 5000,
    }
    for what, bad in rows.items():
        for by in ("header", "op", "bare") + (("query",) if len(bad) < 1000 else ()):
            w = d.ws(bad, by=by, hello=False)
            said, code = w.last_words()
            assert code == 4401, (what, by, code)
            assert [e["type"] for e in said] == ["error"] and said[0]["retry"] is False, (what, said)
            w.drop()
    w = d.ws(forge(key, "local:agent-1"), by="op")  # the forger itself is right: only the faults above made the difference
    w.close()


def the_first_message_must_be_a_token():
    d = _daemon()
    for op in ({"op": "subscribe", "feeds": [BTC]}, {"op": "balance"}, {"op": "auth"}, {"op": "auth", "token": 5}, {"op": "nonsense"}):
        w = d.ws()
        w.send(op)
        assert w.closed() == 4401, op


def without_a_token_in_time_it_is_closed_with_4408():
    d = _daemon()
    w = d.ws()
    w.send({"op": "ping", "id": 1})  # asking does not keep it open
    assert w.next("pong", id=1)
    start = time.monotonic()
    assert w.closed() == 4408
    assert time.monotonic() - start < 2, "0.5 s are configured, and each connection is looked at once a second"


def a_second_token_extends_but_must_be_of_the_same_account():
    d, account, token = _funded()
    w = d.ws(token)
    w.send({"op": "auth", "token": d.mint(account, "0.5")})
    assert w.next("authenticated")["balance"] == "1.500000000"
    w.send({"op": "auth", "token": d.mint("local:other")})
    assert w.closed() == 4401


def an_expired_token_ends_a_live_stream():
    d, account, _ = _funded()
    with open(d.data + "/token.key", "rb") as f:
        w = d.ws(forge(f.read(), account, life=2, age=0))
    w.subscribe(BTC)
    said, code = w.last_words()
    assert code == 4401 and said[-1]["code"] == "token_expired", said[-1]


def a_revoked_token_ends_its_streams_within_a_second_and_no_others():
    d, account, token = _funded()
    spared = d.ws(d.mint(account))
    spared.subscribe(BTC)
    victims = [d.ws(token) for _ in range(3)]
    for v in victims:
        v.subscribe(BTC)
    start = time.monotonic()
    assert d.ask("POST", "/v1/tokens/revoke", token=token).status == 200
    for v in victims:
        said, code = v.last_words()
        assert code == 4401 and said[-1]["code"] == "token_revoked", (said[-1], code)
    assert time.monotonic() - start < 1
    w = d.ws(token, hello=False)
    assert w.closed() == 4401
    assert d.ask("GET", "/v1/account", token=token).status == 401
    spared.count(20)
    spared.close()


# --- what is said --------------------------------------------------------------------------------

def ids_are_echoed_as_they_were_sent():
    d, _, token = _funded()
    w = d.ws(token)
    for text in ("1", "0", "-7", "1.50", "9007199254740993", "123456789012345678901234567890", '"a"', '""', '"\\u00e9 \\"x\\""', '"é"'):
        w.send('{"op":"ping","id":' + text + "}")
        _, payload = w.frame()
        assert f'"id":{text},'.encode() in payload, (text, payload)
    w.send({"op": "ping"})
    assert "id" not in w.event()
    w.send({"op": "subscribe", "id": "s", "feeds": [BTC]})
    assert w.next("subscribed")["id"] == "s"
    w.send({"op": "unsubscribe", "id": 3, "feeds": [BTC]})
    assert w.next("unsubscribed")["id"] == 3
    w.send({"op": "subscribe", "id": 4, "feeds": []})
    assert w.next("error")["id"] == 4
    w.close()


def json_ticks_are_exactly_as_promised():
    d, _, token = _funded()
    w = d.ws(token)
    ack = w.subscribe(BTC, SOL, "BTC/USD")
    assert [set(f) for f in ack["feeds"]] == [{"feed", "epoch", "offset", "price_tick", "plan"}] * 3, ack
    until(lambda: w.count(50) and {t["kind"] for t in w.ticks} == {"trade", "quote", "oracle"})
    must = {"type", "feed", "offset", "kind", "price", "source", "ts_recv"}
    for t in w.ticks:
        assert must <= set(t) <= must | {"conf", "bid", "ask", "size", "ts_event", "degraded"}, t
        assert type(t["offset"]) is int
        for k in ("price", "conf", "bid", "ask", "size"):
            assert k not in t or isinstance(t[k], str) and DECIMAL.match(t[k]), (k, t)
        for k in ("ts_recv", "ts_event"):
            assert k not in t or isinstance(t[k], str) and NS.match(t[k]), (k, t)
        assert t["source"] == ("binance" if "@" in t["feed"] else "pyth")
        if t["kind"] == "quote":
            assert Decimal(t["price"]) == (Decimal(t["bid"]) + Decimal(t["ask"])) / 2, t
        if t["kind"] == "oracle":
            assert "conf" in t
    w.close()


def a_stream_goes_on_by_one_and_is_charged_by_frame():
    d, account, token = _funded()
    w = d.ws(token)
    w.subscribe(*FEEDS, "BTC/USD", "SOL/USD")
    for _ in range(5):
        w.count(60)
        b = w.balance()  # own frames keep their place among the ticks: it counts exactly those before it
        assert b["charged_ticks"] == len(w.ticks), (b, len(w.ticks))
        assert Decimal(b["balance"]) == 1 - len(w.ticks) * TICK_USD, b
    w.close()
    d.settled(account, len(w.ticks) * TICK_USD)
    assert not w.gaps


def a_snapshot_is_the_newest_tick_at_once_and_without_it_the_next_comes():
    d, _, token = _funded()
    for snapshot, first in ((True, 0), (False, 1)):
        w = d.ws(token)
        offset = w.subscribe(BTC, snapshot=snapshot)["feeds"][0]["offset"]
        assert w.count(1)[0]["offset"] == offset + first, snapshot
        w.close()


def aliases_mean_the_feed_and_frames_carry_its_canonical_name():
    d, _, token = _funded()
    for alias, feed in (("SOL-USD", "SOL/USD"), ("solana-price", "SOL/USD"), ("sol/usd", "SOL/USD"), ("SOLUSDT", SOL), ("btcusdt", BTC)):
        w = d.ws(token)
        got = w.subscribe(alias)["feeds"][0]
        assert got["feed"] == feed, (alias, got)
        assert got.get("as") == alias, f"subscribed says what was asked for: {got}"
        assert w.count(1)[0]["feed"] == feed
        w.close()
    w = d.ws(token)
    assert "as" not in w.subscribe(SOL)["feeds"][0]
    w.close()


def an_unknown_feed_is_refused_with_the_closest_and_nothing_is_subscribed():
    d, _, token = _funded()
    w = d.ws(token)
    w.send({"op": "subscribe", "id": 9, "feeds": [BTC, "SOL/USDD", SOL]})
    e = w.next("error")
    assert e["code"] == "unknown_feed" and e["id"] == 9 and "SOL/USD" in e["message"], e
    for feeds in ([BTC, 5], "BTC", None, [None], [[BTC]], {}, [""], ["x" * 500], ["\x00"], [BTC] * 2000):
        w.send({"op": "subscribe", "feeds": feeds})
        assert w.next("error")["code"] in ("bad_request", "unknown_feed", "limit_reached"), feeds
    for more in ({"encoding": "xml"}, {"encoding": 1}, {"snapshot": 1}, {"slow_reader": "wait"}, {"slow_reader": 7}, {"plan": "gold"},
                 {"max_hz": -1}, {"max_hz": "5"}, {"max_hz": 1001}, {"max_hz": 1e-9}, {"max_hz": None}, {"max_hz": [1]}, {"from": []}, {"from": {BTC: 5}}, {"from": {BTC: "nocolon"}}, {"from": {BTC: "e:-1"}},
                 {"from": {BTC: "e:99999999999999999999999"}}):
        w.send({"op": "subscribe", "feeds": [BTC], **more})
        assert w.next("error")["code"] in ("bad_request", "unsupported"), more
    assert w.balance()["charged_ticks"] == 0
    until(lambda: d.metrics()["subscription_open"] == 0)
    w.close()


def subscribing_twice_is_subscribing_once():
    d, _, token = _funded()
    w = d.ws(token)
    w.subscribe(BTC, BTC)
    w.subscribe(BTC)
    w.count(60)  # the client checks that no offset comes twice
    assert d.metrics()["subscription_open"] == 1
    w.close()


def unsubscribing_ends_the_feed_and_its_charge_and_leaves_the_others():
    d, account, token = _funded()
    w = d.ws(token)
    w.subscribe(BTC, SOL)
    w.count(20)
    w.send({"op": "unsubscribe", "id": 2, "feeds": [BTC, "BTC/USD"]})
    assert w.next("unsubscribed")["feeds"] == [BTC, "BTC/USD"]
    assert {t["feed"] for t in w.count(40)} == {SOL}
    w.send({"op": "unsubscribe", "feeds": [SOL]})
    w.next("unsubscribed")
    n = len(w.ticks)
    w.next("heartbeat")
    assert len(w.ticks) == n == w.balance()["charged_ticks"]
    w.subscribe(BTC)  # and again
    w.at[BTC] = None
    w.close()
    d.settled(account, len(w.ticks) * TICK_USD)


def patterns_mean_every_feed_that_matches_and_each_says_by_which():
    d, _, token = _funded()
    for feeds, want in ((["*"], {(f, "*") for f in EVERY_FEED}), (["*/USD"], {("BTC/USD", "*/USD"), ("SOL/USD", "*/USD")}),
                        (["btc-*"], {(BTC, "btc-*"), ("BTC/USD", "btc-*")}), (["*@binance", "SOL*"], {(BTC, "*@binance"), (SOL, "*@binance"), ("SOL/USD", "SOL*")}),
                        (["SOL/USD", "*/USD"], {("SOL/USD", None), ("BTC/USD", "*/USD")})):
        w = d.ws(token)
        got = w.subscribe(*feeds)["feeds"]
        assert {(f["feed"], f.get("as")) for f in got} == want and len(got) == len(want), (feeds, got)
        heard = set()
        until(lambda: heard.add(w.count(1)[0]["feed"]) or heard == {f for f, _ in want}, text=f"ticks of {want}")
        w.close()
    w = d.ws(token)
    for feeds, code in ((["tvl:*"], "unknown_feed"), ([BTC, "x*"], "unknown_feed"), (["*"] * 17, "limit_reached"), (["*" * 64], "unknown_feed")):
        w.send({"op": "subscribe", "feeds": feeds})
        assert w.next("error")["code"] == code, feeds
    assert w.balance()["charged_ticks"] == 0
    w.close()


def unsubscribing_by_pattern_ends_those_that_match():
    d, _, token = _funded()
    w = d.ws(token)
    w.subscribe(BTC, "SOL/USD", "BTC/USD")
    w.send({"op": "unsubscribe", "feeds": ["*/USD"]})
    assert sorted(w.next("unsubscribed")["feeds"]) == ["BTC/USD", "SOL/USD"]
    assert {t["feed"] for t in w.count(20)} == {BTC}
    w.send({"op": "unsubscribe", "feeds": ["SOL*"]})  # matches feeds, but none that is subscribed
    assert w.next("unsubscribed")["feeds"] == []
    w.send({"op": "unsubscribe", "feeds": ["tvl:*"]})
    assert w.next("error")["code"] == "unknown_feed"
    w.send({"op": "unsubscribe", "feeds": ["*"]})
    assert w.next("unsubscribed")["feeds"] == [BTC]
    until(lambda: d.metrics()["subscription_open"] == 0)
    w.close()


def a_quiet_stream_gets_heartbeats():
    d, _, token = _funded()
    w = d.ws(token)
    beats = [w.next("heartbeat") for _ in range(2)]
    assert all(NS.match(b["ts"]) and abs(int(b["ts"]) / 1e9 - time.time()) < 5 for b in beats)
    w.close()


def an_independent_client_understands_the_stream():
    import websockets
    d, _, token = _funded()

    async def talk():
        url = "ws://%s:%d/v1/stream" % d.public
        async with websockets.connect(url, extra_headers={"Authorization": "Bearer " + token}, subprotocols=["kamiyo.v1"]) as w:
            assert w.subprotocol == "kamiyo.v1"
            await w.send(json.dumps({"op": "subscribe", "feeds": [BTC]}))
            got = [json.loads(await w.recv()) for _ in range(20)]
            await (await w.ping(b"are you there"))
            return got

    got = asyncio.run(asyncio.wait_for(talk(), SECONDS))
    assert [e["type"] for e in got[:2]] == ["authenticated", "subscribed"]


def flatbuffers_come_as_padded_size_prefixed_buffers():
    import flatbuffers.table
    d, account, token = _funded()
    w = d.ws(token)
    offset = w.subscribe(BTC, "BTC/USD", encoding="flatbuffers")["feeds"][0]["offset"]
    seen, frames = {}, 0
    while frames < 100:
        opcode, payload = w.frame()
        if opcode == TEXT:
            continue
        assert opcode == BINARY and len(payload) % 8 == 0
        while payload:
            n = struct.unpack("<I", payload[:4])[0]
            assert (n + 4) % 8 == 0 and payload[8:12] == b"KMYT", payload[:16]
            table = flatbuffers.table.Table(payload[4:4 + n], struct.unpack("<I", payload[4:8])[0])
            feed = table.String(table.Offset(4) + table.Pos).decode()
            at = table.Get(flatbuffers.number_types.Uint64Flags, table.Offset(8) + table.Pos)
            assert at == seen.get(feed, at - 1) + 1, (feed, at)
            assert feed != BTC or feed in seen or at == offset
            seen[feed] = at
            payload = payload[4 + n:]
            frames += 1
    assert set(seen) == {BTC, "BTC/USD"}
    w.send({"op": "balance"})
    while True:
        opcode, payload = w.frame()
        if opcode == TEXT and b'"balance"' in payload:
            break
        frames += opcode == BINARY
    assert json.loads(payload)["charged_ticks"] == frames
    w.drop()
    until(lambda: d.account(account)["consumed"] >= frames * TICK_USD)


# --- going on ------------------------------------------------------------------------------------

def a_reconnect_with_from_loses_nothing_and_repeats_nothing():
    d, _, token = _funded()
    keeps = d.ws(token)  # somebody else reads the feed, so its log lives on
    epoch = keeps.subscribe(BTC)["feeds"][0]["epoch"]
    w = d.ws(token)
    w.subscribe(BTC)
    for _ in range(4):
        w.count(10)
        held = w.at[BTC]
        w.drop()
        keeps.count(30)
        w = d.ws(token)
        w.at[BTC] = held  # the client checks that the next one follows
        w.subscribe(BTC, **{"from": {BTC: f"{epoch}:{held}", "no/such": "x"}})
        assert w.count(10)[0]["offset"] == held + 1
        assert not w.gaps
    w.close()
    keeps.close()


def a_reconnect_to_a_feed_nobody_else_reads_loses_nothing_either():
    d, _, token = _funded()
    w = d.ws(token)
    epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
    w.count(10)
    held = w.at[BTC]
    w.drop()
    until(lambda: d.metrics()["subscription_open"] == 0)
    until(lambda: d.feeds()[BTC]["offset"] > held + 20)
    w = d.ws(token)
    w.at[BTC] = held
    w.subscribe(BTC, **{"from": {BTC: f"{epoch}:{held}"}})
    assert w.count(10)[0]["offset"] == held + 1 and not w.gaps, w.gaps
    assert w.balance()["charged_ticks"] == len(w.ticks)
    w.close()


def an_unknown_epoch_is_a_gap_with_that_reason_and_then_the_live_stream():
    d, _, token = _funded()
    for text in ("nonsense:5", ":5", "nonsense:18446744073709551615"):
        w = d.ws(token)
        w.subscribe(BTC, **{"from": {BTC: text}})
        w.count(5)
        assert [g["reason"] for g in w.gaps] == ["epoch"] and w.gaps[0]["to"] + 1 == w.ticks[0]["offset"], (text, w.gaps, w.ticks[0])
        w.close()


# --- money ---------------------------------------------------------------------------------------

def at_zero_the_stream_pauses_with_the_exact_ticks_delivered_and_goes_on_when_paid():
    d, account, _ = _funded()
    poor = account + "-poor"
    token = d.mint(poor, "0.0001")
    keeps = d.ws(d.mint(account))
    keeps.subscribe(BTC)
    w = d.ws(token)
    w.subscribe(BTC)
    for turn in range(1, 4):
        due = w.next("payment_required")
        assert due == {"type": "payment_required", "required": "0.000001000", "balance": "0.000000000"}, due
        assert len(w.ticks) == 100 * turn, len(w.ticks)
        d.settled(poor, len(w.ticks) * TICK_USD)
        keeps.count(20)
        w.quiet()
        assert len(w.ticks) == 100 * turn, "a paused stream delivers nothing"
        d.mint(poor, "0.0001")
    w.count(100)
    assert not w.gaps
    w.close()
    keeps.close()
    assert d.settled(poor, len(w.ticks) * TICK_USD)["balance"] == 0


def low_balance_is_told_once_and_again_after_it_rose():
    with Sim(800) as sim, Daemon(sim, stream__low_balance="500ms") as d:
        w = d.ws(d.mint("local:a", "0.002"))
        w.subscribe(BTC, SOL)
        for life in range(2):
            e = w.next("low_balance")
            assert e["seconds_left"] == 0 and 0 < Decimal(e["balance"]) < Decimal("0.002"), e
            if life == 0:
                d.mint("local:a", "0.003")
        e = w.next("payment_required")
        kinds = [e["type"] for e in w.other if e["type"] in ("low_balance", "payment_required")]
        assert kinds == ["low_balance", "low_balance", "payment_required"], kinds
        assert len(w.ticks) == 5000
        w.drop()
    with Sim(800) as sim, Daemon(sim, stream__low_balance="0s") as d:
        w = d.ws(d.mint("local:a", "0.001"))
        w.subscribe(BTC, SOL)
        w.next("payment_required")
        assert not [e for e in w.other if e["type"] == "low_balance"], "0s: never"
        w.drop()


def low_balance_comes_while_there_is_time_to_pay():
    with Sim(800) as sim, Daemon(sim, lease__report_every="60s") as d:
        w = d.ws(d.mint("local:a", "0.004"))
        w.subscribe(BTC, SOL)
        e = w.next("low_balance")
        assert e["seconds_left"] >= 1 and Decimal(e["balance"]) >= Decimal("0.001"), e
        w.next("payment_required")
        assert len(w.ticks) == 4000 and sum(e["type"] == "low_balance" for e in w.other) == 1, "not again at each look"
        w.drop()


def a_pause_is_told_once_and_dust_does_not_prolong_its_grace():
    with Sim(400) as sim, Daemon(sim, limits__unpaid_grace="2s") as d:
        token = d.mint("local:a", "0.000005")
        w = d.ws(token)
        w.subscribe(BTC)
        w.next("payment_required")
        start = time.monotonic()
        code = None
        while code is None:
            d.mint("local:a", "0.000000001")  # a thousandth of a tick
            try:
                w.event(0.1)
            except TimeoutError:
                pass
            except Closed as c:
                code = c.code
            assert time.monotonic() - start < 10
        assert code == 4402 and time.monotonic() - start > 1.5
        told = [e["type"] for e in w.other].count("payment_required")
        assert told == 1, f"told {told} times"
        w.sock.close()
        # And whoever pays goes on, and is told again when that is used up.
        w = d.ws(token)
        w.subscribe(BTC)
        for _ in range(2):
            w.next("payment_required")
            d.mint("local:a", "0.00002")
            w.count(20)
        w.drop()


def a_balance_below_one_tick_buys_nothing_and_is_not_lost():
    d, account, _ = _funded()
    w = d.ws(d.mint(account + "-crumb", "0.0000015"))
    w.subscribe(BTC)
    due = w.next("payment_required")
    assert len(w.ticks) == 1 and due["balance"] == "0.000000500", (len(w.ticks), due)
    d.mint(account + "-crumb", "0.0000005")
    w.next("payment_required")
    assert len(w.ticks) == 2
    w.close()
    broke = d.ws(d.mint(account + "-zero", "0"))
    broke.subscribe(BTC)
    assert broke.next("payment_required")["balance"] == "0.000000000"
    assert not broke.ticks
    broke.close()


def who_does_not_pay_in_time_is_closed_with_4402():
    with Sim() as sim, Daemon(sim, limits__unpaid_grace="600ms") as d:
        w = d.ws(d.mint("local:a", "0.00001"))
        w.subscribe(BTC)
        w.next("payment_required")
        start = time.monotonic()
        said, code = w.last_words()
        assert code == 4402 and 0.5 < time.monotonic() - start < 3, (said, code)
        assert len(w.ticks) == 10
        d.settled("local:a", 10 * TICK_USD)


def one_balance_over_many_connections_and_two_shards_is_spent_once():
    with Sim(1000) as sim, Daemon(sim, shards__count=2, limits__unpaid_grace="1h", lease__min="0.00005") as d:
        for turn, usd in enumerate(("0.001", "0.001", "0.0003")):
            account = f"local:many-{turn}"
            token = d.mint(account, usd)
            conns = [d.ws(token) for _ in range(8)]
            for w in conns:
                w.send({"op": "subscribe", "feeds": [BTC, SOL]})
            for w in conns:
                w.next("payment_required")
            want = Decimal(usd) / TICK_USD
            a = d.settled(account, Decimal(usd))
            assert a["balance"] == a["leased"] == 0 and a["ticks"] == want, a
            for w in conns:
                w.quiet()
            assert sum(len(w.ticks) for w in conns) == want, [len(w.ticks) for w in conns]
            for w in conns:
                w.close()


# --- readers that want less ---------------------------------------------------------------------

def max_hz_gets_the_newest_so_often_and_pays_for_that():
    feeds = [{"name": BTC, "stale_after": "1s"}, {"name": SOL, "stale_after": "1s"}]
    with Sim(400) as sim, Daemon(sim, feeds_list__is=feeds) as d:
        every, paced = (d.ws(d.mint("local:" + name)) for name in ("every", "paced"))
        every.subscribe(*FEEDS)
        paced.paced = {BTC, SOL}
        began = time.monotonic()
        paced.subscribe(BTC, max_hz=10)
        paced.subscribe(SOL, max_hz=2.5)
        paced.count(25)
        took = time.monotonic() - began
        for feed, hz in ((BTC, 10), (SOL, 2.5)):
            n = sum(t["feed"] == feed for t in paced.ticks)
            assert 1 <= n <= took * hz + 1, (feed, n, took)
        assert not paced.gaps, "what one did not want is no gap"
        sim.trouble("stall", seconds=0)
        every.next("status", 20, feed=BTC, state="stale")
        every.quiet()
        newest = every.at[BTC]
        while paced.at[BTC] < newest:
            paced.event()
        assert every.at[BTC] == newest and len(every.ticks) > 2 * len(paced.ticks)
        assert paced.balance()["charged_ticks"] == len(paced.ticks)
        for w in (every, paced):
            w.close()
        d.settled("local:paced", len(paced.ticks) * TICK_USD)


# --- readers that do not read -------------------------------------------------------------------

def _stalled(d, token, policy, feeds=FEEDS):
    w = d.ws(token, rcvbuf=65536)
    w.subscribe(*feeds, slow_reader=policy)
    return w


def slow_readers_get_what_they_chose_and_nobody_else_notices():
    """One stops reading until the daemon's socket is full and its cursor lags, then reads on."""
    with Sim(4000) as sim, Daemon(sim, limits__lag_ms=100, limits__lag_ticks=300) as d:
        good_token = d.mint("local:good", "100")
        for policy, reason in (("conflate", "conflated"), ("drop", "dropped"), ("close", None)):
            account = "local:" + policy
            good = d.ws(good_token)
            good.subscribe(SOL)  # few ticks: a reader in Python follows them however busy the machine is
            slow = _stalled(d, d.mint(account, "100"), policy)

            def blocked():
                good.count(1)
                conns = d.operator("GET", "/v1/admin/conns").json["conns"]
                return any(c["account"] == account and c["blocked_ms"] > 400 for c in conns) or d.metrics()["connection_open"] < 3
            until(blocked, 40)
            good.count(3)
            assert not good.gaps, "a slow reader delays nobody"
            if policy == "close":
                said, code = slow.last_words()
                assert code == 4413 and said[-1]["code"] == "overrun", (said[-1], code)
                assert any(e["type"] == "slow_reader_warning" for e in said)
            else:
                while {g["feed"] for g in slow.gaps} != set(FEEDS):
                    slow.event()
                assert {g["reason"] for g in slow.gaps} == {reason}, slow.gaps
                slow.count(200)
                warning = [e for e in slow.other if e["type"] == "slow_reader_warning"]
                assert warning and warning[0]["lag_ticks"] > 0, (policy, slow.other, slow.gaps, "a reader is told that it is slow")
                b = slow.balance()  # the client checked that ticks and gaps make a whole; the charge is for the ticks alone
                assert b["charged_ticks"] == len(slow.ticks), (b, len(slow.ticks))
                slow.close()
            good.close()
            d.settled(account, len(slow.ticks) * TICK_USD)


def a_lease_is_filled_up_while_slow_readers_take_a_part_of_what_they_are_sent():
    """What their sockets do not take is theirs again, also where the lease was as large as it may be, so that what was spent had to be reported first."""
    with Sim(4000) as sim:
        d = Daemon(sim, lease__max="0.002", lease__min="0.0005", limits__lag_ticks=100000, limits__lag_ms=60000)
        token = d.mint("local:a", "10")
        slow = [d.ws(token, rcvbuf=4096) for _ in range(30)]
        quick = d.ws(token)
        for w in (*slow, quick):
            w.subscribe(*FEEDS)
        stop = time.monotonic() + SECONDS
        while d.metrics()["send_short_total"] < len(slow):  # none of them reads
            assert time.monotonic() < stop, "some socket refuses nothing"
            quick.count(500)
        for w in (*slow, quick):
            assert not w.gaps
            w.send({"op": "unsubscribe", "feeds": ["*"]})
            w.next("unsubscribed", 60)
        d.settled("local:a", sum(len(w.ticks) for w in (*slow, quick)) * TICK_USD)
        d.stop()
        d.audit()


def a_socket_that_takes_no_byte_is_reset_after_the_stall_timeout():
    with Sim(4000) as sim, Daemon(sim, limits__stall_timeout="1s") as d:
        slow = _stalled(d, d.mint("local:dead", "100"), "conflate")
        good = d.ws(d.mint("local:good", "100"))
        good.subscribe(BTC)
        until(lambda: good.count(2000) and d.metrics()["connection_slow_total"] == 1, 40)
        assert not good.gaps
        ended(slow.sock)
        a = d.account("local:dead")
        assert a["balance"] >= 0
        good.close()
        until(lambda: d.metrics()["subscription_open"] == 0)


# --- what upstream does ------------------------------------------------------------------------

def a_stale_feed_is_told_and_costs_nothing():
    feeds = [{"name": BTC, "stale_after": "300ms"}, {"name": SOL, "stale_after": "300ms"}]
    with Sim(200) as sim, Daemon(sim, feeds_list__is=feeds) as d:
        w = d.ws(d.mint("local:a"))
        w.subscribe(BTC)
        w.count(10)
        sim.trouble("stall", seconds=0)
        e = w.next("status")
        assert set(e) == {"type", "feed", "state", "source", "since"} and e["state"] == "stale" and e["feed"] == BTC, e
        assert NS.match(e["since"]) and e["source"] == "binance"
        n = len(w.ticks)
        late = d.ws(d.mint("local:b"))
        late.send({"op": "subscribe", "feeds": [BTC, SOL]})
        assert {late.next("status")["feed"], late.next("status")["feed"]} == {BTC, SOL}
        assert late.balance()["charged_ticks"] == 0, "an old value is no tick"
        assert w.balance()["charged_ticks"] == n == len(w.ticks)
        sim.trouble("clear")
        assert w.next("status")["state"] == "live"
        w.count(10)
        w.close()
        late.close()
        d.settled("local:b", len(late.ticks) * TICK_USD)


def rubbish_and_repeats_from_upstream_reach_nobody_and_cost_nothing():
    with Sim(200) as sim, Daemon(sim) as d:
        w = d.ws(d.mint("local:a"))
        w.subscribe(*FEEDS)
        kinds = ("garbage", "duplicate", "reorder", "wrongtype", "nullprice", "array", "truncated", "fragment", "badutf8", "drop", "masked")
        for kind in kinds:
            before = d.metrics()
            more = {"bytes": 64} if kind == "garbage" else {"bytes": 7} if kind == "fragment" else {}
            sim.trouble(kind, count=5, **more) if kind != "drop" else sim.trouble(kind)
            w.count(60)
            if kind == "drop":
                until(lambda: w.count(20) and d.metrics()["upstream_connect_total"] > before["upstream_connect_total"], text=kind)
        ids = {}
        for t in w.ticks:
            ids.setdefault((t["feed"], t["offset"]), []).append(t)
        assert all(len(v) == 1 for v in ids.values()) and not w.gaps
        assert w.balance()["charged_ticks"] == len(w.ticks)
        w.close()
        d.settled("local:a", len(w.ticks) * TICK_USD)
        m = d.metrics()
        assert m["delivered_tick_total"] == len(w.ticks) and m["consumed_nusd_total"] == len(w.ticks) * 1000
        assert m["tick_published_total"] == m["snapshot_tick_total"] == m["shard_tick_total"] or m["shard_lost_total"] == 0


def _end():
    if _shared:
        with _shared["sim"], _shared["daemon"] as d:
            until(lambda: d.metrics()["subscription_open"] == 0, text="every subscription has gone with its connection")


if __name__ == "__main__":
    run(globals(), _end)
