// The stock agent of protocol 2 (@x402/fetch), as published, with both generations of the exact scheme.
//   node agent_v2.mjs KEY METHOD URL [BODY]     asks once, prints {"status","headers","body","payment",...}
//   node agent_v2.mjs                           lines of JSON: {"id":1,"do":"ask","key","url","method","body","headers","signin":true,"solana":{"key","rpc"}}
// signin: with the extension sign-in-with-x, which then comes before paying.  solana: pays there, in place of key.
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { x402HTTPClient } from "@x402/core/client";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { ExactEvmSchemeV1 } from "@x402/evm/exact/v1/client";
import { createKeyPairSignerFromBytes, getBase58Encoder } from "@solana/kit";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { createSIWxClientHook } from "@x402/extensions/sign-in-with-x";
import { privateKeyToAccount } from "viem/accounts";
import { runAgent } from "./asking.mjs";

async function evmClient(key, network) {
  const signer = privateKeyToAccount(key);
  return [signer, new x402Client().register("eip155:*", new ExactEvmScheme(signer)).registerV1(network, new ExactEvmSchemeV1(signer))];
}

async function solanaClient({ key, rpc }) {
  const signer = await createKeyPairSignerFromBytes(getBase58Encoder().encode(key));
  return [signer, new x402Client().register("solana:*", new ExactSvmScheme(signer, { rpcUrl: rpc }))];
}

await runAgent(async (fetch, { key, network, signin, solana }) => {
  const [signer, client] = solana ? await solanaClient(solana) : await evmClient(key, network);
  const httpClient = new x402HTTPClient(client);
  if (signin) httpClient.onPaymentRequired(createSIWxClientHook(signer));
  const paying = wrapFetchWithPayment(fetch, httpClient);
  return async (url, init) => {
    const answer = await paying(url, init);
    const receipt = answer.headers.get("payment-response");
    if (receipt) decodePaymentResponseHeader(receipt); // throws if a stock client could not read it
    return answer;
  };
});
