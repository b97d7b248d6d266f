/* pay/verify: each payment of the vectors gets the verdict of the specification; and what a cheat changes is noticed. */
#include "pay/verify.h"

#include "tests/pay_rig.h"
#include "wire/base64.h"

#include <stdlib.h>

static void each_good_payment_is_valid_and_names_its_payer(void **state)
{
    (void)state;
    json_t *root = vectors_load("evm-valid.json");
    size_t i;
    json_t *v;
    json_array_foreach(vectors_of(root), i, v)
    {
        const char *header = text_of(v, "header_value");
        const json_t *expect = json_object_get(v, "expect");
        kmy_pay_entry_t entry;
        kmy_pay_verdict_t verdict;
        kmy_errctx_t ctx = { 0 };
        uint8_t payer[20];
        entry_of(v, &entry);
        kmy_pay_offer_t offer = { &entry, 1, NULL };
        int64_t now = json_integer_value(json_object_get(v, "verify_at"));
        kmy_pay_result_t result = pay_judge(header, strlen(header), &offer, now, &verdict, &ctx);
        if (json_is_true(json_object_get(v, "needs_chain"))) {
            /* 65 bytes by a contract's owner look like a stranger's: refused here, and its chain may be asked */
            assert_int_equal(result, KMY_PAY_INVALID);
            assert_int_equal(verdict.reason, KMY_PAY_EVM_SIGNATURE);
            assert_true(verdict.ask_chain);
            continue;
        }
        if (result != KMY_PAY_VALID)
            fail_msg("%s: %s, %s", text_of(v, "id"), kmy_pay_reason(verdict.reason), ctx.detail);
        assert_ptr_equal(verdict.entry, &entry);
        assert_null(ctx.where);
        bytes_of(expect, "payer", payer, 20);
        assert_memory_equal(verdict.payer, payer, 20);
        char account[128];
        char hex[41];
        kmy_hex_encode(payer, 20, hex);
        snprintf(account, sizeof account, "eip155:%lld:0x%s",
                 (long long)json_integer_value(json_object_get(v, "chain_id")), hex);
        assert_string_equal(verdict.account, account);
    }
    json_decref(root);
}

static void each_bad_payment_is_refused_with_the_specifications_reason(void **state)
{
    (void)state;
    json_t *root = vectors_load("evm-invalid.json");
    size_t i;
    json_t *v;
    int refused = 0;
    json_array_foreach(vectors_of(root), i, v)
    {
        const char *header = text_of(v, "header_value");
        const json_t *expect = json_object_get(v, "expect");
        const char *stage = text_of(expect, "stage");
        kmy_pay_entry_t entry;
        kmy_pay_verdict_t verdict;
        kmy_errctx_t ctx = { 0 };
        entry_of(v, &entry);
        kmy_pay_offer_t offer = { &entry, 1, NULL };
        int64_t now = json_integer_value(json_object_get(v, "verify_at"));
        kmy_pay_result_t result = pay_judge(header, strlen(header), &offer, now, &verdict, &ctx);
        if (strcmp(stage, "chain") == 0 || strcmp(stage, "replay") == 0) {
            if (result != KMY_PAY_VALID) /* nothing is wrong that this side could see */
                fail_msg("%s: %s", text_of(v, "id"), kmy_pay_reason(verdict.reason));
            continue;
        }
        if (result != KMY_PAY_INVALID ||
            strcmp(kmy_pay_reason(verdict.reason), text_of(expect, "spec_reason")) != 0)
            fail_msg("%s: %s instead of %s", text_of(v, "id"), kmy_pay_reason(verdict.reason),
                     text_of(expect, "spec_reason"));
        assert_non_null(ctx.where);
        refused++;
    }
    assert_int_equal(refused, 63);
    json_decref(root);
}

static json_t *vector_named(json_t *root, const char *id)
{
    size_t i;
    json_t *v;
    json_array_foreach(vectors_of(root), i, v) if (strcmp(text_of(v, "id"), id) == 0) return v;
    fail_msg("no vector %s", id);
    return NULL;
}

