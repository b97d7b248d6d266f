#include "tools/load/load.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "base/money.h"
#include "wire/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- when ---------------------------------------------------------------------------------- */

int64_t load_request_think(load_t *l, load_agent_t *a)
{
    if (a->kind == LOAD_TOPUP)
        return l->s.topup_every_ns;
    const load_group_t *g = &l->s.groups[a->group];
    uint64_t span = (uint64_t)(g->think_max_ns - g->think_min_ns) + 1;
    return g->think_min_ns + (int64_t)(load_random(&a->random) % span);
}

/* --- what ---------------------------------------------------------------------------------- */

static void put_head(load_t *l, const load_agent_t *a, kmy_buf_t *b, const char *method,
                     const char *path, size_t body)
{
    kmy_buf_fmt(b, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n", method, path,
                l->authority,
                a->kind == LOAD_TOPUP ? l->admin_token : l->accounts[a->account].token);
    if (body > 0)
        kmy_buf_fmt(b, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body);
    kmy_buf_str(b, "\r\n");
}

/* '/' and '@' may stand in a query (RFC 3986, 3.4), so a feed's name goes as it is. */
static void put_query(load_t *l, load_agent_t *a, kmy_buf_t *b)
{
    const load_group_t *g = &l->s.groups[a->group];
    char path[LOAD_NAME_BYTES_MAX + 64];
    uint32_t known; /* a daemon that somebody else started may not have the scenario's feed */
    bool has = g->feed[0] && kmy_strmap_get(&l->feed_names, g->feed, strlen(g->feed), &known);
    snprintf(path, sizeof path, "/v1/ingest-data?feed=%s",
             has ? g->feed : l->feeds[l->market[0]].name);
    put_head(l, a, b, "GET", path, 0);
}

static void put_batch(load_t *l, load_agent_t *a, kmy_buf_t *b)
{
    const load_group_t *g = &l->s.groups[a->group];
    char text[LOAD_BATCH_MAX * (LOAD_NAME_BYTES_MAX + 24)];
    kmy_buf_t body = kmy_buf(text, sizeof text);
    kmy_buf_str(&body, "{\"queries\":[");
    for (uint32_t i = 0; i < g->feeds && i < l->market_count; i++)
        kmy_buf_fmt(&body, "%s{\"feed_type\":\"%s\"}", i ? "," : "", l->feeds[l->market[i]].name);
    kmy_buf_str(&body, "]}");
    put_head(l, a, b, "POST", "/v1/ingest-data/batch", body.len);
    kmy_buf_bytes(b, body.data, body.len);
}

static void put_topup(load_t *l, load_agent_t *a, kmy_buf_t *b)
{
    char text[256];
    int n = snprintf(text, sizeof text, "{\"account\":\"%s%u\",\"usd\":\"%s\"}", l->prefix,
                     l->topup_next, l->s.topup_usd);
    put_head(l, a, b, "POST", "/v1/admin/tokens", (size_t)n);
    kmy_buf_bytes(b, text, (size_t)n);
}

void load_request_send(load_t *l, load_agent_t *a)
{
    static char text[LOAD_BATCH_MAX * (LOAD_NAME_BYTES_MAX + 24) + LOAD_TOKEN_BYTES_MAX + 1024];
    if (l->ending || a->busy || a->state != LOAD_LIVE)
        return;
    if (a->intended_ns == 0)
        a->intended_ns = l->now_ns;
    kmy_buf_t b = kmy_buf(text, sizeof text);
    if (a->kind == LOAD_QUERY)
        put_query(l, a, &b);
    else if (a->kind == LOAD_BATCH)
        put_batch(l, a, &b);
    else
        put_topup(l, a, &b);
    a->busy = true;
    if (b.overflow || !load_agent_send(l, a, b.data, b.len))
        load_agent_over(l, a);
}

/* --- the answer ---------------------------------------------------------------------------- */

