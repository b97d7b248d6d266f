/* adapters/pyth_update: an update of our own making, signed by keys of our own, and what a liar would change of it.  The recordings and their
   mutations (KAMIYO_CAPTURES) are judged as well where they are. */
#include "adapters/pyth_update.h"

#include "tests/page_edge.h"
#include "wire/hex.h"
#include "wire/keccak.h"
#include "wire/secp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include <secp256k1_recovery.h>

enum { SIGNERS = 4, QUORUM = 3, MESSAGES = 3, MESSAGE = 85 };

/* Where things stand in an update without a trailing header and with QUORUM signatures. */
enum {
    VAA = 4 + 2 + 1 + 1 + 2,
    SIGNATURE = VAA + 6,
    BODY = SIGNATURE + QUORUM * 66,
    ROOT = BODY + 51 + 17,
    COUNT = ROOT + 20,
    FIRST = COUNT + 1
};

static kmy_pyth_signers_t signers; /* set 7 */
static uint8_t secret[SIGNERS][32];

typedef struct buf {
    uint8_t data[4096];
    size_t len;
} buf_t;

static void put(buf_t *b, const void *bytes, size_t len)
{
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
}

static void put_number(buf_t *b, uint64_t v, size_t bytes)
{
    for (size_t i = bytes; i-- > 0;)
        b->data[b->len++] = (uint8_t)(v >> 8 * i);
}

static void hash160(uint8_t mark, const void *a, size_t a_len, const void *b, size_t b_len,
                    uint8_t out[20])
{
    uint8_t text[256] = { mark };
    uint8_t hash[32];
    memcpy(text + 1, a, a_len);
    if (b_len)
        memcpy(text + 1 + a_len, b, b_len);
    kmy_keccak256(text, 1 + a_len + b_len, hash);
    memcpy(out, hash, 20);
}

static void branch(const uint8_t a[20], const uint8_t b[20], uint8_t out[20])
{
    bool first = memcmp(a, b, 20) < 0;
    hash160(1, first ? a : b, 20, first ? b : a, 20, out);
}

static void make_keys(void)
{
    secp256k1_context *ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
    memset(&signers, 0, sizeof signers);
    memset(signers.emitter, 0xEE, 32);
    signers.set_index = 7;
    signers.live = true;
    signers.quorum = QUORUM;
    signers.count = SIGNERS;
    for (int i = 0; i < SIGNERS; i++) {
        secp256k1_pubkey key;
        uint8_t text[65];
        size_t len = sizeof text;
        memset(secret[i], i + 1, 32);
        assert_true(secp256k1_ec_pubkey_create(ctx, &key, secret[i]));
        secp256k1_ec_pubkey_serialize(ctx, text, &len, &key, SECP256K1_EC_UNCOMPRESSED);
        kmy_secp_address(text + 1, signers.address[i]);
    }
    secp256k1_context_destroy(ctx);
}

/* Type, id of bytes `n`, and numbers that can be told apart. */
static void make_message(uint8_t type, uint8_t n, uint8_t out[MESSAGE])
{
    buf_t b = { .len = 0 };
    put_number(&b, type, 1);
    for (int i = 0; i < 32; i++)
        put_number(&b, n, 1);
    put_number(&b, (uint64_t)-1000 - n, 8);
    put_number(&b, UINT64_MAX - n, 8);
    put_number(&b, (uint32_t)-8, 4);
    put_number(&b, 1767225600u + n, 8);
    put_number(&b, 1767225599u + n, 8);
    put_number(&b, 5000u + n, 8);
    put_number(&b, 60u + n, 8);
    assert_int_equal(b.len, MESSAGE);
    memcpy(out, b.data, MESSAGE);
}

