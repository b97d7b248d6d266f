#!/usr/bin/env python3
"""RFC 9112, 9110 and 6455 shape by shape at the real daemon's doors.  A row says what is sent and what comes back; behind every refused request stands
another one, which must never be answered.  The WebSocket rows follow the sections of the Autobahn test suite.  See harness.py."""
import itertools
import os
import struct

from harness import BINARY, CLOSE, PING, PONG, TEXT, Daemon, Ws, ended, read_answer, run, ws_frame

_shared = {}
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"


def _daemon():
    if not _shared:
        _shared["d"] = Daemon(args=["--conformance-echo"], limits__messages_per_s=1000000, limits__messages_burst=1000000)
    return _shared["d"]


def _send(s, data):
    try:
        s.sendall(data)
    except (ConnectionResetError, BrokenPipeError):
        pass


def _statuses(data, door="public", end=True):
    """Of all answers until the other side ends; `end`: our side ends first."""
    with _daemon().connect(door) as s:
        _send(s, data)
        if end:
            s.shutdown(1)
        out, rest = [], b""
        while True:
            if not rest:
                try:
                    rest = s.recv(65536)
                except ConnectionResetError:
                    return out
                if not rest:
                    return out
            a, rest = read_answer(s, rest)
            out.append(a.status)


# --- what is refused, and nothing behind it answered ----------------------------------------------------------

GET, POST = b"GET / HTTP/1.1\r\n", b"POST /v1/ingest-data HTTP/1.1\r\n"
H, TE, END = b"Host: x\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n"


def _chunks(body):
    return POST + H + TE + END + body


