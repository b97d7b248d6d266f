#!/usr/bin/env python3
"""kamiyo-sim as a client sees it: an independent WebSocket library against the real binary.

usage: e2e_sim.py PATH-OF-KAMIYO-SIM [NAME...]     runs every test, or those whose name contains NAME
"""
import asyncio
import contextlib
import glob
import gzip
import hashlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

try:
    import websockets
except ImportError:
    print("SKIPPED: python3-websockets is not installed")
    sys.exit(77)

SIM = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CAPTURES = os.environ.get("KAMIYO_CAPTURES", os.path.join(ROOT, "..", "shared", "captures"))
BTC = "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43"
ETH = "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace"


class Skip(Exception):
    pass


def capture(name):
    path = os.path.join(CAPTURES, name)
    if not os.path.exists(path):
        raise Skip("no captures at " + CAPTURES)
    return path


class Sim:
    """One running simulator; attributes binance, hermes, control, ca."""

    def __init__(self, *args):
        self.args = list(args)

    def __enter__(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("KAMIYO_SIM")}
        self.proc = subprocess.Popen([SIM, "--seconds", "60", *self.args], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True, env=env)
        words = self.proc.stdout.readline().split()
        assert words and words[0] == "listening", self.proc.communicate()[1]
        self.ca = None
        for word in words[1:]:
            key, value = word.split("=", 1)
            setattr(self, key, value)
        return self

    def __exit__(self, *exc):
        self.proc.terminate()
        err = self.proc.communicate(timeout=10)[1]
        if exc[0] is None:
            assert self.proc.returncode == 0, (self.proc.returncode, err)
            assert "Sanitizer" not in err, err

    def connect(self, venue="binance", path="/ws", **kw):
        url = getattr(self, venue) + path
        if url.startswith("wss"):
            kw.setdefault("ssl", ssl.create_default_context(cafile=self.ca))
        kw.setdefault("max_size", 64 << 20)
        kw.setdefault("ping_interval", None)
        kw.setdefault("compression", None)
        return websockets.connect(url, **kw)

    def post(self, path, body=None, headers=None):
        req = urllib.request.Request(self.control + path, json.dumps(body or {}).encode(),
                                     headers or {}, method="POST")
        with urllib.request.urlopen(req, timeout=5) as answer:
            return json.load(answer)

    def trouble(self, kind, **members):
        return self.post("/trouble", {"kind": kind, **members})

    def stats(self):
        with urllib.request.urlopen(self.control + "/stats", timeout=5) as answer:
            return json.load(answer)


async def take(ws, count, timeout=10):
    return [await asyncio.wait_for(ws.recv(), timeout) for _ in range(count)]


async def drain(ws, quiet=0.4):
    """Everything until nothing comes for `quiet` seconds or the connection ends."""
    out = []
    with contextlib.suppress(asyncio.TimeoutError, websockets.ConnectionClosed):
        while True:
            out.append(await asyncio.wait_for(ws.recv(), quiet))
    return out


async def ask(ws, text):
    await ws.send(text if isinstance(text, str) else json.dumps(text))
    return await asyncio.wait_for(ws.recv(), 5)


