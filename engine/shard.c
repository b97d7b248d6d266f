/* tick 5/8   in: ringbuf/ring   out: wire/tick_json, wire/flat */
#include "engine/shard.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/account.h"
#include "engine/catchup.h"
#include "engine/compare_route.h"
#include "engine/conn.h"
#include "engine/discount.h"
#include "engine/drain.h"
#include "engine/egress.h"
#include "engine/page.h"
#include "engine/passes.h"
#include "engine/receipts.h"
#include "engine/reload.h"
#include "engine/reply.h"
#include "engine/roster.h"
#include "engine/routes.h"
#include "engine/session.h"
#include "engine/session_table.h"
#include "engine/slips.h"
#include "engine/stream.h"
#include "engine/subs.h"
#include "engine/uses.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    SQ_ENTRIES = 4096,
    CQ_ENTRIES = 32768,
    SLIPS_PER_TURN = 64,         /* each runs a request */
    COMPLETIONS_PER_TURN = 1024, /* 1 to 5 us each: ticks wait for no more than a few ms of input */
    DEFERRED_MAX =
        1
        << 18, /* a receive buffer, a poll and an end of receiving per connection, accepted sockets: all at once */
    REUSED_MAX = 1 << 16, /* slots that may be freed and taken again within one turn */
    HOUSEKEEP_MS = 50,
    SCANS_PER_S = 1, /* every connection is looked at once a second, in slices */
    STATUS_EVERY_NS = 250000000,
    COMPLAIN_EVERY_S = 10,
};

/* --- small things the other files need ------------------------------------------------------- */

struct io_uring_sqe *kmy_shard_sqe(kmy_shard_t *s)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&s->uring);
    if (!sqe) {
        io_uring_submit(&s->uring);
        sqe = io_uring_get_sqe(&s->uring);
        KMY_ASSERT(sqe != NULL);
    }
    return sqe;
}

void kmy_shard_defer(kmy_shard_t *s, const struct io_uring_cqe *cqe)
{
    KMY_ASSERT(s->deferred_count < DEFERRED_MAX);
    s->deferred[s->deferred_count++] = (kmy_cqe_t){ cqe->user_data, cqe->res, cqe->flags };
}

bool kmy_shard_keeper_keeps_up(const kmy_shard_t *s)
{
    size_t slots = kmy_queue_slots(s->asks);
    return kmy_queue_count(s->asks) < slots - slots / 4;
}

bool kmy_shard_ask_and_park(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                            const kmy_ask_t *ask)
{
    if (!kmy_queue_push(s->asks, ask)) {
        kmy_reply_problem_with(s, c, req, KMY_UNAVAILABLE,
                               "the ledger is behind; try again in a second", "Retry-After: 1\r\n",
                               NULL);
        return false;
    }
    kmy_wake_signal(&s->o.topology->keeper_wake);
    kmy_conn_park(c);
    return true;
}

/* --- memory -------------------------------------------------------------------------------- */

