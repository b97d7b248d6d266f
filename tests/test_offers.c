#include "engine/offers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define BOUND    "127.0.0.1:8402"
#define BASE     "{ name: base, pay_to: \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\" }"
#define ETHEREUM "{ name: ethereum, pay_to: \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\" }"
#define SOLANA   "name: solana, pay_to: 8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL"
#define PAYER    "fee_payer: L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95"
#define NODE                                                                                       \
    "{ name: base, pay_to: \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\", rpc: "                  \
    "\"http://127.0.0.1:9\" }"
#define KEYED   "settler_key_file: k, "
#define SETTLED "facilitator: \"http://127.0.0.1:9\", "

static kmy_err_t make(const char *yaml, kmy_config_t *cfg, kmy_offers_t *o, kmy_errctx_t *ctx)
{
    if (kmy_config_read(cfg, "f", yaml, strlen(yaml), ctx) != KMY_OK)
        fail_msg("%s: %s", yaml, ctx->detail);
    return kmy_offers_init(o, cfg, BOUND, ctx);
}

/* public.url -> the resource of a deposit, origin and domain as a client's URL class has them */
static void what_is_ours_has_the_public_address_and_no_other(void **state)
{
    static const struct {
        const char *url, *deposit, *origin, *domain;
    } rows[] = {
        { "", "http://127.0.0.1:8402/v1/deposit", "http://127.0.0.1:8402", "127.0.0.1:8402" },
        { "https://feed.example", "https://feed.example/v1/deposit", "https://feed.example",
          "feed.example" },
        { "https://feed.example///", "https://feed.example/v1/deposit", "https://feed.example",
          "feed.example" },
        { "https://Feed.Example:443/", "https://Feed.Example:443/v1/deposit",
          "https://feed.example", "feed.example" },
        { "http://feed.example:80", "http://feed.example:80/v1/deposit", "http://feed.example",
          "feed.example" },
        { "http://feed.example:443", "http://feed.example:443/v1/deposit",
          "http://feed.example:443", "feed.example:443" },
        { "https://feed.example:8402/kamiyo", "https://feed.example:8402/kamiyo/v1/deposit",
          "https://feed.example:8402", "feed.example:8402" },
        { "http://[::1]:8402", "http://[::1]:8402/v1/deposit", "http://[::1]:8402", "[::1]:8402" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char yaml[256], url[KMY_RESOURCE_URL_BYTES_MAX];
        kmy_config_t cfg;
        kmy_offers_t o;
        kmy_errctx_t ctx = { 0 };
        snprintf(yaml, sizeof yaml, "public: { url: \"%s\" }\n", rows[i].url);
        assert_int_equal(make(yaml, &cfg, &o, &ctx), KMY_OK);
        kmy_offers_url(&o, "/v1/deposit", url);
        assert_string_equal(url, rows[i].deposit);
        assert_string_equal(o.origin, rows[i].origin);
        assert_string_equal(o.domain, rows[i].domain);
        kmy_config_free(&cfg);
    }
}

static void a_certificate_makes_the_bound_address_https(void **state)
{
    kmy_config_t cfg;
    kmy_offers_t o;
    kmy_errctx_t ctx = { 0 };
    (void)state;
    assert_int_equal(make("public: { tls_cert: c, tls_key: k }\n", &cfg, &o, &ctx), KMY_OK);
    assert_string_equal(o.url, "https://" BOUND);
    kmy_config_free(&cfg);
}

/* section payments -> networks on offer, and whether anything is */
static void networks_are_offered_in_order_where_somebody_settles(void **state)
{
    static const struct {
        const char *payments, *names;
        bool open;
    } rows[] = {
        { "", "", false },
        { SETTLED, "", false },
        { "networks: [" BASE "]", "base+", false }, /* a transfer made alone can still be found */
        { SETTLED "networks: [" BASE "]", "base+", true },
        { SETTLED "networks: [" ETHEREUM ", " BASE "]", "ethereum base+", true },
        { SETTLED "networks: [{ " SOLANA " }]", "", false }, /* nobody could sign for it */
        { SETTLED "networks: [{ " SOLANA " }, " BASE "]", "base+", true },
        { SETTLED "networks: [{ " SOLANA ", " PAYER " }, " BASE "]", "solana+ base+", true },
        /* by a key of our own: EVM networks with a node */
        { KEYED "networks: [" BASE "]", "", false },
        { KEYED "networks: [" NODE "]", "base+", true },
        { KEYED "networks: [" NODE ", " ETHEREUM ", { " SOLANA ", " PAYER " }]", "base+", true },
        { KEYED SETTLED "networks: [" NODE ", " ETHEREUM ", { " SOLANA ", " PAYER " }]",
          "base+ ethereum solana+", true },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char yaml[1024], names[256] = "";
        kmy_config_t cfg;
        kmy_offers_t o;
        kmy_errctx_t ctx = { 0 };
        snprintf(yaml, sizeof yaml, "payments: { %s }\n", rows[i].payments);
        assert_int_equal(make(yaml, &cfg, &o, &ctx), KMY_OK);
        for (size_t w = 0; w < o.ways_count; w++)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s%s", w ? " " : "",
                     o.ways[w].entry.name, o.ways[w].in_v1 ? "+" : "");
        assert_string_equal(names, rows[i].names);
        assert_int_equal(o.open, rows[i].open);
        kmy_config_free(&cfg);
    }
}

static void a_networks_least_payment_and_v1_name_are_known(void **state)
{
    kmy_config_t cfg;
    kmy_offers_t o;
    kmy_errctx_t ctx = { 0 };
    (void)state;
    assert_int_equal(make("payments: { networks: [" ETHEREUM ", " BASE "] }\n", &cfg, &o, &ctx),
                     KMY_OK);
    assert_true(o.ways[0].min_payment_nusd == 1000000000);
    assert_true(o.ways[1].min_payment_nusd == 0);
    assert_string_equal(kmy_offers_name(&o, "eip155:8453"), "base");
    assert_string_equal(kmy_offers_name(&o, "eip155:10"), "eip155:10");
    kmy_config_free(&cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_ours_has_the_public_address_and_no_other),
        cmocka_unit_test(a_certificate_makes_the_bound_address_https),
        cmocka_unit_test(networks_are_offered_in_order_where_somebody_settles),
        cmocka_unit_test(a_networks_least_payment_and_v1_name_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
