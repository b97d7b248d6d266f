/* Reads the file event by event: no tree is built, so what a hostile file can make us allocate is what the table allows it to. */
#include "engine/config.h"

#include "base/log.h"
#include "base/nearest.h"
#include "base/strmap.h"
#include "engine/config_keys.h"
#include "pay/entry.h"
#include "pay/network.h"
#include "wire/base58.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

typedef struct loader {
    kmy_config_t *cfg;
    const char *name; /* of the file, for errors; shortened */
    const char *text;
    yaml_parser_t parser;
    yaml_event_t ev;   /* the current one; owned */
    kmy_strmap_t seen; /* real path -> line, for keys that stand twice */
    kmy_errctx_t *ctx;
    char where[KMY_CONFIG_WHERE_BYTES];
} loader_t;

/* `path` is a row's form ("feeds[].name"), `real` counts ("feeds[3].name"). */
typedef struct place {
    char path[KMY_CONFIG_PATH_BYTES_MAX];
    char real[KMY_CONFIG_PATH_BYTES_MAX + 16];
    int depth;
} place_t;

static kmy_err_t read_value(loader_t *l, void *base, const place_t *at);

static const char *where_at(loader_t *l, size_t line0)
{
    snprintf(l->where, sizeof l->where, "%s:%zu", l->name, line0 + 1);
    return l->where;
}

static const char *where(loader_t *l)
{
    return where_at(l, l->ev.start_mark.line);
}

static kmy_err_t broken_yaml(loader_t *l)
{
    size_t line = l->parser.problem_mark.line;
    if (l->parser.error == YAML_READER_ERROR) { /* bad bytes: no mark, an offset only */
        line = 0;
        for (size_t i = 0; i < l->parser.problem_offset && l->text[i]; i++)
            line += l->text[i] == '\n';
    }
    return kmy_config_fail(l->ctx, where_at(l, line), "", "not YAML: %s",
                           l->parser.problem ? l->parser.problem : "out of memory");
}

/* The next event.  Anchors, aliases and tags are refused here, once for all: this file has no use for them, and an alias is
   how a small file becomes a large one. */
static kmy_err_t advance(loader_t *l)
{
    yaml_event_delete(&l->ev);
    if (!yaml_parser_parse(&l->parser, &l->ev)) {
        l->ev.type = YAML_NO_EVENT;
        return broken_yaml(l);
    }
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    switch (l->ev.type) {
    case YAML_ALIAS_EVENT:
        anchor = l->ev.data.alias.anchor;
        break;
    case YAML_SCALAR_EVENT:
        anchor = l->ev.data.scalar.anchor;
        tag = l->ev.data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = l->ev.data.sequence_start.anchor;
        tag = l->ev.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = l->ev.data.mapping_start.anchor;
        tag = l->ev.data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor)
        return kmy_config_fail(l->ctx, where(l), "", "anchors and aliases (& *) are not accepted");
    if (tag)
        return kmy_config_fail(l->ctx, where(l), "", "tags (!) are not accepted");
    return KMY_OK;
}

static const char *scalar(const loader_t *l, size_t *len)
{
    *len = l->ev.data.scalar.length;
    return (const char *)l->ev.data.scalar.value;
}

static bool is_plain(const loader_t *l)
{
    return l->ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_null(const loader_t *l)
{
    size_t len;
    const char *text = scalar(l, &len);
    return is_plain(l) && (len == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static bool is_secret_word(const char *word)
{
    static const char *const words[] = { "token",  "secret",      "password",
                                         "bearer", "private_key", "api_key" };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i]) == 0)
            return true;
    }
    return false;
}

static kmy_err_t unknown_key(loader_t *l, const place_t *at)
{
    const char *dot = strrchr(at->path, '.');
    if (is_secret_word(dot ? dot + 1 : at->path))
        return kmy_config_fail(l->ctx, where(l), at->real,
                               "unknown key; secrets come from a file of their own or the "
                               "environment, never from here");
    const char *near = kmy_config_key_closest(at->path);
    if (near)
        return kmy_config_fail(l->ctx, where(l), at->real, "unknown key; did you mean %s?", near);
    return kmy_config_fail(l->ctx, where(l), at->real,
                           "unknown key; kamiyod print-config lists all");
}

