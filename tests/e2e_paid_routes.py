#!/usr/bin/python3
"""Every paid route takes the money that a request brings: compare, history, snapshot, the stream by events, passes.  What is delivered is charged, what was paid
above that is the payer's, the same header again is never charged again and gets what was kept, or is told where the money is.

The facilitator is a stand-in that does as it is told and notes what it was asked; no chain is asked (the networks have no rpc).  The stock agents pay for the
same routes in e2e_pay.py.
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
from e2e_sse import Refused, Sse  # noqa: E402
from harness import Daemon, Sim, read_answer, run, until  # noqa: E402
from x402_facilitator import Facilitator  # noqa: E402
from x402_sign import Wallet, payment_v1, payment_v2  # noqa: E402

PAY_TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
BASE = 8453
EVENTS = {"Accept": "text/event-stream"}
COMPARE, SNAPSHOT, STREAM = "/v1/compare?feed=SOL/USD", "/v1/snapshot", "/v1/stream?feeds=SOL/USD"
QUERY_USD, TICK_USD, PASS_USD, CENTS = Decimal("0.0001"), Decimal("0.000001"), Decimal("0.01"), Decimal("0.10")
_shared = {}


def _daemon():
    if not _shared:
        _shared["facilitator"] = Facilitator()
        _shared["sim"] = Sim(200)
        _shared["daemon"] = _sell("base")
    f = _shared["facilitator"]
    f.mode = "ok"
    f.settled.clear()
    f.go.clear()
    return _shared["daemon"], f


def _sell(network, timeout="2s", **more):
    return Daemon(_shared["sim"], payments__facilitator=_shared["facilitator"].url, payments__timeout=timeout,
                  payments__networks=[{"name": network, "pay_to": PAY_TO}], **more)


def _v2(answer):
    return json.loads(base64.b64decode(answer.headers["payment-required"]))


def _send(sock, method, path, headers=None, body=None):
    text = json.dumps(body) if body is not None else ""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(text)}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n" + text).encode())


def _receipt(headers, version):
    return json.loads(base64.b64decode(headers["x-payment-response" if version == 1 else "payment-response"]))


def _account(wallet):
    return f"eip155:{BASE}:{wallet.address}"


def _pay(d, path, wallet, version=1, method="GET", body=None, headers=None, which=0):
    """The header for the offer of this route's 402, and what it pays in USD."""
    a = d.ask(method, path, body, headers=headers)
    assert a.status == 402, (a.status, a.body)
    offer = _v2(a)
    entry = a.json["accepts"][which] if version == 1 else offer["accepts"][which]
    assert entry.get("resource", offer["resource"]["url"]).endswith(path.split("?")[0]), entry
    paid = Decimal(entry.get("maxAmountRequired") or entry["amount"]) / 10**6
    return payment_v1(wallet, entry, BASE) if version == 1 else payment_v2(wallet, offer, entry), paid


def _books(d, wallet, credited, charged):
    """The ledger has exactly this of it, nothing held."""
    a = d.settled(_account(wallet), charged)
    until(lambda: (d.account(_account(wallet))["credited"], d.account(_account(wallet))["balance"]) == (credited, credited - charged) or
          d.account(_account(wallet))["leased"] > 0, text=f"{credited} less {charged}: {d.account(_account(wallet))}")
    return a


def _once_and_for_nothing_again(d, f, path, wallet, version, headers=None):
    """Pays, asks again: (the answer's JSON, what was paid)."""
    f.settled.clear()
    pays, paid = _pay(d, path, wallet, version, headers=headers)
    a = d.ask("GET", path, headers={**pays, **(headers or {})})
    assert a.status == 200, (path, a.status, a.body)
    r = _receipt(a.headers, version)
    assert r["success"] is True and r["payer"].lower() == wallet.address and a.headers["cache-control"] == "no-store", r
    for _ in range(2):
        again = d.ask("GET", path, headers={**pays, **(headers or {})})
        assert (again.status, again.body) == (200, a.body) and _receipt(again.headers, version) == r, again.body
    assert len(f.settled) == 1
    charged = Decimal(a.json["charged"])
    assert 0 < charged <= paid and Decimal(a.json["balance"]) == paid - charged, a.body
    _books(d, wallet, paid, charged)
    return a.json, paid


