/* What tests of payments in the ledger share: payments, transfers and transactions by number. */
#ifndef KMY_TESTS_LEDGER_PAYMENT_RIG_H
#define KMY_TESTS_LEDGER_PAYMENT_RIG_H

#include "tests/ledger_rig.h"

#include "pay/ledger_payment.h"

#define BASE   "eip155:8453"
#define MAIN   "eip155:1"
#define SOLANA "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
#define JSON   "{\"x402Version\":2}"

static inline void pay_id(char id[KMY_PAYMENT_ID_HEX + 1], unsigned n)
{
    snprintf(id, KMY_PAYMENT_ID_HEX + 1, "%032x", n);
}

static inline const char *pay_tx(unsigned n)
{
    static char texts[8][KMY_PAYMENT_TX_BYTES_MAX];
    static unsigned at;
    char *text = texts[at++ % 8];
    snprintf(text, KMY_PAYMENT_TX_BYTES_MAX, "0x%064x", n);
    return text;
}

/* Payer p as CAIP-10 on that chain. */
static inline const char *pay_payer(const char *chain, unsigned p)
{
    static char texts[8][KMY_ACCOUNT_BYTES_MAX];
    static unsigned at;
    char *text = texts[at++ % 8];
    if (strncmp(chain, "eip155:", 7) == 0)
        snprintf(text, KMY_ACCOUNT_BYTES_MAX, "%s:0x%040x", chain, p);
    else
        snprintf(text, KMY_ACCOUNT_BYTES_MAX, "%s:Payer%u", chain, p);
    return text;
}

/* Payment n of payer p: one dollar on Base, a deposit. */
static inline kmy_payment_row_t pay_row(unsigned n, unsigned p)
{
    kmy_payment_row_t row = { .version = 2,
                              .amount_units = 1000000,
                              .created_ns = NOW,
                              .valid_before_s = NOW / 1000000000 + 60,
                              .json = JSON,
                              .json_bytes = sizeof JSON - 1 };
    pay_id(row.id, n);
    snprintf(row.chain, sizeof row.chain, "%s", BASE);
    snprintf(row.asset, sizeof row.asset, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
    snprintf(row.account, sizeof row.account, "%s", pay_payer(BASE, p));
    row.payer[19] = (uint8_t)p;
    row.payer[18] = (uint8_t)(p >> 8);
    row.nonce[31] = (uint8_t)n;
    return row;
}

/* The same as a query that costs a tenth of a cent. */
static inline kmy_payment_row_t pay_query(unsigned n, unsigned p)
{
    kmy_payment_row_t row = pay_row(n, p);
    row.query = true;
    row.amount_units = 1000;
    row.price_nusd = 1000 * 1000;
    return row;
}

/* What payment n would be as a transfer of payer p's own. */
static inline kmy_transfer_t pay_transfer(unsigned tx, uint32_t log, unsigned p)
{
    kmy_transfer_t t = { .log_index = log, .amount_units = 1000000 };
    snprintf(t.chain, sizeof t.chain, "%s", BASE);
    snprintf(t.asset, sizeof t.asset,
             "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"); /* as logs say it */
    snprintf(t.tx, sizeof t.tx, "%s", pay_tx(tx));
    snprintf(t.account, sizeof t.account, "%s", pay_payer(BASE, p));
    return t;
}

static inline kmy_err_t pay_reserve(rig_t *r, kmy_payment_row_t row, kmy_payment_row_t *out)
{
    return kmy_ledger_payment_reserve(r->ledger, &row, out, &r->ctx);
}
static inline kmy_err_t pay_state(rig_t *r, unsigned n, kmy_payment_state_t to)
{
    char id[KMY_PAYMENT_ID_HEX + 1];
    pay_id(id, n);
    return kmy_ledger_payment_state(r->ledger, id, to, NULL, NOW, NULL, &r->ctx);
}
static inline kmy_err_t pay_settle(rig_t *r, unsigned n, unsigned tx, uint32_t log,
                                   kmy_account_t *acc)
{
    char id[KMY_PAYMENT_ID_HEX + 1];
    pay_id(id, n);
    return kmy_ledger_payment_settle(r->ledger, id, pay_tx(tx), log, NOW, NULL, acc, &r->ctx);
}
static inline kmy_err_t pay_reverse(rig_t *r, unsigned n, kmy_account_t *acc)
{
    char id[KMY_PAYMENT_ID_HEX + 1];
    pay_id(id, n);
    return kmy_ledger_payment_reverse(r->ledger, id, NOW, acc, &r->ctx);
}
/* body NULL: there is none. */
static inline kmy_err_t pay_answer_for(rig_t *r, unsigned n, const char *body, int64_t charged_nusd,
                                       int64_t now_ns, const char **kept, kmy_account_t *acc)
{
    char id[KMY_PAYMENT_ID_HEX + 1];
    const void *bytes;
    size_t len;
    pay_id(id, n);
    kmy_err_t err =
        kmy_ledger_payment_answer(r->ledger, id, NULL, body, body ? strlen(body) + 1 : 0,
                                  charged_nusd, now_ns, &bytes, &len, acc, &r->ctx);
    if (kept)
        *kept = bytes;
    return err;
}
/* The whole price of pay_query. */
static inline kmy_err_t pay_answer(rig_t *r, unsigned n, const char *body, int64_t now_ns,
                                   const char **kept, kmy_account_t *acc)
{
    return pay_answer_for(r, n, body, body ? pay_query(n, 1).price_nusd : 0, now_ns, kept, acc);
}
static inline kmy_payment_row_t pay_get(rig_t *r, unsigned n)
{
    char id[KMY_PAYMENT_ID_HEX + 1];
    kmy_payment_row_t row;
    pay_id(id, n);
    assert_int_equal(kmy_ledger_payment_get(r->ledger, id, &row, &r->ctx), KMY_OK);
    return row;
}

/* After each: on disk, found again by a new life, and nothing wrong. */
static inline void pay_crash(rig_t *r)
{
    rig_close(r);
    rig_open(r);
    rig_assert_clean(r);
}

#endif
