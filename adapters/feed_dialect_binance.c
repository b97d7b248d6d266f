/* tick 1/8   in: adapters/feed_ws   out: adapters/feed_ws

   Binance: streams are asked for by SUBSCRIBE messages on /stream and not in the URL, because a message is acknowledged, has no length trouble
   and is the same for the first subscription as for the repair of a lost one.  timeUnit=MICROSECOND is asked for: all times in microseconds. */
#include "adapters/feed_dialect.h"

#include "adapters/binance.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *suffix;
    kmy_seq_scheme_t scheme;
} kinds[] = {
    { "@trade", KMY_SEQ_TRADE_ID },
    { "@aggTrade", KMY_SEQ_AGG_ID },
    { "@bookTicker", KMY_SEQ_UPDATE_ID },
};

/* Lower-case letters only where ASCII: the venue's rule, also for its UTF-8 symbols. */
static bool upper_symbol(const char *name, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '/' || c == 0x7f || (c >= 'A' && c <= 'Z'))
            return false;
        out[i] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    return len > 0;
}

static bool read_stream(const char *name, kmy_stream_key_t *out)
{
    const char *at = strchr(name, '@');
    if (at == NULL || strlen(name) >= sizeof out->key)
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(at, kinds[i].suffix) != 0)
            continue;
        out->len = (size_t)(at - name);
        out->scheme = (uint8_t)kinds[i].scheme;
        return upper_symbol(name, out->len, out->key);
    }
    return false;
}

static size_t subscribe(char *out, size_t cap, const char *const *names, size_t count, int64_t id)
{
    static const char head[] = "{\"method\":\"SUBSCRIBE\",\"params\":[";
    size_t at = 0;
    if (cap < sizeof head + 32) /* "],"id":" and 20 digits and "}" */
        return 0;
    memcpy(out, head, sizeof head - 1);
    at += sizeof head - 1;
    for (size_t i = 0; i < count; i++) {
        int n = snprintf(out + at, cap - at, "%s\"%s\"", i ? "," : "", names[i]);
        if (n < 0 || (size_t)n >= cap - at)
            return 0;
        at += (size_t)n;
    }
    int n = snprintf(out + at, cap - at, "],\"id\":%lld}", (long long)id);
    return n > 0 && (size_t)n < cap - at ? at + (size_t)n : 0;
}

static size_t list(char *out, size_t cap, int64_t id)
{
    int n = snprintf(out, cap, "{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":%lld}", (long long)id);
    return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

static bool micros(const char *target)
{
    const char *at = strstr(target, "timeUnit=");
    return at != NULL && strncasecmp(at + 9, "MICROSECOND", 11) == 0;
}

static kmy_parse_t parse(const char *frame, size_t len, bool in_micros, kmy_quote_t *quote,
                         kmy_control_t *control)
{
    return kmy_binance_parse(frame, len, in_micros ? KMY_BINANCE_US : KMY_BINANCE_MS, quote,
                             control);
}

const kmy_dialect_t kmy_dialect_binance = {
    .path = "/stream",
    .query = "timeUnit=MICROSECOND",
    .query_word = "timeUnit=",
    .acks_have_ids = true,
    .read_stream = read_stream,
    .subscribe = subscribe,
    .list = list,
    .micros = micros,
    .parse = parse,
};

bool kmy_dialect_next_name(const char *array, size_t len, size_t *at, const char **name,
                           size_t *name_len)
{
    size_t i = *at;
    while (i < len && array[i] != '"')
        i++;
    size_t begin = ++i;
    while (i < len && array[i] != '"')
        i += array[i] == '\\' ? 2 : 1;
    if (i >= len)
        return false;
    *name = array + begin;
    *name_len = i - begin;
    *at = i + 1;
    return true;
}
