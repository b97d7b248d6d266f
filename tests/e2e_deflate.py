#!/usr/bin/env python3
"""permessage-deflate (RFC 7692) at the real daemon's WebSocket doors: what is negotiated, that compressed ticks are the plain ones, what is never
compressed, how compressed messages come in, and what hostile ones end with.  See harness.py; over TLS: e2e_tls.py."""
import asyncio
import json
import os
import struct
import zlib

from harness import (BINARY, FEEDS, PING, PONG, SANITIZED, SECONDS, TEXT, TICK_USD, Closed, Daemon, Sim, Ws, deflated, read_answer, run, until, ws_frame)

BTC, SOL = FEEDS
CONT = 0
OFFER = "permessage-deflate; client_max_window_bits"  # of browsers, Python's websockets, Node's ws
TAKEN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
_shared = {}


def _daemon():
    if not _shared:
        _shared["sim"] = Sim()
        _shared["daemon"] = Daemon(_shared["sim"], args=["--conformance-echo"], limits__auth_timeout="20s")
    return _shared["daemon"]


def _funded(usd="1"):
    d = _daemon()
    _shared["n"] = _shared.get("n", 0) + 1
    account = f"local:deflate-{_shared['n']}"
    return d, account, d.mint(account, usd)


def _echo(deflate=OFFER, **more):
    return Ws(_daemon().public, path="/echo", deflate=deflate, **more)


def _shake(path, *offers):
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
    with _daemon().connect() as s:
        s.sendall((head + "".join(f"Sec-WebSocket-Extensions: {o}\r\n" for o in offers) + "\r\n").encode())
        return read_answer(s)[0]


def _cut(data, size):
    """One compressed message in fragments: RSV1 on the first alone."""
    parts = [data[i:i + size] for i in range(0, len(data), size)] or [b""]
    return [ws_frame(CONT if i else TEXT, p, fin=i == len(parts) - 1, rsv=0 if i else 4) for i, p in enumerate(parts)]


# --- negotiation ---------------------------------------------------------------------------------

def an_offer_is_taken_declined_or_refused_at_both_doors():
    rows = [
        (None, []), (TAKEN, ["permessage-deflate"]), (TAKEN, [OFFER]), (TAKEN, ["permessage-deflate; client_max_window_bits=9; server_no_context_takeover"]),
        (TAKEN + "; server_max_window_bits=15", ["permessage-deflate; server_max_window_bits=15"]),
        (TAKEN + "; server_max_window_bits=9", ['permessage-deflate; server_max_window_bits="9"']),
        (TAKEN, ["x; y=z, permessage-deflate; server_max_window_bits=16", "permessage-deflate; q", OFFER]),
        (None, ["permessage-deflate; server_max_window_bits=7"]), (None, ["permessage-deflate; q=1"]), (None, ["x-webkit-deflate-frame"]),
        (None, ["permessage-deflate; client_no_context_takeover=1"]), (None, [OFFER + "; client_max_window_bits"]),
        (400, ["permessage-deflate;"]), (400, ["permessage-deflate; client_max_window_bits=\"9"]), (400, [OFFER, "a b"]),
    ]
    for path in ("/v1/stream", "/echo"):
        for want, offers in rows:
            a = _shake(path, *offers)
            assert a.status == (400 if want == 400 else 101), (offers, a.status, a.body)
            if want == 400:
                assert a.json["code"] == "bad_request" and "Sec-WebSocket-Extensions" in a.json["detail"], a.body
            else:
                assert a.headers.get("sec-websocket-extensions") == want, (offers, a.headers)


def it_can_be_turned_off():
    with Daemon(args=["--conformance-echo"], public__deflate=False) as d:
        w = Ws(d.public, path="/echo", extra=f"Sec-WebSocket-Extensions: {OFFER}\r\n")  # Ws insists that nothing is taken
        w.raw(ws_frame(TEXT, deflated(b"x" * 100), rsv=4))
        assert w.closed() == 1002


# --- out -----------------------------------------------------------------------------------------

