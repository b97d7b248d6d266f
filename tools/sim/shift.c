#include "tools/sim/shift.h"

#include "tools/sim/text.h"

#include <string.h>

#define EVENT_BYTES 24
#define DEPTH_MAX   32

/* What a number means depends on the event it stands in: "t" is a trade id in a trade and a time in a kline.
   Source: Binance web-socket-streams document, Hermes WebSocket serializer. */
static const struct {
    const char *event; /* "" : the payload has no "e"; "*": any */
    const char *key;
    bool in_kline; /* inside the member "k" */
    bool is_primary;
    sim_num_t kind;
} meanings[] = {
    { "trade", "t", false, true, SIM_TRADE },
    { "trade", "T", false, false, SIM_TIME },
    { "aggTrade", "a", false, true, SIM_AGG },
    { "aggTrade", "f", false, false, SIM_TRADE },
    { "aggTrade", "l", false, false, SIM_TRADE },
    { "aggTrade", "T", false, false, SIM_TIME },
    { "bookTicker", "u", false, true, SIM_BOOK },
    { "bookTicker", "T", false, false, SIM_TIME },
    { "depthUpdate", "U", false, false, SIM_BOOK },
    { "depthUpdate", "u", false, true, SIM_BOOK },
    { "depthUpdate", "pu", false, false, SIM_BOOK },
    { "depthUpdate", "T", false, false, SIM_TIME },
    { "kline", "t", true, false, SIM_TIME },
    { "kline", "T", true, false, SIM_TIME },
    { "kline", "f", true, false, SIM_TRADE },
    { "kline", "L", true, true, SIM_TRADE },
    { "24hrTicker", "O", false, false, SIM_TIME },
    { "24hrTicker", "C", false, false, SIM_TIME },
    { "24hrTicker", "F", false, false, SIM_TRADE },
    { "24hrTicker", "L", false, true, SIM_TRADE },
    { "avgPrice", "T", false, false, SIM_TIME },
    { "referencePrice", "t", false, false, SIM_TIME },
    { "", "u", false, true, SIM_BOOK },
    { "", "lastUpdateId", false, true, SIM_BOOK },
    { "*", "E", false, false, SIM_TIME },
    { "", "publish_time", false, false, SIM_TIME },
    { "", "prev_publish_time", false, false, SIM_TIME },
    { "", "price_service_receive_time", false, false, SIM_TIME },
    { "", "slot", false, true, SIM_SLOT },
};

typedef struct scan {
    const char *text;
    size_t len;
    size_t at;
    char event[EVENT_BYTES];
    uint32_t kline_bits; /* bit d: the container at depth d is, or is inside, the member "k" */
    unsigned depth;
} scan_t;

/* Leaves at behind the closing quote; the string without its quotes is text[*begin..*end). */
static void scan_string(scan_t *s, size_t *begin, size_t *end)
{
    *begin = ++s->at;
    while (s->at < s->len && s->text[s->at] != '"')
        s->at += s->text[s->at] == '\\' ? 2 : 1;
    if (s->at > s->len)
        s->at = s->len;
    *end = s->at;
    if (s->at < s->len)
        s->at++;
}

static void scan_blanks(scan_t *s)
{
    while (s->at < s->len && strchr(" \t\r\n", s->text[s->at]))
        s->at++;
}

static void scan_open(scan_t *s, bool is_kline)
{
    if (s->depth + 1 >= DEPTH_MAX)
        return;
    bool inside = is_kline || (s->kline_bits >> s->depth & 1u);
    s->depth++;
    s->kline_bits = (s->kline_bits & ~(1u << s->depth)) | (uint32_t)inside << s->depth;
}

static bool same(const char *a, size_t a_len, const char *b)
{
    return strlen(b) == a_len && memcmp(a, b, a_len) == 0;
}

