#!/usr/bin/env python3
"""Upstream frames of our own making, in the sources' shapes: ordinary ones, every legal variation a serializer might take up, and
damaged ones.  The same seed gives the same bytes on every Python 3.

  make_feeds.py binance 1 250 > feeds/binance.cf.txt
  make_feeds.py pyth 1 250 > feeds/pyth.cf.txt
  make_feeds.py seeds .                                  (the fuzz seeds in binance/ and pyth/)"""

import os
import sys


class Dice:
    """xorshift64*: random's own sequence is not promised to stay the same between versions."""

    def __init__(self, seed):
        self.state = seed * 0x9E3779B97F4A7C15 & (1 << 64) - 1 or 1

    def roll(self, sides):
        x = self.state
        x ^= x >> 12
        x = (x ^ x << 25) & (1 << 64) - 1
        x ^= x >> 27
        self.state = x
        return (x * 0x2545F4914F6CDD1D & (1 << 64) - 1) % (1 << 64) * sides >> 64

    def pick(self, items):
        return items[self.roll(len(items))]

    def one_in(self, n):
        return self.roll(n) == 0


def text(value):
    return '"' + value + '"'


def mostly(dice, usual, odd, poison):
    """The usual; now and then what is refused; seldom what is legal but makes all that follows stale."""
    if dice.one_in(4000):
        return dice.pick(poison)
    return dice.pick(odd) if dice.one_in(30) else usual


def obj(pairs):
    return "{" + ",".join(f'"{k}":{v}' for k, v in pairs) + "}"


def decimal8(dice, whole_max=100000):
    return f"{dice.roll(whole_max)}.{dice.roll(10**dice.pick([2, 4, 8])):0<8}"[:32]


def decimal(dice):
    return dice.pick([
        lambda: decimal8(dice), lambda: decimal8(dice), lambda: decimal8(dice), lambda: decimal8(dice),
        lambda: decimal8(dice, 10**dice.roll(13)),
        lambda: f"{dice.roll(1000)}.{dice.roll(100):02}",
        lambda: str(dice.roll(10**dice.roll(20))),
        lambda: f"0.{dice.roll(10**8):012}",
        lambda: f"{dice.roll(100)}.{dice.roll(100):02}e-{dice.roll(12)}",
        lambda: f"{dice.roll(100)}E+{dice.roll(16)}",
        lambda: dice.pick(["0.00000000", "0", "-1.5", "-0.0", "00012.50000000", ".5", "5.", "1e", "NaN", "0x10", " 1", "+1", "",
                           "92233720368.54775807", "92233720368.54775808", "9223372036854775807",
                           "9223372036854775808", "184467440737.09551616", "1e-70", "1e70", "0e9999"]),
    ])()


SYMBOLS = ["KMYUSDT", "AAAUSDC", "ZZUSD_PERP", "LONGTOKENNAMEUSDT", "X1BTC"]
ODD_SYMBOLS = ["旗USDT", "\\u65d7USDT", "\\u004bMYUSDT", "A" * 64, "A" * 65, "", "K\\u0000", "\\ud83d\\ude80USDT", "\\ud83dUSDT", "a\\nb"]