/* The vector's payment with its JSON changed: `member` of the object at `path` set to JSON text (NULL: removed), judged at `now`. */
static kmy_pay_verdict_t changed(const json_t *v, const char *const *path, const char *member,
                                 const char *value, const kmy_pay_offer_t *offer, int64_t now)
{
    static char text[8192];
    static char header[12000];
    kmy_pay_verdict_t verdict;
    json_t *copy = json_deep_copy(json_object_get(v, "decoded"));
    json_t *at = copy;
    for (; *path; path++)
        at = json_object_get(at, *path);
    assert_non_null(at);
    if (value)
        assert_int_equal(json_object_set_new(at, member, json_loads(value, JSON_DECODE_ANY, NULL)),
                         0);
    else if (member)
        json_object_del(at, member);
    size_t len = json_dumpb(copy, text, sizeof text, JSON_COMPACT);
    size_t header_len = kmy_base64_encode(KMY_BASE64_STD, text, len, header);
    pay_judge(header, header_len, offer, now, &verdict, NULL);
    json_decref(copy);
    return verdict;
}

#define V2  "base-v2-valid-for-decades"
#define V1  "base-v1-valid-for-decades"
#define NOW 1767225600

static const char *const top[] = { NULL };
static const char *const accepted[] = { "accepted", NULL };
static const char *const extra[] = { "accepted", "extra", NULL };
static const char *const payload[] = { "payload", NULL };
static const char *const signed_part[] = { "payload", "authorization", NULL };
static const char *const resource[] = { "resource", NULL };

