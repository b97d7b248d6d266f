#include "tools/load/book.h"
#include "tools/load/load.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "base/money.h"
#include "wire/json.h"
#include "wire/ws.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const load_gap_names[LOAD_GAP_REASONS] = {
    "conflated", "dropped", "history_too_short", "epoch", "source", "other",
};

/* --- ticks --------------------------------------------------------------------------------- */

static load_sub_t *find_sub(load_agent_t *a, uint32_t feed)
{
    if (a->hint < a->subs_count && a->subs[a->hint].feed == feed)
        return &a->subs[a->hint];
    uint32_t lo = 0;
    uint32_t hi = a->subs_count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (a->subs[mid].feed < feed)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == a->subs_count || a->subs[lo].feed != feed)
        return NULL;
    a->hint = lo;
    return &a->subs[lo];
}

static void record(load_t *l, load_agent_t *a, int64_t recv_ns)
{
    int64_t late = l->now_wall_ns - recv_ns;
    l->clock_back += late < 0;
    if (a->slow)
        return;
    load_hist_add(&l->tick_second, late < 0 ? 0 : late);
}

static void note_lost(load_t *l, const load_agent_t *a, const load_feed_t *f, uint64_t missing,
                      uint64_t before)
{
    if (l->lost == 0)
        snprintf(l->lost_detail, sizeof l->lost_detail,
                 "agent %zu, connection %u, %s: %" PRIu64 " missing before %" PRIu64,
                 (size_t)(a - l->agents), a->dials, f->name, missing, before);
    l->lost += missing;
}

/* The tick is valid: is it the next one, and what does it cost? */
static void take(load_t *l, load_agent_t *a, uint32_t feed, uint64_t offset, int64_t recv_ns)
{
    load_feed_t *f = &l->feeds[feed];
    load_sub_t *sub = find_sub(a, feed);
    if (!sub) {
        load_fault(l, a, LOAD_FAULT_UNASKED, "%s was not subscribed", f->name);
        return;
    }
    if (l->inject_loss && ++l->frames_injected % l->inject_loss == 0)
        return;
    uint64_t last = sub->last;
    uint64_t missing;
    switch (load_book_tick(sub, offset, &missing)) {
    case LOAD_BOOK_NEXT:
        break;
    case LOAD_BOOK_LOST:
        note_lost(l, a, f, missing, offset);
        break;
    case LOAD_BOOK_BEFORE:
        load_fault(l, a, LOAD_FAULT_ORDER, "%s: %" PRIu64 " follows %" PRIu64, f->name, offset,
                   last);
        break;
    }
    if (offset > f->newest)
        f->newest = offset;
    a->frames++;
    a->conn_frames++;
    a->charged_nusd += f->tick_nusd;
    l->delivered++;
    l->delivered_slow += a->slow;
    record(l, a, recv_ns);
}

static load_seen_t *seen_of(load_feed_t *f, load_encoding_t enc)
{
    if (!f->seen[enc])
        f->seen[enc] = calloc(1, sizeof *f->seen[enc]);
    return f->seen[enc];
}

static void differs(load_t *l, load_agent_t *a, const load_feed_t *f, uint64_t offset)
{
    load_fault(l, a, LOAD_FAULT_DIFFERS, "%s %" PRIu64 " has other bytes than another agent got",
               f->name, offset);
}

/* A tick whose bytes nobody had: the other encoding's of the same offset must say the same. */
static void compare_values(load_t *l, load_agent_t *a, load_feed_t *f, const load_tick_t *t)
{
    if (!f->values)
        f->values = calloc(1, sizeof *f->values);
    if (f->values && !load_values_agree(f->values, t))
        load_fault(l, a, LOAD_FAULT_DIFFERS, "%s %" PRIu64 " has another price or time than before",
                   f->name, t->offset);
}

