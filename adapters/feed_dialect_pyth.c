/* tick 1/8   in: adapters/feed_ws   out: adapters/feed_ws

   Pyth Hermes: one subscribe message for many ids; answers have no id and come in order.  verbose, because metadata brings the slot, which is the
   only counter there is.  ignore_invalid_price_ids, because one id that was retired would otherwise refuse all the others; the one that stays silent
   is found by its own data clock. */
#include "adapters/feed_dialect.h"

#include "adapters/pyth.h"

#include <stdio.h>
#include <string.h>

static bool read_stream(const char *name, kmy_stream_key_t *out)
{
    if (strlen(name) != 64 || strspn(name, "0123456789abcdef") != 64)
        return false;
    memcpy(out->key, name, 64);
    out->len = 64;
    out->scheme = KMY_SEQ_SLOT;
    return true;
}

static size_t subscribe(char *out, size_t cap, const char *const *names, size_t count, int64_t id)
{
    (void)id; /* the venue's requests have none */
    static const char head[] = "{\"type\":\"subscribe\",\"ids\":[";
    static const char tail[] = "],\"verbose\":true,\"binary\":false,\"allow_out_of_order\":false,"
                               "\"ignore_invalid_price_ids\":true}";
    const size_t each = 64 + 3; /* quotes and comma */
    if (cap < sizeof head + count * each + sizeof tail)
        return 0;
    char *p = mempcpy(out, head, sizeof head - 1);
    for (size_t i = 0; i < count; i++)
        p += snprintf(p, each + 1, "%s\"%.64s\"", i ? "," : "", names[i]);
    p = mempcpy(p, tail, sizeof tail - 1);
    return (size_t)(p - out);
}

static bool micros(const char *target)
{
    (void)target;
    return false; /* seconds, always */
}

static kmy_parse_t parse(const char *frame, size_t len, bool in_micros, kmy_quote_t *quote,
                         kmy_control_t *control)
{
    (void)in_micros;
    return kmy_pyth_parse(frame, len, quote, control);
}

const kmy_dialect_t kmy_dialect_pyth = {
    .path = "/ws",
    .acks_have_ids = false,
    .read_stream = read_stream,
    .subscribe = subscribe,
    .micros = micros,
    .parse = parse,
};
