#include "wire/ws.h"

#include "tests/page_edge.h"

#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const kmy_ws_rules_t server = { .server = true, .message_bytes_max = 65536 };
static const kmy_ws_rules_t server_deflate = { .server = true,
                                               .deflate = true,
                                               .message_bytes_max = 65536 };
static const kmy_ws_rules_t client = { .server = false, .message_bytes_max = 65536 };

/* ---- headers ---- */

typedef struct {
    const kmy_ws_rules_t *rules;
    kmy_err_t want;
    const char *why;
    const char *bytes;
    size_t len;
    uint64_t payload;
} frame_t;
#define F(rules, want, payload, why, bytes)                                                        \
    {                                                                                              \
        &rules, KMY_##want, why, bytes, sizeof(bytes) - 1, payload                                 \
    }
#define MASK "\x37\xFA\x21\x3D"

static const frame_t frames[] = {
    F(server, OK, 0, "empty text", "\x81\x80" MASK),
    F(server, OK, 125, "125 bytes", "\x82\xFD" MASK),
    F(server, OK, 126, "126 bytes", "\x82\xFE\x00\x7E" MASK),
    F(server, OK, 65535, "65535 bytes", "\x82\xFE\xFF\xFF" MASK),
    F(server, OK, 65536, "65536 bytes", "\x82\xFF\0\0\0\0\0\1\0\0" MASK),
    F(server, OK, INT64_MAX, "the largest", "\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF" MASK),
    F(server, OK, 1, "first fragment", "\x01\x81" MASK),
    F(server, OK, 1, "middle fragment", "\x00\x81" MASK),
    F(server, OK, 1, "last fragment", "\x80\x81" MASK),
    F(server, OK, 2, "close", "\x88\x82" MASK),
    F(server, OK, 125, "ping of 125", "\x89\xFD" MASK),
    F(server, OK, 0, "pong", "\x8A\x80" MASK),
    F(server_deflate, OK, 1, "compressed text", "\xC1\x81" MASK),
    F(server_deflate, OK, 1, "compressed first fragment", "\x42\x81" MASK),
    F(client, OK, 5, "unmasked from a server", "\x81\x05"),
    F(client, OK, 126, "unmasked, 126 bytes", "\x81\x7E\x00\x7E"),

    F(server, PROTOCOL, 0, "RSV1 without deflate", "\xC1\x80" MASK),
    F(server, PROTOCOL, 0, "RSV2", "\xA1\x80" MASK),
    F(server_deflate, PROTOCOL, 0, "RSV2 with deflate", "\xA1\x80" MASK),
    F(server, PROTOCOL, 0, "RSV3", "\x91\x80" MASK),
    F(server_deflate, PROTOCOL, 0, "RSV1 and RSV3", "\xD1\x80" MASK),
    F(server_deflate, PROTOCOL, 0, "RSV1 on a continuation", "\xC0\x80" MASK),
    F(server_deflate, PROTOCOL, 0, "RSV1 on a ping", "\xC9\x80" MASK),
    F(server, PROTOCOL, 0, "opcode 3", "\x83\x80" MASK),
    F(server, PROTOCOL, 0, "opcode 7", "\x87\x80" MASK),
    F(server, PROTOCOL, 0, "opcode 11", "\x8B\x80" MASK),
    F(server, PROTOCOL, 0, "opcode 15", "\x8F\x80" MASK),
    F(server, PROTOCOL, 0, "unmasked from a client", "\x81\x05"),
    F(client, PROTOCOL, 0, "masked from a server", "\x81\x85" MASK),
    F(server, PROTOCOL, 0, "ping of 126", "\x89\xFE\x00\x7E" MASK),
    F(server, PROTOCOL, 0, "ping with a long length of 5", "\x89\xFF\0\0\0\0\0\0\0\5" MASK),
    F(server, PROTOCOL, 0, "close in fragments", "\x08\x80" MASK),
    F(server, PROTOCOL, 0, "ping in fragments", "\x09\x80" MASK),
    F(server, PROTOCOL, 0, "125 bytes in 16 bits", "\x82\xFE\x00\x7D" MASK),
    F(server, PROTOCOL, 0, "no bytes in 16 bits", "\x82\xFE\x00\x00" MASK),
    F(server, PROTOCOL, 0, "65535 bytes in 64 bits", "\x82\xFF\0\0\0\0\0\0\xFF\xFF" MASK),
    F(server, PROTOCOL, 0, "top bit set", "\x82\xFF\x80\0\0\0\0\1\0\0" MASK),
};

