/* Any bytes as a Binance frame: what the scanner accepts the any-order reader reads alike; whatever is no JSON is MALFORMED and whatever is
   accepted in any way is JSON; nothing is read beyond the frame (sanitizers). */
#include "adapters/binance.h"
#include "base/err.h"
#include "tests/quote_text.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_quote(const kmy_quote_t *q)
{
    KMY_ASSERT(q->key_len >= 1 && q->key_len <= KMY_QUOTE_KEY_BYTES_MAX);
    KMY_ASSERT(memchr(q->key, 0, q->key_len) == NULL);
    KMY_ASSERT(q->price_mant > 0);
    KMY_ASSERT(q->size_mant >= 0 && q->ask_size_mant >= 0);
    KMY_ASSERT(q->event_ns >= 0);
    KMY_ASSERT((q->event_ns == 0) == (q->event_res == KMY_RES_NONE));
    if (q->has & KMY_HAS_BID) {
        KMY_ASSERT((q->bid_mant > q->ask_mant) == !!(q->flags & KMY_TICK_CROSSED));
        KMY_ASSERT((__int128)q->bid_mant + q->ask_mant == (__int128)q->price_mant * 2);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *frame = (const char *)data;
    bool is_json = kmy_json_valid(frame, size);
    for (int unit = KMY_BINANCE_MS; unit <= KMY_BINANCE_US; unit++) {
        kmy_quote_t scanned;
        kmy_quote_t read;
        kmy_control_t control;
        bool known = kmy_binance_scan(frame, size, (kmy_binance_time_t)unit, &scanned);
        kmy_parse_t r = kmy_binance_read(frame, size, (kmy_binance_time_t)unit, &read, &control);
        KMY_ASSERT(is_json || r == KMY_PARSE_MALFORMED);
        KMY_ASSERT(!known || r == KMY_PARSE_QUOTE);
        KMY_ASSERT(!known || quote_equal(&scanned, &read));
        if (r == KMY_PARSE_QUOTE)
            check_quote(&read);
        if (r == KMY_PARSE_CONTROL && control.text)
            KMY_ASSERT(control.text >= frame && control.text + control.text_len <= frame + size);
    }
    char name[64];
    (void)kmy_binance_feed_name(frame, size, name, sizeof name);
    return 0;
}
