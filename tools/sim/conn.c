/* conn: one connection's bytes: TLS, reading, the queue of what is unsent. */
#include "tools/sim/sim.h"

#include "base/clock.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READ_BYTES      16384
#define READS_PER_TURN  16
#define CLOSE_WITHIN_NS (2 * KMY_NS_PER_S)

sim_conn_t *sim_conn_new(sim_t *sim, sim_venue_t *venue, int fd)
{
    sim_conn_t *c = calloc(1, sizeof *c);
    uint8_t *subs = calloc(venue->streams.count + 1, 1);
    if (!c || !subs) {
        free(c);
        free(subs);
        return NULL;
    }
    c->sim = sim;
    c->venue = venue;
    c->fd = fd;
    c->id = ++sim->next_id;
    c->subs = subs;
    c->state = SIM_CONN_HTTP;
    c->born_ns = c->ping_ns = sim->now_ns;
    c->next = sim->conns;
    sim->conns = c;
    sim->conns_count++;
    venue->held_open++;
    return c;
}

void sim_conn_free(sim_conn_t *c)
{
    if (c->ssl)
        SSL_free(c->ssl);
    close(c->fd);
    c->venue->held_open--;
    c->sim->conns_count--;
    sim_streams_fini(&c->wanted);
    free(c->wanted_on);
    free(c->in);
    free(c->out);
    free(c->message);
    free(c->subs);
    free(c->held);
    free(c->history);
    free(c);
}

static void watch(sim_conn_t *c, bool want_write)
{
    struct epoll_event ev = { .events = EPOLLIN | (want_write ? EPOLLOUT : 0u), .data.ptr = c };
    if (c->want_write != want_write && c->state < SIM_CONN_FROZEN)
        (void)epoll_ctl(c->sim->epoll, EPOLL_CTL_MOD, c->fd, &ev);
    c->want_write = want_write;
}

