#!/usr/bin/env python3
"""Going on where a stream ended: out of the log, out of history, on another shard, after a restart; and what of it is free of charge.
Each rule ends with the ledger: what was charged, to the nano-USD.  See harness.py."""
import random
import select
import socket
import struct
import tempfile

from harness import BINARY, FEEDS, SANITIZED, TICK_USD, Daemon, Sim, run, until

BTC, SOL = FEEDS
# A log of some 270 ticks: at 1,000 ticks a second it is behind within a second.
SHORT = {"limits__lag_ticks": 16, "limits__lag_ms": 500}


def _beyond(d, feed, offset):
    until(lambda: d.feeds()[feed]["offset"] > offset, 30, text=f"{feed} beyond {offset}")


def _from(epoch, **held):
    return {"from": {feed: f"{epoch}:{offset}" for feed, offset in held.items()}}


def _resume(d, token, epoch, held, n, **more):
    """A new connection that holds `held` of BTC and reads n ticks; the client checks that they follow without a hole."""
    w = d.ws(token)
    w.at[BTC] = held
    w.subscribe(BTC, **_from(epoch, **{BTC: held}), **more)
    w.count(n, 30)
    return w


def _shard_of(d, w):
    port = w.sock.getsockname()[1]
    conns = d.operator("GET", "/v1/admin/conns").json["conns"]
    return next(int(c["id"].split(":")[0]) for c in conns if c["port"] == port)


def _on_shard(d, token, want):
    for _ in range(60):
        w = d.ws(token)
        if _shard_of(d, w) == want:
            return w
        w.drop()
    raise AssertionError(f"no connection came to shard {want}")


def _reset(w):
    """The client is gone without a word, and what it had not read is lost."""
    w.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    w.sock.close()


def _full(d, account):
    """Waits until the daemon's socket to that account takes no more."""
    def blocked():
        return [c for c in d.operator("GET", "/v1/admin/conns").json["conns"] if c["account"] == account and c["blocked_ms"] > 50]
    return until(blocked, 40, text="a full socket")[0]


def _charged(d):
    """Ticks charged so far, by the daemon's own count: no report has to come first."""
    m = d.metrics()
    return m["delivered_tick_total"] - m["repeated_tick_total"]


# --- history -----------------------------------------------------------------------------------------

def a_client_that_was_away_longer_than_the_log_misses_nothing():
    with Sim(1000) as sim, Daemon(sim, **SHORT) as d:
        token = d.mint("local:a", "10")
        keeps = d.ws(d.mint("local:b", "10"))
        keeps.subscribe(SOL)
        w = d.ws(token)
        epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
        w.count(10)
        w.close()
        got, held = len(w.ticks), w.at[BTC]
        _beyond(d, BTC, held + 1500)
        w = _resume(d, token, epoch, held, 2500)
        assert not w.gaps and w.ticks[0]["offset"] == held + 1, w.gaps
        assert w.balance()["charged_ticks"] == len(w.ticks)
        ticks = {t["offset"]: t for t in w.ticks}
        other = _resume(d, token, epoch, held + 700, 100)  # what comes from history and what comes from a log are the same
        assert all(t == ticks[t["offset"]] for t in other.ticks)
        assert d.metrics()["history_tick_total"] > 1000
        for c in (w, other, keeps):
            c.close()
        d.settled("local:a", (got + len(w.ticks) + len(other.ticks)) * TICK_USD)


def every_encoding_comes_out_of_history():
    import flatbuffers.table
    with Sim(1000) as sim, Daemon(sim, **SHORT) as d:
        token = d.mint("local:a", "10")
        first = d.ws(token)
        epoch = first.subscribe(BTC)["feeds"][0]["epoch"]
        held = first.count(1)[0]["offset"]
        first.close()
        _beyond(d, BTC, held + 1000)
        w = d.ws(token)
        w.subscribe(BTC, encoding="flatbuffers", **_from(epoch, **{BTC: held}))
        for offset in range(held + 1, held + 1500):
            opcode, payload = w.frame()
            assert opcode == BINARY and payload[8:12] == b"KMYT", payload
            table = flatbuffers.table.Table(payload[4:], struct.unpack("<I", payload[4:8])[0])
            assert table.Get(flatbuffers.number_types.Uint64Flags, table.Offset(8) + table.Pos) == offset
        w.drop()


