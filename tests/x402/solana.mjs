// A Solana of our own on loopback: the virtual machine and the token program of the real one (litesvm), behind as much of its JSON-RPC as the
// stock clients, the facilitator and a seller ask for.  No blocks: each transaction is its own slot.
//   node solana.mjs [--wallets N]
// Prints one line of JSON (rpc, mint, wallets with keys, ...), then answers requests as chain.mjs does; ends when standard input does.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { appendTransactionMessageInstructions, createKeyPairSignerFromPrivateKeyBytes, createTransactionMessage, getAddressEncoder, getBase58Decoder, getBase58Encoder,
  getBase64EncodedWireTransaction, getCompiledTransactionMessageDecoder, getTransactionDecoder, pipe, setTransactionMessageFeePayerSigner, setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners } from "@solana/kit";
import { TOKEN_PROGRAM_ADDRESS, findAssociatedTokenPda, getTransferCheckedInstruction } from "@solana-program/token";
import { option, serveLines } from "./lines.mjs";

const { LiteSvm, Account, FailedTransactionMetadata } = createRequire(import.meta.url)("litesvm-linux-x64-gnu");
const CAIP2 = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"; // devnet, whose tokens are worth nothing
const MINT = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"; // Source: https://developers.circle.com/stablecoins/usdc-contract-addresses
const BLOCKHASH_BLOCKS = 150; // for so long a blockhash is good
const svm = new LiteSvm();
const bytesOf = (address) => new Uint8Array(getAddressEncoder().encode(address));
const base58 = (bytes) => getBase58Decoder().decode(bytes);

// --- who is there

async function walletOf(name) {
  const seed = createHash("sha256").update(`kamiyo test solana ${name}`).digest();
  const { address } = await createKeyPairSignerFromPrivateKeyBytes(seed);
  return { address, key: base58(Buffer.concat([seed, bytesOf(address)])) }; // seed and public key, as wallets keep it
}

const tokenAccount = async (owner) => (await findAssociatedTokenPda({ owner, mint: MINT, tokenProgram: TOKEN_PROGRAM_ADDRESS }))[0];
const put = (address, data, owner, lamports = 10n ** 9n) => svm.setAccount(bytesOf(address), new Account(lamports, data, bytesOf(owner), false, 0n));
const tokenAccounts = []; // addresses of all there are

// Source: the layouts of spl-token's Mint (82 bytes) and Account (165 bytes).
function putMint() {
  const data = Buffer.alloc(82);
  data.writeBigUInt64LE(10n ** 15n, 36); // supply
  data[44] = 6; // decimals
  data[45] = 1; // initialized
  put(MINT, data, TOKEN_PROGRAM_ADDRESS);
}

async function putDollars(owner, value) {
  const data = Buffer.alloc(165);
  data.set(bytesOf(MINT), 0);
  data.set(bytesOf(owner), 32);
  data.writeBigUInt64LE(value, 64);
  data[108] = 1; // initialized
  tokenAccounts.push(await tokenAccount(owner));
  put(tokenAccounts.at(-1), data, TOKEN_PROGRAM_ADDRESS);
}

const facilitator = await walletOf("facilitator");
const seller = await walletOf("seller");
const wallets = await Promise.all(Array.from({ length: Number(option("--wallets", "8")) }, (_, n) => walletOf(`wallet ${n}`)));
putMint();
svm.airdrop(bytesOf(facilitator.address), 10n ** 12n);
await putDollars(seller.address, 0n);
for (const w of wallets) {
  svm.airdrop(bytesOf(w.address), 10n ** 9n);
  await putDollars(w.address, 1000_000000n);
}

// --- the chain

let slot = 1000;
let loseNext = 0; // sends that are taken and never heard of again
let holdBack = false; // sends are only "processed", not confirmed
const kept = new Map(); // signature -> {slot, time, err, wire, pre, post, logs}
const blockhashes = new Map(); // blockhash -> height up to which it is good

// {mint, owner, amount} of a token account, or null.
function tokenOf(address) {
  const account = svm.getAccount(bytesOf(address));
  if (!account || base58(account.owner()) !== TOKEN_PROGRAM_ADDRESS || account.data().length !== 165) return null;
  const data = Buffer.from(account.data());
  return { mint: base58(data.subarray(0, 32)), owner: base58(data.subarray(32, 64)), amount: data.readBigUInt64LE(64) };
}

const uiAmount = (amount) => ({ amount: String(amount), decimals: 6, uiAmount: Number(amount) / 1e6, uiAmountString: String(Number(amount) / 1e6) });

function tokenBalances(keys) {
  return keys.flatMap((address, accountIndex) => {
    const token = tokenOf(address);
    return token ? [{ accountIndex, mint: token.mint, owner: token.owner, programId: TOKEN_PROGRAM_ADDRESS, uiTokenAmount: uiAmount(token.amount) }] : [];
  });
}

function decoded(wire) {
  const transaction = getTransactionDecoder().decode(wire);
  const message = getCompiledTransactionMessageDecoder().decode(transaction.messageBytes);
  return { transaction, message, signatures: Object.values(transaction.signatures).map((s) => base58(s ?? new Uint8Array(64))) };
}

