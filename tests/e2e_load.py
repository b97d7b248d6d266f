#!/usr/bin/python3
"""kamiyo-load against the daemon and simulator it starts: it passes when all is well, counts right, and fails when a tick is missing.

    e2e_load.py FOLDER_OF_PROGRAMS
"""
import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

BIN = sys.argv[1]
SMALL = ["--agents", "50", "--ramp", "0", "--duration", "1s", "--no-pin", "--quiet"]  # speed is nobody's business here


def load(*args, code=0):
    r = subprocess.run([BIN + "/kamiyo-load", *args], capture_output=True, text=True, timeout=120)
    assert r.returncode == code, (args, r.returncode, r.stdout[-2000:], r.stderr[-2000:])
    return r


def report(scenario, *args, code=0):
    return json.loads(load("run", scenario, "--json", *SMALL, *args, code=code).stdout)


def a_thousand_agents_in_small_pass_and_are_counted_right():
    d = report("agents-1000", "--duration", "3s")
    assert d["scenario"] == "agents-1000" and d["verdict"] == "pass", d
    for member in ("agents", "delivered", "lost", "miscounted", "p50_ms", "p99_ms", "p999_ms", "errors"):
        assert isinstance(d[member], (int, float)), member
    assert d["agents"] == 50 and d["lost"] == d["miscounted"] == d["errors"] == 0
    assert 50 * 50 * 2 < d["delivered"] < 50 * 50 * 60, d["delivered"]
    assert 0 < d["p50_ms"] <= d["p99_ms"] <= d["p999_ms"]
    assert d["server"]["cpu_s"] > 0 and d["server"]["rss_bytes"] > 1 << 20
    assert d["money"]["ledger"] == d["money"]["counted"], d["money"]
    assert round(float(d["money"]["ledger"]) * 1e6) == d["delivered"]  # a micro-USD each


def a_tick_that_was_overlooked_is_a_fail():
    d = report("agents-1000", "--inject-loss", "500", code=1)
    assert d["verdict"] == "fail" and d["lost"] > 0 and d["miscounted"] > 0, d
    assert any(line.startswith("lost") for line in d["broken"]) and any(line.startswith("miscounted") for line in d["broken"])


def binary_frames_are_judged_as_well():
    d = report("agents-1000", "--encoding", "flatbuffers")
    assert d["verdict"] == "pass" and d["delivered"] > 0, d
    assert report("agents-1000", "--encoding", "flatbuffers", "--inject-loss", "500", code=1)["lost"] > 0


def frame(opcode, payload):
    n = len(payload)
    return bytes([0x80 | opcode, n]) + payload if n < 126 else bytes([0x80 | opcode, 126]) + n.to_bytes(2, "big") + payload


