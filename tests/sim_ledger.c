/* A simulation of the ledger against a model of a page: random payments, advances, allowances, transfers, credits, leases, reports, answers and reorganizations, in batches that are
   committed, given up, refused by the disk or cut by a crash.  Each call must answer what the model answers; after each batch every account and
   every payment must be what the model says, and the audit must find nothing.  All of it follows from the seed.

   sim_ledger              many seeds
   sim_ledger SEED         that one, each step told
   sim_ledger SEED COUNT   from that one on */
#include "tests/sim_ledger_model.h"

#include "pay/ledger_allow.h"
#include "pay/ledger_usage.h"

#include <signal.h>
#include <sys/resource.h>

enum { SEEDS = 1000, BATCHES = 40 };

typedef struct sim {
    rig_t rig;
    model_t m, before;
    uint64_t random, seed;
    int64_t now;
    int batch;
    bool tells;
} sim_t;

static sim_t *running;

#define CHECK(cond, ...) ((cond) ? (void)0 : failed(__LINE__, #cond, __VA_ARGS__))
__attribute__((format(printf, 3, 4))) static void failed(int line, const char *cond,
                                                         const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr,
            "sim_ledger: seed %llu, batch %d, line %d: %s: ", (unsigned long long)running->seed,
            running->batch, line, cond);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nagain: sim_ledger %llu   (%s)\n", (unsigned long long)running->seed,
            running->rig.path);
    exit(1);
}

static unsigned some(sim_t *s, unsigned n)
{
    return (unsigned)(rig_random(&s->random) % n);
}

/* A payment, mostly one that is there. */
static unsigned some_payment(sim_t *s)
{
    unsigned n = some(s, PAYMENTS);
    for (unsigned i = some(s, 8) ? PAYMENTS : 0; i > 0 && !s->m.pay[n].there; i--)
        n = (n + 1) % PAYMENTS;
    return n;
}

/* The call answered err, the model says want. */
static void agree(sim_t *s, const char *what, unsigned a, unsigned b, kmy_err_t err, kmy_err_t want)
{
    if (s->tells)
        printf("%3d %s %u %u: %s\n", s->batch, what, a, b, kmy_err_code(err));
    CHECK(err == want, "%s %u %u: the ledger says %s (%s), the model %s", what, a, b,
          kmy_err_code(err), s->rig.ctx.detail, kmy_err_code(want));
}

static void used(sim_t *s, unsigned slot, unsigned feed, kmy_mode_t mode, int64_t count,
                 int64_t nusd)
{
    CHECK(s->m.uses < USES, "%u", s->m.uses);
    s->m.use[s->m.uses++] = (muse_t){ .hour = s->now / HOUR,
                                      .count = count,
                                      .nusd = nusd,
                                      .slot = (uint8_t)slot,
                                      .feed = (uint8_t)feed,
                                      .mode = (uint8_t)mode };
}

/* --- the model's money -------------------------------------------------------------------------- */

static void credit_slot(sim_t *s, uint8_t slot, unsigned chain, int64_t nusd)
{
    macc_t *a = &s->m.acc[slot];
    if (!a->there)
        a->chain = (uint8_t)chain;
    a->there = true;
    a->credited += nusd;
    come_in(a, nusd);
}

static void end_advance(sim_t *s, mpay_t *p)
{
    if (p->advance_open)
        go_out(&s->m.acc[slot_of(p->payer, p->chain)], p->advance);
    p->advance_open = false;
}

static void settle_payment(sim_t *s, mpay_t *p, unsigned tx, unsigned log, bool holds)
{
    uint8_t slot = slot_of(p->payer, p->chain);
    macc_t *a = &s->m.acc[slot];
    end_advance(s, p);
    credit_slot(s, slot, p->chain, p->amount);
    s->m.claim[p->chain][tx][log] = (mclaim_t){ 1, slot, p->amount };
    p->state = KMY_PAYMENT_SETTLED;
    p->tx = (uint8_t)tx;
    p->log = (uint8_t)log;
    if (holds && p->query && !p->answered && a->balance >= p->price) {
        a->balance -= p->price;
        a->held += p->price;
        p->hold = true;
    }
}

static void end_hold(sim_t *s, mpay_t *p)
{
    macc_t *a = &s->m.acc[slot_of(p->payer, p->chain)];
    if (p->hold) {
        a->held -= p->price;
        come_in(a, p->price);
    }
    p->hold = false;
}

/* --- what is done, to both ------------------------------------------------------------------------ */

