#!/usr/bin/env python3
"""The limits of docs/protocol.md on the real daemon: what is counted by address and what by account, how a refusal is said, that it holds over shards,
and that whoever pays is served whatever others at the same address do.  See harness.py."""
import json
import re
import socket
import time

from harness import (FEEDS, PING, PONG, TEXT, Daemon, Sim, Ws, ended, read_answer, run, until, ws_frame)

BTC, SOL = FEEDS
SLOW = dict(limits__unauthenticated_per_s=1, limits__unauthenticated_burst=5)  # a token a second: what follows takes less
_shared = {}


def _statuses(d, n, path="/v1/feeds", method="GET", body=None, **more):
    return [d.ask(method, path, body, **more).status for _ in range(n)]


def _told(a, name, q, w):
    """The fields of the draft and the older three say the same; what is left."""
    assert re.search(rf'"{name}";q={q};w={w}(,|$)', a.headers["ratelimit-policy"]), a.headers
    m = re.fullmatch(rf'"{name}";r=(\d+);t=(\d+)', a.headers["ratelimit"])
    assert m, a.headers
    assert (a.headers["x-ratelimit-limit"], a.headers["x-ratelimit-remaining"], a.headers["x-ratelimit-reset"]) == (str(q), m[1], m[2]), a.headers
    return int(m[1])


def _refused(a):
    assert a.status == 429 and a.headers["content-type"] == "application/problem+json", (a.status, a.headers)
    assert a.json["code"] == "limit_reached" and a.json["status"] == 429 and 0 < a.json["retry_after_ms"] <= 1000 * int(a.headers["retry-after"]), a.json


# --- by address ------------------------------------------------------------------------------------

def what_ends_without_a_token_is_counted_by_address_and_refused_with_429():
    with Daemon(**SLOW) as d:
        lefts = [_told(d.ask("GET", "/v1/feeds"), "address", 5, 5) for _ in range(5)]
        assert lefts == [4, 3, 2, 1, 0], lefts
        rows = [("GET", "/v1/feeds", None), ("GET", "/", None), ("GET", "/v1/sources", None), ("GET", "/nope", None), ("POST", "/v1/feeds", None), ("GET", "/v1/stream", None),
                ("GET", "/v1/ingest-data?feed=SOL/USD", None), ("GET", "/v1/ingest-data", None), ("GET", "/v1/ingest-data?feed=NO/NO", None), ("POST", "/v1/ingest-data", "{"),
                ("POST", "/v1/ingest-data/batch", "[]"), ("GET", "/v1/account", None), ("POST", "/v1/tokens/revoke", None)]
        refused = 0
        for method, path, body in rows:
            for token in (None, "not.a.token"):
                a = d.ask(method, path, body, token=token)
                if a.status == 429:
                    _refused(a)
                    refused += 1
        assert refused >= 2 * len(rows) - 3, refused  # a token or two came back while they were asked
        assert d.metrics()["limit_address_total"] == refused
        assert d.ask("OPTIONS", "/v1/feeds").status == 204  # a browser's question before the question


def a_bucket_fills_again_at_its_rate():
    with Daemon(limits__unauthenticated_per_s=20, limits__unauthenticated_burst=10) as d:
        start = time.monotonic()
        served = 0
        while time.monotonic() - start < 1.5:
            served += d.ask("GET", "/v1/feeds").status == 200
        assert 30 <= served <= 10 + 20 * (time.monotonic() - start) + 1, served  # 40, less what a busy machine did not ask
        until(lambda: d.ask("GET", "/v1/feeds").status == 200)


def whoever_shows_a_token_is_served_whatever_others_at_his_address_do():
    with Sim() as sim, Daemon(sim, wait=False, **SLOW) as d:
        token = d.mint("local:payer", "1")
        until(lambda: d.ask("GET", "/v1/ingest-data?feed=BTCUSDT", token=token).status == 200)
        while d.ask("GET", "/v1/feeds").status != 429:
            pass
        assert set(_statuses(d, 200, "/v1/ingest-data?feed=BTCUSDT", token=token)) == {200}
        socks = [Ws(d.public, token=token, by=by) for by in ("header", "query", "op", "bare") for _ in range(5)]
        for w in socks:
            w.subscribe(BTC)
            w.count(1)
        for w in socks:
            w.close()
        assert d.ask("GET", "/v1/feeds").status in (200, 429)  # and was not counted: no more than one a second came back
        # What a paid route answers to a valid token is no matter of counting, good or bad.
        assert set(_statuses(d, 20, "/v1/ingest-data?feed=NO/NO", token=token)) == {404}
        poor = d.mint("local:poor", "0")
        assert set(_statuses(d, 150, "/v1/ingest-data?feed=BTCUSDT", token=poor)) == {402}


