#!/usr/bin/env python3
"""payments.advance, end to end: what a payer has of a deposit before its chain confirms it, with a real chain and the real daemon.  See harness.py and x402_rig.py."""
import base64
import json
import signal
import tempfile
from decimal import Decimal

from harness import FEEDS, TICK_USD, Daemon, Sim, run, until
from x402_rig import MissingRig, Rig

BTC, _ = FEEDS
DEPOSIT = "/v1/deposit"
QUERY = "/v1/ingest-data?feed=BTC/USDT@binance"
ASK_USD = Decimal("0.10")  # what an offer of a deposit asks first
TICKS = 50
ADVANCE_USD = TICKS * TICK_USD
DEEP = 3
_shared = {}
_wallet = iter(range(1000))


def _sell(advance=ADVANCE_USD, data=None, **network):
    """A daemon that wants three blocks on a payment, while the chain makes one for each transaction and none else."""
    rig = _shared["rig"]
    rig.mode()
    more = {"payments__advance": str(advance)} if advance else {}
    networks = [{"name": rig.at["network"], "pay_to": rig.pay_to, "rpc": rig.at["rpc"], "confirmations": DEEP, **network}]
    return Daemon(_shared["sim"], data=data, payments__facilitator=rig.facilitator_url, payments__networks=networks, payments__timeout="300ms", **more)


def _mine(blocks=DEEP):
    for _ in range(blocks):
        _shared["rig"].chain("rpc", method="evm_mine")


def _made(d, wallet, path=DEPOSIT, method="POST"):
    a = d.ask(method, path)
    assert a.status == 402, (a.status, a.body)
    return _shared["rig"].chain("pay", key=_shared["rig"].key(wallet), entry=a.json["accepts"][0], over={})


def _pending(d, wallet):
    """A deposit that is submitted and not settled: (what was signed, its answer)."""
    made = _made(d, wallet)
    a = d.ask("POST", DEPOSIT, headers={made["name"]: made["header"]})
    assert a.status == 202, (a.status, a.body)
    return made, a.json


def _account(d, wallet):
    return d.account(_shared["rig"].account(wallet))


def _state(d, payment_id):
    return d.ask("GET", "/v1/payments/" + payment_id).json["state"]


def _until_dry(d, token):
    """A stream that has used up what there is: it, paused."""
    ws = d.ws(token)
    ws.subscribe(BTC)
    ws.next("payment_required")
    return ws


# --- rules ----------------------------------------------------------------------------------------

def unless_configured_nothing_is_had_before_the_settlement():
    w = next(_wallet)
    with _sell(advance=None) as d:
        _, pending = _pending(d, w)
        assert d.operator("GET", "/v1/admin/accounts?account=" + _shared["rig"].account(w)).status == 404
        until(lambda: _mine(1) or _state(d, pending["payment_id"]) == "settled")
        a = _account(d, w)
        assert a["credited"] == a["balance"] == ASK_USD, a
        assert d.audit()["advanced"] == "0.000000000"


def a_payer_streams_up_to_the_advance_and_not_one_tick_further_until_it_is_mined():
    w = next(_wallet)
    with _sell() as d:
        made, pending = _pending(d, w)
        assert _account(d, w)["balance"] == ADVANCE_USD
        ws = _until_dry(d, pending["token"])
        assert len(ws.ticks) == TICKS, len(ws.ticks)
        again = d.ask("POST", DEPOSIT, headers={made["name"]: made["header"]})  # the same header, the same payment
        _, more = _pending(d, w)  # and another one, of which nothing is left to advance
        ws.quiet()
        assert again.status == 202 and len(ws.ticks) == TICKS, (again.status, len(ws.ticks))
        assert ws.balance()["balance"] == "0.000000000"
        a = d.settled(_shared["rig"].account(w), ADVANCE_USD)
        assert a["credited"] == ADVANCE_USD and d.audit()["advanced"] == "0.000050000", a
        until(lambda: _mine(1) or (_state(d, pending["payment_id"]) == _state(d, more["payment_id"]) == "settled"))
        ws.count(20)
        ws.close()
        a = d.settled(_shared["rig"].account(w), len(ws.ticks) * TICK_USD)
        assert a["credited"] == 2 * ASK_USD and "debt" not in a, a
        audit = d.audit()
        assert audit["advanced"] == "0.000000000" and audit["paid"] == "0.200000000", audit