def several_feeds_come_side_by_side_and_each_without_a_hole():
    with Sim(4000) as sim, Daemon(sim, **SHORT) as d:
        token = d.mint("local:a", "10")
        feeds = (*FEEDS, "BTC/USD", "SOL/USD")
        w = d.ws(token)
        epoch = w.subscribe(*feeds)["feeds"][0]["epoch"]
        until(lambda: w.event() and all(w.at[f] for f in feeds))
        w.close()
        held = dict(w.at)
        for feed in FEEDS:
            _beyond(d, feed, held[feed] + 1200)
        again = d.ws(token)
        again.at.update(held)
        again.subscribe(*feeds, **_from(epoch, **held))
        while any(again.at[f] <= held[f] + 1300 for f in FEEDS) or again.at["BTC/USD"] <= held["BTC/USD"]:
            again.event()
        assert not again.gaps, again.gaps
        firsts = [next(i for i, t in enumerate(again.ticks) if t["feed"] == f) for f in FEEDS]
        assert max(firsts) < 200, f"in turn, not one after the other: {firsts}"
        again.close()
        d.settled("local:a", (len(w.ticks) + len(again.ticks)) * TICK_USD)


def a_stream_paused_longer_than_the_log_goes_on_at_the_first_undelivered_tick():
    with Sim(1000) as sim, Daemon(sim, **SHORT) as d:
        token = d.mint("local:a", "0.0001")
        w = d.ws(token)
        w.subscribe(BTC)
        for turn in range(1, 3):
            w.next("payment_required")
            assert len(w.ticks) == (100 if turn == 1 else 1600)
            _beyond(d, BTC, w.at[BTC] + 1000)
            d.mint("local:a", "0.0015")
            w.count(1500, 30)
            assert not w.gaps, w.gaps
        w.close()
        d.settled("local:a", len(w.ticks) * TICK_USD)


def a_reconnect_that_lands_on_another_shard_misses_nothing():
    with Sim(400) as sim, Daemon(sim, shards__count=2) as d:
        token = d.mint("local:a", "10")
        total, held, epoch = 0, None, None
        for turn in range(6):
            w = _on_shard(d, token, turn % 2)
            w.at[BTC] = held
            more = _from(epoch, **{BTC: held}) if held else {}
            epoch = w.subscribe(BTC, **more)["feeds"][0]["epoch"]
            first = w.count(60)[0]["offset"]
            assert held is None or first == held + 1
            w.close()
            assert not w.gaps, w.gaps
            total, held = total + len(w.ticks), w.at[BTC]
        d.settled("local:a", total * TICK_USD)


def what_history_has_lost_is_one_exact_gap():
    for settings in ({"snapshot__history_age": "0s"}, {"snapshot__history_bytes": "65536"}):
        with Sim(1000) as sim, Daemon(sim, **SHORT, **settings) as d:
            token = d.mint("local:a", "10")
            w = d.ws(token)
            epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
            w.count(10)
            w.close()
            got, held = len(w.ticks), w.at[BTC]
            _beyond(d, BTC, held + 2000)
            w = _resume(d, token, epoch, held, 1000)
            gap, = w.gaps
            assert gap == {"type": "gap", "feed": BTC, "from": held + 1, "to": w.ticks[0]["offset"] - 1, "reason": "history_too_short"}, gap
            assert w.balance()["charged_ticks"] == len(w.ticks)
            w.close()
            d.settled("local:a", (got + len(w.ticks)) * TICK_USD)


def who_wants_max_hz_gets_the_newest_and_no_history():
    with Sim(1000) as sim, Daemon(sim, **SHORT) as d:
        token = d.mint("local:a", "10")
        w = d.ws(token)
        epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
        w.count(10)
        w.close()
        _beyond(d, BTC, w.at[BTC] + 1000)
        slow = d.ws(token)
        slow.paced.add(BTC)
        slow.subscribe(BTC, max_hz=10, **_from(epoch, **{BTC: w.at[BTC]}))
        assert slow.count(5)[0]["offset"] > w.at[BTC] + 900 and not slow.gaps
        slow.close()
        d.settled("local:a", (len(w.ticks) + len(slow.ticks)) * TICK_USD)


