/* engine/demand: what a stream that runs dry is told of deposits.  (The answers 402 are tests/e2e_offers.py's.) */
#include "engine/demand.h"

#include "engine/offers.h"
#include "wire/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define PAY_TO  "pay_to: \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\""
#define SETTLED "facilitator: \"http://127.0.0.1:9\", "

static kmy_offers_t o; /* 20 KiB */
static kmy_config_t cfg;
static char object[KMY_OFFERS_MEMBERS_BYTES_MAX + 32];

/* The members as an object of their own, behind one more. */
static void make(const char *yaml)
{
    kmy_errctx_t ctx = { 0 };
    if (kmy_config_read(&cfg, "f", yaml, strlen(yaml), &ctx) != KMY_OK ||
        kmy_offers_init(&o, &cfg, "127.0.0.1:8402", &ctx) != KMY_OK)
        fail_msg("%s: %.200s", ctx.detail, yaml);
    kmy_demand_members(&o);
    snprintf(object, sizeof object, "{\"a\":1%.*s}", (int)o.members_bytes, o.members);
}

static uint32_t count(const char *what)
{
    uint32_t n = 0;
    for (const char *p = object; (p = strstr(p, what)) != NULL; p++)
        n++;
    return n;
}

/* payments -> entries of v1 and of v2: two amounts on each network, fewer where its least payment makes them one, v1 only where its client knows it */
static void a_stream_is_offered_a_deposit_on_every_network_in_both_generations(void **state)
{
    static const struct {
        const char *payments;
        uint32_t v1, v2;
    } rows[] = {
        { "", 0, 0 },
        { "networks: [{ name: base, " PAY_TO " }]", 0, 0 }, /* nobody settles */
        { SETTLED "networks: [{ name: base, " PAY_TO " }]", 2, 2 },
        { SETTLED "networks: [{ name: base, " PAY_TO " }, { name: polygon, " PAY_TO " }]", 4, 4 },
        { SETTLED "networks: [{ name: my-chain, chain: \"eip155:31337\", rpc: "
                  "\"http://127.0.0.1:8\", asset: "
                  "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\", asset_name: USDC, "
                  "asset_version: \"2\", " PAY_TO " }]",
          0, 2 },
        { SETTLED "networks: [{ name: base, min_payment: 1.00, " PAY_TO " }]", 1, 1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml, "payments: { %s }\n", rows[i].payments);
        make(yaml);
        assert_true(kmy_json_valid(object, strlen(object)));
        assert_int_equal(count("\"maxAmountRequired\":"), rows[i].v1);
        assert_int_equal(count("\"amount\":"), rows[i].v2);
        assert_int_equal(count(",\"v1\":{\"x402Version\":1,"), rows[i].v1 > 0);
        assert_int_equal(count(",\"v2\":{\"x402Version\":2,"), rows[i].v2 > 0);
        assert_int_equal(count("/v1/deposit\""), rows[i].v1 + (rows[i].v2 > 0));
        kmy_config_free(&cfg);
    }
}

/* As many networks as may be configured, the longest address: what fits, whole entries. */
static void the_offers_are_bounded_and_whole(void **state)
{
    char yaml[16384], url[KMY_PUBLIC_URL_BYTES_MAX];
    (void)state;
    memset(url, 'a', sizeof url);
    memcpy(url, "http://", 7);
    url[KMY_PUBLIC_URL_BYTES_MAX - 2] = '\0';
    size_t n = (size_t)snprintf(yaml, sizeof yaml,
                                "public: { url: \"%s\" }\npayments: { " SETTLED "networks: [", url);
    for (int i = 0; i < KMY_CONFIG_NETWORKS_MAX; i++)
        n += (size_t)snprintf(
            yaml + n, sizeof yaml - n,
            "%s{ name: chain-%d, chain: \"eip155:%d\", asset: "
            "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\", "
            "asset_name: \"a dollar with quite a long name\", asset_version: \"2\", " PAY_TO " }",
            i ? ", " : "", i, 31337 + i);
    snprintf(yaml + n, sizeof yaml - n, "] }\n");
    make(yaml);
    assert_int_equal(o.ways_count, KMY_CONFIG_NETWORKS_MAX);
    assert_true(o.members_bytes > 0 && o.members_bytes < sizeof o.members);
    assert_true(kmy_json_valid(object, strlen(object)));
    assert_true(count("\"amount\":\"100000\"") ==
                KMY_CONFIG_NETWORKS_MAX); /* the first amount everywhere */
    kmy_config_free(&cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_offered_a_deposit_on_every_network_in_both_generations),
        cmocka_unit_test(the_offers_are_bounded_and_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
