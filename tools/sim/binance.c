/* binance: the control messages of Binance Spot's market streams and their exact answers.
   Source: web-socket-streams document of the venue (2025/2026); where it gives no text, the answer begins "Invalid request:". */
#include "tools/sim/sim.h"

#include "base/clock.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES_MAX 255
#define METHODS        "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"

static bool want(sim_conn_t *c, const char *name, size_t len, bool on)
{
    uint32_t idx, stream;
    if (!on && !sim_streams_find(&c->wanted, name, len, &idx))
        return true; /* what was never subscribed is unsubscribed with success */
    idx = sim_streams_intern(&c->wanted, name, len);
    if (idx == UINT32_MAX)
        return false;
    if (idx >= c->wanted_cap) {
        size_t cap = c->wanted_cap ? c->wanted_cap * 2 : 64;
        bool *p = realloc(c->wanted_on, cap * sizeof *p);
        if (!p)
            return false;
        memset(p + c->wanted_cap, 0, (cap - c->wanted_cap) * sizeof *p);
        c->wanted_on = p;
        c->wanted_cap = cap;
    }
    if (on && !c->wanted_on[idx] && c->wanted_count == SIM_BINANCE_STREAMS_MAX)
        return false;
    c->wanted_count += (size_t)on - (size_t)c->wanted_on[idx];
    c->wanted_on[idx] = on;
    if (sim_streams_find(&c->venue->streams, name, len, &stream)) {
        c->subs_known += (size_t)on - (size_t)(c->subs[stream] != 0);
        c->subs[stream] = on ? SIM_SUB : 0;
    }
    return true;
}

static bool want_list(sim_conn_t *c, const char *names)
{
    while (*names) {
        size_t len = strcspn(names, "/");
        if (len > NAME_BYTES_MAX || (len > 0 && !want(c, names, len, true)))
            return false;
        names += len + (names[len] == '/');
    }
    return true;
}

static bool refuse(sim_conn_t *c, int status, const char *body)
{
    c->venue->refused++;
    sim_http_answer(c, status, "", "application/json", body, strlen(body));
    return false;
}

bool sim_binance_open(sim_conn_t *c, const kmy_http_request_t *req)
{
    char path[KMY_HTTP_TARGET_BYTES_MAX], streams[KMY_HTTP_TARGET_BYTES_MAX], unit[32];
    bool ok = true;
    if (!kmy_http_path_decode(req->path, path, sizeof path))
        return refuse(c, 400, "{\"error\":\"bad path\"}");
    if (kmy_http_query(req->query, "timeUnit", unit, sizeof unit)) {
        c->micro = strcasecmp(unit, "MICROSECOND") == 0;
        if (!c->micro && strcasecmp(unit, "MILLISECOND") != 0)
            return refuse(c, 400,
                          "{\"code\":-1128,\"msg\":\"Invalid value for parameter 'timeUnit'.\"}");
    }
    c->combined = strcmp(path, "/stream") == 0;
    if (c->combined) {
        if (kmy_http_query(req->query, "streams", streams, sizeof streams))
            ok = want_list(c, streams);
    } else if (strncmp(path, "/ws/", 4) == 0) {
        ok = want_list(c, path + 4);
    } else if (strcmp(path, "/ws") != 0) {
        return refuse(c, 404,
                      "{\"error\":\"streams are at /ws/NAME and /stream?streams=NAME/NAME\"}");
    }
    return ok || refuse(c, 400, "{\"error\":\"more than 1024 streams\"}");
}

/* At most messages_per_s frames of any kind within any second; over it the connection is closed. */
bool sim_binance_within_rate(sim_conn_t *c)
{
    uint32_t limit = c->sim->o.messages_per_s;
    if (c->venue->which != SIM_BINANCE || limit == 0)
        return true;
    int64_t *slot = &c->stamps[c->stamps_at % limit]; /* the message `limit` ago */
    if (*slot != 0 && c->sim->now_ns - *slot < KMY_NS_PER_S) {
        sim_ws_close(c, 1008, "Too many requests");
        return false;
    }
    *slot = c->sim->now_ns;
    c->stamps_at++;
    return true;
}

static void fault(sim_conn_t *c, int code, const char *text, json_t *id)
{
    json_t *root = json_pack("{s:i,s:s}", "code", code, "msg", text);
    if (id)
        json_object_set(root, "id", id);
    char *out = json_dumps(root, JSON_COMPACT);
    if (out)
        sim_ws_reply(c, out, strlen(out));
    free(out);
    json_decref(root);
}

static void result(sim_conn_t *c, json_t *value, json_t *id)
{
    json_t *root = json_object();
    json_object_set_new(root, "result", value);
    json_object_set(root, "id", id);
    char *out = json_dumps(root, JSON_COMPACT);
    if (out)
        sim_ws_reply(c, out, strlen(out));
    free(out);
    json_decref(root);
}

