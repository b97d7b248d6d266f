/* tick 6/8   in: engine/shard   out: pay/meter, engine/egress */
#include "wire/sse.h"

#include "base/decimal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char type_member[] = "{\"type\":\"";

/* 3 hex digits and CRLF: a tick's event is longer than 255 bytes or not, and leading zeros are allowed (RFC 9112 section 7.1: 1*HEXDIG). */
enum { SIZE_BYTES = 5, NAME_BYTES_MAX = 64 };

_Static_assert(KMY_TICK_SSE_BYTES_MAX >= KMY_TICK_JSON_BYTES_MAX + SIZE_BYTES +
                                             sizeof "event: tick\nid: \ndata: " +
                                             KMY_SSE_EPOCH_BYTES_MAX + 21 + sizeof KMY_SSE_TAIL,
               "the longest tick, and what its writer may touch");
_Static_assert(KMY_TICK_SSE_BYTES_MAX <= 0xfff, "three digits say any size");
_Static_assert(KMY_SSE_HEAD_BYTES_MAX >= 8 + 2 + 7 + NAME_BYTES_MAX + 7 + 1,
               "as the header adds up");

static char *put(char *p, const char *text, size_t len)
{
    memcpy(p, text, len);
    return p + len;
}

static char *put_u64(char *p, uint64_t v)
{
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return put(p, digits + n, sizeof digits - n);
}

size_t kmy_sse_tick(const kmy_tick_json_t *t, const char *epoch, const kmy_tick_t *tick, char *out)
{
    static const char hex[] = "0123456789abcdef";
    static const char head[] = "event: tick\nid: ";
    static const char data[] = "\ndata: ";
    size_t epoch_len = strlen(epoch);
    KMY_ASSERT(epoch_len < KMY_SSE_EPOCH_BYTES_MAX);
    char *begin = out + SIZE_BYTES;
    char *p = put(begin, head, sizeof head - 1);
    p = put(p, epoch, epoch_len);
    *p++ = ':';
    p = put_u64(p, tick->seq);
    p = put(p, data, sizeof data - 1);
    p += kmy_tick_json_object(t, tick, p);
    *p++ = '\n';
    *p++ = '\n';
    size_t size = (size_t)(p - begin);
    out[0] = hex[size >> 8];
    out[1] = hex[size >> 4 & 15];
    out[2] = hex[size & 15];
    out[3] = '\r';
    out[4] = '\n';
    p = put(p, "\r\n", 2);
    return (size_t)(p - out);
}

size_t kmy_sse_head(const char *json, size_t len, char *out)
{
    size_t prefix = sizeof type_member - 1;
    KMY_ASSERT(len > prefix && memcmp(json, type_member, prefix) == 0);
    const char *name = json + prefix;
    const char *end = memchr(name, '"', len - prefix);
    KMY_ASSERT(end && end - name <= NAME_BYTES_MAX);
    int name_len = (int)(end - name);
    size_t size = 7 + (size_t)name_len + 7 + len + 2;
    int n =
        snprintf(out, KMY_SSE_HEAD_BYTES_MAX, "%zx\r\nevent: %.*s\ndata: ", size, name_len, name);
    KMY_ASSERT(n > 0 && n < KMY_SSE_HEAD_BYTES_MAX);
    return (size_t)n;
}

bool kmy_sse_id(const char *text, size_t len, const char *epoch, bool *ours, uint64_t *seq)
{
    const char *colon = memchr(text, ':', len);
    if (!colon || colon == text || (size_t)(colon - text) >= KMY_SSE_EPOCH_BYTES_MAX ||
        !kmy_u64_parse(colon + 1, len - (size_t)(colon + 1 - text), seq))
        return false;
    *ours =
        strlen(epoch) == (size_t)(colon - text) && memcmp(text, epoch, (size_t)(colon - text)) == 0;
    return true;
}
