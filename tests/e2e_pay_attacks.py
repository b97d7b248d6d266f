#!/usr/bin/env python3
"""What a cheating customer and an outsider try at the doors where money is taken, against the real daemon.  See e2e_pay.py, whose rig this uses: there is what
chains and facilitators do; here is what can be sent."""
import base64
import json
import os
import sys
import tempfile
import threading
from decimal import Decimal

sys.dont_write_bytecode = True
from e2e_pay import ASK_USD, DEPOSIT, QUERY, _credited, _daemon, _deposited, _made, _new_wallet, _offer, _payments, _rig, _sell, _send, _shared, _url
from harness import QUERY_USD, Daemon, Sim, ended, read_answer, run, until
from x402_rig import MissingRig, Rig
from x402_sign import Wallet

TOKENS, VERIFY = "/v1/tokens", "/v1/x402/verify-payment"


def _base64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def _raw(d, head):
    """The answer to a request as it stands there, or None if the connection was ended without one."""
    c = d.connect()
    c.sendall(head.encode("latin-1"))
    try:
        return read_answer(c)[0]
    except AssertionError:
        return None
    finally:
        c.close()


def _head(made, method="POST", path=DEPOSIT):
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n{made['name']}: {made['header']}\r\nContent-Length: 0\r\n\r\n"