static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Everything a shard will ever index, as address space taken once; pages come as they are used. */
static bool take_memory(kmy_shard_t *s)
{
    const kmy_config_t *cfg = s->config;
    s->conns_max = (uint32_t)cfg->limits.connections + KMY_CONNS_RESERVE;
    uint64_t subs =
        (uint64_t)s->conns_max * 64; /* more than that on average is refused, politely */
    s->subs_max = subs > (1u << 22) ? 1u << 22 : (uint32_t)subs;
    s->accounts_max = s->conns_max * 2;
    s->conns = reserve(s->conns_max * sizeof *s->conns);
    s->dying = reserve((s->conns_max + REUSED_MAX) * sizeof *s->dying);
    s->dirty = reserve((s->conns_max + REUSED_MAX) * sizeof *s->dirty);
    s->dirty_next = reserve((s->conns_max + REUSED_MAX) * sizeof *s->dirty_next);
    s->starving = reserve(s->conns_max * sizeof *s->starving);
    s->subs = reserve(s->subs_max * sizeof *s->subs);
    s->accounts = reserve(s->accounts_max * sizeof *s->accounts);
    s->touched = reserve(s->accounts_max * sizeof *s->touched);
    s->stage = reserve(KMY_STAGE_BYTES);
    s->sends = reserve(KMY_SENDS_MAX * sizeof *s->sends);
    s->segments = reserve(KMY_SEGMENTS_MAX * sizeof *s->segments);
    s->rooms = reserve((size_t)KMY_ROOMS * KMY_ROOM_BYTES);
    s->drained = reserve(KMY_SENDS_MAX * sizeof *s->drained);
    s->scratch = reserve(KMY_SCRATCH_BYTES);
    s->inflated = reserve(KMY_ECHO_BYTES_MAX);
    s->deflate = cfg->public_door.deflate ? kmy_ws_deflate_new() : NULL;
    s->tls_plain = reserve(KMY_TLS_RECORD_BYTES);
    s->tls_out = reserve(KMY_TLS_OUT_BYTES);
    s->deferred = reserve(DEFERRED_MAX * sizeof *s->deferred);
    s->recv_mem = reserve((size_t)KMY_RECV_BUFFERS * KMY_RECV_BYTES);
    s->feeds = calloc(s->catalog->feeds_count + 1, sizeof *s->feeds);
    s->touched_feeds = calloc(s->catalog->feeds_count + 1, sizeof *s->touched_feeds);
    s->strangers_head = s->strangers_tail = KMY_NONE;
    s->conns_free = s->subs_free = s->accounts_free = KMY_NONE;
    if (cfg->public_door.deflate && !s->deflate)
        return false;
    return s->inflated && s->conns && s->dying && s->dirty && s->dirty_next && s->starving &&
           s->subs && s->accounts && s->touched && s->stage && s->sends && s->segments &&
           s->drained && s->tls_plain && s->tls_out && s->rooms && s->scratch && s->deferred &&
           s->recv_mem && s->feeds && s->touched_feeds;
}

static void unmap(void *p, size_t bytes)
{
    if (p)
        munmap(p, bytes);
}

static void free_memory(kmy_shard_t *s)
{
    unmap(s->conns, s->conns_max * sizeof *s->conns);
    unmap(s->dying, (s->conns_max + REUSED_MAX) * sizeof *s->dying);
    unmap(s->dirty, (s->conns_max + REUSED_MAX) * sizeof *s->dirty);
    unmap(s->dirty_next, (s->conns_max + REUSED_MAX) * sizeof *s->dirty_next);
    unmap(s->starving, s->conns_max * sizeof *s->starving);
    unmap(s->subs, s->subs_max * sizeof *s->subs);
    for (uint32_t i = 0; s->accounts && i < s->accounts_high; i++)
        kmy_uses_free(&s->accounts[i].uses);
    for (uint32_t i = 0; s->accounts && i < s->accounts_high; i++)
        kmy_passes_forget(&s->accounts[i]);
    unmap(s->accounts, s->accounts_max * sizeof *s->accounts);
    unmap(s->touched, s->accounts_max * sizeof *s->touched);
    unmap(s->stage, KMY_STAGE_BYTES);
    unmap(s->sends, KMY_SENDS_MAX * sizeof *s->sends);
    unmap(s->segments, KMY_SEGMENTS_MAX * sizeof *s->segments);
    unmap(s->rooms, (size_t)KMY_ROOMS * KMY_ROOM_BYTES);
    unmap(s->drained, KMY_SENDS_MAX * sizeof *s->drained);
    unmap(s->scratch, KMY_SCRATCH_BYTES);
    unmap(s->inflated, KMY_ECHO_BYTES_MAX);
    kmy_ws_deflate_free(s->deflate);
    unmap(s->tls_plain, KMY_TLS_RECORD_BYTES);
    unmap(s->tls_out, KMY_TLS_OUT_BYTES);
    unmap(s->deferred, DEFERRED_MAX * sizeof *s->deferred);
    unmap(s->recv_mem, (size_t)KMY_RECV_BUFFERS * KMY_RECV_BYTES);
    for (uint32_t i = 0; s->feeds && i < s->catalog->feeds_count; i++) {
        free(s->feeds[i].subs);
        for (int e = 0; e < KMY_ENCODINGS; e++)
            kmy_feedlog_close(&s->feeds[i].log[e]);
    }
    kmy_compare_close(s);
    free(s->own_catalog.feeds);
    free(s->feeds);
    free(s->touched_feeds);
    kmy_strmap_fini(&s->account_names);
    kmy_strmap_fini(&s->revoked);
    kmy_receipts_free(s);
}

