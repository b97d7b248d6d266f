/* dollar 4/7   in: pay/ledger_move   out: LMDB pages */
#include "pay/ledger_record.h"

#include "base/err.h"
#include "pay/ledger_bytes.h"

#include <string.h>

bool kmy_sums_hold(const kmy_sums_t *s)
{
    int64_t sum;
    int64_t from;
    return s->credited_nusd >= 0 && s->balance_nusd >= 0 && s->leased_nusd >= 0 &&
           s->consumed_nusd >= 0 && s->debt_nusd >= 0 &&
           !__builtin_add_overflow(s->balance_nusd, s->leased_nusd, &sum) &&
           !__builtin_add_overflow(sum, s->consumed_nusd, &sum) &&
           !__builtin_add_overflow(s->credited_nusd, s->debt_nusd, &from) &&
           !__builtin_add_overflow(from, s->moved_nusd, &from) && sum == from;
}

/* The house's side is counted from the other end: what left it is what was credited.  So is debt: what left it is what was given without being paid. */
static bool side_add(kmy_sums_t *s, kmy_side_t side, int64_t delta)
{
    int64_t *at = NULL;
    switch (side) {
    case KMY_SIDE_HOUSE:
        at = &s->credited_nusd;
        delta = -delta;
        break;
    case KMY_SIDE_BALANCE:
        at = &s->balance_nusd;
        break;
    case KMY_SIDE_LEASED:
        at = &s->leased_nusd;
        break;
    case KMY_SIDE_CONSUMED:
        at = &s->consumed_nusd;
        break;
    case KMY_SIDE_DEBT:
        at = &s->debt_nusd;
        delta = -delta;
        break;
    case KMY_SIDE_OTHER:
        at = &s->moved_nusd;
        delta = -delta;
        break;
    }
    KMY_ASSERT(at != NULL);
    int64_t sum;
    if (__builtin_add_overflow(*at, delta, &sum) || (sum < 0 && side != KMY_SIDE_OTHER))
        return false;
    *at = sum;
    return true;
}

bool kmy_sums_move(kmy_sums_t *s, kmy_side_t from, kmy_side_t to, int64_t amount_nusd)
{
    KMY_ASSERT(amount_nusd >= 0);
    KMY_ASSERT(from != to);
    kmy_sums_t next = *s;
    if (!side_add(&next, from, -amount_nusd) || !side_add(&next, to, amount_nusd))
        return false;
    *s = next;
    return true;
}

static const struct {
    kmy_side_t from;
    kmy_side_t to;
} moves[KMY_ENTRY_KINDS_END] = {
    [KMY_ENTRY_CREDIT] = { KMY_SIDE_HOUSE, KMY_SIDE_BALANCE },
    [KMY_ENTRY_LEASE] = { KMY_SIDE_BALANCE, KMY_SIDE_LEASED },
    [KMY_ENTRY_CONSUME] = { KMY_SIDE_LEASED, KMY_SIDE_CONSUMED },
    [KMY_ENTRY_RETURN] = { KMY_SIDE_LEASED, KMY_SIDE_BALANCE },
    [KMY_ENTRY_RECOVER] = { KMY_SIDE_LEASED, KMY_SIDE_BALANCE },
    [KMY_ENTRY_REVERSE] = { KMY_SIDE_BALANCE, KMY_SIDE_HOUSE },
    [KMY_ENTRY_DEBT] = { KMY_SIDE_DEBT, KMY_SIDE_HOUSE },
    [KMY_ENTRY_REPAY] = { KMY_SIDE_BALANCE, KMY_SIDE_DEBT },
    [KMY_ENTRY_PASS] = { KMY_SIDE_BALANCE, KMY_SIDE_CONSUMED },
    [KMY_ENTRY_GIVE] = { KMY_SIDE_BALANCE, KMY_SIDE_OTHER },
    [KMY_ENTRY_TAKE] = { KMY_SIDE_OTHER, KMY_SIDE_BALANCE },
};