static void do_reserve(sim_t *s)
{
    unsigned n = some(s, PAYMENTS);
    unsigned payer = n % PAYERS;
    unsigned chain = n / 3 % 2;
    mpay_t *p = &s->m.pay[n];
    kmy_payment_row_t r = row_of(n, payer, chain);
    bool client = n % 4 == 0;
    kmy_err_t want = p->there ? KMY_DUPLICATE : KMY_OK;
    for (int i = 0; client && want == KMY_OK && i < PAYMENTS; i++)
        if (s->m.pay[i].there && s->m.pay[i].client && s->m.pay[i].payer == payer)
            want = KMY_CONFLICT;
    if (want == KMY_OK && open_of(&s->m, payer) >= KMY_PAYMENTS_OPEN_MAX)
        want = KMY_FULL;
    agree(s, "reserve", n, payer, pay_reserve(&s->rig, r, NULL), want);
    if (want == KMY_OK)
        *p = (mpay_t){ .there = true,
                       .seen = true,
                       .query = r.query,
                       .state = KMY_PAYMENT_RESERVED,
                       .payer = (uint8_t)payer,
                       .chain = (uint8_t)chain,
                       .client = client,
                       .amount = (int64_t)r.amount_units * 1000,
                       .price = r.price_nusd };
}

static void do_state(sim_t *s)
{
    /* What may follow what: r v s u (settled) f, as documented. */
    static const char *const next[KMY_PAYMENT_STATES] = {
        "", "rvsf", "vsf", "suf", "uf", "", "rsf", "",
    };
    static const char letters[] = " rvsu.f";
    static const uint8_t to_states[] = { 1, 2, 3, 3, 4, 6 };
    unsigned n = some_payment(s);
    mpay_t *p = &s->m.pay[n];
    uint8_t to = to_states[some(s, sizeof to_states)];
    kmy_err_t want = KMY_OK;
    if (!p->there)
        want = KMY_NOT_FOUND;
    else if (!strchr(next[p->state], letters[to]))
        want = KMY_CONFLICT;
    else if (p->state == KMY_PAYMENT_FAILED && to != KMY_PAYMENT_FAILED &&
             open_of(&s->m, p->payer) >= KMY_PAYMENTS_OPEN_MAX)
        want = KMY_FULL;
    agree(s, "state", n, to, pay_state(&s->rig, n, (kmy_payment_state_t)to), want);
    if (want == KMY_OK)
        p->state = to;
    if (want == KMY_OK && to == KMY_PAYMENT_FAILED)
        end_advance(s, p);
}

static int64_t advanced_to(const sim_t *s, unsigned payer)
{
    int64_t sum = 0;
    for (int i = 0; i < PAYMENTS; i++)
        sum += s->m.pay[i].advance_open && s->m.pay[i].payer == payer ? s->m.pay[i].advance : 0;
    return sum;
}

static bool could_have_one(const mpay_t *p)
{
    return p->there && p->state <= KMY_PAYMENT_SUBMITTED && !p->query && !p->advance;
}

/* The operator changes the cap now and then. */
static void do_advance(sim_t *s)
{
    unsigned n = some_payment(s);
    for (unsigned i = some(s, 4) ? PAYMENTS : 0; i > 0 && !could_have_one(&s->m.pay[n]); i--)
        n = (n + 1) % PAYMENTS;
    mpay_t *p = &s->m.pay[n];
    if (could_have_one(p) && some(s, 8)) { /* as the cashier does it: both in one batch */
        agree(s, "submit", n, 0, pay_state(&s->rig, n, KMY_PAYMENT_SUBMITTED), KMY_OK);
        p->state = KMY_PAYMENT_SUBMITTED;
    }
    int64_t cap = ADVANCE >> some(s, 4);
    uint8_t slot = slot_of(p->payer, p->chain);
    kmy_err_t want = KMY_OK;
    char id[KMY_PAYMENT_ID_HEX + 1];
    if (!p->there)
        want = KMY_NOT_FOUND;
    else if (p->advance)
        want = KMY_DUPLICATE;
    else if (p->state != KMY_PAYMENT_SUBMITTED || p->query)
        want = KMY_CONFLICT;
    else if (s->m.acc[slot].debt > 0 || advanced_to(s, p->payer) >= cap)
        want = KMY_NO_BALANCE;
    pay_id(id, n);
    agree(s, "advance", n, (unsigned)cap,
          kmy_ledger_payment_advance(s->rig.ledger, id, cap, s->now, NULL, NULL, &s->rig.ctx),
          want);
    if (want != KMY_OK)
        return;
    int64_t left = cap - advanced_to(s, p->payer);
    p->advance = left < p->amount ? left : p->amount;
    p->advance_open = true;
    credit_slot(s, slot, p->chain, p->advance);
}

