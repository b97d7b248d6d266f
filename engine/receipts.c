/* dollar 7/7   in: engine/egress_settle   out: pay/ledger_receipt (keeper), and back as frames */
#include "engine/receipts.h"

#include "base/clock.h"
#include "engine/account.h"
#include "engine/conn.h"
#include "engine/egress.h"
#include "engine/shard.h"
#include "engine/uses.h"
#include "wire/base64.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct kmy_receipt_due {
    uint64_t from;
    uint64_t to;
    uint64_t ticks;
    int64_t nusd;
    uint64_t account_id;
    uint32_t account; /* slot, and its gen: while it is the same, its report must go first */
    uint32_t account_gen;
    uint32_t conn;
    uint32_t conn_gen;
    uint32_t feed;
    bool soon;
};

/* --- taking off -------------------------------------------------------------------------------- */

static bool room(kmy_shard_t *s)
{
    if (s->receipts_count < s->receipts_cap)
        return true;
    uint32_t cap = s->receipts_cap ? 2 * s->receipts_cap : 64;
    kmy_receipt_due_t *grown = realloc(s->receipts, cap * sizeof *grown);
    if (!grown)
        return false; /* it stays with its subscription, and is taken off another time */
    s->receipts = grown;
    s->receipts_cap = cap;
    return true;
}

uint32_t kmy_receipts_take(kmy_shard_t *s, const kmy_conn_t *c, kmy_sub_t *sub,
                           kmy_receipt_when_t when)
{
    if (sub->receipt_ticks == 0 || c->account == KMY_NONE || !room(s))
        return 0;
    kmy_shard_account_t *acc = &s->accounts[c->account];
    KMY_ASSERT(acc->id != 0); /* else nothing could have been charged */
    s->receipts[s->receipts_count++] = (kmy_receipt_due_t){
        .from = sub->receipt_from,
        .to = sub->receipt_to,
        .ticks = sub->receipt_ticks,
        .nusd = sub->receipt_nusd,
        .account_id = acc->id,
        .account = c->account,
        .account_gen = acc->gen,
        .conn = kmy_conn_idx(s, c),
        .conn_gen = c->gen,
        .feed = sub->feed,
        .soon = when == KMY_RECEIPT_SOON,
    };
    kmy_uses_take(s, sub);
    sub->receipt_ticks = sub->told_ticks = 0;
    sub->receipt_nusd = sub->told_nusd = 0;
    kmy_account_touch(s, acc); /* its next report comes, even if nothing more is spent */
    return 1;
}

uint32_t kmy_receipts_take_all(kmy_shard_t *s, const kmy_conn_t *c, kmy_receipt_when_t when)
{
    uint32_t n = 0;
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next)
        n += kmy_receipts_take(s, c, &s->subs[i], when);
    return n;
}

void kmy_receipts_scan(kmy_shard_t *s, kmy_conn_t *c)
{
    int64_t every_ns = s->config->receipts.every_ns;
    if (every_ns == 0 || !c->authenticated)
        return;
    if (c->receipt_ns == 0)
        c->receipt_ns = s->now_ns; /* of a session that is new */
    if (s->now_ns - c->receipt_ns < every_ns)
        return;
    c->receipt_ns = s->now_ns;
    kmy_receipts_take_all(s, c, KMY_RECEIPT_LATER);
}

/* --- to the keeper ----------------------------------------------------------------------------- */

static bool reported(const kmy_shard_account_t *acc)
{
    return acc->lease.spent_nusd == 0 && acc->lease.ticks_count == 0;
}

/* Has the keeper been told of the ticks it covers?  The queue keeps its order, so what was reported before is in the ledger before. */
static bool may_go(kmy_shard_t *s, const kmy_receipt_due_t *d)
{
    kmy_shard_account_t *acc = &s->accounts[d->account];
    if (acc->gen != d->account_gen || acc->state != KMY_ACCOUNT_OPEN)
        return true; /* its closing report went ahead */
    return reported(acc) || (d->soon && kmy_account_report_now(s, acc));
}

static bool ask_receipt(kmy_shard_t *s, const kmy_receipt_due_t *d)
{
    kmy_ask_t a = {
        .kind = KMY_ASK_RECEIPT,
        .slot = d->conn,
        .gen = d->conn_gen,
        .account_id = d->account_id,
        .amount_nusd = d->nusd,
        .ticks_count = d->ticks,
        .from = d->from,
        .to = d->to,
    };
    memcpy(a.text, s->catalog->feeds[d->feed].name, KMY_FEED_NAME_BYTES_MAX);
    _Static_assert(sizeof a.text >= KMY_FEED_NAME_BYTES_MAX, "a feed's name fits");
    _Static_assert(sizeof a.ref >= KMY_RECEIPT_EPOCH_BYTES_MAX, "an epoch fits");
    strncpy(a.ref, s->o.epoch, KMY_RECEIPT_EPOCH_BYTES_MAX - 1);
    if ((!d->soon && !kmy_shard_keeper_keeps_up(s)) || !kmy_queue_push(s->asks, &a))
        return false;
    s->receipts_open++;
    return true;
}

