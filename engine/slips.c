/* dollar 1/7 and 4/7   in: engine/routes, engine/stream (shard)   out: engine/cashier, and back */
#include "engine/slips.h"

#include "engine/conn.h"
#include "engine/discount.h"
#include "engine/stream_pay.h"

#include <string.h>

_Static_assert(KMY_SLIPS % 64 == 0, "a bit each of slips_free and slips_sent");

static size_t index_of(const kmy_shard_t *s, const kmy_slip_t *slip)
{
    size_t idx = (size_t)(slip - s->slips);
    KMY_ASSERT(slip >= s->slips && idx < KMY_SLIPS);
    return idx;
}

static bool has(const uint64_t *bits, size_t idx)
{
    return bits[idx / 64] >> idx % 64 & 1;
}

static void set(uint64_t *bits, size_t idx)
{
    bits[idx / 64] |= UINT64_C(1) << idx % 64;
}

static void clear(uint64_t *bits, size_t idx)
{
    bits[idx / 64] &= ~(UINT64_C(1) << idx % 64);
}

void kmy_slips_init(kmy_shard_t *s)
{
    s->slip_asks = s->o.topology->shard_cashier[s->o.index];
    s->slip_answers = s->o.topology->cashier_shard[s->o.index];
    s->slips = s->o.topology->slips[s->o.index];
    memset(s->slips_free, 0xff, sizeof s->slips_free);
    memset(s->slips_sent, 0, sizeof s->slips_sent);
}

kmy_slip_t *kmy_slip_take(kmy_shard_t *s)
{
    size_t word = 0;
    while (word < KMY_SLIPS / 64 && s->slips_free[word] == 0)
        word++;
    if (word == KMY_SLIPS / 64) {
        KMY_COUNT(s->metrics, slip_refused_total, 1);
        return NULL;
    }
    /* The lowest: few pages are ever touched. */
    size_t idx = word * 64 + (size_t)__builtin_ctzll(s->slips_free[word]);
    clear(s->slips_free, idx);
    kmy_slip_t *slip = &s->slips[idx];
    memset(slip, 0, offsetof(kmy_slip_t, header));
    return slip;
}

uint32_t kmy_slips_left(const kmy_shard_t *s)
{
    uint32_t n = 0;
    for (size_t i = 0; i < KMY_SLIPS / 64; i++)
        n += (uint32_t)__builtin_popcountll(s->slips_free[i]);
    return n;
}

static void give(kmy_shard_t *s, const kmy_slip_t *slip)
{
    size_t idx = index_of(s, slip);
    KMY_ASSERT(!has(s->slips_free, idx) && !has(s->slips_sent, idx));
    set(s->slips_free, idx);
}

void kmy_slip_send(kmy_shard_t *s, kmy_slip_t *slip)
{
    uint64_t idx = index_of(s, slip);
    KMY_ASSERT(!has(s->slips_free, idx) && !has(s->slips_sent, idx));
    set(s->slips_sent, idx);
    bool pushed = kmy_queue_push(s->slip_asks, &idx);
    KMY_ASSERT(pushed); /* as many places as slips */
    kmy_wake_signal(&s->o.topology->cashier_wake);
}

void kmy_slip_send_and_park(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip)
{
    slip->conn = kmy_conn_idx(s, c);
    slip->gen = c->gen;
    slip->ask = KMY_SLIP_ASK_REQUEST;
    kmy_slip_send(s, slip);
    kmy_conn_park(c);
}

void kmy_slip_drop(kmy_shard_t *s, kmy_slip_t *slip)
{
    give(s, slip);
}

static void answer_request(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip)
{
    if (!c->parked || c->parked_account != KMY_NONE)
        return;
    s->slip = slip;
    c->parked = false;
    c->answered = true;
    kmy_conn_resume(s, c);
    c->answered = false;
    s->slip = NULL;
}

static void came_back(kmy_shard_t *s, kmy_slip_t *slip)
{
    size_t idx = index_of(s, slip);
    KMY_ASSERT(has(s->slips_sent, idx));
    clear(s->slips_sent, idx);
    if (slip->ask == KMY_SLIP_ASK_ACCOUNT) {
        kmy_discount_told(s, slip);
        give(s, slip);
        return;
    }
    kmy_conn_t *c = slip->conn < s->conns_high ? kmy_conn_at(s, slip->conn) : NULL;
    bool here = c && c->gen == slip->gen && c->state != KMY_CONN_FREE && c->state != KMY_CONN_DEAD;
    if (here && (slip->ask & KMY_SLIP_ASK_STREAM))
        kmy_stream_paid(s, c, slip);
    else if (here)
        answer_request(s, c, slip);
    if (!has(s->slips_sent, idx)) /* else it was sent again */
        give(s, slip);
}

size_t kmy_slips_turn(kmy_shard_t *s, size_t count)
{
    uint64_t idx;
    size_t n = 0;
    while (n < count && kmy_queue_pop(s->slip_answers, &idx)) {
        KMY_ASSERT(idx < KMY_SLIPS);
        came_back(s, &s->slips[idx]);
        n++;
    }
    return n;
}