static void do_settle(sim_t *s)
{
    unsigned n = some_payment(s), tx = some(s, TXS), log = some(s, LOGS);
    mpay_t *p = &s->m.pay[n];
    kmy_err_t want = KMY_OK;
    if (!p->there)
        want = KMY_NOT_FOUND;
    else if (p->state == KMY_PAYMENT_SETTLED)
        want = KMY_DUPLICATE;
    else if (s->m.claim[p->chain][tx][log].kind)
        want = KMY_CONFLICT;
    agree(s, "settle", n, tx * LOGS + log, pay_settle(&s->rig, n, tx, log, NULL), want);
    if (want == KMY_OK)
        settle_payment(s, p, tx, log, true);
}

/* What a transfer's nonce makes of the payment it names; KMY_NOT_FOUND: nothing, it is a plain one. */
static kmy_err_t named_payment(sim_t *s, mpay_t *p, const mpay_t *moved, unsigned tx, unsigned log)
{
    if (!p->there) {
        *p = *moved;
        settle_payment(s, p, tx, log, false);
        return KMY_OK;
    }
    if (p->amount != moved->amount || p->chain != moved->chain || p->payer != moved->payer) {
        if (p->state <= KMY_PAYMENT_UNKNOWN || p->state == KMY_PAYMENT_FAILED)
            p->state = KMY_PAYMENT_FAILED; /* its nonce is gone */
        if (p->state == KMY_PAYMENT_FAILED)
            end_advance(s, p);
        return KMY_NOT_FOUND;
    }
    if (p->state == KMY_PAYMENT_SETTLED)
        return KMY_DUPLICATE;
    settle_payment(s, p, tx, log, false);
    return KMY_OK;
}

static void do_transfer(sim_t *s)
{
    unsigned tx = some(s, TXS), log = some(s, LOGS), n = some(s, PAYMENTS);
    unsigned payer = some(s, 4) ? n % PAYERS : some(s, PAYERS);
    unsigned chain = some(s, 4) ? n / 3 % 2 : some(s, 2);
    bool named = some(s, 2);
    char id[KMY_PAYMENT_ID_HEX + 1];
    kmy_transfer_t t = pay_transfer(tx, log, payer);
    pay_id(id, n);
    snprintf(t.chain, sizeof t.chain, "%s", chains[chain]);
    snprintf(t.account, sizeof t.account, "%s", pay_payer(chains[chain], payer));
    t.contract = payer == 2;
    t.amount_units = some(s, 4) ? 1000 + n : 1 + some(s, 5000);
    t.payment_id = named ? id : NULL;
    mpay_t moved = { .there = true,
                     .payer = (uint8_t)payer,
                     .chain = (uint8_t)chain,
                     .amount = (int64_t)t.amount_units * 1000 };
    mclaim_t *c = &s->m.claim[chain][tx][log];
    uint8_t slot = slot_of(payer, chain);
    kmy_err_t want;
    if (c->kind)
        want = c->slot == slot ? KMY_DUPLICATE : KMY_CONFLICT;
    else
        want = named ? named_payment(s, &s->m.pay[n], &moved, tx, log) : KMY_NOT_FOUND;
    if (want == KMY_NOT_FOUND) {
        credit_slot(s, slot, chain, moved.amount);
        *c = (mclaim_t){ 2, slot, moved.amount };
        want = KMY_OK;
    }
    agree(s, named ? "transfer by nonce" : "transfer", n, tx * LOGS + log,
          kmy_ledger_transfer_credit(s->rig.ledger, &t, s->now, NULL, &s->rig.ctx), want);
}

static void do_reverse(sim_t *s)
{
    unsigned n = some_payment(s);
    mpay_t *p = &s->m.pay[n];
    kmy_err_t want = KMY_OK;
    if (!p->there)
        want = KMY_NOT_FOUND;
    else if (p->state != KMY_PAYMENT_SETTLED)
        want = p->state == KMY_PAYMENT_REVERSED ? KMY_DUPLICATE : KMY_CONFLICT;
    agree(s, "reverse", n, 0, pay_reverse(&s->rig, n, NULL), want);
    if (want != KMY_OK)
        return;
    macc_t *a = &s->m.acc[slot_of(p->payer, p->chain)];
    end_hold(s, p);
    a->reorged += go_out(a, p->amount);
    s->m.claim[p->chain][p->tx][p->log].kind = 0;
    p->state = KMY_PAYMENT_REVERSED;
}

