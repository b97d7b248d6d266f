/* bench_wire: what reading a stranger's bytes costs, beside the floor under it, a memcpy of the same bytes.

   Subject and floor take turns within each run, so that the noise of the machine meets both; a figure is the median of the runs
   with the smallest and the largest, the ratio is taken within a run before its median is.  One core, warm caches: the price of
   instructions, not of memory.  The hash is printed so that nothing can be optimized away and two builds can be compared. */
#include "base/clock.h"
#include "wire/base64.h"
#include "wire/http1.h"
#include "wire/json.h"
#include "wire/utf8.h"
#include "wire/ws.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define RUNS_MAX 51

static const char http_head[] = "GET /v1/ingest-data?feed=BTC%2FUSDT%40binance HTTP/1.1\r\n"
                                "Host: api.example.com:8443\r\n"
                                "User-Agent: python-httpx/0.27.0\r\n"
                                "Accept: application/json\r\n"
                                "Accept-Encoding: gzip, deflate\r\n"
                                "Connection: keep-alive\r\n"
                                "Authorization: Bearer "
                                "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhIn0."
                                "c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmUx\r\n"
                                "\r\n";
static const char subscribe_text[] =
    "{\"op\":\"subscribe\",\"id\":1,\"feeds\":[\"SOL/USD\",\"BTC/"
    "USDT@binance\"],\"encoding\":\"json\","
    "\"snapshot\":true,\"max_hz\":0,\"slow_reader\":\"conflate\",\"plan\":\"metered\"}";

static char ascii_text[65536];
static char mixed_text[65536];
static uint8_t ws_frame[8 + 128];
static uint8_t ws_big[65536];
static char token_text[1024];
static char copy_to[65536];
static uint64_t hash;

static void use(uint64_t v)
{
    hash = (hash ^ v) * UINT64_C(0x9E3779B97F4A7C15);
}

static void run_http(void)
{
    static kmy_http_request_t req;
    kmy_err_t err = kmy_http_parse(http_head, sizeof http_head - 1, &req, NULL);
    use((uint64_t)err + req.headers_count + req.head_bytes);
}

static void run_json(void)
{
    kmy_json_field_t f[] = { { .key = "op" },          { .key = "id" },       { .key = "feeds" },
                             { .key = "encoding" },    { .key = "snapshot" }, { .key = "max_hz" },
                             { .key = "slow_reader" }, { .key = "plan" },     { .key = "from" } };
    kmy_json_t js;
    kmy_json_init(&js, subscribe_text, sizeof subscribe_text - 1);
    kmy_err_t err = kmy_json_object(&js, f, sizeof f / sizeof *f, NULL);
    use((uint64_t)err + f[2].token.len + (uint64_t)kmy_json_next(&js).type);
}

static void run_ws(void)
{
    static const kmy_ws_rules_t rules = { .server = true, .message_bytes_max = 65536 };
    kmy_ws_header_t h;
    kmy_err_t err = kmy_ws_header(&rules, ws_frame, sizeof ws_frame, &h, NULL);
    kmy_ws_unmask(ws_frame + h.header_bytes, (size_t)h.payload_bytes, h.mask, 0);
    use((uint64_t)err + ws_frame[100]);
}

static void run_unmask(void)
{
    static const uint8_t mask[4] = { 1, 2, 3, 4 };
    kmy_ws_unmask(ws_big, sizeof ws_big, mask, 1);
    use(ws_big[77]);
}

static void run_ascii(void)
{
    use(kmy_utf8_valid(ascii_text, sizeof ascii_text));
}

static void run_mixed(void)
{
    use(kmy_utf8_valid(mixed_text, sizeof mixed_text));
}

static void run_base64(void)
{
    uint8_t out[KMY_BASE64_DATA_BYTES(sizeof token_text)];
    size_t n = 0;
    use(kmy_base64_decode(KMY_BASE64_URL, token_text, sizeof token_text, out, sizeof out, &n) + n +
        out[5]);
}

typedef struct {
    const char *name;
    const char *load;
    void (*run)(void);
    const void *bytes;
    size_t len;
    size_t rounds; /* about 10 ms a run */
} subject_t;

static const subject_t subjects[] = {
    { "http_head", "GET with 6 header lines", run_http, http_head, sizeof http_head - 1, 50000 },
    { "json_subscribe", "kmy_json_object, 9 members asked for", run_json, subscribe_text,
      sizeof subscribe_text - 1, 50000 },
    { "ws_frame", "header and unmask of 128 B", run_ws, ws_frame, sizeof ws_frame, 500000 },
    { "ws_unmask", "64 KiB", run_unmask, ws_big, sizeof ws_big, 4000 },
    { "utf8_ascii", "64 KiB", run_ascii, ascii_text, sizeof ascii_text, 4000 },
    { "utf8_mixed", "64 KiB, one character in 4 of 2 to 4 bytes", run_mixed, mixed_text,
      sizeof mixed_text, 200 },
    { "base64_decode", "1 KiB, url alphabet", run_base64, token_text, sizeof token_text, 10000 },
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };

