#!/usr/bin/python3
"""kamiyo check: each door by rows of its own, and the x402 vectors through the command as a suite would send them.

usage: test_check.py KAMIYO
"""
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
KAMIYO = sys.argv.pop(1)


def run(*args, text="", code=0):
    data = text if isinstance(text, bytes) else text.encode()
    done = subprocess.run([KAMIYO, "check", *args], input=data, capture_output=True, timeout=60)
    assert done.returncode == code, (args, done.returncode, done.stderr)
    return done.stdout.decode().splitlines()


def vectors(name):
    with open(os.path.join(HERE, "corpus", "x402", name)) as f:
        return json.load(f)["vectors"]


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Json(unittest.TestCase):
    def test_the_exit_code_is_the_answer(self):
        for text in (b"{}", b' [1,"\\u00e9",null] ', b'{"a":1,"a":2}', b"-0.5e+3"):
            run("json", text=text)
        for text in (b"", b"{", b"[1,]", b"\xef\xbb\xbf{}", b'"\xff"', b"01", b"{} {}", b"[" * 100):
            run("json", text=text, code=1)


class Jws(unittest.TestCase):
    def setUp(self):
        self.key = tempfile.NamedTemporaryFile()
        self.key.write(b"k" * 32)
        self.key.flush()

    def tearDown(self):
        self.key.close()

    def token(self, header, secret=b"k" * 32):
        signed = b64url(json.dumps(header).encode()) + "." + b64url(b'{"sub":"x"}')
        return signed + "." + b64url(hmac.new(secret, signed.encode(), hashlib.sha256).digest())

    def test_only_hs256_with_this_key(self):
        good = self.token({"alg": "HS256", "typ": "JWT"})
        rows = [(good, "1"), (self.token({"alg": "HS256"}), "1"), (self.token({"alg": "HS256"}, b"K" * 32), "0"),
                (self.token({"alg": "none"}), "0"), (self.token({"alg": "HS256", "kid": "1"}), "0"),
                (good + "=", "0"), (good[:-1], "0"), ("", "0"), ("a" * 600000, "0"), (good, "1")]
        out = run("jws", "--secret-file", self.key.name, text="\n".join(r[0] for r in rows) + "\n")
        self.assertEqual(out, [r[1] for r in rows])

    def test_a_key_must_be_there_and_long_enough(self):
        run("jws", code=2)
        run("jws", "--secret-file", "/nonexistent", code=1)
        with tempfile.NamedTemporaryFile() as short:
            short.write(b"k" * 31 + b"\n")
            short.flush()
            run("jws", "--secret-file", short.name, code=1)


class Sig(unittest.TestCase):
    def test_ethereum_keys(self):
        e = vectors("evm-valid.json")[0]["eip712"]
        pub, address = e["recovered_public_key"][2:], e["recovered_address"][2:]
        msg, r, s = e["digest_preimage"][2:], e["r"][2:], e["s"][2:]
        n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141
        high = f"{n - int(s, 16):064x}"
        compressed = ("03" if int(pub[-1], 16) & 1 else "02") + pub[2:66]
        v = f"{e['v_byte']:02x}"
        rows = [(pub, msg, r + s, 1), (pub[2:], msg, r + s, 1), (compressed, msg, r + s + v, 1), (address, msg, r + s + v, 1),
                (pub, msg, r + s + v, 1), (pub, msg, r + s + "00", 0), (pub, msg, r + s + f"{55 - e['v_byte']:02x}", 0),
                (pub, msg, r + high, 0), (pub, msg, r + high + f"{55 - e['v_byte']:02x}", 0), (address, msg, r + s, 0),
                (pub, msg + "00", r + s, 0), (pub, "-", r + s, 0), (pub, msg, "-", 0), ("-", msg, r + s, 0),
                ("06" + pub[2:], msg, r + s, 0), (pub, msg, "00" * 32 + s, 0), (pub, msg, r + f"{n:064x}", 0), (pub, msg, r + s + " 00", 0)]
        out = run("sig", text="".join(f"secp256k1-keccak {p} {m} {x}\n" for p, m, x, _ in rows))
        self.assertEqual(out, [str(row[3]) for row in rows])

    def test_ed25519(self):
        key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"  # RFC 8032 section 7.1
        sig = ("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
               "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b")
        out = run("sig", text=f"ed25519 {key} - {sig}\ned25519 {key} 00 {sig}\ned25519 {'00' * 32} - {'00' * 64}\n"
                              f"ed448 {key} - {sig}\ned25519 {key} -\nx\n\n")
        self.assertEqual(out, ["1", "0", "0", "0", "0", "0", "0"])