static void do_answer(sim_t *s)
{
    unsigned n = some_payment(s);
    mpay_t *p = &s->m.pay[n];
    macc_t *a = &s->m.acc[slot_of(p->payer, p->chain)];
    char body[32];
    bool given = some(s, 3);
    uint8_t word = (uint8_t)some(s, 200);
    kmy_err_t want = KMY_OK;
    const char *kept;
    int64_t charged = some(s, 2) ? p->price : p->price - p->price * (int64_t)some(s, 100) / 100;
    if (!p->there)
        want = KMY_NOT_FOUND;
    else if (p->query && p->answered)
        want = KMY_DUPLICATE;
    else if (!p->query || (p->state != KMY_PAYMENT_SETTLED && p->state != KMY_PAYMENT_REVERSED))
        want = KMY_CONFLICT;
    else if (p->state == KMY_PAYMENT_REVERSED || (given && !p->hold && a->balance < charged))
        want = KMY_NO_BALANCE;
    snprintf(body, sizeof body, "answer %u", word);
    agree(s, given ? "answer" : "release", n, word,
          pay_answer_for(&s->rig, n, given ? body : NULL, charged, s->now, &kept, NULL), want);
    if (want == KMY_DUPLICATE) {
        bool there = !p->released && p->kept_until >= s->now;
        snprintf(body, sizeof body, "answer %u", p->body);
        CHECK((kept != NULL) == there, "payment %u", n);
        CHECK(!kept || strcmp(kept, body) == 0, "payment %u: %s", n, kept);
    }
    if (want != KMY_OK)
        return;
    p->answered = true;
    p->released = !given;
    p->body = word;
    p->kept_until = s->now + 24 * HOUR;
    if (!given) {
        end_hold(s, p);
        return;
    }
    if (p->hold) {
        a->held -= p->price;
        come_in(a, p->price - charged);
    } else {
        a->balance -= charged;
    }
    p->hold = false;
    a->consumed += charged;
    used(s, slot_of(p->payer, p->chain), 0, KMY_MODE_QUERY, 1, charged);
}

static void name_of(const sim_t *s, unsigned slot, char out[KMY_ACCOUNT_BYTES_MAX])
{
    if (slot > OPERATOR) {
        name_of(s, s->m.acc[slot].parent, out);
        size_t len = strlen(out);
        snprintf(out + len, KMY_ACCOUNT_BYTES_MAX - len, ".kid-%u", slot - OPERATOR - 1);
    } else if (slot == OPERATOR)
        snprintf(out, KMY_ACCOUNT_BYTES_MAX, "local:operator");
    else
        snprintf(out, KMY_ACCOUNT_BYTES_MAX, "%s",
                 pay_payer(chains[s->m.acc[slot].chain], slot < 2 ? slot : 2));
}

static kmy_account_t look(sim_t *s, unsigned slot)
{
    char name[KMY_ACCOUNT_BYTES_MAX];
    kmy_account_t a;
    name_of(s, slot, name);
    kmy_err_t err = kmy_ledger_account_by_name(s->rig.ledger, name, &a, &s->rig.ctx);
    CHECK(err == KMY_OK, "account %s: %s", name, kmy_err_code(err));
    return a;
}

static void do_grant(sim_t *s)
{
    unsigned k = some(s, REFS), slot = some(s, ACCOUNTS);
    int64_t nusd = 1 + some(s, 2) * 777;
    char ref[16];
    if (!s->m.acc[slot].there && slot != OPERATOR)
        return;
    if (!s->m.acc[slot].there) {
        kmy_err_t made =
            kmy_ledger_account_make(s->rig.ledger, "local:operator", s->now, NULL, &s->rig.ctx);
        CHECK(made == KMY_OK, "%s", kmy_err_code(made));
        s->m.acc[slot].there = true;
    }
    kmy_err_t want = KMY_OK;
    if (s->m.ref[k].there)
        want =
            s->m.ref[k].slot == slot && s->m.ref[k].amount == nusd ? KMY_DUPLICATE : KMY_CONFLICT;
    snprintf(ref, sizeof ref, "grant-%u", k);
    agree(s, "grant", k, slot,
          kmy_ledger_credit(s->rig.ledger, look(s, slot).id, "grant", ref, nusd, s->now, NULL,
                            &s->rig.ctx),
          want);
    if (want != KMY_OK)
        return;
    s->m.ref[k].there = true;
    s->m.ref[k].slot = (uint8_t)slot;
    s->m.ref[k].amount = nusd;
    credit_slot(s, (uint8_t)slot, 0, nusd);
}

