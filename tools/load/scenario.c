#include "tools/load/scenario.h"

#include "base/limits.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { FILE_BYTES_MAX = 1 << 20 };

/* What is being read, for error texts. */
typedef struct reader {
    yaml_document_t doc;
    const char *file;
    kmy_errctx_t *ctx;
    load_scenario_t *out;
} reader_t;

typedef kmy_err_t put_t(reader_t *r, const yaml_node_t *value, void *at, double min, double max);

/* A legal key: how its value is read, where it goes, within what. */
typedef struct key {
    const char *name;
    put_t *put;
    size_t offset;
    double min, max;
} key_t_;

static kmy_err_t fault(reader_t *r, const yaml_node_t *at, const char *what, const char *text)
{
    return KMY_FAIL(r->ctx, KMY_CONFIG, "%s:%zu: %s%s%.60s", r->file, at->start_mark.line + 1, what,
                    text ? ": " : "", text ? text : "");
}

static const char *scalar(const yaml_node_t *n)
{
    return n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

/* --- values -------------------------------------------------------------------------------- */

bool load_duration_parse(const char *text, int64_t *out_ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = { { "s", 1e9 }, { "ms", 1e6 }, { "us", 1e3 }, { "m", 60e9 }, { "h", 3600e9 } };
    char *end;
    double v = strtod(text, &end);
    if (end == text || !isfinite(v) || v < 0 || v > 1e9)
        return false;
    double ns = *end == 0 ? 1e9 : 0;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) == 0)
            ns = units[i].ns;
    }
    if (ns == 0 || v * ns > 9e17)
        return false;
    *out_ns = (int64_t)(v * ns);
    return true;
}

static kmy_err_t number(reader_t *r, const yaml_node_t *n, double min, double max, double *out)
{
    const char *text = scalar(n);
    char *end = NULL;
    double v = text ? strtod(text, &end) : 0;
    char legal[96];
    if (text && end != text && *end == 0 && v >= min && v <= max) {
        *out = v;
        return KMY_OK;
    }
    snprintf(legal, sizeof legal, "must be a number from %g to %g", min, max);
    return fault(r, n, legal, text);
}

static kmy_err_t put_double(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    return number(r, n, min, max, at);
}

static kmy_err_t put_u32(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    double v = 0;
    kmy_err_t err = number(r, n, min, max, &v);
    if (err == KMY_OK && v != floor(v))
        err = fault(r, n, "must be a whole number", scalar(n));
    *(uint32_t *)at = (uint32_t)v;
    return err;
}

static kmy_err_t put_u64(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    double v = 0;
    kmy_err_t err = number(r, n, min, max, &v);
    *(uint64_t *)at = (uint64_t)v;
    return err;
}

static kmy_err_t put_duration(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    const char *text = scalar(n);
    int64_t ns;
    if (!text || !load_duration_parse(text, &ns) || (double)ns < min * 1e9 ||
        (double)ns > max * 1e9)
        return fault(r, n, "must be a duration such as 10s or 250ms, within its limits", text);
    *(int64_t *)at = ns;
    return KMY_OK;
}

static kmy_err_t put_bool(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)min;
    (void)max;
    const char *text = scalar(n);
    if (!text || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
        return fault(r, n, "must be true or false", text);
    *(bool *)at = text[0] == 't';
    return KMY_OK;
}

/* max: room in bytes. */
static kmy_err_t put_text(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)min;
    const char *text = scalar(n);
    if (!text || strlen(text) >= (size_t)max)
        return fault(r, n, "must be text, not so long", text);
    memcpy(at, text, strlen(text) + 1);
    return KMY_OK;
}

/* One of the words; their number in the list. */
static kmy_err_t choice(reader_t *r, const yaml_node_t *n, const char *const *words, int *out)
{
    const char *text = scalar(n);
    char legal[96] = "must be one of";
    for (int i = 0; words[i]; i++) {
        if (text && strcmp(text, words[i]) == 0) {
            *out = i;
            return KMY_OK;
        }
        size_t used = strlen(legal);
        snprintf(legal + used, sizeof legal - used, " %s", words[i]);
    }
    return fault(r, n, legal, text);
}

static kmy_err_t put_kind(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)min;
    (void)max;
    static const char *const words[] = { "stream", "query", "batch", NULL };
    int v = 0;
    kmy_err_t err = choice(r, n, words, &v);
    *(load_kind_t *)at = (load_kind_t)v;
    return err;
}

