/* dollar 4/7   in: POST /v1/tokens, POST /v1/admin/tokens (by way of the keeper)   out: pay/ledger_move */
#include "pay/ledger_allow.h"

#include "pay/ledger_audit_inside.h"
#include "pay/ledger_bytes.h"
#include "pay/ledger_payment_inside.h"

#include <stdio.h>
#include <string.h>

/* One row of ALLOWANCES:  0 version   1 open   8 parent   16 child   24 amount   32 expires   40 due   48 terms
   It stays when it is closed: the audit recounts what was moved between accounts by it, and a repetition finds it. */
enum { ROW_BYTES = 56, DUE_KEY_BYTES_MAX = 8 + KMY_JTI_BYTES_MAX };

typedef struct row {
    bool open;
    uint64_t parent_id;
    uint64_t child_id;
    int64_t amount_nusd;
    int64_t expires_ns;
    int64_t due_ns; /* >= 0, so that its bytes sort as it does */
    uint64_t terms;
} row_t;

static void row_encode(const row_t *r, uint8_t out[ROW_BYTES])
{
    kmy_head_put(out);
    out[1] = r->open;
    kmy_put64(out + 8, r->parent_id);
    kmy_put64(out + 16, r->child_id);
    kmy_put64(out + 24, (uint64_t)r->amount_nusd);
    kmy_put64(out + 32, (uint64_t)r->expires_ns);
    kmy_put64(out + 40, (uint64_t)r->due_ns);
    kmy_put64(out + 48, r->terms);
}

static bool row_decode(const MDB_val *v, row_t *r)
{
    const uint8_t *in = v->mv_data;
    if (!kmy_head_ok(in, v->mv_size, ROW_BYTES) || in[1] > 1)
        return false;
    *r = (row_t){ .open = in[1],
                  .parent_id = kmy_get64(in + 8),
                  .child_id = kmy_get64(in + 16),
                  .amount_nusd = (int64_t)kmy_get64(in + 24),
                  .expires_ns = (int64_t)kmy_get64(in + 32),
                  .due_ns = (int64_t)kmy_get64(in + 40),
                  .terms = kmy_get64(in + 48) };
    return r->parent_id > 0 && r->child_id > 0 && r->parent_id != r->child_id &&
           r->amount_nusd > 0 && r->due_ns >= 0;
}

static size_t due_key(int64_t due_ns, const char *jti, uint8_t key[DUE_KEY_BYTES_MAX])
{
    size_t len = strlen(jti);
    kmy_id_encode((uint64_t)due_ns, key);
    memcpy(key + KMY_ID_BYTES, jti, len);
    return KMY_ID_BYTES + len;
}

/* KMY_NOT_FOUND: no such allowance. */
static kmy_err_t row_get(kmy_ledger_t *l, MDB_txn *txn, const char *jti, size_t len, row_t *r,
                         kmy_errctx_t *ctx)
{
    MDB_val value;
    kmy_err_t err = kmy_ledger_row_get(l, txn, KMY_LEDGER_ALLOWANCES, jti, len, &value, ctx);
    if (err == KMY_OK && !row_decode(&value, r))
        return KMY_FAIL(ctx, KMY_CORRUPT, "allowance %.*s is damaged", (int)len, jti);
    return err;
}

static kmy_err_t row_put(kmy_ledger_t *l, const char *jti, const row_t *r, kmy_errctx_t *ctx)
{
    uint8_t value[ROW_BYTES];
    row_encode(r, value);
    return kmy_ledger_row_put(l, KMY_LEDGER_ALLOWANCES, jti, strlen(jti), value, sizeof value, ctx);
}

static kmy_err_t due_put(kmy_ledger_t *l, const char *jti, const row_t *r, kmy_errctx_t *ctx)
{
    uint8_t key[DUE_KEY_BYTES_MAX];
    uint8_t child[KMY_ID_BYTES];
    size_t len = due_key(r->due_ns, jti, key);
    kmy_id_encode(r->child_id, child);
    return kmy_ledger_row_put(l, KMY_LEDGER_ALLOWANCES_DUE, key, len, child, sizeof child, ctx);
}

static kmy_err_t due_del(kmy_ledger_t *l, const char *jti, const row_t *r, kmy_errctx_t *ctx)
{
    uint8_t key[DUE_KEY_BYTES_MAX];
    size_t len = due_key(r->due_ns, jti, key);
    return kmy_ledger_row_del(l, KMY_LEDGER_ALLOWANCES_DUE, key, len, ctx);
}

