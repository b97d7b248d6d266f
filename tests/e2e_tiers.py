#!/usr/bin/env python3
"""Stake tiers: who holds the house's token on Solana pays less, whatever the node that is asked does.  See harness.py."""
import base64
import hashlib
import http.server
import json
import signal
import subprocess
import threading
import time
from decimal import Decimal

from harness import FEEDS, KAMIYO, QUERY_USD, TICK_USD, Daemon, Sim, run, until

BTC, SOL = FEEDS
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
ONE = 10**9  # base units of a token with nine decimals
_shared = {}


def _base58(raw):
    n, text = int.from_bytes(raw, "big"), ""
    while n:
        n, digit = divmod(n, 58)
        text = ALPHABET[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def _key(name):
    return hashlib.sha256(name.encode()).digest()


MINT = _key("mint")


class Node:
    """A Solana node that answers getTokenAccountsByOwner; `manners` may be a function of the request's id and owner that gives (status, body)."""

    def __init__(self):
        self.holdings, self.asked, self.manners, self.gate = {}, [], None, None
        node = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                q = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = node.answer(q)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # it had read enough
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-key"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, q):
        owner, which, how = q["params"]
        assert q["method"] == "getTokenAccountsByOwner" and which == {"mint": _base58(MINT)} and how["commitment"] == "finalized", q
        self.asked.append(owner)
        if self.gate:
            self.gate.wait()
        if self.manners:
            return self.manners(q["id"], owner)
        return 200, self.accounts(q["id"], [(MINT, owner, units) for units in self.holdings.get(owner, [])])

    @staticmethod
    def accounts(number, held, program=TOKEN_PROGRAM):
        """held: mint, owner (base58), units of each token account."""
        value = []
        for mint, owner, units in held:
            n = 0
            for c in owner:
                n = n * 58 + ALPHABET.index(c)
            data = mint + n.to_bytes(32, "big") + units.to_bytes(8, "little")
            value.append({"pubkey": _base58(_key("account")), "account": {"data": [base64.b64encode(data).decode(), "base64"], "owner": program,
                                                                         "executable": False, "lamports": 2039280, "rentEpoch": 0, "space": 165}})
        return json.dumps({"jsonrpc": "2.0", "id": number, "result": {"context": {"slot": 1}, "value": value}}).encode()

    def end(self):
        if self.gate:
            self.gate.set()
        self.server.shutdown()
        self.server.server_close()


def _settings(node, **stake):
    """Waits longer than the house does, so that a busy machine does not decide a test."""
    return {"prices__stake": {"mint": _base58(MINT), "decimals": 9, "rpc": node.url, "wait": "10s", **stake}, "shards__count": 2}


def _shared_daemon():
    if not _shared:
        _shared["sim"], _shared["node"] = Sim(200), Node()
        _shared["daemon"] = Daemon(_shared["sim"], **_settings(_shared["node"]))
    return _shared["daemon"], _shared["node"]


def _end():
    if _shared:
        _shared["daemon"].stop()
        _shared["daemon"].audit()
        _shared["node"].end()
        _shared["sim"].end()


def _account(d, node, *units):
    """A new Solana account that holds so much, in one token account each."""
    _shared["n"] = _shared.get("n", 0) + 1
    owner = _base58(_key(f"owner {_shared['n']}"))
    node.holdings[owner] = list(units)
    account = f"{CHAIN}:{owner}"
    return account, d.mint(account), owner


def _query(d, token):
    a = d.ask("GET", f"/v1/ingest-data?feed={BTC}", token=token)
    assert a.status == 200, a.body
    return Decimal(a.json["charged"])


def _batch(d, token, n):
    a = d.ask("POST", "/v1/ingest-data/batch", [{"feed_type": (BTC, SOL)[i % 2]} for i in range(n)], token=token)
    assert a.status == 200 and a.json["count"] == n, a.body
    each = {r["charged"] for r in a.json["results"]}
    assert len(each) == 1 and Decimal(a.json["charged"]) == n * Decimal(*each), a.body
    return Decimal(*each)


def _tier(d, token):
    a = d.ask("GET", "/v1/account", token=token).json
    return a["tier"], a["stake"], a["discount"]


def each_tier_pays_what_the_price_list_says():
    d, node = _shared_daemon()
    for units, tier, percent, query, item in (((), 0, 0, 100, 80), ((999 * ONE + ONE - 1,), 0, 0, 100, 80), ((1000 * ONE,), 1, 10, 90, 72),
                                              ((4000 * ONE, 6000 * ONE), 2, 20, 80, 64), ((10000 * ONE - 1,), 1, 10, 90, 72),
                                              ((100000 * ONE,), 3, 30, 70, 56), ((2**64 - 1,), 3, 30, 70, 56)):
        account, token, owner = _account(d, node, *units)
        usd = Decimal("0.000001")
        spent = _query(d, token)
        assert spent == query * usd, (units, spent)  # the first one already
        assert _batch(d, token, 9) == query * usd and _batch(d, token, 10) == item * usd
        spent += 9 * query * usd + 10 * item * usd
        assert _tier(d, token) == (tier, str(sum(units) // ONE), percent)
        w = d.ws(token)
        assert Decimal(w.subscribe(BTC)["feeds"][0]["price_tick"]) == TICK_USD * (100 - percent) / 100
        w.count(50)
        w.send({"op": "unsubscribe", "id": 2, "feeds": [BTC]})
        w.next("unsubscribed")
        spent += len(w.ticks) * TICK_USD * (100 - percent) / 100
        c = d.ask("GET", f"/v1/compare?feed={BTC}&max=1", token=token).json
        s = d.ask("GET", "/v1/snapshot", token=token).json
        h = d.ask("GET", f"/v1/history?feed={BTC}&limit=7", token=token).json
        p = d.ask("POST", "/v1/passes", {"feeds": [BTC, SOL]}, token=token).json
        assert Decimal(c["charged"]) == query * usd and Decimal(s["charged"]) == s["count"] * query * usd, (c, s["charged"])
        assert Decimal(p["charged"]) == 2 * Decimal("0.01") * (100 - percent) / 100, p["charged"]
        spent += sum(Decimal(x["charged"]) for x in (c, s, h, p))
        d.settled(account, spent)
        w.close()
        assert node.asked.count(owner) == 1, "two shards, many requests, one question"


def only_solana_accounts_are_asked_about():
    d, node = _shared_daemon()
    before = len(node.asked)
    for account in ("local:alice", "eip155:8453:0x70997970c51812dc3a010c7d01b50e0d17dc79c8", "solana:nobody", CHAIN + ":0OIl"):
        token = d.mint(account)
        assert _query(d, token) == QUERY_USD and _tier(d, token) == (0, "0", 0)
    assert len(node.asked) == before


def offers_stay_at_the_base_price_and_what_is_required_is_ones_own():
    d, node = _shared_daemon()
    _, token, _ = _account(d, node, 10000 * ONE)
    assert d.ask("GET", f"/v1/ingest-data?feed={BTC}").json["required"] == "0.000100000"
    owner = _base58(_key("poor"))
    node.holdings[owner] = [10000 * ONE]
    poor = d.mint(f"{CHAIN}:{owner}", "0.00008")
    assert _query(d, poor) == Decimal("0.00008")
    a = d.ask("GET", f"/v1/ingest-data?feed={BTC}", token=poor)
    assert a.status == 402 and a.json["required"] == "0.000080000", a.body


def the_client_shows_the_tier():
    d, node = _shared_daemon()
    _, token, _ = _account(d, node, 12345 * ONE)
    out = subprocess.run([KAMIYO, "account", "--url", "http://%s:%d" % d.public, "--token", token], capture_output=True, text=True, timeout=10)
    shown = dict(line.split(None, 1) for line in out.stdout.splitlines() if line.split()[0] in ("tier", "stake", "discount"))
    assert out.returncode == 0 and shown == {"tier": "2", "stake": "12345", "discount": "20"}, (out.stdout, out.stderr)


def nobody_waits_long_for_a_node_that_is_slow():
    node = Node()
    node.gate = threading.Event()
    with Sim(200) as sim:
        d = Daemon(sim, **_settings(node, wait="500ms"))
        account, token, owner = _account(d, node, 100000 * ONE)
        began = time.monotonic()
        assert _query(d, token) == QUERY_USD  # goes on at the base price
        assert 0.3 < time.monotonic() - began < 4
        assert _query(d, token) == QUERY_USD
        w = d.ws(token)
        assert w.subscribe(BTC)["feeds"][0]["price_tick"] == "0.000001000"
        w.count(10)
        node.gate.set()
        told = w.next("prices")  # from here on with the discount
        assert [f["price_tick"] for f in told["feeds"]] == ["0.000000700"], told
        w.count(20)
        w.send({"op": "unsubscribe", "id": 2, "feeds": [BTC]})
        w.next("unsubscribed")
        border = told["feeds"][0]["from"]
        cost = sum(TICK_USD if t["offset"] < border else Decimal("0.0000007") for t in w.ticks)
        charged = []
        until(lambda: charged.append(_query(d, token)) or charged[-4:] == [Decimal("0.00007")] * 4, text="both shards know it")
        d.settled(account, cost + 2 * QUERY_USD + sum(charged))
        w.close()
        d.stop()
        d.audit()
    node.end()


def a_node_that_dies_takes_no_discount_until_the_reading_is_too_old():
    node = Node()
    with Sim(200) as sim:
        d = Daemon(sim, **_settings(node, refresh="100ms", keep="3s"))
        account, token, owner = _account(d, node, 10000 * ONE)
        w = d.ws(token)
        assert w.subscribe(BTC)["feeds"][0]["price_tick"] == "0.000000800"
        node.manners = lambda *_: (503, b"down")
        asked = len(node.asked)
        until(lambda: w.quiet() and len(node.asked) > asked + 3, text="it is asked again and again")
        assert _query(d, token) == Decimal("0.00008") and _tier(d, token) == (2, "10000", 20)
        told = w.next("prices")  # the reading is too old
        assert [f["price_tick"] for f in told["feeds"]] == ["0.000001000"], told
        until(lambda: _query(d, token) == QUERY_USD)
        node.manners = None
        assert [f["price_tick"] for f in w.next("prices")["feeds"]] == ["0.000000800"]
        node.holdings[owner] = [100000 * ONE]  # and what changes on the chain changes here
        assert [f["price_tick"] for f in w.next("prices")["feeds"]] == ["0.000000700"]
        node.holdings[owner] = []
        assert [f["price_tick"] for f in w.next("prices")["feeds"]] == ["0.000001000"]
        assert "secret-key" not in d.stderr() and "cannot be read" in d.stderr()
        w.close()
        d.stop()
        d.audit()
    node.end()


def what_is_no_answer_gives_no_discount():
    node = Node()
    a_lot = 100000 * ONE
    foreign = _base58(_key("somebody else"))
    good = node.accounts
    lies = {
        "garbage": lambda i, o: (200, b"\xff\0{]"),
        "empty": lambda i, o: (200, b""),
        "cut": lambda i, o: (None, b""),
        "half": lambda i, o: (200, good(i, [(MINT, o, a_lot)])[:-9]),
        "5xx with the answer": lambda i, o: (500, good(i, [(MINT, o, a_lot)])),
        "redirect": lambda i, o: (302, good(i, [(MINT, o, a_lot)])),
        "another question's": lambda i, o: (200, good(i + 1, [(MINT, o, a_lot)])),
        "an error": lambda i, o: (200, json.dumps({"jsonrpc": "2.0", "id": i, "error": {"code": -32602, "message": "no mint"}}).encode()),
        "null": lambda i, o: (200, json.dumps({"jsonrpc": "2.0", "id": i, "result": None}).encode()),
        "another mint": lambda i, o: (200, good(i, [(_key("other"), o, a_lot)])),
        "another owner": lambda i, o: (200, good(i, [(MINT, foreign, a_lot)])),
        "no token program": lambda i, o: (200, good(i, [(MINT, o, a_lot)], program=_base58(_key("program")))),
        "a sum above 2^64": lambda i, o: (200, good(i, [(MINT, o, 2**64 - 1), (MINT, o, a_lot)])),
        "a negative amount": lambda i, o: (200, json.dumps({"jsonrpc": "2.0", "id": i, "result": {"context": {"slot": 1}, "value": [
            {"account": {"owner": TOKEN_PROGRAM, "data": {"parsed": {"info": {"tokenAmount": {"amount": "-5"}}}}}}]}}).encode()),
        "too large": lambda i, o: (200, b" " * (2 << 20) + good(i, [(MINT, o, a_lot)])),
        "deep": lambda i, o: (200, b"[" * 100000),
    }
    with Sim(200) as sim:
        d = Daemon(sim, **_settings(node, refresh="100ms"))
        seen = {}
        for name, lie in lies.items():
            node.manners = lie
            _, token, owner = _account(d, node, a_lot)
            until(lambda: _query(d, token) == QUERY_USD and d.metrics()["stake_failure_total"] > len(seen), text=name)
            assert owner in node.asked and _tier(d, token) == (0, "0", 0), name
            seen[name] = token
            assert all(_tier(d, t)[0] == 0 for t in seen.values()), name  # the earlier ones are asked about again and again
        node.manners = None
        for name, token in seen.items():
            until(lambda: _tier(d, token) == (3, "100000", 30), text=name)
        d.stop()
        d.audit()
    node.end()


def tiers_are_changed_while_it_runs():
    node = Node()
    with Sim(200) as sim:
        d = Daemon(sim, **_settings(node))
        account, token, _ = _account(d, node, 1000 * ONE)
        w = d.ws(token)
        assert w.subscribe(BTC)["feeds"][0]["price_tick"] == "0.000000900"
        conf = json.load(open(d.conf_file.name))
        conf["prices"]["tiers"] = [{"stake": 500, "discount": 50}]
        with open(d.conf_file.name, "w") as f:
            json.dump(conf, f)
        d.proc.send_signal(signal.SIGHUP)
        assert [f["price_tick"] for f in w.next("prices")["feeds"]] == ["0.000000500"]
        assert _query(d, token) == QUERY_USD / 2 and _tier(d, token) == (1, "1000", 50)
        w.close()
        d.stop()
        d.audit()
    node.end()


run(globals(), _end)
