#include "base/pattern.h"

#include <string.h>

static void allow(kmy_pattern_t *p, uint8_t c, uint64_t bit)
{
    p->at[c] |= bit;
    if (c >= 'a' && c <= 'z')
        p->at[c - 32] |= bit;
    else if (c >= 'A' && c <= 'Z')
        p->at[c + 32] |= bit;
    else if (c == '-' || c == '/')
        p->at['-'] |= bit, p->at['/'] |= bit;
}

bool kmy_pattern_init(kmy_pattern_t *p, const char *text, size_t len)
{
    if (len > KMY_PATTERN_BYTES_MAX)
        return false;
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < len; i++) {
        uint64_t bit = UINT64_C(1) << p->literals_count;
        if (text[i] == '*') {
            p->loops |= bit;
        } else {
            allow(p, (uint8_t)text[i], bit);
            p->literals_count++;
        }
    }
    return true;
}

bool kmy_pattern_matches(const kmy_pattern_t *p, const char *name, size_t len)
{
    uint64_t states = 1; /* bit i: the bytes so far can be read as the first i literals */
    for (size_t i = 0; i < len && states; i++)
        states = (states & p->at[(uint8_t)name[i]]) << 1 | (states & p->loops);
    return states >> p->literals_count & 1;
}
