/* dollar 4/7   in: pay/ledger_audit   out: a verdict

   Payments against the journal: each that is settled has exactly one credit and one claim, each claim belongs to one of them or to a plain
   transfer, holds are what the accounts' leases to the cashier say, and what was paid is what was credited. */
#include "pay/ledger_audit_inside.h"

#include "pay/ledger_payment_inside.h"

#include <string.h>

static bool word_is(const kmy_entry_t *e, const char *word)
{
    return e->word_bytes == strlen(word) && memcmp(e->word, word, e->word_bytes) == 0;
}

/* Wraps only where there were faults before, and then shows below. */
static void add(int64_t *sum, int64_t nusd)
{
    *sum = (int64_t)((uint64_t)*sum + (uint64_t)nusd);
}

void kmy_audit_paid(kmy_audit_t *a, const kmy_entry_t *e)
{
    MDB_val value;
    if (e->kind == KMY_ENTRY_CREDIT && word_is(e, "x402")) {
        a->journal_payments_count++;
        add(&a->journal_paid_nusd, e->amount_nusd);
    } else if (e->kind == KMY_ENTRY_CREDIT && word_is(e, "transfer")) {
        a->journal_transfers_count++;
        add(&a->journal_paid_nusd, e->amount_nusd);
    } else if (e->kind == KMY_ENTRY_CREDIT && word_is(e, KMY_ADVANCE_WORD)) {
        a->journal_advances_count++;
        add(&a->journal_advanced_nusd, e->amount_nusd);
    } else if (e->kind == KMY_ENTRY_REVERSE || e->kind == KMY_ENTRY_DEBT) {
        add(word_is(e, KMY_ADVANCE_WORD) ? &a->journal_advanced_nusd : &a->journal_paid_nusd,
            -e->amount_nusd);
        if (!kmy_audit_find(a, KMY_LEDGER_REFS, e->ref, e->ref_bytes, &value))
            kmy_audit_fault(a, "credit %.*s was taken back, and never given", (int)e->ref_bytes,
                            e->ref);
    }
}

/* Entry `id` is the credit of that much to that account under that reference. */
static bool credit_is(const kmy_audit_t *a, uint64_t id, uint64_t account_id, int64_t amount_nusd,
                      const char *word, const char *ref)
{
    uint8_t key[KMY_ID_BYTES];
    MDB_val value;
    kmy_entry_t e;
    kmy_id_encode(id, key);
    return kmy_audit_find(a, KMY_LEDGER_JOURNAL, key, sizeof key, &value) &&
           kmy_entry_decode(value.mv_data, value.mv_size, &e) && e.kind == KMY_ENTRY_CREDIT &&
           e.account_id == account_id && e.amount_nusd == amount_nusd && word_is(&e, word) &&
           e.ref_bytes == strlen(ref) && memcmp(e.ref, ref, e.ref_bytes) == 0;
}

static bool payment_find(const kmy_audit_t *a, const void *id, kmy_stored_payment_t *p)
{
    MDB_val state;
    MDB_val promise;
    memset(p, 0, sizeof *p);
    kmy_payment_id_decode(id, p->row.id);
    return kmy_audit_find(a, KMY_LEDGER_PAYMENTS, id, KMY_PAYMENT_ID_BYTES_RAW, &state) &&
           kmy_audit_find(a, KMY_LEDGER_PROMISES, id, KMY_PAYMENT_ID_BYTES_RAW, &promise) &&
           kmy_payment_state_decode(state.mv_data, state.mv_size, p) &&
           kmy_promise_decode(promise.mv_data, promise.mv_size, &p->row) &&
           p->row.amount_units > 0 && p->row.amount_units <= INT64_MAX / 1000;
}

/* --- payments ------------------------------------------------------------------------------ */

