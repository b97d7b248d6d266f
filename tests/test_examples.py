#!/usr/bin/python3
"""examples/ and what the documents show, against the running daemon: every block marked `sh run`, the README's five minutes, the answers
and frames that docs/protocol.md gives as examples.

usage: test_examples.py KAMIYOD KAMIYO_SIM KAMIYO [scenario...]   (exit 77: the Python package websockets is missing)
"""
import glob
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if not importlib.util.find_spec("websockets"):
    print("SKIPPED: no Python package websockets")
    sys.exit(77)
from harness import KAMIYO, KAMIYOD, SIM, Daemon, Sim, run, until  # noqa: E402

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
PROTOCOL = open(os.path.join(ROOT, "docs/protocol.md"), encoding="utf-8").read()
OPTIONAL = {"conf", "bid", "ask", "size", "ts_event", "last_tick_age_ms", "as"}  # depends on the tick or the moment
_shared = {}


def _daemon():
    if not _shared:
        _shared["sim"] = Sim(symbols="BTCUSDT:61000.00,ETHUSDT:3000.00,SOLUSDT:150.00")
        url = _shared["sim"].at["binance"] + "/stream"
        _shared["daemon"] = Daemon(_shared["sim"], sources__binance={"url": url, "symbols": ["BTCUSDT", "ETHUSDT", "SOLUSDT"]})
        _shared["token"] = _shared["daemon"].mint("local:alice", "10")
    return _shared["daemon"]


def _env(**more):
    d = _daemon()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("KAMIYO_")}
    folders = dict.fromkeys(os.path.dirname(os.path.abspath(p)) for p in (KAMIYOD, SIM, KAMIYO))
    return {**clean, "PATH": ":".join([*folders, os.environ["PATH"]]), "PYTHONDONTWRITEBYTECODE": "1",
            "KAMIYO_URL": "http://%s:%d" % d.public, "KAMIYO_ADMIN": "http://%s:%d" % d.admin, "KAMIYO_DATA": d.data,
            "KAMIYO_TOKEN": _shared["token"], **more}


def _run(args, cwd=ROOT, **env):
    return subprocess.run(args, cwd=cwd, env=_env(**env), capture_output=True, text=True, timeout=60)


def _good(done, what):
    assert done.returncode == 0, f"{what}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


# --- examples/ --------------------------------------------------------------------------------------

def the_stream_example_checks_offsets_and_charges():
    out = _good(_run([sys.executable, "examples/stream.py", "BTC/USDT@binance", "SOL/USD"]), "stream.py")
    received, charged = map(int, re.search(r"received (\d+), charged (\d+),", out).groups())
    assert received == charged >= 50, out


def the_stream_example_fails_aloud():
    _daemon()
    for feeds, token, word in (["NO/SUCH"], _shared["token"], "unknown_feed"), (["SOL/USD"], "none", "unauthenticated"):
        done = _run([sys.executable, "examples/stream.py", *feeds], KAMIYO_TOKEN=token)
        assert done.returncode == 1 and word in done.stderr, done.stdout + done.stderr


def the_snapshot_example_reads_beside_the_daemon():
    d = _daemon()
    if not shutil.which("flatc") or not all(importlib.util.find_spec(m) for m in ("lmdb", "flatbuffers")):
        print("SKIPPED: flatc or the Python packages lmdb, flatbuffers are missing")
        return
    with tempfile.TemporaryDirectory() as made:
        _good(_run(["flatc", "--python", "-o", made, "wire/tick.fbs"]), "flatc")

        def all_there():
            out = _good(_run([sys.executable, "examples/snapshot.py", d.data + "/snapshot"], PYTHONPATH=made), "snapshot.py")
            return {tuple(line.split()[1:3]) for line in out.splitlines()} >= {("SOL/USD", "oracle"), ("BTC/USDT@binance", "quote")}
        until(all_there, text="the recorder has written every feed")


# --- blocks of the documents --------------------------------------------------------------------------

