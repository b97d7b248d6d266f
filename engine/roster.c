#include "engine/roster.h"

#include "base/clock.h"
#include "engine/conn.h"
#include "engine/reply.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

kmy_roster_t *kmy_roster_new(void)
{
    kmy_roster_t *r = calloc(1, sizeof *r);
    for (int i = 0; r && i < KMY_SHARDS_MAX; i++)
        pthread_mutex_init(&r->part[i].lock, NULL);
    return r;
}

void kmy_roster_free(kmy_roster_t *r)
{
    for (int i = 0; r && i < KMY_SHARDS_MAX; i++) {
        pthread_mutex_destroy(&r->part[i].lock);
        free(r->part[i].text);
    }
    free(r);
}

static void put_conn(kmy_shard_t *s, kmy_buf_t *b, const kmy_conn_t *c)
{
    static const char *const states[KMY_CONN_STATES] = { "free",   "http",    "stream",
                                                         "events", "closing", "closed" };
    char peer[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &c->peer, peer, sizeof peer);
    kmy_buf_fmt(b,
                "%s{\"id\":\"%u:%u:%u\",\"door\":\"%s\",\"state\":\"%s\",\"peer\":\"%s\","
                "\"port\":%u,\"account\":",
                b->len > 0 ? "," : "", s->o.index, kmy_conn_idx(s, c), c->gen,
                c->door == KMY_DOOR_PUBLIC ? "public" : "admin", states[c->state],
                strncmp(peer, "::ffff:", 7) == 0 ? peer + 7 : peer, c->peer_port);
    if (c->account != KMY_NONE)
        kmy_buf_json_str(b, s->accounts[c->account].name, strlen(s->accounts[c->account].name));
    else
        kmy_buf_str(b, "null");
    kmy_buf_fmt(b,
                ",\"feeds\":%u,\"charged_ticks\":%" PRIu64
                ",\"waiting_bytes\":%u,\"blocked_ms\":%" PRId64 ",\"paused\":%s}",
                c->subs_count, c->charged_ticks, c->out ? c->out->end - c->out->begin : 0,
                c->blocked_ns ? (s->now_ns - c->blocked_ns) / KMY_NS_PER_MS : 0,
                c->paused ? "true" : "false");
}

static void write_part(kmy_shard_t *s, unsigned wanted)
{
    kmy_buf_t b = kmy_reply_body(s);
    for (uint32_t i = 0; i < s->conns_high; i++) {
        size_t whole = b.len;
        if (s->conns[i].state == KMY_CONN_FREE)
            continue;
        put_conn(s, &b, &s->conns[i]);
        if (b.overflow || b.len > KMY_SCRATCH_BYTES / (2 * s->o.topology->shards_count)) {
            b.len =
                whole; /* some 10,000 a shard: the rest is cut, the answer's `open` tells the number */
            break;
        }
    }
    char *text = malloc(b.len + 1);
    if (text)
        memcpy(text, b.data, b.len);
    pthread_mutex_lock(&s->o.roster->part[s->o.index].lock);
    free(s->o.roster->part[s->o.index].text);
    s->o.roster->part[s->o.index].text = text;
    s->o.roster->part[s->o.index].len = text ? b.len : 0;
    pthread_mutex_unlock(&s->o.roster->part[s->o.index].lock);
    atomic_store(&s->o.roster->part[s->o.index].done, wanted);
    kmy_wake_signal(&s->o.topology->shard_wake[0]);
}

bool kmy_roster_ask(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    if (s->roster_waiters_count == KMY_ROSTER_WAITERS_MAX) {
        kmy_reply_problem(s, c, req, KMY_UNAVAILABLE, "too many ask for the list at once");
        return false;
    }
    unsigned wanted = atomic_fetch_add(&s->o.roster->wanted, 1) + 1;
    s->roster_waiters[s->roster_waiters_count++] =
        (kmy_roster_waiter_t){ kmy_conn_idx(s, c), c->gen, wanted };
    kmy_conn_park(c);
    for (uint32_t i = 0; i < s->o.topology->shards_count; i++)
        kmy_wake_signal(&s->o.topology->shard_wake[i]);
    return true;
}

/* Parts are counted in wrapping order, as sequence numbers are. */
static bool all_done(const kmy_shard_t *s, unsigned wanted)
{
    for (uint32_t i = 0; i < s->o.topology->shards_count; i++) {
        if ((int)(atomic_load(&s->o.roster->part[i].done) - wanted) < 0)
            return false;
    }
    return true;
}

void kmy_roster_turn(kmy_shard_t *s)
{
    unsigned wanted = atomic_load_explicit(&s->o.roster->wanted, memory_order_relaxed);
    if (wanted != s->roster_seen) {
        s->roster_seen = wanted;
        write_part(s, wanted);
    }
    uint32_t kept = 0;
    uint32_t count = s->roster_waiters_count;
    for (uint32_t i = 0; i < count; i++) {
        kmy_roster_waiter_t w = s->roster_waiters[i];
        kmy_conn_t *c = kmy_conn_at(s, w.conn);
        if (c->gen != w.gen || !c->parked)
            continue; /* it hung up */
        if (!all_done(s, w.wanted)) {
            s->roster_waiters[kept++] = w;
            continue;
        }
        c->parked = false;
        c->answered = true;
        kmy_conn_resume(s, c);
        c->answered = false;
    }
    for (uint32_t i = count; i < s->roster_waiters_count; i++) /* who asked again while resumed */
        s->roster_waiters[kept++] = s->roster_waiters[i];
    s->roster_waiters_count = kept;
}

void kmy_roster_put(kmy_shard_t *s, kmy_buf_t *b)
{
    bool first = true;
    for (uint32_t i = 0; i < s->o.topology->shards_count; i++) {
        pthread_mutex_lock(&s->o.roster->part[i].lock);
        size_t len = s->o.roster->part[i].len;
        if (len > 0) {
            kmy_buf_str(b, first ? "" : ",");
            kmy_buf_bytes(b, s->o.roster->part[i].text, len);
            first = false;
        }
        pthread_mutex_unlock(&s->o.roster->part[i].lock);
    }
}
