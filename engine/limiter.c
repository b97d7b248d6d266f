#include "engine/limiter.h"

#include "base/clock.h"
#include "base/strmap.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    WAYS = 8, /* buckets of a set: two cache lines */
    ADDRESSES_MAX =
        131072, /* 2 MiB; at 10/s and a burst of 50 a bucket is full again after 5 s, so 26,000 new abusers a second fit */
    ACCOUNTS_MAX = 65536, /* 1 MiB each; behind these names stand signed tokens */
};

/* --- one bucket ---------------------------------------------------------------------------- */

static kmy_verdict_t judge(int64_t full_ns, kmy_rate_t rate, int64_t cost, int64_t now_ns)
{
    int64_t base = full_ns > now_ns ? full_ns : now_ns;
    int64_t room_ns = rate.burst * rate.step_ns - (base - now_ns); /* as tokens: what is in it */
    int64_t lacks_ns = cost * rate.step_ns - room_ns;
    kmy_verdict_t v = { .taken = lacks_ns <= 0 };
    if (v.taken) {
        room_ns -= cost * rate.step_ns;
        base += cost * rate.step_ns;
    } else {
        v.wait_ns = lacks_ns;
    }
    v.left = room_ns > 0 ? room_ns / rate.step_ns : 0;
    v.reset_ns = base - now_ns;
    return v;
}

kmy_verdict_t kmy_bucket_take(int64_t *full_ns, kmy_rate_t rate, int64_t cost, int64_t now_ns)
{
    kmy_verdict_t v = judge(*full_ns, rate, cost, now_ns);
    if (v.taken)
        *full_ns = now_ns + v.reset_ns;
    return v;
}

/* --- a table of them ----------------------------------------------------------------------- */

typedef struct slot {
    _Atomic uint64_t name; /* 0: never used */
    _Atomic int64_t full_ns;
} slot_t;

struct kmy_buckets {
    size_t sets_count; /* power of two */
    size_t bytes;
    slot_t *slots;
};

kmy_buckets_t *kmy_buckets_new(size_t names)
{
    kmy_buckets_t *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->sets_count = 1;
    while (t->sets_count * WAYS < names)
        t->sets_count *= 2;
    t->bytes = t->sets_count * WAYS * sizeof *t->slots;
    void *mem = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mem == MAP_FAILED) {
        free(t);
        return NULL;
    }
    t->slots = mem; /* all zero: nobody's, and full */
    return t;
}

void kmy_buckets_free(kmy_buckets_t *t)
{
    if (!t)
        return;
    munmap(t->slots, t->bytes);
    free(t);
}

static slot_t *set_of(kmy_buckets_t *t, uint64_t name)
{
    return &t->slots[(name >> 32 & (t->sets_count - 1)) * WAYS];
}

static slot_t *find(slot_t *set, uint64_t name)
{
    for (int i = 0; i < WAYS; i++) {
        if (atomic_load_explicit(&set[i].name, memory_order_relaxed) == name)
            return &set[i];
    }
    return NULL;
}

/* The bucket that is full soonest changes its owner.  NULL: another shard was faster. */
static slot_t *take_over(slot_t *set, uint64_t name, int64_t now_ns)
{
    slot_t *best = set;
    for (int i = 1; i < WAYS; i++) {
        if (atomic_load_explicit(&set[i].full_ns, memory_order_relaxed) <
            atomic_load_explicit(&best->full_ns, memory_order_relaxed))
            best = &set[i];
    }
    uint64_t old = atomic_load_explicit(&best->name, memory_order_relaxed);
    if (!atomic_compare_exchange_strong(&best->name, &old, name))
        return NULL;
    /* The old owner's debt, if any was left, is not the new one's. */
    if (atomic_load_explicit(&best->full_ns, memory_order_relaxed) > now_ns)
        atomic_store(&best->full_ns, now_ns);
    return best;
}

