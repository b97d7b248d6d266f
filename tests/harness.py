"""What the end-to-end tests share: the real kamiyod fed by the real kamiyo-sim, raw sockets, a strict WebSocket client.

    e2e_NAME.py KAMIYOD KAMIYO_SIM KAMIYO [scenario...]

A scenario is a function whose name is the rule it checks.  Nothing sleeps to wait: each waits for the thing itself, with a deadline.
"""
import base64
import ctypes
import hashlib
import hmac
import http.client
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import types
import zlib
from decimal import Decimal

KAMIYOD, SIM, KAMIYO = sys.argv[1:4]
SECONDS = 15  # the longest any single thing may take
TICK_USD, QUERY_USD = Decimal("0.000001"), Decimal("0.0001")
FEEDS = ("BTC/USDT@binance", "SOL/USDT@binance")
EVERY_FEED = {*FEEDS, "BTC/USD", "SOL/USD"}
with open(KAMIYOD, "rb") as _f:
    SANITIZED = b"__asan_" in _f.read()  # memory is then not to be measured
BAD_OUTPUT = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error|assert|ThreadSanitizer", re.I)


def until(what, seconds=SECONDS, text=""):
    """Asks until it is so; what() may give the answer itself."""
    stop = time.monotonic() + seconds
    while True:
        got = what()
        if got:
            return got
        assert time.monotonic() < stop, f"not within {seconds} s: {text or what}"
        select.select([], [], [], 0.005)


_libc = ctypes.CDLL(None)


def _die_with_the_test():
    """In the child: killed with the thread that started it, so that a test that is killed, or fails half-way, leaves no daemon behind."""
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Program:
    """A process with its ready line.  It ends with the test at the latest; a daemon that the test forgot is a fault of the test (run)."""
    started = []

    def __init__(self, args, env=None):
        self.err = tempfile.TemporaryFile("w+")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("KAMIYO_") or k == "KAMIYO_CAPTURES"}
        clean.setdefault("TSAN_OPTIONS", f"suppressions={os.path.dirname(os.path.abspath(__file__))}/tsan.supp")
        self.proc = subprocess.Popen(args, env={**clean, **(env or {})}, stdout=subprocess.PIPE, stderr=self.err, preexec_fn=_die_with_the_test)
        Program.started.append(self)
        os.set_blocking(self.proc.stdout.fileno(), False)
        self.out = b""

    def stderr(self):
        # Without a seek: the program writes at the same offset as we would move.
        return os.pread(self.err.fileno(), 1 << 26, 0).decode(errors="replace")

    def ready(self):
        def line():
            self.out += self.proc.stdout.read() or b""
            assert self.proc.poll() is None, f"it ended at once:\n{self.stderr()}"
            return b"\n" in self.out and self.out.split(b"\n", 1)[0].decode()
        text = until(line, text="the line that says it listens")
        assert text.startswith("listening "), text
        return dict(word.split("=", 1) for word in text.split()[1:])

    def end(self, sig=signal.SIGTERM, seconds=30):
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
        return self.proc.wait(seconds)


class Sim(Program):
    def __init__(self, rate=100, *more, symbols="BTCUSDT:61000.00,SOLUSDT:150.00"):
        super().__init__([SIM, "--market", f"seed=7,rate={rate},symbols={symbols},feeds=BTC/USD:61000,feeds=SOL/USD:150", "--rebase-time",
                          "--messages-per-second", "0", *more])
        self.at = self.ready()

    def trouble(self, kind, target="binance", **more):
        body = json.dumps({"kind": kind, "target": target, **more})
        host = self.at["control"].split("//")[1]
        c = http.client.HTTPConnection(host, timeout=SECONDS)
        c.request("POST", "/trouble", body)
        r = c.getresponse()
        text = r.read()
        assert r.status == 200, (r.status, text)
        c.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body, parse_float=lambda t: (_ for _ in ()).throw(AssertionError("binary float " + t)))


