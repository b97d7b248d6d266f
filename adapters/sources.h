/* sources: the table of all sources: how each is read, its limits, its cadence.  Constant; any thread. */
#ifndef KMY_ADAPTERS_SOURCES_H
#define KMY_ADAPTERS_SOURCES_H

#include "adapters/feed_dialect.h"

#include <stdint.h>

typedef struct kmy_source_row {
    uint8_t source;               /* kmy_source_t */
    const kmy_dialect_t *dialect; /* NULL: not a WebSocket source */
    int64_t poll_ns;              /* cadence of a polled source; 0: it pushes */
    int64_t lifetime_ns;          /* the venue closes a connection after so long */
    int64_t silence_ns_max;       /* no byte for so long: dead; at half of it we ping */
    int64_t data_silence_ns_max;  /* a stream without data for so long is asked after */
    int64_t dial_ns_max;          /* name to WebSocket handshake */
    int64_t ack_ns_max;           /* request to answer */
    int64_t overlap_ns;   /* both connections deliver for so long before the old one is closed */
    int64_t limited_ns;   /* to wait after 429 when no Retry-After says how long */
    int64_t send_gap_ns;  /* between two messages of ours */
    uint32_t streams_max; /* per connection; more are spread over several */
    uint32_t batch_max;   /* streams in one request */
} kmy_source_row_t;

#define KMY_SOURCE_BATCH_MAX 200 /* no row has more */

/* NULL: a source that is not read by an adapter (yet). */
const kmy_source_row_t *kmy_source_row(uint8_t source);

#endif