static bool prepare_feeds(kmy_shard_t *s)
{
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++) {
        const kmy_feed_t *feed = &s->catalog->feeds[i];
        kmy_shard_feed_t *f = &s->feeds[i];
        f->last = s->o.last[i];
        f->last_quote = s->o.last_quote[i];
        kmy_tick_json_init(&f->json, feed->name);
        kmy_flat_init(&f->flat, KMY_FLAT_STREAM, feed->id, feed->name);
    }
    uint64_t keep = (uint64_t)s->config->limits.lag_ticks + KMY_TICKS_PER_TURN;
    uint64_t bytes = 4096;
    while (bytes < keep * KMY_TICK_JSON_BYTES_MAX /
                       2) /* a usual tick is well below half of the longest possible */
        bytes *= 2;
    /* A paused session goes on at the first undelivered tick when it is paid for, so the grace period is kept too. */
    int64_t keep_ns = s->config->limits.unpaid_grace_ns + 2 * s->config->limits.lag_ns;
    s->log_limits =
        (kmy_feedlog_limits_t){ .keep_ticks = keep, .keep_ns = keep_ns, .bytes_max = bytes };
    return kmy_compare_open(s);
}

/* --- io_uring ------------------------------------------------------------------------------ */

static void give_buffer(kmy_shard_t *s, uint32_t bid)
{
    io_uring_buf_ring_add(s->recv_ring, s->recv_mem + (size_t)bid * KMY_RECV_BYTES, KMY_RECV_BYTES,
                          (unsigned short)bid, io_uring_buf_ring_mask(KMY_RECV_BUFFERS), 0);
    io_uring_buf_ring_advance(s->recv_ring, 1);
}

static void arm_accept(kmy_shard_t *s, uint32_t door)
{
    if (s->o.listen_fd[door] < 0)
        return;
    struct io_uring_sqe *sqe = kmy_shard_sqe(s);
    io_uring_prep_poll_add(sqe, s->o.listen_fd[door], POLLIN);
    io_uring_sqe_set_data64(sqe, kmy_op_pack(KMY_OP_ACCEPT, 0, door));
}

static void arm_wake(kmy_shard_t *s)
{
    struct io_uring_sqe *sqe = kmy_shard_sqe(s);
    io_uring_prep_poll_multishot(sqe, s->wake->fd, POLLIN);
    io_uring_sqe_set_data64(sqe, kmy_op_pack(KMY_OP_WAKE, 0, 0));
}

static kmy_err_t open_uring(kmy_shard_t *s, kmy_errctx_t *ctx)
{
    struct io_uring_params p = {
        .flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        .cq_entries = CQ_ENTRIES,
    };
    int rc = io_uring_queue_init_params(SQ_ENTRIES, &s->uring, &p);
    if (rc < 0) {
        errno = -rc;
        return KMY_FAIL_SYS(ctx, KMY_IO,
                            "io_uring is not to be had: %s; Linux 6.1 or newer is needed, and "
                            "kernel.io_uring_disabled=0",
                            strerror(-rc));
    }
    s->recv_ring = reserve(KMY_RECV_BUFFERS * sizeof(struct io_uring_buf));
    if (!s->recv_ring)
        return KMY_FAIL(ctx, KMY_IO, "no memory for the receive ring");
    struct io_uring_buf_reg reg = { .ring_addr = (uint64_t)(uintptr_t)s->recv_ring,
                                    .ring_entries = KMY_RECV_BUFFERS,
                                    .bgid = 0 };
    rc = io_uring_register_buf_ring(&s->uring, &reg, 0);
    if (rc < 0)
        return KMY_FAIL(ctx, KMY_IO,
                        "io_uring has no buffer rings: %s; Linux 6.1 or newer is needed",
                        strerror(-rc));
    io_uring_buf_ring_init(s->recv_ring);
    for (uint32_t i = 0; i < KMY_RECV_BUFFERS; i++)
        give_buffer(s, i);
    for (uint32_t d = 0; d < KMY_DOORS; d++)
        arm_accept(s, d);
    arm_wake(s);
    return KMY_OK;
}

