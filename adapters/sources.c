/* tick 1/8   in: adapters/feed_ws   out: adapters/feed_ws   (the table) */
#include "adapters/sources.h"

#include "base/clock.h"
#include "base/tick.h"

#define S    KMY_NS_PER_S
#define MS   KMY_NS_PER_MS
#define HOUR (3600 * S)

static const kmy_source_row_t rows[] = {
    {
        /* Binance pings every 20 s, so three pings are lost before we call it silent.  It takes 5 messages a second, pings and pongs included: 250 ms leave
           one to spare.  1,024 streams a connection, we stay below.  A first 418 is 2 minutes. */
        .source = KMY_SOURCE_BINANCE,
        .dialect = &kmy_dialect_binance,
        .lifetime_ns = 24 * HOUR,
        .silence_ns_max = 60 * S,
        .data_silence_ns_max = 120 * S,
        .dial_ns_max = 10 * S,
        .ack_ns_max = 10 * S,
        .overlap_ns = 2 * S,
        .limited_ns = 120 * S,
        .send_gap_ns = 250 * MS,
        .streams_max = 1000,
        .batch_max = KMY_SOURCE_BATCH_MAX,
    },
    {
        /* Hermes pings every 30 s.  A feed updates every slot (0.4 s) while its market is open; 429 lasts 60 s. */
        .source = KMY_SOURCE_PYTH,
        .dialect = &kmy_dialect_pyth,
        .lifetime_ns = 24 * HOUR,
        .silence_ns_max = 75 * S,
        .data_silence_ns_max = 60 * S,
        .dial_ns_max = 10 * S,
        .ack_ns_max = 10 * S,
        .overlap_ns = 2 * S,
        .limited_ns = 60 * S,
        .send_gap_ns = 250 * MS,
        .streams_max = 1000,
        .batch_max = KMY_SOURCE_BATCH_MAX,
    },
};

const kmy_source_row_t *kmy_source_row(uint8_t source)
{
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].source == source)
            return &rows[i];
    return NULL;
}
