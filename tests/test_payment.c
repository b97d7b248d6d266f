/* pay/payment: what is a payment at all.  (Whether it pays is test_verify's.) */
#include "pay/payment.h"

#include "tests/page_edge.h"
#include "wire/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define V1 "{\"x402Version\":1,\"scheme\":\"exact\",\"network\":\"base\",\"payload\":{}}"
#define V2                                                                                         \
    "{\"x402Version\":2,\"payload\":{},\"accepted\":{\"scheme\":\"exact\",\"network\":\"eip155:"   \
    "8453\"}}"

static kmy_pay_reason_t parse(const char *json, size_t json_len, kmy_payment_t *out)
{
    static char header[KMY_PAYMENT_BYTES_MAX + 2000];
    static char buffer[KMY_PAYMENT_BYTES_MAX];
    size_t len = kmy_base64_encode(KMY_BASE64_STD, json, json_len, header);
    return kmy_payment_parse(kmy_at_page_end(header, len), len, buffer, out, NULL);
}

static const struct {
    const char *json;
    kmy_pay_reason_t reason;
} rows[] = {
    { V1, KMY_PAY_NONE },
    { V2, KMY_PAY_NONE },
    { "", KMY_PAY_PAYLOAD },
    { "{}", KMY_PAY_VERSION },
    { "[]", KMY_PAY_PAYLOAD },
    { "null", KMY_PAY_PAYLOAD },
    { V1 V1, KMY_PAY_PAYLOAD },
    { V1 "x", KMY_PAY_PAYLOAD },
    { "{\"x402Version\":3}", KMY_PAY_VERSION },
    { "{\"x402Version\":0}", KMY_PAY_VERSION },
    { "{\"x402Version\":-1}", KMY_PAY_VERSION },
    { "{\"x402Version\":1,\"x402Version\":1}", KMY_PAY_PAYLOAD },
    { "{\"x402Version\":1,\"x402\\u0056ersion\":2}", KMY_PAY_PAYLOAD },
    { "{\"x402Version\":1,\"scheme\":\"exact\",\"network\":\"base\"}", KMY_PAY_PAYLOAD },
    { "{\"x402Version\":1,\"scheme\":\"exact\",\"network\":\"base\",\"payload\":[]}",
      KMY_PAY_PAYLOAD },
    { "{\"x402Version\":1,\"scheme\":\"exact\",\"network\":1,\"payload\":{}}", KMY_PAY_PAYLOAD },
    { "{\"x402Version\":2,\"scheme\":\"exact\",\"network\":\"base\",\"payload\":{}}",
      KMY_PAY_PAYLOAD },
    { "{\"x402Version\":2,\"payload\":{},\"accepted\":{\"scheme\":\"exact\",\"scheme\":\"exact\","
      "\"network\":\"a:b\"}}",
      KMY_PAY_PAYLOAD },
    { "{\"x402Version\":2,\"payload\":{},\"resource\":null,\"accepted\":{\"scheme\":\"exact\","
      "\"network\":\"a:b\"}}",
      KMY_PAY_NONE },
    { "{\"x402Version\":1,\"a\":\xFF}", KMY_PAY_PAYLOAD },
};

static void a_payment_is_one_object_with_its_members_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_payment_t p;
        kmy_pay_reason_t got = parse(rows[i].json, strlen(rows[i].json), &p);
        if (got != rows[i].reason)
            fail_msg("%s: '%s' instead of '%s'", rows[i].json, kmy_pay_reason(got),
                     kmy_pay_reason(rows[i].reason));
    }
}

static void padding_is_optional_and_nothing_else_is(void **state)
{
    (void)state;
    char header[512];
    char buffer[KMY_PAYMENT_BYTES_MAX];
    kmy_payment_t p;
    for (size_t blanks = 0; blanks < 3; blanks++) { /* all three lengths of padding */
        char json[256] = "   " V1;
        size_t json_len = strlen(V1) + blanks;
        const char *text = json + 3 - blanks;
        size_t len = kmy_base64_encode(KMY_BASE64_STD, text, json_len, header);
        size_t bare = len;
        while (header[bare - 1] == '=')
            bare--;
        for (size_t n = bare; n <= len; n++)
            assert_int_equal(kmy_payment_parse(header, n, buffer, &p, NULL), KMY_PAY_NONE);
        assert_int_equal(kmy_payment_parse(header, bare - 3, buffer, &p, NULL), KMY_PAY_PAYLOAD);
        memcpy(header + len, "===", 3);
        assert_int_equal(kmy_payment_parse(header, len + 3, buffer, &p, NULL), KMY_PAY_PAYLOAD);
        header[4] = ' ';
        assert_int_equal(kmy_payment_parse(header, len, buffer, &p, NULL), KMY_PAY_PAYLOAD);
        header[4] = '-';
        assert_int_equal(kmy_payment_parse(header, len, buffer, &p, NULL), KMY_PAY_PAYLOAD);
    }
    assert_int_equal(kmy_payment_parse("=", 1, buffer, &p, NULL), KMY_PAY_PAYLOAD);
    assert_int_equal(kmy_payment_parse("", 0, buffer, &p, NULL), KMY_PAY_PAYLOAD);
}

static void a_payment_has_at_most_12_kib(void **state)
{
    (void)state;
    static char json[10000];
    kmy_payment_t p;
    memset(json, ' ', sizeof json);
    memcpy(json, V1, strlen(V1));
    assert_int_equal(parse(json, 9213, &p), KMY_PAY_NONE); /* 12,284 of text */
    assert_int_equal(parse(json, 9214, &p), KMY_PAY_PAYLOAD);
    assert_int_equal(parse(json, sizeof json, &p), KMY_PAY_PAYLOAD);
}

static void what_v2_repeats_of_the_offer_is_handed_on(void **state)
{
    (void)state;
    static const char json[] =
        "{\"x402Version\":2,\"payload\":{\"a\":1},\"extensions\":{\"payment-identifier\":{}},"
        "\"resource\":{\"url\":\"https://f.example/x\"},\"accepted\":{\"scheme\":\"exact\","
        "\"network\":\"eip155:8453\",\"amount\":\"1\",\"asset\":\"A\",\"payTo\":\"B\","
        "\"maxTimeoutSeconds\":60,\"extra\":{\"name\":\"N\"}}}";
    kmy_payment_t p;
    assert_int_equal(parse(json, sizeof json - 1, &p), KMY_PAY_NONE);
    assert_true(kmy_json_is(p.network, "eip155:8453"));
    assert_true(kmy_json_is(p.amount, "1"));
    assert_true(kmy_json_is(p.asset, "A"));
    assert_true(kmy_json_is(p.pay_to, "B"));
    assert_true(kmy_json_is(p.resource_url, "https://f.example/x"));
    assert_int_equal(p.extra.type, KMY_JSON_OBJECT);
    assert_memory_equal(p.payload.text, "{\"a\":1}", p.payload.len);
    assert_memory_equal(p.extensions.text, "{\"payment-identifier\":{}}", p.extensions.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_payment_is_one_object_with_its_members_once),
        cmocka_unit_test(padding_is_optional_and_nothing_else_is),
        cmocka_unit_test(a_payment_has_at_most_12_kib),
        cmocka_unit_test(what_v2_repeats_of_the_offer_is_handed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
