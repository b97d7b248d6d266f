/* catalog: the feeds that are sold: names, aliases, sources, prices, ids.  Built once at start from configuration and the snapshot store (which
   gives ids), read by every thread afterwards, never changed. */
#ifndef KMY_ENGINE_CATALOG_H
#define KMY_ENGINE_CATALOG_H

#include "base/err.h"
#include "base/limits.h"
#include "base/strmap.h"
#include "engine/config.h"

#include <stdbool.h>
#include <stdint.h>

#define KMY_FEED_ALIASES_MAX 8
#define KMY_FEED_SOURCES_MAX 8

typedef struct kmy_feed {
    char name[KMY_FEED_NAME_BYTES_MAX]; /* canonical: "BTC/USD", "BTC/USDT@binance" */
    uint32_t id;                        /* stable; 0 until kmy_catalog_assign */
    uint32_t idx;                       /* position in the catalog, dense from 0 */
    char aliases[KMY_FEED_ALIASES_MAX][KMY_FEED_NAME_BYTES_MAX];
    uint32_t aliases_count;
    uint8_t sources[KMY_FEED_SOURCES_MAX]; /* kmy_source_t in order of preference */
    uint32_t sources_count;
    uint8_t kind; /* the main kind, for GET /v1/feeds */
    bool required;
    int64_t stale_after_ns;
    int64_t tick_nusd;
    int64_t query_nusd;
    int64_t pass_nusd;
    uint64_t last_offset; /* at start, from the store */
} kmy_feed_t;

/* What a source must be asked for, and which feed it serves. */
typedef struct kmy_upstream_key {
    uint8_t source;
    uint32_t feed_idx;
    char key[80]; /* as the source names it in payloads: "BTCUSDT"; 64 hex digits for Pyth */
} kmy_upstream_key_t;

/* A name or alias, as the search for the nearest one looks at it first: 16 bytes, so that 8,192 of them are passed in 20 us. */
typedef struct kmy_catalog_word {
    uint64_t letters; /* base/nearest.h */
    uint32_t feed_idx;
    uint8_t alias; /* 0: the name itself, else aliases[alias - 1] */
} kmy_catalog_word_t;

typedef struct kmy_catalog {
    kmy_feed_t *feeds; /* owned */
    uint32_t feeds_count;
    kmy_upstream_key_t *keys; /* owned */
    uint32_t keys_count;
    kmy_strmap_t names; /* canonical names and aliases, as given and in canonical spelling -> idx */
    uint32_t *idx_by_id; /* owned; idx_by_id[id], UINT32_MAX: none; ids_max + 1 entries */
    uint32_t ids_max;
    kmy_catalog_word_t *words; /* owned; names before their aliases, in the feeds' order */
    uint32_t words_count;
} kmy_catalog_t;

/* kmy_catalog_build: feeds of binance.symbols ("BTC/USDT@binance", aliases "BTCUSDT", "BTC-USDT@binance"), of pyth.feeds ("BTC/USD", aliases "BTC-USD",
   well-known words such as "bitcoin-price", "solana-price") and the `feeds` section, which adds aliases, sources, staleness and `required`.  KMY_CONFIG with the
   reason when two feeds claim one name or a source has no key for a feed. */
kmy_err_t kmy_catalog_build(kmy_catalog_t *cat, const kmy_config_t *cfg, kmy_errctx_t *ctx);
/* Sets feeds[idx].id for all (ids[idx] from the store) and builds idx_by_id. */
kmy_err_t kmy_catalog_assign(kmy_catalog_t *cat, const uint32_t *ids, kmy_errctx_t *ctx);
/* Sets the prices of all feeds as configured. */
void kmy_catalog_price(kmy_catalog_t *cat, const kmy_config_t *cfg);
void kmy_catalog_free(kmy_catalog_t *cat);

/* Any thread.  Finds by canonical name or alias, case-blind for ASCII, '-' for '/' accepted; NULL: unknown. */
const kmy_feed_t *kmy_catalog_find(const kmy_catalog_t *cat, const char *name, size_t len);
/* The nearest known name to a misspelt one, for error texts; NULL: nothing near.  Looks at every name (2 ns), and compares (about 1 us) with those of
   the same letters but for a few: 25 us of 4,096 feeds, usually; 5 ms, if somebody found the worst name.  For refused requests only. */
const kmy_feed_t *kmy_catalog_closest(const kmy_catalog_t *cat, const char *name, size_t len);
static inline const kmy_feed_t *kmy_catalog_by_id(const kmy_catalog_t *cat, uint32_t id)
{
    return id <= cat->ids_max && cat->idx_by_id && cat->idx_by_id[id] != UINT32_MAX
               ? &cat->feeds[cat->idx_by_id[id]]
               : NULL;
}

#endif