def a_stream_that_is_dry_goes_on_with_the_advance_of_a_payment_in_band():
    w = next(_wallet)
    rig = _shared["rig"]
    with _sell() as d:
        ws = _until_dry(d, d.mint(rig.account(w), str(10 * TICK_USD)))
        assert len(ws.ticks) == 10
        due = next(e for e in ws.other if e["type"] == "payment_required")
        made = rig.chain("pay", key=rig.key(w), entry=due["v1"]["accepts"][0], over={})
        ws.send({"op": "pay", "id": 7, "payment": made["header"]})
        ws.count(TICKS)
        ws.next("payment_required")
        assert len(ws.ticks) == 10 + TICKS and not [e for e in ws.other if e["type"] == "paid"], len(ws.ticks)
        _mine()
        paid = ws.next("paid", id=7)
        assert paid["credited"] == "0.100000000", paid
        ws.count(20)
        ws.close()
        assert d.settled(rig.account(w), len(ws.ticks) * TICK_USD)["credited"] == ASK_USD + 10 * TICK_USD


def of_one_that_is_cancelled_what_was_spent_is_owed_and_who_owes_has_no_other():
    w = next(_wallet)
    rig = _shared["rig"]
    with _sell() as d:
        rig.mode("hangs")
        made, pending = _pending(d, w)
        ws = _until_dry(d, pending["token"])
        assert len(ws.ticks) == TICKS
        nonce = made["payment"]["payload"]["authorization"]["nonce"]
        assert rig.chain("cancel", key=rig.key(w), nonce=nonce)["success"]
        rig.release()
        until(lambda: _mine(1) or _state(d, pending["payment_id"]) == "failed")
        a = _account(d, w)
        assert a["credited"] == a["balance"] == 0 and Decimal(a["debt"]) == a["consumed"] == ADVANCE_USD, a
        rig.mode("hangs")
        made, pending = _pending(d, w)
        assert ws.balance()["balance"] == "0.000000000" and len(ws.ticks) == TICKS
        assert rig.chain("submit", key=rig.key(w), **made["payment"]["payload"])["success"]
        rig.release()
        until(lambda: _mine(1) or _state(d, pending["payment_id"]) == "settled", text="it pays the debt")
        ws.count(20)
        ws.close()
        a = d.settled(rig.account(w), len(ws.ticks) * TICK_USD)
        assert a["credited"] == ASK_USD and "debt" not in a, a


def a_query_has_no_advance():
    w = next(_wallet)
    with _sell() as d:
        made = _made(d, w, QUERY, "GET")
        a = d.ask("GET", QUERY, headers={made["name"]: made["header"]})
        assert a.status == 202 and b'"price"' not in a.body, (a.status, a.body)
        assert d.operator("GET", "/v1/admin/accounts?account=" + _shared["rig"].account(w)).status == 404


def where_nobody_can_ask_for_a_balance_nothing_is_advanced():
    w = next(_wallet)
    rig = _shared["rig"]
    with _sell(rpc="") as d:
        rig.mode("hangs")
        _pending(d, w)
        assert d.operator("GET", "/v1/admin/accounts?account=" + rig.account(w)).status == 404
        rig.mode()
        rig.release()
        until(lambda: d.operator("GET", "/v1/admin/accounts?account=" + rig.account(w)).status == 200, text="asked for again, and settled")
        assert _account(d, w)["credited"] == ASK_USD


def killed_in_the_middle_the_cap_holds_and_the_payment_counts_once():
    w = next(_wallet)
    account = _shared["rig"].account(w)
    with tempfile.TemporaryDirectory(prefix="kamiyo-e2e-") as folder:
        d = _sell(data=folder + "/data")
        _, pending = _pending(d, w)
        ws = d.ws(pending["token"])
        ws.subscribe(BTC)
        ws.count(TICKS // 2)
        d.end(signal.SIGKILL)
        with _sell(data=folder + "/data") as d:
            _, more = _pending(d, w)
            a = _account(d, w)
            assert a["credited"] == ADVANCE_USD and a["consumed"] <= ADVANCE_USD, a
            ws = _until_dry(d, pending["token"])
            assert len(ws.ticks) * TICK_USD <= ADVANCE_USD
            assert d.settled(account, ADVANCE_USD)["credited"] == ADVANCE_USD
            until(lambda: _mine(1) or (_state(d, pending["payment_id"]) == _state(d, more["payment_id"]) == "settled"))
            assert _account(d, w)["credited"] == 2 * ASK_USD
            ws.close()
            assert d.audit()["advanced"] == "0.000000000"


if __name__ == "__main__":
    try:
        _shared["rig"] = Rig(wallets=8, agents=())
    except MissingRig as missing:
        print("skipped:", missing)
        raise SystemExit(77)
    try:
        with Sim(200) as _shared["sim"]:
            run(globals())
    finally:
        _shared["rig"].end()