kmy_verdict_t kmy_buckets_take(kmy_buckets_t *t, uint64_t name, kmy_rate_t rate, int64_t now_ns)
{
    name |= 1; /* 0 is nobody */
    slot_t *set = set_of(t, name);
    for (;;) {
        slot_t *slot = find(set, name);
        if (!slot && !(slot = take_over(set, name, now_ns)))
            continue; /* at most as often as others succeed */
        int64_t full_ns = atomic_load(&slot->full_ns);
        kmy_verdict_t v = judge(full_ns, rate, 1, now_ns);
        if (!v.taken ||
            atomic_compare_exchange_strong(&slot->full_ns, &full_ns, now_ns + v.reset_ns))
            return v;
    }
}

void kmy_buckets_give(kmy_buckets_t *t, uint64_t name, kmy_rate_t rate)
{
    slot_t *slot = find(set_of(t, name | 1), name | 1);
    if (slot)
        atomic_fetch_sub(&slot->full_ns, rate.step_ns);
}

/* --- connections per address --------------------------------------------------------------- */

enum { NOBODY = UINT32_MAX };

typedef struct guest {
    uint64_t name;
    uint32_t count;
    uint32_t next; /* in its chain; in the free list */
} guest_t;

struct kmy_crowd {
    pthread_mutex_t lock;
    uint32_t max;
    uint32_t chains_count; /* power of two */
    uint32_t *chains;
    guest_t *guests;
    uint32_t free_head;
};

kmy_crowd_t *kmy_crowd_new(uint32_t conns_max, uint32_t max)
{
    kmy_crowd_t *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    c->max = max;
    c->chains_count = 16;
    while (c->chains_count < conns_max)
        c->chains_count *= 2;
    c->chains = malloc(c->chains_count * sizeof *c->chains);
    c->guests = malloc(conns_max * sizeof *c->guests);
    if (!c->chains || !c->guests) {
        kmy_crowd_free(c);
        return NULL;
    }
    memset(c->chains, 0xff, c->chains_count * sizeof *c->chains);
    for (uint32_t i = 0; i < conns_max; i++)
        c->guests[i].next = i + 1 < conns_max ? i + 1 : NOBODY;
    return c;
}

void kmy_crowd_free(kmy_crowd_t *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    free(c->chains);
    free(c->guests);
    free(c);
}

static uint32_t *chain_of(kmy_crowd_t *c, uint64_t name)
{
    uint32_t *at = &c->chains[name & (c->chains_count - 1)];
    while (*at != NOBODY && c->guests[*at].name != name)
        at = &c->guests[*at].next;
    return at;
}

bool kmy_crowd_enter(kmy_crowd_t *c, const struct in6_addr *addr)
{
    uint64_t name = kmy_peer_name(addr);
    bool in = false;
    pthread_mutex_lock(&c->lock);
    uint32_t *at = chain_of(c, name);
    if (*at == NOBODY && c->free_head != NOBODY) {
        uint32_t idx = c->free_head;
        c->free_head = c->guests[idx].next;
        c->guests[idx] = (guest_t){ .name = name, .next = NOBODY };
        *at = idx;
    }
    if (*at != NOBODY && c->guests[*at].count < c->max) {
        c->guests[*at].count++;
        in = true;
    }
    pthread_mutex_unlock(&c->lock);
    return in;
}

void kmy_crowd_leave(kmy_crowd_t *c, const struct in6_addr *addr)
{
    pthread_mutex_lock(&c->lock);
    uint32_t *at = chain_of(c, kmy_peer_name(addr));
    KMY_ASSERT(*at != NOBODY && c->guests[*at].count > 0);
    uint32_t idx = *at;
    if (--c->guests[idx].count == 0) {
        *at = c->guests[idx].next;
        c->guests[idx].next = c->free_head;
        c->free_head = idx;
    }
    pthread_mutex_unlock(&c->lock);
}

/* --- the daemon's --------------------------------------------------------------------------- */

