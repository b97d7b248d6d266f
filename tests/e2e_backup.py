#!/usr/bin/env python3
"""The rehearsal: backups while customers stream, the daemon killed, restored elsewhere, recounted, and served on.  See harness.py."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
from decimal import Decimal

from harness import FEEDS, KAMIYO, SECONDS, TICK_USD, Daemon, Sim, run

BTC, SOL = FEEDS


def _kamiyo(*args, code=0, said=""):
    r = subprocess.run([KAMIYO, *args], capture_output=True, text=True, timeout=SECONDS)
    assert r.returncode == code and said in r.stderr, (args, r.returncode, r.stdout, r.stderr)
    return json.loads(r.stdout) if "--json" in args and code == 0 else r.stdout


def _tree(folder):
    return sorted(os.path.relpath(os.path.join(at, f), folder) for at, _, files in os.walk(folder) for f in files)


def a_rehearsal_backup_while_streaming_kill_restore_elsewhere_and_go_on():
    with Sim(800) as sim, tempfile.TemporaryDirectory() as folder:
        d = Daemon(sim, data=folder + "/data", shards__count=2, lease__report_every="5ms")
        token = d.mint("local:a", "1")
        conns = [d.ws(d.mint(f"local:{name}", "1")) for name in "bcd"] + [d.ws(token)]
        for w in conns:
            w.subscribe(BTC, SOL)
        backups, kept = [], []
        for i in range(5):
            for w in conns:
                w.count(60)
            to = f"{folder}/backup-{i}"
            backups.append(_kamiyo("backup", to, "--data", d.data, "--json", *(["--with-secrets"] if i == 4 else []))["ledger"])
            kept.append(_tree(to))
        assert kept[0] == ["ledger/data.mdb", "manifest.json"], kept[0]
        assert kept[4] == ["admin.token", "ledger/data.mdb", "manifest.json", "receipt.key", "token.key"], kept[4]
        assert all(os.stat(f"{folder}/backup-4/{f}").st_mode & 0o77 == 0 for f in kept[4] if not f.endswith(".json") and "/" not in f)
        consumed = [Decimal(b["consumed"]) for b in backups]
        assert consumed == sorted(consumed) and consumed[4] > consumed[0], consumed  # each a later instant
        keys = d.ask("GET", "/v1/keys").body
        d.end(signal.SIGKILL)
        for w in conns:  # what was on the way counts
            w.last_words()
            w.drop()
        received = sum(len(w.ticks) for w in conns)
        for i in (0, 4):
            other = f"{folder}/restored-{i}"
            out = _kamiyo("restore", f"{folder}/backup-{i}", "--data", other, "--json")
            assert out["ledger"] == backups[i] and out["ledger_aside"] == "", out
            audit = _kamiyo("ledger", "audit", "--data", other, "--json")
            assert audit["agree"] and all(audit[k] == backups[i][k] for k in backups[i] if k in audit), (audit, backups[i])
            e = Daemon(sim, data=other)
            assert "recovered:" in e.stderr()  # the leases of then
            sums = [e.account(f"local:{name}") for name in "abcd"]
            # To the nano-USD what the backup says: all that was not consumed then is there to be spent.
            assert sum(a["consumed"] for a in sums) == consumed[i] <= received * TICK_USD
            assert all(a["credited"] == 1 and a["balance"] + a["leased"] == 1 - a["consumed"] for a in sums), sums
            if i == 4:  # with the keys the customers' tokens are good, and receipts are signed as before
                w = e.ws(token)
                w.subscribe(BTC)
                w.count(10)
                w.close()
                assert e.ask("GET", "/v1/keys").body == keys
            else:
                assert e.ask("GET", "/v1/account", token=token).status == 401
            e.stop()
            assert _kamiyo("ledger", "audit", "--data", other, "--json")["agree"]


def restore_refuses_a_running_daemon_and_a_ledger_that_is_in_use():
    with Sim(200) as sim, tempfile.TemporaryDirectory() as folder:
        d = Daemon(sim, data=folder + "/data")
        w = d.ws(d.mint("local:a", "1"))
        epoch = w.subscribe(BTC)["feeds"][0]["epoch"]
        w.count(10)
        w.close()
        to = folder + "/backup"
        _kamiyo("backup", to, "--data", d.data)
        _kamiyo("backup", to, "--data", d.data, code=1, said="there already")
        _kamiyo("restore", to, "--data", d.data, "--force", code=1, said="stop it first")
        d.mint("local:later", "3")
        d.stop()
        before = _kamiyo("ledger", "audit", "--data", d.data)
        _kamiyo("restore", to, "--data", d.data, code=1, said="--force")
        assert _kamiyo("ledger", "audit", "--data", d.data) == before
        with open(d.data + "/token.key", "rb") as f:
            key = f.read()
        aside = _kamiyo("restore", to, "--data", d.data, "--force", "--json")
        assert aside["ledger_aside"].endswith("ledger.before-restore-1") and aside["snapshot_aside"].endswith("snapshot.before-restore-1"), aside
        with open(d.data + "/token.key", "rb") as f:
            assert f.read() == key
        # What was there is still there.
        os.mkdir(folder + "/old")
        shutil.copytree(aside["ledger_aside"], folder + "/old/ledger")
        assert _kamiyo("ledger", "audit", "--data", folder + "/old") == before
        e = Daemon(sim, data=d.data)
        assert e.operator("GET", "/v1/admin/accounts?account=local:later").status == 404
        w = e.ws(e.mint("local:a", "0"))
        assert w.subscribe(BTC)["feeds"][0]["epoch"] != epoch, "offsets of another time are not gone on with"
        w.close()
        e.stop()


def a_backup_that_was_changed_or_is_none_is_refused():
    with Sim(200) as sim, tempfile.TemporaryDirectory() as folder:
        d = Daemon(sim, data=folder + "/data")
        d.mint("local:a", "1")
        to, other = folder + "/backup", folder + "/other"
        _kamiyo("backup", to, "--data", d.data)
        d.stop()
        _kamiyo("restore", folder, "--data", other, code=1, said="no backup")
        _kamiyo("backup", folder + "/none", "--data", folder + "/nothing", code=1, said="--data")
        assert not [f for f in os.listdir(folder) if "partial" in f or f == "none"], os.listdir(folder)
        with open(to + "/manifest.json") as f:
            good = f.read()
        with open(to + "/ledger/data.mdb", "r+b") as f:
            f.seek(-1, 2)
            last = f.read(1)
            f.seek(-1, 2)
            f.write(bytes([last[0] ^ 1]))
        _kamiyo("restore", to, "--data", other, code=1, said="hash")
        with open(to + "/ledger/data.mdb", "r+b") as f:
            f.seek(-1, 2)
            f.write(last)
        with open(to + "/manifest.json", "w") as f:
            f.write(good.replace('"credited": "1.000000000"', '"credited": "2.000000000"'))
        _kamiyo("restore", to, "--data", other, code=1, said="sums")
        assert not os.path.exists(other + "/ledger") and not os.path.exists(other + "/ledger.restoring"), os.listdir(other)
        with open(to + "/manifest.json", "w") as f:
            f.write(good)
        _kamiyo("restore", to, "--data", other)
        _kamiyo("backup", "--data", other, code=2)


if __name__ == "__main__":
    run(globals())
