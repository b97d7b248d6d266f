/* dollar 6/7   in: Solana (pay/chain_solana)   out: engine/stakes (shard)

   What accounts have staked, for the discounts of prices.tiers.  A shard asks by a slip; what was read lately is told at once, everything else when the chain
   has answered or the slip's deadline is over, whichever is first: then with the last reading, as long as that counts (pay/stake.h).  One question of an
   account at a time, whoever asks; READS_MAX of all, since the same node is asked about payments. */
#include "engine/cashier_inside.h"

#include "pay/chain_solana.h"
#include "pay/stake.h"

#include <stdlib.h>
#include <string.h>

enum {
    ENTRIES_MAX = 16384, /* accounts that are remembered: 4 MiB if all are there */
    EVICT_LOOKS = 64,    /* of them, the one that was used longest ago gives way */
    READS_MAX = 8,       /* half of what one host is given (calls.c) */
    SOON_MS =
        1000,    /* who was told the last reading while a question is under way asks again then */
    TELL_S = 60, /* the log says once in so long that the node does not answer */
};
#define NOBODY UINT32_MAX

typedef struct entry {
    char account[KMY_ACCOUNT_BYTES_MAX];
    uint8_t owner[KMY_SOLANA_KEY_BYTES];
    kmy_stake_t stake; /* by the monotonic clock */
    int64_t used_ns;
    uint64_t ask_id;
    uint32_t waits; /* slips that wait for it */
    uint32_t next;  /* in the line of those to be asked */
    bool asking;    /* in that line, or the question is under way */
} entry_t;

typedef struct wait {
    uint32_t shard, slip, entry;
} wait_t;

struct kmy_stakes {
    kmy_stake_rule_t rule;
    uint8_t mint[KMY_SOLANA_KEY_BYTES];
    uint32_t decimals;
    const char *rpc;
    kmy_strmap_t names; /* account -> entry */
    entry_t *entries;   /* ENTRIES_MAX */
    uint32_t count;
    uint32_t hand; /* where the last search for one to give way ended */
    uint32_t head, tail;
    uint32_t reads; /* questions under way */
    wait_t *waits;  /* KMY_WAITS: a slip waits in one place */
    uint32_t waits_count;
    bool failing;    /* so did the last question: until one is answered nobody waits for any */
    int64_t told_ns; /* when the log last said that the node does not answer; 0: never */
};

kmy_err_t kmy_stakes_new(kmy_cashier_t *c, kmy_errctx_t *ctx)
{
    const kmy_config_t *cfg = c->o.config;
    const char *mint = cfg->prices.stake.mint;
    if (!mint[0])
        return KMY_OK;
    struct kmy_stakes *t = calloc(1, sizeof *t);
    c->stakes = t;
    if (!t)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    bool read = kmy_base58_decode(mint, strlen(mint), t->mint, sizeof t->mint);
    KMY_ASSERT(read); /* the configuration was checked */
    t->rule = (kmy_stake_rule_t){ cfg->prices.stake.refresh_ns, cfg->prices.stake.keep_ns };
    t->decimals = (uint32_t)cfg->prices.stake.decimals;
    t->rpc = kmy_config_stake_rpc(cfg);
    t->head = t->tail = NOBODY;
    kmy_strmap_init(&t->names);
    t->entries = calloc(ENTRIES_MAX, sizeof *t->entries);
    t->waits = calloc(KMY_WAITS, sizeof *t->waits);
    return t->entries && t->waits ? KMY_OK : KMY_FAIL(ctx, KMY_IO, "out of memory");
}

void kmy_stakes_free(struct kmy_stakes *t)
{
    if (!t)
        return;
    kmy_strmap_fini(&t->names);
    free(t->entries);
    free(t->waits);
    free(t);
}

/* --- who is remembered --------------------------------------------------------------------------- */