/* An update whose middle message is of another type, signed by the signers of the list. */
static buf_t make_update(const uint8_t *who, size_t who_count)
{
    uint8_t message[MESSAGES][MESSAGE], leaf[4][20], pair[2][20], root[20];
    for (uint8_t i = 0; i < MESSAGES; i++) {
        make_message(i == 1 ? 1 : 0, i + 1, message[i]);
        hash160(0, message[i], MESSAGE, NULL, 0, leaf[i]);
    }
    hash160(2, "", 0, NULL, 0, leaf[3]); /* the empty leaf */
    branch(leaf[0], leaf[1], pair[0]);
    branch(leaf[2], leaf[3], pair[1]);
    branch(pair[0], pair[1], root);

    buf_t body = { .len = 0 };
    put_number(&body, 1767225601, 4);
    put_number(&body, 0, 4);
    put_number(&body, 26, 2);
    put(&body, signers.emitter, 32);
    put_number(&body, 77, 8);
    put_number(&body, 1, 1);
    put(&body, "AUWV\0", 5);
    put_number(&body, 35784966960, 8);
    put_number(&body, 10000, 4);
    put(&body, root, 20);
    uint8_t digest[32];
    kmy_keccak256(body.data, body.len, digest);
    kmy_keccak256(digest, 32, digest);

    buf_t u = { .len = 0 };
    put(&u, "PNAU\1\0\0\0", 8);
    put_number(&u, 6 + who_count * 66 + body.len, 2);
    put_number(&u, 1, 1);
    put_number(&u, signers.set_index, 4);
    put_number(&u, who_count, 1);
    secp256k1_context *ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
    for (size_t i = 0; i < who_count; i++) {
        secp256k1_ecdsa_recoverable_signature s;
        uint8_t rs[64];
        int recid;
        assert_true(secp256k1_ecdsa_sign_recoverable(ctx, &s, digest, secret[who[i]], NULL, NULL));
        secp256k1_ecdsa_recoverable_signature_serialize_compact(ctx, rs, &recid, &s);
        put_number(&u, who[i], 1);
        put(&u, rs, 64);
        put_number(&u, (uint64_t)recid, 1);
    }
    secp256k1_context_destroy(ctx);
    put(&u, body.data, body.len);
    put_number(&u, MESSAGES, 1);
    for (int i = 0; i < MESSAGES; i++) {
        put_number(&u, MESSAGE, 2);
        put(&u, message[i], MESSAGE);
        put_number(&u, 2, 1);
        put(&u, leaf[i ^ 1], 20);
        put(&u, pair[i < 2], 20);
    }
    return u;
}

static kmy_err_t judge(const uint8_t *bytes, size_t len)
{
    kmy_pyth_price_t prices[MESSAGES];
    kmy_pyth_update_t out;
    return kmy_pyth_update_read(kmy_at_page_end(bytes, len), len, &signers, 1, false, prices,
                                MESSAGES, &out, NULL);
}

static const uint8_t three[] = { 0, 2, 3 };

static int setup(void **state)
{
    (void)state;
    make_keys();
    return 0;
}

static void a_signed_update_gives_its_prices(void **state)
{
    (void)state;
    buf_t u = make_update(three, 3);
    kmy_pyth_price_t prices[MESSAGES];
    kmy_pyth_update_t out;
    kmy_errctx_t ctx = { 0 };
    if (kmy_pyth_update_read(u.data, u.len, &signers, 1, false, prices, MESSAGES, &out, &ctx))
        fail_msg("%s", ctx.detail);
    assert_int_equal(out.messages, 3);
    assert_int_equal(out.prices_count, 2); /* the middle one is of another type */
    assert_int_equal(out.slot, 35784966960);
    assert_int_equal(out.sequence, 77);
    assert_int_equal(out.signed_s, 1767225601);
    assert_int_equal(prices[1].id[31], 3);
    assert_int_equal(prices[1].price, -1003);
    assert_true(prices[1].conf == UINT64_MAX - 3);
    assert_int_equal(prices[1].expo, -8);
    assert_int_equal(prices[1].publish_s, 1767225603);
    assert_int_equal(prices[1].prev_publish_s, 1767225602);
    assert_int_equal(prices[1].ema_price, 5003);
    assert_int_equal(prices[1].ema_conf, 63);
    assert_int_equal(kmy_pyth_update_read(u.data, u.len, &signers, 1, false, prices, 1, &out, NULL),
                     KMY_TOO_BIG);
}