static void warn_later(const char *at, const char *path)
{
    kmy_log(KMY_LOG_WARN, "config", "%s: %s is checked but not used yet", at, path);
}

/* out = head + "." + word; false if it does not fit. */
static bool join(char *out, size_t cap, const char *head, const char *word, size_t len)
{
    size_t n = strlen(head);
    if (n + len + 2 > cap)
        return false;
    memcpy(out, head, n);
    if (n)
        out[n++] = '.';
    memcpy(out + n, word, len);
    out[n + len] = 0;
    return true;
}

static bool is_key_word(const char *word, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)word[i];
        if (c < 0x21 || c > 0x7e || c == '[' || c == '.')
            return false;
    }
    return len > 0;
}

/* The member that the current event (a key) names, under `at`; refuses what stands twice or fits no key. */
static kmy_err_t member(loader_t *l, const place_t *at, place_t *out)
{
    char shown[64];
    size_t len;
    uint32_t line;
    if (l->ev.type != YAML_SCALAR_EVENT)
        return kmy_config_fail(l->ctx, where(l), at->real, "a key must be a word");
    const char *word = scalar(l, &len);
    if (!is_key_word(word, len) || !join(out->path, sizeof out->path, at->path, word, len) ||
        !join(out->real, sizeof out->real, at->real, word, len))
        return kmy_config_fail(l->ctx, where(l), at->real, "'%s' is no key",
                               kmy_config_shown(word, len, shown));
    out->depth = at->depth + 1;
    size_t real_len = strlen(out->real);
    if (kmy_strmap_get(&l->seen, out->real, real_len, &line))
        return kmy_config_fail(l->ctx, where(l), out->real, "stands twice; first in line %u",
                               line + 1);
    if (!kmy_strmap_put(&l->seen, out->real, real_len, (uint32_t)l->ev.start_mark.line))
        return KMY_FAIL(l->ctx, KMY_INTERNAL, "out of memory");
    return KMY_OK;
}

static kmy_err_t read_mapping(loader_t *l, void *base, const place_t *at)
{
    if (at->depth >= KMY_CONFIG_DEPTH_MAX)
        return kmy_config_fail(l->ctx, where(l), at->real, "nested deeper than %d levels",
                               KMY_CONFIG_DEPTH_MAX);
    for (;;) {
        place_t sub;
        kmy_err_t err = advance(l);
        if (err != KMY_OK || l->ev.type == YAML_MAPPING_END_EVENT)
            return err;
        err = member(l, at, &sub);
        if (err != KMY_OK)
            return err;
        if (!kmy_config_key(sub.path) && !kmy_config_section(sub.path) &&
            !kmy_config_records(sub.path))
            return unknown_key(l, &sub);
        err = advance(l);
        if (err == KMY_OK)
            err = read_value(l, base, &sub);
        if (err != KMY_OK)
            return err;
    }
}

