/* base/nearest: what counts as a typing error. */
#include "base/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static const struct {
    const char *a, *b;
    unsigned limit, want;
} rows[] = {
    { "stream", "stream", 3, 0 },
    { "stream", "STREAM", 3, 0 }, /* case is no error */
    { "stream", "steam", 3, 1 },
    { "stream", "sstream", 3, 1 },
    { "stream", "straem", 3, 1 }, /* two neighbours swapped are one slip */
    { "stream", "stripe", 3, 3 },
    { "stream", "feeds", 3, 4 }, /* further than the limit is limit + 1 */
    { "", "ab", 2, 2 },
    { "", "abc", 2, 3 },
    { "a", "", 0, 1 },
    { "ca", "abc", 3, 3 }, /* optimal string alignment, not full Damerau (2) */
};

static void distances_are_those_of_typing_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *a = rows[i].a, *b = rows[i].b;
        unsigned forth = kmy_nearest_distance(a, strlen(a), b, strlen(b), rows[i].limit);
        unsigned back = kmy_nearest_distance(b, strlen(b), a, strlen(a), rows[i].limit);
        if (forth != rows[i].want || back != rows[i].want)
            fail_msg("%s / %s: %u and %u, wanted %u", a, b, forth, back, rows[i].want);
    }
}

static void letters_never_promise_more_slips_than_there_are(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t a = kmy_nearest_letters(rows[i].a, strlen(rows[i].a));
        uint64_t b = kmy_nearest_letters(rows[i].b, strlen(rows[i].b));
        assert_true(kmy_nearest_least(a, b) <= rows[i].want);
    }
    /* Two words of bytes of every kind, made from one another by as many slips as `i % 5` says. */
    uint32_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        char a[12];
        for (size_t j = 0; j < sizeof a; j++) {
            seed = seed * 1664525 + 1013904223;
            a[j] = (char)(seed >> 24);
        }
        char b[sizeof a];
        memcpy(b, a, sizeof b);
        for (int slips = i % 5; slips > 0; slips--) {
            seed = seed * 1664525 + 1013904223;
            b[(seed >> 8) % sizeof b] = (char)(seed >> 24);
        }
        unsigned d = kmy_nearest_distance(a, sizeof a, b, sizeof b, 11);
        assert_true(kmy_nearest_least(kmy_nearest_letters(a, sizeof a),
                                      kmy_nearest_letters(b, sizeof b)) <= d);
    }
    assert_int_equal(
        kmy_nearest_least(kmy_nearest_letters("SOL9", 4), kmy_nearest_letters("sox", 3)), 2);
}

static void a_word_longer_than_the_limit_is_near_to_nothing(void **state)
{
    (void)state;
    char word[KMY_NEAREST_BYTES_MAX + 1];
    memset(word, 'x', sizeof word);
    assert_int_equal(kmy_nearest_distance(word, sizeof word, word, sizeof word, 3), 4);
    assert_int_equal(kmy_nearest_distance(word, sizeof word - 1, word, sizeof word - 1, 3), 0);
}

static void short_words_must_be_nearer(void **state)
{
    (void)state;
    assert_int_equal(kmy_nearest_limit(3), 1);
    assert_int_equal(kmy_nearest_limit(8), 2);
    assert_int_equal(kmy_nearest_limit(20), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_are_those_of_typing_errors),
        cmocka_unit_test(letters_never_promise_more_slips_than_there_are),
        cmocka_unit_test(a_word_longer_than_the_limit_is_near_to_nothing),
        cmocka_unit_test(short_words_must_be_nearer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
