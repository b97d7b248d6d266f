#!/usr/bin/env python3
"""openapi.json and asyncapi.json beside the running daemon: every route is described and every described one is there, and what the daemon says
is what is described, without a member too many.  See harness.py."""
import copy
import json
import os
import re
import sys

from harness import Daemon, Sim, run

try:
    from jsonschema import Draft202012Validator
except ImportError:
    print("skipped: python3-jsonschema is not here")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_shared = {}


def _daemon():
    if not _shared:
        _shared["sim"] = Sim(50)
        _shared["daemon"] = Daemon(_shared["sim"])
        _shared["token"] = _shared["daemon"].mint("local:reader", "1")
    return _shared["daemon"], _shared["token"]


def _closed(node):
    """An object that lists its members has no others."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node and "additionalProperties" not in node:
            node["additionalProperties"] = False
        for v in node.values():
            _closed(v)
    elif isinstance(node, list):
        for v in node:
            _closed(v)
    return node


def _document(name):
    with open(f"{ROOT}/docs/{name}", encoding="utf-8") as f:
        return json.load(f)


OPEN, ASYNC = _document("openapi.json"), _document("asyncapi.json")


def _check(schema, document, instance, what):
    whole = _closed(copy.deepcopy({**schema, "components": document["components"]}))
    faults = [f"{'/'.join(map(str, e.path))}: {e.message[:200]}" for e in Draft202012Validator(whole).iter_errors(instance)]
    assert not faults, (what, faults, json.dumps(instance)[:600])


def _answer_schema(method, path, status):
    said = OPEN["paths"][path][method.lower()]["responses"]
    assert str(status) in said, f"{method} {path}: {status} is not described"
    response = said[str(status)]
    if "$ref" in response:
        response = OPEN["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    return next(iter(response["content"].items()))


def _asked(method, path, query="", body=None, **more):
    """Asks, and holds the answer against what is described for its status."""
    d, _ = _daemon()
    a = d.ask(method, path.replace("{id}", "0" * 32) + query, body, **more)
    kind, media = _answer_schema(method, path, a.status)
    assert a.headers["content-type"] == kind, (path, a.status, a.headers["content-type"])
    _check(media["schema"], OPEN, a.json, f"{method} {path} {a.status}")
    return a


# --- the documents ---------------------------------------------------------------------------------------

def the_documents_are_served_as_they_stand_in_docs():
    d, _ = _daemon()
    for name, document in (("openapi.json", OPEN), ("asyncapi.json", ASYNC)):
        for path in ("/" + name, "/api/" + name):
            a = d.ask("GET", path)
            assert a.status == 200 and a.headers["content-type"] == "application/json" and a.json == document, path
        assert document["info"]["version"] == d.ask("GET", "/").json["version"]


def every_route_of_the_public_door_is_described_and_no_other():
    with open(f"{ROOT}/engine/routes.c", encoding="utf-8") as f:
        rows = set(re.findall(r'\{ KMY_DOOR_PUBLIC, "(\w+)", "([^"]+)"', f.read()))
    rows.remove(("GET", "/echo"))  # only under --conformance-echo
    described = {(method.upper(), path) for path, methods in OPEN["paths"].items() for method in methods}
    assert rows == described, (rows ^ described)


def every_reference_leads_somewhere():
    def walk(document, node):
        if isinstance(node, dict):
            for k, v in node.items():
                if k == "$ref":
                    at = document
                    for step in v[2:].split("/"):
                        at = at[step]
                walk(document, v)
        elif isinstance(node, list):
            for v in node:
                walk(document, v)
    walk(OPEN, OPEN)
    walk(ASYNC, ASYNC)


# --- answers ----------------------------------------------------------------------------------------------

def what_http_answers_is_what_is_described():
    d, token = _daemon()
    ws = d.ws(token)
    ws.subscribe("*")
    while {t["feed"] for t in ws.ticks} != set(d.feeds()):
        ws.event()
    ws.drop()
    rows = [("GET", "/", "", None), ("GET", "/v1/feeds", "", None), ("GET", "/v1/keys", "", None), ("GET", "/v1/sources", "", None),
            ("GET", "/.well-known/x402", "", None), ("GET", "/openapi.json", "", None), ("GET", "/asyncapi.json", "", None),
            ("GET", "/v1/ingest-data", "?feed=SOL/USD", None), ("POST", "/v1/ingest-data", "", {"feed_type": "SOL/USD"}),
            ("POST", "/v1/ingest-data/batch", "", [{"feed_type": "SOL/USD"}, {"feed_type": "XYZ/USD"}]),
            ("GET", "/v1/account", "", None), ("POST", "/v1/tokens", "", {"spend": "0.001", "feeds": ["SOL/USD"], "ttl_s": 60}),
            ("POST", "/v1/tokens", "", {"feeds": ["SOL/USD"]}), ("POST", "/v1/passes", "", {"feeds": ["SOL/USD"]}), ("GET", "/v1/account", "", None),
            ("GET", "/v1/account/usage", "?window=30d", None),
            ("GET", "/v1/history", "?feed=BTCUSDT&limit=3", None), ("GET", "/v1/compare", "?feed=BTCUSDT", None), ("GET", "/v1/snapshot", "", None)]
    for method, path, query, body in rows:
        assert _asked(method, path, query, body, token=token).status == 200, path


def what_is_refused_is_refused_as_described():
    d, token = _daemon()
    poor = d.mint("local:poor", "0")
    rows = [("GET", "/v1/ingest-data", "?feed=SOL/USD", None, None, 402), ("POST", "/v1/ingest-data/batch", "", [{"feed": "SOL/USD"}], None, 402),
            ("GET", "/v1/ingest-data", "?feed=SOL/USD", None, poor, 402), ("GET", "/v1/ingest-data", "?feed=SOL/USX", None, token, 404),
            ("GET", "/v1/ingest-data", "?feed=SOL/USD&max_age_ms=-1", None, token, 400), ("GET", "/v1/ingest-data", "?feed=SOL/USD", None, "nonsense", 401),
            ("GET", "/v1/history", "?feed=SOL/USD", None, None, 402), ("GET", "/v1/history", "?feed=SOL/USD&limit=0", None, token, 400),
            ("GET", "/v1/compare", "?feed=SOL/USD", None, None, 402), ("GET", "/v1/snapshot", "", None, None, 402),
            ("POST", "/v1/deposit", "", None, None, 402), ("POST", "/v1/tokens", "", None, None, 402), ("GET", "/v1/account", "", None, None, 401),
            ("POST", "/v1/tokens", "", {"spend": "1000"}, token, 402), ("POST", "/v1/tokens", "", {"ttl_s": 86400}, token, 403), ("POST", "/v1/tokens", "", {"spend": "0"}, token, 400),
            ("POST", "/v1/tokens", "", {"feeds": ["SOL/USX"]}, token, 404), ("POST", "/v1/tokens", "", {"spend": "1"}, "nonsense", 401),
            ("GET", "/v1/account/usage", "?window=1y", None, token, 400), ("GET", "/v1/account/usage", "", None, None, 401),
            ("POST", "/v1/passes", "", {"feeds": []}, token, 400), ("GET", "/v1/payments/{id}", "", None, None, 404), ("GET", "/v1/stream", "", None, token, 426),
            ("GET", "/stream-data", "", None, token, 426)]
    for method, path, query, body, shown, status in rows:
        assert _asked(method, path, query, body, token=shown).status == status, path


def a_token_is_revoked_as_described():
    d, _ = _daemon()
    assert _asked("POST", "/v1/tokens/revoke", token=d.mint("local:leaver", "0")).status == 200


# --- the stream -------------------------------------------------------------------------------------------

def what_the_stream_says_is_what_is_described():
    d, _ = _daemon()
    said = {}
    ws = d.ws(d.mint("local:streamer", "0.00002"))
    ws.send({"op": "subscribe", "id": 1, "feeds": ["BTCUSDT"], "from": {"BTCUSDT": "abc:1"}})
    ws.next("subscribed")
    ws.balance()
    ws.send({"op": "ping", "id": 2})
    ws.next("pong", id=2)
    ws.send({"op": "receipt", "id": 3})
    ws.next("receipts")
    ws.send({"op": "nonsense", "id": 4})
    ws.next("error")
    ws.next("payment_required")
    ws.send({"op": "unsubscribe", "id": 5, "feeds": ["*"]})
    ws.next("unsubscribed")
    ws.next("receipt")
    for e in [*ws.ticks, *ws.gaps, *ws.other]:
        said.setdefault(e["type"], []).append(e)
    messages = ASYNC["components"]["messages"]
    for kind, events in said.items():
        for e in events:
            _check(messages[kind]["payload"], ASYNC, e, kind)
    wanted = {"authenticated", "subscribed", "gap", "tick", "balance", "pong", "receipts", "error", "payment_required", "unsubscribed", "receipt"}
    assert wanted <= set(said), wanted - set(said)


def every_frame_that_the_protocol_document_names_is_described():
    with open(f"{ROOT}/docs/protocol.md", encoding="utf-8") as f:
        text = f.read()
    table = text.split("### Server to client")[1].split("\n\n")[2]
    frames = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    ops = set(re.findall(r"^\| `(\w+)` \|", text.split("### Client to server")[1].split("| message |")[1].split("\n\n")[0], re.M))
    told = {m["$ref"].rsplit("/", 1)[1] for m in ASYNC["operations"]["tell"]["messages"]} - {"binaryTick", "slow_reader_warning"}
    asked = {m["$ref"].rsplit("/", 1)[1] for m in ASYNC["operations"]["ask"]["messages"]}
    assert frames == told, frames ^ told
    assert {"ask" + op.capitalize() for op in ops} == asked, (ops, asked)


def _the_daemon_was_sound():
    _shared["daemon"].stop()
    _shared["sim"].end()


run(globals(), _the_daemon_was_sound)
