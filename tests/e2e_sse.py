#!/usr/bin/env python3
"""The stream by server-sent events (GET /v1/stream with Accept: text/event-stream) of the real daemon: what is sent and in which order, what it
costs, how it is resumed, how it ends.  By a strict client of our own on a raw socket, by curl, and by aiohttp where it is there.  See harness.py."""
import asyncio
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from urllib.parse import quote

from harness import EVERY_FEED, FEEDS, SECONDS, TICK_USD, Answer, Daemon, Program, Sim, ended, read_answer, run, until

BTC, SOL = FEEDS
_shared = {}
FRAME = re.compile(rb"event: ([a-z_]+)\n(?:id: ([0-9a-z]+):([0-9]+)\n)?data: (\{[^\n]*\})\n\n\Z")


def _daemon():
    if not _shared:
        _shared["sim"] = Sim()
        _shared["daemon"] = Daemon(_shared["sim"], stream__heartbeat="1s", limits__unauthenticated_per_s=1000, limits__unauthenticated_burst=1000)
    return _shared["daemon"]


def _funded(usd="1"):
    d = _daemon()
    _shared["n"] = _shared.get("n", 0) + 1
    account = f"local:listener-{_shared['n']}"
    return d, account, d.mint(account, usd)


class Refused(Exception):
    def __init__(self, answer):
        super().__init__(f"{answer.status} {answer.body}")
        self.answer = answer


