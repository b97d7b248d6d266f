/* wire/ws_deflate: messages in and out of DEFLATE, by RFC 7692's own examples, by the plain zlib, and by damage. */
#include "wire/ws_deflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define CAP 65536

static kmy_ws_deflate_t *z;
static uint8_t out[CAP + KMY_WS_DEFLATE_SPARE];

typedef struct {
    kmy_err_t want;
    const char *text; /* what comes out */
    const char *why;
    const char *bytes;
    size_t len;
} payload_t;
#define P(want, text, why, bytes)                                                                  \
    {                                                                                              \
        KMY_##want, text, why, bytes, sizeof(bytes) - 1                                            \
    }
#define BAD(why, bytes) P(BAD_DEFLATE, "", why, bytes)

static const payload_t payloads[] = {
    P(OK, "Hello", "RFC 7692 7.2.3.1", "\xf2\x48\xcd\xc9\xc9\x07\x00"),
    P(OK, "Hello", "7.2.3.3: a block without compression",
      "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
    P(OK, "Hello", "7.2.3.4: a block with BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
    P(OK, "Hello", "the same without the octet behind it", "\xf3\x48\xcd\xc9\xc9\x07\x00"),
    P(OK, "Hello", "7.2.3.5: two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
    P(OK, "HelloHello", "a second stream behind BFINAL",
      "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00"),
    P(OK, "", "7.2.3.6: an empty message", "\x00"),
    P(OK, "", "an empty message, fixed block first", "\x02\x00"),
    P(OK, "", "no payload at all", ""),
    P(OK, "Hello", "the four octets not cut off",
      "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\x00"),

    BAD("the last octet is missing", "\xf2\x48\xcd\xc9\xc9\x07"),
    BAD("cut inside a block", "\xf2\x48\xcd"),
    BAD("one octet of a block", "\xf2"),
    BAD("cut inside a stored block", "\x00\x05\x00\xfa\xff\x48\x65"),
    BAD("stored length and its complement disagree",
        "\x00\x05\x00\xfb\xff\x48\x65\x6c\x6c\x6f\x00"),
    BAD("reserved block type", "\x07"),
    BAD("context of an earlier message", "\xf2\x00\x11\x00\x00"),
    BAD("a distance beyond the beginning", "\x02\x13\x00\x00"),
    BAD("rubbish behind BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\xff\xff"),
    BAD("a zlib header", "\x78\x9c\xf3\x48\xcd\xc9\xc9\x07\x00"),
    BAD("plain text", "{\"op\":\"ping\"}"),
};

static void payloads_are_inflated_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        const payload_t *p = &payloads[i];
        size_t n = 99;
        uint8_t *exact = malloc(p->len + 1); /* so that a read too far is seen */
        memcpy(exact + 1, p->bytes, p->len);
        kmy_err_t err = kmy_ws_inflate(z, exact + 1, p->len, out, CAP, &n, NULL);
        if (err != p->want || n != strlen(p->text) || memcmp(out, p->text, n) != 0)
            fail_msg("%s: %s, %zu bytes", p->why, kmy_err_code(err), n);
        free(exact);
    }
}

/* As another peer would: zlib itself, with whatever parameters. */
static size_t by_zlib(const void *in, size_t len, void *to, size_t cap, int level, int bits,
                      int mem)
{
    z_stream s = { 0 };
    assert_int_equal(deflateInit2(&s, level, Z_DEFLATED, -bits, mem, Z_DEFAULT_STRATEGY), Z_OK);
    s.next_in = (Bytef *)(uintptr_t)in;
    s.avail_in = (uInt)len;
    s.next_out = to;
    s.avail_out = (uInt)cap;
    assert_int_equal(deflate(&s, Z_SYNC_FLUSH), Z_OK);
    assert_true(s.avail_out > 0);
    deflateEnd(&s);
    return cap - s.avail_out - 4;
}

static void the_limit_is_exact_and_a_bomb_stops_at_it(void **state)
{
    (void)state;
    static uint8_t zeros[1 << 20];
    static uint8_t packed[1 << 21];
    static const size_t sizes[] = { 1, 258, 259, 4096, 32768, 65535 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t cap = sizes[i];
        for (int level = 0; level <= 9; level += 3) {
            for (size_t len = cap - 1; len <= cap + 1; len++) {
                size_t n = 0;
                size_t got = by_zlib(zeros, len, packed, sizeof packed, level, 15, 8);
                memset(out, 0xee, cap + 1);
                kmy_err_t err = kmy_ws_inflate(z, packed, got, out, cap, &n, NULL);
                assert_int_equal(err, len > cap ? KMY_TOO_BIG : KMY_OK);
                if (len <= cap)
                    assert_int_equal(n, len);
                assert_int_equal(out[cap], 0xee);
            }
        }
    }
    size_t n;
    size_t got = by_zlib(zeros, sizeof zeros, packed, sizeof packed, 9, 15, 9);
    assert_true(got < 1100); /* a thousandth */
    assert_int_equal(kmy_ws_inflate(z, packed, got, out, CAP, &n, NULL), KMY_TOO_BIG);
    assert_int_equal(kmy_ws_inflate(z, "\x00", 1, out, 0, &n, NULL), KMY_OK);
    assert_int_equal(kmy_ws_inflate(z, packed, got, out, 0, &n, NULL), KMY_TOO_BIG);
}

static uint32_t seed = 2463534242u;
static uint32_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    return seed ^= seed << 5;
}

