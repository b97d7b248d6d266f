/* bench_encode: nanoseconds to encode one tick with all members, beside FlatBuffers' C++ builder, snprintf and a memcpy of the same
   bytes (the ceiling); and the same JSON compressed.  The subjects take turns, chunk by chunk, over the same 1,024 random ticks.
   --count SUBJECT: encodes 1,000,000 ticks with one subject and nothing else, for callgrind. */
#include "base/clock.h"
#include "base/decimal.h"
#include "wire/flat.h"
#include "wire/tick_json.h"
#include "wire/ws_deflate.h"
#ifdef KMY_BENCH_FLATBUFFERS
#include "bench/encode_peer.h"
#endif

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define TICKS    1024
#define RUNS_MAX 201

static const char name[] = "SOL/USDT@binance";
static kmy_tick_t ticks[TICKS];
static kmy_flat_t stream;
static kmy_tick_json_t json_template;
static uint8_t flat_bytes[KMY_TICK_FLAT_BYTES_MAX];
static size_t flat_len;
static char json_bytes[KMY_TICK_JSON_BYTES_MAX];
static size_t json_len;

static kmy_ws_deflate_t *deflate;

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void make_ticks(void)
{
    for (size_t i = 0; i < TICKS; i++) {
        int64_t price = (int64_t)(rnd() % 10000000000000); /* up to 99,999.99999999 */
        ticks[i] = (kmy_tick_t){ .seq = i + 1,
                                 .offset = 123456 + i,
                                 .event_ns = 1700000000000000000 + (int64_t)(rnd() % 1000000000),
                                 .recv_ns = 1700000000000000000 + (int64_t)(rnd() % 1000000000),
                                 .price_mant = price,
                                 .bid_mant = price - (int64_t)(rnd() % 100000),
                                 .ask_mant = price + (int64_t)(rnd() % 100000),
                                 .conf_mant = rnd() % 10000000,
                                 .size_mant = (int64_t)(rnd() % 100000000),
                                 .ask_size_mant = 1,
                                 .source_seq = rnd(),
                                 .feed_id = 1,
                                 .source = KMY_SOURCE_BINANCE,
                                 .kind = KMY_KIND_QUOTE,
                                 .price_expo = i % 2 ? -8 : -5, /* Pyth's and a venue's */
                                 .size_expo = -5,
                                 .flags = KMY_TICK_DEGRADED,
                                 .has = 31 };
    }
    kmy_flat_init(&stream, KMY_FLAT_STREAM, 1, name);
    kmy_tick_json_init(&json_template, name);
    flat_len = kmy_flat_encode(&stream, &ticks[0], flat_bytes);
    json_len = kmy_tick_json_frame(&json_template, &ticks[0], json_bytes);
}

static size_t do_flat(const kmy_tick_t *t, void *out)
{
    return kmy_flat_encode(&stream, t, out);
}
static size_t do_json(const kmy_tick_t *t, void *out)
{
    return kmy_tick_json_frame(&json_template, t, out);
}
/* The JSON frame through permessage-deflate; what the log of compressed ticks takes for each. */
static size_t do_json_deflate(const kmy_tick_t *t, void *out)
{
    static char plain[KMY_TICK_JSON_BYTES_MAX];
    size_t len = kmy_tick_json_frame(&json_template, t, plain);
    size_t head = plain[1] == 126 ? 4 : 2;
    size_t n = kmy_ws_deflate(deflate, plain + head, len - head, out,
                              len - head - 1 + KMY_WS_DEFLATE_SPARE);
    return n ? n + (n < 126 ? 2 : 4) : len;
}
static size_t do_memcpy_flat(const kmy_tick_t *t, void *out)
{
    (void)t;
    memcpy(out, flat_bytes, flat_len);
    return flat_len;
}
static size_t do_memcpy_json(const kmy_tick_t *t, void *out)
{
    (void)t;
    memcpy(out, json_bytes, json_len);
    return json_len;
}

static size_t do_snprintf(const kmy_tick_t *t, void *out)
{
    char price[KMY_DEC_BYTES_MAX];
    char conf[KMY_DEC_BYTES_MAX];
    char bid[KMY_DEC_BYTES_MAX];
    char ask[KMY_DEC_BYTES_MAX];
    char size[KMY_DEC_BYTES_MAX];
    kmy_dec_format(t->price_mant, t->price_expo, price);
    kmy_dec_format_u(t->conf_mant, t->price_expo, conf);
    kmy_dec_format(t->bid_mant, t->price_expo, bid);
    kmy_dec_format(t->ask_mant, t->price_expo, ask);
    kmy_dec_format(t->size_mant, t->size_expo, size);
    return (size_t)snprintf(out, KMY_TICK_JSON_BYTES_MAX,
                            "{\"type\":\"tick\",\"feed\":\"%s\",\"offset\":%" PRIu64
                            ",\"kind\":\"%s\",\"price\":\"%s\","
                            "\"conf\":\"%s\",\"bid\":\"%s\",\"ask\":\"%s\",\"size\":\"%s\","
                            "\"source\":\"%s\",\"ts_event\":"
                            "\"%" PRId64 "\",\"ts_recv\":\"%" PRId64 "\",\"degraded\":true}",
                            name, t->offset, kmy_kind_name(t->kind), price, conf, bid, ask, size,
                            kmy_source_name(t->source), t->event_ns, t->recv_ns);
}

