// A chain of our own on loopback (anvil), with dollars on it that are paid by signature, at the addresses where the stock clients expect them.
//   node chain.mjs [--chain base-sepolia|base|ethereum] [--wallets N]
// Prints one line of JSON (rpc, asset, domain, wallets with keys, ...), then answers requests, one line of JSON each: {"id":1,"do":"sign",...}
// gets {"id":1,...} or {"id":1,"error":"..."}; what there is to do stands in `verbs`.  Ends, and its chain with it, when standard input does.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { createPublicClient, createWalletClient, defineChain, encodeFunctionData, getAddress, http, keccak256, numberToHex, parseAbiItem, parseSignature, serializeSignature, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { compiled } from "./compile.mjs";
import { option, serveLines } from "./lines.mjs";

// Source: https://developers.circle.com/stablecoins/usdc-contract-addresses, and name() and version() of those contracts.
const CHAINS = {
  "base-sepolia": { id: 84532, usdc: "0x036CbD53842c5426634e7929541eC2318f3dCF7e", name: "USDC" },
  base: { id: 8453, usdc: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", name: "USD Coin" },
  ethereum: { id: 1, usdc: "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", name: "USD Coin" },
};
const MULTICALL = "0xcA11bde05977b3631167028862bE2a173976CA11"; // the same on every chain
const network = option("--chain", "base-sepolia");
const { id: chainId, usdc, name } = CHAINS[network];
const version = "2";
const contracts = compiled();
const other = (n) => getAddress("0x" + keccak256(toHex(`kamiyo test contract ${n}`)).slice(-40));
const liar = other("liar");
const secondToken = other("second token");
const key = (n) => keccak256(toHex(`kamiyo test wallet ${n}`));
const wallets = Array.from({ length: Number(option("--wallets", "16")) }, (_, n) => ({ key: key(n), address: privateKeyToAccount(key(n)).address }));
const facilitator = { key: key("facilitator"), address: privateKeyToAccount(key("facilitator")).address };
const payTo = privateKeyToAccount(key("seller")).address;
const contractWallet = { address: other("wallet"), owner: { key: key("owner"), address: privateKeyToAccount(key("owner")).address } };

const { rpc, anvil } = await startAnvil();
const chain = defineChain({ id: chainId, name: network, nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 }, rpcUrls: { default: { http: [rpc] } } });
const client = createPublicClient({ chain, transport: http(rpc), pollingInterval: 20, cacheTime: 0 });
await furnish();

// --- the chain itself

