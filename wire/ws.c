#include "wire/ws.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define FIN_BIT           0x80
#define RSV1_BIT          0x40
#define RSV23_BITS        0x30
#define OPCODE_BITS       0x0F
#define MASK_BIT          0x80
#define CONTROL_BIT       0x08
#define CONTROL_BYTES_MAX 125

static bool is_control(uint8_t opcode)
{
    return (opcode & CONTROL_BIT) != 0;
}

static kmy_err_t check_first_byte(const kmy_ws_rules_t *rules, uint8_t byte, kmy_errctx_t *ctx)
{
    uint8_t opcode = byte & OPCODE_BITS;
    if ((opcode > KMY_WS_BINARY && opcode < KMY_WS_CLOSE) || opcode > KMY_WS_PONG)
        return KMY_FAIL(ctx, KMY_PROTOCOL, "frame with reserved opcode %d", opcode);
    bool starts_message = opcode == KMY_WS_TEXT || opcode == KMY_WS_BINARY;
    if ((byte & RSV23_BITS) || ((byte & RSV1_BIT) && !(rules->deflate && starts_message)))
        return KMY_FAIL(ctx, KMY_PROTOCOL, "frame with reserved bits that nobody negotiated");
    if (is_control(opcode) && !(byte & FIN_BIT))
        return KMY_FAIL(ctx, KMY_PROTOCOL, "control frame in fragments");
    return KMY_OK;
}

static kmy_err_t check_second_byte(const kmy_ws_rules_t *rules, uint8_t opcode, uint8_t byte,
                                   kmy_errctx_t *ctx)
{
    bool masked = byte & MASK_BIT;
    if (masked != rules->server)
        return KMY_FAIL(ctx, KMY_PROTOCOL,
                        masked ? "masked frame from a server" : "unmasked frame from a client");
    if (is_control(opcode) && (byte & 0x7F) > CONTROL_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_PROTOCOL, "control frame above %d bytes", CONTROL_BYTES_MAX);
    return KMY_OK;
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

kmy_err_t kmy_ws_header(const kmy_ws_rules_t *rules, const uint8_t *data, size_t len,
                        kmy_ws_header_t *h, kmy_errctx_t *ctx)
{
    kmy_err_t err;
    if (len == 0)
        return KMY_AGAIN;
    uint8_t opcode = data[0] & OPCODE_BITS;
    if ((err = check_first_byte(rules, data[0], ctx)) != KMY_OK)
        return err;
    if (len == 1)
        return KMY_AGAIN;
    if ((err = check_second_byte(rules, opcode, data[1], ctx)) != KMY_OK)
        return err;

    uint64_t payload = data[1] & 0x7F;
    size_t at = 2;
    if (payload > CONTROL_BYTES_MAX) {
        size_t n = payload == 126 ? 2 : 8;
        if (len < at + n)
            return KMY_AGAIN;
        payload = big_endian(data + at, n);
        at += n;
        if (payload < (n == 2 ? 126u : 65536u) || payload >> 63)
            return KMY_FAIL(ctx, KMY_PROTOCOL,
                            "frame length not in its shortest form, or negative");
    }
    bool masked = rules->server;
    if (len < at + (masked ? 4 : 0))
        return KMY_AGAIN;
    *h = (kmy_ws_header_t){
        .payload_bytes = payload,
        .header_bytes = (uint8_t)(at + (masked ? 4 : 0)),
        .opcode = opcode,
        .fin = data[0] & FIN_BIT,
        .rsv1 = data[0] & RSV1_BIT,
        .masked = masked,
    };
    if (masked)
        memcpy(h->mask, data + at, 4);
    return KMY_OK;
}

void kmy_ws_unmask(uint8_t *data, size_t len, const uint8_t mask[4], uint64_t phase)
{
    /* The mask turned so that its first byte belongs to data[0]; 8 and 16 are multiples of 4, so it fits every word after. */
    uint8_t turned[8];
    for (size_t i = 0; i < 8; i++)
        turned[i] = mask[(phase + i) & 3];
    uint64_t word;
    memcpy(&word, turned, 8);
    uint8_t *p = data;
    uint8_t *end = data + len;
#ifdef __SSE2__
    const __m128i wide = _mm_set1_epi64x((long long)word);
    for (; end - p >= 64; p += 64) {
        __m128i *v = (__m128i *)(void *)p;
        __m128i a = _mm_loadu_si128(v);
        __m128i b = _mm_loadu_si128(v + 1);
        __m128i c = _mm_loadu_si128(v + 2);
        __m128i d = _mm_loadu_si128(v + 3);
        _mm_storeu_si128(v, _mm_xor_si128(a, wide));
        _mm_storeu_si128(v + 1, _mm_xor_si128(b, wide));
        _mm_storeu_si128(v + 2, _mm_xor_si128(c, wide));
        _mm_storeu_si128(v + 3, _mm_xor_si128(d, wide));
    }
#endif
    for (; end - p >= 8; p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        v ^= word;
        memcpy(p, &v, 8);
    }
    for (size_t i = 0; p < end; i++)
        *p++ ^= turned[i];
}

static uint64_t wire_bytes_max(const kmy_ws_rules_t *rules, bool compressed)
{
    uint64_t max = rules->message_bytes_max;
    uint64_t more = max / 64 + 64;
    return compressed && max <= UINT64_MAX - more ? max + more : max;
}

kmy_err_t kmy_ws_stream_frame(kmy_ws_stream_t *s, const kmy_ws_rules_t *rules,
                              const kmy_ws_header_t *h, kmy_errctx_t *ctx)
{
    KMY_ASSERT(!is_control(h->opcode));
    if (h->opcode == KMY_WS_CONT && s->opcode == 0)
        return KMY_FAIL(ctx, KMY_PROTOCOL, "continuation of no message");
    if (h->opcode != KMY_WS_CONT && s->opcode != 0)
        return KMY_FAIL(ctx, KMY_PROTOCOL, "new message inside another");
    if (h->opcode != KMY_WS_CONT)
        *s = (kmy_ws_stream_t){ .opcode = h->opcode, .compressed = h->rsv1 };
    /* message_bytes <= the maximum holds here, from the frames before. */
    if (h->payload_bytes > wire_bytes_max(rules, s->compressed) - s->message_bytes)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "message above %llu bytes",
                        (unsigned long long)rules->message_bytes_max);
    if (rules->fragments_max && s->fragments == rules->fragments_max)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "message in more than %u fragments",
                        rules->fragments_max);
    s->message_bytes += h->payload_bytes;
    s->fragments++;
    return KMY_OK;
}

