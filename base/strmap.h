/* strmap: bytes -> uint32_t, open addressing, keyed SipHash-1-3 with a per-process random key, so
   that foreign keys cannot be chosen to collide.  Keys are copied.  It grows by doubling (allocates
   on put only) and never shrinks. Thread: one at a time, or any number of readers while nobody
   puts. */
#ifndef KMY_BASE_STRMAP_H
#define KMY_BASE_STRMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kmy_strmap {
    struct kmy_strmap_slot *slots; /* owned */
    size_t slots_count;            /* power of two, or 0 */
    size_t used_count;             /* live keys and tombstones */
    size_t live_count;
} kmy_strmap_t;

void kmy_strmap_init(kmy_strmap_t *map);
void kmy_strmap_fini(kmy_strmap_t *map);
/* kmy_strmap_put sets key to value (an old value is replaced); false: out of memory, nothing
 * changed. */
bool kmy_strmap_put(kmy_strmap_t *map, const void *key, size_t len, uint32_t value);
bool kmy_strmap_get(const kmy_strmap_t *map, const void *key, size_t len, uint32_t *value);
bool kmy_strmap_del(kmy_strmap_t *map, const void *key, size_t len);

/* The hash itself, for tables of other shapes. */
uint64_t kmy_hash(const void *data, size_t len);

#endif
