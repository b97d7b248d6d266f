/* engine/config: what a file and the environment may say, and how each refusal reads. */
#include "engine/config.h"

#include "base/clock.h"
#include "base/money.h"
#include "engine/config_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* yaml text -> the error's text (all of it), NULL: accepted */
static const struct {
    const char *yaml, *error;
} refusals[] = {
    /* nothing, and next to nothing, is a legal file */
    { "", NULL },
    { "# only a comment\n", NULL },
    { "---\n", NULL },
    { "sources:\n", NULL },
    { "sources: { binance: {}, pyth: }\n", NULL },
    { "feeds: []\n", NULL },

    /* keys */
    { "data: d\nsources:\n  binance:\n    ulr: x\n",
      "f.yaml:4: sources.binance.ulr: unknown key; did you mean sources.binance.url?" },
    { "Data: d\n", "f.yaml:1: Data: unknown key; did you mean data?" },
    { "connections: 5\n", "f.yaml:1: connections: unknown key; did you mean limits.connections?" },
    { "weather: fine\n", "f.yaml:1: weather: unknown key; kamiyod print-config lists all" },
    { "data: a\ndata: b\n", "f.yaml:2: data: stands twice; first in line 1" },
    { "limits: {}\nring: {}\nlimits: {}\n", "f.yaml:3: limits: stands twice; first in line 1" },
    { "data.x: a\n", "f.yaml:1: 'data.x' is no key" },
    { "[a]: b\n", "f.yaml:1: a key must be a word" },
    { "sources: { pyth: { token: abc } }\n",
      "f.yaml:1: sources.pyth.token: unknown key; secrets come from a file of their own or the "
      "environment, never from here" },

    /* shapes */
    { "- a\n", "f.yaml:1: the file must be one mapping of keys" },
    { "word\n", "f.yaml:1: the file must be one mapping of keys" },
    { "limits: 5\n", "f.yaml:1: limits: wants keys below it, not a value" },
    { "data: [a]\n", "f.yaml:1: data: wants one value, not a list" },
    { "data: {a: b}\n", "f.yaml:1: data: wants one value, not a mapping" },
    { "data:\n", "f.yaml:1: data: has no value; leave the line out for the default, ./data" },
    { "feeds: { name: x }\n", "f.yaml:1: feeds: wants a list of mappings: - {a: b}" },
    { "feeds: [x]\n", "f.yaml:1: feeds[0]: wants a mapping: {a: b}" },
    { "feeds:\n  - { name: A/B }\n  - { required: true }\n",
      "f.yaml:3: feeds[1].name: is missing" },
    { "sources: { binance: { symbols: BTCUSDT } }\n",
      "f.yaml:1: sources.binance.symbols: wants a list: [a, b]" },
    { "sources: { binance: { symbols: [[A]] } }\n",
      "f.yaml:1: sources.binance.symbols: its items must be words" },
    { "data: &a x\n", "f.yaml:1: anchors and aliases (& *) are not accepted" },
    { "data: *a\n", "f.yaml:1: anchors and aliases (& *) are not accepted" },
    { "data: !!str x\n", "f.yaml:1: tags (!) are not accepted" },
    { "data: a\n---\ndata: b\n", "f.yaml:2: a second document (---) is not accepted" },
    { "data: \"a\n", "f.yaml:2: not YAML: found unexpected end of stream" },
    { "data: a\nb\n", "f.yaml:3: not YAML: could not find expected ':'" },
    { "data: a\n\xff\n", "f.yaml:2: not YAML: invalid leading UTF-8 octet" },

    /* numbers, each with its range */
    { "limits: { connections: 0 }\n",
      "f.yaml:1: limits.connections: '0' is out of range; legal: 1 to 1000000" },
    { "limits: { connections: -1 }\n",
      "f.yaml:1: limits.connections: '-1' is no whole number; legal: 1 to 1000000" },
    { "limits: { connections: 99999999999999999999 }\n",
      "f.yaml:1: limits.connections: '99999999999999999999' is no whole number; legal: 1 to "
      "1000000" },
    { "limits: { connections: \"5\" }\n",
      "f.yaml:1: limits.connections: is quoted text; legal: 1 to 1000000" },
    { "limits: { connections: 1_000 }\n",
      "f.yaml:1: limits.connections: '1_000' is no whole number; legal: 1 to 1000000" },
    { "shards: { pin: yes }\n", "f.yaml:1: shards.pin: 'yes' is neither; legal: true or false" },
    { "ring: { slots: 3000 }\n",
      "f.yaml:1: ring.slots: '3000' is no power of two; legal: 1024 to 16777216" },
    { "limits: { lag_ms: 60001 }\n",
      "f.yaml:1: limits.lag_ms: '60001' is out of range; legal: 1 to 60000" },
    { "tokens: { lifetime: 25h }\n",
      "f.yaml:1: tokens.lifetime: '25h' is out of range; legal: 1m to 24h" },
    { "tokens: { lifetime: 59s }\n",
      "f.yaml:1: tokens.lifetime: '59s' is out of range; legal: 1m to 24h" },
    { "tokens: { lifetime: 12 }\n",
      "f.yaml:1: tokens.lifetime: '12' is no duration such as 250ms, 5s, 12h; legal: 1m to 24h" },
    { "tokens: { lifetime: 9223372036854775807h }\n",
      "f.yaml:1: tokens.lifetime: '9223372036854775807h' is no duration such as 250ms, 5s, 12h; "
      "legal: 1m to 24h" },
    { "limits: { frame_bytes: 1MiB }\n",
      "f.yaml:1: limits.frame_bytes: '1MiB' is out of range; legal: 125 to 64KiB" },
    { "limits: { frame_bytes: 64KB }\n",
      "f.yaml:1: limits.frame_bytes: '64KB' is no size such as 65536, 64KiB, 16MiB; "
      "legal: 125 to 64KiB" },
    { "prices: { tick: \"0.0000000001\" }\n",
      "f.yaml:1: prices.tick: '0.0000000001' is too large or has more than nine decimals; "
      "legal: 0 to 1000" },
    { "prices: { tick: \"1e-6\" }\n",
      "f.yaml:1: prices.tick: '1e-6' is no amount of USD such as 0.0001; legal: 0 to 1000" },
    { "prices: { tick: \"-1\" }\n",
      "f.yaml:1: prices.tick: '-1' is no amount of USD such as 0.0001; legal: 0 to 1000" },
    { "prices: { tick: 1000.000000001 }\n",
      "f.yaml:1: prices.tick: '1000.000000001' is out of range; legal: 0 to 1000" },

    /* texts */
    { "data: \"\"\n", "f.yaml:1: data: '' is too short; legal: text, 1 to 511 bytes" },
    { "data: \"a\\0b\"\n", "f.yaml:1: data: 'a?b' is not text; legal: text, 1 to 511 bytes" },
    { "data: \"a\\nb\"\n",
      "f.yaml:1: data: 'a?b' is text with a control character; legal: text, 1 to 511 bytes" },
    { "log_level: loud\n",
      "f.yaml:1: log_level: 'loud' is unknown; legal: one of debug info warn error" },
    { "public: { listen: localhost }\n", "f.yaml:1: public.listen: 'localhost' is no IP address "
                                         "with a port, such as 127.0.0.1:8402 or "
                                         "[::1]:0; legal: IP address and port, 1 to 511 bytes" },
    { "public: { listen: \"127.0.0.1:65536\" }\n",
      "f.yaml:1: public.listen: '127.0.0.1:65536' is no IP address with a port, such as "
      "127.0.0.1:8402 or [::1]:0; legal: IP address and port, 1 to 511 bytes" },
    { "public: { url: \"https://x/?a\" }\n",
      "f.yaml: public.url: is no beginning of an address: leave "
      "out what follows a ? or #" },
    { "public: { url: \"ftp://x\" }\n", "f.yaml:1: public.url: 'ftp://x' is no address of that "
                                        "kind; legal: http https, 0 to 200 bytes" },
    { "sources: { binance: { url: \"wss:///x\" } }\n",
      "f.yaml:1: sources.binance.url: 'wss:///x' is an address without a host; legal: ws wss, 0 to "
      "511 bytes" },
    { "sources: { binance: { url: \"wss://me:pw@h/\" } }\n",
      "f.yaml:1: sources.binance.url: 'wss://me:pw@h/' is an address with a secret in it, which "
      "belongs in a file of its own; legal: ws wss, 0 to 511 bytes" },

    /* lists */
    { "sources: { binance: { symbols: [A, B, A] } }\n",
      "f.yaml:1: sources.binance.symbols: 'A' stands twice in the list" },
    { "sources: { binance: { symbols: [\"A B\"] } }\n",
      "f.yaml:1: sources.binance.symbols: 'A B' is no such name: letters, digits and / - _ . : @ "
      "only; legal: text, 1 to 64 bytes" },
    { "sources: { binance: { streams: [] } }\n",
      "f.yaml:1: sources.binance.streams: has 0 items; legal: 1 to 3" },
    { "sources: { binance: { streams: [depth] } }\n",
      "f.yaml:1: sources.binance.streams: 'depth' is unknown; legal: one of trade aggTrade "
      "bookTicker" },
    { "sources: { binance: { symbols: [] }, pyth: { feeds: [] } }\n", NULL }, /* off */

    /* what no single key can say */
    { "public: { tls_cert: c.pem }\n", "f.yaml: public.tls_cert: TLS wants both "
                                       "public.tls_cert and public.tls_key, or neither" },
    { "lease: { min: \"2\" }\n", "f.yaml: lease.min: is above lease.max" },
    { "lease: { min: \"0.000000001\", max: \"0.0000001\" }\n",
      "f.yaml: lease.max: is below the price of one tick or query: nothing could be sold" },
    { "ring: { slots: 1024 }\nsnapshot: { batch: 257 }\n",
      "f.yaml: snapshot.batch: is above a quarter of ring.slots: the writer would be lapped" },
    { "prices: { tiers: [ { stake: 10, discount: 5 }, { stake: 10, discount: 6 } ] }\n",
      "f.yaml: prices.tiers[1].stake must be above that of the "
      "tier before" },
    { "prices: { tiers: [ { stake: 10 } ] }\n", "f.yaml:1: prices.tiers[0].discount: is missing" },
    { "prices: { tiers: [ { stake: 10, discount: 101 } ] }\n",
      "f.yaml:1: prices.tiers[].discount: '101' is out of range; legal: 0 to 100" },
    { "prices: { tiers: [ { stake: -1, discount: 1 } ] }\n",
      "f.yaml:1: prices.tiers[].stake: '-1' is no whole number; legal: 0 to 1000000000000" },
    { "prices: { stake: { mint: 0xabc } }\n", "f.yaml: prices.stake.mint: is no Solana address" },
    { "prices: { stake: { mint: EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v } }\n",
      "f.yaml: prices.stake.decimals: must be given with prices.stake.mint" },
    { "prices: { stake: { mint: EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v, decimals: 6 } }\n",
      "f.yaml: prices.stake.rpc: must be given: no Solana network of payments.networks has an "
      "rpc" },

    /* what later parts will read is checked already */
    { "sources: { coingecko: { every: \"0s\" } }\n",
      "f.yaml:1: sources.coingecko.every: '0s' is out of range; legal: 1s to 24h" },
    { "payments: { networks: [ { name: base } ] }\n",
      "f.yaml:1: payments.networks[0].pay_to: is missing" },
    { "payments: { networks: [ { name: base, pay_to: \"0x1\" } ] }\n",
      "f.yaml:1: payments.networks[0]: pay_to '0x1' is no address: 0x and 40 hex digits, not all "
      "0" },
    { "payments: { networks: [ { name: base, pay_to: "
      "\"0x70997970c51812dc3A010C7d01b50e0d17dc79C8\" } ] }\n",
      "f.yaml:1: payments.networks[0]: pay_to '0x70997970c51812dc3A010C7d01b50e0d17dc79C8' has the "
      "wrong checksum; if each digit is right, it is 0x70997970C51812dc3A010C7d01b50e0d17dc79C8" },
    { "payments: { networks: [ { name: mine, pay_to: "
      "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\" } ] }\n",
      "f.yaml:1: payments.networks[0]: no network 'mine' is known; known: base, base-sepolia, "
      "ethereum, sepolia, polygon, arbitrum, solana, solana-devnet; else say chain" },
    { "payments: { networks: [ { name: base, chain: \"eip155:1\", pay_to: "
      "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\" } ] }\n",
      "f.yaml:1: payments.networks[0]: chain of the network base is eip155:8453, not eip155:1" },
    { "payments:\n  networks:\n    - { name: base, pay_to: "
      "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\" }\n    - { name: base, pay_to: "
      "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\" }\n",
      "f.yaml:4: payments.networks[1]: is the network of payments.networks[0] again" },
    { "payments: { networks: [ { name: solana, pay_to: abc } ] }\n",
      "f.yaml:1: payments.networks[0]: pay_to 'abc' is no key: 32 bytes in base58" },
    { "sources: { chainlink: { rpc: { base: \"ws://x\" } } }\n",
      "f.yaml:1: sources.chainlink.rpc: 'ws://x' is no address of that kind; legal: http https, 1 "
      "to "
      "511 bytes" },
};