static void the_quorum_must_sign_each_once_and_in_order(void **state)
{
    (void)state;
    static const struct {
        uint8_t who[5];
        size_t count;
        kmy_err_t err;
    } rows[] = {
        { { 0, 1, 2 }, 3, KMY_OK },
        { { 0, 1, 2, 3 }, 4, KMY_OK },
        { { 1, 2 }, 2, KMY_UNAUTHENTICATED },
        { { 0 }, 0, KMY_UNAUTHENTICATED },
        { { 0, 1, 1 }, 3, KMY_UNAUTHENTICATED },
        { { 2, 1, 0 }, 3, KMY_UNAUTHENTICATED },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_t u = make_update(rows[i].who, rows[i].count);
        assert_int_equal(judge(u.data, u.len), rows[i].err);
    }
}

/* One byte changed -> result */
static const struct {
    size_t at;
    uint8_t value;
    kmy_err_t err;
    const char *what;
} changes[] = {
    { 0, 'Q', KMY_BAD_INPUT, "another magic" },
    { 4, 2, KMY_BAD_INPUT, "another major version" },
    { 5, 9, KMY_OK, "a later minor version" },
    { 7, 1, KMY_BAD_INPUT, "another kind of proof" },
    { VAA, 2, KMY_BAD_INPUT, "another VAA version" },
    { VAA + 4, 8, KMY_UNAUTHENTICATED, "an unknown set" },
    { SIGNATURE, 1, KMY_UNAUTHENTICATED, "another signer's place" },
    { SIGNATURE + 132, 4, KMY_UNAUTHENTICATED, "a place behind the set" },
    { SIGNATURE + 10, 0, KMY_UNAUTHENTICATED, "another r" },
    { SIGNATURE + 65, 2, KMY_UNAUTHENTICATED, "a recovery id above 1" },
    { BODY + 3, 0, KMY_UNAUTHENTICATED, "another time" },
    { BODY + 9, 27, KMY_UNAUTHENTICATED, "another chain" },
    { BODY + 10, 0, KMY_UNAUTHENTICATED, "another emitter" },
    { BODY + 51, 'B', KMY_BAD_INPUT, "no root" },
    { ROOT, 0, KMY_UNAUTHENTICATED, "another root" },
    { COUNT, 0, KMY_BAD_INPUT, "nothing in it" },
    { COUNT, 2, KMY_BAD_INPUT, "one message too many behind the count" },
    { COUNT, 4, KMY_BAD_INPUT, "one message too few" },
    { FIRST + 2 + 40, 0, KMY_BAD_INPUT, "another price" },
    { FIRST + 2 + MESSAGE, 1, KMY_BAD_INPUT, "a proof cut short" },
    { FIRST + 2 + MESSAGE + 1, 0, KMY_BAD_INPUT, "another proof" },
};

static void a_changed_byte_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        buf_t u = make_update(three, 3);
        assert_int_not_equal(u.data[changes[i].at], changes[i].value);
        u.data[changes[i].at] = changes[i].value;
        kmy_err_t err = judge(u.data, u.len);
        if (err != changes[i].err)
            fail_msg("%s: %s instead of %s", changes[i].what, kmy_err_code(err),
                     kmy_err_code(changes[i].err));
    }
}

static void no_cut_and_nothing_behind_it_is_an_update(void **state)
{
    (void)state;
    buf_t u = make_update(three, 3);
    for (size_t len = 0; len < u.len; len++)
        assert_int_not_equal(judge(u.data, len), KMY_OK);
    assert_int_equal(judge(u.data, u.len + 1), KMY_BAD_INPUT);
}

static void a_trailing_header_is_passed_over(void **state)
{
    (void)state;
    buf_t u = make_update(three, 3);
    memmove(u.data + 9, u.data + 7, u.len - 7);
    u.data[6] = 2;
    u.len += 2;
    assert_int_equal(judge(u.data, u.len), KMY_OK);
    u.data[6] = 3;
    assert_int_not_equal(judge(u.data, u.len), KMY_OK);
}

static void a_retired_set_is_taken_only_when_asked_for(void **state)
{
    (void)state;
    buf_t u = make_update(three, 3);
    kmy_pyth_price_t prices[MESSAGES];
    kmy_pyth_update_t out;
    signers.live = false;
    assert_int_equal(
        kmy_pyth_update_read(u.data, u.len, &signers, 1, false, prices, MESSAGES, &out, NULL),
        KMY_UNAUTHENTICATED);
    assert_int_equal(
        kmy_pyth_update_read(u.data, u.len, &signers, 1, true, prices, MESSAGES, &out, NULL),
        KMY_OK);
    signers.live = true;
    assert_int_equal(
        kmy_pyth_update_read(u.data, u.len, &signers, 0, true, prices, MESSAGES, &out, NULL),
        KMY_UNAUTHENTICATED);
}