static void fill_inputs(void)
{
    static const char pattern[] = "abc\xC3\xA9"
                                  "def\xE2\x82\xAC"
                                  "ghi\xF0\x9F\x98\x80";
    static const uint8_t mask[4] = { 0x37, 0xFA, 0x21, 0x3D };
    memset(ascii_text, 'a', sizeof ascii_text);
    memset(mixed_text, 'a', sizeof mixed_text);
    for (size_t i = 0; i + sizeof pattern <= sizeof mixed_text; i += sizeof pattern - 1)
        memcpy(mixed_text + i, pattern, sizeof pattern - 1);
    kmy_ws_put_header(ws_frame, KMY_WS_TEXT, true, false, 128, mask);
    for (size_t i = 0; i < sizeof token_text; i++)
        token_text[i] = "ABCDwxyz0189-_"[i * 7 % 14];
}

static double time_subject(const subject_t *s, size_t rounds)
{
    int64_t start = kmy_mono_ns();
    for (size_t i = 0; i < rounds; i++)
        s->run();
    return (double)(kmy_mono_ns() - start) / (double)rounds;
}

static double time_floor(const subject_t *s, size_t rounds)
{
    int64_t start = kmy_mono_ns();
    for (size_t i = 0; i < rounds; i++) {
        size_t len = s->len;
        __asm__ volatile(
            ""
            : "+r"(len)::
                "memory"); /* the length is not known to the compiler, as it is not to a server */
        memcpy(copy_to, s->bytes, len);
    }
    return (double)(kmy_mono_ns() - start) / (double)rounds;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct {
    double median, min, max;
} spread_t;

static spread_t spread(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_size);
    return (spread_t){ v[n / 2], v[0], v[n - 1] };
}

typedef struct {
    spread_t ns, copy_ns, ratio;
} result_t;

static result_t measure(const subject_t *s, int runs, size_t rounds)
{
    double ns[RUNS_MAX], copy[RUNS_MAX], ratio[RUNS_MAX];
    time_subject(s, rounds / 4 + 1);
    for (int i = 0; i < runs; i++) {
        ns[i] = time_subject(s, rounds);
        copy[i] = time_floor(s, rounds);
        ratio[i] = ns[i] / (copy[i] > 0 ? copy[i] : 1);
    }
    return (result_t){ spread(ns, runs), spread(copy, runs), spread(ratio, runs) };
}

static void cpu_name(char *out, size_t cap)
{
    char line[256];
    snprintf(out, cap, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        snprintf(out, cap, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f)
        fclose(f);
}

static void print_text(const result_t *r, int runs)
{
    char cpu[128];
    struct utsname os;
    cpu_name(cpu, sizeof cpu);
    uname(&os);
    printf("bench_wire  cpu=\"%s\" kernel=%s\n", cpu, os.release);
    printf("  method  one core, warm, subject and memcpy of the same bytes in turn; median "
           "(min..max) of %d runs\n",
           runs);
    for (int i = 0; i < SUBJECTS; i++) {
        const subject_t *s = &subjects[i];
        printf("  %-15s %6zu B  %9.1f ns (%.1f..%.1f)  %7.0f MB/s  memcpy %.1f ns (%.1f..%.1f)  "
               "x%.1f   %s\n",
               s->name, s->len, r[i].ns.median, r[i].ns.min, r[i].ns.max,
               1e3 * (double)s->len / r[i].ns.median, r[i].copy_ns.median, r[i].copy_ns.min,
               r[i].copy_ns.max, r[i].ratio.median, s->load);
    }
    printf("  hash=%016" PRIx64 "\n", hash);
}

static void print_json(const result_t *r, int runs)
{
    printf("{\"bench\":\"wire\",\"runs\":%d,\"results\":[", runs);
    for (int i = 0; i < SUBJECTS; i++)
        printf("%s{\"name\":\"%s\",\"bytes\":%zu,\"ns\":%.2f,\"ns_min\":%.2f,\"ns_max\":%.2f,"
               "\"memcpy_ns\":%.2f,\"ratio\":%.2f}",
               i ? "," : "", subjects[i].name, subjects[i].len, r[i].ns.median, r[i].ns.min,
               r[i].ns.max, r[i].copy_ns.median, r[i].ratio.median);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    int runs = 21;
    size_t divide = 1;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0) {
            runs = 3;
            divide = 100;
        } else if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else {
            fprintf(stderr, "usage: bench_wire [--smoke] [--json]\n");
            return 2;
        }
    }
    result_t results[SUBJECTS];
    fill_inputs();
    for (int i = 0; i < SUBJECTS; i++)
        results[i] = measure(&subjects[i], runs, subjects[i].rounds / divide + 1);
    if (json)
        print_json(results, runs);
    else
        print_text(results, runs);
    return 0;
}