async def raw_upgrade(url, path, receive_buffer=0):
    host, port = re.match(r"ws://(.*):(\d+)", url).groups()
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=sock)
    writer.write((f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    return head, reader, writer


# ---- the command line ------------------------------------------------------------------------------------------------


def run(*args):
    return subprocess.run([SIM, *args], capture_output=True, text=True, timeout=20)


def test_help_and_version_succeed_and_wrong_usage_is_two_with_one_line():
    assert run("--help").returncode == 0 and "--replay FILE" in run("--help").stdout
    assert run("--version").stdout.startswith("kamiyo-sim ")
    for args in (["--frobnicate"], ["--speed", "fast"], ["word"], ["--tls-cert", "x"], ["--binance", "off"],
                 ["--loop", "0"], ["ctl"], ["ctl", "http://127.0.0.1:1", "nonsense"]):
        r = run(*args)
        assert r.returncode == 2 and r.stderr.count("\n") == 1 and not r.stdout, (args, r)


def test_what_cannot_start_is_one_with_one_line():
    for args in (["--replay", "/nonexistent"], ["--replay", "/dev/null"], ["--market", "rate=0"],
                 ["--script", "/nonexistent"], ["--binance", "nowhere"], ["--tls-cert", "/x", "--tls-key", "/x"],
                 ["--market", "symbols=BTCUSDT:1.0,BTCUSDT:2.0"]):
        r = run("--seconds", "1", *args)
        assert r.returncode == 1 and r.stderr.count("\n") == 1, (args, r)


def test_the_ready_line_can_be_json():
    r = run("--seconds", "0.05", "--json")
    assert r.returncode == 0
    assert set(json.loads(r.stdout)["listening"]) == {"binance", "hermes", "control"}


# ---- Binance's control messages --------------------------------------------------------------------------------------


async def test_each_binance_request_has_its_exact_answer():
    rows = [
        ('{"method":"SUBSCRIBE","params":["btcusdt@nosuch"],"id":1}', '{"result":null,"id":1}'),
        ('{"method":"LIST_SUBSCRIPTIONS","id":"a-3"}', '{"result":["btcusdt@nosuch"],"id":"a-3"}'),
        ('{"method":"UNSUBSCRIBE","params":["btcusdt@nosuch"],"id":null}', '{"result":null,"id":null}'),
        ('{"method":"LIST_SUBSCRIPTIONS","id":-9223372036854775808}', '{"result":[],"id":-9223372036854775808}'),
        ('{"method":"GET_PROPERTY","params":["combined"],"id":5}', '{"result":false,"id":5}'),
        ('{"method":"SET_PROPERTY","params":["combined",true],"id":6}', '{"result":null,"id":6}'),
        ('{"method":"GET_PROPERTY","params":["combined"],"id":7}', '{"result":true,"id":7}'),
        ('{"method":"GET_PROPERTY","params":["bogus"],"id":8}', '{"code":0,"msg":"Unknown property","id":8}'),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":9}',
         '{"code":1,"msg":"Invalid value type: expected Boolean"}'),
        ('{"method":"SET_PROPERTY","params":[1,true],"id":9}',
         '{"code":2,"msg":"Invalid request: property name must be a string"}'),
        ('{"method":"GET_PROPERTY","params":["combined",1],"id":9}',
         '{"code":2,"msg":"Invalid request: too many parameters"}'),
        ('{"method":"DANCE","id":1}',
         '{"code":2,"msg":"Invalid request: unknown variant `DANCE`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, '
         '`LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line 1 column 17"}'),
    ]
    starts = [
        ('{"method":"SUBSCRIBE","params":[5],"id":1}', '{"code":2,"msg":"Invalid request: '),
        ('{"method":"SUBSCRIBE","id":1}', '{"code":2,"msg":"Invalid request: '),
        ('{"id":1}', '{"code":2,"msg":"Invalid request: missing field `method`'),
        ('{"method":"LIST_SUBSCRIPTIONS","id":1.5}', '{"code":2,"msg":"Invalid request: '),
        ('{"method":"LIST_SUBSCRIPTIONS","id":92233720368547758080}', '{"code":2,"msg":"Invalid request: '),
        ('{"method":"LIST_SUBSCRIPTIONS","id":"%s"}' % ("x" * 37), '{"code":2,"msg":"Invalid request: '),
        ('[]', '{"code":2,"msg":"Invalid request: '),
        ('nonsense', '{"code":3,"msg":"Invalid JSON: expected value at line 1 column '),
        ('{"method":', '{"code":3,"msg":"Invalid JSON: expected value at line 1 column '),
    ]
    with Sim("--messages-per-second", "0") as sim:
        async with sim.connect() as ws:
            for sent, want in rows:
                got = await ask(ws, sent)
                assert got == want, (sent, got)
            for sent, want in starts:
                got = await ask(ws, sent)
                assert got.startswith(want), (sent, got)


async def test_streams_come_by_path_by_query_and_by_subscribe_raw_and_combined():
    with Sim() as sim:
        async with sim.connect(path="/ws/btcusdt@trade") as ws:
            assert json.loads((await take(ws, 1))[0])["e"] == "trade"
        async with sim.connect(path="/stream?streams=btcusdt%40bookTicker/ethusdt@trade") as ws:
            frames = [json.loads(f) for f in await take(ws, 40)]
            assert {f["stream"] for f in frames} == {"btcusdt@bookTicker", "ethusdt@trade"}
        async with sim.connect(path="/stream") as ws:
            assert await ask(ws, {"method": "SUBSCRIBE", "params": ["solusdt@aggTrade"], "id": 1}) == \
                '{"result":null,"id":1}'
            assert json.loads((await take(ws, 1))[0])["data"]["e"] == "aggTrade"
            await ws.send('{"method":"UNSUBSCRIBE","params":["solusdt@aggTrade"],"id":2}')
            tail = await drain(ws, 0.6)
            assert tail[-1] == '{"result":null,"id":2}'
        with assert_status(404):
            async with sim.connect(path="/nowhere"):
                pass


async def test_time_unit_microsecond_changes_every_time_member_of_that_connection_only():
    with Sim() as sim:
        async with sim.connect(path="/ws/btcusdt@trade?timeUnit=MICROSECOND") as us, \
                sim.connect(path="/ws/btcusdt@trade") as ms:
            a, b = json.loads((await take(us, 1))[0]), json.loads((await take(ms, 1))[0])
            assert len(str(a["E"])) == 16 and len(str(a["T"])) == 16
            assert len(str(b["E"])) == 13 and len(str(b["T"])) == 13


@contextlib.contextmanager
def assert_status(code):
    try:
        yield
    except websockets.InvalidStatusCode as e:
        assert e.status_code == code, e
        assert_status.headers = e.headers
        return
    raise AssertionError(f"expected HTTP {code}")


@contextlib.contextmanager
def assert_closed(*codes):
    try:
        yield
    except websockets.ConnectionClosed as e:
        code = e.rcvd.code if e.rcvd else 1006
        assert code in codes, e
        return
    raise AssertionError(f"expected close {codes}")


async def test_a_sixth_message_within_a_second_costs_the_connection():
    with Sim() as sim:
        async with sim.connect() as ws:
            for i in range(5):
                await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": i})
            with assert_closed(1008):
                await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 6})


