#!/usr/bin/env python3
"""The paid routes beside the query: history page by page, sources compared, the snapshot.  See harness.py."""
import json
import os
import socket
import struct
import subprocess
import tempfile
from decimal import Decimal
from urllib.parse import urlencode

from harness import EVERY_FEED, FEEDS, KAMIYO, QUERY_USD, TICK_USD, Daemon, Sim, read_answer, run, until

BTC, SOL = FEEDS
_shared = {}


def _daemon():
    if not _shared:
        _shared["sim"] = Sim(1000, symbols="BTCUSDT:61000.00,SOLUSDT:150.00,BTCUSD:61010.00")
        _shared["daemon"] = Daemon(_shared["sim"], shards__count=2, stream__heartbeat="60s",
                                   feeds_list__is=[{"name": "BTC/USD", "sources": ["pyth", "binance"]}])
    return _shared["daemon"]


def _funded(usd="10"):
    d = _daemon()
    _shared["n"] = _shared.get("n", 0) + 1
    account = f"local:reader-{_shared['n']}"
    return d, account, d.mint(account, usd)


def _history(d, token, feed=BTC, **more):
    return d.ask("GET", "/v1/history?" + urlencode({"feed": feed, **{k.rstrip("_"): v for k, v in more.items()}}), token=token)


def _page(d, token, **more):
    a = _history(d, token, **more)
    assert a.status == 200, (a.status, a.body[:300])
    return a.json


def _price(n):
    return max(QUERY_USD, n * TICK_USD) if n else Decimal(0)


def _recorded(d, n):
    """Waits until the store has n ticks."""
    until(lambda: d.metrics()["snapshot_tick_total"] >= n)


# --- history ------------------------------------------------------------------------------------------

def pages_hold_what_the_stream_told_each_tick_once_in_order():
    d, account, token = _funded()
    w = d.ws(token)
    w.subscribe(BTC, snapshot=False)
    streamed = w.count(2000)
    w.close()
    charged = len(w.ticks) * TICK_USD
    first, last = (int(streamed[i]["ts_recv"]) for i in (0, -1))
    until(lambda: _page(d, token, from_=last, to=last)["count"] == 1)
    charged += QUERY_USD
    got, cursor, pages = [], None, 0
    while True:
        p = _page(d, token, from_=first, to=last, limit=700, **({"cursor": cursor} if cursor else {}))
        charged += Decimal(p["charged"])
        assert Decimal(p["charged"]) == _price(p["count"]) and p["count"] == len(p["ticks"]), (p["charged"], p["count"])
        got += p["ticks"]
        cursor, pages = p["cursor"], pages + 1
        if not p["more"]:
            break
        assert p["count"] > 100, "a page that is not the last one is long"
    assert got == streamed[:len(got)] and len(got) == len(streamed) and pages >= 3, (len(got), len(streamed), pages)
    d.settled(account, charged)


def a_limit_is_kept_and_a_short_page_costs_one_query():
    d, account, token = _funded()
    _recorded(d, 3000)
    charged = Decimal(0)
    for n, price in ((1, "0.000100000"), (99, "0.000100000"), (100, "0.000100000"), (101, "0.000101000"), (128, "0.000128000"), (129, "0.000129000"), (640, "0.000640000")):
        p = _page(d, token, limit=n)
        assert (p["count"], p["charged"], p["more"]) == (n, price, True), (n, p["count"], p["charged"])
        charged += Decimal(price)
    assert _page(d, token)["count"] == 100, "unless asked otherwise"
    offsets = [t["offset"] for t in p["ticks"]]
    assert offsets == list(range(offsets[0], offsets[0] + 640)), "without a hole"
    d.settled(account, charged + QUERY_USD)


