/* kmy_flat_decode on any bytes: no over-read, and what it accepts keeps its promises. */
#include "base/decimal.h"
#include "wire/flat.h"
#include "wire/tick_json.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kmy_tick_t tick;
    kmy_tick_t again;
    char name[KMY_FEED_NAME_BYTES_MAX];
    char text[KMY_TICK_JSON_BYTES_MAX];
    if (kmy_flat_decode(data, size, &tick, name, NULL) != KMY_OK)
        return 0;
    KMY_ASSERT(strlen(name) > 0);
    /* What was read can be written in both encodings, and read again as the same. */
    kmy_flat_t flat;
    uint8_t out[KMY_TICK_FLAT_BYTES_MAX];
    kmy_flat_init(&flat, KMY_FLAT_STORE, tick.feed_id, name);
    size_t len = kmy_flat_encode(&flat, &tick, out);
    KMY_ASSERT(kmy_flat_decode(out, len, &again, NULL, NULL) == KMY_OK);
    KMY_ASSERT(memcmp(&tick, &again, sizeof tick) == 0);
    kmy_tick_json_t json;
    kmy_tick_json_init(&json, name);
    KMY_ASSERT(kmy_tick_json_frame(&json, &tick, text) <= sizeof text);
    return 0;
}
