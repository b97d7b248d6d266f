/* cashier_rig: the real cashier, keeper and ledger over the real queues; the shards are the test, facilitator and chain a stand-in. */
#ifndef KMY_TESTS_CASHIER_RIG_H
#define KMY_TESTS_CASHIER_RIG_H

#include "tests/chain_stand.h"
#include "tests/ledger_rig.h"

#include "base/clock.h"
#include "engine/cashier.h"
#include "engine/keeper.h"
#include "pay/signin_nonce.h"

#include <poll.h>

enum { SHARDS = 16, PATIENCE_MS = 60000 };
#define DOLLAR INT64_C(1000000000)

typedef struct world {
    rig_t rig;
    chain_t chain;
    kmy_config_t cfg;
    kmy_topology_t t;
    kmy_metrics_t keeper_metrics, metrics;
    kmy_keeper_t *keeper;
    kmy_cashier_t *cashier;
    kmy_pay_entry_t entry; /* of base, at one dollar */
    uint64_t used[SHARDS]; /* slips, a bit each */
    kmy_token_key_t *token_key;
    kmy_offers_t offers;
    int64_t hold_ns;  /* of the next start; 0: as the house has it */
    int64_t watch_ns; /* the same; 0: 50 ms, for tests that wait for a reorganization to be seen */
} world_t;

static inline void world_start(world_t *w)
{
    kmy_cashier_options_t o = { .config = &w->cfg,
                                .topology = &w->t,
                                .metrics = &w->metrics,
                                .token_key = w->token_key,
                                .offers = &w->offers,
                                .watch_ns = w->watch_ns ? w->watch_ns : 50 * KMY_NS_PER_MS,
                                .hold_ns = w->hold_ns };
    memset(w->used, 0, sizeof w->used);
    rig_open(&w->rig);
    assert_int_equal(kmy_topology_make(&w->t, &w->cfg, SHARDS, NULL, 1, &w->rig.ctx), KMY_OK);
    assert_int_equal(
        kmy_keeper_start(&w->keeper, w->rig.ledger, &w->t, &w->keeper_metrics, &w->rig.ctx),
        KMY_OK);
    assert_int_equal(kmy_cashier_start(&w->cashier, &o, &w->rig.ctx), KMY_OK);
}

static inline void world_stop(world_t *w)
{
    kmy_cashier_stop(w->cashier);
    kmy_keeper_stop(w->keeper);
    rig_assert_clean(&w->rig);
    kmy_topology_free(&w->t);
    rig_close(&w->rig);
}

/* more: further lines of the network, such as "confirmations: 3". */
static inline void world_begin(world_t *w, bool rpc, const char *more)
{
    char yaml[2048];
    memset(w, 0, sizeof *w);
    chain_open(&w->chain);
    int n = snprintf(yaml, sizeof yaml,
                     "public: { url: \"https://feed.example\" }\nring: { slots: 8192 "
                     "}\npayments:\n  facilitator: \"%s/f/\"\n"
                     "  timeout: 30s\n  networks:\n    - { name: base, pay_to: \"" US
                     "\", rpc: \"%s%s\"%s }\n",
                     w->chain.http.url, rpc ? w->chain.http.url : "", rpc ? "/rpc" : "", more);
    if (kmy_config_read(&w->cfg, "test", yaml, (size_t)n, &w->rig.ctx) != KMY_OK)
        fail_msg("%s", w->rig.ctx.detail);
    w->token_key = kmy_token_key_new("0123456789abcdef0123456789abcdef", 32, NULL);
    assert_non_null(w->token_key);
    assert_int_equal(kmy_offers_init(&w->offers, &w->cfg, "127.0.0.1:1", &w->rig.ctx), KMY_OK);
    const kmy_pay_terms_t terms = { .name = "base", .pay_to = US };
    assert_int_equal(kmy_pay_entry_init(&w->entry, &terms, NULL), KMY_OK);
    kmy_pay_entry_price(&w->entry, 1000000);
    rig_make(&w->rig, 1);
    world_start(w);
}

