#include "engine/config_diff.h"

#include "base/err.h"
#include "engine/config_keys.h"

#include <stdio.h>
#include <string.h>

/* Keys that are looked at each time they are needed, through a shard's own copy.  All others have formed something at the start: memory, threads,
   sockets, buckets, the catalog. */
static const char *const live_keys[] = {
    "prices.query",
    "prices.market_query",
    "prices.tick",
    "prices.pass",
    "prices.batch_discount",
    "prices.batch_from",
    "tokens.lifetime",
    "limits.feeds_per_connection",
    "limits.auth_timeout",
    "limits.idle_timeout",
    "limits.head_timeout",
    "limits.stall_timeout",
    "limits.drain_window",
    "limits.min_bytes_per_s",
    "lease.target",
    "lease.min",
    "lease.max",
    "lease.report_every",
    "stream.heartbeat",
    "log_level",
};

static bool is_live(const char *path)
{
    for (size_t i = 0; i < sizeof live_keys / sizeof live_keys[0]; i++) {
        if (strcmp(live_keys[i], path) == 0)
            return true;
    }
    return false;
}

static size_t bytes_of(const kmy_config_key_t *key)
{
    switch (key->type) {
    case KMY_KEY_TEXT:
        return sizeof(kmy_config_text_t);
    case KMY_KEY_BOOL:
        return sizeof(bool);
    case KMY_KEY_INT:
    case KMY_KEY_DURATION:
    case KMY_KEY_SIZE:
    case KMY_KEY_MONEY:
        return sizeof(int64_t);
    default:
        return 0;
    }
}

static bool same_list(const kmy_config_list_t *a, const kmy_config_list_t *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->items[i], b->items[i]) == 0;
    return same;
}

static bool same(const kmy_config_key_t *key, const void *a, const void *b)
{
    if (key->type == KMY_KEY_LIST)
        return same_list(a, b);
    if (key->type == KMY_KEY_TEXT)
        return strcmp(a, b) == 0;
    return memcmp(a, b, bytes_of(key)) == 0;
}

static void put_list(const kmy_config_list_t *list, char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap, "[");
    for (size_t i = 0; i < list->count && n < cap; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ", " : "", list->items[i]);
    if (n < cap)
        snprintf(out + n, cap - n, "]");
}

static void put_value(const kmy_config_key_t *key, const void *at, char *out, size_t cap)
{
    if (key->shape == KMY_SHAPE_URL) {
        snprintf(out, cap, "(changed)");
    } else if (key->type == KMY_KEY_TEXT) {
        snprintf(out, cap, "\"%s\"", (const char *)at);
    } else if (key->type == KMY_KEY_LIST) {
        put_list(at, out, cap);
    } else {
        int64_t v = key->type == KMY_KEY_BOOL ? *(const bool *)at : *(const int64_t *)at;
        kmy_config_value_text(key, key->shape == KMY_SHAPE_MS ? v / 1000000 : v, out, cap);
    }
}

static bool same_feeds(const kmy_config_t *a, const kmy_config_t *b)
{
    bool equal = a->feeds_count == b->feeds_count;
    for (size_t i = 0; equal && i < a->feeds_count; i++) {
        const kmy_config_feed_t *x = &a->feeds[i];
        const kmy_config_feed_t *y = &b->feeds[i];
        equal = strcmp(x->name, y->name) == 0 && same_list(&x->aliases, &y->aliases) &&
                same_list(&x->sources, &y->sources) && x->stale_after_ns == y->stale_after_ns &&
                x->required == y->required;
    }
    return equal;
}

static bool same_networks(const kmy_config_t *a, const kmy_config_t *b)
{
    bool equal = a->payments.networks_count == b->payments.networks_count;
    for (size_t i = 0; equal && i < kmy_config_keys_count; i++) {
        static const char prefix[] = "payments.networks[].";
        const kmy_config_key_t *key = &kmy_config_keys[i];
        if (strncmp(key->path, prefix, sizeof prefix - 1) != 0 || key->at == KMY_CONFIG_LATER)
            continue;
        for (size_t n = 0; equal && n < a->payments.networks_count; n++)
            equal = same(key, (const char *)&a->payments.networks[n] + key->at,
                         (const char *)&b->payments.networks[n] + key->at);
    }
    return equal;
}

static bool same_tiers(const kmy_tiers_t *a, const kmy_tiers_t *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = a->at[i].stake == b->at[i].stake &&
                a->at[i].discount_percent == b->at[i].discount_percent;
    return equal;
}

size_t kmy_config_diff(const kmy_config_t *was, const kmy_config_t *is,
                       kmy_config_diff_visit_t *visit, void *arg)
{
    size_t n = 0;
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        const kmy_config_key_t *key = &kmy_config_keys[i];
        if (key->at == KMY_CONFIG_LATER || strchr(key->path, '[') || key->type == KMY_KEY_MAP)
            continue;
        const char *a = (const char *)was + key->at;
        const char *b = (const char *)is + key->at;
        if (same(key, a, b))
            continue;
        char old[256];
        char new[256];
        put_value(key, a, old, sizeof old);
        put_value(key, b, new, sizeof new);
        visit(arg, key->path, old, new, is_live(key->path));
        n++;
    }
    if (!same_feeds(was, is)) {
        visit(arg, "feeds", "(changed)", "(changed)", false);
        n++;
    }
    if (!same_networks(was, is)) {
        visit(arg, "payments.networks", "(changed)", "(changed)", false);
        n++;
    }
    if (!same_tiers(&was->prices.tiers, &is->prices.tiers)) {
        visit(arg, "prices.tiers", "(changed)", "(changed)", true);
        n++;
    }
    return n;
}

void kmy_config_take_live(kmy_config_t *to, const kmy_config_t *from)
{
    for (size_t i = 0; i < sizeof live_keys / sizeof live_keys[0]; i++) {
        const kmy_config_key_t *key = kmy_config_key(live_keys[i]);
        KMY_ASSERT(key && key->at != KMY_CONFIG_LATER && bytes_of(key) > 0);
        memcpy((char *)to + key->at, (const char *)from + key->at, bytes_of(key));
    }
    to->prices.tiers = from->prices.tiers;
}
