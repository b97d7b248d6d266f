/* dollar 4/7   in: kamiyo ledger audit   out: a verdict

   Recounts the journal from its first entry and compares the result with every other record, as if none of our code could be trusted to have
   written it right.  Each check names what it found; a clean ledger has none. */
#include "pay/ledger_audit_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kmy_audit_fault(kmy_audit_t *a, const char *fmt, ...)
{
    if (a->out->faults_count++ > 0)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->out->first_fault, sizeof a->out->first_fault, fmt, ap);
    va_end(ap);
}

kmy_err_t kmy_audit_each(kmy_audit_t *a, kmy_ledger_table_t table, kmy_audit_visit_t *visit,
                         kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    kmy_err_t err = KMY_OK;
    if (a->dbi[table] == KMY_LEDGER_NO_TABLE)
        return KMY_OK;
    int rc = mdb_cursor_open(a->txn, a->dbi[table], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "audit");
    while (err == KMY_OK && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
        err = visit(a, key, value, ctx);
    mdb_cursor_close(cursor);
    if (err == KMY_OK && rc != MDB_NOTFOUND)
        return kmy_kv_fail(ctx, rc, "audit");
    return err;
}

uint64_t kmy_audit_count(const kmy_audit_t *a, kmy_ledger_table_t table)
{
    MDB_stat stat;
    if (a->dbi[table] == KMY_LEDGER_NO_TABLE)
        return 0;
    return mdb_stat(a->txn, a->dbi[table], &stat) == 0 ? stat.ms_entries : 0;
}

bool kmy_audit_find(const kmy_audit_t *a, kmy_ledger_table_t table, const void *key,
                    size_t key_bytes, MDB_val *value)
{
    MDB_val k = { key_bytes, (void *)key };
    return a->dbi[table] != KMY_LEDGER_NO_TABLE && mdb_get(a->txn, a->dbi[table], &k, value) == 0;
}

static kmy_held_t *held_of(kmy_tally_t *t, uint32_t shard)
{
    for (uint32_t i = 0; i < t->held_count; i++)
        if (t->held[i].shard == shard)
            return &t->held[i];
    if (t->held_count == t->held_cap) {
        uint32_t cap = t->held_cap ? t->held_cap * 2 : 2;
        kmy_held_t *grown = realloc(t->held, cap * sizeof *grown);
        if (!grown)
            return NULL;
        t->held = grown;
        t->held_cap = cap;
    }
    t->held[t->held_count] = (kmy_held_t){ shard, 0 };
    return &t->held[t->held_count++];
}

/* The movement's other effect: what the shard holds. */
static kmy_err_t tally_held(kmy_audit_t *a, kmy_tally_t *t, const kmy_entry_t *e, uint64_t id,
                            kmy_errctx_t *ctx)
{
    if (kmy_entry_from(e->kind) != KMY_SIDE_LEASED && kmy_entry_to(e->kind) != KMY_SIDE_LEASED)
        return KMY_OK;
    kmy_held_t *held = held_of(t, e->shard);
    if (!held)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory in the audit");
    bool was_open = held->open_nusd > 0;
    /* At most the account's leased sum, which fitted, unless there were faults before: then it may wrap, which shows below. */
    if (e->kind == KMY_ENTRY_LEASE)
        held->open_nusd = (int64_t)((uint64_t)held->open_nusd + (uint64_t)e->amount_nusd);
    else
        held->open_nusd -= e->amount_nusd;
    if (held->open_nusd < 0) {
        kmy_audit_fault(a, "entry %llu takes more from shard %u than account %llu leased to it",
                        ULL(id), e->shard, ULL(e->account_id));
        held->open_nusd = 0;
    }
    a->leases_count += (uint64_t)(held->open_nusd > 0);
    a->leases_count -= (uint64_t)was_open;
    return KMY_OK;
}

static void check_ref(kmy_audit_t *a, const kmy_entry_t *e, uint64_t id)
{
    MDB_val value;
    kmy_ref_t ref;
    a->credits_count++;
    if (!kmy_audit_find(a, KMY_LEDGER_REFS, e->ref, e->ref_bytes, &value)) {
        kmy_audit_fault(a, "credit of entry %llu has no reference: it could be credited again",
                        ULL(id));
        return;
    }
    if (!kmy_ref_decode(value.mv_data, value.mv_size, &ref) || ref.entry_id != id ||
        ref.account_id != e->account_id || ref.amount_nusd != e->amount_nusd ||
        ref.word_bytes != e->word_bytes || memcmp(ref.word, e->word, e->word_bytes) != 0)
        kmy_audit_fault(a, "reference %.*s does not say what its credit, entry %llu, says",
                        (int)e->ref_bytes, e->ref, ULL(id));
}

static kmy_err_t visit_entry(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    kmy_entry_t e;
    uint64_t id = 0;
    uint64_t want = ++a->out->entries_count;
    if (!kmy_id_decode(key.mv_data, key.mv_size, &id) || id != want) {
        kmy_audit_fault(a, "journal has entry %llu where %llu should stand", ULL(id), ULL(want));
        a->out->entries_count = id ? id : want; /* one hole is one fault */
    }
    if (!kmy_entry_decode(value.mv_data, value.mv_size, &e)) {
        kmy_audit_fault(a, "entry %llu is damaged", ULL(id));
        return KMY_OK;
    }
    if (e.account_id > a->tallies_count) {
        kmy_audit_fault(a, "entry %llu is of account %llu, which does not exist", ULL(id),
                        ULL(e.account_id));
        return KMY_OK;
    }
    kmy_tally_t *t = &a->tallies[e.account_id - 1];
    kmy_side_t from = kmy_entry_from(e.kind);
    kmy_side_t to = kmy_entry_to(e.kind);
    if (!kmy_sums_move(&t->row.sums, from, to, e.amount_nusd) ||
        !kmy_sums_move(&a->sums, from, to, e.amount_nusd)) {
        kmy_audit_fault(a, "entry %llu moves %lld nano-USD that account %llu did not have", ULL(id),
                        (long long)e.amount_nusd, ULL(e.account_id));
        return KMY_OK;
    }
    t->row.ticks_count += e.ticks_count;
    t->row.queries_count += e.queries_count;
    if (e.kind == KMY_ENTRY_CREDIT)
        check_ref(a, &e, id);
    kmy_audit_between(a, &e, id);
    kmy_audit_paid(a, &e);
    kmy_audit_use(a, &e, id);
    kmy_audit_book(a, &e, id);
    kmy_err_t err = kmy_audit_pass(a, &e, ctx);
    return err == KMY_OK ? tally_held(a, t, &e, id, ctx) : err;
}

static void check_name(kmy_audit_t *a, uint64_t id, const uint8_t key[KMY_ID_BYTES])
{
    MDB_val value;
    kmy_profile_t profile;
    uint64_t back = 0;
    if (!kmy_audit_find(a, KMY_LEDGER_PROFILES, key, KMY_ID_BYTES, &value) ||
        !kmy_profile_decode(value.mv_data, value.mv_size, &profile)) {
        kmy_audit_fault(a, "profile of account %llu is missing or damaged", ULL(id));
        return;
    }
    if (!kmy_audit_find(a, KMY_LEDGER_NAMES, profile.name, profile.name_bytes, &value) ||
        !kmy_id_decode(value.mv_data, value.mv_size, &back) || back != id)
        kmy_audit_fault(a, "name of account %llu leads to account %llu", ULL(id), ULL(back));
}

static kmy_err_t visit_account(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    uint64_t id = 0;
    uint64_t want = ++a->out->accounts_count;
    (void)ctx;
    if (!kmy_id_decode(key.mv_data, key.mv_size, &id) || id != want) {
        kmy_audit_fault(a, "account %llu stands where %llu should", ULL(id), ULL(want));
        if (id == 0 || id > a->tallies_count)
            return KMY_OK;
        a->out->accounts_count = id;
    }
    if (id > a->tallies_count)
        return KMY_OK; /* the count is a fault of its own, below */
    check_name(a, id, key.mv_data);
    if (!kmy_account_row_decode(value.mv_data, value.mv_size, &row))
        kmy_audit_fault(a, "account %llu is damaged or does not add up", ULL(id));
    else if (memcmp(&row, &a->tallies[id - 1].row, sizeof row) != 0)
        kmy_audit_fault(
            a, "account %llu says balance %lld, leased %lld, consumed %lld; its entries say other",
            ULL(id), (long long)row.sums.balance_nusd, (long long)row.sums.leased_nusd,
            (long long)row.sums.consumed_nusd);
    return KMY_OK;
}

static kmy_err_t visit_lease(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    uint64_t id;
    uint32_t shard;
    int64_t open_nusd;
    (void)ctx;
    if (!kmy_lease_key_decode(key.mv_data, key.mv_size, &id, &shard) ||
        !kmy_number_decode(value.mv_data, value.mv_size, &open_nusd)) {
        kmy_audit_fault(a, "a lease record is damaged");
        return KMY_OK;
    }
    int64_t want = 0;
    for (uint32_t i = 0; id <= a->tallies_count && i < a->tallies[id - 1].held_count; i++)
        if (a->tallies[id - 1].held[i].shard == shard)
            want = a->tallies[id - 1].held[i].open_nusd;
    if (open_nusd != want || open_nusd <= 0)
        kmy_audit_fault(a,
                        "account %llu has %lld nano-USD leased to shard %u; its entries say %lld",
                        ULL(id), (long long)open_nusd, shard, (long long)want);
    return KMY_OK;
}

void kmy_audit_check_count(kmy_audit_t *a, const char *what, uint64_t have, uint64_t want)
{
    if (have != want)
        kmy_audit_fault(a, "%llu %s where there should be %llu", ULL(have), what, ULL(want));
}

static void check_totals(kmy_audit_t *a)
{
    kmy_audit_check_count(a, "account records", kmy_audit_count(a, KMY_LEDGER_ACCOUNTS),
                          a->totals.accounts_count);
    kmy_audit_check_count(a, "profiles", kmy_audit_count(a, KMY_LEDGER_PROFILES),
                          a->totals.accounts_count);
    kmy_audit_check_count(a, "names", kmy_audit_count(a, KMY_LEDGER_NAMES),
                          a->totals.accounts_count);
    kmy_audit_check_count(a, "entries", kmy_audit_count(a, KMY_LEDGER_JOURNAL),
                          a->totals.entries_count);
    kmy_audit_check_count(a, "references", kmy_audit_count(a, KMY_LEDGER_REFS), a->credits_count);
    kmy_audit_check_count(a, "open leases", kmy_audit_count(a, KMY_LEDGER_LEASES), a->leases_count);
    if (memcmp(&a->sums, &a->totals.sums, sizeof a->sums) != 0)
        kmy_audit_fault(a, "totals do not say what the entries add up to");
}

static kmy_err_t run(kmy_audit_t *a, kmy_errctx_t *ctx)
{
    kmy_err_t err = kmy_audit_each(a, KMY_LEDGER_JOURNAL, visit_entry, ctx);
    if (err == KMY_OK)
        err = kmy_audit_each(a, KMY_LEDGER_ACCOUNTS, visit_account, ctx);
    if (err == KMY_OK)
        err = kmy_audit_each(a, KMY_LEDGER_LEASES, visit_lease, ctx);
    if (err == KMY_OK)
        err = kmy_audit_payments(a, ctx);
    if (err == KMY_OK)
        err = kmy_audit_receipts(a, ctx);
    if (err == KMY_OK)
        err = kmy_audit_passes(a, ctx);
    if (err == KMY_OK)
        err = kmy_audit_usage(a, ctx);
    if (err == KMY_OK)
        err = kmy_audit_allowances(a, ctx);
    if (err != KMY_OK)
        return err;
    check_totals(a);
    kmy_ledger_audit_t *out = a->out;
    out->accounts_count = kmy_audit_count(a, KMY_LEDGER_ACCOUNTS);
    out->entries_count = kmy_audit_count(a, KMY_LEDGER_JOURNAL);
    out->credited_nusd = a->sums.credited_nusd;
    out->balance_nusd = a->sums.balance_nusd;
    out->leased_nusd = a->sums.leased_nusd;
    out->consumed_nusd = a->sums.consumed_nusd;
    out->debt_nusd = a->sums.debt_nusd;
    return KMY_OK;
}

kmy_err_t kmy_ledger_audit_txn(MDB_txn *txn, const MDB_dbi dbi[KMY_LEDGER_TABLES_COUNT],
                               kmy_ledger_audit_t *audit, kmy_errctx_t *ctx)
{
    kmy_audit_t a = { .txn = txn, .dbi = dbi, .out = audit };
    int64_t format = 0;
    kmy_errctx_t why;
    *audit = (kmy_ledger_audit_t){ 0 };
    kmy_err_t err = kmy_ledger_format_get(txn, dbi[KMY_LEDGER_META], &format, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_FAIL(ctx, KMY_CORRUPT, "no format record: this is no ledger");
    if (err == KMY_OK)
        err = kmy_ledger_format_check(format, ctx);
    if (err != KMY_OK)
        return err;
    /* Totals that do not even hold are a fault like others, and the recount goes on. */
    if (kmy_ledger_totals_get(txn, dbi[KMY_LEDGER_META], &a.totals, &why) != KMY_OK)
        kmy_audit_fault(&a, "%s", why.detail);
    if (kmy_ledger_usage_from_get(txn, dbi[KMY_LEDGER_META], &a.usage_from, &why) != KMY_OK)
        kmy_audit_fault(&a, "%s", why.detail);
    /* Not from the totals, which may be damaged: what is allocated follows what is really there. */
    a.tallies_count = kmy_audit_count(&a, KMY_LEDGER_PROFILES);
    a.tallies = calloc(a.tallies_count ? a.tallies_count : 1, sizeof *a.tallies);
    if (!a.tallies)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory in the audit");
    kmy_strmap_init(&a.pass_names);
    err = run(&a, ctx);
    kmy_strmap_fini(&a.pass_names);
    free(a.passes_ns);
    for (uint64_t i = 0; i < a.tallies_count; i++)
        free(a.tallies[i].held);
    free(a.tallies);
    return err;
}

kmy_err_t kmy_ledger_audit(kmy_ledger_t *l, kmy_ledger_audit_t *audit, kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    if (!l->kv.env)
        return KMY_FAIL(ctx, KMY_IO, "the ledger cannot be opened again yet");
    int rc = mdb_txn_begin(l->kv.env, NULL, MDB_RDONLY, &txn);
    if (rc)
        return kmy_kv_fail(ctx, rc, "audit");
    kmy_err_t err = kmy_ledger_audit_txn(txn, l->dbi, audit, ctx);
    mdb_txn_abort(txn);
    return err;
}

kmy_err_t kmy_ledger_audit_path(const char *path, kmy_ledger_audit_t *audit, kmy_errctx_t *ctx)
{
    kmy_kv_options_t options = { .sync = KMY_KV_DURABLE,
                                 .dbis_max = KMY_LEDGER_TABLES_COUNT + 8,
                                 .read_only = true };
    kmy_kv_t kv;
    MDB_txn *txn;
    MDB_dbi dbi[KMY_LEDGER_TABLES_COUNT];
    kmy_err_t err = kmy_kv_open(&kv, path, &options, ctx);
    if (err != KMY_OK)
        return err;
    int rc = mdb_txn_begin(kv.env, NULL, MDB_RDONLY, &txn);
    if (rc) {
        err = kmy_kv_fail(ctx, rc, "audit");
    } else {
        err = kmy_ledger_tables_open(txn, false, dbi, ctx);
        if (err == KMY_OK)
            err = kmy_ledger_audit_txn(txn, dbi, audit, ctx);
        mdb_txn_abort(txn);
    }
    kmy_kv_close(&kv);
    return err;
}
