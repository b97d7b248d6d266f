#!/usr/bin/env python3
"""Money on a live socket: what a stream that runs dry is told, the `pay` message and what comes of it, and that the stream goes on where it stopped,
whoever brought the money and by whichever way.  See harness.py.

The facilitator is a stand-in that does as it is told; no chain is asked (the networks have no rpc).  tests/e2e_pay.py has the stock agents and a chain.
"""
import base64
import hashlib
import json
import signal
import time
from decimal import Decimal

from e2e_sse import Sse
from harness import FEEDS, TICK_USD, Closed, Daemon, Sim, run, until
from x402_facilitator import Facilitator
from x402_sign import Wallet, payment_v1, payment_v2

BTC, _ = FEEDS
PAY_TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
BASE = 8453
ASK_USD = Decimal("0.10")
_shared = {}


def _sell(**more):
    if "sim" not in _shared:
        _shared["sim"], _shared["facilitator"] = Sim(200), Facilitator()
    settings = {"payments__timeout": "20s", "payments__networks": [{"name": "base", "pay_to": PAY_TO}], "shards__count": 2,
                "payments__facilitator": _shared["facilitator"].url, **more}
    return Daemon(_shared["sim"], **settings)


def _daemon():
    if "daemon" not in _shared:
        _shared["daemon"] = _sell()
    _mode("ok")
    return _shared["daemon"], _shared["facilitator"]


def _mode(mode):
    f = _shared["facilitator"]
    f.mode = mode
    f.settled.clear()
    f.go.clear()


def _wallet(d, usd):
    """A wallet with an account of so much, and its token."""
    w = Wallet(f"in-band {len(_shared)}")
    token = _shared[w.address] = d.mint(_account(w), usd)
    return w, token


def _account(w):
    return f"eip155:{BASE}:{w.address}"


def _header(payment):
    return next(iter(payment.values()))


def _signed(w, due, version=1, which=0, **more):
    """The text of a `pay` message, for an offer of a payment_required frame."""
    if version == 1:
        return _header(payment_v1(w, due["v1"]["accepts"][which], BASE, **more))
    return _header(payment_v2(w, due["v2"], due["v2"]["accepts"][which], **more))


def _offers(d):
    """As a payment_required frame has them, without one."""
    a = d.ask("POST", "/v1/deposit")
    return {"v1": a.json, "v2": json.loads(base64.b64decode(a.headers["payment-required"]))}


def _pay(ws, payment, id=3):
    ws.send({"op": "pay", "id": id, "payment": payment})


def _dry(d, usd="0.00003"):
    """A stream that has used up its balance: (wallet, it, the frame that said so)."""
    w, token = _wallet(d, usd)
    ws = d.ws(token)
    ws.subscribe(BTC)
    due = ws.next("payment_required")
    assert len(ws.ticks) == Decimal(usd) / TICK_USD, len(ws.ticks)
    return w, ws, due


def _charged(d, w, ws, credited):
    """Ends the stream: no tick is missing, each was paid once."""
    ws.close()
    assert not ws.gaps and not _other_of(ws, "payment_required")[1:], ws.other
    a = d.settled(_account(w), len(ws.ticks) * TICK_USD)
    assert a["credited"] == credited, a


def _other_of(ws, kind):
    return [e for e in ws.other if e["type"] == kind]


def _id_of(payment):
    """A payment's name, as docs/decisions/payments.md has it."""
    p = json.loads(base64.b64decode(payment))
    a = p["payload"]["authorization"]
    return hashlib.sha256(f"eip155:{BASE}|0x833589fcd6edb6e08f4c7c32d4f71b54bda02913|{a['from'].lower()}|{a['nonce'][2:].lower()}".encode()).hexdigest()[:32]


# --- what is told -----------------------------------------------------------------------------------

def a_stream_that_runs_dry_is_told_both_offers_of_a_deposit_once():
    d, _ = _daemon()
    _, ws, due = _dry(d)
    deposit = _offers(d)
    assert set(due) == {"type", "required", "balance", "v1", "v2"} and (due["required"], due["balance"]) == ("0.000001000", "0.000000000"), due
    assert due["v1"]["x402Version"] == 1 and due["v1"]["accepts"] == deposit["v1"]["accepts"], due["v1"]
    assert due["v2"]["x402Version"] == 2 and due["v2"]["error"] == due["v1"]["error"], due["v2"]
    assert {k: due["v2"][k] for k in ("resource", "accepts", "extensions")} == {k: deposit["v2"][k] for k in ("resource", "accepts", "extensions")}
    assert [e["amount"] for e in due["v2"]["accepts"]] == ["100000", "1000000"], due["v2"]
    ws.quiet()
    assert len(_other_of(ws, "payment_required")) == 1
    ws.drop()