static void judge_json(load_t *l, load_agent_t *a, const char *text, size_t len)
{
    load_tick_t t;
    kmy_errctx_t ctx = { 0 };
    uint32_t feed;
    if (!load_scan_json(text, len, &t) && load_read_json(text, len, &t, &ctx) != KMY_OK) {
        load_fault(l, a, LOAD_FAULT_DECODE, "%s", ctx.detail);
        return;
    }
    if (!kmy_strmap_get(&l->feed_names, t.feed, t.feed_len, &feed)) {
        load_fault(l, a, LOAD_FAULT_UNASKED, "an unknown feed: %.*s", (int)t.feed_len, t.feed);
        return;
    }
    load_seen_t *seen = seen_of(&l->feeds[feed], LOAD_JSON);
    int64_t recv_ns;
    if (seen && load_seen_find(seen, t.offset, text, len, &recv_ns) == LOAD_DIFFERS)
        differs(l, a, &l->feeds[feed], t.offset);
    if (seen)
        load_seen_put(seen, t.offset, text, len, t.recv_ns);
    compare_values(l, a, &l->feeds[feed], &t);
    take(l, a, feed, t.offset, t.recv_ns);
}

#define TICK_HEAD "{\"type\":\"tick\",\"feed\":\""

/* The usual case: the feed of the last tick, and bytes that another agent was given before. */
static bool take_seen(load_t *l, load_agent_t *a, const char *text, size_t len)
{
    if (a->hint >= a->subs_count)
        return false;
    load_feed_t *f = &l->feeds[a->subs[a->hint].feed];
    static const char behind[] = "\",\"offset\":";
    size_t at = sizeof TICK_HEAD - 1;
    if (len < at + f->name_len + sizeof behind + 20 || memcmp(text + at, f->name, f->name_len) != 0)
        return false;
    at += f->name_len;
    if (memcmp(text + at, behind, sizeof behind - 1) != 0)
        return false;
    uint64_t offset = 0;
    for (at += sizeof behind - 1; text[at] >= '0' && text[at] <= '9' && at < len - 1; at++)
        offset = offset * 10 + (uint64_t)(text[at] - '0');
    int64_t recv_ns;
    if (!f->seen[LOAD_JSON] ||
        load_seen_find(f->seen[LOAD_JSON], offset, text, len, &recv_ns) != LOAD_SAME)
        return false;
    take(l, a, a->subs[a->hint].feed, offset, recv_ns);
    return true;
}

/* A binary frame: ticks back to back. */
static void flat(load_t *l, load_agent_t *a, const uint8_t *data, size_t len)
{
    while (len > 0 && a->fd >= 0) {
        size_t bytes;
        char name[KMY_FEED_NAME_BYTES_MAX];
        load_tick_t t;
        kmy_errctx_t ctx = { 0 };
        uint64_t offset;
        uint32_t id;
        uint32_t feed = a->hint < a->subs_count ? a->subs[a->hint].feed : 0;
        load_seen_t *seen = seen_of(&l->feeds[feed], LOAD_FLAT);
        int64_t recv_ns;
        if (load_peek_flat(data, len, &bytes, &offset, &id) && seen &&
            load_seen_find(seen, offset, data, bytes, &recv_ns) == LOAD_SAME) {
            take(l, a, feed, offset, recv_ns);
        } else if (load_read_flat(data, len, &t, &bytes, name, &ctx) != KMY_OK) {
            load_fault(l, a, LOAD_FAULT_DECODE, "%s", ctx.detail);
            return;
        } else if (!kmy_strmap_get(&l->feed_names, name, t.feed_len, &feed)) {
            load_fault(l, a, LOAD_FAULT_UNASKED, "an unknown feed: %s", name);
        } else {
            seen = seen_of(&l->feeds[feed], LOAD_FLAT);
            if (seen && load_seen_find(seen, t.offset, data, bytes, &recv_ns) == LOAD_DIFFERS)
                differs(l, a, &l->feeds[feed], t.offset);
            if (seen)
                load_seen_put(seen, t.offset, data, bytes, t.recv_ns);
            compare_values(l, a, &l->feeds[feed], &t);
            take(l, a, feed, t.offset, t.recv_ns);
        }
        data += bytes;
        len -= bytes;
    }
}

/* --- the other messages -------------------------------------------------------------------- */

static bool feed_of(load_t *l, load_agent_t *a, kmy_json_token_t t, uint32_t *feed)
{
    char name[KMY_FEED_NAME_BYTES_MAX];
    size_t len;
    if (t.type == KMY_JSON_STRING && kmy_json_unescape(t, name, sizeof name, &len) &&
        kmy_strmap_get(&l->feed_names, name, len, feed))
        return true;
    load_fault(l, a, LOAD_FAULT_UNASKED, "a message about an unknown feed");
    return false;
}