kmy_err_t kmy_ws_stream_payload(kmy_ws_stream_t *s, const void *data, size_t len, bool frame_ends,
                                bool fin, kmy_errctx_t *ctx)
{
    bool check = s->opcode == KMY_WS_TEXT && !s->compressed;
    if (check && !kmy_utf8_feed(&s->utf8, data, len))
        return KMY_FAIL(ctx, KMY_BAD_UTF8, "text message is not UTF-8");
    if (!frame_ends || !fin)
        return KMY_OK;
    if (check && s->utf8.state != 0)
        return KMY_FAIL(ctx, KMY_BAD_UTF8, "text message ends inside a character");
    *s = (kmy_ws_stream_t){ 0 };
    return KMY_OK;
}

static bool is_close_code(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

kmy_err_t kmy_ws_close_parse(const uint8_t *payload, size_t len, uint16_t *code, kmy_errctx_t *ctx)
{
    *code = 1005;
    if (len == 0)
        return KMY_OK;
    if (len == 1)
        return KMY_FAIL(ctx, KMY_PROTOCOL, "close frame with half a code");
    *code = (uint16_t)big_endian(payload, 2);
    if (!is_close_code(*code))
        return KMY_FAIL(ctx, KMY_PROTOCOL, "close code %u may not be sent", *code);
    if (!kmy_utf8_valid(payload + 2, len - 2))
        return KMY_FAIL(ctx, KMY_BAD_UTF8, "close reason is not UTF-8");
    return KMY_OK;
}

static size_t put_big_endian(uint8_t *out, uint64_t v, size_t n)
{
    for (size_t i = n; i > 0; i--, v >>= 8)
        out[i - 1] = (uint8_t)v;
    return n;
}

size_t kmy_ws_put_header(uint8_t out[KMY_WS_HEADER_BYTES_MAX], uint8_t opcode, bool fin, bool rsv1,
                         uint64_t payload_bytes, const uint8_t *mask)
{
    uint8_t mask_bit = mask ? MASK_BIT : 0;
    size_t at = 2;
    out[0] = (uint8_t)((fin ? FIN_BIT : 0) | (rsv1 ? RSV1_BIT : 0) | opcode);
    if (payload_bytes < 126) {
        out[1] = (uint8_t)(mask_bit | payload_bytes);
    } else if (payload_bytes < 65536) {
        out[1] = mask_bit | 126;
        at += put_big_endian(out + at, payload_bytes, 2);
    } else {
        out[1] = mask_bit | 127;
        at += put_big_endian(out + at, payload_bytes, 8);
    }
    if (mask) {
        memcpy(out + at, mask, 4);
        at += 4;
    }
    return at;
}

size_t kmy_ws_put_close(uint8_t out[128], uint16_t code, const char *reason)
{
    if (code == 0 || code == 1005)
        return kmy_ws_put_header(out, KMY_WS_CLOSE, true, false, 0, NULL);
    size_t len = 0;
    size_t left =
        reason ? strnlen(reason, 127) : 0; /* 123, and the rest of a character that begins there */
    for (size_t n; left > 0 && (n = kmy_utf8_char_bytes(reason + len, left)) > 0 && len + n <= 123;
         left -= n)
        len += n;
    kmy_ws_put_header(out, KMY_WS_CLOSE, true, false, 2 + len, NULL);
    put_big_endian(out + 2, code, 2);
    if (len)
        memcpy(out + 4, reason, len);
    return 4 + len;
}