static void each_header_has_one_verdict_wherever_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        const frame_t *f = &frames[i];
        kmy_ws_header_t h;
        for (size_t n = 0, settled = 0; n <= f->len; n++) {
            const uint8_t *p = (const uint8_t *)kmy_at_page_end(f->bytes, n);
            kmy_err_t err = kmy_ws_header(f->rules, p, n, &h, NULL);
            if (err != f->want && (err != KMY_AGAIN || settled || n == f->len))
                fail_msg("%s: at %zu bytes got %s", f->why, n, kmy_err_code(err));
            settled |= err != KMY_AGAIN;
            if (err == KMY_OK)
                assert_int_equal(n, f->len);
        }
        if (f->want != KMY_OK)
            continue;
        assert_int_equal(h.header_bytes, f->len);
        assert_true(h.payload_bytes == f->payload);
        uint8_t again[KMY_WS_HEADER_BYTES_MAX];
        size_t n = kmy_ws_put_header(again, h.opcode, h.fin, h.rsv1, h.payload_bytes,
                                     h.masked ? h.mask : NULL);
        assert_int_equal(n, f->len);
        assert_memory_equal(again, f->bytes, n);
    }
}

static void all_first_two_bytes_follow_the_rules(void **state)
{
    (void)state;
    for (int deflate = 0; deflate < 2; deflate++) {
        for (unsigned v = 0; v < 65536; v++) {
            const uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };
            unsigned opcode = b[0] & 15;
            bool fin = b[0] & 0x80;
            unsigned rsv = b[0] >> 4 & 7;
            bool control = opcode >= 8;
            bool good = (opcode <= 2 || (opcode >= 8 && opcode <= 10)) && (b[1] & 0x80) &&
                        (rsv == 0 || (rsv == 4 && deflate && (opcode == 1 || opcode == 2))) &&
                        (!control || (fin && (b[1] & 0x7F) <= 125));
            kmy_ws_header_t h;
            kmy_err_t err = kmy_ws_header(deflate ? &server_deflate : &server, b, 2, &h, NULL);
            assert_int_equal(err, good ? KMY_AGAIN : KMY_PROTOCOL);
        }
    }
}

static void unmasking_in_pieces_equals_byte_by_byte(void **state)
{
    (void)state;
    static const uint8_t mask[4] = { 0x37, 0xFA, 0x21, 0x3D };
    uint8_t plain[300];
    uint8_t masked[300];
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 31);
    for (size_t len = 0; len <= 200; len++) {
        for (uint64_t phase = 0; phase < 9; phase++) {
            for (size_t i = 0; i < len; i++)
                masked[i] = plain[i] ^ mask[(phase + i) % 4];
            uint8_t *p = (uint8_t *)kmy_at_page_end(masked, len);
            kmy_ws_unmask(p, len, mask, phase);
            assert_memory_equal(p, plain, len);
        }
        for (size_t i = 0; i < len; i++)
            masked[i] = plain[i] ^ mask[i % 4];
        uint8_t *p = (uint8_t *)kmy_at_page_end(masked, len);
        size_t cut = len / 3 + 1 <= len ? len / 3 + 1 : len;
        kmy_ws_unmask(p, cut, mask, 0);
        kmy_ws_unmask(p + cut, len - cut, mask, cut);
        assert_memory_equal(p, plain, len);
    }
}

/* ---- messages ---- */

