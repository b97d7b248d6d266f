/* engine/egress with engine/subs and engine/feedlog: what a socket takes, in pieces of any size, is what a client gets: whole frames, in order, each
   charged once, and nothing charged of which no byte was taken.

   The file under test is compiled into this one, with the four calls that reach the kernel replaced by a socket made here, and the shard's other
   files by their few effects. */
#include "engine/egress.h"

#include "engine/account.h"
#include "engine/conn.h"
#include "engine/shard.h"
#include "engine/stream.h"
#include "engine/subs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int wire_submit(struct io_uring *ring);
static int wire_wait(struct io_uring *ring, unsigned n);
static int wire_peek(struct io_uring *ring, struct io_uring_cqe **cqe);
static void wire_seen(struct io_uring *ring, struct io_uring_cqe *cqe);
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
    uint64_t starved, killed;
    uint64_t random;
} x;

static uint64_t rnd(uint64_t n)
{
    x.random ^= x.random >> 12;
    x.random ^= x.random << 25;
    x.random ^= x.random >> 27;
    return (x.random * UINT64_C(2685821657736338717) >> 11) % n;
}

/* --- the kernel ---------------------------------------------------------------------------------- */

static int take(const struct io_uring_sqe *sqe)
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

static int wire_submit(struct io_uring *ring)
{
    (void)ring;
    x.cqes = x.seen = 0;
    for (uint32_t i = 0; i < x.sqes; i++)
        x.cqe[x.cqes++] =
            (struct io_uring_cqe){ .user_data = x.sqe[i].user_data, .res = take(&x.sqe[i]) };
    x.sqes = 0;
    return 0;
}

static int wire_wait(struct io_uring *ring, unsigned n)
{
    (void)ring;
    (void)n;
    fail_msg("all sends were completed, but not all were seen");
    return 0;
}

static int wire_peek(struct io_uring *ring, struct io_uring_cqe **cqe)
{
    (void)ring;
    if (x.seen == x.cqes)
        return -EAGAIN;
    *cqe = &x.cqe[x.seen];
    return 0;
}

static void wire_seen(struct io_uring *ring, struct io_uring_cqe *cqe)
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
void kmy_conn_drained(kmy_shard_t *s, kmy_conn_t *c)
{
    (void)s;
    (void)c;
}
void kmy_account_list(kmy_shard_t *s, kmy_shard_account_t *acc)
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
void kmy_stream_slow_warning(kmy_buf_t *b, uint64_t lag_ticks)
{
    kmy_buf_fmt(b, "warning %llu", (unsigned long long)lag_ticks);
}
void kmy_stream_gap(kmy_buf_t *b, const kmy_feed_t *feed, uint64_t from, uint64_t to,
                    uint8_t reason)
{
    kmy_buf_fmt(b, "gap %u %llu %llu %u", feed->idx, (unsigned long long)from,
                (unsigned long long)to, reason);
}

/* --- a shard of a few connections, one account, three feeds ---------------------------------------- */

static void *zeroes(size_t n, size_t bytes)
{
    void *p = calloc(n, bytes);
    assert_non_null(p);
    return p;
}

static void begin(int64_t lease_nusd)
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
    s->sends = zeroes(KMY_SENDS_MAX, sizeof *s->sends);
    s->segments = zeroes(KMY_SEGMENTS_MAX, sizeof *s->segments);
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
                                    .slow_policy = KMY_SLOW_DROP,
                                    .subs_head = KMY_NONE,
                                    .pending_head = KMY_NONE,
                                    .pending_tail = KMY_NONE };
        x.socket[i] = (socket_t){ .got = zeroes(1, WIRE_MAX), .room = UINT64_MAX };
    }
}

static void end(void)
{
    kmy_shard_t *s = &x.s;
    for (uint32_t i = 0; i < CONNS; i++) {
        kmy_stream_unsubscribe_all(s, &s->conns[i]);
        free(s->conns[i].out);
        free(x.socket[i].got);
    }
    for (uint32_t i = 0; i < FEEDS; i++) {
        free(s->feeds[i].subs);
        for (int e = 0; e < KMY_ENCODINGS; e++)
            kmy_feedlog_close(&s->feeds[i].log[e]);
    }
    void *all[] = { s->conns, s->dirty, s->dirty_next, s->starving, s->subs,         s->accounts,
                    s->stage, s->sends, s->segments,   s->feeds,    s->touched_feeds };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    kmy_catalog_free(&x.catalog);
    kmy_config_free(&x.cfg);
}

