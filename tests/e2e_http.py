#!/usr/bin/env python3
"""Both HTTP doors of the real daemon: every route, what it answers, what it costs, and HTTP/1.1 itself.  See harness.py."""
import json
import re
import socket
import struct
import time
from decimal import Decimal

from harness import (EVERY_FEED, FEEDS, QUERY_USD, SANITIZED, SECONDS, Daemon, Sim, ended, forge, read_answer, run, until)

BTC, SOL = FEEDS
NS = re.compile(r"[1-9][0-9]{18}\Z")
MONEY = re.compile(r"(0|[1-9][0-9]*)\.[0-9]{9}\Z")
DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?\Z")
_shared = {}


def _daemon():
    if not _shared:
        _shared["sim"] = Sim(50)
        _shared["daemon"] = Daemon(_shared["sim"])
    return _shared["daemon"]


def _funded(usd="1"):
    d = _daemon()
    _shared["n"] = _shared.get("n", 0) + 1
    account = f"local:agent-{_shared['n']}"
    return d, account, d.mint(account, usd)


def _problem(a, status, code):
    assert a.status == status, (a.status, a.body)
    assert a.headers["content-type"] == ("application/json" if status == 402 else "application/problem+json"), a.headers
    j = a.json
    assert {"type", "title", "status", "code", "detail"} <= set(j) and j["status"] == status and j["code"] == code, j
    assert a.headers["cache-control"] == "no-store"
    return j


def _query(j, feed):
    assert {"feed", "data", "epoch", "offset", "age_ms", "degraded", "cached", "charged"} <= set(j), j
    assert j["feed"] == feed and type(j["offset"]) is int and type(j["age_ms"]) is int and isinstance(j["epoch"], str), j
    assert type(j["degraded"]) is bool and type(j["cached"]) is bool and MONEY.match(j["charged"]), j
    data = j["data"]
    assert {"price", "source", "ts_recv"} <= set(data) <= {"price", "conf", "bid", "ask", "source", "ts_event", "ts_recv"}, data
    assert all(DECIMAL.match(data[k]) for k in ("price", "conf", "bid", "ask") if k in data), data
    assert all(NS.match(data[k]) for k in ("ts_recv", "ts_event") if k in data), data


# --- routes --------------------------------------------------------------------------------------

def free_routes_answer_everybody():
    d = _daemon()
    a = d.ask("GET", "/v1/feeds")
    assert a.status == 200 and a.headers["content-type"] == "application/json"
    assert a.headers["access-control-allow-origin"] == "*" and "PAYMENT-REQUIRED" in a.headers["access-control-expose-headers"]
    for f in a.json["feeds"]:
        assert set(f) == {"feed", "aliases", "kind", "sources", "price_query", "price_tick", "price_pass", "epoch", "offset", "age_ms"}, f
        assert f["price_query"] == "0.000100000" and f["price_tick"] == "0.000001000" and f["price_pass"] == "0.010000000", f
    assert {f["feed"] for f in a.json["feeds"]} == EVERY_FEED
    for path in ("/", "/v1/sources", "/api/v1/feeds"):
        assert d.ask("GET", path).status == 200, path
    sources = until(lambda: (lambda them: all(s["state"] == "live" for s in them) and them)(d.ask("GET", "/v1/sources").json["sources"]))
    for s in sources:
        assert {"source", "state", "connects", "frames", "last_tick_age_ms"} <= set(s) and s["connects"] == 1, s