def a_stream_of_events_is_told_the_same():
    d, _ = _daemon()
    w, token = _wallet(d, "0.00001")
    s = Sse(d, token, feeds=BTC)
    due = s.next("payment_required")
    assert due["v1"]["accepts"] == _offers(d)["v1"]["accepts"] and due["v2"]["accepts"] == _offers(d)["v2"]["accepts"], due
    a = d.ask("POST", "/v1/deposit", headers=payment_v2(w, due["v2"], due["v2"]["accepts"][0]))
    assert a.status == 200, a.body
    s.count(20)
    assert len(s.ticks) >= 30 and not s.gaps
    s.sock.close()


def without_payments_nothing_is_offered_and_pay_says_so():
    with Daemon(_shared["sim"]) as d:
        _, ws, due = _dry(d)
        assert set(due) == {"type", "required", "balance"}, due
        _pay(ws, "abcd")
        e = ws.next("error", id=3)
        assert (e["code"], e["retry"]) == ("unsupported", False) and "operator" in e["message"], e
        ws.drop()


# --- paid -------------------------------------------------------------------------------------------

def paid_on_the_socket_the_stream_goes_on_where_it_stopped():
    d, f = _daemon()
    for version, which, usd in ((1, 0, ASK_USD), (2, 1, Decimal(1))):
        w, ws, due = _dry(d)
        last = ws.at[BTC]
        _pay(ws, _signed(w, due, version, which), f"topup-{version}")
        p = ws.next("paid")
        assert set(p) == {"type", "id", "credited", "balance", "transaction"} and p["id"] == f"topup-{version}", p
        assert Decimal(p["credited"]) == usd and usd - Decimal("0.0005") <= Decimal(p["balance"]) <= usd and p["transaction"].startswith("0x"), p
        more = ws.count(100)
        assert more[0]["offset"] == last + 1 or ws.ticks[30]["offset"] == last + 1
        _charged(d, w, ws, usd + Decimal("0.00003"))
        assert len(f.settled) == version, f.settled


def a_stream_that_is_not_dry_goes_on_while_its_payment_settles():
    d, f = _daemon()
    w, token = _wallet(d, "1")
    ws, offers = d.ws(token), _offers(d)
    ws.subscribe(BTC)
    _mode("hold")
    _pay(ws, _signed(w, offers))
    ws.count(30)
    assert ws.balance() and not _other_of(ws, "paid")
    _pay(ws, _signed(w, offers, 2), 4)
    e = ws.next("error", id=4)
    assert (e["code"], e["retry"]) == ("limit_reached", True), e
    until(lambda: len(f.settled) == 1)
    f.go.set()
    assert ws.next("paid", id=3)["credited"] == "0.100000000"
    _mode("ok")
    _pay(ws, _signed(w, offers, 2), 5)
    assert ws.next("paid", id=5)["credited"] == "0.100000000" and len(f.settled) == 1
    _charged(d, w, ws, Decimal("1.2"))


def one_payment_on_two_sockets_and_by_http_credits_once():
    d, f = _daemon()
    w, one, due = _dry(d)
    two = d.ws(_shared[w.address])
    _mode("hold")
    payment = _signed(w, due)
    _pay(one, payment)
    until(lambda: len(f.settled) == 1)
    _pay(two, payment)
    two.quiet()
    f.go.set()
    a, b = one.next("paid"), two.next("paid")
    assert (a["transaction"], a["credited"]) == (b["transaction"], b["credited"]), (a, b)
    c = d.ask("POST", "/v1/deposit", headers={"X-PAYMENT": payment})
    assert c.status == 200 and c.json["transaction"] == a["transaction"] and "token" not in c.json, c.body
    _pay(two, payment, 9)
    assert two.next("paid", id=9)["transaction"] == a["transaction"] and len(f.settled) == 1
    one.count(20)
    two.close()
    _charged(d, w, one, ASK_USD + Decimal("0.00003"))


