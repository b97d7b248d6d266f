#!/usr/bin/python3
"""Requests that bring their money with them, as a payer sees them: headers of both generations, receipts, repetition, refusal, what is late.

The facilitator is a stand-in that does as it is told and notes what it was asked; no chain is asked (the networks have no rpc).
usage: see harness.py
"""
import base64
import json
import os
import sys
import threading
from decimal import Decimal

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Daemon, Sim, run, until  # noqa: E402
from x402_facilitator import Facilitator  # noqa: E402
from x402_sign import Wallet, payment_v1, payment_v2  # noqa: E402

PAY_TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
BASE = 8453
ONE = "/v1/ingest-data?feed=SOL/USD"
_shared = {}


def _daemon():
    if not _shared:
        _shared["facilitator"] = Facilitator()
        _shared["sim"] = Sim()
        _shared["daemon"] = Daemon(_shared["sim"], payments__facilitator=_shared["facilitator"].url, payments__timeout="1s",
                                   payments__networks=[{"name": "base", "pay_to": PAY_TO}])
    f = _shared["facilitator"]
    f.mode = "ok"
    f.settled.clear()
    return _shared["daemon"], f


def _v2(answer):
    return json.loads(base64.b64decode(answer.headers["payment-required"]))


def _receipt(answer, version):
    return json.loads(base64.b64decode(answer.headers["x-payment-response" if version == 1 else "payment-response"]))


def _account(wallet):
    return f"eip155:{BASE}:{wallet.address}"


def _pay(d, method, path, body, wallet, version, which=0, **more):
    """The header for the offer of this route's 402."""
    a = d.ask(method, path, body)
    assert a.status == 402, (a.status, a.body)
    if version == 1:
        return payment_v1(wallet, a.json["accepts"][which], BASE, **more)
    return payment_v2(wallet, _v2(a), _v2(a)["accepts"][which], **more)


BATCH = [{"feed_type": "SOL/USD"}, {"feed_type": "NO/SUCH"}, {"feed_type": "BTC/USDT@binance"}]


def a_query_is_paid_by_its_header_and_repeated_for_nothing():
    d, f = _daemon()
    for version in (1, 2):
        for method, path, body, price in (("GET", ONE, None, "0.0001"), ("POST", "/v1/ingest-data", {"feed_type": "SOL/USD"}, "0.0001"),
                                          ("POST", "/v1/ingest-data/batch", BATCH, "0.0002")):
            w = Wallet(f"{version}{path}{method}")
            f.settled.clear()
            headers = _pay(d, method, path, body, w, version)
            a = d.ask(method, path, body, headers=headers)
            assert a.status == 200, (a.status, a.body)
            r = _receipt(a, version)
            assert r["success"] is True and r["network"] == ("base" if version == 1 else "eip155:8453") and r["payer"].lower() == w.address, r
            assert Decimal(a.json["charged"]) == Decimal(price) and a.json["balance"] == "0.000000000", a.body
            assert a.headers["cache-control"] == "no-store"
            again = d.ask(method, path, body, headers=headers)
            assert (again.status, again.body) == (200, a.body) and _receipt(again, version) == r
            assert len(f.settled) == 1, f.settled
            d.settled(_account(w), Decimal(price))


def a_deposit_gives_a_token_that_buys():
    d, f = _daemon()
    for version in (1, 2):
        w = Wallet(f"deposit {version}")
        a = d.ask("POST", "/v1/deposit", headers=_pay(d, "POST", "/v1/deposit", None, w, version))
        assert a.status == 200, a.body
        j = a.json
        assert (j["account"], j["balance"], j["credited"], j["network"]) == (_account(w), "0.100000000", "0.100000000", "eip155:8453"), j
        assert j["transaction"] == _receipt(a, version)["transaction"] and int(j["expires_at"]) > 0
        q = d.ask("GET", ONE, token=j["token"])
        assert q.status == 200 and q.json["balance"] == "0.099900000", q.body
        a = d.ask("POST", "/v1/deposit?amount=2.5", headers=_pay(d, "POST", "/v1/deposit?amount=2.5", None, w, version))
        assert a.json["credited"] == "2.500000000" and a.json["balance"] == "2.599900000", a.body