static void each_refusal_names_file_line_key_and_what_is_legal(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        kmy_config_t cfg;
        kmy_errctx_t ctx = { 0 };
        const char *yaml = refusals[i].yaml;
        kmy_err_t err = kmy_config_read(&cfg, "f.yaml", yaml, strlen(yaml), &ctx);
        const char *want = refusals[i].error;
        if (!want && err != KMY_OK)
            fail_msg("%s\nrefused: %s", yaml, ctx.detail);
        if (want && (err != KMY_CONFIG || strncmp(ctx.detail, want, sizeof ctx.detail - 1) != 0))
            fail_msg("%s\nwanted: %s\n   got: %s", yaml, want, err ? ctx.detail : "accepted");
        kmy_config_free(&cfg);
    }
}

static void too_large_and_too_deep_files_are_refused(void **state)
{
    (void)state;
    kmy_config_t cfg;
    kmy_errctx_t ctx = { 0 };
    static char text[KMY_CONFIG_FILE_BYTES_MAX + 1];
    memset(text, '#', sizeof text);
    assert_int_equal(kmy_config_read(&cfg, "f", text, sizeof text, &ctx), KMY_CONFIG);
    assert_string_equal(ctx.detail, "f: is larger than 1048576 bytes");
    assert_int_equal(kmy_config_read(&cfg, "f", text, sizeof text - 1, &ctx), KMY_OK);
    kmy_config_free(&cfg);
    memset(text, '[', sizeof text);
    assert_int_equal(kmy_config_read(&cfg, "f", text, 100000, &ctx), KMY_CONFIG);
    memset(text, '{', sizeof text);
    assert_int_equal(kmy_config_read(&cfg, "f", text, 100000, &ctx), KMY_CONFIG);
}

