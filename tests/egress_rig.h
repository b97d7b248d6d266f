/* egress_rig: a shard of a few connections, whose sockets are made here and take as many bytes as a test says, and a client that reads what they took.

   engine/egress.c is compiled into the test, with the four calls that reach the kernel replaced by a socket made here, and the shard's other files by
   their few effects. */
#ifndef KMY_TESTS_EGRESS_RIG_H
#define KMY_TESTS_EGRESS_RIG_H

#include "engine/egress.h"

#include "engine/account.h"
#include "engine/conn.h"
#include "engine/receipts.h"
#include "engine/shard.h"
#include "engine/stream.h"
#include "engine/subs.h"
#include "engine/uses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline int wire_submit(struct io_uring *ring);
static inline int wire_wait(struct io_uring *ring, unsigned n);
static inline int wire_peek(struct io_uring *ring, struct io_uring_cqe **cqe);
static inline void wire_seen(struct io_uring *ring, struct io_uring_cqe *cqe);
#define io_uring_submit          wire_submit
#define io_uring_submit_and_wait wire_wait
#define io_uring_peek_cqe        wire_peek
#define io_uring_cqe_seen        wire_seen
#include "engine/egress.c" /* the one file of egress that talks to the ring */

enum { CONNS = 6, FEEDS = 3, SUBS = CONNS * FEEDS, PRICE = 1000, WIRE_MAX = 4 << 20 };

typedef struct socket {
    uint8_t *got; /* all that it ever took */
    size_t len;
    uint64_t room; /* bytes it takes before it is full */
} socket_t;

static struct {
    kmy_shard_t s;
    kmy_config_t cfg;
    kmy_catalog_t catalog;
    kmy_metrics_t metrics;
    socket_t socket[CONNS];
    struct io_uring_sqe sqe[KMY_SENDS_MAX];
    uint32_t sqes;
    struct io_uring_cqe cqe[KMY_SENDS_MAX + 1];
    uint32_t cqes, seen;
    uint64_t starved, killed, drained;
    uint64_t seq; /* of the newest tick of any feed */
    uint64_t random;
} x;

static inline uint64_t rnd(uint64_t n)
{
    x.random ^= x.random >> 12;
    x.random ^= x.random << 25;
    x.random ^= x.random >> 27;
    return (x.random * UINT64_C(2685821657736338717) >> 11) % n;
}

/* --- the kernel ---------------------------------------------------------------------------------- */

static inline int take(const struct io_uring_sqe *sqe)
{
    socket_t *to = &x.socket[sqe->fd];
    assert_true(sqe->msg_flags & MSG_DONTWAIT); /* or it would send later what the log holds then */
    if (to->room == 0)
        return -EAGAIN;
    size_t n = sqe->len < to->room ? sqe->len : (size_t)to->room;
    assert_true(to->len + n <= WIRE_MAX);
    memcpy(to->got + to->len, (const void *)(uintptr_t)sqe->addr, n);
    to->len += n;
    to->room -= n;
    return (int)n;
}

static inline int wire_submit(struct io_uring *ring)
{
    (void)ring;
    x.cqes = x.seen = 0;
    for (uint32_t i = 0; i < x.sqes; i++)
        x.cqe[x.cqes++] =
            (struct io_uring_cqe){ .user_data = x.sqe[i].user_data, .res = take(&x.sqe[i]) };
    x.sqes = 0;
    return 0;
}

static inline int wire_wait(struct io_uring *ring, unsigned n)
{
    (void)ring;
    (void)n;
    fail_msg("all sends were completed, but not all were seen");
    return 0;
}

static inline int wire_peek(struct io_uring *ring, struct io_uring_cqe **cqe)
{
    (void)ring;
    if (x.seen == x.cqes)
        return -EAGAIN;
    *cqe = &x.cqe[x.seen];
    return 0;
}

static inline void wire_seen(struct io_uring *ring, struct io_uring_cqe *cqe)
{
    (void)ring;
    (void)cqe;
    x.seen++;
}

/* --- the shard's other files --------------------------------------------------------------------- */