static inline world_t *new_world(bool rpc, const char *more)
{
    static world_t w;
    world_begin(&w, rpc, more);
    return &w;
}

static inline void world_end(world_t *w)
{
    world_stop(w);
    rig_remove(&w->rig);
    stand_close(&w->chain.http);
    kmy_token_key_free(w->token_key);
    kmy_config_free(&w->cfg);
}

static inline void world_restart(world_t *w)
{
    world_stop(w);
    world_start(w);
}

/* --- a shard's end of a slip ------------------------------------------------------------------------- */

static inline kmy_slip_t *take_slip(world_t *w, uint32_t shard, uint32_t kind)
{
    uint32_t i = (uint32_t)__builtin_ctzll(~w->used[shard]);
    assert_true(i < KMY_SLIPS);
    w->used[shard] |= UINT64_C(1) << i;
    kmy_slip_t *s = &w->t.slips[shard][i];
    memset(s, 0, offsetof(kmy_slip_t, header));
    s->kind = kind;
    s->amounts_nusd[0] = DOLLAR;
    s->amounts_count = 1;
    return s;
}

static inline void say(world_t *w, uint32_t shard, kmy_slip_t *s)
{
    uint64_t idx = (uint64_t)(s - w->t.slips[shard]);
    assert_true(kmy_queue_push(w->t.shard_cashier[shard], &idx));
    kmy_wake_signal(&w->t.cashier_wake);
}

/* The next answer on that shard; its slip is the test's until it takes another. */
static inline kmy_slip_t *hear_within(world_t *w, uint32_t shard, int ms)
{
    kmy_wake_t *wake = &w->t.shard_wake[shard];
    int64_t late_ns = kmy_mono_ns() + ms * KMY_NS_PER_MS;
    for (;;) {
        uint64_t idx, n;
        kmy_wake_arm(wake);
        bool got = kmy_queue_pop(w->t.cashier_shard[shard], &idx);
        int64_t left_ms = (late_ns - kmy_mono_ns()) / KMY_NS_PER_MS;
        struct pollfd p = { wake->fd, POLLIN, 0 };
        if (!got && left_ms > 0)
            poll(&p, 1, (int)left_ms);
        kmy_wake_disarm(wake);
        ssize_t r = read(wake->fd, &n, sizeof n);
        (void)r;
        if (got) {
            w->used[shard] &= ~(UINT64_C(1) << idx);
            return &w->t.slips[shard][idx];
        }
        if (left_ms <= 0)
            return NULL;
    }
}

static inline kmy_slip_t *hear(world_t *w, uint32_t shard)
{
    kmy_slip_t *s = hear_within(w, shard, PATIENCE_MS);
    if (!s)
        fail_msg("shard %u: no answer", shard);
    return s;
}

static inline void put_header(kmy_slip_t *s, const char *header)
{
    s->header_bytes = (uint32_t)strlen(header);
    assert_true(s->header_bytes <= sizeof s->header);
    memcpy(s->header, header, s->header_bytes);
}

static inline void present_on(world_t *w, uint32_t shard, uint32_t kind, const payment_t *p)
{
    kmy_slip_t *s = take_slip(w, shard, kind);
    put_header(s, p->header);
    say(w, shard, s);
}

static inline kmy_slip_t *present(world_t *w, uint32_t kind, const payment_t *p)
{
    present_on(w, 0, kind, p);
    return hear(w, 0);
}

static inline payment_t pay(world_t *w, const wallet_t *who, uint32_t nonce)
{
    return pay_with(who, &w->entry, 1, nonce, time(NULL) + 60, NULL);
}

static inline int64_t credited_in_all(world_t *w)
{
    return rig_audit(&w->rig).credited_nusd;
}

#define assert_slip(s, want)                                                                       \
    do {                                                                                           \
        if ((s)->result != (want))                                                                 \
            fail_msg("result %u, err %d, state %s, reason %s, detail %s", (s)->result, (s)->err,   \
                     (s)->state, (s)->reason, (s)->detail);                                        \
    } while (0)

#endif