static void subscribe_paced(uint32_t conn, uint32_t feed, uint8_t encoding, uint32_t pace_slots)
{
    kmy_resume_t none = { .given = false };
    kmy_sub_options_t o = { .encoding = encoding, .pace_slots = pace_slots };
    assert_int_not_equal(kmy_subs_add(&x.s, &x.s.conns[conn], feed, &o, &none), KMY_NONE);
}

static void subscribe(uint32_t conn, uint32_t feed, uint8_t encoding)
{
    subscribe_paced(conn, feed, encoding, 0);
}

static void tick(uint32_t feed)
{
    kmy_shard_t *s = &x.s;
    uint64_t offset = s->feeds[feed].last.offset + 1;
    kmy_tick_t t = { .offset = offset,
                     .recv_ns = s->now_wall_ns,
                     .price_mant = (int64_t)(offset * 10 + 7),
                     .price_expo = -2,
                     .feed_id = feed + 1,
                     .source = KMY_SOURCE_BINANCE,
                     .kind = KMY_KIND_TRADE };
    kmy_subs_tick(s, &t);
}

static void turn(void)
{
    kmy_subs_fan_out(&x.s);
    kmy_egress_flush(&x.s);
}

/* The peer read: the socket takes so many bytes again. */
static void readable(uint32_t conn, uint64_t room)
{
    kmy_conn_t *c = &x.s.conns[conn];
    x.socket[conn].room = room;
    if (c->poll_armed) {
        c->poll_armed = false;
        kmy_egress_writable(&x.s, c);
    }
}

static void until_nothing_waits(uint32_t conn)
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

