/* door: what a handshake is answered: troubles at the door, budgets, keys, then 101. */
#include "tools/sim/sim.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define BUDGET_WINDOW_NS (300 * KMY_NS_PER_S)

/* true if v has used up its connects of the last five minutes; else this one is counted. */
static bool over_budget(sim_venue_t *v, uint32_t budget, int64_t now_ns)
{
    if (v->which != SIM_BINANCE || budget == 0)
        return false;
    int64_t *slot = &v->connect_ns[v->connect_at % budget]; /* the one made `budget` connects ago */
    if (*slot != 0 && now_ns - *slot < BUDGET_WINDOW_NS)
        return true;
    *slot = now_ns;
    v->connect_at++;
    return false;
}

static void refuse(sim_conn_t *c, int status, const char *headers, const char *body)
{
    c->venue->refused++;
    sim_http_answer(c, status, headers, "application/json", body, strlen(body));
}

/* A status asked for by trouble, in the venue's own words where it has some. */
static void answer_trouble(sim_conn_t *c, sim_active_t *a)
{
    char headers[512] = "", retry[64] = "", location[320] = "";
    if (a->what.retry_after >= 0)
        snprintf(retry, sizeof retry, "Retry-After: %d\r\n", a->what.retry_after);
    if (a->what.location[0])
        snprintf(location, sizeof location, "Location: %s\r\n", a->what.location);
    snprintf(headers, sizeof headers, "%s%s", retry, location);
    bool banned = a->what.status == 418 || a->what.status == 429;
    const char *body =
        c->venue->which == SIM_BINANCE && banned
            ? "{\"code\":-1003,\"msg\":\"Way too much request weight used; IP banned.\"}"
            : "{\"error\":\"made by kamiyo-sim\"}";
    sim_mischief_used(a);
    refuse(c, a->what.status, headers, body);
}

static bool upgrade(sim_conn_t *c, const kmy_http_request_t *req)
{
    char accept[KMY_WS_ACCEPT_BYTES], head[256];
    kmy_errctx_t ctx = { 0 };
    if (!req->upgrade_websocket) {
        refuse(c, 426, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
               "{\"error\":\"this is a WebSocket\"}");
        return false;
    }
    kmy_err_t err = kmy_ws_check_upgrade(req, accept, &ctx);
    if (err != KMY_OK) {
        refuse(c, err == KMY_UNSUPPORTED ? 426 : 400,
               err == KMY_UNSUPPORTED ? "Sec-WebSocket-Version: 13\r\n" : "",
               "{\"error\":\"bad WebSocket handshake\"}");
        return false;
    }
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %.*s\r\n\r\n",
                     KMY_WS_ACCEPT_BYTES, accept);
    uint8_t *at = sim_conn_room(c, (size_t)n);
    if (!at)
        return false;
    memcpy(at, head, (size_t)n);
    c->out_len += (size_t)n;
    c->is_ready = true;
    c->born_ns = c->ping_ns = c->sim->now_ns;
    sim_conn_go(c, SIM_CONN_OPEN);
    return true;
}

static void open_binance(sim_conn_t *c, const kmy_http_request_t *req)
{
    if (over_budget(c->venue, c->sim->o.connects, c->sim->now_ns)) {
        refuse(c, 429, "Retry-After: 300\r\n",
               "{\"code\":-1003,\"msg\":\"Too many connection attempts; 300 in 5 minutes.\"}");
        return;
    }
    if (!sim_binance_open(c, req))
        return;
    if (upgrade(c, req) && c->wanted_count > 0)
        sim_pump_subscribed(c);
}

static void open_hermes(sim_conn_t *c, const kmy_http_request_t *req)
{
    if (!kmy_view_is(req->path, "/ws") && !kmy_view_is(req->path, "/hermes/ws"))
        refuse(c, 404, "", "{\"error\":\"Hermes streams are at /ws\"}");
    else if (!sim_hermes_authorized(c, req))
        refuse(c, 401, "WWW-Authenticate: Bearer\r\n", "{\"error\":\"Unauthorized\"}");
    else
        upgrade(c, req);
}

void sim_door_request(sim_conn_t *c, const kmy_http_request_t *req)
{
    sim_active_t *http = sim_mischief_at_door(c->venue, SIM_T_HTTP);
    if (http)
        answer_trouble(c, http);
    else if (c->venue->which == SIM_BINANCE)
        open_binance(c, req);
    else
        open_hermes(c, req);
}
