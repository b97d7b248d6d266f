/* Checking a payment: ours, from the header's base64 to the verdict, beside the bare recovery of libsecp256k1 on the same signature, which is
   its ceiling, in turn within each run.

   "digest" is EIP-712 alone (three Keccak blocks), "keccak" one block, "ed25519" the signature of a Solana payment by OpenSSL.

     bench_payment [--smoke] [--json] */
#include "base/clock.h"
#include "pay/ed25519.h"
#include "pay/evm.h"
#include "pay/verify.h"
#include "wire/base64.h"
#include "wire/hex.h"
#include "wire/keccak.h"
#include "wire/secp.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { CHECK_V1, CHECK_V2, RECOVER, DIGEST, KECCAK, ED25519, KINDS, RUNS_MAX = 101 };
static const char *const kind_names[KINDS] = { "check v1", "check v2", "recover",
                                               "digest",   "keccak",   "ed25519" };
static const unsigned scale[KINDS] = { 1, 1, 1, 20, 50, 1 }; /* cheap ones more often */

static const int64_t now_s = 1767225600;

/* A payment of the stock clients (tests/corpus/x402, base-sepolia-v1-legacy-client): signed with a public development key. */
static const char authorization[] =
    "{\"from\":\"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC\",\"to\":"
    "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\",\"value\":\"10000\",\"validAfter\":"
    "\"1767225000\",\"validBefore\":\"1767225660\",\"nonce\":"
    "\"0x678b3cf76a520cfe8854f5e5ae27a62c39ed8eb1a1d4768076d340317366f96f\"}";
static const char signature[] =
    "0x19ac9b6c5652dc7cafc25cc683d7657bb39c40cbde464260543215ba125177eb55f718b3b6b87dc2df741903a7cb"
    "c75313a5e51944f7d01c978aa1322fc1396d1b";

typedef struct load {
    kmy_pay_entry_t entry;
    char header[2][2048];
    size_t header_len[2];
    uint8_t digest[32], sig[65];
    uint8_t ed_key[32], ed_sig[64], message[352];
    kmy_evm_authorization_t a;
} load_t;

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

static void make_header(load_t *l, int version)
{
    char json[1536];
    int n =
        version == 1
            ? snprintf(json, sizeof json,
                       "{\"x402Version\":1,\"scheme\":\"exact\",\"network\":\"base-sepolia\","
                       "\"payload\":{\"signature\":\"%s\",\"authorization\":%s}}",
                       signature, authorization)
            : snprintf(json, sizeof json,
                       "{\"x402Version\":2,\"payload\":{\"authorization\":%s,\"signature\":\"%s\"},"
                       "\"resource\":{\"url\":\"https://feed.example/v1/"
                       "tick\",\"description\":\"One tick\",\"mimeType\":\"application/json\"},"
                       "\"accepted\":{\"scheme\":\"exact\",\"network\":\"eip155:84532\","
                       "\"amount\":\"10000\",\"asset\":\"%s\",\"payTo\":\"%s\","
                       "\"maxTimeoutSeconds\":60,\"extra\":{\"name\":\"USDC\",\"version\":\"2\"}"
                       "}}",
                       authorization, signature, l->entry.asset, l->entry.pay_to);
    l->header_len[version - 1] =
        kmy_base64_encode(KMY_BASE64_STD, json, (size_t)n, l->header[version - 1]);
}

static void make_ed25519(load_t *l)
{
    static const uint8_t seed[32] = { 5 };
    size_t key_len = 32, sig_len = 64;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_get_raw_public_key(key, l->ed_key, &key_len);
    EVP_DigestSignInit(md, NULL, NULL, NULL, key);
    EVP_DigestSign(md, l->ed_sig, &sig_len, l->message, sizeof l->message);
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
}

