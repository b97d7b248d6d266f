/* dollar 4/7   in: pay/verify (by way of the keeper)   out: pay/ledger

   Payments in the ledger: what was promised, what became of it, and the one credit it may cause.  All calls belong into a batch of
   kmy_ledger_begin .. kmy_ledger_commit (reading ones work outside as well); the caller acts on nothing before the commit.
   States and their order: docs/decisions/payments.md.

   Texts are canonical or refused (KMY_BAD_INPUT): ids 32 lower-case hex digits; transactions on eip155 chains 0x and 64 digits (either case),
   elsewhere 1..96 letters and digits; addresses on eip155 chains in either case.  What is borrowed (json, kept) is borrowed until the next
   writing call or the batch's end, whichever comes first.  *out and *acc may be NULL where nobody wants them. */
#ifndef KMY_PAY_LEDGER_PAYMENT_H
#define KMY_PAY_LEDGER_PAYMENT_H

#include "pay/ledger.h"

#define KMY_PAYMENT_ID_HEX       32
#define KMY_PAYMENT_TX_BYTES_MAX 97
#define KMY_PAYMENT_REASON_MAX   96

typedef enum {
    KMY_PAYMENT_RESERVED = 1,
    KMY_PAYMENT_VERIFIED,
    KMY_PAYMENT_SUBMITTED,
    KMY_PAYMENT_UNKNOWN,
    KMY_PAYMENT_SETTLED,
    KMY_PAYMENT_FAILED,
    KMY_PAYMENT_REVERSED, /* settled, then taken back by a reorganization */
    KMY_PAYMENT_STATES
} kmy_payment_state_t;
const char *kmy_payment_state_name(kmy_payment_state_t state); /* "reserved", ...; static */
bool kmy_payment_may_follow(kmy_payment_state_t from, kmy_payment_state_t to);

/* Texts are terminated.  json: what was presented, decoded, and needed to settle it after a restart; borrowed, not terminated. */
typedef struct kmy_payment_row {
    char id[KMY_PAYMENT_ID_HEX + 1];
    uint8_t state;     /* kmy_payment_state_t */
    uint8_t version;   /* x402 1 or 2 */
    bool query;        /* pays one request: its price is held for it when it settles */
    bool contract;     /* payer is a contract wallet: an account per chain */
    bool answered;     /* the held price was consumed, or given up */
    bool released;     /* it was given up: nothing was charged, no answer was kept */
    bool advance_open; /* its advance is neither settled nor taken back */
    char account
        [KMY_ACCOUNT_BYTES_MAX]; /* payer as CAIP-10 on the chain paid on; once settled: the account that was credited */
    char chain[81]; /* CAIP-2 */
    char asset[48];
    uint8_t payer[32];
    uint8_t nonce[32];
    uint64_t amount_units; /* base units of the token, 10^-6 USD */
    int64_t price_nusd;    /* query: what is held */
    int64_t advance_nusd;  /* credited before its chain confirmed it; 0: nothing ever was */
    int64_t created_ns;
    int64_t changed_ns;
    int64_t valid_before_s; /* INT64_MAX: none */
    uint64_t from_block;    /* the chain's head when it was submitted; 0: not known */
    char tx[KMY_PAYMENT_TX_BYTES_MAX];
    uint32_t log_index;                  /* of the Transfer in it */
    char reason[KMY_PAYMENT_REASON_MAX]; /* of a failure, x402's word */
    char client_id[129];                 /* payment-identifier extension; "": none */
    const char *json;
    uint32_t json_bytes;
} kmy_payment_row_t;

/* Writes a new payment in state RESERVED.
     KMY_DUPLICATE  it is there already: *out is what is there (json borrowed until the batch ends); nothing was written
     KMY_CONFLICT   its payer used the same client_id for another payment; *out is that one
     KMY_FULL       the payer has KMY_PAYMENTS_OPEN_MAX payments under way (P7 of the threat model)
     KMY_BAD_INPUT, KMY_IO */
#define KMY_PAYMENTS_OPEN_MAX 4
kmy_err_t kmy_ledger_payment_reserve(kmy_ledger_t *l, const kmy_payment_row_t *row,
                                     kmy_payment_row_t *out, kmy_errctx_t *ctx);