static void check_settled(kmy_audit_t *a, const kmy_stored_payment_t *p, const void *id)
{
    char key[KMY_CLAIM_KEY_BYTES_MAX];
    char ref[KMY_LEDGER_REF_BYTES_MAX + 1];
    MDB_val value;
    kmy_claim_t claim;
    int64_t amount_nusd = kmy_payment_amount_nusd(&p->row);
    kmy_payment_ref(p, ref);
    a->settled_count++;
    add(&a->paid_nusd, amount_nusd);
    if (!credit_is(a, p->entry_id, p->account_id, amount_nusd, "x402", ref))
        kmy_audit_fault(a, "payment %s is settled, and entry %llu is not its credit", p->row.id,
                        ULL(p->entry_id));
    if (!kmy_claim_key(p->row.chain, p->row.tx, p->row.log_index, key) ||
        !kmy_audit_find(a, KMY_LEDGER_CLAIMS, key, strlen(key), &value))
        kmy_audit_fault(a, "payment %s is settled, and its transfer could be redeemed again",
                        p->row.id);
    else if (!kmy_claim_decode(value.mv_data, value.mv_size, &claim) || !claim.payment ||
             memcmp(claim.id, id, sizeof claim.id) != 0 || claim.account_id != p->account_id ||
             claim.entry_id != p->entry_id || claim.amount_nusd != amount_nusd)
        kmy_audit_fault(a, "claim %s does not say what its payment %s says", key, p->row.id);
}

/* What was credited before its chain confirmed it: open only while it may still settle. */
static void check_advance(kmy_audit_t *a, const kmy_stored_payment_t *p)
{
    char ref[KMY_LEDGER_REF_BYTES_MAX + 1];
    if (p->row.advance_nusd == 0)
        return;
    kmy_advance_ref(p, ref);
    a->advances_count++;
    if (!credit_is(a, p->advance_entry, p->account_id, p->row.advance_nusd, KMY_ADVANCE_WORD, ref))
        kmy_audit_fault(a, "payment %s had an advance, and entry %llu is not its credit", p->row.id,
                        ULL(p->advance_entry));
    if (!p->row.advance_open)
        return;
    add(&a->advanced_nusd, p->row.advance_nusd);
    if ((p->row.state != KMY_PAYMENT_SUBMITTED && p->row.state != KMY_PAYMENT_UNKNOWN) ||
        p->row.query || p->row.advance_nusd > kmy_payment_amount_nusd(&p->row))
        kmy_audit_fault(a, "payment %s is %s, and cannot have an advance of %lld nano-USD",
                        p->row.id, kmy_payment_state_name(p->row.state),
                        (long long)p->row.advance_nusd);
}

static void check_open(kmy_audit_t *a, const kmy_stored_payment_t *p, const void *id)
{
    uint8_t key[KMY_PAYER_OPEN_KEY_BYTES];
    MDB_val value;
    memcpy(key, p->row.payer, KMY_PAYER_BYTES);
    memcpy(key + KMY_PAYER_BYTES, id, KMY_PAYMENT_ID_BYTES_RAW);
    a->open_count++;
    if (!kmy_audit_find(a, KMY_LEDGER_OPEN, id, KMY_PAYMENT_ID_BYTES_RAW, &value) ||
        !kmy_audit_find(a, KMY_LEDGER_OPEN_PAYERS, key, sizeof key, &value))
        kmy_audit_fault(a, "payment %s is %s, and nobody would ask its chain", p->row.id,
                        kmy_payment_state_name(p->row.state));
}

static void check_client(kmy_audit_t *a, const kmy_stored_payment_t *p, const void *id)
{
    uint8_t key[KMY_CLIENT_KEY_BYTES_MAX];
    MDB_val value;
    size_t len = strlen(p->row.client_id);
    if (len == 0)
        return;
    memcpy(key, p->row.payer, KMY_PAYER_BYTES);
    memcpy(key + KMY_PAYER_BYTES, p->row.client_id, len);
    a->clients_count++;
    if (!kmy_audit_find(a, KMY_LEDGER_CLIENT_IDS, key, KMY_PAYER_BYTES + len, &value) ||
        value.mv_size != KMY_PAYMENT_ID_BYTES_RAW ||
        memcmp(value.mv_data, id, KMY_PAYMENT_ID_BYTES_RAW) != 0)
        kmy_audit_fault(a, "payment %s is not found by its client's own id", p->row.id);
}

