/* dollar 7/7 (EVM)   in: engine/cashier   out: pay/settle */
/* chain_evm: what an EVM chain is asked about a payment, and what its answers prove.

   Money moved if, and only if, a successful transaction carries the token's own Transfer of exactly this value from the payer to us, together with
   AuthorizationUsed of this payer and nonce.  A transaction named by anybody is no proof; an event of another contract is no proof; AuthorizationUsed without
   the Transfer is no proof (a token that does not revert would emit it alone).

   Source: the Ethereum JSON-RPC specification (execution-apis), EIP-20 (Transfer), EIP-3009 (authorizationState, AuthorizationUsed, AuthorizationCanceled), EIP-1271.
   Quantities are read as nodes write them (leading zeros, or a plain number, are let pass), hashes and words strictly.

   Pure; any thread; nothing blocks or allocates.  Requests append to *out and tell by out->overflow if it was too small
   (KMY_RPC_REQUEST_BYTES_MAX suffices).  Readers take the answer to question `id`; their output is whole only with KMY_RPC_FOUND. */
#ifndef KMY_PAY_CHAIN_EVM_H
#define KMY_PAY_CHAIN_EVM_H

#include "pay/entry.h"
#include "pay/rpc.h"

#define KMY_EVM_TX_TEXT_BYTES 67 /* 0x, 64 digits, terminator */
#define KMY_EVM_CONTRACT_SIGNATURE_BYTES_MAX                                                       \
    4096 /* a Safe of 60 owners has 3,900; with its call it fits a request */
#define KMY_EVM_CALL_GAS                                                                           \
    1000000 /* for a wallet's own code: a P-256 signature checked in bytecode takes 330,000 */
#define KMY_EVM_TRANSFERS_MAX 8 /* of one transaction, to us */

/* Blocks by name; any other number is a block's. */
#define KMY_EVM_LATEST    UINT64_MAX
#define KMY_EVM_FINALIZED (UINT64_MAX - 1)

typedef struct kmy_evm_block {
    uint64_t number;
    int64_t time_s; /* the chain's clock, Unix seconds */
    uint8_t hash[32];
    uint64_t base_fee; /* wei for a unit of gas; 0: it says none; UINT64_MAX: no number, or that */
} kmy_evm_block_t;

/* A quantity: "0x" and hex digits, or a plain number; below 2^64.  false: anything else, *out untouched. */
bool kmy_chain_evm_quantity(kmy_json_token_t t, uint64_t *out);

void kmy_chain_evm_chain_id(kmy_buf_t *out, uint64_t id);
kmy_rpc_word_t kmy_chain_evm_read_chain_id(const char *text, size_t len, uint64_t id,
                                           uint64_t *chain_id);

void kmy_chain_evm_block(kmy_buf_t *out, uint64_t id, uint64_t block);
kmy_rpc_word_t kmy_chain_evm_read_block(const char *text, size_t len, uint64_t id,
                                        kmy_evm_block_t *block);

/* authorizationState(payer, nonce) of the entry's token as of `block`.  true also for one that was cancelled.  REVERTED, or an answer that is
   neither 0 nor 1 (LOST): not a token of this kind. */
void kmy_chain_evm_authorization(kmy_buf_t *out, uint64_t id, const kmy_pay_entry_t *entry,
                                 const uint8_t payer[KMY_EVM_ADDRESS_BYTES],
                                 const uint8_t nonce[KMY_EVM_WORD_BYTES], uint64_t block);
kmy_rpc_word_t kmy_chain_evm_read_authorization(const char *text, size_t len, uint64_t id,
                                                bool *used);

/* balanceOf(payer) of the entry's token, as of the latest block; in base units. */
void kmy_chain_evm_balance(kmy_buf_t *out, uint64_t id, const kmy_pay_entry_t *entry,
                           const uint8_t payer[KMY_EVM_ADDRESS_BYTES]);
kmy_rpc_word_t kmy_chain_evm_read_balance(const char *text, size_t len, uint64_t id,
                                          uint8_t units[KMY_EVM_WORD_BYTES]);

/* Is there code at an address?  (A contract wallet, also an EIP-7702 one.) */
void kmy_chain_evm_code(kmy_buf_t *out, uint64_t id, const uint8_t address[KMY_EVM_ADDRESS_BYTES]);
kmy_rpc_word_t kmy_chain_evm_read_code(const char *text, size_t len, uint64_t id, bool *code);