def foreign(conn, nats, overlook):
    """A WebSocket server of another make, to one client: a tick each 5 ms; it leaves out one offset if it is to."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += conn.recv(4096)
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)[1]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    if nats:
        asked = conn.recv(4096)
        text = bytes(b ^ asked[2 + i % 4] for i, b in enumerate(asked[6:]))
        assert text.startswith(b"CONNECT {") and text.endswith(b"}\r\nSUB tick 1\r\n"), text
        conn.sendall(frame(2, b"INFO {}\r\n") + frame(2, b"PING\r\n"))
    offset = 1000
    while True:
        offset += 2 if overlook and offset == 1020 else 1
        tick = json.dumps({"type": "tick", "feed": "SOL/USDT@binance", "offset": offset, "kind": "trade", "price": "100.11", "source": "binance",
                           "ts_recv": str(time.time_ns())}, separators=(",", ":")).encode()
        for part in (frame(2, b"MSG tick 1 %d\r\n" % len(tick) + tick + b"\r\nPING\r\n"),) if nats else (frame(1, tick),):
            conn.sendall(part[:7])
            conn.sendall(part[7:])
        time.sleep(0.005)


def other_servers_are_judged_by_the_same_books():
    def serve(conn, *how):
        try:
            foreign(conn, *how)
        except OSError:
            pass  # the client is done

    for scheme, overlook in (("plain", False), ("plain", True), ("nats", False), ("nats", True)):
        with socket.create_server(("127.0.0.1", 0)) as door:
            def accept():
                try:
                    while True:
                        threading.Thread(target=serve, args=(door.accept()[0], scheme == "nats", overlook), daemon=True).start()
                except OSError:
                    pass  # closed
            threading.Thread(target=accept, daemon=True).start()
            d = report("agents-1000", "--agents", "1", "--url", f"{scheme}://127.0.0.1:{door.getsockname()[1]}", code=1)  # below 1,000 delivered, at least
            assert d["delivered"] > 50 and d["errors"] == 0, (scheme, d)
            assert d["lost"] == overlook, (scheme, overlook, d)


def after_a_storm_everybody_goes_on_where_it_was():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        for how in ("reset", "close"):
            f.seek(0)
            f.truncate()
            f.write("about: small storms\nmarket: {feeds: 4, ticks_per_s: 20}\nmix: [{kind: stream, feeds: 3, pick: zipf}]\n"
                    f"storm: {{every: 300ms, how: {how}}}\n")
            f.flush()
            d = report(f.name, "--duration", "2s")
            assert d["verdict"] == "pass" and d["storms"] >= 3 and d["reconnects"] >= 100 and d["resumes"] >= 100, d
            if how == "close":
                assert d["money"]["ledger"] == d["money"]["counted"] and float(d["money"]["open"]) == 0, d["money"]


def queries_and_batches_are_paid_to_the_nano_usd():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write("market: {feeds: 10, ticks_per_s: 5, pyth: true}\n"
                "mix:\n- {kind: query, share: 3, feed: SOL/USD, think_min: 20ms, think_max: 50ms}\n"
                "- {kind: batch, feeds: 10, think_min: 20ms, think_max: 50ms}\n")
        f.flush()
        d = report(f.name)
        assert d["verdict"] == "pass" and d["answers"] > 100 and d["latency"]["batch"]["count"] > 10, d
        assert d["money"]["ledger"] == d["money"]["counted"], d["money"]


def slow_readers_have_gaps_and_the_others_none():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        # more ticks than the daemon's log holds (4,352), or "drop" has nothing to skip
        f.write("agents: 10\nmarket: {feeds: 16, ticks_per_s: 2000}\nmix:\n- {kind: stream, share: 8}\n"
                "- {kind: stream, feeds: 16, slow: true, read_bytes_per_s: 2000}\n"
                "- {kind: stream, feeds: 16, slow: true, read_bytes_per_s: 0, slow_reader: drop}\n")
        f.flush()
        d = report(f.name, "--agents", "10", "--duration", "4s")
        assert d["verdict"] == "pass", d
        assert d["gaps"]["conflated"]["ticks"] > 0 and d["gaps"]["dropped"]["ticks"] > 0, d["gaps"]
        assert d["money"]["ledger"] == d["money"]["counted"], d["money"]  # what was skipped costs nothing


def what_was_paid_for_is_delivered_to_the_last_tick_on_two_shards():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write("agents: 40\nramp_per_s: 0\naccounts: 8\nbalance: '0.000250'\nspend: true\nshards: 2\nmarket: {feeds: 70, ticks_per_s: 20}\n"
                "mix: [{kind: stream, feeds: 5, feeds_min: 1, spread: uniform, pick: random, encoding: mixed}]\n")
        f.flush()
        d = report(f.name, "--agents", "40", "--duration", "4s")
        assert d["verdict"] == "pass" and d["delivered"] == 8 * 250 and d["unspent"] == 0 and d["paused"] >= 40, d
        assert d["money"]["ledger"] == "0.002000000", d["money"]
        f.seek(0)
        f.write("agents: 40\nramp_per_s: 0\naccounts: 8\nbalance: '0.250000'\nspend: true\nshards: 2\nmarket: {feeds: 70, ticks_per_s: 20}\n")
        f.flush()
        d = report(f.name, code=1)
        assert d["verdict"] == "fail" and d["unspent"] > 0 and "unspent" in d["error_kinds"], d  # there was not time enough to spend it


def through_tls_the_books_are_the_same_and_sessions_resume():
    d = report("agents-1000", "--tls", "--encoding", "mixed")
    assert d["verdict"] == "pass" and d["money"]["ledger"] == d["money"]["counted"], d
    assert d["tls"]["handshakes"] >= 50 and d["tls"]["insecure"] is False, d["tls"]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write("tls: true\nmarket: {feeds: 2, ticks_per_s: 20}\nmix: [{kind: stream}]\nstorm: {every: 300ms, how: reset}\n")
        f.flush()
        d = report(f.name, "--duration", "1.5s")
        assert d["verdict"] == "pass" and d["tls"]["resumed"] >= d["reconnects"] * 0.9 > 0, d
    assert "an https:// URL" in load("run", "agents-1000", "--url", "http://127.0.0.1:1", "--token", "x", "--insecure", code=2).stderr
    r = load("run", "agents-1000", "--url", "https://127.0.0.1:1", "--token", "x", "--insecure", code=1)
    assert "WARNING" in r.stderr, r.stderr


def a_bar_that_is_not_met_is_a_fail():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write("mix: [{kind: stream}]\nbars: {delivered_min: 1e12, p50_ms: 1e-6}\n")
        f.flush()
        d = report(f.name, code=1)
        assert d["verdict"] == "fail" and len(d["broken"]) == 2, d


def the_page_stands_alone():
    with tempfile.TemporaryDirectory() as folder:
        page = folder + "/page.html"
        text = load("run", "agents-1000", *SMALL, "--html", page).stdout
        assert "verdict  pass" in text and "p99.99=" in text, text
        html = open(page).read()
        assert html.count("<svg") == html.count("</svg>") == 4 and "pass" in html
        assert not re.search(r"(src|href)=|@import|url\(", html)


def wrong_usage_is_exit_2_and_one_line():
    for args in ([], ["walk"], ["run"], ["run", "no-such"], ["run", "agents-1000", "--agents", "0"], ["run", "agents-1000", "extra"],
                 ["run", "agents-1000", "--bogus"], ["run", "agents-1000", "--url", "http://127.0.0.1:1"],
                 ["run", "agents-1000", "--duration", "x"], ["list", "x"]):
        r = load(*args, code=2)
        assert r.stderr.startswith("kamiyo-load: ") and r.stderr.count("\n") == 1 and not r.stdout, (args, r.stderr)
    for text, fault in (("agents: 0\n", ":1:"), ("mix: []\n", "empty"), ("bogus: 1\n", "unknown key"), ("mix: [{kind: fly}]\n", "must be one of"),
                        ("{", ":"), ("mix: [{kind: stream, feeds: 9}]\n", "9 feeds")):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            f.write(text)
            f.flush()
            r = load("run", f.name, code=2)
            assert fault in r.stderr and r.stderr.count("\n") == 1, (text, r.stderr)


def a_daemon_that_runs_already_is_used():
    r = load("run", "agents-1000", "--url", "http://127.0.0.1:9", "--token", "x", code=1)
    assert "cannot reach" in r.stderr
    assert "kamiyo-load" in load("--version").stdout and "usage" in load("--help").stdout
    assert set(re.findall(r"^(\S+)", load("list").stdout, re.M)) == {
        "agents-1000", "agents-10000", "ceiling", "exit", "slow-readers", "spend", "storm", "mixed-http", "soak"}


def main():
    for f in (a_thousand_agents_in_small_pass_and_are_counted_right, a_tick_that_was_overlooked_is_a_fail, binary_frames_are_judged_as_well,
              other_servers_are_judged_by_the_same_books,
              after_a_storm_everybody_goes_on_where_it_was, queries_and_batches_are_paid_to_the_nano_usd,
              slow_readers_have_gaps_and_the_others_none,
              what_was_paid_for_is_delivered_to_the_last_tick_on_two_shards,
              through_tls_the_books_are_the_same_and_sessions_resume, a_bar_that_is_not_met_is_a_fail, the_page_stands_alone,
              wrong_usage_is_exit_2_and_one_line, a_daemon_that_runs_already_is_used):
        if len(sys.argv) > 2 and f.__name__ not in sys.argv[2:]:
            continue
        f()
        print("ok   " + f.__name__.replace("_", " "), flush=True)


for name in ("KAMIYO_ADMIN_TOKEN", "KAMIYO_ADMIN", "KAMIYO_DATA"):
    os.environ.pop(name, None)
main()