class Binance:
    def __init__(self, dice):
        self.dice = dice
        self.ids = dict.fromkeys(range(9), 1000)
        self.now = 1_700_000_000_000

    def next_id(self, which):
        step = self.dice.pick([1, 1, 1, 1, 1, 7, 0, -1])
        self.ids[which] += step
        return mostly(self.dice, self.ids[which], [0, 2**64, -1, "-0", "1.5", '"9"'], [2**64 - 1, 10**17])

    def time(self):
        self.now += self.dice.roll(200)
        return self.dice.pick([self.now] * 30 + [0, -5, 1, self.now * 1000, 10**13 - 1, 9223372036855, "null", f'"{self.now}"', "1e12"])

    def symbol(self):
        return text(self.dice.pick(ODD_SYMBOLS) if self.dice.one_in(12) else self.dice.pick(SYMBOLS))

    def number(self):
        return text(decimal8(self.dice) if not self.dice.one_in(4) else decimal(self.dice))

    def trade(self):
        agg = self.dice.one_in(3)
        ident = [("a", self.next_id(1))] if agg else [("t", self.next_id(2))]
        span = [("f", self.next_id(3)), ("l", self.next_id(3))] if agg else []
        flag = self.dice.pick(["true", "false"])
        tail = [("m", flag if not self.dice.one_in(40) else self.dice.pick(["1", "null", '"true"']))]
        tail += [("M", "true")] if not self.dice.one_in(5) else []
        return ([("e", text("aggTrade" if agg else "trade")), ("E", self.time()), ("s", self.symbol())] + ident +
                [("p", self.number()), ("q", self.number())] + span + [("T", self.time())] + tail)

    def book(self):
        bid = self.dice.roll(10**self.dice.pick([3, 9, 13]))
        ask = bid + self.dice.roll(1000) - self.dice.pick([0, 0, 0, 500])
        def price(v):
            return text(f"{v // 10**8}.{v % 10**8:08}" if v >= 0 else f"-{-v}")
        b, a = (price(bid), price(ask)) if not self.dice.one_in(5) else (self.number(), self.number())
        pairs = [("u", self.next_id(4)), ("s", self.symbol()), ("b", b), ("B", self.number()), ("a", a), ("A", self.number())]
        if self.dice.one_in(4):
            pairs = [("e", text("bookTicker"))] + pairs + [("T", self.time()), ("E", self.time())]
        elif self.dice.one_in(8):
            pairs += [("ps", text("KMYUSD")), ("E", self.time())]
        return pairs

    def other(self):
        return self.dice.pick([
            [("e", text("depthUpdate")), ("E", self.time()), ("s", self.symbol()), ("U", 1), ("u", 2), ("b", '[["1.0","2.0"]]'), ("a", "[]")],
            [("e", text("kline")), ("E", self.time()), ("s", self.symbol()), ("k", '{"t":1,"t":2,"x":false}')],
            [("lastUpdateId", 5), ("bids", "[]"), ("asks", '[["1","2"]]')],
            [("e", text("serverShutdown")), ("E", self.time())],
            [("e", 7), ("s", self.symbol())],
            [("e", text("24hrMiniTicker")), ("c", self.number()), ("o", self.number())],
        ])

    def control(self):
        ident = self.dice.pick(["1", '"k-1"', "null", str(2**63), "-1", "1.0"])
        return self.dice.pick([
            f'{{"result":null,"id":{ident}}}', f'{{"result":["kmyusdt@trade"],"id":{ident}}}', f'{{"result":true,"id":{ident}}}',
            f'{{"code":0,"msg":"Unknown property","id":{ident}}}', '{"code":2,"msg":"Invalid request: \\"x\\""}', '{"code":-1003,"msg":"slow"}',
            f'{{"error":{{"code":2,"msg":"Invalid"}},"id":{ident}}}', '{"error":null,"result":null,"id":4}', '{"error":"x"}', '{"code":"2"}',
            "[]", "[1,2]", "7", "null", '"x"', "{}", "", " ", "{", '{"stream":"x"}', '{"data":{"e":"trade"}}',
            '{"stream":"!miniTicker@arr","data":[{"e":"24hrMiniTicker"}]}', "[" * 33 + "]" * 33, "[" * 32 + "]" * 32,
        ])

    def frame(self):
        kind = self.dice.roll(10)
        if kind == 0:
            return self.control()
        pairs = self.other() if kind == 1 else self.book() if kind < 6 else self.trade()
        if self.dice.one_in(8):
            pairs = vary(self.dice, pairs)
        payload = obj(pairs)
        if self.dice.one_in(3):
            return payload
        outer = [("stream", text("kmyusdt@" + self.dice.pick(["trade", "bookTicker", "旗"]))), ("data", payload)]
        return obj(vary(self.dice, outer) if self.dice.one_in(12) else outer)


