/* dollar 5/7 in: pay/ledger  out: pay/meter (shard)

   The keeper's thread: what shards and the cashier ask, in batches; one durable transaction each; answers after it. */
#include "engine/keeper_jobs.h"

#include "base/clock.h"
#include "base/log.h"
#include "pay/ledger_allow.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TELL_EVERY_NS                                                                              \
    (10 * KMY_NS_PER_S) /* while a disk stays full: ten tries a second, a line now and then */

/* After the batch: committed, what nobody serves any more is forgotten; else all is as it was before. */
static void end_batch(kmy_keeper_t *k, bool committed)
{
    for (size_t i = 0; i < k->before_count; i++) {
        const served_t *before = kmy_keeper_before(k, i);
        served_t *v = k->by_id[before->id];
        if (!committed)
            memcpy(v, before, kmy_keeper_served_bytes(k->topology));
        if (v->open_mask == 0) {
            k->by_id[v->id] = NULL;
            free(v);
        }
    }
    k->before_count = 0;
}

/* Behind those that are there already. */
static void collect_asks(kmy_keeper_t *k)
{
    bool more = true;
    while (more && k->asks_count < BATCH_MAX) { /* one of each shard in turn: nobody starves */
        more = false;
        for (uint32_t i = 0; i < k->topology->shards_count && k->asks_count < BATCH_MAX; i++) {
            if (kmy_queue_pop(k->topology->shard_keeper[i], &k->asks[k->asks_count])) {
                k->ask_shard[k->asks_count++] = i;
                more = true;
            }
        }
    }
}

static bool collect(kmy_keeper_t *k)
{
    k->asks_count = 0;
    collect_asks(k);
    kmy_keeper_collect_jobs(k);
    k->book = atomic_exchange(&k->book_wanted, NULL);
    return k->asks_count + k->jobs_count > 0 || k->book;
}

/* What was to be said of a batch that is none. */
static void drop_tells(kmy_keeper_t *k)
{
    for (size_t i = 0; i < k->tells_count; i++) {
        const kmy_tell_t *t = &k->tells[i].tell;
        if (t->kind == KMY_TELL_ANSWER && t->ask_kind == KMY_ASK_USAGE && t->err == KMY_OK)
            free(t->usage);
    }
    k->tells_count = 0;
}

/* The disk refused the whole batch.  Operators' requests are answered with the error; reports and leases are done again, in order, until the disk
   takes them: they are the shards' memory of what was delivered. */
static bool answer_failure(kmy_keeper_t *k, const kmy_errctx_t *ctx)
{
    size_t kept = 0;
    drop_tells(k);
    for (size_t i = 0; i < k->asks_count; i++) {
        const kmy_ask_t *a = &k->asks[i];
        if (a->kind >= KMY_ASK_REVOKE) {
            kmy_keeper_answer(k, k->ask_shard[i], a, KMY_IO, ctx);
            continue;
        }
        k->asks[kept] = *a;
        k->ask_shard[kept++] = k->ask_shard[i];
    }
    k->asks_count = kept;
    return kept > 0;
}

/* What shards hold was lent by a ledger that the disk does not have any more: nothing done from here on would be right, and the next start is. */
_Noreturn static void give_up(const kmy_errctx_t *ctx)
{
    kmy_log(KMY_LOG_ERROR, "keeper",
            "%s: ending at once; see to the disk and start again, the ledger recovers by itself",
            ctx->detail);
    _exit(1);
}

/* Of what was collected, so much in one transaction. */
typedef struct part {
    size_t ask, asks_count, job, jobs_count;
    bool book;
    uint32_t returns; /* allowances given back, at most; alone */
} part_t;

static kmy_err_t try_part(kmy_keeper_t *k, part_t p, kmy_errctx_t *ctx)
{
    k->batch++;
    k->credited_nusd = 0;
    kmy_err_t err = kmy_ledger_begin(k->ledger, ctx);
    if (err == KMY_CONFLICT)
        give_up(ctx);
    if (err == KMY_OK) {
        for (size_t i = p.ask; i < p.ask + p.asks_count; i++)
            kmy_keeper_do_ask(k, k->ask_shard[i], &k->asks[i]);
        for (size_t i = p.job; i < p.job + p.jobs_count; i++)
            kmy_keeper_do_job(k, i);
        if (p.book)
            kmy_keeper_do_book(k);
        if (p.returns > 0)
            kmy_keeper_do_returns(k, p.returns);
        err = kmy_ledger_commit(k->ledger, ctx);
    }
    if (err != KMY_OK)
        kmy_keeper_forget_feeds(k);
    end_batch(k, err == KMY_OK);
    return err;
}

