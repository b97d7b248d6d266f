#!/usr/bin/env python3
"""Power cuts: every disk that one may leave behind holds what was acknowledged, once, and opens.

    power_cut.py POWER_CUT_LEDGER SHIM_SO [SEED]

power_cut_ledger drives a ledger while power_cut_shim.c writes down what it asks of the disk.  Of that record, for each cut, disks are made as they
could be: what was synced is there; of what was written since, any subset of sectors, so that later writes may be there and earlier ones not; a new
name only if its folder was synced.  power_cut_ledger then judges each: it holds exactly the last commit that returned or the one that was on its
way, opens, passes the audit, has all that was acknowledged and refuses to do it twice, and goes on.  Some recoveries are cut again.

KMY_POWER_CUTS: how many cuts (200).  A failure names its seed: `power_cut.py ... SEED` runs that one alone.
"""
import collections
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

LEDGER, SHIM = sys.argv[1:3]
CUTS = int(os.environ.get("KMY_POWER_CUTS", "200"))
CUTS_OF_A_RUN = 10
BATCHES = 60
SECTOR = 512
RECORD = struct.Struct("<cBHIQQ")
Event = collections.namedtuple("Event", "op name offset length data")


def environment(**more):
    env = {**os.environ, **more}
    # Sanitizers want to be the first that is preloaded; the shim needs nothing of theirs.
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return env


def record(folder, args, ledger, name, **more):
    """Runs it under the shim: the list of its events."""
    log, acks = f"{folder}/{name}.log", f"{folder}/{name}.acks"
    env = environment(LD_PRELOAD=SHIM, KMY_POWER_CUT_DIR=ledger, KMY_POWER_CUT_LOG=log, KMY_POWER_CUT_ACKS=acks)
    subprocess.run([LEDGER, args[0], ledger, acks, *args[1:]], env=env, check=True, timeout=60, **more)
    events = []
    with open(log, "rb") as f:
        raw = f.read()
    at = 0
    while at < len(raw):
        op, name_bytes, _, data_bytes, offset, length = RECORD.unpack_from(raw, at)
        at += RECORD.size
        events.append(Event(op.decode(), raw[at:at + name_bytes].decode(), offset, length, raw[at + name_bytes:at + name_bytes + data_bytes]))
        at += name_bytes + data_bytes
    os.unlink(log)
    os.unlink(acks)
    return events


class File:
    def __init__(self, data=b""):
        self.durable = bytearray(data)
        self.pending = []  # writes and truncations since, in order


def apply(data, e):
    if e.op == "t":
        del data[e.length:]
        data.extend(bytes(e.length - len(data)))
        return
    if len(data) < e.offset:
        data.extend(bytes(e.offset - len(data)))
    data[e.offset:e.offset + len(e.data)] = e.data