/* member changed -> verdict */
static const struct {
    const char *id;
    const char *const *path;
    const char *member, *value;
    kmy_pay_reason_t reason; /* KMY_PAY_NONE: still valid */
} changes[] = {
    { V2, top, NULL, NULL, KMY_PAY_NONE },
    { V2, accepted, "scheme", "\"upto\"", KMY_PAY_SCHEME },
    { V2, accepted, "scheme", "\"batch-settlement\"", KMY_PAY_SCHEME },
    { V2, accepted, "scheme", "1", KMY_PAY_PAYLOAD },
    { V2, accepted, "network", "\"base\"", KMY_PAY_NETWORK },
    { V2, accepted, "amount", "10000", KMY_PAY_REQUIREMENTS },
    { V2, accepted, "amount", "\"010000\"", KMY_PAY_REQUIREMENTS },
    { V2, accepted, "asset", "\"0x833589fcd6edb6e08f4c7c32d4f71b54bda02913\"",
      KMY_PAY_REQUIREMENTS },
    { V2, accepted, "payTo", "\"0x70997970c51812dc3a010c7d01b50e0d17dc79c8\"",
      KMY_PAY_REQUIREMENTS },
    { V2, accepted, "maxTimeoutSeconds", "61", KMY_PAY_REQUIREMENTS },
    { V2, accepted, "maxTimeoutSeconds", "\"60\"", KMY_PAY_REQUIREMENTS },
    { V2, accepted, "extra", NULL, KMY_PAY_REQUIREMENTS },
    { V2, accepted, "unknown", "true", KMY_PAY_NONE },
    { V2, extra, "name", "\"USDC\"", KMY_PAY_REQUIREMENTS },
    { V2, extra, "version", NULL, KMY_PAY_REQUIREMENTS },
    { V2, extra, "mine", "{\"a\":1}", KMY_PAY_NONE },
    { V2, extra, "assetTransferMethod", "\"eip3009\"", KMY_PAY_NONE },
    { V2, extra, "assetTransferMethod", "\"permit2\"", KMY_PAY_SCHEME },
    { V2, extra, "assetTransferMethod", "\"erc7710\"", KMY_PAY_SCHEME },
    { V2, payload, "permit2Authorization", "{}", KMY_PAY_SCHEME },
    { V2, top, "accepted", NULL, KMY_PAY_PAYLOAD },
    { V2, top, "accepted", "[]", KMY_PAY_PAYLOAD },
    { V2, top, "resource", NULL, KMY_PAY_NONE },
    { V2, top, "resource", "\"https://feed.example/v1/tick\"", KMY_PAY_PAYLOAD },
    { V2, resource, "url", "\"https://feed.example/v1/other\"", KMY_PAY_REQUIREMENTS },
    { V2, resource, "url", "null", KMY_PAY_PAYLOAD },
    { V2, top, "x402Version", "1", KMY_PAY_PAYLOAD },
    { V2, top, "x402Version", "\"2\"", KMY_PAY_VERSION },
    { V2, top, "x402Version", "2.0", KMY_PAY_VERSION },
    { V2, top, "x402Version", NULL, KMY_PAY_VERSION },
    { V1, top, NULL, NULL, KMY_PAY_NONE },
    { V1, top, "network", "\"base-sepolia\"", KMY_PAY_NETWORK },
    { V1, top, "network", "\"eip155:8453\"", KMY_PAY_NETWORK },
    { V1, top, "network", NULL, KMY_PAY_PAYLOAD },
    { V1, top, "extensions", "[[[]]]", KMY_PAY_NONE },
    { V1, signed_part, "value", "\" 10000\"", KMY_PAY_PAYLOAD },
    { V1, signed_part, "value", "\"+10000\"", KMY_PAY_PAYLOAD },
    { V1, signed_part, "value", "\"10000.0\"", KMY_PAY_PAYLOAD },
    { V1, signed_part, "value", "\"0x2710\"", KMY_PAY_PAYLOAD },
    { V1, signed_part, "value", "10000", KMY_PAY_PAYLOAD },
    { V1, signed_part, "value", "\"18446744073709561616\"",
      KMY_PAY_EVM_VALUE_V1 }, /* 2^64 + 10000 */
    { V1, signed_part, "nonce", "\"0x00\"", KMY_PAY_PAYLOAD },
    { V1, signed_part, "to", "\"70997970C51812dc3A010C7d01b50e0d17dc79C8\"", KMY_PAY_PAYLOAD },
    { V1, signed_part, "to", "\"0x70997970c51812dc3a010c7d01b50e0d17dc79c8\"", KMY_PAY_NONE },
    { V1, signed_part, "validAfter", "\"1767225601\"", KMY_PAY_EVM_AFTER },
    { V1, signed_part, "validBefore", "\"1767225605\"", KMY_PAY_EVM_BEFORE },
    { V1, signed_part, "validBefore", "\"1767225606\"",
      KMY_PAY_EVM_SIGNATURE }, /* 6 s are enough, but it was not signed */
    { V1, payload, "signature", "\"0x\"", KMY_PAY_PAYLOAD },
    { V1, payload, "authorization", "[]", KMY_PAY_PAYLOAD },
};

static void a_changed_member_is_noticed_at_the_first_check_that_can(void **state)
{
    (void)state;
    json_t *root = vectors_load("evm-valid.json");
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const json_t *v = vector_named(root, changes[i].id);
        kmy_pay_entry_t entry;
        entry_of(v, &entry);
        kmy_pay_offer_t offer = { &entry, 1, "https://feed.example/v1/tick" };
        kmy_pay_verdict_t got =
            changed(v, changes[i].path, changes[i].member, changes[i].value, &offer, NOW);
        if (got.reason != changes[i].reason)
            fail_msg("row %zu (%s = %s): '%s' instead of '%s'", i,
                     changes[i].member ? changes[i].member : "-",
                     changes[i].value ? changes[i].value : "removed", kmy_pay_reason(got.reason),
                     kmy_pay_reason(changes[i].reason));
        assert_int_equal(got.result, changes[i].reason ? KMY_PAY_INVALID : KMY_PAY_VALID);
    }
    json_decref(root);
}