static kmy_err_t read_list(loader_t *l, void *base, const kmy_config_key_t *key)
{
    kmy_config_list_t list = { 0 };
    kmy_err_t err = KMY_OK;
    if (l->ev.type != YAML_SEQUENCE_START_EVENT)
        return kmy_config_fail(l->ctx, where(l), key->path, "wants a list: [a, b]");
    for (;;) {
        size_t len;
        err = advance(l);
        if (err != KMY_OK || l->ev.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (l->ev.type != YAML_SCALAR_EVENT || is_null(l)) {
            err = kmy_config_fail(l->ctx, where(l), key->path, "its items must be words");
            break;
        }
        const char *text = scalar(l, &len);
        err = kmy_config_list_add(&list, key, text, len, where(l), l->ctx);
        if (err != KMY_OK)
            break;
    }
    if (err == KMY_OK)
        err = kmy_config_list_done(&list, key, where(l), l->ctx);
    if (err == KMY_OK && key->at != KMY_CONFIG_LATER) {
        kmy_config_list_t *into = (kmy_config_list_t *)(void *)((char *)base + key->at);
        kmy_config_list_free(into);
        *into = list; /* adopted */
        return KMY_OK;
    }
    kmy_config_list_free(&list);
    return err;
}

/* A mapping of free words to texts; nothing keeps it yet. */
static kmy_err_t read_map(loader_t *l, const kmy_config_key_t *key, const place_t *at)
{
    kmy_config_key_t item = *key;
    item.type = KMY_KEY_TEXT;
    item.min = 1;
    item.max = KMY_CONFIG_TEXT_BYTES_MAX - 1;
    if (l->ev.type != YAML_MAPPING_START_EVENT)
        return kmy_config_fail(l->ctx, where(l), at->real, "wants a mapping: {a: b}");
    for (int64_t count = 0;; count++) {
        place_t sub;
        size_t len;
        kmy_err_t err = advance(l);
        if (err != KMY_OK || l->ev.type == YAML_MAPPING_END_EVENT)
            return err;
        if (count == key->max)
            return kmy_config_fail(l->ctx, where(l), at->real, "has more than %lld members",
                                   (long long)key->max);
        if ((err = member(l, at, &sub)) != KMY_OK || (err = advance(l)) != KMY_OK)
            return err;
        if (l->ev.type != YAML_SCALAR_EVENT)
            return kmy_config_fail(l->ctx, where(l), sub.real, "wants text");
        const char *text = scalar(l, &len);
        if ((err = kmy_config_set(NULL, &item, text, len, where(l), l->ctx)) != KMY_OK)
            return err;
    }
}

/* The defaults of every row under `prefix` ("" : all but records) into base. */
static kmy_err_t set_defaults(void *base, const char *prefix, kmy_errctx_t *ctx)
{
    size_t len = strlen(prefix);
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        const kmy_config_key_t *key = &kmy_config_keys[i];
        if (len ? strncmp(key->path, prefix, len) != 0 : strchr(key->path, '[') != NULL)
            continue;
        if (key->at == KMY_CONFIG_LATER || !key->def)
            continue;
        kmy_err_t err =
            key->type == KMY_KEY_LIST
                ? kmy_config_list_split((kmy_config_list_t *)(void *)((char *)base + key->at), key,
                                        key->def, "default", ctx)
                : kmy_config_set(base, key, key->def, strlen(key->def), "default", ctx);
        if (err != KMY_OK)
            return err;
    }
    return KMY_OK;
}

/* Every row of the record without a default must have been given. */
static kmy_err_t check_required(loader_t *l, const place_t *at, size_t line)
{
    size_t len = strlen(at->path);
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        const kmy_config_key_t *key = &kmy_config_keys[i];
        char real[sizeof at->real + KMY_CONFIG_PATH_BYTES_MAX];
        uint32_t ignored;
        if (key->def || strncmp(key->path, at->path, len) != 0 || key->path[len] != '.')
            continue;
        int n = snprintf(real, sizeof real, "%s%s", at->real, key->path + len);
        if (!kmy_strmap_get(&l->seen, real, (size_t)n, &ignored))
            return kmy_config_fail(l->ctx, where_at(l, line), real, "is missing");
    }
    return KMY_OK;
}

static kmy_err_t new_feed(loader_t *l, void **base)
{
    kmy_config_t *cfg = l->cfg;
    if (cfg->feeds_count >= KMY_FEEDS_MAX)
        return kmy_config_fail(l->ctx, where(l), "feeds", "has more than %d items", KMY_FEEDS_MAX);
    kmy_config_feed_t *grown = realloc(cfg->feeds, (cfg->feeds_count + 1) * sizeof *grown);
    if (!grown)
        return KMY_FAIL(l->ctx, KMY_INTERNAL, "out of memory");
    cfg->feeds = grown;
    kmy_config_feed_t *feed = &grown[cfg->feeds_count++];
    memset(feed, 0, sizeof *feed);
    *base = feed;
    return set_defaults(feed, "feeds[].", l->ctx);
}

