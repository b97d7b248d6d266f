/* Random ticks for tests in other languages: a line each, members as plain integers, then the JSON object.
   usage: tick_dump SEED COUNT */
#include "wire/tick_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t state;
static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static int64_t number(void)
{
    return (int64_t)rnd() >> (rnd() % 64);
}

static int8_t exponent(void)
{
    return (int8_t)(rnd() % 4 ? -(int)(rnd() % 19) : (int)(rnd() % 129) - 64);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    state = strtoull(argv[1], NULL, 10) | 1;
    kmy_tick_json_t t;
    kmy_tick_json_init(&t, "\"SOL\"/\xe2\x82\xac");
    for (long i = atol(argv[2]); i > 0; i--) {
        char out[KMY_TICK_JSON_BYTES_MAX];
        kmy_tick_t k = { .offset = rnd() >> (rnd() % 64),
                         .event_ns = rnd() % 4 ? number() : 0,
                         .recv_ns = number(),
                         .price_mant = number(),
                         .bid_mant = number(),
                         .ask_mant = number(),
                         .conf_mant = (uint64_t)number(),
                         .size_mant = number(),
                         .flags = (uint16_t)(rnd() % 64),
                         .source = (uint8_t)(rnd() % KMY_SOURCE_COUNT),
                         .kind = (uint8_t)(rnd() % KMY_KIND_COUNT),
                         .price_expo = exponent(),
                         .size_expo = exponent(),
                         .has = (uint8_t)(rnd() % 32) };
        size_t len = kmy_tick_json_object(&t, &k, out);
        printf("%" PRIu64 "\t%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t%" PRId64
               "\t%" PRIu64 "\t%" PRId64 "\t%u\t%s\t%s\t%d\t%d\t%u\t%.*s\n",
               k.offset, k.event_ns, k.recv_ns, k.price_mant, k.bid_mant, k.ask_mant, k.conf_mant,
               k.size_mant, k.flags, kmy_source_name(k.source), kmy_kind_name(k.kind), k.price_expo,
               k.size_expo, k.has, (int)len, out);
    }
    return 0;
}