def a_clean_restart_is_gone_through_by_history():
    with Sim(400) as sim, tempfile.TemporaryDirectory() as folder:
        token, total, held, epoch = None, 0, None, None
        for life in range(3):
            d = Daemon(sim, data=folder + "/data", **SHORT)
            token = token or d.mint("local:a", "10")
            if held:
                w = _resume(d, token, epoch, held, 500)
                assert not w.gaps, w.gaps
            else:
                w = d.ws(token)
                epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
                w.count(10)
            w.close()
            total, held = total + len(w.ticks), w.at[BTC]
            d.settled("local:a", total * TICK_USD)
            _beyond(d, BTC, held + 300)
            d.stop()


def a_storm_of_old_clients_delays_no_tick_and_costs_bounded_memory():
    with Sim(1000) as sim, Daemon(sim, **SHORT) as d:
        token = d.mint("local:storm", "100")
        good = d.ws(d.mint("local:good", "10"))
        epoch = good.subscribe(BTC)["feeds"][0]["epoch"]
        start = good.count(10)[0]["offset"]
        while good.at[BTC] < start + 2000:
            good.count(100)
        before = d.rss()
        conns = [d.ws(token) for _ in range(100)]
        for w in conns:
            w.at[BTC] = start
            w.send({"op": "subscribe", "feeds": [BTC], **_from(epoch, **{BTC: start})})
        for w in conns:
            w.next("subscribed")
            w.count(1500, 60)
            assert not w.gaps
            good.count(1)
            while select.select([good.sock], [], [], 0)[0] or len(good.buf) > 2000:
                good.event()
        assert not good.gaps, good.gaps
        assert SANITIZED or d.rss() - before < 64 << 20, d.rss() - before
        for w in (*conns, good):
            w.drop()


# --- sessions ------------------------------------------------------------------------------------------

def _one_that_does_not_read(d, token, account):
    """A connection that was charged for more than it read: (held, charged, epoch, session)."""
    w = d.ws(token, rcvbuf=65536)
    epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
    first = w.count(20)[0]["offset"]
    charged = _full(d, account)["charged_ticks"]
    return w, w.at[BTC], first + charged - 1, epoch, w.hello["session"]


def what_was_charged_and_lost_comes_again_free_and_the_rest_is_charged():
    with Sim(4000) as sim, Daemon(sim) as d:
        token = d.mint("local:a", "10")
        w, held, last, epoch, session = _one_that_does_not_read(d, token, "local:a")
        assert last > held + 200, "it was charged for what lies in the socket"
        _reset(w)
        until(lambda: d.metrics()["subscription_open"] == 0)
        charged = last - w.ticks[0]["offset"] + 1
        assert d.settled("local:a", charged * TICK_USD)
        again = _resume(d, token, epoch, held, last - held, session=session)  # up to the last one that was charged
        assert not again.gaps
        more = again.count(100)
        b = again.balance()
        assert b["charged_ticks"] == len(again.ticks) - (last - held), (b, len(again.ticks), last - held)
        assert d.metrics()["repeated_tick_total"] == last - held
        again.close()
        d.settled("local:a", (charged + len(again.ticks) - (last - held)) * TICK_USD)


def a_session_that_was_taken_up_is_not_taken_twice():
    with Sim(4000) as sim, Daemon(sim) as d:
        token = d.mint("local:a", "10")
        w, held, last, epoch, session = _one_that_does_not_read(d, token, "local:a")
        _reset(w)
        until(lambda: d.metrics()["subscription_open"] == 0)
        one = _resume(d, token, epoch, held, 100, session=session)
        assert one.balance()["charged_ticks"] == max(0, len(one.ticks) - (last - held))
        two = _resume(d, token, epoch, held, 100, session=session)  # while the first goes on with it
        assert two.balance()["charged_ticks"] == len(two.ticks)
        one.close()
        two.close()


