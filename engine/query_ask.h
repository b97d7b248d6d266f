/* query_ask: what a query asks for, out of an address or a body, and whether it can be had; its value in JSON.  Shard thread; nothing blocks or allocates. */
#ifndef KMY_ENGINE_QUERY_ASK_H
#define KMY_ENGINE_QUERY_ASK_H

#include "engine/shard_types.h"

typedef struct kmy_query_ask {
    const kmy_feed_t *feed;
    const kmy_feed_t *closest; /* to an unknown name; NULL: nothing near */
    int64_t max_age_ms;        /* 0: any */
    kmy_err_t err;             /* why there is no answer */
    char detail[192];
    char name
        [KMY_FEED_NAME_BYTES_MAX]; /* of a feed that is not known; "": it is, or it was too long */
} kmy_query_ask_t;

/* Zeroed asks in; false: malformed, ctx->detail says why.  A feed that is not known is well-formed: its ask has err. */
bool kmy_query_ask_address(kmy_shard_t *s, const kmy_http_request_t *req, kmy_query_ask_t *a,
                           kmy_errctx_t *ctx);
bool kmy_query_ask_body(kmy_shard_t *s, kmy_view_t body, kmy_query_ask_t *a, kmy_errctx_t *ctx);
bool kmy_query_ask_batch(kmy_shard_t *s, kmy_view_t body, kmy_query_ask_t *asks, uint32_t max,
                         uint32_t *count, kmy_errctx_t *ctx);

/* Adds the nearest known name to the detail of an unknown feed.  Looks at every name there is (engine/catalog.h): where the error is told, not before. */
void kmy_query_hint(const kmy_shard_t *s, kmy_query_ask_t *a);

/* Fresh enough to be sold now?  Else err and detail say why not; an ask that has an err keeps it. */
void kmy_query_check(const kmy_shard_t *s, kmy_query_ask_t *a);
/* "feed":...,"data":{...},... of the feed's newest tick, without braces. */
void kmy_query_put(const kmy_shard_t *s, kmy_buf_t *b, const kmy_feed_t *feed);

#endif
