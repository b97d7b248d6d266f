"""What a payer's wallet does, in plain Python, so that tests need no packages: Keccak-256, secp256k1 with recovery (SEC 1, RFC 6979 left out: the nonce
is a hash of key and message), EIP-712 of an EIP-3009 authorization, EIP-191 of a sign-in, and the x402 headers made of them.  Slow, and for tests only.
"""
import base64
import hashlib
import json
import os
import time

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798, 0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)
_ROTATE = [[0, 36, 3, 41, 18], [1, 44, 10, 45, 2], [62, 6, 43, 15, 61], [28, 55, 25, 21, 56], [27, 20, 39, 8, 14]]


def _round_constants():
    lfsr, out = 1, []
    for _ in range(24):
        c = 0
        for j in range(7):
            if lfsr & 1:
                c |= 1 << ((1 << j) - 1)
            lfsr = (lfsr << 1) ^ (0x171 if lfsr & 0x80 else 0)
        out.append(c)
    return out


_RC = _round_constants()


def _rol(v, n):
    return (v << n | v >> (64 - n)) & 0xFFFFFFFFFFFFFFFF if n else v


def keccak256(data):
    a = [[0] * 5 for _ in range(5)]
    data = data + b"\x01" + b"\0" * (-(len(data) + 2) % 136) + b"\x80" if (len(data) + 1) % 136 else data + b"\x81"
    for block in range(0, len(data), 136):
        for i in range(17):
            a[i % 5][i // 5] ^= int.from_bytes(data[block + 8 * i:block + 8 * i + 8], "little")
        for rc in _RC:
            c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
            d = [c[x - 1] ^ _rol(c[(x + 1) % 5], 1) for x in range(5)]
            a = [[a[x][y] ^ d[x] for y in range(5)] for x in range(5)]
            b = [[0] * 5 for _ in range(5)]
            for x in range(5):
                for y in range(5):
                    b[y][(2 * x + 3 * y) % 5] = _rol(a[x][y], _ROTATE[x][y])
            a = [[b[x][y] ^ (~b[(x + 1) % 5][y] & b[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
            a[0][0] ^= rc
    return b"".join(a[i % 5][i // 5].to_bytes(8, "little") for i in range(4))


assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def _add(p, q):
    if p is None or q is None:
        return p or q
    if p[0] == q[0] and (p[1] + q[1]) % P == 0:
        return None
    slope = (3 * p[0] * p[0] * pow(2 * p[1], -1, P) if p == q else (q[1] - p[1]) * pow(q[0] - p[0], -1, P)) % P
    x = (slope * slope - p[0] - q[0]) % P
    return x, (slope * (p[0] - x) - p[1]) % P


def _times(k, p=G):
    out = None
    while k:
        if k & 1:
            out = _add(out, p)
        p, k = _add(p, p), k >> 1
    return out


def _word(n):
    return n.to_bytes(32, "big")


def _address_word(text):
    return bytes(12) + bytes.fromhex(text[2:])


class Wallet:
    """seed: any text; the same one is the same wallet."""

    def __init__(self, seed):
        self.key = int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big") % (N - 1) + 1
        x, y = _times(self.key)
        self.address = "0x" + keccak256(_word(x) + _word(y))[12:].hex()

    def sign(self, digest):
        k = int.from_bytes(hashlib.sha256(_word(self.key) + digest).digest(), "big") % (N - 1) + 1
        x, y = _times(k)
        r = x % N
        s = pow(k, -1, N) * (int.from_bytes(digest, "big") + r * self.key) % N
        odd = y & 1
        if s > N // 2:
            s, odd = N - s, odd ^ 1
        return "0x" + (_word(r) + _word(s) + bytes([27 + odd])).hex()

    def authorize(self, entry, chain_id, **more):
        """The payload for an entry of an offer (either generation)."""
        value = entry.get("amount") or entry["maxAmountRequired"]
        a = {"from": self.address, "to": entry["payTo"], "value": value, "validAfter": "0", "validBefore": str(int(time.time()) + entry["maxTimeoutSeconds"]),
             "nonce": "0x" + os.urandom(32).hex(), **more}
        domain = keccak256(keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
                           + keccak256(entry["extra"]["name"].encode()) + keccak256(entry["extra"]["version"].encode()) + _word(chain_id) + _address_word(entry["asset"]))
        struct = keccak256(keccak256(b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)")
                           + _address_word(a["from"]) + _address_word(a["to"]) + _word(int(a["value"])) + _word(int(a["validAfter"])) + _word(int(a["validBefore"]))
                           + bytes.fromhex(a["nonce"][2:]))
        return {"authorization": a, "signature": self.sign(keccak256(b"\x19\x01" + domain + struct))}

    def sign_in(self, extension):
        """The header SIGN-IN-WITH-X for the extension of an offer."""
        info = extension["info"]
        chain = next(c["chainId"] for c in extension["supportedChains"] if c["type"] == "eip191")
        address = checksummed(self.address)
        text = f"{info['domain']} wants you to sign in with your Ethereum account:\n{address}\n\n" + \
               (info["statement"] + "\n" if "statement" in info else "") + \
               f"\nURI: {info['uri']}\nVersion: {info['version']}\nChain ID: {chain.split(':')[1]}\nNonce: {info['nonce']}\nIssued At: {info['issuedAt']}" + \
               (f"\nExpiration Time: {info['expirationTime']}" if "expirationTime" in info else "")
        digest = keccak256(b"\x19Ethereum Signed Message:\n" + str(len(text)).encode() + text.encode())
        return header({**info, "address": address, "chainId": chain, "type": "eip191", "signature": self.sign(digest)})


def checksummed(address):
    """EIP-55."""
    digits = address[2:].lower()
    hashed = keccak256(digits.encode()).hex()
    return "0x" + "".join(d.upper() if int(h, 16) > 7 else d for d, h in zip(digits, hashed))


def header(thing):
    return base64.b64encode(json.dumps(thing).encode()).decode()


def payment_v1(wallet, entry, chain_id, **more):
    return {"X-PAYMENT": header({"x402Version": 1, "scheme": "exact", "network": entry["network"], "payload": wallet.authorize(entry, chain_id, **more)})}


def payment_v2(wallet, offer, entry, extensions=None, **more):
    """extensions: what the client adds to those of the offer."""
    return {"PAYMENT-SIGNATURE": header({"x402Version": 2, "resource": offer["resource"], "accepted": entry, "extensions": extensions or offer.get("extensions", {}),
                                         "payload": wallet.authorize(entry, int(entry["network"].split(":")[1]), **more)})}