static bool number(const scan_t *s, sim_patch_t *p)
{
    size_t at = s->at;
    uint64_t v = 0;
    while (at < s->len && s->text[at] >= '0' && s->text[at] <= '9' && at - s->at < 19)
        v = v * 10 + (uint64_t)(s->text[at++] - '0');
    if (at == s->at || (at < s->len && strchr(".eE0123456789", s->text[at])))
        return false;
    *p = (sim_patch_t){ .value = v, .at = (uint32_t)s->at, .digits = (uint8_t)(at - s->at) };
    return true;
}

/* 10 digits are seconds, 13 milliseconds, 16 microseconds, for the next 200 years. */
static uint32_t time_scale(unsigned digits)
{
    return digits >= 15 ? 1 : digits >= 12 ? 1000 : 1000000;
}

static int meaning(const scan_t *s, const char *key, size_t key_len, bool in_kline)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        bool any = meanings[i].event[0] == '*';
        if (same(key, key_len, meanings[i].key) && meanings[i].in_kline == in_kline &&
            (any || strcmp(meanings[i].event, s->event) == 0))
            return (int)i;
    }
    return -1;
}

/* The event's name may stand behind the numbers, so it is looked for first. */
static void find_event(scan_t *s)
{
    for (size_t i = 0; i + 5 < s->len; i++) {
        if (memcmp(s->text + i, "\"e\":\"", 5) != 0)
            continue;
        size_t n = 0;
        for (i += 5; i < s->len && s->text[i] != '"' && n + 1 < EVENT_BYTES; i++)
            s->event[n++] = s->text[i];
        return;
    }
}

int sim_shift_find(const char *text, size_t len, sim_patch_t *patches, int cap)
{
    scan_t s = { .text = text, .len = len };
    find_event(&s);
    int count = 0;
    while (s.at < s.len) {
        char c = s.text[s.at];
        if (c == '{' || c == '[')
            scan_open(&s, false);
        if ((c == '}' || c == ']') && s.depth > 0)
            s.depth--;
        if (c != '"') {
            s.at++;
            continue;
        }
        size_t key, key_end;
        scan_string(&s, &key, &key_end);
        scan_blanks(&s);
        if (s.at >= s.len || s.text[s.at] != ':')
            continue;
        s.at++;
        scan_blanks(&s);
        bool in_kline = s.kline_bits >> s.depth & 1u;
        if (s.at < s.len && s.text[s.at] == '{') {
            scan_open(&s, same(text + key, key_end - key, "k"));
            s.at++;
            continue;
        }
        sim_patch_t p;
        int row = number(&s, &p) ? meaning(&s, text + key, key_end - key, in_kline) : -1;
        if (row < 0)
            continue;
        if (count == cap)
            return -1;
        p.kind = (uint8_t)meanings[row].kind;
        p.is_primary = meanings[row].is_primary;
        if (p.kind == SIM_TIME) {
            p.scale = time_scale(p.digits);
            p.value *= p.scale;
        }
        patches[count++] = p;
    }
    return count;
}

static uint64_t moved(const sim_patch_t *p, const int64_t delta[SIM_NUMS], bool micro)
{
    uint64_t v = p->value + (uint64_t)delta[p->kind];
    if (p->kind != SIM_TIME)
        return v;
    if (p->scale == 1000000)
        return v / 1000000;
    return micro ? v : v / 1000;
}

size_t sim_shift_write(const char *text, size_t from, size_t to, const sim_patch_t *patches,
                       int patches_count, const int64_t delta[SIM_NUMS], bool micro, char *out)
{
    char *at = out;
    for (int i = 0; i < patches_count; i++) {
        const sim_patch_t *p = &patches[i];
        if (p->at < from || p->at >= to)
            continue;
        at = sim_put(at, text + from, p->at - from);
        at = sim_put_u64(at, moved(p, delta, micro));
        from = p->at + p->digits;
    }
    return (size_t)(sim_put(at, text + from, to - from) - out);
}
