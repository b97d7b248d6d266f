/* dollar 7/7   in: engine/cashier   out: engine/keeper (through the cashier's jobs) */
/* settle: what is done next about one payment.

   A table of phases and events that knows no socket, no clock and no disk: the cashier tells it what happened and does what it says.  One question is under way at
   a time; an answer to none is let pass.  It holds to four rules, whatever comes in whichever order:
     - no credit without evidence of the chain (a network without rpc: without the facilitator's whole and fitting answer), `confirmations` deep
     - no second submission but of one that was refused, or unanswered for 10 minutes (5 s where we submit it ourselves: nobody else is at it, and if its
    transaction is still on its way after all, the second one fails and costs us gas), with the chain saying unused; a network without rpc is asked by repeating it
    (there is no other way, and an authorization moves money once)
     - no failure for good while the transfer may still land, by the chain's own clock
     - what must survive a crash is saved before it is acted on

   Who says what: docs/decisions/payments.md.  Pure; any thread, one at a time for each kmy_settle_t; nothing blocks or allocates. */
#ifndef KMY_PAY_SETTLE_H
#define KMY_PAY_SETTLE_H

#include "pay/ledger_payment.h"

#include <stdbool.h>
#include <stdint.h>

#define KMY_SETTLE_WAIT_S_MIN   1 /* doubling at each wait ... */
#define KMY_SETTLE_WAIT_S_MAX   60
#define KMY_SETTLE_DEEPER_S_MAX 4 /* ... and while only blocks on top are missing: two of Base's */
#define KMY_SETTLE_VERIFIES_MAX 5 /* unanswered, then it counts as refused */
#define KMY_SETTLE_SUBMITS_MAX  5 /* one and four that the payer asked for by sending it again */
#define KMY_SETTLE_AGAIN_S      5 /* unused so long after submission, and by us: submitted again */
#define KMY_SETTLE_UNKNOWN_S    600 /* unused so long after submission: nobody is at it any more */
#define KMY_SETTLE_WATCH_S      3600 /* a refused one is watched so long, or until nothing can land */
#define KMY_SETTLE_LOGS_BLOCKS  1000 /* of one question; what nodes allow at least */
#define KMY_SETTLE_LOOK_BACK_BLOCKS                                                                \
    100000 /* at most, for an authorization that was used before we submitted it: two days of Base */
#define KMY_SETTLE_DRY_ROUNDS     8 /* used, but its logs are nowhere: 1 + 2 + ... + 60 s, 3 minutes */
#define KMY_SETTLE_ROUND_ASKS_MAX 256 /* questions until the next wait: LOOK_BACK / LOGS and some */
#define KMY_SETTLE_SOLANA_BLOCKS                                                                   \
    750 /* a blockhash is good for 150; 5 minutes at 0.4 s, and our height is the finalized one, 32 behind */
#define KMY_SETTLE_BLOCKS_BACK                                                                     \
    16 /* logs are looked for from so far before submission: nodes differ by some blocks */

/* What does not change about a payment. */
typedef struct kmy_settle_terms {
    bool solana;
    bool own; /* we submit it ourselves, and know what is on its way: it is tried again sooner */
    bool has_rpc; /* false: the facilitator's word is all there is */
    bool
        ask_verify; /* there is something to ask before: a contract wallet's signature, a balance */
    uint32_t
        confirmations; /* its own block counted; 0 is 1.  Solana: 1 "confirmed", more: until so many, or finalized */
    int64_t created_s;      /* Unix: when it was presented */
    int64_t valid_before_s; /* Unix; INT64_MAX: none */
} kmy_settle_terms_t;

typedef enum {
    KMY_SETTLE_NEW,
    KMY_SETTLE_VERIFYING,
    KMY_SETTLE_PROBING,
    KMY_SETTLE_SUBMITTING,
    KMY_SETTLE_LOOKING,
    KMY_SETTLE_SEARCHING,
    KMY_SETTLE_CREDITING,
    KMY_SETTLE_RESTING,
    KMY_SETTLE_ASLEEP, /* failed, may be tried again: only RETRY wakes it */
    KMY_SETTLE_OVER,   /* settled, or failed for good: it can be forgotten */
    KMY_SETTLE_PHASES
} kmy_settle_phase_t;

typedef struct kmy_settle {
    kmy_settle_terms_t terms;
    /* What the ledger keeps (kmy_payment_row_t has them under these names). */
    kmy_payment_state_t state;
    uint64_t
        from_block; /* EVM: logs are looked for from here; Solana: finalized height at submission; 0: not known */
    char tx[KMY_PAYMENT_TX_BYTES_MAX]; /* where to look; CREDIT: the transaction */
    char reason[KMY_PAYMENT_REASON_MAX];
    /* What a crash may take. */
    kmy_settle_phase_t phase;
    uint32_t log_index; /* CREDIT */
    bool submit_wanted;
    bool by_logs; /* tx was found on the chain itself, not named by anybody */
    bool lost;    /* a submission stayed unanswered: without rpc a later no proves nothing */
    bool agreed;  /* no rpc: the facilitator said yes, only the ledger is still to do it */
    uint8_t verifies, submits, dry;
    uint32_t waits; /* in a row */
    uint32_t asks;  /* since the last wait */
    uint64_t head;
    uint64_t over_block; /* first block seen whose time is not before valid_before; 0: none */
    uint64_t scan, scan_to;
    int64_t unknown_from_s, watch_until_s;
} kmy_settle_t;