static void the_known_sets_hold_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < kmy_pyth_signers_known_count; i++) {
        const kmy_pyth_signers_t *s = &kmy_pyth_signers_known[i];
        bool router = memcmp(s->emitter, "PythnetPythnetPythnetPythnetPyth", 32) == 0;
        assert_int_equal(s->count, router ? 5 : 19);
        assert_int_equal(s->quorum, router ? s->count / 2 + 1 : s->count * 2 / 3 + 1);
        for (int a = 0; a < s->count; a++)
            for (int b = 0; b < a; b++)
                assert_memory_not_equal(s->address[a], s->address[b], 20);
    }
}

static kmy_err_t judge_recorded(const json_t *row, kmy_pyth_price_t *prices, kmy_pyth_update_t *out)
{
    static uint8_t bytes[1 << 16];
    const char *hex = json_string_value(json_object_get(row, "hex"));
    size_t len = strlen(hex) / 2;
    assert_true(len <= sizeof bytes && kmy_hex_decode(hex, 2 * len, bytes, len));
    return kmy_pyth_update_read(bytes, len, kmy_pyth_signers_known, kmy_pyth_signers_known_count,
                                true, prices, KMY_PYTH_PRICES_MAX, out, NULL);
}

static void check_prices(const json_t *row, const kmy_pyth_price_t *prices, size_t count)
{
    const json_t *updates = json_object_get(row, "updates");
    for (size_t i = 0; i < count; i++) {
        const json_t *u = json_array_get(updates, i);
        char id[65];
        kmy_hex_encode(prices[i].id, 32, id);
        assert_string_equal(id, json_string_value(json_object_get(u, "id")));
        assert_int_equal(prices[i].price, json_integer_value(json_object_get(u, "price")));
        assert_int_equal(prices[i].conf, json_integer_value(json_object_get(u, "conf")));
        assert_int_equal(prices[i].expo, json_integer_value(json_object_get(u, "expo")));
        assert_int_equal(prices[i].ema_price, json_integer_value(json_object_get(u, "ema_price")));
    }
}

/* Recordings of the live network and their mutations, judged by an independent verifier before. */
static void recordings_get_their_verdicts(void **state)
{
    (void)state;
    static const char *const files[] = { "accumulator_updates", "accumulator_mutations" };
    static char line[1 << 17];
    const char *captures = getenv("KAMIYO_CAPTURES");
    int judged = 0;
    for (int f = 0; f < 2; f++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/pyth/%s.jsonl",
                 captures ? captures : KMY_TESTS_DIR "/../../shared/captures", files[f]);
        FILE *in = fopen(path, "r");
        if (!in)
            skip();
        while (fgets(line, sizeof line, in)) {
            static kmy_pyth_price_t prices[KMY_PYTH_PRICES_MAX];
            kmy_pyth_update_t out = { 0 };
            json_t *row = json_loads(line, 0, NULL);
            assert_non_null(row);
            const char *expect = json_string_value(json_object_get(row, "expect"));
            kmy_err_t err = judge_recorded(row, prices, &out);
            if ((err == KMY_OK) != (strcmp(expect, "accept") == 0))
                fail_msg("%s: %s, expected %s", line + 0, kmy_err_code(err), expect);
            if (err == KMY_OK && f == 0)
                check_prices(row, prices, out.prices_count);
            json_decref(row);
            judged++;
        }
        fclose(in);
    }
    assert_int_equal(judged, 19 + 36);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signed_update_gives_its_prices),
        cmocka_unit_test(the_quorum_must_sign_each_once_and_in_order),
        cmocka_unit_test(a_changed_byte_is_noticed),
        cmocka_unit_test(no_cut_and_nothing_behind_it_is_an_update),
        cmocka_unit_test(a_trailing_header_is_passed_over),
        cmocka_unit_test(a_retired_set_is_taken_only_when_asked_for),
        cmocka_unit_test(the_known_sets_hold_together),
        cmocka_unit_test(recordings_get_their_verdicts),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
