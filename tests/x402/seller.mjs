// A seller of the plainest kind, made with the stock packages where they have something: so that the chain, the facilitator and the agents are
// known to work together before anything of ours is judged by them.
//   node seller.mjs      first line on standard input: {"chain":<what chain.mjs printed>,"facilitator":URL}; ends when standard input does
// Prints {"url":...}.  /paid?amount=N asks N base units in both protocols; /signin is for those who show who they are.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { HTTPFacilitatorClient } from "@x402/core/server";
import { decodePaymentSignatureHeader, encodePaymentRequiredHeader, encodePaymentResponseHeader } from "@x402/core/http";
import { buildSIWxSchema, parseSIWxHeader, validateSIWxMessage, verifySIWxSignature } from "@x402/extensions/sign-in-with-x";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { chain, facilitator: facilitatorUrl } = JSON.parse((await lines.next()).value);
const facilitator = new HTTPFacilitatorClient({ url: facilitatorUrl });
const server = createServer((request, response) => serve(request, response).catch((e) => reply(response, 500, { error: e.message })));
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ url: origin() })));
const origin = () => `http://127.0.0.1:${server.address().port}`;

function reply(response, status, body, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

function offers(url, amount) {
  const shared = { scheme: "exact", payTo: chain.payTo, maxTimeoutSeconds: 60, asset: chain.asset, extra: chain.domain ?? { feePayer: chain.feePayer } };
  const words = { description: "a thing", mimeType: "application/json" };
  return {
    v1: { x402Version: 1, error: "X-PAYMENT header is required", accepts: [{ ...shared, network: chain.network, maxAmountRequired: amount, resource: url, ...words }] },
    v2: { x402Version: 2, error: "Payment required", resource: { url, ...words }, accepts: [{ ...shared, network: chain.caip2, amount }], extensions: {} },
  };
}

function unpaid(response, { v1, v2 }, error) {
  reply(response, 402, { ...v1, error: error ?? v1.error }, { "PAYMENT-REQUIRED": encodePaymentRequiredHeader(v2) });
}

async function paid(request, response, url) {
  const offer = offers(origin() + request.url, url.searchParams.get("amount") ?? "10000");
  const v1 = request.headers["x-payment"], v2 = request.headers["payment-signature"];
  if (!v1 && !v2) return unpaid(response, offer);
  const payment = v1 ? JSON.parse(Buffer.from(v1, "base64")) : decodePaymentSignatureHeader(v2);
  const requirements = (v1 ? offer.v1 : offer.v2).accepts[0];
  const verified = await facilitator.verify(payment, requirements);
  if (!verified.isValid) return unpaid(response, offer, verified.invalidReason);
  const settled = await facilitator.settle(payment, requirements);
  if (!settled.success) return unpaid(response, offer, settled.errorReason);
  return reply(response, 200, { sold: true }, { [v1 ? "X-PAYMENT-RESPONSE" : "PAYMENT-RESPONSE"]: encodePaymentResponseHeader(settled) });
}

async function signin(request, response) {
  const header = request.headers["sign-in-with-x"];
  const url = origin() + "/signin";
  if (!header) {
    const { v2 } = offers(url, "10000");
    const info = { domain: new URL(url).host, uri: url, version: "1", nonce: "0123456789abcdef", issuedAt: new Date().toISOString(), statement: "Sign in", resources: [url] };
    v2.extensions["sign-in-with-x"] = { info, supportedChains: [{ chainId: chain.caip2, type: chain.domain ? "eip191" : "ed25519" }], schema: buildSIWxSchema() };
    return reply(response, 402, {}, { "PAYMENT-REQUIRED": encodePaymentRequiredHeader(v2) });
  }
  const said = parseSIWxHeader(header);
  const valid = await validateSIWxMessage(said, new URL(url));
  const verified = valid.isValid ? await verifySIWxSignature(said) : valid;
  return reply(response, verified.isValid ? 200 : 401, verified);
}

async function serve(request, response) {
  const url = new URL(request.url, origin());
  if (url.pathname === "/paid") return paid(request, response, url);
  if (url.pathname === "/signin") return signin(request, response);
  return reply(response, 404, {});
}

while (!(await lines.next()).done);
process.exit(0);
