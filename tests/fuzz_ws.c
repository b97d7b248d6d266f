/* The input is what a client sends after the handshake; its first byte chooses rules and the size of pieces.  Properties: the same
   verdict after the same number of messages in whatever pieces it comes; headers written anew are the same bytes; accepted text
   is UTF-8 as a whole; nothing accepted is above a limit. */
#include "wire/ws.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(cond) KMY_ASSERT(cond)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    kmy_err_t err;
    size_t messages;
    size_t controls;
    size_t consumed; /* up to the last whole frame */
} outcome_t;

typedef struct {
    const kmy_ws_rules_t *rules;
    kmy_ws_stream_t stream;
    uint8_t *message; /* the text so far */
    size_t message_len;
    size_t piece;
} session_t;

static void check_header(const kmy_ws_header_t *h, const uint8_t *data, size_t len)
{
    uint8_t again[KMY_WS_HEADER_BYTES_MAX];
    size_t n = kmy_ws_put_header(again, h->opcode, h->fin, h->rsv1, h->payload_bytes,
                                 h->masked ? h->mask : NULL);
    CHECK(n == h->header_bytes && n <= len && memcmp(again, data, n) == 0);
}

static kmy_err_t take_control(const kmy_ws_header_t *h, const uint8_t *payload, outcome_t *o)
{
    o->controls++;
    CHECK(h->fin && h->payload_bytes <= 125);
    if (h->opcode != KMY_WS_CLOSE)
        return KMY_OK;
    uint16_t code;
    kmy_err_t err = kmy_ws_close_parse(payload, (size_t)h->payload_bytes, &code, NULL);
    CHECK(err != KMY_OK || code >= 1000);
    return err;
}

/* The part of a data frame's payload that is there, in pieces. */
static kmy_err_t take_data(session_t *s, const kmy_ws_header_t *h, uint8_t *payload, size_t have,
                           outcome_t *o)
{
    kmy_err_t err = kmy_ws_stream_frame(&s->stream, s->rules, h, NULL);
    if (err != KMY_OK)
        return err;
    bool text = s->stream.opcode == KMY_WS_TEXT && !s->stream.compressed;
    uint64_t max = s->rules->message_bytes_max;
    CHECK(s->stream.message_bytes <= (s->stream.compressed ? max + max / 64 + 64 : max));
    size_t at = 0;
    do {
        size_t n = have - at < s->piece ? have - at : s->piece;
        if (h->masked)
            kmy_ws_unmask(payload + at, n, h->mask, at);
        memcpy(s->message + s->message_len, payload + at, n);
        s->message_len += n;
        at += n;
        err = kmy_ws_stream_payload(&s->stream, payload + at - n, n, at == h->payload_bytes, h->fin,
                                    NULL);
    } while (err == KMY_OK && at < have);
    if (err != KMY_OK) {
        CHECK(text && err == KMY_BAD_UTF8);
        return err;
    }
    if (have < h->payload_bytes)
        return KMY_AGAIN;
    if (h->fin) {
        CHECK(s->stream.opcode == 0);
        CHECK(!text || kmy_utf8_valid(s->message, s->message_len));
        s->message_len = 0;
        o->messages++;
    }
    return KMY_OK;
}

static outcome_t run(const kmy_ws_rules_t *rules, const uint8_t *input, size_t size, size_t piece)
{
    uint8_t *data = malloc(size + 1);
    session_t s = { .rules = rules, .message = malloc(size + 1), .piece = piece };
    outcome_t o = { 0 };
    CHECK(data && s.message);
    memcpy(data, input, size);
    while (o.err == KMY_OK) {
        uint8_t *p = data + o.consumed;
        size_t left = size - o.consumed;
        kmy_ws_header_t h;
        o.err = kmy_ws_header(rules, p, left, &h, NULL);
        if (o.err != KMY_OK)
            break;
        check_header(&h, p, left);
        size_t have = left - h.header_bytes;
        have = have < h.payload_bytes ? have : (size_t)h.payload_bytes;
        if (h.opcode < KMY_WS_CLOSE) {
            o.err = take_data(&s, &h, p + h.header_bytes, have, &o);
        } else if (have < h.payload_bytes) {
            o.err = KMY_AGAIN;
        } else {
            if (h.masked)
                kmy_ws_unmask(p + h.header_bytes, have, h.mask, 0);
            o.err = take_control(&h, p + h.header_bytes, &o);
        }
        if (o.err == KMY_OK)
            o.consumed += h.header_bytes + have;
    }
    free(data);
    free(s.message);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const kmy_ws_rules_t rules = {
        .server = !(data[0] & 1),
        .deflate = data[0] & 2,
        .message_bytes_max = data[0] & 4 ? 16 : 65536,
        .fragments_max = data[0] & 8 ? 3 : 0,
    };
    outcome_t whole = run(&rules, data + 1, size - 1, SIZE_MAX);
    outcome_t pieces = run(&rules, data + 1, size - 1, 1 + (data[0] >> 4));
    CHECK(whole.err == pieces.err && whole.messages == pieces.messages);
    CHECK(whole.controls == pieces.controls && whole.consumed == pieces.consumed);
    CHECK(whole.err == KMY_AGAIN || kmy_err_ws(whole.err) >= 1000);
    return 0;
}
