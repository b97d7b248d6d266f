/* Builds the catalog in three passes: feeds that sources bring, the `feeds` section, then names and upstream keys of all. */
#include "engine/catalog.h"

#include "adapters/binance.h"
#include "adapters/pyth.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/tick.h"

#include <stdlib.h>
#include <string.h>

#define VENUE "@binance"

/* How long a feed may be quiet before it is called stale, unless the `feeds` section says: Pyth updates several times a second; a
   venue's thin symbol may rest for a while without anything being wrong (a guess, to be replaced by each feed's own rhythm). */
#define PYTH_STALE_NS    (5 * KMY_NS_PER_S)
#define BINANCE_STALE_NS (30 * KMY_NS_PER_S)

/* Words of earlier interfaces, kept for ever. */
static const struct {
    const char *word, *name;
} words[] = {
    { "bitcoin-price", "BTC/USD" },    { "ethereum-price", "ETH/USD" },
    { "solana-price", "SOL/USD" },     { "bnb-price", "BNB/USD" },
    { "ripple-price", "XRP/USD" },     { "dogecoin-price", "DOGE/USD" },
    { "cardano-price", "ADA/USD" },    { "avalanche-price", "AVAX/USD" },
    { "chainlink-price", "LINK/USD" }, { "usdc-price", "USDC/USD" },
    { "tether-price", "USDT/USD" },
};

/* The one spelling under which a name is looked up: ASCII upper case, '/' for '-'.  false: empty or too long. */
static bool fold(const char *name, size_t len, char out[KMY_FEED_NAME_BYTES_MAX])
{
    if (len == 0 || len >= KMY_FEED_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        out[i] = (char)(c >= 'a' && c <= 'z' ? c - 32 : c == '-' ? '/' : c);
    }
    out[len] = 0;
    return true;
}

/* BASE/QUOTE is spelt in upper case up to a venue's '@'; names of other shapes (tvl:ethereum) stay as given.  name fits. */
static void canonical(const char *name, char out[KMY_FEED_NAME_BYTES_MAX])
{
    bool pair = strchr(name, '/') != NULL;
    for (; *name; name++) {
        pair = pair && *name != '@';
        *out++ = (char)(pair && *name >= 'a' && *name <= 'z' ? *name - 32 : *name);
    }
    *out = 0;
}

static kmy_feed_t *find_folded(const kmy_catalog_t *cat, const char *folded)
{
    uint32_t idx;
    return kmy_strmap_get(&cat->names, folded, strlen(folded), &idx) ? &cat->feeds[idx] : NULL;
}

/* Claims a name or alias for a feed; the feed's own earlier claim is fine. */
static kmy_err_t claim(kmy_catalog_t *cat, const kmy_feed_t *feed, const char *name,
                       kmy_errctx_t *ctx)
{
    char folded[KMY_FEED_NAME_BYTES_MAX];
    if (!fold(name, strlen(name), folded))
        return KMY_FAIL(ctx, KMY_CONFIG, "'%.60s' is too long for a feed name; limit: %d bytes",
                        name, KMY_FEED_NAME_BYTES_MAX - 1);
    const kmy_feed_t *other = find_folded(cat, folded);
    if (other && other != feed)
        return KMY_FAIL(ctx, KMY_CONFIG, "two feeds claim the name %s: %s and %s", name,
                        other->name, feed->name);
    if (!other && !kmy_strmap_put(&cat->names, folded, strlen(folded), feed->idx))
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    return KMY_OK;
}

/* Claims an alias and lists it; one that is only another spelling of what is known already is not listed. */
static kmy_err_t add_alias(kmy_catalog_t *cat, kmy_feed_t *feed, const char *alias,
                           kmy_errctx_t *ctx)
{
    char folded[KMY_FEED_NAME_BYTES_MAX];
    bool known = fold(alias, strlen(alias), folded) && find_folded(cat, folded) == feed;
    kmy_err_t err = claim(cat, feed, alias, ctx);
    if (err != KMY_OK || known)
        return err;
    if (feed->aliases_count == KMY_FEED_ALIASES_MAX)
        return KMY_FAIL(ctx, KMY_CONFIG, "feed %s has more than %d aliases", feed->name,
                        KMY_FEED_ALIASES_MAX);
    memcpy(feed->aliases[feed->aliases_count++], alias, strlen(alias) + 1);
    return KMY_OK;
}