struct io_uring_sqe *kmy_shard_sqe(kmy_shard_t *s)
{
    (void)s;
    assert_true(x.sqes < KMY_SENDS_MAX);
    return &x.sqe[x.sqes++];
}
void kmy_shard_defer(kmy_shard_t *s, const struct io_uring_cqe *cqe)
{
    (void)s;
    (void)cqe;
    fail();
}
void kmy_conn_kill(kmy_shard_t *s, kmy_conn_t *c)
{
    (void)s;
    c->state = KMY_CONN_DEAD;
    x.killed++;
}
void kmy_conn_poll_out(kmy_shard_t *s, kmy_conn_t *c)
{
    (void)s;
    c->poll_armed = true;
}
/* What it does to other connections and to leases must not meet ticks that may come back. */
void kmy_conn_drained(kmy_shard_t *s, kmy_conn_t *c)
{
    (void)c;
    for (uint32_t i = 0; i < CONNS; i++)
        assert_false(s->conns[i].in_flight);
    x.drained++;
}
void kmy_account_list(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    (void)s;
    (void)acc;
}
void kmy_account_look(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    (void)s;
    (void)acc;
}
void kmy_account_ask_more(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    (void)s;
    (void)acc;
}
void kmy_account_starved(kmy_shard_t *s, kmy_shard_account_t *acc, kmy_conn_t *c)
{
    (void)s;
    (void)acc;
    (void)c;
    x.starved++;
}
uint32_t kmy_receipts_take(kmy_shard_t *s, const kmy_conn_t *c, kmy_sub_t *sub,
                           kmy_receipt_when_t when)
{
    (void)s;
    (void)c;
    (void)sub;
    (void)when;
    return 0;
}
void kmy_stream_slow_warning(kmy_buf_t *b, uint64_t lag_ticks)
{
    kmy_buf_fmt(b, "{\"type\":\"warning\"} %llu", (unsigned long long)lag_ticks);
}
void kmy_stream_gap(kmy_buf_t *b, const kmy_feed_t *feed, uint64_t from, uint64_t to,
                    uint8_t reason)
{
    kmy_buf_fmt(b, "{\"type\":\"gap\"} %u %llu %llu %u", feed->idx, (unsigned long long)from,
                (unsigned long long)to, reason);
}

/* --- a shard of a few connections, one account, three feeds ---------------------------------------- */

static inline void *zeroes(size_t n, size_t bytes)
{
    void *p = calloc(n, bytes);
    assert_non_null(p);
    return p;
}

static inline void begin(int64_t lease_nusd)
{
    static const char yaml[] =
        "sources: { pyth: { feeds: [] }, binance: { symbols: [BTCUSDT, ETHUSDT, SOLUSDT] } }";
    kmy_errctx_t ctx;
    memset(&x, 0, sizeof x);
    x.random = 88172645463325252;
    if (kmy_config_read(&x.cfg, "test", yaml, sizeof yaml - 1, &ctx) != KMY_OK ||
        kmy_catalog_build(&x.catalog, &x.cfg, &ctx) != KMY_OK)
        fail_msg("%s", ctx.detail);
    uint32_t ids[FEEDS] = { 1, 2, 3 };
    assert_int_equal(x.catalog.feeds_count, FEEDS);
    assert_int_equal(kmy_catalog_assign(&x.catalog, ids, &ctx), KMY_OK);
    kmy_shard_t *s = &x.s;
    kmy_pace_init(&s->pace, INT64_C(1795000000000000000));
    s->config = &x.cfg;
    s->o.epoch = "e1";
    s->catalog = &x.catalog;
    s->metrics = &x.metrics;
    s->now_ns = s->now_wall_ns = INT64_C(1795000000000000000);
    s->conns = zeroes(CONNS, sizeof *s->conns);
    s->dirty = zeroes(CONNS, sizeof *s->dirty);
    s->dirty_next = zeroes(CONNS, sizeof *s->dirty_next);
    s->starving = zeroes(CONNS, sizeof *s->starving);
    s->subs = zeroes(SUBS, sizeof *s->subs);
    s->subs_max = SUBS;
    s->subs_free = KMY_NONE;
    s->accounts = zeroes(1, sizeof *s->accounts);
    s->accounts[0].lease = (kmy_lease_t){ .granted_nusd = lease_nusd, .left_nusd = lease_nusd };
    s->stage = zeroes(1, KMY_STAGE_BYTES);
    s->rooms = zeroes(KMY_ROOMS, KMY_ROOM_BYTES);
    s->sends = zeroes(KMY_SENDS_MAX, sizeof *s->sends);
    s->segments = zeroes(KMY_SEGMENTS_MAX, sizeof *s->segments);
    s->drained = zeroes(KMY_SENDS_MAX, sizeof *s->drained);
    s->feeds = zeroes(FEEDS, sizeof *s->feeds);
    s->touched_feeds = zeroes(FEEDS, sizeof *s->touched_feeds);
    s->log_limits = (kmy_feedlog_limits_t){ 4096, INT64_C(60000000000), 1 << 20 };
    for (uint32_t i = 0; i < FEEDS; i++) {
        x.catalog.feeds[i].tick_nusd = PRICE;
        kmy_tick_json_init(&s->feeds[i].json, x.catalog.feeds[i].name);
        kmy_flat_init(&s->feeds[i].flat, KMY_FLAT_STREAM, ids[i], x.catalog.feeds[i].name);
    }
    for (uint32_t i = 0; i < CONNS; i++) {
        s->conns[i] = (kmy_conn_t){ .fd = (int)i,
                                    .state = KMY_CONN_WS,
                                    .authenticated = true,
                                    .payer = &s->accounts[0],
                                    .slow_policy = KMY_SLOW_DROP,
                                    .subs_head = KMY_NONE,
                                    .pending_head = KMY_NONE,
                                    .pending_tail = KMY_NONE };
        x.socket[i] = (socket_t){ .got = zeroes(1, WIRE_MAX), .room = UINT64_MAX };
    }
}