static void an_empty_file_has_the_contracts_defaults(void **state)
{
    (void)state;
    kmy_config_t cfg;
    assert_int_equal(kmy_config_read(&cfg, "f", "", 0, NULL), KMY_OK);
    assert_string_equal(cfg.public_door.listen, "127.0.0.1:8402");
    assert_string_equal(cfg.admin.listen, "127.0.0.1:8403");
    assert_string_equal(cfg.data, "./data");
    assert_int_equal(cfg.shards.count, 0);
    assert_true(cfg.shards.pin);
    assert_int_equal(cfg.tokens.lifetime_ns, 12 * 3600 * KMY_NS_PER_S);
    assert_string_equal(cfg.binance.url, "wss://data-stream.binance.vision/stream");
    assert_int_equal(cfg.binance.symbols.count, 3);
    assert_string_equal(cfg.binance.symbols.items[2], "SOLUSDT");
    assert_string_equal(cfg.binance.streams.items[1], "bookTicker");
    assert_string_equal(cfg.pyth.url, "wss://hermes.pyth.network/ws");
    assert_string_equal(cfg.pyth.token_env, "KAMIYO_PYTH_TOKEN");
    assert_int_equal(cfg.prices.query_nusd, 100000);
    assert_int_equal(cfg.prices.market_query_nusd, 200000);
    assert_int_equal(cfg.prices.tick_nusd, 1000);
    assert_int_equal(cfg.prices.pass_nusd, 10000000);
    assert_int_equal(cfg.prices.batch_discount_percent, 20);
    assert_int_equal(cfg.prices.batch_from, 10);
    assert_int_equal(cfg.prices.tiers.count, 3); /* and without a mint nobody reaches one */
    assert_int_equal(cfg.prices.tiers.at[1].stake, 10000);
    assert_int_equal(cfg.prices.tiers.at[1].discount_percent, 20);
    assert_string_equal(cfg.prices.stake.mint, "");
    assert_string_equal(kmy_config_stake_rpc(&cfg), "");
    assert_int_equal(cfg.prices.stake.refresh_ns, 300 * KMY_NS_PER_S);
    assert_int_equal(cfg.prices.stake.wait_ns, 500 * KMY_NS_PER_MS);
    assert_int_equal(cfg.prices.stake.keep_ns, 3600 * KMY_NS_PER_S);
    assert_int_equal(cfg.limits.connections, 20000);
    assert_int_equal(cfg.limits.unauthenticated_per_s, 10);
    assert_int_equal(cfg.limits.unauthenticated_burst, 50);
    assert_int_equal(cfg.limits.frame_bytes, 65536);
    assert_int_equal(cfg.limits.lag_ticks, 4096);
    assert_int_equal(cfg.limits.lag_ns, KMY_NS_PER_S);
    assert_int_equal(cfg.limits.auth_timeout_ns, 5 * KMY_NS_PER_S);
    assert_int_equal(cfg.limits.unpaid_grace_ns, 60 * KMY_NS_PER_S);
    assert_int_equal(cfg.limits.stall_timeout_ns, 30 * KMY_NS_PER_S);
    assert_int_equal(cfg.limits.head_timeout_ns, 10 * KMY_NS_PER_S);
    assert_int_equal(cfg.limits.requests_per_min, 100);
    assert_int_equal(cfg.limits.requests_per_hour, 1000);
    assert_int_equal(cfg.feeds_count, 0);
    kmy_config_free(&cfg);
}

