// token.sol, compiled once: what came out is kept in node_modules/.cache for as long as source and compiler are the same.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const here = (name) => new URL(name, import.meta.url);
const require = createRequire(import.meta.url);

// { Token: {abi, code}, ... }: code is what a chain runs, not what deploys it.
export function compiled() {
  const source = readFileSync(here("token.sol"), "utf8");
  const solcVersion = require("solc/package.json").version;
  const kept = here(`node_modules/.cache/kamiyo/${createHash("sha256").update(solcVersion + source).digest("hex")}.json`);
  try {
    return JSON.parse(readFileSync(kept, "utf8"));
  } catch {
    const contracts = compile(source);
    mkdirSync(new URL(".", kept), { recursive: true });
    const half = new URL(kept.href + "." + process.pid); // two may compile at the same time
    writeFileSync(half, JSON.stringify(contracts));
    renameSync(half, kept);
    return contracts;
  }
}

function compile(source) {
  const input = {
    language: "Solidity",
    sources: { "token.sol": { content: source } },
    // paris: no opcode that a chain of ours might not have
    settings: { evmVersion: "paris", optimizer: { enabled: true, runs: 200 }, outputSelection: { "*": { "*": ["abi", "evm.deployedBytecode.object"] } } },
  };
  const output = JSON.parse(require("solc").compile(JSON.stringify(input)));
  const errors = (output.errors ?? []).filter((e) => e.severity === "error");
  if (errors.length) throw new Error(errors.map((e) => e.formattedMessage).join("\n"));
  const contracts = {};
  for (const [name, c] of Object.entries(output.contracts["token.sol"])) {
    contracts[name] = { abi: c.abi, code: "0x" + c.evm.deployedBytecode.object };
  }
  return contracts;
}
