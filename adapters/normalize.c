/* tick 3/8   in: adapters/binance, adapters/pyth   out: ringbuf/ring

   A table of keys, each with the newest number of each of its counters and its newest content. */
#include "adapters/normalize.h"

#include <stdlib.h>
#include <string.h>

/* One counter of one key. */
typedef struct {
    uint64_t newest;
    int64_t newest_event_ns; /* 0: unknown */
    uint64_t stale_newest;   /* a possible new numbering: its newest number, */
    int64_t stale_since_ns;  /* our monotonic clock at its first, */
    uint32_t stale_count;    /* and how many there were; 0: none */
    bool seen;
} counter_t;

/* What two quotes must share to be the same where no id tells. */
typedef struct {
    int64_t event_ns;
    int64_t price;
    int64_t bid;
    int64_t ask;
    uint64_t conf;
    int64_t size;
    int64_t ask_size;
    int16_t expos; /* price's and size's */
} content_t;

typedef struct {
    char key[KMY_QUOTE_KEY_BYTES_MAX];
    uint8_t key_len;
    uint8_t source;
    bool reconnected;
    uint32_t feed; /* index into feeds */
    counter_t counters[KMY_SEQ_COUNT];
    content_t content; /* of slots and of quotes without a counter */
} entry_t;

typedef struct {
    uint32_t feed_id;
    uint64_t offset;
} feed_t;

/* Open addressing over 4 slots a key.  Only our own configuration puts keys in, so the length of every run of used slots is ours; a
   foreign key, however chosen, is looked up in at most PROBES_MAX slots, because an insert that would need more draws another seed. */
enum { PROBES_MAX = 16, SLOTS_PER_KEY = 4, SEEDS_MAX = 64 };

typedef struct {
    uint32_t tag;   /* upper half of the hash */
    uint32_t entry; /* index + 1; 0: free */
} slot_t;

