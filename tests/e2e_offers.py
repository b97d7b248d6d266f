#!/usr/bin/python3
"""What a client without money is told: the 402 of every paid route, in both generations of x402 at once, and what is refused before any money is looked at.

The facilitator is an address at which nobody answers: nothing is ever settled here.
usage: see harness.py
"""
import base64
import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Daemon, Sim, read_answer, run  # noqa: E402
from x402_sign import Wallet  # noqa: E402

PAY_TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
SOLANA = {"name": "solana", "pay_to": "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL"}
FEE_PAYER = "L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95"
NOBODY = "http://127.0.0.1:9/facilitator"
NETWORKS = [{"name": "base", "pay_to": PAY_TO}, {"name": "ethereum", "pay_to": PAY_TO}, {**SOLANA, "fee_payer": FEE_PAYER}]
URL = "https://feed.example"
# What the legacy client knows (its zod rules), one unknown name breaks it for all.
V1_NETWORKS = {"abstract", "abstract-testnet", "base-sepolia", "base", "avalanche-fuji", "avalanche", "iotex", "solana-devnet", "solana", "sei",
               "sei-testnet", "polygon", "polygon-amoy", "peaq", "story", "educhain", "skale-base-sepolia"}
FIVE = [{"feed_type": "SOL/USD"}] * 5
_shared = {}
_made = []


def _daemon(**settings):
    if "sim" not in _shared:
        _shared["sim"] = Sim()
    d = Daemon(_shared["sim"], **settings)
    _made.append(d)
    return d


def _seller():
    if "seller" not in _shared:
        _shared["seller"] = _daemon(public__url=URL, payments__facilitator=NOBODY, payments__networks=NETWORKS)
    return _shared["seller"]


def _raw(d, method, path, body=b"", headers=()):
    """One request with exactly these header lines: (answer, bytes of it)."""
    s = d.connect()
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers)]
    if not any(k.lower() == "host" for k, _ in headers):
        lines.append("Host: a.example")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    got = b""
    while b"\r\n\r\n" not in got:
        got += s.recv(65536)
    answer, rest = read_answer(_Replay(s, got), head=method == "HEAD")
    assert rest == b""
    s.close()
    return answer, got.index(b"\r\n\r\n") + 4 + len(answer.body)


class _Replay:
    def __init__(self, sock, got):
        self.sock, self.got = sock, got

    def recv(self, n):
        if self.got:
            got, self.got = self.got, b""
            return got
        return self.sock.recv(n)


def _v1(answer):
    """The v1 offer, judged as the legacy client does."""
    offer = answer.json
    assert offer["x402Version"] == 1 and isinstance(offer["error"], str) and offer["accepts"], offer
    for e in offer["accepts"]:
        assert set(e) == {"scheme", "network", "maxAmountRequired", "resource", "description", "mimeType", "payTo", "maxTimeoutSeconds", "asset", "extra"}, e
        assert e["scheme"] == "exact" and e["network"] in V1_NETWORKS and re.fullmatch(r"\d+", e["maxAmountRequired"]), e
        assert re.match(r"https?://", e["resource"]) and isinstance(e["maxTimeoutSeconds"], int), e
        assert re.fullmatch(r"0x[0-9a-fA-F]{40}|[1-9A-HJ-NP-Za-km-z]{32,44}", e["payTo"]), e
    return offer


def _v2(answer):
    """The v2 offer, judged as the stock client does."""
    header = answer.headers["payment-required"]
    assert re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", header)
    offer = json.loads(base64.b64decode(header, validate=True))
    assert offer["x402Version"] == 2 and offer["resource"]["url"] and offer["accepts"], offer
    for e in offer["accepts"]:
        assert set(e) == {"scheme", "network", "amount", "asset", "payTo", "maxTimeoutSeconds", "extra"}, e
        assert e["scheme"] == "exact" and ":" in e["network"] and re.fullmatch(r"\d+", e["amount"]) and e["maxTimeoutSeconds"] > 0, e
    for x in offer.get("extensions", {}).values():
        assert isinstance(x["info"], dict) and isinstance(x["schema"], dict)
    return offer


def _amounts(offer, key):
    return [(e["network"].split(":")[0], int(e[key])) for e in offer["accepts"]]