def every_block_marked_to_run_runs():
    count = 0
    for page in ["README.md", "CONTRIBUTING.md", *sorted(glob.glob("docs/**/*.md", root_dir=ROOT, recursive=True))]:
        text = open(os.path.join(ROOT, page), encoding="utf-8").read()
        for block in re.findall(r"^```sh run\n(.*?)^```", text, re.S | re.M):
            if "curl" in block and not shutil.which("curl"):
                print(f"SKIPPED: no curl for a block of {page}")
                continue
            with tempfile.TemporaryDirectory() as empty:
                _good(_run(["bash", "-euo", "pipefail", "-c", block], cwd=empty), f"{page}\n{block}")
            count += 1
    assert count >= 5, count
    print(f"{count} blocks")


def the_five_minutes_of_the_readme_work():
    text = open(os.path.join(ROOT, "README.md"), encoding="utf-8").read()
    begin = text.index("## Five minutes")
    section = text[begin:text.index("\n## ", begin + 5)]
    block = re.search(r"((?:^    .*\n|^\n)+)", section[section.index("\n    "):], re.M).group(1)
    lines = [line.strip() for line in block.splitlines() if line.strip()]
    # Built and running already, and not against the real upstreams.
    left = [line for line in lines if not re.match(r"\./tools/|cmake |export PATH|kamiyod run", line)]
    assert len(left) >= 4 and any(line.startswith("kamiyo stream") for line in left), lines
    with tempfile.TemporaryDirectory() as empty:
        _good(_run(["bash", "-euo", "pipefail", "-c", re.sub(r"--seconds \d+", "--seconds 1", "\n".join(left))], cwd=empty), "README.md")


def the_configuration_reference_is_what_the_program_prints():
    out = _good(_run([KAMIYOD, "print-config", "--reference"]), "print-config")
    assert out == open(os.path.join(ROOT, "docs/configuration.md"), encoding="utf-8").read(), \
        "make it anew: kamiyod print-config --reference > docs/configuration.md"


# --- answers and frames of docs/protocol.md -----------------------------------------------------------

def _same_members(told, real, at):
    if isinstance(told, dict) and isinstance(real, dict):
        assert set(told) - OPTIONAL == set(real) - OPTIONAL, f"{at}: documented {sorted(told)}, real {sorted(real)}"
        for key in set(told) & set(real):
            _same_members(told[key], real[key], f"{at}.{key}")
    elif isinstance(told, list) and isinstance(real, list):
        for t, r in zip(told, real):
            _same_members(t, r, at + "[]")
    else:
        assert type(told) is type(real), f"{at}: documented {told!r}, real {real!r}"


def _told(heading):
    section = PROTOCOL[PROTOCOL.index(f"### `{heading}`"):]
    section = section[:re.search(r"\n##", section[5:]).start() + 5]
    block = re.search(r"^```json\n(.*?)^```", section, re.S | re.M)
    return json.loads(block.group(1) if block else re.search(r"^`?(?:.*`)?(\{.*\})`", section, re.M).group(1))


def documented_answers_have_the_members_of_real_ones():
    d, token = _daemon(), _shared["token"]
    batch = {"queries": [{"feed_type": "SOL/USD"}, {"feed_type": "XYZ/USD"}]}
    for heading, answer in (
            ("GET /", d.ask("GET", "/")),
            ("GET /v1/feeds", d.ask("GET", "/v1/feeds")),
            ("GET /v1/ingest-data", d.ask("GET", "/v1/ingest-data?feed=SOL/USD", token=token)),
            ("POST /v1/ingest-data/batch", d.ask("POST", "/v1/ingest-data/batch", batch, token=token)),
            ("GET /v1/account", d.ask("GET", "/v1/account", token=token)),
            ("POST /v1/tokens/revoke", d.ask("POST", "/v1/tokens/revoke", token=d.mint("local:dave", "0"))),
            ("GET /v1/sources", d.ask("GET", "/v1/sources")),
            ("GET /.well-known/x402", d.ask("GET", "/.well-known/x402")),
            ("GET /readyz", d.ask("GET", "/readyz", door="admin")),
            ("POST /v1/admin/tokens", d.operator("POST", "/v1/admin/tokens", {"account": "local:eve", "usd": "0.5", "ttl_s": 600})),
            ("GET /v1/admin/accounts", d.operator("GET", "/v1/admin/accounts?account=local:alice")),
            ("GET /v1/admin/ledger", d.operator("GET", "/v1/admin/ledger")),
            ("GET /v1/admin/conns", d.operator("GET", "/v1/admin/conns"))):
        assert answer.status == 200, (heading, answer.status, answer.body)
        _same_members(_told(heading), answer.json, heading)
    live = d.ask("GET", "/livez", door="admin")
    _same_members(_told("GET /healthz`, `GET /livez"), live.json, "GET /livez")


