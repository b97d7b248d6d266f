#!/usr/bin/env python3
"""The feeds thread (tests/feeds_probe.c) against kamiyo-sim over TLS, with every trouble an upstream can make.

    e2e_feeds.py FEEDS_PROBE KAMIYO_SIM [scenario...]

A scenario is a function; its name is the rule it checks.  Nothing sleeps: each waits for a line of the probe, with a deadline.
"""
import asyncio
import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

PROBE, SIM = sys.argv[1:3]
DEADLINE_S = 20
RECONNECT = 1  # KMY_TICK_RECONNECT
KEY = "test-key"


class Lines:
    """A program's stdout, line by line, with deadlines."""

    def __init__(self, args, env, stdin=None):
        self.err = tempfile.TemporaryFile("w+")
        self.proc = subprocess.Popen(args, env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=self.err, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.proc.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def stderr(self):
        # Without a seek: the program writes at the same offset as we would move.
        return os.pread(self.err.fileno(), 1 << 26, 0).decode(errors="replace")

    def next(self, until):
        try:
            return self.lines.get(timeout=max(0.001, until - time.monotonic()))
        except queue.Empty:
            raise AssertionError("nothing came before the deadline\n" + self.stderr()) from None


class Sim:
    def __init__(self, *args):
        self.dir = tempfile.TemporaryDirectory()
        self.out = Lines([SIM, "--tls-auto", self.dir.name, "--hermes-key", KEY, "--market", "seed=7,rate=400", *args], os.environ)
        line = self.out.next(time.monotonic() + DEADLINE_S)
        assert line and line.startswith("listening "), f"{line!r} {self.out.stderr()}"
        self.at = dict(word.split("=", 1) for word in line.split()[1:])
        self.ca = os.path.join(self.dir.name, "ca.pem")

    def trouble(self, kind, target="binance", **more):
        body = json.dumps({"kind": kind, "target": target, **more}).encode()
        url = self.at["control"] + "/trouble"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(urllib.request.Request(url, data=body)) as r:
            assert r.status in (200, 202, 204), r.status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        died = self.out.proc.poll()
        self.out.proc.terminate()
        self.out.proc.wait()
        self.dir.cleanup()
        assert died is None, f"the simulator died: {died} {self.out.stderr()}"


class Probe:
    def __init__(self, sim, *options, ca=True, binance=True, pyth=False, key=KEY, symbols="BTCUSDT,SOLUSDT", host="127.0.0.1"):
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        env["http_proxy"] = "127.0.0.1:1"  # must not be used
        env["KAMIYO_SOURCES_BINANCE_URL"] = sim.at["binance"].replace("127.0.0.1", host)
        env["KAMIYO_SOURCES_PYTH_URL"] = sim.at["hermes"].replace("127.0.0.1", host)
        env["KAMIYO_SOURCES_BINANCE_SYMBOLS"] = symbols if binance else ""
        env["KAMIYO_SOURCES_PYTH_FEEDS"] = "BTC/USD,SOL/USD" if pyth else ""
        env["KAMIYO_PYTH_TOKEN"] = key
        if ca:
            env["KAMIYO_SOURCES_BINANCE_CA_FILE"] = env["KAMIYO_SOURCES_PYTH_CA_FILE"] = ca if isinstance(ca, str) else sim.ca
        self.out = Lines([PROBE, *options], env, stdin=subprocess.PIPE)
        self.ticks = []  # (feed, kind, source_seq, flags)
        self.sources = {}  # name -> (state, connects, error)
        self.end = None

    def _take(self, line):
        assert line is not None, "the probe ended: " + self.out.stderr()
        word, rest = line.split(" ", 1)
        if word == "tick":
            _, feed, _, _, kind, seq, flags, _ = rest.split(" ")
            self.ticks.append((feed, kind, int(seq), int(flags)))
        elif word == "source":
            name, state, connects, error = rest.split(" ", 3)
            self.sources[name] = (state, int(connects), error)
        elif word == "end":
            self.end = json.loads(rest)

    def until(self, what, seconds=DEADLINE_S):
        stop = time.monotonic() + seconds
        while not what(self):
            self._take(self.out.next(stop))
        return self

    def live(self, name="binance", connects=1):
        return self.until(lambda p: p.sources.get(name, ("", 0))[0] == "live" and p.sources[name][1] >= connects)

    def state(self, state, name="binance"):
        return self.until(lambda p: p.sources.get(name, ("",))[0] == state)

    def error(self, *words, name="binance"):
        return self.until(lambda p: all(w in p.sources.get(name, ("", 0, ""))[2] for w in words))

    def more(self, n):
        have = len(self.ticks)
        return self.until(lambda p: len(p.ticks) >= have + n)

    def everything_ticks_again(self):
        """Each feed and kind seen so far comes once more."""
        want, have = {t[:2] for t in self.ticks}, len(self.ticks)
        assert len(want) >= 2
        return self.until(lambda p: want <= {t[:2] for t in p.ticks[have:]})

    def stop(self):
        self.out.proc.stdin.close()
        self.until(lambda p: p.end is not None)
        assert self.out.proc.wait(DEADLINE_S) == 0, self.out.stderr()
        self.none_twice()
        return self.end

    def trades(self, feed="BTC/USDT@binance"):
        return [t[2] for t in self.ticks if t[0] == feed and t[1] == "trade"]

    def none_twice(self):
        for feed in {t[0] for t in self.ticks if t[1] == "trade"}:
            ids = self.trades(feed)
            assert all(a < b for a, b in zip(ids, ids[1:])), "twice, or out of order: " + feed

    def no_trade_missing(self):
        for feed in {t[0] for t in self.ticks if t[1] == "trade"}:
            ids = self.trades(feed)
            assert ids == list(range(ids[0], ids[0] + len(ids))), "a hole in " + feed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.out.proc.kill()
        self.out.proc.wait()


class Fake:
    """A Binance of our own over plain ws://, for what kamiyo-sim does not do: it forgets subscriptions, refuses them, sends binary frames."""

    def __init__(self, answer):
        import websockets  # Debian: python3-websockets

        logging.disable()  # it complains of every connection that is cut, which is what we do

        self.answer, self.requests, self.targets, self.sockets, self.ca = answer, [], [], [], ""
        self.connections = 0
        port = queue.Queue()

        async def serve(ws, target):
            self.connections += 1
            self.sockets.append(ws)
            self.targets.append(target)
            async for text in ws:
                request = json.loads(text)
                self.requests.append(request)
                for reply in self.answer(self, request):
                    # (socket, text) goes to that socket; (socket, None) waits until it is closed
                    to, text = reply if isinstance(reply, tuple) else (ws, reply)
                    await (to.wait_closed() if text is None else to.send(text))

        async def run():
            async with websockets.serve(serve, "127.0.0.1", 0) as server:
                port.put(server.sockets[0].getsockname()[1])
                await asyncio.Future()

        threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
        url = f"ws://127.0.0.1:{port.get(timeout=DEADLINE_S)}"
        self.at = {"binance": url, "hermes": url}

    def asked(self, method):
        return [r for r in self.requests if r["method"] == method]


def trade(symbol, number):
    return json.dumps({"stream": symbol.lower() + "@trade", "data": {
        "e": "trade", "E": 1700000000000000, "s": symbol, "t": number, "p": "100.00000000", "q": "1.00000000",
        "T": 1700000000000000, "m": True, "M": True}}, separators=(",", ":"))


def started(sim, *options, **more):
    probe = Probe(sim, *options, **more)
    probe.live()
    return probe.until(lambda p: len({t[:2] for t in p.ticks}) >= 4)


def ticks_of_both_venues_arrive_over_tls():
    with Sim() as sim, Probe(sim, pyth=True) as p:
        p.live().live("pyth").until(lambda p: len({t[:2] for t in p.ticks}) == 6)
        end = p.stop()
        assert end["upstream_drop_malformed_total"] == 0 and end["lost"] == 0, end
        assert end["tick_published_total"] == end["ticks"], end
        p.no_trade_missing()


def a_lost_connection_comes_back_with_all_its_streams_and_no_tick_twice():
    for kind in ("drop", "reset", "close"):
        with Sim() as sim, started(sim) as p:
            sim.trouble(kind)
            p.live(connects=2)
            p.everything_ticks_again()
            assert any(t[3] & RECONNECT for t in p.ticks), kind
            firsts = [t for t in p.ticks if t[3] & RECONNECT]
            assert len(firsts) == len({t[0] for t in firsts}), "one edge for each feed"
            end = p.stop()
            assert end["upstream_connect_total"] == 2, end


def a_peer_that_vanishes_is_noticed_by_its_silence():
    for kind in ("halfopen", "mute"):
        with Sim() as sim, started(sim, "--silence", "600") as p:
            sim.trouble(kind, seconds=60) if kind == "mute" else sim.trouble(kind)
            p.error("silent for").until(lambda p: True)
            sim.trouble("clear")
            p.live(connects=2).everything_ticks_again()
            p.stop()


def a_quiet_socket_that_answers_pings_is_not_dead():
    with Sim() as sim, started(sim, "--silence", "400", "--data-silence", "60000") as p:
        sim.trouble("stall", seconds=1.5)
        p.more(200)
        end = p.stop()
        assert end["upstream_connect_total"] == 1, end


def streams_without_data_are_asked_for_and_then_given_up():
    with Sim() as sim, started(sim, "--data-silence", "400") as p:
        sim.trouble("stall", seconds=60)
        p.error("no data for")
        sim.trouble("clear")
        p.live(connects=2).everything_ticks_again()
        end = p.stop()
        assert end["upstream_control_total"] >= 3, "two acks and at least one list"


def a_subscription_that_is_not_acknowledged_is_tried_anew():
    with Sim() as sim:
        sim.trouble("noack", seconds=60)
        with Probe(sim, "--ack", "400") as p:
            p.error("not acknowledged")
            sim.trouble("clear")
            p.live(connects=2).more(20).stop()


def a_handshake_that_hangs_is_given_up():
    with Sim() as sim:
        sim.trouble("hang", seconds=60)
        with Probe(sim, "--dial", "400") as p:
            p.error("no connection within")
            sim.trouble("clear")
            p.live().more(20).stop()


def a_refused_port_is_tried_again():
    with Sim() as sim:
        sim.trouble("refuse", seconds=60)
        with Probe(sim) as p:
            p.error("no connection")
            sim.trouble("clear")
            p.live().more(20).stop()


def a_wrong_key_is_an_alarm_said_once_and_not_a_loop():
    with Sim() as sim, Probe(sim, pyth=True, key="wrong-key") as p:
        p.state("misconfigured", "pyth").error("HTTP 401", "token_file", name="pyth")
        p.more(500)  # the other venue goes on
        assert p.sources["pyth"][:2] == ("misconfigured", 0)
        end = p.stop()
        assert end["upstream_auth_refused_total"] == 1, end
        log = p.out.stderr()
        assert log.count("HTTP 401") == 1 and "wrong-key" not in log, log


def a_403_is_an_alarm_too():
    with Sim() as sim:
        sim.trouble("http", status=403, seconds=60)
        with Probe(sim) as p:
            p.state("misconfigured").error("HTTP 403")


def retry_after_is_obeyed_with_a_floor_of_ten_seconds():
    for status, retry, want in ((429, 3, "for 10 s"), (418, 700, "for 700 s"), (429, None, "for 120 s")):
        with Sim() as sim:
            more = {} if retry is None else {"retry_after": retry}
            sim.trouble("http", status=status, seconds=60, **more)
            with Probe(sim) as p:
                p.error(f"HTTP {status}", want).state("backoff")
                end = p.stop()
                assert end["upstream_rate_limited_total"] == 1, end


def after_the_gate_has_opened_it_connects():
    with Sim() as sim:
        sim.trouble("http", status=429, retry_after=10, seconds=60)
        with Probe(sim) as p:
            p.error("HTTP 429")
            sim.trouble("clear")
            begin = time.monotonic()
            p.live()
            assert time.monotonic() - begin > 9, "too early"
            p.stop()


def an_unexpected_status_or_redirect_is_a_failure_and_is_not_followed():
    for status in (503, 302):
        with Sim() as sim:
            sim.trouble("http", status=status, seconds=60, location=sim.at["hermes"].replace("wss:", "https:"))
            with Probe(sim) as p:
                p.error(f"HTTP {status}")
                sim.trouble("clear")
                p.live().more(20).stop()


def a_certificate_is_refused_with_its_reason():
    for kind, words in (("selfsigned", ("certificate refused", "self-signed")),
                        ("wronghost", ("certificate refused", "mismatch")),
                        ("tlsabort", ("no connection",))):
        with Sim() as sim:
            sim.trouble(kind, seconds=60)
            with Probe(sim) as p:
                p.error(*words)
                assert not p.ticks
                sim.trouble("clear")
                p.live().more(20).stop()


def an_unknown_authority_is_refused():
    with Sim() as sim, Probe(sim, ca=None) as p:
        p.error("certificate refused")
        assert not p.ticks


def names_are_resolved_and_checked():
    with Sim() as sim, Probe(sim, host="localhost") as p:
        p.live().more(20).stop()
    with Sim() as sim, Probe(sim, host="no-such-host.invalid") as p:
        p.error("cannot resolve no-such-host.invalid")


def a_ca_file_that_is_not_there_stops_the_start():
    with Sim() as sim, Probe(sim, ca="/nowhere/ca.pem") as p:
        assert p.out.proc.wait(DEADLINE_S) == 1
        assert "CA file /nowhere/ca.pem" in p.out.stderr(), p.out.stderr()


def bad_frames_are_dropped_and_counted():
    with Sim() as sim, started(sim) as p:
        sim.trouble("garbage", count=10, bytes=100)
        sim.trouble("badutf8", count=5)
        for kind in ("wrongtype", "nullprice", "array", "truncated"):
            sim.trouble(kind, count=3)
            p.more(40)
        end = p.stop()
        assert end["upstream_drop_malformed_total"] >= 15 + 9, end  # an array is no sort of frame we sell, but it is JSON
        assert end["upstream_connect_total"] == 1, end


def nothing_but_garbage_ends_the_connection():
    with Sim() as sim, started(sim) as p:
        sim.trouble("stall", seconds=60)
        sim.trouble("garbage", count=200, bytes=20)
        p.error("malformed frames in a row")
        sim.trouble("clear")
        p.live(connects=2).everything_ticks_again().stop()


def a_frame_above_the_limit_is_a_counted_drop_and_a_new_connection():
    with Sim() as sim, started(sim) as p:
        sim.trouble("huge")
        p.error("limit 1048576").live(connects=2).everything_ticks_again()
        assert p.stop()["upstream_drop_oversize_total"] == 1


def a_large_frame_below_the_limit_is_read_whole():
    with Sim() as sim, started(sim) as p:
        sim.trouble("huge", bytes=900000)
        p.more(300)
        end = p.stop()
        assert end["upstream_connect_total"] == 1 and end["upstream_byte_total"] > 900000, end
        p.no_trade_missing()


def fragments_are_put_together():
    with Sim() as sim, started(sim) as p:
        sim.trouble("fragment", bytes=7, seconds=1)
        p.more(600)
        end = p.stop()
        assert end["upstream_drop_malformed_total"] == 0 and end["upstream_connect_total"] == 1, end
        p.no_trade_missing()


def a_slow_trickle_is_read_byte_by_byte():
    with Sim() as sim, started(sim) as p:
        sim.trouble("trickle", bytes=20, ms=1, seconds=1)
        p.more(400)
        assert p.stop()["upstream_drop_malformed_total"] == 0


def what_comes_twice_or_late_is_dropped_and_counted():
    with Sim() as sim, started(sim) as p:
        sim.trouble("duplicate", seconds=1)
        p.more(400)
        sim.trouble("repeat", count=30)
        p.more(200)
        p.no_trade_missing()
        sim.trouble("reorder", seconds=0.5)
        p.more(400)
        end = p.stop()
        assert end["upstream_drop_duplicate_total"] + end["upstream_drop_old_total"] > 100, end


def a_shutdown_notice_rolls_over_without_a_hole():
    with Sim() as sim, started(sim, "--overlap", "300") as p:
        sim.trouble("shutdown")
        p.live(connects=2)
        p.more(1000)
        end = p.stop()
        p.no_trade_missing()
        assert not any(t[3] & RECONNECT for t in p.ticks), "a rollover is no reconnect"
        assert end["upstream_connect_total"] == 2 and end["upstream_disconnect_total"] == 1, end


def connections_are_replaced_before_their_lifetime_ends():
    with Sim("--lifetime", "4s") as sim, started(sim, "--lifetime", "2000", "--overlap", "50") as p:  # 2 s to spare: machines are busy
        p.live(connects=4).more(300)
        end = p.stop()
        p.no_trade_missing()
        assert not any(t[3] & RECONNECT for t in p.ticks)
        assert end["upstream_disconnect_total"] == end["upstream_connect_total"] - 1, end


def a_rollover_whose_replacement_fails_keeps_the_old_connection():
    with Sim() as sim, started(sim, "--overlap", "100") as p:
        sim.trouble("http", status=503, count=1)
        sim.trouble("shutdown")
        p.error("HTTP 503").live(connects=2).more(400)
        p.stop()
        p.no_trade_missing()


def a_shutdown_that_closes_before_the_replacement_is_up_is_not_waited_out():
    with Sim() as sim, started(sim, "--overlap", "100") as p:
        sim.trouble("shutdown")
        sim.trouble("drop")
        p.live(connects=2).everything_ticks_again().stop()


def the_end_of_a_hermes_lifetime_brings_a_new_connection():
    with Sim() as sim, Probe(sim, binance=False, pyth=True) as p:
        p.live("pyth").more(4)
        sim.trouble("lifetime", "hermes")
        p.live("pyth", connects=2).everything_ticks_again().stop()


def the_rate_limit_of_hermes_closes_the_gate():
    with Sim() as sim, Probe(sim, binance=False, pyth=True) as p:
        p.live("pyth").more(4)
        sim.trouble("ratelimit", "hermes")
        p.error("rate limit exceeded", "for 60 s", name="pyth").state("backoff", "pyth")
        assert p.stop()["upstream_rate_limited_total"] == 1


def what_the_venue_forgot_is_subscribed_again_on_the_same_connection():
    forgotten = "solusdt@bookTicker"

    def answer(venue, request):
        if request["method"] == "LIST_SUBSCRIPTIONS":
            kept = [n for n in venue.asked("SUBSCRIBE")[0]["params"] if n != forgotten]
            yield json.dumps({"result": kept, "id": request["id"]})
        else:
            yield json.dumps({"result": None, "id": request["id"]})
            yield trade("SOLUSDT", len(venue.requests))

    venue = Fake(answer)
    with Probe(venue, "--data-silence", "1000") as p:
        p.live().until(lambda p: len(p.ticks) >= 2)
        p.stop()
    first, again = venue.asked("SUBSCRIBE")[:2]
    assert len(first["params"]) == 4 and again["params"] == [forgotten], venue.requests
    assert venue.targets == ["/stream?timeUnit=MICROSECOND"], venue.targets


def a_replacement_that_is_quicker_or_slower_makes_no_hole():
    # the heir begins with a trade the old one brings much later, or has brought already; and the old one may stop short of what the heir has
    for heir_first, old_last in ((8, 30), (2, 30), (8, 7), (5, 4), (40, 39)):
        def answer(venue, request):
            yield json.dumps({"result": None, "id": request["id"]})
            if venue.connections == 1:
                yield from (trade("BTCUSDT", n) for n in range(1, 5))
                yield '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1700000000000000}}'
                return
            old, heir = venue.sockets
            for n in range(heir_first, 31):
                yield heir, trade("BTCUSDT", n)
            for n in range(5, old_last + 1):
                yield old, trade("BTCUSDT", n)
            yield old, None
            for n in range(max(heir_first, 31), 61):
                yield heir, trade("BTCUSDT", n)

        with Probe(Fake(answer), "--overlap", "50") as p:
            p.live(connects=2).until(lambda p: p.trades()[-1:] == [60])
            assert p.trades() == list(range(1, 61)), (heir_first, old_last, p.trades())
            assert not any(t[3] & RECONNECT for t in p.ticks)
            p.stop()


def a_replacement_far_ahead_of_a_stalled_connection_takes_over_at_once():
    def answer(venue, request):
        yield json.dumps({"result": None, "id": request["id"]})
        yield from (trade("BTCUSDT", n) for n in range(1, 5 if venue.connections == 1 else 1500))
        if venue.connections == 1:
            yield '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1700000000000000}}'

    with Probe(Fake(answer), "--overlap", "60000") as p:
        p.until(lambda p: p.trades()[-1:] == [1499])
        assert p.trades() == list(range(1, 1500))
        p.stop()


def a_refused_subscription_is_told_and_tried_with_back_off():
    def answer(venue, request):
        if venue.connections == 1:
            yield json.dumps({"code": 2, "msg": "Invalid request: no such stream", "id": request["id"]})
        else:
            yield json.dumps({"result": None, "id": request["id"]})

    venue = Fake(answer)
    with Probe(venue) as p:
        p.error("subscribing was refused", "no such stream").live(connects=2).stop()


def binary_and_empty_frames_are_malformed_and_harmless():
    def answer(_, request):
        yield json.dumps({"result": None, "id": request["id"]})
        yield trade("BTCUSDT", 1)
        yield trade("BTCUSDT", 2).encode()
        yield ""
        yield "[" * 100000
        yield trade("BTCUSDT", 3)

    with Probe(Fake(answer)) as p:
        p.live().until(lambda p: p.trades() == [1, 3])
        end = p.stop()
        assert end["upstream_drop_malformed_total"] == 3 and end["upstream_connect_total"] == 1, end


def a_thousand_symbols_are_spread_over_connections_and_requests():
    def answer(_, request):
        assert len(request["params"]) <= 200
        yield json.dumps({"result": None, "id": request["id"]})

    venue = Fake(answer)
    symbols = ",".join(f"X{i}USDT" for i in range(600))  # 1,200 streams: trade and bookTicker
    with Probe(venue, symbols=symbols) as p:
        p.live(connects=2).stop()
    names = [n for r in venue.requests for n in r["params"]]
    assert venue.connections == 2 and len(names) == 1200 == len(set(names)), (venue.connections, len(names))


def main():
    chosen = sys.argv[3:]
    failed = 0
    for rule in RULES:
        if chosen and rule.__name__ not in chosen:
            continue
        begin = time.monotonic()
        try:
            rule()
            print(f"ok      {time.monotonic() - begin:5.1f} s  {rule.__name__}", flush=True)
        except (AssertionError, OSError) as fault:
            failed += 1
            print(f"FAILED  {time.monotonic() - begin:5.1f} s  {rule.__name__}: {fault}", flush=True)
    return failed > 0


RULES = [f for f in list(globals().values()) if getattr(f, "__code__", None) and f.__code__.co_argcount == 0 and f is not main]

if __name__ == "__main__":
    sys.exit(main())