static kmy_err_t visit_payment(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    kmy_stored_payment_t p;
    (void)value;
    (void)ctx;
    if (key.mv_size != KMY_PAYMENT_ID_BYTES_RAW || !payment_find(a, key.mv_data, &p)) {
        kmy_audit_fault(a, "a payment is damaged, or its promise is missing");
        return KMY_OK;
    }
    if (p.row.state == KMY_PAYMENT_SETTLED)
        check_settled(a, &p, key.mv_data);
    else if (kmy_payment_is_open(p.row.state))
        check_open(a, &p, key.mv_data);
    else if (p.row.state == KMY_PAYMENT_REVERSED && p.reversals == 0)
        kmy_audit_fault(a, "payment %s is reversed, and never was", p.row.id);
    check_advance(a, &p);
    check_client(a, &p, key.mv_data);
    if (p.row.answered && !p.row.query)
        kmy_audit_fault(a, "payment %s was answered, and pays no query", p.row.id);
    a->reversals_count += p.reversals;
    return KMY_OK;
}

/* --- claims -------------------------------------------------------------------------------- */

static kmy_err_t visit_claim(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    char text[KMY_CLAIM_KEY_BYTES_MAX] = { 0 };
    char ref[KMY_LEDGER_REF_BYTES_MAX + 1];
    kmy_claim_t claim;
    (void)ctx;
    memcpy(text, key.mv_data, key.mv_size < sizeof text ? key.mv_size : sizeof text - 1);
    const char *bar = strchr(text, '|');
    if (!bar || !strchr(bar + 1, '|') || strlen(text) != key.mv_size ||
        !kmy_claim_decode(value.mv_data, value.mv_size, &claim)) {
        kmy_audit_fault(a, "claim %s is damaged", text);
        return KMY_OK;
    }
    if (claim.payment) {
        a->payment_claims_count++; /* each settled payment found its own: no more than those */
        return KMY_OK;
    }
    a->transfer_claims_count++;
    add(&a->paid_nusd, claim.amount_nusd);
    kmy_claim_ref(text, ref);
    if (!credit_is(a, claim.entry_id, claim.account_id, claim.amount_nusd, "transfer", ref))
        kmy_audit_fault(a, "claim %s says a credit, and entry %llu is none of it", text,
                        ULL(claim.entry_id));
    return KMY_OK;
}

/* --- holds, indices ------------------------------------------------------------------------ */

static kmy_err_t visit_hold(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    uint64_t account_id = 0;
    int64_t nusd = 0;
    kmy_stored_payment_t p;
    (void)ctx;
    if (key.mv_size != KMY_HOLD_KEY_BYTES ||
        !kmy_id_decode(key.mv_data, KMY_ID_BYTES, &account_id) || account_id > a->tallies_count ||
        !kmy_number_decode(value.mv_data, value.mv_size, &nusd) || nusd <= 0) {
        kmy_audit_fault(a, "a hold is damaged");
        return KMY_OK;
    }
    add(&a->tallies[account_id - 1].holds_nusd, nusd);
    if (!payment_find(a, (const uint8_t *)key.mv_data + KMY_ID_BYTES, &p) ||
        p.row.state != KMY_PAYMENT_SETTLED || !p.row.query || p.row.answered ||
        p.account_id != account_id || p.row.price_nusd != nusd)
        kmy_audit_fault(a, "account %llu has a hold for payment %s, which waits for no answer",
                        ULL(account_id), p.row.id);
    return KMY_OK;
}

static void check_holds(kmy_audit_t *a)
{
    for (uint64_t i = 0; i < a->tallies_count; i++) {
        const kmy_tally_t *t = &a->tallies[i];
        int64_t want = 0;
        for (uint32_t j = 0; j < t->held_count; j++)
            if (t->held[j].shard == KMY_LEDGER_HOLD_SHARD)
                want = t->held[j].open_nusd;
        if (t->holds_nusd != want)
            kmy_audit_fault(a, "account %llu has holds of %lld nano-USD; its entries say %lld",
                            ULL(i + 1), (long long)t->holds_nusd, (long long)want);
    }
}

static kmy_err_t visit_presented(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    MDB_val found;
    (void)value;
    (void)ctx;
    if (!kmy_audit_find(a, KMY_LEDGER_OPEN, key.mv_data, key.mv_size, &found))
        kmy_audit_fault(a, "what was presented is kept for a payment that is not open");
    return KMY_OK;
}