def each_of_them_is_paid_by_its_header_and_repeated_for_nothing():
    d, f = _daemon()
    for version in (1, 2):
        j, _ = _once_and_for_nothing_again(d, f, COMPARE, Wallet(f"compare {version}"), version)
        assert j["feed"] == "SOL/USD" and j["count"] == len(j["sources"]) and Decimal(j["charged"]) == QUERY_USD * j["count"], j
        j, _ = _once_and_for_nothing_again(d, f, SNAPSHOT, Wallet(f"snapshot {version}"), version)
        assert j["count"] == len(j["feeds"]) == len(d.feeds()), j
        until(lambda: d.ask("GET", "/v1/history?feed=SOL/USD&limit=3", token=d.mint("local:reader")).json.get("count") == 3)
        j, _ = _once_and_for_nothing_again(d, f, "/v1/history?feed=SOL/USD&limit=3", Wallet(f"history {version}"), version)
        assert j["count"] == 3 == len(j["ticks"]) and Decimal(j["charged"]) == QUERY_USD, j


def a_page_of_history_ends_where_it_can_be_kept_and_what_it_does_not_have_is_credited():
    d, f = _daemon()
    path = "/v1/history?feed=BTC/USDT@binance&limit=1000"
    token = d.mint("local:reader")
    until(lambda: d.ask("GET", path, token=token).json["count"] > 400)
    j, paid = _once_and_for_nothing_again(d, f, path, Wallet("long page"), 2)
    assert paid == TICK_USD * 1000 and Decimal(j["charged"]) == TICK_USD * j["count"], j["charged"]
    assert j["more"] is True and 100 < j["count"] < 1000 and len(json.dumps(j, separators=(",", ":"))) <= 65536, j["count"]
    more, _ = _once_and_for_nothing_again(d, f, path + "&cursor=" + j["cursor"], Wallet("next page"), 2)
    offsets = [int(t["offset"]) for t in j["ticks"] + more["ticks"]]
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), "the next page begins where the first ends"


def an_empty_page_costs_nothing_and_its_money_is_on_the_account():
    d, f = _daemon()
    w, path = Wallet("empty"), "/v1/history?feed=SOL/USD&from=1&to=2"
    pays, paid = _pay(d, path, w)
    a = d.ask("GET", path, headers=pays)
    assert a.status == 200 and a.json["ticks"] == [] and (a.json["charged"], Decimal(a.json["balance"])) == ("0.000000000", paid), a.body
    assert _receipt(a.headers, 1)["success"] is True
    a = d.ask("GET", path, headers=pays)
    assert a.status == 409 and "account" in a.json["detail"], (a.status, a.body)
    _books(d, w, paid, 0)


def a_snapshot_of_another_form_is_charged_to_the_account_once():
    d, f = _daemon()
    for form in ("application/vnd.kamiyo.flatbuffers", "application/vnd.lmdb"):
        for version in (1, 2):
            w, accept = Wallet(f"{form} {version}"), {"Accept": form}
            f.settled.clear()
            pays, paid = _pay(d, SNAPSHOT, w, version, headers=accept)
            a = d.ask("GET", SNAPSHOT, headers={**pays, **accept})
            assert a.status == 200 and a.headers["content-type"] == form and len(a.body) > 100, (a.status, a.body[:200])
            charged = Decimal(a.headers["kamiyo-charged"])
            assert _receipt(a.headers, version)["success"] is True and 0 < charged <= paid and Decimal(a.headers["kamiyo-balance"]) == paid - charged, a.headers
            for again in (accept, {}):
                a = d.ask("GET", SNAPSHOT, headers={**pays, **again})
                assert a.status == 409 and "account" in a.json["detail"], (a.status, a.body)
            assert len(f.settled) == 1
            _books(d, w, paid, charged)