/* Section 9 of the contract, with its "..." filled in. */
static const char example[] =
    "public:   { listen: \"127.0.0.1:8402\", url: \"\", tls_cert: \"\", tls_key: \"\" }\n"
    "admin:    { listen: \"127.0.0.1:8403\" }\n"
    "data:     \"./data\"\n"
    "shards:   { count: 0, pin: true }                    # 0: one per core\n"
    "tokens:   { secret_file: \"\", lifetime: \"12h\" }\n"
    "sources:\n"
    "  binance:   { url: \"wss://data-stream.binance.vision/stream\", ca_file: \"\", symbols: "
    "[BTCUSDT, ETHUSDT, SOLUSDT], streams: [trade, bookTicker] }\n"
    "  pyth:      { url: \"wss://hermes.pyth.network/ws\", token_env: \"KAMIYO_PYTH_TOKEN\", "
    "feeds: "
    "[BTC/USD, ETH/USD, SOL/USD], verify: true }\n"
    "  chainlink: { rpc: {ethereum: \"https://a.example\", base: \"https://b.example\"}, feeds: "
    "[BTC/USD, ETH/USD], every: \"15s\" }\n"
    "  coingecko: { url: \"https://api.coingecko.com/api/v3\", every: \"60s\", calls_per_min: 50 "
    "}\n"
    "  defillama: { url: \"https://api.llama.fi\", every: \"300s\" }\n"
    "feeds:\n"
    "  - { name: \"SOL/USD\", aliases: [solana-price], sources: [pyth, chainlink, coingecko], "
    "stale_after: \"5s\", required: true }\n"
    "prices:   { query: \"0.0001\", tick: \"0.000001\", pass: \"0.01\", batch_discount: 20, "
    "batch_from: 10, tiers: [ { stake: 1000, discount: 10 } ] }\n"
    "payments:\n"
    "  facilitator: \"https://c.example\"\n"
    "  networks:\n"
    "    - { name: base, chain: \"eip155:8453\", asset: "
    "\"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913\", asset_name: \"USD Coin\", "
    "asset_version: \"2\", pay_to: \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\", rpc: "
    "\"https://d.example\", confirmations: 1, "
    "min_payment: \"0.0001\" }\n"
    "    - { name: solana, chain: \"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp\", asset: "
    "\"EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v\", pay_to: "
    "\"8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL\", rpc: "
    "\"https://e.example\" }\n"
    "limits:   { connections: 20000, per_address: 0, unauthenticated_per_s: 10, frame_bytes: 65536 "
    "}\n";

