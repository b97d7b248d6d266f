/* base/strmap: a map that is compared, step by step, with the simplest thing that could be one. */
#include "base/strmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { KEYS = 300, STEPS = 200000 };

static void it_does_what_an_array_of_keys_would_do(void **state)
{
    (void)state;
    static bool have[KEYS];
    static uint32_t value[KEYS];
    kmy_strmap_t map;
    uint64_t x = 42;
    size_t live = 0;
    kmy_strmap_init(&map);
    for (int i = 0; i < STEPS; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        unsigned k = (unsigned)(x >> 20) % KEYS;
        char key[16];
        size_t len = (size_t)snprintf(key, sizeof key, "key/%u", k);
        uint32_t got = 0;
        switch (x % 3) {
        case 0:
            assert_true(kmy_strmap_put(&map, key, len, (uint32_t)i));
            live += !have[k];
            have[k] = true;
            value[k] = (uint32_t)i;
            break;
        case 1:
            assert_int_equal(kmy_strmap_del(&map, key, len), have[k]);
            live -= have[k];
            have[k] = false;
            break;
        default:
            assert_int_equal(kmy_strmap_get(&map, key, len, &got), have[k]);
            if (have[k])
                assert_int_equal(got, value[k]);
        }
        assert_int_equal(map.live_count, live);
    }
    assert_in_range(map.slots_count, 2, 2048); /* tombstones are swept, not piled up */
    kmy_strmap_fini(&map);
}

static void keys_are_bytes_and_are_copied(void **state)
{
    (void)state;
    kmy_strmap_t map;
    uint32_t v;
    char key[] = { 'a', 0, 'b' };
    kmy_strmap_init(&map);
    assert_false(kmy_strmap_get(&map, key, 3, &v));
    assert_false(kmy_strmap_del(&map, key, 3));
    assert_true(kmy_strmap_put(&map, key, 3, 1));
    assert_true(kmy_strmap_put(&map, key, 1, 2)); /* a shorter key is another */
    assert_true(kmy_strmap_put(&map, key, 0, 3)); /* the empty key is one */
    key[0] = 'x';
    assert_true(kmy_strmap_get(&map, "a\0b", 3, &v));
    assert_int_equal(v, 1);
    assert_true(kmy_strmap_get(&map, "a", 1, &v));
    assert_int_equal(v, 2);
    assert_true(kmy_strmap_get(&map, "", 0, &v));
    assert_int_equal(v, 3);
    kmy_strmap_fini(&map);
    assert_false(kmy_strmap_get(&map, "a", 1, &v));
}

static void the_hash_depends_on_every_byte(void **state)
{
    (void)state;
    unsigned char text[40] = { 0 };
    for (size_t len = 0; len <= sizeof text; len++) {
        uint64_t h = kmy_hash(text, len);
        assert_true(h == kmy_hash(text, len));
        if (len < sizeof text)
            assert_true(h != kmy_hash(text, len + 1));
        for (size_t i = 0; i < len; i++) {
            text[i] ^= 1;
            assert_true(h != kmy_hash(text, len));
            text[i] ^= 1;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_does_what_an_array_of_keys_would_do),
        cmocka_unit_test(keys_are_bytes_and_are_copied),
        cmocka_unit_test(the_hash_depends_on_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
