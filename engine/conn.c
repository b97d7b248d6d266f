#include "engine/conn.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/account.h"
#include "engine/catchup.h"
#include "engine/body.h"
#include "engine/egress.h"
#include "engine/grant.h"
#include "engine/page.h"
#include "engine/input.h"
#include "engine/past.h"
#include "engine/receipts.h"
#include "engine/routes.h"
#include "engine/session.h"
#include "engine/shard.h"
#include "engine/stream.h"
#include "engine/stream_pay.h"
#include "engine/throttle.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_S = 2, PATIENT_S = 10, IN_START = 1024 };

/* Who may follow whom; unlisted is impossible. */
static const bool may_follow[KMY_CONN_STATES][KMY_CONN_STATES] = {
    [KMY_CONN_FREE] = { [KMY_CONN_HTTP] = true },
    [KMY_CONN_HTTP] = { [KMY_CONN_WS] = true,
                        [KMY_CONN_SSE] = true,
                        [KMY_CONN_LINGER] = true,
                        [KMY_CONN_DEAD] = true },
    [KMY_CONN_WS] = { [KMY_CONN_LINGER] = true, [KMY_CONN_DEAD] = true },
    [KMY_CONN_SSE] = { [KMY_CONN_LINGER] = true, [KMY_CONN_DEAD] = true },
    [KMY_CONN_LINGER] = { [KMY_CONN_DEAD] = true },
    [KMY_CONN_DEAD] = { [KMY_CONN_FREE] = true },
};

static void become(kmy_conn_t *c, kmy_conn_state_t state)
{
    KMY_ASSERT(may_follow[c->state][state]);
    c->state = (uint8_t)state;
}

/* --- opening ------------------------------------------------------------------------------- */

static kmy_conn_t *take_slot(kmy_shard_t *s)
{
    uint32_t idx = s->conns_free;
    if (idx != KMY_NONE)
        s->conns_free = s->conns[idx].waiter_next;
    else if (s->conns_high < s->conns_max)
        idx = s->conns_high++;
    else
        return NULL;
    kmy_conn_t *c = kmy_conn_at(s, idx);
    uint32_t gen = (c->gen + 1) & 0xffffff;
    memset(c, 0, sizeof *c);
    c->gen = gen;
    c->account = c->waiter_next = c->parked_account = c->conns_prev = c->conns_next = KMY_NONE;
    c->subs_head = c->pending_head = c->pending_tail = KMY_NONE;
    return c;
}

static void give_slot(kmy_shard_t *s, kmy_conn_t *c)
{
    c->waiter_next = s->conns_free;
    s->conns_free = kmy_conn_idx(s, c);
}

static void refuse(kmy_shard_t *s, int fd, const char *status)
{
    char text[128];
    KMY_COUNT(s->metrics, connection_refused_total, 1);
    if (!s->o.tls) { /* to whom TLS is expected of this is no answer but noise; the close says enough */
        int n = snprintf(text, sizeof text,
                         "HTTP/1.1 %s\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
                         "Connection: close\r\n\r\n",
                         status);
        ssize_t sent = send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)sent;
    }
    close(fd);
}

/* --- strangers ------------------------------------------------------------------------------ */

/* Connections that have shown no valid token stand in a list, oldest first, and are at most three quarters of all; above that the oldest makes
   room for the newest, so that a flood of sockets that say nothing costs whoever pays neither his place nor his way in. */
static void add_stranger(kmy_shard_t *s, kmy_conn_t *c)
{
    uint32_t idx = kmy_conn_idx(s, c);
    c->conns_prev = s->strangers_tail;
    if (s->strangers_tail != KMY_NONE)
        s->conns[s->strangers_tail].conns_next = idx;
    else
        s->strangers_head = idx;
    s->strangers_tail = idx;
    atomic_fetch_add_explicit(&s->o.limiter->unproven, 1, memory_order_relaxed);
}

void kmy_conn_prove(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->proven)
        return;
    c->proven = true;
    if (c->conns_prev != KMY_NONE)
        s->conns[c->conns_prev].conns_next = c->conns_next;
    else
        s->strangers_head = c->conns_next;
    if (c->conns_next != KMY_NONE)
        s->conns[c->conns_next].conns_prev = c->conns_prev;
    else
        s->strangers_tail = c->conns_prev;
    c->conns_prev = c->conns_next = KMY_NONE;
    atomic_fetch_sub_explicit(&s->o.limiter->unproven, 1, memory_order_relaxed);
}