def a_query_answers_the_newest_value_and_costs_its_price():
    d, account, token = _funded()
    rows = [("GET", "/v1/ingest-data?feed=BTC/USDT@binance", None), ("GET", "/v1/ingest-data?feed=BTC%2FUSDT%40binance", None),
            ("GET", "/api/v1/ingest-data?feed=BTCUSDT", None), ("GET", "/v1/ingest-data?feed_type=BTC/USDT@binance", None),
            ("POST", "/v1/ingest-data", {"feed_type": BTC}), ("POST", "/v1/ingest-data", {"feed": BTC}),
            ("POST", "/v1/ingest-data", {"feed_type": BTC, "data_params": {"max_age_ms": 60000}}),
            ("GET", "/v1/ingest-data?feed=BTCUSDT&max_age_ms=60000", None)]
    for i, (method, path, body) in enumerate(rows, 1):
        before = d.feeds()[BTC]
        a = d.ask(method, path, body, token=token)
        assert a.status == 200, (path, a.body)
        _query(a.json, BTC)
        assert before["offset"] <= a.json["offset"] <= d.feeds()[BTC]["offset"] and a.json["epoch"] == before["epoch"], (before, a.json)
        assert a.json["cached"] is False and a.json["degraded"] is False, a.json  # the market is live
        assert Decimal(a.json["charged"]) == QUERY_USD and Decimal(a.json["balance"]) == 1 - i * QUERY_USD, a.json
        assert a.headers["cache-control"] == "no-store"
    assert d.settled(account, len(rows) * QUERY_USD)["queries"] == len(rows)


def what_fails_costs_nothing():
    d, account, token = _funded()
    rows = [("GET", "/v1/ingest-data?feed=SOL/USDD", None, 404, "unknown_feed"), ("GET", "/v1/ingest-data", None, 400, "bad_request"),
            ("GET", "/v1/ingest-data?feed=" + "x" * 3000, None, 400, "bad_request"), ("GET", "/v1/ingest-data?feed=%00", None, 400, "bad_request"),
            ("GET", "/v1/ingest-data?feed=BTCUSDT&max_age_ms=-1", None, 400, "bad_request"),
            ("GET", "/v1/ingest-data?feed=BTCUSDT&max_age_ms=x", None, 400, "bad_request"),
            ("POST", "/v1/ingest-data", "", 400, "bad_request"), ("POST", "/v1/ingest-data", "{", 400, "bad_request"),
            ("POST", "/v1/ingest-data", "[]", 400, "bad_request"), ("POST", "/v1/ingest-data", {}, 400, "bad_request"),
            ("POST", "/v1/ingest-data", {"feed_type": 5}, 400, "bad_request"), ("POST", "/v1/ingest-data", {"feed_type": "nope"}, 404, "unknown_feed"),
            ("POST", "/v1/ingest-data", {"feed_type": BTC, "data_params": {"max_age_ms": "5"}}, 400, "bad_request"),
            ("POST", "/v1/ingest-data", {"feed_type": BTC, "data_params": 5}, 400, "bad_request"),
            ("POST", "/v1/ingest-data", '{"feed_type":"BTCUSDT"} x', 400, "bad_request"),
            ("POST", "/v1/ingest-data", '{"feed_type":"BTCUSDT","feed_type":"SOLUSDT"}', 400, "bad_request"),
            ("POST", "/v1/ingest-data/batch", {}, 400, "bad_request"), ("POST", "/v1/ingest-data/batch", {"queries": 5}, 400, "bad_request"),
            ("POST", "/v1/ingest-data/batch", [5], 400, "bad_request"), ("POST", "/v1/ingest-data/batch", "[{}", 400, "bad_request"),
            ("POST", "/v1/ingest-data/batch", "[" * 60000, 400, "bad_request"),
            ("POST", "/v1/ingest-data/batch", [{"feed_type": BTC}] * 101, 400, "bad_request")]
    for method, path, body, status, code in rows:
        j = _problem(d.ask(method, path, body, token=token), status, code)
        assert "SOL/USDD" not in path or j["closest"].startswith("SOL/USD"), j
    assert d.account(account)["consumed"] == 0


