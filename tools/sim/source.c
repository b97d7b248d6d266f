#include "tools/sim/source.h"

#include "base/clock.h"
#include "tools/sim/text.h"

void sim_cursor_init(sim_cursor_t *c, const sim_source_t *source)
{
    c->source = source;
    c->frames = c->loop = 0;
    c->idx = 0;
    if (!source->tape)
        c->market = *source->market;
}

bool sim_cursor_due(const sim_cursor_t *c, int64_t *at_ns)
{
    const sim_tape_t *t = c->source->tape;
    if (!t) {
        *at_ns = sim_market_due_ns(&c->market);
        return true;
    }
    if (t->frames_count == 0 || (c->source->loops > 0 && c->loop >= c->source->loops))
        return false;
    *at_ns = (int64_t)c->loop * t->loop_ns + t->frames[c->idx].at_ns;
    return true;
}

/* Whole milliseconds, so that texts in milliseconds stay exact; whole seconds for Hermes' seconds. */
static int64_t whole(int64_t us, int64_t unit)
{
    return us - ((us % unit) + unit) % unit;
}

static void from_tape(sim_cursor_t *c, int64_t now_us, sim_event_t *ev)
{
    const sim_tape_t *t = c->source->tape;
    const sim_tape_frame_t *f = &t->frames[c->idx];
    ev->text = t->text + f->text_at;
    ev->len = f->len;
    ev->stream = f->stream;
    ev->patches = t->patches + f->patch_at;
    ev->patches_count = f->patches_count;
    ev->meta_at = f->meta_at;
    ev->vaa_at = f->vaa_at;
    ev->late = f->late;
    ev->only_vaa = f->only_vaa;
    ev->at_ns = (int64_t)c->loop * t->loop_ns + f->at_ns;
    sim_tape_delta(t, f, c->loop, ev->delta);
    if (!c->source->rebase)
        return;
    ev->delta[SIM_TIME] = whole(now_us - f->clock_us, f->no_clock ? 1000000 : 1000);
    if (f->no_clock) { /* a slot a frame, beyond all recorded: nothing is late any more */
        for (int i = 0; i < ev->patches_count; i++)
            if (ev->patches[i].kind == SIM_SLOT)
                ev->delta[SIM_SLOT] = (int64_t)(t->slot_max + 1 + c->frames - ev->patches[i].value);
        ev->late = false;
    }
}

/* Appends a number that moves and notes its place. */
static char *put_moving(sim_event_t *ev, char *at, sim_num_t kind, uint64_t text_value,
                        uint32_t scale, bool is_primary)
{
    char *end = sim_put_u64(at, text_value);
    ev->own_patches[ev->patches_count++] =
        (sim_patch_t){ .value = kind == SIM_TIME ? text_value * scale : text_value,
                       .at = (uint32_t)(at - ev->own_text),
                       .scale = scale,
                       .digits = (uint8_t)(end - at),
                       .kind = (uint8_t)kind,
                       .is_primary = is_primary };
    return end;
}

/* The two times of a trade are sent in milliseconds, or in microseconds to those who asked: kept in microseconds here. */
static char *put_time(sim_event_t *ev, char *at, int64_t us)
{
    return put_moving(ev, at, SIM_TIME, (uint64_t)us, 1, false);
}

static char *put_price(char *at, int64_t v)
{
    *at++ = '"';
    at = sim_put_fixed(at, (uint64_t)v, 8);
    *at++ = '"';
    return at;
}

static char *put_quote(const sim_market_event_t *m, sim_event_t *ev, char *at)
{
    at = sim_put_str(at, "{\"u\":");
    at = put_moving(ev, at, SIM_BOOK, m->id, 1, true);
    at = sim_put_str(at, ",\"s\":\"");
    at = sim_put_str(at, m->symbol->name);
    at = put_price(sim_put_str(at, "\",\"b\":"), m->price);
    at = put_price(sim_put_str(at, ",\"B\":"), m->qty);
    at = put_price(sim_put_str(at, ",\"a\":"), m->ask);
    at = put_price(sim_put_str(at, ",\"A\":"), m->ask_qty);
    *at++ = '}';
    return at;
}

