#include "engine/named_feed.h"

#include "base/decimal.h"
#include "engine/reply.h"
#include "engine/throttle.h"

#include <stdio.h>
#include <string.h>

bool kmy_named_refuse(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, const char *why)
{
    if (kmy_throttle_stranger(s, c, req))
        kmy_reply_problem(s, c, req, KMY_BAD_INPUT, why);
    return true;
}

static void unknown(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, const char *name)
{
    char detail[64 + KMY_FEED_NAME_BYTES_MAX];
    char text[KMY_FEED_NAME_BYTES_MAX * 6 + 32];
    kmy_buf_t more = kmy_buf(text, sizeof text);
    if (!kmy_throttle_stranger(s, c, req))
        return;
    const kmy_feed_t *near = kmy_catalog_closest(s->catalog, name, strlen(name));
    if (near) {
        kmy_buf_str(&more, ",\"closest\":");
        kmy_buf_json_str(&more, near->name, strlen(near->name));
    }
    snprintf(detail, sizeof detail, "no such feed; %s%s", near ? "the closest is " : "",
             near ? near->name : "GET /v1/feeds lists them");
    kmy_reply_problem_with(s, c, req, KMY_UNKNOWN_FEED, detail, "", &more);
}

const kmy_feed_t *kmy_named_feed(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                                 const char *example)
{
    char name[KMY_FEED_NAME_BYTES_MAX];
    if (!kmy_http_query(req->query, "feed", name, sizeof name)) {
        kmy_named_refuse(s, c, req, example);
        return NULL;
    }
    const kmy_feed_t *feed = kmy_catalog_find(s->catalog, name, strlen(name));
    if (!feed)
        unknown(s, c, req, name);
    return feed;
}

bool kmy_named_stands(kmy_view_t query, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i + len <= query.len; i++) {
        bool begins = i == 0 || query.ptr[i - 1] == '&';
        bool ends = i + len == query.len || query.ptr[i + len] == '=' || query.ptr[i + len] == '&';
        if (begins && ends && memcmp(query.ptr + i, name, len) == 0)
            return true;
    }
    return false;
}

bool kmy_named_number(const kmy_http_request_t *req, const char *name, uint64_t min, uint64_t max,
                      uint64_t def, uint64_t *out)
{
    char text[32];
    *out = def;
    if (!kmy_http_query(req->query, name, text, sizeof text))
        return !kmy_named_stands(req->query, name); /* twice, or not well-formed, is no default */
    return kmy_u64_parse(text, strlen(text), out) && *out >= min && *out <= max;
}
