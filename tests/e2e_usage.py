#!/usr/bin/env python3
"""Usage: what an account is told that it used is what left its balance, feed by feed and mode by mode.  See harness.py."""
import json
import signal
import subprocess
import tempfile
from decimal import Decimal

from harness import FEEDS, KAMIYO, QUERY_USD, TICK_USD, Daemon, Sim, run, until

BTC, SOL = FEEDS
PASS_USD = Decimal("0.01")


def _usage(d, token, query=""):
    a = d.ask("GET", "/v1/account/usage" + query, token=token)
    assert a.status == 200, a.body
    return a.json


def _modes(u):
    """{(feed, mode): (count, amount)}"""
    return {(f["feed"], m): (v["count"], Decimal(v["amount"])) for f in u["feeds"] for m, v in f["modes"].items()}


def _adds_up(u):
    of_feeds = sum(amount for _, amount in _modes(u).values())
    of_modes = sum(Decimal(v["amount"]) for v in u["total"]["modes"].values())
    assert Decimal(u["total"]["amount"]) == of_feeds == of_modes, u
    return of_feeds


def _settled(d, account, token, consumed):
    d.settled(account, consumed)
    u = _usage(d, token)
    assert _adds_up(u) == consumed, (u, consumed)
    return _modes(u)


def every_mode_adds_up_to_what_the_balance_lost():
    with Sim(200) as sim, Daemon(sim, shards__count=2) as d:
        token = d.mint("local:a")
        assert _usage(d, token)["feeds"] == [] and Decimal(_usage(d, token)["total"]["amount"]) == 0
        want = {}

        def used(feed, mode, count, usd):
            n, sum_usd = want.get((feed, mode), (0, Decimal(0)))
            want[feed, mode] = (n + count, sum_usd + usd)

        assert d.ask("GET", f"/v1/ingest-data?feed={SOL}", token=token).status == 200  # so that the ledger numbers feeds in another order than the catalog
        used(SOL, "query", 1, QUERY_USD)
        until(lambda: _modes(_usage(d, token)) == want, text="the first query is told")
        for _ in range(2):  # metered on both shards
            w = d.ws(token)
            w.subscribe(BTC, SOL)
            w.count(200)
            w.close()
            for t in w.ticks:
                used(t["feed"], "stream", 1, TICK_USD)
        for _ in range(3):
            assert d.ask("GET", f"/v1/ingest-data?feed={SOL}", token=token).status == 200
            used(SOL, "query", 1, QUERY_USD)
        a = d.ask("POST", "/v1/ingest-data/batch", {"queries": [{"feed_type": BTC}, {"feed_type": SOL}, {"feed_type": BTC}, {"feed_type": "nothing"}]}, token=token)
        for r in a.json["results"][:3]:
            used(r["feed"], "batch", 1, Decimal(r["charged"]))
        a = d.ask("GET", "/v1/snapshot", token=token)
        assert a.status == 200 and len(a.json["feeds"]) >= 2
        for f in a.json["feeds"]:
            used(f["feed"], "batch", 1, Decimal(a.json["charged"]) / len(a.json["feeds"]))
        a = d.ask("GET", f"/v1/compare?feed={BTC}", token=token)
        used(BTC, "query", 1, Decimal(a.json["charged"]))
        a = until(lambda: (lambda r: r.json["count"] and r)(d.ask("GET", f"/v1/history?feed={SOL}&limit=50", token=token)), text="a page of history")
        used(SOL, "query", 1, Decimal(a.json["charged"]))
        a = d.ask("POST", "/v1/passes", {"feeds": [BTC]}, token=token)
        assert a.status == 200
        used(BTC, "pass", 0, PASS_USD)
        w = d.ws(token)
        w.subscribe(BTC, plan="pass")
        w.count(100)
        w.close()
        used(BTC, "pass", len(w.ticks), Decimal(0))
        consumed = sum(usd for _, usd in want.values())
        d.settled("local:a", consumed)
        got = until(lambda: (lambda m: m == want and m)(_modes(_usage(d, token))), text=f"{want}, now {_modes(_usage(d, token))}")
        assert got == want and _adds_up(_usage(d, token)) == consumed
        for window in ("1h", "24h", "30d"):
            u = _usage(d, token, f"?window={window}")
            assert u["window"] == window and _modes(u) == want and int(u["from"]) % (3600 * 10**9) == 0 and int(u["from"]) < int(u["to"]), u
        other = _usage(d, d.mint("local:b"))
        assert other["feeds"] == [] and Decimal(other["total"]["amount"]) == 0, other
        out = subprocess.run([KAMIYO, "account", "usage", "--window", "1h", "--json", "--url", f"http://127.0.0.1:{d.public[1]}", "--token", token], capture_output=True, text=True)
        assert out.returncode == 0 and _modes(json.loads(out.stdout)) == want, (out.stdout, out.stderr)
        out = subprocess.run([KAMIYO, "account", "usage", "--url", f"http://127.0.0.1:{d.public[1]}", "--token", token], capture_output=True, text=True)
        assert out.returncode == 0 and f"{consumed:.9f} USD in all" in out.stdout and SOL in out.stdout, (out.stdout, out.stderr)


