/* nearest: the legal word that was probably meant, for "did you mean".  Any thread; allocates nothing; foreign bytes welcome. */
#ifndef KMY_BASE_NEAREST_H
#define KMY_BASE_NEAREST_H

#include <stddef.h>

#define KMY_NEAREST_BYTES_MAX 96 /* longer words are near to nothing */

/* kmy_nearest_distance: insertions, deletions, substitutions and swaps of neighbours (each counts 1, case-blind for ASCII) that
   make a from b; `limit + 1` as soon as it is above limit.  Costs about a_len x b_len steps at most. */
unsigned kmy_nearest_distance(const char *a, size_t a_len, const char *b, size_t b_len,
                              unsigned limit);

/* How far a word of that length may be off and still be meant: 1 up to 4 letters, 2 up to 9, then 3. */
unsigned kmy_nearest_limit(size_t len);

#endif