struct kmy_normalizer {
    slot_t *slots; /* owned, slots_mask + 1 + PROBES_MAX of them: a probe never wraps */
    entry_t *entries;
    feed_t *feeds;
    uint64_t slots_mask;
    uint64_t seed;
    size_t keys_max;
    size_t keys_count;
    size_t feeds_count;
    uint64_t restarts;
};

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t load(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* Every byte counts.  Sixteen bytes a step, and no step's product waits for the one before: a Pyth id takes four of them.  The last step
   overlaps the one before where the length is no multiple. */
static inline uint64_t hash_key(uint64_t seed, uint8_t source, const char *key, size_t len)
{
    uint64_t h = seed ^ ((uint64_t)source << 8 | len);
    uint64_t a = 0;
    uint64_t b = 0;
    if (len >= 8) {
        for (size_t i = 0; i + 16 < len; i += 16) {
            uint64_t m = mix(load(key + i) ^ seed, load(key + i + 8) ^ 0x9e3779b97f4a7c15ull);
            h = (h << 23 | h >> 41) + m;
        }
        a = load(key + (len >= 16 ? len - 16 : 0));
        b = load(key + len - 8);
    } else if (len >= 4) {
        uint32_t lo;
        uint32_t hi;
        memcpy(&lo, key, 4);
        memcpy(&hi, key + len - 4, 4);
        a = (uint64_t)hi << 32 | lo;
    } else {
        for (size_t i = 0; i < len; i++)
            a = a << 8 | (uint8_t)key[i];
    }
    return mix(h ^ a, b ^ 0xd6e8feb86659fd93ull);
}

static entry_t *find(const kmy_normalizer_t *n, uint8_t source, const char *key, size_t len)
{
    uint64_t hash = hash_key(n->seed, source, key, len);
    const slot_t *slot = &n->slots[hash & n->slots_mask];
    for (int i = 0; i < PROBES_MAX && slot[i].entry; i++) {
        entry_t *e = &n->entries[slot[i].entry - 1];
        if (slot[i].tag == (uint32_t)(hash >> 32) && e->key_len == len && e->source == source &&
            memcmp(e->key, key, len) == 0)
            return e;
    }
    return NULL;
}

/* Enters entry `index` into the table; false: all its slots are taken. */
static bool place(kmy_normalizer_t *n, size_t index)
{
    const entry_t *e = &n->entries[index];
    uint64_t hash = hash_key(n->seed, e->source, e->key, e->key_len);
    slot_t *slot = &n->slots[hash & n->slots_mask];
    for (int i = 0; i < PROBES_MAX; i++) {
        if (slot[i].entry == 0) {
            slot[i] = (slot_t){ (uint32_t)(hash >> 32), (uint32_t)index + 1 };
            return true;
        }
    }
    return false;
}

/* Another seed, all keys anew; false: none of SEEDS_MAX seeds would do, which takes a full table and worse luck than there is. */
static bool place_all_anew(kmy_normalizer_t *n)
{
    for (int tries = 0; tries < SEEDS_MAX; tries++) {
        n->seed = mix(n->seed + 0x9e3779b97f4a7c15ull, 0xbf58476d1ce4e5b9ull);
        memset(n->slots, 0, (n->slots_mask + 1 + PROBES_MAX) * sizeof *n->slots);
        size_t i = 0;
        while (i < n->keys_count && place(n, i))
            i++;
        if (i == n->keys_count)
            return true;
    }
    return false;
}

kmy_normalizer_t *kmy_normalizer_new(size_t keys_max)
{
    kmy_normalizer_t *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    size_t slots = 16;
    while (slots < keys_max * SLOTS_PER_KEY)
        slots *= 2;
    n->slots_mask = slots - 1;
    n->seed = 0x243f6a8885a308d3ull; /* any value: keys are ours, see above */
    n->keys_max = keys_max;
    n->slots = calloc(slots + PROBES_MAX, sizeof *n->slots);
    n->entries = calloc(keys_max ? keys_max : 1, sizeof *n->entries);
    n->feeds = calloc(keys_max ? keys_max : 1, sizeof *n->feeds);
    if (n->slots && n->entries && n->feeds)
        return n;
    kmy_normalizer_free(n);
    return NULL;
}

void kmy_normalizer_free(kmy_normalizer_t *n)
{
    if (!n)
        return;
    free(n->slots);
    free(n->entries);
    free(n->feeds);
    free(n);
}

static uint32_t feed_index(kmy_normalizer_t *n, uint32_t feed_id, uint64_t last_offset)
{
    size_t i = 0;
    while (i < n->feeds_count && n->feeds[i].feed_id != feed_id)
        i++;
    if (i == n->feeds_count)
        n->feeds[n->feeds_count++] = (feed_t){ feed_id, 0 };
    if (n->feeds[i].offset < last_offset)
        n->feeds[i].offset = last_offset;
    return (uint32_t)i;
}

kmy_err_t kmy_normalizer_add(kmy_normalizer_t *n, uint8_t source, const char *key, size_t key_len,
                             uint32_t feed_id, uint64_t last_offset)
{
    if (key_len == 0 || key_len > KMY_QUOTE_KEY_BYTES_MAX)
        return KMY_TOO_BIG;
    if (find(n, source, key, key_len))
        return KMY_DUPLICATE;
    if (n->keys_count == n->keys_max)
        return KMY_FULL;
    entry_t *e = &n->entries[n->keys_count++];
    memcpy(e->key, key, key_len);
    e->key_len = (uint8_t)key_len;
    e->source = source;
    if (!place(n, n->keys_count - 1) && !place_all_anew(n)) {
        n->keys_count--;
        memset(e, 0, sizeof *e);
        KMY_ASSERT(place_all_anew(n)); /* the keys before had a place until now */
        return KMY_FULL;
    }
    e->feed = feed_index(n, feed_id, last_offset);
    return KMY_OK;
}

static content_t content_of(const kmy_quote_t *q)
{
    return (content_t){ .event_ns = q->event_ns,
                        .price = q->price_mant,
                        .bid = q->bid_mant,
                        .ask = q->ask_mant,
                        .conf = q->conf_mant,
                        .size = q->size_mant,
                        .ask_size = q->ask_size_mant,
                        .expos = (int16_t)(q->price_expo * 256 + q->size_expo) };
}

static bool same_content(const content_t *a, const kmy_quote_t *q)
{
    content_t b = content_of(q);
    return a->event_ns == b.event_ns && a->price == b.price && a->bid == b.bid && a->ask == b.ask &&
           a->conf == b.conf && a->size == b.size && a->ask_size == b.ask_size &&
           a->expos == b.expos;
}

/* A stale quote: one more of a new numbering, or not.  True when it has shown itself long enough to be believed. */
static bool is_restart(counter_t *c, uint64_t number, int64_t event_ns, int64_t mono_ns)
{
    if (c->newest_event_ns && event_ns && event_ns < c->newest_event_ns) {
        c->stale_count = 0; /* an old message, not a new numbering */
        return false;
    }
    if (c->stale_count && number == c->stale_newest)
        return false; /* the same from a second connection says nothing new */
    if (c->stale_count == 0 || number < c->stale_newest) {
        c->stale_count = 0;
        c->stale_since_ns = mono_ns;
    }
    c->stale_count++;
    c->stale_newest = number;
    return c->stale_count >= KMY_RESTART_QUOTES && mono_ns - c->stale_since_ns >= KMY_RESTART_NS;
}

static void remember(entry_t *e, counter_t *c, const kmy_quote_t *q, uint64_t number)
{
    counter_t *by_time = &e->counters[KMY_SEQ_NONE];
    if (c != by_time || number != 0 ||
        !c->seen) /* a quote without a time says nothing about time */
        c->newest = number;
    c->seen = true;
    c->newest_event_ns = q->event_ns;
    c->stale_count = 0;
    if (q->seq_scheme != KMY_SEQ_NONE && q->seq_scheme != KMY_SEQ_SLOT)
        return;
    e->content = content_of(q);
    if (q->seq_scheme == KMY_SEQ_SLOT &&
        q->event_ns) { /* the same source without its slots (not verbose): one order for both */
        by_time->seen = true;
        by_time->newest = (uint64_t)q->event_ns;
    }
}

/* Whether the quote is news to its counter, before anything is changed but the count of stale ones. */
static kmy_err_t judge(kmy_normalizer_t *n, entry_t *e, const kmy_quote_t *q, int64_t mono_ns)
{
    counter_t *c = &e->counters[q->seq_scheme];
    bool by_time = q->seq_scheme == KMY_SEQ_NONE;
    uint64_t number = by_time ? (uint64_t)q->event_ns : q->source_seq;
    bool by_content = by_time || q->seq_scheme == KMY_SEQ_SLOT;

    if (__builtin_expect(c->seen && number <= c->newest, 0)) {
        if (number == c->newest) {
            c->stale_count = 0;
            if (!by_content || same_content(&e->content, q))
                return KMY_DUPLICATE;
        } else if (by_time && number == 0) {
            if (same_content(&e->content, q)) /* a source that gives its time only sometimes */
                return KMY_DUPLICATE;
        } else if (is_restart(c, number, by_time ? 0 : q->event_ns, mono_ns)) {
            n->restarts++;
        } else {
            return KMY_STALE;
        }
    }
    remember(e, c, q, number);
    return KMY_OK;
}

static bool is_senseless(const kmy_quote_t *q)
{
    return (q->flags & KMY_TICK_CROSSED) && q->bid_mant / KMY_CROSSED_MAX > q->ask_mant;
}

kmy_err_t kmy_normalize(kmy_normalizer_t *n, const kmy_quote_t *quote, int64_t recv_ns,
                        int64_t mono_ns, kmy_tick_t *tick)
{
    KMY_ASSERT(quote->seq_scheme < KMY_SEQ_COUNT);
    entry_t *e = find(n, quote->source, quote->key, quote->key_len);
    if (!e)
        return KMY_NOT_FOUND;
    if (is_senseless(quote))
        return KMY_OVERFLOW;
    kmy_err_t err = judge(n, e, quote, mono_ns);
    if (err != KMY_OK)
        return err;

    feed_t *feed = &n->feeds[e->feed];
    *tick = (kmy_tick_t){
        .offset = ++feed->offset,
        .event_ns = quote->event_ns,
        .recv_ns = recv_ns,
        .mono_ns = mono_ns,
        .price_mant = quote->price_mant,
        .bid_mant = quote->bid_mant,
        .ask_mant = quote->ask_mant,
        .conf_mant = quote->conf_mant,
        .size_mant = quote->size_mant,
        .ask_size_mant = quote->ask_size_mant,
        .source_seq = quote->source_seq,
        .feed_id = feed->feed_id,
        .flags = (uint16_t)(quote->flags | (e->reconnected ? KMY_TICK_RECONNECT : 0)),
        .source = quote->source,
        .kind = quote->kind,
        .price_expo = quote->price_expo,
        .size_expo = quote->size_expo,
        .event_res = quote->event_res,
        .has = quote->has,
    };
    e->reconnected = false;
    return KMY_OK;
}

void kmy_normalizer_reconnected(kmy_normalizer_t *n, uint8_t source)
{
    for (size_t i = 0; i < n->keys_count; i++)
        if (n->entries[i].source == source)
            n->entries[i].reconnected = true;
}

uint64_t kmy_normalizer_restarts(const kmy_normalizer_t *n)
{
    return n->restarts;
}