/* Text of few words: compresses; or noise: does not. */
static size_t make(uint8_t *to, size_t len, bool noise)
{
    static const char words[] = "{\"type\":\"tick\",\"feed\":\"SOL/USD\",\"price\":\"150.01\"}";
    for (size_t i = 0; i < len; i++)
        to[i] = noise ? (uint8_t)rnd() : (uint8_t)words[(i + rnd() % 3) % (sizeof words - 1)];
    return len;
}

static void what_is_shorter_goes_round_and_what_is_not_is_left_alone(void **state)
{
    (void)state;
    static uint8_t in[CAP];
    static uint8_t back[CAP];
    for (int i = 0; i < 2000; i++) {
        bool noise = i % 4 == 0;
        size_t len = make(in, rnd() % (i % 10 ? 1200 : CAP), noise);
        size_t n = len == 0 ? 0 : kmy_ws_deflate(z, in, len, out, len - 1 + KMY_WS_DEFLATE_SPARE);
        assert_true(n < len || n == 0);
        if (noise || len < 40)
            continue;
        assert_true(n > 0 || len < 200);
        size_t got;
        if (n > 0) {
            assert_int_equal(kmy_ws_inflate(z, out, n, back, sizeof back, &got, NULL), KMY_OK);
            assert_int_equal(got, len);
            assert_memory_equal(back, in, len);
        }
    }
}

/* A client with 256 bytes of window, the smallest it may ask for: zlib refuses any reference further back. */
static void what_goes_out_fits_every_window(void **state)
{
    (void)state;
    static uint8_t in[CAP];
    static uint8_t back[CAP];
    static const size_t periods[] = { 3,   100, 249, 250, 251, 255, 256,
                                      257, 258, 300, 511, 512, 513, 1000 };
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++) {
        for (size_t j = 0; j < CAP; j++) /* noise that comes again after so many bytes */
            in[j] = j < periods[i] ? (uint8_t)rnd() : in[j - periods[i]];
        size_t n = kmy_ws_deflate(z, in, CAP, out, sizeof out);
        assert_true(periods[i] <= 250 ? n > 0 && n < CAP / 2 : n == 0 || n > CAP / 4 * 3);
        make(in + CAP / 2, CAP / 2, false);
        n = kmy_ws_deflate(z, in, CAP, out, sizeof out);
        assert_true(n > 0);
        z_stream s = { 0 };
        assert_int_equal(inflateInit2(&s, -8), Z_OK);
        s.next_in = out;
        s.avail_in = (uInt)n;
        for (size_t at = 0; at < CAP;
             at += 100) { /* piece by piece, so that the window is all it remembers */
            s.next_out = back + at;
            s.avail_out = (uInt)(CAP - at < 100 ? CAP - at : 100);
            assert_int_equal(inflate(&s, Z_SYNC_FLUSH), Z_OK);
            assert_int_equal(s.avail_out, 0);
        }
        assert_memory_equal(back, in, CAP);
        inflateEnd(&s);
    }
}

