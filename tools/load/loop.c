#include "tools/load/door.h"
#include "tools/load/fleet.h"
#include "tools/load/load.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 512,
    END_S = 20,       /* the longest the last balances and closes may take */
    RAMP_SPARE_S = 30 /* beyond the ramp's own time, until all must be up */
};

/* --- timers: a binary heap; an entry whose agent has another due time by now is void --------- */

static void heap_push(load_t *l, load_timer_t t)
{
    if (l->timers_count == l->timers_cap) {
        size_t cap = l->timers_cap ? l->timers_cap * 2 : 1024;
        load_timer_t *grown = realloc(l->timers, cap * sizeof *grown);
        KMY_ASSERT(grown != NULL);
        l->timers = grown;
        l->timers_cap = cap;
    }
    size_t i = l->timers_count++;
    while (i > 0 && l->timers[(i - 1) / 2].due_ns > t.due_ns) {
        l->timers[i] = l->timers[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    l->timers[i] = t;
}

static load_timer_t heap_pop(load_t *l)
{
    load_timer_t top = l->timers[0];
    load_timer_t last = l->timers[--l->timers_count];
    size_t i = 0;
    for (size_t child = 1; child < l->timers_count; child = 2 * i + 1) {
        if (child + 1 < l->timers_count && l->timers[child + 1].due_ns < l->timers[child].due_ns)
            child++;
        if (l->timers[child].due_ns >= last.due_ns)
            break;
        l->timers[i] = l->timers[child];
        i = child;
    }
    if (l->timers_count > 0)
        l->timers[i] = last;
    return top;
}

void load_at(load_t *l, load_agent_t *a, int64_t due_ns)
{
    a->due_ns = due_ns;
    heap_push(l, (load_timer_t){ due_ns, (uint32_t)(a - l->agents) });
}

static void run_timers(load_t *l)
{
    while (l->timers_count > 0 && l->timers[0].due_ns <= l->now_ns) {
        load_timer_t t = heap_pop(l);
        load_agent_t *a = &l->agents[t.agent];
        if (a->due_ns == t.due_ns)
            load_agent_due(l, a);
    }
}

/* --- seconds ------------------------------------------------------------------------------- */

static double ms(int64_t ns)
{
    return (double)ns / 1e6;
}

static void say(load_t *l, const load_second_t *s)
{
    const char *phase = l->ending ? "end" : l->measuring ? "run" : "ramp";
    uint64_t faults = 0;
    for (int i = 0; i < LOAD_FAULTS; i++)
        faults += l->faults[i];
    fprintf(stderr,
            "%s%4u s %-4s  agents %u/%u  delivered %u/s  answers %u/s  p50 %.2f  p99 %.2f ms  lost "
            "%llu  errors %llu  daemon cpu %.0f %%  rss %u MiB%s",
            l->color ? "\r\x1b[K" : "", l->seconds, phase, l->live_count, l->agents_count,
            s->delivered, s->answers, (double)s->p50_ms, (double)s->p99_ms,
            (unsigned long long)l->lost, (unsigned long long)faults, (double)s->cpu * 100,
            s->rss_kib / 1024, l->color ? "" : "\n");
    fflush(stderr);
}

/* A second is over: its percentiles, then into the total if it counts. */
static void close_second(load_t *l, int64_t length_ns)
{
    const load_hist_t *h = l->tick_second.count ? &l->tick_second : &l->answer_second;
    load_usage_t u = load_usage_read(l->server_pid);
    load_second_t s = {
        .delivered = (uint32_t)l->tick_second.count,
        .answers = (uint32_t)l->answer_second.count,
        .p50_ms = (float)ms(load_hist_quantile(h, 0.5)),
        .p99_ms = (float)ms(load_hist_quantile(h, 0.99)),
        .rss_kib = (uint32_t)(u.rss_bytes / 1024),
    };
    if (length_ns > 0)
        s.cpu = (float)(u.cpu_ns - l->server_last.cpu_ns) / (float)length_ns;
    l->server_last = u;
    if (u.rss_bytes > l->server_rss_max)
        l->server_rss_max = u.rss_bytes;
    if (l->measuring)
        load_hist_merge(&l->tick, &l->tick_second);
    load_hist_clear(&l->tick_second);
    load_hist_clear(&l->answer_second);
    if (l->seconds < LOAD_SECONDS_MAX)
        l->timeline[l->seconds] = s;
    l->seconds++;
    if (!l->quiet)
        say(l, &s);
}

/* --- phases -------------------------------------------------------------------------------- */

static void plan_ramp(load_t *l)
{
    int64_t step = l->s.ramp_per_s > 0 ? (int64_t)(1e9 / l->s.ramp_per_s) : 0;
    for (uint32_t i = 0; i < l->agents_count; i++)
        load_at(l, &l->agents[i], l->start_ns + (int64_t)i * step);
    l->ramped_ns = l->start_ns + (int64_t)l->agents_count * step;
}

static void begin_measure(load_t *l)
{
    load_hist_clear(&l->tick_second);
    load_hist_clear(&l->answer_second);
    l->measuring = true;
    l->measure_ns = l->now_ns;
    l->stop_ns = l->now_ns + l->s.duration_ns;
    l->server_measure = load_usage_read(l->server_pid);
    l->self_measure = load_usage_read(getpid());
    l->measured_delivered = l->delivered;
    l->measured_answers = l->answers;
    if (l->s.storm_every_ns > 0)
        l->storm_due_ns = l->now_ns + l->s.storm_every_ns;
}

static void begin_end(load_t *l, int64_t second_ns)
{
    l->stop_ns = l->now_ns;
    l->server_stop = load_usage_read(l->server_pid);
    l->self_stop = load_usage_read(getpid());
    l->measured_delivered = l->delivered - l->measured_delivered;
    l->measured_answers = l->answers - l->measured_answers;
    close_second(l, l->now_ns - second_ns);
    load_door_count(l, 1);
    l->measuring = false;
    l->ending = true;
    l->end_ns = l->now_ns + END_S * KMY_NS_PER_S;
    for (uint32_t i = 0; i < l->agents_count; i++)
        load_agent_end(l, &l->agents[i]);
}

static void storm(load_t *l)
{
    l->storms++;
    l->storm_ns = l->now_ns;
    l->storm_due_ns += l->s.storm_every_ns;
    if (l->s.storms_max > 0 && l->storms >= l->s.storms_max)
        l->storm_due_ns = INT64_MAX;
    for (uint32_t i = 0; i < l->agents_count; i++)
        load_agent_cut(l, &l->agents[i], l->s.storm_reset);
}

/* The last storm leaves everybody time to come back before the end, if they are to come back. */
static bool storm_is_due(const load_t *l)
{
    int64_t left_ns = l->stop_ns - l->now_ns;
    bool for_good = l->s.storm_away_ns >= left_ns;
    return l->measuring && l->storm_due_ns > 0 && l->now_ns >= l->storm_due_ns &&
           (for_good || left_ns > l->s.storm_away_ns + KMY_NS_PER_S / 2);
}

static bool all_up(const load_t *l)
{
    return l->up_count + l->over_count >= l->agents_count;
}

static void give_up(load_t *l)
{
    for (uint32_t i = 0; i < l->agents_count; i++) {
        load_agent_t *a = &l->agents[i];
        if (a->state == LOAD_OVER)
            continue;
        load_fault(l, a, LOAD_FAULT_TIMEOUT, "not through within %d s of the end (state %d)", END_S,
                   a->state);
        a->ended_early = true;
        load_agent_over(l, a);
    }
}

/* Moves on when a phase is over; false: the run is. */
static bool advance(load_t *l, int64_t second_ns, bool stop)
{
    if (l->ending) {
        if (l->now_ns > l->end_ns)
            give_up(l);
        return l->over_count < l->agents_count;
    }
    if (!l->measuring) {
        bool late = l->now_ns > l->ramped_ns + RAMP_SPARE_S * KMY_NS_PER_S;
        if (l->measure_ns == 0 &&
            (all_up(l) ||
             late)) { /* planned; what the look at the counters holds up is over when it begins */
            load_door_count(l, -1);
            l->measure_ns = l->now_ns + l->s.settle_ns;
        }
        if (l->measure_ns > 0 && l->now_ns >= l->measure_ns)
            begin_measure(l);
    } else if (l->now_ns >= l->stop_ns) {
        begin_end(l, second_ns);
        return true;
    }
    if (storm_is_due(l))
        storm(l);
    if (stop || l->over_count == l->agents_count)
        begin_end(l, second_ns);
    return true;
}

static int wait_ms(const load_t *l, int64_t second_ns)
{
    int64_t until = second_ns + KMY_NS_PER_S;
    if (l->timers_count > 0 && l->timers[0].due_ns < until)
        until = l->timers[0].due_ns;
    if (l->measure_ns > l->now_ns && l->measure_ns < until)
        until = l->measure_ns;
    if (l->measuring && l->stop_ns < until)
        until = l->stop_ns;
    if (l->measuring && l->storm_due_ns > 0 && l->storm_due_ns < until)
        until = l->storm_due_ns;
    if (until <= l->now_ns)
        return 0;
    return (int)((until - l->now_ns + KMY_NS_PER_MS - 1) / KMY_NS_PER_MS);
}

/* What slow agents and those cut off may have been charged without our reading it: everything up to the newest tick. */
static void settle_slack(load_t *l)
{
    for (uint32_t i = 0; i < l->agents_count; i++) {
        load_agent_t *a = &l->agents[i];
        bool unread = a->ended_early || (a->away && l->s.storm_reset);
        for (uint32_t k = 0; unread && k < a->subs_count; k++) {
            const load_feed_t *f = &l->feeds[a->subs[k].feed];
            if (f->newest > a->subs[k].last)
                a->slack_nusd += (int64_t)(f->newest - a->subs[k].last) * f->tick_nusd;
        }
    }
}

static bool take_memory(load_t *l)
{
    l->buffer = malloc(LOAD_READ_BYTES);
    l->timeline = mmap(NULL, LOAD_SECONDS_MAX * sizeof *l->timeline, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    load_hist_clear(&l->tick);
    load_hist_clear(&l->tick_second);
    load_hist_clear(&l->answer_second);
    load_hist_clear(&l->query);
    load_hist_clear(&l->batch);
    load_hist_clear(&l->topup);
    load_hist_clear(&l->join);
    load_hist_clear(&l->back);
    load_hist_clear(&l->answer);
    load_hist_clear(&l->bye);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return l->buffer && l->timeline != MAP_FAILED && l->epoll_fd >= 0;
}

kmy_err_t load_loop(load_t *l, volatile bool *stop, kmy_errctx_t *ctx)
{
    struct epoll_event events[EVENTS_MAX];
    if (!take_memory(l))
        return KMY_FAIL_SYS(ctx, KMY_IO, "no memory or no epoll: %s", strerror(errno));
    l->start_ns = l->now_ns = kmy_mono_ns();
    l->server_begin = l->server_last = load_usage_read(l->server_pid);
    plan_ramp(l);
    int64_t second_ns = l->start_ns;
    while (advance(l, second_ns, *stop)) {
        if (l->now_ns - second_ns >= KMY_NS_PER_S) {
            close_second(l, l->now_ns - second_ns);
            second_ns += (l->now_ns - second_ns) / KMY_NS_PER_S * KMY_NS_PER_S;
        }
        int n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, wait_ms(l, second_ns));
        l->now_ns = kmy_mono_ns();
        for (int i = 0; i < n; i++)
            load_agent_ready(l, &l->agents[events[i].data.u32], events[i].events);
        run_timers(l);
    }
    l->server_end = load_usage_read(l->server_pid);
    if (l->server_end.rss_bytes > l->server_rss_max)
        l->server_rss_max = l->server_end.rss_bytes;
    settle_slack(l);
    if (l->color && !l->quiet)
        fputs("\r\x1b[K", stderr);
    return KMY_OK;
}
