#include "tools/sim/market.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define SCALE INT64_C(100000000) /* prices and quantities are counted in 10^-8 */

/* splitmix64 (Steele, Lea, Flood): one multiplication chain a number, any seed is good. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static void walk(sim_market_symbol_t *s)
{
    int64_t next = s->price + ((int64_t)(draw(&s->rng) % 7) - 3) * s->step;
    if (next >= s->begin / 2 && next <= s->begin * 2 && next > 2 * s->step)
        s->price = next;
    s->average += (s->price - s->average) / 128;
}

/* 0.00001 to about 2.5, most of them small: a product of two draws. */
static int64_t quantity(sim_market_symbol_t *s)
{
    uint64_t r = draw(&s->rng);
    return (int64_t)((r % 500 + 1) * (r >> 32 & 511)) * 1000 + 1000;
}

int64_t sim_market_due_ns(const sim_market_t *m)
{
    uint64_t turn = m->events / m->symbols_count, who = m->events % m->symbols_count;
    if (m->hermes)
        return (int64_t)turn * m->slot_ns; /* all feeds of a slot at once */
    /* rate events a second each, symbols evenly between; in 128 bits so that days of it stay exact */
    __uint128_t ns = (__uint128_t)(turn * m->symbols_count + who) * (uint64_t)KMY_NS_PER_S;
    return (int64_t)(ns / (m->rate * m->symbols_count));
}

static void quote(sim_market_symbol_t *s, sim_market_event_t *ev)
{
    ev->kind = SIM_QUOTE;
    s->book_id += 1 + draw(&s->rng) % 8; /* book ids rise and jump */
    ev->id = s->book_id;
    ev->price = s->price;
    ev->ask = s->price + s->step;
    ev->qty = quantity(s);
    ev->ask_qty = quantity(s);
}

static void deal(sim_market_symbol_t *s, sim_market_event_t *ev)
{
    ev->kind = SIM_DEAL;
    ev->id = s->trade_id++;
    ev->buyer_is_maker = draw(&s->rng) & 1;
    ev->price = ev->buyer_is_maker ? s->price : s->price + s->step;
    ev->qty = quantity(s);
    if (s->agg_first == 0)
        s->agg_first = ev->id;
    s->agg_qty += ev->qty;
}

static void aggregate(sim_market_symbol_t *s, sim_market_event_t *ev)
{
    ev->kind = SIM_AGGREGATE;
    ev->id = s->agg_id++;
    ev->first = s->agg_first;
    ev->last = s->trade_id - 1;
    ev->buyer_is_maker = draw(&s->rng) & 1;
    ev->price = s->price;
    ev->qty = s->agg_qty;
    s->agg_first = 0;
    s->agg_qty = 0;
}

static void oracle(const sim_market_t *m, sim_market_symbol_t *s, sim_market_event_t *ev)
{
    ev->kind = SIM_ORACLE;
    ev->slot = 123315521 + m->events / m->symbols_count;
    ev->id = ev->slot;
    ev->price = s->price;
    ev->ask = s->average;
    ev->conf =
        (uint64_t)s->price / 2000 + draw(&s->rng) % ((uint64_t)s->step + 1); /* about 5 bps */
}

void sim_market_next(sim_market_t *m, sim_market_event_t *ev)
{
    sim_market_symbol_t *s = &m->symbols[m->events % m->symbols_count];
    *ev = (sim_market_event_t){ .symbol = s, .at_ns = sim_market_due_ns(m) };
    walk(s);
    /* of eight events of a symbol five are quotes, two trades, the last one the aggregate of both */
    static const sim_market_kind_t turns[8] = { SIM_QUOTE, SIM_QUOTE, SIM_DEAL,  SIM_QUOTE,
                                                SIM_QUOTE, SIM_DEAL,  SIM_QUOTE, SIM_AGGREGATE };
    sim_market_kind_t kind = turns[m->events / m->symbols_count % 8];
    if (m->hermes)
        oracle(m, s, ev);
    else if (kind == SIM_QUOTE)
        quote(s, ev);
    else if (kind == SIM_DEAL)
        deal(s, ev);
    else
        aggregate(s, ev);
    m->events++;
}

/* "61000.00" -> 10^-8 units, and the tick its digits imply (at least 10^-8). */
static bool parse_price(const char *text, size_t len, int64_t *price, int64_t *step)
{
    int64_t whole = 0, unit = SCALE;
    size_t i = 0;
    for (; i < len && text[i] >= '0' && text[i] <= '9' && whole < INT64_C(1000000000); i++)
        whole = whole * 10 + (text[i] - '0');
    int64_t value = whole * SCALE;
    if (i < len && text[i] == '.')
        for (i++; i < len && text[i] >= '0' && text[i] <= '9' && unit > 1; i++) {
            unit /= 10;
            value += (text[i] - '0') * unit;
        }
    *price = value;
    *step = unit == SCALE ? SCALE / 100 : unit; /* no point given: cents */
    return i == len && len > 0 && value > 4 * *step && value <= INT64_C(10000000) * SCALE;
}

static const struct {
    const char *name, *id;
} known_feeds[] = {
    /* Stable-network ids, public facts of the Pyth feed list */
    { "BTC/USD", "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43" },
    { "ETH/USD", "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace" },
    { "SOL/USD", "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d" },
};

