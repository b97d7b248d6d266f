// An x402 facilitator over HTTP, made of the published packages (protocol 1 and 2), that settles on the chains of chain.mjs and misbehaves
// when told to.
//   node facilitator.mjs        first line on standard input: a JSON array of what chain.mjs printed; ends when standard input does
// Prints {"url":...}.  GET /supported, POST /verify, POST /settle as any facilitator; /control is for the tests:
//   GET  /control    {"mode","verifies","settles","settled":[{transaction,payer,nonce,value}],...} since the last reset
//   POST /control    {"mode":M,"times":N,"ms":MS,"reset":true,"release":true}: the next N settles (0: all) go by M of `modes`; release: those that hang end
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createWalletClient, defineChain, http, keccak256, publicActions, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/facilitator";
import { ExactEvmSchemeV1 } from "@x402/evm/exact/v1/facilitator";
import { toFacilitatorSvmSigner } from "@x402/svm";
import { ExactSvmScheme } from "@x402/svm/exact/facilitator";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/facilitator";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const chains = JSON.parse((await lines.next()).value);
const facilitator = new x402Facilitator();
for (const chain of chains) {
  const solana = chain.caip2.startsWith("solana:");
  const signer = solana ? await solanaSignerOf(chain) : signerOf(chain);
  facilitator.register(chain.caip2, solana ? new ExactSvmScheme(signer) : new ExactEvmScheme(signer));
  facilitator.registerV1(chain.network, solana ? new ExactSvmSchemeV1(signer) : new ExactEvmSchemeV1(signer));
}

let control;
let latest; // transaction it sent
const held = []; // answers that hang
const reset = () => { control = { mode: "honest", times: 0, ms: 0, verifies: 0, settles: 0, settled: [], refused: [] }; };
reset();

function signerOf({ rpc, chainId, network, facilitator }) {
  const chain = defineChain({ id: chainId, name: network, nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 }, rpcUrls: { default: { http: [rpc] } } });
  const account = privateKeyToAccount(facilitator.key);
  const client = createWalletClient({ account, chain, transport: http(rpc), pollingInterval: 20, cacheTime: 0 }).extend(publicActions);
  const signer = toFacilitatorEvmSigner({ ...client, address: account.address }, { confirmationTimeoutMs: 10000 });
  // One after another: each takes its transaction's number off the chain.
  let last = Promise.resolve();
  signer.writeContract = (args) => (last = last.catch(() => {}).then(() => client.writeContract(args)));
  return signer;
}

async function solanaSignerOf({ rpc, facilitator }) {
  const { createKeyPairSignerFromBytes, getBase58Encoder } = await import("@solana/kit");
  return toFacilitatorSvmSigner(await createKeyPairSignerFromBytes(getBase58Encoder().encode(facilitator.key)), { defaultRpcUrl: rpc });
}

// --- what it does when asked to settle

async function settle(body) {
  const answer = await facilitator.settle(body.paymentPayload, body.paymentRequirements);
  const { authorization } = body.paymentPayload.payload;
  const row = { ...answer, nonce: authorization?.nonce, value: authorization?.value };
  (answer.success ? control.settled : control.refused).push(row);
  if (answer.success) latest = answer.transaction;
  return answer;
}

const pause = () => new Promise((done) => setTimeout(done, control.ms));
const made_up = () => keccak256(toHex(crypto.getRandomValues(new Uint8Array(32))));
const claim = (body, more) => ({ success: true, transaction: made_up(), network: body.paymentRequirements.network, payer: body.paymentPayload.payload.authorization?.from, ...more });
const refusal = (body, errorReason) => ({ success: false, errorReason, transaction: "", network: body.paymentRequirements.network });

const say = (response, status, text, type = "application/json") => {
  response.writeHead(status, { "content-type": type });
  response.end(typeof text === "string" ? text : JSON.stringify(text));
};

