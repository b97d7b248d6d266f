// The stock agent of protocol 1 (x402-fetch), as published.
//   node agent_v1.mjs KEY METHOD URL [BODY]     asks once, prints {"status","headers","body","payment",...}
//   node agent_v1.mjs                           lines of JSON: {"id":1,"do":"ask","key","url","method","body","headers","network","max","rpc"}
// max: base units it will pay at most; its own limit, 0.10 USD, if not given.  rpc: where its network is, which only Solana's wants to know.
import { createSigner, decodeXPaymentResponse, wrapFetchWithPayment } from "x402-fetch";
import { runAgent } from "./asking.mjs";

await runAgent(async (fetch, { key, network, max, rpc }) => {
  const config = rpc && { svmConfig: { rpcUrl: rpc } };
  const paying = wrapFetchWithPayment(fetch, await createSigner(network, key), max === undefined ? undefined : BigInt(max), undefined, config);
  return async (url, init) => {
    const answer = await paying(url, init);
    const receipt = answer.headers.get("x-payment-response");
    if (receipt) decodeXPaymentResponse(receipt); // throws if a stock client could not read it
    return answer;
  };
});