def what_is_too_old_is_not_sold():
    d, account, token = _funded()
    with Sim(50) as sim, Daemon(sim) as d2:
        token = d2.mint("local:a")
        sim.trouble("stall", "all", seconds=0)
        until(lambda: d2.feeds()[BTC]["age_ms"] > 50)
        j = _problem(d2.ask("GET", "/v1/ingest-data?feed=BTCUSDT&max_age_ms=20", token=token), 503, "stale")
        assert j["retry_after_ms"] > 0
        a = d2.ask("POST", "/v1/ingest-data/batch", [{"feed_type": BTC, "data_params": {"max_age_ms": 1}}, {"feed_type": SOL}], token=token)
        assert a.json["results"][0]["error"]["code"] == "stale" and a.json["count"] == 1, a.json
        d2.settled("local:a", QUERY_USD)
    with Daemon(None, sources__binance={"url": "ws://127.0.0.1:9/stream", "symbols": ["BTCUSDT"]}) as d3:
        _problem(d3.ask("GET", "/v1/ingest-data?feed=BTCUSDT", token=d3.mint("local:a")), 503, "unavailable")
        assert d3.ask("GET", "/v1/feeds").json["feeds"][0]["age_ms"] is None


def without_a_token_paid_routes_answer_402_with_the_price():
    d = _daemon()
    rows = [("GET", "/v1/ingest-data?feed=BTCUSDT", None, "0.000100000"), ("POST", "/v1/ingest-data", {"feed_type": BTC}, "0.000100000"),
            ("POST", "/v1/ingest-data/batch", [{"feed_type": BTC}] * 9, "0.000900000"),
            ("POST", "/v1/ingest-data/batch", [{"feed_type": BTC}] * 100, "0.008000000")]
    for method, path, body, price in rows:
        a = d.ask(method, path, body)
        assert len(a.body) < 4096 and _problem(a, 402, "payment_required")["required"] == price, a.body


def bad_tokens_are_401_on_every_route_that_takes_one():
    d, account, token = _funded()
    with open(d.data + "/token.key", "rb") as f:
        key = f.read()
    bad = {"Bearer x": "unauthenticated", "Basic eDp5": "unauthenticated", "Bearer": "unauthenticated", "": "unauthenticated",
           "Bearer " + token[:-1]: "unauthenticated", "Bearer " + forge(b"k" * 32): "unauthenticated",
           "Bearer " + forge(key, account, age=1000, life=10): "token_expired", "Bearer " + forge(key, "local:nobody"): "unauthenticated",
           "Bearer " + "a" * 5000: "unauthenticated"}
    for value, code in bad.items():
        for method, path, body in (("GET", "/v1/ingest-data?feed=BTCUSDT", None), ("POST", "/v1/ingest-data", {"feed_type": BTC}),
                                   ("POST", "/v1/ingest-data/batch", [{"feed_type": BTC}]), ("GET", "/v1/account", None), ("POST", "/v1/tokens/revoke", None)):
            a = d.ask(method, path, body, headers={"Authorization": value})
            _problem(a, 401, code)
            assert a.headers["www-authenticate"].startswith("Bearer"), a.headers
    a = d.ask("GET", "/v1/account?token=" + token)
    assert a.status in (401, 402), "a token in the query is for the stream alone"
    assert d.ask("GET", "/v1/account", headers={"Authorization": "bEaReR " + token}).status == 200


def out_of_balance_is_402_with_what_is_missing():
    d, account, token = _funded("0.00025")
    for left in ("0.000150000", "0.000050000"):
        assert d.ask("GET", "/v1/ingest-data?feed=BTCUSDT", token=token).json["balance"] == left
    for method, path, body, price in (("GET", "/v1/ingest-data?feed=BTCUSDT", None, "0.000100000"),
                                      ("POST", "/v1/ingest-data/batch", [{"feed_type": BTC}] * 3, "0.000300000")):
        j = _problem(d.ask(method, path, body, token=token), 402, "insufficient_balance")
        assert j["required"] == price and j["balance"] == "0.000050000", j
    d.mint(account, "0.00005")
    assert d.ask("GET", "/v1/ingest-data?feed=BTCUSDT", token=token).json["balance"] == "0.000000000"
    d.settled(account, 3 * QUERY_USD)


