/* config: one YAML file and the environment to one checked struct.

   One table of keys (config_keys.c) gives validation, environment names (KAMIYO_ + path in upper case, '.' to '_'), print-config and the reference
   page docs/configuration.md.  An unknown key, a wrong type or a value out of range is refused with file, line, key and the legal range.
   Every key has a default.  Secrets never stand in the file: they come from a file of their own or from the environment. */
#ifndef KMY_ENGINE_CONFIG_H
#define KMY_ENGINE_CONFIG_H

#include "base/err.h"
#include "base/limits.h"
#include "pay/stake.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#define KMY_CONFIG_FILE_BYTES_MAX (1 << 20)
#define KMY_CONFIG_DEPTH_MAX      8 /* the deepest legal key has 4 levels */
#define KMY_CONFIG_TEXT_BYTES_MAX 512
#define KMY_CONFIG_LIST_MAX       1024
#define KMY_CONFIG_NETWORKS_MAX   16

typedef char kmy_config_text_t[KMY_CONFIG_TEXT_BYTES_MAX];

typedef struct kmy_config_list { /* of strings; owned by the config */
    char **items;
    size_t count;
} kmy_config_list_t;

typedef struct kmy_config_feed {
    char name[KMY_FEED_NAME_BYTES_MAX];
    kmy_config_list_t aliases;
    kmy_config_list_t sources; /* in order of preference */
    int64_t stale_after_ns;
    bool required;
} kmy_config_feed_t;

/* A network that payments are taken on; what is left out of a known one (pay/network.h) is filled in on loading. */
typedef struct kmy_config_network {
    char name[33], chain[81], asset[81], asset_name[81], asset_version[17], pay_to[81],
        fee_payer[81];
    kmy_config_text_t rpc;
    int64_t confirmations;
    int64_t min_payment_nusd; /* 0: the price */
    int64_t max_fee_gwei;
} kmy_config_network_t;

typedef struct kmy_config {
    struct {
        kmy_config_text_t listen, url, tls_cert, tls_key;
        bool deflate;
    } public_door; /* key prefix "public" */
    struct {
        kmy_config_text_t listen;
    } admin;
    kmy_config_text_t data;
    struct {
        int64_t count; /* 0: one per core */
        bool pin;
    } shards;
    struct {
        kmy_config_text_t secret_file;
        int64_t lifetime_ns;
    } tokens;
    struct {
        kmy_config_text_t url, ca_file;
        kmy_config_list_t symbols, streams;
    } binance; /* "sources.binance" */
    struct {
        kmy_config_text_t url, ca_file, token_env, token_file;
        kmy_config_list_t feeds;
        bool verify;
    } pyth;                   /* "sources.pyth" */
    kmy_config_feed_t *feeds; /* "feeds": additions to what the sources bring by themselves */
    size_t feeds_count;
    struct {
        int64_t query_nusd, market_query_nusd, tick_nusd, pass_nusd;
        int64_t batch_discount_percent, batch_from;
        kmy_tiers_t tiers;
        struct {
            kmy_config_text_t mint, rpc; /* mint "": nobody has a stake */
            int64_t decimals, refresh_ns, wait_ns, keep_ns;
        } stake;
    } prices;
    struct {
        kmy_config_text_t facilitator, facilitator_token_env, facilitator_token_file, ca_file;
        kmy_config_text_t settler_key_file, settler_key_env;
        int64_t timeout_ns;
        int64_t advance_nusd; /* for each payer; 0: none */
        kmy_config_network_t *networks;
        size_t networks_count;
    } payments;
    struct {
        int64_t connections, per_address, unauthenticated_per_s, unauthenticated_burst, frame_bytes,
            feeds_per_connection;
        int64_t auth_timeout_ns, idle_timeout_ns, head_timeout_ns, stall_timeout_ns,
            unpaid_grace_ns, drain_window_ns;
        int64_t lag_ticks, lag_ns;
        int64_t requests_per_min, requests_per_hour;
        int64_t messages_per_s, messages_burst;
        int64_t min_bytes_per_s;
        kmy_config_list_t trusted_proxies;
    } limits;
    struct {
        int64_t slots; /* ticks in the shared ring, a power of two */
        bool shared;   /* also as a file that same-host readers map */
    } ring;
    struct {
        int64_t history_age_ns, history_bytes, flush_every_ns, batch;
    } snapshot;
    struct {
        int64_t target_ns; /* how long a lease should last at the account's present rate */
        int64_t min_nusd, max_nusd;
        int64_t report_every_ns;
    } lease;
    struct {
        int64_t heartbeat_ns;
        int64_t low_balance_ns;
    } stream;
    struct {
        int64_t every_ns; /* 0: only at the end of a subscription, and when asked */
    } receipts;
    kmy_config_text_t log_level; /* debug info warn error */
} kmy_config_t;

/* kmy_config_load: path NULL or "" means defaults and environment only.  *cfg is complete on KMY_OK; on KMY_CONFIG ctx->detail says file, line,
   key, what is wrong and what is legal, and *cfg holds nothing.  Keys that later parts of the program will read are checked and then warned of
   in the log; so is a KAMIYO_ variable that nobody knows.  Blocks (reads files).  kmy_config_free releases the lists. */
kmy_err_t kmy_config_load(kmy_config_t *cfg, const char *path, kmy_errctx_t *ctx);
/* The same from memory and without the environment; `name` stands for the file in errors. */
kmy_err_t kmy_config_read(kmy_config_t *cfg, const char *name, const char *text, size_t len,
                          kmy_errctx_t *ctx);
void kmy_config_free(kmy_config_t *cfg);
/* The node that is asked for stakes; "": there is none. */
const char *kmy_config_stake_rpc(const kmy_config_t *cfg);
/* The effective configuration as YAML that kmy_config_load reads back to the same struct; secrets masked (they stand in no key: a comment says
   whether there is one). */
void kmy_config_print(const kmy_config_t *cfg, FILE *out);
/* docs/configuration.md, generated (kamiyod print-config --reference). */
void kmy_config_reference(FILE *out);

/* An address out of public.listen or admin.listen ("127.0.0.1:8402", "[::1]:0"); false: not of that shape. */
bool kmy_config_listen_parse(const char *text, struct sockaddr_storage *out, socklen_t *len);
/* The bearer for Hermes out of token_file or the variable named by token_env, into out (terminated; "" if there is none); the caller wipes it.
   KMY_CONFIG: the file cannot be read, or the secret is longer than cap - 1 or not one printable word. */
kmy_err_t kmy_config_pyth_secret(const kmy_config_t *cfg, char *out, size_t cap, kmy_errctx_t *ctx);
/* The same for the facilitator. */
kmy_err_t kmy_config_facilitator_secret(const kmy_config_t *cfg, char *out, size_t cap,
                                        kmy_errctx_t *ctx);

#endif
