/* mischief: troubles at work, and the clocks of the venues' own rules (ping, pong, 24 hours). */
#include "tools/sim/sim.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HUGE_BYTES    (8u << 20)
#define GARBAGE_BYTES 256
#define HELD_NS       KMY_NS_PER_S

sim_active_t *sim_mischief_at_door(sim_venue_t *v, sim_trouble_kind_t kind)
{
    return v->active[kind].on ? &v->active[kind] : NULL;
}

sim_active_t *sim_mischief_on(sim_conn_t *c, sim_trouble_kind_t kind)
{
    if (c->venue->active_count == 0)
        return NULL;
    sim_active_t *a = &c->venue->active[kind];
    bool meets = a->on && (a->what.conn == 0 || a->what.conn == c->id);
    return meets ? a : NULL;
}

void sim_mischief_used(sim_active_t *a)
{
    if (a->left > 0 && --a->left == 0)
        a->on =
            false; /* active_count is put right by the timers; too high costs only the longer way */
}

static void send_garbage(sim_conn_t *c, const sim_trouble_t *t)
{
    size_t len = t->bytes ? t->bytes : GARBAGE_BYTES;
    char *text = malloc(len);
    uint64_t state = c->id * 0x9e3779b97f4a7c15ull + c->frames;
    for (uint64_t i = 0; text && i < t->count; i++) {
        for (size_t k = 0; k < len; k++) {
            state = state * 6364136223846793005ull + 1442695040888963407ull; /* Knuth's MMIX */
            text[k] = (char)(' ' + (state >> 33) % 95);
        }
        sim_ws_send(c, KMY_WS_TEXT, text, len);
    }
    free(text);
}

static void send_bad_utf8(sim_conn_t *c, const sim_trouble_t *t)
{
    static const char text[] = "{\"stream\":\"btcusdt@trade\",\"data\":\"\xc3\x28\xff\"}";
    for (uint64_t i = 0; i < t->count; i++)
        sim_ws_send(c, KMY_WS_TEXT, text, sizeof text - 1);
}

static void send_huge(sim_conn_t *c, const sim_trouble_t *t)
{
    static const char head[] = "{\"stream\":\"huge\",\"data\":\"";
    size_t len = t->bytes > sizeof head ? t->bytes : HUGE_BYTES;
    char *text = malloc(len);
    for (uint64_t i = 0; text && i < t->count && i < 16; i++) {
        memset(text, 'x', len);
        memcpy(text, head, sizeof head - 1);
        memcpy(text + len - 2, "\"}", 2);
        sim_ws_send(c, KMY_WS_TEXT, text, len);
        c->credit_bytes += len + KMY_WS_HEADER_BYTES_MAX;
    }
    free(text);
}

static void send_shutdown(sim_conn_t *c)
{
    char text[128];
    long long now = (long long)(kmy_wall_ns() / (c->micro ? 1000 : KMY_NS_PER_MS));
    int n = snprintf(
        text, sizeof text,
        c->combined
            ? "{\"stream\":\"!serverShutdown\",\"data\":{\"e\":\"serverShutdown\",\"E\":%lld}}"
            : "{\"e\":\"serverShutdown\",\"E\":%lld}",
        now);
    if (c->venue->which == SIM_BINANCE)
        sim_ws_send(c, KMY_WS_TEXT, text, (size_t)n);
}

void sim_lifetime_over(sim_conn_t *c)
{
    static const char text[] = "{\"type\":\"response\",\"status\":\"error\",\"error\":\"Connection "
                               "timeout reached (24h)\"}";
    if (c->venue->which == SIM_HERMES)
        sim_ws_send(c, KMY_WS_TEXT, text, sizeof text - 1);
    sim_ws_close(c, 1000, "");
}

static void rate_limit(sim_conn_t *c)
{
    static const char text[] = "{\"status\":\"error\",\"error\":\"Rate limit exceeded\"}";
    if (c->venue->which == SIM_HERMES)
        sim_ws_send(c, KMY_WS_TEXT, text, sizeof text - 1);
    sim_ws_close(c, 1008,
                 c->venue->which == SIM_HERMES ? "Rate limit exceeded" : "Too many requests");
}

static void do_once(sim_conn_t *c, const sim_trouble_t *t)
{
    switch (t->kind) {
    case SIM_T_DROP:
        sim_conn_drop(c);
        break;
    case SIM_T_RESET:
        sim_conn_reset(c);
        break;
    case SIM_T_HALFOPEN:
        sim_conn_go(c, SIM_CONN_FROZEN);
        c->close_ns = t->seconds > 0 ? c->sim->now_ns + (int64_t)(t->seconds * 1e9) : INT64_MAX;
        break;
    case SIM_T_CLOSE:
        sim_ws_close(c, t->code, "");
        break;
    case SIM_T_GARBAGE:
        send_garbage(c, t);
        break;
    case SIM_T_BADUTF8:
        send_bad_utf8(c, t);
        break;
    case SIM_T_HUGE:
        send_huge(c, t);
        break;
    case SIM_T_REPEAT:
        sim_deliver_repeat(c, t->count);
        break;
    case SIM_T_SHUTDOWN:
        send_shutdown(c);
        break;
    case SIM_T_LIFETIME:
        sim_lifetime_over(c);
        break;
    default:
        rate_limit(c);
    }
}

