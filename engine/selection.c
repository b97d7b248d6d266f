#include "engine/selection.h"

#include "base/pattern.h"

#include <string.h>

_Static_assert(KMY_PATTERN_BYTES_MAX >= KMY_FEED_NAME_BYTES_MAX - 1, "any name fits a pattern");

void kmy_selection_init(kmy_selection_t *sel, const kmy_catalog_t *catalog, uint32_t max)
{
    sel->catalog = catalog;
    sel->max = max < KMY_FEEDS_MAX ? max : KMY_FEEDS_MAX;
    sel->count = sel->names_count = sel->patterns_count = 0;
    memset(sel->has, 0, sizeof sel->has);
}

static kmy_err_t take(kmy_selection_t *sel, uint32_t feed, bool by_pattern, kmy_errctx_t *ctx)
{
    if (sel->count == sel->max)
        return KMY_FAIL(ctx, KMY_FULL, "more than %u feeds on one connection", sel->max);
    sel->feed[sel->count] = feed;
    sel->asked[sel->count] = sel->names_count;
    sel->by_pattern[sel->count] = by_pattern;
    sel->count++;
    sel->has[feed / 64] |= UINT64_C(1) << feed % 64;
    return KMY_OK;
}

static kmy_err_t take_pattern(kmy_selection_t *sel, const char *name, size_t len, kmy_errctx_t *ctx)
{
    kmy_pattern_t p;
    bool found = false;
    if (sel->patterns_count == KMY_PATTERNS_MAX)
        return KMY_FAIL(ctx, KMY_FULL, "more than %d patterns in one request", KMY_PATTERNS_MAX);
    sel->patterns_count++;
    if (!kmy_pattern_init(&p, name, len))
        return KMY_FAIL(ctx, KMY_UNKNOWN_FEED, "a pattern above %d bytes matches no feed of ours",
                        KMY_PATTERN_BYTES_MAX);
    for (uint32_t i = 0; i < sel->catalog->feeds_count; i++) {
        const char *feed = sel->catalog->feeds[i].name;
        if (!kmy_pattern_matches(&p, feed, strlen(feed)))
            continue;
        found = true;
        kmy_err_t err = kmy_selection_has(sel, i) ? KMY_OK : take(sel, i, true, ctx);
        if (err != KMY_OK)
            return err;
    }
    if (!found)
        return KMY_FAIL(ctx, KMY_UNKNOWN_FEED, "no feed matches %.*s; GET /v1/feeds lists them all",
                        (int)len, name);
    return KMY_OK;
}

static kmy_err_t unknown(const kmy_catalog_t *catalog, const char *name, size_t len,
                         kmy_errctx_t *ctx)
{
    if (len >= KMY_FEED_NAME_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_UNKNOWN_FEED, "a feed name above %d bytes is no feed of ours",
                        KMY_FEED_NAME_BYTES_MAX - 1);
    const kmy_feed_t *near = kmy_catalog_closest(catalog, name, len);
    return KMY_FAIL(ctx, KMY_UNKNOWN_FEED, "unknown feed %.*s%s%s; GET /v1/feeds lists them all",
                    (int)len, name, near ? ", closest is " : "", near ? near->name : "");
}

kmy_err_t kmy_selection_add(kmy_selection_t *sel, const char *name, size_t len, kmy_errctx_t *ctx)
{
    kmy_err_t err;
    const kmy_feed_t *feed = kmy_catalog_find(sel->catalog, name, len);
    if (feed)
        err = take(sel, feed->idx, false, ctx);
    else if (memchr(name, '*', len))
        err = take_pattern(sel, name, len, ctx);
    else
        err = unknown(sel->catalog, name, len, ctx);
    sel->names_count++;
    return err;
}
