// The chain and the facilitator as one program, for tools/demo.
//   node house.mjs
// Prints `listening network=... rpc=... facilitator=... pay_to=... payer=... key=...` and goes on until it is told to end (TERM, INT): payer is a
// wallet with 1,000 dollars of the test chain, key its key.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const started = [];

// One of our programs, whose first line says how it is reached.
function start(name, first) {
  const program = new URL(name, import.meta.url).pathname;
  const child = spawn(process.execPath, [...process.execArgv, program], { stdio: ["pipe", "pipe", "inherit"] });
  started.push(child);
  if (first) child.stdin.write(JSON.stringify(first) + "\n");
  return new Promise((done, failed) => {
    child.on("error", failed);
    child.on("exit", (code) => end(code ?? 1)); // without one of them there is no house
    createInterface({ input: child.stdout }).once("line", (line) => done(JSON.parse(line)));
  });
}

function end(code) {
  for (const child of started) child.removeAllListeners("exit").stdin.end(); // they end when it does
  process.exitCode = code;
  setTimeout(() => process.exit(code), 3000).unref();
}
process.on("SIGTERM", () => end(0)).on("SIGINT", () => end(0));

const chain = await start("chain.mjs");
const facilitator = await start("facilitator.mjs", [chain]);
const [payer] = chain.wallets;
console.log(`listening network=${chain.network} rpc=${chain.rpc} facilitator=${facilitator.url} pay_to=${chain.payTo} payer=${payer.address} key=${payer.key}`);