static void price(kmy_feed_t *feed, const kmy_config_t *cfg)
{
    feed->tick_nusd = cfg->prices.tick_nusd;
    feed->query_nusd = cfg->prices.query_nusd;
    feed->pass_nusd = cfg->prices.pass_nusd;
}

void kmy_catalog_price(kmy_catalog_t *cat, const kmy_config_t *cfg)
{
    for (uint32_t i = 0; i < cat->feeds_count; i++)
        price(&cat->feeds[i], cfg);
}

/* The feed of that canonical name, made if need be. */
static kmy_err_t feed_make(kmy_catalog_t *cat, const kmy_config_t *cfg, const char *name,
                           kmy_feed_t **out, kmy_errctx_t *ctx)
{
    char folded[KMY_FEED_NAME_BYTES_MAX];
    bool fits = fold(name, strlen(name), folded);
    *out = fits ? find_folded(cat, folded) : NULL;
    if (*out)
        return KMY_OK;
    if (cat->feeds_count == KMY_FEEDS_MAX)
        return KMY_FAIL(ctx, KMY_CONFIG, "more than %d feeds", KMY_FEEDS_MAX);
    kmy_feed_t *feed = &cat->feeds[cat->feeds_count];
    *feed = (kmy_feed_t){ .idx = cat->feeds_count,
                          .kind = KMY_KIND_ORACLE,
                          .stale_after_ns = PYTH_STALE_NS };
    price(feed, cfg);
    if (fits)
        canonical(name, feed->name);
    kmy_err_t err = claim(cat, feed, name, ctx);
    if (err != KMY_OK)
        return err;
    cat->feeds_count++;
    *out = feed;
    for (size_t i = 0; i < sizeof words / sizeof words[0] && err == KMY_OK; i++) {
        if (strcmp(words[i].name, feed->name) == 0)
            err = add_alias(cat, feed, words[i].word, ctx);
    }
    return err;
}

static bool has_source(const kmy_feed_t *feed, uint8_t source)
{
    return memchr(feed->sources, source, feed->sources_count) != NULL;
}

static void add_source(kmy_feed_t *feed, uint8_t source)
{
    KMY_ASSERT(feed->sources_count < KMY_FEED_SOURCES_MAX);
    if (!has_source(feed, source))
        feed->sources[feed->sources_count++] = source;
}

/* "BTC/USDT@binance" or "BTC/USDT" -> "BTCUSDT"; false: not a pair, or of another venue. */
static bool binance_symbol(const char *name, char *out, size_t cap)
{
    const char *at = strchr(name, '@');
    const char *slash = strchr(name, '/');
    size_t len = at ? (size_t)(at - name) : strlen(name);
    if (!slash || (at && (strcmp(at, VENUE) != 0 || slash > at)) || len > cap)
        return false;
    size_t head = (size_t)(slash - name);
    memcpy(out, name, head);
    memcpy(out + head, slash + 1, len - head - 1);
    out[len - 1] = 0;
    return true;
}

static kmy_err_t build_binance(kmy_catalog_t *cat, const kmy_config_t *cfg, kmy_errctx_t *ctx)
{
    kmy_err_t err = KMY_OK;
    for (size_t i = 0; i < cfg->binance.symbols.count && err == KMY_OK; i++) {
        const char *symbol = cfg->binance.symbols.items[i];
        char name[KMY_FEED_NAME_BYTES_MAX];
        kmy_feed_t *feed;
        size_t room = sizeof name - (sizeof VENUE - 1);
        if (!kmy_binance_feed_name(symbol, strlen(symbol), name, room))
            return KMY_FAIL(ctx, KMY_CONFIG,
                            "sources.binance.symbols: %.60s ends in no known quote asset", symbol);
        memcpy(name + strlen(name), VENUE, sizeof VENUE);
        err = feed_make(cat, cfg, name, &feed, ctx);
        if (err != KMY_OK)
            return err;
        feed->kind = KMY_KIND_TRADE;
        feed->stale_after_ns = BINANCE_STALE_NS;
        add_source(feed, KMY_SOURCE_BINANCE);
        char folded[KMY_FEED_NAME_BYTES_MAX];
        if (fold(symbol, strlen(symbol), folded))
            err = add_alias(cat, feed, folded, ctx);
    }
    return err;
}

