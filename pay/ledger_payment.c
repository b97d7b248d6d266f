/* dollar 4/7   in: pay/verify (by way of the keeper)   out: pay/ledger_batch

   Payments up to their settlement: reserved once, moved from state to state. */
#include "pay/ledger_payment_inside.h"

#include "pay/ledger_bytes.h"

#include <string.h>

/* --- writing ------------------------------------------------------------------------------- */

kmy_err_t kmy_payment_put_promise(kmy_ledger_t *l, const kmy_payment_row_t *r, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_PAYMENT_ID_BYTES_RAW];
    uint8_t value[KMY_PROMISE_BYTES_MAX];
    KMY_ASSERT(kmy_payment_id_encode(r->id, key));
    size_t len = kmy_promise_encode(r, value);
    return kmy_ledger_row_put(l, KMY_LEDGER_PROMISES, key, sizeof key, value, len, ctx);
}

static kmy_err_t put_json(kmy_ledger_t *l, const char *id, const kmy_payment_row_t *r,
                          kmy_errctx_t *ctx)
{
    uint8_t key[KMY_PAYMENT_ID_BYTES_RAW];
    uint8_t value[8 + KMY_PAYMENT_BYTES_MAX];
    KMY_ASSERT(kmy_payment_id_encode(id, key));
    kmy_head_put(value);
    memcpy(value + 8, r->json, r->json_bytes);
    return kmy_ledger_row_put(l, KMY_LEDGER_PRESENTED, key, sizeof key, value, 8 + r->json_bytes,
                              ctx);
}

static void open_keys(const kmy_payment_row_t *r, uint8_t key[KMY_PAYER_OPEN_KEY_BYTES])
{
    memcpy(key, r->payer, KMY_PAYER_BYTES);
    KMY_ASSERT(kmy_payment_id_encode(r->id, key + KMY_PAYER_BYTES));
}

static kmy_err_t open_put(kmy_ledger_t *l, const kmy_payment_row_t *r, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_PAYER_OPEN_KEY_BYTES];
    uint8_t birth[KMY_NUMBER_BYTES];
    open_keys(r, key);
    kmy_number_encode(r->created_ns, birth);
    kmy_err_t err = kmy_ledger_row_put(l, KMY_LEDGER_OPEN, key + KMY_PAYER_BYTES,
                                       KMY_PAYMENT_ID_BYTES_RAW, birth, sizeof birth, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_row_put(l, KMY_LEDGER_OPEN_PAYERS, key, sizeof key, birth, sizeof birth,
                                 ctx);
    return err;
}

/* It is open no more; what was presented is needed no more. */
static kmy_err_t open_del(kmy_ledger_t *l, const kmy_payment_row_t *r, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_PAYER_OPEN_KEY_BYTES];
    const uint8_t *id = key + KMY_PAYER_BYTES;
    MDB_val value;
    open_keys(r, key);
    kmy_err_t err = kmy_ledger_row_del(l, KMY_LEDGER_OPEN, id, KMY_PAYMENT_ID_BYTES_RAW, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_row_del(l, KMY_LEDGER_OPEN_PAYERS, key, sizeof key, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_PRESENTED, id, KMY_PAYMENT_ID_BYTES_RAW, &value,
                             ctx);
    if (err == KMY_OK)
        return kmy_ledger_row_del(l, KMY_LEDGER_PRESENTED, id, KMY_PAYMENT_ID_BYTES_RAW, ctx);
    return err == KMY_NOT_FOUND ? KMY_OK : err;
}

kmy_err_t kmy_payment_put_state(kmy_ledger_t *l, const kmy_stored_payment_t *p, uint8_t was,
                                kmy_errctx_t *ctx)
{
    uint8_t key[KMY_PAYMENT_ID_BYTES_RAW];
    uint8_t value[KMY_PAYMENT_STATE_BYTES_MAX];
    bool open = kmy_payment_is_open(p->row.state);
    KMY_ASSERT(kmy_payment_id_encode(p->row.id, key));
    KMY_ASSERT(was == 0 || kmy_payment_may_follow(was, p->row.state) || was == p->row.state);
    size_t len = kmy_payment_state_encode(p, value);
    kmy_err_t err = kmy_ledger_row_put(l, KMY_LEDGER_PAYMENTS, key, sizeof key, value, len, ctx);
    if (err == KMY_OK && open && !kmy_payment_is_open(was))
        err = open_put(l, &p->row, ctx);
    if (err == KMY_OK && !open && kmy_payment_is_open(was))
        err = open_del(l, &p->row, ctx);
    return err;
}