typedef enum {
    KMY_SETTLE_EV_START, /* once, behind kmy_settle_init */
    KMY_SETTLE_EV_TIMER, /* the WAIT is over */
    KMY_SETTLE_EV_RETRY, /* the payer sent it again: a refused one is tried again */
    KMY_SETTLE_EV_VERIFY_YES,
    KMY_SETTLE_EV_VERIFY_NO, /* reason */
    KMY_SETTLE_EV_VERIFY_LOST,
    KMY_SETTLE_EV_SETTLE_YES,     /* tx */
    KMY_SETTLE_EV_SETTLE_PENDING, /* tx */
    KMY_SETTLE_EV_SETTLE_NO,      /* reason */
    KMY_SETTLE_EV_SETTLE_LOST,    /* no answer, or UNKNOWN; tx if it named one */
    KMY_SETTLE_EV_AUTHORIZATION,  /* used, head, time_s */
    KMY_SETTLE_EV_LOGS_USED,      /* tx */
    KMY_SETTLE_EV_LOGS_CANCELLED, /* tx: likewise looked at */
    KMY_SETTLE_EV_LOGS_NONE,
    KMY_SETTLE_EV_RECEIPT_PAID, /* depth, log_index */
    KMY_SETTLE_EV_RECEIPT_OTHER, /* depth; spent: the authorization was used up or cancelled in it, without paying us */
    KMY_SETTLE_EV_RECEIPT_NONE,
    KMY_SETTLE_EV_CHAIN_LOST,      /* whichever question to the chain it was */
    KMY_SETTLE_EV_CREDITED,        /* the ledger did it, or had done it */
    KMY_SETTLE_EV_CREDIT_CONFLICT, /* that transfer was credited under another id */
    KMY_SETTLE_EV_SAVE_FAILED, /* the disk refused what CREDIT, or an action with `save`, wanted.  In the latter case the cashier puts the kmy_settle_t from before that step back first */
    KMY_SETTLE_EVENTS
} kmy_settle_event_kind_t;

typedef struct kmy_settle_event {
    kmy_settle_event_kind_t kind;
    const char *tx;     /* well formed, or NULL */
    const char *reason; /* or NULL */
    bool used;
    bool spent;
    uint32_t log_index;
    uint64_t depth; /* kmy_settle_depth; UINT64_MAX: final */
    uint64_t
        head; /* EVM: number of the latest block, asked for before the rest; Solana: finalized block height, likewise */
    int64_t time_s; /* EVM: that block's time */
} kmy_settle_event_t;

typedef enum {
    KMY_SETTLE_NONE, /* nothing new: what was asked for stays asked for */
    KMY_SETTLE_ASK_VERIFY,
    KMY_SETTLE_ASK_AUTHORIZATION, /* EVM: latest block, then authorizationState there; Solana: finalized height (used: false) */
    KMY_SETTLE_SUBMIT, /* /settle; an answer later than the cashier's patience (90 s and more) is SETTLE_LOST */
    KMY_SETTLE_ASK_RECEIPT, /* head, then the receipt of s->tx, of the same node */
    KMY_SETTLE_ASK_LOGS, /* EVM: from .. to, both included, to UINT64_MAX: the latest (as in pay/chain_evm); Solana: look for the message among the payer's transactions */
    KMY_SETTLE_WAIT,     /* TIMER at until_ns */
    KMY_SETTLE_CREDIT, /* s->tx, s->log_index: CREDITED, CREDIT_CONFLICT or SAVE_FAILED comes back */
    KMY_SETTLE_FAIL, /* s->reason; `final`: for good, else until_ns says when the watch goes on (0: it is asleep) */
} kmy_settle_action_kind_t;

typedef struct kmy_settle_action {
    kmy_settle_action_kind_t kind;
    bool save;        /* s->state, tx, from_block, reason belong on disk before this is done */
    bool final;       /* FAIL */
    int64_t until_ns; /* monotonic */
    uint64_t from, to;
} kmy_settle_action_t;

typedef struct kmy_settle_now {
    int64_t mono_ns; /* monotonic: for waits */
    int64_t unix_s;  /* for valid_before only where the chain's clock cannot be had */
} kmy_settle_now_t;

/* A payment as the ledger has it (new or after a crash); START is the first event.  tx, reason: "" if none. */
void kmy_settle_init(kmy_settle_t *s, const kmy_settle_terms_t *terms, kmy_payment_state_t state,
                     uint64_t from_block, const char *tx, const char *reason);
kmy_settle_action_t kmy_settle_step(kmy_settle_t *s, const kmy_settle_event_t *event,
                                    kmy_settle_now_t now);

/* Blocks from `block` to `head`, both counted; 0 if block is above head. */
static inline uint64_t kmy_settle_depth(uint64_t head, uint64_t block)
{
    return head < block ? 0 : head - block == UINT64_MAX ? UINT64_MAX : head - block + 1;
}

#endif