static void on_recv(kmy_shard_t *s, const kmy_cqe_t *e)
{
    kmy_conn_t *c = kmy_conn_at(s, kmy_op_idx(e->data));
    bool has_buffer = e->flags & IORING_CQE_F_BUFFER;
    uint32_t bid = e->flags >> IORING_CQE_BUFFER_SHIFT;
    if (c->gen == kmy_op_gen(e->data) && c->state != KMY_CONN_FREE)
        kmy_conn_received(s, c, has_buffer ? s->recv_mem + (size_t)bid * KMY_RECV_BYTES : NULL,
                          e->res, e->flags & IORING_CQE_F_MORE);
    if (has_buffer)
        give_buffer(s, bid);
}

static void on_poll(kmy_shard_t *s, const kmy_cqe_t *e)
{
    kmy_conn_t *c = kmy_conn_at(s, kmy_op_idx(e->data));
    if (c->gen != kmy_op_gen(e->data) || c->state == KMY_CONN_FREE)
        return;
    c->poll_armed = false;
    if (c->state == KMY_CONN_DEAD)
        kmy_conn_release(s, c);
    else
        kmy_egress_writable(s, c);
}

/* Armed at once it would fail at once, as long as somebody waits in the backlog: a whole core and a line of log each time. */
static void accept_later(kmy_shard_t *s, uint32_t door)
{
    s->accepts_due |= (uint8_t)(1u << door);
    if (s->accept_told_ns && s->now_ns - s->accept_told_ns < COMPLAIN_EVERY_S * KMY_NS_PER_S)
        return;
    s->accept_told_ns = s->now_ns;
    kmy_log(KMY_LOG_ERROR, "shard",
            "no descriptors left to accept with; raise the limit (ulimit -n)");
}

static void accept_again(kmy_shard_t *s)
{
    for (uint32_t d = 0; d < KMY_DOORS; d++) {
        if ((s->accepts_due >> d & 1) && atomic_load(&s->phase) == KMY_PHASE_RUN)
            arm_accept(s, d);
    }
    s->accepts_due = 0;
}

/* Somebody waits at a door.  Only so many are let in per turn, that a flood of newcomers does not hold up who is in; the poll is armed again and says
   at once that there are more.  (A multishot accept would take them all.) */
static void on_accept(kmy_shard_t *s, const kmy_cqe_t *e)
{
    uint32_t door = kmy_op_idx(e->data);
    if (s->o.listen_fd[door] < 0 || atomic_load(&s->phase) != KMY_PHASE_RUN)
        return;
    for (int i = 0; i < KMY_ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof peer;
        int fd = accept4(s->o.listen_fd[door], (struct sockaddr *)&peer, &len,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            kmy_conn_open(s, fd, (uint8_t)door, &peer);
        } else if (errno == EMFILE || errno == ENFILE) {
            accept_later(s, door);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            break; /* nobody waits any more (or ENOBUFS and the like: looked at again at once) */
        }
    }
    arm_accept(s, door);
}

static void dispatch(kmy_shard_t *s, const kmy_cqe_t *e)
{
    switch (kmy_op_of(e->data)) {
    case KMY_OP_RECV:
        on_recv(s, e);
        break;
    case KMY_OP_POLL:
        on_poll(s, e);
        break;
    case KMY_OP_ACCEPT:
        on_accept(s, e);
        break;
    case KMY_OP_WAKE:
        if (!(e->flags & IORING_CQE_F_MORE))
            arm_wake(s);
        break;
    case KMY_OP_SEND:
    case KMY_OP_CANCEL:
        break;
    }
}

/* Completions in order: those kept back first.  Bounded: what comes meanwhile is for the next turn.

   One io_uring_enter runs 20 pieces of deferred work (IO_LOCAL_TW_DEFAULT_MAX, Linux 6.13 on), so a turn that entered once took in 20 inputs and then
   sent to a thousand: closing a thousand sockets took a hundred turns.  With IORING_SETUP_TASKRUN_FLAG the peek sees that work is left, and
   enters again. */
