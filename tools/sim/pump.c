/* pump: the timelines.  Paced: one per venue that all its connections share, so that who reconnects has missed something and who is
   connected twice gets all twice.  At max speed: one per connection, from the start, paced by the reader alone. */
#include "tools/sim/sim.h"

#include "base/clock.h"

#define AHEAD_BYTES     (128u << 10) /* a connection at max speed is filled up to this */
#define EVENTS_PER_TURN 16384 /* of one connection or timeline, so that others get their turn */

static int64_t wall_us(void)
{
    return kmy_wall_ns() / 1000;
}

static void begin(sim_venue_t *v, const sim_t *sim)
{
    v->has_begun = true;
    v->begun_ns = sim->now_ns;
    v->begun_wall_us = wall_us();
    sim_cursor_init(&v->timeline, &v->source);
}

void sim_pump_subscribed(sim_conn_t *c)
{
    if (c->sim->o.speed_max) {
        if (!c->has_begun && c->subs_known > 0)
            sim_cursor_init(&c->cursor, &c->venue->source);
        c->has_begun |= c->subs_known > 0;
    } else if (!c->venue->has_begun) {
        begin(c->venue, c->sim);
    }
}

static bool may_run(sim_conn_t *c)
{
    int64_t at_ns;
    uint64_t limit = c->sim->o.limit;
    return c->state == SIM_CONN_OPEN && c->has_begun && c->subs_known > 0 &&
           (limit == 0 || c->frames < limit) && sim_conn_queued(c) < AHEAD_BYTES &&
           !(c->venue->active_count > 0 &&
             (sim_mischief_on(c, SIM_T_STALL) || sim_mischief_on(c, SIM_T_MUTE))) &&
           sim_cursor_due(&c->cursor, &at_ns);
}

static void run_max(sim_conn_t *c, int64_t now_us)
{
    sim_event_t ev;
    for (int i = 0; i < EVENTS_PER_TURN && may_run(c); i++) {
        sim_cursor_next(&c->cursor, now_us, &ev);
        sim_deliver(c, &ev);
    }
}

static int64_t due_ns(const sim_venue_t *v, const sim_options_t *o)
{
    int64_t at_ns;
    if (!v->has_begun || v->has_ended || !sim_cursor_due(&v->timeline, &at_ns) ||
        (o->limit > 0 && v->timeline.frames >= o->limit))
        return INT64_MAX;
    return v->begun_ns + (int64_t)((double)at_ns / o->speed);
}

static void cut_slow(sim_conn_t *c)
{
    if (c->state != SIM_CONN_OPEN || sim_conn_queued(c) <= c->sim->o.queue_bytes + c->credit_bytes)
        return;
    c->venue->slow_cut++;
    sim_conn_drop(c);
}

static void run_paced(sim_venue_t *v, sim_t *sim)
{
    sim_event_t ev;
    for (int i = 0; i < EVENTS_PER_TURN; i++) {
        int64_t due = due_ns(v, &sim->o);
        if (due > sim->now_ns)
            return;
        sim_cursor_next(&v->timeline, v->begun_wall_us + (due - v->begun_ns) / 1000, &ev);
        for (sim_conn_t *c = sim->conns; c; c = c->next)
            if (c->venue == v) {
                sim_deliver(c, &ev);
                cut_slow(c);
            }
    }
}

void sim_pump(sim_t *sim)
{
    if (sim->o.speed_max) {
        int64_t now_us = wall_us();
        for (sim_conn_t *c = sim->conns; c; c = c->next)
            if (c->venue->which != SIM_CONTROL)
                run_max(c, now_us);
        return;
    }
    for (int i = SIM_BINANCE; i <= SIM_HERMES; i++) {
        sim_venue_t *v = &sim->venues[i];
        if (!v->has_begun && sim->o.begin_now && sim->o.listen[i])
            begin(v, sim);
        run_paced(v, sim);
    }
}

int64_t sim_pump_due_ns(const sim_t *sim)
{
    if (sim->o.speed_max) {
        for (sim_conn_t *c = sim->conns; c; c = c->next)
            if (!c->want_write && may_run(c))
                return sim->now_ns;
        return INT64_MAX;
    }
    int64_t a = due_ns(&sim->venues[SIM_BINANCE], &sim->o);
    int64_t b = due_ns(&sim->venues[SIM_HERMES], &sim->o);
    return a < b ? a : b;
}
