// What both stock agents share: one request by a fetch that pays, as JSON.  The fetch beneath is watched, so that the answer also says which
// payment header went out: a test may want to send it again.
import { serveLines } from "./lines.mjs";

// payingFetch(fetch, request) gives the fetch that pays.  With METHOD URL [BODY] on the command line asks once, else serves lines of JSON.
export async function runAgent(payingFetch) {
  const verbs = { ask: (request) => ask(payingFetch, request) };
  const words = process.argv.slice(2);
  if (words.length === 0) {
    await serveLines({ ready: true }, verbs);
    return;
  }
  const [key, method, url, body] = words;
  try {
    console.log(JSON.stringify(await ask(payingFetch, { key, method, url, body })));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message }));
    process.exitCode = 1;
  }
}

// The body as text, or of one that does not end so many bytes of it; binary ones in base64.
async function read(answer, bytes, binary) {
  if (bytes === undefined) {
    const whole = Buffer.from(await answer.arrayBuffer());
    return whole.toString(binary ? "base64" : "utf8");
  }
  const reader = answer.body.getReader();
  let text = "";
  for (const decoder = new TextDecoder(); text.length < bytes; ) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel();
  return text;
}

// bytes: of a body that does not end, read so many and go.  binary: the body in base64.
async function ask(payingFetch, { url, method = "GET", body, headers = {}, bytes, binary, ...request }) {
  const sent = [];
  const watched = async (input, init) => {
    const asked = new Request(input, init);
    const answer = await fetch(asked);
    sent.push({ headers: Object.fromEntries(asked.headers), status: answer.status });
    return answer;
  };
  const paying = await payingFetch(watched, { network: "base-sepolia", ...request });
  const init = { method, headers };
  if (body !== undefined) init.body = typeof body === "string" ? body : JSON.stringify(body);
  const answer = await paying(url, init);
  const text = await read(answer, bytes, binary);
  const last = sent.at(-1).headers;
  const payment = last["x-payment"] ? { "X-PAYMENT": last["x-payment"] } : last["payment-signature"] ? { "PAYMENT-SIGNATURE": last["payment-signature"] } : undefined;
  return { status: answer.status, headers: Object.fromEntries(answer.headers), body: text, payment, asked: sent.map((s) => s.status), signin: last["sign-in-with-x"] };
}