static uint32_t handle_completions(kmy_shard_t *s)
{
    uint32_t done = 0;
    for (uint32_t i = 0; i < s->deferred_count; i++, done++)
        dispatch(s, &s->deferred[i]);
    s->deferred_count = 0;
    struct io_uring_cqe *cqe;
    while (done < COMPLETIONS_PER_TURN && io_uring_peek_cqe(&s->uring, &cqe) == 0) {
        kmy_cqe_t e = { cqe->user_data, cqe->res, cqe->flags };
        io_uring_cqe_seen(&s->uring, cqe);
        dispatch(s, &e);
        done++;
    }
    return done;
}

/* --- the turn ------------------------------------------------------------------------------ */

static size_t drain_ring(kmy_shard_t *s)
{
    kmy_tick_t *ticks = kmy_shard_room(s, KMY_ROOM_TICKS);
    _Static_assert(KMY_TICKS_PER_TURN * sizeof *ticks <= KMY_ROOM_BYTES, "a turn's ticks fit");
    uint64_t lost = s->ring_lost;
    size_t n = kmy_ring_read(s->ring, &s->ring_cursor, ticks, KMY_TICKS_PER_TURN, &s->ring_lost);
    for (size_t i = 0; i < n; i++)
        kmy_subs_tick(s, &ticks[i]);
    kmy_subs_fan_out(s);
    if (n)
        KMY_COUNT(s->metrics, shard_tick_total, n);
    if (s->ring_lost != lost)
        KMY_COUNT(s->metrics, shard_lost_total, s->ring_lost - lost);
    return n;
}

static void answered(kmy_shard_t *s, const kmy_tell_t *tell)
{
    kmy_conn_t *c = kmy_conn_at(s, tell->slot);
    if (tell->slot >= s->conns_high || c->gen != tell->gen || !c->parked ||
        c->parked_account != KMY_NONE)
        return; /* it hung up meanwhile */
    s->answer = tell;
    c->parked = false;
    c->answered = true;
    kmy_conn_resume(s, c);
    c->answered = false;
    s->answer = NULL;
}

static void take_answer(kmy_shard_t *s, const kmy_tell_t *tell)
{
    answered(s, tell);
    if (tell->ask_kind == KMY_ASK_USAGE && tell->err == KMY_OK)
        free(tell->usage); /* whether somebody was there for it or not */
}

static size_t drain_tells(kmy_shard_t *s)
{
    kmy_tell_t tell;
    size_t n = 0;
    while (n < 256 && kmy_queue_pop(s->tells, &tell)) {
        n++;
        if (tell.kind == KMY_TELL_ANSWER)
            take_answer(s, &tell);
        else if (tell.kind == KMY_TELL_REVOKED)
            kmy_stream_revoked(s, tell.text, tell.when_s);
        else if (tell.kind == KMY_TELL_RECEIPT)
            kmy_receipts_told(s, &tell);
        else
            kmy_account_told(s, &tell);
    }
    if (n)
        kmy_wake_signal(&s->o.topology->keeper_wake); /* it may be waiting for room */
    return n;
}

/* Feeds whose state changed since it was last told. */
static void tell_status(kmy_shard_t *s)
{
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++) {
        kmy_shard_feed_t *f = &s->feeds[i];
        if (f->subs_count == 0) {
            f->told_stale = kmy_feed_is_stale(s, i);
            kmy_subs_close_unused(s, i);
            continue;
        }
        bool stale = kmy_feed_is_stale(s, i);
        if (stale != f->told_stale)
            kmy_stream_status(s, i, stale ? "stale" : "live", f->last.recv_ns);
        f->told_stale = stale;
    }
}

static void release_dying(kmy_shard_t *s)
{
    for (uint32_t i = 0; i < s->dying_count; i++)
        kmy_conn_release(s, kmy_conn_at(s, s->dying[i]));
    s->dying_count = 0;
}