/* A script of frames: T text, B binary, C continuation, small: not the last; the payload behind it up to a blank. */
static const struct {
    const char *script;
    kmy_err_t want;
    size_t refused_frame; /* 1-based, where not KMY_OK */
    const char *why;
} scripts[] = {
    { "Thello", KMY_OK, 0, "one frame" },
    { "T", KMY_OK, 0, "an empty message" },
    { "thel Clo", KMY_OK, 0, "two fragments" },
    { "t c c C", KMY_OK, 0, "empty fragments" },
    { "Ta Bb Tc", KMY_OK, 0, "three messages" },
    { "ta Cb tc Cd", KMY_OK, 0, "two messages in fragments" },
    { "C", KMY_PROTOCOL, 1, "continuation of nothing" },
    { "cx", KMY_PROTOCOL, 1, "continuation of nothing, not the last" },
    { "Ta Cb", KMY_PROTOCOL, 2, "continuation of a finished message" },
    { "ta Tb", KMY_PROTOCOL, 2, "new text inside a message" },
    { "ba bb", KMY_PROTOCOL, 2, "new binary inside a message" },
    { "T\xCE\xBA", KMY_OK, 0, "a character" },
    { "t\xCE C\xBA", KMY_OK, 0, "a character in two fragments" },
    { "t\xF0 c\x9F c c\x98 C\x80", KMY_OK, 0, "a character in five" },
    { "T\xCE", KMY_BAD_UTF8, 1, "half a character at the end" },
    { "t\xCE C", KMY_BAD_UTF8, 2, "half a character at the end of the last, empty fragment" },
    { "t\xCE Cx", KMY_BAD_UTF8, 2, "a character broken off" },
    { "t\xED\xA0 c\x80 C", KMY_BAD_UTF8, 1, "a surrogate is refused at its second byte" },
    { "t\xF4 c\x90 C", KMY_BAD_UTF8, 2, "above U+10FFFF, refused in the second fragment" },
    { "b\xFF C\xCE", KMY_OK, 0, "binary may be anything" },
    { "b\xFF C\xCE Tx", KMY_OK, 0, "and leaves nothing behind" },
    { "txxxx cxxxx Cxx", KMY_OK, 0, "10 bytes, the limit" },
    { "txxxx cxxxx Cxxx", KMY_TOO_BIG, 3, "11 bytes" },
    { "Txxxxxxxxxxx", KMY_TOO_BIG, 1, "11 bytes at once" },
    { "t c c c C", KMY_OK, 0, "5 fragments, the limit" },
    { "t c c c c C", KMY_TOO_BIG, 6, "6 fragments" },
    { "t c c c C t c c c C", KMY_OK, 0, "each message counts for itself" },
};

static kmy_err_t play(const char *script, size_t piece, size_t *frame)
{
    static const kmy_ws_rules_t rules = { .server = true,
                                          .message_bytes_max = 10,
                                          .fragments_max = 5 };
    kmy_ws_stream_t s = { 0 };
    *frame = 0;
    for (const char *p = script; *p;) {
        bool fin = *p >= 'A' && *p <= 'Z';
        char kind = (char)(*p++ | 0x20);
        size_t len = strcspn(p, " ");
        kmy_ws_header_t h = { .payload_bytes = len,
                              .opcode = kind == 't'   ? KMY_WS_TEXT
                                        : kind == 'b' ? KMY_WS_BINARY
                                                      : KMY_WS_CONT,
                              .fin = fin };
        ++*frame;
        kmy_err_t err = kmy_ws_stream_frame(&s, &rules, &h, NULL);
        size_t at = 0;
        do {
            size_t n = len - at < piece ? len - at : piece;
            if (err == KMY_OK)
                err = kmy_ws_stream_payload(&s, p + at, n, at + n == len, fin, NULL);
            at += n;
        } while (at < len && err == KMY_OK);
        if (err != KMY_OK)
            return err;
        p += len;
        p += *p == ' ';
    }
    return s.opcode == 0 ? KMY_OK : KMY_AGAIN;
}

static void frames_make_messages_or_are_refused_where_it_goes_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        for (size_t piece = 1; piece < 12; piece++) {
            size_t frame;
            kmy_err_t err = play(scripts[i].script, piece, &frame);
            if (err != scripts[i].want || (err != KMY_OK && frame != scripts[i].refused_frame))
                fail_msg("%s: %s at frame %zu", scripts[i].why, kmy_err_code(err), frame);
        }
    }
}

static void bad_text_is_refused_inside_a_frame_before_the_frame_ends(void **state)
{
    (void)state;
    kmy_ws_stream_t s = { 0 };
    kmy_ws_header_t h = { .payload_bytes = 20, .opcode = KMY_WS_TEXT, .fin = true };
    assert_int_equal(kmy_ws_stream_frame(&s, &server, &h, NULL), KMY_OK);
    assert_int_equal(kmy_ws_stream_payload(&s, "\xCE\xBA\xED", 3, false, true, NULL), KMY_OK);
    assert_int_equal(kmy_ws_stream_payload(&s, "\xA0", 1, false, true, NULL), KMY_BAD_UTF8);
}

