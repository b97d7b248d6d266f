#include "tools/load/load.h"
#include "tools/load/tls.h"

#include "base/clock.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/ws.h"

#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SLOW_EVERY_NS = 50000000, /* a slow agent reads twenty times a second */
    SLOW_SOCKET_BYTES = 4096, /* its receive buffer, so that the kernel does not read for it */
    REDIAL_NS = 20000000,
    PER_ADDRESS = 20000,
    SEALING_MAX =
        128, /* TLS handshakes at once: a daemon refuses more than a quarter of its connections */
    QUEUE_NS = 2000000,
};

const char *const load_fault_names[LOAD_FAULTS] = {
#define LOAD_FAULT_NAME(name, text) [LOAD_FAULT_##name] = text,
    LOAD_FAULT_TABLE(LOAD_FAULT_NAME)
#undef LOAD_FAULT_NAME
};

void load_fault(load_t *l, const load_agent_t *a, load_fault_t fault, const char *fmt, ...)
{
    if (l->faults[fault]++ > 0)
        return;
    char *to = l->fault_detail[fault];
    size_t n = 0;
    if (a)
        n = (size_t)snprintf(to, 32, "agent %zu: ", (size_t)(a - l->agents));
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(to + n, sizeof l->fault_detail[0] - n, fmt, ap);
    va_end(ap);
}

/* xorshift64* (Vigna): the same seed makes the same agents. */
uint64_t load_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

/* --- making them --------------------------------------------------------------------------- */

static int by_feed(const void *x, const void *y)
{
    uint32_t a = ((const load_sub_t *)x)->feed;
    uint32_t b = ((const load_sub_t *)y)->feed;
    return a < b ? -1 : a > b;
}

