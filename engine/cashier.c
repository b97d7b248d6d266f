/* dollar 4/7 and 7/7   in: engine/slips (shard)   out: engine/keeper, facilitators and chains, and back */
#include "engine/cashier_inside.h"

#include "pay/network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDLE_MS = 1000,
    WATCH_S = 15,
    HOLD_S = 600,
    SLIPS_PER_TURN = 64,
    JOBS_RESERVE = 32, /* slips are taken in while so many jobs are left for what is under way */
};

/* --- slips ------------------------------------------------------------------------------------- */

void kmy_cashier_answer(kmy_cashier_t *c, uint32_t shard, uint32_t slip, kmy_slip_result_t result)
{
    uint64_t idx = slip;
    kmy_cashier_slip(c, shard, slip)->result = result;
    bool pushed = kmy_queue_push(c->topology->cashier_shard[shard], &idx);
    KMY_ASSERT(pushed); /* as many places as slips */
    kmy_wake_signal(&c->topology->shard_wake[shard]);
}

void kmy_cashier_refuse(kmy_cashier_t *c, uint32_t shard, uint32_t slip, kmy_err_t err,
                        const char *reason, const char *detail)
{
    kmy_slip_t *s = kmy_cashier_slip(c, shard, slip);
    s->err = err;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    snprintf(s->detail, sizeof s->detail, "%s", detail);
    KMY_COUNT(c->metrics, payment_refused_total, 1);
    kmy_cashier_answer(c, shard, slip, KMY_SLIP_REFUSED);
}

static void take_in(kmy_cashier_t *c, uint32_t shard, uint64_t idx)
{
    KMY_ASSERT(idx < KMY_SLIPS);
    kmy_slip_t *s = kmy_cashier_slip(c, shard, (uint32_t)idx);
    if (s->deadline_ns == 0)
        s->deadline_ns = c->now_ns + c->o.config->payments.timeout_ns;
    switch (s->kind) {
    case KMY_SLIP_DEPOSIT:
    case KMY_SLIP_QUERY:
        kmy_cashier_presented(c, shard, (uint32_t)idx);
        break;
    case KMY_SLIP_TRANSFER:
        kmy_cashier_transfer(c, shard, (uint32_t)idx);
        break;
    case KMY_SLIP_STAKE:
        kmy_cashier_stake(c, shard, (uint32_t)idx);
        break;
    default:
        kmy_cashier_desk(c, shard, (uint32_t)idx);
    }
}

/* One of each shard in turn; a signature costs 60 us, so a turn of 64 takes some milliseconds. */
static uint32_t take_slips(kmy_cashier_t *c)
{
    uint32_t n = 0;
    for (bool more = true; more && n < SLIPS_PER_TURN;) {
        more = false;
        for (uint32_t i = 0; i < c->topology->shards_count; i++) {
            uint64_t idx;
            if (c->jobs_free_count < JOBS_RESERVE ||
                !kmy_queue_pop(c->topology->shard_cashier[i], &idx))
                continue;
            take_in(c, i, idx);
            more = true;
            n++;
        }
    }
    return n;
}

/* --- who waits for a case ------------------------------------------------------------------------ */

/* Submitted, or about to be: what it takes to write its header is, or will be, in a chain for everybody to read. */
static bool is_exposed(const kmy_case_t *k)
{
    uint8_t state = k->settling ? (uint8_t)k->settle.state : k->row.state;
    return state > KMY_PAYMENT_VERIFIED;
}

void kmy_cashier_expose(kmy_cashier_t *c, const kmy_case_t *k)
{
    for (uint32_t i = 0; i < c->waits_count; i++) {
        if (c->waits[i].case_idx == (uint32_t)(k - c->cases))
            kmy_cashier_slip(c, c->waits[i].shard, c->waits[i].slip)->exposed = 1;
    }
}

void kmy_cashier_attach(kmy_cashier_t *c, kmy_case_t *k, uint32_t shard, uint32_t slip)
{
    kmy_cashier_slip(c, shard, slip)->exposed = is_exposed(k);
    KMY_ASSERT(c->waits_count < KMY_WAITS); /* a slip waits for one case */
    c->waits[c->waits_count++] = (kmy_wait_t){ shard, slip, (uint32_t)(k - c->cases) };
}