def the_limit_holds_over_all_shards_together():
    with Daemon(shards__count=4, **SLOW) as d:  # each connection may come to another one
        start = time.monotonic()
        served = _statuses(d, 200).count(200)
        assert 5 <= served <= 6 + (time.monotonic() - start), served


def streams_that_end_without_a_token_are_counted_and_closed_with_4429():
    with Daemon(limits__auth_timeout="100ms", limits__unauthenticated_per_s=1, limits__unauthenticated_burst=4) as d:
        codes = []
        for _ in range(4):
            w = d.ws("not.a.token", hello=False)
            said, code = w.last_words()
            codes.append(code)
        assert codes[:3] == [4401] * 3, codes
        def cut():
            said, code = d.ws("not.a.token", hello=False).last_words()
            return code == 4429 and said[-1]
        e = until(cut)
        assert e["type"] == "error" and e["code"] == "limit_reached" and e["retry"] is True and 0 < e["retry_after_ms"] <= 1000, e
        silent = [d.ws() for _ in range(8)]  # never says a word: 4408 at first, then 4429
        codes = [w.closed() for w in silent]
        assert set(codes) <= {4408, 4429} and codes.count(4429) >= 5, codes
        for _ in range(10):  # nor does hanging up first help
            d.ws().drop()
        until(lambda: d.ask("GET", "/v1/feeds").status == 429 or d.ws().drop())
        token = d.mint("local:a")
        d.ws(token).close()


# --- by account --------------------------------------------------------------------------------------

def an_account_has_its_unpaid_requests_by_minute_and_hour():
    with Daemon(limits__requests_per_min=10, limits__requests_per_hour=14, limits__unauthenticated_per_s=1, limits__unauthenticated_burst=1) as d:
        a, b = d.mint("local:a"), d.mint("local:b")
        assert [_told(d.ask("GET", p, token=a), "minute", 10, 60) for p in ("/v1/feeds", "/v1/account", "/v1/sources", "/")] == [9, 8, 7, 6]
        assert _statuses(d, 6, "/v1/account", token=a) == [200] * 6
        _refused(d.ask("GET", "/v1/account", token=a))
        _refused(d.ask("GET", "/v1/account", token=d.mint("local:a")))  # the account's, not the token's
        assert d.ask("GET", "/v1/account", token=b).status == 200
        assert '"hour";q=14;w=3600' in d.ask("GET", "/v1/account", token=b).headers["ratelimit-policy"]
        m = d.metrics()
        assert m["limit_account_total"] == 2 and m["limit_address_total"] == 0
        w = d.ws(a)  # a stream is no unpaid request
        w.balance()
        w.close()
    with Daemon(shards__count=3, limits__requests_per_min=1000, limits__requests_per_hour=12) as d:
        a = d.mint("local:a")
        got = [d.ask("GET", "/v1/account", token=a) for _ in range(20)]
        assert [x.status for x in got] == [200] * 12 + [429] * 8
        assert 250 <= int(got[-1].headers["retry-after"]) <= 301  # 12 an hour: one in 300 s
        assert _told(got[-1], "hour", 12, 3600) == 0


# --- behind a proxy --------------------------------------------------------------------------------------

def a_trusted_proxy_tells_whose_request_it_is():
    with Daemon(limits__trusted_proxies=["127.0.0.0/8"], **SLOW) as d:
        ask = lambda **h: d.ask("GET", "/v1/feeds", headers={k.replace("_", "-"): v for k, v in h.items()}).status
        for _ in range(5):
            assert ask(X_Forwarded_For="6.6.6.6, 192.0.2.1") == 200
        assert [ask(X_Forwarded_For=f"{i}.6.6.6, 192.0.2.1") for i in range(4)].count(429) >= 3  # its own word in front is not believed
        assert ask(X_Forwarded_For="192.0.2.2") == 200
        assert [ask(Forwarded='for="[2001:db8:0:7::%x]:99";proto=https' % i) for i in range(10)].count(429) >= 4  # one /64
        assert ask(Forwarded='for="[2001:db8:0:8::1]"') == 200
        # A stream is its client's as well.
        codes = []
        for _ in range(8):
            w = d.ws("x", hello=False, extra="X-Forwarded-For: 192.0.2.3\r\n")
            codes.append(w.closed())
        assert codes[:5] == [4401] * 5 and codes.count(4429) >= 2, codes
        assert ask(X_Forwarded_For="192.0.2.3") == 429
    with Daemon(**SLOW) as d:  # and one who is not trusted does not
        assert [d.ask("GET", "/v1/feeds", headers={"X-Forwarded-For": f"192.0.2.{i}"}).status for i in range(10)].count(429) >= 4


