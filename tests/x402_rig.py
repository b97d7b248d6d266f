"""What payments are tested with, and what the demo pays with: a chain of our own, a facilitator and the stock agents (tests/x402), as processes
that end with this one.  Nothing here knows the daemon.

    rig = Rig()                     # None of it starts where node or what `npm ci` brings is missing: MissingRig says what
    rig.ask("v1", 0, "POST", url)   # the stock agent with wallet 0
    rig.chain("transfer", key=..., value=10000)
    rig.mode("settles_and_drops", times=1)
"""
import functools
import http.client
import json
import os
import queue
import shutil
import subprocess
import sys
import threading

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "x402")
SOLANA = os.path.join(FOLDER, "node_modules/litesvm-linux-x64-gnu/litesvm.linux-x64-gnu.node")
SECONDS = 30


class MissingRig(Exception):
    """What is not there, and what brings it."""


class Refused(Exception):
    """A program of the rig could not do what it was asked."""


@functools.cache
def _node_major():
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    return int(said.strip().lstrip("v").split(".")[0] or 0)


def node_flags():
    # Before version 20 the global `crypto`, which the packages use, must be asked for.
    return ["--experimental-global-webcrypto"] if _node_major() < 20 else []


def missing():
    """Why the rig cannot start, or None."""
    if not shutil.which("node"):
        return "node is not installed; tools/packages test brings it"
    if _node_major() < 18:
        return f"node {_node_major()} is too old, 18 is needed"
    if not os.path.exists(os.path.join(FOLDER, "node_modules", ".package-lock.json")):
        return "tests/x402/node_modules is not there; tools/packages test brings it (it needs npm and a network)"
    if not os.path.exists(os.path.join(FOLDER, "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil")) and not shutil.which("anvil"):
        return "there is no anvil for this processor in npm; put one on the PATH"
    return None


