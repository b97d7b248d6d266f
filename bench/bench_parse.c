/* From the bytes of one upstream message to a quote, and on to a tick, beside simdjson where it is installed.

   Load: messages of one kind each, copied out of the recording (or out of our own making where there is none) one behind the other, so
   that each is parsed where it lies, once a round.  All contestants take turns within each round; a figure is the median of the rounds
   with the smallest and the largest, a ratio is taken within a round before its median is.  One thread. */
#include "adapters/binance.h"
#include "adapters/normalize.h"
#include "adapters/pyth.h"
#include "base/clock.h"
#include "bench/parse_peer.h"
#include "wire/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <zlib.h>

enum { FRAMES_MAX = 8192, FRAME_GAP = 64, ROUNDS_MAX = 101, LINE_BYTES_MAX = 1 << 20 };
enum { WAY_PARSE, WAY_READ, WAY_TICK, WAY_ON_DEMAND, WAY_DOM, WAYS };

static const char *const kind_names[PEER_KINDS] = { "trade", "bookTicker", "hermes" };
static const char *const way_names[WAYS] = { "ours", "ours, any order", "normalize",
                                             "simdjson on-demand", "simdjson dom" };

typedef struct {
    const char *text;
    size_t len;
} frame_t;

typedef struct {
    char *bytes; /* owned; readable FRAME_GAP bytes beyond each frame */
    size_t bytes_len;
    frame_t *frames;
    size_t frames_count;
    size_t bytes_of_frames;
    kmy_quote_t *quotes; /* of all frames: what normalize is measured with */
    kmy_normalizer_t *normalizer;
} load_t;

static uint64_t sink;

static void die(const char *what)
{
    fprintf(stderr, "bench_parse: %s\n", what);
    exit(1);
}

static void load_add(load_t *l, const char *text, size_t len)
{
    if (l->frames_count == FRAMES_MAX)
        return;
    char *at = l->bytes + l->bytes_len;
    memcpy(at, text, len);
    memset(at + len, ' ', FRAME_GAP);
    l->frames[l->frames_count++] = (frame_t){ at, len };
    l->bytes_len += len + FRAME_GAP;
    l->bytes_of_frames += len;
}

static void load_init(load_t *l)
{
    *l = (load_t){ .bytes = malloc(FRAMES_MAX * 640),
                   .frames = calloc(FRAMES_MAX, sizeof(frame_t)) };
    l->quotes = calloc(FRAMES_MAX, sizeof *l->quotes);
    l->normalizer = kmy_normalizer_new(1024);
    if (!l->bytes || !l->frames || !l->quotes || !l->normalizer)
        die("out of memory");
}

static bool load_recorded(load_t *trade, load_t *book, load_t *hermes)
{
    static char line[LINE_BYTES_MAX];
    static char frame[LINE_BYTES_MAX];
    char path[1024];
    const char *root = getenv("KAMIYO_CAPTURES") ? getenv("KAMIYO_CAPTURES") : "../shared/captures";
    snprintf(path, sizeof path, "%s/binance/spot_btcusdt_20240808.ns.jsonl.gz", root);
    gzFile f = gzopen(path, "rb");
    if (!f)
        return false;
    while (gzgets(f, line, sizeof line)) {
        char *at = strchr(line, ' ');
        size_t len = at ? strcspn(++at, "\n") : 0;
        if (at && strstr(at, "@trade\""))
            load_add(trade, at, len);
        else if (at && strstr(at, "@bookTicker\""))
            load_add(book, at, len);
    }
    gzclose(f);
    snprintf(path, sizeof path, "%s/pyth/hermes_ws_reconstructed.jsonl", root);
    f = gzopen(path, "rb");
    while (f && gzgets(f, line, sizeof line)) {
        kmy_json_field_t member = { .key = "frame" };
        kmy_json_t js;
        size_t len;
        kmy_json_init(&js, line, strcspn(line, "\n"));
        if (kmy_json_object(&js, &member, 1, NULL) == KMY_OK &&
            kmy_json_unescape(member.token, frame, sizeof frame, &len) && len < 560 &&
            strstr(frame, "price_update") && !strstr(frame, "\"vaa\""))
            load_add(hermes, frame, len);
    }
    if (f)
        gzclose(f);
    size_t own = hermes->frames_count; /* few: repeated, to be as long a round as the others */
    while (own && hermes->frames_count + own <= FRAMES_MAX)
        for (size_t i = 0; i < own; i++)
            load_add(hermes, hermes->frames[i].text, hermes->frames[i].len);
    return own && trade->frames_count && book->frames_count;
}