/* EIP-1271: does the wallet call this signature (text, 0x and hex digits) its own?  false: too long, no hex, or of the EIP-6492 kind (a wallet that is not
   deployed yet: only a facilitator can deploy it); nothing was written.
   *valid: exactly the magic value came back.  REVERTED: it is not. */
bool kmy_chain_evm_signature(kmy_buf_t *out, uint64_t id,
                             const uint8_t wallet[KMY_EVM_ADDRESS_BYTES],
                             const uint8_t digest[KMY_EVM_WORD_BYTES], const char *signature,
                             size_t signature_len);
kmy_rpc_word_t kmy_chain_evm_read_signature(const char *text, size_t len, uint64_t id, bool *valid);

/* Where was (payer, nonce) used or cancelled, between two blocks (both included; to: also KMY_EVM_LATEST)?  NONE: nowhere there. */
typedef struct kmy_evm_use {
    bool cancelled; /* AuthorizationCanceled: it can never be settled */
    uint64_t block;
    char tx[KMY_EVM_TX_TEXT_BYTES];
} kmy_evm_use_t;
void kmy_chain_evm_logs(kmy_buf_t *out, uint64_t id, const kmy_pay_entry_t *entry,
                        const uint8_t payer[KMY_EVM_ADDRESS_BYTES],
                        const uint8_t nonce[KMY_EVM_WORD_BYTES], uint64_t from, uint64_t to);
kmy_rpc_word_t kmy_chain_evm_read_logs(const char *text, size_t len, uint64_t id,
                                       const kmy_pay_entry_t *entry,
                                       const uint8_t payer[KMY_EVM_ADDRESS_BYTES],
                                       const uint8_t nonce[KMY_EVM_WORD_BYTES], kmy_evm_use_t *use);

/* A transaction that a node knows: in a block, or waiting. */
typedef struct kmy_evm_transaction {
    bool mined;
    uint64_t block; /* if mined */
    uint8_t from[KMY_EVM_ADDRESS_BYTES];
} kmy_evm_transaction_t;
/* tx: 0x and 64 digits, as kmy_facilitator_is_tx has checked. */
void kmy_chain_evm_transaction(kmy_buf_t *out, uint64_t id, const char *tx);
kmy_rpc_word_t kmy_chain_evm_read_transaction(const char *text, size_t len, uint64_t id,
                                              const char *tx, kmy_evm_transaction_t *transaction);

/* NONE: not in a block.  `logs` is borrowed from the answer's text and not read yet. */
typedef struct kmy_evm_receipt {
    bool success;
    uint64_t block;
    uint8_t block_hash[32];
    kmy_json_token_t logs;
} kmy_evm_receipt_t;
void kmy_chain_evm_receipt(kmy_buf_t *out, uint64_t id, const char *tx);
kmy_rpc_word_t kmy_chain_evm_read_receipt(const char *text, size_t len, uint64_t id, const char *tx,
                                          kmy_evm_receipt_t *receipt);

/* What a receipt says of one authorization: entry gives token and recipient, entry's amount the value. */
typedef struct kmy_evm_evidence {
    bool paid; /* the Transfer and AuthorizationUsed, in a successful transaction */
    bool
        used; /* AuthorizationUsed is there; without paid: this authorization moved nothing to us and never will */
    bool cancelled;
    uint32_t log_index; /* of the Transfer, if paid: its place in the block */
} kmy_evm_evidence_t;
void kmy_chain_evm_evidence(const kmy_evm_receipt_t *receipt, const kmy_pay_entry_t *entry,
                            const uint8_t payer[KMY_EVM_ADDRESS_BYTES],
                            const uint8_t nonce[KMY_EVM_WORD_BYTES], kmy_evm_evidence_t *out);

/* For verify-payment: every Transfer of more than nothing to us by the entry's token, whoever sent it; at most KMY_EVM_TRANSFERS_MAX (the first).
   Returns their number; 0 of a transaction that failed. */
typedef struct kmy_evm_transfer {
    uint8_t sender[KMY_EVM_ADDRESS_BYTES];
    uint64_t units; /* UINT64_MAX: that or more */
    uint32_t log_index;
    bool authorized; /* by an authorization of its sender: nonce */
    uint8_t nonce[KMY_EVM_WORD_BYTES];
} kmy_evm_transfer_t;
size_t kmy_chain_evm_transfers(const kmy_evm_receipt_t *receipt, const kmy_pay_entry_t *entry,
                               kmy_evm_transfer_t out[KMY_EVM_TRANSFERS_MAX]);

#endif
