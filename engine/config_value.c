/* Text to value and back, one type at a time; every refusal names the place, the key and what is legal. */
#include "engine/config_keys.h"

#include "base/decimal.h"
#include "base/money.h"
#include "engine/peer.h"
#include "wire/utf8.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct kmy_unit {
    const char *name;
    int64_t factor;
} kmy_unit_t;

/* Ascending, so that printing takes the largest that divides. */
static const kmy_unit_t durations[] = { { "ns", 1 },
                                        { "us", 1000 },
                                        { "ms", 1000000 },
                                        { "s", 1000000000 },
                                        { "m", 60 * INT64_C(1000000000) },
                                        { "h", 3600 * INT64_C(1000000000) },
                                        { NULL, 0 } };
static const kmy_unit_t sizes[] = {
    { "", 1 }, { "KiB", 1024 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 }, { NULL, 0 }
};

const char *kmy_config_shown(const char *text, size_t len, char out[64])
{
    size_t n = 0;
    for (size_t i = 0; i < len && n < 40; i++)
        out[n++] = (char)(text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?');
    out[n] = 0;
    if (len > 40)
        memcpy(out + n, "...", 4); /* n is 40 */
    return out;
}

kmy_err_t kmy_config_fail(kmy_errctx_t *ctx, const char *where, const char *path, const char *fmt,
                          ...)
{
    char reason[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    return KMY_FAIL(ctx, KMY_CONFIG, "%s: %s%s%s", where, path, *path ? ": " : "", reason);
}

/* "5s": digits, then one of the units.  false: other text, or above INT64_MAX. */
static bool parse_units(const kmy_unit_t *units, const char *text, size_t len, int64_t *out)
{
    size_t digits = 0;
    while (digits < len && text[digits] >= '0' && text[digits] <= '9')
        digits++;
    uint64_t n;
    if (!kmy_u64_parse(text, digits, &n) || n > INT64_MAX)
        return false;
    for (const kmy_unit_t *u = units; u->name; u++) {
        if (strlen(u->name) == len - digits && memcmp(u->name, text + digits, len - digits) == 0)
            return !__builtin_mul_overflow((int64_t)n, u->factor, out);
    }
    return false;
}

static void format_units(const kmy_unit_t *units, int64_t v, char *out, size_t cap)
{
    const kmy_unit_t *best = units;
    for (const kmy_unit_t *u = units; u->name; u++) {
        if (v % u->factor == 0 && (v != 0 || u->factor == 1000000000))
            best = u;
    }
    snprintf(out, cap, "%lld%s", (long long)(v / best->factor), best->name);
}

void kmy_config_value_text(const kmy_config_key_t *key, int64_t value, char *out, size_t cap)
{
    char dec[KMY_DEC_BYTES_MAX];
    switch (key->type) {
    case KMY_KEY_BOOL:
        snprintf(out, cap, "%s", value ? "true" : "false");
        break;
    case KMY_KEY_DURATION:
        format_units(durations, value, out, cap);
        break;
    case KMY_KEY_SIZE:
        format_units(sizes, value, out, cap);
        break;
    case KMY_KEY_MONEY:
        kmy_dec_format(value, -9, dec);
        snprintf(out, cap, "%s", dec);
        break;
    default:
        snprintf(out, cap, "%lld", (long long)value);
    }
}

void kmy_config_range_text(const kmy_config_key_t *key, char *out, size_t cap)
{
    char lo[KMY_DEC_BYTES_MAX];
    char hi[KMY_DEC_BYTES_MAX];
    if (key->type == KMY_KEY_BOOL) {
        snprintf(out, cap, "true or false");
    } else if (key->shape == KMY_SHAPE_WORD) {
        snprintf(out, cap, "%s%s", key->type == KMY_KEY_LIST ? "" : "one of ", key->words);
    } else if (key->type == KMY_KEY_TEXT) {
        snprintf(out, cap, "%s, %lld to %lld bytes",
                 key->shape == KMY_SHAPE_URL      ? key->words
                 : key->shape == KMY_SHAPE_LISTEN ? "IP address and port"
                                                  : "text",
                 (long long)key->min, (long long)key->max);
    } else if (key->type == KMY_KEY_LIST || key->type == KMY_KEY_MAP) {
        snprintf(out, cap, "%lld to %lld items", (long long)key->min, (long long)key->max);
    } else {
        kmy_config_value_text(key, key->min, lo, sizeof lo);
        kmy_config_value_text(key, key->max, hi, sizeof hi);
        snprintf(out, cap, "%s to %s", lo, hi);
    }
}

static kmy_err_t wrong(const kmy_config_key_t *key, const char *text, size_t len, const char *where,
                       kmy_errctx_t *ctx, const char *what)
{
    char shown[64];
    char range[128];
    kmy_config_range_text(key, range, sizeof range);
    return kmy_config_fail(ctx, where, key->path, "'%s' is %s; legal: %s",
                           kmy_config_shown(text, len, shown), what, range);
}

/* KMY_OK and *out, KMY_BAD_INPUT, or KMY_OVERFLOW. */
static kmy_err_t number(const kmy_config_key_t *key, const char *text, size_t len, int64_t *out)
{
    uint64_t n;
    switch (key->type) {
    case KMY_KEY_INT:
        if (!kmy_u64_parse(text, len, &n))
            return KMY_BAD_INPUT;
        *out = n > INT64_MAX ? INT64_MAX : (int64_t)n;
        return KMY_OK;
    case KMY_KEY_DURATION:
        return parse_units(durations, text, len, out) ? KMY_OK : KMY_BAD_INPUT;
    case KMY_KEY_SIZE:
        return parse_units(sizes, text, len, out) ? KMY_OK : KMY_BAD_INPUT;
    default:
        return kmy_nusd_parse(text, len, out);
    }
}

static const char *number_wanted(kmy_key_type_t type)
{
    switch (type) {
    case KMY_KEY_INT:
        return "no whole number";
    case KMY_KEY_DURATION:
        return "no duration such as 250ms, 5s, 12h";
    case KMY_KEY_SIZE:
        return "no size such as 65536, 64KiB, 16MiB";
    default:
        return "no amount of USD such as 0.0001";
    }
}

static kmy_err_t set_number(void *base, const kmy_config_key_t *key, const char *text, size_t len,
                            const char *where, kmy_errctx_t *ctx)
{
    int64_t v = 0;
    kmy_err_t err = number(key, text, len, &v);
    if (err == KMY_OVERFLOW)
        return wrong(key, text, len, where, ctx, "too large or has more than nine decimals");
    if (err != KMY_OK)
        return wrong(key, text, len, where, ctx, number_wanted(key->type));
    if (v < key->min || v > key->max)
        return wrong(key, text, len, where, ctx, "out of range");
    if (key->shape == KMY_SHAPE_POWER2 && (v & (v - 1)) != 0)
        return wrong(key, text, len, where, ctx, "no power of two");
    if (key->shape == KMY_SHAPE_MS)
        v *= 1000000; /* max is 60000 */
    if (base)
        *(int64_t *)(void *)((char *)base + key->at) = v;
    return KMY_OK;
}

bool kmy_config_listen_parse(const char *text, struct sockaddr_storage *out, socklen_t *len)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || !kmy_u64_parse(colon + 1, strlen(colon + 1), &port) || port > 65535)
        return false;
    const char *begin = text;
    size_t n = (size_t)(colon - text);
    bool six = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    if (six) {
        begin++;
        n -= 2;
    }
    if (n == 0 || n >= sizeof host)
        return false;
    memcpy(host, begin, n);
    host[n] = 0;
    memset(out, 0, sizeof *out);
    if (six) {
        struct sockaddr_in6 *sa = (struct sockaddr_in6 *)(void *)out;
        sa->sin6_family = AF_INET6;
        sa->sin6_port = htons((uint16_t)port);
        *len = sizeof *sa;
        return inet_pton(AF_INET6, host, &sa->sin6_addr) == 1;
    }
    struct sockaddr_in *sa = (struct sockaddr_in *)(void *)out;
    sa->sin_family = AF_INET;
    sa->sin_port = htons((uint16_t)port);
    *len = sizeof *sa;
    return inet_pton(AF_INET, host, &sa->sin_addr) == 1;
}