class Pyth(unittest.TestCase):
    def test_what_nobody_known_has_signed_is_refused(self):
        with open(os.path.join(HERE, "corpus", "pyth_update", "signed"), "rb") as f:
            own = base64.b64encode(f.read()).decode()
        self.assertEqual(run("pyth", text=own + "\nUE5BVQ==\n-\n\n"), ["0", "0", "0", "0"])

    def test_recordings(self):
        captures = os.environ.get("KAMIYO_CAPTURES") or os.path.join(HERE, "..", "..", "shared", "captures")
        path = os.path.join(captures, "pyth", "accumulator_updates.jsonl")
        if not os.path.exists(path):
            self.skipTest("no recordings here")
        with open(path) as f:
            rows = [json.loads(line) for line in f]
        out = run("pyth", text="".join(base64.b64encode(bytes.fromhex(r["hex"])).decode() + "\n" for r in rows))
        self.assertEqual([o[0] for o in out], ["1" if r["expect"] == "accept" else "0" for r in rows])
        prices = out[0].split(" ")[1].split(":")
        self.assertEqual(prices, [rows[0]["updates"][0]["id"], "2310.09076548", "1.20923451", "1706835671"])


class Payment(unittest.TestCase):
    def config(self, offer, folder):
        path = os.path.join(folder, "k.yaml")
        extra = offer.get("extra", {})
        named = {"base": "eip155:8453", "base-sepolia": "eip155:84532", "ethereum": "eip155:1", "solana": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
                 "solana-devnet": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"}
        name = next(n for n, chain in named.items() if offer["network"] in (n, chain))
        rows = {"name": name, "asset": offer["asset"], "pay_to": offer["payTo"], "asset_name": extra.get("name", ""),
                "asset_version": extra.get("version", ""), "fee_payer": extra.get("feePayer", "")}
        with open(path, "w") as f:
            f.write("payments: { networks: [ { " + ", ".join(f'{k}: "{v}"' for k, v in rows.items()) + " } ] }\n")
        return path

    def judge(self, vector, folder):
        offer = vector["offer"]
        args = ["payment", "--network", offer["network"], "--config", self.config(offer, folder),
                "--amount", offer.get("amount") or offer["maxAmountRequired"], "--now", str(vector.get("verify_at", 1767225600)),
                "--timeout", str(offer["maxTimeoutSeconds"])]
        if "memo" in offer.get("extra", {}):
            args += ["--memo", offer["extra"]["memo"]]
        return run(*args, text=vector["header_value"] + "\n")[0]

    def test_the_vectors_get_their_verdicts_against_a_configured_offer(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("evm-valid.json", "evm-invalid.json", "solana.json"):
                for v in vectors(name):
                    stage = v["expect"].get("stage")
                    got = self.judge(v, folder)
                    if v.get("needs_chain") and v["expect"]["valid"]:
                        want = "invalid invalid_exact_evm_payload_signature"
                    elif v["expect"]["valid"] or stage in ("chain", "replay"):
                        want = "valid "
                    else:
                        want = "invalid " + v["expect"].get("spec_reason", "")
                    self.assertTrue(got.startswith(want), (v["id"], got, want))

    def test_a_known_network_needs_only_the_address(self):
        v = next(v for v in vectors("evm-valid.json") if v["id"] == "base-v1-valid-for-decades")
        args = ["payment", "--network", "base", "--pay-to", v["offer"]["payTo"], "--amount", "10000"]
        text = v["header_value"] + "\nrubbish\n\n"
        payer = "eip155:8453:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"
        self.assertEqual(run(*args, text=text), ["valid " + payer, "invalid invalid_payload", "invalid invalid_payload"])
        out = [json.loads(line) for line in run(*args, "--json", text=text)]
        self.assertEqual(out[0], {"verdict": "valid", "account": payer})
        self.assertEqual((out[1]["verdict"], out[1]["reason"]), ("invalid", "invalid_payload"))

    def test_the_price_is_that_of_a_query(self):
        v = next(v for v in vectors("evm-valid.json") if v["id"] == "base-v1-valid-for-decades")
        with tempfile.TemporaryDirectory() as folder:
            for price, verdict in (("0.01", "valid"), ("0.0099995", "valid"), ("0.0101", "invalid")):
                path = os.path.join(folder, "p.yaml")
                with open(path, "w") as f:
                    f.write('prices: { query: "%s" }\npayments: { networks: [ { name: base, pay_to: "%s" } ] }\n' % (price, v["offer"]["payTo"]))
                got = run("payment", "--network", "base", "--config", path, text=v["header_value"] + "\n")[0]
                self.assertEqual(got.split(" ")[0], verdict)

    def test_wrong_usage(self):
        run("payment", code=2)
        run("payment", "--network", "base", code=2)
        run("payment", "--network", "base", "--pay-to", "0x12", code=1)
        run("payment", "--network", "base", "--pay-to", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "--amount", "1e3", code=2)
        run("payment", "--network", "base", "--now", "x", code=2)
        run("nothing", code=2)


unittest.main(argv=[sys.argv[0]])