kmy_side_t kmy_entry_from(kmy_entry_kind_t kind)
{
    KMY_ASSERT(kind >= KMY_ENTRY_CREDIT && kind < KMY_ENTRY_KINDS_END);
    return moves[kind].from;
}
kmy_side_t kmy_entry_to(kmy_entry_kind_t kind)
{
    KMY_ASSERT(kind >= KMY_ENTRY_CREDIT && kind < KMY_ENTRY_KINDS_END);
    return moves[kind].to;
}

bool kmy_entry_has_ref(kmy_entry_kind_t kind)
{
    return kind == KMY_ENTRY_CREDIT || kind == KMY_ENTRY_REVERSE || kind == KMY_ENTRY_DEBT ||
           kind == KMY_ENTRY_PASS;
}

static bool is_between(kmy_entry_kind_t kind)
{
    return kind == KMY_ENTRY_GIVE || kind == KMY_ENTRY_TAKE;
}

enum {
    VERSION_BOOK = 2, /* of a PASS: with the price book, which it had not at first */
    DISCOUNT_MAX = 100,
};

/*  0 version   1 kind   2 from   3 to   4 shard (2)   6 mode   7 discount   8 account   16 time   24 amount
   CONSUME:   32 feed (4)   36 price book (4)   40 ticks   48 queries
   GIVE, TAKE:   32 the other account
   CREDIT, REVERSE, DEBT, PASS:   32 length of word   33 length of ref   34 word, ref; of a PASS of version 2 the price book (4) behind them
   from and to follow from kind and are written all the same: a reader in another language needs no table, and the audit has one more
   thing that must agree. */
size_t kmy_entry_encode(const kmy_entry_t *e, uint8_t out[KMY_ENTRY_BYTES_MAX])
{
    KMY_ASSERT(e->amount_nusd >= 0);
    KMY_ASSERT(e->account_id > 0);
    memset(out, 0, KMY_ENTRY_HEAD_BYTES);
    out[0] = KMY_RECORD_VERSION;
    out[1] = (uint8_t)e->kind;
    out[2] = (uint8_t)kmy_entry_from(e->kind);
    out[3] = (uint8_t)kmy_entry_to(e->kind);
    out[4] = (uint8_t)(e->shard & 0xff);
    out[5] = (uint8_t)(e->shard >> 8);
    out[6] = e->mode;
    out[7] = kmy_entry_to(e->kind) == KMY_SIDE_CONSUMED ? e->discount_percent : 0;
    kmy_put64(out + 8, e->account_id);
    kmy_put64(out + 16, (uint64_t)e->time_ns);
    kmy_put64(out + 24, (uint64_t)e->amount_nusd);
    if (e->kind == KMY_ENTRY_CONSUME) {
        kmy_put32(out + 32, e->feed_id);
        kmy_put32(out + 36, e->price_book);
        kmy_put64(out + 40, e->ticks_count);
        kmy_put64(out + 48, e->queries_count);
        return KMY_ENTRY_CONSUME_BYTES;
    }
    if (is_between(e->kind)) {
        KMY_ASSERT(e->other_id > 0 && e->other_id != e->account_id);
        kmy_put64(out + 32, e->other_id);
        return KMY_ENTRY_MOVE_BYTES;
    }
    if (!kmy_entry_has_ref(e->kind))
        return KMY_ENTRY_HEAD_BYTES;
    KMY_ASSERT(e->word_bytes >= 1 && e->word_bytes <= KMY_LEDGER_KIND_BYTES_MAX);
    KMY_ASSERT(e->ref_bytes >= 1 && e->ref_bytes <= KMY_LEDGER_REF_BYTES_MAX);
    out[32] = e->word_bytes;
    out[33] = e->ref_bytes;
    memcpy(out + 34, e->word, e->word_bytes);
    memcpy(out + 34 + e->word_bytes, e->ref, e->ref_bytes);
    size_t len = (size_t)34 + e->word_bytes + e->ref_bytes;
    if (e->kind != KMY_ENTRY_PASS || e->price_book == 0)
        return len;
    out[0] = VERSION_BOOK;
    kmy_put32(out + len, e->price_book);
    return len + 4;
}