def an_empty_page_costs_nothing_but_counts_as_an_unpaid_request():
    with Sim() as sim, Daemon(sim, limits__requests_per_min=5, limits__requests_per_hour=1000) as d:
        token = d.mint("local:a")
        for _ in range(5):
            p = _page(d, token, from_=1, to=2)
            assert p["ticks"] == [] and p["charged"] == "0.000000000" and not p["more"], p
        a = _history(d, token, from_=1, to=2)
        assert a.status == 429 and "retry-after" in a.headers, a.body
        _recorded(d, 100)
        assert _page(d, token, limit=1)["count"] == 1, "what is paid for goes on"
        d.settled("local:a", QUERY_USD)


def who_polls_with_the_cursor_gets_what_came_since_and_nothing_twice():
    d, account, token = _funded()
    p = _page(d, token, limit=1)
    offsets, cursor, charged = [t["offset"] for t in p["ticks"]], p["cursor"], Decimal(p["charged"])
    while len(offsets) < 1500:
        p = _page(d, token, limit=1000, cursor=cursor)
        offsets += [t["offset"] for t in p["ticks"]]
        cursor, charged = p.get("cursor", cursor), charged + Decimal(p["charged"])
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    d.settled(account, charged)


def what_makes_no_sense_is_refused_and_costs_nothing():
    d, account, token = _funded()
    for more in ({"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"limit": ""}, {"from_": -1}, {"from_": "2026-01-01"}, {"to": 10 ** 19}, {"from_": 5, "to": 4},
                 {"cursor": 0}, {"cursor": 10 ** 15}, {"cursor": "a:1"}):
        a = _history(d, token, **more)
        assert a.status == 400 and a.json["code"] == "bad_request", (more, a.status, a.body[:300])
    for query in ("limit=5&limit=6", "limit", "from=%zz"):
        assert d.ask("GET", f"/v1/history?feed={BTC}&{query}", token=token).status == 400, query
    assert d.ask("GET", "/v1/history", token=token).status == 400
    a = _history(d, token, feed="BTC/USX")
    assert a.status == 404 and a.json["closest"] == "BTC/USD", a.body
    a = _history(d, None)
    assert a.status == 402 and a.json["required"] == "0.000100000", a.body
    a = _history(d, None, limit=1000)
    assert a.status == 402 and a.json["required"] == "0.001000000", a.body
    assert _history(d, token + "x").status == 401
    poor = d.mint(account + "-poor", "0.0002")
    a = _history(d, poor, limit=1000)
    assert a.status == 402 and (a.json["code"], a.json["required"], a.json["balance"]) == ("insufficient_balance", "0.001000000", "0.000200000"), a.body
    assert _page(d, poor, limit=200)["balance"] == "0.000000000"
    d.settled(account, 0)


def many_at_once_are_served_and_who_hangs_up_pays_nothing():
    d, account, token = _funded()
    _recorded(d, 3000)
    request = f"GET /v1/history?feed={BTC}&limit=500 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    socks = [d.connect() for _ in range(60)]
    for i, s in enumerate(socks):
        s.sendall(request * (1 + i % 2))  # some pipeline
    served = 0
    for i, s in enumerate(socks):
        if i % 3 == 0:
            continue
        buf = b""
        for _ in range(1 + i % 2):
            a, buf = read_answer(s, buf)
            assert a.status == 200 and a.json["count"] == 500, a.body
            served += 1
    for s in socks:
        s.close()
    a = until(lambda: (x := d.account(account))["consumed"] >= served * 500 * TICK_USD and x)
    assert a["consumed"] <= 90 * 500 * TICK_USD, (served, a)
    # who is gone before its page is there
    other = d.mint(account + "-gone")
    for _ in range(30):
        s = d.connect()
        s.sendall(request.replace(token.encode(), other.encode()))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    assert _page(d, token, limit=1)["count"] == 1, "the chunks have come back"


def an_answer_that_is_not_read_holds_little():
    d, _, token = _funded()
    _recorded(d, 3000)
    socks = [d.connect(rcvbuf=4096) for _ in range(20)]
    before = d.rss()
    for s in socks:
        s.sendall(f"GET /v1/history?feed={BTC}&limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode() * 20)
    until(lambda: d.metrics()["send_short_total"] >= len(socks))
    assert d.rss() - before < 30 << 20, d.rss() - before
    for s in socks:
        s.close()


def head_and_options_cost_nothing_and_head_counts_as_a_free_request():
    with Sim(300) as sim, Daemon(sim, limits__requests_per_min=6, limits__requests_per_hour=1000) as d:
        token = d.mint("local:a")
        _recorded(d, 100)  # so that no page is empty: that would be one of the free requests
        spent = 1 - Decimal(_page(d, token, limit=3)["balance"])
        for path in (f"/v1/history?feed={BTC}&limit=3", "/v1/snapshot", f"/v1/ingest-data?feed={BTC}", f"/v1/compare?feed={BTC}"):
            a = d.ask("HEAD", path, token=token)
            assert a.status == 200 and a.body == b"" and int(a.headers["content-length"]) > 150, (path, a.status, a.headers)
        assert d.ask("OPTIONS", "/v1/history").status == 204 and d.ask("POST", "/v1/history", {}, token=token).status == 405
        until(lambda: d.ask("HEAD", "/v1/snapshot", token=token).status == 429, text="it is free, and there is an end to it")
        d.settled("local:a", spent)


def history_begins_before_a_restart():
    with Sim() as sim:
        with tempfile.TemporaryDirectory() as folder:
            d = Daemon(sim, data=folder + "/data")
            token = d.mint("local:a")
            until(lambda: _page(d, token, limit=50)["count"] == 50)
            p = _page(d, token, limit=50)
            d.stop()
            d = Daemon(sim, data=folder + "/data")
            assert _page(d, token, limit=50)["ticks"] == p["ticks"]
            d.stop()


# --- compare ------------------------------------------------------------------------------------------

def _compare(d, token, feed, **more):
    return d.ask("GET", "/v1/compare?" + urlencode({"feed": feed, **more}), token=token)


def every_source_of_a_feed_stands_beside_the_median():
    d, account, token = _funded()
    charged = Decimal(0)

    def both():
        nonlocal charged
        a = _compare(d, token, "btc-usd")
        assert a.status == 200, a.body
        charged += Decimal(a.json["charged"])
        return a.json["count"] == 2 and a.json
    j = until(both)
    assert j["feed"] == "BTC/USD" and Decimal(j["charged"]) == 2 * QUERY_USD and {x["source"] for x in j["sources"]} == {"pyth", "binance"}, j
    prices = sorted(Decimal(x["price"]) for x in j["sources"])
    median = sum(prices) / 2
    assert Decimal(j["median"]) == median and [Decimal(j["range"][k]) for k in ("low", "high")] == prices, j
    for rank, x in enumerate(j["sources"], 1):
        off = (Decimal(x["price"]) - median) / median * 10000
        assert x["rank"] == rank and abs(Decimal(x["deviation_bps"]) - off) <= Decimal("0.005") and not x["stale"], (x, off)
    quote = next(x for x in j["sources"] if x["source"] == "binance")
    assert j["best_bid"] == {"source": "binance", "price": quote["bid"]} and j["best_ask"] == {"source": "binance", "price": quote["ask"]}, j
    assert "conf" in next(x for x in j["sources"] if x["source"] == "pyth")
    j = _compare(d, token, "BTC/USD", max=1).json
    assert j["count"] == 1 and j["charged"] == "0.000100000"
    charged += QUERY_USD
    j = _compare(d, token, SOL).json
    assert j["count"] == 1 and j["sources"][0]["deviation_bps"] == "0.00" and j["median"] == j["sources"][0]["price"], j
    charged += QUERY_USD
    d.settled(account, charged)


def what_cannot_be_compared_costs_nothing():
    d, account, token = _funded()
    for more in ({"max": 0}, {"max": 9}, {"max": "all"}):
        assert _compare(d, token, BTC, **more).status == 400, more
    assert _compare(d, token, "BTC/USDX").status == 404
    a = _compare(d, None, "BTC/USD")
    assert a.status == 402 and a.json["required"] == "0.000200000", a.body
    assert _compare(d, None, "BTC/USD", max=1).json["required"] == "0.000100000"
    with Daemon(feeds_list__is=[{"name": "BTC/USD", "sources": ["pyth"]}]) as quiet:
        a = _compare(quiet, quiet.mint("local:a"), "BTC/USD")
        assert a.status == 503 and a.json["code"] == "unavailable", a.body
    d.settled(account, 0)


# --- snapshot -----------------------------------------------------------------------------------------

FLAT, LMDB = "application/vnd.kamiyo.flatbuffers", "application/vnd.lmdb"


def _snapshot(d, token, accept=None, method="GET"):
    return d.ask(method, "/v1/snapshot", token=token, headers={"Accept": accept} if accept else {})


def all_feeds_come_at_once_at_the_price_of_a_batch():
    d, account, token = _funded()
    queries = [{"feed_type": f} for f in sorted(EVERY_FEED)]
    for accept in (None, "application/json", "text/html, */*"):
        a = _snapshot(d, token, accept)
        assert a.status == 200 and a.headers["content-type"] == "application/json", a.body[:300]
        j = a.json
        assert {f["feed"] for f in j["feeds"]} == EVERY_FEED and j["count"] == 4 and j["charged"] == "0.000400000", j
    batch = d.ask("POST", "/v1/ingest-data/batch", queries, token=token).json
    shapes = {r["feed"]: set(r) - {"charged"} for r in batch["results"]}
    assert {f["feed"]: set(f) for f in j["feeds"]} == shapes, "each as a query tells it"
    d.settled(account, 16 * QUERY_USD)


def flatbuffers_are_the_frames_of_the_stream():
    d, account, token = _funded()
    a = _snapshot(d, token, "text/plain;q=0.1, " + FLAT)
    assert a.headers["content-type"] == FLAT and a.headers["kamiyo-count"] == "4" and a.headers["kamiyo-charged"] == "0.000400000", a.headers
    frames, at = [], 0
    while at < len(a.body):
        n = struct.unpack_from("<I", a.body, at)[0]
        frames.append(a.body[at:at + 4 + n])
        assert (4 + n) % 8 == 0 and frames[-1][8:12] == b"KMYT", frames[-1][:16]
        at += 4 + n
    assert at == len(a.body) and sum(f.encode() in x for f in EVERY_FEED for x in frames if x.count(f.encode() + b"\0")) == 4, len(frames)
    d.settled(account, 4 * QUERY_USD)


def lmdb_is_an_environment_that_other_bindings_open():
    try:
        import lmdb
    except ImportError:
        return print("     (python3-lmdb is not installed: left out)")
    d, account, token = _funded()
    a = until(lambda: (a := _snapshot(d, token, LMDB)) and a.headers.get("kamiyo-count") == "4" and a, text="all four are recorded")
    charged = 4 * QUERY_USD
    assert a.status == 200 and a.headers["content-type"] == LMDB and a.headers["kamiyo-charged"] == "0.000400000", a.headers
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/snapshot.mdb"
        with open(path, "wb") as f:
            f.write(a.body)
        env = lmdb.open(path, subdir=False, readonly=True, lock=False, max_dbs=8)
        last, feeds, meta = (env.open_db(name, create=False) for name in (b"last", b"feeds", b"meta"))
        with env.begin() as txn:
            ids = {bytes(v): bytes(k).decode() for k, v in txn.cursor(db=feeds)}
            assert set(ids.values()) == EVERY_FEED, ids
            rows = [(struct.unpack(">IBB", bytes(k)), bytes(v)) for k, v in txn.cursor(db=last)]
            assert txn.get(b"epoch", db=meta).decode() == d.feeds()[BTC]["epoch"]
        env.close()
        assert {i for (i, _, _), _ in rows} == {struct.unpack(">I", i)[0] for i in ids} and all(v[4:8] == b"KMYT" for _, v in rows), rows[:2]
        assert sorted({(s, k) for (i, s, k), _ in rows if ids[struct.pack(">I", i)] == "BTC/USD"}) == [(1, 3), (2, 1), (2, 2)], "by source and kind"
        os.mkdir(folder + "/copy")  # and a folder of it is a store to our own tools
        os.rename(path, folder + "/copy/data.mdb")
    d.settled(account, charged)


def a_snapshot_is_sent_in_pieces_as_it_is_read_and_a_request_behind_it_waits():
    d, account, token = _funded()
    s = d.connect(rcvbuf=4096)
    ask = f"GET /v1/snapshot HTTP/1.1\r\nHost: x\r\nAccept: {LMDB}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    s.sendall(ask * 3 + b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n")
    buf, sizes = b"", []
    for _ in range(3):
        a, buf = read_answer(s, buf)
        assert a.status == 200 and a.body[16:20] == b"\xde\xc0\xef\xbe", a.body[:40]  # LMDB's magic, in its first meta page
        sizes.append(len(a.body))
    a, buf = read_answer(s, buf)
    assert a.status == 200 and "feeds" in a.json and sizes[0] % 4096 == 0
    s.close()
    d.settled(account, 12 * QUERY_USD)
    for _ in range(40):  # who goes in the middle leaves nothing behind
        s = d.connect(rcvbuf=4096)
        s.sendall(ask)
        s.recv(100)
        s.close()
    assert _snapshot(d, token, LMDB).status == 200


def a_snapshot_that_cannot_be_paid_or_given_costs_nothing():
    d, account, token = _funded()
    a = _snapshot(d, None)
    assert a.status == 402 and a.json["required"] == "0.000400000", a.body
    for accept in (None, FLAT, LMDB):
        a = _snapshot(d, d.mint(account + "-poor", "0"), accept)
        assert a.status == 402 and a.json["code"] == "insufficient_balance", (accept, a.body)
    with Daemon() as empty:
        for accept in (None, FLAT, LMDB):
            assert _snapshot(empty, empty.mint("local:a"), accept).status == 503
    a = _snapshot(d, token, LMDB, "HEAD")
    assert a.status == 200 and int(a.headers["content-length"]) > 4096 and a.body == b""
    d.settled(account, 0)


def many_feeds_get_the_discount_of_a_batch_and_their_file_comes_whole():
    symbols = [f"S{i:03}USDT" for i in range(300)]
    with Sim(5, symbols=",".join(f"{s}:100.00" for s in symbols)) as sim, \
            Daemon(sim, wait=False, sources__binance={"url": sim.at["binance"] + "/stream", "symbols": symbols}) as d:
        token = d.mint("local:a")
        n = until(lambda: (f := d.feeds().values()) and all(x["offset"] > 0 for x in f) and len(f))
        j = _snapshot(d, token).json
        price = n * QUERY_USD * 8 / 10
        assert n == 302 and j["count"] == n and Decimal(j["charged"]) == price, (n, j["count"], j["charged"])
        until(lambda: _snapshot(d, token, LMDB, "HEAD").headers["kamiyo-count"] == "302")
        s = d.connect(rcvbuf=4096)
        s.sendall(f"GET /v1/snapshot HTTP/1.1\r\nHost: x\r\nAccept: {LMDB}\r\nAuthorization: Bearer {token}\r\n\r\n".encode() * 2)
        a, buf = read_answer(s)
        b, _ = read_answer(s, buf)
        assert len(a.body) > 2 * 65536 and len(b.body) == len(a.body), len(a.body)
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(folder + "/snapshot")
            with open(folder + "/snapshot/data.mdb", "wb") as f:
                f.write(a.body)
            r = subprocess.run([KAMIYO, "snapshot", "--data", folder, "--json"], capture_output=True, text=True)
            rows = [json.loads(line)["feed"] for line in r.stdout.splitlines()]
            assert r.returncode == 0 and len(set(rows)) == 302, (r.stderr, len(rows))


def _end():
    if _shared:
        _shared["daemon"].stop()
        _shared["daemon"].audit()
        _shared["sim"].end()


if __name__ == "__main__":
    run(globals(), _end)