class Pyth:
    def __init__(self, dice):
        self.dice = dice
        self.slot = 1000
        self.now = 1_700_000_000

    def int_text(self):
        return text(self.dice.pick([str(self.dice.roll(10**self.dice.roll(20)))] * 30 + [
            "-" + str(self.dice.roll(10**9)), "0", "007", "-0", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
            "18446744073709551615", "18446744073709551616", "1.5", "", "-", "+1", "\\u0031"]))

    def price(self):
        self.now += self.dice.pick([0, 0, 0, 1, 1, -1])
        stamp = mostly(self.dice, self.now, [0, -1, 9223372037, "1.5", "null"], [9223372036])
        expo = self.dice.pick([-8] * 20 + [-5, 0, 2, -12, 64, 65, -65, 2**40, "-8.0", '"-8"'])
        return [("price", self.int_text()), ("conf", self.int_text()), ("expo", expo), ("publish_time", stamp)]

    def update(self):
        digits = "0123456789abcdef"
        ident = self.dice.pick(digits[1:4]) * 64
        ident = self.dice.pick([ident] * 30 + ["0x" + ident, "ABCDEF12" * 8, "g" * 64, ident[1:], ident + "0", "0X" + ident])
        price = self.price()
        ema = price if not self.dice.one_in(5) else self.price()
        pairs = [("id", text(ident)), ("price", obj(maybe_vary(self.dice, price))), ("ema_price", obj(ema))]
        if self.dice.one_in(2):
            self.slot += self.dice.pick([1, 1, 1, 0, -1])
            slot = mostly(self.dice, self.slot, ["null", 2**64, -1, '"5"'], [2**64 - 1, 35784966960])
            meta = [("slot", slot), ("emitter_chain", 26), ("price_service_receive_time", self.now + 1),
                    ("prev_publish_time", self.dice.pick([self.now - 1, "null"]))]
            pairs.append(("metadata", self.dice.pick([obj(maybe_vary(self.dice, meta))] * 12 + ["null", "7"])))
        if self.dice.one_in(10):
            pairs.append(("vaa", text("UE5BVQ==")))
        feed = obj(maybe_vary(self.dice, pairs))
        return obj(maybe_vary(self.dice, [("type", text("price_update")), ("price_feed", feed)]))

    def frame(self):
        if not self.dice.one_in(8):
            return self.update()
        return self.dice.pick([
            '{"type":"response","status":"success"}', '{"type":"response","status":"error","error":"x"}',
            '{"type":"response","status":"error","error":"Connection timeout reached (24h)"}',
            '{"status":"error","error":"Rate limit exceeded"}', '{"status":"error"}', '{"status":"online"}', '{"type":"response"}',
            '{"type":"response","status":7}', '{"type":"other"}', '{"type":null}', '{"type":"price_update"}', "[]", "5", "", "{}",
            '{"type":"price_update","price_feed":null}', '{"type":"response","type":"response"}'])


def vary(dice, pairs):
    """Another order, a member more, one fewer, or one twice."""
    pairs = list(pairs)
    what = dice.roll(5)
    at = dice.roll(len(pairs))
    if what == 0:
        pairs.insert(at, pairs[dice.roll(len(pairs))])
    elif what == 1:
        pairs.pop(at)
    elif what == 2:
        pairs.insert(at, (dice.pick(["x", "nested", "P", "\\u0073", "e\\u0020"]), dice.pick(["1e5", "[{}]", "null", '"\\u00e9"', '{"a":{"a":1}}'])))
    else:
        pairs.append(pairs.pop(at))
    return pairs


def maybe_vary(dice, pairs):
    return vary(dice, pairs) if dice.one_in(20) else pairs


def blanks(dice, frame):
    return "".join(c + " \t"[: dice.roll(3)] if c in ",:{}" and dice.one_in(3) else c for c in frame)


def damage(dice, frame):
    """Cut it, or change, drop or add a byte; never a line end, which the file format needs."""
    if not frame:
        return frame
    at = dice.roll(len(frame))
    byte = bytes([dice.pick([0x22, 0x5C, 0x2C, 0x30, 0x39, 0x2E, 0x2D, 0x7B, 0x7D, 0x20, 0x01, 0x7F, 0x80, 0xC3, 0xFF, 0x65])])
    return dice.pick([frame[:at], frame[:at] + byte + frame[at + 1 :], frame[:at] + frame[at + 1 :], frame[:at] + byte + frame[at:]])


def stream(source, seed, count):
    dice = Dice(seed)
    maker = {"binance": Binance, "pyth": Pyth}[source](dice)
    last = b""
    for i in range(count):
        frame = maker.frame()
        if dice.one_in(25):
            frame = blanks(dice, frame)
        frame = frame.encode("utf-8")
        if dice.one_in(12):
            frame = damage(dice, frame)
        if dice.one_in(15):
            frame = last  # a second connection brings the same
        last = frame
        yield b"%d.%03d: " % (1700000000 + i // 1000, i % 1000) + frame


def write_seeds(folder):
    for source in ("binance", "pyth"):
        dice = Dice(7)
        maker = {"binance": Binance, "pyth": Pyth}[source](dice)
        for i in range(12):
            with open(os.path.join(folder, source, f"seed_{i:02}"), "wb") as out:
                out.write(maker.frame().encode("utf-8"))


if __name__ == "__main__":
    if sys.argv[1] == "seeds":
        write_seeds(sys.argv[2])
    else:
        for row in stream(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])):
            sys.stdout.buffer.write(row + b"\n")