static void load_made(load_t *trade, load_t *book, load_t *hermes)
{
    char text[640];
    unsigned seed = 12345;
    for (unsigned i = 0; i < FRAMES_MAX; i++) {
        seed = seed * 1664525 + 1013904223;
        unsigned r = seed >> 8;
        load_add(
            trade, text,
            (size_t)sprintf(
                text,
                "{\"stream\":\"kmyusdt@trade\",\"data\":{\"e\":\"trade\",\"E\":%llu,\"s\":"
                "\"KMYUSDT\",\"t\":%u,"
                "\"p\":\"%u.%02u000000\",\"q\":\"%u.%05u000\",\"T\":%llu,\"m\":%s,\"M\":true}}",
                1700000000000ull + i, 3700000000u + i, 60000 + r % 999, r % 100, r % 3, r % 99999,
                1700000000000ull + i, r & 1 ? "true" : "false"));
        load_add(
            book, text,
            (size_t)sprintf(text,
                            "{\"stream\":\"kmyusdt@bookTicker\",\"data\":{\"u\":%llu,\"s\":"
                            "\"KMYUSDT\",\"b\":\"%u.62000000\","
                            "\"B\":\"%u.%05u000\",\"a\":\"%u.63000000\",\"A\":\"%u.%05u000\"}}",
                            50000000000ull + i * 3, 60000 + r % 999, r % 12, r % 99999,
                            60000 + r % 999, r % 9, r % 77777));
        load_add(hermes, text,
                 (size_t)sprintf(text,
                                 "{\"type\":\"price_update\",\"price_feed\":{\"id\":\"%064x\","
                                 "\"price\":{\"price\":\"%u%06u\","
                                 "\"conf\":\"%u\",\"expo\":-8,\"publish_time\":%u},\"ema_price\":{"
                                 "\"price\":\"%u%06u\",\"conf\":"
                                 "\"%u\",\"expo\":-8,\"publish_time\":%u}}}",
                                 r % 100, 100000 + r % 9999, r % 999999, r % 9999999,
                                 1700000000 + i, 100000 + r % 9998, r % 888888, r % 8888888,
                                 1700000000 + i));
    }
}

static kmy_parse_t parse(int kind, const frame_t *f, bool any_order, kmy_quote_t *q)
{
    kmy_control_t control;
    if (kind == PEER_HERMES)
        return any_order ? kmy_pyth_read(f->text, f->len, q, &control)
                         : kmy_pyth_parse(f->text, f->len, q, &control);
    return any_order ? kmy_binance_read(f->text, f->len, KMY_BINANCE_MS, q, &control)
                     : kmy_binance_parse(f->text, f->len, KMY_BINANCE_MS, q, &control);
}

static void load_finish(load_t *l, int kind)
{
    size_t scanned = 0;
    for (size_t i = 0; i < l->frames_count; i++) {
        kmy_quote_t *q = &l->quotes[i];
        const frame_t *f = &l->frames[i];
        if (parse(kind, f, false, q) != KMY_PARSE_QUOTE)
            die("a frame of the load is refused");
        if (kind == PEER_HERMES) { /* repeated frames would be stale or duplicates */
            q->seq_scheme = KMY_SEQ_SLOT;
            q->source_seq = i + 1;
        }
        kmy_normalizer_add(l->normalizer, q->source, q->key, q->key_len, 1, 0);
        kmy_quote_t other;
        scanned += kind == PEER_HERMES ? kmy_pyth_scan(f->text, f->len, &other)
                                       : kmy_binance_scan(f->text, f->len, KMY_BINANCE_MS, &other);
    }
    if (scanned * 10 < l->frames_count * 9)
        die("the scanner knows less than nine frames in ten of the load");
}