// Each: (response, body of the request).
const modes = {
  async honest(response, body) { say(response, 200, await settle(body)); },
  async slow(response, body) { await pause(); say(response, 200, await settle(body)); },
  async late(response, body) { const answer = await settle(body); await pause(); say(response, 200, answer); },
  async hangs(response) { held.push(response); }, // until released
  async error(response) { say(response, 502, "<html><body><h1>Bad Gateway</h1></body></html>", "text/html"); },
  async error_json(response) { say(response, 500, { error: "internal" }); },
  async garbage(response) { say(response, 200, '{"success":tru\0\xff'); },
  async empty(response) { say(response, 200, ""); },
  async other_shape(response) { say(response, 200, [{ success: true }]); },
  async huge(response, body) { const answer = await settle(body); say(response, 200, { ...answer, errorMessage: "x".repeat(32 << 20) }); },
  async nulls(response, body) { say(response, 200, { errorReason: null, errorMessage: null, extensions: null, extra: null, amount: null, ...(await settle(body)) }); },
  async refuses(response, body) { say(response, 200, refusal(body, "insufficient_funds")); },
  async refuses_400(response, body) { say(response, 400, refusal(body, "insufficient_funds")); },
  async limits(response) { response.setHeader("retry-after", "1"); say(response, 429, { error: "too many requests" }); },
  async drops(response) { response.destroy(); }, // nothing settled
  async settles_and_drops(response, body) { await settle(body); response.destroy(); },
  async settles_and_errors(response, body) { await settle(body); say(response, 504, "gateway timeout", "text/plain"); },
  async settles_and_refuses(response, body) { await settle(body); say(response, 200, refusal(body, "unexpected_settle_error")); },
  async settles_twice(response, body) { await settle(body); say(response, 200, await settle(body)); }, // the second one is refused by the token
  async lies(response, body) { say(response, 200, claim(body)); },
  async lies_empty(response, body) { say(response, 200, claim(body, { transaction: "" })); },
  async other_payment(response, body) { say(response, 200, claim(body, { transaction: latest ?? made_up() })); },
  async other_payer(response, body) { const answer = await settle(body); say(response, 200, { ...answer, payer: chains[0].facilitator.address }); },
  async other_network(response, body) { const answer = await settle(body); say(response, 200, { ...answer, network: "eip155:1" }); },
  async pending(response, body) { // sent, not known yet; the same settle again knows
    const kept = control.pending?.[body.paymentPayload.payload.signature];
    if (kept) { say(response, 200, kept); return; }
    const answer = await settle(body);
    control.pending = { ...control.pending, [body.paymentPayload.payload.signature]: answer };
    say(response, 200, { ...answer, success: false, errorReason: "settlement_pending" });
  },
};

function modeNow() {
  const { mode } = control;
  if (control.times > 0 && --control.times === 0) control.mode = "honest";
  return modes[mode];
}

// --- HTTP

async function read(request) {
  let text = "";
  for await (const part of request) text += part;
  return text ? JSON.parse(text) : {};
}

const routes = {
  "GET /supported": async (response) => say(response, 200, facilitator.getSupported()),
  "POST /verify": async (response, body) => {
    control.verifies++;
    say(response, 200, await facilitator.verify(body.paymentPayload, body.paymentRequirements));
  },
  "POST /settle": async (response, body) => {
    control.settles++;
    await modeNow()(response, body);
  },
  "GET /control": async (response) => say(response, 200, { ...control, modes: Object.keys(modes) }),
  "POST /control": async (response, body) => {
    if (body.mode && !modes[body.mode]) throw new Error(`no mode ${body.mode}`);
    if (body.reset) reset();
    if (body.release) for (const response of held.splice(0)) response.destroy();
    for (const key of ["mode", "times", "ms"]) if (body[key] !== undefined) control[key] = body[key];
    say(response, 200, {});
  },
};

const server = createServer(async (request, response) => {
  try {
    const route = routes[`${request.method} ${request.url.split("?")[0]}`];
    if (route) await route(response, await read(request));
    else say(response, 404, { error: "no such route" });
  } catch (error) {
    if (!response.headersSent) say(response, 500, { error: error.message });
  }
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}`, modes: Object.keys(modes) })));
while (!(await lines.next()).done);
process.exit(0);