bool kmy_cashier_waits(const kmy_cashier_t *c, const kmy_case_t *k)
{
    for (uint32_t i = 0; i < c->waits_count; i++) {
        if (c->waits[i].case_idx == (uint32_t)(k - c->cases))
            return true;
    }
    return false;
}

void kmy_cashier_answer_case(kmy_cashier_t *c, kmy_case_t *k, kmy_case_fill_t *fill)
{
    for (uint32_t i = 0; i < c->waits_count;) {
        kmy_wait_t w = c->waits[i];
        if (w.case_idx != (uint32_t)(k - c->cases)) {
            i++;
            continue;
        }
        c->waits[i] = c->waits[--c->waits_count];
        kmy_slip_t *s = kmy_cashier_slip(c, w.shard, w.slip);
        s->result = 0;
        fill(c, k, s);
        if (s->result == KMY_SLIP_REFUSED)
            KMY_COUNT(c->metrics, payment_refused_total, 1);
        kmy_cashier_answer(c, w.shard, w.slip, (kmy_slip_result_t)s->result);
    }
}

/* We were the first to submit it, as far as a chain could be asked.  Until then somebody else may have: its use may be seen and not deep enough yet, or no node answers. */
static bool is_first(const kmy_case_t *k)
{
    return k->settling && k->settle.submits > 0;
}

/* Not known yet: the payment goes on, the request does not. */
static void answer_late(kmy_cashier_t *c, kmy_wait_t w)
{
    kmy_case_t *k = &c->cases[w.case_idx];
    kmy_slip_t *s = kmy_cashier_slip(c, w.shard, w.slip);
    if (!k->in_ledger || k->unwritten) {
        kmy_cashier_refuse(c, w.shard, w.slip, KMY_UNAVAILABLE, "",
                           c->draining ? "restarting: send it again in a moment"
                                       : "the chain does not answer: send it again in a moment");
        return;
    }
    memcpy(s->payment_id, k->row.id, sizeof s->payment_id);
    snprintf(s->state, sizeof s->state, "%s", kmy_payment_state_name(k->row.state));
    snprintf(s->network, sizeof s->network, "%s", k->row.chain);
    snprintf(s->tx, sizeof s->tx, "%s", k->row.tx);
    snprintf(s->account, sizeof s->account, "%s", k->payer_account);
    s->paid_version = k->row.version;
    s->exposed |= !is_first(k);
    kmy_cashier_answer(c, w.shard, w.slip, KMY_SLIP_PENDING);
}

/* Returns the next deadline. */
static int64_t end_waits(kmy_cashier_t *c)
{
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < c->waits_count;) {
        kmy_wait_t w = c->waits[i];
        int64_t deadline = kmy_cashier_slip(c, w.shard, w.slip)->deadline_ns;
        if (c->draining || deadline <= c->now_ns) {
            c->waits[i] = c->waits[--c->waits_count];
            answer_late(c, w);
            continue;
        }
        next = deadline < next ? deadline : next;
        i++;
    }
    return next;
}

/* --- the turn ------------------------------------------------------------------------------------ */

static void read_clocks(kmy_cashier_t *c)
{
    c->now_ns = kmy_mono_ns();
    c->now_s = kmy_wall_ns() / KMY_NS_PER_S;
    c->draining = atomic_load(&c->drain);
}

static bool idle(const kmy_cashier_t *c)
{
    for (uint32_t i = 0; i < c->topology->shards_count; i++) {
        if (c->jobs_free_count >= JOBS_RESERVE &&
            kmy_queue_count(c->topology->shard_cashier[i]) > 0)
            return false;
    }
    return kmy_queue_count(c->topology->keeper_cashier) == 0 && !atomic_load(&c->stop) &&
           atomic_load(&c->drain) == c->draining;
}

static void wait_for_work(kmy_cashier_t *c, int64_t until_ns)
{
    kmy_wake_t *w = &c->topology->cashier_wake;
    int64_t left_ms = (until_ns - kmy_mono_ns()) / KMY_NS_PER_MS + 1;
    kmy_wake_arm(w);
    if (left_ms > 0 && idle(c))
        kmy_calls_wait(c->calls, w->fd, left_ms < IDLE_MS ? (int)left_ms : IDLE_MS);
    kmy_wake_disarm(w);
    uint64_t n;
    ssize_t got = read(w->fd, &n, sizeof n);
    (void)got;
}

