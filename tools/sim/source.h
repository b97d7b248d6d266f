/* source: where a venue's frames come from: a tape (recordings) or a market (seeded walks), seen through one cursor.

   A cursor is a plain struct that may be copied: the timeline all connections share is one, and with --speed max each connection has its
   own.  The same source and the same position give the same bytes, always. */
#ifndef KMY_SIM_SOURCE_H
#define KMY_SIM_SOURCE_H

#include "base/strmap.h"
#include "tools/sim/market.h"
#include "tools/sim/shift.h"
#include "tools/sim/tape.h"

#define SIM_EVENT_TEXT_BYTES                                                                       \
    900 /* longest generated frame is a verbose binary Hermes update, about 620 */
#define SIM_EVENT_PATCHES_MAX 8
#define SIM_MARKET_VAA        "UE5BVQEAAAAAAA==" /* a PNAU head and nothing provable behind it */

/* One frame on its way to connections.  text and patches point into the tape, or into the event itself. */
typedef struct sim_event {
    const char *text;
    const sim_patch_t *patches;
    int patches_count;
    uint32_t len;
    uint32_t stream;
    uint32_t
        meta_at; /* Hermes: where `,"metadata":` begins; where `,"vaa":` begins; both len - 2 if absent */
    uint32_t vaa_at;
    bool late; /* Hermes: an older slot after a newer one; only for allow_out_of_order */
    bool
        only_vaa; /* Hermes recordings: a frame that was recorded with its proof; only for binary */
    uint64_t id;  /* the primary number, moved; 0 if the frame has none */
    int64_t at_ns; /* since the timeline's start, at speed 1 */
    int64_t delta[SIM_NUMS];
    char own_text[SIM_EVENT_TEXT_BYTES];
    sim_patch_t own_patches[SIM_EVENT_PATCHES_MAX];
} sim_event_t;

typedef struct sim_source {
    const sim_tape_t *tape;     /* NULL: market */
    const sim_market_t *market; /* its first state */
    uint64_t loops;             /* tape only; 0: for ever */
    bool rebase;
    int64_t begin_us; /* simulated clock at position 0, microseconds since the epoch (market) */
} sim_source_t;

typedef struct sim_cursor {
    const sim_source_t *source;
    uint64_t frames; /* given so far */
    uint64_t loop;
    size_t idx;
    sim_market_t market;
} sim_cursor_t;

void sim_cursor_init(sim_cursor_t *c, const sim_source_t *source);
/* When the next frame is due, nanoseconds since the start at speed 1; false: the source has ended. */
bool sim_cursor_due(const sim_cursor_t *c, int64_t *at_ns);
/* sim_cursor_next gives the next frame and moves on; call only after sim_cursor_due said true.  now_us: the wall clock at which the frame
   is meant to leave, used with rebase alone.  *ev is good until the next call with the same ev. */
void sim_cursor_next(sim_cursor_t *c, int64_t now_us, sim_event_t *ev);

#endif