/* KMY_FULL: this payer has as many under way as it may. */
static kmy_err_t open_room(kmy_ledger_t *l, const kmy_payment_row_t *r, kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    MDB_val key = { KMY_PAYER_BYTES, (void *)r->payer };
    MDB_val value;
    int count = 0;
    int rc = mdb_cursor_open(l->txn, l->dbi[KMY_LEDGER_OPEN_PAYERS], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "open payments");
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && count < KMY_PAYMENTS_OPEN_MAX && key.mv_size == KMY_PAYER_OPEN_KEY_BYTES &&
           memcmp(key.mv_data, r->payer, KMY_PAYER_BYTES) == 0) {
        count++;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (rc && rc != MDB_NOTFOUND)
        return kmy_kv_fail(ctx, rc, "open payments");
    if (count >= KMY_PAYMENTS_OPEN_MAX)
        return KMY_FAIL(ctx, KMY_FULL,
                        "this payer has %d payments that are not settled yet: wait for one of them",
                        KMY_PAYMENTS_OPEN_MAX);
    return KMY_OK;
}

/* --- reserve ------------------------------------------------------------------------------- */

kmy_err_t kmy_payment_check(kmy_payment_row_t *r, kmy_errctx_t *ctx)
{
    char payer[KMY_ACCOUNT_BYTES_MAX];
    if (!kmy_payer_canonical(r->account, payer))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "payer of a payment must be CAIP-10");
    memcpy(r->account, payer, sizeof payer);
    size_t chain = strnlen(r->chain, sizeof r->chain);
    size_t asset = strnlen(r->asset, sizeof r->asset);
    if (chain == 0 || chain == sizeof r->chain || strchr(r->chain, '|') || asset == 0 ||
        asset == sizeof r->asset)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a payment must name chain and token");
    if (strnlen(r->client_id, sizeof r->client_id) == sizeof r->client_id ||
        r->json_bytes > KMY_PAYMENT_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a payment's texts are too long");
    if (r->amount_units == 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a payment must be above zero");
    if (r->amount_units > INT64_MAX / 1000)
        return KMY_FAIL(ctx, KMY_OVERFLOW, "the ledger cannot hold that much money");
    if (r->query && (r->price_nusd <= 0 || r->price_nusd > kmy_payment_amount_nusd(r)))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a query's price must be above zero and paid in full");
    return KMY_OK;
}

static size_t client_key(const kmy_payment_row_t *r, uint8_t key[KMY_CLIENT_KEY_BYTES_MAX])
{
    size_t len = strlen(r->client_id);
    memcpy(key, r->payer, KMY_PAYER_BYTES);
    memcpy(key + KMY_PAYER_BYTES, r->client_id, len);
    return KMY_PAYER_BYTES + len;
}

/* KMY_CONFLICT: the payer's own id names another payment, which becomes *p. */
static kmy_err_t client_check(kmy_ledger_t *l, const kmy_payment_row_t *r, kmy_stored_payment_t *p,
                              kmy_errctx_t *ctx)
{
    uint8_t key[KMY_CLIENT_KEY_BYTES_MAX];
    char id[KMY_PAYMENT_ID_HEX + 1];
    MDB_val value;
    if (!r->client_id[0])
        return KMY_OK;
    size_t len = client_key(r, key);
    kmy_err_t err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_CLIENT_IDS, key, len, &value, ctx);
    if (err != KMY_OK)
        return err == KMY_NOT_FOUND ? KMY_OK : err;
    if (value.mv_size != KMY_PAYMENT_ID_BYTES_RAW)
        return KMY_FAIL(ctx, KMY_CORRUPT, "index of clients' payment ids is damaged");
    kmy_payment_id_decode(value.mv_data, id);
    err = kmy_payment_load(l, l->txn, id, p, ctx);
    return err == KMY_OK
               ? KMY_FAIL(ctx, KMY_CONFLICT, "this payment identifier was used for another payment")
               : KMY_FAIL(ctx, KMY_CORRUPT, "payment %s is missing or damaged", id);
}

static kmy_err_t client_put(kmy_ledger_t *l, const kmy_payment_row_t *r, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_CLIENT_KEY_BYTES_MAX];
    uint8_t id[KMY_PAYMENT_ID_BYTES_RAW];
    KMY_ASSERT(kmy_payment_id_encode(r->id, id));
    return r->client_id[0] ? kmy_ledger_row_put(l, KMY_LEDGER_CLIENT_IDS, key, client_key(r, key),
                                                id, sizeof id, ctx)
                           : KMY_OK;
}

static kmy_err_t reserve_apply(kmy_ledger_t *l, const kmy_stored_payment_t *p, kmy_errctx_t *ctx)
{
    kmy_err_t err = kmy_payment_put_promise(l, &p->row, ctx);
    if (err == KMY_OK)
        err = kmy_payment_put_state(l, p, 0, ctx);
    if (err == KMY_OK && p->row.json)
        err = put_json(l, p->row.id, &p->row, ctx);
    if (err == KMY_OK)
        err = client_put(l, &p->row, ctx);
    return KMY_SPOILS(l, err, ctx);
}