static void the_contracts_example_loads(void **state)
{
    (void)state;
    kmy_config_t cfg;
    kmy_errctx_t ctx = { 0 };
    if (kmy_config_read(&cfg, "f", example, sizeof example - 1, &ctx) != KMY_OK)
        fail_msg("%s", ctx.detail);
    assert_int_equal(cfg.feeds_count, 1);
    assert_string_equal(cfg.feeds[0].name, "SOL/USD");
    assert_string_equal(cfg.feeds[0].sources.items[1], "chainlink");
    assert_int_equal(cfg.feeds[0].stale_after_ns, 5 * KMY_NS_PER_S);
    assert_true(cfg.feeds[0].required);
    assert_int_equal(cfg.payments.networks_count, 2);
    assert_int_equal(cfg.payments.networks[0].min_payment_nusd, 100000);
    assert_string_equal(cfg.payments.networks[1].rpc, "https://e.example");
    assert_string_equal(kmy_config_stake_rpc(&cfg), "https://e.example");
    assert_int_equal(cfg.prices.tiers.count, 1); /* the file's, and no others */
    assert_int_equal(cfg.prices.tiers.at[0].stake, 1000);
    assert_string_equal(cfg.payments.facilitator, "https://c.example");
    kmy_config_free(&cfg);
}

static void a_known_network_needs_only_the_address_that_is_paid(void **state)
{
    (void)state;
    static const char text[] =
        "payments: { networks: [ { name: ethereum, pay_to: "
        "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\" }, { name: solana-devnet, pay_to: "
        "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL } ] }\n";
    kmy_config_t cfg;
    kmy_errctx_t ctx = { 0 };
    if (kmy_config_read(&cfg, "f", text, sizeof text - 1, &ctx) != KMY_OK)
        fail_msg("%s", ctx.detail);
    const kmy_config_network_t *n = cfg.payments.networks;
    assert_string_equal(n[0].chain, "eip155:1");
    assert_string_equal(n[0].asset, "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48");
    assert_string_equal(n[0].asset_name, "USD Coin");
    assert_string_equal(n[0].asset_version, "2");
    assert_int_equal(n[0].min_payment_nusd, KMY_NUSD_PER_USD);
    assert_int_equal(n[0].confirmations, 1);
    assert_string_equal(n[1].chain, "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1");
    assert_string_equal(n[1].asset, "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");
    assert_int_equal(n[1].min_payment_nusd, 0);
    kmy_config_free(&cfg);
}