def a_socket_that_closes_loses_nothing():
    d, f = _daemon()
    w, ws, due = _dry(d)
    other = d.ws(_shared[w.address])
    _mode("hold")
    _pay(ws, _signed(w, due))
    until(lambda: len(f.settled) == 1)
    ws.drop()
    f.go.set()
    until(lambda: d.account(_account(w))["credited"] == ASK_USD + Decimal("0.00003"), text="credited")
    other.subscribe(BTC)
    other.count(20)
    other.close()


def money_from_elsewhere_lets_every_stream_of_the_account_go_on():
    """Several streams, so that both shards have some; a deposit by header, then an operator's grant."""
    d, _ = _daemon()
    w, token = _wallet(d, "0.00002")
    streams = [d.ws(token) for _ in range(8)]
    for ws in streams:
        ws.subscribe(BTC)
    for ws in streams:
        due = ws.next("payment_required")
    assert sum(len(ws.ticks) for ws in streams) == 20
    a = d.ask("POST", "/v1/deposit", headers=payment_v1(w, due["v1"]["accepts"][0], BASE))
    assert a.status == 200, a.body
    for ws in streams:
        ws.count(20)
        ws.close()
        assert not ws.gaps
    total = sum(len(ws.ticks) for ws in streams) * TICK_USD
    d.settled(_account(w), total)
    w, ws, _ = _dry(d)
    d.mint(_account(w), "0.5")
    ws.count(20)
    _charged(d, w, ws, Decimal("0.50003"))


# --- refused ----------------------------------------------------------------------------------------

def what_another_wallet_signed_is_not_taken():
    d, f = _daemon()
    w, ws, due = _dry(d)
    thief = Wallet("somebody else")
    for version in (1, 2):
        payment = _signed(thief, due, version)
        _pay(ws, payment, version)
        e = ws.next("error", id=version)
        assert (e["code"], e["retry"]) == ("payer_mismatch", False) and e["message"], e
        assert d.ask("GET", "/v1/payments/" + _id_of(payment)).status == 404, "nothing was reserved"
    assert f.settled == []
    mine = _signed(w, due)
    _pay(ws, mine, "mine")
    ws.next("paid", id="mine")
    assert d.ask("GET", "/v1/payments/" + _id_of(mine)).json["state"] == "settled"
    local = d.ws(d.mint("local:nobodys-wallet"))
    _pay(local, _signed(w, due))
    assert local.next("error", id=3)["code"] == "payer_mismatch"
    local.close()
    _charged(d, w, ws, ASK_USD + Decimal("0.00003"))


def a_bad_payment_is_refused_in_x402s_words_and_the_stream_stays():
    d, f = _daemon()
    w, ws, due = _dry(d)
    v1, v2 = due["v1"]["accepts"][0], due["v2"]["accepts"][0]
    good = json.loads(base64.b64decode(_signed(w, due)))
    forged = {**good, "payload": {**good["payload"], "signature": "0x" + "11" * 64 + "1b"}}
    f.strangers.add(w.address)  # a signature that is not the key's may be a contract wallet's: the facilitator is asked
    rows = [
        ("!!!!", "invalid_payload"), ("A" * 13000, "invalid_payload"), ("A" * 60000, "invalid_payload"), (base64.b64encode(b"{}").decode(), "invalid_x402_version"),
        (_header(payment_v1(w, {**v1, "maxAmountRequired": "99999"}, BASE)), "invalid_exact_evm_payload_authorization_value"),
        (_header(payment_v1(w, {**v1, "payTo": "0x" + "22" * 20}, BASE)), "invalid_exact_evm_payload_recipient_mismatch"),
        (_header(payment_v1(w, {**v1, "network": "nowhere"}, BASE)), "invalid_network"),
        (_signed(w, due, validBefore=str(int(time.time()) - 1)), "invalid_exact_evm_payload_authorization_valid_before"),
        (_header(payment_v2(w, {**due["v2"], "resource": {**due["v2"]["resource"], "url": "https://other.example/v1/deposit"}}, v2)), "invalid_payment_requirements"),
        (base64.b64encode(json.dumps(forged).encode()).decode(), "invalid_exact_evm_payload_signature"),
        ("", "bad_request"), (5, "bad_request"), (None, "bad_request"), ({}, "bad_request"),
    ]
    for i, (payment, code) in enumerate(rows):
        _pay(ws, payment, i)
        e = ws.next("error", id=i)
        assert e["retry"] is False and e["message"] and e["code"] == code, (str(payment)[:60], e)
    assert f.settled == [] and d.account(_account(w))["credited"] == Decimal("0.00003")
    _mode("refuse")
    _pay(ws, _signed(w, due), "poor")
    e = ws.next("error", id="poor")
    assert (e["code"], e["retry"]) == ("insufficient_funds", True) and d.ask("GET", "/v1/payments/" + e["payment_id"]).json["state"] == "failed", e
    _mode("ok")
    slashes = json.dumps({"op": "pay", "id": 99, "payment": _signed(w, due)}).replace("/", "\\/")  # as some languages write JSON
    ws.send(slashes)
    ws.next("paid", id=99)
    ws.count(10)
    _charged(d, w, ws, ASK_USD + Decimal("0.00003"))


