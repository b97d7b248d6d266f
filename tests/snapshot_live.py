"""The snapshot store seen by an independent LMDB binding and flatc's own Python reader, while a writer writes at full rate, and after
kill -9 at any instant.  usage: snapshot_live.py SNAPSHOT_WRITER GENERATED_PYTHON_FOLDER   (exit 77: a Python package is missing)"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, sys.argv[2])
try:
    import lmdb
    from kamiyo.Tick import Tick
except ImportError as missing:
    print("SKIPPED:", missing)
    sys.exit(77)

WRITER = sys.argv[1]
FEEDS, BATCH = 200, 256


def check_tick(value, ids):
    value = bytes(value)
    assert Tick.TickBufferHasIdentifier(value, 0)
    t = Tick.GetRootAs(value, 0)
    s = t.Seq()
    assert t.Feed() == b"F%03d/USD" % (s % FEEDS), (s, t.Feed())
    assert t.FeedId() == ids[t.Feed()]
    assert t.Offset() == 1 + s // FEEDS
    assert t.PriceMant() == 3 * s and t.BidMant() == 3 * s - 1 and t.AskMant() == 3 * s + 1
    assert t.ConfMant() == 7 * t.Offset() and t.SourceSeq() == ~s & (2**64 - 1)
    assert t.Source() == 1 + s % 3 and t.Kind() == 1 + s % 2
    assert t.EventNs() == t.RecvNs() - 5
    return t


def open_store(path):
    # python3-lmdb maps 10 MiB unless told; the data file has the size of the writer's map.
    return lmdb.open(path, readonly=True, max_dbs=8, map_size=os.path.getsize(os.path.join(path, "data.mdb")))


def check_instant(env, dbs, history_max=None):
    """One read transaction: one instant, in which everything agrees."""
    with env.begin() as txn:
        ids = {bytes(k): struct.unpack(">I", v)[0] for k, v in txn.cursor(db=dbs["feeds"])}
        assert len(set(ids.values())) == len(ids)
        newest = {}
        for key, value in txn.cursor(db=dbs["last"]):
            feed, source, kind = struct.unpack(">IBB", key)
            t = check_tick(value, ids)
            assert (t.FeedId(), t.Source(), t.Kind()) == (feed, source, kind)
            newest[feed] = max(newest.get(feed, 0), t.Offset())
        for key, value in txn.cursor(db=dbs["offsets"]):
            first = struct.unpack(">I", key)[0] * 128
            for i, offset in enumerate(struct.unpack(">128Q", value)):
                assert newest.get(first + i, 0) == offset
        before, rows = None, 0
        for key, value in txn.cursor(db=dbs["history"]):
            seq = struct.unpack(">Q", key)[0]
            assert before is None or seq == before + 1, (before, seq)
            before = seq
            rows += 1
            if history_max and rows > history_max:
                break
            assert check_tick(value, ids).Seq() == seq
        last = txn.cursor(db=dbs["history"])
        if not last.last():
            return 0, 0
        top = struct.unpack(">Q", last.key())[0]
        assert top % BATCH == 0, "a part of a batch"
        return top, rows


def names(env):
    return {n: env.open_db(n.encode(), create=False) for n in ("last", "history", "hindex", "feeds", "offsets", "meta")}


def while_it_writes(path):
    p = subprocess.Popen([WRITER, path, "4"], stdout=subprocess.PIPE, text=True)
    opened = json.loads(p.stdout.readline())
    assert opened["clean"] and not opened["rebuilt"]
    env = open_store(path)
    dbs = names(env)
    tops = []
    while p.poll() is None:
        tops.append(check_instant(env, dbs, history_max=2000)[0])
    env.close()
    written = json.loads(p.stdout.readline())["written"]
    assert p.wait() == 0
    assert tops == sorted(tops) and tops[-1] > tops[0], tops
    print(f"{len(tops)} instants of a writer that wrote {written} ticks, all whole")
    return opened["epoch"], written


def kill_it(path, epoch, written):
    p = subprocess.run([WRITER, path, "1"], stdout=subprocess.PIPE, text=True, check=True)
    opened = json.loads(p.stdout.splitlines()[0])
    assert opened["clean"] and opened["epoch"] == epoch and opened["next_seq"] == written + 1, opened
    rng = random.Random(1)
    total = 0
    for trial in range(12):
        p = subprocess.Popen([WRITER, path, "0"], stdout=subprocess.PIPE, text=True)
        opened = json.loads(p.stdout.readline())
        assert opened["offset_agrees"] and not opened["rebuilt"]
        assert opened["clean"] == (trial == 0), opened
        assert (opened["epoch"] == epoch) == (trial == 0), "an unclean stop starts a new epoch"
        epoch = opened["epoch"]
        try:  # the writer never ends by itself: this is how long it may live
            p.wait(timeout=rng.uniform(0.0, 0.25))
            raise AssertionError("the writer ended")
        except subprocess.TimeoutExpired:
            p.kill()
        p.wait()
        env = open_store(path)
        top, rows = check_instant(env, names(env))
        env.close()
        assert top >= opened["next_seq"] - 1
        total += rows
    print(f"12 kills, {total} history rows read back, all whole")


def main():
    folder = tempfile.mkdtemp(prefix="kmy-live-")
    try:
        path = os.path.join(folder, "snapshot")
        epoch, written = while_it_writes(path)
        kill_it(path, epoch, written)
    finally:
        shutil.rmtree(folder)


main()