static void do_lease(sim_t *s)
{
    unsigned slot = some(s, ACCOUNTS), shard = some(s, SHARDS);
    macc_t *a = &s->m.acc[slot];
    if (!a->there)
        return;
    int64_t want = 1 + some(s, 3000000), granted = -1;
    int64_t expect = want < a->balance ? want : a->balance;
    kmy_err_t err = kmy_ledger_lease(s->rig.ledger, look(s, slot).id, shard, want, s->now, &granted,
                                     NULL, &s->rig.ctx);
    agree(s, "lease", slot, shard, err, KMY_OK);
    CHECK(granted == expect, "%lld, not %lld", (long long)granted, (long long)expect);
    a->balance -= granted;
    a->leased[shard] += granted;
}

static const char *const feeds[FEEDS] = { "SOL/USD", "BTC/USD", "ETH/USD" };

static int by_order(const void *a, const void *b)
{
    return kmy_use_compare(a, b);
}

/* Splits what was spent among some feeds and modes; tells report and model. */
static size_t share_out(sim_t *s, unsigned slot, kmy_ledger_report_t *r, kmy_use_t uses[FEEDS])
{
    int64_t left = r->consumed_nusd;
    r->ticks_count = r->queries_count = 0;
    for (unsigned i = 0; i < FEEDS; i++) {
        kmy_use_t *u = &uses[i];
        *u = (kmy_use_t){ .mode = 1 + some(s, KMY_MODES - 1), .count = 1 + some(s, 9) };
        u->nusd = i + 1 < FEEDS ? left / 2 : left;
        left -= u->nusd;
        used(s, slot, 1 + i, (kmy_mode_t)u->mode, (int64_t)u->count, u->nusd);
        bool asked = u->mode == KMY_MODE_QUERY || u->mode == KMY_MODE_BATCH;
        *(asked ? &r->queries_count : &r->ticks_count) += u->count;
        CHECK(kmy_ledger_feed(s->rig.ledger, feeds[i], &u->feed, &s->rig.ctx) == KMY_OK, "feed");
    }
    qsort(uses, FEEDS, sizeof *uses, by_order);
    return FEEDS;
}

static void do_report(sim_t *s)
{
    unsigned at = some(s, ACCOUNTS * SHARDS), tries = 0;
    while (s->m.acc[at / SHARDS].leased[at % SHARDS] == 0) { /* the next that holds something */
        if (++tries == ACCOUNTS * SHARDS)
            return;
        at = (at + 1) % (ACCOUNTS * SHARDS);
    }
    unsigned slot = at / SHARDS, shard = at % SHARDS;
    macc_t *a = &s->m.acc[slot];
    int64_t spent = (int64_t)(rig_random(&s->random) % (uint64_t)(a->leased[shard] + 1));
    int64_t back = (int64_t)(rig_random(&s->random) % (uint64_t)(a->leased[shard] - spent + 1));
    kmy_ledger_report_t r = { .account_id = look(s, slot).id,
                              .shard = shard,
                              .consumed_nusd = spent,
                              .returned_nusd = back,
                              .ticks_count = 1 };
    kmy_use_t uses[FEEDS];
    if (some(s, 4)) {
        r.uses = uses;
        r.uses_count = share_out(s, slot, &r, uses);
    } else {
        used(s, slot, 0, KMY_MODE_NONE, 1, spent);
    }
    agree(s, "report", slot, shard, kmy_ledger_settle(s->rig.ledger, &r, s->now, NULL, &s->rig.ctx),
          KMY_OK);
    a->leased[shard] -= spent + back;
    a->consumed += spent;
    come_in(a, back);
}

static void do_nonce(sim_t *s)
{
    unsigned k = some(s, NONCES);
    char nonce[16];
    snprintf(nonce, sizeof nonce, "nonce-%u", k);
    kmy_err_t err =
        kmy_ledger_spend_nonce(s->rig.ledger, nonce, s->now + HOUR / 12, s->now, &s->rig.ctx);
    bool spent = s->m.nonce_until[k] != 0;
    bool forgettable = s->m.nonce_until[k] + 24 * HOUR < s->now;
    agree(s, "nonce", k, 0, err, spent && !(forgettable && err == KMY_OK) ? KMY_DUPLICATE : KMY_OK);
    if (err == KMY_OK)
        s->m.nonce_until[k] = s->now + HOUR / 12;
}