REFUSED = [  # status, what, the bytes
    # two lengths of one body: RFC 9112 6.1, 6.3
    *[(400, "CL and TE", POST + H + a + b + END + b"0\r\n\r\n") for a, b in itertools.permutations((b"Content-Length: 5\r\n", TE))],
    *[(400, "CL and odd TE", POST + H + b"Content-Length: 5\r\n" + t + END + b"0\r\n\r\n") for t in (b"transfer-encoding: Chunked\r\n", b"Transfer-Encoding:chunked\r\n", b"Transfer-Encoding: \tchunked \r\n")],
    *[(400, f"Content-Length twice: {a} {b}", POST + H + b"Content-Length: %s\r\nContent-Length: %s\r\n\r\nabcde" % (a, b)) for a, b in ((b"5", b"5"), (b"5", b"0"), (b"0", b"5"), (b"5", b"05"))],
    *[(400, f"Content-Length: {v}", POST + H + b"Content-Length: " + v + b"\r\n\r\nabcde")
      for v in (b"+5", b"-5", b"5 5", b"5,5", b"5, 5", b"5,", b",5", b"0x5", b"5.0", b"5e0", b"1_0", b"\"5\"", b"5;", b"\x0b5", b"\xc2\xb2", b"18446744073709551616", b"99999999999999999999999", b"abc", b"")],
    *[((400, 501), f"Transfer-Encoding: {v}", POST + H + b"Transfer-Encoding: " + v + b"\r\n\r\n0\r\n\r\n")
      for v in (b"xchunked", b"chunkedx", b"chunked, chunked", b"chunked,", b",chunked", b"chunked, identity", b"identity", b"identity, chunked", b"gzip", b"gzip, chunked", b"chunked;q=1", b"chunked;x", b"\"chunked\"",
                b"'chunked'", b"chun ked", b"chunked\x0b", b"\x00chunked", b"\x7fchunked", b"")],
    *[(400, f"TE with an odd name {n}", POST + H + n + b" chunked\r\n\r\n0\r\n\r\n")
      for n in (b"Transfer-Encoding :", b"Transfer-Encoding\t:", b" Transfer-Encoding:", b"\tTransfer-Encoding:", b"Transfer Encoding:", b"\x00Transfer-Encoding:", b"Transfer-Encoding\x00:", b"Transf\xc3\xa9r-Encoding:", b":", b"Transfer-Encoding")],
    (400, "TE twice", POST + H + TE + TE + END + b"0\r\n\r\n"),
    (400, "TE and TE of another kind", POST + H + TE + b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n"),
    (400, "TE in 1.0", b"POST / HTTP/1.0\r\n" + H + TE + END + b"0\r\n\r\n"),
    # lines: 9112 2.2, 5.1, 5.2
    (400, "fold", GET + H + b"X: a\r\n b\r\n\r\n"), (400, "fold by tab", GET + H + b"X: a\r\n\tb\r\n\r\n"), (400, "fold of the first line", GET + b" X: a\r\n" + H + END),
    (400, "fold of nothing", GET + H + b" \r\n\r\n"),
    (400, "bare LF behind the request line", b"GET / HTTP/1.1\n" + H + END), (400, "bare LF behind a header", GET + b"Host: x\n\r\n"), (400, "bare LF at the end", GET + H + b"\n"),
    (400, "all bare LF", b"GET / HTTP/1.1\nHost: x\n\n"), (400, "bare CR in a value", GET + H + b"X: a\rb\r\n\r\n"), (400, "bare CR as an end", GET + H + b"X: a\r\rY: b\r\n\r\n"),
    (400, "CR CR LF", GET + b"Host: x\r\r\n\r\n"), (400, "LF CR", GET + b"Host: x\n\r\n\r\n"), (400, "bare CR in the request line", b"GET /\r HTTP/1.1\r\n" + H + END),
    (400, "NUL in a value", GET + H + b"X: a\x00b\r\n\r\n"), (400, "NUL in a name", GET + H + b"X\x00: a\r\n\r\n"), (400, "NUL in the target", b"GET /\x00 HTTP/1.1\r\n" + H + END),
    *[(400, f"control {c} in a value", GET + H + b"X: a" + bytes([c]) + b"\r\n\r\n") for c in (1, 8, 11, 12, 14, 27, 31, 127)],
    *[(400, f"a name with {c}", GET + H + b"X" + c + b"Y: a\r\n\r\n") for c in (b" ", b"(", b")", b"<", b"@", b",", b";", b"\\", b'"', b"/", b"[", b"?", b"=", b"{", b"\x80")],
    (400, "no colon", GET + H + b"X\r\n\r\n"), (400, "no name", GET + H + b": a\r\n\r\n"),
    (400, "two empty lines first", b"\r\n\r\n" + GET + H + END), (400, "a blank first", b" " + GET + H + END),
    # request line: 9112 3
    *[(400, f"request line {r}", r + b"\r\n" + H + END) for r in (b"GET", b"GET ", b"GET /", b"GET / ", b"/ HTTP/1.1", b" / HTTP/1.1", b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ", b"GET\t/ HTTP/1.1", b"GET / HTTP/1.1 x",
                                                             b"GET / x HTTP/1.1", b"GET / HTTP/1", b"GET / HTTP/1.", b"GET / HTTP/1.10", b"GET / HTTP/01.1", b"GET / HTTP 1.1", b"GET / HTTP/1,1", b"GET / Http/1.1", b"GET / HTTPS/1.1", b"GET / ICY/1.1",
                                                             b"G(T / HTTP/1.1", b"G\xc3\x89T / HTTP/1.1", b"GET nope HTTP/1.1", b"GET ? HTTP/1.1", b"GET # HTTP/1.1", b"GET /a#b HTTP/1.1", b"GET /a<b HTTP/1.1", b"GET /% HTTP/1.1", b"GET /%zz HTTP/1.1", b"GET /\xff HTTP/1.1",
                                                             b"GET /a\\b HTTP/1.1", b"GET * HTTP/1.1", b"OPTIONS ** HTTP/1.1")],
    *[((400, 505), f"version {v}", b"GET / HTTP/" + v + b"\r\n" + H + END) for v in (b"0.9", b"1.2", b"1.9", b"2.0", b"3.0", b"9.9")],
    ((400, 505), "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), (400, "HTTP/0.9", b"GET /\r\n"), (400, "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),
    (400, "SSH", b"SSH-2.0-OpenSSH_9\r\n"), (400, "SMTP", b"EHLO x\r\n"), (400, "PROXY protocol", b"PROXY TCP4 1.1.1.1 2.2.2.2 3 4\r\n" + GET + H + END), (400, "PROXY protocol 2", b"\r\n\r\n\x00\r\nQUIT\n" + bytes(20)),
    # forms of the target: 9112 3.2
    *[((400, 405), f"authority-form {t}", b"CONNECT " + t + b" HTTP/1.1\r\n" + H + END) for t in (b"a:80", b"/", b"a", b"http://a/")],
    *[(400, f"target {t}", b"GET " + t + b" HTTP/1.1\r\n" + H + END) for t in (b"a:80", b"ftp://a/", b"http:/a", b"http://", b"http:///", b"http://a:b@c/", b"http://a@c/", b"http://a:99999/", b"http://a:x/", b"http://[::1/", b"http://[]/", b"//", b"javascript:x")
      if t != b"//"],
    # Host: 9112 3.2
    (400, "no Host", GET + END), (400, "Host twice", GET + H + H + END), (400, "Host and another", GET + H + b"hOsT: y\r\n\r\n"), (400, "absolute target, no Host", b"GET http://a/ HTTP/1.1\r\n\r\n"),
    *[(400, f"Host: {h}", GET + b"Host: " + h + b"\r\n\r\n") for h in (b"", b"a b", b"a,b", b"a, b", b"http://a", b"a/b", b"a@b", b"a:b", b"a:1:2", b"a:99999", b"a:-1", b"[::1", b"::1", b"a?b", b"a#b", b"a\\b", b"<a>", b"\xc3\xa9")],
    # chunks: 9112 7.1
    *[(400, f"chunk size {z}", _chunks(z + b"\r\nabcde\r\n0\r\n\r\n"))
      for z in (b"0x5", b"+5", b"-5", b" 5", b"5 ", b"5h", b"g", b"5.", b"5,", b"\"5\"", b"", b"00000000000000005", b"10000000000000000", b"5\x00", b"\x005", b"5\t", b"5\x0b;a", b"5 5", b"_5")],
    *[((400, 413), f"a chunk of {z}", _chunks(z + b"\r\nabcde\r\n0\r\n\r\n")) for z in (b"ffffffffffffffff", b"fffffffffffffffb", b"8000000000000000", b"7fffffffffffffff", b"100000000", b"10001")],
    *[(400, f"chunk extension {e}", _chunks(b"5" + e + b"\r\nabcde\r\n0\r\n\r\n")) for e in (b";", b";=", b";a=", b";a=b c", b';a="', b';a="\n"', b";a\n", b";\x00", b";a=\x01", b" ", b"; ;a", b";a=b;", b";a\r", b";a=b\nX")],
    (400, "chunk longer than its size", _chunks(b"5\r\nabcdef\r\n0\r\n\r\n")), (400, "chunk without CR", _chunks(b"5\r\nabcde\n0\r\n\r\n")), (400, "chunk without an end", _chunks(b"5\r\nabcde0\r\n\r\n")),
    (400, "size behind a bare LF", _chunks(b"5\nabcde\r\n0\r\n\r\n")), (400, "size behind a bare CR", _chunks(b"5\rabcde\r\n0\r\n\r\n")), (400, "last chunk behind a bare LF", _chunks(b"0\n\r\n")),
    (400, "end behind a bare LF", _chunks(b"0\r\n\n")),
    *[(400, f"trailer {t}", _chunks(b"0\r\n" + t + b"\r\n\r\n")) for t in (b"a", b" a: b", b"a : b", b": b", b"a: b\r\n c", b"a: b\nc: d", b"a: \x00", b"a\x00: b")],
    # Expect: 9110 10.1.1
    (417, "Expect", POST + H + b"Expect: x\r\nContent-Length: 5\r\n\r\nabcde"),
]


def what_is_ambiguous_or_malformed_is_refused_and_what_follows_is_never_answered():
    wrong = []
    for status, what, data in REFUSED:
        for door in ("public", "admin"):
            got = _statuses(data + HIDDEN, door, end=False)
            if len(got) != 1 or got[0] not in (status if isinstance(status, tuple) else (status,)):
                wrong.append((what, door, got))
    assert not wrong, wrong
    _daemon().sound()


# --- what is odd, and right ----------------------------------------------------------------------------------------

SERVED = [  # statuses, what, the bytes
    ([200], "lower-case names", b"GET / HTTP/1.1\r\nhost: x\r\nACCEPT: */*\r\n\r\n"), ([200], "one empty line first", b"\r\n" + GET + H + END),
    ([200], "no blank behind the colon", GET + b"Host:x\r\nX:\r\n\r\n"), ([200], "blanks around values", GET + b"Host: \t x \t \r\n\r\n"), ([200], "a tab and high bytes in a value", GET + H + b"X: a\tb\xc3\xa9\xff\r\n\r\n"),
    ([200], "absolute form", b"GET http://a.example/ HTTP/1.1\r\nHost: b\r\n\r\n"), ([200], "absolute form without a path", b"GET http://a.example HTTP/1.1\r\nHost: b\r\n\r\n"), ([200], "absolute form in capitals", b"GET HTTP://a:80/ HTTP/1.1\r\nHost: b\r\n\r\n"),
    ([200], "an empty query", b"GET /? HTTP/1.1\r\n" + H + END), ([200], "Host with a port", GET + b"Host: a.example:8402\r\n\r\n"), ([200], "Host [::1]", GET + b"Host: [::1]:80\r\n\r\n"), ([200], "Host with an empty port", GET + b"Host: a:\r\n\r\n"),
    ([204], "OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + H + END), ([200], "1.0 without Host", b"GET / HTTP/1.0\r\n\r\n" + HIDDEN), ([200, 404], "1.0 that stays", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + HIDDEN),
    ([200], "close", GET + H + b"Connection: close\r\n\r\n" + HIDDEN), ([200], "close among others", GET + H + b"Connection: x, Close\r\n\r\n" + HIDDEN), ([200], "close in a second line", GET + H + b"Connection: x\r\nConnection: close\r\n\r\n" + HIDDEN),
    ([200, 404], "a body nobody wants", GET + H + b"Content-Length: 5\r\n\r\nabcde" + HIDDEN), ([200, 404], "an empty body", GET + H + b"Content-Length: 0\r\n\r\n" + HIDDEN), ([400, 404], "zeros before a length", POST + H + b"Content-Length: 005\r\n\r\nabcde" + HIDDEN),
    ([400, 404], "chunks", _chunks(b"5\r\nabcde\r\n0\r\n\r\n") + HIDDEN), ([400, 404], "size in capitals and zeros", _chunks(b"000000000000000A\r\nabcdeabcde\r\n00\r\n\r\n") + HIDDEN), ([400, 404], "an empty chunked body", _chunks(b"0\r\n\r\n") + HIDDEN),
    ([400, 404], "extensions", _chunks(b'5;a;b=c;d="e;\\"f" ; g\r\nabcde\r\n0;h\r\n\r\n') + HIDDEN), ([400, 404], "trailers", _chunks(b"5\r\nabcde\r\n0\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\nHost: y\r\n\r\n") + HIDDEN),
    ([400, 404], "Chunked", POST + H + b"tRANSFER-eNCODING: \t chunkeD \t\r\n\r\n0\r\n\r\n" + HIDDEN), ([200, 404], "a length in a body's look-alike", GET + H + b"X-Content-Length: 5\r\nContent_Length: 7\r\n\r\n" + HIDDEN),
    ([405, 404], "a method in lower case is another method", b"get / HTTP/1.1\r\n" + H + END + HIDDEN), ([405, 404], "an unknown method", b"BREW / HTTP/1.1\r\n" + H + END + HIDDEN), ([405, 404], "a long method", b"M" * 100 + b" / HTTP/1.1\r\n" + H + END + HIDDEN),
    ([404, 404], "a path is what it is", b"GET // HTTP/1.1\r\n" + H + END + HIDDEN), ([404], "escapes are not undone for a route", b"GET /v1%2ffeeds HTTP/1.1\r\n" + H + END), ([404], "nor dots", b"GET /x/../v1/feeds HTTP/1.1\r\n" + H + END),
    ([404, 404, 404], "in one go", HIDDEN * 3), ([426, 404], "an upgrade in 1.1 to another protocol", b"GET /v1/stream HTTP/1.1\r\n" + H + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + HIDDEN),
    ([100, 400, 404], "Expect: 100-continue", POST + H + b"Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n" + b"abcde" + HIDDEN),
    ([413], "Expect of too much", POST + H + b"Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n"),
]


def what_is_odd_but_right_is_served_and_what_follows_told_apart():
    wrong = []
    for statuses, what, data in SERVED:
        got = _statuses(data)
        if got != statuses and not (100 in statuses and got == [s for s in statuses if s != 100]):  # a body that came along needs no 100
            wrong.append((what, got, statuses))
    assert not wrong, wrong
    _daemon().sound()


def wherever_the_bytes_are_cut_the_answers_are_the_same():
    rows = [r for r in SERVED if r[1] in ("extensions", "trailers", "a body nobody wants", "close in a second line", "Chunked")]
    for statuses, what, data in rows:
        for cut in range(1, len(data), 3):
            with _daemon().connect() as s:
                s.sendall(data[:cut])
                s.sendall(data[cut:])
                rest = b""
                for status in statuses:
                    a, rest = read_answer(s, rest)
                    assert a.status == status, (what, cut, status, a.status)


def a_method_that_a_path_does_not_know_is_405_with_what_it_does():
    d = _daemon()
    rows = [("public", "/v1/feeds", "DELETE", "GET, HEAD, OPTIONS"), ("public", "/v1/ingest-data", "PUT", "GET, HEAD, POST, OPTIONS"), ("public", "/v1/ingest-data/batch", "GET", "POST, OPTIONS"), ("public", "/v1/tokens/revoke", "HEAD", "POST, OPTIONS"),
            ("admin", "/metrics", "POST", "GET, HEAD"), ("admin", "/v1/admin/tokens", "GET", "POST"), ("admin", "/livez", "OPTIONS", "GET, HEAD")]
    for door, path, method, allow in rows:
        a = d.ask(method, path, door=door)
        assert (a.status, a.headers["allow"]) == (405, allow), (path, a.status, a.headers)


def the_operators_door_does_not_talk_to_web_pages():
    d = _daemon()
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1"}, {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Host": "localhost.evil"}):
        for method, path in (("GET", "/metrics"), ("POST", "/v1/admin/tokens"), ("OPTIONS", "/v1/admin/tokens"), ("GET", "/livez")):
            a = d.ask(method, path, door="admin", headers={**headers, "Authorization": "Bearer " + d.bearer})
            assert a.status == 403 and "access-control-allow-origin" not in a.headers, (headers, path, a.status)
    assert d.ask("GET", "/livez", door="admin", headers={"Host": "localhost:1"}).status == 200