static char *printed(const kmy_config_t *cfg)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    kmy_config_print(cfg, f);
    fclose(f);
    return text;
}

/* A value other than the default for every key that is kept. */
static const char unusual[] =
    "public: { listen: \"[::1]:0\", url: \"https://k.example/x\", deflate: false }\n"
    "admin: { listen: \"0.0.0.0:1\" }\ndata: \"/a \\\"b\\\"\\\\ä\"\nshards: { count: 3, pin: false "
    "}\n"
    "tokens: { secret_file: s, lifetime: 90s }\n"
    "sources:\n  binance: { url: \"ws://b\", ca_file: c, symbols: [X], streams: [aggTrade] }\n"
    "  pyth: { url: \"ws://p\", ca_file: d, token_env: E, token_file: \"t\\\"\\\\x\", feeds: "
    "[A/B], verify: "
    "false }\n"
    "feeds:\n  - { name: A/B, aliases: [x, y], sources: [pyth], stale_after: 250ms, required: true "
    "}\n"
    "  - { name: C/D }\n"
    "prices: { query: 1, market_query: 2.5, tick: \"0.000000001\", pass: 1000, batch_discount: 0, "
    "batch_from: 1, tiers: [ { stake: 0, discount: 0 }, { stake: 7, discount: 100 } ], "
    "stake: { mint: EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v, decimals: 6, rpc: "
    "\"https://k.example/x\", refresh: 100ms, wait: 1s, keep: 2s } }\n"
    "payments: { facilitator: \"http://f\", facilitator_token_env: F, facilitator_token_file: u, "
    "settler_key_file: h, settler_key_env: I, ca_file: g, timeout: 1s, advance: 0.25 }\n"
    "limits: { connections: 1, per_address: 2, unauthenticated_per_s: 3, unauthenticated_burst: 4, "
    "frame_bytes: 1001, feeds_per_connection: 5, auth_timeout: 1h, idle_timeout: 61s, "
    "head_timeout: 10ms, "
    "stall_timeout: 1001ms, unpaid_grace: 2m, drain_window: 3s, lag_ticks: 6, lag_ms: 7, "
    "requests_per_min: 8, "
    "requests_per_hour: 9, messages_per_s: 10, messages_burst: 66, min_bytes_per_s: 1KiB, "
    "trusted_proxies: [10.0.0.0/8, \"2001:db8::1\"] }\n"
    "ring: { slots: 2048, shared: true }\n"
    "snapshot: { history_age: 0s, history_bytes: 3GiB, flush_every: 100us, batch: 10 }\n"
    "lease: { target: 10ms, min: 0.5, max: 600, report_every: 1ms }\nstream: { heartbeat: 100ms, "
    "low_balance: 5s }\nreceipts: { every: 7s }\n"
    "log_level: warn\n";

static void what_print_config_prints_reads_back_the_same(void **state)
{
    (void)state;
    const char *const texts[] = { "", example, unusual };
    for (size_t i = 0; i < 3; i++) {
        kmy_config_t a, b;
        kmy_errctx_t ctx = { 0 };
        if (kmy_config_read(&a, "f", texts[i], strlen(texts[i]), &ctx) != KMY_OK)
            fail_msg("%s", ctx.detail);
        char *once = printed(&a);
        if (kmy_config_read(&b, "f", once, strlen(once), &ctx) != KMY_OK)
            fail_msg("%s\n%s", once, ctx.detail);
        char *twice = printed(&b);
        assert_string_equal(once, twice);
        free(once);
        free(twice);
        kmy_config_free(&a);
        kmy_config_free(&b);
    }
}

static void the_unusual_file_differs_from_the_default_in_every_line(void **state)
{
    (void)state;
    kmy_config_t a, b;
    assert_int_equal(kmy_config_read(&a, "f", "", 0, NULL), KMY_OK);
    assert_int_equal(kmy_config_read(&b, "f", unusual, sizeof unusual - 1, NULL), KMY_OK);
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        const kmy_config_key_t *key = &kmy_config_keys[i];
        if (key->at == KMY_CONFIG_LATER || strchr(key->path, '[') ||
            strncmp(key->path, "public.tls", 10) == 0)
            continue;
        const char *pa = (const char *)&a + key->at, *pb = (const char *)&b + key->at;
        size_t bytes = key->type == KMY_KEY_BOOL   ? 1
                       : key->type == KMY_KEY_TEXT ? strlen(pa) + 1
                                                   : 8;
        if (memcmp(pa, pb, bytes) == 0)
            fail_msg("%s: the test file does not set it", key->path);
    }
    kmy_config_free(&a);
    kmy_config_free(&b);
}