static void compressed_text_is_not_judged_before_inflating(void **state)
{
    (void)state;
    kmy_ws_stream_t s = { 0 };
    kmy_ws_header_t h = { .payload_bytes = 1, .opcode = KMY_WS_TEXT, .fin = true, .rsv1 = true };
    assert_int_equal(kmy_ws_stream_frame(&s, &server_deflate, &h, NULL), KMY_OK);
    assert_true(s.compressed);
    assert_int_equal(kmy_ws_stream_payload(&s, "\xFF", 1, true, true, NULL), KMY_OK);
    assert_int_equal(s.opcode, 0);
}

static void a_compressed_message_may_be_a_64th_longer_on_the_wire(void **state)
{
    (void)state;
    const uint64_t max = 65536 + 65536 / 64 + 64;
    for (int more = 0; more < 2; more++) {
        for (int compressed = 0; compressed < 2; compressed++) {
            kmy_ws_stream_t s = { 0 };
            kmy_ws_header_t h = { .payload_bytes = (compressed ? max : 65536) + (uint64_t)more,
                                  .opcode = KMY_WS_TEXT,
                                  .fin = true,
                                  .rsv1 = compressed };
            assert_int_equal(kmy_ws_stream_frame(&s, &server_deflate, &h, NULL),
                             more ? KMY_TOO_BIG : KMY_OK);
        }
    }
}

static void lengths_near_2_63_do_not_wrap_the_message_size(void **state)
{
    (void)state;
    kmy_ws_rules_t rules = { .server = true, .message_bytes_max = UINT64_MAX };
    kmy_ws_stream_t s = { 0 };
    kmy_ws_header_t h = { .payload_bytes = INT64_MAX, .opcode = KMY_WS_BINARY };
    assert_int_equal(kmy_ws_stream_frame(&s, &rules, &h, NULL), KMY_OK);
    h.opcode = KMY_WS_CONT;
    assert_int_equal(kmy_ws_stream_frame(&s, &rules, &h, NULL), KMY_OK);
    assert_int_equal(kmy_ws_stream_frame(&s, &rules, &h, NULL), KMY_TOO_BIG);
}

/* ---- closing ---- */

static void exactly_the_codes_that_may_be_sent_are_accepted(void **state)
{
    (void)state;
    for (unsigned v = 0; v < 65536; v++) {
        const uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };
        bool good = (v >= 1000 && v <= 1014 && v != 1004 && v != 1005 && v != 1006) ||
                    (v >= 3000 && v <= 4999);
        uint16_t code;
        assert_int_equal(kmy_ws_close_parse(b, 2, &code, NULL), good ? KMY_OK : KMY_PROTOCOL);
        assert_int_equal(code, v);
    }
}

static void close_payloads_are_judged(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        kmy_err_t want;
        uint16_t code;
    } rows[] = {
        { "", 0, KMY_OK, 1005 },
        { "\x03", 1, KMY_PROTOCOL, 1005 },
        { "\x03\xE8", 2, KMY_OK, 1000 },
        { "\x03\xE8"
          "bye \xE2\x82\xAC",
          9, KMY_OK, 1000 },
        { "\x03\xE8"
          "\xE2\x82",
          4, KMY_BAD_UTF8, 1000 },
        { "\x03\xE8"
          "\xED\xA0\x80",
          5, KMY_BAD_UTF8, 1000 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint16_t code;
        const char *p = kmy_at_page_end(rows[i].bytes, rows[i].len);
        assert_int_equal(kmy_ws_close_parse((const uint8_t *)p, rows[i].len, &code, NULL),
                         rows[i].want);
        assert_int_equal(code, rows[i].code);
    }
}

static void close_frames_fit_and_are_cut_between_characters(void **state)
{
    (void)state;
    for (size_t ascii = 0; ascii <= 200; ascii++) {
        char reason[256];
        memset(reason, 'x', ascii);
        strcpy(reason + ascii, "\xE2\x82\xAC\xE2\x82\xAC");
        uint8_t out[128];
        size_t n = kmy_ws_put_close(out, 4402, reason);
        kmy_ws_header_t h;
        uint16_t code;
        assert_int_equal(kmy_ws_header(&client, out, n, &h, NULL), KMY_OK);
        assert_int_equal(h.opcode, KMY_WS_CLOSE);
        assert_int_equal(h.header_bytes + h.payload_bytes, n);
        assert_int_equal(kmy_ws_close_parse(out + 2, n - 2, &code, NULL), KMY_OK);
        assert_int_equal(code, 4402);
        size_t want = ascii >= 123      ? 123
                      : ascii + 3 > 123 ? ascii
                      : ascii + 6 > 123 ? ascii + 3
                                        : ascii + 6;
        assert_int_equal(n - 4, want);
        assert_memory_equal(out + 4, reason, want);
    }
    uint8_t out[128];
    assert_int_equal(kmy_ws_put_close(out, 1000, NULL), 4);
    assert_int_equal(kmy_ws_put_close(out, 1005, "x"), 2);
    assert_int_equal(kmy_ws_put_close(out, 1000, "ok\xFFno"), 6);
}