/* Is `text` one of the blank-separated words? */
static bool among(const char *words, const char *text, size_t len)
{
    for (const char *w = words; *w;) {
        size_t n = strcspn(w, " ");
        if (n == len && memcmp(w, text, n) == 0)
            return true;
        w += n;
        w += strspn(w, " ");
    }
    return false;
}

static const char *url_fault(const char *words, const char *text, size_t len)
{
    const char *sep = memmem(text, len, "://", 3);
    if (!sep || !among(words, text, (size_t)(sep - text)))
        return "no address of that kind";
    const char *host = sep + 3;
    size_t host_len = 0;
    while (host + host_len < text + len && !strchr("/?#", host[host_len]))
        host_len++;
    if (host_len == 0)
        return "an address without a host";
    if (memchr(host, '@', host_len))
        return "an address with a secret in it, which belongs in a file of its own";
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] <= 0x20 || text[i] == 0x7f)
            return "an address with a blank in it";
    }
    return NULL;
}

static bool feed_byte(unsigned char c)
{
    return isalnum(c) || c >= 0x80 || (c && strchr("/-_.:@+", c));
}

/* NULL: the text has the row's shape; else what it is instead. */
static const char *shape_fault(const kmy_config_key_t *key, const char *text, size_t len)
{
    struct sockaddr_storage sa;
    socklen_t sa_len;
    switch (key->shape) {
    case KMY_SHAPE_WORD:
        return among(key->words, text, len) ? NULL : "unknown";
    case KMY_SHAPE_LISTEN:
        return kmy_config_listen_parse(text, &sa, &sa_len)
                   ? NULL
                   : "no IP address with a port, such as 127.0.0.1:8402 or [::1]:0";
    case KMY_SHAPE_URL:
        return len == 0 ? NULL : url_fault(key->words, text, len);
    case KMY_SHAPE_SYMBOL:
    case KMY_SHAPE_FEED:
        for (size_t i = 0; i < len; i++) {
            unsigned char c = (unsigned char)text[i];
            if (key->shape == KMY_SHAPE_SYMBOL ? !(isalnum(c) || c >= 0x80 || c == '_')
                                               : !feed_byte(c))
                return "no such name: letters, digits and / - _ . : @ only";
        }
        return NULL;
    case KMY_SHAPE_NETWORK: {
        char copy[64];
        kmy_network_t network;
        if (len >= sizeof copy)
            return "no address or network";
        memcpy(copy, text, len);
        copy[len] = 0;
        return kmy_network_parse(copy, &network)
                   ? NULL
                   : "no address or network such as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32";
    }
    case KMY_SHAPE_ENV:
        for (size_t i = 0; i < len; i++) {
            if (!isalnum((unsigned char)text[i]) && text[i] != '_')
                return "no name of an environment variable";
        }
        return NULL;
    default:
        return NULL;
    }
}

