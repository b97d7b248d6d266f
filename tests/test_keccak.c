#include "tests/x402_vectors.h"

#include "tests/page_edge.h"
#include "wire/keccak.h"

static void the_vectors_hash_to_their_values(void **state)
{
    (void)state;
    json_t *root = vectors_load("keccak256.json");
    size_t i;
    json_t *v;
    json_array_foreach(vectors_of(root), i, v)
    {
        uint8_t in[4096];
        uint8_t want[32];
        uint8_t have[32];
        size_t len = bytes_of(v, "input", in, sizeof in);
        assert_int_equal(bytes_of(v, "keccak256", want, 32), 32);
        kmy_keccak256(kmy_at_page_end(in, len), len, have);
        assert_memory_equal(have, want, 32);
    }
    json_decref(root);
}

/* Not SHA3-256, whose hash of nothing begins with a7ffc6f8. */
static void the_padding_is_the_original_one(void **state)
{
    (void)state;
    uint8_t hash[32];
    char text[65];
    kmy_keccak256("", 0, hash);
    kmy_hex_encode(hash, 32, text);
    assert_string_equal(text, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
}

static void pieces_of_any_size_give_the_same_hash_as_the_whole(void **state)
{
    (void)state;
    uint8_t in[600];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(7 * i + 3);
    for (size_t len = 0; len <= sizeof in; len += 7) {
        uint8_t want[32];
        kmy_keccak256(in, len, want);
        for (size_t piece = 1; piece < 300; piece += 13) {
            kmy_keccak_t k;
            uint8_t have[32];
            kmy_keccak_init(&k);
            for (size_t at = 0; at < len; at += piece)
                kmy_keccak_add(&k, in + at, len - at < piece ? len - at : piece);
            kmy_keccak_end(&k, have);
            assert_memory_equal(have, want, 32);
        }
    }
}

static void data_may_lie_where_the_hash_goes(void **state)
{
    (void)state;
    uint8_t a[32] = { 1, 2, 3 };
    uint8_t b[32];
    kmy_keccak256(a, 32, b);
    kmy_keccak256(a, 32, a);
    assert_memory_equal(a, b, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_hash_to_their_values),
        cmocka_unit_test(the_padding_is_the_original_one),
        cmocka_unit_test(pieces_of_any_size_give_the_same_hash_as_the_whole),
        cmocka_unit_test(data_may_lie_where_the_hash_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