async def test_more_than_1024_streams_are_refused():
    names = [f"s{i}@trade" for i in range(1025)]
    with Sim() as sim:
        async with sim.connect() as ws:
            got = await ask(ws, {"method": "SUBSCRIBE", "params": names, "id": 1})
            assert json.loads(got)["code"] == 2


async def test_pings_are_sent_answered_ones_live_and_unanswered_ones_are_cut():
    with Sim("--binance-ping", "100ms", "--pong-timeout", "400ms", "--messages-per-second", "0") as sim:
        async with sim.connect() as good:
            head, reader, _ = await raw_upgrade(sim.binance, "/ws")
            assert b" 101 " in head
            began = time.monotonic()
            while await asyncio.wait_for(reader.read(4096), 5):
                pass  # pings, until the server gives up
            assert 0.3 < time.monotonic() - began < 3
            assert await ask(good, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
            assert sim.stats()["binance"]["pongs"] >= 2


async def test_the_connect_budget_answers_429_with_retry_after():
    with Sim("--connects", "3") as sim:
        for _ in range(3):
            async with sim.connect():
                pass
        with assert_status(429):
            async with sim.connect():
                pass
        assert assert_status.headers["Retry-After"] == "300"


# ---- Hermes ----------------------------------------------------------------------------------------------------------


async def test_hermes_sends_what_was_asked_for_and_no_more():
    with Sim("--market", "slot-ms=20") as sim:
        async with sim.connect("hermes") as ws:
            assert await ask(ws, {"type": "subscribe", "ids": ["0x" + BTC.upper()]}) == \
                '{"type":"response","status":"success"}'
            feed = json.loads((await take(ws, 1))[0])["price_feed"]
            assert list(feed) == ["id", "price", "ema_price"] and feed["id"] == BTC
            assert isinstance(feed["price"]["price"], str) and feed["price"]["expo"] == -8
            await ws.send(json.dumps({"type": "subscribe", "ids": [BTC], "verbose": True, "binary": True}))
            feed = json.loads((await take(ws, 5))[-1])["price_feed"]
            assert list(feed) == ["id", "price", "ema_price", "metadata", "vaa"]
            await ws.send(json.dumps({"type": "unsubscribe", "ids": [BTC]}))
            assert (await drain(ws, 0.3))[-1] == '{"type":"response","status":"success"}'


async def test_hermes_refuses_unknown_ids_unless_told_to_ignore_them():
    bad = "00" * 31 + "01"
    with Sim() as sim:
        async with sim.connect("hermes") as ws:
            got = json.loads(await ask(ws, {"type": "subscribe", "ids": [BTC, bad]}))
            assert got["status"] == "error" and bad in got["error"]
            assert await drain(ws, 0.6) == []
            got = json.loads(await ask(ws, {"type": "subscribe", "ids": [BTC, bad], "ignore_invalid_price_ids": True}))
            assert got["status"] == "success"
            for text in ("nonsense", "[]", '{"type":"dance","ids":[]}', '{"type":"subscribe"}',
                         '{"type":"subscribe","ids":["zz"]}', '{"type":"subscribe","ids":[],"verbose":1}'):
                await ws.send(text)
                while True:
                    got = json.loads((await take(ws, 1))[0])
                    if got["type"] == "response":
                        break
                assert got["status"] == "error", text


async def test_hermes_wants_its_key_in_header_or_query():
    with Sim("--hermes-key", "s3cret") as sim:
        for path in ("/ws", "/ws?ACCESS_TOKEN=wrong"):
            with assert_status(401):
                async with sim.connect("hermes", path):
                    pass
        async with sim.connect("hermes", "/ws?ACCESS_TOKEN=s3cret"):
            pass
        async with sim.connect("hermes", extra_headers={"Authorization": "Bearer s3cret"}):
            pass


async def test_hermes_byte_limit_says_so_without_type_and_closes():
    with Sim("--market", "slot-ms=1", "--hermes-bytes", "20000") as sim:
        async with sim.connect("hermes") as ws:
            await ws.send(json.dumps({"type": "subscribe", "ids": [BTC, ETH]}))
            frames = await drain(ws, 2)
            assert frames[-1] == '{"status":"error","error":"Rate limit exceeded"}'


# ---- data ------------------------------------------------------------------------------------------------------------


async def digest(args, path, count):
    h = hashlib.sha256()
    with Sim("--speed", "max", "--limit", str(count), *args) as sim:
        async with sim.connect(path=path) as ws:
            for f in await take(ws, count):
                h.update(f.encode())
    return h.hexdigest()


async def test_the_market_is_the_same_to_the_bit_for_the_same_seed_and_another_for_another():
    path = "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@aggTrade/solusdt@trade"
    a = await digest(["--market", "seed=7"], path, 3000)
    assert a == await digest(["--market", "seed=7"], path, 3000)
    assert a != await digest(["--market", "seed=8"], path, 3000)


async def test_market_trades_have_no_hole_and_aggregates_span_them():
    with Sim("--speed", "max", "--limit", "4000") as sim:
        async with sim.connect(path="/stream?streams=btcusdt@trade/btcusdt@aggTrade") as ws:
            frames = [json.loads(f)["data"] for f in await take(ws, 4000)]
    trades = [f["t"] for f in frames if f["e"] == "trade"]
    aggs = [f for f in frames if f["e"] == "aggTrade"]
    assert trades == list(range(trades[0], trades[0] + len(trades)))
    assert all(b["a"] == a["a"] + 1 and b["f"] == a["l"] + 1 for a, b in zip(aggs, aggs[1:]))


async def test_the_rate_is_kept_when_paced():
    with Sim("--market", "rate=500,symbols=BTCUSDT:100.00") as sim:
        async with sim.connect(path="/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@aggTrade") as ws:
            began = time.monotonic()
            await take(ws, 1000)
            assert 1.8 < time.monotonic() - began < 4  # 1,000 frames at 500 a second


async def test_gathered_frames_come_together_late_and_complete():
    with Sim("--market", "rate=500,symbols=BTCUSDT:100.00", "--gather", "200ms") as sim:
        async with sim.connect(path="/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@aggTrade") as ws:
            began, came = time.monotonic(), []
            for _ in range(1000):
                await take(ws, 1)
                came.append(time.monotonic())
            assert 1.6 < came[-1] - began < 4, "the rate is kept"
            quiet = sum(b - a > 0.1 for a, b in zip(came, came[1:]))
            assert 4 <= quiet <= 11, f"{quiet} pauses between ten bursts of a hundred"


def recorded(path):
    """Frames of a capture by an independent reading: {stream: [payload text]}."""
    out = {}
    with gzip.open(path, "rt") as f:
        for line in f:
            m = re.match(r'[\d.]+:? (\{"stream":"([^"]+)","data":(.*)\})\s*$', line)
            if m:
                out.setdefault(m.group(2), []).append(m.group(3))
    return out


async def test_a_recording_comes_out_as_it_went_in():
    for name in ("spot_btcusdt_20240808.ns.jsonl.gz", "spot_4sym_mixed_20211012.cf.txt.gz",
                 "usdm_futures_4sym_20210722.cf.txt.gz"):
        path = capture("binance/" + name)
        want = recorded(path)
        total = sum(len(v) for v in want.values())
        with Sim("--speed", "max", "--replay", path) as sim:
            async with sim.connect(path="/stream?streams=" + "/".join(want)) as ws:
                got = {}
                for text in await take(ws, total):
                    m = re.match(r'\{"stream":"([^"]+)","data":(.*)\}$', text)
                    got.setdefault(m.group(1), []).append(m.group(2))
                assert await drain(ws) == []
            stats = sim.stats()["binance"]
        assert got == want, name
        assert stats["frames"] == stats["recorded_frames"] == total


async def test_loops_move_ids_and_times_on_without_hole():
    path = capture("binance/spot_btcusdt_20240808.ns.jsonl.gz")
    trades = recorded(path)["btcusdt@trade"]
    with Sim("--speed", "max", "--loop", "3", "--replay", path) as sim:
        async with sim.connect(path="/ws/btcusdt@trade/btcusdt@bookTicker") as ws:
            frames = [json.loads(f) for f in await drain(ws, 1)]
    t = [f for f in frames if "t" in f]
    assert len(t) == 3 * len(trades)
    first = json.loads(trades[0])
    assert t[0] == first
    for f, g in zip(t, t[len(trades):]):
        assert {k: v for k, v in f.items() if k not in "tTE"} == {k: v for k, v in g.items() if k not in "tTE"}
        assert g["T"] - f["T"] == g["E"] - f["E"] == t[len(trades)]["T"] - first["T"]
    assert (t[len(trades)]["T"] - first["T"]) % 1000 == 0
    last = t[len(trades) - 1]
    assert t[len(trades)]["t"] == last["t"] + 1 and t[len(trades)]["T"] > last["T"]
    u = [f["u"] for f in frames if "u" in f]
    assert all(a < b for a, b in zip(u, u[1:]))


async def test_rebased_times_are_now():
    path = capture("binance/spot_btcusdt_20240808.ns.jsonl.gz")
    pyth = capture("pyth/hermes_ws_reconstructed.jsonl")
    with Sim("--rebase-time", "--speed", "4", "--replay", path, "--replay", pyth, "--gap", "80ms", "--loop",
             "forever") as sim:
        async with sim.connect(path="/ws/btcusdt@trade") as ws:
            f = [json.loads(x) for x in await take(ws, 20)][-1]
            assert abs(f["T"] / 1000 - time.time()) < 3, f
        async with sim.connect("hermes") as ws:
            await ask(ws, {"type": "subscribe", "ids": [BTC], "verbose": True})
            frames = [json.loads(x)["price_feed"] for x in await take(ws, 12)]
            assert abs(frames[-1]["price"]["publish_time"] - time.time()) < 3
            slots = [f["metadata"]["slot"] for f in frames if f.get("metadata")]
            assert slots == sorted(slots)


async def test_a_market_has_its_own_clock_unless_it_is_rebased():
    for args, want in ((), 1723161255), (("--rebase-time",), time.time()):
        with Sim(*args) as sim:
            async with sim.connect(path="/ws/btcusdt@trade") as ws, sim.connect("hermes") as oracle:
                await ask(oracle, {"type": "subscribe", "ids": [BTC]})
                assert abs(json.loads((await take(ws, 1))[0])["T"] / 1000 - want) < 10
                feed = json.loads((await take(oracle, 1))[0])["price_feed"]
                assert abs(feed["price"]["publish_time"] - want) < 10


async def test_a_paced_reader_that_does_not_read_is_cut_and_others_are_not():
    # A rate that any reader can follow on a busy machine; the one that does not read has a small window, so that it is cut soon all the same.
    with Sim("--market", "rate=4000,symbols=BTCUSDT:100.00", "--queue", "65536") as sim:
        _, reader, writer = await raw_upgrade(sim.binance, "/ws/btcusdt@bookTicker", receive_buffer=4096)
        writer.transport.pause_reading()
        async with sim.connect(path="/ws/btcusdt@aggTrade") as ws:
            for _ in range(100):
                await take(ws, 500)
                if sim.stats()["binance"]["slow_cut"] == 1:
                    break
            else:
                raise AssertionError("never cut")
            await take(ws, 10)
        writer.close()


async def test_hermes_recording_gives_late_slots_only_to_those_who_allow_them():
    path = capture("pyth/hermes_ws_reconstructed.jsonl")
    want = 0
    with open(path) as f:
        for line in f:
            d = json.loads(line)
            want += d["dir"] == "in" and "price_update" in d["frame"] and '"vaa"' not in d["frame"]
    ids = sorted({m for line in open(path) for m in re.findall(r'price_feed\\":\{\\"id\\":\\"([0-9a-f]{64})', line)})
    for allow in (False, True):
        with Sim("--speed", "max", "--replay", path) as sim:
            async with sim.connect("hermes") as ws:
                await ask(ws, {"type": "subscribe", "ids": ids, "verbose": True, "allow_out_of_order": allow})
                frames = [json.loads(x)["price_feed"] for x in await drain(ws)]
        if allow:
            assert len(frames) == want
        else:
            newest = {}
            for f in frames:
                slot = (f.get("metadata") or {}).get("slot") or newest.get(f["id"], 0)
                assert slot >= newest.get(f["id"], 0)
                newest[f["id"]] = slot


async def test_connections_share_one_timeline_when_paced():
    with Sim("--market", "rate=200") as sim:
        async with sim.connect(path="/ws/btcusdt@trade") as a:
            await take(a, 10)
            async with sim.connect(path="/ws/btcusdt@trade") as b:
                first = json.loads((await take(b, 1))[0])["t"]
                seen = [json.loads(f)["t"] for f in await take(a, 30)]
                assert first > 1000005 and first in seen


async def test_limit_ends_the_data_and_not_the_connection():
    with Sim("--speed", "max", "--limit", "100") as sim:
        async with sim.connect(path="/ws/btcusdt@trade") as ws:
            assert len(await drain(ws)) == 100
            assert await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 1})