def connections_of_one_address_are_limited_where_that_is_wanted():
    with Daemon(shards__count=2, limits__per_address=10) as d:
        for _ in range(3):
            socks = [d.connect() for _ in range(10)]
            until(lambda: d.metrics()["connection_open"] == 11)
            with d.connect() as s:
                a, _ = read_answer(s)
                assert a.status == 429 and a.headers["retry-after"] == "1" and ended(s) == b""
            assert d.ask("GET", "/livez", door="admin").status == 200  # the operator is not counted
            for s in socks:
                s.close()
            until(lambda: d.metrics()["connection_open"] == 1)
    with Daemon(limits__per_address=3, limits__trusted_proxies=["127.0.0.1"]) as d:
        socks = [d.connect() for _ in range(10)]
        until(lambda: d.metrics()["connection_open"] == 11)
        for s in socks:
            s.close()


# --- one connection ----------------------------------------------------------------------------------------

def _flooded(d, token, frame, n=4000):
    w = d.ws(token)
    try:
        w.raw(frame * n)
    except (ConnectionResetError, BrokenPipeError):
        pass
    try:
        return w.last_words()
    except (ConnectionResetError, AssertionError):  # pongs are no JSON
        return None, None


def floods_on_an_authenticated_socket_are_closed_with_4429():
    with Sim() as sim, Daemon(sim, limits__messages_per_s=100, limits__messages_burst=200) as d:
        token = d.mint("local:a")
        good = d.ws(token)
        good.subscribe(SOL)
        text = lambda **op: ws_frame(TEXT, json.dumps(op).encode())
        for frame in (text(op="ping"), text(op="balance"), text(op="subscribe", feeds=["BTCUSDT"]) + text(op="unsubscribe", feeds=["BTCUSDT"]), text(op="x"), ws_frame(PONG, b""),
                      text(op="subscribe", feeds=["NO/NO"] * 2000)):
            n = 6 if len(frame) > 10000 else 600
            said, code = _flooded(d, token, frame, n * 10)
            assert code in (4429, None) and (said is None or said[-1]["code"] == "limit_reached"), code
        w = d.ws(token)
        w.raw(ws_frame(PING, b"p") * 1000)
        pongs = 0
        try:
            while w.frame()[0] == PONG:
                pongs += 1
        except Exception:
            pass
        assert pongs <= 230, pongs
        until(lambda: d.metrics()["limit_message_total"] >= 5)
        good.count(5)
        for _ in range(150):  # what is within the burst is served
            good.send({"op": "ping", "id": 1})
        for _ in range(150):
            good.next("pong", id=1)
        good.close()


def before_a_token_only_little_is_listened_to():
    with Daemon(limits__auth_timeout="20s") as d:
        ping = ws_frame(TEXT, b'{"op":"ping"}')
        w = d.ws()
        w.raw(ping * 15)
        for _ in range(15):
            w.next("pong")
        w.raw(ws_frame(TEXT, json.dumps({"op": "auth", "token": d.mint("local:a")}).encode()))
        assert w.next("authenticated")
        w.close()
        for flood in (ping * 17, ws_frame(PING, b"x") * 17, ws_frame(PONG, b"") * 17, ws_frame(TEXT, b" " * 8193), ws_frame(TEXT, b" " * 8000, fin=False) + ws_frame(0, b" " * 193),
                      ws_frame(TEXT, b" " * 600, fin=False) + ws_frame(0, b" " * 600, fin=False) * 30):
            w = d.ws()
            w.raw(flood)
            assert w.closed() == 4429, flood[:40]


def a_message_that_drips_is_cut_with_4408_and_one_that_is_whole_is_not():
    with Sim() as sim, Daemon(sim, limits__head_timeout="1s", limits__auth_timeout="1s") as d:
        token = d.mint("local:a")
        start = time.monotonic()
        whole = ws_frame(TEXT, b'{"op":"ping","id":"' + b"x" * 60 + b'"}')
        dripped = [d.ws(token) for _ in range(3)] + [d.ws()]
        for w in dripped:
            w.sock.settimeout(5)
        for at, w in zip((1, 5, 20, 20), dripped):
            w.raw(whole[:at])
        assert [w.closed() for w in dripped] == [4408] * 4
        assert time.monotonic() - start < 5
        w = d.ws(token)  # many whole messages with a beginning of the next one always there
        start = time.monotonic()
        w.raw(whole[:5])
        while time.monotonic() - start < 2.5:
            w.raw(whole[5:] + whole[:5])
            w.next("pong")
            until(lambda at=time.monotonic(): time.monotonic() - at > 0.02)
        w.raw(whole[5:])
        w.close()
        assert d.metrics()["request_timeout_total"] >= 3