static kmy_err_t set_text(void *base, const kmy_config_key_t *key, const char *text, size_t len,
                          const char *where, kmy_errctx_t *ctx)
{
    if (memchr(text, 0, len) || !kmy_utf8_valid(text, len))
        return wrong(key, text, len, where, ctx, "not text");
    if ((int64_t)len < key->min)
        return wrong(key, text, len, where, ctx, "too short");
    if ((int64_t)len > key->max)
        return wrong(key, text, len, where, ctx, "too long");
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return wrong(key, text, len, where, ctx, "text with a control character");
    }
    const char *fault = shape_fault(key, text, len);
    if (fault)
        return wrong(key, text, len, where, ctx, fault);
    if (base) {
        char *at = (char *)base + key->at;
        memcpy(at, text, len);
        at[len] = 0;
    }
    return KMY_OK;
}

kmy_err_t kmy_config_set(void *base, const kmy_config_key_t *key, const char *text, size_t len,
                         const char *where, kmy_errctx_t *ctx)
{
    if (key->at == KMY_CONFIG_LATER)
        base = NULL;
    switch (key->type) {
    case KMY_KEY_TEXT:
        return set_text(base, key, text, len, where, ctx);
    case KMY_KEY_BOOL: {
        bool yes = len == 4 && memcmp(text, "true", 4) == 0;
        if (!yes && !(len == 5 && memcmp(text, "false", 5) == 0))
            return wrong(key, text, len, where, ctx, "neither");
        if (base)
            *(bool *)(void *)((char *)base + key->at) = yes;
        return KMY_OK;
    }
    case KMY_KEY_LIST:
    case KMY_KEY_MAP:
    case KMY_KEY_TYPES:
        return kmy_config_fail(ctx, where, key->path, "wants a %s",
                               key->type == KMY_KEY_LIST ? "list: [a, b]" : "mapping: {a: b}");
    default:
        return set_number(base, key, text, len, where, ctx);
    }
}

