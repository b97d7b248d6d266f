#include "base/nearest.h"

#include <string.h>

static unsigned char fold(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

uint64_t kmy_nearest_letters(const char *word, size_t len)
{
    uint64_t letters = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = fold(word[i]);
        unsigned bit = 36 + c % 28u;
        if (c >= 'a' && c <= 'z')
            bit = c - (unsigned)'a';
        else if (c >= '0' && c <= '9')
            bit = 26 + c - (unsigned)'0';
        letters |= UINT64_C(1) << bit;
    }
    return letters;
}

unsigned kmy_nearest_limit(size_t len)
{
    return len <= 4 ? 1 : len <= 9 ? 2 : 3;
}

/* Optimal string alignment, row by row; three rows are enough because a swap looks back two. */
unsigned kmy_nearest_distance(const char *a, size_t a_len, const char *b, size_t b_len,
                              unsigned limit)
{
    size_t apart = a_len > b_len ? a_len - b_len : b_len - a_len;
    if (apart > limit || a_len > KMY_NEAREST_BYTES_MAX || b_len > KMY_NEAREST_BYTES_MAX)
        return limit + 1;
    unsigned rows[3][KMY_NEAREST_BYTES_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_len; j++)
        before[j] = above[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned best = row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned same = fold(a[i - 1]) == fold(b[j - 1]);
            unsigned d = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + !same);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]))
                d = least(d, before[j - 2] + 1);
            row[j] = d;
            best = least(best, d);
        }
        if (best > limit) /* a swap may still reach one row back, but costs 1 as well */
            return limit + 1;
        unsigned *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[b_len] <= limit ? above[b_len] : limit + 1;
}