static kmy_err_t put_pick(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)min;
    (void)max;
    static const char *const words[] = { "same", "random", "zipf", "even", NULL };
    int v = 0;
    kmy_err_t err = choice(r, n, words, &v);
    *(load_pick_t *)at = (load_pick_t)v;
    return err;
}

static kmy_err_t put_spread(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)min;
    (void)max;
    static const char *const words[] = { "fixed", "uniform", "zipf", NULL };
    int v = 0;
    kmy_err_t err = choice(r, n, words, &v);
    *(load_spread_t *)at = (load_spread_t)v;
    return err;
}

static const char *const encodings[] = { "json", "flatbuffers", "mixed", NULL };

bool load_encoding_parse(const char *text, load_encoding_t *out)
{
    for (int i = 0; encodings[i]; i++) {
        if (strcmp(text, encodings[i]) == 0) {
            *out = (load_encoding_t)i;
            return true;
        }
    }
    return false;
}

static kmy_err_t put_encoding(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)min;
    (void)max;
    int v = 0;
    kmy_err_t err = choice(r, n, encodings, &v);
    *(load_encoding_t *)at = (load_encoding_t)v;
    return err;
}

static kmy_err_t put_policy(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    static const char *const words[] = { "conflate", "drop", "close", NULL };
    int v = 0;
    kmy_err_t err = choice(r, n, words, &v);
    return err == KMY_OK ? put_text(r, n, at, min, max) : err;
}

static kmy_err_t put_stream(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    static const char *const words[] = { "aggTrade", "bookTicker", "trade", NULL };
    int v = 0;
    kmy_err_t err = choice(r, n, words, &v);
    return err == KMY_OK ? put_text(r, n, at, min, max) : err;
}

static kmy_err_t put_how(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)min;
    (void)max;
    static const char *const words[] = { "close", "reset", NULL };
    int v = 0;
    kmy_err_t err = choice(r, n, words, &v);
    *(bool *)at = v == 1;
    return err;
}

/* --- the keys ------------------------------------------------------------------------------ */

#define DAYS 864000 /* ten days, in seconds */

static const key_t_ group_keys[] = {
    { "kind", put_kind, offsetof(load_group_t, kind), 0, 0 },
    { "share", put_u32, offsetof(load_group_t, share), 1, 1e6 },
    { "feeds", put_u32, offsetof(load_group_t, feeds), 1, LOAD_FEEDS_MAX },
    { "feeds_min", put_u32, offsetof(load_group_t, feeds_min), 1, LOAD_FEEDS_MAX },
    { "spread", put_spread, offsetof(load_group_t, spread), 0, 0 },
    { "pick", put_pick, offsetof(load_group_t, pick), 0, 0 },
    { "zipf_s", put_double, offsetof(load_group_t, zipf_s), 0, 10 },
    { "encoding", put_encoding, offsetof(load_group_t, encoding), 0, 0 },
    { "slow_reader", put_policy, offsetof(load_group_t, slow_reader), 0, 16 },
    { "slow", put_bool, offsetof(load_group_t, slow), 0, 0 },
    { "stays", put_bool, offsetof(load_group_t, stays), 0, 0 },
    { "read_bytes_per_s", put_u64, offsetof(load_group_t, read_bytes_per_s), 0, 1e9 },
    { "feed", put_text, offsetof(load_group_t, feed), 0, LOAD_NAME_BYTES_MAX },
    { "think_min", put_duration, offsetof(load_group_t, think_min_ns), 0, DAYS },
    { "think_max", put_duration, offsetof(load_group_t, think_max_ns), 0, DAYS },
    { 0 },
};
static const key_t_ market_keys[] = {
    { "feeds", put_u32, offsetof(load_scenario_t, market_feeds), 1, LOAD_FEEDS_MAX },
    { "ticks_per_s", put_double, offsetof(load_scenario_t, ticks_per_s), 0.125, 125000 },
    { "stream", put_stream, offsetof(load_scenario_t, stream), 0, 16 },
    { "pyth", put_bool, offsetof(load_scenario_t, pyth), 0, 0 },
    { 0 },
};
static const key_t_ storm_keys[] = {
    { "every", put_duration, offsetof(load_scenario_t, storm_every_ns), 0.1, DAYS },
    { "count", put_u32, offsetof(load_scenario_t, storms_max), 1, 1e6 },
    { "away", put_duration, offsetof(load_scenario_t, storm_away_ns), 0, DAYS },
    { "how", put_how, offsetof(load_scenario_t, storm_reset), 0, 0 },
    { 0 },
};
static const key_t_ topup_keys[] = {
    { "every", put_duration, offsetof(load_scenario_t, topup_every_ns), 0.001, DAYS },
    { "usd", put_text, offsetof(load_scenario_t, topup_usd), 0, 32 },
    { 0 },
};
#define BAR(name) #name, put_double, offsetof(load_scenario_t, bars.name), 0, 1e12
static const key_t_ bars_keys[] = {
    { BAR(p50_ms) },
    { BAR(p99_ms) },
    { BAR(p999_ms) },
    { BAR(query_p99_ms) },
    { BAR(slow_warned_min) },
    { BAR(back_p99_ms) },
    { BAR(cpu_us_per_delivery) },
    { BAR(rss_mib) },
    { BAR(delivered_min) },
    { BAR(delivered_per_s_min) },
    { BAR(lost) },
    { BAR(miscounted) },
    { BAR(errors) },
    { 0 },
};

