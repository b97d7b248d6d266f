/* tick 6/8   in: engine/shard, store/snapshot   out: pay/meter, engine/egress, LMDB

   A tick as FlatBuffers (wire/tick.fbs), made by patching a template: the table's layout is fixed, so encoding is a copy and some
   stores.  flatc's generated readers are the oracle in the tests. */
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
    KMY_FLAT_STORE,  /* a plain root buffer with file identifier: LMDB values */
} kmy_flat_form_t;

typedef struct kmy_flat {
    uint32_t len;
    _Alignas(8) uint8_t bytes[KMY_TICK_FLAT_BYTES_MAX];
} kmy_flat_t;

void kmy_flat_init(kmy_flat_t *t, kmy_flat_form_t form, uint32_t feed_id, const char *feed_name);
/* Writes t->len bytes to out (KMY_TICK_FLAT_BYTES_MAX are enough) and returns t->len. */
size_t kmy_flat_encode(const kmy_flat_t *t, const kmy_tick_t *tick, uint8_t *out);
/* Reads a KMY_FLAT_STORE buffer back, wherever it came from: verifies every offset.  KMY_CORRUPT if it is no tick.
   feed_name (may be NULL) receives the name, terminated. */
kmy_err_t kmy_flat_decode(const void *bytes, size_t len, kmy_tick_t *out,
                          char feed_name[KMY_FEED_NAME_BYTES_MAX], kmy_errctx_t *ctx);

#endif