static kmy_err_t new_network(loader_t *l, void **base)
{
    kmy_config_t *cfg = l->cfg;
    size_t count = cfg->payments.networks_count;
    if (count >= KMY_CONFIG_NETWORKS_MAX)
        return kmy_config_fail(l->ctx, where(l), "payments.networks", "has more than %d items",
                               KMY_CONFIG_NETWORKS_MAX);
    kmy_config_network_t *grown = realloc(cfg->payments.networks, (count + 1) * sizeof *grown);
    if (!grown)
        return KMY_FAIL(l->ctx, KMY_INTERNAL, "out of memory");
    cfg->payments.networks = grown;
    cfg->payments.networks_count = count + 1;
    memset(&grown[count], 0, sizeof grown[count]);
    *base = &grown[count];
    return set_defaults(&grown[count], "payments.networks[].", l->ctx);
}

/* What a known network need not say is filled in; what an offer could not be made of is refused here, with its line. */
static kmy_err_t finish_network(loader_t *l, kmy_config_network_t *n, const char *real, size_t line)
{
    const kmy_config_t *cfg = l->cfg;
    kmy_pay_entry_t entry;
    kmy_errctx_t why = { 0 };
    kmy_pay_terms_t terms = {
        n->name,      n->chain, n->asset, n->asset_name, n->asset_version, n->pay_to,
        n->fee_payer, NULL,     0
    };
    if (kmy_pay_entry_init(&entry, &terms, &why) != KMY_OK)
        return kmy_config_fail(l->ctx, where_at(l, line), real, "%s", why.detail);
    memcpy(n->chain, entry.chain, sizeof entry.chain);
    memcpy(n->asset, entry.asset, sizeof entry.asset);
    memcpy(n->asset_name, entry.asset_name, sizeof entry.asset_name);
    memcpy(n->asset_version, entry.asset_version, sizeof entry.asset_version);
    for (size_t i = 0; i + 1 < cfg->payments.networks_count; i++)
        if (strcmp(cfg->payments.networks[i].name, n->name) == 0 ||
            strcmp(cfg->payments.networks[i].chain, n->chain) == 0)
            return kmy_config_fail(l->ctx, where_at(l, line), real,
                                   "is the network of payments.networks[%zu] again", i);
    const kmy_pay_network_t *known = kmy_pay_network(n->name);
    if (known && n->min_payment_nusd == 0)
        n->min_payment_nusd = known->min_payment_nusd;
    if (n->max_fee_gwei == 0)
        n->max_fee_gwei = known ? known->max_fee_gwei : KMY_PAY_MAX_FEE_GWEI;
    return KMY_OK;
}

static kmy_err_t new_tier(loader_t *l, void **base)
{
    kmy_tiers_t *tiers = &l->cfg->prices.tiers;
    if (tiers->count >= KMY_TIERS_MAX)
        return kmy_config_fail(l->ctx, where(l), "prices.tiers", "has more than %d items",
                               KMY_TIERS_MAX);
    *base = &tiers->at[tiers->count++];
    return KMY_OK;
}

