/* Replays a file of recorded upstream frames through parser and normalizer and says what came of each, for tests/captures_oracle.py to
   compare with its own reading of the same file.

     replay_captures [--lines] <binance|pyth> <ms|us> <file>

   Files: .ns.jsonl.gz ("<ns> <frame>"), .cf.txt.gz ("<s>: <frame>"; lines with " <- " or " <-> " are no frames), .jsonl (objects whose
   member "frame" is the text; "dir":"out" is skipped; an "origin" that ends in "hex" means the frame is written in hex).  Prints one
   summary with the SHA-256 of all lines, or with --lines the lines themselves.  Keys are added as they are first seen. */
#include "adapters/binance.h"
#include "adapters/normalize.h"
#include "adapters/pyth.h"
#include "base/decimal.h"
#include "wire/json.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { LINE_BYTES_MAX = 4 << 20, KEYS_MAX = 4096 };

typedef struct {
    bool pyth;
    bool print_lines;
    kmy_binance_time_t unit;
    kmy_normalizer_t *normalizer;
    EVP_MD_CTX *sha;
    int64_t frames;
    int64_t results[KMY_PARSE_RANGE + 1];
    int64_t verdicts[KMY_ERR_COUNT];
    int64_t kinds[KMY_KIND_COUNT];
    int64_t controls[KMY_CONTROL_SHUTDOWN + 1];
} replay_t;

static const char *const result_names[] = { "quote", "control", "ignored", "malformed", "range" };
static const char *const control_names[] = { "ack",        "list",     "error",
                                             "rate_limit", "lifetime", "shutdown" };

static void die(const char *what, const char *which)
{
    fprintf(stderr, "replay_captures: %s: %s\n", what, which);
    exit(2);
}

static void emit(replay_t *r, const char *line, size_t len)
{
    EVP_DigestUpdate(r->sha, line, len);
    if (r->print_lines)
        fwrite(line, 1, len, stdout);
}

static size_t put_number(char *out, bool present, int64_t mant, int expo)
{
    if (!present)
        return (size_t)sprintf(out, "-|");
    size_t n = kmy_dec_format(mant, expo, out);
    out[n] = '|';
    return n + 1;
}

static void emit_tick(replay_t *r, const kmy_quote_t *q, const kmy_tick_t *t)
{
    char line[1600];
    char *p = line;
    memcpy(p, q->key, q->key_len);
    p += q->key_len;
    p += sprintf(p, "|%s|", kmy_kind_name(t->kind));
    p += put_number(p, true, t->price_mant, t->price_expo);
    p += put_number(p, t->has & KMY_HAS_BID, t->bid_mant, t->price_expo);
    p += put_number(p, t->has & KMY_HAS_ASK, t->ask_mant, t->price_expo);
    if (t->has & KMY_HAS_CONF) {
        p += kmy_dec_format_u(t->conf_mant, t->price_expo, p);
        *p++ = '|';
    } else {
        p += put_number(p, false, 0, 0);
    }
    p += put_number(p, t->has & KMY_HAS_SIZE, t->size_mant, t->size_expo);
    p += put_number(p, t->has & KMY_HAS_ASK_SIZE, t->ask_size_mant, t->size_expo);
    p +=
        sprintf(p, "%lld|%u|%u|%llu|%u|%llu\n", (long long)t->event_ns, t->event_res, q->seq_scheme,
                (unsigned long long)t->source_seq, t->flags, (unsigned long long)t->offset);
    emit(r, line, (size_t)(p - line));
}

static kmy_err_t normalize(replay_t *r, const kmy_quote_t *q, kmy_tick_t *tick)
{
    int64_t clock =
        r->frames * 1000000; /* a frame a millisecond: only the restart rule looks at it */
    kmy_err_t err = kmy_normalize(r->normalizer, q, clock, clock, tick);
    if (err != KMY_NOT_FOUND)
        return err;
    if (kmy_normalizer_add(r->normalizer, q->source, q->key, q->key_len, 1, 0) != KMY_OK)
        die("cannot add a key", "too many");
    return kmy_normalize(r->normalizer, q, clock, clock, tick);
}

static void replay_frame(replay_t *r, const char *frame, size_t len)
{
    char line[160];
    kmy_quote_t quote;
    kmy_control_t control;
    kmy_tick_t tick;
    r->frames++;
    kmy_parse_t result = r->pyth ? kmy_pyth_parse(frame, len, &quote, &control)
                                 : kmy_binance_parse(frame, len, r->unit, &quote, &control);
    r->results[result]++;
    if (result == KMY_PARSE_CONTROL) {
        r->controls[control.kind]++;
        emit(r, line,
             (size_t)sprintf(line, "control|%s|%lld|%lld\n", control_names[control.kind],
                             (long long)control.id, (long long)control.code));
        return;
    }
    if (result != KMY_PARSE_QUOTE) {
        emit(r, line, (size_t)sprintf(line, "%s\n", result_names[result]));
        return;
    }
    kmy_err_t err = normalize(r, &quote, &tick);
    r->verdicts[err]++;
    if (err == KMY_OK) {
        r->kinds[tick.kind]++;
        emit_tick(r, &quote, &tick);
    } else {
        emit(r, line, (size_t)sprintf(line, "%s\n", kmy_err_code(err)));
    }
}

