#include "engine/config_keys.h"

#include "base/limits.h"
#include "base/nearest.h"

#include <string.h>

#define S       INT64_C(1000000000)
#define MS      INT64_C(1000000)
#define MIN     (60 * S)
#define HOUR    (60 * MIN)
#define DAY     (24 * HOUR)
#define KIB     INT64_C(1024)
#define GIB     (KIB * KIB * KIB)
#define USD     INT64_C(1000000000)
#define BIG     INT64_C(1000000000000)
#define TEXT    (KMY_CONFIG_TEXT_BYTES_MAX - 1)
#define NAME    (KMY_FEED_NAME_BYTES_MAX - 1)
#define AT(m)   offsetof(kmy_config_t, m)
#define FED(m)  offsetof(kmy_config_feed_t, m)
#define NET(m)  offsetof(kmy_config_network_t, m)
#define TIER(m) offsetof(kmy_tier_t, m)
#define LATER   KMY_CONFIG_LATER
#define WS      "ws wss"
#define HTTP    "http https"

/* clang-format off */
const kmy_config_key_t kmy_config_keys[] = {
    /* path, type, shape, where it is kept, default, min, max, words, help */
    { "public.listen", KMY_KEY_TEXT, KMY_SHAPE_LISTEN, AT(public_door.listen), "127.0.0.1:8402", 1, TEXT, 0, "address and port of the public door; port 0: any free port" },
    { "public.url", KMY_KEY_TEXT, KMY_SHAPE_URL, AT(public_door.url), "", 0, 200, HTTP, "how customers reach the public door, which is what offers and sign-ins name; empty: the bound address" },
    { "public.tls_cert", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(public_door.tls_cert), "", 0, TEXT, 0, "certificate chain (PEM file): the public door then speaks TLS 1.2 and 1.3 only; read again on SIGHUP" },
    { "public.tls_key", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(public_door.tls_key), "", 0, TEXT, 0, "private key (PEM file) of tls_cert" },
    { "public.deflate", KMY_KEY_BOOL, KMY_SHAPE_ANY, AT(public_door.deflate), "true", 0, 1, 0, "permessage-deflate (RFC 7692) for WebSocket clients that offer it" },
    { "admin.listen", KMY_KEY_TEXT, KMY_SHAPE_LISTEN, AT(admin.listen), "127.0.0.1:8403", 1, TEXT, 0, "address and port of the admin door (metrics, health, operator verbs)" },
    { "data", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(data), "./data", 1, TEXT, 0, "folder of the ledger, the snapshot store and keys; made at first start (0700)" },
    { "shards.count", KMY_KEY_INT, KMY_SHAPE_ANY, AT(shards.count), "0", 0, KMY_SHARDS_MAX, 0, "serving threads; 0: one per core" },
    { "shards.pin", KMY_KEY_BOOL, KMY_SHAPE_ANY, AT(shards.pin), "true", 0, 1, 0, "tie each shard to a core of its own" },
    { "tokens.secret_file", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(tokens.secret_file), "", 0, TEXT, 0, "file with the key that signs tokens, at least 32 bytes; empty: <data>/token.key, made at first start" },
    { "tokens.lifetime", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(tokens.lifetime_ns), "12h", MIN, DAY, 0, "how long a token is good" },

    { "sources.binance.url", KMY_KEY_TEXT, KMY_SHAPE_URL, AT(binance.url), "wss://data-stream.binance.vision/stream", 0, TEXT, WS, "Binance market streams; empty: this source is off" },
    { "sources.binance.ca_file", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(binance.ca_file), "", 0, TEXT, 0, "CA certificates (PEM) to trust instead of the system's; empty: the system's" },
    { "sources.binance.symbols", KMY_KEY_LIST, KMY_SHAPE_SYMBOL, AT(binance.symbols), "BTCUSDT,ETHUSDT,SOLUSDT", 0, KMY_CONFIG_LIST_MAX, 0, "symbols to subscribe; each is a feed such as BTC/USDT@binance; an empty list turns the source off" },
    { "sources.binance.streams", KMY_KEY_LIST, KMY_SHAPE_WORD, AT(binance.streams), "trade,bookTicker", 1, 3, "trade aggTrade bookTicker", "streams of each symbol" },
    { "sources.pyth.url", KMY_KEY_TEXT, KMY_SHAPE_URL, AT(pyth.url), "wss://hermes.pyth.network/ws", 0, TEXT, WS, "Pyth Hermes WebSocket; empty: this source is off" },
    { "sources.pyth.ca_file", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(pyth.ca_file), "", 0, TEXT, 0, "CA certificates (PEM) to trust instead of the system's; empty: the system's" },
    { "sources.pyth.token_env", KMY_KEY_TEXT, KMY_SHAPE_ENV, AT(pyth.token_env), "KAMIYO_PYTH_TOKEN", 0, 128, 0, "environment variable that holds the bearer token for Hermes" },
    { "sources.pyth.token_file", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(pyth.token_file), "", 0, TEXT, 0, "file that holds the bearer token; wins over token_env" },
    { "sources.pyth.feeds", KMY_KEY_LIST, KMY_SHAPE_FEED, AT(pyth.feeds), "BTC/USD,ETH/USD,SOL/USD", 0, KMY_CONFIG_LIST_MAX, 0, "feeds to subscribe, by name such as BTC/USD; an empty list turns the source off" },
    { "sources.pyth.verify", KMY_KEY_BOOL, KMY_SHAPE_ANY, AT(pyth.verify), "true", 0, 1, 0, "check the signatures of updates; not used yet" },
    { "sources.chainlink.rpc", KMY_KEY_MAP, KMY_SHAPE_URL, LATER, "", 0, 16, HTTP, "JSON-RPC address per chain" },
    { "sources.chainlink.feeds", KMY_KEY_LIST, KMY_SHAPE_FEED, LATER, "", 0, KMY_CONFIG_LIST_MAX, 0, "feeds to poll" },
    { "sources.chainlink.every", KMY_KEY_DURATION, KMY_SHAPE_ANY, LATER, "15s", S, DAY, 0, "polling interval" },
    { "sources.coingecko.url", KMY_KEY_TEXT, KMY_SHAPE_URL, LATER, "https://api.coingecko.com/api/v3", 1, TEXT, HTTP, "CoinGecko REST address" },
    { "sources.coingecko.every", KMY_KEY_DURATION, KMY_SHAPE_ANY, LATER, "60s", S, DAY, 0, "polling interval" },
    { "sources.coingecko.calls_per_min", KMY_KEY_INT, KMY_SHAPE_ANY, LATER, "50", 1, 10000, 0, "call budget" },
    { "sources.defillama.url", KMY_KEY_TEXT, KMY_SHAPE_URL, LATER, "https://api.llama.fi", 1, TEXT, HTTP, "DefiLlama REST address" },
    { "sources.defillama.every", KMY_KEY_DURATION, KMY_SHAPE_ANY, LATER, "300s", S, DAY, 0, "polling interval" },

    { "feeds[].name", KMY_KEY_TEXT, KMY_SHAPE_FEED, FED(name), NULL, 1, NAME, 0, "canonical name, BASE/QUOTE or BASE/QUOTE@venue" },
    { "feeds[].aliases", KMY_KEY_LIST, KMY_SHAPE_FEED, FED(aliases), "", 0, 6, 0, "further names that resolve to it" },
    { "feeds[].sources", KMY_KEY_LIST, KMY_SHAPE_WORD, FED(sources), "", 0, 7, "pyth binance chainlink coingecko defillama coinbase kraken", "sources in order of preference; empty: whatever has it" },
    { "feeds[].stale_after", KMY_KEY_DURATION, KMY_SHAPE_ANY, FED(stale_after_ns), "5s", 10 * MS, DAY, 0, "no tick for so long: the feed is stale" },
    { "feeds[].required", KMY_KEY_BOOL, KMY_SHAPE_ANY, FED(required), "false", 0, 1, 0, "readyz answers 503 while it is stale" },

    { "prices.query", KMY_KEY_MONEY, KMY_SHAPE_ANY, AT(prices.query_nusd), "0.0001", 0, 1000 * USD, 0, "one query of one feed" },
    { "prices.market_query", KMY_KEY_MONEY, KMY_SHAPE_ANY, AT(prices.market_query_nusd), "0.0002", 0, 1000 * USD, 0, "one query of a market overview feed; not used yet" },
    { "prices.tick", KMY_KEY_MONEY, KMY_SHAPE_ANY, AT(prices.tick_nusd), "0.000001", 0, 1000 * USD, 0, "one delivered tick, metered" },
    { "prices.pass", KMY_KEY_MONEY, KMY_SHAPE_ANY, AT(prices.pass_nusd), "0.01", 0, 1000 * USD, 0, "one feed for 24 h, unlimited ticks: a pass" },
    { "prices.batch_discount", KMY_KEY_INT, KMY_SHAPE_ANY, AT(prices.batch_discount_percent), "20", 0, 100, 0, "percent off in a batch" },
    { "prices.batch_from", KMY_KEY_INT, KMY_SHAPE_ANY, AT(prices.batch_from), "10", 1, 100, 0, "delivered items from which a batch is discounted" },
    { "prices.tiers[].stake", KMY_KEY_INT, KMY_SHAPE_ANY, TIER(stake), NULL, 0, BIG, 0, "whole tokens staked, from which on; rows rise" },
    { "prices.tiers[].discount", KMY_KEY_INT, KMY_SHAPE_ANY, TIER(discount_percent), NULL, 0, 100, 0, "percent off every price from that stake; no tiers given: 1000, 10000, 100000 tokens for 10, 20, 30 %" },
    { "prices.stake.mint", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(prices.stake.mint), "", 0, 44, 0, "Solana mint of the token whose holders have the discounts of prices.tiers; empty: nobody has" },
    { "prices.stake.decimals", KMY_KEY_INT, KMY_SHAPE_ANY, AT(prices.stake.decimals), "0", 0, KMY_STAKE_DECIMALS_MAX, 0, "decimals of that token, 1 or more, which must be given with it" },
    { "prices.stake.rpc", KMY_KEY_TEXT, KMY_SHAPE_URL, AT(prices.stake.rpc), "", 0, TEXT, HTTP, "JSON-RPC address of a Solana node that is asked what accounts hold of it; empty: the rpc of the first Solana network of payments.networks" },
    { "prices.stake.refresh", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(prices.stake.refresh_ns), "300s", 100 * MS, DAY, 0, "how long such an answer is good" },
    { "prices.stake.wait", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(prices.stake.wait_ns), "500ms", 0, 20 * S, 0, "how long the first request of an account waits for it; then it goes on at the base price" },
    { "prices.stake.keep", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(prices.stake.keep_ns), "1h", 0, 30 * DAY, 0, "and how much longer it counts while the node cannot be asked" },

    { "payments.facilitator", KMY_KEY_TEXT, KMY_SHAPE_URL, AT(payments.facilitator), "", 0, TEXT, HTTP, "base address of the x402 facilitator that submits payments; empty: none can be taken by header" },
    { "payments.facilitator_token_env", KMY_KEY_TEXT, KMY_SHAPE_ENV, AT(payments.facilitator_token_env), "KAMIYO_FACILITATOR_TOKEN", 0, 128, 0, "environment variable that holds the bearer token for the facilitator, if it wants one" },
    { "payments.facilitator_token_file", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(payments.facilitator_token_file), "", 0, TEXT, 0, "file that holds the bearer token; wins over facilitator_token_env" },
    { "payments.settler_key_file", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(payments.settler_key_file), "", 0, TEXT, 0, "file (0600) with a private key in hex: payments on EVM networks that have an rpc are submitted by its account, without the facilitator" },
    { "payments.settler_key_env", KMY_KEY_TEXT, KMY_SHAPE_ENV, AT(payments.settler_key_env), "KAMIYO_SETTLER_KEY", 0, 128, 0, "environment variable that holds the same; settler_key_file wins over it" },
    { "payments.ca_file", KMY_KEY_TEXT, KMY_SHAPE_ANY, AT(payments.ca_file), "", 0, TEXT, 0, "CA certificates (PEM) to trust for facilitator and chains instead of the system's; empty: the system's" },
    { "payments.timeout", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(payments.timeout_ns), "20s", 10 * MS, MIN, 0, "a payment that is not settled by then is answered as pending; it goes on" },
    { "payments.advance", KMY_KEY_MONEY, KMY_SHAPE_ANY, AT(payments.advance_nusd), "0", 0, 1000 * USD, 0, "most that a payer may have of deposits that are submitted and not settled yet, on networks with an rpc; what it spends of one that then fails is your loss; 0: nothing before the settlement" },
    { "payments.networks[].name", KMY_KEY_TEXT, KMY_SHAPE_ANY, NET(name), NULL, 1, 32, 0, "x402 v1 network name; known: base, base-sepolia, ethereum, sepolia, polygon, arbitrum, solana, solana-devnet" },
    { "payments.networks[].chain", KMY_KEY_TEXT, KMY_SHAPE_ANY, NET(chain), "", 0, 80, 0, "CAIP-2 chain id, eip155:<number> or solana:<genesis>; empty: that of a known network" },
    { "payments.networks[].asset", KMY_KEY_TEXT, KMY_SHAPE_ANY, NET(asset), "", 0, 47, 0, "token contract or mint, of 6 decimals; empty: USDC on a known network" },
    { "payments.networks[].asset_name", KMY_KEY_TEXT, KMY_SHAPE_ANY, NET(asset_name), "", 0, 80, 0, "EIP-712 domain name of the token; empty: that of a known network" },
    { "payments.networks[].asset_version", KMY_KEY_TEXT, KMY_SHAPE_ANY, NET(asset_version), "", 0, 16, 0, "EIP-712 domain version of the token; empty: that of a known network" },
    { "payments.networks[].pay_to", KMY_KEY_TEXT, KMY_SHAPE_ANY, NET(pay_to), NULL, 1, 47, 0, "address that is paid; with letters of both cases its checksum must be right" },
    { "payments.networks[].fee_payer", KMY_KEY_TEXT, KMY_SHAPE_ANY, NET(fee_payer), "", 0, 47, 0, "Solana: who pays the network's fee, never the customer" },
    { "payments.networks[].rpc", KMY_KEY_TEXT, KMY_SHAPE_URL, NET(rpc), "", 0, TEXT, HTTP, "JSON-RPC address of a node that is asked what became of payments; empty: the facilitator is believed" },
    { "payments.networks[].confirmations", KMY_KEY_INT, KMY_SHAPE_ANY, NET(confirmations), "1", 0, 1000, 0, "blocks that a payment must stand in the chain to count, its own the first; 0 is as 1; not for Solana, where commitment confirmed counts" },
    { "payments.networks[].min_payment", KMY_KEY_MONEY, KMY_SHAPE_ANY, NET(min_payment_nusd), "0", 0, 1000 * USD, 0, "smallest payment; 0: the price, on Ethereum 1.00" },
    { "payments.networks[].max_fee_gwei", KMY_KEY_INT, KMY_SHAPE_ANY, NET(max_fee_gwei), "0", 0, 1000000, 0, "most that our own account pays for a unit of gas, in gwei (10^-9) of the chain's coin; 0: Base and Arbitrum 1, Ethereum 10, Polygon 1000, others 20" },

    { "limits.connections", KMY_KEY_INT, KMY_SHAPE_ANY, AT(limits.connections), "20000", 1, 1000000, 0, "open connections at the public door, all shards together" },
    { "limits.per_address", KMY_KEY_INT, KMY_SHAPE_ANY, AT(limits.per_address), "0", 0, 1000000, 0, "open connections of one address (IPv6: of one /64), all shards together, those of trusted_proxies not counted; 0: no limit" },
    { "limits.unauthenticated_per_s", KMY_KEY_INT, KMY_SHAPE_ANY, AT(limits.unauthenticated_per_s), "10", 1, 1000000, 0, "requests of one address (IPv6: of one /64) that end without a valid token, per second, all shards together" },
    { "limits.unauthenticated_burst", KMY_KEY_INT, KMY_SHAPE_ANY, AT(limits.unauthenticated_burst), "50", 1, 1000000, 0, "the same, in one burst" },
    { "limits.trusted_proxies", KMY_KEY_LIST, KMY_SHAPE_NETWORK, AT(limits.trusted_proxies), "", 0, 64, 0, "addresses or networks whose X-Forwarded-For or Forwarded is believed" },
    { "limits.frame_bytes", KMY_KEY_SIZE, KMY_SHAPE_ANY, AT(limits.frame_bytes), "64KiB", 125, KMY_WS_FRAME_BYTES_MAX, 0, "one client message, all its fragments together" },
    { "limits.feeds_per_connection", KMY_KEY_INT, KMY_SHAPE_ANY, AT(limits.feeds_per_connection), "1000", 1, KMY_FEEDS_MAX, 0, "subscriptions of one connection" },
    { "limits.auth_timeout", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(limits.auth_timeout_ns), "5s", 10 * MS, HOUR, 0, "a stream that has not authenticated by then is closed" },
    { "limits.idle_timeout", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(limits.idle_timeout_ns), "60s", 10 * MS, DAY, 0, "an HTTP connection without a request, or a stream without a subscription, is closed" },
    { "limits.head_timeout", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(limits.head_timeout_ns), "10s", 10 * MS, HOUR, 0, "a request must be whole by then" },
    { "limits.stall_timeout", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(limits.stall_timeout_ns), "30s", 10 * MS, HOUR, 0, "a socket that takes no byte for so long is reset" },
    { "limits.unpaid_grace", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(limits.unpaid_grace_ns), "60s", 10 * MS, HOUR, 0, "a stream whose balance is used up is closed after that" },
    { "limits.drain_window", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(limits.drain_window_ns), "10s", 0, 15 * S, 0, "when sessions are to go, their closes are spread over so long, or 10 ms for each connection, whichever is less" },
    { "limits.lag_ticks", KMY_KEY_INT, KMY_SHAPE_ANY, AT(limits.lag_ticks), "4096", 1, 1 << 20, 0, "a cursor further behind belongs to a slow reader" },
    { "limits.lag_ms", KMY_KEY_INT, KMY_SHAPE_MS, AT(limits.lag_ns), "1000", 1, 60000, 0, "the same, in milliseconds" },
    { "limits.requests_per_min", KMY_KEY_INT, KMY_SHAPE_ANY, AT(limits.requests_per_min), "100", 1, 1000000, 0, "requests of one account to routes that cost nothing, per minute, all shards together" },
    { "limits.requests_per_hour", KMY_KEY_INT, KMY_SHAPE_ANY, AT(limits.requests_per_hour), "1000", 1, 1000000000, 0, "the same, per hour" },
    { "limits.messages_per_s", KMY_KEY_INT, KMY_SHAPE_ANY, AT(limits.messages_per_s), "100", 1, 1000000, 0, "messages, pings and pongs of one stream, per second; each further KiB of a message counts as one more" },
    { "limits.messages_burst", KMY_KEY_INT, KMY_SHAPE_ANY, AT(limits.messages_burst), "1000", 65, 1000000, 0, "the same, in one burst" },
    { "limits.min_bytes_per_s", KMY_KEY_SIZE, KMY_SHAPE_ANY, AT(limits.min_bytes_per_s), "128", 0, 1024 * KIB, 0, "a request or message that comes slower is cut when half of head_timeout is over" },

    { "ring.slots", KMY_KEY_INT, KMY_SHAPE_POWER2, AT(ring.slots), "131072", 1024, KMY_RING_SLOTS_MAX, 0, "ticks in the shared ring, 128 bytes each; a power of two" },
    { "ring.shared", KMY_KEY_BOOL, KMY_SHAPE_ANY, AT(ring.shared), "false", 0, 1, 0, "also as a file that readers on the same host map" },
    { "snapshot.history_age", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(snapshot.history_age_ns), "24h", 0, 3650 * DAY, 0, "older ticks are removed; 0s: keep no history" },
    { "snapshot.history_bytes", KMY_KEY_SIZE, KMY_SHAPE_ANY, AT(snapshot.history_bytes), "1GiB", 0, 1024 * GIB, 0, "the oldest ticks are removed above this size" },
    { "snapshot.flush_every", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(snapshot.flush_every_ns), "20ms", MS / 10, MIN, 0, "longest time a tick waits for its transaction" },
    { "snapshot.batch", KMY_KEY_INT, KMY_SHAPE_ANY, AT(snapshot.batch), "2048", 1, 4096, 0, "ticks in one transaction at most" },
    { "lease.target", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(lease.target_ns), "10s", 10 * MS, HOUR, 0, "how long a lease should last at the account's present rate" },
    { "lease.min", KMY_KEY_MONEY, KMY_SHAPE_ANY, AT(lease.min_nusd), "0.001", 1, 1000 * USD, 0, "smallest lease asked for" },
    { "lease.max", KMY_KEY_MONEY, KMY_SHAPE_ANY, AT(lease.max_nusd), "1", 1, 1000 * USD, 0, "largest lease: what a crash can cost the house per account and shard" },
    { "lease.report_every", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(lease.report_every_ns), "5s", MS, MIN, 0, "how often shards report what was consumed" },
    { "stream.heartbeat", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(stream.heartbeat_ns), "15s", 100 * MS, HOUR, 0, "a stream that was quiet so long gets a heartbeat" },
    { "stream.low_balance", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(stream.low_balance_ns), "60s", 0, DAY, 0, "a stream is told once when the balance will not last that long at the present rate; 0s: never" },
    { "receipts.every", KMY_KEY_DURATION, KMY_SHAPE_ANY, AT(receipts.every_ns), "300s", 0, DAY, 0, "how often a stream gets signed receipts; 0s: only at its end and when it asks" },
    { "log_level", KMY_KEY_TEXT, KMY_SHAPE_WORD, AT(log_level), "info", 1, 8, "debug info warn error", "least level that is logged" },
};
/* clang-format on */

