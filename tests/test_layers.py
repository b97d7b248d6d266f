#!/usr/bin/python3
"""Folder levels: includes go downward only, never up, never sideways, and show their folder; CMakeLists.txt says the same.

The picture is CMakeLists.txt's own kmy_lib lines.  usage: test_layers.py [ROOT]
"""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
LEVELS = {"base": 0, "ringbuf": 1, "wire": 1, "store": 1, "adapters": 2, "pay": 2, "engine": 3, "tools": 4, "bench": 4, "tests": 4}
OWN_FOLDER_MAY_BE_SHORT = {"tools", "bench", "tests"}  # "ring_peer.h" inside bench/


def files():
    """What git knows, or everything where there is no repository (a release archive)."""
    done = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True)
    if done.returncode == 0 and done.stdout:
        names = done.stdout.decode().split("\0")
    else:
        names = [os.path.relpath(os.path.join(d, f), ROOT) for d, _, fs in os.walk(ROOT) for f in fs]
    return sorted(n for n in names if re.search(r"\.(c|h|cpp)$", n) and not n.startswith("build/")
                  and os.path.exists(os.path.join(ROOT, n)))


def libraries(faults):
    """kmy_lib lines of CMakeLists.txt: folder -> folders it may include; judged for order on the way."""
    allowed = {}
    text = open(os.path.join(ROOT, "CMakeLists.txt")).read()
    for line in re.findall(r"^kmy_lib\(([^)]*)\)", text, re.M):
        name, *deps = line.split()
        for dep in deps:
            if dep not in allowed:
                faults.append(f"CMakeLists.txt: kmy_lib({name}) needs {dep}, which is not declared above it")
            elif LEVELS[dep] >= LEVELS[name]:
                faults.append(f"CMakeLists.txt: kmy_lib({name}) needs {dep}, which is not on a lower level")
        allowed[name] = {name, *deps}
    for name, level in LEVELS.items():
        if level < 4 and name not in allowed:
            faults.append(f"CMakeLists.txt: there is no kmy_lib({name})")
    return allowed


def check_file(name, allowed, faults):
    top = name.split("/")[0]
    for number, line in enumerate(open(os.path.join(ROOT, name), errors="replace"), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        path = match.group(1)
        at = f"{name}:{number}: includes \"{path}\""
        folder = path.split("/")[0] if "/" in path else None
        if folder is None or folder not in LEVELS:
            own = os.path.exists(os.path.join(ROOT, os.path.dirname(name), path))
            generated = path.endswith("_generated.h") or path.endswith("_builder.h") or path.endswith("_reader.h")
            if not (top in OWN_FOLDER_MAY_BE_SHORT and (own or generated)):
                faults.append(f"{at}: the line must show the folder")
        elif not os.path.exists(os.path.join(ROOT, path)):
            faults.append(f"{at}: there is no such file")
        elif top in allowed and folder not in allowed[top]:
            faults.append(f"{at}: {top} may include {' '.join(sorted(allowed[top]))} only")
        elif top not in allowed and top != "tests" and LEVELS[folder] == 4 and folder != top:
            faults.append(f"{at}: {folder}/ is included by nobody else")


def main():
    faults = []
    allowed = libraries(faults)
    names = files()
    for name in names:
        if name.split("/")[0] in LEVELS:
            check_file(name, allowed, faults)
    for fault in faults:
        print(fault)
    print(f"{len(names)} files, {len(faults)} faults")
    if len(names) < 20:
        print("too few files: the check looked in the wrong place")
        return 1
    return 1 if faults else 0


sys.exit(main())