def whatever_breaks_each_tick_is_charged_once():
    """Connection after connection is cut somewhere, with ticks on the way, on either shard; each goes on with the session of the one before."""
    rnd = random.Random(11)
    with Sim(2000) as sim, Daemon(sim, shards__count=2, **{**SHORT, "limits__lag_ticks": 2000, "limits__lag_ms": 30000}) as d:
        token = d.mint("local:a", "10")
        held = first = epoch = session = None
        shards = set()
        for turn in range(12):
            w = d.ws(token, rcvbuf=65536)
            w.at[BTC] = held
            shards.add(_shard_of(d, w))
            more = {**_from(epoch, **{BTC: held}), "session": session} if held else {}
            if held and turn % 3 == 2:  # by auth as well
                w.send({"op": "auth", "token": token, "session": session})
                del more["session"]
            epoch = w.subscribe(BTC, **more)["feeds"][0]["epoch"]
            w.count(rnd.randrange(1, 400))
            if turn % 4 == 1:  # it has not read what comes next
                until(lambda: d.feeds()[BTC]["offset"] > w.at[BTC] + 300)
            assert not w.gaps, w.gaps
            first = first or w.ticks[0]["offset"]
            held, session = w.at[BTC], w.hello["session"]
            if turn % 2:
                _reset(w)
            elif turn % 4 == 0:
                w.drop()
            # else: its peer is gone, and the daemon does not know: the next one takes its session away
        last = d.ws(token)
        last.at[BTC] = held
        last.subscribe(BTC, session=session, **_from(epoch, **{BTC: held}))
        last.count(500)
        assert not last.gaps
        last.close()
        assert shards == {0, 1}
        d.settled("local:a", (last.at[BTC] - first + 1) * TICK_USD)


def what_one_connection_does_not_take_up_the_next_one_may():
    with Sim(400) as sim, Daemon(sim) as d:
        token = d.mint("local:a", "1")
        w = d.ws(token)
        epoch = w.subscribe(BTC, SOL)["feeds"][0]["epoch"]
        while sum(t["feed"] == SOL for t in w.ticks) < 50:
            w.event()
        w.close()
        first = next(t["offset"] for t in w.ticks if t["feed"] == SOL)
        between = _resume(d, token, epoch, w.at[BTC], 20, session=w.hello["session"])  # of two feeds it wants one
        between.close()
        held = {SOL: first}
        last = d.ws(token)
        last.at.update(held)
        last.subscribe(SOL, session=between.hello["session"], **_from(epoch, **held))
        last.count(60)
        last.close()
        assert not last.gaps and d.metrics()["repeated_tick_total"] == w.at[SOL] - first >= 49
        d.settled("local:a", (len(w.ticks) + len(between.ticks) + len(last.ticks) - (w.at[SOL] - first)) * TICK_USD)


def an_open_session_is_closed_with_4408_for_the_one_that_goes_on():
    with Sim(400) as sim, Daemon(sim, shards__count=2) as d:
        for here, there in ((0, 0), (0, 1), (1, 0)):
            account = f"local:{here}-{there}"
            token = d.mint(account, "1")
            old = _on_shard(d, token, here)
            epoch = old.subscribe(BTC)["feeds"][0]["epoch"]
            first = old.count(50)[0]["offset"]
            held = first + 10  # the client says so: it lost the others
            new = _on_shard(d, token, there)
            new.at[BTC] = held
            new.subscribe(BTC, session=old.hello["session"], **_from(epoch, **{BTC: held}))
            new.count(100)
            said, code = old.last_words()
            assert code == 4408 and said[-1]["code"] == "timeout", (said[-1], code)
            new.close()
            assert not new.gaps
            d.settled(account, (new.at[BTC] - first + 1) * TICK_USD)  # the union, each once
            assert d.metrics()["session_taken_total"] >= 1