static void send_tells(kmy_keeper_t *k)
{
    size_t sent = 0;
    while (sent < k->tells_count) {
        addressed_t *a = &k->tells[sent];
        if (kmy_queue_push(k->topology->keeper_shard[a->shard], &a->tell)) {
            sent++;
            continue;
        }
        /* Full: the shard is woken and makes room; it never waits for us, so this ends. */
        kmy_wake_signal(&k->topology->shard_wake[a->shard]);
        kmy_wake_arm(&k->topology->keeper_wake);
        struct pollfd p = { k->topology->keeper_wake.fd, POLLIN, 0 };
        poll(&p, 1, 1);
        kmy_wake_disarm(&k->topology->keeper_wake);
    }
    for (uint32_t i = 0; i < k->topology->shards_count; i++)
        kmy_wake_signal(&k->topology->shard_wake[i]);
    k->tells_count = 0;
}

static void was_committed(kmy_keeper_t *k)
{
    kmy_ledger_totals_t totals;
    kmy_ledger_totals(k->ledger, &totals);
    bool wrote = totals.entries_count != k->entries_count; /* reading works on a full disk too */
    KMY_COUNT(k->metrics, ledger_commit_total, 1);
    KMY_COUNT(k->metrics, ledger_credited_nusd_total, k->credited_nusd);
    KMY_COUNT(k->metrics, ledger_entry_total, totals.entries_count - k->entries_count);
    KMY_GAUGE(k->metrics, lease_open_nusd, totals.leased_nusd);
    KMY_GAUGE(k->metrics, ledger_debt_nusd, totals.debt_nusd);
    k->entries_count = totals.entries_count;
    if (wrote && k->refused_ns != 0) {
        kmy_log(KMY_LOG_WARN, "keeper", "the ledger can be written again, after %lld s",
                (long long)((kmy_mono_ns() - k->refused_ns) / KMY_NS_PER_S));
        k->refused_ns = 0;
    }
}

static void was_refused(kmy_keeper_t *k, const kmy_errctx_t *ctx)
{
    int64_t now_ns = kmy_mono_ns();
    KMY_COUNT(k->metrics, ledger_refused_total, 1);
    if (k->refused_ns != 0 && now_ns - k->told_ns < TELL_EVERY_NS)
        return;
    if (k->refused_ns == 0)
        k->refused_ns = now_ns;
    k->told_ns = now_ns;
    kmy_log(KMY_LOG_ERROR, "keeper",
            "the ledger could not be written: %s; nothing of this batch counts, trying again",
            ctx->detail);
}

/* The file itself, not one record of it: whatever is read may be wrong, so nobody's money is taken on it. */
static void look_at_file(kmy_keeper_t *k)
{
    if (!kmy_ledger_is_damaged(k->ledger) || atomic_load(&k->topology->ledger_damaged))
        return;
    atomic_store(&k->topology->ledger_damaged, true);
    kmy_log(KMY_LOG_ERROR, "keeper",
            "the ledger's file is damaged: no payment is taken from here on, and /readyz says so; "
            "stop, run "
            "`kamiyo ledger audit`, and restore a backup");
}

/* One ask alone.  false: the disk refuses it, and with it all that come behind. */
static bool ask_apart(kmy_keeper_t *k, size_t i)
{
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = try_part(k, (part_t){ .ask = i, .asks_count = 1 }, &ctx);
    if (err == KMY_OK) {
        was_committed(k);
    } else if (err != KMY_IO) {
        drop_tells(k);
        kmy_keeper_log_damage(k, k->asks[i].account_id, ctx.detail);
        kmy_keeper_fail(k, k->ask_shard[i], &k->asks[i], err, &ctx);
        end_batch(k, true); /* what it changed about who serves whom stays */
    } else {
        return false;
    }
    send_tells(k);
    return true;
}

static void job_apart(kmy_keeper_t *k, size_t i)
{
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = try_part(k, (part_t){ .job = i, .jobs_count = 1 }, &ctx);
    if (err == KMY_OK) {
        was_committed(k);
    } else {
        drop_tells(k);
        kmy_keeper_fail_job(k, i, err, &ctx);
    }
    if (err != KMY_OK && err != KMY_IO)
        kmy_keeper_log_damage(k, 0, ctx.detail);
    send_tells(k);
}

static void book_apart(kmy_keeper_t *k)
{
    kmy_errctx_t ctx = { 0 };
    if (k->book)
        kmy_keeper_answer_book(k, try_part(k, (part_t){ .book = true }, &ctx), &ctx);
}