class Daemon(Program):
    """kamiyod on free ports.  `settings`: dotted keys of the configuration."""

    def __init__(self, sim=None, data=None, args=(), wait=True, prefix=(), **settings):
        self.sim = sim
        self.own = None if data else tempfile.TemporaryDirectory(prefix="kamiyo-e2e-")
        self.data = data or self.own.name + "/data"
        conf = {"public": {"listen": "127.0.0.1:0"}, "admin": {"listen": "127.0.0.1:0"}, "data": self.data, "shards": {"count": 1, "pin": False},
                "lease": {"report_every": "50ms"}}
        off = "ws://127.0.0.1:9"
        conf["sources"] = {
            "binance": {"url": (sim.at["binance"] if sim else off) + "/stream", "symbols": ["BTCUSDT", "SOLUSDT"] if sim else []},
            "pyth": {"url": (sim.at["hermes"] if sim else off) + "/ws", "feeds": ["BTC/USD", "SOL/USD"] if sim else []},
        }
        # Tests ask often, and most of them are not about that: who is about the limits gives his own.
        conf["limits"] = {"unauthenticated_per_s": 1000000, "unauthenticated_burst": 1000000, "requests_per_min": 1000000, "requests_per_hour": 1000000}
        for key, value in settings.items():
            section, name = key.split("__")
            conf.setdefault(section, {})[name] = value
        if conf.get("feeds_list"):
            conf["feeds"] = conf.pop("feeds_list")["is"]
        self.conf_file = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        json.dump(conf, self.conf_file)  # JSON is YAML
        self.conf_file.flush()
        super().__init__([*prefix, KAMIYOD, "run", "--config", self.conf_file.name, *args])
        self.at = self.ready()
        self.public, self.admin = ((h, int(p)) for h, p in (self.at[k].rsplit(":", 1) for k in ("public", "admin")))
        with open(self.data + "/admin.token") as f:
            self.bearer = f.read().strip()
        if sim and wait:
            until(lambda: all(f["offset"] > 0 for f in self.feeds().values()), text="every feed ticks")

    # --- doors
    def ask(self, method, path, body=None, door="public", headers=None, token=None):
        c = http.client.HTTPConnection(*(self.public if door == "public" else self.admin), timeout=SECONDS)
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = "Bearer " + token
        c.request(method, path, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body), headers)
        r = c.getresponse()
        answer = Answer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
        c.close()
        return answer

    def operator(self, method, path, body=None, headers=None):
        return self.ask(method, path, body, "admin", headers, self.bearer)

    def mint(self, account, usd="1", **more):
        a = self.operator("POST", "/v1/admin/tokens", {"account": account, "usd": usd, **more})
        assert a.status == 200, a.body
        return a.json["token"]

    def account(self, account):
        a = self.operator("GET", "/v1/admin/accounts?account=" + account)
        assert a.status == 200, a.body
        return {k: Decimal(v) if k in ("credited", "balance", "leased", "consumed") else v for k, v in a.json.items()}

    def settled(self, account, consumed):
        """Waits until the ledger says exactly this much; more is an error at once."""
        def so():
            a = self.account(account)
            assert a["consumed"] <= consumed, f"charged {a['consumed']} for {consumed}"
            assert a["balance"] >= 0 and a["credited"] == a["balance"] + a["leased"] + a["consumed"], a
            return a["consumed"] == consumed and a
        return until(so, text=f"{account} consumed {consumed}, now {self.account(account)}")

    def feeds(self):
        return {f["feed"]: f for f in self.ask("GET", "/v1/feeds").json["feeds"]}

    def metrics(self):
        text = self.ask("GET", "/metrics", door="admin").body.decode()
        return {k[7:]: int(v) for k, v in (line.split() for line in text.splitlines() if not line.startswith("#"))}

    def ws(self, token=None, **more):
        return Ws(self.public, token=token, **more)

    def connect(self, door="public", rcvbuf=None):
        s = socket.socket()
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        s.settimeout(SECONDS)
        s.connect(self.public if door == "public" else self.admin)
        return s

    def rss(self):
        with open(f"/proc/{self.proc.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) * 1024

    def cpu(self):
        with open(f"/proc/{self.proc.pid}/stat") as f:
            return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")

    # --- end
    def sound(self):
        text = self.stderr()
        assert not BAD_OUTPUT.search(text), text

    def stop(self):
        code = self.end()
        self.sound()
        assert code == 0, f"exit {code}\n{self.stderr()}"

    def audit(self):
        r = subprocess.run([KAMIYO, "ledger", "audit", "--data", self.data, "--json"], capture_output=True, text=True, timeout=SECONDS)
        assert r.returncode == 0, r.stdout + r.stderr
        return json.loads(r.stdout)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.end(signal.SIGKILL)
            print("--- the daemon said:\n" + self.stderr()[-4000:])
        else:
            self.stop()
        if self.own:
            self.own.cleanup()


# --- tokens of our own making, to be refused -----------------------------------------------------

def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(key, account="local:forged", *, alg="HS256", iss="kamiyo", age=0, life=600, jti="forged-1"):
    now = int(time.time()) - age
    head = b64(json.dumps({"alg": alg, "typ": "JWT"}).encode())
    claims = {"iss": iss, "sub": account, "jti": jti, "iat": now, "exp": now + life}
    text = head + "." + b64(json.dumps(claims).encode())
    return text + "." + b64(hmac.new(key, text.encode(), hashlib.sha256).digest())


# --- raw HTTP -------------------------------------------------------------------------------------

def read_answer(sock, buf=b"", head=False):
    """One response off a raw socket: (Answer, what follows it)."""
    while b"\r\n\r\n" not in buf:
        more = sock.recv(65536)
        assert more, f"ended inside a head: {buf!r}"
        buf += more
    top, buf = buf.split(b"\r\n\r\n", 1)
    lines = top.decode().split("\r\n")
    version, status, _ = lines[0].split(" ", 2)
    assert version == "HTTP/1.1", lines[0]
    headers = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in lines[1:])}
    assert len(headers) == len(lines) - 1, "a header twice: " + top.decode()
    status = int(status)
    n = 0 if head or status in (100, 101, 204) else int(headers["content-length"])
    while len(buf) < n:
        more = sock.recv(65536)
        assert more, "ended inside a body"
        buf += more
    return Answer(status, headers, buf[:n]), buf[n:]