static kmy_err_t build_pyth(kmy_catalog_t *cat, const kmy_config_t *cfg, kmy_errctx_t *ctx)
{
    kmy_err_t err = KMY_OK;
    for (size_t i = 0; i < cfg->pyth.feeds.count && err == KMY_OK; i++) {
        kmy_feed_t *feed;
        err = feed_make(cat, cfg, cfg->pyth.feeds.items[i], &feed, ctx);
        if (err == KMY_OK)
            add_source(feed, KMY_SOURCE_PYTH);
    }
    return err;
}

static bool is_available(uint8_t source)
{
    return source == KMY_SOURCE_PYTH || source == KMY_SOURCE_BINANCE;
}

/* The sources a `feeds` entry asks for, in its order; without any, whatever has the feed. */
static kmy_err_t choose_sources(kmy_feed_t *feed, const kmy_config_feed_t *entry, kmy_errctx_t *ctx)
{
    char hex[65];
    char symbol[KMY_FEED_NAME_BYTES_MAX];
    if (entry->sources.count > 0)
        feed->sources_count = 0;
    for (size_t i = 0; i < entry->sources.count; i++) {
        uint8_t source = kmy_source_by_name(entry->sources.items[i]);
        if (is_available(source))
            add_source(feed, source);
        else
            kmy_log(KMY_LOG_WARN, "catalog", "feed %s: source %s is not available yet", feed->name,
                    entry->sources.items[i]);
    }
    if (feed->sources_count == 0 && entry->sources.count == 0) {
        if (kmy_pyth_feed_id(feed->name, hex))
            add_source(feed, KMY_SOURCE_PYTH);
        else if (strchr(feed->name, '@') && binance_symbol(feed->name, symbol, sizeof symbol))
            add_source(feed, KMY_SOURCE_BINANCE);
    }
    if (feed->sources_count == 0)
        return KMY_FAIL(ctx, KMY_CONFIG, "feed %s: no source of it is available; there are %s",
                        feed->name, "pyth and binance");
    return KMY_OK;
}

static kmy_err_t build_section(kmy_catalog_t *cat, const kmy_config_t *cfg, kmy_errctx_t *ctx)
{
    for (size_t i = 0; i < cfg->feeds_count; i++) {
        const kmy_config_feed_t *entry = &cfg->feeds[i];
        kmy_feed_t *feed;
        for (size_t j = 0; j < i; j++) {
            if (strcmp(cfg->feeds[j].name, entry->name) == 0)
                return KMY_FAIL(ctx, KMY_CONFIG, "feeds: %s stands twice", entry->name);
        }
        kmy_err_t err = feed_make(cat, cfg, entry->name, &feed, ctx);
        if (err == KMY_OK)
            err = choose_sources(feed, entry, ctx);
        for (size_t j = 0; j < entry->aliases.count && err == KMY_OK; j++)
            err = add_alias(cat, feed, entry->aliases.items[j], ctx);
        if (err != KMY_OK)
            return err;
        feed->stale_after_ns = entry->stale_after_ns;
        feed->required = entry->required;
        if (feed->sources[0] == KMY_SOURCE_BINANCE)
            feed->kind = KMY_KIND_TRADE;
    }
    return KMY_OK;
}