class Sse:
    """A client that checks all it is sent: one event a chunk, ids that rise over all feeds, offsets without holes but for gaps."""

    def __init__(self, d, token=None, feeds="*", by="header", path="/v1/stream", last=None, last_by="header", rcvbuf=None, sock=None, extra="",
                 method="GET", **options):
        self.sock = sock or d.connect(rcvbuf=rcvbuf)
        query = "&".join([f"feeds={quote(feeds, safe='')}"] + [f"{k}={v}" for k, v in options.items()] +
                         ([f"token={token}"] if token and by == "query" else []) + ([f"{last_by}={quote(last)}"] if last and last_by != "header" else []))
        head = f"{method} {path}?{query} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n{extra}"
        if token and by == "header":
            head += f"Authorization: Bearer {token}\r\n"
        if last and last_by == "header":
            head += f"Last-Event-ID: {last}\r\n"
        self.sock.sendall(head.encode() + b"\r\n")
        self.buf = b""
        self.ticks, self.gaps, self.other, self.ids = [], [], [], []
        self.at, self.hb, self.retry, self.whole, self.paced = {}, 0, None, False, "max_hz" in options
        self._head()
        if method == "GET":
            first = self.event()
            assert first["type"] == "subscribed" and "id" not in first, first
            self.subscribed = first["feeds"]

    def _more(self):
        more = self.sock.recv(1 << 16)
        if not more:
            raise EOFError(self.buf)
        self.buf += more

    def _head(self):
        while b"\r\n\r\n" not in self.buf:
            self._more()
        top, rest = self.buf.split(b"\r\n\r\n", 1)
        if b" 200 " not in top.split(b"\r\n")[0]:
            answer, self.buf = read_answer(self.sock, self.buf)
            raise Refused(answer)
        lines = top.decode().split("\r\n")
        self.headers = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in lines[1:])}
        assert lines[0] == "HTTP/1.1 200 OK" and len(self.headers) == len(lines) - 1, top
        self.buf = rest

    def chunk(self):
        """The next chunk; None: the body ended, whole."""
        while b"\r\n" not in self.buf:
            self._more()
        size = int(re.fullmatch(rb"[0-9a-f]{1,8}", self.buf.split(b"\r\n", 1)[0])[0], 16)
        begin = self.buf.index(b"\r\n") + 2
        while len(self.buf) < begin + size + 2:
            self._more()
        body, end, self.buf = self.buf[begin:begin + size], self.buf[begin + size:begin + size + 2], self.buf[begin + size + 2:]
        assert end == b"\r\n", end
        if size == 0:
            assert self.buf == b"" or self.buf is None, self.buf
            self.whole = True
            return None
        return body

    def event(self, seconds=SECONDS):
        """The next event; None at the end of the body."""
        self.sock.settimeout(seconds)
        while True:
            body = self.chunk()
            if body is None:
                return None
            if body == b": hb\n\n":
                self.hb += 1
                return {"type": "hb"}
            if body.startswith(b"retry: "):
                self.retry = int(re.fullmatch(rb"retry: ([0-9]+)\n\n", body)[1])
                continue
            m = FRAME.match(body)
            assert m, body
            e = json.loads(m[4], parse_float=lambda t: (_ for _ in ()).throw(AssertionError("binary float " + t)))
            assert m[1].decode() == e["type"] and (m[2] is not None) == (e["type"] == "tick"), body
            if e["type"] == "tick":
                self._tick(e, m[2].decode(), int(m[3]))
            elif e["type"] == "gap":
                self._gap(e)
            else:
                if e["type"] == "subscribed":
                    self.at = {f["feed"]: None for f in e["feeds"]}
                self.other.append(e)
            return e

    def _tick(self, e, epoch, seq):
        assert not self.ids or seq > self.ids[-1][1], f"{seq} follows {self.ids[-1]}"
        held = self.at[e["feed"]]
        assert held is None or e["offset"] == held + 1 or (self.paced and e["offset"] > held), (held, e)
        self.at[e["feed"]] = e["offset"]
        self.ids.append((epoch, seq))
        self.ticks.append(e)

    def _gap(self, e):
        held = self.at[e["feed"]]
        assert e["to"] >= e["from"] and (held is None or e["reason"] == "epoch" or e["from"] == held + 1), (held, e)
        self.at[e["feed"]] = e["to"]
        self.gaps.append(e)

    @property
    def last(self):
        return "%s:%d" % self.ids[-1]

    def next(self, kind, seconds=SECONDS):
        stop = time.monotonic() + seconds
        while True:
            e = self.event(max(0.001, stop - time.monotonic()))
            assert e, f"ended before {kind}: {self.other[-2:]}"
            if e["type"] == kind:
                return e

    def count(self, n, seconds=SECONDS):
        want = len(self.ticks) + n
        stop = time.monotonic() + seconds
        while len(self.ticks) < want:
            assert self.event(max(0.001, stop - time.monotonic())), f"ended: {self.other[-2:]}"
        return self.ticks[want - n:]

    def rest(self):
        """To the end of the body, which must be whole."""
        while self.event() is not None:
            pass
        return self

    def leave(self):
        """Ends our side and reads what was on the way: the number of ticks begun, a cut one too."""
        self.sock.shutdown(socket.SHUT_WR)
        try:
            while self.event() is not None:
                pass
        except (EOFError, ConnectionResetError):
            pass
        cut = len(self.buf) > 0 and not self.buf.startswith(b"6\r\n")
        self.sock.close()
        return len(self.ticks) + cut


def _refused(d, *args, **more):
    try:
        s = Sse(d, *args, **more)
    except Refused as e:
        return e.answer
    raise AssertionError(f"a stream: {s.subscribed}")


# --- what is sent ----------------------------------------------------------------------------------

def the_head_says_what_it_is_and_the_first_event_is_subscribed():
    d, _, token = _funded()
    s = Sse(d, token, f"{SOL},btc-usd")
    want = {"content-type": "text/event-stream", "cache-control": "no-store", "transfer-encoding": "chunked", "access-control-allow-origin": "*",
            "x-accel-buffering": "no", "connection": "close"}
    assert {k: s.headers.get(k) for k in want} == want and "date" in s.headers and "content-length" not in s.headers, s.headers
    assert [(f["feed"], f.get("as"), f["plan"], f["price_tick"]) for f in s.subscribed] == [(SOL, None, "metered", "0.000001000"), ("BTC/USD", "btc-usd", "metered", "0.000001000")]
    w = d.ws(token)
    w.subscribe(SOL, "btc-usd")
    tick, same = s.count(1)[0], None
    while same is None:
        w.count(1)
        same = next((t for t in w.ticks if (t["feed"], t["offset"]) == (tick["feed"], tick["offset"])), None)
        if same is None and all(w.at[f] is not None and w.at[f] > tick["offset"] for f in (tick["feed"],)):
            tick = s.count(50)[-1]
    assert same == tick, "the data of an event is the frame of the socket"
    w.close()
    s.leave()


