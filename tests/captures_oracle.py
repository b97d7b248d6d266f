#!/usr/bin/env python3
"""An independent reading of recorded upstream frames, compared line by line (by hash) with what the C parsers make of them.

  captures_oracle.py <replay_captures> <binance|pyth> <ms|us> <file>      one file, summaries must be equal; 77 if it is missing
  captures_oracle.py <replay_captures> <binance|pyth> <ms|us> --generated <n>   n frames of corpus/make_feeds.py with another seed
  captures_oracle.py <replay_captures> --edge <edge_cases.jsonl>          every case against its expectation below, and against us
  captures_oracle.py <replay_captures> --ids <feed_ids.json>              the built-in table of Pyth ids against the published list

Everything here goes through json and decimal of the standard library and follows the sources' documents, not the C code.
A path may begin with $KAMIYO_CAPTURES, which defaults to ../shared/captures beside the repository."""

import decimal
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
decimal.getcontext().prec = 200
I64, U64 = 2**63 - 1, 2**64 - 1
NS = {"s": 10**9, "ms": 10**6, "us": 10**3}
RESOLUTION = {"s": 1, "ms": 2, "us": 3}
SCHEME = {"none": 0, "trade": 1, "agg": 2, "update": 3, "slot": 4}
CROSSED, BUYER_MAKER, CONF_IS_SPREAD = 2, 8, 16


class Malformed(Exception):
    pass


class Range(Exception):
    pass


class Ignored(Exception):
    pass


class Control(Exception):
    def __init__(self, kind, ident=-1, code=0):
        super().__init__(kind)
        self.line = f"control|{kind}|{ident}|{code}"
        self.kind = kind


class Number(str):
    """A JSON number, kept as it is written."""


class Pairs(list):
    """A JSON object with every member, also those that stand twice."""


def refuse(_):
    raise Malformed


def load(frame):
    try:
        value = json.loads(frame.decode("utf-8"), parse_int=Number, parse_float=Number,
                           parse_constant=refuse, object_pairs_hook=Pairs)
    except (ValueError, RecursionError) as err:
        raise Malformed from err
    if depth(value) > 32:
        raise Malformed
    return value


def depth(value):
    if isinstance(value, Pairs):
        return 1 + max((depth(v) for _, v in value), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def members(obj, names):
    """The named members; one that stands twice is refused."""
    if not isinstance(obj, Pairs):
        raise Malformed
    found = {}
    for name, value in obj:
        if name in names:
            if name in found:
                raise Malformed
            found[name] = value
    return found


def is_text(value):
    return isinstance(value, str) and not isinstance(value, Number)


def integer(value, kind, low, high):
    if (kind is Number) != isinstance(value, Number) or not isinstance(value, str):
        raise Malformed
    if not re.fullmatch(r"-?[0-9]+", value):
        raise Malformed
    if not low <= int(value) <= high:
        raise Range
    return int(value)


def time_ns(value, unit):
    return integer(value, Number, 1, I64 // NS[unit]) * NS[unit]


class Dec:
    """mant * 10**expo as written, zeros at the end of the fraction dropped."""

    def __init__(self, value):
        if not is_text(value):
            raise Malformed
        m = re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,4}))?", value)
        if not m:
            raise Malformed
        fraction = (m[3] or "").rstrip("0")
        self.mant = int(m[1] + m[2] + fraction)
        self.expo = int(m[4] or 0) - len(fraction) if self.mant else 0
        if abs(self.mant) > I64 or abs(self.expo) > 64:
            raise Range

    def at(self, expo):
        scaled = decimal.Decimal(self.mant).scaleb(self.expo - expo)
        if scaled != scaled.to_integral_value() or abs(scaled) > I64:
            return None
        return int(scaled)


def align(decs, want):
    """All at one exponent: the wanted one where that is exact, else the smallest."""
    for expo in [want, min((d.expo for d in decs if d.mant), default=0)]:
        mants = [d.at(expo) for d in decs]
        if None not in mants:
            return mants, expo
    raise Range


