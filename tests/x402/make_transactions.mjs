// Makes tests/corpus/evm/transactions.json: transactions and token calls as viem writes them, for what we write ourselves.
//   node make_transactions.mjs > ../corpus/evm/transactions.json
import { encodeFunctionData, keccak256, parseAbi, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const abi = (last) => parseAbi([`function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, ${last})`]);
const KEYS = abi("uint8 v, bytes32 r, bytes32 s");
const BYTES = abi("bytes signature");
const key = (n) => keccak256(toHex(`kamiyo transaction vector ${n}`));
const filler = (n) => "0x" + Array.from({ length: n }, (_, i) => ((i * 7 + n) & 255).toString(16).padStart(2, "0")).join("");
const token = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";

// name, key, chain, nonce, tip, fee, gas, bytes of data
const ROWS = [
  ["nothing but zeros", 1, 1, 0, 0n, 0n, 0, 0], ["one byte that is zero", 1, 1, 1, 1n, 2n, 21000, 1], ["a nonce of one byte that stands for itself", 1, 8453, 127, 1000000n, 3000000n, 80000, 55],
  ["a nonce of one byte that does not", 2, 8453, 128, 1000000n, 3000000n, 80000, 56], ["255", 2, 8453, 255, 127n, 128n, 127, 127], ["256", 2, 84532, 256, 255n, 256n, 200000, 128],
  ["a call's length", 3, 84532, 65535, 1n << 32n, 1n << 40n, 100000, 292], ["a wallet's call", 3, 137, 65536, 30000000000n, 90000000000n, 199999, 4420],
  ["the largest", 4, 2 ** 48, 2 ** 48, (1n << 64n) - 1n, (1n << 64n) - 1n, 2 ** 48, 4608], ["Ethereum", 5, 1, 4711, 1000000000n, 25000000000n, 78123, 324],
];
const transactions = [];
for (const [name, n, chainId, nonce, tip, fee, gas, bytes] of ROWS) {
  const data = bytes === 1 ? "0x00" : filler(bytes);
  const raw = await privateKeyToAccount(key(n)).signTransaction({ type: "eip1559", chainId, nonce, maxPriorityFeePerGas: tip, maxFeePerGas: fee, gas: BigInt(gas), to: token, data: bytes ? data : undefined });
  transactions.push({ name, key: key(n), address: privateKeyToAccount(key(n)).address, chain_id: String(chainId), nonce: String(nonce), tip: String(tip), fee: String(fee), gas: String(gas),
    to: token, data: bytes ? data : "0x", raw, hash: keccak256(raw) });
}

const calls = [];
for (const [name, signatureBytes, v] of [["a key's signature", 65, 27], ["another's", 65, 28], ["a contract wallet's", 66], ["one of a whole number of words", 96], ["the longest", 4096], ["65 bytes that are a contract's", 65, 27]]) {
  const contract = !name.startsWith("a key") && name !== "another's";
  const signature = filler(signatureBytes).slice(0, -2) + (v ?? 0xfe).toString(16);
  const a = { from: privateKeyToAccount(key(1)).address, to: privateKeyToAccount(key(2)).address, value: "10000", validAfter: "0", validBefore: "1790000000", nonce: keccak256(toHex(name)) };
  const args = [a.from, a.to, BigInt(a.value), BigInt(a.validAfter), BigInt(a.validBefore), a.nonce];
  const data = contract ? encodeFunctionData({ abi: BYTES, args: [...args, signature] })
    : encodeFunctionData({ abi: KEYS, args: [...args, v, signature.slice(0, 66), "0x" + signature.slice(66, 130)] });
  calls.push({ name, contract, payment: JSON.stringify({ x402Version: 1, scheme: "exact", network: "base", payload: { signature, authorization: a } }), data });
}
const lines = (rows) => rows.map((row) => "  " + JSON.stringify(row)).join(",\n");
console.log(`{"made_by": "viem, tests/x402/make_transactions.mjs",\n"vectors": [\n${lines(transactions)}\n],\n"calls": [\n${lines(calls)}\n]}`);