static kmy_err_t read_map(reader_t *r, const yaml_node_t *map, const key_t_ *keys, void *out)
{
    if (map->type != YAML_MAPPING_NODE)
        return fault(r, map, "must be a mapping", scalar(map));
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *name = yaml_document_get_node(&r->doc, p->key);
        const yaml_node_t *value = yaml_document_get_node(&r->doc, p->value);
        const key_t_ *k = keys;
        while (k->name && (!scalar(name) || strcmp(scalar(name), k->name) != 0))
            k++;
        if (!k->name)
            return fault(r, name, "unknown key", scalar(name));
        kmy_err_t err = k->put(r, value, (char *)out + k->offset, k->min, k->max);
        if (err != KMY_OK)
            return err;
    }
    return KMY_OK;
}

static kmy_err_t put_mix(reader_t *r, const yaml_node_t *list, void *at, double min, double max)
{
    (void)at;
    (void)min;
    (void)max;
    load_scenario_t *s = r->out;
    s->groups_count = 0;
    if (list->type != YAML_SEQUENCE_NODE)
        return fault(r, list, "mix must be a list of groups", scalar(list));
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top;
         i++) {
        const yaml_node_t *n = yaml_document_get_node(&r->doc, *i);
        if (s->groups_count == LOAD_GROUPS_MAX)
            return fault(r, n, "too many groups; at most 16", NULL);
        load_group_t *g = &s->groups[s->groups_count++];
        *g = (load_group_t){ .share = 1,
                             .feeds = 1,
                             .zipf_s = 1,
                             .slow_reader = "conflate",
                             .think_min_ns = 1000000000,
                             .think_max_ns = 3000000000 };
        kmy_err_t err = read_map(r, n, group_keys, g);
        if (err != KMY_OK)
            return err;
        if (g->think_max_ns < g->think_min_ns)
            return fault(r, n, "think_max is below think_min", NULL);
        if (g->slow && g->kind != LOAD_STREAM)
            return fault(r, n, "only stream agents can be slow", NULL);
        if (g->feeds_min > g->feeds || (g->spread != LOAD_FIXED && g->feeds_min == 0))
            return fault(r, n, "a spread needs feeds_min, from 1 to feeds", NULL);
        if (g->kind == LOAD_BATCH && g->feeds > LOAD_BATCH_MAX)
            return fault(r, n, "a batch has at most 100 feeds", NULL);
    }
    return KMY_OK;
}

/* Sections of the scenario: mappings of their own keys. */
static kmy_err_t put_market(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)at, (void)min, (void)max;
    return read_map(r, n, market_keys, r->out);
}
static kmy_err_t put_storm(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)at, (void)min, (void)max;
    return read_map(r, n, storm_keys, r->out);
}
static kmy_err_t put_topup(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)at, (void)min, (void)max;
    return read_map(r, n, topup_keys, r->out);
}
static kmy_err_t put_bars(reader_t *r, const yaml_node_t *n, void *at, double min, double max)
{
    (void)at, (void)min, (void)max;
    return read_map(r, n, bars_keys, r->out);
}

