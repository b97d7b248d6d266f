// How the programs of this folder are spoken to: one line of JSON when they are ready, then a line for a line until standard input ends.
import { createInterface } from "node:readline";

export function option(name, otherwise) {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : process.argv[at + 1];
}

const write = (object) => process.stdout.write(JSON.stringify(object, (_, v) => (typeof v === "bigint" ? String(v) : v)) + "\n");

// Answers {"id","do",...} by verbs[do](request); many may be under way at once.  Returns when standard input ended and all are answered.
export async function serveLines(ready, verbs) {
  write(ready);
  const underWay = new Set();
  for await (const line of createInterface({ input: process.stdin })) {
    const task = answer(line, verbs).finally(() => underWay.delete(task));
    underWay.add(task);
  }
  await Promise.allSettled(underWay);
}

async function answer(line, verbs) {
  let id;
  try {
    const request = JSON.parse(line);
    id = request.id;
    if (!Object.hasOwn(verbs, request.do)) throw new Error(`unknown verb ${request.do}; there are ${Object.keys(verbs).join(", ")}`);
    write({ ...(await verbs[request.do](request)), id });
  } catch (error) {
    write({ id, error: error?.shortMessage ?? error?.message ?? String(error) });
  }
}