static bool ref_tail_decode(const uint8_t *in, size_t len, kmy_entry_t *e)
{
    if (len < 34)
        return false;
    e->word_bytes = in[32];
    e->ref_bytes = in[33];
    if (e->word_bytes < 1 || e->word_bytes > KMY_LEDGER_KIND_BYTES_MAX)
        return false;
    if (e->ref_bytes < 1 || e->ref_bytes > KMY_LEDGER_REF_BYTES_MAX)
        return false;
    e->word = (const char *)in + 34;
    e->ref = e->word + e->word_bytes;
    size_t texts = (size_t)34 + e->word_bytes + e->ref_bytes;
    if (in[0] == KMY_RECORD_VERSION)
        return len == texts;
    if (len != texts + 4)
        return false;
    e->price_book = kmy_get32(in + texts);
    return e->price_book > 0;
}

bool kmy_entry_decode(const void *bytes, size_t len, kmy_entry_t *e)
{
    const uint8_t *in = bytes;
    if (len < KMY_ENTRY_HEAD_BYTES || in[7] > DISCOUNT_MAX)
        return false;
    if (in[0] != KMY_RECORD_VERSION && (in[0] != VERSION_BOOK || in[1] != KMY_ENTRY_PASS))
        return false;
    if (in[1] < KMY_ENTRY_CREDIT || in[1] >= KMY_ENTRY_KINDS_END || in[6] >= KMY_MODES)
        return false;
    *e = (kmy_entry_t){ .kind = (kmy_entry_kind_t)in[1],
                        .mode = in[6],
                        .shard = (uint16_t)(in[4] | in[5] << 8),
                        .account_id = kmy_get64(in + 8),
                        .time_ns = (int64_t)kmy_get64(in + 16),
                        .amount_nusd = (int64_t)kmy_get64(in + 24) };
    e->discount_percent = in[7];
    if (in[7] != 0 && moves[e->kind].to != KMY_SIDE_CONSUMED)
        return false;
    if (in[2] != moves[e->kind].from || in[3] != moves[e->kind].to)
        return false;
    if (e->amount_nusd < 0 || e->account_id == 0)
        return false;
    if (kmy_entry_has_ref(e->kind))
        return ref_tail_decode(in, len, e);
    if (is_between(e->kind)) {
        if (len != KMY_ENTRY_MOVE_BYTES)
            return false;
        e->other_id = kmy_get64(in + 32);
        return e->other_id > 0 && e->other_id != e->account_id;
    }
    if (e->kind != KMY_ENTRY_CONSUME)
        return len == KMY_ENTRY_HEAD_BYTES;
    if (len != KMY_ENTRY_CONSUME_BYTES)
        return false;
    e->feed_id = kmy_get32(in + 32);
    e->price_book = kmy_get32(in + 36);
    e->ticks_count = kmy_get64(in + 40);
    e->queries_count = kmy_get64(in + 48);
    return true;
}

/* Byte 0 of an account and of the totals: 2 has a debt behind its numbers; 3, of an account alone, a debt (or 0) and what was moved.  Written only where
   there is one, since hardly any has. */
enum { VERSION_DEBT = 2, VERSION_MOVED = 3 };

static void sums_put(uint8_t *out, const kmy_sums_t *s)
{
    kmy_put64(out, (uint64_t)s->credited_nusd);
    kmy_put64(out + 8, (uint64_t)s->balance_nusd);
    kmy_put64(out + 16, (uint64_t)s->leased_nusd);
    kmy_put64(out + 24, (uint64_t)s->consumed_nusd);
}
/* Behind the `bytes` of version 1; the length of it all. */
static size_t debt_put(uint8_t *out, int64_t debt_nusd, size_t bytes)
{
    if (debt_nusd == 0)
        return bytes;
    out[0] = VERSION_DEBT;
    kmy_put64(out + bytes, (uint64_t)debt_nusd);
    return bytes + 8;
}
static bool debt_get(const uint8_t *in, size_t len, size_t bytes, int64_t *debt_nusd)
{
    *debt_nusd = 0;
    if (kmy_head_ok(in, len, bytes))
        return true;
    if (len != bytes + 8 || in[0] != VERSION_DEBT)
        return false;
    *debt_nusd = (int64_t)kmy_get64(in + bytes);
    return *debt_nusd > 0;
}