static void print_config_masks_the_secret(void **state)
{
    (void)state;
    kmy_config_t cfg;
    char secret[32];
    setenv("KAMIYO_PYTH_TOKEN", "s3cret-word", 1);
    assert_int_equal(kmy_config_read(&cfg, "f", "", 0, NULL), KMY_OK);
    char *text = printed(&cfg);
    assert_null(strstr(text, "s3cret"));
    assert_non_null(strstr(text, "# secret of sources.pyth: from the environment (masked)"));
    free(text);
    assert_int_equal(kmy_config_pyth_secret(&cfg, secret, sizeof secret, NULL), KMY_OK);
    assert_string_equal(secret, "s3cret-word");
    assert_int_equal(kmy_config_pyth_secret(&cfg, secret, 11, NULL), KMY_CONFIG); /* too long */
    setenv("KAMIYO_PYTH_TOKEN", "two\nlines", 1);
    assert_int_equal(kmy_config_pyth_secret(&cfg, secret, sizeof secret, NULL), KMY_CONFIG);
    unsetenv("KAMIYO_PYTH_TOKEN");
    assert_int_equal(kmy_config_pyth_secret(&cfg, secret, sizeof secret, NULL), KMY_OK);
    assert_string_equal(secret, "");
    kmy_config_free(&cfg);
}

static void each_upstream_has_a_secret_of_its_own(void **state)
{
    (void)state;
    kmy_config_t cfg;
    char secret[32];
    setenv("KAMIYO_FACILITATOR_TOKEN", "f4c-word", 1);
    assert_int_equal(kmy_config_read(&cfg, "f", "", 0, NULL), KMY_OK);
    assert_int_equal(kmy_config_facilitator_secret(&cfg, secret, sizeof secret, NULL), KMY_OK);
    assert_string_equal(secret, "f4c-word");
    char *text = printed(&cfg);
    assert_non_null(strstr(text, "# secret of payments.facilitator: from the environment"));
    assert_null(strstr(text, "f4c-word"));
    free(text);
    unsetenv("KAMIYO_FACILITATOR_TOKEN");
    kmy_config_free(&cfg);
}

static const struct {
    const char *name, *value, *error;
} environment[] = {
    { "KAMIYO_PUBLIC_LISTEN", "127.0.0.1:0", NULL },
    { "KAMIYO_SOURCES_BINANCE_URL", "ws://127.0.0.1:1/stream", NULL },
    { "KAMIYO_SOURCES_BINANCE_SYMBOLS", " BTCUSDT , DOGEUSDT", NULL },
    { "KAMIYO_SOURCES_PYTH_FEEDS", "", NULL }, /* off */
    { "KAMIYO_LIMITS_LAG_TICKS", "12", NULL },
    { "KAMIYO_SOURCES_COINGECKO_EVERY", "5s", NULL },
    { "KAMIYO_LIMITS_TRUSTED_PROXIES", "10.0.0.1,10.0.0.2", NULL },
    { "KAMIYO_PUBLIC_LISTNE", "x", NULL }, /* warned of, not refused */
    { "KAMIYO_LIMITS_LAG_TICKS", "many",
      "environment KAMIYO_LIMITS_LAG_TICKS: limits.lag_ticks: 'many' is no whole number; legal: 1 "
      "to "
      "1048576" },
    { "KAMIYO_SOURCES_BINANCE_SYMBOLS", "A,,B",
      "environment KAMIYO_SOURCES_BINANCE_SYMBOLS: sources.binance.symbols: '' is too short; "
      "legal: "
      "text, 1 to 64 bytes" },
};

static void the_environment_overrides_the_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof environment / sizeof environment[0]; i++) {
        kmy_config_t cfg;
        kmy_errctx_t ctx = { 0 };
        setenv(environment[i].name, environment[i].value, 1);
        kmy_err_t err = kmy_config_load(&cfg, NULL, &ctx);
        const char *want = environment[i].error;
        if (want ? err != KMY_CONFIG || strncmp(ctx.detail, want, sizeof ctx.detail - 1) != 0
                 : err != KMY_OK)
            fail_msg("%s=%s: %s", environment[i].name, environment[i].value, ctx.detail);
        if (i == 0)
            assert_string_equal(cfg.public_door.listen, "127.0.0.1:0");
        if (i == 2) {
            assert_int_equal(cfg.binance.symbols.count, 2);
            assert_string_equal(cfg.binance.symbols.items[1], "DOGEUSDT");
        }
        if (i == 3)
            assert_int_equal(cfg.pyth.feeds.count, 0);
        kmy_config_free(&cfg);
        unsetenv(environment[i].name);
    }
}

