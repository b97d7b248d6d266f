#!/usr/bin/env python3
"""Hostile bytes at the real daemon's doors: each gets the right status or close code, nothing is charged, a good client goes on, and
afterwards connections and memory are as before.  And the conformance door /echo, as the Autobahn cases use it.  See harness.py."""
import json
import os
import random
import select
import socket
import struct
import time

from harness import (BINARY, CLOSE, FEEDS, PING, PONG, SANITIZED, SECONDS, TEXT, TICK_USD, Closed, Daemon, Sim, Ws, ended, read_answer, run, until, ws_frame)

BTC, SOL = FEEDS
_shared = {}


def _daemon():
    """With a good client that listens all the time."""
    if not _shared:
        _shared["sim"] = Sim(50)
        d = _shared["daemon"] = Daemon(_shared["sim"], args=["--conformance-echo"], limits__head_timeout="400ms", limits__auth_timeout="20s")
        _shared["token"] = d.mint("local:victim")
        good = _shared["good"] = d.ws(d.mint("local:good"))
        good.subscribe(BTC)
        good.count(5)
    return _shared["daemon"]


def _all_is_well():
    d, good = _daemon(), _shared["good"]
    good.count(3)
    assert good.balance()["charged_ticks"] == len(good.ticks) and not good.gaps
    assert d.account("local:victim")["consumed"] == 0
    until(lambda: d.metrics()["connection_open"] <= 2, text="the connections went")
    d.sound()


def _answer(data, door="public"):
    with _daemon().connect(door) as s:
        try:
            s.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            pass
        a, rest = read_answer(s)
        assert rest == b"", (data[:80], rest)
        if a.status != 101:
            assert ended(s) == b"", "what follows cannot be told apart: closed"
        return a


# --- HTTP ----------------------------------------------------------------------------------------