/* ---- handshake ---- */

#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define UPGRADE "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"

static const struct {
    kmy_err_t want;
    const char *why;
    const char *text;
} handshakes[] = {
    { KMY_OK, "the example of RFC 6455 section 1.3", UPGRADE KEY VERSION "\r\n" },
    { KMY_OK, "bits behind the key's last byte do not matter",
      UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n" VERSION "\r\n" },
    { KMY_BAD_INPUT, "no key", UPGRADE VERSION "\r\n" },
    { KMY_BAD_INPUT, "two keys", UPGRADE KEY KEY VERSION "\r\n" },
    { KMY_BAD_INPUT, "empty key", UPGRADE "Sec-WebSocket-Key:\r\n" VERSION "\r\n" },
    { KMY_BAD_INPUT, "key of 15 bytes",
      UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n" VERSION "\r\n" },
    { KMY_BAD_INPUT, "key of 17 bytes",
      UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQA=\r\n" VERSION "\r\n" },
    { KMY_BAD_INPUT, "key with something behind it",
      UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==A\r\n" VERSION "\r\n" },
    { KMY_BAD_INPUT, "key without padding",
      UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n" VERSION "\r\n" },
    { KMY_BAD_INPUT, "key with a foreign character",
      UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q==\r\n" VERSION "\r\n" },
    { KMY_BAD_INPUT, "no version", UPGRADE KEY "\r\n" },
    { KMY_BAD_INPUT, "two versions", UPGRADE KEY VERSION VERSION "\r\n" },
    { KMY_UNSUPPORTED, "version 8", UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n" },
    { KMY_UNSUPPORTED, "a list of versions", UPGRADE KEY "Sec-WebSocket-Version: 13, 8\r\n\r\n" },
    { KMY_BAD_INPUT, "POST",
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" KEY VERSION
      "\r\n" },
    { KMY_BAD_INPUT, "HTTP/1.0",
      "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" KEY VERSION
      "\r\n" },
    { KMY_BAD_INPUT, "no Upgrade",
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n" },
    { KMY_BAD_INPUT, "no Connection",
      "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n" KEY VERSION "\r\n" },
    { KMY_BAD_INPUT, "a body", UPGRADE KEY VERSION "Content-Length: 1\r\n\r\n" },
    { KMY_BAD_INPUT, "a chunked body", UPGRADE KEY VERSION "Transfer-Encoding: chunked\r\n\r\n" },
};

static void upgrades_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof handshakes / sizeof *handshakes; i++) {
        static kmy_http_request_t req;
        char accept[KMY_WS_ACCEPT_BYTES];
        kmy_errctx_t ctx = { 0 };
        assert_int_equal(kmy_http_parse(handshakes[i].text, strlen(handshakes[i].text), &req, &ctx),
                         KMY_OK);
        if (kmy_ws_check_upgrade(&req, accept, &ctx) != handshakes[i].want)
            fail_msg("%s: %s", handshakes[i].why, ctx.detail);
        if (i == 0)
            assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_header_has_one_verdict_wherever_it_is_cut),
        cmocka_unit_test(all_first_two_bytes_follow_the_rules),
        cmocka_unit_test(unmasking_in_pieces_equals_byte_by_byte),
        cmocka_unit_test(frames_make_messages_or_are_refused_where_it_goes_wrong),
        cmocka_unit_test(bad_text_is_refused_inside_a_frame_before_the_frame_ends),
        cmocka_unit_test(compressed_text_is_not_judged_before_inflating),
        cmocka_unit_test(a_compressed_message_may_be_a_64th_longer_on_the_wire),
        cmocka_unit_test(lengths_near_2_63_do_not_wrap_the_message_size),
        cmocka_unit_test(exactly_the_codes_that_may_be_sent_are_accepted),
        cmocka_unit_test(close_payloads_are_judged),
        cmocka_unit_test(close_frames_fit_and_are_cut_between_characters),
        cmocka_unit_test(upgrades_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
