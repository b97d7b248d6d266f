/* Checking a bearer: ours beside a naive check of the same signature by OpenSSL's HMAC(), in turn within each run.

   kmy_token_verify does everything: header, base64url, signature, claims, times.  "signature" is kmy_token_jws_open, the part the peer does as
   well (base64url decode of signature and payload, HMAC, compare).

     bench_token [--smoke] [--json] */
#include "base/clock.h"
#include "pay/token.h"
#include "pay/token_jws.h"
#include "wire/base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { VERIFY, SIGNATURE, NAIVE, KINDS, RUNS_MAX = 101 };
static const char *const kind_names[KINDS] = { "verify", "signature", "naive HMAC()" };

static const char secret[] = "0123456789abcdef0123456789abcdef";
static const int64_t now_s = 1795000000;

typedef struct series {
    double v[RUNS_MAX];
    unsigned n;
} series_t;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(series_t *s)
{
    qsort(s->v, s->n, sizeof *s->v, by_value);
    return s->v[s->n / 2];
}

/* What one writes without thinking: correct, and the key set up each time. */
static bool naive_check(const char *token, size_t len, char *payload, size_t *payload_len)
{
    uint8_t want[EVP_MAX_MD_SIZE];
    uint8_t have[48];
    unsigned want_len;
    size_t have_len;
    const char *dot = memchr(token, '.', len);
    const char *dot2 = memchr(dot + 1, '.', len - (size_t)(dot + 1 - token));
    HMAC(EVP_sha256(), secret, sizeof secret - 1, (const uint8_t *)token, (size_t)(dot2 - token),
         want, &want_len);
    return kmy_base64_decode(KMY_BASE64_URL, dot2 + 1, len - (size_t)(dot2 + 1 - token), have,
                             sizeof have, &have_len) &&
           have_len == want_len && CRYPTO_memcmp(want, have, want_len) == 0 &&
           kmy_base64_decode(KMY_BASE64_URL, dot + 1, (size_t)(dot2 - dot - 1), payload,
                             KMY_TOKEN_PAYLOAD_BYTES_MAX, payload_len);
}

static double ns_per_check(int kind, kmy_token_key_t *key, const char *token, size_t len,
                           unsigned checks, uint64_t *good)
{
    char payload[KMY_TOKEN_PAYLOAD_BYTES_MAX];
    size_t payload_len;
    kmy_token_claims_t claims;
    /* CPU time: no check waits for anything, and a busy machine must not be counted as work. */
    int64_t start = kmy_clock_read(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < checks; i++) {
        if (kind == VERIFY)
            *good += kmy_token_verify(key, token, len, now_s, &claims, NULL) == KMY_OK;
        else if (kind == SIGNATURE)
            *good += kmy_token_jws_open(key, token, len, payload, &payload_len, NULL) == KMY_OK;
        else
            *good += naive_check(token, len, payload, &payload_len);
    }
    return (double)(kmy_clock_read(CLOCK_THREAD_CPUTIME_ID) - start) / checks;
}

static void print_block(series_t s[KINDS], series_t *ratio, unsigned checks, size_t len)
{
    struct utsname u;
    uname(&u);
    printf("bench_token  version=%s  %s, %ld cores  kernel=%s  %s\n", KMY_VERSION, u.machine,
           sysconf(_SC_NPROCESSORS_ONLN), u.release, OpenSSL_version(OPENSSL_VERSION));
    printf("  load    token=%zu bytes  checks=%u  runs=%u  one thread, CPU time\n", len, checks,
           s[0].n);
    for (int k = 0; k < KINDS; k++) {
        double m = median(&s[k]);
        printf("  result  %-12s ns p50=%.0f  (%.0f..%.0f)\n", kind_names[k], m, s[k].v[0],
               s[k].v[s[k].n - 1]);
    }
    double m = median(ratio);
    printf("  ratio   signature / naive = %.2f  (%.2f..%.2f)\n", m, ratio->v[0],
           ratio->v[ratio->n - 1]);
}

int main(int argc, char **argv)
{
    unsigned runs = 21;
    unsigned checks = 100000;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0) {
            runs = 3;
            checks = 1000;
        } else if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else {
            fprintf(stderr, "usage: bench_token [--smoke] [--json]\n");
            return 2;
        }
    }
    kmy_token_claims_t claims = { .account =
                                      "eip155:8453:0x00000000000000000000000000000000000000aa",
                                  .issued_s = now_s,
                                  .expires_s = now_s + 43200 };
    char token[KMY_TOKEN_BYTES_MAX];
    static series_t s[KINDS];
    static series_t ratio;
    uint64_t good = 0;
    kmy_token_key_t *key = kmy_token_key_new(secret, sizeof secret - 1, NULL);
    if (!key || kmy_token_sign(key, &claims, token, NULL) != KMY_OK)
        return 1;
    size_t len = strlen(token);
    for (unsigned r = 0; r < runs; r++) {
        for (int k = 0; k < KINDS; k++)
            s[k].v[s[k].n++] = ns_per_check(k, key, token, len, checks, &good);
        ratio.v[ratio.n++] = s[SIGNATURE].v[r] / s[NAIVE].v[r];
    }
    kmy_token_key_free(key);
    if (good != (uint64_t)runs * checks * KINDS) {
        fprintf(stderr, "bench_token: a good token was refused\n");
        return 1;
    }
    if (json) {
        double verify = median(&s[VERIFY]);
        double signature = median(&s[SIGNATURE]);
        printf("{\"bench\":\"token\",\"runs\":%u,\"verify_ns\":%.1f,\"verify_min\":%.1f,"
               "\"verify_max\":%.1f,\"signature_ns\":%.1f,\"naive_ns\":%.1f,\"ratio\":%.3f}\n",
               runs, verify, s[VERIFY].v[0], s[VERIFY].v[runs - 1], signature, median(&s[NAIVE]),
               median(&ratio));
    } else {
        print_block(s, &ratio, checks, len);
    }
    return 0;
}