def events_come_in_order_of_seq_over_all_feeds_and_each_tick_is_charged_once():
    d, account, token = _funded()
    s = Sse(d, token, "*")
    assert {(f["feed"], f["as"]) for f in s.subscribed} == {(f, "*") for f in EVERY_FEED}
    heard = {t["feed"] for t in s.count(600)}  # the client checks that ids rise
    assert heard >= set(FEEDS) and not s.gaps
    until(lambda: s.event() and {t["feed"] for t in s.ticks} == EVERY_FEED)
    d.settled(account, s.leave() * TICK_USD)
    until(lambda: d.metrics()["subscription_open"] == 0)


def a_token_is_taken_by_header_and_by_query_at_every_path():
    d, account, token = _funded()
    sum_ = 0
    for by in ("header", "query"):
        for path in ("/v1/stream", "/stream-data", "/api/v1/stream", "/api/stream-data"):
            s = Sse(d, token, BTC, by=by, path=path)
            s.count(1)
            sum_ += s.leave()
    d.settled(account, sum_ * TICK_USD)


def without_a_snapshot_the_next_tick_is_the_first():
    d, _, token = _funded()
    s = Sse(d, token, SOL, snapshot="false")
    held = s.subscribed[0]["offset"]
    assert s.count(1)[0]["offset"] == held + 1
    s.leave()
    s = Sse(d, token, SOL)
    assert s.count(1)[0]["offset"] == s.subscribed[0]["offset"]
    s.leave()


