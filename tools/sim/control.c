/* control: the door for whoever runs the simulator: POST /trouble, POST /stop, GET /stats, GET /health. */
#include "tools/sim/sim.h"

#include "base/clock.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void answer(sim_conn_t *c, int status, json_t *root)
{
    char *text = json_dumps(root, JSON_COMPACT);
    if (text)
        sim_http_answer(c, status, status == 405 ? "Allow: GET, POST\r\n" : "", "application/json",
                        text, strlen(text));
    else
        sim_conn_drop(c);
    free(text);
    json_decref(root);
}

static void refuse(sim_conn_t *c, int status, const char *why)
{
    json_t *root = json_object();
    json_object_set_new(root, "error", json_string(why));
    answer(c, status, root);
}

static void trouble(sim_conn_t *c, const char *body, size_t len)
{
    json_error_t why;
    kmy_errctx_t ctx = { 0 };
    sim_trouble_t t;
    json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &why);
    kmy_err_t err = root ? sim_trouble_from_json(root, &t, &ctx)
                         : KMY_FAIL(&ctx, KMY_BAD_INPUT, "not JSON: %.100s", why.text);
    json_decref(root);
    if (err != KMY_OK) {
        refuse(c, 400, ctx.detail);
        return;
    }
    size_t met = sim_mischief_do(c->sim, &t);
    answer(c, 200,
           json_pack("{s:b,s:s,s:I}", "ok", 1, "kind", sim_trouble_word(t.kind), "connections",
                     (json_int_t)met));
}

static void put(json_t *root, const char *key, uint64_t value)
{
    json_object_set_new(root, key, json_integer((json_int_t)value));
}

static json_t *connection(const sim_conn_t *c)
{
    static const char *const words[] = { "tls", "http", "open", "closing", "frozen", "dead" };
    json_t *root = json_object();
    put(root, "id", c->id);
    json_object_set_new(root, "state", json_string(words[c->state]));
    put(root, "streams", c->subs_known);
    put(root, "frames", c->frames);
    put(root, "bytes", c->bytes);
    put(root, "queued", sim_conn_queued(c));
    put(root, "messages", c->messages);
    put(root, "subscribes", c->subscribes);
    put(root, "pings", c->pings);
    put(root, "pongs", c->pongs);
    put(root, "age_ms", (uint64_t)((c->sim->now_ns - c->born_ns) / KMY_NS_PER_MS));
    return root;
}

static json_t *streams(const sim_venue_t *v)
{
    json_t *root = json_object();
    for (size_t i = 0; i < v->streams.count; i++) {
        json_t *s = json_object();
        put(s, "frames", v->stats[i].frames);
        put(s, "last_id", v->stats[i].last_id);
        json_object_set_new(root, v->streams.names[i], s);
    }
    return root;
}

static json_t *troubles(const sim_venue_t *v)
{
    json_t *root = json_array();
    for (int k = 0; k < SIM_TROUBLE_KINDS; k++)
        if (v->active[k].on)
            json_array_append_new(root, json_string(sim_trouble_word((sim_trouble_kind_t)k)));
    return root;
}

static json_t *venue(const sim_t *sim, const sim_venue_t *v)
{
    json_t *root = json_object(), *conns = json_array();
    put(root, "accepted", v->accepted);
    put(root, "open", v->held_open);
    put(root, "refused", v->refused);
    put(root, "slow_cut", v->slow_cut);
    put(root, "frames", v->frames);
    put(root, "bytes", v->bytes);
    put(root, "messages", v->messages);
    put(root, "subscribes", v->subscribes);
    put(root, "pings", v->pings);
    put(root, "pongs", v->pongs);
    put(root, "timeline_frames", v->timeline.frames);
    put(root, "timeline_loop", v->timeline.loop);
    put(root, "recorded_frames", v->tape.frames_count);
    put(root, "recorded_skipped", v->tape.skipped_count);
    json_object_set_new(root, "troubles", troubles(v));
    json_object_set_new(root, "streams", streams(v));
    for (const sim_conn_t *c = sim->conns; c; c = c->next)
        if (c->venue == v)
            json_array_append_new(conns, connection(c));
    json_object_set_new(root, "connections", conns);
    return root;
}

static void stats(sim_conn_t *c)
{
    json_t *root = json_object();
    put(root, "uptime_ms", (uint64_t)((c->sim->now_ns - c->sim->start_ns) / KMY_NS_PER_MS));
    for (int i = SIM_BINANCE; i <= SIM_HERMES; i++)
        if (c->sim->o.listen[i])
            json_object_set_new(root, c->sim->venues[i].name, venue(c->sim, &c->sim->venues[i]));
    answer(c, 200, root);
}

static void ok(sim_conn_t *c)
{
    answer(c, 200, json_pack("{s:b}", "ok", 1));
}

void sim_control_request(sim_conn_t *c, const kmy_http_request_t *req, const char *body)
{
    bool get = kmy_view_is(req->method, "GET"), post = kmy_view_is(req->method, "POST");
    bool is_trouble = kmy_view_is(req->path, "/trouble"), is_stop = kmy_view_is(req->path, "/stop");
    bool is_stats = kmy_view_is(req->path, "/stats"), is_health = kmy_view_is(req->path, "/health");
    if (kmy_http_header(req, "Origin"))
        refuse(c, 403, "pages in a browser may not steer this"); /* a page could POST to loopback */
    else if (is_trouble && post)
        trouble(c, body, req->body_bytes);
    else if (is_stop && post) {
        ok(c);
        c->sim->stop = true;
    } else if (is_stats && get)
        stats(c);
    else if (is_health && get)
        ok(c);
    else if (is_trouble || is_stop || is_stats || is_health)
        refuse(c, 405, is_trouble || is_stop ? "use POST" : "use GET");
    else
        refuse(c, 404, "POST /trouble, POST /stop, GET /stats, GET /health");
}
