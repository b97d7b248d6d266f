/* dollar 1/7 and 4/7   in: engine/routes, engine/stream (shard)   out: engine/cashier, and back

   A slip: one payment, transfer or sign-in, on its way from a shard to the cashier and back.  The memory belongs to whoever holds its index:
   the shard fills the question and pushes the index, the cashier fills the answer and pushes it back.  Nothing in it is owned, nothing points
   anywhere.  docs/decisions/payments.md has the whole way. */
#ifndef KMY_ENGINE_SLIP_H
#define KMY_ENGINE_SLIP_H

#include "base/err.h"
#include "base/limits.h"
#include "pay/use.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    KMY_SLIPS =
        1024, /* of each shard: payments under way at once; a thousand agents may pay in the same second */
    KMY_SLIP_HEADER_BYTES_MAX = 16384, /* base64 of KMY_PAYMENT_BYTES_MAX and of a sign-in */
    KMY_SLIP_BODY_BYTES_MAX = 65536,   /* an answer that is kept for the same header */
    KMY_SLIP_AMOUNTS_MAX = 4,
    KMY_PAYMENT_ID_BYTES = 33, /* 32 hex digits, terminated */
    KMY_TX_BYTES_MAX = 97,     /* 0x and 64 digits, or base58 of 64 bytes; terminated */
};

typedef enum {
    KMY_SLIP_DEPOSIT = 1, /* header pays one of amounts_nusd; the answer is a token */
    KMY_SLIP_QUERY,       /* header pays amounts_nusd[0] for the request that is parked */
    KMY_SLIP_ANSWER, /* that request's answer, to be kept: payment_id, body; comes back with what was kept first */
    KMY_SLIP_RELEASE, /* there will be none: the price stays on the account; payment_id.  DONE: by this slip; AGAIN: one was kept, here it is; REFUSED, CONFLICT: it was given up before */
    KMY_SLIP_TRANSFER, /* tx, network: a transfer the payer made alone; account: whose it must be; body: the shard's own, the token that was shown */
    KMY_SLIP_SIGNIN,   /* header is SIGN-IN-WITH-X: the answer is an account for a token */
    KMY_SLIP_STATE,    /* payment_id: how does it stand? */
    KMY_SLIP_STAKE,    /* account: what has it staked?  Always DONE */
} kmy_slip_kind_t;

typedef enum {
    KMY_SLIP_DONE = 1,  /* paid, credited, signed in, found: the answer's members hold */
    KMY_SLIP_AGAIN,     /* a QUERY that was answered before: body has the same bytes */
    KMY_SLIP_PENDING,   /* payment_id, state: not known yet; ask again */
    KMY_SLIP_REFUSED,   /* err, reason, detail: nothing was taken */
    KMY_SLIP_NOT_FOUND, /* STATE of an id we do not know; QUERY, known_only: nothing was answered for it; SIGNIN of an address that never paid: account is the address, proven */
} kmy_slip_result_t;

typedef struct kmy_slip {
    /* the question: the shard's */
    uint32_t kind;
    uint32_t conn; /* who waits; not looked at by the cashier */
    uint32_t gen;
    uint32_t ask; /* the shard's own word */
    uint32_t
        version; /* by which header it came: 1 X-PAYMENT, 2 PAYMENT-SIGNATURE, 0 a pay frame: either */
    uint32_t header_bytes;
    uint32_t amounts_count;
    uint32_t body_bytes; /* ANSWER; and of what comes back */
    uint32_t
        known_only; /* QUERY, for what cannot be sold now: the answer that is kept for it (AGAIN), or that none is any more
                       (REFUSED, KMY_CONFLICT); NOT_FOUND: it bought none, and nothing was taken */
    int64_t amounts_nusd
        [KMY_SLIP_AMOUNTS_MAX]; /* what this route offers; each is rounded up to base units */
    kmy_use_t
        use; /* QUERY: price book of what it offers.  ANSWER: what it is counted as, feed as in engine/uses.h */
    int64_t deadline_ns;    /* monotonic: PENDING at the latest then */
    char resource_url[512]; /* what a v2 payment must name, if it names one; "": not looked at */
    char account
        [KMY_ACCOUNT_BYTES_MAX]; /* the payer must be this one; "": anybody.  Comes back: the payer's account */
    char network[81];          /* TRANSFER: v1 name or CAIP-2.  Comes back: CAIP-2 of the payment */
    char tx[KMY_TX_BYTES_MAX]; /* TRANSFER.  Comes back: the transaction, "" if none yet */
    char payment_id[KMY_PAYMENT_ID_BYTES]; /* ANSWER, RELEASE, STATE.  Comes back */

    /* the answer: the cashier's */
    uint32_t result;       /* kmy_slip_result_t */
    int32_t err;           /* kmy_err_t of a REFUSED: status and code of the problem */
    uint32_t paid_version; /* x402 version the payment was written in: 1 or 2 */
    uint32_t
        exposed; /* DEPOSIT: the authorization was submitted, or its nonce used, before this header came, or that is not known yet: a chain
                    shows everybody what it takes to write that header, so who brings it now need not be who signed it, and gets no token */
    char state[12]; /* reserved, verified, submitted, settled, unknown, failed */
    char reason
        [96]; /* x402's word for a refusal ("invalid_exact_evm_payload_signature"); "" if none */
    char detail[192];      /* for people */
    char payer[48];        /* address as x402 receipts spell it */
    int64_t credited_nusd; /* by this payment */
    int64_t balance_nusd;  /* of the account after it, holds of others not counted */
    int64_t
        charged_nusd; /* QUERY that is DONE: what is held for its answer.  ANSWER, the shard's word: what that costs, 1 to what is held.  RELEASE: as it was */
    uint64_t stake;   /* STAKE: whole tokens that count now; 0 also while nobody knows */
    int64_t again_ns; /* STAKE: monotonic: ask again then */

    char header[KMY_SLIP_HEADER_BYTES_MAX];
    char body[KMY_SLIP_BODY_BYTES_MAX]; /* ANSWER: the HTTP answer's body */
} kmy_slip_t;

#endif