def what_cannot_be_streamed_is_refused_by_an_ordinary_answer():
    d, account, token = _funded()
    for why, feeds, more, status, code in (
            ("no feeds", "", {}, 400, "bad_request"), ("unknown", "SOL/USDD", {}, 404, "unknown_feed"), ("no match", "tvl:*", {}, 404, "unknown_feed"),
            ("empty name", BTC + ",", {}, 404, "unknown_feed"), ("encoding", BTC, {"encoding": "flatbuffers"}, 400, "bad_request"),
            ("option", BTC, {"slow_reader": "wait"}, 400, "bad_request"), ("option", BTC, {"snapshot": "5"}, 400, "bad_request"),
            ("option", BTC, {"max_hz": "fast"}, 400, "bad_request"), ("option", BTC, {"max_hz": "-1"}, 400, "bad_request"),
            ("option", BTC, {"plan": "gold"}, 400, "bad_request"), ("twice", BTC, {"max_hz": "1&max_hz=2"}, 400, "bad_request"),
            ("patterns", ",".join(["*"] * 17), {}, 429, "limit_reached"), ("id", BTC, {"last": "nonsense"}, 400, "bad_request"),
            ("id", BTC, {"last": "x" * 100 + ":5"}, 400, "bad_request"), ("id", BTC, {"last": "e:99999999999999999999"}, 400, "bad_request")):
        a = _refused(d, token, feeds, **more)
        assert (a.status, a.json["code"]) == (status, code), (why, more, a.status, a.body)
    a = _refused(d, None, BTC)
    assert a.status == 402 and a.json["code"] == "payment_required" and a.json["required"] == "0.000001000", a.body
    for bad in ("nonsense", token[:-2] + ("AA" if token[-2:] != "AA" else "BB")):
        for by in ("header", "query"):
            a = _refused(d, bad, BTC, by=by)
            assert a.status == 401 and a.headers["www-authenticate"] == "Bearer", (by, a.status)
    a = _refused(d, d.mint(account + "-poor", "0"), BTC)
    assert a.status == 402 and a.json["code"] == "insufficient_balance" and a.json["balance"] == "0.000000000", a.body
    a = d.ask("GET", "/v1/stream?feeds=" + BTC, token=token, headers={"Accept": "text/html,*/*"})
    assert a.status == 426 and "text/event-stream" in a.json["detail"], a.body
    s = d.connect()
    s.sendall(f"GET /v1/stream?feeds={BTC} HTTP/1.0\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    assert read_answer(s)[0].status == 505
    assert d.ask("POST", "/v1/stream?feeds=" + BTC, token=token, headers={"Accept": "text/event-stream"}).status == 405
    d.settled(account, 0)
    assert token not in d.stderr() and "token=" not in d.stderr(), "no token in a log"


def head_says_the_same_and_costs_nothing():
    d, account, token = _funded()
    s = Sse(d, token, BTC, method="HEAD")
    assert s.headers["content-type"] == "text/event-stream" and "connection" not in s.headers, s.headers
    s.sock.sendall(b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n")  # the connection goes on
    assert read_answer(s.sock)[0].status == 200
    d.settled(account, 0)


def a_quiet_stream_has_comments_as_heartbeats():
    d, _, token = _funded()
    s = Sse(d, token, "SOL/USD", max_hz="0.1", snapshot="false")
    s.count(1)
    while s.hb < 2:
        s.event()
    s.leave()


def who_wants_max_hz_gets_the_newest_of_all_feeds_together_in_order():
    d, account, token = _funded()
    s = Sse(d, token, "*", max_hz="5")
    s.count(4)
    begin, n = time.monotonic(), len(s.ticks)
    while time.monotonic() < begin + 2:
        s.event()
    got = len(s.ticks) - n
    assert 4 <= got <= 4 * 12, got  # four feeds, five times a second, two seconds, and one round more
    jumps = [b["offset"] - a["offset"] for a, b in zip(*[[t for t in s.ticks if t["feed"] == BTC][i:] for i in (0, 1)])]
    assert not s.gaps and max(jumps) > 1, jumps
    d.settled(account, s.leave() * TICK_USD)


# --- resuming -----------------------------------------------------------------------------------------

def a_reader_that_is_cut_anywhere_goes_on_by_its_last_id_without_loss_or_repetition():
    d, account, token = _funded()
    keeps = d.ws(token)  # reads everything, in one piece
    keeps.subscribe(*EVERY_FEED)
    s = Sse(d, token, ",".join(sorted(EVERY_FEED)))
    s.count(20)
    all_ = list(s.ticks)
    for turn in range(12):
        last, by = s.last, ("header", "last_event_id", "lastEventId")[turn % 3]
        s.sock.close()  # whatever was on the way is lost, in the middle of an event
        keeps.count(30)
        s = Sse(d, token, ",".join(sorted(EVERY_FEED)), last=last, last_by=by)
        s.count(37 + 11 * turn)
        assert s.ids[0][1] > int(last.split(":")[1]) and not s.gaps, (last, s.ids[0], s.gaps)
        all_ += s.ticks
    end = {f: max(t["offset"] for t in all_ if t["feed"] == f) for f in EVERY_FEED}
    while any(keeps.at[f] < end[f] for f in EVERY_FEED):
        keeps.count(1)
    for f in EVERY_FEED:
        mine = [t for t in all_ if t["feed"] == f]
        offsets = [t["offset"] for t in mine]
        assert offsets == list(range(offsets[0], offsets[-1] + 1)), (f, offsets)
        theirs = {t["offset"]: t for t in keeps.ticks if t["feed"] == f}
        assert all(theirs.get(t["offset"], t) == t for t in mine)
    s.leave()
    keeps.close()


def a_feed_that_was_not_read_since_goes_on_too():
    """The last id may be of another feed: it counts for all."""
    d, _, token = _funded()
    s = Sse(d, token, f"{BTC},SOL/USD")
    until(lambda: s.event() and {t["feed"] for t in s.ticks} == {BTC, "SOL/USD"})
    while s.ticks[-1]["feed"] != BTC:
        s.count(1)
    held, last = dict(s.at), s.last
    s.sock.close()
    s = Sse(d, token, f"{BTC},SOL/USD", last=last)
    first = {}
    until(lambda: s.event() and [first.setdefault(t["feed"], t["offset"]) for t in s.ticks] and len(first) == 2)
    assert first == {f: held[f] + 1 for f in held} and not s.gaps, (held, first)
    s.leave()


def an_unknown_epoch_or_an_id_that_never_was_is_a_gap_and_then_the_live_stream():
    d, _, token = _funded()
    s = Sse(d, token, BTC)
    s.count(1)
    epoch, seq = s.ids[-1]
    s.leave()
    for last in ("other:5", f"{epoch}:{seq + 10 ** 12}"):
        s = Sse(d, token, BTC, last=last)
        gap = s.event()
        assert gap["type"] == "gap" and gap["reason"] == "epoch" and gap["from"] == 1, gap
        s.count(5)
        assert s.ticks[0]["offset"] == gap["to"] + 1
        s.leave()


def a_reader_that_comes_back_long_after_gets_history_first_in_order_of_all_feeds_and_misses_nothing():
    """Logs of a few hundred ticks; thousands have come meanwhile, and come on while it reads."""
    with Sim(1500) as sim, Daemon(sim, limits__lag_ticks=300, limits__lag_ms=60000, limits__unpaid_grace="20ms", shards__count=2) as d:
        account, token = "local:late", d.mint("local:late", "100")
        n = 0
        for by in ("*", f"{BTC},SOL/USD"):
            s = Sse(d, token, by)
            s.count(60)
            held, last = dict(s.at), s.last
            n += s.leave()
            before = d.metrics()["tick_published_total"]
            until(lambda: d.metrics()["tick_published_total"] > before + 6000)
            s = Sse(d, token, by, last=last)
            begin = {f["feed"]: f["offset"] for f in s.subscribed}
            assert begin[BTC] > held[BTC] + 500, "far behind"
            while any(s.at[f] is None or s.at[f] < begin[f] + (20 if f == BTC else 0) for f in begin):
                s.count(100)
            live = {f: o - 600 for f, o in begin.items()}  # a slow reader of the live stream is told so; of history nobody is
            assert all(g["reason"] == "conflated" and g["from"] > live[g["feed"]] for g in s.gaps), s.gaps[:3]
            for f in begin:  # the client checks order and that no offset is left out; from where it left
                mine = [t["offset"] for t in s.ticks if t["feed"] == f]
                assert held[f] is None or mine[0] == held[f] + 1, (f, mine[0], held[f])
            s.count(500)  # and live from then on
            assert all(g["reason"] == "conflated" and g["from"] > live[g["feed"]] for g in s.gaps), s.gaps[:3]
            n += s.leave()
        d.settled(account, n * TICK_USD)
        assert d.metrics()["history_tick_total"] > 2000


def what_history_has_lost_is_a_gap():
    with Sim(1500) as sim, Daemon(sim, limits__lag_ticks=16, limits__lag_ms=20, limits__unpaid_grace="20ms", snapshot__history_bytes="100KiB") as d:
        token = d.mint("local:late", "100")
        s = Sse(d, token, "*")
        s.count(60)
        last = s.last
        s.leave()
        before = d.metrics()["tick_published_total"]
        until(lambda: d.metrics()["tick_published_total"] > before + 9000)
        s = Sse(d, token, "*", last=last)
        while not {BTC, SOL} <= {g["feed"] for g in s.gaps}:
            s.event()
        assert {g["reason"] for g in s.gaps} == {"history_too_short"}, s.gaps
        s.count(500)
        s.leave()


# --- ends ---------------------------------------------------------------------------------------------

def a_revoked_token_ends_it_within_a_second():
    d, account, token = _funded()
    other = d.mint(account)
    s, stays = Sse(d, token, BTC), Sse(d, other, BTC)
    s.count(5)
    assert d.ask("POST", "/v1/tokens/revoke", {}, token=token).status == 200
    begin = time.monotonic()
    s.rest()
    assert time.monotonic() - begin < 5 and s.whole and s.other[-1]["code"] == "token_revoked", s.other[-1]
    assert s.sock.recv(1) == b""
    assert _refused(d, token, BTC).status == 401
    stays.count(20)
    d.settled(account, (len(s.ticks) + stays.leave()) * TICK_USD)


def an_expired_token_ends_it():
    d, account, _ = _funded()
    from harness import forge
    with open(d.data + "/token.key", "rb") as f:
        key = f.read()
    s = Sse(d, forge(key, account, life=2, jti="short-sse"), BTC)
    s.rest()
    assert s.whole and s.other[-1]["code"] == "token_expired"


def at_zero_it_pauses_and_goes_on_when_paid_and_ends_after_the_grace_period():
    d, account, _ = _funded()
    poor = account + "-poor"
    token = d.mint(poor, "0.0001")
    keeps = Sse(d, d.mint(account), BTC)
    s = Sse(d, token, BTC)
    for turn in range(1, 4):
        due = s.next("payment_required")
        assert due == {"type": "payment_required", "required": "0.000001000", "balance": "0.000000000"}, due
        assert len(s.ticks) == 100 * turn, len(s.ticks)
        d.settled(poor, len(s.ticks) * TICK_USD)
        keeps.count(20)
        d.mint(poor, "0.0001")
    s.count(100)
    assert not s.gaps
    s.leave()
    keeps.leave()
    with Sim() as sim, Daemon(sim, limits__unpaid_grace="500ms") as d:
        s = Sse(d, d.mint("local:poor", "0.00001"), BTC)
        s.rest()
        assert len(s.ticks) == 10 and s.whole and s.other[-1]["code"] == "payment_required", s.other
        d.settled("local:poor", 10 * TICK_USD)


def slow_readers_get_what_they_chose():
    with Sim(4000) as sim, Daemon(sim, limits__lag_ms=100, limits__lag_ticks=300) as d:
        for policy, reason in (("conflate", "conflated"), ("drop", "dropped"), ("close", None)):
            account = "local:" + policy
            s = Sse(d, d.mint(account, "100"), ",".join(FEEDS), rcvbuf=65536, slow_reader=policy)

            def blocked():
                conns = d.operator("GET", "/v1/admin/conns").json["conns"]
                mine = [c for c in conns if c["account"] == account]
                assert all(c["state"] in ("events", "closing") for c in mine), mine
                return not mine or any(c["blocked_ms"] > 400 or c["state"] == "closing" for c in mine)
            until(blocked, 40)
            if policy == "close":
                s.rest()
                assert s.whole and s.other[-1]["code"] == "overrun" and any(e["type"] == "slow_reader_warning" for e in s.other), s.other
                d.settled(account, len(s.ticks) * TICK_USD)
                continue
            while {g["feed"] for g in s.gaps} != set(FEEDS):
                s.event()
            assert {g["reason"] for g in s.gaps} == {reason}, s.gaps
            s.count(200)  # the client checks that ticks and gaps make a whole, in order of seq
            assert [e for e in s.other if e["type"] == "slow_reader_warning"], s.other
            d.settled(account, s.leave() * TICK_USD)


def a_daemon_that_stops_says_so_and_ends_the_body_whole_and_a_reader_goes_on_after_the_restart():
    with tempfile.TemporaryDirectory(prefix="kamiyo-e2e-") as folder, Sim() as sim:
        d = Daemon(sim, data=folder + "/data")
        token = d.mint("local:a", "10")
        s = Sse(d, token, "*")
        s.count(50)
        d.proc.send_signal(signal.SIGTERM)
        s.rest()
        away = next(e for e in s.other if e["type"] == "goaway")
        assert s.whole and away["reason"] == "restart" and 1000 <= away["reconnect_after_ms"] <= 1100 and s.retry == away["reconnect_after_ms"], (away, s.retry)
        d.stop()
        a = Daemon(sim, data=folder + "/data")
        again = Sse(a, token, "*", last=s.last)
        again.count(50)
        assert again.ids[0][0] == s.ids[0][0], "a clean stop keeps the epoch"
        for f, held in s.at.items():  # nothing is lost silently: a tick or a gap follows what was held
            after = [(t["offset"]) for t in again.ticks if t["feed"] == f][:1] + [g["from"] for g in again.gaps if g["feed"] == f][:1]
            assert not after or held is None or min(after) <= held + 1, (f, held, after)
        again.leave()
        a.stop()


def who_ends_its_side_has_left_and_pays_no_more():
    d, account, token = _funded()
    s = Sse(d, token, BTC)
    s.count(5)
    n = s.leave()
    until(lambda: d.metrics()["subscription_open"] == 0)
    d.settled(account, n * TICK_USD)


def what_a_client_sends_after_its_request_is_dropped_and_costs_no_memory():
    d, _, token = _funded()
    s = Sse(d, token, BTC, extra="")
    s.sock.sendall(b"GET /v1/feeds HTTP/1.1\r\nHost: x\r\n\r\n")  # pipelined behind an answer that never ends
    s.count(5)
    before = d.rss()
    for _ in range(256):
        s.sock.sendall(b"x" * 65536)
        while len(s.buf) < 100:
            s._more()
        s.event()
    s.count(5)
    assert d.rss() - before < 8 << 20, (before, d.rss())
    s.leave()


# --- other ways to it --------------------------------------------------------------------------------

def a_thousand_events_cut_into_small_pieces_are_whole_and_charged_once():
    """A tiny window: sends are cut anywhere, and every event still comes whole, once."""
    with Sim(1500) as sim, Daemon(sim, limits__lag_ms=60000, limits__lag_ticks=100000) as d:
        s = Sse(d, d.mint("local:thin", "100"), "*", rcvbuf=2048)
        s.count(3000, 60)
        assert not s.gaps
        d.settled("local:thin", s.leave() * TICK_USD)


def over_tls_it_is_the_same():
    with tempfile.TemporaryDirectory(prefix="kamiyo-sse-") as folder, Sim() as sim:
        cert, key = folder + "/c.pem", folder + "/k.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                        "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        with Daemon(sim, wait=False, public__tls_cert=cert, public__tls_key=key) as d:
            trust = ssl.create_default_context(cafile=cert)
            token = d.mint("local:tls", "10")

            def dial():
                return trust.wrap_socket(d.connect(), server_hostname="127.0.0.1", suppress_ragged_eofs=False)
            s = Sse(d, token, "*", sock=dial())
            s.count(300)
            last = s.last
            s.sock.close()
            s = Sse(d, token, "*", sock=dial(), last=last)
            s.count(300)
            assert not s.gaps and s.ids[0][1] > int(last.split(":")[1])
            assert d.operator("POST", "/v1/admin/tokens/revoke", {"token": token}).status == 200
            s.rest()
            assert s.whole and s.other[-1]["code"] == "token_revoked" and s.sock.recv(1) == b"", "close_notify ends it"


def curl_reads_it():
    d, account, token = _funded()
    url = f"http://{d.public[0]}:{d.public[1]}/v1/stream?feeds=*/USD"
    p = subprocess.Popen(["curl", "-sN", "-H", "Accept: text/event-stream", "-H", "Authorization: Bearer " + token, url], stdout=subprocess.PIPE)
    seen = b""
    while seen.count(b"event: tick\n") < 3:
        seen += p.stdout.readline()
    assert seen.startswith(b"event: subscribed\ndata: {"), seen[:100]
    assert d.ask("POST", "/v1/tokens/revoke", {}, token=token).status == 200
    rest = p.stdout.read()
    assert p.wait(SECONDS) == 0 and b'"code":"token_revoked"' in rest, (p.returncode, rest[-300:])
    d.settled(account, (seen + rest).count(b"event: tick\n") * TICK_USD)


def an_independent_client_understands_it():
    try:
        import aiohttp
    except ImportError:
        return print("     (aiohttp is not installed: left out)")
    d, _, token = _funded()

    async def read():
        url = f"http://{d.public[0]}:{d.public[1]}/v1/stream"
        ids = []
        async with aiohttp.ClientSession() as session:
            async with session.get(url, params={"feeds": "*", "token": token}, headers={"Accept": "text/event-stream"}) as r:
                assert r.status == 200 and r.content_type == "text/event-stream"
                async for line in r.content:
                    if line.startswith(b"id: "):
                        ids.append(int(line.split(b":")[-1]))
                        if len(ids) == 200:
                            return ids
    ids = asyncio.run(asyncio.wait_for(read(), SECONDS))
    assert ids == sorted(set(ids))


def _end():
    if _shared:
        _shared["daemon"].stop()
        _shared["daemon"].audit()
        _shared["sim"].end()


if __name__ == "__main__":
    run(globals(), _end)
