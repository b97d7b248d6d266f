#!/usr/bin/env python3
"""The key that signs tokens is replaced while customers stream.  See harness.py."""
import base64
import hashlib
import hmac
import json
import os
import subprocess
import tempfile
import threading

from harness import FEEDS, KAMIYO, SECONDS, Daemon, Sim, forge, run

BTC, SOL = FEEDS


def _kid(token):
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]


def _good(d, token):
    status = d.ask("GET", "/v1/account", token=token).status
    assert status in (200, 401), status
    return status == 200


def _rotate(d, *args, code=0):
    r = subprocess.run([KAMIYO, "token", "rotate", "--json", "--admin", f"http://{d.admin[0]}:{d.admin[1]}", "--data", d.data, *args],
                       capture_output=True, text=True, timeout=SECONDS)
    assert r.returncode == code, (r.stdout, r.stderr)
    return json.loads(r.stdout)["kid"] if code == 0 else r.stderr


def a_rotation_changes_who_signs_and_nobody_notices():
    with Sim(200) as sim, tempfile.TemporaryDirectory() as folder:
        d = Daemon(sim, data=folder + "/data", shards__count=2)
        old = d.mint("local:a", "1")
        w = d.ws(old)
        w.subscribe(BTC)
        w.count(10)
        kid = _rotate(d)
        new = d.mint("local:a", "0")
        assert _kid(new) == kid != _kid(old)
        for _ in range(6):  # on both shards
            assert _good(d, old) and _good(d, new)
        w.count(10)
        w.send({"op": "auth", "token": new})  # a live socket is extended by a token of the new key
        w.next("authenticated")
        w.close()
        # A name of a known key over a foreign signature, and an unknown name.
        head, body, _ = new.split(".")
        text = f"{head}.{body}"
        tag = base64.urlsafe_b64encode(hmac.new(b"x" * 32, text.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
        assert not _good(d, f"{text}.{tag}")
        assert not _good(d, forge(b"y" * 32, "local:a"))
        d.stop()
        names = sorted(f for f in os.listdir(d.data) if f.startswith("token.key"))
        assert len(names) == 2 and names[1].startswith("token.key.until-"), names
        assert all(os.stat(f"{d.data}/{f}").st_mode & 0o77 == 0 for f in names)
        # Over a restart, and by a backup with the keys.
        backup, other = folder + "/backup", folder + "/other"
        subprocess.run([KAMIYO, "backup", backup, "--with-secrets", "--data", d.data], check=True, capture_output=True, timeout=SECONDS)
        subprocess.run([KAMIYO, "restore", backup, "--data", other], check=True, capture_output=True, timeout=SECONDS)
        for data in (d.data, other):
            e = Daemon(sim, data=data)
            assert _good(e, old) and _good(e, new)
            # The key leaked: all that was signed before is void, at once.
            _rotate(e, "--drop")
            assert not _good(e, old) and not _good(e, new)
            for token in (old, new):
                assert "is gone: get a new token" in e.ask("GET", "/v1/account", token=token).body.decode()
            assert _good(e, e.mint("local:a", "0"))
            e.stop()


def a_token_minted_after_the_answer_is_good_everywhere_at_once():
    with Daemon(shards__count=2) as d:
        d.mint("local:a", "1")
        stop, bad = threading.Event(), []

        def use():
            while not stop.is_set():
                if not _good(d, d.mint("local:a", "0")):
                    bad.append(1)
        threads = [threading.Thread(target=use) for _ in range(2)]
        for t in threads:
            t.start()
        for _ in range(7):
            _rotate(d)
        stop.set()
        for t in threads:
            t.join()
        assert not bad
        assert "still needed" in _rotate(d, code=1)  # eight keys at most


def a_token_for_some_feeds_is_for_no_others():
    with Sim(200) as sim, Daemon(sim) as d:
        full = d.mint("local:a", "1")
        out = subprocess.run([KAMIYO, "token", "mint", "--account", "local:a", "--usd", "0", "--feeds", "BTCUSDT,*/USD", "--admin",
                              f"http://{d.admin[0]}:{d.admin[1]}", "--data", d.data], capture_output=True, text=True, timeout=SECONDS)
        token = out.stdout.strip()
        assert out.returncode == 0, out.stderr
        body = token.split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["scp"] == "BTC/USDT@binance */USD"  # an alias is what it means today
        for feed, status in (("BTC/USDT@binance", 200), ("btcusdt", 200), ("SOL/USD", 200), (SOL, 403)):
            a = d.ask("GET", "/v1/ingest-data?feed=" + feed, token=token)
            assert a.status == status and (status == 200 or a.json["code"] == "forbidden"), (feed, a.status, a.body)
            assert d.ask("GET", "/v1/ingest-data?feed=" + feed, token=full).status == 200
        before = d.ask("GET", "/v1/account", token=token).json["balance"]
        ask = lambda *feeds: d.ask("POST", "/v1/ingest-data/batch", [{"feed_type": f} for f in feeds], token=token)
        assert ask("BTC/USD", "SOL/USD").status == 200
        spent = d.ask("GET", "/v1/account", token=token).json["balance"]
        assert spent < before
        assert ask("BTC/USD", SOL).status == 403
        assert d.ask("GET", "/v1/history?feed=BTC/USD", token=token).status == 403  # routes that do not look ask for a token for all
        assert d.ask("GET", "/v1/snapshot", token=token).status == 403
        sse = {"Accept": "text/event-stream"}
        assert d.ask("GET", "/v1/stream?feeds=" + SOL, token=token, headers=sse).status == 403
        assert d.ask("GET", "/v1/account", token=token).json["balance"] == spent, "what is refused costs nothing"
        w = d.ws(token)
        for feeds in ([SOL], [BTC, SOL], ["*"], ["*@binance"]):
            w.send({"op": "subscribe", "id": 7, "feeds": feeds})
            assert w.next("error", id=7)["code"] == "forbidden", feeds
        w.subscribe(BTC, "*/USD")
        w.count(20)
        # Another token on the live socket: as wide, and then one that is not for what is subscribed.
        w.send({"op": "auth", "token": full})
        w.next("authenticated")
        w.subscribe(SOL)
        w.send({"op": "auth", "token": token})
        assert w.closed() == 4401
        for feeds in ([], "BTC", [1], ["A B"], ["*" * 70]):
            assert d.operator("POST", "/v1/admin/tokens", {"account": "local:a", "usd": "0", "feeds": feeds}).status in (400, 404), feeds
        assert d.operator("POST", "/v1/admin/tokens", {"account": "local:a", "usd": "0", "feeds": ["NO/SUCH"]}).status == 404
        assert d.operator("POST", "/v1/admin/tokens", {"account": "local:a", "usd": "0", "feeds": ["A*"] * 100}).status == 400


def whose_key_is_his_own_rotates_it_himself():
    with tempfile.NamedTemporaryFile() as f:
        f.write(os.urandom(40))
        f.flush()
        with Daemon(tokens__secret_file=f.name) as d:
            token = d.mint("local:a", "1")
            assert "secret_file" in _rotate(d, code=1)
            assert _good(d, token)
    with Daemon() as d:
        assert d.ask("POST", "/v1/admin/tokens/rotate", door="admin").status == 401
        assert d.operator("POST", "/v1/admin/tokens/rotate", {"drop": 1}).status == 400
        assert d.ask("POST", "/v1/admin/tokens/rotate").status == 404


if __name__ == "__main__":
    run(globals())