/* --- allowances ----------------------------------------------------------------------------------- */

static void do_allow(sim_t *s)
{
    unsigned k = some(s, KIDS), parent = some(s, ACCOUNTS);
    macc_t *kid = &s->m.acc[OPERATOR + 1 + k];
    macc_t *from = &s->m.acc[parent];
    kmy_account_t child, after;
    int64_t expires_ns, nusd = 1 + some(s, 2) * 500000;
    if (!from->there)
        return;
    kmy_allowance_t a = { .parent_id = look(s, parent).id,
                          .amount_nusd = nusd,
                          .expires_ns = s->now + some(s, 4) * HOUR };
    snprintf(a.jti, sizeof a.jti, "kid-%u", k);
    kmy_err_t want = from->balance < nusd ? KMY_NO_BALANCE : KMY_OK;
    if (kid->there)
        want = kid->parent == parent && kid->amount == nusd ? KMY_DUPLICATE : KMY_CONFLICT;
    if (parent > OPERATOR)
        want = KMY_FORBIDDEN;
    agree(s, "allow", k, parent,
          kmy_ledger_allow(s->rig.ledger, &a, s->now, &child, &after, &expires_ns, &s->rig.ctx),
          want);
    if (want != KMY_OK)
        return;
    from->balance -= nusd;
    from->moved -= nusd;
    kid->there = kid->open = true;
    kid->parent = (uint8_t)parent;
    kid->balance = kid->moved = kid->amount = nusd;
    kid->due = a.expires_ns + KMY_ALLOWANCE_LEEWAY_NS;
}

static void do_void(sim_t *s)
{
    unsigned k = some(s, KIDS);
    macc_t *kid = &s->m.acc[OPERATOR + 1 + k];
    char jti[KMY_JTI_BYTES_MAX];
    snprintf(jti, sizeof jti, "kid-%u", k);
    agree(s, "void", k, 0, kmy_ledger_revoke(s->rig.ledger, jti, NOW, &s->rig.ctx), KMY_OK);
    if (!kid->revoked && kid->open)
        kid->due = 0;
    kid->revoked = true;
}

static void do_return(sim_t *s)
{
    macc_t *first = first_due(&s->m, s->now);
    kmy_account_t child, parent;
    int64_t leased = 0;
    for (int i = 0; first && i < SHARDS; i++)
        leased += first->leased[i];
    kmy_err_t want = !first ? KMY_NOT_FOUND : leased > 0 ? KMY_AGAIN : KMY_OK;
    agree(s, "return", 0, 0,
          kmy_ledger_allowance_return(s->rig.ledger, s->now, &child, &parent, &s->rig.ctx), want);
    if (want == KMY_AGAIN)
        first->due = s->now + KMY_ALLOWANCE_AGAIN_NS;
    if (want != KMY_OK)
        return;
    macc_t *to = &s->m.acc[first->parent];
    to->moved += first->balance;
    first->moved -= first->balance;
    come_in(to, first->balance);
    first->balance = 0;
    first->open = false;
}

/* --- what must hold ------------------------------------------------------------------------------- */

static int64_t check_account(sim_t *s, unsigned slot)
{
    const macc_t *a = &s->m.acc[slot];
    kmy_account_t is = look(s, slot);
    int64_t leased = a->held;
    for (int i = 0; i < SHARDS; i++)
        leased += a->leased[i];
    CHECK(is.credited_nusd == a->credited && is.balance_nusd == a->balance &&
              is.leased_nusd == leased && is.consumed_nusd == a->consumed &&
              is.debt_nusd == a->debt && is.moved_nusd == a->moved,
          "slot %u: credited %lld/%lld, balance %lld/%lld, leased %lld/%lld, consumed %lld/%lld, "
          "debt %lld/%lld",
          slot, (long long)is.credited_nusd, (long long)a->credited, (long long)is.balance_nusd,
          (long long)a->balance, (long long)is.leased_nusd, (long long)leased,
          (long long)is.consumed_nusd, (long long)a->consumed, (long long)is.debt_nusd,
          (long long)a->debt);
    /* Invariants 1 and 4 of the threat model. */
    CHECK(a->credited + a->debt + a->moved == a->balance + leased + a->consumed, "slot %u", slot);
    CHECK(a->balance >= 0 && (a->debt == 0 || a->balance == 0), "slot %u", slot);
    /* Nobody has more for nothing than may be advanced, but for what a chain took back when it was settled. */
    int64_t open = 0;
    for (unsigned n = 0; n < PAYMENTS; n++) {
        const mpay_t *p = &s->m.pay[n];
        open += p->advance_open && slot_of(p->payer, p->chain) == slot ? p->advance : 0;
    }
    CHECK(is.consumed_nusd - (is.credited_nusd + is.moved_nusd - open) <= ADVANCE + a->reorged,
          "slot %u", slot);
    return a->credited;
}

