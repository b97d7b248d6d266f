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

#endif
