#include "wire/utf8.h"

#include <string.h>

/* What a first byte promises: how many bytes follow, and the range of the second one.  Overlong forms, surrogates and everything
   above U+10FFFF differ from good text in the second byte only (RFC 3629 section 4), so that this table is the whole law:
   the third and fourth byte are always 80..BF. */
typedef struct {
    uint8_t follow; /* 0: no character of several bytes begins so */
    uint8_t low;
    uint8_t high;
} lead_t;

static const lead_t leads[256] = {
    [0xC2 ... 0xDF] = { 1, 0x80, 0xBF }, [0xE0] = { 2, 0xA0, 0xBF }, /* below: overlong */
    [0xE1 ... 0xEC] = { 2, 0x80, 0xBF }, [0xED] = { 2, 0x80, 0x9F }, /* above: surrogates */
    [0xEE ... 0xEF] = { 2, 0x80, 0xBF }, [0xF0] = { 3, 0x90, 0xBF }, /* below: overlong */
    [0xF1 ... 0xF3] = { 3, 0x80, 0xBF }, [0xF4] = { 3, 0x80, 0x8F }, /* above: beyond U+10FFFF */
};

/* State between pieces: bytes to follow << 16 | low << 8 | high of the next one. */
#define STATE(follow, low, high) ((uint32_t)(follow) << 16 | (uint32_t)(low) << 8 | (high))
#define STATE_BAD                UINT32_MAX
#define FOLLOW(state)            ((state) >> 16)
#define LOW(state)               ((state) >> 8 & 0xFF)
#define HIGH(state)              ((state)&0xFF)

static const uint64_t high_bits = UINT64_C(0x8080808080808080);

/* Passes ASCII: 8 bytes, and if that went well 32 a turn while they last, then 8, then single ones. */
static const uint8_t *pass_ascii(const uint8_t *p, const uint8_t *end)
{
    uint64_t w[4];
    while (end - p >= 8) {
        memcpy(w, p, 8);
        if (w[0] & high_bits) {
            if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
                return p + __builtin_ctzll(w[0] & high_bits) / 8;
            break;
        }
        p += 8;
        while (end - p >= 32) {
            memcpy(w, p, 32);
            if ((w[0] | w[1] | w[2] | w[3]) & high_bits)
                break;
            p += 32;
        }
    }
    while (p < end && *p < 0x80)
        p++;
    return p;
}

static inline size_t char_bytes(const uint8_t *p, size_t len)
{
    if (len == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    const lead_t lead = leads[p[0]];
    if (lead.follow == 0 || len <= lead.follow || p[1] < lead.low || p[1] > lead.high)
        return 0;
    if (lead.follow >= 2 && (p[2] & 0xC0) != 0x80)
        return 0;
    if (lead.follow == 3 && (p[3] & 0xC0) != 0x80)
        return 0;
    return (size_t)lead.follow + 1;
}

size_t kmy_utf8_char_bytes(const void *bytes, size_t len)
{
    return char_bytes(bytes, len);
}

/* One byte through the state: the slow and exact way, for characters that a border cuts. */
static uint32_t step(uint32_t state, uint8_t byte)
{
    if (state == 0) {
        if (byte < 0x80)
            return 0;
        const lead_t lead = leads[byte];
        return lead.follow ? STATE(lead.follow, lead.low, lead.high) : STATE_BAD;
    }
    if (byte < LOW(state) || byte > HIGH(state))
        return STATE_BAD;
    return FOLLOW(state) == 1 ? 0 : STATE(FOLLOW(state) - 1, 0x80, 0xBF);
}

bool kmy_utf8_feed(kmy_utf8_t *u, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    const uint8_t *end = p + len;
    uint32_t state = u->state;
    if (state == STATE_BAD)
        return false;
    while (p < end) {
        if (state == 0) {
            if (*p < 0x80) {
                p = pass_ascii(p, end);
                continue;
            }
            size_t n = char_bytes(p, (size_t)(end - p));
            if (n) {
                p += n;
                continue;
            }
        }
        state = step(state, *p++);
        if (state == STATE_BAD)
            break;
    }
    u->state = state;
    return state != STATE_BAD;
}

bool kmy_utf8_valid(const void *bytes, size_t len)
{
    kmy_utf8_t u = { 0 };
    return kmy_utf8_feed(&u, bytes, len) && u.state == 0;
}
