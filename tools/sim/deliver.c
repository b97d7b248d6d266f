/* deliver: one event to one connection.  The short way renders straight into the connection's queue; only while a trouble is on does a
   frame go through the longer one. */
#include "tools/sim/sim.h"

#include "tools/sim/mangle.h"
#include "tools/sim/text.h"

#include <stdlib.h>
#include <string.h>

#define HEADER_GUESS 4 /* of payloads from 126 to 65535 bytes: nearly all */

static size_t bound(const sim_event_t *ev, size_t name_len)
{
    return ev->len + (size_t)ev->patches_count * SIM_U64_DIGITS_MAX + name_len + 64;
}

static size_t render_hermes(const sim_event_t *ev, uint8_t sub, char *out)
{
    char *at = out;
    at += sim_shift_write(ev->text, 0, ev->meta_at, ev->patches, ev->patches_count, ev->delta,
                          false, at);
    if (sub & SIM_SUB_VERBOSE)
        at += sim_shift_write(ev->text, ev->meta_at, ev->vaa_at, ev->patches, ev->patches_count,
                              ev->delta, false, at);
    if (sub & SIM_SUB_BINARY)
        at = sim_put(at, ev->text + ev->vaa_at, ev->len - 2 - ev->vaa_at);
    return (size_t)(sim_put(at, "}}", 2) - out);
}

static size_t render_binance(const sim_conn_t *c, const sim_event_t *ev, const char *name,
                             size_t name_len, char *out)
{
    char *at = out;
    if (c->combined) {
        at = sim_put(at, "{\"stream\":\"", 11);
        at = sim_put(at, name, name_len);
        at = sim_put(at, "\",\"data\":", 9);
    }
    at += sim_shift_write(ev->text, 0, ev->len, ev->patches, ev->patches_count, ev->delta, c->micro,
                          at);
    if (c->combined)
        *at++ = '}';
    return (size_t)(at - out);
}

static void remember(sim_conn_t *c, const void *payload, size_t len)
{
    if (len > SIM_HISTORY_BYTES)
        return;
    if (!c->history)
        c->history = malloc((size_t)SIM_HISTORY_FRAMES * SIM_HISTORY_BYTES);
    if (!c->history)
        return;
    size_t slot = c->history_count++ % SIM_HISTORY_FRAMES;
    memcpy(c->history + slot * SIM_HISTORY_BYTES, payload, len);
    c->history_len[slot] = (uint16_t)len;
}

/* Many small frames of one message: TEXT without FIN, CONT..., CONT with FIN. */
static void send_fragments(sim_conn_t *c, const uint8_t *payload, size_t len, size_t each)
{
    for (size_t at = 0; at < len; at += each) {
        size_t n = len - at < each ? len - at : each;
        uint8_t *to = sim_conn_room(c, n + KMY_WS_HEADER_BYTES_MAX);
        if (!to)
            return;
        size_t head = kmy_ws_put_header(to, at == 0 ? KMY_WS_TEXT : KMY_WS_CONT, at + n == len,
                                        false, n, NULL);
        memcpy(to + head, payload + at, n);
        c->out_len += head + n;
    }
}

static void send_masked(sim_conn_t *c, const uint8_t *payload, size_t len)
{
    static const uint8_t mask[4] = { 0x11, 0x22, 0x33, 0x44 };
    uint8_t *to = sim_conn_room(c, len + KMY_WS_HEADER_BYTES_MAX);
    if (!to)
        return;
    size_t head = kmy_ws_put_header(to, KMY_WS_TEXT, true, false, len, mask);
    memcpy(to + head, payload, len);
    kmy_ws_unmask(to + head, len, mask, 0); /* xor both ways */
    c->out_len += head + len;
}

static void emit(sim_conn_t *c, const uint8_t *payload, size_t len)
{
    sim_active_t *fragment = sim_mischief_on(c, SIM_T_FRAGMENT);
    sim_active_t *masked = sim_mischief_on(c, SIM_T_MASKED);
    if (masked) {
        sim_mischief_used(masked);
        send_masked(c, payload, len);
    } else if (fragment) {
        sim_mischief_used(fragment);
        send_fragments(c, payload, len, fragment->what.bytes ? fragment->what.bytes : 16);
    } else {
        sim_ws_send(c, KMY_WS_TEXT, payload, len);
    }
}

static bool hold(sim_conn_t *c, const uint8_t *payload, size_t len)
{
    if (len > c->held_cap) {
        uint8_t *p = realloc(c->held, len);
        if (!p)
            return false;
        c->held = p;
        c->held_cap = len;
    }
    memcpy(c->held, payload, len);
    c->held_len = len;
    c->held_ns = c->sim->now_ns;
    return true;
}