/* Among the next few the one that was used longest ago and that nobody waits for; NULL: none. */
static entry_t *make_room(struct kmy_stakes *t)
{
    entry_t *oldest = NULL;
    for (uint32_t i = 0; i < EVICT_LOOKS; i++) {
        entry_t *e = &t->entries[t->hand];
        t->hand = (t->hand + 1) % ENTRIES_MAX;
        if (!e->asking && e->waits == 0 && (!oldest || e->used_ns < oldest->used_ns))
            oldest = e;
    }
    if (oldest)
        kmy_strmap_del(&t->names, oldest->account, strlen(oldest->account));
    return oldest;
}

/* NULL: it has no stake, or there is no room for one more. */
static entry_t *entry_of(struct kmy_stakes *t, const char *account)
{
    uint8_t owner[KMY_SOLANA_KEY_BYTES];
    uint32_t idx;
    size_t len = strlen(account);
    if (kmy_strmap_get(&t->names, account, len, &idx))
        return &t->entries[idx];
    if (!kmy_stake_owner(account, owner))
        return NULL;
    entry_t *e = t->count < ENTRIES_MAX ? &t->entries[t->count] : make_room(t);
    if (!e)
        return NULL;
    memset(e, 0, sizeof *e);
    if (!kmy_strmap_put(&t->names, account, len, (uint32_t)(e - t->entries)))
        return NULL; /* the place is found again: by count, or as the oldest */
    t->count += e == &t->entries[t->count];
    memcpy(e->account, account, len + 1);
    memcpy(e->owner, owner, sizeof owner);
    return e;
}

/* --- slips --------------------------------------------------------------------------------------- */

static void tell(kmy_cashier_t *c, uint32_t shard, uint32_t slip, const entry_t *e)
{
    kmy_slip_t *s = kmy_cashier_slip(c, shard, slip);
    int64_t soon_ns = c->now_ns + SOON_MS * KMY_NS_PER_MS;
    s->stake = e ? kmy_stake_counts(&e->stake, &c->stakes->rule, c->now_ns) : 0;
    s->again_ns = e && !e->asking ? kmy_stake_due(&e->stake, &c->stakes->rule) : soon_ns;
    kmy_cashier_answer(c, shard, slip, KMY_SLIP_DONE);
}

static void tell_all(kmy_cashier_t *c, entry_t *e)
{
    struct kmy_stakes *t = c->stakes;
    for (uint32_t i = 0; i < t->waits_count && e->waits > 0;) {
        wait_t w = t->waits[i];
        if (w.entry != (uint32_t)(e - t->entries)) {
            i++;
            continue;
        }
        t->waits[i] = t->waits[--t->waits_count];
        e->waits--;
        tell(c, w.shard, w.slip, e);
    }
}

/* Returns the next deadline. */
static int64_t end_waits(kmy_cashier_t *c)
{
    struct kmy_stakes *t = c->stakes;
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < t->waits_count;) {
        wait_t w = t->waits[i];
        int64_t deadline_ns = kmy_cashier_slip(c, w.shard, w.slip)->deadline_ns;
        if (c->draining || deadline_ns <= c->now_ns) {
            t->waits[i] = t->waits[--t->waits_count];
            t->entries[w.entry].waits--;
            tell(c, w.shard, w.slip, &t->entries[w.entry]);
            continue;
        }
        next = deadline_ns < next ? deadline_ns : next;
        i++;
    }
    return next;
}

static void line_up(struct kmy_stakes *t, entry_t *e)
{
    uint32_t idx = (uint32_t)(e - t->entries);
    e->asking = true;
    e->next = NOBODY;
    if (t->head == NOBODY)
        t->head = idx;
    else
        t->entries[t->tail].next = idx;
    t->tail = idx;
}

