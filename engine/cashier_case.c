/* dollar 4/7   in: engine/cashier_verify   out: engine/keeper, engine/calls */
#include "engine/cashier_inside.h"

#include <stdlib.h>
#include <string.h>

/* --- cases ------------------------------------------------------------------------------------- */

/* One that has ended and is only watched gives way: the ledger has it, and whoever presents it again begins anew. */
static void make_room(kmy_cashier_t *c)
{
    for (uint32_t i = 0; i < KMY_CASES; i++) {
        kmy_case_t *k = &c->cases[i];
        bool watched = k->kind == KMY_CASE_WATCH ||
                       (k->kind == KMY_CASE_PAYMENT && k->row.state == KMY_PAYMENT_FAILED);
        if (watched && !k->busy && !kmy_cashier_waits(c, k)) {
            kmy_case_free(c, k);
            return;
        }
    }
}

kmy_case_t *kmy_case_take(kmy_cashier_t *c, kmy_case_kind_t kind)
{
    if (c->cases_count == KMY_CASES)
        make_room(c);
    for (uint32_t i = 0; i < KMY_CASES; i++) {
        kmy_case_t *k = &c->cases[i];
        if (k->kind != KMY_CASE_FREE)
            continue;
        uint32_t gen = k->gen + 1;
        memset(k, 0, sizeof *k);
        k->gen = gen;
        k->kind = (uint8_t)kind;
        k->due_ns = INT64_MAX;
        c->cases_count++;
        return k;
    }
    return NULL;
}

void kmy_case_leave(kmy_cashier_t *c, kmy_case_t *k)
{
    if (k->in_ledger)
        kmy_strmap_del(&c->ids, k->row.id, KMY_PAYMENT_ID_HEX);
    k->in_ledger = false;
    free(k->json);
    free(k->candidates);
    k->json = NULL;
    k->candidates = NULL;
}

void kmy_case_free(kmy_cashier_t *c, kmy_case_t *k)
{
    KMY_ASSERT(k->kind != KMY_CASE_FREE && !k->busy && !kmy_cashier_waits(c, k));
    kmy_case_leave(c, k);
    c->watched_count -= k->kind == KMY_CASE_WATCH;
    k->kind = KMY_CASE_FREE;
    c->cases_count--;
}

kmy_case_t *kmy_case_of(kmy_cashier_t *c, const char *payment_id)
{
    uint32_t idx;
    return kmy_strmap_get(&c->ids, payment_id, KMY_PAYMENT_ID_HEX, &idx) ? &c->cases[idx] : NULL;
}

void kmy_case_enter(kmy_cashier_t *c, kmy_case_t *k)
{
    KMY_ASSERT(!kmy_case_of(c, k->row.id));
    bool put = kmy_strmap_put(&c->ids, k->row.id, KMY_PAYMENT_ID_HEX, (uint32_t)(k - c->cases));
    KMY_ASSERT(put); /* some tens of bytes; without memory no money can be taken */
    k->in_ledger = true;
}

void kmy_case_later(kmy_cashier_t *c, kmy_case_t *k, kmy_case_step_t *step, int64_t ns)
{
    KMY_ASSERT(!k->busy);
    k->step = step;
    k->due_ns = c->now_ns + ns;
}

void kmy_case_next(kmy_cashier_t *c, kmy_case_t *k, kmy_case_step_t *step)
{
    kmy_case_later(c, k, step, 0);
}

int64_t kmy_cases_turn(kmy_cashier_t *c)
{
    int64_t next = INT64_MAX;
    for (uint32_t i = 0, left = c->cases_count; i < KMY_CASES && left > 0; i++) {
        kmy_case_t *k = &c->cases[i];
        if (k->kind == KMY_CASE_FREE)
            continue;
        left--;
        /* What a step leaves due at once is run now: it is at most a few in a row. */
        while (k->kind != KMY_CASE_FREE && k->due_ns <= c->now_ns) {
            k->due_ns = INT64_MAX;
            k->step(c, k);
        }
        if (k->kind != KMY_CASE_FREE && k->due_ns < next)
            next = k->due_ns;
    }
    return next;
}

/* --- jobs -------------------------------------------------------------------------------------- */

kmy_job_t *kmy_cashier_job(kmy_cashier_t *c)
{
    for (uint32_t i = 0; i < KMY_JOBS / 64; i++) {
        if (c->jobs_free[i] == 0)
            continue;
        uint32_t bit = (uint32_t)__builtin_ctzll(c->jobs_free[i]);
        c->jobs_free[i] &= ~(UINT64_C(1) << bit);
        c->jobs_free_count--;
        kmy_job_t *job = &c->topology->jobs[i * 64 + bit];
        memset(job, 0, offsetof(kmy_job_t, json));
        return job;
    }
    return NULL;
}