# --- WebSocket: handshake --------------------------------------------------------------------------------------------

SHAKE = {"Host": "x", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def handshakes_are_judged_line_by_line():
    def shake(method="GET", version="1.1", path="/echo", more="", **other):
        h = {**SHAKE, **{k.replace("_", "-"): v for k, v in other.items()}}
        return (f"{method} {path} HTTP/{version}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in h.items() if v is not None) + more + "\r\n").encode()
    rows = [(101, shake()), (101, shake(Upgrade="WebSocket")), (101, shake(Upgrade="h2c, websocket")), (101, shake(Connection="keep-alive, Upgrade")), (101, shake(Connection="keep-alive", more="Connection: upgrade\r\n")),
            (101, shake(more="Origin: https://a.example\r\nSec-WebSocket-Protocol: chat, x\r\n")), (101, shake(Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAB==")),
            (426, shake(Upgrade=None)), (426, shake(Upgrade="websockets")), (426, shake(Connection=None)), (426, shake(Connection="Upgraded")), (426, shake(version="1.0")),
            *[(426, shake(Sec_WebSocket_Version=v)) for v in ("0", "7", "8", "12", "14", "013", "13.0", "13, 8", "8, 13", "x", "-13", "+13", "256")],
            ((400, 426), shake(Sec_WebSocket_Version=None)), ((400, 426), shake(more="Sec-WebSocket-Version: 13\r\n")), ((400, 426), shake(more="Sec-WebSocket-Version: 8\r\n")), ((400, 426), shake(Sec_WebSocket_Version="")),
            *[(400, shake(Sec_WebSocket_Key=k)) for k in (None, "", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25j_Q==", "dGhlIHNh XBsZSBub25jZQ==", "=" * 24, "A" * 24)],
            (400, shake(more="Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")), (400, shake(more="Content-Length: 2\r\n") + b"ab"), (400, shake(more="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n"), (405, shake(method="POST")), (405, shake(method="PUT"))]
    wrong = []
    for path in ("/echo", "/v1/stream"):
        for want, data in rows:
            with _daemon().connect() as s:
                s.sendall(data.replace(b"/echo", path.encode()))
                a, _ = read_answer(s)
                if a.status not in (want if isinstance(want, tuple) else (want,)):
                    wrong.append((path, data, a.status))
                if a.status == 101:
                    assert b"dGhl" not in data or a.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3
                    assert "sec-websocket-protocol" not in a.headers and "sec-websocket-extensions" not in a.headers
                elif a.status == 426:
                    assert "upgrade" in a.headers["connection"].split(", "), a.headers  # RFC 9110 section 7.8
                    assert a.headers["upgrade"].lower() == "websocket" and (a.headers.get("sec-websocket-version") == "13" or b"Version: 13\r\n" in data), (data, a.headers)
    assert not wrong, wrong


# --- WebSocket: frames, as Autobahn's sections ----------------------------------------------------------------------

def _echo():
    return Ws(_daemon().public, path="/echo")


def _play(frames, want, code=1000, chop=None):
    """Sends the frames, wants those back in order, then our close answered (code 1000) or theirs."""
    w = _echo()
    data = b"".join(frames) + (ws_frame(CLOSE, b"\x03\xe8") if code == 1000 else b"")
    if chop:
        for i in range(0, len(data), chop):
            _send(w.sock, data[i:i + chop])
    else:
        _send(w.sock, data)
    for f in want:
        got = w.frame()
        assert got == f, (got[0], got[1][:60], f[0], f[1][:60])
    got = w.closed()
    assert got == code, (got, code)
    assert ended(w.sock) == b""
    w.drop()


def section_1_and_2_messages_and_pings_of_every_length():
    for opcode in (TEXT, BINARY):
        for n in (0, 125, 126, 127, 128, 65535, 65536):
            for chop in (None, 997):
                _play([ws_frame(opcode, b"*" * n)], [(opcode, b"*" * n)], chop=chop)
    for payload in (b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125):
        _play([ws_frame(PING, payload)], [(PONG, payload)], chop=1)
        _play([ws_frame(PONG, payload)], [])
        _play([ws_frame(PONG, b"unsolicited"), ws_frame(PING, payload)], [(PONG, payload)])
    _play([ws_frame(PING, b"\xfe" * 126)], [], 1002)
    _play([ws_frame(PING, b"%d" % i) for i in range(10)], [(PONG, b"%d" % i) for i in range(10)], chop=1)


def sections_3_and_4_reserved_bits_and_opcodes():
    hello = ws_frame(TEXT, b"Hello")
    for rsv in range(1, 8):
        for bad in (ws_frame(TEXT, b"x", rsv=rsv), ws_frame(BINARY, b"x", rsv=rsv), ws_frame(PING, b"x", rsv=rsv), ws_frame(CLOSE, rsv=rsv)):
            _play([hello, bad, ws_frame(PING)], [(TEXT, b"Hello")], 1002)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"reserved"):
            _play([hello, ws_frame(opcode, payload), ws_frame(PING)], [(TEXT, b"Hello")], 1002, chop=1 if opcode & 1 else None)


def section_5_fragments():
    t = lambda p, fin=False: ws_frame(TEXT, p, fin=fin)
    c = lambda p, fin=False: ws_frame(0, p, fin=fin)
    ping = ws_frame(PING, b"ping")
    both = [(TEXT, b"fragment1fragment2")]
    rows = [
        ([ws_frame(PING, b"fragment1", fin=False), c(b"fragment2", True)], [], 1002), ([ws_frame(PONG, b"fragment1", fin=False), c(b"fragment2", True)], [], 1002),
        ([t(b"fragment1"), c(b"fragment2", True)], both, 1000), ([t(b"fragment1"), ping, c(b"fragment2", True)], [(PONG, b"ping")] + both, 1000),
        ([c(b"nothing", True), t(b"Hello", True)], [], 1002), ([c(b"nothing"), t(b"Hello", True)], [], 1002),
        ([t(b"fragment1"), c(b"fragment2", True), c(b"fragment3"), t(b"fragment4", True)], both, 1002),
        ([c(b"fragment1"), t(b"fragment2"), c(b"fragment3", True)], [], 1002), ([t(b"fragment1"), t(b"fragment2", True)], [], 1002),
        ([t(b"1"), c(b"2"), ws_frame(PING, b"a"), c(b"3"), c(b"4"), ws_frame(PING, b"b"), c(b"5", True)], [(PONG, b"a"), (PONG, b"b"), (TEXT, b"12345")], 1000),
        ([t(b""), c(b""), c(b"", True)], [(TEXT, b"")], 1000), ([t(b""), c(b"middle"), c(b"", True)], [(TEXT, b"middle")], 1000), ([t(b"a"), ws_frame(BINARY, b"b", fin=True)], [], 1002),
        ([t(b"a"), ws_frame(CLOSE, b"\x03\xe8")], [], 1000), ([ws_frame(BINARY, b"\xff", fin=False), c(b"\xfe", True)], [(BINARY, b"\xff\xfe")], 1000),
    ]
    for frames, want, code in rows:
        for chop in (None, 1):
            if (TEXT, b"a") in want or frames[-1][:1] != b"\x88":
                _play(frames, want, code, chop)
            else:
                w = _echo()
                w.raw(b"".join(frames))
                assert w.closed() == code
                w.drop()


GOOD_TEXT = ["κόσμε", "\U00010000\U0010ffff", "\u0000", "\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff", "\U0001fffe\U0010fffe", "\ufffd\ufffe\uffff", "Hello-µ@ßöäüàá-UTF-8!!", "日本語" * 100]
BAD_TEXT = [b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf", b"\x80", b"\xbf", b"\x80\xbf\x80\xbf", b"\xfe", b"\xff", b"\xc0\xaf", b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80", b"\xed\xa0\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xc0 ", b"\xe0 ", b"\xf0 ", b"\xce\xba\xe1\xbd",
            b"\xf0\x90\x80", b"\xdf", b"\xef\xbf"]


def section_6_text_is_utf8_however_it_is_cut():
    for text in GOOD_TEXT:
        data = text.encode()
        _play([ws_frame(TEXT, data)], [(TEXT, data)], chop=1)
        parts = [data[i:i + 1] for i in range(len(data))]
        _play([ws_frame(TEXT if i == 0 else 0, p, fin=i == len(parts) - 1) for i, p in enumerate(parts)], [(TEXT, data)])
        _play([ws_frame(CLOSE, b"\x03\xe8" + data[:120].decode(errors="ignore").encode())], [], 1000)
    for data in BAD_TEXT:
        for chop in (None, 1):
            _play([ws_frame(TEXT, data)], [], 1007, chop)
        _play([ws_frame(TEXT, b"ok "), ws_frame(TEXT, data[:1], fin=False), ws_frame(0, data[1:])], [(TEXT, b"ok ")], 1007)
        _play([ws_frame(CLOSE, b"\x03\xe8" + data)], [], 1007)
        _play([ws_frame(BINARY, data)], [(BINARY, data)])
    # Fail fast: bad as soon as it is certain, not when the message is whole (6.4).
    for head in (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90", b"abc\xff", b"\xed\xa0"):
        w = _echo()
        w.raw(ws_frame(TEXT, head, fin=False))
        assert w.closed() == 1007, head
        w.drop()
        w = _echo()
        w.raw(ws_frame(TEXT, head, length=1000))
        assert w.closed() == 1007, head
        w.drop()


def section_7_closing():
    hello = ws_frame(TEXT, b"Hello")
    close = lambda code, reason=b"": ws_frame(CLOSE, struct.pack(">H", code) + reason)
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        for reason in (b"", b"Hello World!", b"*" * 123):
            w = _echo()
            w.raw(hello + close(code, reason))
            assert w.frame() == (TEXT, b"Hello") and w.closed() == code and ended(w.sock) == b"", code
            w.drop()
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        _play([close(code)], [], 1002)
        _play([close(code, b"reason")], [], 1002)
    w = _echo()
    w.raw(ws_frame(CLOSE))
    assert w.closed() in (1000, 1005)  # both are right (RFC 6455 5.5.1)
    w.drop()
    for bad in (ws_frame(CLOSE, b"\x03"), ws_frame(CLOSE, b"\x03\xe8" + b"*" * 124), ws_frame(CLOSE, b"\x03\xe8", fin=False)):
        _play([bad], [], 1002)
    for tail in (hello, ws_frame(PING), ws_frame(CLOSE), ws_frame(0, b"x"), os.urandom(300)):  # what follows a close is not looked at
        w = _echo()
        w.raw(close(1000) + tail)
        assert w.closed() == 1000 and w.buf + ended(w.sock) == b""
        w.drop()
    w = _echo()  # 7.1.6: a large message on the way
    w.raw(ws_frame(TEXT, b"*" * (256 << 10)) + hello + close(1000) + ws_frame(PING))
    assert w.frame() == (TEXT, b"*" * (256 << 10)) and w.frame() == (TEXT, b"Hello") and w.closed() == 1000
    w.drop()


def section_10_a_message_in_many_fragments():
    data = b"*" * 65536
    parts = [data[i:i + 1300] for i in range(0, len(data), 1300)]
    frames = [ws_frame(TEXT if i == 0 else 0, p, fin=i == len(parts) - 1) for i, p in enumerate(parts)]
    _play(frames, [(TEXT, data)])
    _play(frames, [(TEXT, data)], chop=1024)


def lengths_lie_in_no_form():
    key = b"abcd"
    for data in (b"\x81\xfe\x00\x00" + key, b"\x81\xfe\x00\x7d" + key, b"\x81\xff" + struct.pack(">Q", 0) + key, b"\x81\xff" + struct.pack(">Q", 65535) + key, b"\x81\xff" + struct.pack(">Q", 1 << 63) + key, b"\x81\xff" + b"\xff" * 8 + key,
                 b"\x81\x05Hello", b"\x89\x00", b"\x88\x02\x03\xe8", b"\x89\xfe\x00\x7e" + key, b"\x89\xff" + struct.pack(">Q", 5) + key):
        _play([data], [], 1002)
        _play([data], [], 1002, chop=1)
    _play([ws_frame(BINARY, b"", length=(16 << 20) + 1)], [], 1009)


def _end():
    if _shared:
        with _shared["d"] as d:
            d.sound()


if __name__ == "__main__":
    run(globals(), _end)