# method, path, body, required, resource
ROUTES = [
    ("GET", "/v1/ingest-data?feed=SOL/USD", None, "0.000100000", "/v1/ingest-data"),
    ("GET", "/api/v1/ingest-data?feed=solana-price", None, "0.000100000", "/v1/ingest-data"),
    ("POST", "/v1/ingest-data", {"feed_type": "SOL/USD"}, "0.000100000", "/v1/ingest-data"),
    ("POST", "/v1/ingest-data/batch", FIVE, "0.000500000", "/v1/ingest-data/batch"),
    ("POST", "/v1/ingest-data/batch", FIVE * 4, "0.001600000", "/v1/ingest-data/batch"),
    ("GET", "/v1/stream?feeds=SOL/USD", None, "0.000001000", "/v1/stream"),
    ("GET", "/v1/history?feed=SOL/USD&limit=1", None, "0.000100000", "/v1/history"),
    ("GET", "/v1/history?feed=SOL/USD&limit=1000", None, "0.001000000", "/v1/history"),
    ("GET", "/v1/compare?feed=SOL/USD", None, "0.000100000", "/v1/compare"),
    ("GET", "/v1/snapshot", None, None, "/v1/snapshot"),
    ("POST", "/v1/passes", {"feeds": ["SOL/USD"]}, "0.010000000", "/v1/passes"),
    ("POST", "/v1/deposit", None, "0.100000000", "/v1/deposit"),
    ("POST", "/v1/deposit?amount=25.50", None, "25.500000000", "/v1/deposit"),
    ("POST", "/v1/tokens", None, "0.100000000", "/v1/tokens"),
]
EVENTS = {"Accept": "text/event-stream"}


def every_paid_route_offers_both_generations_in_less_than_4_kib():
    d = _seller()
    sizes = []
    for method, path, body, required, resource in ROUTES:
        data = b"" if body is None else json.dumps(body).encode()
        a, size = _raw(d, method, path, data, EVENTS.items())
        assert a.status == 402, (path, a.status, a.body)
        assert size < 4096, (path, size)
        sizes.append(size)
        j = a.json
        assert a.headers["content-type"] == "application/json" and a.headers["cache-control"] == "no-store"
        assert (j["type"], j["status"], j["code"]) == ("urn:kamiyo:error:payment_required", 402, "payment_required"), j
        assert j["title"] and j["detail"] and required in (None, j["required"]), j
        assert j["deposit"] == {"url": URL + "/v1/deposit", "amounts": ["0.100000000", "1.000000000"]}
        v1, v2 = _v1(a), _v2(a)
        assert {e["resource"] for e in v1["accepts"]} == {URL + resource}, (path, v1)
        assert v2["resource"]["url"] == URL + resource
        assert ("sign-in-with-x" in v2["extensions"]) == (path == "/v1/tokens"), path
        assert {e["network"] for e in v1["accepts"]} == {"base", "solana"} and len({e["network"] for e in v2["accepts"]}) == 3, path
    print("bytes of the 402s:", *sizes)


def accepts_holds_the_routes_price_and_deposits_begin_with_010():
    d = _seller()
    a = d.ask("GET", "/v1/ingest-data?feed=SOL/USD")
    assert _amounts(_v1(a), "maxAmountRequired") == [("base", 100), ("solana", 100)]
    assert _amounts(_v2(a), "amount") == [("eip155", 100), ("eip155", 1000000), ("solana", 100)], "ethereum takes no less than a dollar"
    a = d.ask("POST", "/v1/deposit")
    assert _amounts(_v1(a), "maxAmountRequired")[:2] == [("base", 100000), ("solana", 100000)]
    v2 = _amounts(_v2(a), "amount")
    assert v2[:3] == [("eip155", 100000), ("eip155", 1000000), ("solana", 100000)] and ("eip155", 1000000) in v2[3:], v2
    a = d.ask("POST", "/v1/deposit?amount=25.5")
    assert {e["maxAmountRequired"] for e in _v1(a)["accepts"]} == {"25500000"}
    assert {e["amount"] for e in _v2(a)["accepts"]} == {"25500000"}


