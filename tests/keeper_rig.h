/* keeper_rig: shards played by a test, over the real queues, the real keeper and the real ledger. */
#ifndef KMY_TESTS_KEEPER_RIG_H
#define KMY_TESTS_KEEPER_RIG_H

#include "engine/keeper.h"
#include "tests/ledger_rig.h"

#include <poll.h>

enum { PATIENCE_MS = 20000 };

typedef struct world {
    rig_t rig;
    kmy_topology_t t;
    kmy_metrics_t metrics;
    kmy_keeper_t *keeper;
} world_t;

static inline void begin_with(world_t *w, uint32_t shards)
{
    kmy_config_t cfg;
    memset(&cfg, 0, sizeof cfg);
    memset(&w->metrics, 0, sizeof w->metrics);
    cfg.ring.slots = 64;
    rig_make(&w->rig, 1);
    rig_open(&w->rig);
    assert_int_equal(kmy_topology_make(&w->t, &cfg, shards, NULL, 1, &w->rig.ctx), KMY_OK);
    assert_int_equal(kmy_keeper_start(&w->keeper, w->rig.ledger, &w->t, &w->metrics, &w->rig.ctx),
                     KMY_OK);
}

static inline void stop_keeper(world_t *w)
{
    kmy_keeper_stop(w->keeper);
    w->keeper = NULL;
}

static inline void end(world_t *w)
{
    if (w->keeper)
        stop_keeper(w);
    rig_assert_clean(&w->rig);
    kmy_topology_free(&w->t);
    rig_remove(&w->rig);
}

static inline void say(world_t *w, uint32_t shard, kmy_ask_t a)
{
    assert_true(kmy_queue_push(w->t.shard_keeper[shard], &a));
    kmy_wake_signal(&w->t.keeper_wake);
}

/* The next tell for that shard, waited for as a shard does. */
static inline kmy_tell_t hear(world_t *w, uint32_t shard)
{
    kmy_tell_t tell;
    kmy_wake_t *wake = &w->t.shard_wake[shard];
    for (;;) {
        kmy_wake_arm(wake);
        bool got = kmy_queue_pop(w->t.keeper_shard[shard], &tell);
        struct pollfd p = { wake->fd, POLLIN, 0 };
        if (!got && poll(&p, 1, PATIENCE_MS) != 1)
            fail_msg("shard %u: no answer", shard);
        kmy_wake_disarm(wake);
        uint64_t n;
        ssize_t r = read(wake->fd, &n, sizeof n);
        (void)r;
        if (got) {
            kmy_wake_signal(&w->t.keeper_wake); /* there is room again */
            return tell;
        }
    }
}

static inline kmy_tell_t hear_kind(world_t *w, uint32_t shard, uint32_t kind)
{
    kmy_tell_t tell;
    do
        tell = hear(w, shard);
    while (tell.kind == KMY_TELL_FIGURES &&
           kind != KMY_TELL_FIGURES); /* news, asking for nothing */
    if (tell.kind != kind)
        fail_msg("shard %u was told %u, not %u", shard, tell.kind, kind);
    return tell;
}

static inline kmy_ask_t named(uint32_t kind, const char *text)
{
    kmy_ask_t a = { .kind = kind, .slot = 3, .gen = 9 };
    snprintf(a.text, sizeof a.text, "%s", text);
    return a;
}

static inline kmy_tell_t mint(world_t *w, uint32_t shard, const char *name, const char *ref,
                              int64_t nusd)
{
    kmy_ask_t a = named(KMY_ASK_MINT, name);
    a.amount_nusd = nusd;
    snprintf(a.ref, sizeof a.ref, "%s", ref);
    say(w, shard, a);
    return hear_kind(w, shard, KMY_TELL_ANSWER);
}

static inline kmy_tell_t open_account(world_t *w, uint32_t shard, const char *name)
{
    say(w, shard, named(KMY_ASK_OPEN, name));
    return hear_kind(w, shard, KMY_TELL_OPENED);
}

#endif