#ifdef KMY_BENCH_FLATBUFFERS
static size_t do_builder(const kmy_tick_t *t, void *out)
{
    return kmy_peer_flatbuffers(t, name, out);
}
#endif

typedef struct subject {
    const char *name;
    size_t (*encode)(const kmy_tick_t *t, void *out);
    double ns[RUNS_MAX];
    size_t bytes;
    size_t share; /* of the rounds it takes part in one in so many, as it is slow; 0: all */
} subject_t;

static subject_t subjects[] = {
    { .name = "flat", .encode = do_flat },
    { .name = "memcpy_flat", .encode = do_memcpy_flat },
#ifdef KMY_BENCH_FLATBUFFERS
    { .name = "flatbuffers_builder", .encode = do_builder },
#endif
    { .name = "json", .encode = do_json },
    { .name = "json_deflate", .encode = do_json_deflate, .share = 32 },
    { .name = "memcpy_json", .encode = do_memcpy_json },
    { .name = "snprintf", .encode = do_snprintf },
};
#define SUBJECTS (sizeof subjects / sizeof *subjects)

static uint64_t hash; /* of what was written, so that nothing is optimized away */

static void encode_all(subject_t *s, size_t rounds)
{
    static _Alignas(64) uint8_t out[16][KMY_TICK_JSON_BYTES_MAX];
    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < TICKS; i++) {
            s->bytes = s->encode(&ticks[i], out[i % 16]);
            hash += out[i % 16][s->bytes / 2];
        }
    }
}

static void run_once(subject_t *s, int run, size_t rounds)
{
    if (s->share > 0)
        rounds = (rounds + s->share - 1) / s->share;
    int64_t t0 = kmy_clock_read(CLOCK_THREAD_CPUTIME_ID);
    encode_all(s, rounds);
    int64_t t1 = kmy_clock_read(CLOCK_THREAD_CPUTIME_ID);
    s->ns[run] = (double)(t1 - t0) / (double)(rounds * TICKS);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(int runs, size_t rounds, bool json)
{
    struct utsname os;
    double load[1] = { 0 };
    uname(&os);
    if (getloadavg(load, 1) != 1)
        load[0] = 0;
    if (json)
        printf("{\"bench\":\"encode\"");
    else
        printf(
            "bench_encode  %ld cores  kernel=%s  load=%.1f\n"
            "  load    ticks=%d, all members  runs=%d x %zu, interleaved, CPU time of the thread\n",
            sysconf(_SC_NPROCESSORS_ONLN), os.release, load[0], TICKS, runs, rounds * TICKS);
    for (size_t i = 0; i < SUBJECTS; i++) {
        double *v = subjects[i].ns;
        qsort(v, (size_t)runs, sizeof *v, by_value);
        if (json)
            printf(",\"%s_ns\":{\"median\":%.2f,\"min\":%.2f,\"max\":%.2f}", subjects[i].name,
                   v[runs / 2], v[0], v[runs - 1]);
        else
            printf("  result  %-20s %7.1f ns  (%.1f..%.1f)  %zu bytes\n", subjects[i].name,
                   v[runs / 2], v[0], v[runs - 1], subjects[i].bytes);
    }
    printf(json ? ",\"hash\":%" PRIu64 "}\n" : "  health  hash=%" PRIx64 "\n", hash);
}

static int count_only(const char *which)
{
    for (size_t i = 0; i < SUBJECTS; i++) {
        if (strcmp(subjects[i].name, which) == 0) {
            encode_all(&subjects[i], 1000000 / TICKS + 1);
            return 0;
        }
    }
    fprintf(stderr, "bench_encode: no subject %s\n", which);
    return 2;
}

int main(int argc, char **argv)
{
    bool json = false;
    int runs = 101;
    size_t rounds = 64;
    make_ticks();
    deflate = kmy_ws_deflate_new();
    if (!deflate)
        return 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--smoke") == 0) {
            runs = 3;
            rounds = 2;
        } else if (strcmp(argv[i], "--count") == 0 && i + 1 < argc) {
            return count_only(argv[i + 1]);
        } else {
            fprintf(stderr, "usage: bench_encode [--smoke] [--json] [--count SUBJECT]\n");
            return 2;
        }
    }
    for (int run = 0; run < runs; run++)
        for (size_t i = 0; i < SUBJECTS; i++)
            run_once(&subjects[i], run, rounds);
    report(runs, rounds, json);
    kmy_ws_deflate_free(deflate);
    return 0;
}