static void only_the_offer_that_was_signed_accepts(void **state)
{
    (void)state;
    static const char *const networks[] = { "base", "base-sepolia" };
    static const char *const assets[] = { "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
                                          "0x036CbD53842c5426634e7929541eC2318f3dCF7e" };
    static const char *const payees[] = { "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
                                          "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC" };
    json_t *root = vectors_load("evm-valid.json");
    int good = 0;
    for (int version = 1; version <= 2; version++)
        for (int cell = 0; cell < 16; cell++) {
            const json_t *v = vector_named(root, version == 1 ? V1 : V2);
            const char *header = text_of(v, "header_value");
            kmy_pay_entry_t entry;
            kmy_pay_verdict_t verdict;
            kmy_pay_terms_t terms = { .name = networks[cell & 1],
                                      .asset = assets[cell >> 1 & 1],
                                      .asset_name = "USD Coin",
                                      .asset_version = "2",
                                      .pay_to = payees[cell >> 2 & 1],
                                      .timeout_s = 2000000000 };
            assert_int_equal(kmy_pay_entry_init(&entry, &terms, NULL), KMY_OK);
            kmy_pay_entry_price(&entry, cell >> 3 ? 10001 : 10000);
            kmy_pay_offer_t offer = { &entry, 1, NULL };
            bool valid =
                pay_judge(header, strlen(header), &offer, NOW, &verdict, NULL) == KMY_PAY_VALID;
            assert_int_equal(valid, cell == 0);
            good += valid;
        }
    assert_int_equal(good, 2);
    json_decref(root);
}

static void of_several_prices_on_one_network_the_paid_one_is_found(void **state)
{
    (void)state;
    json_t *root = vectors_load("evm-valid.json");
    static const char *const ids[] = { V1, V2 };
    for (int i = 0; i < 2; i++) {
        const json_t *v = vector_named(root, ids[i]);
        const char *header = text_of(v, "header_value");
        kmy_pay_entry_t entries[3];
        kmy_pay_verdict_t verdict;
        for (int k = 0; k < 3; k++)
            entry_of(v, &entries[k]);
        kmy_pay_entry_price(&entries[0], 100);
        kmy_pay_entry_price(&entries[2], 20000);
        kmy_pay_offer_t offer = { entries, 3, NULL };
        assert_int_equal(pay_judge(header, strlen(header), &offer, NOW, &verdict, NULL),
                         KMY_PAY_VALID);
        assert_ptr_equal(verdict.entry, &entries[1]);
        kmy_pay_entry_price(&entries[1], 300);
        pay_judge(header, strlen(header), &offer, NOW, &verdict, NULL);
        assert_int_equal(verdict.reason, i ? KMY_PAY_REQUIREMENTS : KMY_PAY_EVM_VALUE_V1);
        offer.entries_count = 0;
        pay_judge(header, strlen(header), &offer, NOW, &verdict, NULL);
        assert_int_equal(verdict.reason, KMY_PAY_NETWORK);
    }
    json_decref(root);
}

static void the_edges_of_the_time_window_are_where_they_should_be(void **state)
{
    (void)state;
    json_t *root = vectors_load("evm-valid.json");
    const json_t *v = vector_named(root, "base-v1-legacy-client"); /* 1767225000 to 1767225660 */
    const char *header = text_of(v, "header_value");
    static const struct {
        int64_t now;
        kmy_pay_reason_t reason;
    } rows[] = {
        { 0, KMY_PAY_EVM_AFTER },           { 1767224999, KMY_PAY_EVM_AFTER },
        { 1767225000, KMY_PAY_NONE },       { 1767225654, KMY_PAY_NONE },
        { 1767225655, KMY_PAY_EVM_BEFORE }, { 1767225661, KMY_PAY_EVM_BEFORE },
        { INT64_MAX, KMY_PAY_EVM_BEFORE },
    };
    kmy_pay_entry_t entry;
    entry_of(v, &entry);
    kmy_pay_offer_t offer = { &entry, 1, NULL };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_pay_verdict_t verdict;
        pay_judge(header, strlen(header), &offer, rows[i].now, &verdict, NULL);
        assert_int_equal(verdict.reason, rows[i].reason);
    }
    json_decref(root);
}

