#include "pay/challenge.h"

#include "pay/network.h"
#include "wire/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#define EVM_PAY_TO    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
#define SOLANA_PAY_TO "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL"
#define FEE_PAYER     "L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95"
#define CENT          INT64_C(10000000)
#define USD           (100 * CENT)
#define URL           "https://feed.example"

static kmy_pay_way_t way(const char *name, int64_t min_nusd)
{
    kmy_pay_way_t w = { .min_payment_nusd = min_nusd, .in_v1 = kmy_pay_network_in_v1(name) };
    bool solana = strncmp(name, "solana", 6) == 0;
    kmy_pay_terms_t terms = { .name = name,
                              .pay_to = solana ? SOLANA_PAY_TO : EVM_PAY_TO,
                              .fee_payer = solana ? FEE_PAYER : NULL };
    kmy_errctx_t ctx = { 0 };
    if (kmy_pay_entry_init(&w.entry, &terms, &ctx) != KMY_OK)
        fail_msg("%s: %s", name, ctx.detail);
    return w;
}

/* The offers as a client would read them. */
typedef struct offers {
    json_t *v1, *v2; /* NULL: none */
    size_t bytes;    /* of what goes over the wire */
} offers_t;

static json_t *header_json(const char *line, size_t len, const char *name)
{
    char text[16384];
    size_t text_len;
    size_t at = strlen(name) + 2;
    assert_memory_equal(line, name, strlen(name));
    assert_memory_equal(line + strlen(name), ": ", 2);
    assert_memory_equal(line + len - 2, "\r\n", 2);
    assert_true(
        kmy_base64_decode(KMY_BASE64_STD, line + at, len - at - 2, text, sizeof text, &text_len));
    json_t *j = json_loadb(text, text_len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    return j;
}

static offers_t read_offers(const kmy_challenge_t *ch, size_t room)
{
    static char text[65536];
    offers_t o = { NULL, NULL, 0 };
    kmy_challenge_cut_t cut = kmy_challenge_fit(ch, room);
    kmy_buf_t b = kmy_buf(text, sizeof text);
    kmy_challenge_put_v1(ch, cut.v1, &b);
    o.bytes = b.len;
    if (cut.v1) {
        b = kmy_buf(text, sizeof text);
        kmy_buf_str(&b, "{");
        kmy_challenge_put_v1(ch, cut.v1, &b);
        kmy_buf_str(&b, "}");
        assert_false(b.overflow);
        o.v1 = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(o.v1);
    }
    if (cut.v2) {
        b = kmy_buf(text, sizeof text);
        kmy_challenge_put_header(ch, cut.v2, &b);
        assert_false(b.overflow);
        o.bytes += b.len;
        o.v2 = header_json(b.data, b.len, "PAYMENT-REQUIRED");
        assert_int_equal(json_array_size(json_object_get(o.v2, "accepts")), cut.v2);
    }
    return o;
}

static void free_offers(offers_t *o)
{
    json_decref(o->v1);
    json_decref(o->v2);
}

static const char *text_at(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    if (!text)
        fail_msg("%s is no string", key);
    return text;
}

/* What the zod rules of x402 1.2.0 ask of an entry. */
static void check_v1(const json_t *offer)
{
    const json_t *accepts = json_object_get(offer, "accepts");
    size_t i;
    const json_t *e;
    assert_int_equal(json_integer_value(json_object_get(offer, "x402Version")), 1);
    assert_true(strlen(text_at(offer, "error")) > 0);
    assert_true(json_array_size(accepts) > 0);
    json_array_foreach(accepts, i, e)
    {
        assert_string_equal(text_at(e, "scheme"), "exact");
        assert_true(kmy_pay_network_in_v1(text_at(e, "network")));
        const char *amount = text_at(e, "maxAmountRequired");
        assert_true(*amount && strspn(amount, "0123456789") == strlen(amount));
        assert_int_equal(strncmp(text_at(e, "resource"), "https://", 8), 0);
        text_at(e, "description");
        text_at(e, "mimeType");
        text_at(e, "payTo");
        text_at(e, "asset");
        assert_true(json_integer_value(json_object_get(e, "maxTimeoutSeconds")) > 0);
        assert_null(json_object_get(e, "outputSchema")); /* null would be refused */
        assert_true(json_is_object(json_object_get(e, "extra")));
        assert_int_equal(json_object_size(e), 10);
    }
}

/* What those of @x402/core 2.27.0 ask. */
static void check_v2(const json_t *offer)
{
    const json_t *accepts = json_object_get(offer, "accepts");
    size_t i;
    const json_t *e;
    assert_int_equal(json_integer_value(json_object_get(offer, "x402Version")), 2);
    assert_true(strlen(text_at(offer, "error")) > 0);
    assert_true(strlen(text_at(json_object_get(offer, "resource"), "url")) > 0);
    assert_true(json_array_size(accepts) > 0);
    json_array_foreach(accepts, i, e)
    {
        assert_string_equal(text_at(e, "scheme"), "exact");
        assert_non_null(strchr(text_at(e, "network"), ':'));
        assert_true(strlen(text_at(e, "amount")) > 0);
        assert_true(strlen(text_at(e, "asset")) > 0);
        assert_true(strlen(text_at(e, "payTo")) > 0);
        assert_true(json_integer_value(json_object_get(e, "maxTimeoutSeconds")) > 0);
        assert_true(json_is_object(json_object_get(e, "extra")));
        assert_int_equal(json_object_size(e), 7);
    }
    const char *name;
    json_t *x;
    json_object_foreach(json_object_get(offer, "extensions"), name, x)
    {
        assert_true(json_is_object(json_object_get(x, "info")));
        assert_true(json_is_object(json_object_get(x, "schema")));
    }
}

/* "base:10000 solana:10000": networks and amounts of an offer, in order. */
static const char *summary(const json_t *offer, const char *amount_key)
{
    static char text[2048];
    size_t i;
    const json_t *e;
    text[0] = '\0';
    json_array_foreach(json_object_get(offer, "accepts"), i, e)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s:%s", i ? " " : "",
                 text_at(e, "network"), text_at(e, amount_key));
    return text;
}