# ---- TLS -------------------------------------------------------------------------------------------------------------


async def test_wss_verifies_against_the_throw_away_ca_and_bad_certificates_do_not():
    with tempfile.TemporaryDirectory() as d, Sim("--tls-auto", d) as sim:
        assert sim.ca == d + "/ca.pem" and oct(os.stat(d + "/server.key").st_mode & 0o777) == "0o600"
        async with sim.connect(path="/ws/btcusdt@trade") as ws:
            await take(ws, 3)
        for kind in ("wronghost", "selfsigned", "tlsabort"):
            sim.trouble(kind, target="binance", count=1)
            try:
                async with sim.connect():
                    raise AssertionError(kind + " was accepted")
            except ssl.SSLError as e:
                want = {"wronghost": "mismatch", "selfsigned": "self-signed", "tlsabort": "alert"}[kind]
                assert want in str(e).lower().replace("_", " ").replace("self signed", "self-signed"), (kind, e)
            async with sim.connect():
                pass  # count=1: only one is met
        with Sim("--tls-cert", d + "/server.pem", "--tls-key", d + "/server.key") as again:
            again.ca = sim.ca
            async with again.connect("hermes"):
                pass


# ---- trouble ---------------------------------------------------------------------------------------------------------


async def test_a_stall_keeps_socket_and_pongs_and_holds_data():
    with Sim() as sim:
        async with sim.connect(path="/ws/btcusdt@trade") as ws:
            await take(ws, 2)
            assert sim.trouble("stall", target="binance", seconds=0.8)["connections"] == 1
            await drain(ws, 0.2)
            await asyncio.wait_for(await ws.ping(), 2)
            began = time.monotonic()
            await take(ws, 1)
            assert time.monotonic() - began > 0.2