uint32_t kmy_receipts_turn(kmy_shard_t *s)
{
    uint32_t kept = 0;
    uint32_t open = s->receipts_open;
    bool full = false; /* the queue: what comes behind waits as well */
    for (uint32_t i = 0; i < s->receipts_count; i++) {
        const kmy_receipt_due_t *d = &s->receipts[i];
        bool go = !full && may_go(s, d);
        full |= go && !ask_receipt(s, d);
        if (!go || full)
            s->receipts[kept++] = *d;
    }
    s->receipts_count = kept;
    if (s->receipts_open != open)
        kmy_wake_signal(&s->o.topology->keeper_wake);
    return kept + s->receipts_open;
}

bool kmy_receipts_ask(kmy_shard_t *s, kmy_conn_t *c, uint64_t after, uint32_t *fresh)
{
    const kmy_shard_account_t *acc = &s->accounts[c->account];
    kmy_ask_t a = {
        .kind = KMY_ASK_RECEIPTS,
        .slot = kmy_conn_idx(s, c),
        .gen = c->gen,
        .account_id = acc->id,
        .from = after,
    };
    if (after != UINT64_MAX && !kmy_queue_push(s->asks, &a))
        return false;
    c->receipt_ns = s->now_ns;
    *fresh = kmy_receipts_take_all(s, c, KMY_RECEIPT_SOON);
    kmy_receipts_turn(s);
    kmy_wake_signal(&s->o.topology->keeper_wake);
    return true;
}

/* --- back -------------------------------------------------------------------------------------- */

static void put_frame(kmy_shard_t *s, kmy_buf_t *b, const kmy_receipt_t *r, const char *text)
{
    char prev[KMY_BASE64_TEXT_BYTES(KMY_RECEIPT_HASH_BYTES)];
    (void)s;
    kmy_buf_str(b, "{\"type\":\"receipt\",\"feed\":");
    kmy_buf_json_str(b, r->feed, strlen(r->feed));
    kmy_buf_fmt(b, ",\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"ticks\":%" PRIu64 ",\"amount\":",
                r->from, r->to, r->ticks);
    kmy_buf_json_nusd(b, r->amount_nusd);
    kmy_buf_fmt(b, ",\"seq\":%" PRIu64 ",\"prev\":\"", r->seq);
    kmy_buf_bytes(b, prev, kmy_base64_encode(KMY_BASE64_URL, r->prev, sizeof r->prev, prev));
    kmy_buf_str(b, "\",\"sig\":\"");
    kmy_buf_str(b, text);
    kmy_buf_str(b, "\"}");
}

/* Own bytes that a socket does not take end its session; a receipt is not worth that: it is kept. */
static bool has_room_for_one(kmy_shard_t *s, kmy_conn_t *c)
{
    if (kmy_out_count(c) > KMY_OUT_BYTES_MAX / 4)
        kmy_egress_now(s, c);
    return kmy_out_count(c) <= KMY_OUT_BYTES_MAX / 4;
}

static void send_frame(kmy_shard_t *s, kmy_conn_t *c, const kmy_tell_t *tell)
{
    char text[KMY_RECEIPT_BYTES_MAX];
    const kmy_tell_receipt_t *t = &tell->receipt;
    kmy_receipt_t r = {
        .from = t->from,
        .to = t->to,
        .ticks = tell->ticks_count,
        .amount_nusd = tell->amount_nusd,
        .seq = t->seq,
        .total_ticks = t->total_ticks,
        .total_nusd = t->total_nusd,
        .issued_s = tell->when_s,
    };
    memcpy(r.account, s->accounts[c->account].name, sizeof r.account);
    memcpy(r.feed, t->feed, sizeof r.feed);
    memcpy(r.epoch, t->epoch, sizeof r.epoch);
    memcpy(r.prev, t->prev, sizeof r.prev);
    kmy_receipt_text(s->o.receipt_key, &r, t->signature, text);
    kmy_buf_t b = kmy_buf(s->scratch, KMY_SCRATCH_BYTES);
    put_frame(s, &b, &r, text);
    kmy_egress_text(s, c, &b);
}

void kmy_receipts_told(kmy_shard_t *s, const kmy_tell_t *tell)
{
    if (tell->ask_kind == KMY_ASK_RECEIPT) {
        KMY_ASSERT(s->receipts_open > 0);
        s->receipts_open--;
        if (tell->err == KMY_OK)
            KMY_COUNT(s->metrics, receipt_total, 1);
    }
    kmy_conn_t *c = kmy_conn_at(s, tell->slot);
    if (tell->err != KMY_OK || tell->slot >= s->conns_high || c->gen != tell->gen ||
        !kmy_conn_streams(c) || c->account == KMY_NONE || !has_room_for_one(s, c))
        return; /* the ledger keeps it for whoever asks */
    send_frame(s, c, tell);
}

void kmy_receipts_free(kmy_shard_t *s)
{
    free(s->receipts);
}