static size_t moved_put(uint8_t *out, const kmy_sums_t *s)
{
    if (s->moved_nusd == 0)
        return debt_put(out, s->debt_nusd, KMY_ACCOUNT_ROW_BYTES);
    out[0] = VERSION_MOVED;
    kmy_put64(out + KMY_ACCOUNT_ROW_BYTES, (uint64_t)s->debt_nusd);
    kmy_put64(out + KMY_ACCOUNT_ROW_BYTES + 8, (uint64_t)s->moved_nusd);
    return KMY_ACCOUNT_ROW_BYTES_MAX;
}
static bool moved_get(const uint8_t *in, size_t len, kmy_sums_t *s)
{
    s->moved_nusd = 0;
    if (len != KMY_ACCOUNT_ROW_BYTES_MAX)
        return debt_get(in, len, KMY_ACCOUNT_ROW_BYTES, &s->debt_nusd);
    s->debt_nusd = (int64_t)kmy_get64(in + KMY_ACCOUNT_ROW_BYTES);
    s->moved_nusd = (int64_t)kmy_get64(in + KMY_ACCOUNT_ROW_BYTES + 8);
    return in[0] == VERSION_MOVED && s->moved_nusd != 0;
}

static void sums_get(const uint8_t *in, kmy_sums_t *s)
{
    s->credited_nusd = (int64_t)kmy_get64(in);
    s->balance_nusd = (int64_t)kmy_get64(in + 8);
    s->leased_nusd = (int64_t)kmy_get64(in + 16);
    s->consumed_nusd = (int64_t)kmy_get64(in + 24);
}

size_t kmy_account_row_encode(const kmy_account_row_t *r, uint8_t out[KMY_ACCOUNT_ROW_BYTES_MAX])
{
    KMY_ASSERT(kmy_sums_hold(&r->sums));
    KMY_ASSERT(r->sums.debt_nusd == 0 || r->sums.balance_nusd == 0); /* what is free pays it */
    kmy_head_put(out);
    sums_put(out + 8, &r->sums);
    kmy_put64(out + 40, r->ticks_count);
    kmy_put64(out + 48, r->queries_count);
    return moved_put(out, &r->sums);
}
bool kmy_account_row_decode(const void *bytes, size_t len, kmy_account_row_t *r)
{
    const uint8_t *in = bytes;
    if (!moved_get(in, len, &r->sums))
        return false;
    sums_get(in + 8, &r->sums);
    r->ticks_count = kmy_get64(in + 40);
    r->queries_count = kmy_get64(in + 48);
    return kmy_sums_hold(&r->sums) && (r->sums.debt_nusd == 0 || r->sums.balance_nusd == 0);
}

size_t kmy_profile_encode(const kmy_profile_t *p, uint8_t out[KMY_PROFILE_BYTES_MAX])
{
    KMY_ASSERT(p->name_bytes >= 1 && p->name_bytes < KMY_ACCOUNT_BYTES_MAX);
    kmy_head_put(out);
    kmy_put64(out + 8, (uint64_t)p->created_ns);
    memcpy(out + 16, p->name, p->name_bytes);
    return 16 + p->name_bytes;
}
bool kmy_profile_decode(const void *bytes, size_t len, kmy_profile_t *p)
{
    const uint8_t *in = bytes;
    if (len < 17 || len >= 16 + KMY_ACCOUNT_BYTES_MAX || !kmy_head_ok(in, len, len))
        return false;
    p->created_ns = (int64_t)kmy_get64(in + 8);
    p->name = (const char *)in + 16;
    p->name_bytes = len - 16;
    return true;
}