def a_deposit_shown_again_is_not_credited_again_and_gives_no_token():
    d, f = _daemon()
    w = Wallet("again")
    headers = _pay(d, "POST", "/v1/deposit", None, w, 1)
    first = d.ask("POST", "/v1/deposit", headers=headers).json
    again = d.ask("POST", "/v1/deposit", headers=headers).json
    assert again["balance"] == first["balance"] and again["transaction"] == first["transaction"] and len(f.settled) == 1
    assert "token" in first and "token" not in again and again["sign_in"].endswith("/v1/tokens"), again


def who_has_paid_signs_in_once_for_each_nonce():
    d, f = _daemon()
    w, other = Wallet("signer"), Wallet("stranger")
    d.ask("POST", "/v1/deposit", headers=_pay(d, "POST", "/v1/deposit", None, w, 2))
    proof = {"SIGN-IN-WITH-X": w.sign_in(_v2(d.ask("POST", "/v1/tokens"))["extensions"]["sign-in-with-x"])}
    a = d.ask("POST", "/v1/tokens", headers=proof)
    assert a.status == 200 and a.json["account"] == _account(w) and a.json["balance"] == "0.100000000", a.body
    assert d.ask("GET", ONE, token=a.json["token"]).status == 200
    a = d.ask("POST", "/v1/tokens", headers=proof)
    assert a.status == 401 and "token" not in a.json, a.body
    proof = {"SIGN-IN-WITH-X": other.sign_in(_v2(d.ask("POST", "/v1/tokens"))["extensions"]["sign-in-with-x"])}
    a = d.ask("POST", "/v1/tokens", headers=proof)
    assert a.status == 402 and _v2(a)["accepts"] and "account" in a.json["detail"], a.body
    extension = _v2(d.ask("POST", "/v1/tokens"))["extensions"]["sign-in-with-x"]
    extension["info"]["nonce"] = "0" * 80
    assert d.ask("POST", "/v1/tokens", headers={"SIGN-IN-WITH-X": w.sign_in(extension)}).status == 401
    assert d.ask("POST", "/v1/tokens", headers={"SIGN-IN-WITH-X": "e30="}).status == 400


def a_payment_that_is_not_what_was_asked_is_refused_with_the_offers_and_nothing_is_taken():
    d, f = _daemon()
    w = Wallet("wrong")
    for version in (1, 2):
        for more, word in (({"value": "99"}, "value"), ({"value": "101"}, "value"), ({"to": "0x" + "11" * 20}, "recipient"),
                           ({"validBefore": "1"}, "valid_before"), ({"validAfter": "99999999999"}, "valid_after"), ({"from": "0x" + "22" * 20}, "signature")):
            headers = _pay(d, "GET", ONE, None, w, version, **more)
            a = d.ask("GET", ONE, headers=headers)
            assert a.status == 402 and word in a.json["error"] and _v2(a)["error"] == a.json["error"], (more, a.body)
            assert a.json["accepts"] and len(a.body) < 4096
    headers = _pay(d, "POST", "/v1/deposit", None, w, 2)
    assert d.ask("GET", ONE, headers=headers).status == 402, "made for another resource and another price"
    for garbage in ("A", "e30=", "bm90IGpzb24=", "!!!!"):
        a = d.ask("GET", ONE, headers={"X-PAYMENT": garbage})
        assert a.status == 402 and a.json["error"].startswith("invalid_"), a.body
    assert f.settled == [] and d.operator("GET", "/v1/admin/accounts?account=" + _account(w)).status == 404