void kmy_cashier_send(kmy_cashier_t *c, kmy_job_t *job, const kmy_job_note_t *note)
{
    uint64_t idx = (uint64_t)(job - c->topology->jobs);
    c->notes[idx] = *note;
    bool pushed = kmy_queue_push(c->topology->cashier_keeper, &idx);
    KMY_ASSERT(pushed); /* as many places as jobs */
    kmy_wake_signal(&c->topology->keeper_wake);
}

void kmy_cashier_give_back(kmy_cashier_t *c, kmy_job_t *job)
{
    uint64_t idx = (uint64_t)(job - c->topology->jobs);
    c->jobs_free[idx / 64] |= UINT64_C(1) << (idx % 64);
    c->jobs_free_count++;
}

uint32_t kmy_jobs_turn(kmy_cashier_t *c)
{
    uint64_t idx;
    uint32_t n = 0;
    while (n < KMY_JOBS && kmy_queue_pop(c->topology->keeper_cashier, &idx)) {
        KMY_ASSERT(idx < KMY_JOBS);
        kmy_job_note_t *note = &c->notes[idx];
        void (*done)(kmy_cashier_t *, kmy_job_t *) = note->done;
        note->done = NULL;
        done(c, &c->topology->jobs[idx]);
        n++;
        if (!note->done) /* else it was sent again */
            kmy_cashier_give_back(c, &c->topology->jobs[idx]);
    }
    return n;
}

static void case_job_done(kmy_cashier_t *c, kmy_job_t *job)
{
    const kmy_job_note_t *note = &c->notes[job - c->topology->jobs];
    kmy_case_t *k = &c->cases[note->idx];
    KMY_ASSERT(k->gen == note->gen && k->busy); /* a case does not end while it is busy */
    k->busy = false;
    k->then_job(c, k, job);
}

kmy_job_t *kmy_case_job(kmy_cashier_t *c, kmy_case_t *k, kmy_job_kind_t kind, bool with_json)
{
    KMY_ASSERT(!k->busy);
    kmy_job_t *job = kmy_cashier_job(c);
    if (!job) {
        kmy_case_later(c, k, k->step, KMY_ROOM_MS * KMY_NS_PER_MS);
        return NULL;
    }
    job->kind = kind;
    job->row = k->row;
    job->row.json = NULL;
    job->row.json_bytes = 0;
    if (with_json) {
        KMY_ASSERT(k->row.json_bytes <= sizeof job->json);
        memcpy(job->json, k->json, k->row.json_bytes);
        job->row.json = job->json;
        job->row.json_bytes = k->row.json_bytes;
    }
    return job;
}

void kmy_case_send(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job, kmy_case_job_t *then)
{
    k->busy = true;
    k->due_ns = INT64_MAX;
    k->then_job = then;
    kmy_cashier_send(
        c, job,
        &(kmy_job_note_t){ .done = case_job_done, .idx = (uint32_t)(k - c->cases), .gen = k->gen });
}

/* --- calls --------------------------------------------------------------------------------------- */

static void case_answered(void *arg, uint64_t word, const kmy_call_answer_t *a)
{
    kmy_cashier_t *c = arg;
    kmy_case_t *k = &c->cases[(uint32_t)word];
    KMY_ASSERT(k->gen == word >> 32 && k->busy);
    k->busy = false;
    k->then_call(c, k, a);
}

bool kmy_case_call(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_t *call, kmy_case_call_t *then)
{
    KMY_ASSERT(!k->busy);
    kmy_call_t mine = *call;
    mine.word = (uint64_t)k->gen << 32 | (uint64_t)(k - c->cases);
    mine.answered = case_answered;
    mine.arg = c;
    if (!kmy_calls_begin(c->calls, &mine)) {
        kmy_case_later(c, k, k->step, KMY_ROOM_MS * KMY_NS_PER_MS);
        return false;
    }
    k->busy = true;
    k->due_ns = INT64_MAX;
    k->then_call = then;
    return true;
}

uint64_t kmy_case_question(kmy_cashier_t *c, kmy_case_t *k)
{
    k->ask_id = ++c->ask_id;
    return k->ask_id;
}

bool kmy_case_ask(kmy_cashier_t *c, kmy_case_t *k, const kmy_buf_t *question, kmy_case_call_t *then)
{
    KMY_ASSERT(!question->overflow);
    KMY_COUNT(c->metrics, chain_request_total, 1);
    return kmy_case_call(c, k,
                         &(kmy_call_t){ .url = k->net->rpc,
                                        .body = question->data,
                                        .body_bytes = question->len,
                                        .timeout_ms = KMY_CALL_RPC_MS },
                         then);
}