static bool set_feed(sim_market_symbol_t *s, const char *name, size_t len)
{
    if (len == 64 && strspn(name, "0123456789abcdef") >= 64) {
        memcpy(s->feed_id, name, 64);
        memcpy(s->name, name, 8);
        return true;
    }
    for (size_t i = 0; i < sizeof known_feeds / sizeof known_feeds[0]; i++)
        if (strlen(known_feeds[i].name) == len && memcmp(known_feeds[i].name, name, len) == 0) {
            memcpy(s->feed_id, known_feeds[i].id, 64);
            memcpy(s->name, name, len);
            return true;
        }
    return false;
}

static bool set_symbol(sim_market_symbol_t *s, const char *name, size_t len)
{
    if (len == 0 || len >= SIM_MARKET_NAME_BYTES)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool ok = (name[i] >= 'A' && name[i] <= 'Z') || (name[i] >= '0' && name[i] <= '9') ||
                  name[i] == '_';
        if (!ok)
            return false;
    }
    memcpy(s->name, name, len);
    return true;
}

static bool add_symbol(sim_market_t *m, const char *word, size_t len)
{
    const char *colon = memchr(word, ':', len);
    if (!colon || m->symbols_count == SIM_MARKET_SYMBOLS_MAX)
        return false;
    sim_market_symbol_t s = { .trade_id = 1000000, .agg_id = 500000, .book_id = 10000000 };
    size_t name_len = (size_t)(colon - word);
    if (!(m->hermes ? set_feed(&s, word, name_len) : set_symbol(&s, word, name_len)))
        return false;
    if (!parse_price(colon + 1, len - name_len - 1, &s.begin, &s.step))
        return false;
    s.price = s.average = s.begin;
    m->symbols[m->symbols_count++] = s;
    return true;
}

static bool parse_count(const char *text, size_t len, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || v > max / 10)
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    *out = v;
    return len > 0 && v <= max;
}

static void defaults(sim_market_t *m, const char *const *words, size_t count)
{
    if (m->symbols_count == 0)
        for (size_t i = 0; i < count; i++)
            add_symbol(m, words[i], strlen(words[i]));
    for (size_t i = 0; i < m->symbols_count; i++)
        m->symbols[i].rng = m->seed * 0x100000001b3ull + i * 2 + m->hermes;
}

/* One word: `key=value`, or a further member of the list that key began. */
static bool parse_word(const char *word, size_t len, sim_market_t **list, sim_market_t *binance,
                       sim_market_t *hermes)
{
    const char *eq = memchr(word, '=', len);
    if (!eq)
        return *list && add_symbol(*list, word, len);
    size_t key = (size_t)(eq - word), left = len - key - 1;
    uint64_t v = 0;
    *list = NULL;
    if (key == 7 && memcmp(word, "symbols", 7) == 0)
        *list = binance;
    else if (key == 5 && memcmp(word, "feeds", 5) == 0)
        *list = hermes;
    if (*list)
        return add_symbol(*list, eq + 1, left);
    if (key == 4 && memcmp(word, "seed", 4) == 0 && parse_count(eq + 1, left, INT64_MAX, &v)) {
        binance->seed = hermes->seed = v;
        return true;
    }
    if (key == 4 && memcmp(word, "rate", 4) == 0 &&
        parse_count(eq + 1, left, SIM_MARKET_RATE_MAX, &v) && v > 0) {
        binance->rate = v;
        return true;
    }
    if (key == 7 && memcmp(word, "slot-ms", 7) == 0 && parse_count(eq + 1, left, 60000, &v) &&
        v > 0) {
        hermes->slot_ns = (int64_t)v * KMY_NS_PER_MS;
        return true;
    }
    return false;
}

kmy_err_t sim_market_parse(const char *text, sim_market_t *binance, sim_market_t *hermes,
                           kmy_errctx_t *ctx)
{
    static const char *const symbols[] = { "BTCUSDT:61000.00", "ETHUSDT:2600.00",
                                           "SOLUSDT:150.00" };
    static const char *const feeds[] = { "BTC/USD:61000.00", "ETH/USD:2600.00", "SOL/USD:150.00" };
    *binance = (sim_market_t){ .seed = 1, .rate = 200, .slot_ns = 400 * KMY_NS_PER_MS };
    *hermes = *binance;
    hermes->hermes = true;
    sim_market_t *list = NULL;
    while (*text) {
        size_t len = strcspn(text, ",");
        if (!parse_word(text, len, &list, binance, hermes))
            return KMY_FAIL(ctx, KMY_BAD_INPUT,
                            "market: '%.*s' is not seed=N, rate=1..%d, slot-ms=1..60000, "
                            "symbols=NAME:PRICE,... or feeds=BASE/USD|HEX64:PRICE,...",
                            (int)(len > 60 ? 60 : len), text, SIM_MARKET_RATE_MAX);
        text += len;
        text += *text == ',';
    }
    defaults(binance, symbols, sizeof symbols / sizeof symbols[0]);
    defaults(hermes, feeds, sizeof feeds / sizeof feeds[0]);
    return KMY_OK;
}