def three_networks_of_v1_fit_as_well_each_at_the_first_amount():
    d = _daemon(public__url=URL, payments__facilitator=NOBODY, wait=False,
                payments__networks=[NETWORKS[0], {"name": "polygon", "pay_to": PAY_TO}, NETWORKS[2]])
    for path in ("/v1/deposit", "/v1/tokens"):
        a, size = _raw(d, "POST", path)
        assert size < 4096, size
        assert _amounts(_v1(a), "maxAmountRequired")[:3] == [("base", 100000), ("polygon", 100000), ("solana", 100000)], path
        assert len({e["network"] for e in _v2(a)["accepts"]}) == 3, path


def what_is_not_offered_is_told_in_the_log_and_no_deposit_asks_for_it():
    base = {"name": "base", "pay_to": PAY_TO}
    rpc = {"rpc": NOBODY}
    for settings, lines in (
            ({}, []),
            ({"payments__facilitator": NOBODY}, ["payments.networks is empty"]),
            ({"payments__networks": [base]}, ["nor a payments.settler_key_file to do it ourselves; nor are transfers credited"]),
            ({"payments__networks": [{**base, **rpc}]}, ["nor a payments.settler_key_file to do it ourselves; transfers count (POST /v1/x402/verify-payment)"]),
            ({"payments__facilitator": NOBODY, "payments__networks": [SOLANA]},
             ["payments.networks[0] (solana) is not offered: without fee_payer", "none of payments.networks can be"]),
            ({"payments__facilitator": NOBODY, "payments__networks": [base, SOLANA]},
             ["payments.networks[1] (solana) is not offered: without fee_payer"])):
        with Daemon(**settings) as d:
            told = [line for line in d.stderr().splitlines() if "offered" in line]
            assert len(told) == len(lines) and all(a in b for a, b in zip(lines, told)), (settings, told)
            a = d.ask("POST", "/v1/deposit")
            offered = bool(settings) and "base" in str(settings.get("payments__networks")) and "payments__facilitator" in settings
            assert a.status == 402 and ("pay one of these amounts" in a.json["detail"]) == offered == ("accepts" in a.json), a.body
            assert offered or "payments are not offered here" in a.json["detail"], a.body


def a_spent_account_gets_the_same_offers_with_its_balance():
    d = _seller()
    token = d.mint("local:poor", "0.0000005")
    for method, path, body, required, resource in ROUTES[:11]:
        a = d.ask(method, path, body, token=token, headers=EVENTS)
        j = a.json
        assert a.status == 402 and j["code"] == "insufficient_balance" and j["balance"] == "0.000000500", (path, j)
        assert required in (None, j["required"])
        assert _v2(a)["resource"]["url"] == URL + resource and _v1(a)


def the_host_header_is_never_echoed():
    d = _seller()
    for host in ("evil.example", "feed.example.evil.example", "127.0.0.1:1"):
        for method, path in (("POST", "/v1/tokens"), ("GET", "/v1/ingest-data?feed=SOL/USD"), ("GET", "/.well-known/x402")):
            a, _ = _raw(d, method, path, headers=[("Host", host), ("X-Forwarded-Host", host), ("Forwarded", "host=" + host), ("Origin", "https://" + host)])
            text = a.body.decode() + base64.b64decode(a.headers.get("payment-required", "")).decode()
            assert host not in text and URL in text, (path, text)
            assert host not in str(a.headers), a.headers


def without_a_public_url_the_bound_address_is_the_resource():
    d = _daemon(payments__facilitator=NOBODY, payments__networks=NETWORKS)
    a = d.ask("POST", "/v1/deposit")
    assert _v2(a)["resource"]["url"] == "http://%s:%d/v1/deposit" % d.public


def a_sign_in_is_offered_for_our_origin_with_a_nonce_of_its_own():
    d = _seller()
    infos = [_v2(d.ask("POST", "/v1/tokens"))["extensions"]["sign-in-with-x"] for _ in range(3)]
    assert len({x["info"]["nonce"] for x in infos}) == 3
    for x in infos:
        assert x["info"]["domain"] == "feed.example" and x["info"]["uri"] == URL + "/v1/tokens" and x["info"]["version"] == "1"
        assert re.fullmatch(r"[A-Za-z0-9]{8,128}", x["info"]["nonce"])
        assert {c["type"] for c in x["supportedChains"]} == {"eip191", "ed25519"} and len(x["supportedChains"]) == 3