/* KMY_NOT_FOUND.  json is borrowed from the batch (outside one, or if it is not open any more: absent, json_bytes 0). */
kmy_err_t kmy_ledger_payment_get(kmy_ledger_t *l, const char *id, kmy_payment_row_t *out,
                                 kmy_errctx_t *ctx);
/* Moves it to another state but SETTLED and REVERSED, with what is known now (tx, reason, from_block of *news; empty ones leave what is there;
   NULL: nothing).  The present state again is allowed while it is not settled, to add what became known.  A failed one may be reserved or
   submitted again (the same header, tried again while it is valid): then news->json is kept anew, and KMY_FULL is possible.
   FAILED takes an open advance back.  KMY_CONFLICT: that state may not follow the present one (*out is what is there). */
kmy_err_t kmy_ledger_payment_state(kmy_ledger_t *l, const char *id, kmy_payment_state_t to,
                                   const kmy_payment_row_t *news, int64_t now_ns,
                                   kmy_payment_row_t *out, kmy_errctx_t *ctx);
/* Credits the payer of a deposit that is SUBMITTED before its chain has confirmed it: of its amount, as much as leaves all that this payer was advanced and has not
   settled at or below max_nusd (> 0), under word "advance" and ref "advance:<id>".  Once for a payment, whatever becomes of it.  It is taken back in the transaction
   that ends the payment: at its settlement, which then credits the whole amount; when it fails, where what was spent of it becomes a debt.
     KMY_DUPLICATE   it had one before
     KMY_CONFLICT    it is not submitted, or pays for a query
     KMY_NO_BALANCE  nothing is left of max_nusd, or the account is in debt
     KMY_NOT_FOUND, KMY_OVERFLOW; nothing was written, and *out and *acc are not touched */
kmy_err_t kmy_ledger_payment_advance(kmy_ledger_t *l, const char *id, int64_t max_nusd,
                                     int64_t now_ns, kmy_payment_row_t *out, kmy_account_t *acc,
                                     kmy_errctx_t *ctx);
/* Settles it: claims (chain, tx, log_index), finds or makes the payer's account, credits amount_units x 1000 nano-USD under ref "x402:<id>", and holds
   the price of a query (if the account has it when its debt is paid).  All or nothing; from any state but SETTLED.  After a reversal it is credited
   anew, under "x402:<id>.1" and so on.  On Solana a transaction is claimed whole, whatever log_index says.
     KMY_NOT_FOUND
     KMY_DUPLICATE  it was settled before; *acc is the account as it is; nothing was written
     KMY_CONFLICT   that transfer was credited under another id; nothing was written */
kmy_err_t kmy_ledger_payment_settle(kmy_ledger_t *l, const char *id, const char *tx,
                                    uint32_t log_index, int64_t now_ns, kmy_payment_row_t *out,
                                    kmy_account_t *acc, kmy_errctx_t *ctx);
/* A transfer that its sender made without us: claims and credits it.  payment_id: what the nonce of an EIP-3009 authorization that the transaction used
   gives: then the payment of that id is SETTLED by it, under ref "x402:<id>" (it is made if we never saw it, so that its header cannot be presented
   later; if what was promised under that nonce is not what moved, it becomes FAILED and what moved is credited).  NULL: a plain transfer, under ref
   "transfer:<chain>:<tx>:<log>" (the chain cut where that is longer than a reference).  No price is held: a query is answered from the balance.
   KMY_DUPLICATE / KMY_CONFLICT as above (DUPLICATE: the same account got it). */
typedef struct kmy_transfer {
    char chain[81];
    char asset[48];
    char tx[KMY_PAYMENT_TX_BYTES_MAX];
    uint32_t log_index;
    char account[KMY_ACCOUNT_BYTES_MAX]; /* sender as CAIP-10 */
    bool contract;
    uint64_t amount_units;
    const char *payment_id; /* NULL, or the id that its nonce gives */
} kmy_transfer_t;
kmy_err_t kmy_ledger_transfer_credit(kmy_ledger_t *l, const kmy_transfer_t *t, int64_t now_ns,
                                     kmy_account_t *acc, kmy_errctx_t *ctx);
