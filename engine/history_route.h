/* history_route: GET /v1/history: ticks that the store keeps, page by page (engine/page).  Shard thread. */
#ifndef KMY_ENGINE_HISTORY_ROUTE_H
#define KMY_ENGINE_HISTORY_ROUTE_H

#include "engine/shard_types.h"

enum {
    KMY_HISTORY_LIMIT_MAX = 1000,
    KMY_HISTORY_LIMIT = 100, /* unless asked otherwise: what one query's price covers */
    KMY_HISTORY_BODY_BYTES =
        196608, /* a page ends above that, whatever its limit: what a client that does not read can hold */
};

/* What a page of n ticks costs: each as on the stream, all together at least one query (so that asking again and again for little is not cheaper than
   streaming); an empty one nothing.  Cannot overflow: n <= KMY_HISTORY_LIMIT_MAX and a price is at most 1,000 USD. */
static inline int64_t kmy_history_price(int64_t query_nusd, int64_t tick_nusd, uint32_t n)
{
    int64_t ticks_nusd = tick_nusd * (int64_t)n;
    return n == 0 ? 0 : ticks_nusd > query_nusd ? ticks_nusd : query_nusd;
}

/* The route.  true: answered, false: parked. */
bool kmy_history_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);

#endif