/* Due at another time. */
static kmy_err_t put_off(kmy_ledger_t *l, const char *jti, row_t *r, int64_t due_ns,
                         kmy_errctx_t *ctx)
{
    kmy_err_t err = due_del(l, jti, r, ctx);
    r->due_ns = due_ns;
    if (err == KMY_OK)
        err = due_put(l, jti, r, ctx);
    return err == KMY_OK ? row_put(l, jti, r, ctx) : err;
}

/* Both halves; that the giver has it was checked.  The taker's debt is paid first. */
static kmy_err_t move_between(kmy_ledger_t *l, uint64_t from_id, kmy_account_row_t *from,
                              uint64_t to_id, kmy_account_row_t *to, int64_t amount_nusd,
                              int64_t now_ns, kmy_errctx_t *ctx)
{
    kmy_entry_t give = { .kind = KMY_ENTRY_GIVE,
                         .account_id = from_id,
                         .other_id = to_id,
                         .time_ns = now_ns,
                         .amount_nusd = amount_nusd };
    kmy_entry_t take = { .kind = KMY_ENTRY_TAKE,
                         .account_id = to_id,
                         .other_id = from_id,
                         .time_ns = now_ns,
                         .amount_nusd = amount_nusd };
    kmy_err_t err = kmy_ledger_move(l, from, &give, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_move(l, to, &take, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_repay(l, to, to_id, now_ns, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_put(l, from_id, from, ctx);
    return err == KMY_OK ? kmy_ledger_account_put(l, to_id, to, ctx) : err;
}

/* --- making one ---------------------------------------------------------------------------- */

static kmy_err_t child_name(const kmy_account_t *parent, const char *jti,
                            char name[KMY_ACCOUNT_BYTES_MAX], kmy_errctx_t *ctx)
{
    int len = snprintf(name, KMY_ACCOUNT_BYTES_MAX, "%s.%s", parent->name, jti);
    if (len >= KMY_ACCOUNT_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "the account's name is too long to have allowances: with the token's id it "
                        "would have %d bytes, %d is the most",
                        len, KMY_ACCOUNT_BYTES_MAX - 1);
    return KMY_OK;
}

/* An allowance's account is called <parent>.<jti>, and its row leads back to it. */
static kmy_err_t refuse_child(kmy_ledger_t *l, MDB_txn *txn, const kmy_account_t *acc,
                              kmy_errctx_t *ctx)
{
    row_t r;
    const char *dot = strrchr(acc->name, '.');
    if (!dot || dot[1] == '\0' || strlen(dot + 1) >= KMY_JTI_BYTES_MAX)
        return KMY_OK;
    kmy_err_t err = row_get(l, txn, dot + 1, strlen(dot + 1), &r, ctx);
    if (err == KMY_OK && r.child_id == acc->id)
        return KMY_FAIL(ctx, KMY_FORBIDDEN,
                        "a token with a spend cap makes none: ask with a token of its account");
    return err == KMY_NOT_FOUND ? KMY_OK : err;
}

static kmy_err_t want_ok(const kmy_allowance_t *want, kmy_errctx_t *ctx)
{
    size_t len = strnlen(want->jti, sizeof want->jti);
    if (len < 1 || len >= sizeof want->jti)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "token id must have 1 to %d bytes",
                        KMY_JTI_BYTES_MAX - 1);
    if (want->amount_nusd <= 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a spend cap must be above zero");
    if (want->expires_ns < 0 || want->expires_ns > INT64_MAX - KMY_ALLOWANCE_LEEWAY_NS)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "an allowance must end at some time");
    return KMY_OK;
}

static kmy_err_t cover_check(const kmy_account_t *parent, int64_t amount_nusd, int64_t extra_nusd,
                             kmy_errctx_t *ctx)
{
    int64_t more = extra_nusd > parent->debt_nusd ? extra_nusd - parent->debt_nusd : 0;
    if (parent->balance_nusd >= amount_nusd || more >= amount_nusd - parent->balance_nusd)
        return KMY_OK;
    return KMY_FAIL(ctx, KMY_NO_BALANCE, "the balance does not cover it");
}

/* As kmy_ledger_allow_check; parent and name as found, *r of a repetition. */
static kmy_err_t check(kmy_ledger_t *l, const kmy_allowance_t *want, int64_t extra_nusd,
                       kmy_account_t *parent, char name[KMY_ACCOUNT_BYTES_MAX], row_t *r,
                       kmy_errctx_t *ctx)
{
    kmy_account_t other;
    kmy_err_t err = want_ok(want, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_by_id(l, want->parent_id, parent, ctx);
    if (err == KMY_OK)
        err = child_name(parent, want->jti, name, ctx);
    if (err == KMY_OK)
        err = refuse_child(l, l->txn, parent, ctx);
    if (err != KMY_OK)
        return err;
    err = row_get(l, l->txn, want->jti, strlen(want->jti), r, ctx);
    if (err == KMY_OK)
        return r->parent_id == want->parent_id && r->amount_nusd == want->amount_nusd &&
                       r->terms == want->terms
                   ? KMY_DUPLICATE
                   : KMY_FAIL(ctx, KMY_CONFLICT,
                              "this key was used for another allowance: take another one");
    if (err != KMY_NOT_FOUND)
        return err;
    err = kmy_ledger_account_by_name(l, name, &other, ctx);
    if (err == KMY_OK)
        return KMY_FAIL(ctx, KMY_CONFLICT, "there is an account %s already", name);
    if (err != KMY_NOT_FOUND)
        return err;
    return cover_check(parent, want->amount_nusd, extra_nusd, ctx);
}

kmy_err_t kmy_ledger_allow_check(kmy_ledger_t *l, const kmy_allowance_t *want, int64_t extra_nusd,
                                 kmy_errctx_t *ctx)
{
    kmy_account_t parent;
    char name[KMY_ACCOUNT_BYTES_MAX];
    row_t r;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    return err == KMY_OK ? check(l, want, extra_nusd, &parent, name, &r, ctx) : err;
}

static kmy_err_t allow(kmy_ledger_t *l, const kmy_allowance_t *want, const char *name,
                       int64_t now_ns, row_t *r, kmy_errctx_t *ctx)
{
    kmy_account_t made;
    kmy_account_row_t parent;
    kmy_account_row_t child;
    *r = (row_t){ .open = true,
                  .parent_id = want->parent_id,
                  .amount_nusd = want->amount_nusd,
                  .expires_ns = want->expires_ns,
                  .due_ns = want->expires_ns + KMY_ALLOWANCE_LEEWAY_NS,
                  .terms = want->terms };
    kmy_err_t err = kmy_ledger_account_make(l, name, now_ns, &made, ctx);
    if (err != KMY_OK)
        return err;
    r->child_id = made.id;
    err = kmy_ledger_account_get(l, l->txn, r->parent_id, &parent, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_get(l, l->txn, r->child_id, &child, ctx);
    if (err == KMY_OK)
        err = move_between(l, r->parent_id, &parent, r->child_id, &child, r->amount_nusd, now_ns,
                           ctx);
    if (err == KMY_OK)
        err = row_put(l, want->jti, r, ctx);
    return err == KMY_OK ? due_put(l, want->jti, r, ctx) : err;
}

kmy_err_t kmy_ledger_allow(kmy_ledger_t *l, const kmy_allowance_t *want, int64_t now_ns,
                           kmy_account_t *child, kmy_account_t *parent, int64_t *expires_ns,
                           kmy_errctx_t *ctx)
{
    char name[KMY_ACCOUNT_BYTES_MAX];
    row_t r;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = check(l, want, 0, parent, name, &r, ctx);
    bool before = err == KMY_DUPLICATE;
    if (err == KMY_OK)
        err = KMY_SPOILS(l, allow(l, want, name, now_ns, &r, ctx), ctx);
    if (err != KMY_OK && !before)
        return err;
    *expires_ns = r.expires_ns;
    err = kmy_ledger_account_by_id(l, r.child_id, child, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_by_id(l, r.parent_id, parent, ctx);
    if (!before)
        return KMY_SPOILS(l, err, ctx);
    return err == KMY_OK ? KMY_DUPLICATE : err;
}

/* --- giving back --------------------------------------------------------------------------- */

kmy_err_t kmy_ledger_allowance_hurry(kmy_ledger_t *l, const char *jti, kmy_errctx_t *ctx)
{
    row_t r;
    kmy_err_t err = row_get(l, l->txn, jti, strlen(jti), &r, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_OK;
    if (err != KMY_OK || !r.open)
        return err;
    return KMY_SPOILS(l, put_off(l, jti, &r, 0, ctx), ctx);
}

/* KMY_NOT_FOUND: none has come. */
static kmy_err_t first_due(kmy_ledger_t *l, MDB_txn *txn, int64_t now_ns,
                           char jti[KMY_JTI_BYTES_MAX], kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    uint64_t due_ns = 0;
    int rc = mdb_cursor_open(txn, l->dbi[KMY_LEDGER_ALLOWANCES_DUE], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger allowances");
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND)
        return KMY_NOT_FOUND;
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger allowances");
    if (key.mv_size <= KMY_ID_BYTES || key.mv_size >= KMY_ID_BYTES + KMY_JTI_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_CORRUPT, "an allowance's time is damaged");
    kmy_id_decode(key.mv_data, KMY_ID_BYTES, &due_ns); /* 0 is a time as good as others */
    if (due_ns > (uint64_t)now_ns)
        return KMY_NOT_FOUND;
    memcpy(jti, (const char *)key.mv_data + KMY_ID_BYTES, key.mv_size - KMY_ID_BYTES);
    jti[key.mv_size - KMY_ID_BYTES] = '\0';
    return KMY_OK;
}

kmy_err_t kmy_ledger_allowance_due(kmy_ledger_t *l, int64_t now_ns, kmy_errctx_t *ctx)
{
    char jti[KMY_JTI_BYTES_MAX];
    MDB_txn *txn;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    err = first_due(l, txn, now_ns, jti, ctx);
    kmy_ledger_view_end(l, txn);
    return err;
}

static kmy_err_t give_back(kmy_ledger_t *l, const char *jti, row_t *r, kmy_account_row_t *child,
                           kmy_account_row_t *parent, int64_t now_ns, kmy_errctx_t *ctx)
{
    kmy_err_t err = KMY_OK;
    if (child->sums.balance_nusd > 0)
        err = move_between(l, r->child_id, child, r->parent_id, parent, child->sums.balance_nusd,
                           now_ns, ctx);
    if (err == KMY_OK)
        err = due_del(l, jti, r, ctx);
    r->open = false;
    return err == KMY_OK ? row_put(l, jti, r, ctx) : err;
}

kmy_err_t kmy_ledger_allowance_return(kmy_ledger_t *l, int64_t now_ns, kmy_account_t *child,
                                      kmy_account_t *parent, kmy_errctx_t *ctx)
{
    char jti[KMY_JTI_BYTES_MAX];
    kmy_account_row_t of_child;
    kmy_account_row_t of_parent;
    row_t r;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = first_due(l, l->txn, now_ns, jti, ctx);
    if (err != KMY_OK)
        return err;
    err = row_get(l, l->txn, jti, strlen(jti), &r, ctx);
    if (err == KMY_NOT_FOUND || (err == KMY_OK && !r.open))
        return KMY_FAIL(ctx, KMY_CORRUPT, "allowance %s has a time and is none", jti);
    if (err == KMY_OK)
        err = kmy_ledger_account_get(l, l->txn, r.child_id, &of_child, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_get(l, l->txn, r.parent_id, &of_parent, ctx);
    if (err != KMY_OK)
        return err == KMY_NOT_FOUND ? KMY_CORRUPT : err;
    bool out = of_child.sums.leased_nusd > 0;
    err = out ? put_off(l, jti, &r, now_ns + KMY_ALLOWANCE_AGAIN_NS, ctx)
              : give_back(l, jti, &r, &of_child, &of_parent, now_ns, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_by_id(l, r.child_id, child, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_by_id(l, r.parent_id, parent, ctx);
    err = KMY_SPOILS(l, err, ctx);
    return err == KMY_OK && out ? KMY_AGAIN : err;
}

/* --- the audit ----------------------------------------------------------------------------- */

/* Wraps where a record is damaged: then it does not compare equal, which is a fault. */
static void add_wrapping(int64_t *to, int64_t n)
{
    *to = (int64_t)((uint64_t)*to + (uint64_t)n);
}

void kmy_audit_between(kmy_audit_t *a, const kmy_entry_t *e, uint64_t id)
{
    const kmy_entry_t *g = &a->given;
    bool pair = e->kind == KMY_ENTRY_TAKE && g->account_id == e->other_id &&
                g->other_id == e->account_id && g->amount_nusd == e->amount_nusd &&
                g->time_ns == e->time_ns;
    if (g->account_id > 0 && !pair)
        kmy_audit_fault(a, "what account %llu gave to account %llu, entry %llu does not take",
                        ULL(g->account_id), ULL(g->other_id), ULL(id));
    else if (g->account_id == 0 && e->kind == KMY_ENTRY_TAKE)
        kmy_audit_fault(a, "entry %llu takes what account %llu did not give", ULL(id),
                        ULL(e->other_id));
    a->given = (kmy_entry_t){ 0 };
    if (e->kind == KMY_ENTRY_GIVE)
        a->given = *e;
}

/* The names tell who belongs to whom, the row has to say the same. */
static bool is_child(kmy_audit_t *a, const row_t *r, MDB_val jti)
{
    uint8_t key[KMY_ID_BYTES];
    MDB_val value;
    kmy_profile_t parent;
    kmy_profile_t child;
    kmy_id_encode(r->parent_id, key);
    if (!kmy_audit_find(a, KMY_LEDGER_PROFILES, key, sizeof key, &value) ||
        !kmy_profile_decode(value.mv_data, value.mv_size, &parent))
        return false;
    kmy_id_encode(r->child_id, key);
    if (!kmy_audit_find(a, KMY_LEDGER_PROFILES, key, sizeof key, &value) ||
        !kmy_profile_decode(value.mv_data, value.mv_size, &child))
        return false;
    size_t n = parent.name_bytes;
    return child.name_bytes == n + 1 + jti.mv_size && memcmp(child.name, parent.name, n) == 0 &&
           child.name[n] == '.' && memcmp(child.name + n + 1, jti.mv_data, jti.mv_size) == 0;
}

static void check_due(kmy_audit_t *a, const row_t *r, const char *jti)
{
    uint8_t key[DUE_KEY_BYTES_MAX];
    uint64_t child = 0;
    MDB_val value;
    size_t len = due_key(r->due_ns, jti, key);
    a->allowances_open_count++;
    if (!kmy_audit_find(a, KMY_LEDGER_ALLOWANCES_DUE, key, len, &value) ||
        !kmy_id_decode(value.mv_data, value.mv_size, &child) || child != r->child_id)
        kmy_audit_fault(a, "allowance %s would never be given back", jti);
}

static kmy_err_t visit_allowance(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    char jti[KMY_JTI_BYTES_MAX];
    row_t r;
    (void)ctx;
    if (key.mv_size >= sizeof jti || !row_decode(&value, &r) || r.parent_id > a->tallies_count ||
        r.child_id > a->tallies_count || !is_child(a, &r, key)) {
        kmy_audit_fault(a, "an allowance is damaged, or nobody's");
        return KMY_OK;
    }
    memcpy(jti, key.mv_data, key.mv_size);
    jti[key.mv_size] = '\0';
    kmy_tally_t *child = &a->tallies[r.child_id - 1];
    add_wrapping(&child->allowed_nusd, child->row.sums.moved_nusd);
    add_wrapping(&a->tallies[r.parent_id - 1].allowed_nusd, -child->row.sums.moved_nusd);
    if (r.open)
        check_due(a, &r, jti);
    if (r.open && child->row.sums.moved_nusd != r.amount_nusd)
        kmy_audit_fault(a, "allowance %s is of %lld nano-USD; its entries say %lld", jti,
                        (long long)r.amount_nusd, (long long)child->row.sums.moved_nusd);
    return KMY_OK;
}

kmy_err_t kmy_audit_allowances(kmy_audit_t *a, kmy_errctx_t *ctx)
{
    if (a->given.account_id > 0)
        kmy_audit_fault(a, "what account %llu gave last, nobody takes", ULL(a->given.account_id));
    kmy_err_t err = kmy_audit_each(a, KMY_LEDGER_ALLOWANCES, visit_allowance, ctx);
    if (err != KMY_OK)
        return err;
    for (uint64_t i = 0; i < a->tallies_count; i++) {
        const kmy_tally_t *t = &a->tallies[i];
        if (t->allowed_nusd != t->row.sums.moved_nusd)
            kmy_audit_fault(a, "account %llu has %lld nano-USD of others; allowances say %lld",
                            ULL(i + 1), (long long)t->row.sums.moved_nusd,
                            (long long)t->allowed_nusd);
    }
    kmy_audit_check_count(a, "times of allowances", kmy_audit_count(a, KMY_LEDGER_ALLOWANCES_DUE),
                          a->allowances_open_count);
    return KMY_OK;
}