void sim_deliver_held(sim_conn_t *c)
{
    size_t len = c->held_len;
    c->held_len = 0;
    if (len > 0)
        emit(c, c->held, len);
}

/* The longer way: payload is changed, held back, doubled, cut up. */
static void send_troubled(sim_conn_t *c, char *payload, size_t len, size_t cap)
{
    for (int k = SIM_T_SPIKE; k <= SIM_T_TRUNCATED; k++) {
        sim_active_t *a = sim_mischief_on(c, (sim_trouble_kind_t)k);
        if (!a)
            continue;
        sim_mischief_used(a);
        len = sim_mangle((sim_trouble_kind_t)k, payload, len, cap);
    }
    sim_active_t *reorder = sim_mischief_on(c, SIM_T_REORDER);
    if (reorder && c->held_len == 0 && hold(c, (uint8_t *)payload, len)) {
        sim_mischief_used(reorder);
        return;
    }
    emit(c, (uint8_t *)payload, len);
    sim_deliver_held(c);
    sim_active_t *twice = sim_mischief_on(c, SIM_T_DUPLICATE);
    if (twice) {
        sim_mischief_used(twice);
        emit(c, (uint8_t *)payload, len);
    }
}

static void account(sim_conn_t *c, const sim_event_t *ev, size_t len)
{
    sim_venue_t *v = c->venue;
    c->frames++;
    c->bytes += len;
    v->frames++;
    v->bytes += len;
    v->stats[ev->stream].frames++;
    if (ev->id > 0)
        v->stats[ev->stream].last_id = ev->id;
}

/* With a trouble on: render beside the queue, then send_troubled. */
static void deliver_slowly(sim_conn_t *c, const sim_event_t *ev, uint8_t sub, const char *name,
                           size_t name_len)
{
    static char *scratch; /* one thread; grows to the largest frame */
    static size_t scratch_cap;
    size_t cap = bound(ev, name_len) * 2 + 64;
    if (cap > scratch_cap) {
        char *p = realloc(scratch, cap);
        if (!p)
            return;
        scratch = p;
        scratch_cap = cap;
    }
    size_t len = c->venue->which == SIM_HERMES ? render_hermes(ev, sub, scratch)
                                               : render_binance(c, ev, name, name_len, scratch);
    if (!sim_hermes_within_bytes(c, len))
        return;
    account(c, ev, len);
    remember(c, scratch, len);
    send_troubled(c, scratch, len, scratch_cap);
}

static void deliver_quickly(sim_conn_t *c, const sim_event_t *ev, uint8_t sub, const char *name,
                            size_t name_len)
{
    uint8_t *to = sim_conn_room(c, bound(ev, name_len) + KMY_WS_HEADER_BYTES_MAX);
    if (!to)
        return;
    char *payload = (char *)to + HEADER_GUESS;
    size_t len = c->venue->which == SIM_HERMES ? render_hermes(ev, sub, payload)
                                               : render_binance(c, ev, name, name_len, payload);
    if (!sim_hermes_within_bytes(c, len))
        return;
    account(c, ev, len);
    remember(c, payload, len);
    uint8_t header[KMY_WS_HEADER_BYTES_MAX];
    size_t head = kmy_ws_put_header(header, KMY_WS_TEXT, true, false, len, NULL);
    if (head != HEADER_GUESS)
        memmove(to + head, payload, len);
    memcpy(to, header, head);
    c->out_len += head + len;
}

void sim_deliver(sim_conn_t *c, const sim_event_t *ev)
{
    uint8_t sub = c->subs[ev->stream];
    if (!sub || c->state != SIM_CONN_OPEN || (ev->late && !(sub & SIM_SUB_LATE)) ||
        (ev->only_vaa && !(sub & SIM_SUB_BINARY)))
        return;
    const char *name = c->venue->streams.names[ev->stream];
    size_t name_len = strlen(name);
    if (c->venue->active_count == 0 && c->held_len == 0) {
        deliver_quickly(c, ev, sub, name, name_len);
        return;
    }
    if (!sim_mischief_on(c, SIM_T_STALL) && !sim_mischief_on(c, SIM_T_MUTE))
        deliver_slowly(c, ev, sub, name, name_len);
}

void sim_deliver_repeat(sim_conn_t *c, uint64_t count)
{
    if (count > c->history_count)
        count = c->history_count;
    if (count > SIM_HISTORY_FRAMES)
        count = SIM_HISTORY_FRAMES;
    for (uint64_t i = c->history_count - count; i < c->history_count; i++) {
        size_t slot = i % SIM_HISTORY_FRAMES;
        sim_ws_send(c, KMY_WS_TEXT, c->history + slot * SIM_HISTORY_BYTES, c->history_len[slot]);
    }
}