/* Each round's ids must be news to the normalizer: they rise by more than a round's span. */
static void make_news(load_t *l)
{
    for (size_t i = 0; i < l->frames_count; i++) {
        l->quotes[i].source_seq += 1000000000;
        l->quotes[i].event_ns += 1000000;
        l->quotes[i].price_mant ^= 1;
    }
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void run_way(load_t *l, int kind, int way)
{
    kmy_quote_t q;
    kmy_tick_t tick;
    for (size_t i = 0; i < l->frames_count; i++) {
        const frame_t *f = &l->frames[i];
        switch (way) {
        case WAY_PARSE:
        case WAY_READ:
            sink += parse(kind, f, way == WAY_READ, &q);
            sink += (uint64_t)q.price_mant + q.source_seq;
            break;
        case WAY_TICK:
            if (kmy_normalize(l->normalizer, &l->quotes[i], 1, 1, &tick) != KMY_OK)
                die("a quote of the load is no news");
            sink += tick.offset;
            break;
#ifdef KMY_PEER_SIMDJSON
        case WAY_ON_DEMAND:
        case WAY_DOM:
            if (!(way == WAY_DOM ? peer_dom : peer_on_demand)(kind, f->text, f->len,
                                                              f->len + FRAME_GAP, &sink))
                die("simdjson refuses a frame of the load");
            break;
#endif
        default:
            break;
        }
    }
}

static bool way_is_there(int way)
{
#ifdef KMY_PEER_SIMDJSON
    return way < WAYS;
#else
    return way < WAY_ON_DEMAND;
#endif
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct {
    double median, min, max;
} stat_t;

static stat_t stat_of(const double *values, int count)
{
    double sorted[ROUNDS_MAX];
    memcpy(sorted, values, (size_t)count * sizeof *values);
    qsort(sorted, (size_t)count, sizeof *sorted, by_value);
    return (stat_t){ sorted[count / 2], sorted[0], sorted[count - 1] };
}

static double ns[PEER_KINDS][WAYS][ROUNDS_MAX];

static void measure(load_t loads[PEER_KINDS], int rounds)
{
    for (int round = -1; round < rounds; round++) { /* the first warms up */
        for (int kind = 0; kind < PEER_KINDS; kind++) {
            for (int step = 0; step < WAYS; step++) {
                int way = (step + round + WAYS) % WAYS; /* nobody is always first */
                if (!way_is_there(way))
                    continue;
                if (way == WAY_TICK)
                    make_news(&loads[kind]);
                double start = now_ns();
                run_way(&loads[kind], kind, way);
                if (round >= 0)
                    ns[kind][way][round] = (now_ns() - start) / (double)loads[kind].frames_count;
            }
        }
    }
}

static stat_t ratio_to_faster_peer(int kind, int rounds)
{
    double ratio[ROUNDS_MAX];
    for (int i = 0; i < rounds; i++) {
        double a = ns[kind][WAY_ON_DEMAND][i];
        double b = ns[kind][WAY_DOM][i];
        ratio[i] = ns[kind][WAY_PARSE][i] / (a < b ? a : b);
    }
    return stat_of(ratio, rounds);
}

static void cpu_name(char out[128])
{
    char line[256];
    snprintf(out, 128, "?");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "model name : %127[^\n]", out) == 1)
            break;
    if (f)
        fclose(f);
}