async def test_mute_answers_nothing_until_it_ends():
    with Sim() as sim:
        async with sim.connect(path="/ws") as ws:
            sim.trouble("mute", seconds=0.7)
            began = time.monotonic()
            await asyncio.wait_for(await ws.ping(), 3)
            assert time.monotonic() - began > 0.5


async def test_ways_to_lose_a_connection():
    with Sim() as sim:
        for kind, extra, codes in (("drop", {}, (1006,)), ("reset", {}, (1006,)), ("close", {"code": 1012}, (1012,)),
                                   ("lifetime", {}, (1000,)), ("ratelimit", {}, (1008,))):
            async with sim.connect() as ws:
                assert sim.trouble(kind, **extra)["connections"] == 1
                with assert_closed(*codes):
                    await take(ws, 1, 3)
        async with sim.connect("hermes") as ws:
            sim.trouble("lifetime", target="hermes")
            assert (await take(ws, 1))[0] == \
                '{"type":"response","status":"error","error":"Connection timeout reached (24h)"}'
            with assert_closed(1000):
                await take(ws, 1)


async def test_the_lifetime_option_ends_a_connection_by_itself():
    with Sim("--lifetime", "200ms") as sim:
        async with sim.connect() as ws:
            with assert_closed(1000):
                await take(ws, 1, 3)


