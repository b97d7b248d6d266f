#!/usr/bin/env python3
"""A disk that fills up or fails under the running daemon: nothing is acknowledged that is not stored, streams go on within their leases and then stand
still, and all goes on when the disk is well.  See harness.py; disk_fault_shim.c makes the disk fail.

    e2e_disk.py KAMIYOD KAMIYO_SIM KAMIYO SHIM_SO [scenario...]
"""
import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from decimal import Decimal

SHIM = sys.argv.pop(4)

from harness import FEEDS, KAMIYOD, QUERY_USD, TICK_USD, Daemon, Sim, run, until  # noqa: E402  (they read the arguments that are left)
from x402_facilitator import Facilitator  # noqa: E402
from x402_sign import Wallet, payment_v1  # noqa: E402

BTC = FEEDS[0]
PAY_TO, BASE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", 8453
LEASE = Decimal("0.0005")  # 500 ticks


class _Disk:
    """Its word for the shim; daemons made by it run on it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kamiyo-disk-")
        self.word = self.folder.name + "/fault"
        self.data = self.folder.name + "/data"

    def fail(self, kind, number):
        with open(self.word + ".new", "w") as f:
            f.write(f"{kind} {number}\n")
        os.rename(self.word + ".new", self.word)

    def heal(self):
        os.unlink(self.word)

    def prefix(self):
        # Sanitizers want to be preloaded first; the shim needs nothing of theirs.
        options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return ["env", "LD_PRELOAD=" + SHIM, "KMY_DISK_FAULT=" + self.word, "ASAN_OPTIONS=" + options]

    def daemon(self, sim=None, **more):
        settings = {"lease__min": str(LEASE), "lease__max": str(LEASE), "lease__report_every": "20ms", **more}
        return Daemon(sim, data=self.data, prefix=self.prefix(), **settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()


def _grant(d, key, account="local:a", usd="1"):
    return d.operator("POST", "/v1/admin/tokens", {"account": account, "usd": usd}, {"Idempotency-Key": key})


def _said(d, text):
    return text in d.stderr()


def _sick_and_well_again(kind, number, word):
    """One sickness from beginning to end, under a stream."""
    with _Disk() as disk, Sim(1000) as sim:
        d = disk.daemon(sim)
        w = d.ws(_grant(d, "first").json["token"])
        w.subscribe(BTC)
        w.count(50)
        disk.fail(kind, number)
        a = _grant(d, "second")
        assert a.status == 500 and a.json["code"] == "io_error" and word in a.json["detail"], (a.status, a.body)
        before = len(w.ticks)
        stood = _until_it_stands_still(w)
        assert stood - before <= 2 * LEASE / TICK_USD, "no more than was lent"
        a = _grant(d, "second")  # also while the keeper tries again and again
        assert a.status == 500 and a.json["code"] == "io_error", (a.status, a.body)
        assert d.ask("GET", "/livez", door="admin").status == 200
        assert _said(d, "the ledger could not be written") and word in d.stderr()
        assert d.stderr().count("the ledger could not be written") < 4, "a line now and then"
        assert d.metrics()["ledger_refused_total"] > 0
        disk.heal()
        w.count(1000)  # it goes on: at the next tick, or with a gap that names what was too old
        until(lambda: _said(d, "the ledger can be written again"))
        a = _grant(d, "second")
        assert a.status == 200, a.body
        assert _grant(d, "second").status == 200
        w.quiet()
        w.send({"op": "unsubscribe", "feeds": [BTC]})
        w.next("unsubscribed")
        d.settled("local:a", len(w.ticks) * TICK_USD)  # to the tick: the process lived, so nothing is lost
        w.close()
        d.stop()
        a = d.audit()
        assert Decimal(a["credited"]) == 2 and Decimal(a["leased"]) == 0, a


def _until_it_stands_still(w):
    """Reads until half a second brings no tick; how many there are."""
    while True:
        n = len(w.ticks)
        try:
            w.event(0.5)
        except TimeoutError:
            return n


def a_full_disk_refuses_money_and_streams_go_on_within_their_leases():
    _sick_and_well_again("write", errno.ENOSPC, "No space left on device")


def a_sync_that_fails_is_no_commit():
    _sick_and_well_again("sync", errno.EIO, "Input/output error")


def a_ledger_that_lmdb_gave_up_is_opened_anew_by_the_daemon():
    _sick_and_well_again("meta", errno.EIO, "Input/output error")


def who_waits_for_a_sick_ledger_is_told_so_in_time():
    with _Disk() as disk, Sim(100) as sim:
        d = disk.daemon(sim, limits__head_timeout="300ms", limits__auth_timeout="300ms")
        asked = _grant(d, "asks").json["token"]
        fresh = _grant(d, "fresh", "local:b").json["token"]
        ask = "/v1/ingest-data?feed=BTCUSDT"
        assert d.ask("GET", ask, token=asked).status == 200
        disk.fail("write", errno.ENOSPC)
        charged = 1
        while (a := d.ask("GET", ask, token=asked)).status == 200:  # what was lent
            charged += 1
        assert a.status == 503 and a.headers["retry-after"] == "5" and "nothing was charged" in a.json["detail"], (a.status, a.body)
        assert charged <= 2 * LEASE / QUERY_USD
        w = d.ws(fresh, hello=False)
        a = d.ask("GET", "/v1/account", token=fresh)  # an account that no shard has: it would be opened by the ledger
        assert a.status == 503, (a.status, a.body)
        assert w.closed() == 1013
        disk.heal()
        assert d.ask("GET", "/v1/account", token=fresh).status == 200
        assert d.ask("GET", ask, token=asked).status == 200
        d.settled("local:a", (charged + 1) * QUERY_USD)
        d.stop()
        d.audit()


def _deposit(d, wallet):
    """The header that pays what the route asks."""
    a = d.ask("POST", "/v1/deposit")
    assert a.status == 402, (a.status, a.body)
    return payment_v1(wallet, a.json["accepts"][0], BASE)


def _account(wallet):
    return f"eip155:{BASE}:{wallet.address}"


def a_payment_is_refused_before_anything_is_taken_or_credited_once_when_the_disk_is_well():
    with _Disk() as disk:
        f = Facilitator()
        d = disk.daemon(payments__facilitator=f.url, payments__networks=[{"name": "base", "pay_to": PAY_TO}], payments__timeout="1s")
        early, late = Wallet("early"), Wallet("late")
        headers = _deposit(d, early)
        disk.fail("write", errno.ENOSPC)
        a = d.ask("POST", "/v1/deposit", headers=headers)
        assert a.status == 503 and "nothing was taken" in a.json["detail"] and f.settled == [], (a.status, a.body)
        disk.heal()
        a = d.ask("POST", "/v1/deposit", headers=headers)
        assert a.status == 200 and a.json["balance"] == "0.100000000" and len(f.settled) == 1, (a.status, a.body)

        f.mode = "hold"  # the money moves, and only then the disk fails
        headers = _deposit(d, late)
        answers = []
        payer = threading.Thread(target=lambda: answers.append(d.ask("POST", "/v1/deposit", headers=headers)))
        payer.start()
        until(lambda: len(f.settled) == 2)
        disk.fail("sync", errno.EIO)
        f.go.set()
        until(lambda: _said(d, "the ledger could not be written"))
        disk.heal()
        payer.join()
        assert answers[0].status in (200, 202), answers[0].body
        until(lambda: d.operator("GET", "/v1/admin/accounts?account=" + _account(late)).status == 200)
        assert d.account(_account(late))["credited"] == Decimal("0.1")
        d.stop()
        assert Decimal(d.audit()["credited"]) == Decimal("0.2")


def a_batch_that_the_disk_refused_and_kept_ends_the_daemon_and_the_next_start_is_right():
    with _Disk() as disk, Sim(1000) as sim:
        d = disk.daemon(sim)
        w = d.ws(_grant(d, "first").json["token"])
        w.subscribe(BTC)
        w.count(50)
        disk.fail("meta_late", errno.EIO)
        assert d.proc.wait(15) == 1
        assert _said(d, "ending at once; see to the disk and start again"), d.stderr()
        d.sound()
        ticks = len(w.ticks) + _rest(w)
        disk.heal()
        d = disk.daemon(sim)
        a = d.account("local:a")
        assert a["credited"] == 1 and a["leased"] == 0 and a["balance"] + a["consumed"] == 1, a
        assert 0 <= ticks * TICK_USD - a["consumed"] <= LEASE, (ticks, a)
        d.stop()
        d.audit()


def _rest(w):
    before = len(w.ticks)
    try:
        while True:
            w.event()
    except Exception:
        return len(w.ticks) - before


def killed_on_a_sick_disk_what_was_refused_never_was():
    with _Disk() as disk:
        for kind in ("write", "sync", "meta"):
            d = disk.daemon()
            assert _grant(d, "sure-" + kind).status == 200
            disk.fail(kind, errno.EIO)
            assert _grant(d, "refused-" + kind).status == 500
            d.end(signal.SIGKILL)
            disk.heal()
            d.audit()
        d = disk.daemon()
        assert d.account("local:a")["credited"] == 3
        d.stop()


def a_damaged_ledger_file_takes_no_money_and_is_not_ready():
    """Pages that LMDB does not know for its own (each says that it is of no kind): whoever asks is answered, and the operator is told."""
    with _Disk() as disk:
        f = Facilitator()
        with disk.daemon(payments__facilitator=f.url, payments__networks=[{"name": "base", "pay_to": PAY_TO}]) as d:
            headers = _deposit(d, Wallet("late"))
            assert _grant(d, "k1").status == 200 and d.ask("GET", "/readyz", door="admin").status == 200
            with open(disk.data + "/ledger/data.mdb", "r+b") as file:
                size = os.fstat(file.fileno()).st_size
                for at in range(2 * 4096, size, 4096):
                    if os.pread(file.fileno(), 12, at)[10] & 2:  # a leaf
                        os.pwrite(file.fileno(), b"\0\0", at + 10)
            assert _grant(d, "k2").status >= 500
            ready = d.ask("GET", "/readyz", door="admin")
            assert ready.status == 503 and ready.json["reasons"] == ["ledger damaged"], ready.body
            a = d.ask("POST", "/v1/deposit", headers=headers)
            assert a.status == 503 and b"damaged" in a.body, (a.status, a.body)
            assert not f.settled
            assert _said(d, "the ledger's file is damaged")


def a_daemon_does_not_start_on_a_sick_disk_and_says_why():
    with _Disk() as disk:
        d = disk.daemon()
        _grant(d, "first")
        d.ws(_grant(d, "second").json["token"])
        d.end(signal.SIGKILL)
        d.audit()
        disk.fail("write", errno.ENOSPC)
        fresh = disk.data + "-fresh"
        r = subprocess.run([*disk.prefix(), KAMIYOD, "run"], capture_output=True, text=True, timeout=30,
                           env={**os.environ, "KAMIYO_DATA": fresh, "KAMIYO_PUBLIC_LISTEN": "127.0.0.1:0", "KAMIYO_ADMIN_LISTEN": "127.0.0.1:0",
                                "KAMIYO_SOURCES_BINANCE_SYMBOLS": "", "KAMIYO_SOURCES_PYTH_FEEDS": ""})
        assert r.returncode == 1 and "No space left on device" in r.stderr.strip().split("\n")[-1], r.stderr
        disk.heal()
        d = disk.daemon()
        assert d.account("local:a")["credited"] == 2
        d.stop()


if __name__ == "__main__":
    run(globals())