def plain(mant, expo):
    text = format(decimal.Decimal(mant).scaleb(expo), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "0") else text


def symbol(value, limit=64):
    if not is_text(value):
        raise Malformed
    try:
        key = value.encode("utf-8")
    except UnicodeEncodeError as err:
        raise Malformed from err
    if not 1 <= len(key) <= limit or b"\0" in key:
        raise Malformed
    return key


# ---- Binance -------------------------------------------------------------------------------------------------------------------

NAMES = set("e E s t a p q T m u b B A stream data result id code msg error".split())


def trade(m, unit, aggregate):
    q = {"kind": "trade", "key": symbol(m.get("s"))}
    if m.get("m") not in (True, False) or not isinstance(m.get("m"), bool):
        raise Malformed
    if "E" in m and not (isinstance(m["E"], Number) and re.fullmatch("-?[0-9]+", m["E"])):
        raise Malformed
    q["seq"] = integer(m.get("a" if aggregate else "t"), Number, 0, U64)
    price, size = Dec(m.get("p")), Dec(m.get("q"))
    q["event"] = time_ns(m.get("T"), unit)
    if price.mant <= 0 or size.mant < 0:
        raise Range
    (q["price"],), q["expo"] = align([price], -8)
    (q["size"],), q["size_expo"] = align([size], -8)
    q["resolution"] = RESOLUTION[unit]
    q["scheme"] = "agg" if aggregate else "trade"
    q["flags"] = BUYER_MAKER if m["m"] else 0
    return q