/* A key serves one feed: the normalizer counts offsets by feed and looks up by key. */
static kmy_err_t add_key(kmy_catalog_t *cat, kmy_strmap_t *taken, const kmy_feed_t *feed,
                         uint8_t source, const char *key, kmy_errctx_t *ctx)
{
    char unique[96];
    uint32_t idx;
    int n = snprintf(unique, sizeof unique, "%u:%s", source, key);
    KMY_ASSERT(n > 0 && n < (int)sizeof unique);
    if (kmy_strmap_get(taken, unique, (size_t)n, &idx))
        return KMY_FAIL(ctx, KMY_CONFIG, "%s %.64s would feed both %.40s and %.40s",
                        kmy_source_name(source), key, cat->feeds[idx].name, feed->name);
    if (!kmy_strmap_put(taken, unique, (size_t)n, feed->idx))
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    kmy_upstream_key_t *k = &cat->keys[cat->keys_count++];
    *k = (kmy_upstream_key_t){ .source = source, .feed_idx = feed->idx };
    KMY_ASSERT(strlen(key) < sizeof k->key);
    memcpy(k->key, key, strlen(key) + 1);
    return KMY_OK;
}

static const char *upstream_key(const kmy_feed_t *feed, uint8_t source, char hex[65],
                                char symbol[KMY_FEED_NAME_BYTES_MAX])
{
    if (source == KMY_SOURCE_PYTH)
        return kmy_pyth_feed_id(feed->name, hex);
    return binance_symbol(feed->name, symbol, KMY_FEED_NAME_BYTES_MAX) ? symbol : NULL;
}

static kmy_err_t build_keys(kmy_catalog_t *cat, kmy_strmap_t *taken, kmy_errctx_t *ctx)
{
    for (uint32_t i = 0; i < cat->feeds_count; i++) {
        const kmy_feed_t *feed = &cat->feeds[i];
        for (uint32_t j = 0; j < feed->sources_count; j++) {
            char hex[65];
            char symbol[KMY_FEED_NAME_BYTES_MAX];
            const char *key = upstream_key(feed, feed->sources[j], hex, symbol);
            if (!key)
                return KMY_FAIL(ctx, KMY_CONFIG, "feed %s: source %s knows no such feed",
                                feed->name, kmy_source_name(feed->sources[j]));
            kmy_err_t err = add_key(cat, taken, feed, feed->sources[j], key, ctx);
            if (err != KMY_OK)
                return err;
        }
    }
    return KMY_OK;
}

/* Without '/' and '-': where they belong is the commonest doubt ("SOLUSD"), so they do not count as a difference. */
static size_t strip(const char *name, size_t len, char out[KMY_NEAREST_BYTES_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < len && n < KMY_NEAREST_BYTES_MAX; i++) {
        if (name[i] != '/' && name[i] != '-')
            out[n++] = name[i];
    }
    return n;
}

static const char *word_text(const kmy_catalog_t *cat, const kmy_catalog_word_t *w)
{
    const kmy_feed_t *feed = &cat->feeds[w->feed_idx];
    return w->alias ? feed->aliases[w->alias - 1] : feed->name;
}

/* What kmy_catalog_closest looks through. */
static kmy_err_t build_words(kmy_catalog_t *cat, kmy_errctx_t *ctx)
{
    size_t count = 1; /* never zero */
    for (uint32_t i = 0; i < cat->feeds_count; i++)
        count += 1 + cat->feeds[i].aliases_count;
    cat->words = calloc(count, sizeof *cat->words);
    if (!cat->words)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    for (uint32_t i = 0; i < cat->feeds_count; i++) {
        for (uint32_t j = 0; j <= cat->feeds[i].aliases_count; j++) {
            kmy_catalog_word_t *w = &cat->words[cat->words_count++];
            *w = (kmy_catalog_word_t){ .feed_idx = i, .alias = (uint8_t)j };
            char plain[KMY_NEAREST_BYTES_MAX];
            const char *text = word_text(cat, w);
            w->letters = kmy_nearest_letters(plain, strip(text, strlen(text), plain));
        }
    }
    return KMY_OK;
}