static const key_t_ top_keys[] = {
    { "name", put_text, offsetof(load_scenario_t, name), 0, LOAD_NAME_BYTES_MAX },
    { "about", put_text, offsetof(load_scenario_t, about), 0, 256 },
    { "agents", put_u32, offsetof(load_scenario_t, agents), 1, LOAD_AGENTS_MAX },
    { "ramp_per_s", put_double, offsetof(load_scenario_t, ramp_per_s), 0, 1e6 },
    { "duration", put_duration, offsetof(load_scenario_t, duration_ns), 0.1, DAYS },
    { "settle", put_duration, offsetof(load_scenario_t, settle_ns), 0, 600 },
    { "balance", put_text, offsetof(load_scenario_t, balance), 0, 32 },
    { "accounts", put_u32, offsetof(load_scenario_t, accounts), 1, LOAD_AGENTS_MAX },
    { "spend", put_bool, offsetof(load_scenario_t, spend), 0, 0 },
    { "shards", put_u32, offsetof(load_scenario_t, shards), 1, KMY_SHARDS_MAX },
    { "tls", put_bool, offsetof(load_scenario_t, tls), 0, 0 },
    { "seed", put_u64, offsetof(load_scenario_t, seed), 0, 9e15 },
    { "market", put_market, 0, 0, 0 },
    { "mix", put_mix, 0, 0, 0 },
    { "storm", put_storm, 0, 0, 0 },
    { "topup", put_topup, 0, 0, 0 },
    { "bars", put_bars, 0, 0, 0 },
    { 0 },
};

/* --- reading ------------------------------------------------------------------------------- */

static kmy_err_t check(reader_t *r)
{
    load_scenario_t *s = r->out;
    for (uint32_t i = 0; i < s->groups_count; i++) {
        if (s->groups[i].feeds > s->market_feeds)
            return KMY_FAIL(r->ctx, KMY_CONFIG,
                            "%s: a group asks for %u feeds of a market that has %u", r->file,
                            s->groups[i].feeds, s->market_feeds);
    }
    return s->groups_count > 0 ? KMY_OK
                               : KMY_FAIL(r->ctx, KMY_CONFIG, "%s: the mix is empty", r->file);
}

static kmy_err_t parse(reader_t *r, const char *text, size_t len)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return KMY_FAIL(r->ctx, KMY_INTERNAL, "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    kmy_err_t err = KMY_OK;
    if (!yaml_parser_load(&parser, &r->doc)) {
        err = KMY_FAIL(r->ctx, KMY_CONFIG, "%s:%zu: %s", r->file, parser.problem_mark.line + 1,
                       parser.problem ? parser.problem : "not YAML");
    } else {
        const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
        if (!root)
            err = KMY_FAIL(r->ctx, KMY_CONFIG, "%s: empty", r->file);
        else
            err = read_map(r, root, top_keys, r->out);
        yaml_document_delete(&r->doc);
    }
    yaml_parser_delete(&parser);
    return err == KMY_OK ? check(r) : err;
}

static kmy_err_t read_file(reader_t *r, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return KMY_FAIL_SYS(r->ctx, KMY_IO, "cannot read %.120s: %s", path, strerror(errno));
    char *text = malloc(FILE_BYTES_MAX);
    size_t len = text ? fread(text, 1, FILE_BYTES_MAX, f) : 0;
    fclose(f);
    kmy_err_t err = len == FILE_BYTES_MAX
                        ? KMY_FAIL(r->ctx, KMY_TOO_BIG, "%.120s: above 1 MiB", path)
                        : parse(r, text ? text : "", len);
    free(text);
    return err;
}

static void defaults(load_scenario_t *s, const char *name)
{
    *s = (load_scenario_t){ .agents = 1000,
                            .ramp_per_s = 500,
                            .duration_ns = 10000000000,
                            .settle_ns = 1000000000,
                            .balance = "10",
                            .seed = 1,
                            .shards = 1,
                            .market_feeds = 1,
                            .ticks_per_s = 50,
                            .stream = "aggTrade",
                            .topup_usd = "0.01",
                            .bars = { .delivered_min = 1 } };
    snprintf(s->name, sizeof s->name, "%s", name);
}

kmy_err_t load_scenario_read(const char *name, load_scenario_t *out, kmy_errctx_t *ctx)
{
    reader_t r = { .file = name, .ctx = ctx, .out = out };
    size_t len = strlen(name);
    const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
    defaults(out, base);
    if (strchr(name, '/') || (len > 5 && strcmp(name + len - 5, ".yaml") == 0))
        return read_file(&r, name);
    for (size_t i = 0; i < load_shipped_count; i++) {
        if (strcmp(load_shipped[i].name, name) == 0)
            return parse(&r, load_shipped[i].text, load_shipped[i].len);
    }
    return KMY_FAIL(ctx, KMY_NOT_FOUND,
                    "no scenario %.60s; kamiyo-load list names those shipped, a path needs a / or "
                    "the end .yaml",
                    name);
}