static kmy_err_t read_records(loader_t *l, const place_t *at)
{
    bool feeds = strcmp(at->path, "feeds") == 0;
    bool networks = strcmp(at->path, "payments.networks") == 0;
    if (l->ev.type != YAML_SEQUENCE_START_EVENT)
        return kmy_config_fail(l->ctx, where(l), at->real, "wants a list of mappings: - {a: b}");
    if (!feeds && !networks) /* tiers: those of the house give way */
        l->cfg->prices.tiers = (kmy_tiers_t){ .count = 0 };
    for (size_t i = 0;; i++) {
        void *base = NULL;
        place_t sub = { .depth = at->depth + 1 };
        kmy_err_t err = advance(l);
        if (err != KMY_OK || l->ev.type == YAML_SEQUENCE_END_EVENT)
            return err;
        int n = snprintf(sub.path, sizeof sub.path, "%s[]", at->path);
        int m = snprintf(sub.real, sizeof sub.real, "%s[%zu]", at->real, i);
        KMY_ASSERT(n < (int)sizeof sub.path);
        KMY_ASSERT(m < (int)sizeof sub.real);
        if (l->ev.type != YAML_MAPPING_START_EVENT)
            return kmy_config_fail(l->ctx, where(l), sub.real, "wants a mapping: {a: b}");
        size_t line = l->ev.start_mark.line;
        if (feeds)
            err = new_feed(l, &base);
        else if (networks)
            err = new_network(l, &base);
        else
            err = new_tier(l, &base);
        if (err == KMY_OK)
            err = read_mapping(l, base, &sub);
        if (err == KMY_OK)
            err = check_required(l, &sub, line);
        if (err == KMY_OK && networks)
            err = finish_network(l, base, sub.real, line);
        if (err != KMY_OK)
            return err;
    }
}

static kmy_err_t read_scalar(loader_t *l, void *base, const kmy_config_key_t *key,
                             const place_t *at)
{
    size_t len;
    if (l->ev.type != YAML_SCALAR_EVENT)
        return kmy_config_fail(l->ctx, where(l), at->real, "wants one value, not a %s",
                               l->ev.type == YAML_MAPPING_START_EVENT ? "mapping" : "list");
    if (is_null(l))
        return kmy_config_fail(l->ctx, where(l), at->real,
                               "has no value; leave the line out for the default, %s",
                               key->def && *key->def ? key->def : "\"\"");
    const char *text = scalar(l, &len);
    if ((key->type == KMY_KEY_INT || key->type == KMY_KEY_BOOL) && !is_plain(l)) {
        char range[128];
        kmy_config_range_text(key, range, sizeof range);
        return kmy_config_fail(l->ctx, where(l), at->real, "is quoted text; legal: %s", range);
    }
    return kmy_config_set(base, key, text, len, where(l), l->ctx);
}

static kmy_err_t read_value(loader_t *l, void *base, const place_t *at)
{
    const kmy_config_key_t *key = kmy_config_key(at->path);
    if (key) {
        if (key->at == KMY_CONFIG_LATER && !strchr(key->path, '['))
            warn_later(where(l), key->path);
        if (key->type == KMY_KEY_LIST)
            return read_list(l, base, key);
        return key->type == KMY_KEY_MAP ? read_map(l, key, at) : read_scalar(l, base, key, at);
    }
    if (l->ev.type == YAML_SCALAR_EVENT && is_null(l)) /* "sources:" and nothing under it */
        return KMY_OK;
    if (kmy_config_records(at->path))
        return read_records(l, at);
    if (l->ev.type != YAML_MAPPING_START_EVENT)
        return kmy_config_fail(l->ctx, where(l), at->real, "wants keys below it, not a value");
    return read_mapping(l, base, at);
}

static kmy_err_t read_document(loader_t *l)
{
    kmy_err_t err = advance(l); /* stream start */
    if (err == KMY_OK)
        err = advance(l);
    if (err != KMY_OK || l->ev.type == YAML_STREAM_END_EVENT) /* an empty file: all defaults */
        return err;
    if ((err = advance(l)) != KMY_OK)
        return err;
    place_t root = { 0 };
    if (l->ev.type == YAML_MAPPING_START_EVENT)
        err = read_mapping(l, l->cfg, &root);
    else if (l->ev.type != YAML_SCALAR_EVENT || !is_null(l))
        err = kmy_config_fail(l->ctx, where(l), "", "the file must be one mapping of keys");
    if (err != KMY_OK || (err = advance(l)) != KMY_OK || (err = advance(l)) != KMY_OK)
        return err;
    if (l->ev.type != YAML_STREAM_END_EVENT)
        return kmy_config_fail(l->ctx, where(l), "", "a second document (---) is not accepted");
    return KMY_OK;
}