def compressed_ticks_are_the_plain_ones_and_nothing_else_is_compressed():
    d, account, token = _funded()
    plain = d.ws(token)
    plain.subscribe(*FEEDS)
    plain.count(10)  # its logs begin before the others'
    packed, other = d.ws(token, deflate=OFFER), d.ws(token, deflate="permessage-deflate; server_max_window_bits=8")
    for w in (packed, other):
        w.subscribe(*FEEDS)
    for w in (packed, other):
        w.count(400)
    for w in (packed, other, plain):
        w.send({"op": "unsubscribe", "feeds": list(FEEDS)})
        w.next("unsubscribed")
    by_offset = {(t["feed"], t["offset"]): t for t in plain.ticks}
    for w in (packed, other):
        shared = [t for t in w.ticks if (t["feed"], t["offset"]) in by_offset]
        assert len(shared) > 300 and all(by_offset[t["feed"], t["offset"]] == t for t in shared) and not w.gaps
        assert w.compressed == len(w.ticks), "each gets shorter"
        size = sum(len(json.dumps(t, separators=(",", ":"))) for t in w.ticks)
        assert 0.2 * size < w.saved < 0.5 * size, (w.saved, size)
        assert w.balance()["charged_ticks"] == len(w.ticks)
    for w in (packed, other, plain):
        w.close()
    d.settled(account, sum(len(w.ticks) for w in (packed, other, plain)) * TICK_USD)


def flatbuffers_are_not_compressed():
    d, _, token = _funded()
    w = d.ws(token, deflate=OFFER)
    w.send({"op": "subscribe", "id": 1, "feeds": [BTC], "encoding": "flatbuffers"})
    n = 0
    while n < 50:
        opcode, payload = w.frame()
        assert not w.rsv1
        n += opcode == BINARY and payload[8:12] == b"KMYT"
    w.drop()


def resuming_goes_on_in_the_compressed_log():
    d, account, token = _funded()
    w = d.ws(token, deflate=OFFER)
    epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
    w.count(50)
    w.drop()
    again = d.ws(token, deflate=OFFER)
    again.subscribe(BTC, **{"from": {BTC: f"{epoch}:{w.at[BTC]}"}})
    first = again.count(20)[0]
    assert first["offset"] == w.at[BTC] + 1 and not again.gaps and again.compressed == len(again.ticks)
    again.close()


def a_slow_reader_gets_whole_frames_and_exact_gaps():
    with Sim(4000) as sim, Daemon(sim, limits__lag_ms=100, limits__lag_ticks=300) as d:
        w = d.ws(d.mint("local:slow", "100"), deflate=OFFER, rcvbuf=65536)
        w.subscribe(*FEEDS, slow_reader="conflate")
        until(lambda: any(c["blocked_ms"] > 400 for c in d.operator("GET", "/v1/admin/conns").json["conns"]), 40)
        while {g["feed"] for g in w.gaps} != set(FEEDS):  # each frame is inflated and each offset counted on the way
            w.event()
        w.count(200)
        b = w.balance()
        assert b["charged_ticks"] == len(w.ticks) and w.compressed > 200
        w.close()
        d.settled("local:slow", len(w.ticks) * TICK_USD)


# --- in ------------------------------------------------------------------------------------------

def stock_clients_compress_both_ways():
    import websockets
    d, account, token = _funded()

    async def listen():
        n = 0
        async with websockets.connect(f"ws://{d.at['public']}/v1/stream", extra_headers={"Authorization": "Bearer " + token}) as w:
            assert w.response_headers["Sec-WebSocket-Extensions"] == TAKEN and [e.name for e in w.extensions] == ["permessage-deflate"]
            await w.send(json.dumps({"op": "subscribe", "id": 1, "feeds": list(FEEDS)}))
            while n < 200:
                e = json.loads(await asyncio.wait_for(w.recv(), SECONDS))
                n += e["type"] == "tick"
            await w.send(json.dumps({"op": "unsubscribe", "feeds": list(FEEDS)}))
            await w.send(json.dumps({"op": "balance", "id": 3}))
            while e["type"] != "balance":
                e = json.loads(await asyncio.wait_for(w.recv(), SECONDS))
                n += e["type"] == "tick"
            assert e["charged_ticks"] == n
        return n
    d.settled(account, asyncio.run(listen()) * TICK_USD)