def a_stream_by_events_is_opened_by_a_deposit_on_its_payers_account():
    d, f = _daemon()
    for version in (1, 2):
        w = Wallet(f"listener {version}")
        f.settled.clear()
        pays, paid = _pay(d, STREAM, w, version, headers=EVENTS)
        assert paid == CENTS, paid
        line = "".join(f"{k}: {v}\r\n" for k, v in pays.items())
        sse = Sse(d, feeds="SOL/USD", extra=line)
        assert _receipt(sse.headers, version)["success"] is True and sse.headers["content-type"] == "text/event-stream", sse.headers
        until(lambda: sse.next("tick") and len(sse.ticks) >= 5)
        try:
            Sse(d, feeds="SOL/USD", extra=line)
            raise AssertionError("the header of a deposit opened a second stream")
        except Refused as no:
            assert no.answer.status == 409 and "/v1/tokens" in no.answer.json["detail"] and len(f.settled) == 1, no
        sse.sock.close()
        a = until(lambda: (lambda x: x["consumed"] >= TICK_USD * len(sse.ticks) and x)(d.account(_account(w))))
        assert a["credited"] == CENTS == a["balance"] + a["leased"] + a["consumed"] and a["consumed"] % TICK_USD == 0, a
        proof = {"SIGN-IN-WITH-X": w.sign_in(_v2(d.ask("POST", "/v1/tokens"))["extensions"]["sign-in-with-x"])}
        a = d.ask("POST", "/v1/tokens", headers=proof)
        assert a.status == 200 and 0 < Decimal(a.json["balance"]) < CENTS, a.body


def passes_are_bought_by_a_header_on_their_payers_account():
    d, f = _daemon()
    order = {"feeds": ["SOL/USD", "BTC/USDT@binance"]}
    for version in (1, 2):
        w = Wallet(f"passes {version}")
        pays, paid = _pay(d, "/v1/passes", w, version, "POST", order)
        assert paid == PASS_USD * 2, paid
        a = d.ask("POST", "/v1/passes", order, headers=pays)
        assert a.status == 200 and len(a.json["passes"]) == 2 and a.json["charged"] == "0.020000000", (a.status, a.body)
        assert a.json["balance"] == "0.000000000" and _receipt(a.headers, version)["success"] is True, a.body
        a = d.ask("POST", "/v1/passes", order, headers=pays)
        assert a.status == 409 and "/v1/tokens" in a.json["detail"], (a.status, a.body)
        _books(d, w, paid, paid)


def one_payment_for_passes_sent_many_times_at_once_is_one_order():
    d, f = _daemon()
    w, order = Wallet("many passes"), {"feeds": ["SOL/USD"]}
    assert d.ask("POST", "/v1/deposit", headers=_pay(d, "/v1/deposit", w, 1, "POST")[0]).status == 200, "so that there would be money for more"
    pays, paid = _pay(d, "/v1/passes", w, 2, "POST", order)
    f.mode = "hold"
    f.settled.clear()
    socks = [d.connect() for _ in range(8)]
    for s in socks:  # all of them before it is submitted, or nearly
        _send(s, "POST", "/v1/passes", pays, order)
    until(lambda: f.settled)
    f.go.set()
    answers = [read_answer(s)[0] for s in socks]
    for s in socks:
        s.close()
    assert [a.status for a in answers].count(200) > 1 and {a.status for a in answers} <= {200, 409} and len({a.body for a in answers if a.status == 200}) == 1, [(a.status, a.body) for a in answers]
    _books(d, w, CENTS + paid, paid)


def a_part_never_costs_more_than_the_whole_that_was_offered():
    """All feeds have the discount of a batch, those that have a value do not."""
    _, f = _daemon()
    binance = {"url": _shared["sim"].at["binance"] + "/stream", "symbols": ["BTCUSDT", "SOLUSDT", "XRPUSDT"]}
    with _sell("base", wait=False, sources__binance=binance, prices__batch_from=5, prices__batch_discount=50) as d:
        until(lambda: [f["offset"] > 0 for f in d.feeds().values()].count(True) == 4)
        for form in ("application/json", "application/vnd.kamiyo.flatbuffers", "application/vnd.lmdb"):
            w, accept = Wallet("part " + form), {"Accept": form}
            pays, paid = _pay(d, SNAPSHOT, w, headers=accept)
            a = d.ask("GET", SNAPSHOT, headers={**pays, **accept})
            charged = Decimal(a.headers.get("kamiyo-charged") or a.json["charged"])
            assert a.status == 200 and paid == QUERY_USD * 5 / 2 == charged < QUERY_USD * 4, (form, paid, charged)
            _books(d, w, paid, paid)