/* Drain: sessions are told and closed, then every lease goes back; done when nothing is held, or the time is over. */
static bool drained(kmy_shard_t *s)
{
    if (!s->stopping) {
        s->stopping = true;
        for (int d = 0; d < KMY_DOORS; d++) {
            if (s->o.listen_fd[d] >= 0) {
                shutdown(s->o.listen_fd[d], SHUT_RDWR); /* ends the armed accept */
                close(s->o.listen_fd[d]);
                s->o.listen_fd[d] = -1;
            }
        }
        kmy_drain_start(s, "restart");
    }
    uint32_t receipts = kmy_drain_turn(s);
    int64_t over_ns = s->now_ns - s->drain_ns - s->drain_window_ns;
    bool late = over_ns > KMY_DRAIN_PATIENCE_S * KMY_NS_PER_S;
    for (uint32_t i = 0; late && i < s->conns_high; i++) {
        if (s->conns[i].state != KMY_CONN_FREE)
            kmy_conn_kill(s, kmy_conn_at(s, i));
    }
    uint32_t holding = kmy_account_report(s, s->conns_count == 0 || late) + receipts;
    return (s->conns_count == 0 && holding == 0) ||
           over_ns > 2 * KMY_DRAIN_PATIENCE_S * KMY_NS_PER_S;
}

static void housekeep(kmy_shard_t *s)
{
    if (s->now_ns < s->housekeep_ns)
        return;
    s->housekeep_ns = s->now_ns + HOUSEKEEP_MS * KMY_NS_PER_MS;
    kmy_route_date(s);
    accept_again(s);
    kmy_passes_turn(s);
    kmy_conn_scan(s, s->conns_high * HOUSEKEEP_MS * SCANS_PER_S / 1000 + 1);
    if (atomic_load(&s->phase) == KMY_PHASE_RUN) {
        kmy_account_report(s, false);
        kmy_discount_turn(s, s->accounts_high * HOUSEKEEP_MS * SCANS_PER_S / 1000 + 1);
        kmy_receipts_turn(s); /* behind the reports: many may go now */
    }
    if (s->now_ns >= s->status_ns) {
        s->status_ns = s->now_ns + STATUS_EVERY_NS;
        tell_status(s);
    }
}

static void read_clocks(kmy_shard_t *s)
{
    s->now_ns = kmy_mono_ns();
    s->now_wall_ns = kmy_wall_ns();
    s->token_key = atomic_load_explicit(s->o.token_keys, memory_order_acquire);
}

/* Sleeps until something happens; looks at its rings once more after it said that it will (base/wake.h). */
static void wait_for_work(kmy_shard_t *s)
{
    kmy_wake_arm(s->wake);
    if (kmy_ring_head(s->ring) == s->ring_cursor && kmy_queue_count(s->tells) == 0 &&
        kmy_queue_count(s->history_answers) == 0 && kmy_queue_count(s->slip_answers) == 0 &&
        !kmy_session_claimed(s->o.sessions, s->o.index)) {
        int64_t pace_ns = kmy_pace_next_ns(&s->pace);
        int64_t left_ns = (pace_ns < s->housekeep_ns ? pace_ns : s->housekeep_ns) - s->now_ns;
        struct __kernel_timespec ts = { 0, left_ns > 0 ? left_ns : 1 };
        struct io_uring_cqe *cqe;
        io_uring_submit_and_wait_timeout(&s->uring, &cqe, 1, &ts, NULL);
    }
    kmy_wake_disarm(s->wake);
}

static void loop(kmy_shard_t *s)
{
    for (;;) {
        read_clocks(s);
        size_t work = drain_ring(s);
        /* Of the cashier's answers those that are here now: what the keeper told before them (a new balance) is taken in first. */
        size_t slips = kmy_queue_count(s->slip_answers);
        slips = slips < SLIPS_PER_TURN ? slips : SLIPS_PER_TURN;
        work += drain_tells(s);
        work += kmy_catchup_turn(s);
        work += kmy_slips_turn(s, slips);
        work += kmy_session_turn(s);
        work += handle_completions(s);
        housekeep(s);
        kmy_pace_turn(s);
        kmy_roster_turn(s);
        kmy_drain_quiet(s);
        kmy_reload_turn(s);
        kmy_page_turn(s);
        kmy_egress_flush(s);
        kmy_catchup_ask(s);
        release_dying(s);
        if (atomic_load_explicit(&s->phase, memory_order_relaxed) == KMY_PHASE_DRAIN && drained(s))
            return;
        if (work == 0 && s->dirty_count == 0 && s->deferred_count == 0)
            wait_for_work(s);
        else
            io_uring_submit_and_get_events(&s->uring);
    }
}