size_t kmy_ref_encode(const kmy_ref_t *r, uint8_t out[KMY_REF_BYTES_MAX])
{
    KMY_ASSERT(r->amount_nusd > 0);
    KMY_ASSERT(r->word_bytes >= 1 && r->word_bytes <= KMY_LEDGER_KIND_BYTES_MAX);
    kmy_head_put(out);
    out[1] = r->state;
    kmy_put64(out + 8, r->account_id);
    kmy_put64(out + 16, (uint64_t)r->amount_nusd);
    kmy_put64(out + 24, r->entry_id);
    memcpy(out + 32, r->word, r->word_bytes);
    return (size_t)32 + r->word_bytes;
}
bool kmy_ref_decode(const void *bytes, size_t len, kmy_ref_t *r)
{
    const uint8_t *in = bytes;
    if (len < 33 || len > KMY_REF_BYTES_MAX || !kmy_head_ok(in, len, len))
        return false;
    r->state = in[1];
    r->account_id = kmy_get64(in + 8);
    r->amount_nusd = (int64_t)kmy_get64(in + 16);
    r->entry_id = kmy_get64(in + 24);
    r->word = (const char *)in + 32;
    r->word_bytes = (uint8_t)(len - 32);
    return r->amount_nusd > 0;
}

void kmy_number_encode(int64_t number, uint8_t out[KMY_NUMBER_BYTES])
{
    kmy_head_put(out);
    kmy_put64(out + 8, (uint64_t)number);
}
bool kmy_number_decode(const void *bytes, size_t len, int64_t *number)
{
    const uint8_t *in = bytes;
    if (!kmy_head_ok(in, len, KMY_NUMBER_BYTES))
        return false;
    *number = (int64_t)kmy_get64(in + 8);
    return true;
}

void kmy_lease_key_encode(uint64_t account_id, uint32_t shard, uint8_t out[KMY_LEASE_KEY_BYTES])
{
    uint32_t be = htobe32(shard);
    kmy_id_encode(account_id, out);
    memcpy(out + 8, &be, sizeof be);
}
bool kmy_lease_key_decode(const void *bytes, size_t len, uint64_t *account_id, uint32_t *shard)
{
    uint32_t be;
    if (len != KMY_LEASE_KEY_BYTES)
        return false;
    memcpy(&be, (const uint8_t *)bytes + 8, sizeof be);
    *shard = be32toh(be);
    return kmy_id_decode(bytes, KMY_ID_BYTES, account_id);
}

size_t kmy_totals_encode(const kmy_totals_t *t, uint8_t out[KMY_TOTALS_BYTES_MAX])
{
    KMY_ASSERT(kmy_sums_hold(&t->sums));
    KMY_ASSERT(t->sums.moved_nusd == 0); /* what one account gave another has */
    kmy_head_put(out);
    sums_put(out + 8, &t->sums);
    kmy_put64(out + 40, t->accounts_count);
    kmy_put64(out + 48, t->entries_count);
    return debt_put(out, t->sums.debt_nusd, KMY_TOTALS_BYTES);
}
bool kmy_totals_decode(const void *bytes, size_t len, kmy_totals_t *t)
{
    const uint8_t *in = bytes;
    if (!debt_get(in, len, KMY_TOTALS_BYTES, &t->sums.debt_nusd))
        return false;
    t->sums.moved_nusd = 0;
    sums_get(in + 8, &t->sums);
    t->accounts_count = kmy_get64(in + 40);
    t->entries_count = kmy_get64(in + 48);
    return kmy_sums_hold(&t->sums);
}

void kmy_id_encode(uint64_t id, uint8_t out[KMY_ID_BYTES])
{
    uint64_t be = htobe64(id);
    memcpy(out, &be, sizeof be);
}
bool kmy_id_decode(const void *bytes, size_t len, uint64_t *id)
{
    uint64_t be;
    if (len != KMY_ID_BYTES)
        return false;
    memcpy(&be, bytes, sizeof be);
    *id = be64toh(be);
    return *id != 0;
}