const char *kmy_config_stake_rpc(const kmy_config_t *cfg)
{
    const char *rpc = cfg->prices.stake.rpc;
    for (size_t i = 0; i < cfg->payments.networks_count && !rpc[0]; i++) {
        const kmy_config_network_t *n = &cfg->payments.networks[i];
        if (strncmp(n->chain, "solana:", 7) == 0)
            rpc = n->rpc;
    }
    return rpc;
}

/* Without a mint nobody is asked for anything. */
static kmy_err_t check_stakes(const kmy_config_t *cfg, const char *name, kmy_errctx_t *ctx)
{
    uint8_t mint[KMY_SOLANA_KEY_BYTES];
    const char *text = cfg->prices.stake.mint;
    kmy_errctx_t why = { 0 };
    if (kmy_tiers_check(&cfg->prices.tiers, &why) != KMY_OK)
        return KMY_FAIL(ctx, KMY_CONFIG, "%s: %s", name, why.detail);
    if (!text[0])
        return KMY_OK;
    if (!kmy_base58_decode(text, strlen(text), mint, sizeof mint))
        return kmy_config_fail(ctx, name, "prices.stake.mint", "is no Solana address");
    if (cfg->prices.stake.decimals == 0)
        return kmy_config_fail(ctx, name, "prices.stake.decimals",
                               "must be given with prices.stake.mint");
    if (!kmy_config_stake_rpc(cfg)[0])
        return kmy_config_fail(ctx, name, "prices.stake.rpc",
                               "must be given: no Solana network of payments.networks has an rpc");
    return KMY_OK;
}

/* What no single row can say. */
static kmy_err_t check_together(const kmy_config_t *cfg, const char *name, kmy_errctx_t *ctx)
{
    if (!cfg->public_door.tls_cert[0] != !cfg->public_door.tls_key[0])
        return kmy_config_fail(ctx, name, "public.tls_cert",
                               "TLS wants both public.tls_cert and public.tls_key, or neither");
    if (strpbrk(cfg->public_door.url, "?#\"\\"))
        return kmy_config_fail(ctx, name, "public.url",
                               "is no beginning of an address: leave out what follows a ? or #");
    if (cfg->lease.min_nusd > cfg->lease.max_nusd)
        return kmy_config_fail(ctx, name, "lease.min", "is above lease.max");
    if (cfg->lease.max_nusd < cfg->prices.tick_nusd || cfg->lease.max_nusd < cfg->prices.query_nusd)
        return kmy_config_fail(ctx, name, "lease.max",
                               "is below the price of one tick or query: nothing could be sold");
    if (cfg->snapshot.batch > cfg->ring.slots / 4)
        return kmy_config_fail(ctx, name, "snapshot.batch",
                               "is above a quarter of ring.slots: the writer would be lapped");
    return check_stakes(cfg, name, ctx);
}

static const char *short_name(const char *path)
{
    size_t len = strlen(path);
    return len > 60 ? path + len - 60 : path;
}

static kmy_err_t read_text(kmy_config_t *cfg, const char *name, const char *text, size_t len,
                           kmy_errctx_t *ctx)
{
    if (len > KMY_CONFIG_FILE_BYTES_MAX)
        return kmy_config_fail(ctx, name, "", "is larger than %d bytes", KMY_CONFIG_FILE_BYTES_MAX);
    loader_t l = { .cfg = cfg, .name = name, .text = text, .ctx = ctx };
    if (!yaml_parser_initialize(&l.parser))
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&l.parser, (const unsigned char *)text, len);
    kmy_strmap_init(&l.seen);
    kmy_err_t err = read_document(&l);
    yaml_event_delete(&l.ev);
    yaml_parser_delete(&l.parser);
    kmy_strmap_fini(&l.seen);
    return err;
}

static kmy_err_t finish(kmy_config_t *cfg, const char *name, kmy_err_t err, kmy_errctx_t *ctx)
{
    if (err == KMY_OK)
        err = check_together(cfg, name, ctx);
    if (err != KMY_OK)
        kmy_config_free(cfg);
    return err;
}