static void a_frame(client_t *k, uint8_t opcode, const uint8_t *at, size_t len)
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
    } else if (sscanf(text, "gap %u %llu %llu %u", &feed, &from, &to, &reason) == 4) {
        assert_true(k->next[feed] == 0 || from == k->next[feed]); /* the hole, exactly */
        assert_true(to >= from);
        k->skipped += to - from + 1;
        k->next[feed] = to + 1;
        return;
    } else if (strncmp(text, "warning ", 8) == 0) {
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

static client_t reassemble(uint32_t conn)
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

static void own_frame(uint32_t conn)
{
    kmy_egress_frame(&x.s, &x.s.conns[conn], KMY_WS_TEXT, "own", 3);
}

/* --- the rules ------------------------------------------------------------------------------------- */

static const kmy_lease_t *lease(void)
{
    kmy_lease_check(&x.s.accounts[0].lease);
    return &x.s.accounts[0].lease;
}

static void a_balance_for_part_buys_exactly_that_part_and_more_money_the_rest(void **state)
{
    (void)state;
    for (int64_t can = 0; can <= 12; can++) {
        begin(can * PRICE + PRICE - 1); /* a nano-USD short of one more */
        subscribe(0, 0, KMY_ENC_JSON);
        for (int i = 0; i < 10; i++)
            tick(0);
        turn();
        uint64_t want = can < 10 ? (uint64_t)can : 10;
        assert_int_equal(reassemble(0).frames, want);
        assert_int_equal(x.s.conns[0].charged_ticks, want);
        assert_int_equal(lease()->spent_nusd, (int64_t)want * PRICE);
        assert_int_equal(x.starved, can < 10);
        turn(); /* nothing more comes by itself */
        assert_int_equal(reassemble(0).frames, want);
        x.s.accounts[0].lease.granted_nusd += 10 * PRICE;
        x.s.accounts[0].lease.left_nusd += 10 * PRICE;
        x.s.conns[0].starved = false;
        kmy_egress_mark(&x.s, &x.s.conns[0]);
        turn();
        client_t k = reassemble(0);
        assert_int_equal(k.frames, 10);
        assert_int_equal(k.skipped, 0);
        assert_int_equal(lease()->spent_nusd, 10 * PRICE);
        end();
    }
}

static void cut_at(size_t cut, uint8_t encoding, size_t *total)
{
    begin(1000 * PRICE);
    for (uint32_t f = 0; f < 2; f++)
        subscribe(0, f, encoding);
    own_frame(0);
    for (int i = 0; i < 6; i++)
        tick((uint32_t)i % 2);
    x.socket[0].room = cut;
    turn();
    client_t k = reassemble(0);
    assert_int_equal(x.socket[0].len, cut < *total ? cut : *total);
    /* Charged is what the socket took a byte of: whole frames and the one that is cut, unless that is our own. */
    uint64_t begun = k.frames + (k.cut > 0 && k.own == 1);
    if (x.s.conns[0].charged_ticks != begun)
        fail_msg("cut at %zu: charged %llu of %llu", cut,
                 (unsigned long long)x.s.conns[0].charged_ticks, (unsigned long long)begun);
    assert_int_equal(lease()->spent_nusd, (int64_t)begun * PRICE);
    assert_int_equal(lease()->ticks_count, begun);
    tick(0); /* the market goes on meanwhile; the peer reads a byte, then all */
    turn();
    assert_int_equal(x.socket[0].len, cut < *total ? cut : x.socket[0].len);
    readable(0, 1);
    turn();
    readable(0, UINT64_MAX);
    until_nothing_waits(0);
    k = reassemble(0);
    assert_int_equal(k.cut, 0);
    assert_int_equal(k.own, 1);
    assert_int_equal(k.frames, 7);
    assert_int_equal(k.skipped, 0);
    assert_int_equal(x.s.conns[0].charged_ticks, 7);
    assert_int_equal(lease()->spent_nusd, 7 * PRICE);
    end();
}

static void a_send_cut_at_any_byte_leaves_whole_frames_in_order_each_charged_once(void **state)
{
    (void)state;
    for (uint8_t enc = 0; enc < KMY_ENCODINGS; enc++) {
        begin(1000 * PRICE);
        for (uint32_t f = 0; f < 2; f++)
            subscribe(0, f, enc);
        own_frame(0);
        for (int i = 0; i < 6; i++)
            tick((uint32_t)i % 2);
        turn();
        size_t total = x.socket[0].len;
        end();
        assert_true(total > 600);
        for (size_t cut = 0; cut <= total; cut++)
            cut_at(cut, enc, &total);
    }
}

static void a_reader_too_slow_for_the_log_is_told_of_exactly_what_it_missed(void **state)
{
    (void)state;
    static const uint8_t policy[] = { KMY_SLOW_DROP, KMY_SLOW_CONFLATE };
    for (size_t p = 0; p < 2; p++) {
        begin(INT64_C(1000000) * PRICE);
        x.s.log_limits = (kmy_feedlog_limits_t){ 64, INT64_C(1000000000), 1 << 14 };
        x.cfg.limits.lag_ticks = 32;
        x.s.conns[0].slow_policy = policy[p];
        subscribe(0, 0, KMY_ENC_JSON);
        subscribe(1, 0, KMY_ENC_JSON); /* the other one reads */
        x.socket[0].room = 500;
        for (int i = 0; i < 1000; i++) {
            tick(0);
            turn();
        }
        readable(0, UINT64_MAX);
        until_nothing_waits(0);
        client_t slow = reassemble(0), quick = reassemble(1);
        assert_int_equal(quick.frames, 1000);
        assert_int_equal(quick.skipped, 0);
        assert_true(slow.skipped > 0);
        assert_int_equal(slow.frames + slow.skipped, 1000);
        assert_int_equal(slow.next[0], 1001);
        assert_int_equal(slow.warnings, 1);
        assert_int_equal(quick.warnings, 0);
        assert_int_equal(x.s.conns[0].charged_ticks, slow.frames);
        assert_int_equal(lease()->spent_nusd, (int64_t)(slow.frames + 1000) * PRICE);
        end();
    }
}

static void who_hangs_up_has_paid_for_what_was_taken_and_no_more(void **state)
{
    (void)state;
    begin(100 * PRICE);
    subscribe(0, 0, KMY_ENC_JSON);
    for (int i = 0; i < 10; i++)
        tick(0);
    x.socket[0].room = 300;
    turn();
    client_t k = reassemble(0);
    kmy_stream_unsubscribe_all(&x.s, &x.s.conns[0]);
    kmy_conn_kill(&x.s, &x.s.conns[0]);
    turn();
    assert_int_equal(lease()->spent_nusd, (int64_t)(k.frames + (k.cut > 0)) * PRICE);
    assert_int_equal(lease()->spent_nusd + lease()->left_nusd, 100 * PRICE);
    end();
}

static void a_session_that_takes_none_of_our_own_frames_is_ended(void **state)
{
    (void)state;
    begin(0);
    x.socket[0].room = 0;
    for (int i = 0; i < KMY_OUT_BYTES_MAX && x.killed == 0; i++) {
        own_frame(0);
        turn();
    }
    assert_int_equal(x.killed, 1);
    assert_true(kmy_out_count(&x.s.conns[0]) <= KMY_OUT_BYTES_MAX);
    end();
}

static void pass_slots(uint32_t slots)
{
    x.s.now_ns += (int64_t)slots << KMY_PACE_SHIFT;
    kmy_pace_turn(&x.s);
}

static void max_hz_gets_the_newest_tick_at_its_time_and_pays_for_that_alone(void **state)
{
    (void)state;
    static const uint32_t period[] = { 1, 10, 1023, 1024, 1025, 5000 };
    for (size_t p = 0; p < sizeof period / sizeof period[0]; p++) {
        begin(1000 * PRICE);
        subscribe_paced(0, 0, KMY_ENC_JSON, period[p]);
        subscribe(1, 0, KMY_ENC_JSON);
        uint64_t due = 0;
        for (int round = 0; round < 5; round++) {
            for (int i = 0; i < 7;
                 i++) { /* the first of a round goes at once only in the first round */
                tick(0);
                turn();
            }
            if (round == 0)
                assert_int_equal(reassemble(0).next[0], 2);
            pass_slots(period[p] - 1);
            turn();
            assert_int_equal(reassemble(0).frames, due + (round == 0));
            pass_slots(1);
            turn();
            due = (uint64_t)round + 2;
            client_t k = reassemble(0);
            assert_int_equal(k.frames, due);
            assert_int_equal(k.next[0], x.s.feeds[0].last.offset + 1); /* the newest */
            assert_int_equal(k.skipped, 0);                            /* and no gap */
        }
        assert_int_equal(x.s.conns[0].charged_ticks, due);
        assert_int_equal(x.s.conns[1].charged_ticks, 35);
        assert_int_equal(lease()->spent_nusd, (int64_t)(due + 35) * PRICE);
        assert_int_equal(x.s.pace.count, 0);
        pass_slots(20000); /* nothing new: nothing comes */
        turn();
        assert_int_equal(reassemble(0).frames, due);
        tick(0); /* its time is long over: at once */
        turn();
        assert_int_equal(reassemble(0).frames, due + 1);
        end();
    }
}

static void the_wheel_forgets_who_leaves_and_wakes_for_who_stays(void **state)
{
    (void)state;
    begin(1000 * PRICE);
    for (uint32_t c = 0; c < CONNS; c++)
        subscribe_paced(c, 0, KMY_ENC_JSON, 100 + c % 2);
    assert_int_equal(kmy_pace_next_ns(&x.s.pace), INT64_MAX);
    tick(0);
    turn();
    int64_t began_ns = x.s.now_ns;
    tick(0);
    turn();
    assert_int_equal(x.s.pace.count, CONNS);
    int64_t next_ns = kmy_pace_next_ns(&x.s.pace);
    assert_true(next_ns > began_ns + (INT64_C(99) << KMY_PACE_SHIFT));
    assert_true(next_ns <= began_ns + (INT64_C(100) << KMY_PACE_SHIFT));
    static const uint32_t leaves[] = { 2, 0, 5 };
    for (uint32_t i = 0; i < 3; i++)
        kmy_stream_unsubscribe_all(&x.s, &x.s.conns[leaves[i]]);
    assert_int_equal(x.s.pace.count, CONNS - 3);
    pass_slots(101);
    turn();
    for (uint32_t c = 0; c < CONNS; c++)
        assert_int_equal(x.s.conns[c].charged_ticks, c == 2 || c == 0 || c == 5 ? 1 : 2);
    assert_int_equal(x.s.pace.count, 0);
    assert_int_equal(kmy_pace_next_ns(&x.s.pace), INT64_MAX);
    end();
}

/* --- anything in any order --------------------------------------------------------------------------- */

static void do_anything(void)
{
    uint32_t conn = (uint32_t)rnd(CONNS);
    switch (rnd(6)) {
    case 0:
        readable(conn, rnd(4) ? rnd(3000) : rnd(200000));
        break;
    case 1:
        if (kmy_out_count(&x.s.conns[conn]) < KMY_OUT_BYTES_MAX / 2)
            own_frame(conn);
        break;
    case 2: { /* money comes */
        int64_t more = (int64_t)rnd(100) * PRICE / 3;
        x.s.accounts[0].lease.granted_nusd += more;
        x.s.accounts[0].lease.left_nusd += more;
        for (uint32_t i = 0; i < CONNS; i++) {
            x.s.conns[i].starved = false;
            kmy_egress_mark(&x.s, &x.s.conns[i]);
        }
        break;
    }
    default:
        for (uint64_t n = rnd(8); n > 0; n--)
            tick((uint32_t)rnd(FEEDS));
    }
    x.s.now_ns += (int64_t)rnd(20000000);
    kmy_pace_turn(&x.s);
}

static void whatever_happens_clients_get_whole_frames_and_pay_for_those(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        begin(50 * PRICE);
        x.random = seed * UINT64_C(0x9e3779b97f4a7c15);
        x.s.log_limits = (kmy_feedlog_limits_t){ 256, INT64_C(2000000000), 1 << 16 };
        x.cfg.limits.lag_ticks = 200;
        x.cfg.limits.lag_ns = 1000000000;
        for (uint32_t i = 0; i < CONNS; i++) {
            x.s.conns[i].slow_policy = (uint8_t)(i % 2 ? KMY_SLOW_DROP : KMY_SLOW_CONFLATE);
            for (uint32_t f = 0; f <= i % FEEDS; f++)
                subscribe_paced(i, f, (uint8_t)(i / 3), i == CONNS - 1 ? 40 : 0);
        }
        for (int step = 0; step < 4000; step++) {
            do_anything();
            turn();
            uint64_t charged = 0;
            for (uint32_t i = 0; i < CONNS; i++)
                charged += x.s.conns[i].charged_ticks;
            assert_int_equal(lease()->spent_nusd, (int64_t)charged * PRICE);
            assert_int_equal(lease()->ticks_count, charged);
        }
        x.s.accounts[0].lease.granted_nusd += INT64_C(1000000) * PRICE;
        x.s.accounts[0].lease.left_nusd += INT64_C(1000000) * PRICE;
        pass_slots(40);
        for (uint32_t i = 0; i < CONNS; i++) {
            x.s.conns[i].starved = false;
            readable(i, UINT64_MAX);
            kmy_egress_mark(&x.s, &x.s.conns[i]);
            until_nothing_waits(i);
            client_t k = reassemble(i);
            assert_int_equal(k.cut, 0);
            assert_int_equal(k.frames, x.s.conns[i].charged_ticks);
            uint64_t due = 0;
            for (uint32_t f = 0; f <= i % FEEDS; f++) {
                assert_int_equal(k.next[f], x.s.feeds[f].last.offset + 1);
                due += x.s.feeds[f].last.offset;
            }
            if (!k.jumps)
                assert_int_equal(k.frames + k.skipped,
                                 due); /* each tick came or was told missing */
        }
        assert_int_equal(x.killed, 0);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_balance_for_part_buys_exactly_that_part_and_more_money_the_rest),
        cmocka_unit_test(a_send_cut_at_any_byte_leaves_whole_frames_in_order_each_charged_once),
        cmocka_unit_test(a_reader_too_slow_for_the_log_is_told_of_exactly_what_it_missed),
        cmocka_unit_test(who_hangs_up_has_paid_for_what_was_taken_and_no_more),
        cmocka_unit_test(a_session_that_takes_none_of_our_own_frames_is_ended),
        cmocka_unit_test(max_hz_gets_the_newest_tick_at_its_time_and_pays_for_that_alone),
        cmocka_unit_test(the_wheel_forgets_who_leaves_and_wakes_for_who_stays),
        cmocka_unit_test(whatever_happens_clients_get_whole_frames_and_pay_for_those),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