static void a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    kmy_config_t cfg;
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(kmy_config_load(&cfg, "/nonexistent/k.yaml", &ctx), KMY_CONFIG);
    assert_string_equal(ctx.detail,
                        "/nonexistent/k.yaml: cannot be opened: No such file or directory");
}

static void a_file_is_read_and_the_environment_wins(void **state)
{
    (void)state;
    char path[] = "/tmp/kmy_test_config.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char text[] = "data: from-file\nlog_level: error\n";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    kmy_config_t cfg;
    setenv("KAMIYO_DATA", "from-environment", 1);
    assert_int_equal(kmy_config_load(&cfg, path, NULL), KMY_OK);
    assert_string_equal(cfg.data, "from-environment");
    assert_string_equal(cfg.log_level, "error");
    kmy_config_free(&cfg);
    unsetenv("KAMIYO_DATA");
    unlink(path);
}

static void every_row_has_a_legal_default_and_a_name_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        const kmy_config_key_t *key = &kmy_config_keys[i];
        assert_ptr_equal(kmy_config_key(key->path), key); /* no path stands twice */
        assert_true(key->help && key->help[0]);
        kmy_errctx_t ctx = { 0 };
        if (key->def && key->type != KMY_KEY_LIST && key->type != KMY_KEY_MAP &&
            kmy_config_set(NULL, key, key->def, strlen(key->def), "table", &ctx) != KMY_OK)
            fail_msg("%s", ctx.detail);
    }
}

static void addresses_are_ip_and_port(void **state)
{
    (void)state;
    struct sockaddr_storage sa;
    socklen_t len;
    assert_true(kmy_config_listen_parse("127.0.0.1:8402", &sa, &len));
    assert_int_equal(((struct sockaddr_in *)&sa)->sin_port, htons(8402));
    assert_true(kmy_config_listen_parse("[::]:0", &sa, &len));
    assert_int_equal(sa.ss_family, AF_INET6);
    static const char *const bad[] = { "",         ":",          ":1",    "1.2.3.4",   "1.2.3.4:",
                                       "1.2.3:1x", "::1:80",     "[]:1",  "[::1]",     "[::1]:-1",
                                       "a:1",      "1.2.3.4:01", "[1]:1", "1.2.3.4: 1" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (kmy_config_listen_parse(bad[i], &sa, &len))
            fail_msg("accepted %s", bad[i]);
}

/* docs/configuration.md is generated; KMY_WRITE_DOCS=1 writes it anew. */
static void the_reference_page_is_up_to_date(void **state)
{
    (void)state;
    static const char path[] = KMY_TESTS_DIR "/../docs/configuration.md";
    char *text = NULL, *have = NULL;
    size_t len = 0, have_len = 0;
    FILE *f = open_memstream(&text, &len);
    kmy_config_reference(f);
    fclose(f);
    if (getenv("KMY_WRITE_DOCS")) {
        f = fopen(path, "w");
        assert_non_null(f);
        fwrite(text, 1, len, f);
        fclose(f);
    }
    f = fopen(path, "r");
    assert_non_null(f);
    ssize_t n = getdelim(&have, &have_len, 0, f);
    fclose(f);
    assert_true(n > 0);
    if ((size_t)n != len || memcmp(have, text, len) != 0)
        fail_msg("docs/configuration.md is old: KMY_WRITE_DOCS=1 build/release/tests/test_config");
    free(text);
    free(have);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_refusal_names_file_line_key_and_what_is_legal),
        cmocka_unit_test(too_large_and_too_deep_files_are_refused),
        cmocka_unit_test(an_empty_file_has_the_contracts_defaults),
        cmocka_unit_test(the_contracts_example_loads),
        cmocka_unit_test(what_print_config_prints_reads_back_the_same),
        cmocka_unit_test(a_known_network_needs_only_the_address_that_is_paid),
        cmocka_unit_test(the_unusual_file_differs_from_the_default_in_every_line),
        cmocka_unit_test(print_config_masks_the_secret),
        cmocka_unit_test(each_upstream_has_a_secret_of_its_own),
        cmocka_unit_test(the_environment_overrides_the_file),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(a_file_is_read_and_the_environment_wins),
        cmocka_unit_test(every_row_has_a_legal_default_and_a_name_of_its_own),
        cmocka_unit_test(addresses_are_ip_and_port),
        cmocka_unit_test(the_reference_page_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
