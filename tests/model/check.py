#!/usr/bin/env python3
"""check.py MODEL [NAME...]: spin -a, compile, run.  Without names the model must hold; with names, each of them
(a -D of the model) must make it fail by an assertion.  77: spin or a C compiler is missing."""
import os
import shutil
import subprocess
import sys
import tempfile


def run(model, define):
    with tempfile.TemporaryDirectory() as here:
        spin = ["spin"] + (["-D" + define] if define else []) + ["-a", model]
        subprocess.run(spin, cwd=here, check=True, capture_output=True)
        subprocess.run(["cc", "-O1", "-w", "-DSAFETY", "-DVECTORSZ=256", "-o", "pan", "pan.c"],
                       cwd=here, check=True, capture_output=True)
        # -m: depth, more than any way through the model; truncation is an error below
        out = subprocess.run(["./pan", "-m20000"], cwd=here, check=True, capture_output=True, text=True).stdout
    if "max search depth too small" in out:
        sys.exit("search was cut off:\n" + out)
    return out


def main():
    model, defines = os.path.abspath(sys.argv[1]), sys.argv[2:]
    if not shutil.which("spin") or not shutil.which("cc"):
        print("SKIPPED: spin or cc is missing")
        return 77
    if not defines:
        out = run(model, None)
        print(out)
        complete = "errors: 0" in out and "unreached in proctype" in out
        return 0 if complete else 1
    faults = 0
    for define in defines:
        out = run(model, define)
        failed = "errors: 1" in out and "assertion violated" in out
        print(f"{define:14} {'fails, as it must: ' + out.splitlines()[0] if failed else 'DID NOT FAIL'}")
        faults += not failed
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