static void *run(void *arg)
{
    kmy_cashier_t *c = arg;
    pthread_setname_np(pthread_self(), "kmy-cashier");
    while (!atomic_load(&c->stop) || c->jobs_free_count < KMY_JOBS) {
        read_clocks(c);
        uint32_t work = kmy_jobs_turn(c);
        work += take_slips(c);
        work += kmy_calls_turn(c->calls);
        int64_t open_ns = kmy_open_turn(c);
        int64_t holds_ns = kmy_holds_turn(c);
        int64_t stakes_ns = kmy_stakes_turn(c);
        int64_t due_ns = kmy_cases_turn(c);
        int64_t deadline_ns = end_waits(c);
        due_ns = open_ns < due_ns ? open_ns : due_ns;
        due_ns = holds_ns < due_ns ? holds_ns : due_ns;
        due_ns = stakes_ns < due_ns ? stakes_ns : due_ns;
        KMY_GAUGE(c->metrics, payment_open, c->cases_count - c->watched_count - c->settlers_count);
        if (work == 0)
            wait_for_work(c, due_ns < deadline_ns ? due_ns : deadline_ns);
    }
    return NULL;
}

/* --- start and stop ------------------------------------------------------------------------------ */

const kmy_cashier_network_t *kmy_cashier_network(const kmy_cashier_t *c, const char *name_or_chain)
{
    for (uint32_t i = 0; i < c->networks_count; i++) {
        const kmy_pay_entry_t *e = &c->networks[i].way.entry;
        if (strcmp(e->name, name_or_chain) == 0 || strcmp(e->chain, name_or_chain) == 0)
            return &c->networks[i];
    }
    return NULL;
}

static void tell_own_account(const kmy_cashier_t *c, const kmy_cashier_network_t *net)
{
    char address[KMY_EVM_ADDRESS_TEXT_BYTES];
    kmy_evm_address_text(c->settler_address, address);
    kmy_log(KMY_LOG_INFO, "cashier", "payments on %s are submitted by our own account %s",
            net->way.entry.name, address);
    if (net->way.min_payment_nusd == 0)
        kmy_log(KMY_LOG_WARN, "cashier",
                "%s has no min_payment: a query that is paid by its header may bring less than "
                "its gas costs",
                net->way.entry.name);
}

static void tell_who_settles(const kmy_cashier_t *c, const kmy_cashier_network_t *net)
{
    if (net->settler)
        tell_own_account(c, net);
    else if (net->taken)
        kmy_log(KMY_LOG_INFO, "cashier", "payments on %s are submitted by the facilitator",
                net->way.entry.name);
}

static kmy_err_t load_settler_key(kmy_cashier_t *c, kmy_errctx_t *ctx)
{
    kmy_err_t err = kmy_settler_key_load(c->o.config, c->settler_key, c->settler_address, ctx);
    return err == KMY_NOT_FOUND ? KMY_OK : err;
}

static kmy_err_t add_network(kmy_cashier_t *c, const kmy_config_network_t *n, kmy_errctx_t *ctx)
{
    kmy_cashier_network_t *net = &c->networks[c->networks_count];
    kmy_pay_terms_t terms = {
        n->name,      n->chain, n->asset, n->asset_name, n->asset_version, n->pay_to,
        n->fee_payer, NULL,     0
    };
    kmy_err_t err = kmy_pay_entry_init(&net->way.entry, &terms, ctx);
    if (err != KMY_OK)
        return err;
    net->way.min_payment_nusd = n->min_payment_nusd;
    net->way.in_v1 = kmy_pay_network_in_v1(n->name);
    net->rpc = n->rpc;
    net->confirmations = n->confirmations > 1 ? (uint64_t)n->confirmations : 1;
    bool own = kmy_settler_key_serves(c->o.config, n);
    net->taken = own || c->o.config->payments.facilitator[0];
    if (own && !kmy_settler_open(c, net, n->max_fee_gwei))
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    tell_who_settles(c, net);
    if (!n->rpc[0] && c->o.config->payments.facilitator[0])
        kmy_log(KMY_LOG_WARN, "cashier",
                "%s has no rpc: what the facilitator says of a payment there is believed", n->name);
    c->networks_count++;
    return KMY_OK;
}