static inline void end(void)
{
    kmy_shard_t *s = &x.s;
    for (uint32_t i = 0; i < CONNS; i++) {
        kmy_stream_unsubscribe_all(s, &s->conns[i]);
        free(s->conns[i].out);
        free(x.socket[i].got);
    }
    kmy_uses_free(&s->accounts[0].uses); /* what unsubscribing has left to report */
    for (uint32_t i = 0; i < FEEDS; i++) {
        free(s->feeds[i].subs);
        for (int e = 0; e < KMY_ENCODINGS; e++)
            kmy_feedlog_close(&s->feeds[i].log[e]);
    }
    void *all[] = { s->conns,         s->dirty, s->dirty_next, s->starving, s->subs,
                    s->accounts,      s->stage, s->sends,      s->segments, s->feeds,
                    s->touched_feeds, s->rooms, s->drained };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    kmy_catalog_free(&x.catalog);
    kmy_config_free(&x.cfg);
}

static inline void subscribe_paced(uint32_t conn, uint32_t feed, uint8_t encoding,
                                   uint32_t pace_slots)
{
    kmy_resume_t none = { .given = false };
    kmy_sub_options_t o = { .encoding = encoding, .pace_slots = pace_slots };
    assert_int_not_equal(kmy_subs_add(&x.s, &x.s.conns[conn], feed, &o, &none), KMY_NONE);
}

static inline void subscribe(uint32_t conn, uint32_t feed, uint8_t encoding)
{
    subscribe_paced(conn, feed, encoding, 0);
}

static inline void tick(uint32_t feed)
{
    kmy_shard_t *s = &x.s;
    uint64_t offset = s->feeds[feed].last.offset + 1;
    kmy_tick_t t = { .seq = ++x.seq,
                     .offset = offset,
                     .recv_ns = s->now_wall_ns,
                     .price_mant = (int64_t)(offset * 10 + 7),
                     .price_expo = -2,
                     .feed_id = feed + 1,
                     .source = KMY_SOURCE_BINANCE,
                     .kind = KMY_KIND_TRADE };
    kmy_subs_tick(s, &t);
}

static inline void turn(void)
{
    kmy_subs_fan_out(&x.s);
    kmy_egress_flush(&x.s);
}

/* The peer read: the socket takes so many bytes again. */
static inline void readable(uint32_t conn, uint64_t room)
{
    kmy_conn_t *c = &x.s.conns[conn];
    x.socket[conn].room = room;
    if (c->poll_armed) {
        c->poll_armed = false;
        kmy_egress_writable(&x.s, c);
    }
}

