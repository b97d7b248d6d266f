#!/usr/bin/python3
"""The documents against the source: links and anchors, the tables of errors and metrics, routes, frames, keys, defaults, file names.

usage: test_docs.py [ROOT]
"""
import glob
import os
import re
import sys

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] + sorted(
    os.path.relpath(p, ROOT) for p in glob.glob(os.path.join(ROOT, "docs/**/*.md"), recursive=True))
FOLDERS = r"(?:base|ringbuf|wire|store|adapters|pay|engine|tools|bench|tests|examples|docs)/"
faults = []


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def says(page, what):
    faults.append(f"{page}: {what}")


def rows(text, macro, pattern):
    body = text[text.index(macro + "(X)"):]
    end = re.search(r"[^\\]\n", body).end()
    return re.findall(pattern, body[:end].replace("\\\n", " "))


def without_code(text):
    """Fenced, indented and inline code blanked, so that no link or heading is seen in it."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    return re.sub(r"`[^`\n]*`", lambda m: m.group(0).replace("[", " ").replace("]", " "), text)


def slug(heading):
    """As GitHub makes anchors of headings."""
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def anchors(text):
    seen, out = {}, set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M):
        s = slug(heading)
        out.add(s if s not in seen else f"{s}-{seen[s]}")
        seen[s] = seen.get(s, 0) + 1
    return out


def links():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(read(page))):
            if re.match(r"https?://", target):
                continue
            path, _, anchor = target.partition("#")
            full = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
            if full.startswith(".."):
                says(page, f"{target} leads out of the tree")
            elif not os.path.exists(os.path.join(ROOT, full)):
                says(page, f"{target}: there is no such file")
            elif anchor and anchor not in anchors(read(full)):
                says(page, f"{target}: {full} has no such heading")


def errors():
    table = [(c, h, w, t) for c, t, h, w in rows(read("base/err.h"), "KMY_ERR_TABLE", r'X\(\w+, "([^"]*)", "([^"]*)", (\d+), (\d+)\)')]
    told = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (.+?) \|$", read("docs/protocol.md"), re.M)
    told = [row for row in told if row[0] != "code"]
    assert len(table) > 30
    for row in table:
        if row not in told:
            says("docs/protocol.md", "lacks the row | `%s` | %s | %s | %s |" % row)
    for row in told:
        if row not in table:
            says("docs/protocol.md", f"{row} is not in base/err.h")


def metrics():
    table = rows(read("base/metrics.h"), "KMY_METRICS_TABLE", r'X\((\w+),\s*(\w+),\s*"([^"]*)"\)')
    told = re.findall(r"^\| `kamiyo_(\w+)` \| (counter|gauge) \| (.+?) \|$", read("docs/operations.md"), re.M)
    assert len(table) > 30
    for row in table:
        if row not in told:
            says("docs/operations.md", "lacks the row | `kamiyo_%s` | %s | %s |" % row)
    for row in told:
        if row not in table:
            says("docs/operations.md", f"{row} is not in base/metrics.h")
    names = {n for n, _, _ in table}
    for page in PAGES:
        for name in re.findall(r"\bkamiyo_(\w+(?:_total|_open|_nusd))\b", read(page)):
            if name not in names:
                says(page, f"there is no metric kamiyo_{name}")


def routes():
    text = read("docs/protocol.md")
    found = re.findall(r'\{ KMY_DOOR_(PUBLIC|ADMIN), "(\w+)", "([^"]+)"', read("engine/routes.c"))
    assert len(found) > 15
    for door, method, path in found:
        if path in ("/health", "/live", "/ready"):
            path = "/api" + path
            if path not in text:
                says("docs/protocol.md", f"does not name {path}")
        elif path == "/echo":
            if "`GET /echo`" not in text:
                says("docs/protocol.md", "does not name GET /echo")
        elif f"`{method} {path}`" not in text:
            says("docs/protocol.md", f"does not describe {method} {path}")
    known = {(m, p) for _, m, p in found}
    for method, path in re.findall(r"^### .*?`(GET|POST) (/[\w/.-]*)`", text, re.M):
        if (method, path) not in known:
            says("docs/protocol.md", f"describes {method} {path}, which is not served")


def frames():
    text = read("docs/protocol.md")
    sources = "".join(read(os.path.relpath(p, ROOT)) for p in glob.glob(os.path.join(ROOT, "engine/*.c")))
    section = text[text.index("### Server to client"):text.index("## Epochs")]
    types = set(re.findall(r'begin\(s, "(\w+)"', sources)) | {"tick", "gap"}
    for name in types:
        if f"| `{name}` |" not in section:
            says("docs/protocol.md", f"does not describe the frame {name}")
    reasons = re.search(r"gap_reasons\[KMY_GAPS\] = \{(.*?)\};", sources, re.S).group(1)
    for name in re.findall(r'"(\w+)"', reasons):
        if f"| `{name}` |" not in section:
            says("docs/protocol.md", f"does not describe the gap reason {name}")
    ops = re.search(r'must be one of ([\w, ]+)"', read("engine/stream.c")).group(1).split(", ")
    for name in ops:
        if f"| `{name}` |" not in text[text.index("### Client to server"):text.index("### Server to client")]:
            says("docs/protocol.md", f"does not describe the op {name}")


def keys():
    table = dict(re.findall(r'^    \{ "([\w.\[\]]+)", KMY_KEY_\w+, KMY_SHAPE_\w+, [\w().]+, ("[^"]*"|NULL)', read("engine/config_keys.c"), re.M))
    assert len(table) > 50
    sections = {k.split(".")[0] for k in table if "." in k} - {"feeds[]"}
    for page in PAGES:
        text = read(page)
        for name in re.findall(r"`((?:%s)\.[a-z_.]+[a-z_])[:`]" % "|".join(sections), text):
            if name not in table and not re.search(r"\.(md|c|h|py|key|token)$", name):
                says(page, f"there is no key {name}")
        for name, value in re.findall(r"`((?:%s)\.[a-z_.]+)` \(([^)]+)\)" % "|".join(sections), text):
            default = table.get(name, "").strip('"')
            shown = re.sub(r"[ ,]", "", value)
            if re.match(r"\d", shown) and not re.match(re.escape(default) + r"(?!\d)", shown):
                says(page, f"{name} is said to be {value} by default, it is {default}")


def files():
    for page in PAGES:
        for name in re.findall(r"`(%s[\w./*-]+\.(?:c|h|py|fbs|md|pml|txt))`" % FOLDERS, read(page)):
            if not glob.glob(os.path.join(ROOT, name)):
                says(page, f"there is no file {name}")


def own_words():
    for page in PAGES + sorted(os.path.relpath(p, ROOT) for p in glob.glob(os.path.join(ROOT, "examples/*"))):
        if re.search(r"contract\.md|contract section|shared/reference", read(page)):
            says(page, "refers to a text that users do not have")


for rule in (links, errors, metrics, routes, frames, keys, files, own_words):
    rule()
for fault in faults:
    print(fault)
print(f"{len(PAGES)} pages, {len(faults)} faults")
sys.exit(1 if faults else 0)
