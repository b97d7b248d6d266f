"""Random ticks as JSON against Python's decimal and json: every member, its text and its place.  usage: tick_decimal.py TICK_DUMP"""
import json
import subprocess
import sys
from decimal import Decimal, getcontext

getcontext().prec = 200
BID, ASK, CONF, SIZE = 1, 2, 4, 8
DEGRADED, CONF_IS_SPREAD = 4, 16
COUNT = 20000


def plain(mant, expo):
    text = format(Decimal(mant).scaleb(expo), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if mant == 0 else text


def expected(offset, event, recv, price, bid, ask, conf, size, flags, source, kind, pexpo, sexpo, has):
    members = [("type", "tick"), ("feed", '"SOL"/\u20ac'), ("offset", offset), ("kind", kind), ("price", plain(price, pexpo))]
    if has & CONF and not flags & CONF_IS_SPREAD:
        members.append(("conf", plain(conf, pexpo)))
    if has & BID:
        members.append(("bid", plain(bid, pexpo)))
    if has & ASK:
        members.append(("ask", plain(ask, pexpo)))
    if has & SIZE:
        members.append(("size", plain(size, sexpo)))
    members.append(("source", source))
    if event:
        members.append(("ts_event", str(event)))
    members.append(("ts_recv", str(recv)))
    if flags & DEGRADED:
        members.append(("degraded", True))
    return members


def main():
    out = subprocess.run([sys.argv[1], "20231115", str(COUNT)], stdout=subprocess.PIPE, check=True).stdout.decode()
    lines = out.splitlines()
    assert len(lines) == COUNT
    for line in lines:
        f = line.split("\t")
        numbers = [int(x) for x in f[:9]] + f[9:11] + [int(x) for x in f[11:14]]
        got = json.loads(f[14], object_pairs_hook=list)
        want = expected(*numbers)
        assert got == want, f"{got}\n{want}"
        assert f[14] == json.dumps(dict(want), separators=(",", ":"), ensure_ascii=False).replace("\u20ac", "\u20ac")
    print(f"{COUNT} ticks agree")


main()
