/* compare_route: GET /v1/compare: the sources of one feed beside each other, from what this shard saw last of each.

   One query's price for each source that is delivered: as many queries would cost as much.  Shard thread. */
#ifndef KMY_ENGINE_COMPARE_ROUTE_H
#define KMY_ENGINE_COMPARE_ROUTE_H

#include "engine/shard_types.h"

/* What a feed of several sources keeps of each; of one source the feed's own last ticks say all.  false: no memory. */
bool kmy_compare_open(kmy_shard_t *s);
void kmy_compare_close(kmy_shard_t *s);

/* A new tick of f. */
static inline void kmy_compare_tick(kmy_shard_feed_t *f, const kmy_feed_t *feed,
                                    const kmy_tick_t *tick)
{
    if (!f->of_source)
        return;
    for (uint32_t i = 0; i < feed->sources_count; i++) {
        if (feed->sources[i] != tick->source)
            continue;
        f->of_source[i].last = *tick;
        if ((tick->has & (KMY_HAS_BID | KMY_HAS_ASK)) == (KMY_HAS_BID | KMY_HAS_ASK))
            f->of_source[i].last_quote = *tick;
    }
}

/* The route.  true: answered, false: parked. */
bool kmy_compare_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);

#endif