def _all(count, work):
    """What `work` returns, by that many threads at once."""
    out = []
    threads = [threading.Thread(target=lambda: out.append(work())) for _ in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


def _mine(rig):
    rig.chain("rpc", method="evm_mine")


# --- whose token ------------------------------------------------------------------------------------

def a_header_read_off_the_chain_opens_no_account_while_its_depth_is_waited_for():
    """Somebody else submitted it, and it is not deep enough yet: whoever brings the header now gets no token of an account that may hold more."""
    rig, w = _rig(), _new_wallet()
    with _sell(timeout="300ms", confirmations=3) as d:
        made = _made(d, w)
        first = _send(d, made)
        assert first.status == 202 and first.json["token"], "brought before anybody could read it"
        until(lambda: _mine(rig) or _send(d, made).status == 200)
        made = _made(d, w)
        assert rig.chain("submit", key=rig.key(_new_wallet()), **made["payment"]["payload"])["success"]
        for _ in range(2):
            a = _send(d, made)
            assert a.status == 202 and "token" not in a.json, a.body
        a = until(lambda: _mine(rig) or (lambda a: a.status == 200 and a)(_send(d, made)))
        assert "token" not in a.json and _credited(d, w) == 2 * ASK_USD, a.body


def a_token_that_is_shown_is_not_renewed_by_an_old_transfer():
    """Else who stole one would have it for ever, and after its revocation too."""
    d, rig, w = _daemon(), _rig(), _new_wallet()
    j = _deposited(d, _made(d, w))
    for tx in (j["transaction"], rig.chain("transfer", key=rig.key(w), value=50000)["tx"]):
        a = d.ask("POST", VERIFY, {"tx_hash": tx, "network": "base-sepolia"}, token=j["token"])
        assert a.status == 200 and {k: a.json[k] for k in ("account", "token", "jti", "expires_at")} == {k: j[k] for k in ("account", "token", "jti", "expires_at")}, a.body
    assert d.ask("POST", "/v1/tokens/revoke", {}, token=j["token"]).status == 200
    assert d.ask("POST", VERIFY, {"tx_hash": tx, "network": "base-sepolia"}, token=j["token"]).status == 401


def a_sign_in_is_for_this_server_and_works_once():
    """T6."""
    d, rig, w = _daemon(), _rig(), _new_wallet()
    tx = _deposited(d, _made(d, w))["transaction"]
    signer = Wallet("")
    signer.key, signer.address = int(rig.key(w), 16), rig.address(w).lower()

    def signed(chain=None, **over):
        extension = json.loads(base64.b64decode(d.ask("POST", TOKENS).headers["payment-required"]))["extensions"]["sign-in-with-x"]
        extension["info"].update(over)
        if chain:
            extension["supportedChains"] = [{"chainId": chain, "type": "eip191"}]
        return signer.sign_in(extension)

    def status(header, path=TOKENS, body=None):
        return d.ask("POST", path, body, headers={"SIGN-IN-WITH-X": header}).status
    for over in ({"domain": "evil.example"}, {"uri": "http://evil.example/v1/tokens"}, {"uri": _url(d, ".evil.example/")}, {"uri": _url(d, "@evil.example/")}, {"chain": "eip155:1"},
                 {"expirationTime": "2020-01-01T00:00:00Z"}, {"issuedAt": "2020-01-01T00:00:00Z"}, {"issuedAt": "2099-01-01T00:00:00Z"}, {"nonce": "00" * 40},
                 {"statement": "one\nURI: another"}):
        assert status(signed(**over)) in (400, 401, 415), over
    other = json.loads(base64.b64decode(signed()))
    other["address"] = rig.address(_new_wallet())
    assert status(_base64(json.dumps(other))) == 401
    header = signed()
    assert sorted(_all(20, lambda: status(header))).count(200) == 1
    header = signed()
    assert status(header, VERIFY, {"tx_hash": tx, "network": "base-sepolia"}) == 200 and status(header) == 401, "one use, whatever for"


# --- whose transfer ---------------------------------------------------------------------------------

def a_transfer_is_its_senders_and_counts_once_however_it_is_spelled():
    d, rig, w, v = _daemon(), _rig(), _new_wallet(), _new_wallet()
    token, stranger = _deposited(d, _made(d, w))["token"], _deposited(d, _made(d, v))["token"]

    def verify(tx, token=token):
        return d.ask("POST", VERIFY, {"tx_hash": tx, "network": "base-sepolia"}, token=token).status
    tx = rig.chain("transfer", key=rig.key(w), value=250000)["tx"]
    assert verify(tx, stranger) == 403
    assert set(_all(8, lambda: verify(tx))) == {200}
    for other in ("0x" + tx[2:].upper(), tx[:20] + tx[20:].upper(), "0X" + tx[2:], tx[2:], tx + "0", tx[:-1]):
        verify(other)
    assert _credited(d, w) == ASK_USD + Decimal("0.25")
    theirs = _made(d, w)["payment"]["payload"]
    for sent in (rig.chain("transfer", key=rig.key(w), value=1000000, asset=rig.at["secondToken"]), rig.chain("transfer", key=rig.key(w), value=1000000, to=rig.address(v)),
                 rig.chain("transfer", key=rig.key(w), value=0), rig.chain("transfer", key=rig.key(w), value=10**15)):
        assert verify(sent["tx"]) == 404, sent
    for body in (f'{{"tx_hash":"{tx}"}}', f'{{"tx_hash":"{tx}","network":5}}', f'{{"tx_hash":"{tx}","tx_hash":"{tx}","network":"base-sepolia"}}',
                 f'{{"tx_hash":"{tx}","network":"base-sepolia"}}}}', f'{{"tx_hash":["{tx}"],"network":"base-sepolia"}}', "[]", "null", ""):
        assert d.ask("POST", VERIFY, body, token=token).status == 400, body
    # submitted by a stranger, and brought both ways at once
    sent = rig.chain("submit", key=rig.key(v), **theirs)
    header = {"name": "X-PAYMENT", "header": _base64(json.dumps({"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": theirs}))}
    both = iter(range(12))
    statuses = _all(12, lambda: verify(sent["tx"]) if next(both) % 2 else _send(d, header).status)
    assert set(statuses) == {200} and verify(sent["tx"], stranger) == 403
    assert _credited(d, w) == 2 * ASK_USD + Decimal("0.25") and _credited(d, v) == ASK_USD


def of_a_transaction_that_holds_many_transfers_each_sender_gets_his_own():
    d, rig = _daemon(), _rig()
    payers = [_new_wallet() for _ in range(3)]
    made = [_made(d, w) for w in payers]
    sent = rig.chain("bundle", key=rig.key(_new_wallet()), payloads=[m["payment"]["payload"] for m in made])
    assert sent["success"]
    for w in reversed(payers):
        token = d.mint(rig.account(w), "0")
        a = d.ask("POST", VERIFY, {"tx_hash": sent["tx"], "network": "base-sepolia"}, token=token)
        assert a.status == 200 and a.json["credited"] == "0.100000000" and _credited(d, w) == ASK_USD, a.body
    stranger = d.mint("eip155:84532:0x" + "12" * 20, "0")
    assert d.ask("POST", VERIFY, {"tx_hash": sent["tx"], "network": "base-sepolia"}, token=stranger).status == 403
    for m, w in zip(made, payers):
        a = _send(d, m)
        assert a.status == 200 and "token" not in a.json and _credited(d, w) == ASK_USD, a.body


# --- what is in the header --------------------------------------------------------------------------

def a_payment_has_one_reading():
    """P11, C7: nothing that two readers could take for two things gets as far as a signature's check; the same payment then is as good as ever."""
    d, rig, w = _daemon(), _rig(), _new_wallet()
    made = _made(d, w)
    text = json.dumps(made["payment"], ensure_ascii=False)
    assert '"value": "100000"' in text
    values = ["100000", '"+100000"', '" 100000"', '"100000 "', '"0100000"', '"1e5"', '"100000.0"', '"0x186a0"', '"-100000"', '""', "null", '["100000"]', f'"{2**256 + 100000}"',
              f'"{2**64 + 100000}"', '"\\u0031\\u0030\\u0030000"', '"100000\\u0000"', '"\u0661\u0660\u0660\u0660\u0660\u0660"', '"100000", "value": "100000"',
              '"1", "value": "100000"', '"1", "\\u0076alue": "100000"', '"%s100000"' % ("0" * 3000)]
    texts = [text.replace('"value": "100000"', '"value": ' + v) for v in values]
    texts += [text.replace('"x402Version": 1', '"x402Version": ' + v) for v in ('"1"', "1.0", "01", "2", "3", "null")]
    texts += [text + more for more in ("x", text, ",", "\0")]
    texts += [text[:-1] + ", " + more + "}" for more in ('"payload": {}', '"x402Version": 1', '"z": tru', '"z": [}', '"z": "\x01"', '"z": ' + "[" * 3000 + "]" * 3000)]
    texts += ["\ufeff" + text, text.encode()[:-1] + b', "z": "\xff\xfe"}', "[" + text + "]", "{}", "null", ""]
    headers = [_base64(t) for t in texts]
    good = made["header"]
    headers += [good[:40] + " " + good[40:], good + "====", "=" + good, '"' + good + '"', good + "," + good, base64.urlsafe_b64encode((text[:-1] + ', "z": "??>>~~"}').encode()).decode(),
                "A" * 12400, "A" * 15000]
    for header in headers:
        a = _send(d, {"name": "X-PAYMENT", "header": header})
        assert a.status == 402 and len(a.body) < 4096, (a.status, header[:60], a.body)
    assert _send(d, {"name": "PAYMENT-SIGNATURE", "header": good}).status == 402, "version 1 where 2 comes"
    assert rig.counts()["settles"] == 0 and rig.received(w) == []
    assert _deposited(d, made)["credited"] == "0.100000000"


def one_request_brings_one_payment():
    d, rig, w = _daemon(), _rig(), _new_wallet()
    made = _made(d, w)
    good, begin = made["header"], "POST /v1/deposit HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
    for lines in (f"X-PAYMENT: {good}\r\nPAYMENT-SIGNATURE: {good}\r\n", f"X-PAYMENT: {good}\r\nx-payment: {good}\r\n", f"X-PAYMENT: \r\nX-PAYMENT: {good}\r\n",
                  f"X-PAYMENT: {good}\r\nPAYMENT-SIGNATURE:\r\n", f"X-PAYMENT: {good[:100]}\r\n {good[100:]}\r\n", f"X-PAYMENT : {good}\r\n", f"X-PAYMENT: {good}\0\r\n",
                  f"X-PAYMENT: {'A' * 17000}\r\n"):
        a = _raw(d, begin + lines + "\r\n")
        assert a is None or a.status in (400, 431), (a.status, lines[:40])
    for method, path in (("OPTIONS", DEPOSIT), ("GET", DEPOSIT), ("PUT", DEPOSIT), ("TRACE", DEPOSIT), ("POST", DEPOSIT + "/"), ("POST", "/v1/Deposit"), ("POST", "//v1/deposit"),
                         ("POST", DEPOSIT + "?amount=1&amount=0.10"), ("POST", DEPOSIT + "?amount=0.10&amount=1"), ("POST", DEPOSIT + "?amount=1e-1"), ("POST", DEPOSIT + "?amount=-1"),
                         ("POST", DEPOSIT + "?amount=0.1000000001"), ("POST", DEPOSIT + "?amount=0.009999999"), ("POST", DEPOSIT + "?amount=1000.000000001"),
                         ("POST", DEPOSIT + "?amount=18446744074"), ("GET", "/v1/history?feed=SOL/USD"), ("GET", "/v1/snapshot"), ("GET", "/v1/compare?feed=SOL/USD"),
                         ("GET", "/v1/account"), ("POST", VERIFY)):
        a = _raw(d, _head(made, method, path))
        assert a.status in (204, 400, 401, 402, 404, 405), (method, path, a.status)
    for path in (DEPOSIT, QUERY):
        c = d.connect()
        c.sendall(_head(made, "HEAD", path).replace("Host: a", "Host: a\r\nConnection: close").encode())
        assert ended(c)[9:12] in (b"402", b"405")
    assert rig.counts()["settles"] == 0 and rig.received(w) == []


def a_payment_of_one_resource_buys_no_other():
    """P2: by amount where it names none, by name where it does."""
    d, rig, w = _daemon(), _rig(), _new_wallet()
    query, deposit = _made(d, w, QUERY, "GET"), _made(d, w)
    for path in (DEPOSIT, TOKENS, DEPOSIT + "?amount=0.01"):
        assert _send(d, query, path=path).status == 402, path
    assert _send(d, deposit, "GET", QUERY).status == 402 and rig.received(w) == []
    feeds = iter([QUERY, "/v1/ingest-data?feed=SOL/USDT@binance"] * 6)
    answers = _all(12, lambda: _send(d, query, "GET", next(feeds)))
    assert {a.status for a in answers} == {200} and len({a.body for a in answers}) == 1, "one payment, one answer"
    entry, resource = _offer(d, version=2)
    for url in ("https://other.example" + DEPOSIT, _url(d, TOKENS), _url(d, DEPOSIT) + "?", _url(d, "/V1/deposit")):
        made = rig.chain("pay", key=rig.key(w), entry=entry, resource={**resource, "url": url})
        assert _send(d, made).status == 402, url
    assert rig.received(w) == [100]
    d.settled(rig.account(w), QUERY_USD)


# --- what connections do ----------------------------------------------------------------------------

def who_hangs_up_behind_a_payment_has_paid_all_the_same():
    d, rig, w = _daemon(), _rig(), _new_wallet()
    made = _made(d, w)
    for _ in range(100):
        c = d.connect()
        c.sendall(_head(made).encode())
        c.close()
    until(lambda: _credited(d, w) == ASK_USD, text="credited without anybody who waits")
    assert _deposited(d, made)["credited"] == "0.100000000" and rig.received(w) == [100000]
    assert d.metrics()["payment_settled_total"] >= 1


def requests_behind_a_payment_are_answered_in_order():
    d, rig, w = _daemon(), _rig(), _new_wallet()
    made, next_ = _made(d, w), _made(d, w)
    c = d.connect()
    c.sendall((_head(made) + _head(made) + "GET /v1/feeds HTTP/1.1\r\nHost: a\r\n\r\n" + _head(next_) + "GET /v1/keys HTTP/1.1\r\nHost: a\r\n\r\n").encode())
    got, rest = [], b""
    for _ in range(5):
        a, rest = read_answer(c, rest)
        got.append(a)
    c.close()
    assert [a.status for a in got] == [200] * 5 and "feeds" in got[2].json and "keys" in got[4].json
    assert [("token" in got[i].json, got[i].json["balance"]) for i in (0, 1, 3)] == [(True, "0.100000000"), (False, "0.100000000"), (True, "0.200000000")]
    assert rig.received(w) == [100000, 100000]


def what_is_brought_again_counts_for_its_address():
    """C8: a settled header can be read off the chain, and each time costs us a signature's check; the first time was the customer's."""
    rig, w = _rig(), _new_wallet()
    payments = {"payments__" + k: v for k, v in _payments(rig).items()}
    limits = {"unauthenticated_per_s": 1, "unauthenticated_burst": 8, "requests_per_min": 1000, "requests_per_hour": 1000, "trusted_proxies": ["127.0.0.1"]}
    with Daemon(_shared["sim"], wait=False, **payments, **{"limits__" + k: v for k, v in limits.items()}) as d:
        until(lambda: "offset" in d.ask("GET", "/v1/feeds", token=d.mint("local:a")).json["feeds"][0])
        deposit, query = _made(d, w), _made(d, w, QUERY, "GET")
        _deposited(d, deposit)
        assert _send(d, query, "GET", QUERY).status == 200
        for made, method, path, address in ((deposit, "POST", DEPOSIT, "192.0.2.1"), (query, "GET", QUERY, "192.0.2.2")):
            statuses = [d.ask(method, path, headers={made["name"]: made["header"], "X-Forwarded-For": address}).status for _ in range(20)]
            assert statuses[:8] == [200] * 8 and statuses.count(429) > 5, statuses


# --- what is said -----------------------------------------------------------------------------------

def whatever_is_refused_is_small_and_stored_nowhere():
    """C8, P18, P19."""
    d = _daemon()
    many = json.dumps([{"feed_type": "SOL/USDT@binance"}] * 100)
    for method, path, body in (("GET", QUERY, None), ("POST", "/v1/ingest-data", '{"feed_type":"SOL/USD"}'), ("POST", "/v1/ingest-data/batch", many), ("POST", DEPOSIT, None),
                               ("POST", TOKENS, None), ("GET", "/v1/stream?feeds=SOL/USD", None), ("GET", "/v1/history?feed=SOL/USD", None), ("GET", "/v1/compare?feed=SOL/USD", None),
                               ("GET", "/v1/snapshot", None)):
        for headers in ({}, {"X-PAYMENT": "eA=="}, {"PAYMENT-SIGNATURE": "eA=="}, {"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}):
            if "stream" in path:
                headers = {**headers, "Accept": "text/event-stream"}
            a = d.ask(method, path, body, headers=headers)
            size = len(a.body) + sum(len(k) + len(v) + 4 for k, v in a.headers.items())
            assert a.status in (401, 402) and size < 4096 and a.headers["cache-control"] == "no-store", (path, headers, a.status, size, a.headers)
            assert b"evil" not in a.body and "evil" not in base64.b64decode(a.headers.get("payment-required", "")).decode(), path
    for path in ("/v1/payments/" + "0" * 32, "/v1/payments/" + "A" * 32, "/v1/payments/", "/v1/payments/x", "/v1/payments/" + "0" * 33):
        assert d.ask("GET", path).status in (400, 404), path


def signatures_of_empty_wallets_leave_nothing_behind():
    """Anybody can make keys and sign as much as he likes: what is not funded costs a look at the chain, and no room in the ledger."""
    d, rig = _daemon(), _rig()
    entry, _ = _offer(d)
    made = [rig.chain("pay", key="0x" + os.urandom(32).hex(), entry=entry) for _ in range(12)]
    ledger = os.path.join(d.data, "ledger", "data.mdb")
    before, size = d.metrics()["ledger_entry_total"], os.path.getsize(ledger)
    for p in made * 2:
        a = _send(d, p)
        assert a.status == 402 and b"insufficient_funds" in a.body, (a.status, a.body)
        assert "state" not in a.json and "payment_id" not in a.json, a.body
    assert rig.counts()["settles"] == 0
    until(lambda: d.metrics()["payment_open"] == 0, text="nothing is gone on with")
    assert d.metrics()["ledger_entry_total"] == before and os.path.getsize(ledger) == size


def secrets_are_told_to_nobody_but_the_facilitator():
    """O4: not in the log, the metrics, nor any answer."""
    rig, w = _rig(), _new_wallet()
    mark = "marked-" + os.urandom(8).hex()
    with tempfile.NamedTemporaryFile("w", suffix=".token") as secret:
        secret.write(mark)
        secret.flush()
        payments = {"payments__" + k: v for k, v in _payments(rig).items()}
        with Daemon(_shared["sim"], payments__facilitator_token_file=secret.name, **payments, payments__timeout="500ms") as d:
            made = _made(d, w)
            first = _deposited(d, made)
            bad = _send(d, _made(d, w, bend="high_s"))
            rig.mode("drops", times=1)
            lost = _send(d, _made(d, w, validBefore=rig.now() + 30))
            rig.mode()
            said = [json.dumps(first).replace(first["token"], ""), bad.body.decode(), lost.body.decode(), d.ask("GET", "/metrics", door="admin").body.decode(),
                    d.operator("GET", "/v1/admin/accounts?account=" + rig.account(w)).body.decode(), d.stderr()]
    for text in said:
        for hidden in (mark, made["header"][:60], made["payment"]["payload"]["signature"][2:], made["payment"]["payload"]["signature"][2:66], first["token"]):
            assert hidden not in text, hidden


def _the_books_agree():
    d, rig = _shared.get("daemon"), _rig()
    if d:
        for w in range(_new_wallet()):
            assert _credited(d, w) <= Decimal(sum(rig.received(w))) / 10**6, w
        d.stop()
        d.audit()


if __name__ == "__main__":
    try:
        _shared["rig"] = Rig(wallets=40, agents=())
    except MissingRig as missing:
        print("skipped:", missing)
        raise SystemExit(77)
    try:
        with Sim(50) as _shared["sim"]:
            run(globals(), _the_books_agree)
    finally:
        _shared["rig"].end()