def a_payment_made_for_another_server_or_without_a_wish_for_an_answer_is_not_taken():
    d, f = _daemon()
    w = Wallet("elsewhere")
    offer = _v2(d.ask("GET", ONE))
    for url in ("https://feed.example/v1/ingest-data", offer["resource"]["url"] + "/batch"):
        a = d.ask("GET", ONE, headers=payment_v2(w, {**offer, "resource": {**offer["resource"], "url": url}}, offer["accepts"][0]))
        assert a.status == 402 and a.json["error"] == "invalid_payment_requirements", a.body
    good = payment_v2(w, offer, offer["accepts"][0])
    assert d.ask("HEAD", ONE, headers=good).status == 402 and f.settled == []
    assert d.ask("GET", ONE, headers=good).status == 200 and len(f.settled) == 1


def who_pays_is_not_counted_by_address_and_who_tries_to_is():
    d, f = _daemon()
    with Daemon(_shared["sim"], wait=False, payments__facilitator=f.url, payments__networks=[{"name": "base", "pay_to": PAY_TO}],
                limits__unauthenticated_per_s=1, limits__unauthenticated_burst=8) as d:
        w = Wallet("often")
        entry = d.ask("POST", "/v1/deposit").json["accepts"][0]
        said = [d.ask("POST", "/v1/deposit", headers=payment_v1(w, entry, BASE)).status for _ in range(16)]
        assert said == [200] * 16, said
        said = [d.ask("POST", "/v1/deposit", headers=payment_v1(w, entry, BASE, value="1")).status for _ in range(16)]
        assert said[:4] == [402] * 4 and said[-2:] == [429] * 2, said


def a_settlement_that_is_refused_is_told_with_its_receipt():
    d, f = _daemon()
    f.mode = "refuse"
    for version in (1, 2):
        w = Wallet(f"refused {version}")
        a = d.ask("GET", ONE, headers=_pay(d, "GET", ONE, None, w, version))
        assert a.status == 402 and a.json["error"] == "insufficient_funds", a.body
        r = _receipt(a, version)
        assert r["success"] is False and r["errorReason"] == "insufficient_funds" and r["transaction"] == "", r
        assert d.operator("GET", "/v1/admin/accounts?account=" + _account(w)).status == 404


def what_is_not_settled_in_time_is_told_as_pending_and_can_be_asked_for():
    d, f = _daemon()
    f.mode = "hold"
    w = Wallet("late")
    headers = _pay(d, "POST", "/v1/deposit", None, w, 2)
    a = d.ask("POST", "/v1/deposit", headers=headers)
    assert a.status == 202 and a.headers["location"] == "/v1/payments/" + a.json["payment_id"], (a.status, a.body)
    assert a.json["state"] in ("reserved", "verified", "submitted"), a.json
    s = d.ask("GET", a.headers["location"])
    assert s.status == 200 and s.json["payment_id"] == a.json["payment_id"] and s.json["state"] == "submitted", s.body
    f.go.set()
    until(lambda: d.ask("GET", "/api" + a.headers["location"]).json["state"] == "settled")
    done = d.ask("POST", "/v1/deposit", headers=headers)
    assert done.status == 200 and done.json["balance"] == "0.100000000" and len(f.settled) == 1, done.body
    assert d.ask("GET", "/v1/payments/" + "0" * 32).status == 404
    f.go.clear()


def one_payment_sent_many_times_at_once_is_one():
    d, f = _daemon()
    w = Wallet("many")
    headers = _pay(d, "GET", ONE, None, w, 1)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(d.ask("GET", ONE, headers=headers))) for _ in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {a.status for a in answers} == {200}, [(a.status, a.body) for a in answers if a.status != 200][:2]
    assert len({a.body for a in answers}) == 1 and len(f.settled) == 1
    d.settled(_account(w), Decimal("0.0001"))