static kmy_err_t visit_answer(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    kmy_stored_payment_t p;
    (void)value;
    (void)ctx;
    if (key.mv_size != KMY_PAYMENT_ID_BYTES_RAW || !payment_find(a, key.mv_data, &p) ||
        !p.row.answered || p.row.released)
        kmy_audit_fault(a, "an answer is kept for a payment that was not answered");
    return KMY_OK;
}

/* An address leads to an account that is named after it, on one of its chains. */
static kmy_err_t visit_address(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    uint64_t id = 0;
    kmy_profile_t profile;
    MDB_val found;
    const size_t prefix = 7; /* eip155: */
    (void)ctx;
    if (key.mv_size <= prefix || !kmy_id_decode(value.mv_data, value.mv_size, &id) ||
        !kmy_audit_find(a, KMY_LEDGER_PROFILES, value.mv_data, value.mv_size, &found) ||
        !kmy_profile_decode(found.mv_data, found.mv_size, &profile) ||
        profile.name_bytes <= key.mv_size ||
        memcmp(profile.name + profile.name_bytes - (key.mv_size - prefix),
               (const char *)key.mv_data + prefix, key.mv_size - prefix) != 0)
        kmy_audit_fault(a, "address %.*s leads to account %llu, which is another's",
                        (int)key.mv_size, (const char *)key.mv_data, ULL(id));
    return KMY_OK;
}

static void check_payment_counts(kmy_audit_t *a)
{
    kmy_audit_check_count(a, "promises", kmy_audit_count(a, KMY_LEDGER_PROMISES),
                          kmy_audit_count(a, KMY_LEDGER_PAYMENTS));
    kmy_audit_check_count(a, "open payments", kmy_audit_count(a, KMY_LEDGER_OPEN), a->open_count);
    kmy_audit_check_count(a, "open payments of payers", kmy_audit_count(a, KMY_LEDGER_OPEN_PAYERS),
                          a->open_count);
    kmy_audit_check_count(a, "clients' payment ids", kmy_audit_count(a, KMY_LEDGER_CLIENT_IDS),
                          a->clients_count);
    kmy_audit_check_count(a, "claims of payments", a->payment_claims_count, a->settled_count);
    kmy_audit_check_count(a, "credits of payments", a->journal_payments_count,
                          a->settled_count + a->reversals_count);
    kmy_audit_check_count(a, "credits of transfers", a->journal_transfers_count,
                          a->transfer_claims_count);
    kmy_audit_check_count(a, "credits of advances", a->journal_advances_count, a->advances_count);
    if (a->advanced_nusd != a->journal_advanced_nusd)
        kmy_audit_fault(a, "open advances add up to %lld nano-USD; the entries say %lld",
                        (long long)a->advanced_nusd, (long long)a->journal_advanced_nusd);
    if (a->paid_nusd != a->journal_paid_nusd)
        kmy_audit_fault(a, "payments add up to %lld nano-USD; the entries say %lld",
                        (long long)a->paid_nusd, (long long)a->journal_paid_nusd);
}

kmy_err_t kmy_audit_payments(kmy_audit_t *a, kmy_errctx_t *ctx)
{
    static const struct {
        kmy_ledger_table_t table;
        kmy_audit_visit_t *visit;
    } steps[] = {
        { KMY_LEDGER_PAYMENTS, visit_payment }, { KMY_LEDGER_CLAIMS, visit_claim },
        { KMY_LEDGER_HOLDS, visit_hold },       { KMY_LEDGER_PRESENTED, visit_presented },
        { KMY_LEDGER_ANSWERS, visit_answer },   { KMY_LEDGER_ADDRESSES, visit_address },
    };
    kmy_err_t err = KMY_OK;
    for (size_t i = 0; err == KMY_OK && i < sizeof steps / sizeof *steps; i++)
        err = kmy_audit_each(a, steps[i].table, steps[i].visit, ctx);
    if (err != KMY_OK)
        return err;
    check_holds(a);
    check_payment_counts(a);
    a->out->payments_count = kmy_audit_count(a, KMY_LEDGER_PAYMENTS);
    a->out->paid_nusd = a->journal_paid_nusd;
    a->out->advanced_nusd = a->journal_advanced_nusd;
    return KMY_OK;
}