function run(wire, really) {
  const versioned = decoded(wire).message.version !== "legacy";
  return really ? (versioned ? svm.sendVersionedTransaction(wire) : svm.sendLegacyTransaction(wire))
    : versioned ? svm.simulateVersionedTransaction(wire) : svm.simulateLegacyTransaction(wire);
}

const errOf = (outcome) => (outcome instanceof FailedTransactionMetadata ? { InstructionError: [2, { Custom: 1 }], text: outcome.toString() } : null);
const shownErr = (err) => err && { InstructionError: err.InstructionError };

function send(base64) {
  const wire = new Uint8Array(Buffer.from(base64, "base64"));
  const { message, signatures } = decoded(wire);
  const [signature] = signatures;
  if (kept.has(signature)) return signature; // as the network does: the second copy is dropped silently
  if (loseNext > 0) {
    loseNext--;
    return signature;
  }
  const keys = message.staticAccounts;
  const pre = tokenBalances(keys);
  const outcome = run(wire, true);
  const err = errOf(outcome);
  if (err && /blockhash/i.test(err.text)) return signature; // never lands
  kept.set(signature, { slot: ++slot, time: Math.floor(Date.now() / 1000), err: shownErr(err), wire, pre, post: tokenBalances(keys), held: holdBack });
  return signature;
}

// --- JSON-RPC

const at = (value) => ({ context: { slot, apiVersion: "2.2.0" }, value });
const fail = (code, message) => { throw Object.assign(new Error(message), { code }); };

function accountInfo(address, encoding) {
  const account = svm.getAccount(bytesOf(address));
  if (!account) return null;
  const token = encoding === "jsonParsed" && tokenOf(address);
  const data = token ? { program: "spl-token", space: 165, parsed: { type: "account", info: { mint: token.mint, owner: token.owner, state: "initialized", isNative: false, tokenAmount: uiAmount(token.amount) } } }
    : [Buffer.from(account.data()).toString("base64"), "base64"];
  return { data, executable: account.executable(), lamports: Number(account.lamports()), owner: base58(account.owner()), rentEpoch: 0, space: account.data().length };
}

function transaction(signature, { encoding = "json" } = {}) {
  const row = kept.get(signature);
  if (!row || row.held) return null;
  const { message, signatures } = decoded(row.wire);
  const keys = message.staticAccounts;
  const { numSignerAccounts: signers, numReadonlySignerAccounts: readonlySigners, numReadonlyNonSignerAccounts: readonlyOthers } = message.header;
  const parsedKeys = keys.map((pubkey, i) => ({ pubkey, signer: i < signers, source: "transaction",
    writable: i < signers ? i < signers - readonlySigners : i < keys.length - readonlyOthers }));
  const instructions = message.instructions.map((x) => ({ programIdIndex: x.programAddressIndex, accounts: x.accountIndices ?? [], data: base58(x.data ?? new Uint8Array()), stackHeight: null }));
  const shown = encoding === "base64" ? [Buffer.from(row.wire).toString("base64"), "base64"] : {
    signatures,
    message: {
      accountKeys: encoding === "jsonParsed" ? parsedKeys : keys,
      recentBlockhash: message.lifetimeToken, addressTableLookups: [],
      ...(encoding === "json" ? { header: { numRequiredSignatures: signers, numReadonlySignedAccounts: readonlySigners, numReadonlyUnsignedAccounts: readonlyOthers }, instructions }
        : { instructions: instructions.map((x) => ({ programId: keys[x.programIdIndex], accounts: x.accounts.map((i) => keys[i]), data: x.data, stackHeight: null })) }),
    },
  };
  const meta = { err: row.err, status: row.err ? { Err: row.err } : { Ok: null }, fee: 5000 * signers, innerInstructions: [], logMessages: [], preTokenBalances: row.pre,
    postTokenBalances: row.post, preBalances: keys.map(() => 0), postBalances: keys.map(() => 0), loadedAddresses: { writable: [], readonly: [] }, rewards: [], computeUnitsConsumed: 5000 };
  return { slot: row.slot, blockTime: row.time, version: message.version, meta, transaction: shown };
}