def requests_come_compressed_in_fragments_and_between_others():
    """Halves of two connections' messages come in turns: one inflater serves both."""
    d, _, token = _funded()
    a, b = d.ws(token, deflate=OFFER), d.ws(token, deflate=OFFER)
    for size in (1, 2, 7, 1000):
        frames = {w: _cut(deflated(json.dumps({"op": "ping", "id": name * 20}).encode()), size) for w, name in ((a, "a"), (b, "b"))}
        for i in range(max(map(len, frames.values()))):
            for w in (a, b):
                w.raw(b"".join(frames[w][i:i + 1]) + (ws_frame(PING, b"x") if size > 1 else b""))
        for w, name in ((a, "a"), (b, "b")):
            got = []
            while "pong" not in got:
                opcode, payload = w.frame()
                got.append(PONG if opcode == PONG else json.loads(payload)["type"])
                assert opcode == PONG or json.loads(payload)["id"] == name * 20
    for w in (a, b):
        w.raw(ws_frame(PING, b"last"))
        while w.frame() != (PONG, b"last"):
            pass
        w.send({"op": "ping", "id": "plain"})  # compression is by message
        w.next("pong", id="plain")
        w.close()


def the_limit_is_on_what_comes_out():
    """64 KiB at the stream, however short or long it was on the wire; 16 MiB at /echo."""
    d, _, token = _funded()

    def request(n):
        head, end = b'{"op":"ping","id":"', b'"}'
        return head + b"p" * 40 + end + b" " * (n - len(head) - len(end) - 40)
    w = d.ws(token, deflate=OFFER)
    for level in (0, 1, 9):
        w.raw(ws_frame(TEXT, deflated(request(65536), level, memory=1), rsv=4))
        w.next("pong")
    for level in (0, 9):
        bad = d.ws(token, deflate=OFFER)
        bad.raw(ws_frame(TEXT, deflated(request(65537), level), rsv=4))
        assert bad.closed() == 1009
    w.quiet()
    w.close()
    e = _echo()
    for data in (b"*" * (16 << 20), os.urandom(1 << 20) * 16):
        e.raw(ws_frame(BINARY, deflated(data, 1), rsv=4))
        assert e.frame() == (BINARY, data)
    e.raw(ws_frame(BINARY, deflated(b"*" * ((16 << 20) + 1), 1), rsv=4))
    assert e.closed() == 1009


def bombs_end_their_connection_alone_and_cost_nothing():
    d, account, token = _funded()
    good = d.ws(token, deflate=OFFER)
    good.subscribe(BTC)
    bomb = deflated(b"\0" * (60 << 20), 9)
    assert len(bomb) < 65536
    before = d.rss()
    for _ in range(50):
        w = d.ws(token, deflate=OFFER)
        w.raw(ws_frame(TEXT, bomb, rsv=4))
        assert w.closed() == 1009
    empty_blocks = b"\0\0\0\xff\xff" * 13000 + b"\0"  # much on the wire, nothing in it: an empty message is no JSON
    w = d.ws(token, deflate=OFFER)
    w.raw(ws_frame(TEXT, empty_blocks, rsv=4))
    assert w.closed() == 4400
    good.count(20)
    assert not good.gaps
    good.close()
    assert SANITIZED or d.rss() - before < 4 << 20, (before, d.rss())
    d.settled(account, len(good.ticks) * TICK_USD)


