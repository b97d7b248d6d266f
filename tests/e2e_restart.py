#!/usr/bin/env python3
"""The real daemon's life: drain on TERM, kill -9 under load, restart, second daemons.  See harness.py."""
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from decimal import Decimal

from harness import (FEEDS, KAMIYOD, QUERY_USD, SECONDS, TICK_USD, Closed, Daemon, Sim, ended, run, until)

BTC, SOL = FEEDS


def term_says_goodbye_gives_leases_back_and_offsets_go_on():
    with Sim(500) as sim, tempfile.TemporaryDirectory() as folder:
        data = folder + "/data"
        held, epoch, delivered = {}, None, {"local:a": 0, "local:b": 0}
        for life in range(3):
            d = Daemon(sim, data=data, shards__count=2)
            conns = []
            for i in range(6):
                account = "local:a" if i % 2 else "local:b"
                w = d.ws(d.mint(account, "0.01"))
                ack = w.subscribe(BTC, SOL)
                assert epoch in (None, ack["feeds"][0]["epoch"]), "a clean restart keeps the epoch"
                epoch = ack["feeds"][0]["epoch"]
                for f in ack["feeds"]:
                    assert f["offset"] >= held.get(f["feed"], 1), "offsets go on"
                conns.append((account, w))
            idle = d.connect()
            for _, w in conns:
                w.count(100)
            d.proc.send_signal(signal.SIGTERM)
            start = time.monotonic()
            for account, w in conns:
                said, code = w.last_words()
                away = next(e for e in said if e["type"] == "goaway")
                assert code == 1012 and away["reason"] == "restart" and 1000 <= away["reconnect_after_ms"] <= 2000, (code, away)
                delivered[account] += len(w.ticks)
                for feed, offset in w.at.items():
                    held[feed] = max(held.get(feed, 0), offset)
                w.drop()
            assert ended(idle) == b""
            d.stop()
            assert time.monotonic() - start < 10
            a = d.audit()
            assert Decimal(a["leased"]) == 0, a
            assert Decimal(a["consumed"]) == sum(delivered.values()) * TICK_USD, (a, delivered)
        d = Daemon(sim, data=data)
        for account, ticks in delivered.items():
            a = d.account(account)
            assert a["ticks"] == ticks and a["consumed"] == ticks * TICK_USD and a["leased"] == 0, (account, a, ticks)
        d.stop()


def a_customer_who_resumes_across_a_clean_restart_misses_nothing_untold():
    with Sim(300) as sim, tempfile.TemporaryDirectory() as folder:
        data = folder + "/data"
        at, epoch, ticks, gaps = {}, None, 0, 0
        for life in range(3):
            d = Daemon(sim, data=data)
            w = d.ws(d.mint("local:a", "1"))
            w.at = dict(at)  # the client checks that the next tick, or a gap, follows
            ack = w.subscribe(BTC, **({"from": {BTC: f"{epoch}:{at[BTC]}"}} if at else {}))
            epoch = ack["feeds"][0]["epoch"]
            w.count(100)
            d.proc.send_signal(signal.SIGTERM)
            w.last_words()
            at, ticks = w.at, ticks + len(w.ticks)
            d.stop()
            assert Decimal(d.audit()["consumed"]) == ticks * TICK_USD


def a_drain_waits_for_nobody_who_does_not_read():
    with Sim(4000) as sim:
        d = Daemon(sim)
        w = d.ws(d.mint("local:a", "100"), rcvbuf=4096)
        w.subscribe(BTC, SOL)
        until(lambda: any(c["blocked_ms"] > 100 for c in d.operator("GET", "/v1/admin/conns").json["conns"]))
        start = time.monotonic()
        d.stop()
        assert time.monotonic() - start < 15
        a = d.audit()
        assert Decimal(a["leased"]) == 0