def a_batch_charges_what_it_delivers_with_a_discount_from_ten():
    d, account, token = _funded()
    consumed = 0
    #       known unknown  each
    rows = [(0, 0, 100), (1, 0, 100), (0, 3, 100), (9, 0, 100), (9, 5, 100), (10, 0, 80), (10, 1, 80), (11, 89, 80), (100, 0, 80)]
    for known, unknown, each in rows:
        queries = [{"feed_type": BTC if i % 2 else "SOL-USD"} for i in range(known)]
        for i in range(unknown):
            queries.insert(i * 2 % (len(queries) + 1), {"feed_type": f"NO-{i}"})
        for body in (queries, {"queries": queries}):
            a = d.ask("POST", "/v1/ingest-data/batch", body, token=token)
            assert a.status == 200, a.body
            j = a.json
            price = Decimal(each) / 1000000
            consumed += known * price
            assert set(j) == {"results", "count", "charged", "balance"} and len(j["results"]) == known + unknown
            assert j["count"] == known and Decimal(j["charged"]) == known * price and Decimal(j["balance"]) == 1 - consumed, (known, unknown, j)
            for q, r in zip(queries, j["results"]):
                if q["feed_type"].startswith("NO-"):
                    assert r["error"]["code"] == "unknown_feed" and set(r) == {"error"}, r
                else:
                    _query(r, BTC if q["feed_type"] == BTC else "SOL/USD")
                    assert Decimal(r["charged"]) == price
    d.settled(account, consumed)


def a_batch_of_unknown_feeds_costs_nothing_and_only_the_first_are_told_the_nearest_name():
    d, account, token = _funded()
    a = d.ask("POST", "/v1/ingest-data/batch", [{"feed_type": "SOL/USDD"}] * 100, token=token)
    assert a.status == 200 and a.json["count"] == 0 and a.json["charged"] == "0.000000000", a.body
    told = ["closest is SOL/USD" in r["error"]["detail"] for r in a.json["results"]]
    assert told == [True] * 8 + [False] * 92, ("each is a search among all names", a.json["results"][:2], a.json["results"][9])
    d.settled(account, 0)


def an_account_sees_itself_and_revokes_its_own_token_only():
    d, account, token = _funded("2.5")
    j = d.ask("GET", "/v1/account", token=token).json
    assert j["account"] == account and j["balance"] == "2.500000000" and NS.match(j["token"]["expires_at"]), j
    other = d.mint(account)
    jti = d.ask("GET", "/v1/account", token=other).json["token"]["jti"]
    _problem(d.ask("POST", "/v1/tokens/revoke", {"jti": jti}, token=token), 403, "forbidden")
    a = d.ask("POST", "/v1/tokens/revoke", {"jti": j["token"]["jti"]}, token=token)
    assert a.json == {"revoked": j["token"]["jti"]}
    _problem(d.ask("GET", "/v1/account", token=token), 401, "token_revoked")
    assert d.ask("GET", "/v1/account", token=other).status == 200


def unknown_paths_are_404_and_other_methods_405_with_allow():
    d = _daemon()
    for door in ("public", "admin"):
        for path in ("/nope", "/v1/", "/v1/feeds/", "/V1/feeds", "//v1/feeds", "/v1/feeds%2f", "/api", "/apiv1/feeds", "/echo", "/..", "/v1/../v1/feeds"):
            _problem(d.ask("GET", path, door=door), 404, "not_found")
    assert d.ask("GET", "/metrics").status == 404 and d.ask("GET", "/v1/admin/conns").status == 404, "never on the public door"
    for method, path, door, allow in (("POST", "/v1/feeds", "public", "GET"), ("DELETE", "/v1/account", "public", "GET"), ("GET", "/v1/tokens/revoke", "public", "POST"),
                                      ("GET", "/v1/ingest-data/batch", "public", "POST"), ("PUT", "/v1/ingest-data", "public", "GET, POST"),
                                      ("POST", "/metrics", "admin", "GET"), ("GET", "/v1/admin/tokens", "admin", "POST"), ("POST", "/v1/stream", "public", "GET")):
        a = d.ask(method, path, door=door)
        _problem(a, 405, "method_not_allowed")
        allowed = {m.strip() for m in a.headers["allow"].split(",")}
        assert set(allow.split(", ")) <= allowed, (method, path, a.headers["allow"])
    a = d.ask("GET", "/v1/stream")
    assert _problem(a, 426, "upgrade_required") and a.headers["upgrade"].lower() == "websocket"
    assert a.headers["connection"].lower() .split(", ")[0] == "upgrade"  # RFC 9110 section 7.8: who sends the one sends the other