/* networks and amounts -> what is offered */
static const struct {
    const char *networks[4];
    int64_t min_nusd;
    int64_t amounts_nusd[3];
    const char *v1, *v2;
} rows[] = {
    { { "base" }, 0, { 100000 }, "base:100", "eip155:8453:100" },
    { { "base" }, 0, { 100001 }, "base:101", "eip155:8453:101" }, /* up to whole base units */
    { { "base" }, 0, { 1 }, "base:1", "eip155:8453:1" },
    { { "base" }, 250500, { 100000 }, "base:251", "eip155:8453:251" }, /* the least that is taken */
    { { "base" }, 100000, { 250000 }, "base:250", "eip155:8453:250" },
    { { "base" },
      0,
      { 10 * CENT, USD },
      "base:100000 base:1000000",
      "eip155:8453:100000 eip155:8453:1000000" },
    { { "base-sepolia", "solana-devnet" },
      0,
      { 10 * CENT, USD },
      "base-sepolia:100000 solana-devnet:100000 base-sepolia:1000000 solana-devnet:1000000",
      "eip155:84532:100000 solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1:100000 eip155:84532:1000000 "
      "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1:1000000" },
    /* v1 clients do not know ethereum, and would refuse all for it */
    { { "ethereum", "base" }, 0, { 100000 }, "base:100", "eip155:1:100 eip155:8453:100" },
    { { "ethereum" }, USD, { 100000 }, "", "eip155:1:1000000" },
    /* two amounts that a minimum makes one are one offer */
    { { "ethereum" }, USD, { 10 * CENT, USD, 2 * USD }, "", "eip155:1:1000000 eip155:1:2000000" },
};

