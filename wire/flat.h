/* tick 6/8   in: engine/shard, store/snapshot   out: pay/meter, engine/egress, LMDB

   A tick as FlatBuffers (wire/tick.fbs).  The table's layout is fixed and its members stand in the
   order of kmy_tick_t, so encoding is four copies: the template's head, two runs of the tick, the
   feed's name.  flatc's generated readers are the oracle in the tests.  Any thread; nothing blocks
   or allocates.  Not a general FlatBuffers writer: other tables would want the library. */
#ifndef KMY_WIRE_FLAT_H
#define KMY_WIRE_FLAT_H

#include "base/err.h"
#include "base/limits.h"
#include "base/tick.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    KMY_FLAT_STREAM, /* size-prefixed, padded to 8 bytes: frames of the stream */
    KMY_FLAT_STORE,  /* a plain root buffer with file identifier: LMDB values; padded as well */
} kmy_flat_form_t;

/* A feed's template: written once by kmy_flat_init, then only read, by any number of threads. */
typedef struct kmy_flat {
    uint32_t len; /* of an encoded tick: a multiple of 8, the same for all ticks of the feed */
    uint32_t feed_id;
    _Alignas(8) uint8_t bytes[KMY_TICK_FLAT_BYTES_MAX];
} kmy_flat_t;

/* feed_name: 1 to KMY_FEED_NAME_BYTES_MAX - 1 bytes, copied (asserted). */
void kmy_flat_init(kmy_flat_t *t, kmy_flat_form_t form, uint32_t feed_id, const char *feed_name);

/* Writes t->len bytes to out and returns t->len.  out: any alignment, KMY_TICK_FLAT_BYTES_MAX bytes
   of room (bytes beyond t->len are not touched).  The tick must be of the template's feed: asserted,
   for it would be sold under another name. */
size_t kmy_flat_encode(const kmy_flat_t *t, const kmy_tick_t *tick, uint8_t *out);

/* Reads a KMY_FLAT_STORE buffer back, wherever it came from and whoever wrote it (any valid layout,
   absent members at their defaults); `bytes` needs no alignment.  Every offset is verified, and what
   it promises to callers: exponents within KMY_DEC_EXPO_MIN..MAX, a name that fits.  mono_ns and
   reserved come back as 0.  KMY_CORRUPT if it is no tick; then nothing is written.  feed_name (may
   be NULL) receives the name, terminated. */
kmy_err_t kmy_flat_decode(const void *bytes, size_t len, kmy_tick_t *out,
                          char feed_name[KMY_FEED_NAME_BYTES_MAX], kmy_errctx_t *ctx);

#endif