/* The handshake is over, or the connection. */
static void stop_shaking(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!c->shaking)
        return;
    c->shaking = false;
    atomic_fetch_sub_explicit(&s->o.limiter->handshakes, 1, memory_order_relaxed);
}

/* false: there is nobody to end. */
static bool end_oldest_stranger(kmy_shard_t *s)
{
    if (s->strangers_head == KMY_NONE)
        return false;
    KMY_COUNT(s->metrics, connection_evicted_total, 1);
    kmy_conn_kill(s, kmy_conn_at(s, s->strangers_head));
    return true;
}

static bool has_room(kmy_shard_t *s)
{
    const kmy_limiter_t *l = s->o.limiter;
    uint32_t max = (uint32_t)s->config->limits.connections;
    uint32_t open = atomic_load_explicit(s->o.public_open, memory_order_relaxed);
    bool many = atomic_load_explicit(&l->unproven, memory_order_relaxed) >= l->unproven_max ||
                (s->o.tls &&
                 atomic_load_explicit(&l->handshakes, memory_order_relaxed) >= l->handshakes_max);
    if (many && !end_oldest_stranger(s)) /* they are all on other shards */
        return false;
    /* Who is ended leaves a moment later: the last sixteenth is kept free for that, as long as there are strangers. */
    if (!many && open + max / 16 + 1 >= max)
        end_oldest_stranger(s);
    return open < max;
}

static void arm_recv(kmy_shard_t *s, kmy_conn_t *c)
{
    struct io_uring_sqe *sqe = kmy_shard_sqe(s);
    io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe, kmy_op_pack(KMY_OP_RECV, c->gen, kmy_conn_idx(s, c)));
    c->recv_armed = true;
}

/* What the public door keeps of a newcomer.  false: refused, for `*why`. */
static bool admit(kmy_shard_t *s, kmy_conn_t *c, const char **why)
{
    kmy_limiter_t *l = s->o.limiter;
    *why = "503 Service Unavailable";
    if (l->crowd && !kmy_networks_have(&l->proxies, &c->peer)) {
        if (!kmy_crowd_enter(l->crowd, &c->peer)) {
            *why = "429 Too Many Requests";
            return false;
        }
        c->crowded = true;
    }
    if (s->o.tls) {
        c->tls = kmy_tls_open(s->o.tls);
        if (!c->tls) { /* no memory for it */
            if (c->crowded)
                kmy_crowd_leave(l->crowd, &c->peer);
            return false;
        }
        c->shaking = true;
        atomic_fetch_add_explicit(&l->handshakes, 1, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(s->o.public_open, 1, memory_order_relaxed);
    add_stranger(s, c);
    return true;
}

void kmy_conn_open(kmy_shard_t *s, int fd, uint8_t door, const struct sockaddr_storage *peer)
{
    const char *why = "503 Service Unavailable";
    /* The operator's door has a reserve of its own: a full house must not lock its owner out. */
    bool room = atomic_load(&s->phase) == KMY_PHASE_RUN &&
                (door != KMY_DOOR_PUBLIC || (!s->quiet && has_room(s)));
    kmy_conn_t *c = room ? take_slot(s) : NULL;
    if (!c) {
        refuse(s, fd, why);
        return;
    }
    kmy_peer_of(peer, &c->peer, &c->peer_port);
    if (door == KMY_DOOR_PUBLIC && !admit(s, c, &why)) {
        give_slot(s, c);
        refuse(s, fd, why);
        return;
    }
    become(c, KMY_CONN_HTTP);
    c->fd = fd;
    c->door = door;
    c->proven = door != KMY_DOOR_PUBLIC;
    c->recv_ns = c->sent_ns = s->now_ns;
    /* A handshake has half of the time of a request, which begins when it is done. */
    c->deadline_ns = s->now_ns + s->config->limits.head_timeout_ns / (c->shaking ? 2 : 1);
    s->conns_count++;
    KMY_COUNT(s->metrics, connection_accept_total, 1);
    KMY_GAUGE(s->metrics, connection_open, s->conns_count);
    arm_recv(s, c);
}

/* --- input --------------------------------------------------------------------------------- */

static bool keep_input(kmy_conn_t *c, const uint8_t *data, size_t len, size_t max)
{
    size_t have = c->in ? c->in->len : 0;
    if (have + len > max)
        return false;
    size_t cap = c->in ? c->in->cap : IN_START;
    while (cap < have + len)
        cap *= 2;
    if (!c->in || cap > c->in->cap) {
        kmy_in_t *in = realloc(c->in, sizeof *in + cap);
        if (!in)
            return false;
        if (!c->in)
            memset(in, 0, sizeof *in);
        in->cap = (uint32_t)cap;
        c->in = in;
    }
    memcpy(c->in->bytes + c->in->len, data, len);
    c->in->len += (uint32_t)len;
    return true;
}

/* A client that pipelines requests and does not read the answers is not asked for more; one that reads them gets them now, not after all its input. */
static bool reads_input(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->parked || c->close_after || c->body)
        return false;
    if (c->state == KMY_CONN_HTTP && kmy_out_count(c) >= KMY_PIPELINE_BYTES_MAX)
        kmy_egress_now(s, c);
    return c->state == KMY_CONN_WS ||
           (c->state == KMY_CONN_HTTP && kmy_out_count(c) < KMY_PIPELINE_BYTES_MAX &&
            (c->pipelined < KMY_PIPELINE_MAX || !kmy_has_output(c)));
}

static size_t consume(kmy_shard_t *s, kmy_conn_t *c, uint8_t *data, size_t len)
{
    size_t used = 0;
    while (used < len && reads_input(s, c)) {
        bool ws = c->state == KMY_CONN_WS;
        size_t n = ws ? kmy_input_ws(s, c, data + used, len - used)
                      : kmy_input_http(s, c, data + used, len - used);
        used += n;
        if (n == 0 && ws == (c->state == KMY_CONN_WS))
            break;
    }
    return used;
}

/* Input that waits for an answer, or for the client to read, is not read on into memory: the receive is called back, and the socket's own buffer
   fills and slows the client down.  What came before the call takes effect is kept as well: at most the receive buffers of one turn. */
static void pause_recv(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->recv_paused || !c->in || c->in->len < KMY_IN_BYTES_MAX / 2)
        return;
    c->recv_paused = true;
    if (!c->recv_armed)
        return;
    struct io_uring_sqe *sqe = kmy_shard_sqe(s);
    io_uring_prep_cancel64(sqe, kmy_op_pack(KMY_OP_RECV, c->gen, kmy_conn_idx(s, c)), 0);
    io_uring_sqe_set_data64(sqe, kmy_op_pack(KMY_OP_CANCEL, 0, 0));
}