/* What a new payment begins with, whatever the caller's row says of later states. */
static kmy_stored_payment_t new_payment(const kmy_payment_row_t *row)
{
    kmy_stored_payment_t p = { .row = *row };
    p.row.state = KMY_PAYMENT_RESERVED;
    p.row.answered = p.row.released = p.row.advance_open = false;
    p.row.advance_nusd = 0;
    p.row.changed_ns = row->created_ns;
    p.row.log_index = 0;
    p.row.from_block = 0;
    memset(p.row.tx, 0, sizeof p.row.tx);
    memset(p.row.reason, 0, sizeof p.row.reason);
    return p;
}

kmy_err_t kmy_ledger_payment_reserve(kmy_ledger_t *l, const kmy_payment_row_t *row,
                                     kmy_payment_row_t *out, kmy_errctx_t *ctx)
{
    kmy_stored_payment_t p = new_payment(row);
    kmy_stored_payment_t there;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = kmy_payment_check(&p.row, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_payment_load(l, l->txn, row->id, &there, ctx);
    if (err == KMY_OK)
        err = KMY_FAIL(ctx, KMY_DUPLICATE, "this payment was presented before");
    else if (err == KMY_NOT_FOUND)
        err = client_check(l, &p.row, &there, ctx);
    if (err == KMY_DUPLICATE || err == KMY_CONFLICT) {
        kmy_err_t told = kmy_payment_answer_row(l, l->txn, &there, out, ctx);
        return told == KMY_OK ? err : told;
    }
    if (err == KMY_OK)
        err = open_room(l, &p.row, ctx);
    if (err == KMY_OK)
        err = reserve_apply(l, &p, ctx);
    return err == KMY_OK ? kmy_payment_answer_row(l, l->txn, &p, out, ctx) : err;
}

/* --- from state to state ------------------------------------------------------------------- */

static void learn(kmy_stored_payment_t *p, kmy_payment_state_t to, const kmy_payment_row_t *news,
                  int64_t now_ns)
{
    p->row.state = (uint8_t)to;
    p->row.changed_ns = now_ns;
    if (news && news->tx[0])
        memcpy(p->row.tx, news->tx, sizeof p->row.tx);
    if (news && news->reason[0])
        memcpy(p->row.reason, news->reason, sizeof p->row.reason);
    if (news && news->from_block)
        p->row.from_block = news->from_block;
}

static kmy_err_t news_check(const kmy_stored_payment_t *p, const kmy_payment_row_t *news,
                            kmy_errctx_t *ctx)
{
    char key[KMY_CLAIM_KEY_BYTES_MAX];
    if (!news)
        return KMY_OK;
    if (news->tx[0] && !kmy_claim_key(p->row.chain, news->tx, 0, key))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "that is no transaction of %s", p->row.chain);
    if (strnlen(news->reason, sizeof news->reason) == sizeof news->reason ||
        (news->json && news->json_bytes > KMY_PAYMENT_BYTES_MAX))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a payment's texts are too long");
    return KMY_OK;
}

kmy_err_t kmy_ledger_payment_state(kmy_ledger_t *l, const char *id, kmy_payment_state_t to,
                                   const kmy_payment_row_t *news, int64_t now_ns,
                                   kmy_payment_row_t *out, kmy_errctx_t *ctx)
{
    kmy_stored_payment_t p;
    KMY_ASSERT(to != KMY_PAYMENT_SETTLED && to != KMY_PAYMENT_REVERSED); /* they move money */
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = kmy_payment_load(l, l->txn, id, &p, ctx);
    if (err == KMY_OK)
        err = news_check(&p, news, ctx);
    if (err != KMY_OK)
        return err;
    uint8_t was = p.row.state;
    if (!kmy_payment_may_follow(was, to)) {
        err = kmy_payment_answer_row(l, l->txn, &p, out, ctx);
        return err != KMY_OK ? err
                             : KMY_FAIL(ctx, KMY_CONFLICT, "a payment that is %s cannot become %s",
                                        kmy_payment_state_name(was), kmy_payment_state_name(to));
    }
    bool again = kmy_payment_is_open((uint8_t)to) && !kmy_payment_is_open(was);
    if (again)
        err = open_room(l, &p.row, ctx);
    if (err != KMY_OK)
        return err;
    learn(&p, to, news, now_ns);
    if (to == KMY_PAYMENT_FAILED)
        err = kmy_advance_end(l, &p, now_ns, ctx);
    if (err == KMY_OK)
        err = kmy_payment_put_state(l, &p, was, ctx);
    if (err == KMY_OK && again && news && news->json)
        err = put_json(l, id, news, ctx);
    if (err == KMY_OK)
        err = kmy_payment_answer_row(l, l->txn, &p, out, ctx);
    return KMY_SPOILS(l, err, ctx);
}
