"""pairs: interleaved rounds and what may be said of them, for the benches that hold one program against another.

One run on a shared machine differs from the next by 10 to 25 %; neighbours in one round share the weather.  So every candidate runs once a round, in an
order that turns, and what is told is the ratio of neighbours: its median and the 95 % interval of that median (bootstrap, 10,000 draws, fixed seed).
"""
import os
import platform
import random
import select
import signal
import socket
import statistics
import subprocess
import sys
import time

READY_S = 20


def machine():
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "?")
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "load": round(os.getloadavg()[0], 1)}


def head(name, m):
    return f"{name}  cpu=\"{m['cpu']}\" {m['cores']} cores  kernel={m['kernel']}  load={m['load']}"


def interval(values):
    """[median, low, high]: of one value three times the same."""
    mid = statistics.median(values)
    if len(values) < 2:
        return [mid, mid, mid]
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(10000))
    return [mid, medians[250], medians[9749]]


def spread(values):
    """[median, smallest, largest]"""
    return [statistics.median(values), min(values), max(values)]


def ratios(mine, other, keys):
    """Per round mine / other, for each key both have above zero."""
    out = {}
    for k in keys:
        both = [m[k] / o[k] for m, o in zip(mine, other) if m.get(k) and o.get(k)]
        if both:
            out[k] = interval(both)
    return out


def say(v, digits=3):
    return f"{v[0]:.{digits}f} ({v[1]:.{digits}f}..{v[2]:.{digits}f})"


def times(v):
    return f"{v[0]:.3f} x [{v[1]:.3f}, {v[2]:.3f}]"


def interleaved(rounds, candidates, run, progress):
    """run(name) -> figures, every candidate once a round; {name: [figures of each round]}."""
    out = {name: [] for name in candidates}
    for i in range(rounds):
        for name in candidates if i % 2 == 0 else reversed(candidates):
            progress.step(f"round {i + 1} of {rounds}: {name}")
            out[name].append(run(name))
    return out


class Progress:
    """One line on stderr, with the time that is left by what the steps so far took.  steps: how many there will be, at most."""

    def __init__(self, steps, quiet):
        self.steps, self.done, self.quiet, self.began = steps, 0, quiet, time.monotonic()

    def step(self, what):
        if not self.quiet:
            left = (time.monotonic() - self.began) / self.done * (self.steps - self.done) if self.done else 0
            line = f"{what}  ({self.done} of at most {self.steps} runs" + (f", {left / 60:.1f} min left)" if left else ")")
            print(f"\r\033[K{line}" if sys.stderr.isatty() else line, end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
        self.done += 1

    def end(self):
        if not self.quiet and sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def two_cores():
    return len(os.sched_getaffinity(0)) > 1


def on_core(core, args):
    """The command, bound to one core where there are two."""
    return ["taskset", "-c", str(core), *args] if two_cores() else list(args)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def await_port(port, proc):
    until = time.monotonic() + READY_S
    while time.monotonic() < until and proc.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"{' '.join(proc.args)}: does not listen")


def ready_line(proc):
    if not select.select([proc.stdout], [], [], READY_S)[0]:
        raise RuntimeError(f"{' '.join(proc.args)}: no line within {READY_S} s")
    line = proc.stdout.readline()
    if not line:
        raise RuntimeError(f"{' '.join(proc.args)}: ended without a word")
    return line


def child_of(pid):
    """The one worker of a master process."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            children = f.read().split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise RuntimeError("the server has no worker")


def end(proc):
    if proc is None:
        return
    if proc.poll() is None:
        proc.send_signal(signal.SIGTERM)
    try:
        proc.wait(READY_S)
    except subprocess.TimeoutExpired:
        proc.kill()
        proc.wait()
    if proc.stdout:
        proc.stdout.close()


def cpu_s(pid):
    """CPU seconds of a process and of all below it: threads by schedstat, to the nanosecond."""
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/schedstat") as f:
                total += int(f.read().split()[0])
            with open(f"/proc/{pid}/task/{tid}/children") as f:
                total += sum(int(cpu_s(int(c)) * 1e9) for c in f.read().split())
        except OSError:
            pass  # a thread that has just ended
    return total / 1e9


def bin_folder(given, *programs):
    """The folder of built programs; exits with a word if they are not there."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folders = [given] if given else [f"{root}/build/release/bin", f"{root}/build/bin"]
    for folder in folders:
        if all(os.path.exists(f"{folder}/{p}") for p in programs):
            return os.path.abspath(folder)
    sys.exit(f"build {', '.join(programs)} first, or name their folder with --bin (looked in {', '.join(folders)})")