static void print_text(load_t loads[PEER_KINDS], const char *origin, int rounds)
{
    char cpu[128];
    struct utsname os;
    cpu_name(cpu);
    uname(&os);
    printf("bench_parse  kamiyo=%s cpu=\"%s\" kernel=%s compiler=\"%s\"\n", KMY_VERSION, cpu,
           os.release, __VERSION__);
    printf("  method  %s messages, each parsed where it lies; %d interleaved rounds; ns a message: "
           "median (min..max)\n",
           origin, rounds);
    for (int kind = 0; kind < PEER_KINDS; kind++) {
        printf("  %-10s %zu messages, %zu B on average\n", kind_names[kind],
               loads[kind].frames_count, loads[kind].bytes_of_frames / loads[kind].frames_count);
        for (int way = 0; way < WAYS; way++) {
            if (!way_is_there(way))
                continue;
            stat_t s = stat_of(ns[kind][way], rounds);
            printf("    %-20s %7.1f  (%.1f..%.1f)\n", way_names[way], s.median, s.min, s.max);
        }
        if (way_is_there(WAY_DOM)) {
            stat_t r = ratio_to_faster_peer(kind, rounds);
            printf("    %-20s %7.3f  (%.3f..%.3f)\n", "ours / faster peer", r.median, r.min, r.max);
        }
    }
    printf("  hash    %016llx\n", (unsigned long long)sink);
}

static void print_json(load_t loads[PEER_KINDS], const char *origin, int rounds)
{
    printf("{\"bench\":\"parse\",\"load\":\"%s\",\"rounds\":%d", origin, rounds);
    for (int kind = 0; kind < PEER_KINDS; kind++) {
        printf(",\"%s\":{\"messages\":%zu", kind_names[kind], loads[kind].frames_count);
        for (int way = 0; way < WAYS; way++) {
            stat_t s = stat_of(ns[kind][way], rounds);
            if (way_is_there(way))
                printf(",\"%s ns\":[%.1f,%.1f,%.1f]", way_names[way], s.median, s.min, s.max);
        }
        stat_t r = ratio_to_faster_peer(kind, rounds);
        if (way_is_there(WAY_DOM))
            printf(",\"ratio\":[%.3f,%.3f,%.3f]", r.median, r.min, r.max);
        printf("}");
    }
    printf("}\n");
}

/* --only <kind> <way> [n]: n rounds of one thing and nothing else, for callgrind. */
static int run_only(load_t loads[PEER_KINDS], const char *kind, const char *way, int rounds)
{
    for (int k = 0; k < PEER_KINDS; k++)
        for (int w = 0; w < WAYS; w++)
            if (strcmp(kind, kind_names[k]) == 0 && strcmp(way, way_names[w]) == 0 &&
                way_is_there(w)) {
                for (int i = 0; i < rounds; i++)
                    run_way(&loads[k], k, w);
                printf("%zu messages, %d rounds, hash %016llx\n", loads[k].frames_count, rounds,
                       (unsigned long long)sink);
                return 0;
            }
    die("no such kind or way");
    return 1;
}

int main(int argc, char **argv)
{
    bool smoke = false;
    bool json = false;
    int rounds = 21;
    static load_t loads[PEER_KINDS];
    for (int i = 0; i < PEER_KINDS; i++)
        load_init(&loads[i]);
    const char *origin = "recorded";
    if (!load_recorded(&loads[0], &loads[1], &loads[2])) {
        origin = "made";
        for (int i = 0; i < PEER_KINDS; i++)
            loads[i].frames_count = loads[i].bytes_len = loads[i].bytes_of_frames = 0;
        load_made(&loads[0], &loads[1], &loads[2]);
    }
    for (int i = 0; i < PEER_KINDS; i++)
        load_finish(&loads[i], i);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--only") == 0 && argc - i >= 3)
            return run_only(loads, argv[i + 1], argv[i + 2], argc - i > 3 ? atoi(argv[i + 3]) : 1);
        smoke |= strcmp(argv[i], "--smoke") == 0;
        json |= strcmp(argv[i], "--json") == 0;
    }
    if (smoke)
        rounds = 3;
    measure(loads, rounds);
    if (json)
        print_json(loads, origin, rounds);
    else
        print_text(loads, origin, rounds);
    return 0;
}