/* A window of the last 30 days at most: what the ledger says of it is what was used in it, feed by feed. */
static void check_usage(sim_t *s, unsigned slot)
{
    static const int64_t windows[] = { 0, 1, 24, 30 * 24 };
    int64_t from = s->now / HOUR - windows[some(s, 4)];
    kmy_usage_sums_t want[FEEDS + 1] = { { .count = { 0 } } };
    kmy_usage_sums_t total = { .count = { 0 } };
    kmy_usage_t *u;
    for (unsigned i = 0; i < s->m.uses; i++) {
        const muse_t *m = &s->m.use[i];
        if (m->slot != slot || m->hour < from)
            continue;
        want[m->feed].count[m->mode] += (uint64_t)m->count;
        want[m->feed].nusd[m->mode] += m->nusd;
        total.count[m->mode] += (uint64_t)m->count;
        total.nusd[m->mode] += m->nusd;
    }
    kmy_err_t err = kmy_ledger_usage(s->rig.ledger, look(s, slot).id, from * HOUR, 0, FEEDS + 1, &u,
                                     &s->rig.ctx);
    CHECK(err == KMY_OK, "usage of slot %u: %s", slot, s->rig.ctx.detail);
    CHECK(memcmp(&u->total, &total, sizeof total) == 0, "usage of slot %u", slot);
    for (unsigned i = 0; i < u->count; i++) {
        unsigned feed = 0;
        for (unsigned k = 0; k < FEEDS; k++)
            feed = strcmp(u->feeds[i].name, feeds[k]) == 0 ? k + 1 : feed;
        CHECK(memcmp(&u->feeds[i].sums, &want[feed], sizeof *want) == 0, "slot %u: usage of %s",
              slot, u->feeds[i].name);
    }
    free(u);
}

static void check_payment(sim_t *s, unsigned n)
{
    const mpay_t *p = &s->m.pay[n];
    char id[KMY_PAYMENT_ID_HEX + 1];
    kmy_payment_row_t row;
    pay_id(id, n);
    kmy_err_t err = kmy_ledger_payment_get(s->rig.ledger, id, &row, &s->rig.ctx);
    CHECK(err == (p->there ? KMY_OK : KMY_NOT_FOUND), "payment %u: %s", n, kmy_err_code(err));
    if (!p->there)
        return;
    CHECK(row.state == p->state && row.answered == p->answered && row.released == p->released,
          "payment %u: %s, the model %s", n, kmy_payment_state_name(row.state),
          kmy_payment_state_name(p->state));
    CHECK(row.advance_nusd == p->advance && row.advance_open == p->advance_open, "payment %u", n);
    if (p->state == KMY_PAYMENT_SETTLED)
        CHECK(strcmp(row.tx, pay_tx(p->tx)) == 0 && row.log_index == p->log, "payment %u", n);
}

static void check_all(sim_t *s)
{
    kmy_ledger_audit_t audit;
    int64_t credited = 0, paid = 0, granted = 0, advanced = 0;
    uint64_t accounts = 0;
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        accounts += s->m.acc[i].there;
        credited += s->m.acc[i].there ? check_account(s, i) : 0;
        if (s->m.acc[i].there)
            check_usage(s, i);
    }
    for (unsigned n = 0; n < PAYMENTS; n++)
        check_payment(s, n);
    for (unsigned i = 0; i < 2 * TXS * LOGS; i++) {
        const mclaim_t *c = &s->m.claim[0][0][0] + i;
        paid += c->kind ? c->amount : 0;
    }
    for (unsigned i = 0; i < REFS; i++)
        granted += s->m.ref[i].there ? s->m.ref[i].amount : 0;
    for (unsigned payer = 0; payer < PAYERS; payer++) {
        CHECK(advanced_to(s, payer) <= ADVANCE, "payer %u", payer);
        advanced += advanced_to(s, payer);
    }
    CHECK(credited == paid + granted + advanced, "%lld, %lld, %lld", (long long)credited,
          (long long)paid, (long long)advanced); /* 5 */
    kmy_err_t err = kmy_ledger_audit(s->rig.ledger, &audit, &s->rig.ctx);
    CHECK(err == KMY_OK && audit.faults_count == 0, "%s", audit.first_fault);
    CHECK(audit.paid_nusd == paid && audit.advanced_nusd == advanced &&
              audit.credited_nusd == credited && audit.accounts_count == accounts,
          "%lld", (long long)audit.paid_nusd);
}