static void on_gap(load_t *l, load_agent_t *a, kmy_json_token_t feed_name, kmy_json_token_t from,
                   kmy_json_token_t to, kmy_json_token_t reason)
{
    uint32_t feed;
    int64_t first;
    int64_t last;
    if (!feed_of(l, a, feed_name, &feed))
        return;
    load_sub_t *sub = find_sub(a, feed);
    if (!sub || !kmy_json_i64(from, &first) || !kmy_json_i64(to, &last) || first < 1) {
        load_fault(l, a, LOAD_FAULT_DECODE, "a gap of nothing we hold");
        return;
    }
    uint32_t why = 0;
    while (why < LOAD_GAP_REASONS - 1 && !kmy_json_is(reason, load_gap_names[why]))
        why++;
    uint64_t missing;
    uint64_t held = sub->last;
    bool epoch = kmy_json_is(reason, "epoch");
    load_book_t b = load_book_gap(sub, (uint64_t)first, (uint64_t)last, epoch, &missing);
    if (b == LOAD_BOOK_BEFORE)
        load_fault(l, a, LOAD_FAULT_ORDER, "%s: a gap %" PRId64 "..%" PRId64 " behind %" PRIu64,
                   l->feeds[feed].name, first, last, held);
    if (b == LOAD_BOOK_LOST)
        note_lost(l, a, &l->feeds[feed], missing, (uint64_t)first);
    l->gaps[why]++;
    l->gap_ticks[why] += b == LOAD_BOOK_BEFORE ? 0 : (uint64_t)(last - first + 1);
}

/* One {feed,epoch,offset,...} of "subscribed". */
static bool on_subscribed_feed(load_t *l, load_agent_t *a, kmy_json_t *js, bool goes_on)
{
    enum { FEED, EPOCH, OFFSET, PRICE };
    kmy_json_field_t f[] = {
        { .key = "feed" }, { .key = "epoch" }, { .key = "offset" }, { .key = "price_tick" }
    };
    uint32_t feed;
    int64_t offset;
    if (kmy_json_object(js, f, 4, NULL) != KMY_OK || !feed_of(l, a, f[FEED].token, &feed) ||
        !kmy_json_i64(f[OFFSET].token, &offset) || offset < 0)
        return false;
    load_sub_t *sub = find_sub(a, feed);
    if (!sub)
        return false;
    load_feed_t *to = &l->feeds[feed];
    int64_t price;
    if (f[PRICE].token.type == KMY_JSON_STRING &&
        kmy_nusd_parse(f[PRICE].token.text, f[PRICE].token.len, &price) == KMY_OK)
        to->tick_nusd = price;
    size_t len;
    if (!kmy_json_unescape(f[EPOCH].token, to->epoch, sizeof to->epoch, &len))
        to->epoch[0] = 0;
    if (sub->fresh)
        sub->last = (uint64_t)offset;
    else if (l->s.storm_reset && (uint64_t)offset > sub->last) {
        /* Handed to a socket that was reset, charged, and sent again now: free, if the session goes on. */
        uint64_t again = (uint64_t)offset - sub->last;
        a->conn_free += again;
        if (!goes_on)
            a->slack_nusd += (int64_t)again * to->tick_nusd;
    }
    sub->told = true;
    return true;
}

static void on_subscribed(load_t *l, load_agent_t *a, kmy_json_token_t feeds)
{
    kmy_json_t js;
    kmy_json_init(&js, feeds.text, feeds.len);
    bool ok = feeds.type == KMY_JSON_ARRAY && kmy_json_next(&js).type == KMY_JSON_ARRAY;
    uint32_t count = 0;
    while (ok && count < a->subs_count && on_subscribed_feed(l, a, &js, a->goes_on))
        count++;
    if (!ok || count != a->subs_count) {
        load_fault(l, a, LOAD_FAULT_DECODE, "subscribed names %u feeds of %u", count,
                   a->subs_count);
        load_agent_over(l, a);
        return;
    }
    if (a->state == LOAD_SHAKING)
        load_agent_live(l, a);
}

static void note_miscount(load_t *l, const load_agent_t *a, const char *fmt, int64_t x, int64_t y)
{
    char text[120];
    if (l->miscounted++ > 0)
        return;
    /* The two formats below are the only ones. */
    if (fmt[0] == 't')
        snprintf(text, sizeof text, "charged %" PRId64 " ticks, delivered %" PRId64, x, y);
    else
        snprintf(text, sizeof text, "balance %" PRId64 " nano-USD, by our count %" PRId64, x, y);
    snprintf(l->miscount_detail, sizeof l->miscount_detail, "agent %zu: %s",
             (size_t)(a - l->agents), text);
}