static kmy_err_t make(kmy_limiter_t *l, const kmy_config_t *config, kmy_errctx_t *ctx)
{
    const int64_t minute_ns = 60 * KMY_NS_PER_S;
    uint32_t conns = (uint32_t)config->limits.connections;
    l->address = kmy_rate(config->limits.unauthenticated_per_s, KMY_NS_PER_S,
                          config->limits.unauthenticated_burst);
    l->minute =
        kmy_rate(config->limits.requests_per_min, minute_ns, config->limits.requests_per_min);
    l->hour = kmy_rate(config->limits.requests_per_hour, 60 * minute_ns,
                       config->limits.requests_per_hour);
    l->message =
        kmy_rate(config->limits.messages_per_s, KMY_NS_PER_S, config->limits.messages_burst);
    l->unproven_max = conns - conns / 4; /* a quarter stays for those who pay */
    l->handshakes_max = conns / 4 < 16 ? 16 : conns / 4;
    kmy_err_t err = kmy_networks_read(&l->proxies, &config->limits.trusted_proxies, ctx);
    if (err != KMY_OK)
        return err;
    l->addresses = kmy_buckets_new(ADDRESSES_MAX);
    l->minutes = kmy_buckets_new(ACCOUNTS_MAX);
    l->tokens = kmy_buckets_new(ACCOUNTS_MAX);
    l->hours = kmy_buckets_new(ACCOUNTS_MAX);
    if (config->limits.per_address > 0)
        l->crowd = kmy_crowd_new(conns, (uint32_t)config->limits.per_address);
    if (!l->addresses || !l->minutes || !l->hours || !l->tokens ||
        (config->limits.per_address > 0 && !l->crowd))
        return KMY_FAIL(ctx, KMY_IO, "no memory for the tables of limits");
    return KMY_OK;
}

kmy_err_t kmy_limiter_new(kmy_limiter_t **out, const kmy_config_t *config, kmy_errctx_t *ctx)
{
    kmy_limiter_t *l = calloc(1, sizeof *l);
    if (!l)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    kmy_err_t err = make(l, config, ctx);
    if (err != KMY_OK) {
        kmy_limiter_free(l);
        return err;
    }
    *out = l;
    return KMY_OK;
}

void kmy_limiter_free(kmy_limiter_t *l)
{
    if (!l)
        return;
    kmy_buckets_free(l->addresses);
    kmy_buckets_free(l->minutes);
    kmy_buckets_free(l->tokens);
    kmy_buckets_free(l->hours);
    kmy_crowd_free(l->crowd);
    free(l->proxies.items);
    free(l);
}

kmy_verdict_t kmy_limiter_token(kmy_limiter_t *l, const char *jti, kmy_rate_t rate, int64_t now_ns)
{
    return kmy_buckets_take(l->tokens, kmy_hash(jti, strlen(jti)), rate, now_ns);
}

kmy_verdict_t kmy_limiter_account(kmy_limiter_t *l, const char *name, int64_t now_ns,
                                  kmy_limit_window_t *which)
{
    uint64_t hash = kmy_hash(name, strlen(name));
    kmy_verdict_t minute = kmy_buckets_take(l->minutes, hash, l->minute, now_ns);
    *which = KMY_LIMIT_MINUTE;
    if (!minute.taken)
        return minute;
    kmy_verdict_t hour = kmy_buckets_take(l->hours, hash, l->hour, now_ns);
    if (!hour.taken)
        kmy_buckets_give(l->minutes, hash, l->minute);
    if (hour.taken && minute.left <= hour.left)
        return minute;
    *which = KMY_LIMIT_HOUR;
    return hour;
}

kmy_verdict_t kmy_limiter_address(kmy_limiter_t *l, const struct in6_addr *addr, int64_t now_ns)
{
    return kmy_buckets_take(l->addresses, kmy_peer_name(addr), l->address, now_ns);
}

void kmy_limiter_address_give(kmy_limiter_t *l, const struct in6_addr *addr)
{
    kmy_buckets_give(l->addresses, kmy_peer_name(addr), l->address);
}