def ended(sock):
    """The other side ended the connection, by FIN or RST; returns what came before."""
    got = b""
    try:
        while True:
            more = sock.recv(65536)
            if not more:
                return got
            got += more
    except (ConnectionResetError, BrokenPipeError):
        return got


# --- WebSocket --------------------------------------------------------------------------------------

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTROL = (CLOSE, PING, PONG)


def ws_frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\x11\x22\x33\x44", length=None):
    n = len(payload) if length is None else length
    out = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    out += bytes([bit | n]) if n < 126 else bytes([bit | 126]) + struct.pack(">H", n) if n < 65536 else bytes([bit | 127]) + struct.pack(">Q", n)
    if mask:
        key = (mask * (len(payload) // 4 + 1))[:len(payload)]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big") if payload else b""
        out += mask
    return out + payload


def deflated(data, level=6, bits=15, memory=8):
    """One message as RFC 7692 packs it, without context."""
    z = zlib.compressobj(level, zlib.DEFLATED, -bits, memory)
    packed = z.compress(data) + z.flush(zlib.Z_SYNC_FLUSH)
    assert packed[-4:] == b"\0\0\xff\xff"
    return packed[:-4]


def inflated(packed, bits=15):
    z = zlib.decompressobj(-bits)
    return z.decompress(packed + b"\0\0\xff\xff") + z.flush()


class Closed(Exception):
    def __init__(self, code, reason):
        super().__init__(f"closed {code} {reason}")
        self.code, self.reason = code, reason


class Ws:
    """A client that checks all it is sent: framing, offsets that go on by one but for gaps, and that the charge is for the ticks."""

    def __init__(self, address, token=None, path="/v1/stream", by="header", hello=True, rcvbuf=None, extra="", deflate=None):
        """deflate: an offer of permessage-deflate, which must be taken."""
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(SECONDS)
        self.sock.connect(address)
        self.buf = b""
        self.at = {}  # feed -> offset held
        self.ticks, self.gaps, self.other = [], [], []
        self.paced = set()  # feeds with max_hz: their offsets rise, but not by one
        self.deflate, self.rsv1, self.compressed, self.saved = deflate, False, 0, 0  # the last frame was compressed; how many were, and bytes less
        if deflate:
            extra += f"Sec-WebSocket-Extensions: {deflate}\r\n"
        key = base64.b64encode(os.urandom(16)).decode()
        if token and by == "query":
            path += "?token=" + token
        head = f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
               f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{extra}"
        if token and by == "header":
            head += f"Authorization: Bearer {token}\r\n"
        self.sock.sendall(head.encode() + b"\r\n")
        self.answer, self.buf = read_answer(self.sock)
        assert self.answer.status == 101, (self.answer.status, self.answer.body)
        want = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        assert self.answer.headers["sec-websocket-accept"] == want
        if token and by in ("op", "bare"):
            self.send({"op": "auth", "token": token} if by == "op" else {"token": token})
        taken = self.answer.headers.get("sec-websocket-extensions")
        assert (taken or "").startswith("permessage-deflate; server_no_context_takeover; client_no_context_takeover") if deflate else taken is None, taken
        self.hello = self.next("authenticated") if token and hello else None

    def send(self, obj):
        self.sock.sendall(ws_frame(TEXT, (obj if isinstance(obj, str) else json.dumps(obj)).encode()))

    def raw(self, data):
        self.sock.sendall(data)

    def _need(self, n):
        if len(self.buf) >= n:
            return
        parts = [self.buf]
        have = len(self.buf)
        while have < n:
            more = self.sock.recv(1 << 18)
            if not more:
                raise Closed(1006, "no close frame")
            parts.append(more)
            have += len(more)
        self.buf = b"".join(parts)

    def frame(self, seconds=SECONDS):
        """(opcode, payload); raises Closed on a close frame, and TimeoutError."""
        self.sock.settimeout(seconds)
        self._need(2)
        b0, n = self.buf[0], self.buf[1]
        self.rsv1 = bool(b0 & 0x40)
        assert b0 & (0xb0 if self.deflate else 0xf0) == 0x80, f"fragmented or RSV: {b0:#x}"
        assert n < 128, "masked by the server"
        head = 2
        if n == 126:
            self._need(4)
            n, head = struct.unpack(">H", self.buf[2:4])[0], 4
            assert n >= 126
        elif n == 127:
            self._need(10)
            n, head = struct.unpack(">Q", self.buf[2:10])[0], 10
            assert n >= 65536
        self._need(head + n)
        payload, self.buf = self.buf[head:head + n], self.buf[head + n:]
        opcode = b0 & 15
        if opcode == CLOSE:
            assert n != 1 and n <= 125
            code, reason = (struct.unpack(">H", payload[:2])[0], payload[2:].decode()) if n else (1005, "")
            raise Closed(code, reason)
        if self.rsv1:
            assert opcode in (TEXT, BINARY), opcode
            self.compressed += 1
            packed, payload = payload, inflated(payload)
            self.saved += len(payload) - len(packed)
            self.shorter = len(packed) < len(payload)
        return opcode, payload

    def event(self, seconds=SECONDS):
        """The next JSON frame, checked against what came before."""
        opcode, payload = self.frame(seconds)
        assert opcode == TEXT, opcode
        e = json.loads(payload, parse_float=lambda t: (_ for _ in ()).throw(AssertionError("binary float " + t)))
        kind = e["type"]
        assert not self.rsv1 or self.shorter, "what is no shorter goes as it is"
        assert kind == "tick" or not self.rsv1, f"{kind} may hold secrets"
        if kind == "tick":
            self._in_order(e["feed"], e["offset"], e["offset"])
            self.ticks.append(e)
        elif kind == "gap":
            if e["reason"] != "epoch":
                self._in_order(e["feed"], e["from"], e["to"])
            else:
                self.at[e["feed"]] = e["to"]
            self.gaps.append(e)
        else:
            if kind == "subscribed":
                for f in e["feeds"]:
                    self.at.setdefault(f["feed"], None)
            self.other.append(e)
        return e

    def _in_order(self, feed, first, last):
        assert feed in self.at, f"{feed} was not subscribed"
        held = self.at[feed]
        assert held is None or first == held + 1 or (feed in self.paced and first > held), f"{feed}: {first} follows {held}"
        assert last >= first, (first, last)
        self.at[feed] = last

    def next(self, kind, seconds=SECONDS, **members):
        stop = time.monotonic() + seconds
        while True:
            e = self.event(max(0.001, stop - time.monotonic()))
            if e["type"] == kind and all(e.get(k) == v for k, v in members.items()):
                return e

    def count(self, n, seconds=SECONDS):
        """n more ticks."""
        want = len(self.ticks) + n
        stop = time.monotonic() + seconds
        while len(self.ticks) < want:
            self.event(max(0.001, stop - time.monotonic()))
        return self.ticks[want - n:]

    def subscribe(self, *feeds, **more):
        self.send({"op": "subscribe", "id": 1, "feeds": list(feeds), **more})
        return self.next("subscribed")

    def balance(self):
        self.send({"op": "balance", "id": "b"})
        return self.next("balance", id="b")

    def quiet(self):
        """Everything the daemon sent before now has been read: it answers in order."""
        self.send({"op": "ping", "id": "q"})
        return self.next("pong", id="q")

    def closed(self, seconds=SECONDS):
        """Reads on until the close frame; its code."""
        stop = time.monotonic() + seconds
        try:
            while True:
                self.frame(max(0.001, stop - time.monotonic()))
        except Closed as c:
            return c.code

    def last_words(self, seconds=SECONDS):
        """JSON frames until the close frame: (them, code)."""
        stop = time.monotonic() + seconds
        said = []
        try:
            while True:
                said.append(self.event(max(0.001, stop - time.monotonic())))
        except Closed as c:
            return said, c.code

    def close(self):
        try:
            self.raw(ws_frame(CLOSE, struct.pack(">H", 1000)))
            _, code = self.last_words()  # ticks that were on the way are read and counted
            assert code == 1000, code
            assert ended(self.sock) == b""
        finally:
            self.sock.close()

    def drop(self):
        self.sock.close()


# --- runner -------------------------------------------------------------------------------------------

def run(module, end=None):
    """Every public function of the module in order, or those named on the command line; exit 1 if one fails.  Then end()."""
    rules = [f for n, f in module.items() if isinstance(f, types.FunctionType) and f.__module__ == "__main__" and not n.startswith("_")]
    named = sys.argv[4:]
    failed = 0
    begin = time.monotonic()
    for rule in [*rules, *([end] if end else [])]:
        if named and rule is not end and rule.__name__ not in named:
            continue
        start = time.monotonic()
        try:
            rule()
            verdict = "ok  "
        except Exception:
            traceback.print_exc(file=sys.stdout)
            verdict, failed = "FAIL", failed + 1
        print(f"{verdict} {time.monotonic() - start:5.1f} s  {rule.__name__.strip('_').replace('_', ' ')}", flush=True)
    forgotten = [p for p in Program.started if isinstance(p, Daemon) and p.proc.poll() is None]
    for p in forgotten:
        p.end(signal.SIGKILL)
        print("still running at the end: " + " ".join(p.proc.args))
    print(f"{failed} failed, {time.monotonic() - begin:.1f} s")
    sys.exit(1 if failed or forgotten else 0)