def killed_under_load_nobody_is_charged_for_more_than_was_sent():
    rng = random.Random(5)
    with Sim(2000) as sim, tempfile.TemporaryDirectory() as folder:
        data, accounts = folder + "/data", [f"local:k{i}" for i in range(4)]
        delivered = dict.fromkeys(accounts, 0)  # nano-USD: everything the sockets got of us
        credited = dict.fromkeys(accounts, Decimal(0))
        epochs = set()
        tokens = {}
        for life in range(16):
            d = Daemon(sim, data=data, wait=False, shards__count=1 + life % 2, lease__report_every="20ms", lease__min="0.0002")
            known = dict.fromkeys(accounts, Decimal(0))
            for account in accounts:
                if life:
                    a = d.account(account)
                    known[account] = a["consumed"]
                    assert a["consumed"] * 10**9 <= delivered[account], (life, account, a, delivered[account])
                    assert a["balance"] >= 0 and a["leased"] >= 0 and a["credited"] == credited[account], a
                    assert a["balance"] + a["leased"] + a["consumed"] == a["credited"], a
                tokens[account] = d.mint(account, "0.003")
                credited[account] += Decimal("0.003")
            until(lambda: d.feeds()[BTC]["age_ms"] is not None and d.feeds()[BTC]["age_ms"] < 100)
            conns = []
            for i in range(12):
                w = d.ws(tokens[accounts[i % 4]])
                w.send({"op": "subscribe", "feeds": [BTC, SOL]})
                epochs.add(w.next("subscribed")["feeds"][0]["epoch"])
                conns.append((accounts[i % 4], w))
            for account, w in conns:
                w.count(rng.randrange(1, 100))
            for account in accounts[:2]:
                if d.ask("GET", "/v1/ingest-data?feed=BTCUSDT", token=tokens[account]).status == 200:
                    delivered[account] += 100000
            if life % 4 == 0:  # some lives last until something is durable, the others end wherever they are
                until(lambda: all(d.account(a)["consumed"] > known[a] for a in accounts))
            d.end(signal.SIGKILL)
            for account, w in conns:
                try:
                    while True:
                        w.event()
                except (Closed, ConnectionResetError):
                    pass
                delivered[account] += 1000 * (len(w.ticks) + 1)  # + 1: its last frame may have been cut by the kill
                w.drop()
            d.sound()
            a = d.audit()
            assert Decimal(a["consumed"]) * 10**9 <= sum(delivered.values()), a
            assert Decimal(a["credited"]) == sum(credited.values()), (a, credited)
        assert len(epochs) == 16, "an unclean stop begins a new epoch"
        d = Daemon(sim, data=data)
        total = 0
        for account in accounts:
            a = d.account(account)
            assert a["leased"] == 0 and a["balance"] == a["credited"] - a["consumed"]
            total += a["consumed"]
        assert total > 0, "what was reported before the kill counts"
        d.stop()


def what_was_revoked_and_minted_stays_so_through_a_kill():
    with tempfile.TemporaryDirectory() as folder:
        data = folder + "/data"
        d = Daemon(data=data)
        bad, good = d.mint("local:a", "1"), d.mint("local:a", "2")
        assert d.ask("POST", "/v1/tokens/revoke", token=bad).status == 200
        d.end(signal.SIGKILL)
        for _ in range(2):
            d = Daemon(data=data)
            assert d.ask("GET", "/v1/account", token=bad).json["code"] == "token_revoked"
            assert d.ws(bad, hello=False).closed() == 4401
            assert d.ask("GET", "/v1/account", token=good).json["balance"] == "3.000000000"
            d.stop()


def a_second_daemon_is_refused_with_a_clear_text():
    with tempfile.TemporaryDirectory() as folder:
        with Daemon(data=folder + "/one") as d:
            def refused(*words, **env):
                r = subprocess.run([KAMIYOD, "run"], env={**os.environ, "KAMIYO_SOURCES_BINANCE_SYMBOLS": "", "KAMIYO_SOURCES_PYTH_FEEDS": "", "KAMIYO_PUBLIC_LISTEN": "127.0.0.1:0",
                                   "KAMIYO_ADMIN_LISTEN": "127.0.0.1:0", **env}, capture_output=True, text=True, timeout=SECONDS)
                assert r.returncode == 1 and not r.stdout, (r.returncode, r.stdout)
                last = r.stderr.strip().split("\n")[-1]
                assert last.startswith("kamiyod: ") and all(w in last for w in words), r.stderr
            refused("in use by another kamiyod", "/one", KAMIYO_DATA=folder + "/one")
            for shards in ("1", "2"):
                refused("cannot listen on", d.at["public"], KAMIYO_DATA=folder + "/two", KAMIYO_PUBLIC_LISTEN=d.at["public"], KAMIYO_SHARDS_COUNT=shards)
                refused("cannot listen on", d.at["admin"], KAMIYO_DATA=folder + "/two", KAMIYO_ADMIN_LISTEN=d.at["admin"], KAMIYO_SHARDS_COUNT=shards)
            assert d.ask("GET", "/v1/feeds").status == 200
            assert d.mint("local:a")


def the_data_folder_is_for_its_owner_alone():
    with Daemon() as d:
        d.mint("local:a")
        assert os.stat(d.data).st_mode & 0o777 == 0o700
        for name in ("admin.token", "token.key"):
            assert os.stat(d.data + "/" + name).st_mode & 0o777 == 0o600, name


def interrupt_drains_as_term_does():
    d = Daemon()
    assert d.end(signal.SIGINT, 5) == 0
    d.sound()


if __name__ == "__main__":
    run(globals())
