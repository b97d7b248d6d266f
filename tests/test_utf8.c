#include "wire/utf8.h"

#include "tests/page_edge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The reference: decodes by RFC 3629 section 3 and compares with what the number allows, one `if` for each rule. */
static size_t reference_char(const uint8_t *p, size_t len)
{
    static const uint32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (len == 0)
        return 0;
    size_t n = p[0] < 0x80           ? 1
               : (p[0] >> 5) == 0x06 ? 2
               : (p[0] >> 4) == 0x0E ? 3
               : (p[0] >> 3) == 0x1E ? 4
                                     : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t cp = n == 1 ? p[0] : p[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        cp = cp << 6 | (p[i] & 0x3F);
    }
    if (cp < smallest[n] || cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
        return 0;
    return n;
}

static size_t reference_put(uint32_t cp, uint8_t out[4])
{
    size_t n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const uint8_t lead[5] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    for (size_t i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (uint8_t)(0x80 | (cp & 0x3F));
    out[0] = (uint8_t)(lead[n] | cp);
    return n;
}

/* front[n] holds every n-byte beginning of a valid character of more than n bytes. */
static uint8_t front[4][1 << 24];

static uint32_t number_of(const uint8_t *p, size_t n)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static void fill_fronts(void)
{
    uint8_t b[4];
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        if (cp == 0xD800)
            cp = 0xE000;
        size_t n = reference_put(cp, b);
        for (size_t i = 1; i < n; i++)
            front[i][number_of(b, i)] = 1;
    }
}

/* true if some valid text begins with these bytes; *whole if they are one. */
static bool reference_prefix(const uint8_t *p, size_t len, bool *whole)
{
    *whole = false;
    while (len > 0) {
        size_t n = reference_char(p, len);
        if (n == 0)
            return len <= 3 && front[len][number_of(p, len)];
        p += n;
        len -= n;
    }
    *whole = true;
    return true;
}

/* Whole, and in two pieces cut everywhere: verdict and the moment of refusal are the reference's.  No cmocka macro inside: this
   runs tens of millions of times. */
static bool agrees(const uint8_t *p, size_t len)
{
    bool whole;
    bool prefix = reference_prefix(p, len, &whole);
    if (kmy_utf8_valid(p, len) != whole)
        return false;
    for (size_t cut = 0; cut <= len; cut++) {
        kmy_utf8_t u = { 0 };
        bool first = kmy_utf8_feed(&u, p, cut);
        bool both = kmy_utf8_feed(&u, p + cut, len - cut);
        if (both != prefix || (!first && both) || (both && (u.state == 0) != whole))
            return false;
    }
    return true;
}

static void every_code_point_is_accepted_and_every_surrogate_refused(void **state)
{
    (void)state;
    uint8_t b[4];
    for (uint32_t cp = 0; cp <= 0x1FFFFF; cp++) {
        size_t n = reference_put(cp, b);
        bool good = cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF);
        if (kmy_utf8_char_bytes(b, n) != (good ? n : 0) || kmy_utf8_valid(b, n) != good ||
            !agrees(b, n))
            fail_msg("U+%X", cp);
    }
}

static void every_sequence_of_1_to_3_bytes_agrees_with_the_reference(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 3; len++) {
        for (uint32_t v = 0; v < 1u << (8 * len); v++) {
            const uint8_t all[3] = { (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
            const uint8_t *b = all + 3 - len;
            if (kmy_utf8_char_bytes(b, len) != reference_char(b, len) || !agrees(b, len))
                fail_msg("%zu bytes %X", len, v);
        }
    }
}

/* All 2^32 would take a minute; third and fourth byte run over every border of every class instead. */
static void sequences_of_4_bytes_agree_with_the_reference(void **state)
{
    (void)state;
    static const uint8_t border[] = { 0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                      0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xFF };
    for (uint32_t v = 0; v < 1u << 24; v++) {
        const uint8_t b[4] = { (uint8_t)(v >> 16), (uint8_t)(v >> 8), border[v >> 4 & 15],
                               border[v & 15] };
        if (kmy_utf8_char_bytes(b, 4) != reference_char(b, 4) || !agrees(b, 4))
            fail_msg("%02X %02X %02X %02X", b[0], b[1], b[2], b[3]);
    }
}

static void a_bad_byte_is_found_at_every_place_of_a_long_text_at_the_page_edge(void **state)
{
    (void)state;
    char text[200];
    for (size_t len = 0; len <= sizeof text; len++) {
        memset(text, 'a', sizeof text);
        char *p = kmy_at_page_end(text, len);
        assert_true(kmy_utf8_valid(p, len));
        for (size_t at = 0; at < len; at++) {
            p[at] = (char)0xFF;
            assert_false(kmy_utf8_valid(p, len));
            p[at] = (char)0xC3; /* begins a character: the next byte is 'a', or missing */
            assert_false(kmy_utf8_valid(p, len));
            if (at + 1 < len) {
                p[at + 1] = (char)0xA9;
                assert_true(kmy_utf8_valid(p, len));
                p[at + 1] = 'a';
            }
            p[at] = 'a';
        }
    }
}

static void refused_text_stays_refused(void **state)
{
    (void)state;
    kmy_utf8_t u = { 0 };
    assert_false(kmy_utf8_feed(&u, "\xE0\x80", 2));
    assert_false(kmy_utf8_feed(&u, "a", 1));
    assert_false(kmy_utf8_feed(&u, "", 0));
}

int main(void)
{
    fill_fronts();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_is_accepted_and_every_surrogate_refused),
        cmocka_unit_test(every_sequence_of_1_to_3_bytes_agrees_with_the_reference),
        cmocka_unit_test(sequences_of_4_bytes_agree_with_the_reference),
        cmocka_unit_test(a_bad_byte_is_found_at_every_place_of_a_long_text_at_the_page_edge),
        cmocka_unit_test(refused_text_stays_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
