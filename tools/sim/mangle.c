#include "tools/sim/mangle.h"

#include "base/err.h"

#include <string.h>

/* A price as a JSON string: text[*from..*to) is what stands between the quotes. */
static bool next_price(const char *text, size_t len, size_t start, size_t *from, size_t *to)
{
    static const char *const keys[] = { "\"p\":\"", "\"b\":\"", "\"a\":\"", "\"price\":\"" };
    const char *best = NULL;
    size_t skip = 0;
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        const char *at = memmem(text + start, len - start, keys[k], strlen(keys[k]));
        if (at && (!best || at < best)) {
            best = at;
            skip = strlen(keys[k]);
        }
    }
    if (!best)
        return false;
    *from = (size_t)(best - text) + skip;
    const char *quote = memchr(text + *from, '"', len - *from);
    *to = quote ? (size_t)(quote - text) : len;
    return quote != NULL;
}

static size_t splice(char *text, size_t len, size_t from, size_t to, const char *with)
{
    size_t n = strlen(with);
    memmove(text + from + n, text + to, len - to);
    memcpy(text + from, with, n);
    return len - (to - from) + n;
}

/* Times 1000, exactly: three digits further, or three zeros more where there is no point. */
static size_t spike(char *text, size_t len)
{
    size_t from, to, start = 0;
    while (next_price(text, len, start, &from, &to)) {
        const char *point = memchr(text + from, '.', to - from);
        size_t at = point ? (size_t)(point - text) : to;
        if (point && to - at > 3) {
            memmove(text + at, text + at + 1, 3);
            text[at + 3] = '.';
        } else {
            len = splice(text, len, at, at, "000");
        }
        start = to;
    }
    return len;
}

static size_t wrong_type(char *text, size_t len)
{
    size_t from, to;
    if (!next_price(text, len, 0, &from, &to))
        return len;
    len = splice(text, len, to, to + 1, "");
    return splice(text, len, from - 1, from, "");
}

size_t sim_mangle(sim_trouble_kind_t kind, char *text, size_t len, size_t cap)
{
    size_t from, to;
    KMY_ASSERT(cap >= 2 * len + 64 || kind == SIM_T_TRUNCATED || len < cap - 32);
    switch (kind) {
    case SIM_T_SPIKE:
        return spike(text, len);
    case SIM_T_WRONGTYPE:
        return wrong_type(text, len);
    case SIM_T_NULLPRICE:
        return next_price(text, len, 0, &from, &to) ? splice(text, len, from - 1, to + 1, "null")
                                                    : len;
    case SIM_T_ARRAY:
        len = splice(text, len, 0, 0, "[");
        return splice(text, len, len, len, "]");
    case SIM_T_TRUNCATED:
        return len * 2 / 3;
    default:
        return len;
    }
}
