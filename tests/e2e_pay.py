#!/usr/bin/env python3
"""Real payments, end to end: the stock agents of both protocols, a facilitator that can be told to lie, a chain, and the real daemon between them.
See harness.py and x402_rig.py.  What the chain says that the seller got is the truth: after every rule here nobody was credited more than that."""
import base64
import http.server
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from decimal import Decimal

from harness import FEEDS, KAMIYO, QUERY_USD, SECONDS, TICK_USD, Daemon, Sim, read_answer, run, until
from x402_rig import MissingRig, Rig

BTC, SOL = FEEDS
DEPOSIT = "/v1/deposit"
QUERY = "/v1/ingest-data?feed=BTC/USDT@binance"
ASK_USD = Decimal("0.10")  # what an offer of a deposit asks first
PAY_SH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../examples/pay.sh")
_shared = {}
_wallet = iter(range(1000))


def _rig():
    return _shared["rig"]


def _payments(rig, **more):
    """The payments section of a configuration that sells on the rig's chain."""
    networks = [{"name": rig.at["network"], "pay_to": rig.pay_to, "rpc": rig.at["rpc"], **more}]
    if rig.solana:
        at = rig.solana.at
        networks.append({"name": at["network"], "pay_to": at["payTo"], "fee_payer": at["feePayer"], "rpc": at["rpc"]})
    return {"facilitator": rig.facilitator_url, "networks": networks}


def _sell(data=None, timeout="2s", **network):
    payments = {"payments__" + k: v for k, v in {**_payments(_rig(), **network), "timeout": timeout}.items()}
    return Daemon(_shared["sim"], data=data, **payments)


def _daemon():
    if "daemon" not in _shared:
        _shared["daemon"] = _sell()
    _rig().mode()
    return _shared["daemon"]


def _new_wallet():
    return next(_wallet)


def _url(d, path):
    return "http://%s:%d%s" % (*d.public, path)


def _send(d, made, method="POST", path=DEPOSIT, body=None):
    return d.ask(method, path, body, headers={made["name"]: made["header"]})


def _offer(d, path=DEPOSIT, method="POST", version=1):
    """The offer's first entry, and the resource."""
    a = d.ask(method, path)
    assert a.status == 402, (a.status, a.body)
    if version == 1:
        return a.json["accepts"][0], None
    offer = json.loads(base64.b64decode(a.headers["payment-required"], validate=True))
    return offer["accepts"][0], offer["resource"]


def _begin(d, made, method="POST", path=DEPOSIT):
    """The same in a thread: what comes back waits for the answer."""
    box = []

    def work():
        try:
            box.append(_send(d, made, method, path))
        except OSError as e:
            box.append(e)
    thread = threading.Thread(target=work)
    thread.start()

    def answer():
        thread.join(SECONDS)
        assert box and not isinstance(box[0], Exception), box
        return box[0]
    answer.done = lambda: bool(box)
    return answer


def _made(d, wallet, path=DEPOSIT, method="POST", version=1, as_=None, **over):
    """A payment of that route's first offer, signed by the rig."""
    entry, resource = _offer(d, path, method, version)
    more = {"resource": resource} if resource else {}
    return _rig().chain("pay", key=_rig().key(wallet), entry=entry, over=over, **({"as": as_} if as_ else {}), **more)


def _authorization(made):
    return made["payment"]["payload"]["authorization"]


def _credited(d, wallet):
    a = d.operator("GET", "/v1/admin/accounts?account=" + _rig().account(wallet))
    return Decimal(a.json["credited"]) if a.status == 200 else Decimal(0)


def _receipt(a, version=1):
    return json.loads(base64.b64decode(a.headers["x-payment-response" if version == 1 else "payment-response"], validate=True))


def _got(wallet):
    """What the seller got from that wallet, in USD."""
    return Decimal(sum(_rig().received(wallet))) / 10**6


def _deposited(d, made):
    """The answer to a deposit that came through."""
    a = _send(d, made)
    assert a.status == 200, (a.status, a.body)
    return a.json


def _state(d, payment_id):
    a = d.ask("GET", "/v1/payments/" + payment_id)
    assert a.status == 200, (a.status, a.body)
    return a.json["state"]


class _Shop(http.server.ThreadingHTTPServer):
    """Answers 402 with the offers of a frame, and keeps the payment that comes."""
    daemon_threads = True

    def __init__(self, due):
        super().__init__(("127.0.0.1", 0), _Counter)
        self.due, self.payment = due, None
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d/" % self.server_address[1]


