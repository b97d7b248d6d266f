#!/usr/bin/python3
"""Reads the source as a reviewer would who only has patience: format, banned calls, forgotten marks, files without tests, machine paths.

usage: test_tidy.py [ROOT]
"""
import fnmatch
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
LINES_MAX = 800
BANNED = r"\b(strcpy|strcat|sprintf|vsprintf|gets|system|popen|tmpnam|mktemp|strtok|alloca)\s*\("
MARKS = r"\b(FIXME|TODO|XXX|HACK)\b"
# Paths of one machine have no place in the tree; what every Debian has is fine.
MACHINE = r"(?<![\w.])/(work|root|home|Users)/[\w.]"

# Sources whose test has another name, each with the reason.  tests/test_<stem>.c, or a test of the stem's beginning
# (binance_scan.c -> test_binance.c), needs no row.
TESTED_BY = {
    "adapters/fields.c": ("test_binance.c", "its fields are what both dialects' tests read"),
    "adapters/feed_*.c": ("feeds_probe.c", "sockets: run as a process against kamiyo-sim"),
    "adapters/sources.c": ("feeds_probe.c", "a table that the probe reads"),
    "tools/kamiyo": ("test_client.py", "run against a stand-in of the daemon"),
    "tools/load": ("e2e_load.py", "run as a process; what judges (hist, scan, book, scenario) has load_units.c"),
    "tools/sim": ("e2e_sim.py", "run as a process, spoken to as a client would"),
}
WHOLE_DAEMON = {"engine"}  # parts without a unit test of their own are judged by the end-to-end runs
FOLDERS = ["base", "ringbuf", "wire", "store", "adapters", "pay", "engine", "tools"]


def tracked():
    done = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True)
    if done.returncode == 0 and done.stdout:
        names = done.stdout.decode().split("\0")
    else:
        names = [os.path.relpath(os.path.join(d, f), ROOT) for d, _, fs in os.walk(ROOT) for f in fs]
    return sorted(n for n in names if n and not n.startswith(("build/", ".git/")) and "node_modules/" not in n and os.path.isfile(os.path.join(ROOT, n)))


def read(name):
    with open(os.path.join(ROOT, name), "rb") as f:
        data = f.read()
    return None if b"\0" in data else data.decode("utf-8", "replace")


def without_comments_and_strings(text):
    """Code only, line numbers kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def each_line(name, text, pattern, what, faults):
    for number, line in enumerate(text.split("\n"), 1):
        match = re.search(pattern, line)
        if match:
            faults.append(f"{name}:{number}: {what}: {match.group(0).strip()}")


def check_text(name, text, faults):
    corpus = name.startswith("tests/corpus/")
    this = name == "tests/test_tidy.py"
    if not corpus and not name.endswith(".md"):  # two blanks at a line's end mean something in Markdown
        each_line(name, text, r"[ \t]+$", "blanks at the end of the line", faults)
    if not this:
        each_line(name, text, MACHINE, "a path of one machine", faults)
        if not corpus:
            each_line(name, text, MARKS, "a mark left behind", faults)


def check_c(name, text, faults):
    code = without_comments_and_strings(text)
    if name.split("/")[0] in FOLDERS:  # tests and benches make their own input
        each_line(name, code, BANNED, "banned call", faults)
    each_line(name, code, r"\t", "a tab", faults)
    if text.count("\n") > LINES_MAX:
        faults.append(f"{name}: {text.count(chr(10))} lines; split it by step (at most {LINES_MAX})")
    if not text.endswith("\n"):
        faults.append(f"{name}: no line end at the end")


def check_tested(names, faults):
    have = set(os.listdir(os.path.join(ROOT, "tests")))
    e2e = any(n.startswith("e2e_") for n in have)
    for name in names:
        folder, stem = os.path.dirname(name), os.path.splitext(os.path.basename(name))[0]
        if not name.endswith(".c") or name.split("/")[0] not in FOLDERS:
            continue
        parts = stem.split("_")
        if any(f"test_{'_'.join(parts[:n])}.c" in have for n in range(len(parts), 0, -1)):
            continue
        row = next((r for p, r in TESTED_BY.items() if fnmatch.fnmatch(name, p) or folder == p), None)
        if row and row[0] in have:
            continue
        if not row and folder in WHOLE_DAEMON and e2e:
            continue
        faults.append(f"{name}: no tests/test_{stem}.c" + (f", and tests/{row[0]} is not there" if row else ""))


def check_format(names, faults):
    tool = shutil.which("clang-format") or shutil.which("clang-format-14")
    if not tool:
        print("clang-format is missing: format not checked")
        return
    sources = [os.path.join(ROOT, n) for n in names if re.search(r"\.(c|h)$", n)]
    done = subprocess.run([tool, "--dry-run", "-Werror", *sources], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        wrong = sorted({os.path.relpath(m, ROOT) for m in re.findall(r"^(\S+?):\d+:\d+: error", done.stderr, re.M)})
        faults.extend(f"{n}: not as clang-format -i would write it" for n in wrong)
        if not wrong:
            faults.append(f"clang-format failed: {done.stderr[:200]}")


def main():
    faults = []
    names = tracked()
    for name in names:
        text = read(name)
        if text is None or name == "LICENSE":
            continue
        check_text(name, text, faults)
        if re.search(r"\.(c|h)$", name):
            check_c(name, text, faults)
    check_tested(names, faults)
    check_format(names, faults)
    for fault in faults:
        print(fault)
    print(f"{len(names)} files, {len(faults)} faults")
    return 1 if faults or len(names) < 20 else 0


sys.exit(main())