static size_t undo_hex(char *text, size_t len)
{
    for (size_t i = 0; i + 1 < len; i += 2) {
        unsigned byte;
        if (sscanf(text + i, "%2x", &byte) != 1)
            die("not hex", text);
        text[i / 2] = (char)byte;
    }
    return len / 2;
}

static void replay_object(replay_t *r, const char *line, size_t len)
{
    static char frame[LINE_BYTES_MAX];
    kmy_json_field_t f[] = { { .key = "frame" }, { .key = "dir" }, { .key = "origin" } };
    kmy_json_t js;
    kmy_json_init(&js, line, len);
    size_t frame_len;
    if (kmy_json_object(&js, f, 3, NULL) != KMY_OK ||
        !kmy_json_unescape(f[0].token, frame, sizeof frame, &frame_len))
        die("a line without a frame", line);
    if (kmy_json_is(f[1].token, "out"))
        return;
    if (f[2].token.len >= 5 && memcmp(f[2].token.text + f[2].token.len - 5, ", hex", 5) == 0)
        frame_len = undo_hex(frame, frame_len);
    char *exact = malloc(frame_len ? frame_len : 1); /* so that a sanitizer sees an over-read */
    if (!exact)
        die("out of memory", "");
    memcpy(exact, frame, frame_len);
    replay_frame(r, exact, frame_len);
    free(exact);
}

static void replay_line(replay_t *r, const char *path, char *line)
{
    size_t len = strlen(line);
    while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        line[--len] = '\0';
    if (strstr(path, ".cf.txt") != NULL) {
        char *at = strstr(line, ": ");
        if (strncmp(line, "ws", 2) != 0 && at)
            replay_frame(r, at + 2, len - (size_t)(at + 2 - line));
    } else if (strstr(path, ".ns.jsonl") != NULL) {
        char *at = strchr(line, ' ');
        if (at)
            replay_frame(r, at + 1, len - (size_t)(at + 1 - line));
    } else {
        replay_object(r, line, len);
    }
}

static void print_summary(replay_t *r)
{
    unsigned char digest[32];
    EVP_DigestFinal_ex(r->sha, digest, NULL);
    printf("frames=%lld", (long long)r->frames);
    for (int i = 0; i <= KMY_PARSE_RANGE; i++)
        printf(" %s=%lld", result_names[i], (long long)r->results[i]);
    for (int i = 0; i <= KMY_CONTROL_SHUTDOWN; i++)
        printf(" %s=%lld", control_names[i], (long long)r->controls[i]);
    printf(" new=%lld duplicate=%lld stale=%lld overflow=%lld", (long long)r->verdicts[KMY_OK],
           (long long)r->verdicts[KMY_DUPLICATE], (long long)r->verdicts[KMY_STALE],
           (long long)r->verdicts[KMY_OVERFLOW]);
    printf(" trades=%lld books=%lld oracles=%lld sha256=", (long long)r->kinds[KMY_KIND_TRADE],
           (long long)r->kinds[KMY_KIND_QUOTE], (long long)r->kinds[KMY_KIND_ORACLE]);
    for (int i = 0; i < 32; i++)
        printf("%02x", digest[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    replay_t r = { .sha = EVP_MD_CTX_new(), .normalizer = kmy_normalizer_new(KEYS_MAX) };
    int arg = 1;
    if (arg < argc && strcmp(argv[arg], "--lines") == 0) {
        r.print_lines = true;
        arg++;
    }
    if (argc - arg != 3 || !r.sha || !r.normalizer)
        die("usage", "replay_captures [--lines] <binance|pyth> <ms|us> <file>");
    r.pyth = strcmp(argv[arg], "pyth") == 0;
    r.unit = strcmp(argv[arg + 1], "us") == 0 ? KMY_BINANCE_US : KMY_BINANCE_MS;
    const char *path = argv[arg + 2];
    gzFile file = gzopen(path, "rb"); /* reads plain files as they are */
    static char line[LINE_BYTES_MAX];
    if (!file)
        die("cannot open", path);
    EVP_DigestInit_ex(r.sha, EVP_sha256(), NULL);
    while (gzgets(file, line, sizeof line))
        replay_line(&r, path, line);
    gzclose(file);
    if (kmy_normalizer_restarts(r.normalizer) != 0)
        die("a counter was taken for restarted", path);
    if (!r.print_lines)
        print_summary(&r);
    kmy_normalizer_free(r.normalizer);
    EVP_MD_CTX_free(r.sha);
    return 0;
}
