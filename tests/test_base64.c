#include "wire/base64.h"

#include "tests/page_edge.h"

#include <stdint.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define STD KMY_BASE64_STD
#define URL KMY_BASE64_URL

static const struct {
    kmy_base64_form_t form;
    const char *bytes;
    const char *text;
} good[] = {
    /* RFC 4648 section 10, and the same without padding */
    { STD, "", "" },
    { STD, "f", "Zg==" },
    { STD, "fo", "Zm8=" },
    { STD, "foo", "Zm9v" },
    { STD, "foob", "Zm9vYg==" },
    { STD, "fooba", "Zm9vYmE=" },
    { STD, "foobar", "Zm9vYmFy" },
    { URL, "", "" },
    { URL, "f", "Zg" },
    { URL, "fo", "Zm8" },
    { URL, "foo", "Zm9v" },
    { URL, "foob", "Zm9vYg" },
    { URL, "fooba", "Zm9vYmE" },
    { URL, "foobar", "Zm9vYmFy" },
    /* the two characters that differ */
    { STD, "\xFB\xEF\xFF", "++//" },
    { URL, "\xFB\xEF\xFF", "--__" },
};

static void known_texts_go_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t len = strlen(good[i].bytes);
        char text[16];
        size_t n = kmy_base64_encode(good[i].form, good[i].bytes, len, text);
        assert_int_equal(n, strlen(good[i].text));
        assert_memory_equal(text, good[i].text, n);
        const char *edge = kmy_at_page_end(text, n);
        char bytes[16];
        size_t got;
        assert_true(kmy_base64_decode(good[i].form, edge, n, bytes, len, &got));
        assert_int_equal(got, len);
        assert_memory_equal(bytes, good[i].bytes, len);
        if (len)
            assert_false(kmy_base64_decode(good[i].form, edge, n, bytes, len - 1, &got));
    }
}

static const struct {
    kmy_base64_form_t form;
    const char *text;
    const char *why;
} bad[] = {
    { STD, "Zg", "padding missing" },
    { STD, "Zg=", "padding missing" },
    { STD, "Zg===", "too much padding" },
    { STD, "Zm9v====", "padding alone" },
    { STD, "====", "padding alone" },
    { STD, "=", "padding alone" },
    { STD, "Z===", "one character is no byte" },
    { STD, "Z=g=", "padding inside" },
    { STD, "Zg==Zg==", "padding inside" },
    { STD, "Zh==", "bits behind the byte" },
    { STD, "Zm9=", "bits behind the byte" },
    { STD, "Zm9v\n", "line end" },
    { STD, "Zm 9", "blank" },
    { STD, "--__", "other alphabet" },
    { STD, "Zm9\x80", "not ASCII" },
    { URL, "Z", "one character is no byte" },
    { URL, "Zm9vZ", "one character is no byte" },
    { URL, "Zg==", "padded" },
    { URL, "Zm8=", "padded" },
    { URL, "Zh", "bits behind the byte" },
    { URL, "Zm9", "bits behind the byte" },
    { URL, "++//", "other alphabet" },
    { URL, "Zm9.", "foreign" },
};

static void other_spellings_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char out[16];
        size_t n = 77;
        size_t len = strlen(bad[i].text);
        if (kmy_base64_decode(bad[i].form, kmy_at_page_end(bad[i].text, len), len, out, sizeof out,
                              &n))
            fail_msg("%s: %s", bad[i].text, bad[i].why);
        assert_int_equal(n, 77);
    }
}

/* Of all texts of up to 3 characters plus padding, exactly those decode that encoding gives back. */
static void a_text_decodes_if_and_only_if_encoding_gives_it_back(void **state)
{
    (void)state;
    for (int form = STD; form <= URL; form++) {
        for (uint32_t v = 0; v < 1u << 24; v++) {
            char text[4] = { (char)(v >> 16), (char)(v >> 8), (char)v, '=' };
            char bytes[3];
            char again[4];
            size_t len = form == STD ? 4 : 3;
            size_t n;
            if (kmy_base64_decode((kmy_base64_form_t)form, text, len, bytes, sizeof bytes, &n) &&
                (kmy_base64_encode((kmy_base64_form_t)form, bytes, n, again) != len ||
                 memcmp(text, again, len) != 0))
                fail_msg("form %d text %06x", form, v);
        }
    }
    for (uint32_t v = 0; v < 1u << 16; v++) { /* and every two bytes survive */
        const uint8_t two[2] = { (uint8_t)(v >> 8), (uint8_t)v };
        char text[4];
        uint8_t back[2];
        size_t n = kmy_base64_encode(URL, two, 2, text);
        assert_true(kmy_base64_decode(URL, text, n, back, 2, &n) && n == 2 &&
                    !memcmp(two, back, 2));
    }
}

static void decoding_in_place_works(void **state)
{
    (void)state;
    uint8_t bytes[256];
    char text[KMY_BASE64_TEXT_BYTES(sizeof bytes)];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        size_t n = kmy_base64_encode(STD, bytes, len, text);
        assert_int_equal(n, KMY_BASE64_TEXT_BYTES(len));
        assert_true(kmy_base64_decode(STD, text, n, text, len, &n));
        assert_int_equal(n, len);
        assert_memory_equal(text, bytes, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts_go_both_ways),
        cmocka_unit_test(other_spellings_are_refused),
        cmocka_unit_test(a_text_decodes_if_and_only_if_encoding_gives_it_back),
        cmocka_unit_test(decoding_in_place_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