void sim_conn_go(sim_conn_t *c, sim_conn_state_t state)
{
    static const char *const words[] = { "tls", "http", "open", "closing", "frozen", "dead" };
    if (c->state == SIM_CONN_DEAD || c->state == state)
        return;
    KMY_ASSERT(state > c->state); /* states only go forward */
    if (c->sim->o.verbose)
        fprintf(stderr, "kamiyo-sim: %s connection %llu: %s -> %s\n", c->venue->name,
                (unsigned long long)c->id, words[c->state], words[state]);
    if (state == SIM_CONN_FROZEN || state == SIM_CONN_DEAD)
        (void)epoll_ctl(c->sim->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    if (state == SIM_CONN_DEAD)
        c->sim->has_dead = true;
    if (state == SIM_CONN_CLOSING)
        c->close_ns = c->sim->now_ns + CLOSE_WITHIN_NS;
    c->state = state;
}

void sim_conn_reset(sim_conn_t *c)
{
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    if (c->state == SIM_CONN_DEAD)
        return;
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    sim_conn_go(c, SIM_CONN_DEAD);
}

void sim_conn_drop(sim_conn_t *c)
{
    sim_conn_go(c, SIM_CONN_DEAD);
}

size_t sim_conn_queued(const sim_conn_t *c)
{
    return c->out_len - c->out_at;
}

uint8_t *sim_conn_room(sim_conn_t *c, size_t len)
{
    if (c->out_at == c->out_len)
        c->out_at = c->out_len = c->credit_bytes = 0;
    if (c->out_len + len > c->out_cap && c->out_at > 0) {
        memmove(c->out, c->out + c->out_at, c->out_len - c->out_at);
        c->out_len -= c->out_at;
        c->out_at = 0;
    }
    if (c->out_len + len > c->out_cap) {
        size_t cap = c->out_cap ? c->out_cap : 16384;
        while (cap < c->out_len + len)
            cap *= 2;
        uint8_t *p = realloc(c->out, cap);
        if (!p) {
            sim_conn_drop(c);
            return NULL;
        }
        c->out = p;
        c->out_cap = cap;
    }
    return c->out + c->out_len;
}

/* > 0: bytes moved; 0: not now; < 0: the connection is gone. */
static ssize_t settle(sim_conn_t *c, ssize_t n)
{
    if (n > 0)
        return n;
    if (!c->ssl)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    int why = SSL_get_error(c->ssl, (int)n);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t write_some(sim_conn_t *c, const uint8_t *from, size_t len)
{
    if (c->ssl)
        return settle(c, SSL_write(c->ssl, from, (int)(len > READ_BYTES ? READ_BYTES : len)));
    return settle(c, send(c->fd, from, len, MSG_NOSIGNAL));
}

/* How many bytes may leave now: all, or what a trickle lets through. */
static size_t allowance(sim_conn_t *c)
{
    sim_active_t *t = c->is_ready ? sim_mischief_on(c, SIM_T_TRICKLE) : NULL;
    if (!t)
        return SIZE_MAX;
    if (c->sim->now_ns < c->trickle_ns)
        return 0;
    c->trickle_ns = c->sim->now_ns + (int64_t)t->what.ms * KMY_NS_PER_MS;
    return t->what.bytes ? t->what.bytes : 1;
}

void sim_conn_flush(sim_conn_t *c)
{
    if (c->state == SIM_CONN_FROZEN || c->state == SIM_CONN_DEAD || c->state == SIM_CONN_TLS)
        return;
    if (c->is_ready && sim_mischief_on(c, SIM_T_MUTE)) {
        watch(c, false);
        return;
    }
    size_t may = c->out_at < c->out_len ? allowance(c) : 0;
    while (c->out_at < c->out_len && may > 0) {
        size_t len = c->out_len - c->out_at;
        ssize_t n = write_some(c, c->out + c->out_at, len < may ? len : may);
        if (n < 0) {
            sim_conn_drop(c);
            return;
        }
        if (n == 0) {
            watch(c, true);
            return;
        }
        c->out_at += (size_t)n;
        may -= (size_t)n;
    }
    watch(c, false);
    if (c->state == SIM_CONN_CLOSING && c->out_at == c->out_len) {
        if (c->ssl)
            SSL_shutdown(c->ssl);
        shutdown(c->fd, SHUT_WR);
        /* the peer's FIN, or close_ns, ends it: closing with bytes unread would send RST and lose what was just written */
    }
}

static void handshake(sim_conn_t *c)
{
    ssize_t n = settle(c, SSL_accept(c->ssl));
    if (n < 0)
        sim_conn_drop(c);
    else if (n > 0)
        sim_conn_go(c, SIM_CONN_HTTP);
}

static bool make_room_in(sim_conn_t *c)
{
    if (c->in_cap - c->in_len >= READ_BYTES)
        return true;
    size_t cap = c->in_cap ? c->in_cap * 2 : 2 * READ_BYTES;
    if (cap > 4u * SIM_CLIENT_MESSAGE_BYTES_MAX)
        return false;
    uint8_t *p = realloc(c->in, cap);
    if (!p)
        return false;
    c->in = p;
    c->in_cap = cap;
    return true;
}

static ssize_t read_some(sim_conn_t *c)
{
    if (c->ssl)
        return settle(c, SSL_read(c->ssl, c->in + c->in_len, READ_BYTES));
    return settle(c, recv(c->fd, c->in + c->in_len, READ_BYTES, 0));
}

void sim_conn_readable(sim_conn_t *c)
{
    if (c->state == SIM_CONN_TLS)
        handshake(c);
    for (int i = 0; i < READS_PER_TURN && c->state >= SIM_CONN_HTTP && c->state <= SIM_CONN_CLOSING;
         i++) {
        if (!make_room_in(c)) {
            sim_conn_drop(c);
            return;
        }
        ssize_t n = read_some(c);
        if (n == 0)
            return;
        if (n < 0) {
            sim_conn_drop(c);
            return;
        }
        if (c->state == SIM_CONN_CLOSING)
            continue; /* read over: it has been told */
        c->in_len += (size_t)n;
        if (c->state == SIM_CONN_HTTP)
            sim_http_input(c);
        if (c->state == SIM_CONN_OPEN)
            sim_ws_input(c);
    }
}