class _Counter(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        shop = self.server
        shop.payment = self.headers.get("x-payment") or self.headers.get("payment-signature")
        body = b"{}" if shop.payment else json.dumps(shop.due["v1"]).encode()
        self.send_response(200 if shop.payment else 402)
        if not shop.payment:
            self.send_header("PAYMENT-REQUIRED", base64.b64encode(json.dumps(shop.due["v2"]).encode()).decode())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


# --- what a customer does -------------------------------------------------------------------------

def a_stock_agent_of_protocol_1_deposits_and_streams():
    d, rig, w = _daemon(), _rig(), _new_wallet()
    got = rig.ask("v1", w, "POST", _url(d, DEPOSIT))
    assert got.status == 200 and got.asked == [402, 200], (got.status, got.asked, got.body)
    j = got.json
    assert j["account"] == rig.account(w) and j["credited"] == "0.100000000" and j["balance"] == "0.100000000", j
    assert j["transaction"].startswith("0x") and rig.received(w) == [100000]
    receipt = _receipt(got)
    assert receipt["success"] is True and receipt["transaction"] == j["transaction"] and receipt["network"] == "base-sepolia", receipt
    assert receipt["payer"].lower() == rig.address(w).lower() and got.headers["cache-control"] == "no-store"
    ws = d.ws(j["token"])
    ws.subscribe(BTC)
    ws.count(20)
    ws.send({"op": "unsubscribe", "id": 2, "feeds": [BTC]})
    ws.next("unsubscribed")
    assert d.ask("GET", QUERY, token=j["token"]).status == 200
    ticks = len(ws.ticks)
    ws.close()
    d.settled(j["account"], ticks * TICK_USD + QUERY_USD)


def a_stock_agent_of_protocol_2_deposits_a_dollar_and_streams():
    d, rig, w = _daemon(), _rig(), _new_wallet()
    got = rig.ask("v2", w, "POST", _url(d, DEPOSIT + "?amount=1.00"))
    assert got.status == 200 and got.asked == [402, 200], (got.status, got.asked, got.body)
    j = got.json
    assert j["account"] == rig.account(w) and j["credited"] == "1.000000000" and rig.received(w) == [1000000], j
    receipt = _receipt(got, 2)
    assert receipt["success"] is True and receipt["network"] == "eip155:84532" and receipt["payer"].lower() == rig.address(w).lower(), receipt
    ws = d.ws(j["token"])
    ws.subscribe(BTC, SOL)
    ws.count(20)
    ws.drop()
    again = rig.ask("v2", w, "POST", _url(d, DEPOSIT))
    assert again.json["credited"] == "0.100000000" and _credited(d, w) == Decimal("1.10")


def a_wallet_at_a_terminal_deposits_what_it_was_told_to_and_nothing_else():
    d, rig, w = _daemon(), _rig(), _new_wallet()

    def kamiyo(*args, **settings):
        return subprocess.run([KAMIYO, "deposit", *args, "--url", _url(d, "")], env={"PATH": os.environ["PATH"], **settings}, capture_output=True, text=True, timeout=60)

    r = kamiyo("0.25", KAMIYO_WALLET_KEY=rig.key(w))
    assert r.returncode == 0 and "credited 0.250000000 USD" in r.stderr, r.stderr
    assert rig.received(w) == [250000] and rig.key(w)[2:] not in r.stdout + r.stderr
    ws = d.ws(r.stdout.strip())
    ws.subscribe(BTC)
    ws.count(5)
    ws.drop()
    with tempfile.NamedTemporaryFile("w") as f:
        f.write(rig.key(w) + "\n")
        f.flush()
        r = kamiyo("0.01", "--wallet", f.name, "--network", "base-sepolia", "--json")
        assert r.returncode == 0 and json.loads(r.stdout)["credited"] == "0.010000000", r.stderr
        os.chmod(f.name, 0o644)
        r = kamiyo("0.01", "--wallet", f.name)
        assert r.returncode == 1 and "chmod 600" in r.stderr, r.stderr
    for args, key, code, said in ((("0.25",), None, 2, "KAMIYO_WALLET_KEY"), (("0.25",), "0x12", 1, "64 hex digits"), (("0.0000001",), rig.key(w), 2, "six decimals"),
                                  (("0.25", "--network", "base"), rig.key(w), 1, "offers no payment"), (("2000",), rig.key(w), 1, "answered 400")):
        r = kamiyo(*args, **({"KAMIYO_WALLET_KEY": key} if key else {}))
        assert r.returncode == code and said in r.stderr and r.stdout == "", (args, r.returncode, r.stderr)
    assert rig.received(w) == [250000, 10000]


def the_example_pays_again_whenever_its_balance_is_used_up_and_never_more_often_than_told():
    rig, w = _rig(), _new_wallet()
    rig.mode()
    payments = {"payments__" + k: v for k, v in _payments(rig).items()}
    # A deposit of a cent is a hundred ticks.
    with Daemon(_shared["sim"], prices__tick="0.0001", **payments) as dear, tempfile.TemporaryDirectory() as folder:

        def pay(*args, **settings):
            env = {"PATH": os.path.dirname(os.path.abspath(KAMIYO)) + ":" + os.environ["PATH"], "KAMIYO_URL": _url(dear, ""), "KAMIYO_WALLET_KEY": rig.key(w), **settings}
            return subprocess.run([PAY_SH, *args], env=env, cwd=folder, capture_output=True, text=True, timeout=60)
        r = pay("0.01", BTC, "--count", "250")
        assert r.returncode == 0, r.stderr
        ticks = [json.loads(line) for line in r.stdout.splitlines()]
        assert [t["offset"] for t in ticks] == list(range(ticks[0]["offset"], ticks[0]["offset"] + len(ticks))), "nothing is missed in a pause"
        closing = json.loads(next(line for line in r.stderr.splitlines() if line.startswith('{"received"')))
        assert closing["agree"] and closing["received"] == len(ticks) >= 250 and rig.received(w) == [10000] * 3, (closing, rig.received(w))
        assert os.stat(folder + "/kamiyo.token").st_mode & 0o777 == 0o600 and rig.key(w)[2:] not in r.stdout + r.stderr
        r = pay("0.01", BTC, "--count", "250", DEPOSITS="1")
        assert "that was the last deposit" in r.stderr and '"agree":true' in r.stderr and rig.received(w) == [10000] * 4, (r.returncode, r.stderr)


def the_stock_agents_sign_what_a_dry_stream_is_offered_and_pay_it_on_the_socket():
    d, rig = _daemon(), _rig()
    for agent in ("v1", "v2"):
        w = _new_wallet()
        rig.chain("transfer", key=rig.key(w), value=30)  # for what the operator grants: nobody has more than the seller got
        ws = d.ws(d.mint(rig.account(w), "0.00003"))
        ws.subscribe(BTC)
        shop = _Shop(ws.next("payment_required"))
        rig.ask(agent, w, "GET", shop.url)
        shop.shutdown()
        assert shop.payment, agent
        ws.send({"op": "pay", "id": 3, "payment": shop.payment})
        p = ws.next("paid", id=3)
        assert p["credited"] == "0.100000000" and rig.received(w) == [30, 100000], p
        ws.count(30)
        ws.close()
        assert not ws.gaps
        d.settled(rig.account(w), len(ws.ticks) * TICK_USD)


def a_402_holds_both_offers_and_nothing_of_the_request():
    d, rig = _daemon(), _rig()
    plain = d.ask("POST", DEPOSIT)
    evil = d.ask("POST", DEPOSIT, headers={"Host": "evil.example"})
    assert plain.status == evil.status == 402 and b"evil.example" not in evil.body
    for a in (plain, evil):
        assert len(a.body) < 4096 and a.headers["content-type"] == "application/json" and a.headers["cache-control"] == "no-store"
        v1, v2 = a.json, json.loads(base64.b64decode(a.headers["payment-required"], validate=True))
        assert v1["x402Version"] == 1 and v2["x402Version"] == 2 and "evil" not in json.dumps(v2)
        assert v1["accepts"][0]["maxAmountRequired"] == v2["accepts"][0]["amount"] == "100000"
        assert "1000000" in [e["amount"] for e in v2["accepts"]]
        for e in [e for e in [*v1["accepts"], *v2["accepts"]] if "solana" not in e["network"]]:
            assert (e["payTo"], e["asset"], e["scheme"], e["extra"]) == (rig.pay_to, rig.asset, "exact", {"name": "USDC", "version": "2"}), e
        assert v2["resource"]["url"] == _url(d, DEPOSIT), v2["resource"]
    a = d.ask("GET", QUERY)
    assert a.status == 402 and {e["maxAmountRequired"] for e in a.json["accepts"]} == {"100"} and a.json["deposit"]["amounts"], a.body


def a_query_is_paid_directly_and_the_same_header_gets_the_same_bytes():
    d, rig = _daemon(), _rig()
    for version in (1, 2):
        w = _new_wallet()
        got = rig.ask(f"v{version}", w, "GET", _url(d, QUERY))
        assert got.status == 200 and got.asked == [402, 200], (got.status, got.body)
        assert got.json["feed"] == BTC and got.json["charged"] == "0.000100000" and rig.received(w) == [100], got.json
        assert _receipt(got, version)["success"] is True
        for _ in range(3):
            again = d.ask("GET", QUERY, headers=got.payment)
            assert again.status == 200 and again.body == got.body, again.body
        elsewhere = d.ask("GET", "/v1/ingest-data?feed=SOL/USDT@binance", headers=got.payment)
        assert elsewhere.status != 200 or elsewhere.body == got.body, "one payment, one answer"
        d.settled(rig.account(w), QUERY_USD)
        assert rig.received(w) == [100] and _credited(d, w) == QUERY_USD


def the_stock_agents_pay_for_every_route_that_offers():
    d, rig = _daemon(), _rig()
    until(lambda: d.ask("GET", f"/v1/history?feed={BTC}&limit=20", token=d.mint("local:reader")).json["count"] == 20)
    events, flat = {"Accept": "text/event-stream"}, {"Accept": "application/vnd.kamiyo.flatbuffers"}
    for agent in ("v1", "v2"):
        for path, more in ((f"/v1/compare?feed={BTC}", {}), (f"/v1/history?feed={BTC}&limit=20", {}), ("/v1/snapshot", {}), ("/v1/snapshot", {"headers": flat, "binary": True}),
                           (f"/v1/stream?feeds={BTC}", {"headers": events, "bytes": 2000}), ("/v1/passes", {"method": "POST", "body": {"feeds": [BTC]}})):
            w = _new_wallet()
            a = rig.ask(agent, w, more.pop("method", "GET"), _url(d, path), **more)
            assert a.status == 200 and a.asked == [402, 200], (agent, path, a.asked, a.body)
            receipt = _receipt(a, int(agent[1]))
            assert receipt["success"] is True and receipt["payer"].lower() == rig.address(w).lower(), receipt
            account = d.account(rig.account(w))
            assert account["credited"] == _got(w) > 0, (path, account)
            if "stream" in path:
                assert "event: tick" in a.body.decode() and account["credited"] == ASK_USD, a.body
                again = 409
            elif more.get("binary"):
                d.settled(rig.account(w), Decimal(a.headers["kamiyo-charged"]))
                again = 409
            else:
                assert Decimal(a.json["charged"]) + Decimal(a.json["balance"]) == _got(w), a.body
                d.settled(rig.account(w), Decimal(a.json["charged"]))
                again = 409 if "passes" in path else 200
            b = d.ask("POST" if "passes" in path else "GET", path, more.get("body"), headers={**a.payment, **more.get("headers", {})})
            assert b.status == again and (again == 409 or b.body == a.body), (path, b.status, b.body)
            assert d.account(rig.account(w))["credited"] == _got(w), "and nothing more was taken"


def a_header_read_off_the_chain_opens_no_stream_and_buys_nothing_of_the_account():
    d, rig = _daemon(), _rig()
    for path, method, body, headers in ((f"/v1/stream?feeds={BTC}", "GET", None, {"Accept": "text/event-stream"}), ("/v1/passes", "POST", {"feeds": [BTC]}, {})):
        w = _new_wallet()
        _deposited(d, _made(d, w))
        offer = d.ask(method, path, body, headers=headers).json["accepts"][0]
        made = rig.chain("pay", key=rig.key(w), entry=offer, over={})
        assert rig.chain("submit", key=rig.key(_new_wallet()), **made["payment"]["payload"])["success"]
        a = d.ask(method, path, body, headers={**headers, made["name"]: made["header"]})
        assert a.status in (409, 202) and "token" not in a.json, (path, a.status, a.body)
        until(lambda: _credited(d, w) == _got(w), text="the transfer that somebody else submitted is its payer's")
        assert d.ask(method, path, body, headers={**headers, made["name"]: made["header"]}).status == 409
        assert d.account(rig.account(w))["consumed"] == 0


def an_answer_that_was_paid_for_is_repeated_while_its_feed_is_stale_and_nobody_pays_then():
    rig, buyer, late = _rig(), _new_wallet(), _new_wallet()
    batch = "/v1/ingest-data/batch", {"queries": [{"feed_type": BTC}, {"feed_type": SOL}]}
    with Sim(50) as own, Daemon(own, **{"payments__" + k: v for k, v in _payments(rig).items()}) as d:
        got = rig.ask("v1", buyer, "GET", _url(d, QUERY))
        many = rig.ask("v1", buyer, "POST", _url(d, batch[0]), batch[1])
        assert (got.status, many.status) == (200, 200), (got.body, many.body)
        new = _made(d, late, QUERY, "GET")
        newer = rig.chain("pay", key=rig.key(late), entry=d.ask("POST", *batch).json["accepts"][0])
        own.end()
        stale = QUERY + "&max_age_ms=1"
        strict = {"queries": [{**q, "data_params": {"max_age_ms": 1}} for q in batch[1]["queries"]]}
        until(lambda: d.ask("GET", stale, headers={"authorization": "Bearer x"}).status == 503, text="it is stale")
        for made, method, path, body in ((new, "GET", stale, None), (newer, "POST", batch[0], strict)):
            a = _send(d, made, method, path, body)
            assert a.status == 503 and a.json["code"] == "stale" and a.headers["retry-after"] == "1", (a.status, a.body)
        again = d.ask("GET", stale, headers=got.payment)
        assert again.status == 200 and again.body == got.body, again.body
        again = d.ask("POST", batch[0], strict, headers=many.payment)
        assert again.status == 200 and again.body == many.body, again.body
        assert rig.received(late) == [] and len(rig.received(buyer)) == 2
        assert _credited(d, late) == 0


def what_cannot_be_answered_is_not_taken():
    d, rig, w = _daemon(), _rig(), _new_wallet()
    made = _made(d, w, QUERY, "GET")
    for method, path, body, status in (("GET", "/v1/ingest-data?feed=NO/SUCH", None, 404), ("POST", "/v1/ingest-data", "{", 400)):
        assert _send(d, made, method, path, body).status == status, path
    assert rig.received(w) == [] and _send(d, made, "GET", QUERY).status == 200 and rig.received(w) == [100]


def a_payer_gets_its_token_again_by_signing_in():
    d, rig, w = _daemon(), _rig(), _new_wallet()
    j = _deposited(d, _made(d, w))
    got = rig.ask("v2", w, "POST", _url(d, "/v1/tokens"), signin=True)
    assert got.status == 200 and got.payment is None and got.json["account"] == j["account"] and got.json["balance"] == j["balance"], got.body
    assert d.ask("GET", QUERY, token=got.json["token"]).status == 200 and rig.received(w) == [100000]
    replayed = d.ask("POST", "/v1/tokens", headers={"SIGN-IN-WITH-X": got.signin})
    assert replayed.status in (401, 402), "a sign-in works once"


def a_transfer_made_alone_is_credited_once():
    d, rig, w = _daemon(), _rig(), _new_wallet()
    j = _deposited(d, _made(d, w))
    tx = rig.chain("transfer", key=rig.key(w), value=250000)["tx"]
    mine = {"token": j["token"]}

    def verify(tx, **who):
        return d.ask("POST", "/v1/x402/verify-payment", {"tx_hash": tx, "network": "base-sepolia"}, **who)
    assert verify(tx).status in (401, 402), "whose transfer would it be?"
    stranger = _deposited(d, _made(d, _new_wallet()))["token"]
    assert verify(tx, token=stranger).status != 200
    a = verify(tx, **mine)
    assert a.status == 200 and a.json["credited"] == "0.250000000" and a.json["balance"] == "0.350000000", a.body
    verify(tx, **mine)
    verify(j["transaction"], **mine)  # the deposit, which was credited when it settled
    verify("0x" + "12" * 32, **mine)
    assert _credited(d, w) == Decimal("0.35") == _got(w)


def a_contract_wallet_pays():
    d, rig = _daemon(), _rig()
    wallet = rig.at["contractWallet"]
    entry, _ = _offer(d)
    made = rig.chain("pay", key=wallet["owner"]["key"], entry=entry, over={"from": wallet["address"]})
    a = _send(d, made)
    assert a.status == 200 and a.json["account"] == f"eip155:84532:{wallet['address'].lower()}" and a.json["credited"] == "0.100000000", a.body
    forged = rig.chain("pay", key=rig.key(_new_wallet()), entry=entry, over={"from": wallet["address"]})
    a = _send(d, forged)
    assert a.status == 402, (a.status, a.body)  # not its owner's signature


def agents_of_both_protocols_deposit_on_solana():
    d, rig = _daemon(), _rig()
    if not rig.solana:
        print("     no Solana for this processor")
        return
    paid = 0
    for wallet, (agent, header) in enumerate((("v1", 1), ("v2", 2))):
        got = rig.ask_solana(agent, wallet, "POST", _url(d, DEPOSIT))
        assert got.status == 200 and got.asked == [402, 200], (agent, got.status, got.body)
        j, payer = got.json, rig.solana.at["wallets"][wallet]["address"]
        assert j["account"] == f"{rig.solana.at['caip2']}:{payer}" and j["credited"] == "0.100000000", j
        receipt = _receipt(got, header)
        assert receipt["success"] is True and receipt["payer"] == payer and receipt["transaction"] == j["transaction"], receipt
        assert d.ask("GET", QUERY, token=j["token"]).status == 200
        again = d.ask("POST", DEPOSIT, headers=got.payment)
        assert again.status == 200 and again.json["account"] == j["account"], again.body
        mine = rig.ask_solana("v2", wallet, "POST", _url(d, "/v1/tokens"), signin=True)
        assert mine.status == 200 and mine.payment is None and mine.json["account"] == j["account"], mine.body
        paid += 100000
        assert rig.solana("balance", address=rig.solana.at["payTo"])["value"] == str(paid)
    # sent, and the answer lost: the chain says what became of it
    rig.mode("settles_and_drops", times=1)
    got = rig.ask_solana("v2", 2, "POST", _url(d, DEPOSIT))
    assert got.status in (200, 202), got.body
    until(lambda: d.ask("POST", DEPOSIT, headers=got.payment).status == 200, text="credited by the chain's word")
    # never sent, whatever is claimed: nobody is credited
    rig.mode("lies", times=1)
    got = rig.ask_solana("v2", 3, "POST", _url(d, DEPOSIT))
    assert got.status in (202, 402), got.body
    assert rig.solana("balance", address=rig.solana.at["payTo"])["value"] == str(paid + 100000)
    # a wallet with nothing in it: refused before anything is written or sent
    at = rig.solana.at["wallets"]
    rig.solana("transfer", wallet=7, to=at[6]["address"], value=rig.solana("balance", address=at[7]["address"])["value"])
    rig.mode()
    got = rig.ask_solana("v2", 7, "POST", _url(d, DEPOSIT))
    assert got.status == 402 and b"insufficient_funds" in got.body, (got.status, got.body)
    assert rig.counts()["settles"] == 0, rig.counts()


def a_transfer_made_alone_on_solana_is_credited_once_to_its_sender():
    d, rig = _daemon(), _rig()
    if not rig.solana:
        print("     no Solana for this processor")
        return
    mine, stranger = 4, 5
    j, other = (rig.ask_solana("v2", w, "POST", _url(d, DEPOSIT)).json for w in (mine, stranger))

    def sent(**more):
        return rig.solana("transfer", wallet=mine, **more)["tx"]

    def verify(tx, token=j["token"]):
        return d.ask("POST", "/v1/x402/verify-payment", {"tx_hash": tx, "network": "solana-devnet"}, token=token)

    def decided(tx, token=j["token"]):
        """202 as long as the chain has not answered, however slow the machine is."""
        return until(lambda: (a := verify(tx, token)).status != 202 and a, text=f"{tx} is decided")

    def balance():
        return Decimal(d.ask("GET", "/v1/account", token=j["token"]).json["balance"])
    tx = sent(value=250000)
    assert verify(tx, None).status == 401 and decided(tx, other["token"]).status == 403 and balance() == Decimal("0.1")
    for _ in range(2):  # the same answer again, and the money once
        a = decided(tx)
        assert a.status == 200 and (a.json["credited"], a.json["balance"], a.json["account"]) == ("0.250000000", "0.350000000", j["account"]), a.body
    verify(j["transaction"])  # what x402 settled is on the account already
    assert balance() == Decimal("0.35")
    assert decided(sent(to=rig.solana.at["wallets"][stranger]["address"], value=7)).status == 404
    rig.solana("hold", on=True)  # not deep enough yet
    held = sent(value=50000)
    a = verify(held)
    assert a.status == 202 and balance() == Decimal("0.35"), a.body
    rig.solana("hold", on=False)
    assert decided(held).status == 200 and balance() == Decimal("0.4")
    assert verify("2" * 88).status == 202, "nobody has seen it"
    for bad in ("0x" + "12" * 32, "1" * 40, tx + "22"):
        assert verify(bad).status == 400, bad
    assert balance() == Decimal("0.4") and decided(tx, other["token"]).status == 403
    payments = _payments(rig)  # where more blocks must stand on it than do
    payments["networks"][1]["confirmations"] = 5
    with Daemon(_shared["sim"], **{"payments__" + k: v for k, v in payments.items()}) as strict:
        token = _deposited(strict, _made(strict, _new_wallet()))["token"]  # anybody's: whose it is is looked at later
        a = strict.ask("POST", "/v1/x402/verify-payment", {"tx_hash": tx, "network": "solana-devnet"}, token=token)
        assert a.status == 202, a.body


# --- what a thief tries -----------------------------------------------------------------------------

def only_what_was_offered_is_taken():
    """P1, P3, P14: two chains, two tokens, two recipients, two amounts; one cell of sixteen is ours."""
    d, rig, w = _daemon(), _rig(), _new_wallet()
    ours = {"asset": rig.asset, "to": rig.pay_to, "value": "100000", "chainId": 84532}
    theirs = {"asset": rig.at["secondToken"], "to": rig.address(0), "value": "99999", "chainId": 8453}
    entry, _ = _offer(d)
    for bits in range(1, 16):
        cell = {k: (theirs if bits >> i & 1 else ours)[k] for i, k in enumerate(ours)}
        made = rig.chain("pay", key=rig.key(w), entry=entry, over={**{k: cell[k] for k in ("asset", "to", "value")}, "domain": {"chainId": cell["chainId"]}})
        a = _send(d, made)
        assert a.status == 402, (cell, a.status, a.body)
    for as_ in ({"network": "base"}, {"network": "ethereum"}, {"scheme": "upto"}, {"x402Version": 3}):
        assert _send(d, _made(d, w, as_=as_)).status in (400, 402), as_
    v2, resource = _offer(d, version=2)
    for entry2, resource2 in (({**v2, "amount": "1"}, resource), ({**v2, "payTo": rig.address(0)}, resource), ({**v2, "network": "eip155:8453"}, resource),
                              (v2, {**resource, "url": "https://other.example/v1/deposit"})):
        made = rig.chain("pay", key=rig.key(w), entry=entry2, resource=resource2)
        assert _send(d, made).status in (400, 402), (entry2, resource2)
    assert rig.counts()["settles"] == 0 and rig.received(w) == [], "nothing of it went out"
    assert _send(d, rig.chain("pay", key=rig.key(w), entry=entry)).status == 200 and rig.received(w) == [100000]


def time_and_signature_are_checked_before_anybody_is_asked():
    """P4, P5, P10."""
    d, rig, w = _daemon(), _rig(), _new_wallet()
    now = int(time.time())
    for over in ({"validBefore": now + 3}, {"validBefore": now - 1}, {"validAfter": now + 30}, {"bend": "high_s"}, {"bend": "low_v"}, {"bend": "short"},
                 {"bend": "zero"}, {"bend": "long"}):
        a = _send(d, _made(d, w, **over))
        assert a.status == 402, (over, a.status, a.body)
    assert rig.received(w) == [] and _credited(d, w) == 0
    good = _made(d, w)
    j = _deposited(d, good)
    bent = _made(d, w, bend="high_s", **{k: v for k, v in _authorization(good).items() if k in ("nonce", "validBefore")})
    assert _send(d, bent).status != 200 or _credited(d, w) == ASK_USD, "a malleated copy is no second payment"
    assert _credited(d, w) == ASK_USD and Decimal(j["credited"]) == ASK_USD


def a_header_read_off_the_chain_gets_no_token():
    """A settled authorization stands in the chain for everybody to read, signature and all: who sends it again is told what became of it, no more."""
    d, rig, w = _daemon(), _rig(), _new_wallet()
    made = _made(d, w)
    first = _deposited(d, made)
    assert first["token"]
    for _ in range(2):
        again = _send(d, made)
        assert again.status == 200 and "token" not in again.json and again.json["credited"] == first["credited"], again.body
        assert first["token"].encode() not in again.body
    w = _new_wallet()
    made = _made(d, w)
    assert rig.chain("submit", key=rig.key(_new_wallet()), **made["payment"]["payload"])["success"]
    a = until(lambda: (lambda a: a.status == 200 and a)(_send(d, made)))
    assert "token" not in a.json and _credited(d, w) == ASK_USD, a.body
    got = rig.ask("v2", w, "POST", _url(d, "/v1/tokens"), signin=True)
    assert got.json["account"] == rig.account(w) and got.json["token"] and got.payment is None, got.body


def a_thousand_sends_of_one_payment_credit_once():
    """P1: one connection each, all at the same time."""
    d, rig, w = _daemon(), _rig(), _new_wallet()
    made = _made(d, w)
    head = f"POST {DEPOSIT} HTTP/1.1\r\nHost: a\r\n{made['name']}: {made['header']}\r\nContent-Length: 0\r\n\r\n".encode()
    conns = [d.connect() for _ in range(1000)]
    for c in conns:
        c.sendall(head)
    statuses = {}
    for c in conns:
        a, _ = read_answer(c)
        statuses[a.status] = statuses.get(a.status, 0) + 1
        if a.status == 200:
            assert a.json["account"] == rig.account(w) and a.json["credited"] == "0.100000000", a.body
        else:
            assert a.status == 429, (a.status, a.body)
        c.close()
    assert statuses == {200: 1000}, statuses
    assert _deposited(d, made)["balance"] == "0.100000000"
    assert rig.received(w) == [100000] and _credited(d, w) == ASK_USD, statuses


def a_thousand_sends_of_one_query_payment_are_one_answer():
    d, rig, w = _daemon(), _rig(), _new_wallet()
    made = _made(d, w, QUERY, "GET")
    head = f"GET {QUERY} HTTP/1.1\r\nHost: a\r\n{made['name']}: {made['header']}\r\n\r\n".encode()
    conns = [d.connect() for _ in range(200)]
    for c in conns:
        c.sendall(head)
    bodies = set()
    for c in conns:
        a, _ = read_answer(c)
        assert a.status in (200, 202, 409, 429, 503), (a.status, a.body)
        if a.status == 200:
            bodies.add(a.body)
        c.close()
    assert len(bodies) <= 1, "two answers for one payment"
    a = _send(d, made, "GET", QUERY)
    assert a.status == 200 and bodies | {a.body} == {a.body}
    d.settled(rig.account(w), QUERY_USD)
    assert rig.received(w) == [100]


def many_payers_at_once_are_all_served():
    d, rig = _daemon(), _rig()
    wallets = [_new_wallet() for _ in range(40)]
    entry, _ = _offer(d)
    waiting = [rig.chain.begin("pay", key=rig.key(w), entry=entry) for w in wallets]
    answers = [_begin(d, made()) for made in waiting]
    for w, answer in zip(wallets, answers):
        a = answer()
        assert a.status in (200, 202), (a.status, a.body)  # the facilitator settles one after the other
        until(lambda: _credited(d, w) == ASK_USD, text=f"wallet {w}")
    assert rig.counts()["settles"] == len(rig.counts()["settled"]) == 40


def one_wallet_cannot_promise_more_than_a_few_payments_at_once():
    """P7: what is under way of one payer is bounded, and what it does not have is not credited."""
    d, rig = _daemon(), _rig()
    poor = "0x" + os.urandom(32).hex()
    entry, _ = _offer(d)
    for _ in range(12):
        a = _send(d, rig.chain("pay", key=poor, entry=entry))
        assert a.status in (402, 429), (a.status, a.body)
    assert rig.counts()["settles"] <= 12


# --- what goes wrong at the facilitator --------------------------------------------------------------

def whatever_the_facilitator_does_after_settling_the_payer_is_credited_once():
    """P12, P8: the answer is lost, late, wrong, garbage; the chain knows."""
    d, rig = _daemon(), _rig()
    sent = []
    for mode in ("late", "nulls", "huge", "settles_and_drops", "settles_and_errors", "settles_and_refuses", "settles_twice", "other_payer", "other_network",
                 "pending"):
        w = _new_wallet()
        rig.mode(mode, ms=300)
        made = _made(d, w)
        sent.append((mode, w, made, _begin(d, made)))
        until(lambda: len(rig.received(w)) == 1, text=f"{mode}: settled")
    for mode, w, made, answer in sent:
        a = answer()
        assert a.status in (200, 202), (mode, a.status, a.body)
        until(lambda: _credited(d, w) == ASK_USD, text=f"{mode}: credited")
        j = _deposited(d, made)
        assert j["account"] == rig.account(w) and Decimal(j["credited"]) == ASK_USD, (mode, j)
        assert rig.received(w) == [100000] and _credited(d, w) == ASK_USD, mode


def whatever_the_facilitator_claims_without_settling_nobody_is_credited():
    """P12, P9: not a cent of credit and not a byte of data for a claim; and when the time of the authorization is over the payment has failed."""
    d, rig = _daemon(), _rig()
    sent = []
    for mode in ("drops", "error", "error_json", "garbage", "empty", "other_shape", "lies", "lies_empty", "other_payment", "refuses", "refuses_400", "limits"):
        for path, method in ((DEPOSIT, "POST"), (QUERY, "GET")):
            w = _new_wallet()
            rig.mode(mode)
            made = _made(d, w, path, method, validBefore=rig.now() + 60)
            answer = _begin(d, made, method, path)
            until(lambda: rig.counts()["settles"] or answer.done(), text=mode)
            sent.append((mode, path, method, w, made, answer))
    for mode, path, method, w, made, answer in sent:
        a = answer()
        assert a.status in (202, 402, 502, 503), (mode, path, a.status, a.body)
        assert b'"price"' not in a.body and _credited(d, w) == 0 and rig.received(w) == [], (mode, path, a.body)
        if a.status == 202:
            assert a.headers["location"] == "/v1/payments/" + a.json["payment_id"] and a.json["state"] in ("submitted", "unknown"), (mode, a.body)
    rig.mode()
    # What was refused, and the chain bears that out, may be sent again; what is open is not settled a second way.
    for mode, path, method, w, made, answer in sent:
        if mode in ("refuses", "refuses_400"):
            assert _send(d, made, method, path).status == 200, mode
            assert len(rig.received(w)) == 1 and _credited(d, w) > 0
    _shared["open"] = [(mode, w, answer().json["payment_id"]) for mode, _, _, w, _, answer in sent if answer().status == 202]


def a_facilitator_that_hangs_delays_one_payer_and_nobody_else():
    d, rig, w, v = _daemon(), _rig(), _new_wallet(), _new_wallet()
    rig.mode("hangs", times=1)
    made = _made(d, w)
    start = time.monotonic()
    answer = _begin(d, made)
    until(lambda: rig.counts()["settles"] == 1)
    assert _deposited(d, _made(d, v))["credited"] == "0.100000000"
    assert answer().status == 202 and 1.5 < time.monotonic() - start < 6, (answer().status, time.monotonic() - start)
    assert _credited(d, w) == 0
    # somebody settles it after all, and the connection ends
    assert rig.chain("submit", key=rig.key(v), **made["payment"]["payload"])["success"]
    rig.release()
    until(lambda: _credited(d, w) == ASK_USD, text="the chain was asked")
    assert _state(d, answer().json["payment_id"]) == "settled" and _deposited(d, made)["credited"] == "0.100000000"


def a_third_party_submits_first_and_the_payer_is_credited_all_the_same():
    """P8: before the header comes, and while it is under way."""
    d, rig, thief = _daemon(), _rig(), _new_wallet()
    w = _new_wallet()
    made = _made(d, w)
    assert rig.chain("submit", key=rig.key(thief), **made["payment"]["payload"])["success"]
    until(lambda: _send(d, made).status == 200 or None, text="it is seen on the chain")
    assert _credited(d, w) == ASK_USD and rig.received(w) == [100000] and _credited(d, thief) == 0
    w = _new_wallet()
    made = _made(d, w)
    rig.mode("slow", times=1, ms=500)
    answer = _begin(d, made)
    until(lambda: rig.counts()["settles"] == 1)
    assert rig.chain("submit", key=rig.key(thief), **made["payment"]["payload"])["success"]
    assert answer().status in (200, 202), answer().body
    until(lambda: _credited(d, w) == ASK_USD)
    assert rig.received(w) == [100000]


def a_cancelled_authorization_buys_nothing():
    """P9: before the header comes, and between verify and settle."""
    d, rig = _daemon(), _rig()
    w = _new_wallet()
    made = _made(d, w)
    assert rig.chain("cancel", key=rig.key(w), nonce=_authorization(made)["nonce"])["success"]
    for path in (DEPOSIT, DEPOSIT):
        a = _send(d, made, path=path)
        assert a.status in (202, 402), (a.status, a.body)
    w2 = _new_wallet()
    made2 = _made(d, w2, QUERY, "GET")
    rig.mode("slow", times=1, ms=500)
    answer = _begin(d, made2, "GET", QUERY)
    until(lambda: rig.counts()["settles"] == 1)
    assert rig.chain("cancel", key=rig.key(w2), nonce=_authorization(made2)["nonce"])["success"]
    assert answer().status in (202, 402) and b'"price"' not in answer().body, answer().body
    for wallet in (w, w2):
        assert _credited(d, wallet) == 0 and rig.received(wallet) == []


def a_payment_counts_when_it_is_deep_enough_and_not_if_the_chain_forgets_it():
    """P6: three confirmations; the block of the first payment is taken back before it has them."""
    rig = _rig()
    rig.mode()

    def mine():
        rig.chain("rpc", method="evm_mine")

    with _sell(timeout="500ms", confirmations=3) as d:
        w = _new_wallet()
        made = _made(d, w)
        a = _send(d, made)
        assert a.status == 202 and a.json["state"] in ("submitted", "unknown") and rig.received(w) == [100000], a.body
        assert _credited(d, w) == 0
        rig.chain("rpc", method="anvil_rollback", params=[1])
        assert rig.received(w) == []
        for _ in range(4):
            mine()
        a = _send(d, made)
        assert a.status == 202 and _credited(d, w) == 0, a.body
        assert rig.chain("submit", key=rig.key(w), **made["payment"]["payload"])["success"], "mined once more"
        assert _send(d, made).status == 202 and _credited(d, w) == 0
        until(lambda: mine() or _send(d, made).status == 200, text="deep enough")
        assert rig.received(w) == [100000] and _credited(d, w) == ASK_USD


def a_token_that_lies_credits_nobody():
    """P13: events without the money."""
    rig = _rig()
    rig.mode()
    with _sell(timeout="500ms", asset=rig.at["liar"], asset_name="USDC", asset_version="2") as d:
        for which in (1, 2, 3):
            w = _new_wallet()
            rig.chain("lie", key=rig.key(w), which=which)
            for mode in ("honest", "other_payment"):
                rig.mode(mode)
                a = _send(d, _made(d, w))
                assert a.status in (202, 402), (which, mode, a.status, a.body)
            made = _made(d, w)
            rig.chain("submit", key=rig.key(w), asset=rig.at["liar"], **made["payment"]["payload"])
            assert _send(d, made).status in (202, 402), which
            assert _credited(d, w) == 0, which
        rig.chain("lie", key=rig.key(w), which=0)


# --- what a crash leaves ---------------------------------------------------------------------------

def killed_between_settle_and_credit_the_payer_is_credited_once_after_the_restart():
    rig = _rig()
    with tempfile.TemporaryDirectory() as folder:
        data = folder + "/data"
        for mode, path, method in (("late", DEPOSIT, "POST"), ("late", QUERY, "GET"), ("settles_and_drops", DEPOSIT, "POST")):
            w = _new_wallet()
            d = _sell(data=data)
            rig.mode(mode, times=1, ms=2000)
            made = _made(d, w, path, method)
            c = d.connect()
            c.sendall(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{made['name']}: {made['header']}\r\nContent-Length: 0\r\n\r\n".encode())
            until(lambda: rig.counts()["settled"], text="it is settled")
            d.end(signal.SIGKILL)
            paid = _got(w)
            assert paid > 0
            d = _sell(data=data)
            until(lambda: _credited(d, w) == paid, text=f"{mode} {path}: credited by the chain's word")
            a = _send(d, made, method, path)
            assert a.status == 200 and _credited(d, w) == paid == _got(w), (mode, path, a.status, a.body)
            again = _send(d, made, method, path)
            if path == QUERY:
                assert again.body == a.body and d.settled(rig.account(w), QUERY_USD)
            d.stop()
            d.audit()
        assert len(rig.received(w)) == 1


def without_a_facilitator_nothing_is_offered_but_transfers_count():
    rig, w = _rig(), _new_wallet()
    rig.mode()
    payments = {"payments__" + k: v for k, v in _payments(rig).items() if k != "facilitator"}
    with Daemon(_shared["sim"], **payments) as d:
        a = d.ask("GET", QUERY)
        assert a.status == 402 and "accepts" not in a.json and "payment-required" not in a.headers, a.body
        token = d.mint(rig.account(w), "0.01")
        tx = rig.chain("transfer", key=rig.key(w), value=50000)["tx"]
        a = d.ask("POST", "/v1/x402/verify-payment", {"tx_hash": tx, "network": "eip155:84532"}, token=token)
        assert a.status == 200 and a.json["credited"] == "0.050000000", a.body


def what_stayed_open_fails_when_its_time_is_over():
    """Last: it moves the chain's clock."""
    d, rig = _daemon(), _rig()
    rig.chain("rpc", method="evm_increaseTime", params=[120])
    for _ in range(3):
        rig.chain("rpc", method="evm_mine")
    for mode, w, payment_id in _shared.get("open", ()):
        until(lambda: _state(d, payment_id) == "failed", seconds=20, text=f"{mode}: {payment_id} failed")
        assert _credited(d, w) == 0


def _the_books_agree():
    """Nobody was credited more than the seller got from him, and the ledger adds up."""
    d, rig = _shared.get("daemon"), _rig()
    if not d:
        return
    got = {}
    for row in rig.chain("received")["transfers"]:
        got[row["from"].lower()] = got.get(row["from"].lower(), 0) + int(row["value"])
    for w in range(next(_wallet)):
        assert _credited(d, w) * 10**6 <= got.get(rig.address(w).lower(), 0), w
    d.stop()
    d.audit()


if __name__ == "__main__":
    try:
        _shared["rig"] = Rig(wallets=164, solana=True)
    except MissingRig as missing:
        print("skipped:", missing)
        raise SystemExit(77)
    try:
        with Sim(50) as _shared["sim"]:
            run(globals(), _the_books_agree)
    finally:
        _shared["rig"].end()
