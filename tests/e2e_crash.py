#!/usr/bin/env python3
"""kill -9 under load, at random instants and in the middle of recoveries: nothing acknowledged is lost, nothing is credited twice, nobody is charged
for more than was sent, and the house loses at most one lease for each account and shard.  See harness.py.

KMY_CRASH_KILLS: how many (15).  KMY_CRASH_SEED: another run.  KMY_CRASH_REPORT: lease.report_every (50ms).  KMY_CRASH_LEASE_MAX: lease.max
(0.001).  KMY_CRASH_LIFE_MS: the longest life (400).
"""
import os
import random
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from decimal import Decimal

from harness import FEEDS, KAMIYOD, QUERY_USD, SECONDS, TICK_USD, Closed, Daemon, Sim, run, until
from x402_rig import MissingRig, Refused, Rig, missing

KILLS = int(os.environ.get("KMY_CRASH_KILLS", "15"))
SEED = int(os.environ.get("KMY_CRASH_SEED", "1"))
REPORT = os.environ.get("KMY_CRASH_REPORT", "50ms")
LIFE_MS = int(os.environ.get("KMY_CRASH_LIFE_MS", "400"))
ACCOUNTS = [f"local:k{i}" for i in range(4)]
STREAMS, SHARDS, WALLETS = 6, 2, 6
LEASE_MAX = Decimal(os.environ.get("KMY_CRASH_LEASE_MAX", "0.001"))
GRANT = Decimal("0.25")
NANO = 10**9


class Books:
    """What the customers and the operator know."""

    def __init__(self):
        self.asked = dict.fromkeys(ACCOUNTS, 0)  # grants
        self.sure = dict.fromkeys(ACCOUNTS, 0)   # of them, those that were answered
        self.open = []                           # (key, account) of grants without an answer
        self.grants = 0
        self.got = dict.fromkeys(ACCOUNTS, 0)    # nano-USD: what they were sent
        self.slack = dict.fromkeys(ACCOUNTS, 0)  # nano-USD: what was on its way when it ended
        self.deposits = [0] * WALLETS            # base units that were answered with 200
        self.errors = []


def _grant(d, key, account):
    a = d.operator("POST", "/v1/admin/tokens", {"account": account, "usd": str(GRANT)}, {"Idempotency-Key": key})
    assert a.status == 200, (a.status, a.body)
    return a.json["token"]


class Load:
    """Clients of one life; every thread ends by itself when the daemon does."""

    def __init__(self, d, books, rng, rig):
        self.d, self.books, self.rig, self.over = d, books, rig, False
        self.started = time.monotonic()
        tokens = {a: _grant(d, f"first-{a}", a) for a in ACCOUNTS}
        for a in ACCOUNTS:
            if not books.asked[a]:
                books.asked[a] = books.sure[a] = 1
        self.streams = []
        for i in range(STREAMS):
            account = ACCOUNTS[i % 3]
            w = d.ws(tokens[account])
            w.send({"op": "subscribe", "feeds": list(FEEDS)})
            self.streams.append((account, w))
        self.queries = {a: [0, 0] for a in ACCOUNTS}  # asked, answered
        work = [lambda s=s: self.read(*s) for s in self.streams] + [lambda: self.grants(rng.random()), lambda: self.query(ACCOUNTS[3], tokens[ACCOUNTS[3]]),
                                                                    lambda: self.query(ACCOUNTS[0], tokens[ACCOUNTS[0]])]
        if rig:
            work.append(lambda: self.deposits(rng.randrange(WALLETS)))
        self.threads = [threading.Thread(target=self.guard, args=(w,)) for w in work]
        for t in self.threads:
            t.start()

    def guard(self, work):
        try:
            work()
        except (ConnectionError, socket.timeout, OSError, Closed) as e:
            if not self.over:
                self.books.errors.append(repr(e))
        except Exception as e:  # http.client's, of an answer that was cut; and what must not be
            if not self.over or isinstance(e, AssertionError):
                self.books.errors.append(repr(e))

    @staticmethod
    def read(_, w):
        try:
            while True:
                w.event()
        except (Closed, ConnectionError):
            pass

    def grants(self, first):
        rng = random.Random(first)
        b = self.books
        while not self.over:
            account = rng.choice(ACCOUNTS)
            key = f"grant-{b.grants}"
            b.grants += 1
            b.asked[account] += 1
            b.open.append((key, account))
            _grant(self.d, key, account)
            b.sure[account] += 1
            b.open.pop()

    def query(self, account, token):
        while not self.over:
            self.queries[account][0] += 1
            a = self.d.ask("GET", "/v1/ingest-data?feed=BTCUSDT", token=token)
            if a.status == 200:
                self.queries[account][1] += 1
            else:
                self.queries[account][0] -= 1
                time.sleep(0.01)

    def deposits(self, wallet):
        host, port = self.d.public
        while not self.over:
            try:
                paid = self.rig.ask("v2", wallet, "POST", f"http://{host}:{port}/v1/deposit")
            except Refused:
                continue
            if paid.status == 200:
                self.books.deposits[wallet] += 100000
            wallet = (wallet + 1) % WALLETS

    def kill(self):
        self.over = True
        self.d.end(signal.SIGKILL)
        for t in self.threads:
            t.join(SECONDS)
            assert not t.is_alive()
        for account, w in self.streams:
            self.books.got[account] += len(w.ticks) * int(TICK_USD * NANO)
            self.books.slack[account] += int(TICK_USD * NANO)  # its last frame may have been cut
            w.drop()
        for account, (asked, answered) in self.queries.items():
            self.books.got[account] += answered * int(QUERY_USD * NANO)
            self.books.slack[account] += (asked - answered) * int(QUERY_USD * NANO)