def before_auth_nothing_is_looked_at():
    d, f = _daemon()
    ws = d.ws()
    _pay(ws, _signed(Wallet("early"), _offers(d)))
    said, code = ws.last_words()
    assert code == 4401 and said[-1]["code"] == "unauthenticated" and f.settled == [], said


def a_flood_of_bad_payments_meets_the_accounts_limit_and_the_stream_lives():
    _daemon()
    with _sell(limits__requests_per_min=10, limits__requests_per_hour=1000) as d:
        w, ws, due = _dry(d)
        got = []
        for i in range(40):
            _pay(ws, "A" * 400, i)
            got.append(ws.next("error", id=i))
        codes = [e["code"] for e in got]
        assert codes[:10] == ["invalid_payload"] * 10 and codes.count("limit_reached") >= 25, codes
        assert all(e["retry"] and 0 < e["retry_after_ms"] <= 60000 for e in got if e["code"] == "limit_reached"), got
        assert d.metrics()["payment_check_total"] < 16
        ws.quiet()
        ws.drop()


# --- late -------------------------------------------------------------------------------------------

def what_is_not_settled_in_time_is_told_as_pending_and_then_as_paid_and_the_grace_stands_still():
    _, f = _daemon()
    with _sell(limits__unpaid_grace="500ms", payments__timeout="300ms") as d:
        _mode("hold")
        w, token = _wallet(d, "0.00003")
        payment = _signed(w, _offers(d))  # before the grace begins: it is short
        ws = d.ws(token)
        ws.subscribe(BTC)
        ws.next("payment_required")
        _pay(ws, payment)
        since = time.monotonic()
        e = ws.next("error", id=3)
        assert (e["code"], e["retry"], e["payment_id"]) == ("payment_pending", True, _id_of(payment)) and e["state"] in ("submitted", "unknown"), e
        assert d.ask("GET", "/v1/payments/" + e["payment_id"]).json["state"] == e["state"]
        _pay(ws, payment, 4)  # the same again waits again
        assert ws.next("error", id=4)["payment_id"] == e["payment_id"]
        until(lambda: time.monotonic() - since > 1.6, text="longer than the grace")
        ws.quiet()
        f.go.set()
        p = ws.next("paid", id=4)
        assert p["credited"] == "0.100000000" and len(f.settled) == 1, p
        ws.count(20)
        _charged(d, w, ws, ASK_USD + Decimal("0.00003"))
        # Refused in the end: what is left of the grace goes on, and ends it.
        _mode("ok")
        w, ws, _ = _dry(d)
        _pay(ws, "AAAA")
        ws.next("error", id=3)
        start = time.monotonic()
        said, code = ws.last_words(seconds=8)
        assert code == 4402 and said[-1]["code"] == "payment_required" and time.monotonic() - start < 4, (said, code)


def while_it_stops_payments_are_not_begun():
    _daemon()
    d = _sell(shards__count=1)
    w, token = _wallet(d, "1")
    streams = [d.ws(token) for _ in range(150)]  # 10 ms each are their closes apart
    payment = _signed(w, _offers(d))
    d.proc.send_signal(signal.SIGTERM)
    streams[0].next("goaway")
    refused = 0
    _mode("ok")
    for ws in reversed(streams):
        try:
            _pay(ws, payment)
            e = ws.next("error", id=3)
            assert (e["code"], e["retry"]) == ("unavailable", True), e
            refused += 1
        except (Closed, OSError):
            pass
    assert refused > 0 and _shared["facilitator"].settled == [], (refused, _shared["facilitator"].settled)
    for ws in streams:
        ws.drop()
    d.stop()
    assert d.audit()["agree"] is True


def _end():
    _shared["daemon"].stop()
    _shared["sim"].end()
    assert _shared["daemon"].audit()["agree"] is True


if __name__ == "__main__":
    run(globals(), _end)