/* The last balance: every tick this connection was given, no more, and the money to the nano-USD. */
static void on_balance(load_t *l, load_agent_t *a, kmy_json_token_t balance,
                       kmy_json_token_t charged)
{
    int64_t ticks = 0;
    int64_t nusd = 0;
    const load_account_t *acc = &l->accounts[a->account];
    int64_t want = acc->credited_nusd - a->charged_nusd;
    /* Another shard may have served it before and not have reported yet all of what it charged; the audit is exact. */
    bool exact = l->one_shard || a->dials == 1;
    if (a->state != LOAD_BALANCING)
        return;
    if (!kmy_json_i64(charged, &ticks) || balance.type != KMY_JSON_STRING ||
        kmy_nusd_parse(balance.text, balance.len, &nusd) != KMY_OK)
        load_fault(l, a, LOAD_FAULT_DECODE, "a balance frame without figures");
    else if ((uint64_t)ticks > a->conn_frames || (uint64_t)ticks + a->conn_free < a->conn_frames)
        note_miscount(l, a, "ticks", ticks, (int64_t)a->conn_frames);
    else if (acc->credited_nusd > 0 && acc->agents == 1 &&
             ((nusd > want && exact) || nusd < want - a->slack_nusd))
        note_miscount(l, a, "money", nusd, want);
    load_hist_add(&l->answer, kmy_mono_ns() - a->dial_ns);
    load_agent_close(l, a);
}

static void on_authenticated(load_t *l, load_agent_t *a, kmy_json_token_t session)
{
    size_t len;
    char text[sizeof a->session];
    if (session.type != KMY_JSON_STRING || !kmy_json_unescape(session, text, sizeof text, &len) ||
        len != sizeof text - 1) {
        load_fault(l, a, LOAD_FAULT_DECODE, "authenticated without a session");
        return;
    }
    memcpy(a->session, text, sizeof text);
    a->session_told = true;
}

static void on_message(load_t *l, load_agent_t *a, const char *text, size_t len)
{
    enum { TYPE, FEED, FROM, TO, REASON, FEEDS, BALANCE, CHARGED, CODE, MESSAGE, STATE, SESSION };
    kmy_json_field_t f[] = {
        { .key = "type" },   { .key = "feed" },    { .key = "from" },    { .key = "to" },
        { .key = "reason" }, { .key = "feeds" },   { .key = "balance" }, { .key = "charged_ticks" },
        { .key = "code" },   { .key = "message" }, { .key = "state" },   { .key = "session" },
    };
    kmy_json_t js;
    kmy_errctx_t ctx = { 0 };
    kmy_json_init(&js, text, len);
    if (kmy_json_object(&js, f, sizeof f / sizeof f[0], &ctx) != KMY_OK ||
        kmy_json_next(&js).type != KMY_JSON_END) {
        load_fault(l, a, LOAD_FAULT_DECODE, "%s: %.*s", ctx.detail, (int)(len < 60 ? len : 60),
                   text);
        return;
    }
    kmy_json_token_t type = f[TYPE].token;
    if (kmy_json_is(type, "tick"))
        judge_json(l, a, text, len); /* legal, in another order */
    else if (kmy_json_is(type, "gap"))
        on_gap(l, a, f[FEED].token, f[FROM].token, f[TO].token, f[REASON].token);
    else if (kmy_json_is(type, "subscribed"))
        on_subscribed(l, a, f[FEEDS].token);
    else if (kmy_json_is(type, "balance"))
        on_balance(l, a, f[BALANCE].token, f[CHARGED].token);
    else if (kmy_json_is(type, "authenticated"))
        on_authenticated(l, a, f[SESSION].token);
    else if (kmy_json_is(type, "slow_reader_warning"))
        l->slow_warnings++;
    else if (kmy_json_is(type, "status"))
        l->stale_status += kmy_json_is(f[STATE].token, "stale");
    else if (kmy_json_is(type, "payment_required") && l->s.spend)
        l->paused++;
    else if (kmy_json_is(type, "error") || kmy_json_is(type, "payment_required") ||
             kmy_json_is(type, "goaway"))
        load_fault(l, a, LOAD_FAULT_REFUSED, "%.*s", (int)(len < 120 ? len : 120), text);
}