static inline void until_nothing_waits(uint32_t conn)
{
    for (int i = 0; i < 10000 && (x.s.conns[conn].out || x.s.conns[conn].pending_head != KMY_NONE);
         i++)
        turn();
    assert_null(x.s.conns[conn].out);
    assert_int_equal(x.s.conns[conn].pending_head, KMY_NONE);
}

/* --- the client ------------------------------------------------------------------------------------ */

typedef struct client {
    uint64_t next[FEEDS]; /* 0: none came yet */
    uint64_t frames, skipped, own, warnings;
    bool jumps; /* wants max_hz: offsets may jump without a gap */
    size_t cut; /* bytes of a last frame that is not whole */
} client_t;

static inline void a_frame(client_t *k, uint8_t opcode, const uint8_t *at, size_t len)
{
    char text[2048];
    uint32_t feed;
    unsigned long long from, to;
    unsigned reason;
    kmy_tick_t t;
    assert_true(len < sizeof text);
    memcpy(text, at, len);
    text[len] = 0;
    if (opcode == KMY_WS_BINARY) {
        kmy_errctx_t ctx; /* behind its size prefix */
        if (kmy_flat_decode(at + 4, len - 4, &t, NULL, &ctx) != KMY_OK)
            fail_msg("a damaged tick: %s", ctx.detail);
        feed = t.feed_id - 1;
        from = t.offset;
    } else if (sscanf(text, "{\"type\":\"gap\"} %u %llu %llu %u", &feed, &from, &to, &reason) ==
               4) {
        assert_true(k->next[feed] == 0 || from == k->next[feed]); /* the hole, exactly */
        assert_true(to >= from);
        k->skipped += to - from + 1;
        k->next[feed] = to + 1;
        return;
    } else if (strncmp(text, "{\"type\":\"warning\"}", 18) == 0) {
        k->warnings++;
        return;
    } else if (strcmp(text, "own") == 0) {
        k->own++;
        return;
    } else {
        const char *offset = strstr(text, "\"offset\":");
        for (feed = 0; feed < FEEDS && !strstr(text, x.catalog.feeds[feed].name); feed++)
            ;
        if (feed == FEEDS || !offset || text[len - 1] != '}')
            fail_msg("a damaged tick: %s", text);
        from = strtoull(offset + strlen("\"offset\":"), NULL, 10);
        char price[64];
        snprintf(price, sizeof price, "%llu.%02llu\"", (from * 10 + 7) / 100,
                 (from * 10 + 7) % 100);
        if (!strstr(text, price)) /* another tick's bytes in it */
            fail_msg("tick %llu without its price %s: %s", from, price, text);
    }
    if (k->next[feed] && (k->jumps ? from < k->next[feed] : from != k->next[feed]))
        fail_msg("feed %u: tick %llu where %llu was due", feed, from,
                 (unsigned long long)k->next[feed]);
    k->next[feed] = from + 1;
    k->frames++;
}

static inline client_t reassemble(uint32_t conn)
{
    client_t k = { .jumps = x.s.conns[conn].subs_head != KMY_NONE &&
                            x.s.subs[x.s.conns[conn].subs_head].pace_slots > 0 };
    const socket_t *so = &x.socket[conn];
    const kmy_ws_rules_t rules = { .server = false, .message_bytes_max = 65536 };
    for (size_t at = 0; at < so->len;) {
        kmy_ws_header_t h;
        kmy_errctx_t ctx = { 0 };
        kmy_err_t err = kmy_ws_header(&rules, so->got + at, so->len - at, &h, &ctx);
        if (err == KMY_AGAIN ||
            (err == KMY_OK && so->len - at < h.header_bytes + h.payload_bytes)) {
            k.cut = so->len - at;
            break;
        }
        if (err != KMY_OK)
            fail_msg("at byte %zu: %s", at, ctx.detail);
        a_frame(&k, h.opcode, so->got + at + h.header_bytes, (size_t)h.payload_bytes);
        at += h.header_bytes + (size_t)h.payload_bytes;
    }
    return k;
}

static inline void own_frame(uint32_t conn)
{
    kmy_egress_frame(&x.s, &x.s.conns[conn], KMY_WS_TEXT, "own", 3);
}

static inline const kmy_lease_t *lease(void)
{
    kmy_lease_check(&x.s.accounts[0].lease);
    return &x.s.accounts[0].lease;
}

#endif