static size_t make(size_t row, kmy_pay_way_t ways[4], kmy_challenge_t *ch)
{
    size_t n = 0, amounts = 0;
    for (; n < 4 && rows[row].networks[n]; n++)
        ways[n] = way(rows[row].networks[n], rows[row].min_nusd);
    while (amounts < 3 && rows[row].amounts_nusd[amounts])
        amounts++;
    *ch = (kmy_challenge_t){ .ways = ways,
                             .ways_count = n,
                             .amounts_nusd = rows[row].amounts_nusd,
                             .amounts_count = amounts,
                             .url = URL "/v1/deposit",
                             .description = "prepaid balance",
                             .mime_type = "application/json",
                             .error = "payment required",
                             .identifier = true };
    return n;
}

static void networks_and_amounts_make_the_offers_of_both_generations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_pay_way_t ways[4];
        kmy_challenge_t ch;
        make(i, ways, &ch);
        offers_t o = read_offers(&ch, SIZE_MAX);
        assert_string_equal(o.v1 ? summary(o.v1, "maxAmountRequired") : "", rows[i].v1);
        assert_string_equal(summary(o.v2, "amount"), rows[i].v2);
        if (o.v1)
            check_v1(o.v1);
        check_v2(o.v2);
        free_offers(&o);
    }
}

static void an_entry_says_what_its_signer_needs(void **state)
{
    (void)state;
    kmy_pay_way_t ways[] = { way("base", 0), way("base-sepolia", 0), way("solana", 0) };
    int64_t amount = 100000;
    kmy_challenge_t ch = { .ways = ways,
                           .ways_count = 3,
                           .amounts_nusd = &amount,
                           .amounts_count = 1,
                           .url = URL "/v1/ingest-data/batch",
                           .description = "SOL/USD \"now\"",
                           .mime_type = "application/json",
                           .error = "why" };
    const struct {
        const char *network, *key, *value, *key2, *value2, *pay_to;
    } want[] = {
        { "base", "name", "USD Coin", "version", "2", EVM_PAY_TO },
        { "base-sepolia", "name", "USDC", "version", "2", EVM_PAY_TO },
        { "solana", "feePayer", FEE_PAYER, NULL, NULL, SOLANA_PAY_TO },
    };
    offers_t o = read_offers(&ch, SIZE_MAX);
    for (size_t i = 0; i < 3; i++) {
        const json_t *v1 = json_array_get(json_object_get(o.v1, "accepts"), i);
        const json_t *v2 = json_array_get(json_object_get(o.v2, "accepts"), i);
        const json_t *extra = json_object_get(v1, "extra");
        assert_string_equal(text_at(v1, "network"), want[i].network);
        assert_string_equal(text_at(v1, "resource"), ch.url);
        assert_string_equal(text_at(v1, "description"), ch.description);
        assert_string_equal(text_at(v1, "payTo"), want[i].pay_to);
        assert_string_equal(text_at(v1, "asset"), ways[i].entry.asset);
        assert_string_equal(text_at(extra, want[i].key), want[i].value);
        if (want[i].key2)
            assert_string_equal(text_at(extra, want[i].key2), want[i].value2);
        assert_int_equal(json_object_size(extra), want[i].key2 ? 2 : 1);
        assert_true(json_equal(extra, json_object_get(v2, "extra")));
        assert_string_equal(text_at(v2, "payTo"), want[i].pay_to);
    }
    assert_string_equal(text_at(json_object_get(o.v2, "resource"), "url"), ch.url);
    assert_string_equal(text_at(o.v1, "error"), "why");
    assert_null(json_object_get(o.v2, "extensions"));
    free_offers(&o);
}