def head_has_the_offer_and_no_body():
    d = _seller()
    a, size = _raw(d, "HEAD", "/v1/ingest-data?feed=SOL/USD")
    assert a.status == 402 and a.body == b"" and _v2(a)["accepts"] and size < 4096
    a, _ = _raw(d, "HEAD", "/v1/ingest-data?feed=SOL/USD", headers=[("X-PAYMENT", "e30=")])
    assert a.status == 402, "who wants no body buys nothing"


def browsers_may_read_the_offers_and_send_payments():
    d = _seller()
    a = d.ask("GET", "/v1/ingest-data?feed=SOL/USD", headers={"Origin": "https://app.example"})
    exposed = {h.strip().upper() for h in a.headers["access-control-expose-headers"].split(",")}
    assert a.headers["access-control-allow-origin"] == "*" and "access-control-allow-credentials" not in a.headers
    assert exposed >= {"PAYMENT-REQUIRED", "PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE", "RETRY-AFTER", "RATELIMIT"}
    for path in ("/v1/ingest-data", "/v1/deposit", "/v1/tokens", "/v1/payments/0123456789abcdef0123456789abcdef"):
        a = d.ask("OPTIONS", path, headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"})
        allowed = {h.strip().upper() for h in a.headers["access-control-allow-headers"].split(",")}
        assert a.status == 204 and allowed >= {"AUTHORIZATION", "X-PAYMENT", "PAYMENT-SIGNATURE", "SIGN-IN-WITH-X", "ACCESS-CONTROL-EXPOSE-HEADERS"}


def without_a_facilitator_there_are_no_offers():
    d = _daemon(public__url=URL, payments__networks=[{**NETWORKS[0], "rpc": "http://127.0.0.1:9"}, NETWORKS[1]])
    for method, path, body, required, _ in ROUTES:
        a = d.ask(method, path, body, headers=EVENTS)
        j = a.json
        assert a.status == 402 and required in (None, j["required"]) and "payment-required" not in a.headers, (path, a.headers)
        assert not {"x402Version", "accepts", "deposit"} & set(j), j
        assert j["transfer"]["then"] == URL + "/v1/x402/verify-payment", j
        assert [(n["network"], n["pay_to"]) for n in j["transfer"]["networks"]] == [("eip155:8453", PAY_TO)], "only chains that can be asked"
        a = d.ask(method, path, body, headers={**EVENTS, "X-PAYMENT": "e30="})
        assert a.status == 402 and "x402Version" not in a.json, a.body
    signin = [d.ask("POST", "/v1/tokens").json["sign-in-with-x"] for _ in range(2)]
    assert signin[0]["info"]["domain"] == "feed.example" and signin[0]["info"]["nonce"] != signin[1]["info"]["nonce"], "who sent money alone signs in too"
    assert "sign-in-with-x" not in d.ask("POST", "/v1/deposit").json
    a = d.ask("POST", "/v1/tokens", headers={"SIGN-IN-WITH-X": Wallet("new").sign_in(signin[0])})
    assert a.status == 402 and "no account" in a.json["detail"] and "accepts" not in a.json, a.body
    none = _daemon().ask("POST", "/v1/tokens").json
    assert not {"transfer", "sign-in-with-x"} & set(none), none


def solana_without_a_fee_payer_is_not_offered():
    d = _daemon(payments__facilitator=NOBODY, payments__networks=[SOLANA, NETWORKS[0]])
    a = d.ask("POST", "/v1/deposit?amount=1")
    assert _amounts(_v1(a), "maxAmountRequired") == [("base", 1000000)] and len(_v2(a)["accepts"]) == 1
    a = _daemon(payments__facilitator=NOBODY, payments__networks=[SOLANA]).ask("POST", "/v1/deposit")
    assert a.status == 402 and "accepts" not in a.json


def what_is_wrong_with_a_request_is_said_before_its_payment_is_looked_at():
    d = _seller()
    paid = {"X-PAYMENT": base64.b64encode(b'{"x402Version":1}').decode()}
    for method, path, body, status in (("GET", "/v1/ingest-data?feed=NO/SUCH", None, 404), ("GET", "/v1/ingest-data", None, 400),
                                       ("GET", "/v1/ingest-data?feed=SOL/USD&max_age_ms=x", None, 400), ("POST", "/v1/ingest-data", "{", 400),
                                       ("POST", "/v1/ingest-data/batch", "{", 400), ("POST", "/v1/deposit?amount=0.001", None, 400),
                                       ("POST", "/v1/deposit?amount=1001", None, 400), ("POST", "/v1/deposit?amount=-1", None, 400),
                                       ("POST", "/v1/deposit?amount=1&amount=2", None, 400), ("POST", "/v1/deposit?amount=", None, 400),
                                       ("GET", "/v1/deposit", None, 405), ("GET", "/v1/nowhere", None, 404)):
        for headers in ({}, paid):
            a = d.ask(method, path, body, headers=headers)
            assert a.status == status, (method, path, a.status, a.body)


def a_payment_that_cannot_be_one_is_refused_with_the_reason():
    d = _seller()
    value = base64.b64encode(b'{"x402Version":1}').decode()
    routes = (("/v1/ingest-data?feed=SOL/USD", "GET"), ("/v1/deposit", "POST"), ("/v1/tokens", "POST"), ("/v1/compare?feed=SOL/USD", "GET"),
              ("/v1/history?feed=SOL/USD", "GET"), ("/v1/snapshot", "GET"), ("/v1/stream?feeds=SOL/USD", "GET"), ("/v1/passes", "POST"))
    for path, method in routes:
        body = b'{"feeds":["SOL/USD"]}' if path == "/v1/passes" else b""
        for headers, word in (([("X-PAYMENT", value), ("PAYMENT-SIGNATURE", value)], "together"), ([("X-PAYMENT", value), ("x-payment", value)], "2 times"),
                              ([("PAYMENT-SIGNATURE", value)] * 3, "3 times")):
            a, _ = _raw(d, method, path, body, [*EVENTS.items(), *headers])
            assert a.status == 400 and word in a.json["detail"] and "payment-required" not in a.headers, (path, a.body)
        for headers, word in (([("X-PAYMENT", "A" * 12289)], "12289 bytes"), ([("PAYMENT-SIGNATURE", "")], "empty")):
            a, _ = _raw(d, method, path, body, [*EVENTS.items(), *headers])
            assert a.status == 402 and word in a.json["detail"] and a.json["error"] == "invalid_payload" and _v2(a)["error"] == "invalid_payload", a.body


def payments_are_looked_at_only_where_something_is_sold_for_them():
    d = _seller()
    twice = [("X-PAYMENT", "e30="), ("PAYMENT-SIGNATURE", "e30=")]
    for path in ("/v1/feeds", "/v1/sources", "/.well-known/x402", "/"):
        assert _raw(d, "GET", path, headers=twice)[0].status == 200
    a = d.ask("POST", "/v1/x402/verify-payment", {"tx_hash": "0x" + "ab" * 32, "network": "base"}, headers={"X-PAYMENT": "e30="})
    assert a.status == 415, "no rpc, whatever stands beside it"


def unpaid_requests_count_by_address_and_refused_payments_too():
    d = _daemon(payments__facilitator=NOBODY, payments__networks=NETWORKS, limits__unauthenticated_per_s=1, limits__unauthenticated_burst=10, wait=False)
    said = [d.ask("POST", "/v1/deposit", headers=h).status for h in ({}, {"X-PAYMENT": "A" * 12289}) * 8]
    assert said.count(402) in (10, 11, 12) and set(said[-2:]) == {429}, said


def where_we_are_paid_can_be_looked_up():
    d = _seller()
    a = d.ask("GET", "/.well-known/x402")
    j = a.json
    assert a.status == 200 and j["x402Version"] == [1, 2] and URL + "/v1/deposit" in j["resources"], j
    assert [n["network"] for n in j["networks"]] == ["eip155:8453", "eip155:1", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"]
    none = _daemon(public__url=URL).ask("GET", "/.well-known/x402").json
    assert none["resources"] == [] and none["networks"] == []


def a_payment_nobody_made_is_not_found():
    d = _seller()
    assert d.ask("GET", "/v1/payments/nonsense").status == 400
    assert d.ask("GET", "/v1/payments/").status == 404


def _end():
    for d in _made:
        d.stop()
    _shared["sim"].end()


if __name__ == "__main__":
    run(globals(), _end)