def the_documented_comparison_comes_of_the_feed_that_stands_beside_it():
    assert "`feeds: [{ name: BTC/USD, sources: [pyth, binance] }]`" in PROTOCOL
    with Sim(symbols="BTCUSD:61010") as sim, Daemon(sim, wait=False, sources__binance={"url": sim.at["binance"] + "/stream", "symbols": []},
                                                    feeds_list__is=[{"name": "BTC/USD", "sources": ["pyth", "binance"]}]) as d:
        token = d.mint("local:a")

        def both():
            a = d.ask("GET", "/v1/compare?feed=BTC/USD", token=token)
            return a.status == 200 and a.json["count"] == 2 and "best_bid" in a.json and a.json
        _same_members(_told("GET /v1/compare"), until(both, text="both sources tick"), "GET /v1/compare")


def documented_sessions_happen_like_that():
    d = _daemon()
    blocks = [b for b in re.findall(r"^```text\n(.*?)^```", PROTOCOL, re.S | re.M) if b.startswith("->")]
    assert len(blocks) == 3
    for block in blocks:
        has_auth = '"op":"auth"' in block
        w = d.ws(None if has_auth else _shared["token"])
        for line in re.sub(r"\n +", "", block).splitlines():  # an indented line goes on with the one above
            text = json.loads(line[3:])
            if line.startswith("->"):
                w.send({**text, "token": _shared["token"]} if text["op"] == "auth" else text)
                continue
            real = w.next(text["type"])
            while any(real[k] != text[k] for k in ("kind", "reason") if k in text):
                real = w.next(text["type"])
            _same_members(text, real, text["type"])
        w.close()


def errors_are_told_as_documented():
    d, token = _daemon(), _shared["token"]
    for status, code, answer in (
            (400, "bad_request", d.ask("GET", "/v1/ingest-data", token=token)),
            (401, "unauthenticated", d.ask("GET", "/v1/account", token="x.y.z")),
            (402, "payment_required", d.ask("GET", "/v1/ingest-data?feed=SOL/USD")),
            (402, "insufficient_balance", d.ask("GET", "/v1/ingest-data?feed=SOL/USD", token=d.mint("local:poor", "0"))),
            (403, "forbidden", d.ask("GET", "/metrics", door="admin", headers={"Origin": "http://example.org"})),
            (403, "forbidden", d.ask("POST", "/v1/tokens/revoke", {"jti": "another"}, token=token)),
            (404, "unknown_feed", d.ask("GET", "/v1/ingest-data?feed=SOLUSDD", token=token)),
            (404, "not_found", d.operator("GET", "/v1/admin/accounts?account=local:nobody")),
            (405, "method_not_allowed", d.ask("DELETE", "/v1/feeds")),
            (426, "upgrade_required", d.ask("GET", "/v1/stream"))):
        e = answer.json
        assert (answer.status, e["status"], e["code"]) == (status, status, code), (status, code, answer.status, answer.body)
        assert e["type"] == "urn:kamiyo:error:" + code
        assert f"| `{code}` | {status} |" in PROTOCOL, code


def _end():
    if _shared:
        with _shared["sim"], _shared["daemon"]:
            pass


if __name__ == "__main__":
    run(globals(), _end)
