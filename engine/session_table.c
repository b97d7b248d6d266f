#include "engine/session_table.h"

#include "base/err.h"
#include "base/strmap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 16384 }; /* some bytes for each session of a full house that went down at once */

typedef struct claims {
    atomic_bool any;
    kmy_session_claim_t *first;
    kmy_session_claim_t **last;
} claims_t;

struct kmy_session_table {
    pthread_mutex_t lock;
    kmy_charges_t *bucket[BUCKETS];
    kmy_charges_t *oldest;
    kmy_charges_t *newest;
    size_t bytes;
    claims_t claims[KMY_SHARDS_MAX][2]; /* made; answered */
};

kmy_session_table_t *kmy_session_table_new(void)
{
    kmy_session_table_t *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    for (int i = 0; i < KMY_SHARDS_MAX; i++) {
        t->claims[i][0].last = &t->claims[i][0].first;
        t->claims[i][1].last = &t->claims[i][1].first;
    }
    return t;
}

/* --- ids -------------------------------------------------------------------------------------------- */

/* The place is hidden under a hash that only this process can make (its key is random). */
void kmy_session_id_make(kmy_session_place_t place, uint64_t random, uint64_t id[2])
{
    uint64_t packed =
        (uint64_t)place.shard << 56 | (uint64_t)(place.gen & 0xffffff) << 32 | place.conn;
    id[1] = random;
    id[0] = packed ^ kmy_hash(&id[1], sizeof id[1]);
}

kmy_session_place_t kmy_session_id_place(const uint64_t id[2])
{
    uint64_t packed = id[0] ^ kmy_hash(&id[1], sizeof id[1]);
    return (kmy_session_place_t){ (uint32_t)(packed >> 56), (uint32_t)packed,
                                  (uint32_t)(packed >> 32) & 0xffffff };
}

/* --- ended sessions ----------------------------------------------------------------------------------- */

static kmy_charges_t **bucket_of(kmy_session_table_t *t, const uint64_t id[2])
{
    return &t->bucket[kmy_hash(id, 2 * sizeof id[0]) % BUCKETS];
}

static void unlink_one(kmy_session_table_t *t, kmy_charges_t *l)
{
    kmy_charges_t **at = bucket_of(t, l->id);
    while (*at != l)
        at = &(*at)->chain;
    *at = l->chain;
    *(l->older ? &l->older->newer : &t->oldest) = l->newer;
    *(l->newer ? &l->newer->older : &t->newest) = l->older;
    t->bytes -= kmy_charges_bytes(l);
}

static kmy_charges_t *find(kmy_session_table_t *t, const uint64_t id[2])
{
    kmy_charges_t *l = *bucket_of(t, id);
    while (l && (l->id[0] != id[0] || l->id[1] != id[1]))
        l = l->chain;
    return l;
}

static bool too_old(const kmy_charges_t *l, int64_t now_ns)
{
    return now_ns - l->end_ns > KMY_SESSION_KEEP_NS;
}

static void drop_oldest(kmy_session_table_t *t)
{
    kmy_charges_t *l = t->oldest;
    unlink_one(t, l);
    free(l);
}

void kmy_session_table_put(kmy_session_table_t *t, kmy_charges_t *l, int64_t now_ns)
{
    l->end_ns = now_ns;
    pthread_mutex_lock(&t->lock);
    kmy_charges_t *same = find(t, l->id);
    if (same) {
        unlink_one(t, same);
        free(same);
    }
    kmy_charges_t **bucket = bucket_of(t, l->id);
    l->chain = *bucket;
    *bucket = l;
    l->older = t->newest;
    l->newer = NULL;
    *(t->newest ? &t->newest->newer : &t->oldest) = l;
    t->newest = l;
    t->bytes += kmy_charges_bytes(l);
    while (t->bytes > KMY_SESSION_TABLE_BYTES_MAX || (t->oldest && too_old(t->oldest, now_ns)))
        drop_oldest(t);
    pthread_mutex_unlock(&t->lock);
}

kmy_charges_t *kmy_session_table_take(kmy_session_table_t *t, const uint64_t id[2],
                                      const char *account, int64_t now_ns)
{
    pthread_mutex_lock(&t->lock);
    kmy_charges_t *l = find(t, id);
    if (l && (too_old(l, now_ns) || strcmp(l->account, account) != 0))
        l = NULL;
    if (l)
        unlink_one(t, l);
    pthread_mutex_unlock(&t->lock);
    return l;
}

/* --- claims --------------------------------------------------------------------------------------------- */

static void append(kmy_session_table_t *t, claims_t *to, kmy_session_claim_t *claim)
{
    claim->next = NULL;
    pthread_mutex_lock(&t->lock);
    *to->last = claim;
    to->last = &claim->next;
    atomic_store(&to->any, true);
    pthread_mutex_unlock(&t->lock);
}

bool kmy_session_claim_send(kmy_session_table_t *t, const uint64_t id[2], const char *account,
                            kmy_session_place_t by)
{
    uint32_t shard = kmy_session_id_place(id).shard;
    KMY_ASSERT(shard < KMY_SHARDS_MAX);
    kmy_session_claim_t *claim = calloc(1, sizeof *claim);
    if (!claim)
        return false;
    memcpy(claim->id, id, sizeof claim->id);
    memcpy(claim->account, account, strlen(account));
    claim->by = by;
    append(t, &t->claims[shard][0], claim);
    return true;
}

kmy_session_claim_t *kmy_session_claims(kmy_session_table_t *t, uint32_t shard, bool answered)
{
    claims_t *from = &t->claims[shard][answered];
    if (!atomic_load_explicit(&from->any, memory_order_relaxed))
        return NULL;
    pthread_mutex_lock(&t->lock);
    kmy_session_claim_t *first = from->first;
    from->first = NULL;
    from->last = &from->first;
    atomic_store(&from->any, false);
    pthread_mutex_unlock(&t->lock);
    return first;
}

bool kmy_session_claimed(const kmy_session_table_t *t, uint32_t shard)
{
    return atomic_load(&t->claims[shard][0].any) || atomic_load(&t->claims[shard][1].any);
}

void kmy_session_claim_answer(kmy_session_table_t *t, kmy_session_claim_t *claim)
{
    append(t, &t->claims[claim->by.shard][1], claim);
}

static void free_claims(kmy_session_claim_t *claim)
{
    while (claim) {
        kmy_session_claim_t *next = claim->next;
        free(claim);
        claim = next;
    }
}

void kmy_session_table_free(kmy_session_table_t *t)
{
    if (!t)
        return;
    while (t->oldest)
        drop_oldest(t);
    for (int i = 0; i < KMY_SHARDS_MAX; i++) {
        free_claims(t->claims[i][0].first);
        free_claims(t->claims[i][1].first);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}
