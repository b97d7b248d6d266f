/* dollar 7/7   in: engine/cashier   out: engine/cashier (pay/settle) */
/* facilitator: what is said to an x402 facilitator and what its answers are worth.

   A facilitator submits the payer's authorization and pays the gas.  It is a stranger: it may lie, be slow, answer for another payment, or
   settle and lose the answer.  So of an answer only three words are believed at all (yes, no, pending), only if everything in it that names a payment
   names ours, and everything else is KMY_FACILITATOR_UNKNOWN, which never means "failed".  The transaction that an answer names is a hint
   where to look on the chain.

   Source: x402 specification, sections on the facilitator interface (POST /verify, POST /settle, GET /supported), v1 and v2, and the published packages
   1.2.0 and 2.27.0.  Pure and bounded: any thread; nothing blocks or allocates. */
#ifndef KMY_PAY_FACILITATOR_H
#define KMY_PAY_FACILITATOR_H

#include "pay/entry_json.h"
#include "wire/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A request: the decoded payment (3/4 of KMY_PAYMENT_BYTES_MAX), an entry of at most 700 bytes, three texts of ours. */
#define KMY_FACILITATOR_REQUEST_BYTES_MAX 16384
#define KMY_FACILITATOR_ANSWER_BYTES_MAX  65536 /* /supported of a big one has 6 KiB */
#define KMY_FACILITATOR_REASON_BYTES_MAX  96    /* as in the ledger, with its terminator */
#define KMY_FACILITATOR_TX_BYTES_MAX      97    /* 0x and 64 digits, or base58 of 64 bytes */

/* The body of POST /verify and of POST /settle (they are the same), appended to *out.
     version    of the payment, 1 or 2: decides the shape of the requirement
     payment    the decoded payment as presented, JSON
     entry      ours, with its amount: never what the client says it was offered
   false: payment is no JSON object, or *out is too small (out->overflow); *out then holds rubbish that must not be sent. */
bool kmy_facilitator_request(kmy_buf_t *out, int version, const char *payment, size_t payment_len,
                             const kmy_pay_entry_t *entry, const kmy_pay_resource_t *resource);

typedef enum {
    KMY_FACILITATOR_UNKNOWN, /* no answer, garbage, or one that is not about our payment */
    KMY_FACILITATOR_YES,
    KMY_FACILITATOR_NO,
    KMY_FACILITATOR_PENDING, /* settle: submitted (tx), not confirmed */
} kmy_facilitator_word_t;

typedef struct kmy_facilitator_answer {
    kmy_facilitator_word_t word;
    bool payer_named;  /* it says who paid, and that is our payer */
    bool amount_named; /* it says how much, and that is our amount */
    char tx
        [KMY_FACILITATOR_TX_BYTES_MAX]; /* well formed, else "".  Also with UNKNOWN and NO: a place to look */
    char reason
        [KMY_FACILITATOR_REASON_BYTES_MAX]; /* its word for a NO, without control characters; "" if it gives none.  UNKNOWN: ours, what was wrong */
    char message[192];                      /* what it says for people; "" */
} kmy_facilitator_answer_t;

/* Both read an HTTP answer of any status (0: there was none) and always fill *out.  payer: 20 bytes on EVM, 32 on Solana.
   A member that is null counts as absent.  A body that refuses is believed under 2xx and under those 4xx that speak of the payment (not 401,
   403, 404, 405, 407, 408, 429, which speak of us); a body that agrees only under 2xx. */
void kmy_facilitator_read_verify(const char *text, size_t len, int http_status,
                                 const kmy_pay_entry_t *entry, const uint8_t *payer,
                                 kmy_facilitator_answer_t *out);
void kmy_facilitator_read_settle(const char *text, size_t len, int http_status,
                                 const kmy_pay_entry_t *entry, const uint8_t *payer,
                                 kmy_facilitator_answer_t *out);

/* What GET /supported says of an entry's network (scheme exact). */
typedef struct kmy_facilitator_support {
    bool v1, v2;
    char fee_payer
        [KMY_PAY_ADDRESS_BYTES_MAX]; /* Solana: what extra.feePayer of our offer must be; "" if it gives none that is a key */
} kmy_facilitator_support_t;

/* false: no answer (*out is then all zero), which says nothing of what it supports. */
bool kmy_facilitator_read_supported(const char *text, size_t len, int http_status,
                                    const kmy_pay_entry_t *entry, kmy_facilitator_support_t *out);

/* true if text is a transaction's name on the entry's chain: 0x and 64 digits, or base58 of 64 bytes. */
bool kmy_facilitator_is_tx(const kmy_pay_entry_t *entry, const char *text, size_t len);

#endif
