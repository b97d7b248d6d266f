#!/usr/bin/env python3
"""Payments that the daemon submits itself, end to end: no facilitator, a key of its own, a chain, and between the two a node that can be told to fail.  See harness.py and
x402_rig.py.  What the chain says that the seller got is the truth: after every rule here nobody was credited more than that, and nobody paid twice."""
import http.client
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from decimal import Decimal

from harness import FEEDS, KAMIYOD, QUERY_USD, Daemon, Sim, run, until
from x402_rig import MissingRig, Rig

BTC, _ = FEEDS
DEPOSIT = "/v1/deposit"
QUERY = "/v1/ingest-data?feed=BTC/USDT@binance"
ETHER = 10**18
WALLETS, OWN = 49, 46  # the last ones are the settlers' own accounts
STUCK_SECONDS = 20  # pay/settler.h
_shared = {}
_wallet = iter(range(OWN))


def _rig():
    return _shared["rig"]


class _Node(http.server.ThreadingHTTPServer):
    """The chain's node, which does what `rule` (method -> what) says: "drop" passes a request on and loses the answer, "swallow" loses the request, anything else is the answer."""
    daemon_threads = True

    def __init__(self, rpc):
        super().__init__(("127.0.0.1", 0), _Passes)
        self.rpc, self.rule, self.seen = rpc.split("//")[1], {}, {}
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d" % self.server_address[1]

    def handle_error(self, *_):
        pass  # who asked is gone: killed