static void clear(sim_venue_t *v, sim_t *sim)
{
    for (int k = 0; k < SIM_TROUBLE_KINDS; k++)
        v->active[k].on = false;
    v->active_count = 0;
    for (sim_conn_t *c = sim->conns; c; c = c->next)
        if (c->venue == v && c->state == SIM_CONN_FROZEN)
            sim_conn_reset(c);
}

static void activate(sim_venue_t *v, sim_t *sim, const sim_trouble_t *t)
{
    sim_active_t *a = &v->active[t->kind];
    v->active_count += !a->on;
    *a = (sim_active_t){ .on = true, .what = *t, .left = t->count };
    a->until_ns = t->seconds > 0 ? sim->now_ns + (int64_t)(t->seconds * 1e9) : INT64_MAX;
    if (t->kind == SIM_T_REFUSE)
        sim_server_unlisten(v, sim);
}

static bool meets(const sim_conn_t *c, const sim_venue_t *v, const sim_trouble_t *t)
{
    return c->venue == v && c->state == SIM_CONN_OPEN && (t->conn == 0 || t->conn == c->id);
}

size_t sim_mischief_do(sim_t *sim, const sim_trouble_t *t)
{
    size_t met = 0;
    for (int i = SIM_BINANCE; i <= SIM_HERMES; i++) {
        sim_venue_t *v = &sim->venues[i];
        if (!(t->targets >> i & 1u) || !sim->o.listen[i])
            continue;
        if (t->kind == SIM_T_CLEAR)
            clear(v, sim);
        else if (sim_trouble_group(t->kind) != SIM_ONCE)
            activate(v, sim, t);
        for (sim_conn_t *c = sim->conns; c; c = c->next) {
            if (!meets(c, v, t))
                continue;
            met++;
            if (t->kind != SIM_T_CLEAR && sim_trouble_group(t->kind) == SIM_ONCE)
                do_once(c, t);
        }
    }
    return met;
}

static void expire(sim_t *sim, sim_venue_t *v)
{
    unsigned on = 0;
    for (int k = 0; k < SIM_TROUBLE_KINDS; k++) {
        sim_active_t *a = &v->active[k];
        if (a->on && a->until_ns <= sim->now_ns)
            a->on = false;
        on += a->on;
    }
    v->active_count = on;
    kmy_errctx_t ctx;
    if (v->fd < 0 && sim->o.listen[v->which] && !v->active[SIM_T_REFUSE].on)
        (void)sim_server_listen(v, sim,
                                &ctx); /* the port may still be taken: tried again next time */
}

static void ping_binance(sim_conn_t *c, int64_t now)
{
    char text[32];
    long long ms = (long long)(kmy_wall_ns() / KMY_NS_PER_MS);
    int n = snprintf(text, sizeof text, "%lld", ms);
    sim_ws_send(c, KMY_WS_PING, text, (size_t)n);
    c->ping_last_ms = ms;
    if (c->pong_due_ns == 0) {
        c->ping_first_ms = ms;
        c->pong_due_ns = now + c->sim->o.pong_ns;
    }
}

static void keep_alive(sim_conn_t *c, int64_t now)
{
    int64_t every = c->sim->o.ping_ns[c->venue->which];
    if (c->venue->which == SIM_BINANCE && c->pong_due_ns && now >= c->pong_due_ns) {
        sim_conn_drop(c);
        return;
    }
    if (every == 0 || now - c->ping_ns < every)
        return;
    c->ping_ns = now;
    c->pings++;
    c->venue->pings++;
    if (c->venue->which == SIM_BINANCE) {
        ping_binance(c, now);
    } else if (c->pong_due_ns) { /* Hermes: no pong before the next ping */
        sim_conn_drop(c);
    } else {
        sim_ws_send(c, KMY_WS_PING, "", 0);
        c->pong_due_ns = now + every;
    }
}

static void timers_of(sim_conn_t *c, int64_t now)
{
    if ((c->state == SIM_CONN_CLOSING || c->state == SIM_CONN_FROZEN) && now >= c->close_ns) {
        if (c->state == SIM_CONN_FROZEN)
            sim_conn_reset(c);
        else
            sim_conn_drop(c);
        return;
    }
    if (c->state != SIM_CONN_OPEN || sim_mischief_on(c, SIM_T_MUTE))
        return;
    if (c->held_len > 0 && now - c->held_ns >= HELD_NS) /* its successor never came */
        sim_deliver_held(c);
    if (now - c->born_ns >= c->sim->o.lifetime_ns)
        sim_lifetime_over(c);
    else
        keep_alive(c, now);
}

void sim_mischief_timers(sim_t *sim)
{
    for (int i = SIM_BINANCE; i <= SIM_HERMES; i++)
        expire(sim, &sim->venues[i]);
    for (sim_conn_t *c = sim->conns; c; c = c->next)
        if (c->venue->which != SIM_CONTROL || c->state == SIM_CONN_CLOSING)
            timers_of(c, sim->now_ns);
}
