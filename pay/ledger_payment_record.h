/* dollar 4/7   in: pay/ledger_payment   out: LMDB pages

   A payment's records as bytes, by the rules of ledger_record.h.  What a state changes (payments) is apart from what was promised (promises) and
   from what was presented (presented, kilobytes), since a page is what a commit writes. */
#ifndef KMY_PAY_LEDGER_PAYMENT_RECORD_H
#define KMY_PAY_LEDGER_PAYMENT_RECORD_H

#include "pay/ledger_payment.h"
#include "pay/ledger_record.h"

/* -- ids: 32 lower-case hex digits <-> 16 bytes -- */
#define KMY_PAYMENT_ID_BYTES_RAW 16
bool kmy_payment_id_encode(const char *id, uint8_t out[KMY_PAYMENT_ID_BYTES_RAW]);
void kmy_payment_id_decode(const uint8_t *in, char out[KMY_PAYMENT_ID_HEX + 1]);

/* A payment as it is stored: row.account is the payer as promised until the caller looks the account's name up. */
typedef struct kmy_stored_payment {
    kmy_payment_row_t row;
    uint64_t account_id;    /* that was credited last; 0: none yet */
    uint64_t entry_id;      /* of the credit of its settlement */
    uint64_t advance_entry; /* of its advance's credit */
    uint32_t reversals;     /* how often a chain took it back */
} kmy_stored_payment_t;

/* -- payments: id -> state, answered, released, log_index, changed, from_block, account, entry, reversals, advance, tx, reason -- */
#define KMY_PAYMENT_HEAD_BYTES    48
#define KMY_PAYMENT_ADVANCE_BYTES 16 /* behind it, where there was an advance */
#define KMY_PAYMENT_STATE_BYTES_MAX                                                                \
    (KMY_PAYMENT_HEAD_BYTES + KMY_PAYMENT_ADVANCE_BYTES + KMY_PAYMENT_TX_BYTES_MAX +               \
     KMY_PAYMENT_REASON_MAX)
size_t kmy_payment_state_encode(const kmy_stored_payment_t *p,
                                uint8_t out[KMY_PAYMENT_STATE_BYTES_MAX]);
/* Fills those members and leaves the others. */
bool kmy_payment_state_decode(const void *bytes, size_t len, kmy_stored_payment_t *p);

/* -- promises: id -> the rest of a row but json -- */
#define KMY_PROMISE_HEAD_BYTES 104
#define KMY_PROMISE_BYTES_MAX  (KMY_PROMISE_HEAD_BYTES + KMY_ACCOUNT_BYTES_MAX + 81 + 48 + 129)
size_t kmy_promise_encode(const kmy_payment_row_t *r, uint8_t out[KMY_PROMISE_BYTES_MAX]);
bool kmy_promise_decode(const void *bytes, size_t len, kmy_payment_row_t *r);

/* -- open_payers, client_ids: payer and another key behind it -- */
#define KMY_PAYER_BYTES          32
#define KMY_PAYER_OPEN_KEY_BYTES (KMY_PAYER_BYTES + KMY_PAYMENT_ID_BYTES_RAW)
#define KMY_CLIENT_KEY_BYTES_MAX (KMY_PAYER_BYTES + 129)

/* -- claims: chain|tx|log -> the credit.  false: not canonical, and cannot be made so (KMY_BAD_INPUT to a caller). -- */
#define KMY_CLAIM_KEY_BYTES_MAX (81 + 1 + KMY_PAYMENT_TX_BYTES_MAX + 1 + 10)
bool kmy_claim_key(const char *chain, const char *tx, uint32_t log_index,
                   char out[KMY_CLAIM_KEY_BYTES_MAX]); /* terminated */
typedef struct kmy_claim {
    bool payment; /* else a plain transfer, and id is zeros */
    uint64_t account_id;
    uint64_t entry_id;
    int64_t amount_nusd;
    uint8_t id[KMY_PAYMENT_ID_BYTES_RAW];
} kmy_claim_t;
#define KMY_CLAIM_BYTES 48
void kmy_claim_encode(const kmy_claim_t *c, uint8_t out[KMY_CLAIM_BYTES]);
bool kmy_claim_decode(const void *bytes, size_t len, kmy_claim_t *c);

/* References of the credits they cause: of a payment x402:<id>, .1 behind it for the one after its first reversal and so on; of a plain transfer
   transfer:<chain>:<tx>:<log>, the chain cut where all of it would not fit (Solana's signature alone has 88 characters). */
void kmy_payment_ref(const kmy_stored_payment_t *p, char ref[KMY_LEDGER_REF_BYTES_MAX + 1]);
/* Of its advance: advance:<id>. */
#define KMY_ADVANCE_WORD "advance"
void kmy_advance_ref(const kmy_stored_payment_t *p, char ref[KMY_LEDGER_REF_BYTES_MAX + 1]);
void kmy_claim_ref(const char *claim_key, char ref[KMY_LEDGER_REF_BYTES_MAX + 1]);

/* -- holds: account, id -> number -- */
#define KMY_HOLD_KEY_BYTES (KMY_ID_BYTES + KMY_PAYMENT_ID_BYTES_RAW)

/* -- answers: id -> version and zeros, expiry, body -- */
#define KMY_ANSWER_HEAD_BYTES 16

/* A CAIP-10 payer as accounts are named: an EVM address in lower case.  false: no such thing. */
bool kmy_payer_canonical(const char *payer, char out[KMY_ACCOUNT_BYTES_MAX]);
/* The key of addresses: eip155:0x...; false: not an EVM address (it has no such row).  payer is canonical. */
bool kmy_payer_address(const char *payer, char out[KMY_ACCOUNT_BYTES_MAX]);

#endif