class _Passes(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        node = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        asked = json.loads(body)
        node.seen[asked["method"]] = node.seen.get(asked["method"], 0) + 1
        rule = node.rule.get(asked["method"])
        if rule == "swallow":
            self.close_connection = True
            return
        if isinstance(rule, dict):
            answer = json.dumps({"jsonrpc": "2.0", "id": asked["id"], **rule}).encode()
        else:
            c = http.client.HTTPConnection(node.rpc, timeout=20)
            c.request("POST", "/", body, {"content-type": "application/json"})
            answer = c.getresponse().read()
            c.close()
        if rule == "drop":
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def _key_file(which=OWN, mode=0o600):
    f = tempfile.NamedTemporaryFile("w", suffix=".key")
    f.write(_rig().key(which) + "\n")
    f.flush()
    os.chmod(f.name, mode)
    return f


def _sell(data=None, timeout="3s", node=None, which=OWN, **network):
    rig = _rig()
    key = _key_file(which)
    payments = {"settler_key_file": key.name, "timeout": timeout,
                "networks": [{"name": rig.at["network"], "pay_to": rig.pay_to, "rpc": (node or _shared["node"]).url, "max_fee_gwei": 100, **network}]}
    d = Daemon(_shared["sim"], data=data, **{"payments__" + k: v for k, v in payments.items()})
    key.close()  # read at the start, and gone
    return d


def _daemon():
    if "daemon" not in _shared:
        _shared["daemon"] = _sell()
    _shared["node"].rule = {}
    return _shared["daemon"]


def _new_wallet():
    return next(_wallet)


def _url(d, path):
    return "http://%s:%d%s" % (*d.public, path)


def _made(d, wallet, path=DEPOSIT, method="POST", **over):
    a = d.ask(method, path)
    assert a.status == 402, (a.status, a.body)
    return _rig().chain("pay", key=_rig().key(wallet), entry=a.json["accepts"][0], over=over)


def _send(d, made, method="POST", path=DEPOSIT):
    return d.ask(method, path, headers={made["name"]: made["header"]})


def _credited(d, account):
    a = d.operator("GET", "/v1/admin/accounts?account=" + account)
    return Decimal(a.json["credited"]) if a.status == 200 else Decimal(0)


def _state(d, payment_id):
    return d.ask("GET", "/v1/payments/" + payment_id).json["state"]


def _rpc(method, *params):
    return _rig().chain("rpc", method=method, params=list(params))["result"]


def _sent_by(which=OWN):
    return int(_rpc("eth_getTransactionCount", _rig().address(which), "latest"), 16)


def _free_of_traces(d, which=OWN):
    assert _rig().key(which)[2:] not in d.stderr(), "the key is in the log"


# --- what a customer does ---------------------------------------------------------------------------

def the_stock_agents_of_both_protocols_deposit_and_stream_without_a_facilitator():
    d, rig = _daemon(), _rig()
    for agent in ("v1", "v2"):
        w, before = _new_wallet(), _sent_by()
        got = rig.ask(agent, w, "POST", _url(d, DEPOSIT))
        assert got.status == 200 and got.asked == [402, 200], (got.status, got.asked, got.body)
        assert got.json["credited"] == "0.100000000" and rig.received(w) == [100000], got.json
        assert _sent_by() == before + 1, "one transaction"
        tx = _rpc("eth_getTransactionByHash", got.json["transaction"])
        assert tx["from"].lower() == rig.address(OWN).lower() and tx["type"] == "0x2" and int(tx["gas"], 16) <= 200000, tx
        ws = d.ws(got.json["token"])
        ws.subscribe(BTC)
        ws.count(20)
        ws.drop()
    assert rig.counts()["settles"] == 0
    assert "are submitted by our own account " + rig.address(OWN) in d.stderr()
    _free_of_traces(d)


def a_query_is_paid_by_its_header():
    d, rig = _daemon(), _rig()
    for agent in ("v1", "v2"):
        w = _new_wallet()
        got = rig.ask(agent, w, "GET", _url(d, QUERY))
        assert got.status == 200 and rig.received(w) == [100], (got.status, got.body)
        d.settled(rig.account(w), QUERY_USD)


def a_contract_wallet_pays_by_the_other_overload():
    d, rig = _daemon(), _rig()
    wallet = rig.at["contractWallet"]
    made = rig.chain("pay", key=wallet["owner"]["key"], entry=d.ask("POST", DEPOSIT).json["accepts"][0], over={"from": wallet["address"]})
    a = _send(d, made)
    assert a.status == 200, (a.status, a.body)
    tx = _rpc("eth_getTransactionByHash", a.json["transaction"])
    assert tx["input"].startswith("0xcf092995") and a.json["account"] == f"{rig.at['caip2']}:{wallet['address'].lower()}", tx


def many_at_once_have_nonces_of_their_own():
    d, rig = _daemon(), _rig()
    wallets, before = [_new_wallet() for _ in range(12)], _sent_by()
    made = [_made(d, w) for w in wallets]
    _rpc("evm_setAutomine", False)
    box = []
    threads = [threading.Thread(target=lambda m=m: box.append(_send(d, m))) for m in made]
    try:
        for t in threads:
            t.start()
        until(lambda: int(_rpc("eth_getTransactionCount", rig.address(OWN), "pending"), 16) == before + len(made), text="all of them wait in the pool")
        until(lambda: d.metrics()["settler_under_way"] == len(made))
        _rpc("evm_mine")
    finally:
        _rpc("evm_setAutomine", True)
    for t in threads:
        t.join()
    assert [a.status for a in box] == [200] * len(made), [(a.status, a.body) for a in box]
    assert _sent_by() == before + len(made) and all(rig.received(w) == [100000] for w in wallets)


def the_same_header_again_is_answered_and_costs_nothing():
    d, w = _daemon(), _new_wallet()
    made = _made(d, w)
    assert _send(d, made).status == 200
    before = _sent_by()
    assert _send(d, made).status == 200
    assert _sent_by() == before and _rig().received(w) == [100000]


# --- a node that fails ------------------------------------------------------------------------------

def a_lost_answer_to_what_was_sent_hides_nothing():
    d, w = _daemon(), _new_wallet()
    made, before = _made(d, w), _sent_by()
    _shared["node"].rule = {"eth_sendRawTransaction": "drop"}
    a = _send(d, made)
    assert a.status == 200 and _rig().received(w) == [100000] and _sent_by() == before + 1, (a.status, a.body)
    _shared["node"].rule = {}
    assert _send(d, _made(d, _new_wallet())).status == 200, "and the next nonce is right"


def what_the_token_would_refuse_is_not_sent():
    d, w = _daemon(), _new_wallet()
    made, before = _made(d, w), _sent_by()
    _shared["node"].rule = {"eth_estimateGas": {"error": {"code": 3, "message": "execution reverted: ERC20: transfer amount exceeds balance"}}}
    a = _send(d, made)
    assert a.status == 402 and "insufficient_funds" in json.dumps(a.json) and _sent_by() == before, (a.status, a.body)
    _shared["node"].rule = {"eth_estimateGas": {"result": hex(200001)}}
    a = _send(d, _made(d, _new_wallet()))
    assert a.status == 402 and "settler_gas_above_limit" in json.dumps(a.json) and _sent_by() == before, (a.status, a.body)
    _shared["node"].rule = {}
    a = _send(d, made)
    assert a.status == 200 and _rig().received(w) == [100000], (a.status, a.body)


def without_coin_for_gas_nothing_is_taken_until_there_is_some_again():
    d, rig, w, other = _daemon(), _rig(), _new_wallet(), _new_wallet()
    made, new = _made(d, w), _made(d, other)
    _rpc("anvil_setBalance", rig.address(OWN), "0x0")
    a = _send(d, made)  # it may be taken in before we know, and is refused all the same
    assert a.status == 503 and "settler_out_of_gas" in a.json["detail"] and "retry-after" in a.headers, (a.status, a.body)
    until(lambda: d.metrics()["settler_closed"] == 1, text="the metric says it")
    assert d.ask("GET", "/healthz", door="admin").json["payments"]["settlers_closed"] == 1
    a = _send(d, new)
    assert a.status == 503 and "settler_out_of_gas" in a.json["detail"], (a.status, a.body)
    assert "settler_out_of_gas" in d.stderr() and rig.received(w) == rig.received(other) == []
    _rpc("anvil_setBalance", rig.address(OWN), hex(ETHER))
    until(lambda: d.metrics()["settler_closed"] == 0, text="there is some again")
    for m, who in ((made, w), (new, other)):
        a = _send(d, m)
        assert a.status == 200 and rig.received(who) == [100000], (a.status, a.body)


def fees_above_what_the_operator_allows_are_not_paid():
    rig, w, node = _rig(), _new_wallet(), _Node(_rig().at["rpc"])
    node.rule = {"eth_maxPriorityFeePerGas": {"result": hex(101 * 10**9)}}
    with _sell(node=node, which=OWN + 1) as d:
        until(lambda: d.metrics()["settler_closed"] == 1, text="too dear")
        made = _made(d, w)
        a = _send(d, made)
        assert a.status == 503 and "settler_fees_above_cap" in a.json["detail"], (a.status, a.body)
        node.rule = {}
        until(lambda: d.metrics()["settler_closed"] == 0, text="cheap again")
        assert _send(d, made).status == 200 and rig.received(w) == [100000]


def a_node_of_another_chain_is_given_nothing():
    w = _new_wallet()
    node = _Node(_rig().at["rpc"])
    node.rule = {"eth_chainId": {"result": "0x1"}}
    with _sell(node=node, which=OWN + 1) as d:
        until(lambda: d.metrics()["settler_closed"] == 1, text="it is seen")
        a = _send(d, _made(d, w))
        assert a.status == 503 and "settler_wrong_chain" in a.json["detail"], (a.status, a.body)
        assert "is a node of chain 1, not of 84532" in d.stderr() and node.seen.get("eth_sendRawTransaction", 0) == 0


def _begin_stuck():
    """A deposit whose transaction the node never gets, on a daemon of its own: that takes its time, and goes on beside the other rules."""
    if "stuck" not in _shared:
        node, w = _Node(_rig().at["rpc"]), _new_wallet()
        d = _sell(node=node, which=OWN + 2, timeout="100ms")
        made = _made(d, w)
        node.rule = {"eth_sendRawTransaction": {"error": {"code": -32603, "message": "internal error"}}}  # which does not say whether it has it
        begun = time.monotonic()
        a = _send(d, made)
        assert a.status == 202, (a.status, a.body)
        until(lambda: node.seen.get("eth_sendRawTransaction", 0) > 0)
        node.rule = {}
        _shared["stuck"] = d, node, w, a.json["payment_id"], begun
    return _shared["stuck"]


# --- killed ------------------------------------------------------------------------------------------

def killed_before_or_behind_sending_the_payer_is_charged_and_credited_once():
    rig = _rig()
    with tempfile.TemporaryDirectory(prefix="kamiyo-e2e-") as folder:
        node, w, v = _Node(rig.at["rpc"]), _new_wallet(), _new_wallet()
        d = _sell(folder + "/data", node=node, which=OWN + 1, timeout="300ms")
        before = _sent_by(OWN + 1)
        _rpc("evm_setAutomine", False)
        try:
            node.rule = {}
            a = _send(d, _made(d, v))  # this one waits in the pool
            assert a.status == 202 and a.json["state"] == "submitted", (a.status, a.body)
            until(lambda: int(_rpc("eth_getTransactionCount", rig.address(OWN + 1), "pending"), 16) == before + 1)
            node.rule = {"eth_sendRawTransaction": "swallow"}
            b = _send(d, _made(d, w))  # and this one never arrives there
            assert b.status == 202 and b.json["state"] == "submitted", (b.status, b.body)
            until(lambda: node.seen.get("eth_sendRawTransaction", 0) >= 2)
            d.end(signal.SIGKILL)
            assert rig.received(w) == rig.received(v) == []
        finally:
            _rpc("evm_setAutomine", True)
        _rpc("evm_mine")
        node.rule = {}
        d = _sell(folder + "/data", node=node, which=OWN + 1)
        until(lambda: _state(d, a.json["payment_id"]) == "settled", text="what was in the pool is found")
        until(lambda: _state(d, b.json["payment_id"]) == "settled", seconds=20, text="what was never sent is sent")
        assert rig.received(w) == rig.received(v) == [100000] and _sent_by(OWN + 1) == before + 2
        assert _credited(d, rig.account(w)) == _credited(d, rig.account(v)) == Decimal("0.1")
        _free_of_traces(d, OWN + 1)
        d.stop()
        d.audit()


# --- the key ---------------------------------------------------------------------------------------------

def check_config_and_the_start_refuse_a_key_that_is_none():
    rig = _rig()

    def check(text, mode=0o600, **more):
        with tempfile.NamedTemporaryFile("w") as key, tempfile.NamedTemporaryFile("w", suffix=".yaml") as conf:
            key.write(text)
            key.flush()
            os.chmod(key.name, mode)
            json.dump({"payments": {"settler_key_file": key.name, "networks": [{"name": "base", "pay_to": rig.pay_to, "rpc": "http://127.0.0.1:9"}], **more}}, conf)
            conf.flush()
            return subprocess.run([KAMIYOD, "check-config", "--config", conf.name], capture_output=True, text=True, timeout=20)
    good = rig.key(OWN)
    for text in (good, good[2:], good + "\n", good + "\r\n"):
        r = check(text)
        assert r.returncode == 0 and rig.address(OWN) in r.stderr, r.stderr
    for text, mode, said in ((good, 0o640, "chmod 600"), (good, 0o604, "chmod 600"), (good[:-2], 0o600, "64 hex digits"), ("0x" + "0" * 64, 0o600, "no key"), ("", 0o600, "at least"),
                             (good + "00", 0o600, "64 hex digits"), (good + "0000", 0o600, "more than"), (good.replace("0x", "0X"), 0o600, "64 hex digits")):
        r = check(text, mode)
        assert r.returncode != 0 and said in r.stderr and good[4:] not in r.stdout + r.stderr, (text, said, r.stderr)
    r = check(good, settler_key_file="/no/such/file")
    assert r.returncode != 0 and "no payments.settler_key_file" in r.stderr, r.stderr
    r = check(good, networks=[{"name": "base", "pay_to": rig.pay_to}])
    assert r.returncode == 0 and "has no rpc that our own account" in r.stderr, r.stderr


# --- what takes its time ---------------------------------------------------------------------------------

def what_no_block_takes_is_sent_again_dearer():
    d, node, w, payment, begun = _begin_stuck()
    until(lambda: _state(d, payment) == "settled", seconds=STUCK_SECONDS + 10)
    assert _rig().received(w) == [100000] and _sent_by(OWN + 2) == 1 and _credited(d, _rig().account(w)) == Decimal("0.1")
    assert time.monotonic() - begun >= STUCK_SECONDS and node.seen["eth_sendRawTransaction"] == 2 and d.metrics()["settler_resent_total"] == 1
    assert "our transaction 0 is not in a block: sent again at " in d.stderr()
    d.stop()
    d.audit()


def _the_books_agree():
    d, rig = _shared.get("daemon"), _rig()
    if not d:
        return
    got = {}
    for row in rig.chain("received")["transfers"]:
        got[row["from"].lower()] = got.get(row["from"].lower(), 0) + int(row["value"])
    for w in range(next(_wallet)):
        assert _credited(d, rig.account(w)) * 10**6 <= got.get(rig.address(w).lower(), 0), w
    _free_of_traces(d)
    d.stop()
    d.audit()


if __name__ == "__main__":
    try:
        _shared["rig"] = Rig(wallets=WALLETS)
    except MissingRig as missing:
        print("skipped:", missing)
        raise SystemExit(77)
    try:
        _shared["node"] = _Node(_shared["rig"].at["rpc"])
        with Sim(50) as _shared["sim"]:
            if len(sys.argv) == 4:
                _begin_stuck()
            run(globals(), _the_books_agree)
    finally:
        _shared["rig"].end()
