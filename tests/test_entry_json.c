/* pay/entry_json: one text for what is offered and what it is judged against. */
#include "pay/entry_json.h"

#include "pay/challenge.h"
#include "pay/facilitator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define US        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
#define USDC      "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
#define MINT      "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
#define WALLET    "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL"
#define FEE_PAYER "4Q9DECv4iZzFCLFuh2WaX2FQjMxnQXXJh4Ljvps5B5nr"

static const kmy_pay_terms_t base = { .name = "base", .pay_to = US };
static const kmy_pay_terms_t solana = {
    .name = "solana", .pay_to = WALLET, .fee_payer = FEE_PAYER, .memo = "for us", .timeout_s = 90
};
static const kmy_pay_terms_t unpaid = { .name = "solana", .pay_to = WALLET };
static const kmy_pay_resource_t tick = { "https://feed.example/v1/tick", "One \"tick\"", NULL };

static kmy_pay_entry_t entry_of(kmy_pay_terms_t terms)
{
    kmy_pay_entry_t e;
    kmy_errctx_t ctx;
    if (kmy_pay_entry_init(&e, &terms, &ctx) != KMY_OK)
        fail_msg("%s", ctx.detail);
    return e;
}

static const struct {
    const kmy_pay_terms_t *terms;
    int version;
    const kmy_pay_resource_t *resource;
    const char *want;
} rows[] = {
    { &base, 1, &tick,
      "{\"scheme\":\"exact\",\"network\":\"base\",\"maxAmountRequired\":\"123\",\"resource\":"
      "\"https://feed.example/v1/tick\",\"description\":\"One \\\"tick\\\"\",\"mimeType\":\"\","
      "\"asset\":\"" USDC "\",\"payTo\":\"" US "\",\"maxTimeoutSeconds\":60,"
      "\"extra\":{\"name\":\"USD Coin\",\"version\":\"2\"}}" },
    { &base, 2, &tick,
      "{\"scheme\":\"exact\",\"network\":\"eip155:8453\",\"amount\":\"123\",\"asset\":\"" USDC
      "\",\"payTo\":\"" US "\",\"maxTimeoutSeconds\":60,"
      "\"extra\":{\"name\":\"USD Coin\",\"version\":\"2\"}}" },
    { &solana, 2, NULL,
      "{\"scheme\":\"exact\",\"network\":\"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp\","
      "\"amount\":\"123\",\"asset\":\"" MINT "\",\"payTo\":\"" WALLET
      "\",\"maxTimeoutSeconds\":90,\"extra\":{\"feePayer\":\"" FEE_PAYER
      "\",\"memo\":\"for us\"}}" },
    { &unpaid, 1, NULL,
      "{\"scheme\":\"exact\",\"network\":\"solana\",\"maxAmountRequired\":\"123\",\"resource\":"
      "\"\","
      "\"description\":\"\",\"mimeType\":\"\",\"asset\":\"" MINT "\",\"payTo\":\"" WALLET
      "\",\"maxTimeoutSeconds\":60,\"extra\":{}}" },
};

static void each_generation_has_its_shape(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[2048];
        kmy_buf_t b = kmy_buf(text, sizeof text - 1);
        kmy_pay_entry_t e = entry_of(*rows[i].terms);
        kmy_pay_entry_put(&b, &e, rows[i].version, "123", rows[i].resource);
        assert_false(b.overflow);
        text[b.len] = 0;
        assert_string_equal(text, rows[i].want);
    }
}

/* A stock facilitator compares what the payer signed for with what we say was offered. */
static void what_is_offered_is_what_a_payment_is_judged_against(void **state)
{
    (void)state;
    static const kmy_pay_resource_t about = { "https://feed.example/x", "data", "text/plain" };
    const int64_t amount_nusd = 123000;
    kmy_pay_way_t way = { .entry = entry_of(base), .in_v1 = true };
    kmy_challenge_t ch = { .ways = &way,
                           .ways_count = 1,
                           .amounts_nusd = &amount_nusd,
                           .amounts_count = 1,
                           .url = about.url,
                           .description = about.description,
                           .mime_type = about.mime_type,
                           .error = "" };
    for (int version = 1; version <= 2; version++) {
        char offer[4096], request[4096], entry[2048];
        kmy_buf_t o = kmy_buf(offer, sizeof offer - 1), r = kmy_buf(request, sizeof request - 1);
        kmy_buf_t e = kmy_buf(entry, sizeof entry - 1);
        kmy_pay_entry_price(&way.entry, 123);
        if (version == 1)
            kmy_challenge_put_v1(&ch, 1, &o);
        else
            kmy_challenge_put_v2(&ch, 1, &o);
        assert_true(kmy_facilitator_request(&r, version, "{}", 2, &way.entry, &about));
        kmy_pay_entry_put(&e, &way.entry, version, "123", &about);
        offer[o.len] = request[r.len] = entry[e.len] = 0;
        assert_non_null(strstr(offer, entry));
        assert_non_null(strstr(request, entry));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_generation_has_its_shape),
        cmocka_unit_test(what_is_offered_is_what_a_payment_is_judged_against),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