void kmy_cashier_stake(kmy_cashier_t *c, uint32_t shard, uint32_t slip)
{
    struct kmy_stakes *t = c->stakes;
    KMY_ASSERT(t); /* shards read the same configuration */
    entry_t *e = entry_of(t, kmy_cashier_slip(c, shard, slip)->account);
    if (e)
        e->used_ns = c->now_ns;
    if (!e || (!e->asking && kmy_stake_rests(&e->stake, &t->rule, c->now_ns))) {
        tell(c, shard, slip, e);
        return;
    }
    if (!e->asking)
        line_up(t, e);
    if (t->failing) {
        tell(c, shard, slip, e);
        return;
    }
    KMY_ASSERT(t->waits_count < KMY_WAITS);
    t->waits[t->waits_count++] = (wait_t){ shard, slip, (uint32_t)(e - t->entries) };
    e->waits++;
}

/* --- the chain ----------------------------------------------------------------------------------- */

/* What stands in for an answer says nothing about a stake, and takes none away. */
static void failed(kmy_cashier_t *c, entry_t *e, const kmy_call_answer_t *a)
{
    struct kmy_stakes *t = c->stakes;
    t->failing = true;
    e->stake.failed = true;
    e->stake.tried_ns = c->now_ns;
    KMY_COUNT(c->metrics, stake_failure_total, 1);
    if (t->told_ns != 0 && c->now_ns - t->told_ns < TELL_S * KMY_NS_PER_S)
        return;
    t->told_ns = c->now_ns;
    kmy_log(KMY_LOG_WARN, "cashier",
            "the stake of %s cannot be read (%s, status %d): what was read counts on for "
            "prices.stake.keep",
            e->account, a->fault ? a->fault : "no answer to the question", a->status);
}

static void answered(void *arg, uint64_t word, const kmy_call_answer_t *a)
{
    kmy_cashier_t *c = arg;
    struct kmy_stakes *t = c->stakes;
    entry_t *e = &t->entries[word];
    uint64_t units;
    KMY_ASSERT(word < t->count && e->asking && t->reads > 0);
    t->reads--;
    e->asking = false;
    t->failing = false;
    if (a->status == 200 &&
        kmy_chain_solana_read_holding(a->body, a->body_bytes, e->ask_id, e->owner, t->mint,
                                      &units) == KMY_RPC_FOUND)
        e->stake = (kmy_stake_t){ .tokens = kmy_stake_whole(units, t->decimals),
                                  .read_ns = c->now_ns,
                                  .known = true };
    else
        failed(c, e, a);
    tell_all(c, e);
}

/* false: no place for a call now. */
static bool ask(kmy_cashier_t *c, entry_t *e)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t question = kmy_buf(text, sizeof text);
    e->ask_id = ++c->ask_id;
    kmy_chain_solana_holding(&question, e->ask_id, e->owner, c->stakes->mint);
    KMY_ASSERT(!question.overflow);
    bool begun =
        kmy_calls_begin(c->calls, &(kmy_call_t){ .url = c->stakes->rpc,
                                                 .body = question.data,
                                                 .body_bytes = question.len,
                                                 .timeout_ms = KMY_CALL_STAKE_MS,
                                                 .word = (uint64_t)(e - c->stakes->entries),
                                                 .answered = answered,
                                                 .arg = c });
    if (begun)
        KMY_COUNT(c->metrics, stake_request_total, 1);
    return begun;
}

int64_t kmy_stakes_turn(kmy_cashier_t *c)
{
    struct kmy_stakes *t = c->stakes;
    if (!t)
        return INT64_MAX;
    while (t->head != NOBODY && t->reads < READS_MAX) {
        entry_t *e = &t->entries[t->head];
        if (!ask(c, e)) {
            int64_t deadline_ns = end_waits(c);
            int64_t again_ns = c->now_ns + KMY_ROOM_MS * KMY_NS_PER_MS;
            return deadline_ns < again_ns ? deadline_ns : again_ns;
        }
        t->head = e->next;
        t->reads++;
    }
    return end_waits(c);
}