kmy_err_t kmy_config_read(kmy_config_t *cfg, const char *name, const char *text, size_t len,
                          kmy_errctx_t *ctx)
{
    memset(cfg, 0, sizeof *cfg);
    kmy_err_t err = set_defaults(cfg, "", ctx);
    KMY_ASSERT(err == KMY_OK); /* the table's own defaults are legal */
    cfg->prices.tiers = kmy_tiers_default();
    err = read_text(cfg, short_name(name), text, len, ctx);
    return finish(cfg, short_name(name), err, ctx);
}

static kmy_err_t read_environment(kmy_config_t *cfg, kmy_errctx_t *ctx)
{
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        const kmy_config_key_t *key = &kmy_config_keys[i];
        char name[KMY_CONFIG_PATH_BYTES_MAX];
        char at[KMY_CONFIG_PATH_BYTES_MAX + 16];
        const char *text = kmy_config_env_name(key, name) ? getenv(name) : NULL;
        if (!text)
            continue;
        snprintf(at, sizeof at, "environment %s", name);
        kmy_err_t err;
        if (key->at == KMY_CONFIG_LATER)
            warn_later(at, key->path);
        if (key->type == KMY_KEY_LIST) {
            kmy_config_list_t none = { 0 };
            bool kept = key->at != KMY_CONFIG_LATER;
            kmy_config_list_t *list =
                kept ? (kmy_config_list_t *)(void *)((char *)cfg + key->at) : &none;
            err = kmy_config_list_split(list, key, text, at, ctx);
            kmy_config_list_free(&none);
        } else {
            err = kmy_config_set(cfg, key, text, strlen(text), at, ctx);
        }
        if (err != KMY_OK)
            return err;
    }
    return KMY_OK;
}

/* A variable that looks like ours and is nobody's is most likely a typing error, but may also belong to some other program's
   idea of a name: warn, do not refuse. */
static void warn_unknown_environment(const kmy_config_t *cfg)
{
    static const char *const others[] = { "KAMIYO_URL", "KAMIYO_TOKEN", "KAMIYO_ADMIN",
                                          "KAMIYO_ADMIN_TOKEN", "KAMIYO_CAPTURES" };
    for (char **e = environ; *e; e++) {
        size_t len = strcspn(*e, "=");
        char name[KMY_CONFIG_PATH_BYTES_MAX];
        char near[KMY_CONFIG_PATH_BYTES_MAX] = "";
        if (strncmp(*e, "KAMIYO_", 7) != 0 || len >= sizeof name)
            continue;
        memcpy(name, *e, len);
        name[len] = 0;
        bool known = strcmp(name, cfg->pyth.token_env) == 0 ||
                     strcmp(name, cfg->payments.facilitator_token_env) == 0 ||
                     strcmp(name, cfg->payments.settler_key_env) == 0;
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            known = known || strcmp(name, others[i]) == 0;
        unsigned limit = kmy_nearest_limit(len);
        for (size_t i = 0; i < kmy_config_keys_count && !known; i++) {
            char legal[KMY_CONFIG_PATH_BYTES_MAX];
            if (!kmy_config_env_name(&kmy_config_keys[i], legal))
                continue;
            unsigned d = kmy_nearest_distance(name, len, legal, strlen(legal), limit);
            known = d == 0;
            if (d <= limit)
                memcpy(near, legal, sizeof near);
        }
        if (!known)
            kmy_log(KMY_LOG_WARN, "config", "environment %s is not known and not used%s%s%s", name,
                    near[0] ? "; did you mean " : "", near, near[0] ? "?" : "");
    }
}