/* One network of two may be new to v1 clients, one may be Solana: three of them, beside what else a 402 holds. */
static void with_three_networks_an_offer_leaves_room_in_4_kib(void **state)
{
    (void)state;
    enum { OTHERS = 880 }; /* status line, header lines, members of the problem: some 830 */
    const char *const sets[][3] = { { "base", "polygon", "solana" },
                                    { "ethereum", "base", "solana" },
                                    { "base-sepolia", "solana-devnet", "solana" } };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        kmy_pay_way_t ways[] = { way(sets[i][0], 0), way(sets[i][1], 0), way(sets[i][2], 0) };
        int64_t amounts[] = { 10 * CENT, USD };
        kmy_challenge_signin_t signin = {
            "feed.example", URL "/v1/tokens",
            "0123456789abcdef0123456789abcdef0123456789"
            "abcdef0123456789abcdef0123456789abcdef", /* as long as ours are */
            1795257132
        };
        kmy_challenge_t query = { .ways = ways,
                                  .ways_count = 3,
                                  .amounts_nusd = amounts,
                                  .amounts_count = 1,
                                  .url = URL "/v1/ingest-data/batch",
                                  .description = "the newest tick of one feed",
                                  .mime_type = "application/json",
                                  .error = "payment required",
                                  .identifier = true };
        kmy_challenge_t tokens = query;
        tokens.url = URL "/v1/tokens";
        tokens.amounts_count = 2;
        tokens.identifier = false;
        tokens.signin = &signin;
        const kmy_challenge_t *const both[] = { &query, &tokens };
        for (int k = 0; k < 2; k++) {
            offers_t o = read_offers(both[k], 4095 - OTHERS);
            assert_true(o.bytes <= 4095 - OTHERS);
            check_v1(o.v1);
            check_v2(o.v2);
            size_t known = 0; /* each network is offered at the first amount, at least */
            for (int w = 0; w < 3; w++)
                known += ways[w].in_v1;
            assert_in_range(json_array_size(json_object_get(o.v1, "accepts")), known, 2 * known);
            assert_in_range(json_array_size(json_object_get(o.v2, "accepts")), 3, 6);
            free_offers(&o);
        }
    }
}

/* Any room: never more than it, always the offer of v2 first, always a prefix, and more room never means fewer entries. */
static void what_does_not_fit_is_left_out_from_the_end(void **state)
{
    (void)state;
    kmy_pay_way_t ways[] = { way("ethereum", 0), way("base", 0), way("solana", 0) };
    int64_t amounts[] = { 10 * CENT, USD };
    kmy_challenge_t ch = { .ways = ways,
                           .ways_count = 3,
                           .amounts_nusd = amounts,
                           .amounts_count = 2,
                           .url = URL "/v1/deposit",
                           .description = "",
                           .mime_type = "application/json",
                           .error = "payment required" };
    kmy_challenge_cut_t before = { 0, 0 };
    for (size_t room = 0; room < 6000; room++) {
        kmy_challenge_cut_t cut = kmy_challenge_fit(&ch, room);
        assert_true(cut.v1 >= before.v1 && cut.v2 >= before.v2);
        if (cut.v1 == before.v1 && cut.v2 == before.v2)
            continue;
        before = cut;
        assert_true(cut.v2 > 0);
        assert_true(cut.v1 <= 2 || cut.v2 == 6); /* the second amount of v1 comes last */
        offers_t o = read_offers(&ch, room);
        assert_in_range(o.bytes, room - 4, room); /* base64 goes by four */
        free_offers(&o);
    }
    assert_int_equal(before.v1, 4);
    assert_int_equal(before.v2, 6);
}

static void signing_in_is_offered_with_all_that_is_signed(void **state)
{
    (void)state;
    kmy_pay_way_t ways[] = { way("base", 0), way("solana", 0) };
    int64_t amount = 10 * CENT;
    kmy_challenge_signin_t signin = { "feed.example:8402", URL ":8402/v1/tokens", "abcdefgh12",
                                      1795257132 };
    kmy_challenge_t ch = { .ways = ways,
                           .ways_count = 2,
                           .amounts_nusd = &amount,
                           .amounts_count = 1,
                           .url = URL ":8402/v1/tokens",
                           .description = "a token",
                           .mime_type = "application/json",
                           .error = "sign in, or pay",
                           .signin = &signin,
                           .identifier = true };
    offers_t o = read_offers(&ch, SIZE_MAX);
    const json_t *x = json_object_get(json_object_get(o.v2, "extensions"), "sign-in-with-x");
    const json_t *info = json_object_get(x, "info");
    const struct {
        const char *key, *value;
    } want[] = { { "domain", "feed.example:8402" },
                 { "uri", URL ":8402/v1/tokens" },
                 { "version", "1" },
                 { "nonce", "abcdefgh12" },
                 { "issuedAt", "2026-11-21T10:32:12Z" },
                 { "expirationTime", "2026-11-21T10:37:12Z" } };
    check_v2(o.v2);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_string_equal(text_at(info, want[i].key), want[i].value);
    const json_t *chains = json_object_get(x, "supportedChains");
    assert_int_equal(json_array_size(chains), 2);
    assert_string_equal(text_at(json_array_get(chains, 0), "chainId"), "eip155:8453");
    assert_string_equal(text_at(json_array_get(chains, 0), "type"), "eip191");
    assert_string_equal(text_at(json_array_get(chains, 1), "type"), "ed25519");
    const json_t *id = json_object_get(json_object_get(o.v2, "extensions"), "payment-identifier");
    assert_true(json_is_false(json_object_get(json_object_get(id, "info"), "required")));
    free_offers(&o);
}