def a_head_or_body_is_read_in_time_that_grows_with_its_length_alone():
    with Daemon(limits__head_timeout="60s", limits__min_bytes_per_s=0) as d:
        pad = b"".join(b"X-%d: %s\r\n" % (i, b"a" * 240) for i in range(60))
        head = b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n" + pad + b"\r\n"
        body = b'{"feed_type":"NO/NO"}' + b" " * 15000
        post = b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\n" + pad
        chunked = b"".join(b"1\r\n%c\r\n" % c for c in body[:4000]) + b"0\r\n\r\n"
        for data in (head, post + b"Content-Length: %d\r\n\r\n" % len(body) + body, post + b"Transfer-Encoding: chunked\r\n\r\n" + chunked):
            cpu = d.cpu()
            with d.connect() as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for b in data:
                    s.send(bytes([b]))
                a, _ = read_answer(s)
                assert a.status in (200, 404), a.body
            assert d.cpu() - cpu < 3, d.cpu() - cpu  # some 30,000 wakings; parsed anew each time it were ten times that
        # Cut anywhere, and followed by another: both are answered.
        two = b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nT: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyzGET / HTTP/1.1\r\nHost: x\r\n\r\n"
        for cut in range(1, len(two)):
            with d.connect() as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                s.sendall(two[:cut])
                s.sendall(two[cut:])
                rest = b""
                for status in (400, 404, 200):
                    a, rest = read_answer(s, rest)
                    assert a.status == status, (cut, status, a.status)


def a_pipeline_is_answered_in_order_and_no_further_than_it_is_read():
    with Daemon() as d:
        n = 1000
        with d.connect() as s:
            s.sendall(b"".join(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"" if i % 3 else b"nope") for i in range(n)))
            rest = b""
            for i in range(n):
                a, rest = read_answer(s, rest)
                assert a.status == (200 if i % 3 else 404), i


def a_slow_head_is_cut_at_half_time_and_a_quick_one_has_all_of_it():
    with Daemon(limits__head_timeout="4s", limits__min_bytes_per_s=1000) as d:
        slow, quick = d.connect(), d.connect()
        start = time.monotonic()
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        quick.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5000)
        assert read_answer(slow)[0].status == 408
        took = time.monotonic() - start
        assert 1.9 < took < 3.6, took
        until(lambda: time.monotonic() - start > took + 0.1)
        quick.sendall(b"\r\n\r\n")
        assert read_answer(quick)[0].status == 200
        assert d.metrics()["request_timeout_total"] == 1
        slow.close()
        quick.close()


# --- many connections ----------------------------------------------------------------------------------------

def strangers_make_room_for_newcomers_and_customers_stay():
    with Sim() as sim, Daemon(sim, limits__connections=40, limits__head_timeout="60s", limits__auth_timeout="60s", limits__idle_timeout="60s") as d:
        token = d.mint("local:a")
        good = [d.ws(token) for _ in range(10)]
        for w in good:
            w.subscribe(BTC)
        polled = d.connect()  # a customer by HTTP
        polled.sendall(b"GET /v1/account HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n")
        assert read_answer(polled)[0].status == 200
        strangers = [d.connect() for _ in range(20)] + [d.ws().sock for _ in range(5)]
        for _ in range(100):  # silent ones; each takes the place of the oldest silent one
            accepted = d.metrics()["connection_accept_total"]
            strangers.append(d.connect())
            until(lambda: d.metrics()["connection_accept_total"] > accepted + 1)  # this one, and who asked
        m = d.metrics()
        assert m["connection_evicted_total"] >= 90 and m["connection_refused_total"] == 0, m
        late = d.ws(token)  # there is a way in
        late.subscribe(BTC)
        late.count(2)
        for w in good:
            w.count(2)
        polled.sendall(b"GET /v1/account HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n")
        assert read_answer(polled)[0].status == 200
        for s in [*strangers, polled]:
            s.close()
        for w in [*good, late]:
            w.close()
    with Daemon(limits__connections=40, limits__head_timeout="60s") as d:  # a quarter is for customers alone
        socks = []
        for _ in range(60):
            accepted = d.metrics()["connection_accept_total"]
            socks.append(d.connect())
            until(lambda: d.metrics()["connection_accept_total"] > accepted + 1)
        until(lambda: d.metrics()["connection_open"] == 31)  # 30, and who asks
        for s in socks:
            s.close()
    with Daemon(limits__connections=4) as d:  # a house full of customers is full
        token = d.mint("local:a")
        good = [d.ws(token) for _ in range(4)]
        with d.connect() as s:
            assert read_answer(s)[0].status == 503 and ended(s) == b""
        assert d.metrics()["connection_refused_total"] == 1
        for w in good:
            w.close()


if __name__ == "__main__":
    run(globals())
