#!/usr/bin/env python3
"""TLS at the real daemon's public door, by clients that are not ours (Python's ssl, websockets): what is spoken and refused, that a record
cut anywhere loses and charges nothing, how sessions end, and a certificate that changes under way.  See harness.py."""
import asyncio
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import types
import warnings

import harness
from harness import FEEDS, KAMIYOD, SECONDS, TEXT, TICK_USD, Daemon, Sim, Ws, ended, read_answer, run, until, ws_frame

BTC, SOL = FEEDS
_folder = tempfile.TemporaryDirectory(prefix="kamiyo-tls-")
_shared = {}
warnings.simplefilter("ignore", DeprecationWarning)  # of TLS 1.1: that is what is to be refused
GET = b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def _pair(name, *key):
    """A self-signed certificate: (certificate, key)."""
    cert, private = f"{_folder.name}/{name}.pem", f"{_folder.name}/{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", *(key or ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")), "-nodes", "-keyout", private, "-out", cert, "-days", "2",
                    "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return cert, private


def _trust(cert, version=None, alpn=("http/1.1",)):
    t = ssl.create_default_context(cafile=cert)
    if version:
        t.set_ciphers("ALL:@SECLEVEL=0")
        t.minimum_version = t.maximum_version = version
    if alpn:
        t.set_alpn_protocols(list(alpn))
    return t


class _Secure(Daemon):
    def __init__(self, sim=None, pair=None, **more):
        if "pair" not in _shared:
            _shared["pair"] = _pair("usual")
        self.cert, self.key = pair or _shared["pair"]
        super().__init__(sim, public__tls_cert=self.cert, public__tls_key=self.key, wait=False, **more)
        if sim:
            until(lambda: all(f["offset"] > 0 for f in self.feeds().values()), text="every feed ticks")

    def dial(self, trust=None, session=None, rcvbuf=None):
        # An end without close_notify is an error to these clients: suppress_ragged_eofs is off.
        s = self.connect(rcvbuf=rcvbuf)
        try:
            return (trust or _trust(self.cert)).wrap_socket(s, server_hostname="localhost", session=session, suppress_ragged_eofs=False)
        except BaseException:
            s.close()
            raise

    def ask(self, method, path, body=None, door="public", headers=None, token=None):
        if door != "public":
            return super().ask(method, path, body, door, headers, token)
        with self.dial() as s:
            data = b"" if body is None else body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n"
            head += "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items()) + (f"Authorization: Bearer {token}\r\n" if token else "")
            s.sendall(head.encode() + b"\r\n" + data)
            a, rest = read_answer(s)
            assert rest == b"" and s.recv(1) == b""
            return a

    def ws(self, token=None, trust=None, rcvbuf=None, **more):
        secure = self.dial(trust, rcvbuf=rcvbuf)

        class Dialler(types.SimpleNamespace):
            """What Ws takes for a socket until it connects."""
            def setsockopt(self, *_):
                pass

            def settimeout(self, *_):
                pass

            def connect(self, _):
                for name in ("sendall", "recv", "settimeout", "close", "setsockopt", "unwrap"):
                    setattr(self, name, getattr(secure, name))

        class Sockets(types.ModuleType):
            socket = Dialler
        harness.socket, kept = Sockets("socket"), harness.socket
        try:
            return Ws(self.public, token=token, **more)
        finally:
            harness.socket = kept

    def open(self):
        return self.metrics()["connection_open"]


def _daemon():
    if not _shared.get("daemon"):
        _shared["sim"] = Sim()
        _shared["daemon"] = _Secure(_shared["sim"], limits__head_timeout="500ms", limits__auth_timeout="2s", limits__messages_per_s=1000000, limits__messages_burst=1000000)
    return _shared["daemon"]


def _funded(usd="1"):
    d = _daemon()
    _shared["n"] = _shared.get("n", 0) + 1
    account = f"local:tls-{_shared['n']}"
    return d, account, d.mint(account, usd)


# --- what is spoken ------------------------------------------------------------------------------

def queries_are_answered_on_a_connection_that_is_kept_and_pipelined():
    d, account, token = _funded()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with d.dial(_trust(d.cert, version)) as s:
            assert s.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2"}.get(version, "TLSv1.3") and s.selected_alpn_protocol() == "http/1.1"
            rest = b""
            for _ in range(3):
                s.sendall(GET)
                a, rest = read_answer(s, rest)
                assert a.status == 200 and rest == b"" and len(a.json["feeds"]) == 4
            s.sendall(GET * 200)
            for _ in range(200):
                a, rest = read_answer(s, rest)
                assert a.status == 200 and len(a.json["feeds"]) == 4
            s.sendall(b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
            body = json.dumps({"feed": BTC}).encode()
            for b in body:
                s.sendall(b"1\r\n" + bytes([b]) + b"\r\n")  # a record each
            s.sendall(b"0\r\n\r\n")
            a, rest = read_answer(s, rest)
            assert a.status == 200 and rest == b"", a.body
            s.sendall(LAST)
            a, rest = read_answer(s, rest)
            assert a.status == 200 and rest == b"" and s.recv(1) == b"", "close_notify, then the end"
    d.settled(account, 2 * harness.QUERY_USD)


def many_answers_in_one_turn_do_not_make_a_reader_slow():
    d, _, token = _funded()
    w = d.ws(token)
    ping = ws_frame(TEXT, json.dumps({"op": "ping", "id": "x" * 60}).encode())
    for _ in range(20):
        w.raw(ping * 600)
        for _ in range(600):
            w.next("pong")
    w.close()


def what_is_older_than_1_2_and_what_speaks_only_h2_is_refused_with_an_alert():
    d = _daemon()
    for trust in (_trust(d.cert, ssl.TLSVersion.TLSv1_1), _trust(d.cert, ssl.TLSVersion.TLSv1), _trust(d.cert, alpn=("h2",)), _trust(d.cert, alpn=("h2", "spdy/3"))):
        try:
            d.dial(trust).close()
            raise AssertionError("it was let in")
        except ssl.SSLError as e:
            assert "alert" in str(e).lower(), e
    for alpn in ((), ("h2", "http/1.1")):
        with d.dial(_trust(d.cert, alpn=alpn)) as s:
            assert s.selected_alpn_protocol() == ("http/1.1" if alpn else None)


def a_session_is_resumed():
    d = _daemon()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        trust = _trust(d.cert, version)
        with d.dial(trust) as s:
            s.sendall(GET)
            assert read_answer(s)[0].status == 200 and not s.session_reused
            ticket = s.session
        with d.dial(trust, session=ticket) as s:
            s.sendall(GET)
            assert read_answer(s)[0].status == 200 and s.session_reused, version


# --- the stream ----------------------------------------------------------------------------------

def an_independent_client_streams_over_wss_and_pays_for_what_it_gets():
    import websockets
    d, account, token = _funded()

    async def listen():
        trust = _trust(d.cert)
        url = f"wss://localhost:{d.public[1]}/v1/stream"
        at, n = {}, 0
        async with websockets.connect(url, ssl=trust, extra_headers={"Authorization": "Bearer " + token}) as w:
            assert [e.name for e in w.extensions] == ["permessage-deflate"]  # a stock client's default
            await w.send(json.dumps({"op": "subscribe", "id": 1, "feeds": list(FEEDS)}))
            while n < 300:
                e = json.loads(await asyncio.wait_for(w.recv(), SECONDS))
                if e["type"] == "tick":
                    assert e["feed"] not in at or e["offset"] == at[e["feed"]] + 1
                    at[e["feed"]] = e["offset"]
                    n += 1
                assert e["type"] in ("authenticated", "subscribed", "tick", "heartbeat"), e
            await w.send(json.dumps({"op": "unsubscribe", "id": 2, "feeds": list(FEEDS)}))
            await w.send(json.dumps({"op": "balance", "id": 3}))
            while e["type"] != "balance":
                e = json.loads(await asyncio.wait_for(w.recv(), SECONDS))
                n += e["type"] == "tick"
            assert e["charged_ticks"] == n
        assert w.close_code == 1000
        return n
    d.settled(account, asyncio.run(listen()) * TICK_USD)


def a_slow_reader_gets_whole_frames_and_pays_for_those():
    with Sim(10000) as sim, _Secure(sim, limits__stall_timeout="20s") as d:
        for version, deflate in ((ssl.TLSVersion.TLSv1_2, None), (ssl.TLSVersion.TLSv1_3, None), (ssl.TLSVersion.TLSv1_3, "permessage-deflate")):
            account = f"local:slow-{int(version)}-{bool(deflate)}".lower()
            w = d.ws(d.mint(account), trust=_trust(d.cert, version), rcvbuf=65536, deflate=deflate)
            short = d.metrics()["send_short_total"]
            w.subscribe(*FEEDS)
            for _ in range(3):  # nothing is read until the socket is full and a record was cut somewhere; then some is
                until(lambda: d.metrics()["send_short_total"] > short, text="the daemon cannot get rid of it")
                short = d.metrics()["send_short_total"]  # before it is read: while it is, the socket may fill again
                w.count(4000)  # the harness checks each frame, each offset, each gap
            w.send({"op": "unsubscribe", "id": 2, "feeds": list(FEEDS)})
            charged = w.balance()["charged_ticks"]
            assert charged == len(w.ticks), (charged, len(w.ticks))
            w.close()
            d.settled(account, len(w.ticks) * TICK_USD)


def a_large_answer_is_whole_however_little_is_read_at_once():
    d = _daemon()
    with d.dial(rcvbuf=1024) as s:
        s.sendall(GET * 400)
        rest = b""
        for i in range(400):
            a, rest = read_answer(s, rest)
            assert a.status == 200 and len(a.json["feeds"]) == 4


# --- ends ----------------------------------------------------------------------------------------

def close_notify_comes_before_fin_after_the_close_frames():
    d, _, token = _funded()
    w = d.ws(token)
    w.subscribe(BTC)
    w.count(3)
    w.raw(ws_frame(8, struct.pack(">H", 1000)))
    assert w.last_words()[1] == 1000
    assert w.sock.recv(1) == b""  # without close_notify this raises
    w.drop()
    w = d.ws(token)  # and when the daemon closes first
    w.raw(ws_frame(TEXT, b"{"))
    assert w.closed() == 4400 and w.sock.recv(1) == b""
    w.drop()


def a_client_that_says_close_notify_is_answered_in_kind_and_gets_what_it_asked_for():
    d, account, token = _funded()
    w = d.ws(token)
    w.subscribe(BTC)
    w.count(3)
    try:
        w.sock.unwrap()  # waits for the daemon's
    except ssl.SSLError as e:
        assert "APPLICATION_DATA_AFTER_CLOSE_NOTIFY" in str(e), e
    w.drop()
    inner, outer = ssl.MemoryBIO(), ssl.MemoryBIO()
    with d.connect() as raw:
        obj = _trust(d.cert, ssl.TLSVersion.TLSv1_3).wrap_bio(inner, outer, server_hostname="localhost")

        def pump(what):
            while True:
                try:
                    return what()
                except ssl.SSLWantReadError:
                    raw.sendall(outer.read())
                    got = raw.recv(65536)
                    inner.write(got) if got else inner.write_eof()
        pump(obj.do_handshake)
        obj.write(GET)
        try:
            obj.unwrap()
        except ssl.SSLWantReadError:
            pass
        raw.sendall(outer.read())  # the request and close_notify in one piece
        got = ended(raw)
        assert len(got) > 300, "the answer, sealed"
    until(lambda: d.open() <= 2, text="the connections went")


def a_cut_connection_leaves_nothing_behind():
    d, _, token = _funded()
    until(lambda: d.open() <= 2)
    for how in range(20):
        w = d.ws(token)
        w.subscribe(*FEEDS)
        w.count(1)
        if how % 2:
            w.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        w.drop()
    until(lambda: d.open() <= 2, text="the connections went")


# --- what is not TLS -----------------------------------------------------------------------------

def _hello():
    inner, outer = ssl.MemoryBIO(), ssl.MemoryBIO()
    obj = _trust(_daemon().cert).wrap_bio(inner, outer, server_hostname="localhost")
    try:
        obj.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outer.read()


def what_is_not_tls_is_ended_and_harms_nobody():
    d, _, token = _funded()
    good = d.ws(token)
    good.subscribe(BTC)
    hello = _hello()
    for data in (GET, b"\0" * 300, b"\xff" * 5000, b"SSH-2.0-x\r\n", b"\x16\x03\x01\xff\xff" + b"a" * 70000, b"\x15\x03\x03\x00\x02\x02\x28", b"\x17\x03\x03\x00\x05hello",
                 b"\x80\x2e\x01\x03\x01" + bytes(50), hello[:9] + b"\xff" * 200, hello[:60] + bytes(len(hello) - 60), hello + hello, hello + GET):
        with d.connect() as s:
            start = time.monotonic()
            try:
                s.sendall(data)
            except (ConnectionResetError, BrokenPipeError):
                pass
            assert not ended(s).startswith(b"HTTP"), data[:40]
            assert time.monotonic() - start < 3, data[:40]
    good.count(5)
    assert good.balance()["charged_ticks"] == len(good.ticks) and not good.gaps
    good.close()
    until(lambda: d.open() <= 2, text="the connections went")


def handshakes_that_stop_make_room_for_others():
    with Sim() as sim, _Secure(sim, limits__connections=100, limits__head_timeout="60s") as d:  # 25 may be in progress
        token = d.mint("local:a")
        good = d.ws(token)
        good.subscribe(BTC)
        hello = _hello()
        socks = []
        for i in range(120):
            s = d.connect()
            _send_some(s, hello[:i % 3 * 40])
            socks.append(s)
        until(lambda: d.metrics()["connection_evicted_total"] >= 60)
        with d.dial() as s:  # a newcomer who goes on is served
            s.sendall(LAST)
            assert read_answer(s)[0].status == 200
        late = d.ws(token)
        late.subscribe(BTC)
        late.count(2)
        good.count(2)
        late.close()
        good.close()
        for s in socks:
            s.close()


def _send_some(s, data):
    try:
        s.sendall(data)
    except OSError:
        pass  # it was ended meanwhile, which is the point


def a_handshake_that_stops_is_cut_at_half_of_the_head_deadline():
    d = _daemon()
    hello = _hello()
    for cut in (0, 1, 4, 5, 6, 40, len(hello) - 1, len(hello)):
        with d.connect() as s:
            start = time.monotonic()
            s.sendall(hello[:cut])
            ended(s)
            assert 0.15 < time.monotonic() - start < 3, (cut, time.monotonic() - start)
    with d.connect() as s:  # a byte now and then does not keep it alive
        start = time.monotonic()
        s.settimeout(0.02)
        for b in hello:
            try:
                s.sendall(bytes([b]))
                if not s.recv(100):
                    break
            except TimeoutError:
                pass
            except (ConnectionResetError, BrokenPipeError):
                break
        assert time.monotonic() - start < 3
    socks = [d.connect() for _ in range(200)]
    for i, s in enumerate(socks):
        s.sendall(hello[:i])
    until(lambda: d.open() >= 100)
    until(lambda: d.open() <= 2, text="all were cut")
    for s in socks:
        s.close()


def a_hello_one_byte_at_a_time_is_as_good_as_any():
    with _Secure() as d:
        inner, outer = ssl.MemoryBIO(), ssl.MemoryBIO()
        obj = _trust(d.cert).wrap_bio(inner, outer, server_hostname="localhost")
        with d.connect() as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def pump(what):
                while True:
                    try:
                        got = what()
                        for b in outer.read():
                            raw.send(bytes([b]))
                        return got
                    except ssl.SSLWantReadError:
                        for b in outer.read():
                            raw.send(bytes([b]))
                        inner.write(raw.recv(1))
            pump(obj.do_handshake)
            pump(lambda: obj.write(GET))
            got = b""
            while b"\r\n\r\n" not in got or b"feeds" not in got:
                got += pump(lambda: obj.read(1000))
            assert got.startswith(b"HTTP/1.1 200 ")


# --- certificates --------------------------------------------------------------------------------

def a_new_certificate_is_taken_on_hup_and_a_broken_one_is_not():
    first, second = _pair("first"), _pair("second", "rsa:2048")
    cert, key = _folder.name + "/live.pem", _folder.name + "/live.key"

    def put(pair):
        for to, source in zip((cert, key), pair):
            with open(source) as f, open(to, "w") as g:
                g.write(f.read())
    put(first)
    with Sim() as sim, _Secure(sim, (cert, key)) as d:
        w = d.ws(d.mint("local:hup"))
        w.subscribe(BTC)
        w.count(3)
        put(second)
        d.proc.send_signal(signal.SIGHUP)
        until(lambda: "read again on SIGHUP" in d.stderr())
        assert d.dial(_trust(second[0])).getpeercert()["subject"] == ((("commonName", "second"),),)
        for broken in (("/dev/null", second[1]), (second[0], "/dev/null"), (second[0], first[1])):
            before = d.stderr().count("the old certificate stays")
            put(broken)
            d.proc.send_signal(signal.SIGHUP)
            until(lambda: d.stderr().count("the old certificate stays") == before + 1)
            line = d.stderr().splitlines()[-1]
            assert (cert if broken[0] == "/dev/null" else key) in line, line
            d.dial(_trust(second[0])).close()
        for path in (cert, key):
            os.unlink(path)
        d.proc.send_signal(signal.SIGHUP)
        until(lambda: d.stderr().count("the old certificate stays") == 4)
        d.dial(_trust(second[0])).close()
        w.count(3)  # the old session never noticed
        assert w.balance()["charged_ticks"] == len(w.ticks) and not w.gaps
        w.close()


def a_certificate_that_does_not_fit_its_key_refuses_to_start_and_names_the_file():
    ec, other, rsa = _pair("ec"), _pair("other"), _pair("rsa", "rsa:2048")
    locked = _folder.name + "/locked.key"
    subprocess.run(["openssl", "ec", "-in", ec[1], "-aes128", "-passout", "pass:x", "-out", locked], check=True, capture_output=True)
    for cert, key, named in ((ec[0], other[1], other[1]), (ec[0], rsa[1], rsa[1]), (ec[0], "/dev/null", "/dev/null"), ("/nonexistent.pem", ec[1], "/nonexistent.pem"),
                             (ec[1], ec[1], ec[1]), (ec[0], locked, locked), (ec[0], "", "public.tls_"), ("", ec[1], "public.tls_")):
        with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            json.dump({"public": {"listen": "127.0.0.1:0", "tls_cert": cert, "tls_key": key}, "admin": {"listen": "127.0.0.1:0"}, "data": folder + "/data",
                       "sources": {"binance": {"url": ""}, "pyth": {"url": ""}}}, f)
            f.flush()
            r = subprocess.run([KAMIYOD, "run", "--config", f.name], capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
            assert r.returncode == 1 and named in r.stderr and "public.tls_" in r.stderr and "listening" not in r.stdout, (cert, key, r)


def draining_closes_1012_over_tls():
    with Sim() as sim, _Secure(sim) as d:
        w = d.ws(d.mint("local:drain"))
        w.subscribe(*FEEDS)
        w.count(5)
        idle = d.dial()
        d.proc.send_signal(signal.SIGTERM)
        assert w.closed() == 1012 and w.sock.recv(1) == b""
        w.drop()
        idle.close()
        d.stop()


def _nobody_complained():
    if _shared.get("daemon"):
        _shared["daemon"].stop()
        _shared["sim"].end()


run(globals(), _nobody_complained)
