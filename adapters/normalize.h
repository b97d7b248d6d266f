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
   life (0: none; the greatest one given for a feed counts).  KMY_FULL above keys_max, KMY_DUPLICATE if that key is there already,
   KMY_TOO_BIG if it is empty or longer than KMY_QUOTE_KEY_BYTES_MAX. */
kmy_err_t kmy_normalizer_add(kmy_normalizer_t *n, uint8_t source, const char *key, size_t key_len,
                             uint32_t feed_id, uint64_t last_offset);

/* kmy_normalize fills *tick but seq (the ring gives it).
     KMY_OK         a new tick; its feed's offset rose by one
     KMY_NOT_FOUND  nobody asked for that key
     KMY_DUPLICATE  seen before (same id, or the same content where ids repeat or are missing)
     KMY_STALE      older than the newest of its key by the source's own counter or clock
     KMY_OVERFLOW   the numbers make no tick: bid above KMY_CROSSED_MAX times the ask
   *tick is garbage unless KMY_OK.  `reconnected`: the first quotes after a reconnect carry KMY_TICK_RECONNECT, one per key.

   Order is judged per key and counter, so trades and book updates of one symbol never hinder each other:
     trade, aggregate and update ids   must rise; they may jump
     slots                             must not fall; within one slot only new content passes
     no counter                        the source's time must not fall; at one time (or without any) only new content passes
   Content is price, conf and exponent, the sides and sizes, and time.  The receive clocks are never compared with the source's.

   A counter that really restarted (a test network reset, a venue's migration) would silence its key for ever.  So when
   KMY_RESTART_QUOTES quotes in a row were stale, each with a higher number than the one before, over at least KMY_RESTART_NS, and none was
   older by the source's clock than the newest we have, the next one starts the new numbering.  One that passes or repeats the newest
   shows that the old numbering lives and starts the count again. */
#define KMY_RESTART_QUOTES 64 /* a guess: more than two connections' overlap brings out of order */
#define KMY_RESTART_NS     (30 * 1000000000ll) /* a guess: longer than a reconnect's replay lasts */
#define KMY_CROSSED_MAX    2 /* a guess: a book crossed by more is an error of its source */

kmy_err_t kmy_normalize(kmy_normalizer_t *n, const kmy_quote_t *quote, int64_t recv_ns,
                        int64_t mono_ns, kmy_tick_t *tick);
void kmy_normalizer_reconnected(kmy_normalizer_t *n, uint8_t source);
/* How often a new numbering was accepted since start. */
uint64_t kmy_normalizer_restarts(const kmy_normalizer_t *n);

#endif
