/* server: the loop: doors, epoll, turns. */
#include "tools/sim/sim.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_PER_WAIT 64
#define TIMERS_NS       (5 * KMY_NS_PER_MS)

static kmy_err_t resolve(const char *text, sim_venue_t *v, kmy_errctx_t *ctx)
{
    char host[128];
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    if (!colon || len == 0 || len >= sizeof host)
        return KMY_FAIL(ctx, KMY_CONFIG, "--%s %.80s: not ADDR:PORT", v->name, text);
    const char *from = text;
    if (text[0] == '[' && text[len - 1] == ']') {
        from++;
        len -= 2;
    }
    memcpy(host, from, len);
    host[len] = '\0';
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                              .ai_socktype = SOCK_STREAM },
                    *found = NULL;
    if (getaddrinfo(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, colon + 1, &hints,
                    &found) != 0)
        return KMY_FAIL(ctx, KMY_CONFIG, "--%s %.80s: not a numeric address and port", v->name,
                        text);
    memcpy(&v->addr, found->ai_addr, found->ai_addrlen);
    v->addr_len = found->ai_addrlen;
    freeaddrinfo(found);
    return KMY_OK;
}

kmy_err_t sim_server_listen(sim_venue_t *v, sim_t *sim, kmy_errctx_t *ctx)
{
    int on = 1;
    v->fd = socket(v->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (v->fd < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "no socket for %s: %s", v->name, strerror(errno));
    setsockopt(v->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = v };
    if (bind(v->fd, (struct sockaddr *)&v->addr, v->addr_len) != 0 || listen(v->fd, 1024) != 0 ||
        getsockname(v->fd, (struct sockaddr *)&v->addr, &v->addr_len) != 0 ||
        epoll_ctl(sim->epoll, EPOLL_CTL_ADD, v->fd, &ev) != 0) {
        kmy_err_t err =
            KMY_FAIL_SYS(ctx, KMY_IO, "cannot listen for %s: %s", v->name, strerror(errno));
        close(v->fd);
        v->fd = -1;
        return err;
    }
    return KMY_OK;
}

void sim_server_unlisten(sim_venue_t *v, sim_t *sim)
{
    if (v->fd < 0)
        return;
    (void)epoll_ctl(sim->epoll, EPOLL_CTL_DEL, v->fd, NULL);
    close(v->fd);
    v->fd = -1;
}

static void set_url(sim_venue_t *v, bool tls)
{
    char host[64], port[16];
    getnameinfo((struct sockaddr *)&v->addr, v->addr_len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    bool six = v->addr.ss_family == AF_INET6;
    snprintf(v->url, sizeof v->url, "%s://%s%s%s:%s",
             v->which == SIM_CONTROL ? "http"
             : tls                   ? "wss"
                                     : "ws",
             six ? "[" : "", host, six ? "]" : "", port);
}

kmy_err_t sim_server_open(sim_t *sim, kmy_errctx_t *ctx)
{
    sim->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (sim->epoll < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "no epoll: %s", strerror(errno));
    for (int i = 0; i < SIM_VENUES; i++) {
        sim_venue_t *v = &sim->venues[i];
        v->fd = -1;
        if (!sim->o.listen[i])
            continue;
        kmy_err_t err = resolve(sim->o.listen[i], v, ctx);
        if (err == KMY_OK)
            err = sim_server_listen(v, sim, ctx);
        if (err != KMY_OK)
            return err;
        set_url(v, sim->tls.good != NULL);
    }
    return KMY_OK;
}

/* Cuts a TLS handshake with a fatal alert (handshake_failure, RFC 8446 section 6) before it began. */
static void abort_tls(int fd)
{
    static const unsigned char alert[] = { 0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28 };
    (void)!send(fd, alert, sizeof alert, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
}

static bool begin_tls(sim_conn_t *c)
{
    sim_t *sim = c->sim;
    sim_active_t *wrong = sim_mischief_at_door(c->venue, SIM_T_WRONGHOST);
    sim_active_t *self = sim_mischief_at_door(c->venue, SIM_T_SELFSIGNED);
    SSL_CTX *ctx = wrong ? sim->tls.wrong_host : self ? sim->tls.self_signed : sim->tls.good;
    if (wrong || self)
        sim_mischief_used(wrong ? wrong : self);
    c->ssl = SSL_new(ctx);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
        return false;
    SSL_set_accept_state(c->ssl);
    c->state = SIM_CONN_TLS;
    return true;
}

static void admit(sim_t *sim, sim_venue_t *v, int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sim_active_t *abort_it = sim->tls.good ? sim_mischief_at_door(v, SIM_T_TLSABORT) : NULL;
    sim_conn_t *c = sim->conns_count < sim->o.connections_max ? sim_conn_new(sim, v, fd) : NULL;
    if (!c) {
        v->refused++;
        close(fd);
        return;
    }
    v->accepted++;
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    bool ok = epoll_ctl(sim->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
    if (abort_it) {
        sim_mischief_used(abort_it);
        abort_tls(fd);
        c->close_ns = sim->now_ns + KMY_NS_PER_S;
        sim_conn_go(c, SIM_CONN_FROZEN);
        return;
    }
    sim_active_t *hang = sim_mischief_at_door(v, SIM_T_HANG);
    if (hang) {
        sim_mischief_used(hang);
        c->close_ns = INT64_MAX;
        sim_conn_go(c, SIM_CONN_FROZEN);
        return;
    }
    if (!ok || (sim->tls.good && v->which != SIM_CONTROL && !begin_tls(c)))
        sim_conn_drop(c);
}

static void accept_all(sim_t *sim, sim_venue_t *v)
{
    for (int i = 0; i < EVENTS_PER_WAIT; i++) {
        int fd = accept4(v->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        admit(sim, v, fd);
    }
}

static void free_dead(sim_t *sim)
{
    sim_conn_t **at = &sim->conns;
    while (*at) {
        sim_conn_t *c = *at;
        if (c->state == SIM_CONN_DEAD) {
            *at = c->next;
            sim_conn_free(c);
        } else {
            at = &c->next;
        }
    }
    sim->has_dead = false;
}

static int64_t wait_ns(const sim_t *sim)
{
    int64_t due = sim_pump_due_ns(sim), timers = sim->timers_ns + TIMERS_NS;
    int64_t until = due < timers ? due : timers;
    bool trickles = sim->venues[SIM_BINANCE].active[SIM_T_TRICKLE].on ||
                    sim->venues[SIM_HERMES].active[SIM_T_TRICKLE].on;
    int64_t now = kmy_mono_ns();
    int64_t ns = until > now ? until - now : 0;
    if (ns > 0 && ns < sim->o.gather_ns) /* what is due meanwhile goes out together */
        ns = sim->o.gather_ns;
    return trickles && ns > KMY_NS_PER_MS ? KMY_NS_PER_MS : ns;
}

static void wait_and_read(sim_t *sim)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    int64_t ns = wait_ns(sim);
    struct timespec ts = { ns / KMY_NS_PER_S, ns % KMY_NS_PER_S };
    int n = epoll_pwait2(sim->epoll, events, EVENTS_PER_WAIT, &ts, NULL);
    sim->now_ns = kmy_mono_ns();
    for (int i = 0; i < n; i++) {
        void *p = events[i].data.ptr;
        if (p >= (void *)sim->venues && p < (void *)(sim->venues + SIM_VENUES)) {
            accept_all(sim, p);
            continue;
        }
        sim_conn_t *c = p;
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            sim_conn_readable(c);
        if (events[i].events & EPOLLOUT)
            sim_conn_flush(c);
    }
}

void sim_server_run(sim_t *sim)
{
    while (!sim->stop) {
        wait_and_read(sim);
        sim_script_run(sim);
        if (sim->now_ns - sim->timers_ns >= TIMERS_NS) {
            sim->timers_ns = sim->now_ns;
            sim_mischief_timers(sim);
        }
        sim_pump(sim);
        for (sim_conn_t *c = sim->conns; c; c = c->next)
            if (sim_conn_queued(c) > 0 || c->state == SIM_CONN_CLOSING)
                sim_conn_flush(c);
        if (sim->has_dead)
            free_dead(sim);
        sim->stop |= sim->o.run_ns > 0 && sim->now_ns - sim->start_ns >= sim->o.run_ns;
    }
}

void sim_server_close(sim_t *sim)
{
    for (sim_conn_t *c = sim->conns; c; c = c->next)
        sim_conn_drop(c);
    free_dead(sim);
    for (int i = 0; i < SIM_VENUES; i++)
        sim_server_unlisten(&sim->venues[i], sim);
    if (sim->epoll >= 0)
        close(sim->epoll);
}