static void resume_recv(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!c->recv_paused || c->state == KMY_CONN_DEAD)
        return;
    c->recv_paused = false;
    if (!c->recv_armed) /* else its end is on the way, and arms it again */
        arm_recv(s, c);
}

/* As long as something is used up: a chunked body is decoded in place, so it begins only when its request stands first in the buffer. */
static void look_at_input(kmy_shard_t *s, kmy_conn_t *c)
{
    bool waits = false; /* what is there is no whole request yet: more must come */
    while (c->in && c->in->len > 0 && !waits && reads_input(s, c)) {
        kmy_in_t *in = c->in;
        size_t used = consume(s, c, in->bytes, in->len);
        KMY_ASSERT(c->in == in);
        waits = used == 0 && reads_input(s, c);
        if (used == 0)
            continue;
        if (used == in->len) {
            free(in);
            c->in = NULL;
        } else {
            memmove(in->bytes, in->bytes + used, in->len - used);
            in->len -= (uint32_t)used;
            in->wait = (kmy_http_wait_t){ 0 };
            if (c->state == KMY_CONN_HTTP) /* the beginning of another request */
                c->deadline_ns = s->now_ns + s->config->limits.head_timeout_ns;
        }
    }
    if (c->state == KMY_CONN_SSE) { /* nothing it sends now is looked at, but its end is */
        free(c->in);
        c->in = NULL;
        resume_recv(s, c);
    } else if (c->state == KMY_CONN_HTTP || c->state == KMY_CONN_WS) {
        if (!c->in || waits || c->close_after)
            resume_recv(s, c);
        else
            pause_recv(s, c);
    }
}

/* A session's message has its time as a request has: from its first byte to its last.  (Each whole one begins it anew: input.c.) */
static void time_message(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->state != KMY_CONN_WS || !c->authenticated)
        return;
    if (!c->in && !c->ws)
        c->deadline_ns = 0;
    else if (c->deadline_ns == 0)
        c->deadline_ns = s->now_ns + s->config->limits.head_timeout_ns;
}