def the_surplus_of_a_dearer_entry_is_credited():
    d, f = _daemon()
    w = Wallet("surplus")
    feeds = [{"feed_type": "SOL/USD"}] * 13  # 13 x 0.00008: 1040 base units, no rounding; a deposit of an odd amount has one
    a = d.ask("POST", "/v1/ingest-data/batch", feeds, headers=_pay(d, "POST", "/v1/ingest-data/batch", feeds, w, 1))
    assert a.status == 200 and a.json["charged"] == "0.001040000" and a.json["balance"] == "0.000000000", a.body
    path = "/v1/deposit?amount=0.0100001"
    a = d.ask("POST", path, headers=_pay(d, "POST", path, None, w, 1))
    assert a.status == 200 and a.json["credited"] == "0.010001000", a.body


def what_goes_stale_while_it_is_paid_for_is_not_charged_and_the_money_stays():
    d, f = _daemon()
    own = Sim()
    with own, Daemon(own, payments__facilitator=f.url, payments__networks=[{"name": "base", "pay_to": PAY_TO}]) as d:
        for method, path, body in (("GET", "/v1/ingest-data?feed=SOL/USDT@binance&max_age_ms=1500", None),
                                   ("POST", "/v1/ingest-data/batch", [{"feed_type": "SOL/USDT@binance", "data_params": {"max_age_ms": 1500}}, {"feed_type": "SOL/USD"}])):
            f.mode = "hold"
            f.settled.clear()
            w = Wallet("stale" + path)
            headers = _pay(d, method, path, body, w, 2)
            answers = []
            t = threading.Thread(target=lambda: answers.append(d.ask(method, path, body, headers=headers)))
            t.start()
            until(lambda: f.settled)
            own.trouble("mute", seconds=60)
            until(lambda: d.feeds()["SOL/USDT@binance"]["age_ms"] > 1600)
            assert d.ask(method, path, body, headers=_pay(d, method, path, body, Wallet("too late"), 2)).status == 503 and len(f.settled) == 1, "told before its payment is looked at"
            f.go.set()
            t.join()
            f.go.clear()
            a = answers[0]
            assert a.status == 503 and a.json["code"] == "stale" and "account" in a.json["detail"], (a.status, a.body)
            assert _receipt(a, 2)["success"] is True and "retry-after" in a.headers
            account = d.account(_account(w))
            assert account["credited"] == account["balance"] > 0 and account["leased"] == account["consumed"] == 0, account
            own.trouble("clear")
            until(lambda: d.feeds()["SOL/USDT@binance"]["age_ms"] < 1000)


def a_client_id_names_one_payment():
    d, f = _daemon()
    w = Wallet("named")
    a = d.ask("POST", "/v1/deposit")
    offer = _v2(a)
    named = {"payment-identifier": {"info": {"required": False, "id": "order-0123456789abcdef"}, "schema": {}}}
    first = payment_v2(w, offer, offer["accepts"][0], named)
    assert d.ask("POST", "/v1/deposit", headers=first).status == 200
    assert d.ask("POST", "/v1/deposit", headers=payment_v2(w, offer, offer["accepts"][0], named)).status == 409
    assert len(f.settled) == 1


def a_transfer_made_alone_wants_proof_and_a_chain_that_can_be_asked():
    d, f = _daemon()
    body = {"tx_hash": "0x" + "ab" * 32, "network": "base"}
    a = d.ask("POST", "/v1/x402/verify-payment", body)
    assert a.status == 415, "no rpc, no look"
    assert d.ask("POST", "/v1/x402/verify-payment", {**body, "network": "nowhere"}).status == 400
    assert d.ask("POST", "/v1/x402/verify-payment", {**body, "tx_hash": "x"}).status == 400
    assert d.ask("POST", "/v1/x402/verify-payment", "{").status == 400


def _end():
    _shared["daemon"].stop()
    _shared["sim"].end()
    assert _shared["daemon"].audit()["agree"] is True


if __name__ == "__main__":
    run(globals(), _end)