static bool make_load(load_t *l)
{
    static const char nonce[] = "678b3cf76a520cfe8854f5e5ae27a62c39ed8eb1a1d4768076d340317366f96f";
    const kmy_pay_terms_t terms = { .name = "base-sepolia",
                                    .pay_to = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" };
    if (kmy_pay_entry_init(&l->entry, &terms, NULL) != KMY_OK)
        return false;
    kmy_pay_entry_price(&l->entry, 10000);
    make_header(l, 1);
    make_header(l, 2);
    make_ed25519(l);
    kmy_evm_address_parse("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC", 42, l->a.from);
    memcpy(l->a.to, l->entry.evm.pay_to, sizeof l->a.to);
    kmy_evm_word_set(10000, l->a.value);
    kmy_evm_word_set(1767225000, l->a.valid_after);
    kmy_evm_word_set(1767225660, l->a.valid_before);
    kmy_hex_decode(nonce, 64, l->a.nonce, 32);
    kmy_evm_transfer_digest(l->entry.evm.domain, &l->a, l->digest);
    return kmy_hex_decode_0x(signature, sizeof signature - 1, l->sig, sizeof l->sig);
}

static bool check(const load_t *l, int version)
{
    char buffer[KMY_PAYMENT_BYTES_MAX];
    kmy_payment_t payment;
    kmy_pay_verdict_t verdict;
    const kmy_pay_offer_t offer = { &l->entry, 1, "https://feed.example/v1/tick" };
    return kmy_payment_parse(l->header[version - 1], l->header_len[version - 1], buffer, &payment,
                             NULL) == KMY_PAY_NONE &&
           kmy_pay_verify(&offer, &payment, now_s, &verdict, NULL) == KMY_PAY_VALID;
}

static bool once(load_t *l, int kind)
{
    uint8_t key[64];
    switch (kind) {
    case CHECK_V1:
    case CHECK_V2:
        return check(l, kind == CHECK_V1 ? 1 : 2);
    case RECOVER:
        return kmy_secp_recover(l->digest, l->sig, l->sig[64] - 27, key);
    case DIGEST:
        kmy_evm_transfer_digest(l->entry.evm.domain, &l->a, l->digest);
        return true;
    case KECCAK:
        kmy_keccak256(l->message, 32, l->message);
        return true;
    default:
        return kmy_ed25519_verify(l->ed_key, l->ed_sig, l->message, sizeof l->message);
    }
}

static double ns_each(load_t *l, int kind, unsigned checks, uint64_t *good)
{
    checks *= scale[kind];
    /* CPU time: nothing here waits, and a busy machine must not be counted as work. */
    int64_t start = kmy_clock_read(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < checks; i++)
        *good += once(l, kind);
    return (double)(kmy_clock_read(CLOCK_THREAD_CPUTIME_ID) - start) / checks;
}

static void print_block(series_t s[KINDS], series_t *ratio, unsigned checks, const load_t *l)
{
    struct utsname u;
    uname(&u);
    printf("bench_payment  version=%s  %s, %ld cores  kernel=%s  %s\n", KMY_VERSION, u.machine,
           sysconf(_SC_NPROCESSORS_ONLN), u.release, OpenSSL_version(OPENSSL_VERSION));
    printf("  load    headers=%zu and %zu bytes  checks=%u  runs=%u  one thread, CPU time\n",
           l->header_len[0], l->header_len[1], checks, s[0].n);
    for (int k = 0; k < KINDS; k++) {
        double m = median(&s[k]);
        printf("  result  %-9s ns p50=%.0f  (%.0f..%.0f)  %.0f/s\n", kind_names[k], m, s[k].v[0],
               s[k].v[s[k].n - 1], 1e9 / m);
    }
    double m = median(ratio);
    printf("  ratio   check v2 / recover = %.3f  (%.3f..%.3f)\n", m, ratio->v[0],
           ratio->v[ratio->n - 1]);
}

int main(int argc, char **argv)
{
    static load_t l;
    static series_t s[KINDS];
    static series_t ratio;
    unsigned runs = 21;
    unsigned checks = 2000;
    uint64_t good = 0, wanted = 0;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0) {
            runs = 3;
            checks = 50;
        } else if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else {
            fprintf(stderr, "usage: bench_payment [--smoke] [--json]\n");
            return 2;
        }
    }
    if (!make_load(&l))
        return 1;
    for (unsigned r = 0; r < runs; r++) {
        for (int k = 0; k < KINDS; k++) {
            if (k == ED25519) /* KECCAK has turned the message over */
                make_ed25519(&l);
            s[k].v[s[k].n++] = ns_each(&l, k, checks, &good);
            wanted += (uint64_t)checks * scale[k];
        }
        ratio.v[ratio.n++] = s[CHECK_V2].v[r] / s[RECOVER].v[r];
    }
    if (good != wanted) {
        fprintf(stderr, "bench_payment: a good payment was refused\n");
        return 1;
    }
    if (!json) {
        print_block(s, &ratio, checks, &l);
        return 0;
    }
    printf("{\"bench\":\"payment\",\"runs\":%u,\"check_v1_ns\":%.1f,\"check_v2_ns\":%.1f,"
           "\"recover_ns\":%.1f,\"digest_ns\":%.1f,\"keccak_ns\":%.1f,\"ed25519_ns\":%.1f,"
           "\"checks_per_s\":%.0f,\"ratio\":%.3f}\n",
           runs, median(&s[CHECK_V1]), median(&s[CHECK_V2]), median(&s[RECOVER]),
           median(&s[DIGEST]), median(&s[KECCAK]), median(&s[ED25519]), 1e9 / median(&s[CHECK_V2]),
           median(&ratio));
    return 0;
}