async def test_half_open_says_nothing_more_and_does_not_close():
    with Sim() as sim:
        _, reader, writer = await raw_upgrade(sim.binance, "/ws/btcusdt@trade")
        await asyncio.wait_for(reader.read(100), 3)
        sim.trouble("halfopen")
        with contextlib.suppress(asyncio.TimeoutError):
            while await asyncio.wait_for(reader.read(65536), 0.4):
                pass
            raise AssertionError("closed")
        assert sim.stats()["binance"]["connections"][0]["state"] == "frozen"
        writer.close()


async def test_duplicates_repeats_and_neighbours_in_the_wrong_order():
    with Sim("--market", "rate=400") as sim:
        async with sim.connect(path="/ws/btcusdt@trade") as ws:
            sim.trouble("duplicate", count=10)
            ids = [json.loads(f)["t"] for f in await take(ws, 40)]
            assert len(ids) - len(set(ids)) == 10 and ids == sorted(ids)
            sim.trouble("reorder", count=1)
            last = await take(ws, 40)
            ids = [json.loads(f)["t"] for f in last]
            assert sum(a > b for a, b in zip(ids, ids[1:])) == 1, ids
            assert sorted(ids) == list(range(min(ids), max(ids) + 1)), ids
            sim.trouble("stall", seconds=30)
            tail = await drain(ws, 0.3)
            sim.trouble("repeat", count=3)
            assert await take(ws, 3) == (last + tail)[-3:]


