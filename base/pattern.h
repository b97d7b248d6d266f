/* pattern: names with `*` in them: "*@binance", "BTC-*", "tvl:*".  A star stands for any run of bytes, also for none; everything else is literal,
   case-blind for ASCII, and '-' is '/', as in names of feeds.

   Matching is bit-parallel (Shift-And, Baeza-Yates and Gonnet 1992, with a loop where a star stands): one step for each byte of the name,
   whatever the pattern, so that no pattern is dearer than another.  Any thread; nothing blocks or allocates. */
#ifndef KMY_BASE_PATTERN_H
#define KMY_BASE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KMY_PATTERN_BYTES_MAX = 63 }; /* state n means n literals matched: 64 states fill a word */

typedef struct kmy_pattern {
    uint64_t at[256]; /* bit i: literal i may be this byte */
    uint64_t loops;   /* bit i: a star stands before literal i, or behind the last */
    uint8_t literals_count;
} kmy_pattern_t;

/* Compiles text[0..len).  false: longer than KMY_PATTERN_BYTES_MAX; *p is then untouched.  An empty pattern matches the empty name only. */
bool kmy_pattern_init(kmy_pattern_t *p, const char *text, size_t len);
bool kmy_pattern_matches(const kmy_pattern_t *p, const char *name, size_t len);

#endif