class Node:
    """One program of tests/x402: it says a line when it is ready; it ends when its standard input does."""

    def __init__(self, name, first=None, args=()):
        self.name = name
        self.proc = subprocess.Popen(["node", *node_flags(), os.path.join(FOLDER, name + ".mjs"), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True, start_new_session=True)
        self.lock, self.waiting, self.number = threading.Lock(), {}, 0
        self.ready_queue = queue.Queue()
        if first is not None:
            self._write(first)
        threading.Thread(target=self._read, daemon=True).start()
        self._at = None

    @property
    def at(self):
        """What it said when it was ready; waits for that."""
        if self._at is None:
            try:
                self._at = self.ready_queue.get(timeout=SECONDS)
            except queue.Empty:
                raise Refused(f"{self.name} was not ready within {SECONDS} s") from None
            if self._at is None:
                raise Refused(f"{self.name} ended at once")
        return self._at

    def _write(self, what):
        self.proc.stdin.write(json.dumps(what) + "\n")
        self.proc.stdin.flush()

    def _read(self):
        first = True
        for line in self.proc.stdout:
            answer = json.loads(line)
            if first:
                self.ready_queue.put(answer)
                first = False
                continue
            with self.lock:
                place = self.waiting.pop(answer["id"], None)
            if place:
                place.put(answer)
        self.ready_queue.put(None)
        with self.lock:
            for place in self.waiting.values():
                place.put({"error": f"{self.name} ended"})
            self.waiting.clear()

    def begin(self, do, **what):
        """Asks; the answer is got by calling what comes back."""
        self.at  # ready first
        place = queue.Queue()
        with self.lock:
            self.number += 1
            self.waiting[self.number] = place
            self._write({"id": self.number, "do": do, **what})

        def answer(seconds=SECONDS):
            got = place.get(timeout=seconds)
            if "error" in got:
                raise Refused(got["error"])
            return got
        return answer

    def __call__(self, do, **what):
        return self.begin(do, **what)()

    def end(self):
        try:
            self.proc.stdin.close()
        except OSError:
            pass
        try:
            self.proc.wait(5)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()


class Paid:
    """What a stock agent got."""

    def __init__(self, answer):
        self.status, self.headers, self.body = answer["status"], answer["headers"], answer["body"].encode()
        self.payment = answer.get("payment")  # the header it paid with: {name: value}
        self.asked = answer["asked"]  # statuses, in order
        self.signin = answer.get("signin")

    @property
    def json(self):
        return json.loads(self.body)


class Rig:
    """solana: also a Solana, settled on by the same facilitator; .solana is None where its machine does not run."""

    def __init__(self, network="base-sepolia", wallets=16, agents=("v1", "v2"), solana=False):
        reason = missing()
        if reason:
            raise MissingRig(reason)
        self.all = []
        try:
            self.chain = self._start("chain", args=["--chain", network, "--wallets", str(wallets)])
            self.agents = {a: self._start("agent_" + a) for a in agents}
            self.solana = self._start("solana") if solana and os.path.exists(SOLANA) else None
            self.facilitator = self._start("facilitator", first=[self.chain.at, *([self.solana.at] if self.solana else [])])
            for each in self.all:
                each.at  # all start at once, and are ready here
        except BaseException:
            self.end()
            raise
        self.at = self.chain.at
        self.facilitator_url = self.facilitator.at["url"]
        self.pay_to, self.asset, self.wallets = self.at["payTo"], self.at["asset"], self.at["wallets"]

    def _start(self, name, **more):
        node = Node(name, **more)
        self.all.append(node)
        return node

    def end(self):
        for node in reversed(self.all):
            node.end()

    # --- the facilitator

    def _control(self, method, body=None):
        c = http.client.HTTPConnection(self.facilitator_url.split("//")[1], timeout=SECONDS)
        c.request(method, "/control", json.dumps(body) if body is not None else None)
        answer = c.getresponse()
        text = answer.read()
        c.close()
        assert answer.status == 200, text
        return json.loads(text)

    def mode(self, mode="honest", times=0, ms=0):
        """What the next settles do; times 0: all of them.  Counts begin anew."""
        self._control("POST", {"reset": True, "mode": mode, "times": times, "ms": ms})

    def release(self):
        """Connections of settles that hang end."""
        self._control("POST", {"release": True})

    def counts(self):
        return self._control("GET")

    # --- agents and wallets

    def begin(self, agent, wallet, method, url, body=None, **more):
        what = {"key": self.wallets[wallet]["key"], "method": method, "url": url, "network": self.at["network"], **more}
        if body is not None:
            what["body"] = body
        answer = self.agents[agent].begin("ask", **what)
        return lambda seconds=SECONDS: Paid(answer(seconds))

    def ask(self, agent, wallet, method, url, body=None, **more):
        """The stock agent asks and pays; raises Refused where it would not."""
        return self.begin(agent, wallet, method, url, body, **more)()

    def ask_solana(self, agent, wallet, method, url, **more):
        """The same on Solana."""
        at = self.solana.at
        key, rpc = at["wallets"][wallet]["key"], at["rpc"]
        where = {"key": key, "network": at["network"], "rpc": rpc} if agent == "v1" else {"network": self.at["network"], "solana": {"key": key, "rpc": rpc}}
        return Paid(self.agents[agent]("ask", method=method, url=url, **where, **more))

    def key(self, wallet):
        return self.wallets[wallet]["key"]

    def address(self, wallet):
        return self.wallets[wallet]["address"]

    def account(self, wallet):
        """As the daemon names it."""
        return f"{self.at['caip2']}:{self.address(wallet).lower()}"

    def received(self, sender=None):
        """What the seller got, in base units: [value], of one wallet or of all."""
        rows = self.chain("received")["transfers"]
        return [int(r["value"]) for r in rows if sender is None or r["from"].lower() == self.address(sender).lower()]

    def now(self):
        """The chain's clock."""
        return int(self.chain("rpc", method="eth_getBlockByNumber", params=["latest", False])["result"]["timestamp"], 16)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


if __name__ == "__main__":  # for tools/demo: why the rig cannot start, or nothing; --node: what node must be told
    print(" ".join(node_flags()) if sys.argv[1:] == ["--node"] else missing() or "")