static void a_longer_signature_is_a_contracts_and_only_its_chain_can_tell(void **state)
{
    (void)state;
    json_t *root = vectors_load("evm-valid.json");
    const json_t *v = vector_named(root, V2);
    kmy_pay_entry_t entry;
    entry_of(v, &entry);
    kmy_pay_offer_t offer = { &entry, 1, NULL };
    char text[300] = "\"0x";
    for (size_t bytes = 66; bytes <= 128; bytes += 31) {
        memset(text + 3, 'a', 2 * bytes);
        memcpy(text + 3 + 2 * bytes, "\"", 2);
        kmy_pay_verdict_t got = changed(v, payload, "signature", text, &offer, NOW);
        assert_int_equal(got.result, KMY_PAY_NEEDS_CHAIN);
        assert_ptr_equal(got.entry, &entry);
        memcpy(text + 3 + 2 * bytes - 1, "\"", 2); /* half a byte */
        assert_int_equal(changed(v, payload, "signature", text, &offer, NOW).reason,
                         KMY_PAY_PAYLOAD);
        memset(text + 3, 'g', 2);
        text[3 + 2 * bytes - 1] = 'a';
        memcpy(text + 3 + 2 * bytes, "\"", 2);
        assert_int_equal(changed(v, payload, "signature", text, &offer, NOW).reason,
                         KMY_PAY_PAYLOAD);
    }
    json_decref(root);
}

static void solana_payments_get_their_verdicts(void **state)
{
    (void)state;
    json_t *root = vectors_load("solana.json");
    size_t i;
    json_t *v;
    json_array_foreach(vectors_of(root), i, v)
    {
        const char *header = text_of(v, "header_value");
        const json_t *expect = json_object_get(v, "expect");
        const json_t *stock = json_object_get(expect, "stock_facilitator");
        kmy_pay_entry_t entry;
        kmy_pay_verdict_t verdict;
        kmy_errctx_t ctx = { 0 };
        entry_of(v, &entry);
        kmy_pay_offer_t offer = { &entry, 1, NULL };
        kmy_pay_result_t result = pay_judge(header, strlen(header), &offer, NOW, &verdict, &ctx);
        if (json_is_true(json_object_get(expect, "valid"))) {
            if (result != KMY_PAY_VALID)
                fail_msg("%s: %s", text_of(v, "id"), kmy_pay_reason(verdict.reason));
            char account[160];
            snprintf(account, sizeof account, "%s:%s", entry.chain, text_of(stock, "payer"));
            assert_string_equal(verdict.account, account);
            continue;
        }
        assert_int_equal(result, KMY_PAY_INVALID);
        const char *got = kmy_pay_reason(verdict.reason);
        if (strcmp(got, text_of(stock, "reason")) != 0 &&
            verdict.reason != KMY_PAY_REQUIREMENTS) /* v2 shows another "accepted" first */
            fail_msg("%s: %s", text_of(v, "id"), got);
    }
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_good_payment_is_valid_and_names_its_payer),
        cmocka_unit_test(each_bad_payment_is_refused_with_the_specifications_reason),
        cmocka_unit_test(a_changed_member_is_noticed_at_the_first_check_that_can),
        cmocka_unit_test(only_the_offer_that_was_signed_accepts),
        cmocka_unit_test(of_several_prices_on_one_network_the_paid_one_is_found),
        cmocka_unit_test(the_edges_of_the_time_window_are_where_they_should_be),
        cmocka_unit_test(a_longer_signature_is_a_contracts_and_only_its_chain_can_tell),
        cmocka_unit_test(solana_payments_get_their_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