/* Plaintext, as it came or as TLS gave it. */
static void take_bytes(kmy_shard_t *s, kmy_conn_t *c, uint8_t *data, size_t len)
{
    if (c->state == KMY_CONN_HTTP || c->state == KMY_CONN_WS) {
        bool had = c->in != NULL;
        size_t used = had ? 0 : consume(s, c, data, len);
        bool keeps = c->state == KMY_CONN_HTTP || c->state == KMY_CONN_WS;
        if (used < len && keeps && !c->close_after) {
            /* Held back, what the ring had taken before still comes; asking reads_input may have made room by sending, with much kept from before. */
            bool reads = !c->recv_paused && reads_input(s, c);
            size_t max = reads ? KMY_IN_BYTES_MAX
                               : KMY_IN_BYTES_MAX + (size_t)KMY_RECV_BUFFERS * KMY_RECV_BYTES;
            if (!keep_input(c, data + used, len - used, max)) {
                kmy_conn_kill(s, c);
            } else {
                if (!had && c->state == KMY_CONN_HTTP) /* for all of the request */
                    c->deadline_ns = s->now_ns + s->config->limits.head_timeout_ns;
                if (had || c->state == KMY_CONN_HTTP)
                    look_at_input(s, c);
            }
        }
        time_message(s, c);
    } /* in SSE, LINGER and DEAD what still comes is read and dropped */
}

/* TLS says that our side ends, in its own words.  False: it has nothing (more) to say; else kmy_conn_drained comes when it is sent. */
static bool say_bye(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!c->tls || c->tls_bye || !kmy_tls_ready(c->tls))
        return false;
    kmy_tls_io_t io = { .out = s->tls_out, .out_cap = KMY_TLS_OUT_BYTES };
    c->tls_bye = true;
    kmy_tls_goodbye(c->tls, &io);
    return io.out_len > 0 && kmy_egress_sealed(s, c, io.out, io.out_len);
}

/* The last bytes before a kill: straight to the socket, if it takes them and no half of a record stands before them. */
static void send_last(kmy_conn_t *c, const kmy_tls_io_t *io)
{
    if (io->out_len == 0 || c->sealed)
        return;
    ssize_t n = send(c->fd, io->out, io->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)n;
}

static bool owed(const kmy_conn_t *c)
{
    return (c->state == KMY_CONN_HTTP && (kmy_has_output(c) || c->parked)) ||
           (c->state == KMY_CONN_LINGER && kmy_has_output(c));
}

/* The peer ended its side.  A half-closed client still gets what it asked for; nothing more will be asked. */
static void peer_ends(kmy_shard_t *s, kmy_conn_t *c)
{
    if (owed(c)) {
        c->close_after = !c->parked;
        c->peer_ended = true;
    } else if (c->state != KMY_CONN_DEAD) {
        kmy_conn_kill(s, c);
    }
}

/* close_notify: answered in kind before the end (RFC 5246 section 7.2.1). */
static void peer_says_bye(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!owed(c) && c->state != KMY_CONN_DEAD && !c->tls_bye) {
        kmy_tls_io_t io = { .out = s->tls_out, .out_cap = KMY_TLS_OUT_BYTES };
        c->tls_bye = true;
        kmy_tls_goodbye(c->tls, &io);
        send_last(c, &io);
    }
    peer_ends(s, c);
}

static void take_sealed(kmy_shard_t *s, kmy_conn_t *c, const uint8_t *data, size_t len)
{
    kmy_tls_io_t io = {
        .in = data, .in_len = len, .out = s->tls_out, .out_cap = KMY_TLS_OUT_BYTES
    };
    while (c->state != KMY_CONN_DEAD) {
        kmy_errctx_t ctx = { 0 };
        size_t plain_len;
        kmy_err_t err =
            kmy_tls_feed(c->tls, &io, s->tls_plain, KMY_TLS_RECORD_BYTES, &plain_len, &ctx);
        if (err == KMY_PROTOCOL) { /* not TLS, or not ours: its alert, if it fits, and the end */
            KMY_COUNT(s->metrics, protocol_error_total, 1);
            send_last(c, &io);
            kmy_conn_kill(s, c);
            return;
        }
        if (io.out_len > 0 && !kmy_egress_sealed(s, c, io.out, io.out_len))
            return;
        io.out_len = 0;
        if (c->shaking && kmy_tls_ready(c->tls)) {
            stop_shaking(s, c);
            c->deadline_ns = s->now_ns + s->config->limits.head_timeout_ns;
        }
        if (err == KMY_OK)
            take_bytes(s, c, s->tls_plain, plain_len);
        else if (err == KMY_TIMEOUT)
            peer_says_bye(s, c);
        if (err != KMY_OK)
            break;
    }
    /* Sealing stands still while a handshake message is cut (also after the handshake: KeyUpdate). */
    if (c->state != KMY_CONN_DEAD && c->out && kmy_tls_ready(c->tls))
        kmy_egress_mark(s, c);
}

