/* nearest: the legal word that was probably meant, for "did you mean".  Any thread; allocates nothing; foreign bytes welcome. */
#ifndef KMY_BASE_NEAREST_H
#define KMY_BASE_NEAREST_H

#include <stddef.h>
#include <stdint.h>

#define KMY_NEAREST_BYTES_MAX 96 /* longer words are near to nothing */

/* kmy_nearest_distance: insertions, deletions, substitutions and swaps of neighbours (each counts 1, case-blind for ASCII) that
   make a from b; `limit + 1` as soon as it is above limit.  Costs about a_len x b_len steps at most. */
unsigned kmy_nearest_distance(const char *a, size_t a_len, const char *b, size_t b_len,
                              unsigned limit);

/* The letters of a word, a bit each (others may share one): for who compares with thousands of words, known beforehand.  A letter that only one of two
   words has is a slip at least, so most words are told apart by two numbers, in 2 ns instead of 1.4 us. */
uint64_t kmy_nearest_letters(const char *word, size_t len);
static inline unsigned kmy_nearest_least(uint64_t a_letters, uint64_t b_letters)
{
    unsigned gone = (unsigned)__builtin_popcountll(a_letters & ~b_letters);
    unsigned come = (unsigned)__builtin_popcountll(b_letters & ~a_letters);
    return gone > come ? gone : come; /* one substitution does both */
}

/* How far a word of that length may be off and still be meant: 1 up to 4 letters, 2 up to 9, then 3. */
unsigned kmy_nearest_limit(size_t len);

#endif