def head_is_get_without_a_body():
    d, account, token = _funded()
    for path, door in (("/v1/feeds", "public"), ("/", "public"), ("/metrics", "admin"), ("/nope", "public")):
        with d.connect(door) as s:
            for method in (b"HEAD", b"GET", b"HEAD"):
                s.sendall(method + f" {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                a, rest = read_answer(s, head=method == b"HEAD")
                assert int(a.headers["content-length"]) > 0 and rest == b"", (path, method)


def browsers_may_ask_first():
    d = _daemon()
    a = d.ask("OPTIONS", "/v1/ingest-data", headers={"Origin": "https://example.org", "Access-Control-Request-Method": "POST"})
    assert a.status == 204 and a.body == b"" and a.headers["access-control-allow-origin"] == "*", a.headers
    for h in ("Authorization", "X-PAYMENT", "PAYMENT-SIGNATURE", "SIGN-IN-WITH-X", "Access-Control-Expose-Headers"):
        assert h in a.headers["access-control-allow-headers"], h
    assert "access-control-allow-credentials" not in a.headers


# --- HTTP itself ---------------------------------------------------------------------------------

def connections_are_kept_or_closed_as_asked():
    d = _daemon()
    #       version, Connection            kept
    rows = [("1.1", None, True), ("1.1", "close", False), ("1.1", "Keep-Alive", True), ("1.0", None, False), ("1.0", "keep-alive", True), ("1.1", "x, Close", False)]
    for version, connection, kept in rows:
        with d.connect() as s:
            for _ in range(3 if kept else 1):
                s.sendall(f"GET /v1/feeds HTTP/{version}\r\nHost: x\r\n{f'Connection: {connection}' + chr(13) + chr(10) if connection else ''}\r\n".encode())
                a, rest = read_answer(s)
                assert a.status == 200 and rest == b""
            if not kept:
                assert a.headers["connection"] == "close" and ended(s) == b"", (version, connection)


REQUESTS = [  # what, the bytes, status, a word of the answer
    ("a query", "GET /v1/ingest-data?feed=BTCUSDT HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n", 200, b"BTC/USDT@binance"),
    ("a body of known length", "POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 23\r\n\r\n"
     "{{\"feed_type\":\"SOLUSDT\"}}", 200, b"SOL/USDT@binance"),
    ("a chunked body", "POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
     "5;ext=1\r\n{{\"fee\r\n12\r\nd_type\":\"SOLUSDT\"}}\r\n0\r\nTrailer: x\r\n\r\n", 200, b"SOL/USDT@binance"),
    ("nothing there", "GET /nope HTTP/1.1\r\nHost: x\r\n\r\n", 404, b"not_found"),
    ("an empty chunked body", "POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, b"bad_request"),
]


def _bytes(token, *rows):
    return b"".join(r[1].format(token=token).encode() for r in rows)


def _answers(s, *rows):
    rest = b""
    for what, _, status, word in rows:
        try:
            a, rest = read_answer(s, rest)
        except TimeoutError:
            raise AssertionError("no answer: " + what) from None
        assert a.status == status and word in a.body, (what, a.status, a.body)
    assert rest == b"", rest


def a_request_may_come_in_one_piece_or_be_cut_anywhere():
    d, account, token = _funded()
    for row in REQUESTS:
        data = _bytes(token, row)
        with d.connect() as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.sendall(data)
            _answers(s, row)
            for b in data:
                s.sendall(bytes([b]))
            _answers(s, row)
            for cut in range(1, len(data), 3):
                s.sendall(data[:cut])
                d.admin and s.sendall(data[cut:])
                _answers(s, row)


def pipelined_requests_are_answered_in_order_wherever_they_are_cut():
    d, account, token = _funded()
    rows = [*REQUESTS, *reversed(REQUESTS), REQUESTS[2], REQUESTS[2], REQUESTS[0]]
    data = _bytes(token, *rows)
    with d.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(data)
        _answers(s, *rows)
        for cut in range(1, len(data), 37):
            s.sendall(data[:cut])
            s.sendall(data[cut:])
            _answers(s, *rows)
    paid = sum(r[2] == 200 for r in rows) * (1 + len(range(1, len(data), 37)))
    d.settled(account, paid * QUERY_USD)


def a_client_that_pipelines_thousands_and_reads_gets_all_answers():
    d, account, token = _funded()
    for n, one in ((20000, b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n"), (3000, b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n")):
        with d.connect() as s:
            s.setblocking(False)
            out, got, ends = one * n, 0, 0
            tail = b""

            def turn():
                nonlocal out, got, tail
                try:
                    out = out[s.send(out[:262144]):] if out else out
                except BlockingIOError:
                    pass
                try:
                    data = s.recv(1 << 20)
                    assert data, f"cut after {got} of {n}"
                    tail += data
                    got += tail.count(b"HTTP/1.1 ")
                    tail = tail[-8:] if not tail.endswith(b"HTTP/1.1 ") else b""
                except BlockingIOError:
                    pass
                return got == n
            stop = time.monotonic() + 30
            while not turn():
                assert time.monotonic() < stop, (got, n, len(out))


def a_busy_account_is_leased_more_at_a_time():
    """An account begins with leases of ten queries (lease.min), each a durable commit of the ledger; one that is gone too soon is followed by a larger one."""
    d, _, token = _funded("1")
    with d.connect() as s:
        before, rest = d.metrics()["ledger_commit_total"], b""
        for _ in range(20):
            s.sendall(100 * f"GET /v1/ingest-data?feed={SOL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            for _ in range(100):
                a, rest = read_answer(s, rest)
                assert a.status == 200, a.body
        commits = d.metrics()["ledger_commit_total"] - before
    assert commits < 60, commits  # 2,000 queries would be 200 leases of ten


def a_client_that_pipelines_and_does_not_read_costs_little_memory():
    d = _daemon()
    before = d.rss()
    socks = [d.connect(rcvbuf=4096) for _ in range(20)]
    for s in socks:
        s.setblocking(False)
        try:
            for _ in range(100):
                s.send(b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        except (BlockingIOError, ConnectionResetError, BrokenPipeError):
            pass
    assert d.ask("GET", "/v1/feeds").status == 200
    assert SANITIZED or d.rss() - before < 20 * 1500000, d.rss() - before
    for s in socks:
        s.close()
    until(lambda: d.metrics()["connection_open"] <= 1)


def a_waiting_client_is_told_to_continue():
    d, account, token = _funded()
    body = b'{"feed_type":"SOLUSDT"}'
    head = f"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n".encode()
    with d.connect() as s:
        for framing, data in ((b"Content-Length: 23\r\n\r\n", body), (b"Transfer-Encoding: chunked\r\n\r\n", b"17\r\n" + body + b"\r\n0\r\n\r\n")):
            s.sendall(head + framing)
            a, rest = read_answer(s)
            assert a.status == 100 and rest == b""
            s.sendall(data[:7])
            s.sendall(data[7:])
            a, rest = read_answer(s)
            assert a.status == 200 and rest == b"", a.body
        s.sendall(head + b"Content-Length: 23\r\n\r\n" + body)  # it did not wait: no need to tell it
        a, rest = read_answer(s)
        assert a.status == 200 and rest == b"", a.status
        s.sendall(head.replace(b"100-continue", b"200-ok") + b"Content-Length: 23\r\n\r\n")
        assert read_answer(s)[0].status == 417


def a_client_that_ends_its_side_still_gets_its_answer():
    d, account, token = _funded()
    fresh = [d.mint(f"local:half-{i}") for i in range(5)]  # the account must be opened first: the answer takes a while
    for t in (token, *fresh):
        for row in REQUESTS:
            with d.connect() as s:
                s.sendall(_bytes(t, row))
                s.shutdown(socket.SHUT_WR)
                _answers(s, row)
                assert ended(s) == b""
    with d.connect("admin") as s:
        s.sendall(f"GET /v1/admin/ledger HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {d.bearer}\r\n\r\n".encode())
        s.shutdown(socket.SHUT_WR)
        assert read_answer(s)[0].status == 200


def an_absolute_target_and_odd_spellings_are_understood():
    d = _daemon()
    for text in ("GET http://example.org/v1/feeds HTTP/1.1\r\nHost: example.org\r\n\r\n", "\r\nGET /v1/feeds HTTP/1.1\r\nhOsT:   x   \r\n\r\n", "GET /v1/feeds? HTTP/1.1\r\nHost:x\r\n\r\n"):
        with d.connect() as s:
            s.sendall(text.encode())
            assert read_answer(s)[0].status == 200, text


# --- the operator's door -------------------------------------------------------------------------

def the_operators_door_talks_to_no_web_page_and_no_foreign_host():
    d = _daemon()
    port = d.admin[1]
    for host, status in (("127.0.0.1", 200), (f"127.0.0.1:{port}", 200), ("localhost", 200), (f"LOCALHOST:{port}", 200), ("[::1]:1", 200), ("evil.example", 403),
                         ("127.0.0.1.evil.example", 403), ("localhostevil", 403), ("evil:127.0.0.1", (400, 403))):
        a = d.ask("GET", "/healthz", door="admin", headers={"Host": host})
        assert a.status == status or a.status in (status if isinstance(status, tuple) else ()), (host, a.status)
    for origin in ("https://evil.example", "null", "http://127.0.0.1"):
        _problem(d.ask("GET", "/healthz", door="admin", headers={"Origin": origin}), 403, "forbidden")
        _problem(d.ask("POST", "/v1/admin/tokens", {"account": "local:x", "usd": "1"}, "admin", {"Origin": origin}, d.bearer), 403, "forbidden")
    a = d.ask("GET", "/healthz", door="admin")
    assert "access-control-allow-origin" not in a.headers


def verbs_need_the_operators_bearer():
    d, account, token = _funded()
    verbs = [("POST", "/v1/admin/tokens", {"account": "local:x", "usd": "1"}), ("POST", "/v1/admin/tokens/revoke", {"jti": "x"}), ("GET", "/v1/admin/accounts?account=local:x", None),
             ("GET", "/v1/admin/ledger", None), ("GET", "/v1/admin/conns", None)]
    for method, path, body in verbs:
        for auth in (None, "Bearer x", "Bearer " + token, "Bearer " + d.bearer[:-1], "Bearer " + d.bearer + "0", "Basic " + d.bearer):
            _problem(d.ask(method, path, body, "admin", {"Authorization": auth} if auth else {}), 401, "unauthenticated")
    _problem(d.operator("GET", "/v1/admin/accounts?account=local:x"), 404, "not_found")


def minting_credits_once_per_idempotency_key():
    d = _daemon()
    for _ in range(3):
        a = d.operator("POST", "/v1/admin/tokens", {"account": "local:idem", "usd": "1.5"}, {"Idempotency-Key": "k1"})
        assert a.status == 200 and a.json["balance"] == "1.500000000", a.body
    d.operator("POST", "/v1/admin/tokens", {"account": "local:idem", "usd": "1.5"}, {"Idempotency-Key": "k2"})
    assert d.account("local:idem")["credited"] == 3
    _problem(d.operator("POST", "/v1/admin/tokens", {"account": "local:idem", "usd": "7"}, {"Idempotency-Key": "k1"}), 409, "conflict")
    _problem(d.operator("POST", "/v1/admin/tokens", {"account": "local:idem-other", "usd": "1.5"}, {"Idempotency-Key": "k1"}), 409, "conflict")
    bad = [{}, {"account": ""}, {"account": "a b"}, {"account": "x" * 128}, {"account": "eip155:1:0xABC"}, {"account": 5}, {"account": "a", "usd": 1}, {"account": "a", "usd": "-1"},
           {"account": "a", "usd": "1e3"}, {"account": "a", "usd": "0.0000000001"}, {"account": "a", "usd": "99999999999999"}, {"account": "a", "usd": "NaN"},
           {"account": "a", "ttl_s": 59}, {"account": "a", "ttl_s": 86401}, {"account": "a", "ttl_s": "60"}, {"account": "a", "ttl_s": 1.5}, [], "x", {"account": "a\x00b"}]
    for body in bad:
        a = d.operator("POST", "/v1/admin/tokens", body)
        assert a.status == 400, (body, a.status, a.body)
    for key in ("", "k" * 101):
        assert d.operator("POST", "/v1/admin/tokens", {"account": "local:idem", "usd": "1"}, {"Idempotency-Key": key}).status == 400, key
    body = b'{"account":"local:idem","usd":"1"}'
    with d.connect("admin") as s:
        s.sendall(f"POST /v1/admin/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {d.bearer}\r\nIdempotency-Key: k8\r\nIdempotency-Key: k9\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert read_answer(s)[0].status == 400, "which of the two?"
    _problem(d.operator("GET", "/v1/admin/accounts?account=a"), 404, "not_found")


def figures_of_an_account_and_of_all_add_up():
    d, account, token = _funded("0.5")
    d.ask("GET", "/v1/ingest-data?feed=BTCUSDT", token=token)
    a = d.settled(account, QUERY_USD)
    assert a["credited"] == Decimal("0.5")

    def adds_up():
        j = d.operator("GET", "/v1/admin/ledger").json
        return Decimal(j["credited"]) == sum(Decimal(j[k]) for k in ("balance", "leased", "consumed")) and j["accounts"] > 1
    assert adds_up()


def metrics_are_prometheus_text():
    d = _daemon()
    a = d.ask("GET", "/metrics", door="admin")
    assert a.headers["content-type"] == "text/plain; version=0.0.4"
    seen, typed = set(), {}
    for line in a.body.decode().split("\n")[:-1]:
        m = re.match(r"# (HELP|TYPE) (kamiyo_[a-z_]+) (.+)\Z", line)
        if m:
            typed.setdefault(m[2], {})[m[1]] = m[3]
            continue
        m = re.match(r"(kamiyo_[a-z_]+) (-?[0-9]+)\Z", line)
        assert m and m[1] in typed and m[1] not in seen, line
        seen.add(m[1])
        assert typed[m[1]]["TYPE"] == ("counter" if m[1].endswith("_total") else "gauge"), line
    assert seen == set(typed) and a.body.endswith(b"\n") and len(seen) > 30
    assert d.ask("GET", "/api/metrics", door="admin").status == 200


def health_is_open_and_readiness_follows_the_required_feeds():
    d = _daemon()
    for path in ("/healthz", "/livez", "/api/health", "/api/live"):
        assert d.ask("GET", path, door="admin").json["status"] == "ok"
    for path in ("/readyz", "/api/ready"):
        a = d.ask("GET", path, door="admin")
        assert a.status == 200 and a.json == {"reasons": [], "ready": True}
    feeds = [{"name": BTC, "stale_after": "200ms", "required": True}, {"name": SOL, "stale_after": "200ms"}]
    with Sim(200) as sim, Daemon(sim, feeds_list__is=feeds) as d:
        until(lambda: d.ask("GET", "/readyz", door="admin").status == 200)
        sim.trouble("stall", "binance", seconds=0)
        a = until(lambda: (lambda a: a.status == 503 and a)(d.ask("GET", "/readyz", door="admin")))
        assert a.json == {"reasons": ["stale: " + BTC], "ready": False}
        sim.trouble("clear")
        until(lambda: d.ask("GET", "/readyz", door="admin").status == 200)


def _end():
    if _shared:
        with _shared["sim"], _shared["daemon"]:
            pass


if __name__ == "__main__":
    run(globals(), _end)
