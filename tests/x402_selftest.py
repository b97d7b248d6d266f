#!/usr/bin/env python3
"""The payment rig on its own: stock agents buy from a plain seller over the stock facilitator and our chain.  Whoever fails here says nothing about
Kamiyo, and whoever passes may judge it.   x402_selftest.py; exit 77 where the rig cannot run."""
import base64
import http.client
import json
import sys
import time
import traceback
import urllib.error
import urllib.request

from x402_rig import MissingRig, Node, Refused, Rig


def get(url, headers=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=20) as r:
            return r.status, dict(r.headers), r.read()
    except urllib.error.HTTPError as e:
        return e.code, dict(e.headers), e.read()


# modes whose answer claims that all went well
HAPPY = {"honest", "slow", "late", "nulls", "huge", "lies", "lies_empty", "other_payment", "other_payer", "other_network"}


def settle(rig, payment, entry):
    """What the facilitator says, or None if that is not an object of JSON."""
    body = json.dumps({"x402Version": payment["x402Version"], "paymentPayload": payment, "paymentRequirements": entry}).encode()
    request = urllib.request.Request(rig.facilitator_url + "/settle", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as r:
            said = json.loads(r.read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return said if isinstance(said, dict) else None


def decoded(text):
    return json.loads(base64.b64decode(text))


def stock_agents_of_both_protocols_pay_unmodified(rig, url):
    for agent, header in (("v1", "x-payment-response"), ("v2", "payment-response")):
        before = len(rig.received(1))
        got = rig.ask(agent, 1, "GET", url + "/paid?amount=10000")
        assert got.status == 200 and got.asked == [402, 200] and got.json == {"sold": True}, (got.status, got.body)
        receipt = decoded(got.headers[header])
        assert receipt["success"] and receipt["payer"].lower() == rig.address(1).lower(), receipt
        assert rig.received(1)[before:] == [10000]


def stock_agents_refuse_what_is_too_dear(rig, url):
    for agent, amount in (("v1", 100001), ("v2", 1000001)):
        try:
            rig.ask(agent, 2, "GET", f"{url}/paid?amount={amount}")
            raise AssertionError(f"{agent} paid {amount}")
        except Refused:
            pass
        assert rig.ask(agent, 2, "GET", f"{url}/paid?amount={amount - 1}").status == 200


def a_v2_agent_signs_in_without_paying(rig, url):
    got = rig.ask("v2", 3, "GET", url + "/signin", signin=True)
    assert got.status == 200 and got.json["isValid"] and got.json["payer"].lower() == rig.address(3).lower() and got.payment is None, got.body
    assert rig.received(3) == []


def an_authorization_is_good_once(rig, url):
    payment = rig.ask("v1", 4, "GET", url + "/paid").payment
    status, _, body = get(url + "/paid", payment)
    assert status == 402 and b"nonce_already_used" in body, body
    assert rig.received(4) == [10000]


def a_bent_signature_is_refused(rig, url):
    entry = json.loads(get(url + "/paid")[2])["accepts"][0]
    for bend in ("high_s", "low_v", "short", "zero"):
        made = rig.chain("pay", key=rig.key(5), entry=entry, over={"bend": bend})
        assert get(url + "/paid", {made["name"]: made["header"]})[0] == 402, bend
    made = rig.chain("pay", key=rig.key(5), entry=entry)
    assert get(url + "/paid", {made["name"]: made["header"]})[0] == 200
    assert rig.received(5) == [10000]


def a_contract_wallet_pays(rig, url):
    wallet = rig.at["contractWallet"]
    entry = json.loads(get(url + "/paid")[2])["accepts"][0]
    made = rig.chain("pay", key=wallet["owner"]["key"], entry=entry, over={"from": wallet["address"]})
    assert get(url + "/paid", {made["name"]: made["header"]})[0] == 200
    made = rig.chain("pay", key=rig.key(6), entry=entry, over={"from": wallet["address"]})
    assert get(url + "/paid", {made["name"]: made["header"]})[0] == 402, "not the owner's signature"


def what_is_cancelled_or_submitted_by_another_cannot_be_settled(rig, url):
    entry = json.loads(get(url + "/paid")[2])["accepts"][0]
    made = rig.chain("pay", key=rig.key(7), entry=entry)
    nonce = made["payment"]["payload"]["authorization"]["nonce"]
    assert rig.chain("cancel", key=rig.key(7), nonce=nonce)["success"]
    assert rig.chain("used", address=rig.address(7), nonce=nonce)["used"]
    assert get(url + "/paid", {made["name"]: made["header"]})[0] == 402
    assert rig.received(7) == []
    made = rig.chain("pay", key=rig.key(7), entry=entry)
    assert rig.chain("submit", key=rig.key(8), **made["payment"]["payload"])["success"]
    assert get(url + "/paid", {made["name"]: made["header"]})[0] == 402
    assert rig.received(7) == [10000]


def a_token_can_lie(rig, url):
    made = rig.chain("authorize", key=rig.key(9), value=5, asset=rig.at["liar"])
    for which, moved in ((1, []), (1, []), (2, [4])):
        rig.chain("lie", key=rig.key(8), which=which)
        if which == 2:
            made = rig.chain("authorize", key=rig.key(9), value=5, asset=rig.at["liar"])
        tx = rig.chain("submit", key=rig.key(8), asset=rig.at["liar"], authorization=made["authorization"], signature=made["signature"])
        assert tx["success"]
        assert [int(t["value"]) for t in rig.chain("received", asset=rig.at["liar"])["transfers"]] == moved


def a_facilitator_misbehaves_when_told_to(rig, url):
    settles = {"slow", "late", "nulls", "settles_and_drops", "settles_and_errors", "settles_and_refuses", "settles_twice", "other_payer",
               "other_network", "pending", "honest", "huge"}
    modes = set(rig.facilitator.at["modes"])
    assert settles < modes
    entry = json.loads(get(url + "/paid")[2])["accepts"][0]
    for mode in sorted(modes - {"hangs"}):
        rig.mode(mode, ms=10)
        before = len(rig.received(10))
        made = rig.chain("pay", key=rig.key(10), entry=entry)
        said = settle(rig, made["payment"], entry)
        assert len(rig.received(10)) - before == (1 if mode in settles else 0), mode
        assert rig.counts()["settles"] == 1, mode
        assert (said is not None and said.get("success") is True) == (mode in HAPPY), (mode, said)
    rig.mode("drops", times=1)
    made = rig.chain("pay", key=rig.key(10), entry=entry)
    assert settle(rig, made["payment"], entry) is None
    assert settle(rig, made["payment"], entry)["success"], "only the first time"
    rig.mode()


def stock_agents_pay_on_solana(rig, url):
    if not rig.solana:
        print("     no Solana for this processor")
        return
    seller = Node("seller", first={"chain": rig.solana.at, "facilitator": rig.facilitator_url})
    rig.all.append(seller)
    for i, (agent, header) in enumerate((("v1", "x-payment-response"), ("v2", "payment-response"))):
        got = rig.ask_solana(agent, i, "GET", seller.at["url"] + "/paid?amount=10000")
        assert got.status == 200 and got.asked == [402, 200], (agent, got.status, got.body)
        receipt = decoded(got.headers[header])
        assert receipt["success"] and receipt["payer"] == rig.solana.at["wallets"][i]["address"], receipt
        assert rig.solana("balance", address=rig.solana.at["payTo"])["value"] == str(10000 * (i + 1))
        found = rig.solana("rpc", method="getTransaction", params=[receipt["transaction"], {"encoding": "json"}])["result"]
        moved = [int(b["uiTokenAmount"]["amount"]) for b in found["meta"]["postTokenBalances"] if b["owner"] == rig.solana.at["payTo"]]
        assert found["meta"]["err"] is None and moved == [10000 * (i + 1)], found["meta"]
        assert get(seller.at["url"] + "/paid?amount=10000", got.payment)[0] == 402, "a transaction is good once"
    got = rig.ask_solana("v2", 3, "GET", seller.at["url"] + "/signin", signin=True)
    assert got.status == 200 and got.json["isValid"] and got.payment is None, got.body


def many_at_once(rig, url):
    rig.mode()
    waiting = [rig.begin(("v1", "v2")[i % 2], 11 + i % 4, "GET", url + "/paid?amount=7") for i in range(24)]
    assert [w().status for w in waiting] == [200] * 24
    assert sum(len(rig.received(w)) for w in range(11, 15)) == 24
    assert abs(rig.now() - time.time()) < 5, "the chain's clock ran away"


def main():
    try:
        rig = Rig(solana=True)
    except MissingRig as e:
        print("skipped:", e)
        return 77
    failed = 0
    with rig:
        seller = Node("seller", first={"chain": rig.at, "facilitator": rig.facilitator_url})
        rig.all.append(seller)
        url = seller.at["url"]
        for name, rule in list(globals().items()):
            if not callable(rule) or getattr(rule, "__code__", None) is None or rule.__code__.co_varnames[:2] != ("rig", "url"):
                continue
            start = time.monotonic()
            try:
                rule(rig, url)
                verdict = "ok  "
            except Exception:
                traceback.print_exc(file=sys.stdout)
                verdict, failed = "FAIL", failed + 1
            print(f"{verdict} {time.monotonic() - start:5.1f} s  {name.replace('_', ' ')}", flush=True)
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