static void join_url(char *out, size_t cap, const char *base, const char *path)
{
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/')
        len--;
    snprintf(out, cap, "%.*s%s", (int)len, base, path);
}

static kmy_err_t prepare(kmy_cashier_t *c, kmy_errctx_t *ctx)
{
    const kmy_config_t *cfg = c->o.config;
    kmy_err_t err = kmy_config_facilitator_secret(cfg, c->bearer, sizeof c->bearer, ctx);
    c->cases = calloc(KMY_CASES, sizeof *c->cases);
    if (!c->cases)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    if (err == KMY_OK)
        err = load_settler_key(c, ctx);
    for (size_t i = 0; i < cfg->payments.networks_count && err == KMY_OK; i++)
        err = add_network(c, &cfg->payments.networks[i], ctx);
    if (err == KMY_OK)
        err = kmy_stakes_new(c, ctx);
    if (err == KMY_OK)
        err = kmy_calls_new(&c->calls, cfg->payments.ca_file, ctx);
    if (err != KMY_OK)
        return err;
    join_url(c->settle_url, sizeof c->settle_url, cfg->payments.facilitator, "/settle");
    join_url(c->verify_url, sizeof c->verify_url, cfg->payments.facilitator, "/verify");
    c->offer = calloc((size_t)c->networks_count * KMY_SLIP_AMOUNTS_MAX + 1, sizeof *c->offer);
    if (!c->offer)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    for (uint32_t i = 0; i < KMY_JOBS / 64; i++)
        c->jobs_free[i] = UINT64_MAX;
    c->jobs_free_count = KMY_JOBS;
    kmy_strmap_init(&c->ids);
    return KMY_OK;
}

static void release(kmy_cashier_t *c)
{
    for (uint32_t i = 0; c->cases && i < KMY_CASES; i++) {
        free(c->cases[i].json);
        free(c->cases[i].candidates);
    }
    for (uint32_t i = 0; i < c->networks_count; i++)
        kmy_settler_close(&c->networks[i]);
    free(c->cases);
    free(c->offer);
    kmy_strmap_fini(&c->ids);
    kmy_calls_free(c->calls);
    kmy_stakes_free(c->stakes);
    explicit_bzero(c->bearer, sizeof c->bearer);
    explicit_bzero(c->settler_key, sizeof c->settler_key);
    free(c);
}

kmy_err_t kmy_cashier_start(kmy_cashier_t **out, const kmy_cashier_options_t *options,
                            kmy_errctx_t *ctx)
{
    kmy_cashier_t *c = calloc(1, sizeof *c);
    if (!c)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    c->o = *options;
    if (c->o.watch_ns == 0)
        c->o.watch_ns = WATCH_S * KMY_NS_PER_S;
    if (c->o.hold_ns == 0)
        c->o.hold_ns = HOLD_S * KMY_NS_PER_S;
    c->topology = options->topology;
    c->metrics = options->metrics;
    atomic_init(&c->drain, false);
    atomic_init(&c->stop, false);
    kmy_err_t err = prepare(c, ctx);
    if (err == KMY_OK) {
        int rc = pthread_create(&c->thread, NULL, run, c);
        if (rc != 0) {
            errno = rc;
            err = KMY_FAIL_SYS(ctx, KMY_IO, "no thread for the cashier");
        }
    }
    if (err != KMY_OK) {
        release(c);
        return err;
    }
    *out = c;
    return KMY_OK;
}

void kmy_cashier_drain(kmy_cashier_t *c)
{
    atomic_store(&c->drain, true);
    kmy_wake_signal(&c->topology->cashier_wake);
}

void kmy_cashier_stop(kmy_cashier_t *c)
{
    kmy_cashier_drain(c);
    atomic_store(&c->stop, true);
    kmy_wake_signal(&c->topology->cashier_wake);
    pthread_join(c->thread, NULL);
    release(c);
}