def misuse_is_closed_with_the_right_code():
    packed = deflated(b'{"op":"ping"}' * 30)
    rows = {
        "RSV1 on a ping": (1002, ws_frame(PING, b"x", rsv=4)),
        "RSV1 on a close": (1002, ws_frame(8, struct.pack(">H", 1000), rsv=4)),
        "RSV1 on a continuation": (1002, ws_frame(TEXT, packed[:5], fin=False, rsv=4) + ws_frame(CONT, packed[5:], rsv=4)),
        "RSV1 on a continuation of a plain message": (1002, ws_frame(TEXT, b"a", fin=False) + ws_frame(CONT, packed, rsv=4)),
        "RSV2": (1002, ws_frame(TEXT, packed, rsv=2)),
        "RSV1 and RSV3": (1002, ws_frame(TEXT, packed, rsv=5)),
        "a reserved opcode": (1002, ws_frame(3, packed, rsv=4)),
        "no DEFLATE stream": (1007, ws_frame(TEXT, b'{"op":"ping"}', rsv=4)),
        "reserved block type": (1007, ws_frame(TEXT, b"\x07", rsv=4)),
        "its last byte is missing": (1007, ws_frame(TEXT, packed[:-1], rsv=4)),
        "cut in the middle": (1007, ws_frame(TEXT, packed[:len(packed) // 2], rsv=4)),
        "cut, in fragments": (1007, ws_frame(TEXT, packed[:3], fin=False, rsv=4) + ws_frame(CONT, packed[3:-2])),
        "a header of zlib": (1007, ws_frame(TEXT, zlib.compress(b"x" * 100), rsv=4)),
        "text that is not UTF-8 once inflated": (1007, ws_frame(TEXT, deflated(b"\xce\xba\xed\xa0\x80" * 9), rsv=4)),
        "text that ends inside a character": (1007, ws_frame(TEXT, deflated(b"x" * 50 + b"\xe2\x82"), rsv=4)),
        "more on the wire than can be within the limit": (1009, ws_frame(TEXT, b"", rsv=4, length=(16 << 20) + (1 << 20))),
    }
    d, _, token = _funded()
    for why, (code, data) in rows.items():
        for w in (d.ws(token, deflate=OFFER), _echo()):
            w.raw(data)
            got = w.closed()
            assert got == code, (why, got)
    z = zlib.compressobj(6, zlib.DEFLATED, -15)  # context kept though we asked for none
    messages = [(z.compress(b'{"op":"ping","id":"again and again"}') + z.flush(zlib.Z_SYNC_FLUSH))[:-4] for _ in range(2)]
    w = d.ws(token, deflate=OFFER)
    w.raw(ws_frame(TEXT, messages[0], rsv=4))
    w.next("pong")
    w.raw(ws_frame(TEXT, messages[1], rsv=4))
    assert w.closed() == 1007
    for w in (d.ws(token), _echo(None)):
        w.raw(ws_frame(TEXT, packed, rsv=4))
        assert w.closed() == 1002, "nobody negotiated it"
    _daemon().sound()


# --- /echo ---------------------------------------------------------------------------------------

def echo_gives_every_compressed_message_back():
    for offer in (OFFER, "permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                  *(f"permessage-deflate; server_max_window_bits={n}; client_max_window_bits={n}" for n in range(8, 16))):
        w = _echo(offer)
        for opcode in (TEXT, BINARY):
            for n in (0, 1, 2, 125, 126, 127, 200, 65535, 65536, 65537, 1 << 20):
                for data in (b"*" * n, (b'{"type":"tick","price":"150.%d"}' % n * (n // 20 + 1))[:n], b"" if opcode == TEXT else os.urandom(n)):
                    w.raw(ws_frame(opcode, deflated(data, bits=max(9, min(15, 9 + n % 7))), rsv=4))
                    assert w.frame() == (opcode, data) and w.rsv1, (offer, n)
                    w.raw(ws_frame(opcode, data))
                    assert w.frame() == (opcode, data) and not w.rsv1, (offer, n)
        w.close()


def echo_takes_compressed_messages_in_any_pieces():
    w = _echo()
    text = ("Hello-µ@ßöäüàá-UTF-8!! 𝄞" * 200).encode()
    for size in (1, 2, 3, 64, 4096):
        w.raw(b"".join(_cut(deflated(text), size)))
        assert w.frame() == (TEXT, text), size
        w.raw(b"".join(_cut(deflated(text), size)[:1]) + ws_frame(PING, b"p") + b"".join(_cut(deflated(text), size)[1:]) if size < 64 else ws_frame(PING, b"p"))
        assert w.frame() == (PONG, b"p")
        if size < 64:
            assert w.frame() == (TEXT, text), size
    data = ws_frame(TEXT, deflated(text), rsv=4)
    for i in range(len(data)):
        w.raw(data[i:i + 1])
    assert w.frame() == (TEXT, text)
    for payload, want in ((b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"), (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello"),
                          (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"), (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello"),
                          (b"\x00", b""), (b"", b""), (b"\x02\x00", b"")):  # RFC 7692 section 7.2.3
        for size in (1, 100):
            w.raw(b"".join(_cut(payload, size)))
            assert w.frame() == (TEXT, want), payload
    w.close()


def a_thousand_compressed_messages_of_each_size_come_back():
    """As the sections 12 and 13 of the Autobahn suite do it."""
    for size in (16, 256, 4096, 32768):
        w = _echo()
        rounds = 1000 if size < 4096 else 100
        for i in range(rounds):
            data = (b'{"n":%d,"feed":"SOL/USD","price":"%d.%06d"}' % (i, i * 7919 % 1000, i * 104729 % 1000000) * (size // 20))[:size]
            w.raw(ws_frame(TEXT, deflated(data), rsv=4))
            assert w.frame() == (TEXT, data)
        w.close()


def _end():
    if _shared:
        d = _shared["daemon"]
        until(lambda: d.metrics()["connection_open"] <= 1, text="the connections went")
        d.stop()
        _shared["sim"].end()
        d.audit()


run(globals(), _end)