def a_snapshot_too_long_to_keep_is_charged_to_the_account_once():
    _, f = _daemon()
    symbols = [f"S{i:03}USDT" for i in range(300)]
    with Sim(5, symbols=",".join(f"{s}:100.00" for s in symbols)) as sim, \
            Daemon(sim, wait=False, sources__binance={"url": sim.at["binance"] + "/stream", "symbols": symbols},
                   payments__facilitator=f.url, payments__networks=[{"name": "base", "pay_to": PAY_TO}]) as d:
        until(lambda: all(x["offset"] > 0 for x in d.feeds().values()))
        w = Wallet("long")
        pays, paid = _pay(d, SNAPSHOT, w)
        a = d.ask("GET", SNAPSHOT, headers=pays)
        assert a.status == 200 and a.json["count"] == 302 and len(a.body) > 65536, (a.status, len(a.body))
        assert Decimal(a.json["charged"]) == paid == 302 * QUERY_USD * 8 / 10 and a.json["balance"] == "0.000000000" and _receipt(a.headers, 1)["success"]
        a = d.ask("GET", SNAPSHOT, headers=pays)
        assert a.status == 409 and "account" in a.json["detail"] and len(f.settled) == 1, (a.status, a.body[:200])
        _books(d, w, paid, paid)


def what_is_settled_late_is_pending_and_then_answered_to_the_same_header():
    d, f = _daemon()
    for path in (COMPARE, "/v1/history?feed=SOL/USD&limit=2"):
        f.mode = "hold"
        w = Wallet("late" + path)
        pays, paid = _pay(d, path, w)
        a = d.ask("GET", path, headers=pays)
        assert a.status == 202 and "token" not in a.json, (a.status, a.body)
        f.go.set()
        until(lambda: d.ask("GET", "/v1/payments/" + a.json["payment_id"]).json["state"] == "settled")
        a = d.ask("GET", path, headers=pays)
        assert a.status == 200 and _receipt(a.headers, 1)["success"] is True, (a.status, a.body)
        _books(d, w, paid, Decimal(a.json["charged"]))
        f.go.clear()


def a_stream_whose_deposit_is_pending_gets_a_token_to_come_back_with():
    d, f = _daemon()
    f.mode = "hold"
    w = Wallet("late listener")
    pays, _ = _pay(d, STREAM, w, headers=EVENTS)
    a = d.ask("GET", STREAM, headers={**pays, **EVENTS})
    assert a.status == 202 and a.json["account"] == _account(w) and a.json["token"], (a.status, a.body)
    f.go.set()
    until(lambda: d.ask("GET", "/v1/payments/" + a.json["payment_id"]).json["state"] == "settled")
    assert d.ask("GET", STREAM, headers={**pays, **EVENTS}).status == 409, "it may have been read off the chain by now"
    sse = Sse(d, token=a.json["token"], feeds="SOL/USD")
    sse.next("tick")
    sse.sock.close()


def one_header_sent_many_times_at_once_is_one_answer():
    d, f = _daemon()
    for path in (COMPARE, "/v1/history?feed=SOL/USD&limit=5", SNAPSHOT):
        f.settled.clear()
        w = Wallet("many" + path)
        pays, paid = _pay(d, path, w, 2)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(d.ask("GET", path, headers=pays))) for _ in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert {a.status for a in answers} == {200}, [(a.status, a.body) for a in answers if a.status != 200][:2]
        assert len({a.body for a in answers}) == 1 and len(f.settled) == 1, path
        _books(d, w, paid, Decimal(answers[0].json["charged"]))


def an_account_without_balance_pays_by_header_and_its_token_is_not_looked_at():
    d, f = _daemon()
    poor = {"Authorization": "Bearer " + d.mint("local:poor", "0.0000005")}
    for path in (COMPARE, SNAPSHOT, "/v1/history?feed=SOL/USD&limit=1"):
        w = Wallet("poor" + path)
        pays, paid = _pay(d, path, w, 2, headers=poor)
        a = d.ask("GET", path, headers={**pays, **poor})
        assert a.status == 200, (path, a.status, a.body)
        _books(d, w, paid, Decimal(a.json["charged"]))
    assert d.account("local:poor")["consumed"] == 0