def ticks_that_were_conflated_are_charged_when_they_come():
    with Sim(4000) as sim, Daemon(sim, limits__lag_ms=100, limits__lag_ticks=300) as d:
        token = d.mint("local:a", "10")
        w = d.ws(token, rcvbuf=65536)
        epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
        w.count(20)
        _full(d, "local:a")
        until(lambda: d.feeds()[BTC]["offset"] > w.at[BTC] + 8000, 30)
        while not w.gaps:
            w.event()
        w.count(5)
        gap, session = w.gaps[-1], w.hello["session"]
        skipped = sum(g["to"] - g["from"] + 1 for g in w.gaps[:-1])
        _reset(w)
        until(lambda: d.metrics()["subscription_open"] == 0)
        charged = _charged(d)
        behind = charged - (gap["from"] - w.ticks[0]["offset"] - skipped)  # of them, behind the hole
        again = _resume(d, token, epoch, gap["from"] - 6, 5 + gap["to"] - gap["from"] + 1 + behind + 100, session=session)
        again.close()
        assert not again.gaps and behind >= 5
        # Only the last run without a hole is known to have been charged: not the five before the hole, and least of all the hole.
        assert d.metrics()["repeated_tick_total"] == behind
        d.settled("local:a", (charged + len(again.ticks) - behind) * TICK_USD)


def sessions_of_others_and_unknown_ones_make_nothing_free_and_no_error():
    with Sim(400) as sim, Daemon(sim) as d:
        token, thief = d.mint("local:a", "1"), d.mint("local:thief", "1")
        w = d.ws(token)
        epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
        first = w.count(50)[0]["offset"]
        alive = d.ws(token)
        alive.subscribe(BTC)
        alive.count(5)
        w.close()
        taken = 0
        for session in (w.hello["session"], alive.hello["session"], "0" * 32, "f" * 32, "0123456789abcdef" * 2):
            t = _resume(d, thief, epoch, first, 40, session=session)
            assert t.balance()["charged_ticks"] == len(t.ticks), session
            t.close()
            taken += len(t.ticks)
        d.settled("local:thief", taken * TICK_USD)
        alive.count(5)  # it was not closed for a thief
        alive.close()
        for bad in ("", "xyz", "0" * 31, "0" * 33, "G" * 32, "A" * 32, 5, {}, [], True):
            t = d.ws(token)
            t.send({"op": "subscribe", "feeds": [BTC], "session": bad})
            e = t.next("error")
            assert e["code"] == "bad_request" and "session" in e["message"], e
            t.send({"op": "auth", "token": token, "session": bad})
            assert t.closed() == 4400, bad
        again = _resume(d, token, epoch, first, 40, session=w.hello["session"])  # nobody took it away from its owner
        assert again.balance()["charged_ticks"] == max(0, len(again.ticks) - (w.at[BTC] - first))
        again.close()


def a_session_does_not_outlive_the_daemon():
    with Sim(400) as sim, tempfile.TemporaryDirectory() as folder:
        d = Daemon(sim, data=folder + "/data")
        token = d.mint("local:a", "1")
        w = d.ws(token)
        epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
        first = w.count(50)[0]["offset"]
        w.close()
        d.stop()
        d = Daemon(sim, data=folder + "/data")
        again = _resume(d, token, epoch, first, 60, session=w.hello["session"])
        assert not again.gaps
        assert again.balance()["charged_ticks"] == len(again.ticks)
        again.close()
        d.settled("local:a", (len(w.ticks) + len(again.ticks)) * TICK_USD)
        d.stop()


def what_is_free_is_free_at_a_balance_of_zero():
    with Sim(400) as sim, Daemon(sim) as d:
        token = d.mint("local:a", "0.0001")
        w = d.ws(token)
        epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
        w.next("payment_required")
        assert len(w.ticks) == 100
        first, last = w.ticks[0]["offset"], w.at[BTC]
        _reset(w)
        again = d.ws(token)
        again.at[BTC] = first
        again.subscribe(BTC, session=w.hello["session"], **_from(epoch, **{BTC: first}))
        again.next("payment_required")
        assert len(again.ticks) == 99 and again.at[BTC] == last and not again.gaps
        again.close()
        assert d.settled("local:a", 100 * TICK_USD)["balance"] == 0


if __name__ == "__main__":
    run(globals())
