/* hermes: the WebSocket of a Pyth Hermes server.  Source: pyth-crosschain apps/hermes/server, as of 2026-07-23. */
#include "tools/sim/sim.h"

#include "base/clock.h"

#include <jansson.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#define IDS_TEXT_MAX 600 /* of unknown ids in an error; the real text is a debug dump as well */

/* Compares in a time that does not depend on where the texts differ: a habit, even here. */
static bool same_secret(const char *a, size_t len, const char *b)
{
    unsigned char diff = strlen(b) != len;
    for (size_t i = 0; i < len && b[i]; i++)
        diff |= (unsigned char)(a[i] ^ b[i]);
    return diff == 0;
}

bool sim_hermes_authorized(const sim_conn_t *c, const kmy_http_request_t *req)
{
    const char *key = c->sim->o.hermes_key;
    char token[1024];
    if (!key)
        return true;
    const kmy_view_t *h = kmy_http_header(req, "Authorization");
    if (h && h->len > 7 && strncasecmp(h->ptr, "Bearer ", 7) == 0)
        return same_secret(h->ptr + 7, h->len - 7, key);
    return kmy_http_query(req->query, "ACCESS_TOKEN", token, sizeof token) &&
           same_secret(token, strlen(token), key);
}

static void error(sim_conn_t *c, const char *text)
{
    json_t *root = json_pack("{s:s,s:s,s:s}", "type", "response", "status", "error", "error", text);
    char *out = root ? json_dumps(root, JSON_COMPACT) : NULL;
    if (out)
        sim_ws_reply(c, out, strlen(out));
    free(out);
    json_decref(root);
}

static void success(sim_conn_t *c)
{
    static const char text[] = "{\"type\":\"response\",\"status\":\"success\"}";
    sim_ws_reply(c, text, sizeof text - 1);
}

/* 0x optional, any case -> 64 lower-case hex. */
static bool normal_id(const json_t *value, char out[65])
{
    const char *s = json_string_value(value);
    if (!s)
        return false;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
        s += 2;
    if (strlen(s) != 64)
        return false;
    for (int i = 0; i < 64; i++) {
        bool digit = s[i] >= '0' && s[i] <= '9';
        char low = (char)(s[i] | 32);
        if (!digit && !(low >= 'a' && low <= 'f'))
            return false;
        out[i] = digit ? s[i] : low;
    }
    out[64] = '\0';
    return true;
}

static bool flag(json_t *root, const char *key, bool *out)
{
    json_t *v = json_object_get(root, key);
    *out = json_is_true(v);
    return !v || json_is_boolean(v);
}

/* One pass over ids: false if one is malformed.  Unknown ones are listed in text, known ones get `set` if apply. */
static bool each_id(sim_conn_t *c, json_t *ids, bool apply, uint8_t set, char text[IDS_TEXT_MAX],
                    size_t *unknown)
{
    size_t i, at = 0;
    json_t *value;
    *unknown = 0;
    text[0] = '\0';
    json_array_foreach(ids, i, value)
    {
        char id[65];
        uint32_t stream;
        if (!normal_id(value, id))
            return false;
        if (!sim_streams_find(&c->venue->streams, id, 64, &stream)) {
            ++*unknown;
            if (at + 70 < IDS_TEXT_MAX)
                at += (size_t)snprintf(text + at, IDS_TEXT_MAX - at, "%s%s", at ? ", " : "", id);
        } else if (apply) {
            c->subs_known += (size_t)(set != 0) - (size_t)(c->subs[stream] != 0);
            c->subs[stream] = set;
        }
    }
    return true;
}

static void subscribe(sim_conn_t *c, json_t *root, json_t *ids)
{
    bool verbose, binary, late, ignore;
    char text[IDS_TEXT_MAX], msg[IDS_TEXT_MAX + 64];
    size_t unknown;
    if (!flag(root, "verbose", &verbose) || !flag(root, "binary", &binary) ||
        !flag(root, "allow_out_of_order", &late) ||
        !flag(root, "ignore_invalid_price_ids", &ignore)) {
        error(c, "invalid type: expected a boolean");
        return;
    }
    uint8_t set = (uint8_t)(SIM_SUB | (verbose ? SIM_SUB_VERBOSE : 0) |
                            (binary ? SIM_SUB_BINARY : 0) | (late ? SIM_SUB_LATE : 0));
    if (!each_id(c, ids, false, set, text, &unknown)) {
        error(c, "invalid id: expected 64 hexadecimal digits");
        return;
    }
    if (unknown > 0 && !ignore) {
        snprintf(msg, sizeof msg, "Price feed(s) with id(s) [%s] not found", text);
        error(c, msg);
        return;
    }
    each_id(c, ids, true, set, text, &unknown);
    c->subscribes++;
    c->venue->subscribes++;
    success(c);
    sim_pump_subscribed(c);
}

static void unsubscribe(sim_conn_t *c, json_t *ids)
{
    char text[IDS_TEXT_MAX];
    size_t unknown;
    if (each_id(c, ids, true, 0, text, &unknown))
        success(c);
    else
        error(c, "invalid id: expected 64 hexadecimal digits");
}

void sim_hermes_message(sim_conn_t *c, const char *text, size_t len)
{
    json_error_t why;
    json_t *root = json_loadb(text, len, 0, &why);
    const char *type = json_string_value(json_object_get(root, "type"));
    json_t *ids = json_object_get(root, "ids");
    if (!root)
        error(c, why.text);
    else if (!type)
        error(c, "missing field `type`");
    else if (strcmp(type, "subscribe") != 0 && strcmp(type, "unsubscribe") != 0)
        error(c, "unknown variant, expected `subscribe` or `unsubscribe`");
    else if (!json_is_array(ids))
        error(c, "missing field `ids`");
    else if (type[0] == 's')
        subscribe(c, root, ids);
    else
        unsubscribe(c, ids);
    json_decref(root);
}

bool sim_hermes_within_bytes(sim_conn_t *c, size_t len)
{
    sim_venue_t *v = c->venue;
    uint64_t limit = c->sim->o.bytes_per_s;
    if (v->which != SIM_HERMES || limit == 0)
        return true;
    if (c->sim->now_ns - v->second_ns >= KMY_NS_PER_S) {
        v->second_ns = c->sim->now_ns;
        v->second_bytes = 0;
    }
    v->second_bytes += len;
    if (v->second_bytes <= limit)
        return true;
    static const char text[] = "{\"status\":\"error\",\"error\":\"Rate limit exceeded\"}";
    sim_ws_send(c, KMY_WS_TEXT, text, sizeof text - 1);
    sim_ws_close(c, 1008, "Rate limit exceeded");
    return false;
}