/* --- batches ---------------------------------------------------------------------------------------- */

static void crash(sim_t *s)
{
    kmy_ledger_close(s->rig.ledger); /* with its batch, if it has one */
    kmy_err_t err = kmy_ledger_open(&s->rig.ledger, s->rig.path, &s->rig.recovery, &s->rig.ctx);
    CHECK(err == KMY_OK, "%s", s->rig.ctx.detail);
    int64_t leased = 0, held = 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        macc_t *a = &s->m.acc[i];
        for (int j = 0; j < SHARDS; j++) {
            leased += a->leased[j];
            come_in(a, a->leased[j]);
            a->leased[j] = 0;
        }
        held += a->held;
        come_in(a, a->held);
        a->held = 0;
    }
    for (int n = 0; n < PAYMENTS; n++)
        s->m.pay[n].hold = false;
    CHECK(s->rig.recovery.leases_nusd == leased && s->rig.recovery.holds_nusd == held, "%lld",
          (long long)leased);
}

static void file_bytes_max(rlim_t bytes)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0, "getrlimit");
    limit.rlim_cur = bytes;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
}

static void end_batch(sim_t *s)
{
    unsigned how = some(s, 20);
    const char *word = how < 2 ? "abort" : how < 4 ? "crash" : how < 6 ? "refused" : "commit";
    if (s->tells)
        printf("%3d %s\n", s->batch, word);
    if (how < 2) {
        kmy_ledger_abort(s->rig.ledger);
        s->m = s->before;
    } else if (how < 4) {
        s->m = s->before;
        crash(s);
    } else if (how < 6) {
        file_bytes_max(4096); /* no page but the first can be written */
        kmy_err_t err = kmy_ledger_commit(s->rig.ledger, &s->rig.ctx);
        file_bytes_max(RLIM_INFINITY);
        /* A batch that changed nothing has nothing to be refused. */
        CHECK(err == KMY_IO || memcmp(&s->m, &s->before, sizeof s->m) == 0, "%s",
              kmy_err_code(err));
        s->m = s->before;
    } else {
        kmy_err_t err = kmy_ledger_commit(s->rig.ledger, &s->rig.ctx);
        CHECK(err == KMY_OK, "%s", s->rig.ctx.detail);
        if (some(s, 8) == 0)
            crash(s);
    }
}

static void run_batch(sim_t *s)
{
    static void (*const steps[])(sim_t *) = {
        do_reserve, do_reserve, do_reserve, do_state,  do_state,    do_state,
        do_advance, do_advance, do_settle,  do_settle, do_transfer, do_answer,
        do_answer,  do_reverse, do_grant,   do_lease,  do_lease,    do_report,
        do_nonce,   do_allow,   do_allow,   do_void,   do_return,   do_return,
    };
    s->now += some(s, 30) == 0 ? 30 * HOUR : some(s, 3) * HOUR;
    s->now += some(s, 60) == 0 ? 32 * 24 * HOUR : 0; /* all there is becomes old */
    s->before = s->m;
    CHECK(kmy_ledger_begin(s->rig.ledger, &s->rig.ctx) == KMY_OK, "%s", s->rig.ctx.detail);
    for (unsigned n = 1 + some(s, 8); n > 0; n--)
        steps[some(s, sizeof steps / sizeof *steps)](s);
    end_batch(s);
    check_all(s);
}

static void run_seed(uint64_t seed, bool tells)
{
    static sim_t s;
    memset(&s, 0, sizeof s);
    running = &s;
    s.seed = seed;
    s.random = rig_seed(seed);
    s.now = NOW;
    s.tells = tells;
    rig_make(&s.rig, 1);
    kmy_err_t err = kmy_ledger_open(&s.rig.ledger, s.rig.path, NULL, &s.rig.ctx);
    CHECK(err == KMY_OK, "%s", s.rig.ctx.detail);
    for (s.batch = 0; s.batch < BATCHES; s.batch++)
        run_batch(&s);
    rig_remove(&s.rig);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : SEEDS;
    signal(SIGXFSZ, SIG_IGN);
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed, argc == 2);
    printf("sim_ledger: %llu seeds of %d batches, nothing to say\n", (unsigned long long)count,
           BATCHES);
    return 0;
}