void kmy_conn_received(kmy_shard_t *s, kmy_conn_t *c, uint8_t *data, int n, bool more)
{
    c->recv_armed = more;
    if (n <= 0) {
        if (n == -ENOBUFS &&
            c->state != KMY_CONN_DEAD) { /* the pool was empty for a moment: go on when it is not */
            arm_recv(s, c);
            return;
        }
        if (n == -ECANCELED && c->state != KMY_CONN_DEAD) { /* by pause_recv */
            if (!c->recv_paused)
                arm_recv(s, c);
            return;
        }
        if (n == 0)
            peer_ends(s, c);
        else if (c->state != KMY_CONN_DEAD)
            kmy_conn_kill(s, c);
        kmy_conn_release(s, c);
        return;
    }
    c->recv_ns = s->now_ns;
    if (c->tls)
        take_sealed(s, c, data, (size_t)n);
    else
        take_bytes(s, c, data, (size_t)n);
    if (!c->recv_armed) {
        if (c->state == KMY_CONN_DEAD)
            kmy_conn_release(s, c);
        else if (!c->recv_paused)
            arm_recv(s, c);
    }
}

void kmy_conn_park(kmy_conn_t *c)
{
    KMY_ASSERT(!c->parked);
    c->parked = true;
    c->parked_account = KMY_NONE;
}

void kmy_conn_resume(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->state != KMY_CONN_HTTP && c->state != KMY_CONN_WS)
        return;
    KMY_ASSERT(!c->parked);
    if (c->auth_waits)
        kmy_stream_auth_finish(s, c);
    look_at_input(s, c);
    if (c->peer_ended && c->state == KMY_CONN_SSE) /* gone before its stream began */
        kmy_conn_kill(s, c);
    if (c->peer_ended && !c->parked && c->state == KMY_CONN_HTTP) {
        if (kmy_has_output(c))
            c->close_after = true;
        else
            kmy_conn_kill(s, c);
    }
}

void kmy_conn_become_ws(kmy_shard_t *s, kmy_conn_t *c, bool echo)
{
    become(c, KMY_CONN_WS);
    c->echo = echo;
    c->stranger = !echo;
    c->deadline_ns = echo ? 0 : s->now_ns + s->config->limits.auth_timeout_ns;
}

void kmy_conn_become_sse(kmy_conn_t *c)
{
    become(c, KMY_CONN_SSE);
    c->close_after = false;
    c->deadline_ns = 0; /* there is no message to wait for */
}

/* --- ending -------------------------------------------------------------------------------- */

void kmy_conn_poll_out(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->poll_armed)
        return;
    struct io_uring_sqe *sqe = kmy_shard_sqe(s);
    io_uring_prep_poll_add(sqe, c->fd, POLLOUT);
    io_uring_sqe_set_data64(sqe, kmy_op_pack(KMY_OP_POLL, c->gen, kmy_conn_idx(s, c)));
    c->poll_armed = true;
}

static void drop_input(kmy_conn_t *c)
{
    free(c->in);
    c->in = NULL;
    kmy_input_ws_free(c);
}

void kmy_conn_kill(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->state == KMY_CONN_DEAD || c->state == KMY_CONN_FREE)
        return;
    become(c, KMY_CONN_DEAD);
    kmy_conn_prove(s, c); /* no stranger to be ended either */
    stop_shaking(s, c);
    /* Subscriptions, buffers and the slot go in kmy_conn_release: this may be in the middle of a completion that still looks at them.
       The shutdown makes a receive or poll that is armed complete. */
    shutdown(c->fd, SHUT_RDWR);
    s->dying[s->dying_count++] = kmy_conn_idx(s, c);
}

