/* roster: the list of all connections, for the operator: each shard writes its own part when it is asked for, and shard 0, which has the
   operator's door, puts them together.  Nobody reads another shard's connections. */
#ifndef KMY_ENGINE_ROSTER_H
#define KMY_ENGINE_ROSTER_H

#include "engine/shard_types.h"

/* Shared by all shards of a daemon; zero-initialized but for the locks. */
struct kmy_roster {
    atomic_uint wanted; /* raised by one for each request */
    struct {
        atomic_uint done;     /* the `wanted` this part was written for */
        pthread_mutex_t lock; /* of text; never taken on a tick's way */
        char *text;           /* JSON objects, comma-separated; owned */
        size_t len;
    } part[KMY_SHARDS_MAX];
};

kmy_roster_t *kmy_roster_new(void); /* NULL: out of memory */
void kmy_roster_free(kmy_roster_t *r);

/* Asks all shards for their part and parks the request until they are there.  false: answered with 503, too many ask at once. */
bool kmy_roster_ask(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req);
/* Each turn of each shard: writes its part if somebody asked, resumes who waited for the last one. */
void kmy_roster_turn(kmy_shard_t *s);
/* All parts, one after another, into b. */
void kmy_roster_put(kmy_shard_t *s, kmy_buf_t *b);

#endif