def book(m, unit):
    q = {"kind": "quote", "key": symbol(m.get("s")), "seq": integer(m.get("u"), Number, 0, U64)}
    prices = [Dec(m.get("b")), Dec(m.get("a"))]
    sizes = [Dec(m.get("B")), Dec(m.get("A"))]
    stamp = m.get("T", m.get("E", None))
    q["event"], q["resolution"] = 0, 0
    if "T" in m or "E" in m:
        q["event"], q["resolution"] = time_ns(stamp, unit), RESOLUTION[unit]
    if min(p.mant for p in prices) <= 0 or min(s.mant for s in sizes) < 0:
        raise Range
    (bid, ask), expo = align(prices, -8)
    (q["size"], q["ask_size"]), q["size_expo"] = align(sizes, -8)
    if (bid + ask) % 2:
        bid, ask, expo = bid * 10, ask * 10, expo - 1
        if max(bid, ask) > I64 or expo < -64:
            raise Range
    q.update(bid=bid, ask=ask, price=(bid + ask) // 2, expo=expo, scheme="update")
    if bid > ask:
        q["flags"] = CROSSED
    else:
        q["flags"], q["conf"] = CONF_IS_SPREAD, ask - bid
    return q


def number_or(value, default):
    if isinstance(value, Number) and re.fullmatch("-?[0-9]+", value) and -I64 - 1 <= int(value) <= I64:
        return int(value)
    return default


def binance_control(m):
    ident = number_or(m.get("id"), -1)
    if m.get("error") is not None or "code" in m:
        body = members(m["error"], {"code", "msg"}) if m.get("error") is not None else m
        code = number_or(body["code"], None) if "code" in body else 0
        if code is None:
            raise Malformed
        raise Control("error", ident, code)
    if "result" in m:
        is_list = isinstance(m["result"], list) and not isinstance(m["result"], Pairs)
        raise Control("list" if is_list else "ack", ident)
    raise Ignored


def binance(frame, unit):
    top = load(frame)
    if not isinstance(top, Pairs):
        raise Ignored
    m = members(top, NAMES)
    data = members(m["data"], NAMES) if isinstance(m.get("data"), Pairs) else None
    combined = data is not None and is_text(m.get("stream"))
    if combined:
        m = data
    if "e" in m:
        if not is_text(m["e"]):
            raise Malformed
        if m["e"] in ("trade", "aggTrade"):
            return trade(m, unit, m["e"] == "aggTrade")
        if m["e"] == "bookTicker":
            return book(m, unit)
        if m["e"] == "serverShutdown":
            raise Control("shutdown")
        raise Ignored
    if {"u", "s", "b", "a"} <= m.keys():
        return book(m, unit)
    if combined:
        raise Ignored
    return binance_control(m)


# ---- Pyth Hermes ---------------------------------------------------------------------------------------------------------------

def pyth_error(text):
    if text == "Rate limit exceeded":
        raise Control("rate_limit")
    raise Control("lifetime" if text == "Connection timeout reached (24h)" else "error")


def pyth(frame, _unit):
    top = load(frame)
    if not isinstance(top, Pairs):
        raise Ignored
    m = members(top, {"type", "price_feed", "status", "error"})
    failed = m.get("status") == "error"
    if "type" not in m:
        if failed:
            pyth_error(m.get("error"))
        raise Ignored
    if not is_text(m["type"]):
        raise Malformed
    if m["type"] == "price_update":
        return pyth_update(m.get("price_feed"))
    if m["type"] != "response":
        raise Ignored
    if failed:
        pyth_error(m.get("error"))
    if m.get("status") == "success":
        raise Control("ack")
    raise Malformed


def pyth_update(feed):
    f = members(feed, {"id", "price", "metadata"})
    if not is_text(f.get("id")) or not re.fullmatch("(0[xX])?[0-9a-fA-F]{64}", f["id"]):
        raise Malformed
    p = members(f.get("price"), {"price", "conf", "expo", "publish_time"})
    q = {"kind": "oracle", "key": f["id"][-64:].lower().encode(), "resolution": 1, "flags": 0,
         "price": integer(p.get("price"), str, -I64 - 1, I64),
         "conf": integer(p.get("conf"), str, 0, U64),
         "expo": integer(p.get("expo"), Number, -64, 64),
         "event": time_ns(p.get("publish_time"), "s"), "scheme": "none", "seq": 0}
    if f.get("metadata") is not None:
        slot = members(f["metadata"], {"slot"}).get("slot")
        if slot is not None:
            q["scheme"], q["seq"] = "slot", integer(slot, Number, 0, U64)
    return q


# ---- Order and repetition ------------------------------------------------------------------------------------------------------

class Normalizer:
    def __init__(self):
        self.newest = {}
        self.content = {}
        self.offset = 0

    def judge(self, q):
        if q["flags"] & CROSSED and q["bid"] // 2 > q["ask"]:
            return "overflow"
        key, scheme = q["key"], q["scheme"]
        number = q["seq"] if scheme != "none" else q["event"]
        last = self.newest.get((key, scheme))
        content = [q.get(n) for n in ("event", "price", "conf", "expo")]
        if last is not None and number < last:
            return "stale"
        if last is not None and number == last:
            if scheme in ("trade", "agg", "update") or self.content.get(key) == content:
                return "duplicate"
        self.newest[key, scheme] = number
        if scheme in ("none", "slot"):
            self.content[key] = content
        if scheme == "slot":
            self.newest[key, "none"] = q["event"]
        self.offset += 1
        return "new"


def tick_line(q, offset):
    def shown(name, expo):
        return plain(q[name], q[expo]) if name in q else "-"

    fields = [q["kind"], shown("price", "expo"), shown("bid", "expo"), shown("ask", "expo"),
              shown("conf", "expo"), shown("size", "size_expo"), shown("ask_size", "size_expo"),
              q["event"], q["resolution"], SCHEME[q["scheme"]], q["seq"], q["flags"], offset]
    return q["key"] + b"|" + "|".join(map(str, fields)).encode()


# ---- Files ---------------------------------------------------------------------------------------------------------------------

def frames(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        for line in file:
            line = line.rstrip(b"\r\n")
            if ".cf.txt" in path:
                if not line.startswith(b"ws") and b": " in line:
                    yield line.split(b": ", 1)[1]
            elif ".ns.jsonl" in path:
                yield line.split(b" ", 1)[1]
            else:
                obj = json.loads(line)
                if obj.get("dir") != "out":
                    frame = obj["frame"]
                    is_hex = obj.get("origin", "").endswith(", hex")
                    yield bytes.fromhex(frame) if is_hex else frame.encode("utf-8")


def replay(source, unit, path):
    """The result lines, and the summary replay_captures prints."""
    read = {"binance": binance, "pyth": pyth}[source]
    keeper = Normalizer()
    count = dict.fromkeys(
        "frames quote control ignored malformed range ack list error rate_limit lifetime shutdown "
        "new duplicate stale overflow trades books oracles".split(), 0)
    lines = []
    for frame in frames(path):
        count["frames"] += 1
        try:
            q = read(frame, unit)
        except Control as control:
            count["control"] += 1
            count[control.kind] += 1
            lines.append(control.line.encode())
            continue
        except (Malformed, Range, Ignored) as outcome:
            name = type(outcome).__name__.lower()
            count[name] += 1
            lines.append(name.encode())
            continue
        count["quote"] += 1
        verdict = keeper.judge(q)
        count[verdict] += 1
        if verdict != "new":
            lines.append(verdict.encode())
            continue
        count[{"trade": "trades", "quote": "books", "oracle": "oracles"}[q["kind"]]] += 1
        lines.append(tick_line(q, keeper.offset))
    digest = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    return lines, " ".join(f"{k}={v}" for k, v in count.items()) + f" sha256={digest}"


def theirs(tool, source, unit, path, *options):
    return subprocess.run([tool, *options, source, unit, path], check=True, capture_output=True).stdout


def compare_file(tool, source, unit, path):
    got = theirs(tool, source, unit, path).decode().strip()
    lines, want = replay(source, unit, path)
    print(got)
    if got == want:
        return 0
    print(want, "(oracle)")
    for number, (a, b) in enumerate(zip(theirs(tool, source, unit, path, "--lines").split(b"\n"), lines)):
        if a != b:
            print(f"first difference at frame {number + 1}:\n  C      {a!r}\n  oracle {b!r}")
            break
    return 1


# What each edge case must come to, by hand from the "expect" column of its file.  A text is the whole line or, with a closing |, its start.
BTC = "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43"
EDGE = {
    "server_shutdown_raw": ("binance", "control|shutdown|"),
    "server_shutdown_combined": ("binance", "control|shutdown|"),
    "ack_null": ("binance", "control|ack|1|0"),
    "ack_string_id": ("binance", "control|ack|-1|0"),
    "list_subscriptions": ("binance", "control|list|3|0"),
    "err_property": ("binance", "control|error|5|0"),
    "err_variant": ("binance", "control|error|-1|2"),
    "err_json": ("binance", "control|error|-1|3"),
    "err_nested": ("binance", "control|error|-1|2"),
    "unicode_symbol": ("binance", "币安人生USDT|trade|0.1234|-|-|-|10|-|1770123456788000000|2|1|1|0|"),
    "unicode_escaped": ("binance", "牛来USDT|trade|0.00000123|-|-|-|1|-|1770123456788000000|2|1|2|8|"),
    "microseconds": ("binance", "range"),  # with a connection in ms the time is beyond 2262; in us see below
    "duplicate_trade": ("binance", "BTCUSDT|trade|61837.63|-|-|-|0.02|-|1723161255342000000|2|1|3735683259|8|"),
    "trade_id_back": ("binance", "stale"),
    "book_update_back": ("binance", "BTCUSDT|quote|61837.63|61837.62|61837.64|0.02|1|1|0|0|3|50093239211|16|"),
    "crossed_book": ("binance", "BTCUSDT|quote|61837.82|61838|61837.64|-|1|1|0|0|3|50093239999|2|"),
    "empty_side": ("binance", "range"),
    "reference_null": ("binance", "ignored"),
    "case_keys": ("binance", "ignored"),
    "unknown_event": ("binance", "ignored"),
    "min_price": ("binance", "SHIBDOGE|trade|0.00000001|-|-|-|92233720368.54775807|-|1000000|2|1|1|8|"),
    "overflow_qty": ("binance", "range"),
    "many_digits": ("binance", "ignored"),
    "exponent_notation": ("binance", "ignored"),
    "exponent_upper": ("binance", "ignored"),
    "negative_zero": ("binance", "ignored"),
    "pyth_expo_positive": ("pyth", BTC + "|oracle|7661200|-|-|0|-|-|1787319502000000000|1|0|0|0|"),
    "pyth_negative_price": ("pyth", BTC + "|oracle|-1.25|-|-|0.03|-|-|1787319502000000000|1|0|0|0|"),
    "pyth_conf_over_i64": ("pyth", BTC + "|oracle|92233720368.54775807|-|-|184467440737.09551615|-|-|"),
    "pyth_rate_limit": ("pyth", "control|rate_limit|"),
    "pyth_timeout_24h": ("pyth", "control|lifetime|"),
    "partial_json": ("binance", "malformed"),
    "empty_frame": ("binance", "malformed"),
    "nul_inside": ("binance", "malformed"),
    "bad_utf8": ("binance", "malformed"),
    "deep_nesting": ("binance", "malformed"),
    "kraken_huge_id": ("binance", "ignored"),
    "kraken_heartbeat": ("pyth", "ignored"),
    "coinbase_unknown_type": ("pyth", "ignored"),
}


def compare_edge(tool, path):
    cases = [json.loads(line)["case"] for line in open(path, encoding="utf-8")]
    bad = 0
    for source in ("binance", "pyth"):
        for unit in ("ms", "us"):
            bad += compare_file(tool, source, unit, path)
        got = dict(zip(cases, theirs(tool, source, "ms", path, "--lines").decode().split("\n")))
        for case, (who, want) in EDGE.items():
            if who == source and not (got[case] == want or want.endswith("|") and got[case].startswith(want)):
                print(f"{case}: got {got[case]!r}, want {want!r}")
                bad += 1
    lines = theirs(tool, "binance", "us", path, "--lines").decode().split("\n")
    if "|1770123456789000000|3|" not in dict(zip(cases, lines))["microseconds"]:
        print("microseconds: the connection's unit was not used:", lines[cases.index("microseconds")])
        bad += 1
    return 1 if bad else 0


def compare_generated(tool, source, unit, count):
    sys.path.insert(0, os.path.join(HERE, "corpus"))
    sys.dont_write_bytecode = True
    import make_feeds
    with tempfile.NamedTemporaryFile(suffix=".cf.txt") as out:
        for row in make_feeds.stream(source, 2, count):
            out.write(row + b"\n")
        out.flush()
        return compare_file(tool, source, unit, out.name)


def compare_ids(path):
    with open(os.path.join(HERE, "..", "adapters", "pyth_ids.c"), encoding="utf-8") as source:
        ours = re.findall(r'"([^"]+/[^"]+)",\s*"([0-9a-f]{64})"', source.read())
    with open(path, encoding="utf-8") as file:
        published = json.load(file)["feeds"]
    wrong = [name for name, ident in ours if published.get(name) != ident]
    print(len(ours), "ids,", len(wrong), "wrong", *wrong)
    return 1 if wrong or len(ours) < 30 else 0


def main(args):
    if args[-2] == "--generated":
        return compare_generated(args[0], args[1], args[2], int(args[3 + 1]))
    captures = os.environ.get("KAMIYO_CAPTURES") or os.path.join(HERE, "..", "..", "shared", "captures")
    path = args[-1].replace("$KAMIYO_CAPTURES", captures)
    if not os.path.exists(path):
        print("skipped: there is no", path)
        return 77
    if args[1] == "--edge":
        return compare_edge(args[0], path)
    if args[1] == "--ids":
        return compare_ids(path)
    return compare_file(args[0], args[1], args[2], path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