kmy_err_t kmy_config_list_add(kmy_config_list_t *list, const kmy_config_key_t *key,
                              const char *text, size_t len, const char *where, kmy_errctx_t *ctx)
{
    char shown[64];
    kmy_config_key_t item = *key; /* the same shape, judged as one text */
    item.type = KMY_KEY_TEXT;
    item.min = 1;
    item.max = key->shape == KMY_SHAPE_FEED || key->shape == KMY_SHAPE_SYMBOL
                   ? KMY_FEED_NAME_BYTES_MAX
                   : KMY_CONFIG_TEXT_BYTES_MAX - 1;
    kmy_err_t err = set_text(NULL, &item, text, len, where, ctx);
    if (err != KMY_OK)
        return err;
    if ((int64_t)list->count >= key->max)
        return kmy_config_fail(ctx, where, key->path, "has more than %lld items",
                               (long long)key->max);
    for (size_t i = 0; i < list->count; i++) { /* at most 1024 items: half a million compares */
        if (strlen(list->items[i]) == len && memcmp(list->items[i], text, len) == 0)
            return kmy_config_fail(ctx, where, key->path, "'%s' stands twice in the list",
                                   kmy_config_shown(text, len, shown));
    }
    char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    char *copy = items ? strndup(text, len) : NULL;
    if (items)
        list->items = items;
    if (!copy)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    list->items[list->count++] = copy;
    return KMY_OK;
}

kmy_err_t kmy_config_list_done(const kmy_config_list_t *list, const kmy_config_key_t *key,
                               const char *where, kmy_errctx_t *ctx)
{
    if ((int64_t)list->count >= key->min)
        return KMY_OK;
    return kmy_config_fail(ctx, where, key->path, "has %zu items; legal: %lld to %lld", list->count,
                           (long long)key->min, (long long)key->max);
}

kmy_err_t kmy_config_list_split(kmy_config_list_t *list, const kmy_config_key_t *key,
                                const char *text, const char *where, kmy_errctx_t *ctx)
{
    kmy_config_list_free(list);
    if (text[strspn(text, " ")] == 0)
        return kmy_config_list_done(list, key, where, ctx);
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, ",");
        const char *from = p + strspn(p, " ");
        const char *to = p + len;
        while (to > from && to[-1] == ' ')
            to--;
        if (from > to)
            from = to;
        kmy_err_t err = kmy_config_list_add(list, key, from, (size_t)(to - from), where, ctx);
        if (err != KMY_OK)
            return err;
        p += len;
        if (*p == 0)
            return kmy_config_list_done(list, key, where, ctx);
    }
}

void kmy_config_list_free(kmy_config_list_t *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (kmy_config_list_t){ 0 };
}
