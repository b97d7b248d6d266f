#!/usr/bin/env python3
"""Tokens that may spend so much and no more, and narrower tokens without a sign-in.  See harness.py."""
import base64
import json
import signal
import subprocess
import tempfile
import time
from decimal import Decimal

from harness import FEEDS, KAMIYO, SECONDS, TICK_USD, Daemon, Sim, run, until

BTC, SOL = FEEDS


def _claims(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def _narrower(d, token, status=200, key=None, path="/v1/tokens", **body):
    a = d.ask("POST", path, body, token=token, headers={"Idempotency-Key": key} if key else None)
    assert a.status == status, (body, a.status, a.body)
    return a.json


def _holds(d, account):
    """In one answer: between two of them money may move."""
    a = d.account(account)
    a["moved"] = Decimal(a.get("received", "0")) - Decimal(a.get("given", "0"))
    assert a["credited"] + a["moved"] == a["balance"] + a["leased"] + a["consumed"], a
    return a


def _given_back(d, account):
    """Has nothing but what it spent: how much that is."""
    def so():
        a = _holds(d, account)
        return a["moved"] == a["consumed"] and a
    return until(so, text=f"{account} gives back what is left")["consumed"]


def a_capped_token_spends_its_cap_and_not_a_tick_more():
    with Sim(400) as sim, Daemon(sim, shards__count=2) as d:
        parent = d.mint("local:p", "1")
        t = _narrower(d, parent, spend="0.0003")
        assert t["account"] == "local:p." + t["jti"] and t["balance"] == t["spend"] == "0.000300000", t
        clients = [d.ws(t["token"]) for _ in range(6)]
        for w in clients:
            w.subscribe(BTC, SOL)
        for w in clients:
            assert w.next("payment_required")["balance"] == "0.000000000"
        assert sum(len(w.ticks) for w in clients) == 300, [len(w.ticks) for w in clients]
        w = d.ws(parent)  # the parent has the rest, and streams on
        w.subscribe(BTC)
        w.count(20)
        for c in clients:
            c.quiet()
        assert sum(len(c.ticks) for c in clients) == 300
        until(lambda: _holds(d, t["account"])["consumed"] == 300 * TICK_USD, text="the cap is consumed")
        a = d.ask("GET", "/v1/ingest-data?feed=" + BTC, token=t["token"])
        assert a.status == 402 and a.json["code"] == "insufficient_balance", a.body
        for c in clients + [w]:
            c.close()
        p = _holds(d, "local:p")
        assert p["balance"] + p["leased"] + p["consumed"] == Decimal("0.9997") and p["credited"] == 1, p
        assert d.operator("GET", "/v1/admin/ledger").json["credited"] == "1.000000000"  # a move is no credit
        usage = d.ask("GET", "/v1/account/usage", token=t["token"]).json
        assert usage["total"]["amount"] == "0.000300000", usage


def what_is_left_goes_back_at_revocation_over_a_crash():
    with Sim(200) as sim, tempfile.TemporaryDirectory() as folder:
        d = Daemon(sim, data=folder + "/data", shards__count=2)
        parent = d.mint("local:p", "1")
        live, kept, never = (_narrower(d, parent, spend="0.05") for _ in range(3))
        w = d.ws(live["token"])
        w.subscribe(BTC)
        w.count(50)
        # Revoked while it streams: its socket ends, its lease comes back, and then what is left.
        assert d.ask("POST", "/v1/tokens/revoke", token=live["token"]).status == 200
        assert w.closed() == 4401
        spent = _given_back(d, live["account"])
        assert spent >= 50 * TICK_USD
        assert _holds(d, "local:p")["balance"] == Decimal("0.9") - spent
        # Killed with a lease out, and revoked just before.
        w = d.ws(kept["token"])
        w.subscribe(BTC)
        w.count(50)
        assert d.ask("POST", "/v1/tokens/revoke", token=kept["token"]).status == 200
        d.end(signal.SIGKILL)
        d = Daemon(sim, data=d.data)
        spent += _given_back(d, kept["account"])
        assert _holds(d, "local:p")["balance"] == Decimal("0.95") - spent
        assert d.ask("GET", "/v1/account", token=kept["token"]).status == 401
        assert d.ask("GET", "/v1/account", token=never["token"]).json["balance"] == "0.050000000"
        d.stop()
        assert d.audit()["faults"] == 0


def a_narrower_token_is_never_wider():
    with Sim(200) as sim, Daemon(sim, shards__count=2) as d:
        wide = d.mint("local:p", "1", ttl_s=3600)
        shown = d.mint("local:p", "0", ttl_s=600, feeds=["*@binance", "SOL/USD"])
        for body, status in (({"feeds": [BTC]}, 200), ({"feeds": ["btcusdt"]}, 200), ({"feeds": ["BTC*@binance", "SOL/USD"]}, 200),
                             ({"feeds": ["BTC/USD"]}, 403), ({"feeds": ["*"]}, 403), ({"feeds": [BTC, "*/USD"]}, 403), ({"feeds": ["NO/SUCH"]}, 404),
                             ({"ttl_s": 300}, 200), ({"ttl_s": 700}, 403), ({"ttl_s": 1}, 400), ({"spend": "2"}, 402), ({"spend": "0"}, 400),
                             ({"spend": 1}, 400), ({"spend": "-1"}, 400), ({"spend": "0.0000000001"}, 400), ({}, 400), ({"rate": 0}, 400), ({"rate": "5"}, 400), ({"rate": 1000001}, 400),
                             ({"spend": "0.1", "feeds": ["BTC/USD"]}, 403), ({"spend": "0.1", "ttl_s": 700}, 403)):
            answer = _narrower(d, shown, status, **body)
            if status == 200:
                c = _claims(answer["token"])
                assert c["sub"] == "local:p" and c["exp"] <= _claims(shown)["exp"] and "spend" not in answer, answer
                assert c["scp"] == {"btcusdt": BTC}.get(body.get("feeds", [""])[0]) or c["scp"] == " ".join(body.get("feeds", ["*@binance", "SOL/USD"]))
        assert _holds(d, "local:p")["balance"] + _holds(d, "local:p")["leased"] == 1, "what is refused moves nothing"
        for text in (b"{", b'{"ttl_s":300} {}', b'{"ttl_s":300}x'):
            assert d.ask("POST", "/v1/tokens", text, token=shown).status == 400, text
        t = _narrower(d, shown, spend="0.01", feeds=[BTC], path="/api/v1/tokens")
        assert t["expires_at"] == str(_claims(shown)["exp"] * 10**9)
        assert d.ask("GET", "/v1/ingest-data?feed=" + BTC, token=t["token"]).status == 200
        assert d.ask("GET", "/v1/ingest-data?feed=" + SOL, token=t["token"]).status == 403
        assert _narrower(d, t["token"], 403, spend="0.001")["code"] == "forbidden"  # has none of its own
        assert d.ask("POST", "/v1/tokens", {"spend": "0.1"}).status == 402  # who shows no token signs in or pays
        # A balance that shards hold is brought together for it.
        w = d.ws(wide)
        w.subscribe(BTC)
        w.count(5)
        w.close()

        def all_of_it():  # which is known once both shards have told what was delivered
            rest = d.ask("GET", "/v1/account", token=wide).json["balance"]
            a = d.ask("POST", "/v1/tokens", {"spend": rest}, token=wide)
            assert a.status == 402 or (a.status == 200 and a.json["balance"] == rest), a.body
            return a.status == 200
        until(all_of_it, text="all of the balance is moved")
        assert d.ask("GET", "/v1/ingest-data?feed=" + BTC, token=wide).status == 402


def a_token_with_a_rate_is_good_for_so_many_requests_a_minute():
    with Sim(200) as sim, Daemon(sim, shards__count=2) as d:
        wide = d.mint("local:p", "1")
        t = _narrower(d, wide, rate=6)["token"]
        assert _claims(t)["rate"] == 6
        until(lambda: d.ask("GET", "/v1/ingest-data?feed=" + BTC, token=wide).status == 200)
        assert _narrower(d, t, 403, ttl_s=60)["code"] == "forbidden"  # the first of the six
        kinds = [("GET", "/v1/ingest-data?feed=" + BTC, None), ("POST", "/v1/ingest-data/batch", [{"feed": BTC}]), ("GET", "/v1/account", None),
                 ("GET", "/v1/feeds", None)]
        for method, path, body in kinds:  # paid or not, on whatever connection and shard
            assert d.ask(method, path, body, token=t).status == 200, path
        w = d.ws(t)  # the sixth
        w.subscribe(BTC)
        w.count(20)  # ticks are not counted
        before = d.account("local:p")
        for method, path, body in kinds:
            a = d.ask(method, path, body, token=t)
            assert a.status == 429 and a.json["code"] == "limit_reached" and 0 < int(a.headers["retry-after"]) <= 10, (path, a.status, a.body)
        assert d.account("local:p")["queries"] == before["queries"], "what is refused is not charged"
        late = d.ws(t, hello=False)
        assert late.closed() == 4429
        w.count(20)
        for other in (wide, _narrower(d, wide, rate=1)["token"]):
            assert d.ask("GET", "/v1/ingest-data?feed=" + BTC, token=other).status == 200, "others have buckets of their own"
        w.close()


def the_same_key_is_the_same_token():
    with Daemon(shards__count=2) as d:
        parent = d.mint("local:p", "1")
        one = _narrower(d, parent, key="k", spend="0.1")
        time.sleep(1.1)  # the clock of claims goes on
        again = _narrower(d, parent, key="k", spend="0.1")
        assert {k: v for k, v in one.items() if k != "token"} == {k: v for k, v in again.items() if k != "token"}
        assert _narrower(d, parent, 409, key="k", spend="0.2")["code"] == "conflict"
        assert _narrower(d, d.mint("local:q", "1"), key="k", spend="0.1")["account"].startswith("local:q.")
        assert _holds(d, "local:p")["balance"] == Decimal("0.9")
        # An operator's: the credit comes first, both once; and all of it or nothing.
        mint = lambda key, **more: d.operator("POST", "/v1/admin/tokens", {"account": "local:o", **more}, {"Idempotency-Key": key})
        assert mint("a", usd="0.5", spend="0.6").status == 402
        assert d.account("local:o")["credited"] == 0
        for _ in range(2):
            a = mint("b", usd="0.5", spend="0.4").json
            assert (a["credited"], a["spend"], a["balance"]) == ("0.500000000", "0.400000000", "0.400000000"), a
            assert a["account"] == "local:o." + a["jti"]
        assert mint("b", usd="0.5", spend="0.3").status == 409
        o = _holds(d, "local:o")
        assert o["credited"] == Decimal("0.5") and o["balance"] == Decimal("0.1"), o
        cli = lambda *more: subprocess.run([KAMIYO, "token", "mint", "--account", "local:c", "--usd", "1", *more, "--admin",
                                            f"http://{d.admin[0]}:{d.admin[1]}", "--data", d.data], capture_output=True, text=True, timeout=SECONDS)
        out = cli("--spend", "0.25")
        assert out.returncode == 0 and d.ask("GET", "/v1/account", token=out.stdout.strip()).json["balance"] == "0.250000000", out.stderr
        assert "--spend" in cli("--spend", "much").stderr
        long = "local:" + "a" * 110
        assert d.operator("POST", "/v1/admin/tokens", {"account": long, "usd": "1", "spend": "1"}).status == 400
        d.operator("POST", "/v1/admin/tokens/revoke", {"jti": a["jti"]})
        until(lambda: _holds(d, "local:o")["balance"] == Decimal("0.5"), text="the operator's goes back too")


if __name__ == "__main__":
    run(globals())