static void a_receipt_says_what_came_of_the_payment(void **state)
{
    (void)state;
    const struct {
        kmy_pay_receipt_t receipt;
        const char *header, *json;
    } want[] = {
        { { 1, "0xab", "base", "0xCd", NULL },
          "X-PAYMENT-RESPONSE",
          "{\"success\":true,\"transaction\":\"0xab\",\"network\":\"base\",\"payer\":\"0xCd\"}" },
        { { 2, "0xab", "eip155:8453", "0xCd", "" },
          "PAYMENT-RESPONSE",
          "{\"success\":true,\"transaction\":\"0xab\",\"network\":\"eip155:8453\",\"payer\":"
          "\"0xCd\"}" },
        { { 2, "", "eip155:8453", "", "insufficient_funds" },
          "PAYMENT-RESPONSE",
          "{\"success\":false,\"errorReason\":\"insufficient_funds\",\"transaction\":\"\","
          "\"network\":\"eip155:8453\"}" },
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        char line[KMY_RECEIPT_LINE_BYTES_MAX];
        kmy_buf_t b = kmy_buf(line, sizeof line);
        kmy_challenge_put_receipt(&want[i].receipt, &b);
        assert_false(b.overflow);
        json_t *got = header_json(line, b.len, want[i].header);
        json_t *wanted = json_loads(want[i].json, 0, NULL);
        assert_true(json_equal(got, wanted));
        json_decref(got);
        json_decref(wanted);
    }
}

static void the_longest_receipt_fits_its_line(void **state)
{
    (void)state;
    char tx[97], network[81], payer[48], reason[96], line[KMY_RECEIPT_LINE_BYTES_MAX];
    const char *const fills = "t\x01\"\xff"; /* a facilitator may say anything */
    for (int i = 0; fills[i]; i++) {
        memset(tx, fills[i], sizeof tx);
        memset(network, 'n', sizeof network);
        memset(payer, 'p', sizeof payer);
        memset(reason, fills[i], sizeof reason);
        tx[96] = network[80] = payer[47] = reason[95] = '\0';
        kmy_buf_t b = kmy_buf(line, sizeof line);
        kmy_challenge_put_receipt(&(kmy_pay_receipt_t){ 1, tx, network, payer, reason }, &b);
        assert_false(b.overflow);
        json_t *got = header_json(line, b.len, "X-PAYMENT-RESPONSE");
        assert_int_equal(text_at(got, "errorReason")[0], i == 0 ? 't' : '?');
        json_decref(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_and_amounts_make_the_offers_of_both_generations),
        cmocka_unit_test(an_entry_says_what_its_signer_needs),
        cmocka_unit_test(with_three_networks_an_offer_leaves_room_in_4_kib),
        cmocka_unit_test(what_does_not_fit_is_left_out_from_the_end),
        cmocka_unit_test(signing_in_is_offered_with_all_that_is_signed),
        cmocka_unit_test(a_receipt_says_what_came_of_the_payment),
        cmocka_unit_test(the_longest_receipt_fits_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