def shapes_that_smuggle_requests_are_refused_and_the_connection_closed():
    hidden = b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n"
    post = b"POST /v1/ingest-data HTTP/1.1\r\n"
    rows = [
        (400, post + b"Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, post + b"Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        (400, post + b"Host: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"),
        (400, post + b"Host: x\r\nContent-Length: 5, 5\r\n\r\nabcde"),
        (400, post + b"Host: x\r\nContent-Length: +5\r\n\r\nabcde"),
        (400, post + b"Host: x\r\nContent-Length: -1\r\n\r\n"),
        (400, post + b"Host: x\r\nContent-Length: 0x5\r\n\r\nabcde"),
        (400, post + b"Host: x\r\nContent-Length: 18446744073709551621\r\n\r\nabcde"),
        (400, post + b"Host: x\r\nContent-Length:\r\n\r\n"),
        (400, post + b"Host: x\r\nContent-Length : 5\r\n\r\nabcde"),
        (400, post + b"Host: x\r\n Content-Length: 5\r\n\r\nabcde"),
        (400, post + b"Host: x\r\nX: a\r\n b\r\n\r\n"),
        (400, post + b"Host: x\r\nX: a\n\r\n\r\n"),
        (400, post + b"Host: x\r\nX: a\rb\r\n\r\n"),
        (400, post + b"Host: x\r\nX: a\0b\r\n\r\n"),
        (400, post + b"Host: x\r\nContent\x00-Length: 5\r\n\r\n"),
        ((400, 501), post + b"Host: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ((400, 501), post + b"Host: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        ((400, 501), post + b"Host: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ((400, 501), post + b"Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ((400, 501), post + b"Host: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, post + b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n5;\nx\r\nabcde\r\n0\r\n\r\n"),
        (400, post + b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"),
        (400, post + b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n"),
        (400, post + b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefg\r\n0\r\n\r\n"),
        (400, post + b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n"),
        (400, post + b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"), (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n"), (400, b"GET /\tHTTP/1.1\r\nHost: x\r\n\r\n"), (400, b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n"),
        (400, b"GET / http/1.1\r\nHost: x\r\n\r\n"), (400, b"GET nope HTTP/1.1\r\nHost: x\r\n\r\n"), (400, b"GET / \r\n\r\n"),
        ((400, 505), b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"), ((400, 505), b"GET / HTTP/1.2\r\nHost: x\r\n\r\n"), ((400, 505), b"GET / HTTP/0.9\r\nHost: x\r\n\r\n"),
        ((400, 405), b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), ((400, 505), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)), (400, b"\x00" * 100), (400, b"SSH-2.0-x\r\n\r\n"), (400, "GÉT / HTTP/1.1\r\n".encode()),
    ]
    for status, data in rows:
        for door in ("public", "admin"):
            a = _answer(data + hidden, door)
            assert a.status in (status if isinstance(status, tuple) else (status,)), (data, a.status, a.body)
            assert a.headers["connection"] == "close"
    _all_is_well()


def what_is_too_long_is_refused_at_once():
    rows = [(431, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000), (431, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 3000),
            (431, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 100 + b"\r\n"), (414, b"GET /" + b"a" * 20000),
            (413, b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n"), (413, b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775807\r\n\r\n"),
            (413, b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b"a" * 32768 + b"\r\n8000\r\n" + b"a" * 32768 + b"\r\n1\r\na\r\n0\r\n\r\n"),
            ((400, 413), b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"e" * 30000),
            ((400, 413, 431), b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: x\r\n" * 9000)]
    for status, data in rows:
        a = _answer(data)
        assert a.status in (status if isinstance(status, tuple) else (status,)), (data[:60], a.status, a.body)
    body = b"[" + b" " * 65534 + b"]"  # the limit itself is no offence
    for framing in (b"Content-Length: 65536\r\n\r\n" + body, b"Transfer-Encoding: chunked\r\n\r\n10000\r\n" + body + b"\r\n0\r\n\r\n",
                    b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"10\r\n" + body[i:i + 16] + b"\r\n" for i in range(0, 65536, 16)) + b"0\r\n\r\n"):
        with _daemon().connect() as s:
            s.sendall(b"POST /v1/ingest-data/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + _shared["token"].encode() + b"\r\n" + framing)
            a, rest = read_answer(s)
            assert a.status == 200 and rest == b"", a.body
    _all_is_well()


def a_request_that_does_not_become_whole_ends_with_408():
    d = _daemon()
    for data in (b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
                 b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\nGET /"):
        with d.connect() as s:
            start = time.monotonic()
            s.sendall(data)
            a, rest = read_answer(s)
            if a.status == 404:
                a, rest = read_answer(s, rest)
            assert a.status == 408 and ended(s) == b"" and time.monotonic() - start < 2, (data, a.status)
    with d.connect() as s:  # a byte now and then does not keep it alive
        start = time.monotonic()
        s.settimeout(0.05)
        for b in b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100:
            try:
                s.sendall(bytes([b]))
                if s.recv(100):
                    break
            except TimeoutError:
                pass
            except (ConnectionResetError, BrokenPipeError):
                break
        assert time.monotonic() - start < 3
    with d.connect() as s:  # who says nothing is sent away without a word
        assert ended(s) == b""
    _all_is_well()


def thousands_of_connections_come_and_go_and_leave_nothing_behind():
    d = _daemon()
    until(lambda: d.metrics()["connection_open"] <= 2)
    flood = (b"", b"GET", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b"a" * 2000, b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n",
             b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81")
    rss = []
    for turn in range(4):
        socks = []
        for i in range(900):
            s = d.connect()
            s.sendall(flood[i % len(flood)])
            socks.append(s)
        _shared["good"].count(3)
        for i, s in enumerate(socks):
            if i % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        until(lambda: d.metrics()["connection_open"] <= 2)
        rss.append(d.rss())
    assert SANITIZED or rss[-1] - rss[0] < 8 << 20, rss
    _all_is_well()


def without_descriptors_newcomers_wait_and_neither_the_log_nor_a_core_is_filled():
    with Daemon(prefix=["prlimit", "--nofile=64:64"]) as d:
        cpu = d.cpu()
        socks = [d.connect() for _ in range(100)]
        until(lambda: "no descriptors left" in d.stderr())
        start = time.monotonic()
        until(lambda: time.monotonic() - start > 0.5)  # what must not happen has no end to wait for
        assert d.cpu() - cpu < 0.3 and d.stderr().count("no descriptors left") == 1, (d.cpu() - cpu, len(d.stderr()))
        for s in socks:
            s.close()
        assert d.ask("GET", "/v1/feeds").status == 200
        until(lambda: d.metrics()["connection_open"] <= 2)


def random_bytes_never_do_harm():
    d = _daemon()
    rng = random.Random(7)
    seeds = [b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
             b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
             + ws_frame(TEXT, b"hello") + ws_frame(PING, b"x") + ws_frame(TEXT, b"a", fin=False) + ws_frame(0, b"b")]
    for _ in range(400):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            what = rng.randrange(3)
            if what == 0:
                data[at] = rng.randrange(256)
            elif what == 1:
                del data[at:at + rng.randrange(1, 9)]
            else:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            data = data or bytearray(b"x")
        with d.connect() as s:
            s.sendall(data)
            if rng.randrange(2):
                s.shutdown(socket.SHUT_WR)
    _all_is_well()


# --- WebSocket -----------------------------------------------------------------------------------

UPGRADE = "GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"


def a_handshake_that_is_none_is_refused_with_the_reason():
    swap = lambda a, b: UPGRADE.replace(a, b).encode()
    rows = [(426, swap("Version: 13", "Version: 8")), (426, swap("Version: 13", "Version: 14")), (426, swap("Version: 13", "Version: x")), ((400, 426), swap("Sec-WebSocket-Version: 13\r\n", "")),
            (400, swap("AAAAAAAAAAAAAAAAAAAAAA==", "short")), (400, swap("AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAAAA")), (400, swap("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", "")),
            (426, swap("Upgrade: websocket\r\n", "")), (426, swap("Upgrade: websocket", "Upgrade: h2c")), (426, swap("Connection: Upgrade", "Connection: close"))]
    d = _daemon()
    for status, data in rows:
        with d.connect() as s:
            s.sendall(data)
            a, _ = read_answer(s)
            assert a.status in (status if isinstance(status, tuple) else (status,)), (data, a.status, a.body)
            if b"Version: 13" not in data and a.status == 426:
                assert a.headers["sec-websocket-version"] == "13", (data, a.headers)
    _all_is_well()


BROKEN = [  # close code, what, the bytes
    (1002, "unmasked", ws_frame(TEXT, b"{}", mask=None)),
    (1002, "RSV1", ws_frame(TEXT, b"{}", rsv=4)), (1002, "RSV2", ws_frame(TEXT, b"{}", rsv=2)), (1002, "RSV3 on a ping", ws_frame(PING, b"", rsv=1)),
    *[(1002, f"opcode {o}", ws_frame(o, b"x")) for o in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    (1002, "continuation of nothing", ws_frame(0, b"x")),
    (1002, "text inside a text", ws_frame(TEXT, b"{", fin=False) + ws_frame(TEXT, b"}")),
    (1002, "fragmented ping", ws_frame(PING, b"x", fin=False)), (1002, "fragmented close", ws_frame(CLOSE, b"\x03\xe8", fin=False)),
    (1002, "ping of 126 bytes", ws_frame(PING, b"x" * 126)),
    (1002, "a length longer than it needs", b"\x81\xfe\x00\x05" + b"abcd" + b"xxxxx"), (1002, "the same in 64 bits", b"\x81\xff" + struct.pack(">Q", 300) + b"abcd"),
    ((1002, 1009), "a length of 2^63", b"\x81\xff" + b"\xff" * 8 + b"abcd"),
    (1009, "65537 bytes announced", ws_frame(TEXT, b"", length=65537)), (1009, "many bytes announced", ws_frame(BINARY, b"", length=1 << 40)),
    ((1009, 4429), "65537 bytes in fragments", ws_frame(TEXT, b"{" * 40000, fin=False) + ws_frame(0, b"{" * 25537)),
    ((1009, 1002, 1008), "a flood of fragments", ws_frame(TEXT, b"", fin=False) + ws_frame(0, b"", fin=False) * 20000),
    (1007, "bad UTF-8", ws_frame(TEXT, b'{"op":"\xff"}')), (1007, "UTF-8 that stops short", ws_frame(TEXT, b'"\xe2\x82')), (1007, "a surrogate", ws_frame(TEXT, b'"\xed\xa0\x80"')),
    (1007, "overlong", ws_frame(TEXT, b'"\xc0\xaf"')), (1007, "split in a character, bad at once", ws_frame(TEXT, b'"\xe2', fin=False) + ws_frame(0, b"\x28", fin=False)),
    (1007, "fail fast inside a frame", ws_frame(TEXT, b"\xff\xff", length=60000)),
    (1002, "close with one byte", ws_frame(CLOSE, b"\x03")), *[(1002, f"close {c}", ws_frame(CLOSE, struct.pack(">H", c))) for c in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)],
    (1007, "close with a bad reason", ws_frame(CLOSE, b"\x03\xe8\xff")),
    (1000, "close", ws_frame(CLOSE, b"\x03\xe8bye")), (1000, "close without a code", ws_frame(CLOSE)), (4999, "close with one of theirs", ws_frame(CLOSE, struct.pack(">H", 4999))),
    (1003, "binary", ws_frame(BINARY, b"{}")),
]


def broken_frames_are_closed_with_the_right_code():
    d = _daemon()
    for code, what, data in BROKEN:
        for token in (None, _shared["token"]):
            w = d.ws(token)
            try:
                w.raw(data)
            except (ConnectionResetError, BrokenPipeError):
                pass
            try:
                got = w.closed()
            except ConnectionResetError:
                got = "reset"
            assert got in (code if isinstance(code, tuple) else (code,)), (what, got)
            w.drop()
    _all_is_well()


def broken_json_is_closed_with_4400_and_wrong_members_answered():
    d = _daemon()
    deep = "[" * 60 + "]" * 60
    for text in ("", "{", "[]", "5", "null", '"x"', "{}x", '{"op":"ping"}{"op":"ping"}', '{"op":"ping","op":"ping"}', '{"op":"ping","x":' + deep + "}", '{"op":"ping","id":{}}', '{"op":"ping","id":true}',
                 '{"op":"ping","id":"' + "x" * 65 + '"}', '{"op":"ping",}', "{'op':'ping'}", '{"op":ping}', '{"op":"ping","id":01}', '{"op":"ping","x":NaN}', '{"op":"ping","x":"\x01"}', "[" * 65000, '{"a":' * 10000):
        w = d.ws(_shared["token"])
        w.send(text)
        said, code = w.last_words()
        assert code == 4400 and said[-1]["type"] == "error" and said[-1]["retry"] is False, (text[:60], code)
        w.drop()
    w = d.ws(_shared["token"])
    for op in ({"op": "x"}, {"op": 5}, {}, {"op": None}, {"op": "subscribe"}, {"op": "subscribe", "feeds": {}}, {"op": "unsubscribe", "feeds": 5}, {"op": "pay"}, {"op": "Ping"},
               {"op": "subscribe", "feeds": ["X/Y"] * 8000}, {"op": "subscribe", "feeds": [BTC] * 3000}, {"op": "subscribe", "feeds": ["é" * 40]}):
        w.send({**op, "id": 7})
        e = w.next("error")
        assert e["id"] == 7 and e["message"], (op, e)
    w.send(json.dumps({"op": "subscribe", "feeds": ["X/Y"] * 200000}))
    try:
        assert w.closed() == 1009
    except ConnectionResetError:
        pass  # a megabyte was on the way to a closed connection
    _all_is_well()


def a_stream_of_pings_is_answered_whole_to_one_who_reads():
    d = _daemon()
    w = d.ws(_shared["token"])
    n, payload = 1000, b"p" * 125  # what limits.messages_burst allows
    w.sock.setblocking(False)
    out, got = ws_frame(PING, payload) * n, b""
    stop = time.monotonic() + SECONDS
    while len(got) < n * 127 and time.monotonic() < stop:
        try:
            out = out[w.sock.send(out):] if out else out
        except BlockingIOError:
            pass
        try:
            more = w.sock.recv(1 << 20)
            assert more, f"cut after {len(got) // 127} pongs"
            got += more
        except BlockingIOError:
            select.select([w.sock], [], [], 0.01)
    assert got == (bytes([0x80 | PONG, 125]) + payload) * n, len(got)
    w.drop()
    _all_is_well()


def a_flood_without_reading_ends_that_connection_alone():
    d = _daemon()
    before = d.rss()
    socks = []
    for _ in range(20):
        w = d.ws(_shared["token"], rcvbuf=4096)
        w.sock.setblocking(False)
        try:
            for _ in range(400):
                w.raw(ws_frame(TEXT, b'{"op":"ping","id":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}') * 100)
        except (BlockingIOError, ConnectionResetError, BrokenPipeError):
            pass
        socks.append(w)
    assert SANITIZED or d.rss() - before < 20 << 20, d.rss() - before
    for w in socks:
        w.drop()
    _all_is_well()


# --- /echo ---------------------------------------------------------------------------------------

def _echo():
    return Ws(_daemon().public, path="/echo")


def echo_gives_every_message_back():
    w = _echo()
    for opcode in (TEXT, BINARY):
        for n in (0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20):
            data = b"*" * n
            w.raw(ws_frame(opcode, data))
            assert w.frame() == (opcode, data), n
    for n in (4 << 20, 16 << 20):
        data = os.urandom(1 << 20) * (n >> 20)
        w.raw(ws_frame(BINARY, data))
        assert w.frame() == (BINARY, data), n
    for size in (64, 256, 4096, 65536):  # one message, many fragments
        data = b"x" * (1 << 20)
        parts = [data[i:i + size] for i in range(0, len(data), size)]
        w.raw(ws_frame(TEXT, parts[0], fin=False) + b"".join(ws_frame(0, p, fin=False) for p in parts[1:-1]) + ws_frame(0, parts[-1]))
        assert w.frame() == (TEXT, data), size
    text = "Hello-µ@ßöäüàá-UTF-8!! 𝄞".encode()
    w.raw(b"".join(ws_frame(TEXT if i == 0 else 0, text[i:i + 1], fin=i == len(text) - 1) for i in range(len(text))))
    assert w.frame() == (TEXT, text)
    data = ws_frame(TEXT, text)
    w.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for i in range(len(data)):
        w.raw(data[i:i + 1])
    assert w.frame() == (TEXT, text)
    for _ in range(1000):
        w.raw(ws_frame(BINARY, b"abc"))
        assert w.frame() == (BINARY, b"abc")
    w.close()
    _all_is_well()


def echo_answers_pings_between_fragments_and_ignores_pongs():
    w = _echo()
    w.raw(ws_frame(TEXT, b"a", fin=False) + ws_frame(PING, b"1") + ws_frame(0, b"b", fin=False) + ws_frame(PONG, b"?") + ws_frame(PING, b"") + ws_frame(0, b"c"))
    assert [w.frame() for _ in range(3)] == [(PONG, b"1"), (PONG, b""), (TEXT, b"abc")]
    w.raw(b"".join(ws_frame(PING, b"x" * i) for i in range(126)))
    assert [w.frame() for _ in range(126)] == [(PONG, b"x" * i) for i in range(126)]
    w.close()


def echo_says_nothing_after_a_close():
    for tail in (ws_frame(TEXT, b"x"), ws_frame(PING, b"x"), ws_frame(CLOSE), os.urandom(5000)):
        w = _echo()
        w.raw(ws_frame(TEXT, b"1") + ws_frame(CLOSE, b"\x03\xe8") + tail)
        assert w.frame() == (TEXT, b"1")
        assert w.closed() == 1000
        assert w.buf + ended(w.sock) == b""
        w.drop()
    for _ in range(50):  # but the answer reaches one that ends its side with the close
        w = _echo()
        w.raw(ws_frame(TEXT, b"1") + ws_frame(CLOSE, b"\x03\xe8"))
        w.sock.shutdown(socket.SHUT_WR)
        assert w.frame() == (TEXT, b"1") and w.closed() == 1000
        w.drop()
    _all_is_well()


def echo_refuses_the_same_frames_with_the_same_codes():
    for code, what, data in BROKEN:
        if what in ("binary", "a flood of fragments") or "65537" in what or "many bytes" in what or "2^63" in what:
            continue
        w = _echo()
        w.raw(data)
        got = w.closed()
        assert got == code, (what, got)
        w.drop()
    for what, data in (("17 MiB announced", ws_frame(BINARY, b"", length=(16 << 20) + 1)), ("in fragments", ws_frame(BINARY, b"", fin=False) + ws_frame(0, b"", length=(16 << 20) + 1))):
        w = _echo()
        w.raw(data)
        assert w.closed() == 1009, what
        w.drop()
    _all_is_well()


def _end():
    if _shared:
        with _shared["sim"], _shared["daemon"] as d:
            _all_is_well()
            good = _shared["good"]
            good.close()
            d.settled("local:good", len(good.ticks) * TICK_USD)


if __name__ == "__main__":
    run(globals(), _end)