/* Has the peer ended too, so that nothing is left to wait for?  Both close frames are through: the server ends the connection (RFC 6455 7.1.1). */
static bool both_ended(const kmy_conn_t *c)
{
    return c->peer_ended || c->close_got;
}

/* All is sent. */
static void end_writing(kmy_shard_t *s, kmy_conn_t *c)
{
    if (say_bye(s, c)) /* kmy_conn_drained comes back here when it is sent */
        return;
    if (both_ended(c))
        kmy_conn_kill(s, c);
    else
        shutdown(c->fd, SHUT_WR);
}

void kmy_conn_linger(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->state != KMY_CONN_HTTP && c->state != KMY_CONN_WS && c->state != KMY_CONN_SSE)
        return;
    become(c, KMY_CONN_LINGER);
    /* Who was too slow needs time for our last words; not when everybody is to go. */
    bool patient = c->blocked_ns && atomic_load(&s->phase) == KMY_PHASE_RUN;
    c->deadline_ns = s->now_ns + (patient ? PATIENT_S : LINGER_S) * KMY_NS_PER_S;
    kmy_account_unwait(s, c);
    resume_recv(
        s, c); /* read and dropped: unread bytes at the end would cost the peer our last ones */
    if (!kmy_has_output(c))
        end_writing(s, c);
}

void kmy_conn_ws_close(kmy_shard_t *s, kmy_conn_t *c, uint16_t code, const char *reason)
{
    if (c->state != KMY_CONN_WS)
        return;
    uint8_t frame[128];
    size_t n = kmy_ws_put_close(frame, code, reason);
    c->close_sent = true;
    if (!kmy_egress_bytes(s, c, frame, n))
        return;
    kmy_session_end(s, c);
    kmy_stream_unsubscribe_all(s, c);
    kmy_conn_linger(s, c);
}

void kmy_conn_sse_end(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->state != KMY_CONN_SSE || !kmy_egress_bytes(s, c, KMY_SSE_END, sizeof KMY_SSE_END - 1))
        return;
    kmy_stream_unsubscribe_all(s, c);
    kmy_conn_linger(s, c);
}

void kmy_conn_drained(kmy_shard_t *s, kmy_conn_t *c)
{
    if (kmy_body_more(s, c))
        return;
    c->pipelined = 0;
    if (c->state == KMY_CONN_LINGER) {
        end_writing(s, c);
    } else if (c->state == KMY_CONN_HTTP && c->close_after) {
        kmy_conn_linger(s, c);
    } else if (c->state == KMY_CONN_HTTP) {
        look_at_input(s, c);
    }
}

void kmy_conn_release(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->state != KMY_CONN_DEAD || c->recv_armed || c->poll_armed || c->in_flight)
        return;
    kmy_session_end(s, c);
    kmy_stream_unsubscribe_all(s, c);
    kmy_catchup_free(s, c);
    kmy_past_free(s, c);
    kmy_page_forget(s, c);
    kmy_body_forget(c);
    kmy_grant_forget(c);
    kmy_account_unwait(s, c);
    kmy_account_leave(s, c);
    kmy_throttle_session(s, c);
    kmy_stream_pay_forget(c);
    free(c->scope);
    c->scope = NULL;
    if (c->crowded)
        kmy_crowd_leave(s->o.limiter->crowd, &c->peer);
    drop_input(c);
    free(c->out);
    c->out = NULL;
    free(c->sealed);
    c->sealed = NULL;
    kmy_tls_close(c->tls);
    c->tls = NULL;
    close(c->fd);
    s->conns_count--;
    if (c->door == KMY_DOOR_PUBLIC)
        atomic_fetch_sub_explicit(s->o.public_open, 1, memory_order_relaxed);
    KMY_GAUGE(s->metrics, connection_open, s->conns_count);
    become(c, KMY_CONN_FREE);
    give_slot(s, c);
}

/* --- deadlines ----------------------------------------------------------------------------- */

/* Is the request or message being read, of which `bytes` are here, beyond its time, or too slow to be waited for?  Its time began head_timeout
   before the deadline. */