async def test_frames_that_are_not_what_they_should_be():
    with Sim() as sim:
        async with sim.connect(path="/ws/btcusdt@trade") as ws:
            async def first(bad):
                for f in await take(ws, 30):
                    if bad(f):
                        return f
                raise AssertionError("none came")

            sim.trouble("wrongtype")
            assert await first(lambda f: re.search(r'"p":\d', f))
            sim.trouble("nullprice")
            assert await first(lambda f: '"p":null' in f)
            sim.trouble("array")
            assert await first(lambda f: f[0] == "[")
            sim.trouble("truncated")
            assert await first(lambda f: f[-1] != "}")
            sim.trouble("spike")
            f = json.loads(await first(lambda f: float(json.loads(f)["p"]) > 1e7))
            assert re.fullmatch(r"\d{8}\.\d{5}", f["p"])
            sim.trouble("garbage", bytes=50)
            assert await first(lambda f: len(f) == 50)
            sim.trouble("shutdown")
            assert await first(lambda f: f.startswith('{"e":"serverShutdown","E":'))
            sim.trouble("huge", bytes=3 << 20)
            assert await first(lambda f: len(f) == 3 << 20)
            sim.trouble("fragment", seconds=0.3, bytes=7)
            assert all(json.loads(f) for f in await take(ws, 10))  # the library puts them together


async def test_frames_a_client_must_refuse():
    with Sim() as sim:
        for kind in ("badutf8", "masked"):
            async with sim.connect(path="/ws/btcusdt@trade") as ws:
                await take(ws, 1)
                sim.trouble(kind)
                try:
                    await take(ws, 200, 5)
                    raise AssertionError(kind + " was accepted")
                except websockets.ConnectionClosed as e:
                    assert e.sent and e.sent.code == {"badutf8": 1007, "masked": 1002}[kind], e


async def test_a_trickle_is_slow_and_whole():
    with Sim("--market", "rate=8,symbols=BTCUSDT:100.00") as sim:
        async with sim.connect(path="/ws/btcusdt@bookTicker") as ws:
            sim.trouble("trickle", seconds=1, bytes=20, ms=20)
            assert all(json.loads(f)["u"] for f in await take(ws, 8))


async def test_doors_that_refuse():
    with Sim() as sim:
        for status in (401, 403, 418, 429, 500, 503):
            sim.trouble("http", status=status, count=1, retry_after=7)
            with assert_status(status):
                async with sim.connect():
                    pass
            assert assert_status.headers["Retry-After"] == "7"
        sim.trouble("refuse", target="binance", seconds=0.4)
        with contextlib.suppress(ConnectionRefusedError):
            async with sim.connect():
                raise AssertionError("accepted")
        for _ in range(50):
            with contextlib.suppress(ConnectionRefusedError):
                async with sim.connect():
                    break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the port did not come back")
        sim.trouble("hang", count=1)
        try:
            await asyncio.wait_for(raw_upgrade(sim.binance, "/ws"), 0.4)
            raise AssertionError("answered")
        except asyncio.TimeoutError:
            pass
        sim.trouble("noack", count=1)
        async with sim.connect() as ws:
            await ws.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            assert await drain(ws, 0.3) == []
            assert await ask(ws, '{"method":"LIST_SUBSCRIPTIONS","id":2}') == '{"result":[],"id":2}'