def the_balance_told_is_what_is_left_where_the_account_is_known_too():
    d, f = _daemon()
    w = Wallet("known")
    pays, _ = _pay(d, "/v1/deposit", w, 1, "POST")
    token = d.ask("POST", "/v1/deposit", headers=pays).json["token"]
    left = Decimal(d.ask("GET", "/v1/ingest-data?feed=SOL/USD", token=token).json["balance"])
    for path in ("/v1/ingest-data?feed=SOL/USD", COMPARE, "/v1/history?feed=SOL/USD&limit=40", SNAPSHOT):
        pays, paid = _pay(d, path, w)
        j = d.ask("GET", path, headers=pays).json
        left += paid - Decimal(j["charged"])
        assert Decimal(j["balance"]) == left, (path, j["balance"], left)


def what_was_paid_as_a_cheap_request_buys_no_dear_one():
    """Where a network takes no less than a dollar, both cost the same to sign: who paid for one tick and comes for something else."""
    _, f = _daemon()
    one, dollar = "/v1/ingest-data?feed=SOL/USD", Decimal(1)
    dear = [("POST", "/v1/ingest-data/batch", [{"feed_type": "SOL/USD"}] * 100, {}), ("GET", "/v1/history?feed=BTC/USDT@binance&limit=1000", None, {}),
            ("GET", SNAPSHOT, None, {}), ("GET", SNAPSHOT, None, {"Accept": "application/vnd.lmdb"})]
    with _sell("ethereum", timeout="300ms") as d:
        for n, (method, path, body, more) in enumerate(dear):
            w = Wallet(f"cheap {n}")
            f.mode = "hold"
            f.settled.clear()
            f.go.clear()
            offer = _v2(d.ask("GET", one))
            sent = json.loads(base64.b64decode(payment_v2(w, offer, offer["accepts"][0])["PAYMENT-SIGNATURE"]))
            del sent["resource"]  # may be left out, and then names none
            pays = {"PAYMENT-SIGNATURE": base64.b64encode(json.dumps(sent).encode()).decode()}
            assert d.ask("GET", one, headers=pays).status == 202
            f.go.set()
            account = f"eip155:1:{w.address}"
            until(lambda: d.operator("GET", "/v1/admin/accounts?account=" + account).status == 200)
            a = d.ask(method, path, body, headers={**pays, **more})
            assert a.status == 503 and "costs less" in a.json["detail"], (path, a.status, a.body[:300])
            a = d.account(account)
            assert (a["credited"], a["balance"], a["consumed"]) == (dollar, dollar, 0), a


def what_a_payment_bought_ends_with_its_request():
    d, f = _daemon()
    for path, more, method, body in ((SNAPSHOT, {"Accept": "application/vnd.kamiyo.flatbuffers"}, "GET", None), ("/v1/passes", {}, "POST", {"feeds": ["SOL/USD"]})):
        w = Wallet("keeps the connection" + path)
        pays, _ = _pay(d, path, w, 2, method, body, more)
        with d.connect() as s:
            _send(s, method, path, {**pays, **more}, body)
            a, rest = read_answer(s)
            assert a.status == 200 and rest == b"", (a.status, a.body)
            _send(s, "GET", COMPARE)
            a, _ = read_answer(s)
            assert a.status == 402 and "payment-response" not in a.headers, (a.status, a.headers)


def without_money_or_sense_nothing_is_taken():
    d, f = _daemon()
    for path in (COMPARE, "/v1/history?feed=SOL/USD", SNAPSHOT, STREAM):
        w = Wallet("broke" + path)
        pays, _ = _pay(d, path, w, 1, headers=EVENTS)
        assert d.ask("HEAD", path, headers={**EVENTS, **pays}).status == 402, "who wants no body buys nothing"
        f.mode = "refuse"
        a = d.ask("GET", path, headers={**EVENTS, **pays})
        assert a.status == 402 and a.json["error"] == "insufficient_funds" and a.json["accepts"], a.body
        assert _receipt(a.headers, 1)["success"] is False
        f.mode = "ok"
        assert d.operator("GET", "/v1/admin/accounts?account=" + _account(w)).status == 404
    f.settled.clear()
    for path, status in (("/v1/compare?feed=NO/SUCH", 404), ("/v1/history?feed=SOL/USD&limit=0", 400), ("/v1/stream?feeds=NO/SUCH", 404)):
        assert d.ask("GET", path, headers={**EVENTS, **pays}).status == status, path
    assert f.settled == []


def _end():
    _shared["daemon"].stop()
    _shared["sim"].end()
    assert _shared["daemon"].audit()["agree"] is True


if __name__ == "__main__":
    run(globals(), _end)