static bool is_late(const kmy_shard_t *s, const kmy_conn_t *c, size_t bytes)
{
    if (c->deadline_ns == 0)
        return false;
    int64_t left_ns = c->deadline_ns - s->now_ns;
    int64_t gone_ns = s->config->limits.head_timeout_ns - left_ns;
    return left_ns < 0 || (gone_ns > left_ns && (int64_t)bytes < s->config->limits.min_bytes_per_s *
                                                                     gone_ns / KMY_NS_PER_S);
}

static void scan_stream(kmy_shard_t *s, kmy_conn_t *c)
{
    const kmy_config_t *cfg = s->config;
    uint64_t lag;
    kmy_session_scan(s, c);
    kmy_receipts_scan(s, c);
    kmy_stream_pay_scan(s, c);
    if (c->auth_waits && s->now_ns > c->deadline_ns)
        kmy_stream_close(s, c, KMY_UNAVAILABLE, "the ledger does not answer; try again later");
    else if (!c->authenticated && !c->echo && s->now_ns > c->deadline_ns)
        kmy_stream_close(
            s, c, KMY_TIMEOUT,
            "no token within the time limit; send {\"op\":\"auth\",\"token\":\"...\"}");
    else if (c->authenticated && s->now_wall_ns / KMY_NS_PER_S >= c->token_expires_s)
        kmy_stream_close(s, c, KMY_TOKEN_EXPIRED,
                         "the token has expired; get a new one and connect again");
    else if (c->authenticated && !c->parked && is_late(s, c, c->ws ? c->ws->len : 0)) {
        KMY_COUNT(s->metrics, request_timeout_total, 1);
        kmy_stream_close(s, c, KMY_TIMEOUT, "a message did not become whole within the time limit");
    } else if (c->paused && !c->pay && c->pass_subs == 0 &&
               s->now_ns - c->unpaid_ns > cfg->limits.unpaid_grace_ns)
        kmy_stream_close(s, c, KMY_UNPAID, "no payment within the grace period");
    else if (c->authenticated && c->subs_count == 0 && !c->pay &&
             s->now_ns - c->recv_ns > cfg->limits.idle_timeout_ns)
        kmy_stream_close(s, c, KMY_TIMEOUT, "nothing subscribed and nothing asked for too long");
    else if (c->blocked_ns && c->slow_policy == KMY_SLOW_CLOSE && kmy_egress_lags(s, c, &lag))
        kmy_stream_too_slow(s, c, lag);
    else if (c->authenticated && !c->blocked_ns &&
             s->now_ns - c->sent_ns > cfg->stream.heartbeat_ns)
        kmy_stream_heartbeat(s, c);
}

/* Does an answer wait for its reader?  (That has the stall timeout.)  The handshake's own bytes are no answer. */
static bool owes(const kmy_conn_t *c)
{
    return c->out || (c->sealed && kmy_tls_ready(c->tls));
}

static void scan_one(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->state == KMY_CONN_FREE || c->state == KMY_CONN_DEAD)
        return;
    if (c->blocked_ns && s->now_ns - c->blocked_ns > s->config->limits.stall_timeout_ns) {
        KMY_COUNT(s->metrics, connection_slow_total, 1);
        struct linger rst = { .l_onoff = 1, .l_linger = 0 };
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
        kmy_conn_kill(s, c);
    } else if (c->state == KMY_CONN_LINGER) {
        if (s->now_ns > c->deadline_ns)
            kmy_conn_kill(s, c);
    } else if (c->state == KMY_CONN_WS || c->state == KMY_CONN_SSE) {
        scan_stream(s, c);
    } else if (c->parked && c->parked_account != KMY_NONE && s->now_ns > c->deadline_ns) {
        kmy_account_unwait(s, c); /* the ledger answers in milliseconds, unless its disk is sick */
        kmy_route_ledger_timeout(s, c);
    } else if (!c->parked && !owes(c) &&
               (c->in ? is_late(s, c, c->in->len) : s->now_ns > c->deadline_ns)) {
        KMY_COUNT(s->metrics, request_timeout_total, c->in != NULL);
        if (c->in) /* a head or body that never became whole; an idle keep-alive just ends */
            kmy_stream_http_timeout(s, c);
        else
            kmy_conn_kill(s, c);
    }
}

void kmy_conn_scan(kmy_shard_t *s, uint32_t count)
{
    for (uint32_t i = 0; i < count && s->conns_high > 0; i++) {
        if (s->scan_at >= s->conns_high)
            s->scan_at = 0;
        scan_one(s, kmy_conn_at(s, s->scan_at++));
    }
}
