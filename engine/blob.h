/* blob: bytes that several answers share, made by one thread and read by others; freed with the last reference. */
#ifndef KMY_ENGINE_BLOB_H
#define KMY_ENGINE_BLOB_H

#include "base/limits.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

typedef struct kmy_blob {
    _Atomic uint32_t refs;
    _Atomic uint32_t *live;             /* how many there are; borrowed */
    const uint8_t *bytes;               /* a mapping; owned */
    size_t len;                         /* > 0 */
    uint64_t feeds[KMY_FEEDS_MAX / 64]; /* whose values are in it, by catalog idx */
} kmy_blob_t;

static inline kmy_blob_t *kmy_blob_ref(kmy_blob_t *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

/* NULL is allowed. */
static inline void kmy_blob_unref(kmy_blob_t *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    munmap((void *)(uintptr_t)b->bytes, b->len);
    atomic_fetch_sub_explicit(b->live, 1, memory_order_relaxed);
    free(b);
}

#endif