static uint32_t draw(const load_t *l, const load_group_t *g, uint64_t *random)
{
    double u = (double)(load_random(random) >> 11) / 9007199254740992.0; /* 2^53 */
    if (g->pick != LOAD_ZIPF_SET)
        return (uint32_t)(u * l->market_count);
    /* The sums of the weights so far, made once a group: 1,000 agents would ask a million times for a power. */
    static double sums[LOAD_FEEDS_MAX];
    static const load_group_t *made_for;
    for (uint32_t i = 0; made_for != g && i < l->market_count; i++)
        sums[i] = pow(i + 1, -g->zipf_s) + (i ? sums[i - 1] : 0);
    made_for = g;
    u *= sums[l->market_count - 1];
    uint32_t lo = 0;
    for (uint32_t hi = l->market_count - 1; lo < hi;) {
        uint32_t mid = (lo + hi) / 2;
        if (sums[mid] > u)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* Of zipf the least is the most frequent: k further feeds have the weight 1 / (k + 1). */
static uint32_t how_many(const load_group_t *g, uint64_t *random)
{
    uint32_t span = g->feeds_min ? g->feeds - g->feeds_min + 1 : 1;
    double u = (double)(load_random(random) >> 11) / 9007199254740992.0; /* 2^53 */
    if (g->spread == LOAD_FIXED || span == 1)
        return g->feeds;
    if (g->spread == LOAD_UNIFORM)
        return g->feeds_min + (uint32_t)(u * span);
    double sum = 0;
    for (uint32_t k = 1; k <= span; k++)
        sum += 1.0 / k;
    for (uint32_t k = 1; k <= span; k++) {
        u -= 1.0 / k / sum;
        if (u < 0)
            return g->feeds_min + k - 1;
    }
    return g->feeds;
}

/* The i-th of want feeds, of those not taken.  Neighbours of the market tick one right after the other; even: as far from each other as can be. */
static uint32_t pick(load_t *l, load_agent_t *a, const load_group_t *g, const bool *taken,
                     uint32_t i, uint32_t want)
{
    if (g->pick == LOAD_SAME_SET)
        return i;
    if (g->pick == LOAD_EVEN_SET)
        return (uint32_t)((uint64_t)i * l->market_count / want);
    uint32_t m;
    do
        m = draw(l, g, &a->random);
    while (taken[m]);
    return m;
}

/* Its feeds: the same k of the market for all, or k different ones drawn. */
static bool choose_feeds(load_t *l, load_agent_t *a, const load_group_t *g)
{
    uint32_t want = how_many(g, &a->random);
    want = want < l->market_count ? want : l->market_count;
    a->subs = calloc(want + 1, sizeof *a->subs);
    if (!a->subs)
        return false;
    bool taken[LOAD_FEEDS_MAX] = { false };
    for (uint32_t i = 0; i < want; i++) {
        uint32_t m = pick(l, a, g, taken, i, want);
        taken[m] = true;
        a->subs[a->subs_count++] = (load_sub_t){ .feed = l->market[m], .fresh = true };
    }
    qsort(a->subs, a->subs_count, sizeof *a->subs, by_feed);
    return true;
}

/* The group of agent i: groups are spread evenly over the ramp, in proportion to their shares (the one furthest behind comes next). */
static uint32_t next_group(const load_scenario_t *s, const uint32_t *given, uint32_t i)
{
    double total = 0;
    for (uint32_t g = 0; g < s->groups_count; g++)
        total += s->groups[g].share;
    uint32_t best = 0;
    double behind_max = -1e300;
    for (uint32_t g = 0; g < s->groups_count; g++) {
        double behind = s->groups[g].share / total * (i + 1) - given[g];
        if (behind > behind_max) {
            behind_max = behind;
            best = g;
        }
    }
    return best;
}

bool load_agents_make(load_t *l)
{
    uint32_t given[LOAD_GROUPS_MAX] = { 0 };
    l->agents = calloc(l->s.agents + 1, sizeof *l->agents);
    l->accounts = calloc(l->accounts_count, sizeof *l->accounts);
    if (!l->agents || !l->accounts)
        return false;
    for (uint32_t i = 0; i < l->s.agents; i++) {
        load_agent_t *a = &l->agents[i];
        a->group = (uint8_t)next_group(&l->s, given, i);
        given[a->group]++;
        const load_group_t *g = &l->s.groups[a->group];
        a->fd = -1;
        a->kind = (uint8_t)g->kind;
        a->slow = g->slow;
        a->encoding = (uint8_t)(g->encoding == LOAD_MIXED ? given[a->group] % LOAD_ENCODINGS
                                                          : (uint32_t)g->encoding);
        a->account = i % l->accounts_count;
        l->accounts[a->account].agents++;
        a->random = (l->s.seed + i + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
        if (g->kind == LOAD_STREAM && !choose_feeds(l, a, g))
            return false;
    }
    l->agents_count = l->s.agents;
    if (l->s.topup_every_ns > 0 && l->admin_token[0]) {
        l->agents[l->agents_count++] =
            (load_agent_t){ .fd = -1, .kind = LOAD_TOPUP, .random = l->s.seed };
    }
    return true;
}

void load_agents_free(load_t *l)
{
    for (uint32_t i = 0; l->agents && i < l->agents_count; i++) {
        load_tls_close(l->agents[i].tls, false);
        load_tls_forget(&l->agents[i]);
        if (l->agents[i].fd >= 0)
            close(l->agents[i].fd);
        free(l->agents[i].rest);
        free(l->agents[i].subs);
    }
    for (uint32_t i = 0; l->accounts && i < l->accounts_count; i++)
        free(l->accounts[i].token);
    free(l->accounts);
    free(l->agents);
    l->accounts = NULL;
    l->agents = NULL;
}

/* --- sockets ------------------------------------------------------------------------------- */

static void watch(load_t *l, load_agent_t *a, int op, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.u32 = (uint32_t)(a - l->agents) };
    epoll_ctl(l->epoll_fd, op, a->fd, &ev);
    a->reading = events & EPOLLIN;
}

static void leave_line(load_t *l, load_agent_t *a)
{
    l->sealing_count -= a->in_line;
    a->in_line = false;
}

/* A storm of handshakes goes in groups; the time in line counts as part of the dial. */
static bool must_queue(load_t *l, load_agent_t *a)
{
    if (!l->tls || a->kind == LOAD_TOPUP)
        return false;
    if (l->sealing_count < SEALING_MAX) {
        l->sealing_count++;
        a->in_line = true;
        return false;
    }
    if (a->queued_ns == 0)
        a->queued_ns = l->now_ns;
    load_at(l, a, l->now_ns + QUEUE_NS);
    return true;
}

static void drop_socket(load_t *l, load_agent_t *a)
{
    leave_line(l, a);
    load_tls_close(a->tls, true);
    a->tls = NULL;
    a->sealing = false;
    if (a->fd >= 0)
        close(a->fd); /* leaves the epoll set by itself */
    a->fd = -1;
}

/* One address has some 28,000 ports for one server: many agents on loopback come from several. */
static void choose_source(const load_t *l, const load_agent_t *a, const struct sockaddr_in *to)
{
    uint32_t i = (uint32_t)(a - l->agents) / PER_ADDRESS;
    struct sockaddr_in from = { .sin_family = AF_INET };
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i);
    if (i == 0 || ntohl(to->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
        return;
    int one = 1; /* the port is chosen by connect, which knows the other end */
    setsockopt(a->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(a->fd, (struct sockaddr *)&from, sizeof from) != 0)
        return; /* connect says what is wrong, if anything */
}

static void dial(load_t *l, load_agent_t *a)
{
    const struct sockaddr_in *to = a->kind == LOAD_TOPUP ? &l->admin_at : &l->public_at;
    if (must_queue(l, a))
        return;
    a->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0) {
        load_fault(l, a, LOAD_FAULT_CONNECT, "no socket: %s; raise ulimit -n", strerror(errno));
        load_agent_over(l, a);
        return;
    }
    choose_source(l, a, to);
    int one = 1;
    setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (a->slow) {
        int small = SLOW_SOCKET_BYTES;
        setsockopt(a->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    }
    if (a->dials++ == 0)
        l->dialed_count++;
    else
        l->reconnects++;
    a->dial_ns = a->queued_ns ? a->queued_ns : l->now_ns;
    a->queued_ns = 0;
    a->conn_frames = 0;
    a->conn_free = 0;
    a->session_told = a->asked = false;
    a->rest_len = 0;
    a->nats_left = 0;
    a->state = LOAD_CONNECTING;
    for (uint32_t i = 0; i < a->subs_count; i++)
        a->subs[i].told = false;
    if (connect(a->fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS) {
        load_fault(l, a, LOAD_FAULT_CONNECT, "cannot connect: %s", strerror(errno));
        load_agent_over(l, a);
        return;
    }
    watch(l, a, EPOLL_CTL_ADD, EPOLLOUT);
}

void load_agent_over(load_t *l, load_agent_t *a)
{
    drop_socket(l, a);
    if (a->state == LOAD_LIVE || a->state == LOAD_BALANCING || a->state == LOAD_CLOSING)
        l->live_count--;
    if (a->state != LOAD_OVER)
        l->over_count++;
    a->state = LOAD_OVER;
    a->due_ns = 0;
}

void load_agent_hangup(load_t *l, load_agent_t *a)
{
    if (a->state == LOAD_CLOSING)
        load_hist_add(&l->bye, kmy_mono_ns() - a->dial_ns);
    bool again = a->again && !l->ending;
    if (!again) {
        load_agent_over(l, a);
        return;
    }
    drop_socket(l, a);
    if (a->state == LOAD_LIVE || a->state == LOAD_BALANCING || a->state == LOAD_CLOSING)
        l->live_count--;
    a->again = false;
    a->busy = false;
    a->state = LOAD_IDLE;
    /* All at once is the storm; a few milliseconds of spread are what a network would do to it. */
    load_at(l, a, l->now_ns + l->s.storm_away_ns + (int64_t)(load_random(&a->random) % REDIAL_NS));
}

bool load_agent_send(load_t *l, load_agent_t *a, const void *bytes, size_t len)
{
    ssize_t n = a->tls ? load_tls_send(a->tls, bytes, len)
                       : send(a->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == (ssize_t)len)
        return true;
    /* What we say is far below any socket's buffer: a server that does not take it is not reading. */
    if (!a->slow)
        load_fault(l, a, LOAD_FAULT_CLOSED, "the server takes no bytes: %s",
                   n < 0 ? strerror(errno) : "a short write");
    return false;
}

bool load_agent_text(load_t *l, load_agent_t *a, const char *text, size_t len)
{
    static uint8_t frame[LOAD_MESSAGE_BYTES_MAX];
    uint32_t r = (uint32_t)load_random(&a->random);
    uint8_t mask[4];
    memcpy(mask, &r, 4);
    if (len + KMY_WS_HEADER_BYTES_MAX > sizeof frame)
        return false;
    size_t n = kmy_ws_put_header(frame, KMY_WS_TEXT, true, false, len, mask);
    memcpy(frame + n, text, len);
    kmy_ws_unmask(frame + n, len, mask, 0);
    return load_agent_send(l, a, frame, n + len);
}

void load_agent_close(load_t *l, load_agent_t *a)
{
    static const uint8_t frame[] = { 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8 }; /* 1000, mask 0 */
    a->state = LOAD_CLOSING;
    a->dial_ns = kmy_mono_ns();
    if (!load_agent_send(l, a, frame, sizeof frame))
        load_agent_over(l, a);
}

/* --- handshake ----------------------------------------------------------------------------- */

/* The nonce of this dial; not secret, only different (RFC 6455, 4.1). */
static void ws_key(const load_t *l, const load_agent_t *a, char key[24])
{
    uint64_t nonce[2] = { (uint64_t)(a - l->agents) + l->s.seed, a->dials };
    kmy_base64_encode(KMY_BASE64_STD, nonce, sizeof nonce, key);
}

static void shake(load_t *l, load_agent_t *a)
{
    char head[LOAD_TOKEN_BYTES_MAX + 512];
    char key[24];
    ws_key(l, a, key);
    int n = snprintf(head, sizeof head,
                     "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: %.24s\r\n%s%s%s\r\n",
                     l->path, l->authority, key, l->raw ? "" : "Authorization: Bearer ",
                     l->raw ? "" : l->accounts[a->account].token, l->raw ? "" : "\r\n");
    if (!load_agent_send(l, a, head, (size_t)n))
        load_agent_over(l, a);
}

static void subscribe(load_t *l, load_agent_t *a)
{
    static char text[LOAD_MESSAGE_BYTES_MAX - 64];
    const load_group_t *g = &l->s.groups[a->group];
    kmy_buf_t b = kmy_buf(text, sizeof text);
    kmy_buf_fmt(&b, "{\"op\":\"subscribe\",\"id\":1,\"encoding\":\"%s\",\"slow_reader\":\"%s\",",
                a->encoding == LOAD_FLAT ? "flatbuffers" : "json", g->slow_reader);
    bool resumes = false;
    kmy_buf_str(&b, "\"feeds\":[");
    for (uint32_t i = 0; i < a->subs_count; i++) {
        kmy_buf_fmt(&b, "%s\"%s\"", i ? "," : "", l->feeds[a->subs[i].feed].name);
        resumes |= !a->subs[i].fresh;
    }
    kmy_buf_str(&b, "]");
    bool first = true;
    for (uint32_t i = 0; resumes && i < a->subs_count; i++) {
        const load_feed_t *f = &l->feeds[a->subs[i].feed];
        if (a->subs[i].fresh)
            continue;
        kmy_buf_fmt(&b, "%s\"%s\":\"%s:%lu\"", first ? ",\"from\":{" : ",", f->name, f->epoch,
                    (unsigned long)a->subs[i].last);
        first = false;
    }
    if (resumes)
        kmy_buf_str(&b, "}");
    a->goes_on = resumes && a->session[0];
    if (a->goes_on) {
        kmy_buf_fmt(&b, ",\"session\":\"%s\"", a->session);
        l->sessions++;
    }
    kmy_buf_str(&b, "}");
    l->resumes += resumes;
    a->asked = true;
    if (b.overflow || !load_agent_text(l, a, b.data, b.len))
        load_agent_over(l, a);
}

/* The 101, checked; bytes used up, 0: not whole yet. */
static size_t read_101(load_t *l, load_agent_t *a, const uint8_t *data, size_t len)
{
    const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end && len < 4096)
        return 0;
    char key[24];
    char accept[KMY_WS_ACCEPT_BYTES];
    ws_key(l, a, key);
    kmy_ws_accept(key, sizeof key, accept);
    size_t n = end ? (size_t)(end - data) : 0;
    if (n < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0 ||
        !memmem(data, n, accept, sizeof accept)) {
        load_fault(l, a, LOAD_FAULT_HANDSHAKE, "%.*s", (int)(len < 60 ? len : 60),
                   (const char *)data);
        load_agent_over(l, a);
        return 0;
    }
    if (l->dialect == LOAD_KAMIYO)
        subscribe(l, a); /* the daemon authenticates by the header before it reads this */
    else if (l->dialect == LOAD_NATS && !load_nats_subscribe(l, a))
        load_agent_over(l, a);
    else
        load_agent_live(l, a);
    return n + 4;
}

void load_agent_live(load_t *l, load_agent_t *a)
{
    a->state = LOAD_LIVE;
    l->live_count++;
    l->up_count += a->dials == 1;
    int64_t took_ns = kmy_mono_ns() - a->dial_ns;
    load_hist_add(a->dials == 1 ? &l->join : &l->back, took_ns);
    if (a->away) {
        a->away = false;
        if (--l->away_count == 0 && kmy_mono_ns() - l->storm_ns > l->all_back_ns)
            l->all_back_ns = kmy_mono_ns() - l->storm_ns;
    }
    if (a->slow) { /* from now on it reads by its own clock, or not at all */
        watch(l, a, EPOLL_CTL_MOD, 0);
        if (l->s.groups[a->group].read_bytes_per_s > 0)
            load_at(l, a, l->now_ns + SLOW_EVERY_NS);
    }
}

/* --- events -------------------------------------------------------------------------------- */

static void ready_to_talk(load_t *l, load_agent_t *a)
{
    watch(l, a, EPOLL_CTL_MOD, EPOLLIN);
    if (l->dialect == LOAD_RAW) {
        load_agent_live(l, a);
        if (!load_agent_send(l, a, "hello\n", 6))
            load_agent_over(l, a);
    } else if (a->kind == LOAD_STREAM) {
        a->state = LOAD_SHAKING;
        shake(l, a);
    } else {
        load_agent_live(l, a);
        load_at(l, a, l->now_ns + (a->dials == 1 ? load_request_think(l, a) : 0));
    }
}

static void seal(load_t *l, load_agent_t *a)
{
    kmy_errctx_t ctx = { 0 };
    switch (load_tls_shake(l, a->tls, &ctx)) {
    case LOAD_TLS_DONE:
        a->sealing = false;
        leave_line(l, a);
        ready_to_talk(l, a);
        break;
    case LOAD_TLS_READ:
        watch(l, a, EPOLL_CTL_MOD, EPOLLIN);
        break;
    case LOAD_TLS_WRITE:
        watch(l, a, EPOLL_CTL_MOD, EPOLLOUT);
        break;
    case LOAD_TLS_FAILED:
        load_fault(l, a, LOAD_FAULT_HANDSHAKE, "%s", ctx.detail);
        load_agent_over(l, a);
        break;
    }
}

static void connected(load_t *l, load_agent_t *a)
{
    int err = 0;
    socklen_t len = sizeof err;
    getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &err, &len);
    if (err) {
        load_fault(l, a, LOAD_FAULT_CONNECT, "cannot connect: %s", strerror(err));
        load_agent_over(l, a);
        return;
    }
    if (!l->tls || a->kind == LOAD_TOPUP) {
        ready_to_talk(l, a);
        return;
    }
    a->tls = load_tls_open(l, a->fd, a);
    a->sealing = a->tls != NULL;
    a->state = LOAD_SHAKING;
    if (a->tls) {
        seal(l, a);
    } else {
        load_fault(l, a, LOAD_FAULT_HANDSHAKE, "no memory for a TLS session");
        load_agent_over(l, a);
    }
}

/* The server's end of the connection. */
static void ended(load_t *l, load_agent_t *a, ssize_t n)
{
    bool expected = a->state == LOAD_CLOSING || (l->ending && l->raw) ||
                    (l->ending && a->kind != LOAD_STREAM && !a->busy);
    if (a->slow && !expected) { /* the daemon may give a slow one up */
        a->ended_early = true;
        l->evicted++;
    } else if (!expected) {
        load_fault(l, a, LOAD_FAULT_CLOSED, "the server hung up: %s",
                   n < 0 ? strerror(errno) : "end of stream");
        a->ended_early = true;
    }
    load_agent_hangup(l, a);
}

static size_t consume(load_t *l, load_agent_t *a, const uint8_t *data, size_t len)
{
    if (a->kind != LOAD_STREAM)
        return load_request_read(l, a, data, len);
    size_t used = 0;
    if (a->state == LOAD_SHAKING && a->conn_frames == 0 && len > 0 && data[0] == 'H') {
        used = read_101(l, a, data, len);
        if (used == 0 || a->fd < 0)
            return used;
    }
    return used +
           (l->dialect == LOAD_NATS ? load_nats : load_frames)(l, a, data + used, len - used);
}

/* Keeps what is left for the next read. */
static void keep(load_t *l, load_agent_t *a, const uint8_t *data, size_t len)
{
    a->rest_len = 0;
    if (len > a->rest_cap) {
        uint8_t *grown = len <= LOAD_MESSAGE_BYTES_MAX ? realloc(a->rest, len) : NULL;
        if (!grown) {
            load_fault(l, a, LOAD_FAULT_PROTOCOL, "a message above %d bytes",
                       LOAD_MESSAGE_BYTES_MAX);
            load_agent_over(l, a);
            return;
        }
        a->rest = grown;
        a->rest_cap = (uint32_t)len;
    }
    if (len > 0)
        memcpy(a->rest, data, len);
    a->rest_len = (uint32_t)len;
}

static void read_some(load_t *l, load_agent_t *a, size_t max)
{
    if (a->rest_len > 0)
        memcpy(l->buffer, a->rest, a->rest_len);
    size_t room = LOAD_READ_BYTES - a->rest_len;
    size_t most = room < max ? room : max;
    ssize_t n = a->tls ? load_tls_recv(a->tls, l->buffer + a->rest_len, most)
                       : recv(a->fd, l->buffer + a->rest_len, most, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        ended(l, a, n);
        return;
    }
    l->now_wall_ns = kmy_wall_ns();
    l->reads++;
    l->bytes += (uint64_t)n;
    size_t len = a->rest_len + (size_t)n;
    a->rest_len = 0;
    size_t used = consume(l, a, l->buffer, len);
    if (a->fd >= 0)
        keep(l, a, l->buffer + used, len - used);
}

/* What TLS has opened and not given us, no poll of the socket tells of. */
static void read_all(load_t *l, load_agent_t *a)
{
    do
        read_some(l, a, LOAD_READ_BYTES);
    while (a->fd >= 0 && a->tls && load_tls_pending(a->tls) && a->rest_len < LOAD_READ_BYTES / 2);
}

void load_agent_ready(load_t *l, load_agent_t *a, uint32_t events)
{
    if (a->fd < 0)
        return;
    if (a->state == LOAD_CONNECTING) {
        connected(l, a);
        return;
    }
    if (a->slow && !a->reading) { /* EPOLLHUP and EPOLLERR come unasked */
        if (events & (EPOLLHUP | EPOLLERR)) {
            a->ended_early = true;
            l->evicted++;
            load_agent_over(l, a);
        }
        return;
    }
    if (a->sealing)
        seal(l, a);
    else
        read_all(l, a);
}

void load_agent_due(load_t *l, load_agent_t *a)
{
    a->due_ns = 0;
    if (a->state == LOAD_IDLE) {
        if (!l->ending)
            dial(l, a);
        else
            load_agent_over(l, a);
    } else if (a->kind != LOAD_STREAM) {
        load_request_send(l, a);
    } else if (a->slow && a->state == LOAD_LIVE && !a->reading) {
        uint64_t per_read = l->s.groups[a->group].read_bytes_per_s / (KMY_NS_PER_S / SLOW_EVERY_NS);
        load_at(l, a, l->now_ns + SLOW_EVERY_NS);
        read_some(l, a, per_read ? per_read : 1);
    }
}

void load_agent_cut(load_t *l, load_agent_t *a, bool reset)
{
    if (a->state == LOAD_IDLE || a->state == LOAD_OVER || a->kind == LOAD_TOPUP ||
        l->s.groups[a->group].stays)
        return;
    a->again = true;
    l->away_count += !a->away;
    a->away = true;
    if (a->state == LOAD_LIVE && a->kind == LOAD_STREAM && !reset && !a->slow) {
        load_agent_close(l, a); /* reads on until the server has closed as well */
        return;
    }
    if (a->kind != LOAD_STREAM && a->busy) /* its answer may have been charged */
        a->slack_nusd += KMY_NS_PER_S / 100;
    if (a->asked &&
        !a->session_told) /* the old one is used up, and what has taken it over we were not told */
        a->session[0] = 0;
    load_tls_close(a->tls, false);
    a->tls = NULL;
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(a->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    load_agent_hangup(l, a);
}

void load_agent_end(load_t *l, load_agent_t *a)
{
    static const char ask[] = "{\"op\":\"balance\",\"id\":\"end\"}";
    if (a->state == LOAD_OVER)
        return;
    if (a->state < LOAD_LIVE || l->raw || (a->kind != LOAD_STREAM && !a->busy)) {
        load_agent_over(l, a);
        return;
    }
    if (a->kind != LOAD_STREAM || a->state != LOAD_LIVE)
        return;
    if (a->slow) { /* from here on it reads like everybody, so that its books can be compared */
        int large = 1 << 20;
        setsockopt(a->fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
        watch(l, a, EPOLL_CTL_MOD, EPOLLIN);
    }
    a->state = LOAD_BALANCING;
    a->dial_ns = kmy_mono_ns();
    if (!load_agent_text(l, a, ask, sizeof ask - 1))
        load_agent_over(l, a);
}