static bool id_is_legal(const json_t *id)
{
    if (json_is_integer(id) || json_is_null(id))
        return true;
    if (!json_is_string(id) || json_string_length(id) > 36)
        return false;
    const char *s = json_string_value(id);
    for (size_t i = 0; i < json_string_length(id); i++)
        if (!((s[i] >= '0' && s[i] <= '9') || ((s[i] | 32) >= 'a' && (s[i] | 32) <= 'z')))
            return s[i] == '-' || s[i] == '_'; /* UUIDs with dashes are let through */
    return true;
}

static void subscribe(sim_conn_t *c, json_t *params, json_t *id, bool on)
{
    size_t i;
    json_t *name;
    if (!json_is_array(params)) {
        fault(c, 2, "Invalid request: missing field `params`", NULL);
        return;
    }
    json_array_foreach(params, i, name) if (!json_is_string(name) ||
                                            json_string_length(name) == 0 ||
                                            json_string_length(name) > NAME_BYTES_MAX)
    {
        fault(c, 2, "Invalid request: params must be a list of stream names", NULL);
        return;
    }
    json_array_foreach(params, i,
                       name) if (!want(c, json_string_value(name), json_string_length(name), on))
    {
        fault(c, 2, "Invalid request: too many parameters", NULL);
        return;
    }
    c->subscribes += on;
    c->venue->subscribes += on;
    result(c, json_null(), id); /* unknown names: success as well, and silence */
    if (on)
        sim_pump_subscribed(c);
}

static void list(sim_conn_t *c, json_t *id)
{
    json_t *names = json_array();
    for (size_t i = 0; i < c->wanted.count; i++)
        if (c->wanted_on[i])
            json_array_append_new(names, json_string(c->wanted.names[i]));
    result(c, names, id);
}

static void property(sim_conn_t *c, json_t *params, json_t *id, bool set)
{
    const char *name = json_string_value(json_array_get(params, 0));
    json_t *value = json_array_get(params, 1);
    if (json_array_size(params) > (set ? 2u : 1u))
        fault(c, 2, "Invalid request: too many parameters", NULL);
    else if (!name)
        fault(c, 2, "Invalid request: property name must be a string", NULL);
    else if (strcmp(name, "combined") != 0)
        fault(c, 0, "Unknown property", id);
    else if (set && !json_is_boolean(value))
        fault(c, 1, "Invalid value type: expected Boolean", NULL);
    else if (set) {
        c->combined = json_is_true(value);
        result(c, json_null(), id);
    } else
        result(c, json_boolean(c->combined), id);
}

static void unknown_method(sim_conn_t *c, const char *text, size_t len, json_t *method)
{
    char msg[320];
    const char *word = json_string_value(method);
    if (!word) {
        snprintf(msg, sizeof msg, "Invalid request: missing field `method` at line 1 column %zu",
                 len);
    } else {
        const char *at = memmem(text, len, word, strlen(word));
        snprintf(msg, sizeof msg,
                 "Invalid request: unknown variant `%.40s`, expected one of " METHODS
                 " at line 1 column %zu",
                 word, at ? (size_t)(at - text) + strlen(word) + 1 : len);
    }
    fault(c, 2, msg, NULL);
}

static void request(sim_conn_t *c, const char *text, size_t len, json_t *root)
{
    json_t *method = json_object_get(root, "method"), *params = json_object_get(root, "params");
    json_t *id = json_object_get(root, "id");
    const char *word = json_is_string(method) ? json_string_value(method) : "";
    if (!id)
        id = json_null();
    if (!id_is_legal(id))
        fault(c, 2,
              "Invalid request: request ID must be a signed 64-bit integer, an alphanumeric string "
              "of at most 36 characters or null",
              NULL);
    else if (strcmp(word, "SUBSCRIBE") == 0)
        subscribe(c, params, id, true);
    else if (strcmp(word, "UNSUBSCRIBE") == 0)
        subscribe(c, params, id, false);
    else if (strcmp(word, "LIST_SUBSCRIPTIONS") == 0)
        list(c, id);
    else if (strcmp(word, "SET_PROPERTY") == 0)
        property(c, params, id, true);
    else if (strcmp(word, "GET_PROPERTY") == 0)
        property(c, params, id, false);
    else
        unknown_method(c, text, len, method);
}

void sim_binance_message(sim_conn_t *c, const char *text, size_t len)
{
    json_error_t why;
    json_t *root = json_loadb(text, len, 0, &why);
    char msg[128];
    if (json_is_object(root)) {
        request(c, text, len, root);
    } else if (root || json_error_code(&why) == json_error_numeric_overflow) {
        fault(c, 2, "Invalid request: expected an object with method, params and id", NULL);
    } else {
        snprintf(msg, sizeof msg, "Invalid JSON: expected value at line %d column %d",
                 why.line > 0 ? why.line : 1, why.column);
        fault(c, 3, msg, NULL);
    }
    json_decref(root);
}