/* --- start and stop ------------------------------------------------------------------------ */

static void pin(const kmy_shard_t *s)
{
    char name[16];
    snprintf(name, sizeof name, "kmy-shard%u", s->o.index);
    pthread_setname_np(pthread_self(), name);
    if (s->o.cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)s->o.cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        kmy_log(KMY_LOG_WARN, "shard",
                "cannot pin shard %u to cpu %d: %s; it runs wherever it is put", s->o.index,
                s->o.cpu, strerror(errno));
}

static void *run(void *arg)
{
    kmy_shard_t *s = arg;
    pin(s);
    read_clocks(s);
    kmy_pace_init(&s->pace, s->now_ns);
    kmy_route_date(s);
    s->start_err = open_uring(s, &s->start_ctx);
    sem_post(s->started);
    if (s->start_err != KMY_OK)
        return NULL;
    loop(s);
    atomic_store(&s->phase, KMY_PHASE_STOPPED);
    io_uring_queue_exit(&s->uring);
    unmap(s->recv_ring, KMY_RECV_BUFFERS * sizeof(struct io_uring_buf));
    return NULL;
}

kmy_err_t kmy_shard_start(kmy_shard_t **out, const kmy_shard_options_t *options, kmy_errctx_t *ctx)
{
    kmy_shard_t *s = calloc(1, sizeof *s);
    if (!s)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    sem_t started;
    sem_init(&started, 0, 0);
    s->o = *options;
    if (!kmy_reload_own(s)) {
        free(s);
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    }
    s->metrics = options->metrics;
    s->ring = options->topology->ring;
    s->asks = options->topology->shard_keeper[options->index];
    s->tells = options->topology->keeper_shard[options->index];
    s->history_asks = options->topology->shard_history[options->index];
    s->history_answers = options->topology->history_shard[options->index];
    s->chunks = options->topology->history_chunks[options->index];
    kmy_catchup_init(s);
    kmy_slips_init(s);
    s->wake = &options->topology->shard_wake[options->index];
    s->ring_cursor = kmy_ring_head(s->ring);
    s->started = &started;
    atomic_init(&s->phase, KMY_PHASE_RUN);
    kmy_err_t err = KMY_OK;
    s->token_key = atomic_load_explicit(options->token_keys, memory_order_acquire);
    if (getrandom(s->session_seed, sizeof s->session_seed, 0) != (ssize_t)sizeof s->session_seed ||
        !take_memory(s) || !prepare_feeds(s))
        err = KMY_FAIL(ctx, KMY_IO, "no memory for a shard of %lld connections",
                       (long long)s->config->limits.connections);
    if (err == KMY_OK) {
        for (size_t i = 0; i < options->revoked_count; i++)
            kmy_stream_revoked(s, options->revoked[i].jti, options->revoked[i].expires_s);
        int rc = pthread_create(&s->thread, NULL, run, s);
        if (rc != 0)
            err = KMY_FAIL(ctx, KMY_IO, "no thread for a shard: %s", strerror(rc));
    }
    if (err == KMY_OK) {
        while (sem_wait(&started) != 0)
            ;
        err = s->start_err;
        if (err != KMY_OK) {
            *ctx = s->start_ctx;
            pthread_join(s->thread, NULL);
        }
    }
    sem_destroy(&started);
    if (err != KMY_OK) {
        free_memory(s);
        free(s);
        return err;
    }
    *out = s;
    return KMY_OK;
}

void kmy_shard_drain(kmy_shard_t *s)
{
    int run_phase = KMY_PHASE_RUN;
    atomic_compare_exchange_strong(&s->phase, &run_phase, KMY_PHASE_DRAIN);
    kmy_wake_signal(s->wake);
}

void kmy_shard_join(kmy_shard_t *s)
{
    pthread_join(s->thread, NULL);
    free_memory(s);
    free(s);
}
