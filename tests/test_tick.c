/* base/tick: numbers that are stored and sent, and their names. */
#include "base/tick.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

/* They stand in LMDB keys and FlatBuffers of customers: this table may grow and never change. */
static const struct {
    uint8_t number;
    const char *name;
} sources[] = { { 1, "pyth" },      { 2, "binance" },  { 3, "chainlink" }, { 4, "coingecko" },
                { 5, "defillama" }, { 6, "coinbase" }, { 7, "kraken" } },
  kinds[] = { { 1, "trade" }, { 2, "quote" }, { 3, "oracle" }, { 4, "stat" }, { 5, "event" } };

static void numbers_keep_their_names_for_ever(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        assert_string_equal(kmy_source_name(sources[i].number), sources[i].name);
        assert_int_equal(kmy_source_by_name(sources[i].name), sources[i].number);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        assert_string_equal(kmy_kind_name(kinds[i].number), kinds[i].name);
}

static void every_number_has_some_name(void **state)
{
    (void)state;
    for (int i = 0; i < 256; i++) {
        assert_non_null(kmy_source_name((uint8_t)i));
        assert_non_null(kmy_kind_name((uint8_t)i));
    }
    assert_string_equal(kmy_source_name(KMY_SOURCE_COUNT), "?");
    assert_string_equal(kmy_kind_name(255), "?");
    assert_int_equal(kmy_source_by_name("none"), KMY_SOURCE_NONE);
    assert_int_equal(kmy_source_by_name("Pyth"), KMY_SOURCE_NONE);
    assert_int_equal(kmy_source_by_name(""), KMY_SOURCE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_names_for_ever),
        cmocka_unit_test(every_number_has_some_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