/* "charged" and "balance" of a query or batch; the balance must be what our own count says. */
static void check_answer(load_t *l, load_agent_t *a, const char *body, size_t len)
{
    enum { FEED, RESULTS, COUNT, CHARGED, BALANCE };
    kmy_json_field_t f[] = { { .key = "feed" },
                             { .key = "results" },
                             { .key = "count" },
                             { .key = "charged" },
                             { .key = "balance" } };
    kmy_json_t js;
    kmy_json_init(&js, body, len);
    int64_t charged = 0;
    int64_t balance = 0;
    if (kmy_json_object(&js, f, 5, NULL) != KMY_OK || kmy_json_next(&js).type != KMY_JSON_END ||
        f[a->kind == LOAD_BATCH ? RESULTS : FEED].token.type == KMY_JSON_ERROR ||
        kmy_nusd_parse(f[CHARGED].token.text, f[CHARGED].token.len, &charged) != KMY_OK ||
        kmy_nusd_parse(f[BALANCE].token.text, f[BALANCE].token.len, &balance) != KMY_OK) {
        load_fault(l, a, LOAD_FAULT_DECODE, "%.*s", (int)(len < 120 ? len : 120), body);
        return;
    }
    a->charged_nusd += charged;
    /* A top-up may have been minted that this balance does not know yet, or knows before we were told: only too little is an error. */
    const load_account_t *acc = &l->accounts[a->account];
    int64_t want = acc->credited_nusd - a->charged_nusd;
    if (acc->credited_nusd > 0 && acc->agents == 1 && l->s.topup_every_ns == 0 &&
        (balance > want || balance < want - a->slack_nusd) && l->miscounted++ == 0)
        snprintf(l->miscount_detail, sizeof l->miscount_detail,
                 "agent %zu: balance %" PRId64 " nano-USD after a query, by our count %" PRId64,
                 (size_t)(a - l->agents), balance, want);
}

static void topped_up(load_t *l)
{
    int64_t usd = 0;
    kmy_nusd_parse(l->s.topup_usd, strlen(l->s.topup_usd), &usd);
    l->accounts[l->topup_next].credited_nusd += usd;
    l->topup_next = (l->topup_next + 1) % l->accounts_count;
    l->topups++;
}

/* Due again: think time after the time this one was due, whether or not the answer came late (open loop). */
static void answered(load_t *l, load_agent_t *a, unsigned status, const char *body, size_t len)
{
    int64_t late = kmy_mono_ns() - a->intended_ns;
    a->busy = false;
    if (status != 200)
        load_fault(l, a, LOAD_FAULT_STATUS, "%u: %.*s", status, (int)(len < 120 ? len : 120), body);
    else if (a->kind == LOAD_TOPUP)
        topped_up(l);
    else
        check_answer(l, a, body, len);
    if (a->kind != LOAD_TOPUP) {
        l->answers++;
        l->batches += a->kind == LOAD_BATCH;
        load_hist_add(&l->answer_second, late);
    }
    if (l->measuring)
        load_hist_add(a->kind == LOAD_QUERY   ? &l->query
                      : a->kind == LOAD_BATCH ? &l->batch
                                              : &l->topup,
                      late);
    if (l->ending) {
        load_agent_over(l, a);
        return;
    }
    a->intended_ns += load_request_think(l, a);
    load_at(l, a, a->intended_ns);
}

size_t load_request_read(load_t *l, load_agent_t *a, const uint8_t *data, size_t len)
{
    static const char length[] = "\r\ncontent-length:";
    const char *text = (const char *)data;
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - text) + 4;
    size_t body = SIZE_MAX;
    for (const char *at = text; at < end; at = memchr(at + 1, '\r', (size_t)(end - at))) {
        if ((size_t)(end + 2 - at) > sizeof length &&
            strncasecmp(at, length, sizeof length - 1) == 0) {
            body = strtoul(at + sizeof length - 1, NULL, 10);
            break;
        }
    }
    if (len < 12 || memcmp(text, "HTTP/1.1 ", 9) != 0 || body > LOAD_MESSAGE_BYTES_MAX - 4096 ||
        !a->busy) {
        load_fault(l, a, LOAD_FAULT_PROTOCOL, "no HTTP answer of ours: %.*s",
                   (int)(len < 60 ? len : 60), text);
        load_agent_over(l, a);
        return 0;
    }
    if (len < head + body)
        return 0;
    answered(l, a, (unsigned)strtoul(text + 9, NULL, 10), text + head, body);
    return head + body;
}
