/* shift: finds the numbers of a recorded frame that must move when the recording is looped or laid on another day (event times, trade
   ids, book ids, slots), once, at load; writes the frame with them moved, many times, fast.

   The rest of a frame stays byte for byte what was recorded.  Pure functions: no allocation, any thread. */
#ifndef KMY_SIM_SHIFT_H
#define KMY_SIM_SHIFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    SIM_TIME,  /* any event time; counted in microseconds whatever the text's unit */
    SIM_TRADE, /* trade ids of one symbol: t, f, l, kline's f and L, ticker's F and L */
    SIM_AGG,   /* aggregate trade ids of one symbol: a */
    SIM_BOOK,  /* book update ids of one symbol: u, U, pu, lastUpdateId */
    SIM_SLOT,  /* Pyth slots, one sequence for all feeds */
    SIM_NUMS
} sim_num_t;

typedef struct sim_patch {
    uint64_t value;  /* as recorded; SIM_TIME in microseconds */
    uint32_t at;     /* offset of the first digit in the frame's text */
    uint32_t scale;  /* SIM_TIME: microseconds a unit of the text is worth: 1, 1000 or 1000000 */
    uint8_t digits;  /* in the text */
    uint8_t kind;    /* sim_num_t */
    bool is_primary; /* the number by which this stream is ordered: t, a, u, slot */
} sim_patch_t;

/* sim_shift_find fills patches[0..cap) in order of place with the movable numbers of text, a JSON text of a Binance or Hermes stream;
   returns how many, or -1 if there are more than cap.  Negative, fractional and null values do not move (a kline without trades has
   f = -1).  Text that is no JSON gives some count and no fault. */
int sim_shift_find(const char *text, size_t len, sim_patch_t *patches, int cap);

/* sim_shift_write copies text[from..to) to out, each number moved by delta[kind]; `micro`: times that are in milliseconds are written
   in microseconds (timeUnit=MICROSECOND), without it times in microseconds are cut to milliseconds.  Seconds stay seconds.
   out has room for to - from + patches_count * SIM_U64_DIGITS_MAX bytes.  Returns the bytes written. */
size_t sim_shift_write(const char *text, size_t from, size_t to, const sim_patch_t *patches,
                       int patches_count, const int64_t delta[SIM_NUMS], bool micro, char *out);

#endif
