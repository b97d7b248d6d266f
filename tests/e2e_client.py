#!/usr/bin/python3
"""Every verb of the client against a real daemon on the simulator: what operators and customers see, and that the counts agree.

usage: e2e_client.py BIN-FOLDER        (holds kamiyo, kamiyod, kamiyo-sim)
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "build/release/bin"
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("KAMIYO_")}


class Program:
    """A child that says `listening name=value ...` on its first line."""

    def __init__(self, folder, *args):
        self.log = open(os.path.join(folder, f"{args[0]}.log"), "w+")
        self.child = subprocess.Popen([os.path.join(BIN, args[0]), *args[1:]], stdout=subprocess.PIPE, stderr=self.log,
                                      text=True, env=CLEAN, start_new_session=True)
        line = self.child.stdout.readline()
        if not line.startswith("listening "):
            self.log.seek(0)
            raise RuntimeError(f"{args[0]} said {line!r}: {self.log.read()}")
        self.at = dict(word.split("=", 1) for word in line.split()[1:])

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(40)
        self.child.stdout.close()
        self.log.close()
        return code


class Verbs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        home = cls.folder.name
        cls.data = os.path.join(home, "data")
        cls.sim = Program(home, "kamiyo-sim", "--tls-auto", os.path.join(home, "tls"), "--market", "seed=7,rate=100")
        config = os.path.join(home, "kamiyod.yaml")
        with open(config, "w") as f:
            f.write(f'public: {{ listen: "127.0.0.1:0" }}\nadmin: {{ listen: "127.0.0.1:0" }}\ndata: "{cls.data}"\n'
                    f'sources:\n  binance: {{ url: "{cls.sim.at["binance"]}/stream", ca_file: "{cls.sim.at["ca"]}" }}\n'
                    f'  pyth: {{ url: "{cls.sim.at["hermes"]}/ws", ca_file: "{cls.sim.at["ca"]}" }}\n')
        cls.daemon = Program(home, "kamiyod", "run", "--config", config)
        deadline = time.monotonic() + 30
        while "-" in {row["age_ms"] if row["age_ms"] is not None else "-" for row in cls.feeds()}:
            if time.monotonic() > deadline:
                raise RuntimeError("not every feed has a tick after 30 s")

    @classmethod
    def tearDownClass(cls):
        cls.codes = (cls.daemon.stop(), cls.sim.stop())
        cls.folder.cleanup()
        if cls.codes != (0, 0):
            raise RuntimeError(f"daemon and simulator ended with {cls.codes}")

    @classmethod
    def kamiyo(cls, *args, token=None):
        env = {**CLEAN, "KAMIYO_URL": f"http://{cls.daemon.at['public']}", "KAMIYO_ADMIN": f"http://{cls.daemon.at['admin']}",
               "KAMIYO_DATA": cls.data, **({"KAMIYO_TOKEN": token} if token else {})}
        return subprocess.run([os.path.join(BIN, "kamiyo"), *args], capture_output=True, text=True, timeout=60, env=env)

    @classmethod
    def feeds(cls):
        return json.loads(cls.kamiyo("feeds", "--json").stdout)["feeds"]

    def mint(self, account, usd):
        done = self.kamiyo("token", "mint", "--account", account, "--usd", usd)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def stream(self, token, *args):
        done = self.kamiyo("stream", *args, "--json", token=token)
        return done, json.loads(done.stdout.splitlines()[-1])

    def test_feeds_are_listed(self):
        names = {row["feed"] for row in self.feeds()}
        self.assertEqual(names, {"BTC/USDT@binance", "ETH/USDT@binance", "SOL/USDT@binance", "BTC/USD", "ETH/USD", "SOL/USD"})

    def test_queries_are_charged_and_unknown_feeds_are_not(self):
        token = self.mint("local:query", "1")
        for name in ("SOL/USD", "sol-usd", "solana-price", "SOLUSDT"):
            answer = json.loads(self.kamiyo("get", name, "--json", token=token).stdout)
            self.assertEqual(answer["charged"], "0.000100000")
        done = self.kamiyo("get", "SOL/UDS", token=token)
        self.assertEqual(done.returncode, 1)
        self.assertIn("SOL/USD", done.stderr)
        done = self.kamiyo("batch", "BTCUSDT", "NO/NO", "ETH/USD", "--json", token=token)
        answer = json.loads(done.stdout)
        self.assertEqual((done.returncode, answer["charged"]), (1, "0.000200000"))
        self.assertEqual(["data" in item for item in answer["results"]], [True, False, True])

    def test_history_and_comparison_cost_what_they_say(self):
        token = self.mint("local:history", "1")
        done = self.kamiyo("history", "btcusdt", "--count", "1200", "--seconds", "3600", "--json", token=token)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([row["offset"] for row in rows], list(range(rows[0]["offset"], rows[0]["offset"] + len(rows))), done.stderr)
        done = self.kamiyo("history", "BTC/USDT@binance", "--count", "3", token=token)
        self.assertIn("3 ticks, charged 0.000100000 USD", done.stdout, done.stderr)
        answer = json.loads(self.kamiyo("compare", "sol-usd", "--json", token=token).stdout)
        self.assertEqual((answer["count"], answer["charged"]), (1, "0.000100000"))
        self.assertIn("median", self.kamiyo("compare", "SOL/USD", token=token).stdout)
        self.assertEqual(self.kamiyo("history", "NO/NO", token=token).returncode, 1)

    def test_what_was_received_was_charged(self):
        token = self.mint("local:stream", "1")
        done, last = self.stream(token, "BTC/USDT@binance", "solana-price", "--seconds", "2")
        self.assertEqual((done.returncode, last["agree"], last["violations"]), (0, True, 0), done.stderr)
        self.assertGreater(last["received"], 50)

    def test_a_spent_balance_pauses_and_nothing_is_given_or_taken(self):
        token = self.mint("local:poor", "0.00003")
        done, last = self.stream(token, "BTCUSDT", "--seconds", "2")
        self.assertEqual((done.returncode, last["received"], last["charged"], last["balance"]), (0, 30, 30, "0.000000000"))
        self.assertIn('"type":"payment_required"', done.stdout)
        self.assertEqual(self.kamiyo("get", "SOL/USD", token=token).returncode, 1)

    def test_a_revoked_token_ends_its_live_stream(self):
        token = self.mint("local:revoked", "1")
        live = subprocess.Popen([os.path.join(BIN, "kamiyo"), "stream", "BTCUSDT", "--token", token, "--url",
                                 f"http://{self.daemon.at['public']}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=CLEAN)
        for line in live.stdout:
            if "charge" in line:
                break
        self.assertEqual(self.kamiyo("token", "revoke", token).returncode, 0)
        since = time.monotonic()
        err = live.communicate(timeout=20)[1]
        self.assertIn("4401", err)
        self.assertLess(time.monotonic() - since, 10)  # a second is the promise; the machine may be busy
        self.assertIn("token_revoked", self.kamiyo("get", "SOL/USD", token=token).stderr)

    def test_the_snapshot_store_is_read_while_the_daemon_writes(self):
        for _ in range(20):
            done = self.kamiyo("snapshot", "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual({row["feed"] for row in rows} >= {"SOL/USD", "BTC/USDT@binance"}, True)
        done = self.kamiyo("snapshot", "--json", "--feed", "sol-usd")
        self.assertEqual({json.loads(line)["feed"] for line in done.stdout.splitlines()}, {"SOL/USD"})

    def test_operators_see_accounts_connections_sources_and_the_ledger(self):
        self.mint("local:seen", "2.5")
        account = json.loads(self.kamiyo("account", "--account", "local:seen", "--json").stdout)
        self.assertEqual((account["credited"], account["balance"]), ("2.500000000", "2.500000000"))
        sources = json.loads(self.kamiyo("sources", "--json").stdout)["sources"]
        self.assertEqual({s["source"]: s["state"] for s in sources}, {"binance": "live", "pyth": "live"})
        self.assertIn("conns", json.loads(self.kamiyo("conns", "--json").stdout))
        audit = json.loads(self.kamiyo("ledger", "audit", "--json").stdout)
        self.assertEqual((audit["agree"], audit["faults"]), (True, 0))

    def test_operator_verbs_want_the_operators_bearer(self):
        done = subprocess.run([os.path.join(BIN, "kamiyo"), "conns", "--admin", f"http://{self.daemon.at['admin']}"],
                              capture_output=True, text=True, env={**CLEAN, "KAMIYO_ADMIN_TOKEN": "wrong"}, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("401", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