/* The whole file; *out is the caller's to free. */
static kmy_err_t slurp(const char *path, size_t max, char **out, size_t *len, kmy_errctx_t *ctx)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return KMY_FAIL_SYS(ctx, KMY_CONFIG, "%s: cannot be opened: %s", short_name(path),
                            strerror(errno));
    char *text = malloc(max + 2);
    size_t n = 0;
    ssize_t got = text ? 1 : -1;
    while (got > 0 && n <= max) {
        got = read(fd, text + n, max + 1 - n);
        if (got > 0)
            n += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    int saved = errno;
    close(fd);
    if (got < 0 || n > max) {
        free(text);
        return kmy_config_fail(ctx, short_name(path), "", "%s",
                               got < 0 ? strerror(saved) : "larger than the limit of 1 MiB");
    }
    text[n] = 0;
    *out = text;
    *len = n;
    return KMY_OK;
}

kmy_err_t kmy_config_load(kmy_config_t *cfg, const char *path, kmy_errctx_t *ctx)
{
    char *text = NULL;
    size_t len = 0;
    memset(cfg, 0, sizeof *cfg);
    kmy_err_t err = set_defaults(cfg, "", ctx);
    KMY_ASSERT(err == KMY_OK);
    cfg->prices.tiers = kmy_tiers_default();
    const char *name = path && *path ? short_name(path) : "environment";
    if (path && *path)
        err = slurp(path, KMY_CONFIG_FILE_BYTES_MAX, &text, &len, ctx);
    if (err == KMY_OK && text)
        err = read_text(cfg, name, text, len, ctx);
    free(text);
    if (err == KMY_OK)
        err = read_environment(cfg, ctx);
    if (err == KMY_OK)
        warn_unknown_environment(cfg);
    return finish(cfg, name, err, ctx);
}

void kmy_config_free(kmy_config_t *cfg)
{
    kmy_config_list_free(&cfg->binance.symbols);
    kmy_config_list_free(&cfg->binance.streams);
    kmy_config_list_free(&cfg->pyth.feeds);
    kmy_config_list_free(&cfg->limits.trusted_proxies);
    for (size_t i = 0; i < cfg->feeds_count; i++) {
        kmy_config_list_free(&cfg->feeds[i].aliases);
        kmy_config_list_free(&cfg->feeds[i].sources);
    }
    free(cfg->feeds);
    free(cfg->payments.networks);
    memset(cfg, 0, sizeof *cfg);
}

static kmy_err_t read_secret(const char *section, const char *file, const char *env, char *out,
                             size_t cap, kmy_errctx_t *ctx)
{
    char *text = NULL;
    const char *from = NULL;
    const char *place = env;
    size_t len = 0;
    KMY_ASSERT(cap > 0);
    out[0] = 0;
    if (file[0]) {
        place = short_name(file);
        kmy_err_t err = slurp(file, 65536, &text, &len, ctx);
        if (err != KMY_OK)
            return err;
        from = text;
    } else if (env[0] && (from = getenv(env))) {
        len = strlen(from);
    }
    while (len > 0 && (from[len - 1] == '\n' || from[len - 1] == '\r'))
        len--;
    bool good = len < cap;
    for (size_t i = 0; i < len && good; i++) /* it becomes a header line: no blank, no control */
        good = from[i] > 0x20 && from[i] < 0x7f;
    if (good && len > 0) {
        memcpy(out, from, len);
        out[len] = 0;
    }
    if (text) {
        explicit_bzero(text, len);
        free(text);
    }
    return good ? KMY_OK
                : kmy_config_fail(ctx, place, section,
                                  "the secret must be one printable word below %zu bytes", cap);
}

kmy_err_t kmy_config_pyth_secret(const kmy_config_t *cfg, char *out, size_t cap, kmy_errctx_t *ctx)
{
    return read_secret("sources.pyth", cfg->pyth.token_file, cfg->pyth.token_env, out, cap, ctx);
}

kmy_err_t kmy_config_facilitator_secret(const kmy_config_t *cfg, char *out, size_t cap,
                                        kmy_errctx_t *ctx)
{
    return read_secret("payments.facilitator", cfg->payments.facilitator_token_file,
                       cfg->payments.facilitator_token_env, out, cap, ctx);
}