kmy_err_t kmy_catalog_build(kmy_catalog_t *cat, const kmy_config_t *cfg, kmy_errctx_t *ctx)
{
    size_t feeds_max = cfg->binance.symbols.count + cfg->pyth.feeds.count + cfg->feeds_count;
    kmy_strmap_t taken;
    memset(cat, 0, sizeof *cat);
    kmy_strmap_init(&cat->names);
    kmy_strmap_init(&taken);
    /* feeds + 1: feed_make fills a slot before it claims the name */
    cat->feeds = calloc(feeds_max + 1, sizeof *cat->feeds);
    cat->keys = calloc((feeds_max + 1) * KMY_FEED_SOURCES_MAX, sizeof *cat->keys);
    kmy_err_t err = cat->feeds && cat->keys ? KMY_OK : KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    if (err == KMY_OK)
        err = build_binance(cat, cfg, ctx);
    if (err == KMY_OK)
        err = build_pyth(cat, cfg, ctx);
    if (err == KMY_OK)
        err = build_section(cat, cfg, ctx);
    if (err == KMY_OK)
        err = build_keys(cat, &taken, ctx);
    if (err == KMY_OK)
        err = build_words(cat, ctx);
    kmy_strmap_fini(&taken);
    if (err != KMY_OK)
        kmy_catalog_free(cat);
    return err;
}

kmy_err_t kmy_catalog_assign(kmy_catalog_t *cat, const uint32_t *ids, kmy_errctx_t *ctx)
{
    uint32_t ids_max = 0;
    for (uint32_t i = 0; i < cat->feeds_count; i++) {
        KMY_ASSERT(ids[i] != 0); /* the store counts from 1 */
        if (ids[i] > ids_max)
            ids_max = ids[i];
    }
    if (ids_max > 64 * KMY_FEEDS_MAX) /* names ever seen by one store; the table is 4 bytes each */
        return KMY_FAIL(ctx, KMY_CORRUPT, "feed id %u is beyond sense; limit: %d", ids_max,
                        64 * KMY_FEEDS_MAX);
    uint32_t *table = malloc(((size_t)ids_max + 1) * sizeof *table);
    if (!table)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    memset(table, 0xff, ((size_t)ids_max + 1) * sizeof *table); /* UINT32_MAX: none */
    for (uint32_t i = 0; i < cat->feeds_count; i++) {
        if (table[ids[i]] != UINT32_MAX) {
            free(table);
            return KMY_FAIL(ctx, KMY_CORRUPT, "two feeds have the id %u", ids[i]);
        }
        table[ids[i]] = i;
        cat->feeds[i].id = ids[i];
    }
    free(cat->idx_by_id);
    cat->idx_by_id = table;
    cat->ids_max = ids_max;
    return KMY_OK;
}

void kmy_catalog_free(kmy_catalog_t *cat)
{
    free(cat->feeds);
    free(cat->keys);
    free(cat->idx_by_id);
    free(cat->words);
    kmy_strmap_fini(&cat->names);
    memset(cat, 0, sizeof *cat);
}

const kmy_feed_t *kmy_catalog_find(const kmy_catalog_t *cat, const char *name, size_t len)
{
    char folded[KMY_FEED_NAME_BYTES_MAX];
    return fold(name, len, folded) ? find_folded(cat, folded) : NULL;
}

const kmy_feed_t *kmy_catalog_closest(const kmy_catalog_t *cat, const char *name, size_t len)
{
    char asked[KMY_NEAREST_BYTES_MAX];
    char known[KMY_NEAREST_BYTES_MAX];
    const kmy_feed_t *best = NULL;
    if (len > KMY_NEAREST_BYTES_MAX)
        return NULL;
    size_t asked_len = strip(name, len, asked);
    uint64_t letters = kmy_nearest_letters(asked, asked_len);
    unsigned limit = kmy_nearest_limit(asked_len);
    for (uint32_t i = 0; i < cat->words_count; i++) {
        const kmy_catalog_word_t *w = &cat->words[i];
        if (kmy_nearest_least(letters, w->letters) > limit)
            continue;
        const char *text = word_text(cat, w);
        size_t known_len = strip(text, strlen(text), known);
        unsigned d = kmy_nearest_distance(asked, asked_len, known, known_len, limit);
        if (d > limit)
            continue;
        best = &cat->feeds[w->feed_idx];
        if (d == 0)
            return best;
        limit = d - 1;
    }
    return best;
}