/* What the first reports of a batch owned, once they are in the ledger, or given up for good. */
static void free_uses(kmy_keeper_t *k, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (k->asks[i].kind == KMY_ASK_REPORT)
            free(k->asks[i].uses_owned);
        k->asks[i].uses_owned = NULL;
    }
}

/* One of this batch met damaged data half way: each alone, so that it is the only one to fail.  Some hundred commits where one would do; such a batch is rare. */
static void do_apart(kmy_keeper_t *k)
{
    size_t done = 0;
    drop_tells(k);
    while (done < k->asks_count && ask_apart(k, done))
        done++;
    for (size_t i = 0; i < k->jobs_count; i++)
        job_apart(k, i);
    book_apart(k);
    kmy_keeper_send_jobs(k, KMY_OK, NULL);
    free_uses(k, done);
    k->asks_count -= done;
    memmove(k->asks, k->asks + done, k->asks_count * sizeof *k->asks);
    memmove(k->ask_shard, k->ask_shard + done, k->asks_count * sizeof *k->ask_shard);
}

static void do_batch(kmy_keeper_t *k)
{
    for (bool again = true; again;) {
        kmy_errctx_t ctx = { 0 };
        part_t all = { 0, k->asks_count, 0, k->jobs_count, k->book != NULL, 0 };
        kmy_err_t err = try_part(k, all, &ctx);
        look_at_file(k);
        again = false;
        if (err != KMY_OK && err != KMY_IO) { /* not the disk: trying again would change nothing */
            do_apart(k);
            again = k->asks_count > 0; /* the disk refused the rest */
            continue;
        }
        if (err == KMY_OK) {
            was_committed(k);
        } else {
            was_refused(k, &ctx);
            again = answer_failure(k, &ctx) && !atomic_load(&k->stop);
        }
        kmy_keeper_answer_book(k, err, &ctx);
        send_tells(k); /* what was committed, or the operators' errors */
        kmy_keeper_send_jobs(
            k, err,
            &ctx); /* behind them: a shard knows the new balance before the payment's answer */
        if (again) {
            struct pollfd none = { -1, 0, 0 };
            poll(&none, 1, 100);
            /* Who wants to pay or to credit meanwhile is told that it cannot be, and waits for nobody. */
            collect_asks(k);
            kmy_keeper_collect_jobs(k);
        }
    }
    free_uses(k, k->asks_count);
}

#define RETURNS_EVERY_NS (1 * KMY_NS_PER_S)

/* Allowances whose tokens are void: RETURNS_MAX a second, which is what they are made at by far. */
static void give_back(kmy_keeper_t *k)
{
    kmy_errctx_t ctx = { 0 };
    int64_t now_ns = kmy_mono_ns();
    if (now_ns < k->returns_ns)
        return;
    k->returns_ns = now_ns + RETURNS_EVERY_NS;
    if (kmy_ledger_allowance_due(k->ledger, kmy_wall_ns(), &ctx) == KMY_NOT_FOUND)
        return;
    kmy_err_t err = try_part(k, (part_t){ .returns = RETURNS_MAX }, &ctx);
    if (err == KMY_OK) {
        was_committed(k);
        send_tells(k);
        return;
    }
    drop_tells(k);
    if (err == KMY_IO)
        was_refused(k, &ctx);
    else
        kmy_keeper_log_damage(k, 0, ctx.detail);
}

static void wait_for_work(kmy_keeper_t *k)
{
    kmy_wake_t *w = &k->topology->keeper_wake;
    kmy_wake_arm(w);
    bool idle = true;
    for (uint32_t i = 0; idle && i < k->topology->shards_count; i++)
        idle = kmy_queue_count(k->topology->shard_keeper[i]) == 0;
    idle = idle && kmy_queue_count(k->topology->cashier_keeper) == 0 &&
           atomic_load(&k->book_wanted) == NULL;
    if (idle && !atomic_load(&k->stop)) {
        struct pollfd p = { w->fd, POLLIN, 0 };
        poll(&p, 1, IDLE_MS);
    }
    kmy_wake_disarm(w);
    uint64_t n;
    ssize_t got = read(w->fd, &n, sizeof n);
    (void)got;
}

void *kmy_keeper_run(void *arg)
{
    kmy_keeper_t *k = arg;
    pthread_setname_np(pthread_self(), "kmy-keeper");
    for (;;) {
        bool last = atomic_load(&k->stop);
        give_back(k);
        if (collect(k))
            do_batch(k);
        else if (last)
            return NULL;
        else
            wait_for_work(k);
    }
}