/* The answer to a query's payment: consumes charged_nusd of the hold (1 to price_nusd; the rest is free again) and keeps body for 24 h.  KMY_DUPLICATE: there is one already (*kept, borrowed from the batch).
   body NULL: there is none, the hold goes back to the balance (a repetition: KMY_DUPLICATE, *kept NULL).  KMY_NO_BALANCE: a crash returned the hold and
   the account spent it elsewhere, or the payment was reversed.  KMY_CONFLICT: not settled, or no query's.  A kept body that is older than 24 h is not
   given out any more (*kept NULL).  as: what it is counted as, query or batch, with its feed and price book (its amount is charged_nusd); NULL: one query of no feed. */
kmy_err_t kmy_ledger_payment_answer(kmy_ledger_t *l, const char *id, const kmy_use_t *as,
                                    const void *body, size_t body_bytes, int64_t charged_nusd,
                                    int64_t now_ns, const void **kept, size_t *kept_bytes,
                                    kmy_account_t *acc, kmy_errctx_t *ctx);
/* The answer that was kept for it; KMY_NOT_FOUND: none, or none any more.  Inside a batch only. */
kmy_err_t kmy_ledger_payment_kept(kmy_ledger_t *l, const char *id, int64_t now_ns,
                                  const void **kept, size_t *kept_bytes, kmy_errctx_t *ctx);
/* Queries that settled and that nobody answered: looks at the next few holds, from where the last call ended, and gives the first back whose payment settled at
   or before until_ns, as kmy_ledger_payment_answer without a body does; *out and *acc are its.  KMY_OK with out->id "": none among those, call again.
   KMY_NOT_FOUND: the last hold was seen; the next call begins anew. */
kmy_err_t kmy_ledger_hold_expire(kmy_ledger_t *l, int64_t until_ns, int64_t now_ns,
                                 kmy_payment_row_t *out, kmy_account_t *acc, kmy_errctx_t *ctx);
/* A reorganization took it back: what is still free goes, the rest becomes the account's debt, which the next credits pay first; an account in debt is blocked (its
   balance is 0, so nothing can be leased).  A hold of it is given back first; its claim is free again, since the transaction may be mined once more.
   KMY_DUPLICATE: it is reversed already.  KMY_CONFLICT: it is not settled. */
kmy_err_t kmy_ledger_payment_reverse(kmy_ledger_t *l, const char *id, int64_t now_ns,
                                     kmy_account_t *acc, kmy_errctx_t *ctx);
/* Every payment that is open (reserved, verified, submitted, unknown), in order of id; false stops.  Inside a batch json is there.  The visitor
   does not call the ledger. */
typedef bool kmy_ledger_payment_visit_t(void *arg, const kmy_payment_row_t *row);
kmy_err_t kmy_ledger_visit_open_payments(kmy_ledger_t *l, kmy_ledger_payment_visit_t *visit,
                                         void *arg, kmy_errctx_t *ctx);
/* The next one behind that id ("": the first).  KMY_NOT_FOUND: there is none. */
kmy_err_t kmy_ledger_next_open_payment(kmy_ledger_t *l, const char *after_id,
                                       kmy_payment_row_t *out, kmy_errctx_t *ctx);
/* The next one behind that id ("": the first) that is settled and changed at or after since_ns.  Looks at the next 1024 at most: KMY_OK with another state in *out, of which
   only id and state hold: none among those, call again behind it.  KMY_NOT_FOUND: there is none. */
kmy_err_t kmy_ledger_next_settled_payment(kmy_ledger_t *l, const char *after_id, int64_t since_ns,
                                          kmy_payment_row_t *out, kmy_errctx_t *ctx);
/* Sign-in nonces, 1..191 bytes: KMY_DUPLICATE if it was spent.  Forgotten a day after expires_ns (clocks jump), by a later call. */
kmy_err_t kmy_ledger_spend_nonce(kmy_ledger_t *l, const char *nonce, int64_t expires_ns,
                                 int64_t now_ns, kmy_errctx_t *ctx);
/* The account of a payer as CAIP-10 (see addresses in payments.md): its name, or KMY_NOT_FOUND if it never paid. */
kmy_err_t kmy_ledger_account_of_payer(kmy_ledger_t *l, const char *payer, bool contract,
                                      kmy_account_t *out, kmy_errctx_t *ctx);

#endif