function startAnvil() {
  const own = new URL("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil", import.meta.url).pathname;
  const anvil = existsSync(own) ? own : "anvil";
  const args = ["--port", "0", "--chain-id", String(chainId), "--accounts", "1", "--disable-default-create2-deployer", "--no-cors", "--threads", "1"];
  // setpriv: the chain must not outlive us, however we die
  const child = existsSync("/usr/bin/setpriv")
    ? spawn("/usr/bin/setpriv", ["--pdeathsig", "KILL", anvil, ...args], { stdio: ["ignore", "pipe", "inherit"] })
    : spawn(anvil, args, { stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((done, failed) => {
    child.on("error", failed);
    child.on("exit", (code, signal) => failed(new Error(`anvil ended (${code ?? signal})`)));
    createInterface({ input: child.stdout }).on("line", (line) => { // read on to the end, so that it never blocks
      const at = /^Listening on (127\.0\.0\.1:\d+)/.exec(line);
      if (at) done({ rpc: "http://" + at[1], anvil: child });
    });
  });
}

function call([to, contract, functionName, args], from, nonce) {
  const data = encodeFunctionData({ abi: contracts[contract].abi, functionName, args });
  return client.request({ method: "eth_sendTransaction", params: [{ from, to, data, gas: numberToHex(300000n), nonce: numberToHex(nonce) }] });
}

async function furnish() {
  const [miner] = await client.request({ method: "eth_accounts" });
  const put = (address, contract) => client.request({ method: "anvil_setCode", params: [address, contracts[contract].code] });
  await Promise.all([put(usdc, "Token"), put(secondToken, "Token"), put(liar, "Liar"), put(MULTICALL, "Multicall"), put(contractWallet.address, "Wallet")]);
  const ether = numberToHex(10n ** 21n);
  const rich = [facilitator, ...wallets];
  await Promise.all(rich.map((w) => client.request({ method: "anvil_setBalance", params: [w.address, ether] })));
  const dollars = 1000_000000n;
  const calls = [[usdc, "Token", "init", [name, version]], [secondToken, "Token", "init", [name, version]], [liar, "Liar", "init", [name, version]],
    [contractWallet.address, "Wallet", "init", [contractWallet.owner.address]], [usdc, "Token", "mint", [contractWallet.address, dollars]],
    ...wallets.flatMap((w) => [usdc, secondToken, liar].map((t) => [t, "Token", "mint", [w.address, dollars]]))];
  // All in one block: mining one for each would push the chain's clock ahead of ours.
  await client.request({ method: "evm_setAutomine", params: [false] });
  const sent = await Promise.all(calls.map((what, nonce) => call(what, miner, nonce)));
  await client.request({ method: "evm_mine" });
  await client.request({ method: "evm_setAutomine", params: [true] });
  for (const hash of [sent[0], sent[3], sent.at(-1)]) {
    const receipt = await client.request({ method: "eth_getTransactionReceipt", params: [hash] });
    if (receipt?.status !== "0x1") throw new Error("the chain could not be furnished");
  }
}

// --- what one may ask for

const TYPES = {
  TransferWithAuthorization: [["from", "address"], ["to", "address"], ["value", "uint256"], ["validAfter", "uint256"], ["validBefore", "uint256"], ["nonce", "bytes32"]],
  CancelAuthorization: [["authorizer", "address"], ["nonce", "bytes32"]],
};
for (const [type, fields] of Object.entries(TYPES)) TYPES[type] = fields.map(([name, type]) => ({ name, type }));
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

function domainOf(asset, over = {}) {
  return { name, version, chainId, verifyingContract: asset, ...over };
}

// How a signature may be bent; all of them recover to the same key if one is careless.
const BENT = {
  high_s({ r, s, v }) { return serializeSignature({ r, s: numberToHex(ORDER - BigInt(s), { size: 32 }), v: v === 27n ? 28n : 27n }); },
  low_v({ r, s, v }) { return r + s.slice(2) + (v === 27n ? "00" : "01"); },
  short({ r, s }) { return r + s.slice(2); },
  long({ r, s, v }) { return r + s.slice(2) + numberToHex(v, { size: 1 }).slice(2) + "00"; },
  zero() { return "0x" + "00".repeat(64) + "1b"; },
};

async function authorize({ key, from, to = payTo, value, asset = usdc, validAfter = "0", validBefore, nonce, domain, bend }) {
  const account = privateKeyToAccount(key);
  const now = Math.floor(Date.now() / 1000);
  const authorization = { from: from ?? account.address, to, value: String(value), validAfter: String(validAfter), validBefore: String(validBefore ?? now + 60),
    nonce: nonce ?? keccak256(toHex(crypto.getRandomValues(new Uint8Array(32)))) };
  let signature = await account.signTypedData({ domain: domainOf(asset, domain), types: TYPES, primaryType: "TransferWithAuthorization", message: authorization });
  if (bend) signature = BENT[bend](parseSignature(signature));
  else if (from === contractWallet.address) signature += "01";
  return { authorization, signature };
}

async function send(key, to, functionName, args, asContract = "Token") {
  const wallet = createWalletClient({ account: privateKeyToAccount(key), chain, transport: http(rpc) });
  const hash = await wallet.sendTransaction({ to, data: encodeFunctionData({ abi: contracts[asContract].abi, functionName, args }), gas: 300000n });
  const receipt = await client.waitForTransactionReceipt({ hash });
  return { tx: hash, success: receipt.status === "success", block: Number(receipt.blockNumber) };
}

const verbs = {
  // An authorization: key, value, and to, asset, from, validAfter, validBefore, nonce, domain, bend as wished.
  authorize,
  // A whole payment of an offer's entry (v1 or v2 by its shape), as header text: key, entry, resource, and over (as for authorize).
  async pay({ key, entry, resource, over = {}, as = {} }) {
    const v2 = entry.network.includes(":");
    const payload = await authorize({ key, to: entry.payTo, value: v2 ? entry.amount : entry.maxAmountRequired, asset: entry.asset, domain: entry.extra,
      validBefore: Math.floor(Date.now() / 1000) + entry.maxTimeoutSeconds, ...over });
    const payment = v2 ? { x402Version: 2, payload, resource, accepted: entry, ...as }
      : { x402Version: 1, scheme: entry.scheme, network: entry.network, payload, ...as };
    return { header: Buffer.from(JSON.stringify(payment)).toString("base64"), name: v2 ? "PAYMENT-SIGNATURE" : "X-PAYMENT", payment };
  },
  // Somebody submits an authorization; key: who pays the gas.
  submit({ key, asset = usdc, authorization: a, signature }) {
    return send(key, asset, "transferWithAuthorization", [a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce, signature]);
  },
  // Several of them in one transaction, as who bundles them does: payloads.
  bundle({ key, payloads, asset = usdc }) {
    const calls = payloads.map(({ authorization: a, signature }) => ({ target: asset, callData: encodeFunctionData({ abi: contracts.Token.abi,
      functionName: "transferWithAuthorization", args: [a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce, signature] }) }));
    return send(key, MULTICALL, "tryAggregate", [true, calls], "Multicall");
  },
  async cancel({ key, nonce, asset = usdc }) {
    const account = privateKeyToAccount(key);
    const message = { authorizer: account.address, nonce };
    const { r, s, v } = parseSignature(await account.signTypedData({ domain: domainOf(asset), types: TYPES, primaryType: "CancelAuthorization", message }));
    return send(key, asset, "cancelAuthorization", [account.address, nonce, Number(v), r, s]);
  },
  transfer({ key, to = payTo, value, asset = usdc }) { return send(key, asset, "transfer", [to, BigInt(value)]); },
  mint({ key, to, value, asset = usdc }) { return send(key, asset, "mint", [to, BigInt(value)]); },
  lie({ key, which }) { return send(key, liar, "setLie", [which], "Liar"); },
  async balance({ address, asset = usdc }) {
    return { value: String(await client.readContract({ address: asset, abi: contracts.Token.abi, functionName: "balanceOf", args: [address] })) };
  },
  async used({ address, nonce, asset = usdc }) {
    return { used: await client.readContract({ address: asset, abi: contracts.Token.abi, functionName: "authorizationState", args: [address, nonce] }) };
  },
  // Every transfer to the seller: [{from, value, tx}].
  async received({ asset = usdc, to = payTo }) {
    const logs = await client.getLogs({ address: asset, event: parseAbiItem("event Transfer(address indexed from, address indexed to, uint256 value)"), args: { to }, fromBlock: 0n });
    return { transfers: logs.map((l) => ({ from: l.args.from, value: String(l.args.value), tx: l.transactionHash })) };
  },
  // A text signed as wallets sign texts (EIP-191).
  async text({ key, message }) { return { signature: await privateKeyToAccount(key).signMessage({ message }) }; },
  async rpc({ method, params = [] }) { return { result: await client.request({ method, params }) }; },
};

const shown = { rpc, network, chainId, caip2: `eip155:${chainId}`, asset: usdc, domain: { name, version }, payTo, facilitator, wallets, contractWallet, liar, secondToken };
await serveLines(shown, verbs);
anvil.removeAllListeners("exit");
anvil.kill("SIGKILL");
