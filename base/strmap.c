#include "base/strmap.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

struct kmy_strmap_slot {
    char *key; /* owned copy; NULL: free; &tombstone: deleted */
    uint32_t len;
    uint32_t value;
    uint64_t hash;
};

static char tombstone[1];
static uint64_t hash_key[2];

static void draw_key(void)
{
    if (getrandom(hash_key, sizeof hash_key, 0) != (ssize_t)sizeof hash_key)
        abort(); /* cannot fail for 16 bytes once the kernel's pool is up */
}

static uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = rotl(v[1], 13), v[1] ^= v[0], v[0] = rotl(v[0], 32);
    v[2] += v[3], v[3] = rotl(v[3], 16), v[3] ^= v[2];
    v[0] += v[3], v[3] = rotl(v[3], 21), v[3] ^= v[0];
    v[2] += v[1], v[1] = rotl(v[1], 17), v[1] ^= v[2], v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein): one round per word, three at the end; enough for tables, as
 * rust and python use it. */
uint64_t kmy_hash(const void *data, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw_key);
    const unsigned char *p = data;
    uint64_t v[4] = {
        hash_key[0] ^ 0x736f6d6570736575ull,
        hash_key[1] ^ 0x646f72616e646f6dull,
        hash_key[0] ^ 0x6c7967656e657261ull,
        hash_key[1] ^ 0x7465646279746573ull,
    };
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t m;
        memcpy(&m, p, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)len << 56;
    if (left)
        memcpy(&last, p, left);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void kmy_strmap_init(kmy_strmap_t *map)
{
    memset(map, 0, sizeof *map);
}

void kmy_strmap_fini(kmy_strmap_t *map)
{
    for (size_t i = 0; i < map->slots_count; i++) {
        if (map->slots[i].key != tombstone)
            free(map->slots[i].key);
    }
    free(map->slots);
    memset(map, 0, sizeof *map);
}

static struct kmy_strmap_slot *find(const kmy_strmap_t *map, const void *key, size_t len,
                                    uint64_t hash)
{
    if (map->slots_count == 0)
        return NULL;
    size_t mask = map->slots_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct kmy_strmap_slot *s = &map->slots[i];
        if (!s->key)
            return NULL;
        if (s->key != tombstone && s->hash == hash && s->len == len &&
            memcmp(s->key, key, len) == 0)
            return s;
    }
}

static void insert(struct kmy_strmap_slot *slots, size_t count, struct kmy_strmap_slot item)
{
    size_t i = item.hash & (count - 1);
    while (slots[i].key)
        i = (i + 1) & (count - 1);
    slots[i] = item;
}

static bool grow(kmy_strmap_t *map)
{
    size_t count = map->slots_count ? map->slots_count : 16;
    while (map->live_count * 2 >= count)
        count *= 2;
    struct kmy_strmap_slot *slots = calloc(count, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < map->slots_count; i++) {
        if (map->slots[i].key && map->slots[i].key != tombstone)
            insert(slots, count, map->slots[i]);
    }
    free(map->slots);
    map->slots = slots;
    map->slots_count = count;
    map->used_count = map->live_count;
    return true;
}

bool kmy_strmap_put(kmy_strmap_t *map, const void *key, size_t len, uint32_t value)
{
    if (len > UINT32_MAX)
        return false;
    uint64_t hash = kmy_hash(key, len);
    struct kmy_strmap_slot *s = find(map, key, len, hash);
    if (s) {
        s->value = value;
        return true;
    }
    if ((map->used_count + 1) * 4 > map->slots_count * 3 && !grow(map))
        return false;
    char *copy = malloc(len ? len : 1);
    if (!copy)
        return false;
    memcpy(copy, key, len);
    insert(map->slots, map->slots_count,
           (struct kmy_strmap_slot){ copy, (uint32_t)len, value, hash });
    map->used_count++;
    map->live_count++;
    return true;
}

bool kmy_strmap_get(const kmy_strmap_t *map, const void *key, size_t len, uint32_t *value)
{
    const struct kmy_strmap_slot *s =
        map->slots_count ? find(map, key, len, kmy_hash(key, len)) : NULL;
    if (!s)
        return false;
    *value = s->value;
    return true;
}

bool kmy_strmap_del(kmy_strmap_t *map, const void *key, size_t len)
{
    struct kmy_strmap_slot *s = map->slots_count ? find(map, key, len, kmy_hash(key, len)) : NULL;
    if (!s)
        return false;
    free(s->key);
    s->key = tombstone;
    map->live_count--;
    return true;
}