const size_t kmy_config_keys_count = sizeof kmy_config_keys / sizeof kmy_config_keys[0];

const kmy_config_key_t *kmy_config_key(const char *path)
{
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        if (strcmp(kmy_config_keys[i].path, path) == 0)
            return &kmy_config_keys[i];
    }
    return NULL;
}

static bool begins(const char *prefix, const char *then)
{
    size_t len = strlen(prefix);
    size_t then_len = strlen(then);
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        const char *path = kmy_config_keys[i].path;
        if (strncmp(path, prefix, len) == 0 && strncmp(path + len, then, then_len) == 0)
            return true;
    }
    return false;
}

bool kmy_config_section(const char *path)
{
    return begins(path, ".");
}

bool kmy_config_records(const char *path)
{
    return begins(path, "[].");
}

const char *kmy_config_key_closest(const char *path)
{
    size_t len = strlen(path);
    unsigned limit = kmy_nearest_limit(len);
    const char *best = NULL;
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        const char *p = kmy_config_keys[i].path;
        unsigned d = kmy_nearest_distance(path, len, p, strlen(p), limit);
        if (d > limit)
            continue;
        best = p;
        if (d == 0)
            break;
        limit = d - 1;
    }
    if (best)
        return best;
    /* The right word in the wrong place: "listen" alone, or "sources.limits.connections". */
    const char *dot = strrchr(path, '.');
    const char *word = dot ? dot + 1 : path;
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        const char *p = kmy_config_keys[i].path;
        const char *last = strrchr(p, '.');
        if (last && strcmp(last + 1, word) == 0)
            return p;
    }
    return NULL;
}

bool kmy_config_env_name(const kmy_config_key_t *key, char out[KMY_CONFIG_PATH_BYTES_MAX])
{
    if (strchr(key->path, '[') || key->type == KMY_KEY_MAP)
        return false;
    static const char prefix[] = "KAMIYO_";
    size_t n = sizeof prefix - 1;
    memcpy(out, prefix, n);
    for (const char *p = key->path; *p; p++) {
        KMY_ASSERT(n + 1 < KMY_CONFIG_PATH_BYTES_MAX);
        out[n++] = *p == '.' ? '_' : (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    }
    out[n] = 0;
    return true;
}