const methods = {
  getHealth: () => "ok",
  getVersion: () => ({ "solana-core": "2.2.0", "feature-set": 0 }),
  getGenesisHash: () => "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG",
  getSlot: () => slot,
  getBlockHeight: () => slot,
  getBlockTime: () => Math.floor(Date.now() / 1000),
  getEpochInfo: () => ({ absoluteSlot: slot, blockHeight: slot, epoch: 1, slotIndex: slot, slotsInEpoch: 432000, transactionCount: kept.size }),
  getMinimumBalanceForRentExemption: ([size]) => Number(svm.minimumBalanceForRentExemption(BigInt(size))),
  getBalance: ([address]) => at(Number(svm.getBalance(bytesOf(address)) ?? 0n)),
  getAccountInfo: ([address, config]) => at(accountInfo(address, config?.encoding)),
  getMultipleAccounts: ([addresses, config]) => at(addresses.map((a) => accountInfo(a, config?.encoding))),
  getTokenAccountBalance: ([address]) => at(uiAmount((tokenOf(address) ?? fail(-32602, "Invalid param: could not find account")).amount)),
  getTokenAccountsByOwner: ([owner, { mint }, { dataSlice: { offset, length } }]) => at(tokenAccounts.filter((a) => tokenOf(a)?.owner === owner && tokenOf(a).mint === mint)
    .map((pubkey) => ({ pubkey, account: { ...accountInfo(pubkey, "base64"),
      data: [Buffer.from(svm.getAccount(bytesOf(pubkey)).data()).subarray(offset, offset + length).toString("base64"), "base64"] } }))),
  getLatestBlockhash: () => {
    const blockhash = svm.latestBlockhash();
    blockhashes.set(blockhash, slot + BLOCKHASH_BLOCKS);
    return at({ blockhash, lastValidBlockHeight: slot + BLOCKHASH_BLOCKS });
  },
  isBlockhashValid: ([blockhash]) => at(blockhash === svm.latestBlockhash() && (blockhashes.get(blockhash) ?? slot) >= slot),
  simulateTransaction: ([base64, { sigVerify = false, replaceRecentBlockhash = false } = {}]) => {
    svm.setSigverify(sigVerify);
    svm.setBlockhashCheck(!replaceRecentBlockhash);
    const outcome = run(new Uint8Array(Buffer.from(base64, "base64")), false);
    svm.setSigverify(true);
    svm.setBlockhashCheck(true);
    const err = errOf(outcome);
    return at({ err: shownErr(err), logs: err ? [err.text] : [], accounts: null, unitsConsumed: 5000, returnData: null, innerInstructions: [] });
  },
  sendTransaction: ([base64]) => send(base64),
  getSignatureStatuses: ([signatures]) => at(signatures.map((signature) => {
    const row = kept.get(signature);
    return row ? { slot: row.slot, confirmations: row.held ? 0 : 1, err: row.err, status: row.err ? { Err: row.err } : { Ok: null }, confirmationStatus: row.held ? "processed" : "confirmed" } : null;
  })),
  getTransaction: ([signature, config]) => transaction(signature, typeof config === "string" ? { encoding: config } : config),
  getSignaturesForAddress: ([address, { limit = 1000 } = {}]) => [...kept].filter(([, row]) => !row.held && decoded(row.wire).message.staticAccounts.includes(address)).reverse().slice(0, limit)
    .map(([signature, row]) => ({ signature, slot: row.slot, err: row.err, memo: null, blockTime: row.time, confirmationStatus: "confirmed" })),
};

function answer({ id, method, params = [] }) {
  try {
    if (!methods[method]) fail(-32601, `Method not found: ${method}`);
    return { jsonrpc: "2.0", id, result: methods[method](params) };
  } catch (error) {
    return { jsonrpc: "2.0", id, error: { code: error.code ?? -32603, message: error.message } };
  }
}

const server = createServer(async (request, response) => {
  let text = "";
  for await (const part of request) text += part;
  const asked = JSON.parse(text);
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(Array.isArray(asked) ? asked.map(answer) : answer(asked)));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const rpc = `http://127.0.0.1:${server.address().port}`;

// --- what one may ask for

const verbs = {
  async balance({ address }) { return { value: String(tokenOf(await tokenAccount(address))?.amount ?? 0n) }; },
  // A wallet pays on its own, to the seller or whom it likes.
  async transfer({ wallet, to = seller.address, value }) {
    const authority = await createKeyPairSignerFromPrivateKeyBytes(getBase58Encoder().encode(wallets[wallet].key).slice(0, 32));
    const { blockhash, lastValidBlockHeight } = methods.getLatestBlockhash().value;
    const transfer = getTransferCheckedInstruction({ source: await tokenAccount(authority.address), mint: MINT, destination: await tokenAccount(to), authority,
      amount: BigInt(value), decimals: 6 });
    const message = pipe(createTransactionMessage({ version: 0 }), (m) => setTransactionMessageFeePayerSigner(authority, m),
      (m) => setTransactionMessageLifetimeUsingBlockhash({ blockhash, lastValidBlockHeight: BigInt(lastValidBlockHeight) }, m),
      (m) => appendTransactionMessageInstructions([transfer], m));
    return { tx: send(getBase64EncodedWireTransaction(await signTransactionMessageWithSigners(message))) };
  },
  lose({ times = 1 }) { loseNext = times; return {}; },
  hold({ on }) { // what was held back is confirmed when it ends
    holdBack = on;
    if (!on) for (const row of kept.values()) row.held = false;
    return {};
  },
  // Blocks go by: older blockhashes are good no more.
  expire({ blocks = BLOCKHASH_BLOCKS + 1 }) { slot += blocks; svm.expireBlockhash(); return { slot }; },
  rpc({ method, params }) { return answer({ method, params }); },
};
await serveLines({ rpc, network: "solana-devnet", caip2: CAIP2, asset: MINT, payTo: seller.address, feePayer: facilitator.address, facilitator, wallets }, verbs);
process.exit(0);