async def test_a_script_makes_trouble_by_the_clock_and_ctl_by_hand():
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        f.write("# a quiet start\nat 0.3s garbage binance count=2 bytes=33\n\nat 200ms garbage bytes=22\n")
        f.flush()
        with Sim("--script", f.name) as sim:
            async with sim.connect() as ws:
                assert [len(x) for x in await take(ws, 3)] == [22, 33, 33]
                r = run("ctl", sim.control, "close", "binance", "code=1012")
                assert r.returncode == 0 and json.loads(r.stdout)["connections"] == 1
                with assert_closed(1012):
                    await take(ws, 1)
            assert json.loads(run("ctl", sim.control, "stats").stdout)["binance"]["accepted"] == 1
    for bad in ("at noon stall\n", "at 1s dance\n", "stall\n", "at 1s stall mars\n"):
        with tempfile.NamedTemporaryFile("w") as f:
            f.write("\n" + bad)
            f.flush()
            r = run("--seconds", "1", "--script", f.name)
            assert r.returncode == 1 and ":2:" in r.stderr and r.stderr.count("\n") == 1, r


def test_the_control_door_refuses_what_it_does_not_know():
    with Sim() as sim:
        for body in ({"kind": "dance"}, {}, {"kind": "stall", "target": "mars"}, {"kind": "stall", "seconds": "5"},
                     {"kind": "stall", "colour": 1}, {"kind": "http", "status": 42}, {"kind": "stall", "seconds": -1},
                     {"kind": "http", "location": "a\r\nb"}, {"kind": "close", "code": 5}):
            try:
                sim.post("/trouble", body)
                raise AssertionError(f"accepted {body}")
            except urllib.error.HTTPError as e:
                assert e.code == 400 and json.load(e)["error"], body
        for path, want in (("/stats", 405), ("/nowhere", 404)):
            try:
                sim.post(path)
                raise AssertionError(path)
            except urllib.error.HTTPError as e:
                assert e.code == want
        try:
            sim.post("/stop", headers={"Origin": "https://example.org"})
            raise AssertionError("a page may not stop it")
        except urllib.error.HTTPError as e:
            assert e.code == 403
        assert sim.post("/stop") == {"ok": True}
        sim.proc.wait(5)


async def test_bytes_that_are_no_http_no_websocket_and_no_tls_do_no_harm():
    with tempfile.TemporaryDirectory() as d, Sim() as plain, Sim("--tls-auto", d) as tls:
        for url in (plain.binance, plain.hermes, plain.control, tls.binance):
            host, port = re.match(r"\w+://(.*):(\d+)", url).groups()
            for junk in (b"\x00" * 50000, b"GET / HTTP/1.1\r\n\r\n", b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
                         b"A" * 40000, b"\x16\x03\x01" + b"\xff" * 500, b""):
                with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 2) as s:
                    s.sendall(junk)
                    s.shutdown(socket.SHUT_WR)
                    s.settimeout(3)
                    while s.recv(4096):
                        pass
        for sim in (plain, tls):
            async with sim.connect(path="/ws/btcusdt@trade") as ws:
                await take(ws, 1)
        for junk in (b"\x81\x05hello", b"\xc1\x80\0\0\0\0", b"\x83\x80\0\0\0\0", b"\x81\xff" + b"\x7f" + b"\xff" * 11,
                     b"\x80\x80\0\0\0\0", b"\x09\x80\0\0\0\0"):
            _, reader, writer = await raw_upgrade(plain.binance, "/ws")
            writer.write(junk)
            data = await asyncio.wait_for(reader.read(200), 3)
            assert data[:1] == b"\x88" and int.from_bytes(data[2:4], "big") in (1002, 1009), (junk, data)
            writer.close()


def main():
    tests = [(n, f) for n, f in globals().items() if n.startswith("test_")]
    wanted = sys.argv[2:]
    failed = skipped = ran = 0
    for name, test in tests:
        if wanted and not any(w in name for w in wanted):
            continue
        began = time.monotonic()
        try:
            if asyncio.iscoroutinefunction(test):
                asyncio.run(asyncio.wait_for(test(), 100))
            else:
                test()
            verdict = "ok"
            ran += 1
        except Skip as why:
            verdict = f"SKIPPED ({why})"
            skipped += 1
        except Exception as e:  # a test's report, not a handler
            import traceback
            traceback.print_exc()
            verdict = f"FAILED {type(e).__name__}: {str(e)[:300]}"
            failed += 1
        print(f"{verdict:8} {name} ({time.monotonic() - began:.1f} s)", flush=True)
    print(f"{ran} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 77 if not ran else 0


sys.exit(main())
