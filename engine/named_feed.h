/* named_feed: which feed a request's address names, or the answer that says why none. */
#ifndef KMY_ENGINE_NAMED_FEED_H
#define KMY_ENGINE_NAMED_FEED_H

#include "engine/shard_types.h"

/* The feed of ?feed=NAME (name or alias).  NULL: there is none, and the whole answer was sent: 400 with `example`, 404 with the closest name, or
   429.  Shard thread. */
const kmy_feed_t *kmy_named_feed(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                                 const char *example);
/* An answer with KMY_BAD_INPUT, or 429 to a stranger who asks too often.  Always true: answered. */
bool kmy_named_refuse(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      const char *why);

/* Does it stand in the address at all, whether it can be read or not? */
bool kmy_named_stands(kmy_view_t query, const char *name);
/* A whole number out of the address: `def` where it is not there.  false: it is something else, or not in [min, max]. */
bool kmy_named_number(const kmy_http_request_t *req, const char *name, uint64_t min, uint64_t max,
                      uint64_t def, uint64_t *out);

#endif