def _kill_in_recovery(conf, rng):
    """A life that does not get far: killed while it recovers, or soon after."""
    p = subprocess.Popen([KAMIYOD, "run", "--config", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(rng.random() * 0.06)
    p.kill()
    p.wait()


def _look(d, books, rig):
    """The daemon's word on each account against what its customers know."""
    figures = {}
    for a in (a for a in ACCOUNTS if books.asked[a]):
        f = figures[a] = d.account(a)
        assert f["balance"] >= 0 and f["leased"] >= 0 and f["consumed"] >= 0, f
        assert f["credited"] == f["balance"] + f["leased"] + f["consumed"], f
        assert books.sure[a] * GRANT <= f["credited"] <= books.asked[a] * GRANT, ("a grant is lost or came twice", a, f, books.sure[a], books.asked[a])
        assert f["consumed"] * NANO <= books.got[a] + books.slack[a], ("charged for more than was sent", a, f, books.got[a], books.slack[a])
    for wallet in range(WALLETS if rig else 0):
        _look_at_wallet(d, books, rig, wallet)
    return figures


def _look_at_wallet(d, books, rig, wallet):
    a = d.operator("GET", "/v1/admin/accounts?account=" + rig.account(wallet))
    credited = Decimal(a.json["credited"]) * 10**6 if a.status == 200 else 0
    assert credited >= books.deposits[wallet], ("a deposit is lost", wallet, credited, books.deposits[wallet])
    received = sum(rig.received(wallet))
    assert credited <= received, ("more credited than was paid", wallet, credited, received)
    return credited == received


def _settings_of(rig):
    more = {"shards__count": SHARDS, "lease__report_every": REPORT, "lease__min": "0.0002", "lease__max": str(LEASE_MAX)}
    if rig:
        more |= {"payments__facilitator": rig.facilitator_url,
                 "payments__networks": [{"name": "base-sepolia", "asset": rig.asset, "pay_to": rig.pay_to, "rpc": rig.at["rpc"],
                                         **{k: rig.at[v] for k, v in (("asset_name", "assetName"), ("asset_version", "assetVersion")) if v in rig.at}}]}
    return more


def killed_at_any_instant_nothing_acknowledged_is_lost_and_nothing_comes_twice():
    rng = random.Random(SEED)
    reason = missing()
    if reason:
        print("no deposits: " + reason)
    rig = None if reason else Rig(wallets=WALLETS, agents=("v2",))
    try:
        with Sim(400) as sim, tempfile.TemporaryDirectory() as folder:
            _lives(rng, sim, folder + "/data", rig)
    except BaseException:
        print(f"again: KMY_CRASH_SEED={SEED} KMY_CRASH_KILLS={KILLS}")
        raise
    finally:
        if rig:
            rig.end()


def _lives(rng, sim, data, rig):
    books, losses, leased, twice, recovered = Books(), [], [], 0, 0
    settings = _settings_of(rig)
    consumed = Decimal(0)
    for life in range(KILLS):
        d = Daemon(sim, data=data, wait=False, **settings)
        _look(d, books, rig)
        while books.open:  # asked again by the same key: once, whatever became of the first
            _grant(d, *books.open[-1])
            books.sure[books.open.pop()[1]] += 1
        until(lambda: all(f["age_ms"] is not None and f["age_ms"] < 1000 for n, f in d.feeds().items() if n in FEEDS))
        got = sum(books.got.values())
        load = Load(d, books, rng, rig)
        time.sleep(rng.random() * LIFE_MS / 1000)
        load.kill()
        d.sound()
        assert not books.errors, books.errors
        a = d.audit()
        leased.append(Decimal(a["leased"]))
        losses.append(Decimal(sum(books.got.values()) - got) / NANO - (Decimal(a["consumed"]) - consumed))
        consumed = Decimal(a["consumed"])
        # What was delivered and is not in the books was lent out: it cannot be more than the leases that were open.
        assert losses[-1] <= leased[-1], (losses[-1], leased[-1])
        bound = LEASE_MAX * SHARDS * len(ACCOUNTS)
        assert leased[-1] <= bound, ("more is lent than one lease for each account and shard", leased[-1], bound)
        for _ in range(rng.choice((0, 0, 1, 2))):
            _kill_in_recovery(d.conf_file.name, rng)
            twice += 1
            d.audit()
    d = Daemon(sim, data=data, wait=False, **settings)
    while books.open:
        _grant(d, *books.open[-1])
        books.sure[books.open.pop()[1]] += 1
    figures = _look(d, books, rig)
    assert all(f["credited"] == books.asked[a] * GRANT and f["leased"] == 0 for a, f in figures.items()), (figures, books.asked)
    for wallet in range(WALLETS if rig else 0):  # whatever was under way finds its end: all that was paid is credited, once
        until(lambda w=wallet: _look_at_wallet(d, books, rig, w), seconds=30, text="all that the chain has is credited")
    d.stop()
    a = d.audit()
    median, worst = statistics.median(losses), max(losses)
    print(f"{KILLS} kills, {twice} more in recoveries; {books.grants} grants, {sum(books.deposits) // 100000} deposits; {sum(books.got.values()) / NANO:.6f} USD "
          f"delivered, {a['consumed']} charged\nlost to the house in a crash: median {median:.6f} USD = {median / TICK_USD:.0f} ticks, most {worst:.6f} USD = "
          f"{worst / TICK_USD:.0f} ticks; lent out then: median {statistics.median(leased):.6f}, most {max(leased):.6f} USD")


if __name__ == "__main__":
    run(globals())
