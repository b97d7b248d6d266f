/* A writer of the snapshot store for tests/snapshot_live.py: says what it found at open, then writes ticks at full rate whose members all
   follow from seq and feed, so that a reader can tell a whole value from a torn one.
   usage: snapshot_writer PATH SECONDS   (0: until killed)

   seq s goes to feed 1 + s % FEEDS; offset = 1 + s / FEEDS; price_mant = 3 s; bid = price - 1; ask = price + 1; conf = 7 offset;
   source_seq = ~s; source 1 + s % 3; kind 1 + s % 2. */
#include "base/clock.h"
#include "store/snapshot.h"
#include "wire/flat.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FEEDS 200
#define BATCH 256

static kmy_flat_t templates[FEEDS];
static uint32_t ids[FEEDS];

static kmy_tick_t tick_of(uint64_t s, int64_t now)
{
    return (kmy_tick_t){ .seq = s,
                         .offset = 1 + s / FEEDS,
                         .event_ns = now - 5,
                         .recv_ns = now,
                         .price_mant = (int64_t)(3 * s),
                         .bid_mant = (int64_t)(3 * s) - 1,
                         .ask_mant = (int64_t)(3 * s) + 1,
                         .conf_mant = 7 * (1 + s / FEEDS),
                         .source_seq = ~s,
                         .feed_id = ids[s % FEEDS],
                         .source = (uint8_t)(1 + s % 3),
                         .kind = (uint8_t)(1 + s % 2),
                         .price_expo = -4,
                         .has = KMY_HAS_BID | KMY_HAS_ASK | KMY_HAS_CONF };
}

static void die(const kmy_errctx_t *ctx)
{
    fprintf(stderr, "snapshot_writer: %s\n", ctx->detail);
    exit(1);
}

int main(int argc, char **argv)
{
    kmy_errctx_t ctx = { 0 };
    kmy_snapshot_t *s;
    bool clean;
    bool rebuilt;
    uint64_t seq;
    uint64_t offset;
    if (argc != 3)
        return 2;
    kmy_snapshot_options_t options = { .map_bytes = (uint64_t)1 << 30,
                                       .history_age_ns_max = 600 * KMY_NS_PER_S,
                                       .history_bytes_max = 3 << 20 };
    if (kmy_snapshot_open(&s, argv[1], &options, &clean, &rebuilt, &ctx) != KMY_OK)
        die(&ctx);
    for (int i = 0; i < FEEDS; i++) {
        char name[32];
        snprintf(name, sizeof name, "F%03d/USD", i);
        if (kmy_snapshot_feed_id(s, name, &ids[i], &ctx) != KMY_OK)
            die(&ctx);
        kmy_flat_init(&templates[i], KMY_FLAT_STORE, ids[i], name);
    }
    kmy_snapshot_resume(s, &seq, NULL);
    kmy_snapshot_last_offset(s, ids[(seq - 1) % FEEDS], &offset, NULL);
    printf("{\"clean\":%s,\"rebuilt\":%s,\"epoch\":\"%s\",\"next_seq\":%" PRIu64
           ",\"offset_agrees\":%s}\n",
           clean ? "true" : "false", rebuilt ? "true" : "false", kmy_snapshot_epoch(s), seq,
           seq == 1 || offset == 1 + (seq - 1) / FEEDS ? "true" : "false");
    fflush(stdout);

    int64_t end = kmy_mono_ns() + atoll(argv[2]) * KMY_NS_PER_S;
    while (atoi(argv[2]) == 0 || kmy_mono_ns() < end) {
        static kmy_tick_t ticks[BATCH];
        static uint8_t values[BATCH][KMY_TICK_FLAT_BYTES_MAX];
        static kmy_snapshot_item_t items[BATCH];
        int64_t now = kmy_wall_ns();
        for (size_t i = 0; i < BATCH; i++, seq++) {
            ticks[i] = tick_of(seq, now);
            size_t n = kmy_flat_encode(&templates[seq % FEEDS], &ticks[i], values[i]);
            items[i] = (kmy_snapshot_item_t){ &ticks[i], values[i], n };
        }
        if (kmy_snapshot_flush(s, items, BATCH, now, &ctx) != KMY_OK)
            die(&ctx);
    }
    kmy_snapshot_close(s);
    printf("{\"written\":%" PRIu64 "}\n", seq - 1);
    return 0;
}
