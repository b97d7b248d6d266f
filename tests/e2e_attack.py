#!/usr/bin/env python3
"""Floods of every kind at once against the real daemon, while customers stream: they miss no tick and are answered, their charge is exact, memory stays
bounded, and the counters tell what was refused.  Bounded: some thousands of connections, some seconds.  See harness.py."""
import multiprocessing
import select
import signal
import socket
import struct
import time

from harness import (FEEDS, PING, SANITIZED, SECONDS, TEXT, TICK_USD, Closed, Daemon, Sim, Ws, run, until, ws_frame)

BTC, SOL = FEEDS
LASTS = 5  # seconds
UPGRADE = b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
FEEDS_GET = b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n"


def _dial(address):
    s = socket.socket()
    s.settimeout(1)
    s.connect(address)
    return s


def _reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


# Each is one attacker's turn: given the door, a token of an account without money, and what it holds open.
def _silent_sockets(at, token, held):
    held.append(_dial(at))


def _churn_by_reset(at, token, held):
    s = _dial(at)
    s.send(FEEDS_GET[:10])
    _reset(s)


def _handshakes(at, token, held):
    s = _dial(at)
    s.send(UPGRADE + b"\r\n")
    held.append(s)


def _handshakes_with_bad_tokens(at, token, held):
    s = _dial(at)
    s.send(UPGRADE + b"Authorization: Bearer a.b.c\r\n\r\n")
    s.recv(4096)
    s.close()


def _unpaid_requests_in_pipelines(at, token, held):
    s = _dial(at)
    for _ in range(20):
        s.sendall(FEEDS_GET * 50)
        s.recv(65536)
    _reset(s)


def _requests_that_are_none(at, token, held):
    s = _dial(at)
    s.send(b"\x16\x03\x01 rubbish\r\n\r\n" * 20)
    s.recv(4096)
    s.close()


def _bodies_that_never_end(at, token, held):
    s = _dial(at)
    s.send(b"POST /v1/ingest-data HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + b"a" * 30000)
    held.append(s)


def _drips(at, token, held):
    for s in held[-50:]:
        s.send(b"G")
    held.append(_dial(at))


def _messages_before_a_token(at, token, held):
    s = _dial(at)
    s.send(UPGRADE + b"\r\n" + ws_frame(TEXT, b'{"op":"ping"}') * 500)
    s.recv(4096)
    held.append(s)


def _messages_behind_a_token(at, token, held):
    s = _dial(at)
    s.send(UPGRADE + b"Authorization: Bearer " + token.encode() + b"\r\n\r\n")
    s.recv(4096)
    s.sendall((ws_frame(TEXT, b'{"op":"subscribe","feeds":["NO/NO"]}') + ws_frame(PING, b"x" * 125)) * 2000)
    s.close()


KINDS = (_silent_sockets, _churn_by_reset, _handshakes, _handshakes_with_bad_tokens, _unpaid_requests_in_pipelines, _requests_that_are_none, _bodies_that_never_end, _drips,
         _messages_before_a_token, _messages_behind_a_token)


def _attack(at, token, seconds, most):
    """In a process of its own: every kind in turn, at most so many turns, as fast as it goes."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    stop = time.monotonic() + seconds
    held = {k: [] for k in KINDS}
    for turn in range(most):
        kind = KINDS[turn % len(KINDS)]
        if time.monotonic() > stop:
            break
        try:
            kind(at, token, held[kind])
        except OSError:
            held[kind] = held[kind][-20:]  # it was shut out, which is the point
        if len(held[kind]) > 300:
            for s in held[kind][:100]:
                s.close()
            del held[kind][:100]


def customers_miss_nothing_while_floods_of_every_kind_run():
    with Sim(200) as sim, Daemon(sim, limits__connections=1000, limits__head_timeout="2s", limits__auth_timeout="1s", limits__unauthenticated_per_s=10, limits__unauthenticated_burst=50,
                                 limits__messages_per_s=100, limits__messages_burst=300, wait=False) as d:
        nobody = d.mint("local:nobody", "0")
        token = d.mint("local:good")
        early = [d.ws(token) for _ in range(3)]
        for w in early:
            w.subscribe(BTC, SOL)
            w.count(5)
        before = d.rss()
        attackers = [multiprocessing.Process(target=_attack, args=(d.public, nobody, LASTS, 8000), daemon=True) for _ in range(2)]
        for p in attackers:
            p.start()
        late, asked, longest, most = [], 0, 0.0, before
        while any(p.is_alive() for p in attackers):
            for w in early:
                start = time.monotonic()
                w.quiet()  # answered, and all before it read
                longest = max(longest, time.monotonic() - start)
                asked += 1
            if len(late) < 10:  # there is a way in as well
                def come():
                    try:
                        return d.ws(token, by=("header", "op")[len(late) % 2])
                    except (OSError, AssertionError, Closed):
                        return None  # not at the first knock, perhaps
                w = until(come)
                w.subscribe(BTC)
                late.append(w)
            assert d.ask("GET", "/v1/account", token=token).status in (200, 429)
            most = max(most, d.rss())
            select.select([], [], [], 0.02)
        for p in attackers:
            p.join(SECONDS)
            assert p.exitcode == 0, p.exitcode
        assert asked > 10 and len(late) == 10 and longest < 3, (asked, len(late), longest)
        for w in early + late:
            w.count(3)
            assert not w.gaps
            assert w.balance()["charged_ticks"] == len(w.ticks)
        assert SANITIZED or most - before < 96 << 20, (before, most)  # 1,000 bodies of 64 KiB, and what serves them
        m = d.metrics()
        for counter in ("limit_address_total", "limit_message_total", "connection_evicted_total", "protocol_error_total", "auth_refused_total"):
            assert m[counter] > 0, (counter, m[counter])
        for w in early + late:
            w.close()
        until(lambda: d.metrics()["connection_open"] <= 2, text="the connections went")
        d.settled("local:good", sum(len(w.ticks) for w in early + late) * TICK_USD)
        assert d.account("local:nobody")["consumed"] == 0
        print(f"       {m['connection_accept_total']} connections, {m['http_request_total']} requests, {m['ws_message_total']} messages; refused: "
              + ", ".join(f"{k[:-6]} {m[k]}" for k in ("connection_refused_total", "connection_evicted_total", "limit_address_total", "limit_message_total", "request_timeout_total"))
              + f"; slowest answer {longest * 1000:.0f} ms of {asked}; memory {(most - before) >> 10} KiB more")


if __name__ == "__main__":
    run(globals())