def a_new_price_is_a_new_book_and_the_dump_recounts():
    with Sim(200) as sim, tempfile.TemporaryDirectory() as folder:
        d = Daemon(sim, data=folder + "/data")
        token = d.mint("local:a")
        w = d.ws(token)
        w.subscribe(BTC, SOL)
        w.count(100)
        with open(d.conf_file.name) as f:
            conf = json.load(f)
        conf["prices"] = {"tick": "0.0000025"}
        with open(d.conf_file.name, "w") as f:
            json.dump(conf, f)
        d.proc.send_signal(signal.SIGHUP)
        at = {f["feed"]: f["from"] for f in w.next("prices")["feeds"]}
        w.count(100)
        w.close()
        new = sum(t["offset"] >= at[t["feed"]] for t in w.ticks)
        assert 0 < new < len(w.ticks)
        consumed = (len(w.ticks) - new) * TICK_USD + new * Decimal("0.0000025")
        modes = _settled(d, "local:a", token, consumed)
        assert sum(n for n, _ in modes.values()) == len(w.ticks), modes
        d.stop()
        d.audit()  # each entry's ticks times the price of its book
        lines = subprocess.run([KAMIYO, "ledger", "dump", "--json", "--data", folder + "/data"], capture_output=True, text=True)
        assert lines.returncode == 0, lines.stderr
        rows = [json.loads(line) for line in lines.stdout.splitlines()]
        books = {r["price_book"]: r for r in rows if r["kind"] == "prices"}
        assert [books[v]["tick"] for v in sorted(books)] == ["0.000001000", "0.000002500"], books
        streamed = [r for r in rows if r["kind"] == "consume"]
        assert {r["price_book"] for r in streamed} == set(books) and {r["mode"] for r in streamed} == {"stream"}, streamed
        for r in streamed:
            assert Decimal(r["amount"]) == r["ticks"] * Decimal(books[r["price_book"]]["tick"]), r
        assert sum(Decimal(r["amount"]) for r in streamed) == consumed
        d = Daemon(sim, data=folder + "/data", prices__tick="0.0000025")
        assert _adds_up(_usage(d, token)) == consumed  # it is still there, and still so after the restart
        d.stop()
        d.audit()


def what_this_shard_has_not_reported_yet_is_told_too():
    with Sim(200) as sim, Daemon(sim, lease__report_every="1m") as d:
        token = d.mint("local:a")
        w = d.ws(token)
        w.subscribe(BTC)
        w.count(50)
        assert _modes(_usage(d, token))[BTC, "stream"][0] >= 50
        w.close()


def what_is_asked_wrongly_is_refused():
    with Sim(50) as sim, Daemon(sim) as d:
        token = d.mint("local:a")
        for query, text in (("?window=2h", "1h, 24h or 30d"), ("?window=", "1h, 24h or 30d"), ("?window=1h&window=24h", "1h, 24h or 30d"), ("?cursor=0", "cursor"),
                            ("?cursor=x", "cursor"), ("?cursor=99999999999", "cursor")):
            a = d.ask("GET", "/v1/account/usage" + query, token=token)
            assert a.status == 400 and a.headers["content-type"] == "application/problem+json" and text in a.json["detail"], (query, a.body)
        for bad in (None, "x.y.z"):  # as its neighbour says it
            a, b = (d.ask("GET", path, token=bad) for path in ("/v1/account", "/v1/account/usage"))
            assert a.status == b.status >= 400 and a.json["code"] == b.json["code"], (a.body, b.body)
        assert d.ask("GET", "/api/v1/account/usage?window=30d", token=token).status == 200
        assert _usage(d, token, "?cursor=5")["feeds"] == []
        out = subprocess.run([KAMIYO, "account", "usage", "--window", "1y", "--url", f"http://127.0.0.1:{d.public[1]}", "--token", token], capture_output=True, text=True)
        assert out.returncode == 1 and "1h, 24h or 30d" in out.stderr, out.stderr


if __name__ == "__main__":
    run(globals())
