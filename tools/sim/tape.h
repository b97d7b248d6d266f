/* tape: recordings in memory, ready to be sent again and again with their numbers moved.

   Formats are told apart line by line (the captures' README describes them): "<ns> <frame>", "<s.fraction>: <frame>", Hermes lines
   {"dir":"in","frame":"..."}, and bare frames.  Gzip or plain.  Loaded once at start; then read only. */
#ifndef KMY_SIM_TAPE_H
#define KMY_SIM_TAPE_H

#include "base/err.h"
#include "tools/sim/shift.h"
#include "tools/sim/streams.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sim_tape_frame {
    uint64_t text_at;
    int64_t at_ns;    /* after the first frame of its file */
    int64_t clock_us; /* what its event clock would say at at_ns; rebase moves this to now */
    uint32_t len;
    uint32_t stream;
    uint32_t group; /* symbol; ids move per group */
    uint32_t patch_at;
    uint32_t meta_at;
    uint32_t vaa_at;
    uint16_t patches_count;
    bool late;
    bool only_vaa;
    bool no_clock; /* the line had no receive time: it was laid gap_ns after the line before */
} sim_tape_frame_t;

typedef struct sim_tape_group { /* ids of one symbol, as recorded; max 0: none seen */
    uint64_t min[SIM_NUMS];
    uint64_t max[SIM_NUMS];
} sim_tape_group_t;

typedef struct sim_tape {
    char *text; /* everything below is owned */
    size_t text_len, text_cap;
    sim_tape_frame_t *frames;
    size_t frames_count, frames_cap;
    sim_patch_t *patches;
    size_t patches_count, patches_cap;
    sim_tape_group_t *groups;
    size_t groups_count, groups_cap;
    sim_streams_t group_names;
    size_t skipped_count; /* lines that are no stream frame */
    int64_t loop_ns;      /* length of one loop: a whole number of seconds */
    uint64_t slot_max;    /* Hermes: highest recorded */
} sim_tape_t;

typedef enum { SIM_TAPE_BINANCE, SIM_TAPE_HERMES } sim_tape_venue_t;

/* sim_tape_load appends the file's frames for `venue` to the tape and its streams to `streams`; frames of the other venue are passed
   over without a word.  *found is how many were taken.  KMY_IO: cannot be read or a broken gzip; KMY_TOO_BIG: out of memory or limits. */
kmy_err_t sim_tape_load(sim_tape_t *tape, const char *path, sim_tape_venue_t venue, int64_t gap_ns,
                        sim_streams_t *streams, size_t *found, kmy_errctx_t *ctx);
/* Call once after the last file: orders the frames by time and works out how far a loop moves each number. */
void sim_tape_finish(sim_tape_t *tape);
void sim_tape_fini(sim_tape_t *tape);

/* How far loop number `loop` moves the numbers of a frame (time in microseconds). */
void sim_tape_delta(const sim_tape_t *tape, const sim_tape_frame_t *frame, uint64_t loop,
                    int64_t delta[SIM_NUMS]);

#endif
