/* dollar 4/7   in: engine/keeper_pass   out: engine/subs */
#include "engine/passes.h"

#include "base/log.h"
#include "engine/conn.h"
#include "engine/egress.h"
#include "engine/stream.h"
#include "engine/subs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static kmy_pass_t *find(const kmy_shard_account_t *acc, uint32_t feed)
{
    for (uint32_t i = 0; i < acc->passes_count; i++) {
        if (acc->passes[i].feed == feed)
            return &acc->passes[i];
    }
    return NULL;
}

static bool runs(const kmy_shard_t *s, const kmy_pass_t *p)
{
    return p && p->expires_ns > s->now_wall_ns;
}

static kmy_pass_t *add(kmy_shard_account_t *acc, uint32_t feed)
{
    if (acc->passes_count == acc->passes_cap) {
        uint32_t cap = acc->passes_cap ? 2 * acc->passes_cap : 4;
        kmy_pass_t *grown = realloc(acc->passes, cap * sizeof *grown);
        if (!grown)
            return NULL;
        acc->passes = grown;
        acc->passes_cap = cap;
    }
    acc->passes[acc->passes_count] = (kmy_pass_t){ .feed = feed };
    return &acc->passes[acc->passes_count++];
}

void kmy_passes_told(kmy_shard_t *s, kmy_shard_account_t *acc, const kmy_tell_passes_t *told)
{
    for (uint32_t i = 0; i < told->count; i++) {
        kmy_pass_t *p = find(acc, told->feed[i]);
        if (!p)
            p = add(acc, told->feed[i]);
        if (!p) {
            kmy_log(KMY_LOG_ERROR, "shard", "no memory for a pass of %s", acc->name);
            return; /* it is in the ledger, and told again when the account is opened anew */
        }
        if (told->expires_ns[i] > p->expires_ns)
            p->expires_ns = told->expires_ns[i];
        if (s->passes_end_ns == 0 || p->expires_ns < s->passes_end_ns)
            s->passes_end_ns = p->expires_ns;
    }
}

kmy_err_t kmy_passes_check(const kmy_shard_t *s, const kmy_shard_account_t *acc,
                           const kmy_selection_t *sel, kmy_errctx_t *ctx)
{
    for (uint32_t i = 0; i < sel->count; i++) {
        if (runs(s, find(acc, sel->feed[i])))
            continue;
        /* Bought by way of another shard, this very instant? */
        if (kmy_queue_count(s->tells) > 0)
            return KMY_FAIL(ctx, KMY_AGAIN, "passes are being looked up; try again");
        return KMY_FAIL(ctx, KMY_NO_PASS,
                        "no pass for %s: buy one at POST /v1/passes, or leave out \"plan\" and "
                        "pay by the tick",
                        s->catalog->feeds[sel->feed[i]].name);
    }
    return KMY_OK;
}

void kmy_passes_put(const kmy_shard_t *s, const kmy_shard_account_t *acc, kmy_buf_t *b)
{
    const char *comma = "";
    kmy_buf_str(b, "[");
    for (uint32_t i = 0; i < acc->passes_count; i++) {
        const kmy_pass_t *p = &acc->passes[i];
        if (!runs(s, p))
            continue;
        const char *name = s->catalog->feeds[p->feed].name;
        kmy_buf_fmt(b, "%s{\"feed\":", comma);
        kmy_buf_json_str(b, name, strlen(name));
        kmy_buf_fmt(b, ",\"expires_at\":\"%" PRId64 "\"}", p->expires_ns);
        comma = ",";
    }
    kmy_buf_str(b, "]");
}

/* --- the end ------------------------------------------------------------------------------- */

static bool is_over(const kmy_shard_t *s, const kmy_shard_account_t *acc, const kmy_sub_t *sub)
{
    return sub->pass && !runs(s, find(acc, sub->feed));
}

/* One frame for all that end at once; ahead of it whatever was sent before. */
static void end_subs(kmy_shard_t *s, const kmy_shard_account_t *acc, kmy_conn_t *c)
{
    kmy_buf_t b = kmy_buf(s->scratch, KMY_SCRATCH_BYTES);
    const char *comma = "";
    kmy_buf_str(&b, "{\"type\":\"unsubscribed\",\"feeds\":[");
    for (uint32_t i = c->subs_head, next; i != KMY_NONE; i = next) {
        next = s->subs[i].next;
        if (!is_over(s, acc, &s->subs[i]))
            continue;
        const char *name = s->catalog->feeds[s->subs[i].feed].name;
        kmy_buf_str(&b, comma);
        kmy_buf_json_str(&b, name, strlen(name));
        kmy_subs_remove(s, c, s->subs[i].feed);
        comma = ",";
    }
    kmy_buf_str(&b, "],\"reason\":\"pass_ended\"}");
    if (c->paused && c->pass_subs == 0)
        c->unpaid_ns = s->now_ns; /* what kept it alive is gone: its grace begins */
    c->answering = true;          /* however many they are, they are no fault of the reader's */
    kmy_egress_text(s, c, &b);
    c->answering = false;
}

static void end_of_account(kmy_shard_t *s, const kmy_shard_account_t *acc)
{
    uint32_t next;
    for (uint32_t i = acc->conns_head; i != KMY_NONE; i = next) {
        kmy_conn_t *c = kmy_conn_at(s, i);
        bool any = false;
        next = c->conns_next;
        for (uint32_t j = c->subs_head; j != KMY_NONE && !any; j = s->subs[j].next)
            any = is_over(s, acc, &s->subs[j]);
        if (!any)
            continue;
        if (c->state ==
            KMY_CONN_SSE) /* its feeds are one request: what is left of them can be asked for anew */
            kmy_stream_close(s, c, KMY_NO_PASS, "a pass of this stream has ended");
        else
            end_subs(s, acc, c);
    }
}

static void drop_ended(const kmy_shard_t *s, kmy_shard_account_t *acc)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < acc->passes_count; i++) {
        if (runs(s, &acc->passes[i]))
            acc->passes[kept++] = acc->passes[i];
    }
    acc->passes_count = kept;
}

void kmy_passes_turn(kmy_shard_t *s)
{
    if (s->passes_end_ns == 0 || s->now_wall_ns < s->passes_end_ns)
        return;
    int64_t end_ns = 0;
    for (uint32_t i = 0; i < s->accounts_high; i++) {
        kmy_shard_account_t *acc = &s->accounts[i];
        if (acc->state == KMY_ACCOUNT_FREE || acc->passes_count == 0)
            continue;
        end_of_account(s, acc);
        drop_ended(s, acc);
        for (uint32_t j = 0; j < acc->passes_count; j++) {
            if (end_ns == 0 || acc->passes[j].expires_ns < end_ns)
                end_ns = acc->passes[j].expires_ns;
        }
    }
    s->passes_end_ns = end_ns;
}

void kmy_passes_forget(kmy_shard_account_t *acc)
{
    free(acc->passes);
    acc->passes = NULL;
    acc->passes_count = acc->passes_cap = 0;
}
