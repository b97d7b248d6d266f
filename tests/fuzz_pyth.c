/* Any bytes as a Hermes frame: as in fuzz_binance.c; what passes goes through a normalizer too. */
#include "adapters/normalize.h"
#include "adapters/pyth.h"
#include "tests/quote_text.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_quote(const kmy_quote_t *q)
{
    KMY_ASSERT(q->key_len == 64);
    for (int i = 0; i < 64; i++)
        KMY_ASSERT(strchr("0123456789abcdef", q->key[i]) != NULL && q->key[i] != '\0');
    KMY_ASSERT(q->price_expo >= KMY_DEC_EXPO_MIN && q->price_expo <= KMY_DEC_EXPO_MAX);
    KMY_ASSERT(q->event_ns > 0);
}

static void check_normalized(const kmy_quote_t *q)
{
    kmy_tick_t tick;
    kmy_normalizer_t *n = kmy_normalizer_new(1);
    KMY_ASSERT(n != NULL);
    KMY_ASSERT(kmy_normalize(n, q, 1, 1, &tick) == KMY_NOT_FOUND);
    KMY_ASSERT(kmy_normalizer_add(n, q->source, q->key, q->key_len, 1, 0) == KMY_OK);
    KMY_ASSERT(kmy_normalize(n, q, 1, 1, &tick) == KMY_OK);
    KMY_ASSERT(kmy_normalize(n, q, 1, 1, &tick) == KMY_DUPLICATE);
    kmy_normalizer_free(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *frame = (const char *)data;
    kmy_quote_t scanned;
    kmy_quote_t read;
    kmy_control_t control;
    bool known = kmy_pyth_scan(frame, size, &scanned);
    kmy_parse_t r = kmy_pyth_read(frame, size, &read, &control);
    KMY_ASSERT(kmy_json_valid(frame, size) || r == KMY_PARSE_MALFORMED);
    KMY_ASSERT(!known || r == KMY_PARSE_QUOTE);
    KMY_ASSERT(!known || quote_equal(&scanned, &read));
    if (r == KMY_PARSE_QUOTE) {
        check_quote(&read);
        check_normalized(&read);
    }
    if (r == KMY_PARSE_CONTROL && control.text)
        KMY_ASSERT(control.text >= frame && control.text + control.text_len <= frame + size);
    return 0;
}