/* Noise becomes longer (in blocks of 2,048, which have left the window, it is not stored but coded), by less than a 16th; and the room that is told is the room that is needed. */
static void the_room_is_exact(void **state)
{
    (void)state;
    static uint8_t in[CAP];
    static uint8_t wide[2 * CAP];
    for (int i = 0; i < 200; i++) {
        size_t len = make(in, i < 20 ? (size_t)i : rnd() % CAP, i % 2);
        size_t n = kmy_ws_deflate(z, in, len, wide, sizeof wide);
        assert_in_range(n, 1, len + len / 16 + 10);
        size_t got;
        assert_int_equal(kmy_ws_inflate(z, wide, n, out, CAP, &got, NULL), KMY_OK);
        assert_int_equal(got, len);
        assert_memory_equal(out, in, len);
        memset(out, 0xee, sizeof out);
        size_t room = n + KMY_WS_DEFLATE_SPARE;
        if (room >= sizeof out)
            continue;
        assert_int_equal(kmy_ws_deflate(z, in, len, out, room), n);
        assert_int_equal(kmy_ws_deflate(z, in, len, out, room - 1), 0);
        assert_int_equal(out[room], 0xee);
    }
}

static void no_message_knows_of_another(void **state)
{
    (void)state;
    static uint8_t in[3000];
    uint8_t first[3000];
    make(in, sizeof in, false);
    size_t n = kmy_ws_deflate(z, in, sizeof in, first, sizeof first);
    size_t again = kmy_ws_deflate(z, in, sizeof in, out, sizeof out);
    assert_int_equal(n, again);
    assert_memory_equal(first, out, n);
    /* Both sides know nothing of one that was given up half-way, either. */
    size_t got;
    assert_int_equal(kmy_ws_inflate(z, first, n, out, 100, &got, NULL), KMY_TOO_BIG);
    assert_int_equal(kmy_ws_deflate(z, in, sizeof in, out, 60), 0);
    assert_int_equal(kmy_ws_inflate(z, first, n, out, CAP, &got, NULL), KMY_OK);
    assert_memory_equal(out, in, got);
    assert_int_equal(kmy_ws_deflate(z, in, sizeof in, out, sizeof out), n);
}

static void other_windows_and_levels_are_understood(void **state)
{
    (void)state;
    static uint8_t in[CAP];
    static uint8_t packed[2 * CAP];
    for (int bits = 9; bits <= 15; bits++) {
        for (int level = 0; level <= 9; level++) {
            size_t len = make(in, rnd() % CAP, level == 5);
            size_t n = by_zlib(in, len, packed, sizeof packed, level, bits, 1 + rnd() % 9);
            size_t got;
            assert_int_equal(kmy_ws_inflate(z, packed, n, out, CAP, &got, NULL), KMY_OK);
            assert_int_equal(got, len);
            assert_memory_equal(out, in, len);
        }
    }
}

/* Each cut and each changed byte: refused, or something within the limit; the next message is whole again. */
static void damage_is_bounded_and_does_not_last(void **state)
{
    (void)state;
    uint8_t in[400];
    uint8_t packed[400];
    make(in, sizeof in, false);
    size_t n = kmy_ws_deflate(z, in, sizeof in, packed, sizeof packed);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        size_t got;
        assert_int_not_equal(kmy_ws_inflate(z, packed, i, out, CAP, &got, NULL),
                             i == 0 ? KMY_BAD_DEFLATE : KMY_OK);
        for (int bit = 0; bit < 8; bit++) {
            packed[i] ^= (uint8_t)(1 << bit);
            kmy_err_t err = kmy_ws_inflate(z, packed, n, out, 1000, &got, NULL);
            assert_true(err == KMY_OK || err == KMY_BAD_DEFLATE || err == KMY_TOO_BIG);
            packed[i] ^= (uint8_t)(1 << bit);
        }
        assert_int_equal(kmy_ws_inflate(z, packed, n, out, CAP, &got, NULL), KMY_OK);
        assert_int_equal(got, sizeof in);
        assert_memory_equal(out, in, got);
    }
}

static int set_up(void **state)
{
    (void)state;
    z = kmy_ws_deflate_new();
    return z ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    kmy_ws_deflate_free(z);
    kmy_ws_deflate_free(NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_are_inflated_or_refused),
        cmocka_unit_test(the_limit_is_exact_and_a_bomb_stops_at_it),
        cmocka_unit_test(what_is_shorter_goes_round_and_what_is_not_is_left_alone),
        cmocka_unit_test(what_goes_out_fits_every_window),
        cmocka_unit_test(the_room_is_exact),
        cmocka_unit_test(no_message_knows_of_another),
        cmocka_unit_test(other_windows_and_levels_are_understood),
        cmocka_unit_test(damage_is_bounded_and_does_not_last),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