static char *put_deal(const sim_market_event_t *m, sim_event_t *ev, char *at, int64_t us)
{
    bool agg = m->kind == SIM_AGGREGATE;
    at = sim_put_str(at, agg ? "{\"e\":\"aggTrade\",\"E\":" : "{\"e\":\"trade\",\"E\":");
    at = put_time(ev, at, us + 1000); /* sent one millisecond after the trade */
    at = sim_put_str(at, ",\"s\":\"");
    at = sim_put_str(at, m->symbol->name);
    at = sim_put_str(at, agg ? "\",\"a\":" : "\",\"t\":");
    at = put_moving(ev, at, agg ? SIM_AGG : SIM_TRADE, m->id, 1, true);
    at = put_price(sim_put_str(at, ",\"p\":"), m->price);
    at = put_price(sim_put_str(at, ",\"q\":"), m->qty);
    if (agg) {
        at = put_moving(ev, sim_put_str(at, ",\"f\":"), SIM_TRADE, m->first, 1, false);
        at = put_moving(ev, sim_put_str(at, ",\"l\":"), SIM_TRADE, m->last, 1, false);
    }
    at = put_time(ev, sim_put_str(at, ",\"T\":"), us);
    at = sim_put_str(at, m->buyer_is_maker ? ",\"m\":true" : ",\"m\":false");
    return sim_put_str(at, ",\"M\":true}");
}

static char *put_oracle_price(sim_event_t *ev, char *at, int64_t price, uint64_t conf, int64_t us)
{
    at = sim_put_u64(sim_put_str(at, "{\"price\":\""), (uint64_t)price);
    at = sim_put_u64(sim_put_str(at, "\",\"conf\":\""), conf);
    at = sim_put_str(at, "\",\"expo\":-8,\"publish_time\":");
    at = put_moving(ev, at, SIM_TIME, (uint64_t)(us / 1000000), 1000000, false);
    *at++ = '}';
    return at;
}

static char *put_oracle(const sim_market_event_t *m, sim_event_t *ev, char *at, int64_t us)
{
    at = sim_put_str(at, "{\"type\":\"price_update\",\"price_feed\":{\"id\":\"");
    at = sim_put(at, m->symbol->feed_id, 64);
    at = sim_put_str(at, "\",\"price\":");
    at = put_oracle_price(ev, at, m->price, m->conf, us);
    at = sim_put_str(at, ",\"ema_price\":");
    at = put_oracle_price(ev, at, m->ask, m->conf, us);
    ev->meta_at = (uint32_t)(at - ev->own_text);
    at = sim_put_str(at, ",\"metadata\":{\"slot\":");
    at = put_moving(ev, at, SIM_SLOT, m->slot, 1, true);
    at = sim_put_str(at, ",\"emitter_chain\":26,\"price_service_receive_time\":");
    at = put_moving(ev, at, SIM_TIME, (uint64_t)(us / 1000000), 1000000, false);
    at = sim_put_str(at, ",\"prev_publish_time\":");
    at = put_moving(ev, at, SIM_TIME, (uint64_t)((us - 400000) / 1000000), 1000000, false);
    *at++ = '}';
    ev->vaa_at = (uint32_t)(at - ev->own_text);
    return sim_put_str(at, ",\"vaa\":\"" SIM_MARKET_VAA "\"}}");
}

static void from_market(sim_cursor_t *c, int64_t now_us, sim_event_t *ev)
{
    sim_market_event_t m;
    sim_market_next(&c->market, &m);
    int64_t us = c->source->begin_us + m.at_ns / 1000;
    if (c->source->rebase)
        us = now_us;
    ev->text = ev->own_text;
    ev->patches = ev->own_patches;
    ev->patches_count = 0;
    ev->late = ev->only_vaa = false;
    ev->at_ns = m.at_ns;
    /* bookTicker, trade and aggTrade of a symbol are neighbours in the stream table, in the order of the kinds */
    ev->stream = m.symbol->stream + (m.kind == SIM_ORACLE ? 0 : (uint32_t)m.kind);
    memset(ev->delta, 0, sizeof ev->delta);
    char *end = m.kind == SIM_ORACLE  ? put_oracle(&m, ev, ev->own_text, us)
                : m.kind == SIM_QUOTE ? put_quote(&m, ev, ev->own_text)
                                      : put_deal(&m, ev, ev->own_text, us);
    ev->len = (uint32_t)(end - ev->own_text);
}

void sim_cursor_next(sim_cursor_t *c, int64_t now_us, sim_event_t *ev)
{
    const sim_tape_t *t = c->source->tape;
    if (t)
        from_tape(c, now_us, ev);
    else
        from_market(c, now_us, ev);
    ev->id = 0;
    for (int i = 0; i < ev->patches_count; i++)
        if (ev->patches[i].is_primary)
            ev->id = ev->patches[i].value + (uint64_t)ev->delta[ev->patches[i].kind];
    c->frames++;
    if (t && ++c->idx == t->frames_count) {
        c->idx = 0;
        c->loop++;
    }
}