class Disk:
    """What is on it for sure, and what may be.  Names are entries of folders: the ledger's folder is one of its parent ("..")."""

    def __init__(self, files=None, deaf=False):
        self.deaf = deaf  # it does not do what it is told to sync: the judge must see that
        self.names = {n: File(d) for n, d in (files or {}).items()}  # as the program sees it
        self.durable_names = dict(self.names)
        if files is not None:
            self.names["."] = self.durable_names["."] = File()
        self.acks = b""

    @staticmethod
    def folder(name):
        return ".." if name == "." else os.path.dirname(name) or "."

    def see(self, e):
        if self.deaf and e.op in "rs" and e.name in self.names and e.name != ".":
            return
        if e.op == "a":
            self.acks += e.data
        elif e.op == "c":
            self.names[e.name] = File()
        elif e.op == "u":
            self.names.pop(e.name, None)
        elif e.op == "l":
            self.names[e.data.decode()] = self.names[e.name]
        elif e.op == "n":
            self.names[e.data.decode()] = self.names.pop(e.name)
        elif e.op in "wt":
            self.names[e.name].pending.append(e)
        elif e.op == "r":  # the last write made itself durable; what else is pending stays so
            f = self.names[e.name]
            last = f.pending.pop()
            assert (last.offset, len(last.data)) == (e.offset, e.length)
            apply(f.durable, last)
        elif e.op == "s":
            self.sync(e.name)

    def sync(self, name):
        if name in self.names:
            f = self.names[name]
            for e in f.pending:
                apply(f.durable, e)
            f.pending.clear()
        here = {n: f for n, f in self.names.items() if self.folder(n) == name}
        self.durable_names = {n: f for n, f in self.durable_names.items() if self.folder(n) != name} | here

    def unsure(self):
        return sum(len(f.pending) for n, f in self.names.items() if "lock" not in n) + len(self.durable_names.items() ^ self.names.items())

    def image(self, folder, rng, share):
        """A disk that may be: `share` is how likely a sector that was not synced is there."""
        names = dict(self.durable_names)
        for n in {*self.names, *self.durable_names}:
            if rng.random() < share:  # this change of a name came through
                if n in self.names:
                    names[n] = self.names[n]
                else:
                    names.pop(n, None)
        if "." not in names:
            return False
        os.mkdir(folder)
        for n in sorted(names):
            path = f"{folder}/{n}"
            if n == "." or not os.path.isdir(os.path.dirname(path)):
                continue
            if any(self.folder(m) == n for m in names):
                os.mkdir(path)
                continue
            with open(path, "wb") as f:
                f.write(self.content(n, names[n], rng, share))
        return True

    @staticmethod
    def content(name, f, rng, share):
        if "lock.mdb" in name:  # written through a map: anything may be there
            return rng.choice([b"", bytes(8192), rng.randbytes(8192)])
        data = bytearray(f.durable)
        for e in f.pending:
            if e.op == "t":
                if rng.random() < share:
                    apply(data, e)
                continue
            first = e.offset
            while first < e.offset + len(e.data):
                end = min(first - first % SECTOR + SECTOR, e.offset + len(e.data))
                if rng.random() < share:
                    apply(data, Event("w", name, first, 0, e.data[first - e.offset:end - e.offset]))
                first = end
        return data


class Judge:
    def __init__(self, **more):
        self.more = more
        self.proc = subprocess.Popen([LEDGER, "check"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), **more)

    def __call__(self, folder, acks, hashes):
        """None, or what is wrong."""
        try:
            self.proc.stdin.write(f"{folder} {acks} {' '.join(hashes)}".strip() + "\n")
            self.proc.stdin.flush()
            said = self.proc.stdout.readline().strip()
        except BrokenPipeError:
            said = ""
        if said == "ok":
            return None
        if not said:
            code = self.proc.wait()
            self.__init__(**self.more)
            return f"the judge died of it ({code})"
        return said

    def end(self):
        self.proc.stdin.close()
        assert self.proc.wait(30) == 0


def hashes_of(acks):
    return [line.split()[1] for line in acks.decode().splitlines() if line.startswith("hash ")]


def instants(events, rng, count):
    """Where to cut: the number of events that happened.  Everywhere, and where it hurts: at the very beginning, between a meta page and its sync,
    right behind a sync, right before an acknowledgement."""
    at = {op: [i for i, e in enumerate(events) if e.op == op] or [len(events) - 1] for op in "wrsa"}
    first = at["a"][0]
    kinds = [lambda: rng.randrange(1, first + 2), lambda: rng.choice(at["r"]), lambda: rng.choice(at["s"]) + 1, lambda: rng.choice(at["a"]),
             lambda: rng.choice(at["a"]) + 1, lambda: rng.choice(at["w"]) + 1, lambda: rng.choice(at["s"])]
    return sorted(kinds[i]() if i < len(kinds) else rng.randrange(1, len(events) + 1) for i in range(count))


