/* scan: one delivered tick, judged at the speed of a load test.

   The daemon's JSON tick has one fixed shape (wire/tick_json.h), so load_scan_json walks that shape and nothing else; any other text is
   read by the full JSON reader, which is ten times slower and accepts what the contract allows (another order, more members).  A
   FlatBuffers tick is judged by wire/flat.  The same tick goes to a thousand agents, so load_same keeps the newest ticks of each feed:
   an agent that got the same bytes as the one before needs a memcmp only, and one that got other bytes under the same offset has
   found a fault.  Any thread, one at a time for each load_seen_t. */
#ifndef KMY_TOOLS_LOAD_SCAN_H
#define KMY_TOOLS_LOAD_SCAN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct load_tick {
    const char *feed; /* borrowed from the input, not terminated */
    size_t feed_len;
    uint64_t offset;
    int64_t recv_ns;
    int64_t price_mant; /* price = mant x 10^expo */
    int price_expo;
} load_tick_t;

/* The fixed shape, complete and nothing behind it; false: something else (perhaps still a legal tick). */
bool load_scan_json(const char *text, size_t len, load_tick_t *out);
/* Any legal spelling.  KMY_BAD_INPUT: not JSON, or no tick with feed, offset, kind, price, source and ts_recv of the right types. */
kmy_err_t load_read_json(const char *text, size_t len, load_tick_t *out, kmy_errctx_t *ctx);

/* The first size-prefixed FlatBuffers tick of data: *bytes is its length with prefix and padding.  KMY_CORRUPT if it is none. */
kmy_err_t load_read_flat(const uint8_t *data, size_t len, load_tick_t *out, size_t *bytes,
                         char feed[64], kmy_errctx_t *ctx);
/* Only its length and offset, for the look-up in load_seen; false if that is not to be had safely. */
bool load_peek_flat(const uint8_t *data, size_t len, size_t *bytes, uint64_t *offset,
                    uint32_t *feed_id);

enum { LOAD_SEEN_SLOTS = 256, LOAD_SEEN_BYTES = 368 };

/* The last so many ticks of one feed in one encoding, by offset; 96 KiB. */
typedef struct load_seen {
    struct {
        uint64_t offset; /* 0: empty */
        int64_t recv_ns;
        uint32_t len;
        uint8_t bytes[LOAD_SEEN_BYTES];
    } slots[LOAD_SEEN_SLOTS];
} load_seen_t;

typedef enum { LOAD_SAME, LOAD_NEW, LOAD_DIFFERS } load_same_t;

/* LOAD_SAME: these bytes were judged before, *recv_ns is theirs.  LOAD_NEW: judge them, then load_seen_put.  LOAD_DIFFERS: other bytes were
   seen under this offset.  Ticks above LOAD_SEEN_BYTES are always new. */
load_same_t load_seen_find(const load_seen_t *seen, uint64_t offset, const void *bytes, size_t len,
                           int64_t *recv_ns);
void load_seen_put(load_seen_t *seen, uint64_t offset, const void *bytes, size_t len,
                   int64_t recv_ns);

/* The values of the last so many ticks of one feed, whatever the encoding. */
typedef struct load_values {
    struct {
        uint64_t offset; /* 0: empty */
        int64_t recv_ns, price_mant;
        int price_expo;
    } slots[LOAD_SEEN_SLOTS];
} load_values_t;

/* Was this offset given with the same price and time before, in whichever encoding?  Notes it if it was not given yet; false: it was another. */
bool load_values_agree(load_values_t *values, const load_tick_t *t);

#endif
