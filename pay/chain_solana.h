/* dollar 7/7 (Solana)   in: engine/cashier   out: pay/settle */
/* chain_solana: what Solana is asked about a payment, and what its answers prove.

   The fee payer signs last, and its signature names the transaction: so the name is not known before somebody submits it.  What is known is the message, whose
   SHA-256 is the payment's nonce: a lost transaction is found among those of its payer (getSignaturesForAddress) by that hash.  Money moved if the transaction with this
   very message succeeded and the token balances before and after say that we got exactly the amount from the payer.

   Source: Solana's JSON-RPC documentation (methods below; status meta, token balances) and transaction format.  Transactions are asked for in base64, not as somebody's
   parser sees them.  Pure (SHA-256 by OpenSSL); any thread; nothing blocks or allocates.  Requests and readers as in pay/chain_evm. */
#ifndef KMY_PAY_CHAIN_SOLANA_H
#define KMY_PAY_CHAIN_SOLANA_H

#include "pay/entry.h"
#include "pay/rpc.h"
#include "pay/solana.h"
#include "wire/base58.h"

#define KMY_SOLANA_TX_TEXT_BYTES  KMY_BASE58_TEXT_BYTES_MAX
#define KMY_SOLANA_SIGNATURES_MAX 100 /* of one question */
#define KMY_SOLANA_OWNERS_MAX     16  /* whose balances of our token one transaction changes */

typedef enum { KMY_SOLANA_CONFIRMED, KMY_SOLANA_FINALIZED } kmy_solana_commitment_t;

/* getBlockHeight, getSlot: one number. */
void kmy_chain_solana_height(kmy_buf_t *out, uint64_t id, kmy_solana_commitment_t commitment);
void kmy_chain_solana_slot(kmy_buf_t *out, uint64_t id, kmy_solana_commitment_t commitment);
kmy_rpc_word_t kmy_chain_solana_read_number(const char *text, size_t len, uint64_t id,
                                            uint64_t *number);

/* getLatestBlockhash: for an offer's extra.recentBlockhash. */
typedef struct kmy_solana_blockhash {
    char text[KMY_BASE58_KEY_BYTES_MAX];
    uint64_t valid_to; /* block height */
} kmy_solana_blockhash_t;
void kmy_chain_solana_blockhash(kmy_buf_t *out, uint64_t id, kmy_solana_commitment_t commitment);
kmy_rpc_word_t kmy_chain_solana_read_blockhash(const char *text, size_t len, uint64_t id,
                                               kmy_solana_blockhash_t *blockhash);

/* getSignatureStatuses of one transaction (tx: checked base58), history included.  NONE: not known. */
typedef struct kmy_solana_status {
    bool success;
    uint64_t slot;
    uint64_t
        depth; /* for pay/settle: 0 until a supermajority has seen it, then blocks; UINT64_MAX: finalized */
} kmy_solana_status_t;
void kmy_chain_solana_status(kmy_buf_t *out, uint64_t id, const char *tx);
kmy_rpc_word_t kmy_chain_solana_read_status(const char *text, size_t len, uint64_t id,
                                            kmy_solana_status_t *status);

/* getSignaturesForAddress: the confirmed transactions that name `address`, newest first, at most KMY_SOLANA_SIGNATURES_MAX; before: older than that one (NULL: from the newest).
   Look at each (kmy_chain_solana_transaction) that did not fail until one is the payment's, or they are older than the payment. */
typedef struct kmy_solana_signature {
    char tx[KMY_SOLANA_TX_TEXT_BYTES];
    bool failed;
    int64_t time_s; /* Unix, 0: not known */
} kmy_solana_signature_t;
void kmy_chain_solana_signatures(kmy_buf_t *out, uint64_t id,
                                 const uint8_t address[KMY_SOLANA_KEY_BYTES], const char *before);
kmy_rpc_word_t
kmy_chain_solana_read_signatures(const char *text, size_t len, uint64_t id,
                                 kmy_solana_signature_t out[KMY_SOLANA_SIGNATURES_MAX],
                                 size_t *count);

/* getTransaction.  NONE: not known at that commitment.  pre and post are borrowed from the answer. */
typedef struct kmy_solana_transaction {
    bool success;
    uint64_t slot;
    uint8_t message_hash[32];   /* SHA-256 of the message: a payment's nonce */
    kmy_json_token_t pre, post; /* token balances */
} kmy_solana_transaction_t;
void kmy_chain_solana_transaction(kmy_buf_t *out, uint64_t id, const char *tx,
                                  kmy_solana_commitment_t commitment);
/* tx: its first signature must be this one.  LOST also if it succeeded and the node gives no token balances: they are the evidence. */
kmy_rpc_word_t kmy_chain_solana_read_transaction(const char *text, size_t len, uint64_t id,
                                                 const char *tx,
                                                 kmy_solana_transaction_t *transaction);

/* What a transaction brought us of the entry's token, if all of it came from one wallet: for verify-payment.  false: it failed, brought nothing, or more than one wallet has less
   of the token than before.  There is one such figure per transaction: its log index is 0. */
typedef struct kmy_solana_received {
    uint8_t sender[KMY_SOLANA_KEY_BYTES]; /* the wallet, not its token account */
    uint64_t units;
} kmy_solana_received_t;
bool kmy_chain_solana_received(const kmy_solana_transaction_t *transaction,
                               const kmy_pay_entry_t *entry, kmy_solana_received_t *out);

/* For pay/settle: `paid`: this very message, successful, and exactly the entry's amount came from the payer.  `spent` (without paid): this very message, and it brought something else: it
   can never run again. */
typedef struct kmy_solana_evidence {
    bool paid;
    bool spent;
} kmy_solana_evidence_t;
void kmy_chain_solana_evidence(const kmy_solana_transaction_t *transaction,
                               const kmy_pay_entry_t *entry,
                               const uint8_t payer[KMY_SOLANA_KEY_BYTES], const uint8_t nonce[32],
                               kmy_solana_evidence_t *out);

/* getTokenAccountsByOwner: how much of a mint a wallet has, over all its accounts (stakes), finalized.  LOST also if the sum is above 2^64 - 1. */
void kmy_chain_solana_holding(kmy_buf_t *out, uint64_t id,
                              const uint8_t owner[KMY_SOLANA_KEY_BYTES],
                              const uint8_t mint[KMY_SOLANA_KEY_BYTES]);
/* The same confirmed: what a payer has at this moment; read as a holding. */
void kmy_chain_solana_balance(kmy_buf_t *out, uint64_t id,
                              const uint8_t owner[KMY_SOLANA_KEY_BYTES],
                              const uint8_t mint[KMY_SOLANA_KEY_BYTES]);
kmy_rpc_word_t kmy_chain_solana_read_holding(const char *text, size_t len, uint64_t id,
                                             const uint8_t owner[KMY_SOLANA_KEY_BYTES],
                                             const uint8_t mint[KMY_SOLANA_KEY_BYTES],
                                             uint64_t *units);

#endif