class Run:
    def __init__(self, seed, folder, judge, deaf=False):
        self.seed, self.folder, self.judge, self.deaf = seed, folder, judge, deaf
        self.rng = random.Random(seed)
        self.disks = self.again = self.unsure = 0
        self.faults = []
        self.events = record(folder, ["drive", str(seed), str(BATCHES)], folder + "/ledger", "drive")
        shutil.rmtree(folder + "/ledger")
        self.hashes = hashes_of(b"".join(e.data for e in self.events if e.op == "a"))

    def cut_all(self, count):
        disk, happened = Disk(deaf=self.deaf), 0
        for cut in instants(self.events, self.rng, count):
            while happened < cut:
                disk.see(self.events[happened])
                happened += 1
            self.unsure += disk.unsure() > 0
            self.cut(disk, f"seed {self.seed}, cut behind event {cut} of {len(self.events)}")
        return self

    def cut(self, disk, where):
        known = len(hashes_of(disk.acks))
        allowed = self.hashes[max(0, known - 1):known + 1] if known else []
        shares = [0, 1, 0.5, self.rng.random(), self.rng.random() ** 4]
        for n, share in enumerate(shares if disk.unsure() else [0]):
            self.look(disk, share, disk.acks, allowed, f"{where}, disk {n}", deeper=self.rng.random() < 0.15)

    def look(self, disk, share, acks, allowed, where, deeper=False):
        image, ack_file = self.folder + "/image", self.folder + "/image.acks"
        self.disks += 1
        there = disk.image(image, self.rng, share)
        with open(ack_file, "wb") as f:
            f.write(acks)
        if there and deeper and acks:
            self.cut_recovery(image, acks, allowed, where)
        fault = self.judge(image, ack_file, allowed) if there or not acks else "the folder is not there"
        if fault:
            self.faults.append(f"{where}: {fault}")
        shutil.rmtree(image, ignore_errors=True)

    def cut_recovery(self, image, acks, allowed, where):
        files = {}
        for n in os.listdir(image):
            if os.path.isfile(f"{image}/{n}"):
                with open(f"{image}/{n}", "rb") as f:
                    files[n] = f.read()
        copy = self.folder + "/recovery"
        shutil.copytree(image, copy)
        try:
            events = record(self.folder, ["recover"], copy, "recovery", stderr=subprocess.DEVNULL if self.deaf else None)
        except subprocess.CalledProcessError as e:
            self.faults.append(f"{where}: it cannot be recovered: {e}")
            return
        finally:
            shutil.rmtree(copy)
        after = hashes_of(b"".join(e.data for e in events if e.op == "a"))
        disk = Disk(files)
        cut = self.rng.randrange(len(events) + 1)
        for e in events[:cut]:
            disk.see(e)
        os.rename(image, image + ".first")
        told = hashes_of(disk.acks)
        self.again += 1
        self.look(disk, self.rng.random(), acks, told or [*allowed, *after], f"{where}, cut again in its recovery behind event {cut} of {len(events)}")
        os.rename(image + ".first", image)


def main():
    begin = time.monotonic()
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    judge = Judge()
    disks = again = unsure = cuts = 0
    faults = []
    seeds = [int(sys.argv[3])] if len(sys.argv) > 3 else range(1, (CUTS + CUTS_OF_A_RUN - 1) // CUTS_OF_A_RUN + 1)
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="kamiyo-cut-", dir=base) as folder:
            run = Run(seed, folder, judge).cut_all(CUTS_OF_A_RUN)
        cuts, disks, again, unsure = cuts + CUTS_OF_A_RUN, disks + run.disks, again + run.again, unsure + run.unsure
        faults += run.faults
    with tempfile.TemporaryDirectory(prefix="kamiyo-cut-", dir=base) as folder:
        quiet = Judge(stderr=subprocess.DEVNULL)  # LMDB may die of such a disk
        deaf = Run(1, folder, quiet, deaf=True).cut_all(CUTS_OF_A_RUN)
        quiet.end()
    if not deaf.faults:
        faults.append("a disk that ignores every sync was found in order: this test sees nothing")
    judge.end()
    for text in faults[:20]:
        print("FAIL", text)
    print(f"{cuts} cuts ({unsure} with something unsynced), {disks} disks, {again} recoveries cut again; a deaf disk: {len(deaf.faults)} of {deaf.disks} "
          f"found out; {len(faults)} failed, {time.monotonic() - begin:.1f} s")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
