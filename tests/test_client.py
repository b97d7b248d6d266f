#!/usr/bin/python3
"""The client `kamiyo` against a stand-in of the daemon: what it shows, what it counts, how it fails.

usage: test_client.py PATH/TO/kamiyo          exit 77: aiohttp (python3-aiohttp) is not there
The stand-in's behaviour is chosen by the token, so that one server serves every case.
"""
import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

try:
    from aiohttp import WSMsgType, web
except ImportError:
    print("python3-aiohttp is missing: skipped")
    sys.exit(77)

KAMIYO = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "build/release/bin/kamiyo"
PRICE = "0.000001000"


def tick(feed, offset):
    return {"type": "tick", "feed": feed, "offset": offset, "kind": "trade", "price": "187.1234", "source": "binance",
            "ts_recv": str(time.time_ns())}


class StandIn:
    """Speaks the public door's stream and a few routes of both doors, on one port."""

    def __init__(self, tls=None):
        self.requests = []
        self.port = None
        self.ready = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.main, args=(tls,), daemon=True)
        self.thread.start()
        self.ready.wait(10)

    def main(self, tls):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.start(tls))
        self.loop.run_forever()

    async def start(self, tls):
        app = web.Application()
        app.router.add_get("/v1/stream", self.stream)
        app.router.add_route("*", "/{tail:.*}", self.http)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        self.ready.set()

    async def http(self, request):
        body = await request.text()
        self.requests.append((request.method, request.path_qs, request.headers.get("Authorization"), body))
        bearer = (request.headers.get("Authorization") or "")[7:]
        if bearer == "quiet":  # as a door that drains, before it has read a word
            return web.Response(status=503, headers={"Retry-After": "1"})
        if bearer == "later":
            return web.json_response({"code": "unavailable", "detail": "no new sessions"}, status=503, headers={"Retry-After": "2"})
        if bearer == "broke":
            return web.json_response({"code": "insufficient_balance", "title": "x", "detail": "need 0.0001"}, status=402)
        if request.path == "/v1/feeds":
            return web.json_response({"feeds": [{"feed": "SOL/USD", "aliases": ["solana-price"], "kind": "oracle",
                                                 "sources": ["pyth"], "price_tick": PRICE, "price_query": "0.000100000",
                                                 "price_pass": "0.010000000", "epoch": "e", "offset": 7, "age_ms": 3}]})
        if request.path == "/v1/ingest-data" and request.query.get("feed") == "SOL/USD@x y":
            return web.json_response({"code": "unknown_feed", "detail": "no such feed\x1b[31m", "closest": "SOL/USD"}, status=404)
        if request.path == "/v1/ingest-data":
            return web.json_response({"feed": "SOL/USD", "data": {"price": "187.1", "source": "pyth", "ts_recv": "1"},
                                      "epoch": "e", "offset": 7, "age_ms": 3, "degraded": False, "cached": False,
                                      "charged": "0.000100000", "balance": "0.999900000"})
        if request.path == "/v1/history":  # two pages
            first = int(request.query.get("cursor", 7)) + 1
            ticks = [] if bearer == "empty" else [tick("SOL/USD", first), tick("SOL/USD", first + 1)]
            return web.json_response({"feed": "SOL/USD", "epoch": "e", "ticks": ticks, "count": len(ticks), "more": first == 8 and bool(ticks), "cursor": str(first + 1),
                                      "charged": "0.000100000", "balance": "0.5"})
        if request.path == "/v1/ingest-data/batch":
            results = [{"feed": q["feed_type"], "data": {"price": "1", "source": "pyth"}, "age_ms": 1}
                       if q["feed_type"] != "NO/NO" else {"error": {"code": "unknown_feed"}}
                       for q in json.loads(body)["queries"]]
            return web.json_response({"results": results, "count": len(results), "charged": "0.0001", "balance": "0.5"})
        if request.path == "/v1/admin/tokens":
            return web.json_response({"account": "a", "token": "h.p.s", "jti": "j", "expires_at": "x", "balance": "10"})
        if request.path == "/v1/account":
            return web.Response(text="<html>not a kamiyo door</html>")
        return web.json_response({})

    async def stream(self, request):
        how = (request.headers.get("Authorization") or "")[7:]
        if how in ("quiet", "later"):
            return await self.http(request)
        if how == "expired":
            return web.json_response({"code": "token_expired", "detail": "token has expired"}, status=401)
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        sent = 0
        balance = 1_000_000_000
        ended = []
        async for message in ws:
            if message.type != WSMsgType.TEXT:
                break
            op = json.loads(message.data)
            if op["op"] == "balance":
                charged = sent + (1 if how == "overcharged" else 0)
                if how == "silent" and sent:
                    continue
                await ws.send_json({"type": "balance", "id": op["id"], "balance": f"{(balance - 1000 * charged) / 1e9:.9f}",
                                    "charged_ticks": charged})
                for feed in ended if how != "unsigned" else ():  # they wait for the disk: behind everything else
                    await ws.send_json({"type": "receipt", "feed": feed, "ticks": sent // len(ended), "sig": "h.p.s"})
            elif op["op"] == "subscribe":
                sent += await self.serve(ws, how, op)
            elif op["op"] == "unsubscribe":
                ended = op["feeds"]
                await ws.send_json({"type": "unsubscribed", "id": op["id"], "feeds": ended})
        return ws

    async def serve(self, ws, how, op):
        feeds = op["feeds"]
        if how == "unknown":
            await ws.send_json({"type": "error", "id": op["id"], "code": "unknown_feed", "message": "no such feed",
                                "closest": "SOL/USD", "retry": False})
            return 0
        await ws.send_json({"type": "subscribed", "id": op["id"], "feeds": [
            {"feed": f, "epoch": "e", "offset": 10, "price_tick": PRICE, "plan": "metered"} for f in feeds]})
        if how == "revoked":
            await ws.close(code=4401, message=b"token was revoked")
            return 0
        if how == "lost":
            await ws.send_json(tick(feeds[0], 10))
            ws._req.transport.abort()
            return 1
        if how == "pauses" or how == "drained":
            await ws.send_json(tick(feeds[0], 10))
            if how == "drained":
                await ws.send_json({"type": "goaway", "reason": "drain", "reconnect_after_ms": 1500})
                await ws.close(code=1012, message=b"restart")
                return 1
            why = "no payment within the grace period"
            await ws.send_json({"type": "error", "code": "insufficient_balance", "message": why, "retry": False})
            await ws.close(code=4402, message=why.encode())
            return 1
        if how == "complains":
            await ws.send_json({"type": "error", "code": "internal", "message": "a passing trouble", "retry": True})
        if how == "garbage":
            await ws.send_str("not json")
            return 0
        if how == "dearer":  # two changes: the second is told before the first counts
            for start, price in ((20, "0.000003000"), (25, "0.000002000")):
                await ws.send_json({"type": "prices", "feeds": [{"feed": feeds[0], "from": start, "price_tick": price}]})
            await ws.send_json({"type": "low_balance", "balance": "0.000020000", "seconds_left": 7})
            await ws.send_json({"type": "status", "feed": feeds[0], "state": "stale", "source": "pyth", "since": str(time.time_ns() - 90 * 10**9)})
            await ws.send_json({"type": "status", "feed": "A/B", "state": "unavailable", "source": "pyth", "since": "0"})
        sent = 0
        for offset in range(10, 10 + (20000 if how == "many" else 20)):
            for feed in feeds:
                if how == "hole" and offset == 15:
                    continue
                if how == "gap" and offset == 15:
                    await ws.send_json({"type": "gap", "feed": feed, "from": 15, "to": 15, "reason": "conflated"})
                    continue
                await ws.send_json(tick(feed, offset))
                sent += 1
        if how == "ping":
            await ws.ping(b"are you there")
        if how == "fragments":  # one tick in three frames, a ping between them
            text = json.dumps(tick(feeds[0], 30)).encode()
            transport = ws._req.transport
            for opcode, part in ((0x01, text[:5]), (0x89, b"hi"), (0x00, text[5:9]), (0x80, text[9:])):
                head = bytes([opcode, len(part)]) if len(part) < 126 else bytes([opcode, 126]) + len(part).to_bytes(2, "big")
                transport.write(head + part)
            sent += 1
        return sent


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = StandIn()
        cls.folder = tempfile.TemporaryDirectory()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", f"{cls.folder.name}/key.pem", "-out", f"{cls.folder.name}/cert.pem", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                       check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(f"{cls.folder.name}/cert.pem", f"{cls.folder.name}/key.pem")
        cls.tls = StandIn(tls)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_it(self, *args, env=None, url=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("KAMIYO_")}
        url = url or f"http://127.0.0.1:{self.server.port}"
        clean.update({"KAMIYO_URL": url, "KAMIYO_ADMIN": f"http://127.0.0.1:{self.server.port}", **(env or {})})
        return subprocess.run([KAMIYO, *args], capture_output=True, text=True, timeout=60, env=clean)

    def stream(self, token, *args, **more):
        done = self.run_it("stream", "--token", token, "--json", *args, **more)
        lines = done.stdout.splitlines()
        return done, json.loads(lines[-1]) if lines else None

    def test_a_stream_ends_with_both_counts_and_they_agree(self):
        done, last = self.stream("ok", "SOL/USD", "A/B", "--seconds", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((last["received"], last["charged"], last["agree"], last["violations"]), (40, 40, True, 0))
        self.assertEqual((last["gaps"], last["balance"], last["charged_usd"]), (0, "0.999960000", "0.000040000"))
        self.assertGreaterEqual(last["seconds"], 1)
        ticks = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
        self.assertEqual(sum(t["type"] == "tick" for t in ticks), 40)

    def test_at_a_terminal_each_tick_is_a_line_and_the_balance_falls(self):
        done = self.run_it("stream", "SOL/USD", "--token", "ok", "--count", "20")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        ticks = [line for line in lines if "charge 0.000001000" in line]
        self.assertEqual(len(ticks), 20)
        self.assertIn("balance 0.999999000", ticks[0])
        self.assertIn("balance 0.999980000", ticks[-1])
        self.assertEqual(lines[-1], "received 20, charged 20 ticks = 0.000020000 USD, they agree")

    def test_an_overcharge_is_found(self):
        done, last = self.stream("overcharged", "SOL/USD", "--count", "20")
        self.assertEqual((done.returncode, last["agree"], last["charged"]), (1, False, 21))
        self.assertIn("received 20 ticks but 21 were charged", done.stderr)

    def test_a_hole_without_a_gap_frame_is_found(self):
        done, last = self.stream("hole", "SOL/USD", "--seconds", "1")
        self.assertEqual((done.returncode, last["violations"], last["agree"]), (1, 1, True))
        self.assertIn("SOL/USD: offset 16 came after 14 without a gap frame", done.stderr)

    def test_an_announced_gap_is_none_of_our_worries(self):
        done, last = self.stream("gap", "SOL/USD", "--seconds", "1")
        self.assertEqual((done.returncode, last["gaps"], last["gap_ticks"], last["violations"]), (0, 1, 1, 0))

    def test_a_price_that_changes_counts_from_its_offset_on(self):
        done, last = self.stream("dearer", "SOL/USD", "--count", "20")
        self.assertEqual((done.returncode, last["charged_usd"]), (0, "0.000025000"), done.stderr)  # 15 at 0.000001, the cheaper until 25; 5 at 0.000002
        done = self.run_it("stream", "SOL/USD", "--token", "dearer", "--count", "20")
        self.assertIn("SOL/USD              costs 0.000002000 USD a tick from offset 25 on", done.stdout.splitlines())
        self.assertIn("balance is running low: 0.000020000 USD, at this rate for 7 s", done.stdout.splitlines())
        self.assertRegex(done.stdout, "(?m)^SOL/USD +is stale \\(pyth; last tick 9[01] s ago\\)$")
        self.assertRegex(done.stdout, "(?m)^A/B +is unavailable \\(pyth; no tick yet\\)$")
        self.assertEqual([line.count("charge 0.000002000") for line in done.stdout.splitlines() if " charge " in line], [0] * 15 + [1] * 5)

    def test_fragments_and_pings_are_handled(self):
        for how, count in (("fragments", 21), ("ping", 20), ("many", 20000)):
            done, last = self.stream(how, "SOL/USD", "--seconds", "2")
            self.assertEqual((done.returncode, last["received"], last["agree"]), (0, count, True), (how, done.stderr))

    def test_a_server_that_does_not_answer_the_last_question_is_a_failure(self):
        done, last = self.stream("silent", "SOL/USD", "--count", "20")
        self.assertEqual((done.returncode, last["agree"], last["charged"]), (1, False, None))

    def test_it_waits_for_the_receipts_but_not_for_ever(self):
        done, last = self.stream("ok", "SOL/USD", "A/B", "--seconds", "1")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([e["feed"] for e in lines if e.get("type") == "receipt"], ["SOL/USD", "A/B"])
        self.assertLess(last["seconds"], 2)
        done, last = self.stream("unsigned", "SOL/USD", "--count", "20")
        self.assertEqual((done.returncode, last["agree"]), (0, True), done.stderr)
        self.assertGreater(last["seconds"], 2.9)

    def test_an_unknown_feed_is_named_with_the_nearest(self):
        done, _ = self.stream("unknown", "SOL/UDS", "--seconds", "1")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "kamiyo stream: unknown_feed: no such feed; did you mean SOL/USD?\n")

    def test_a_close_is_told_with_its_code_and_what_to_do(self):
        done, _ = self.stream("revoked", "SOL/USD", "--seconds", "5")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the server closed with 4401 token was revoked; get a new token", done.stderr)

    def test_whatever_ends_it_there_is_a_closing_line_and_one_that_says_why(self):
        for how, why in (("lost", ""), ("drained", "(drain: the daemon goes on without new sessions); connect again in 1.5 s"),
                         ("pauses", "4402 no payment within the grace period; top the account up (kamiyo deposit USD)")):
            done = self.run_it("stream", "SOL/USD", "--token", how, "--seconds", "5")
            self.assertEqual(done.returncode, 1)
            self.assertIn("received 1 ticks = 0.000001000 USD; it ended before", done.stdout.splitlines()[-1])
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertIn(why, done.stderr)
            done, last = self.stream(how, "SOL/USD", "--seconds", "5")
            self.assertEqual((done.returncode, last["received"], last["charged"]), (1, 1, None))

    def test_an_error_that_no_close_follows_is_told(self):
        done, last = self.stream("complains", "SOL/USD", "--count", "20")
        self.assertEqual((done.returncode, done.stderr, last["agree"]), (0, "kamiyo stream: internal: a passing trouble\n", True))

    def test_a_refused_handshake_is_told(self):
        done, _ = self.stream("expired", "SOL/USD", "--seconds", "5")
        self.assertEqual(done.returncode, 1)
        self.assertIn("answered 401", done.stderr)
        self.assertIn("token_expired", done.stderr)

    def test_a_503_says_what_it_is_and_when_to_come_again(self):
        for verb in ("get", "stream"):
            done = self.run_it(verb, "SOL/USD", "--token", "quiet")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "answered 503.*: no new connections are taken there now: it drains or is full; try again in 1 s")
            done = self.run_it(verb, "SOL/USD", "--token", "later")
            self.assertRegex(done.stderr, "answered 503.* unavailable: no new sessions; try again in 2 s")

    def test_without_a_token_both_ways_to_one_are_told(self):
        for verb in ("get", "stream", "account"):
            done = self.run_it(verb, *(["SOL/USD"] if verb != "account" else []))
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "kamiyo deposit USD.*kamiyo token mint")

    def test_garbage_ends_the_stream(self):
        done, _ = self.stream("garbage", "SOL/USD", "--seconds", "5")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no JSON object", done.stderr)

    def test_an_interrupt_ends_politely_with_the_counts(self):
        env = {**os.environ, "KAMIYO_URL": f"http://127.0.0.1:{self.server.port}"}
        p = subprocess.Popen([KAMIYO, "stream", "SOL/USD", "--token", "ok"], stdout=subprocess.PIPE, text=True, env=env)
        for line in p.stdout:
            if "charge" in line:
                break
        p.terminate()
        rest = p.communicate()[0]
        self.assertEqual(p.returncode, 0)
        self.assertIn("they agree", rest)

    def test_tls_is_checked_against_the_ca_and_the_name(self):
        url = f"https://localhost:{self.tls.port}"
        ca = f"{self.folder.name}/cert.pem"
        for url in (url, f"wss://127.0.0.1:{self.tls.port}"):
            done, last = self.stream("ok", "SOL/USD", "--count", "20", "--ca", ca, url=url)
            self.assertEqual((done.returncode, last and last["agree"]), (0, True), done.stderr)
        done, _ = self.stream("ok", "SOL/USD", "--count", "20", url=f"https://localhost:{self.tls.port}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("certificate refused", done.stderr)
        done = self.run_it("feeds", url=f"https://localhost:{self.tls.port}")
        self.assertEqual(done.returncode, 1)
        done = self.run_it("feeds", "--ca", ca, url=f"https://localhost:{self.tls.port}")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_history_comes_in_pages_under_one_heading(self):
        done = self.run_it("history", "SOL/USD", "--token", "ok")
        lines = done.stdout.splitlines()
        self.assertEqual([line.split()[0:3] for line in lines[:1]], [["RECEIVED", "ns", "OFFSET"]], done.stderr)
        self.assertEqual([line.split()[1] for line in lines[1:5]], ["8", "9", "10", "11"])
        self.assertEqual(lines[0].index("OFFSET"), lines[1].index(" 8 ") + 1)
        self.assertEqual(lines[5:], ["4 ticks, charged 0.000200000 USD, balance 0.5 USD"])
        done = self.run_it("history", "SOL/USD", "--token", "ok", "--json")
        self.assertEqual([json.loads(line)["offset"] for line in done.stdout.splitlines()], [8, 9, 10, 11])
        done = self.run_it("history", "SOL/USD", "--token", "empty")
        self.assertEqual(done.stdout, "0 ticks, charged 0.000100000 USD, balance 0.5 USD\n")

    def test_queries(self):
        done = self.run_it("get", "SOL/USD", "--token", "ok")
        self.assertEqual(done.stdout, "SOL/USD 187.1 pyth, age 3 ms, charged 0.000100000 USD, balance 0.999900000 USD\n")
        done = self.run_it("get", "SOL/USD@x y", "--token", "ok")
        self.assertEqual(done.returncode, 1)
        self.assertIn("404 unknown_feed: no such feed [31m; did you mean SOL/USD?", done.stderr)  # no escape sequence
        done = self.run_it("batch", "NO/NO", "SOL/USD", "--token", "ok")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"(?m)^NO/NO +failed: unknown_feed")
        self.assertRegex(done.stdout, r"(?m)^SOL/USD +1 pyth")
        self.assertRegex(done.stdout, r"(?m)^charged 0.0001 USD, balance 0.5 USD$")
        done = self.run_it("get", "SOL/USD", "--token", "broke")
        self.assertIn("402 insufficient_balance: need 0.0001; see kamiyo account", done.stderr)
        done = self.run_it("feeds")
        self.assertIn("solana-price", done.stdout)
        done = self.run_it("feeds", "--json")
        self.assertEqual(json.loads(done.stdout)["feeds"][0]["feed"], "SOL/USD")
        done = self.run_it("account", "--token", "ok")
        self.assertIn("not a kamiyo door", done.stderr)

    def test_token_mint_prints_the_token_and_nothing_else(self):
        with open(f"{self.folder.name}/admin.token", "w") as f:
            f.write("operator-word\n")
        done = self.run_it("token", "mint", "--account", "local:a", "--usd", "10", "--data", self.folder.name)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "h.p.s\n", ""))
        method, path, bearer, body = self.server.requests[-1]
        self.assertEqual((method, path, bearer), ("POST", "/v1/admin/tokens", "Bearer operator-word"))
        self.assertEqual(json.loads(body), {"account": "local:a", "usd": "10"})

    def test_token_revoke_takes_an_id_or_a_token(self):
        import base64
        claims = base64.urlsafe_b64encode(b'{"jti":"abc"}').rstrip(b"=").decode()
        for word in ("abc", f"h.{claims}.s"):
            done = self.run_it("token", "revoke", word, env={"KAMIYO_ADMIN_TOKEN": "word"})
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(self.server.requests[-1][3]), {"jti": "abc"})
        self.assertEqual(self.run_it("token", "revoke", "a.b.c", env={"KAMIYO_ADMIN_TOKEN": "w"}).returncode, 2)

    def test_wrong_usage_is_2_and_one_line(self):
        for args in ([], ["nonsense"], ["get"], ["feeds", "extra"], ["--seconds", "0", "stream", "A"], ["--nope"],
                     ["token", "mint"], ["token", "mint", "--account", "a", "--usd", "-1"], ["ledger", "nope"]):
            done = self.run_it(*args)
            self.assertEqual(done.returncode, 2, args)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertEqual(self.run_it("--help").returncode, 0)
        self.assertRegex(self.run_it("--version").stdout, r"^kamiyo \d+\.\d+\.\d+\n$")

    def test_nobody_at_the_door_is_told(self):
        for url in ("http://127.0.0.1:1", "ftp://x", "http://u@h", "http://[::1"):
            for args in (["feeds"], ["stream", "A", "--token", "t"]):
                done = self.run_it(*args, url=url)
                self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), (url, args, done.stderr))


if __name__ == "__main__":
    unittest.main(verbosity=2)
