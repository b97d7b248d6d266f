/* tick 3/8   in: adapters/binance, adapters/pyth   out: ringbuf/ring

   Quote to tick: finds the feed of (source, upstream key), drops what was seen before or is older, stamps clocks and the feed's
   next offset.  One instance belongs to one thread (feeds); it allocates while keys are added and never afterwards. */
#ifndef KMY_ADAPTERS_NORMALIZE_H
#define KMY_ADAPTERS_NORMALIZE_H

#include "adapters/quote.h"
#include "base/err.h"

typedef struct kmy_normalizer kmy_normalizer_t;

kmy_normalizer_t *kmy_normalizer_new(size_t keys_max); /* NULL: out of memory */
void kmy_normalizer_free(kmy_normalizer_t *n);

/* A key of a source feeds `feed_id`; several keys or sources may feed one feed and then share its offsets.  last_offset continues an earlier
   life (0: none).  KMY_FULL above keys_max, KMY_DUPLICATE if that key is there already. */
kmy_err_t kmy_normalizer_add(kmy_normalizer_t *n, uint8_t source, const char *key, size_t key_len,
                             uint32_t feed_id, uint64_t last_offset);

/* kmy_normalize fills *tick but seq (the ring gives it).
     KMY_OK         a new tick; its feed's offset rose by one
     KMY_NOT_FOUND  nobody asked for that key
     KMY_DUPLICATE  seen before (same id, or the same content where there is no id)
     KMY_STALE      older than the newest of its feed by the source's own counter or clock
     KMY_OVERFLOW   the numbers make no tick (crossed beyond sense, mid out of range)
   *tick is garbage unless KMY_OK.  `reconnected`: the first quotes after a reconnect carry KMY_TICK_RECONNECT, one per key. */
kmy_err_t kmy_normalize(kmy_normalizer_t *n, const kmy_quote_t *quote, int64_t recv_ns,
                        int64_t mono_ns, kmy_tick_t *tick);
void kmy_normalizer_reconnected(kmy_normalizer_t *n, uint8_t source);

#endif
