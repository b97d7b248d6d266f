/* What the simulation's model of the ledger holds (sim_ledger.c): accounts, payments, claims, references and use, as plain numbers. */
#ifndef KMY_TESTS_SIM_LEDGER_MODEL_H
#define KMY_TESTS_SIM_LEDGER_MODEL_H

#include "tests/ledger_payment_rig.h"

enum { PAYERS = 3, PAYMENTS = 21, TXS = 6, LOGS = 2, SHARDS = 3 };
enum { OPERATOR = PAYERS + 1, KIDS = 3, ACCOUNTS = OPERATOR + 1 + KIDS };
enum { REFS = 6, NONCES = 3, FEEDS = 3, USES = 1024 };
enum { ADVANCE = 2500000 }; /* the most that is ever configured; a payment is some 1,000,000 */
#define HOUR (INT64_C(3600) * 1000000000)

static const char *const chains[2] = { BASE, MAIN };

/* Slots: a key (payers 0, 1) has one account, the contract wallet (payer 2) one on each chain, then comes the operator's, and then those of
   allowances, each made once. */
typedef struct macc {
    bool there;
    uint8_t chain; /* of the first credit: its name */
    int64_t credited, balance, consumed, debt, leased[SHARDS], held;
    int64_t reorged; /* of what it spent, a chain took that much back */
    int64_t moved;
    /* An allowance's. */
    bool open, revoked;
    uint8_t parent;
    int64_t amount, due;
} macc_t;

typedef struct mpay {
    bool there, seen; /* seen: as a header, and not only as a nonce on the chain */
    bool query, answered, released, hold;
    uint8_t state, payer, chain, tx, log, body;
    bool client; /* carries its payer's own id, which is one word for all of them */
    int64_t amount, price, kept_until;
    int64_t advance;   /* that it had */
    bool advance_open; /* and has */
} mpay_t;

typedef struct mclaim {
    uint8_t kind; /* 0: free, 1: a payment's, 2: plain */
    uint8_t slot;
    int64_t amount;
} mclaim_t;

typedef struct muse {
    int64_t hour, count, nusd;
    uint8_t slot, feed, mode; /* feed: 0 several, else behind its name's number */
} muse_t;

typedef struct model {
    macc_t acc[ACCOUNTS];
    mpay_t pay[PAYMENTS];
    mclaim_t claim[2][TXS][LOGS];
    struct {
        bool there;
        uint8_t slot;
        int64_t amount;
    } ref[REFS];
    int64_t nonce_until[NONCES]; /* 0: not spent */
    muse_t use[USES];
    unsigned uses;
} model_t;

/* Comes in free: the debt has it first. */
static inline void come_in(macc_t *a, int64_t nusd)
{
    int64_t pays = a->debt < nusd ? a->debt : nusd;
    a->debt -= pays;
    a->balance += nusd - pays;
}

static inline uint8_t slot_of(unsigned payer, unsigned chain)
{
    return (uint8_t)(payer < 2 ? payer : 2 + chain);
}

static inline bool is_open(const mpay_t *p)
{
    return p->there && p->state <= KMY_PAYMENT_UNKNOWN;
}

static inline unsigned open_of(const model_t *m, unsigned payer)
{
    unsigned n = 0;
    for (int i = 0; i < PAYMENTS; i++)
        n += is_open(&m->pay[i]) && m->pay[i].payer == payer;
    return n;
}

/* Comes out: what is not free any more is owed. */
static inline int64_t go_out(macc_t *a, int64_t nusd)
{
    int64_t freed = a->balance < nusd ? a->balance : nusd;
    a->balance -= freed;
    a->credited -= nusd;
    a->debt += nusd - freed;
    return nusd - freed;
}

static inline kmy_payment_row_t row_of(unsigned n, unsigned payer, unsigned chain)
{
    kmy_payment_row_t r = pay_row(n, payer);
    snprintf(r.chain, sizeof r.chain, "%s", chains[chain]);
    snprintf(r.account, sizeof r.account, "%s", pay_payer(chains[chain], payer));
    r.contract = payer == 2;
    r.query = n % 2;
    r.amount_units = 1000 + n;
    r.price_nusd = r.query ? (int64_t)r.amount_units * 1000 - 100 : 0;
    if (n % 4 == 0)
        snprintf(r.client_id, sizeof r.client_id, "order-abcdefghijklmn");
    return r;
}

/* The first that is due; of two at once the one whose name comes first. */
static inline macc_t *first_due(model_t *m, int64_t now)
{
    macc_t *first = NULL;
    for (unsigned i = OPERATOR + 1; i < ACCOUNTS; i++) {
        macc_t *kid = &m->acc[i];
        if (kid->open && kid->due <= now && (!first || kid->due < first->due))
            first = kid;
    }
    return first;
}

#endif