static void on_control(load_t *l, load_agent_t *a, uint8_t opcode, const uint8_t *payload,
                       size_t len)
{
    static uint8_t pong[KMY_WS_HEADER_BYTES_MAX + 125];
    if (opcode == KMY_WS_PING) {
        size_t n = kmy_ws_put_header(pong, KMY_WS_PONG, true, false, len, (uint8_t[4]){ 0 });
        memcpy(pong + n, payload, len);
        if (!load_agent_send(l, a, pong, n + len))
            load_agent_over(l, a);
    } else if (opcode == KMY_WS_CLOSE) {
        if (a->state != LOAD_CLOSING && a->slow) {
            a->ended_early = true;
            l->evicted++;
        } else if (a->state != LOAD_CLOSING) {
            load_fault(l, a, LOAD_FAULT_CLOSED, "the server closed with %u: %.*s",
                       len >= 2 ? payload[0] << 8 | payload[1] : 1005, (int)(len > 2 ? len - 2 : 0),
                       (const char *)payload + 2);
            a->ended_early = true;
        }
        load_agent_hangup(l, a);
    }
}

/* --- frames -------------------------------------------------------------------------------- */

void load_text(load_t *l, load_agent_t *a, const char *text, size_t len)
{
    static const char head[] = TICK_HEAD;
    if (len < sizeof head || memcmp(text, head, sizeof head - 1) != 0)
        on_message(l, a, text, len);
    else if (!take_seen(l, a, text, len))
        judge_json(l, a, text, len);
}

static void message(load_t *l, load_agent_t *a, uint8_t opcode, const uint8_t *payload, size_t len)
{
    if (opcode == KMY_WS_BINARY)
        flat(l, a, payload, len);
    else
        load_text(l, a, (const char *)payload, len);
}

/* Our server sends whole messages, never fragments: a fragment is a fault here. */
static size_t any_frame(load_t *l, load_agent_t *a, const uint8_t *data, size_t len)
{
    static const kmy_ws_rules_t rules = { .server = false,
                                          .message_bytes_max = LOAD_MESSAGE_BYTES_MAX };
    kmy_ws_header_t h;
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_ws_header(&rules, data, len, &h, &ctx);
    if (err == KMY_AGAIN)
        return 0;
    if (err == KMY_OK && (!h.fin || h.opcode == KMY_WS_CONT || h.rsv1))
        err = KMY_FAIL(&ctx, KMY_PROTOCOL, "a fragment or a compressed frame, neither asked for");
    if (err == KMY_OK && h.payload_bytes > LOAD_MESSAGE_BYTES_MAX - 64)
        err = KMY_FAIL(&ctx, KMY_PROTOCOL, "a frame of %" PRIu64 " bytes", h.payload_bytes);
    if (err != KMY_OK) {
        load_fault(l, a, LOAD_FAULT_PROTOCOL, "%s", ctx.detail);
        load_agent_over(l, a);
        return 0;
    }
    size_t whole = h.header_bytes + (size_t)h.payload_bytes;
    if (len < whole)
        return 0;
    if (h.opcode >= KMY_WS_CLOSE)
        on_control(l, a, h.opcode, data + h.header_bytes, (size_t)h.payload_bytes);
    else
        message(l, a, h.opcode, data + h.header_bytes, (size_t)h.payload_bytes);
    return whole;
}

size_t load_frames(load_t *l, load_agent_t *a, const uint8_t *data, size_t len)
{
    size_t used = 0;
    while (a->fd >= 0 && len - used >= 2) {
        const uint8_t *p = data + used;
        size_t left = len - used;
        /* A text frame of 126..65535 bytes or less than 126: a tick, nearly always. */
        size_t head = p[1] < 126 ? 2 : 4;
        size_t body = p[1] < 126 ? p[1] : left >= 4 ? (size_t)p[2] << 8 | p[3] : 0;
        if (p[0] == 0x81 && p[1] <= 126 && (head == 2 || body >= 126) && left >= head + body) {
            message(l, a, KMY_WS_TEXT, p + head, body);
            used += head + body;
            continue;
        }
        size_t n = any_frame(l, a, p, left);
        if (n == 0)
            break;
        used += n;
    }
    return used;
}
