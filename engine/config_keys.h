/* config_keys: the one table of configuration keys.  Validation, environment names, print-config and docs/configuration.md all come from
   it; nothing else in the program names a key.  Adding a key is: a field in kmy_config_t, a row here. */
#ifndef KMY_ENGINE_CONFIG_KEYS_H
#define KMY_ENGINE_CONFIG_KEYS_H

#include "base/err.h"
#include "engine/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_CONFIG_PATH_BYTES_MAX 96 /* "payments.networks[].confirmations" and room */
#define KMY_CONFIG_WHERE_BYTES    160
#define KMY_CONFIG_LATER          SIZE_MAX /* kmy_config_key_t.at of a key that nothing reads yet */

typedef enum {
    KMY_KEY_TEXT,     /* kmy_config_text_t (or char[] of the row's max + 1) */
    KMY_KEY_BOOL,     /* bool: true or false */
    KMY_KEY_INT,      /* int64_t in [min, max] */
    KMY_KEY_DURATION, /* int64_t ns: "250ms", "5s", "12h" */
    KMY_KEY_SIZE,     /* int64_t bytes: "64KiB", "16MiB", 65536 */
    KMY_KEY_MONEY,    /* int64_t nano-USD: "0.0001" */
    KMY_KEY_LIST,     /* kmy_config_list_t; min..max is the number of items */
    KMY_KEY_MAP,      /* word: text; only among the keys that are not used yet */
    KMY_KEY_TYPES
} kmy_key_type_t;

/* What a text, or each item of a list, must look like. */
typedef enum {
    KMY_SHAPE_ANY,
    KMY_SHAPE_WORD,    /* one of the row's `words` */
    KMY_SHAPE_LISTEN,  /* IP address and port */
    KMY_SHAPE_URL,     /* scheme among `words`, a host, no user info; may be empty if min is 0 */
    KMY_SHAPE_SYMBOL,  /* a venue's symbol: no blanks, no separators */
    KMY_SHAPE_FEED,    /* a feed name or alias */
    KMY_SHAPE_ENV,     /* name of an environment variable */
    KMY_SHAPE_POWER2,  /* an integer that is a power of two */
    KMY_SHAPE_MS,      /* an integer of milliseconds; kept in ns */
    KMY_SHAPE_NETWORK, /* an IP address, or a network such as 10.0.0.0/8 */
} kmy_key_shape_t;

typedef struct kmy_config_key {
    const char *path; /* "sources.binance.url"; "feeds[].name" for a member of a list of records */
    kmy_key_type_t type;
    kmy_key_shape_t shape;
    size_t
        at; /* offset in kmy_config_t, in kmy_config_feed_t for feeds[]; KMY_CONFIG_LATER: checked, not kept */
    const char *
        def; /* default as it would stand in the file; items of a list comma-separated; NULL: required */
    int64_t min, max;  /* of the value, of a text's length, or of a list's count */
    const char *words; /* legal words or URL schemes, blank-separated */
    const char *help;
} kmy_config_key_t;

extern const kmy_config_key_t kmy_config_keys[];
extern const size_t kmy_config_keys_count;

/* The row of that path; NULL: none.  kmy_config_section: true if keys begin with `path` and a point. */
const kmy_config_key_t *kmy_config_key(const char *path);
bool kmy_config_section(const char *path);
/* The section's word for people ("feeds[]") in a list of records: true for "feeds", "payments.networks", "prices.tiers". */
bool kmy_config_records(const char *path);
/* The legal key nearest to a wrong one; NULL: none is near. */
const char *kmy_config_key_closest(const char *path);
/* "KAMIYO_SOURCES_BINANCE_URL"; false for keys inside records and maps, which the environment cannot set. */
bool kmy_config_env_name(const kmy_config_key_t *key, char out[KMY_CONFIG_PATH_BYTES_MAX]);

/* config_value.c: text <-> value.  `base` is the struct that key->at counts from (NULL: check only).
   kmy_config_set: one scalar; KMY_CONFIG, ctx->detail = "<where>: <path>: <reason, legal range>".
   kmy_config_list_add: one item of a list, checked against shape and doubles; the count's minimum is kmy_config_list_done's. */
kmy_err_t kmy_config_set(void *base, const kmy_config_key_t *key, const char *text, size_t len,
                         const char *where, kmy_errctx_t *ctx);
kmy_err_t kmy_config_list_add(kmy_config_list_t *list, const kmy_config_key_t *key,
                              const char *text, size_t len, const char *where, kmy_errctx_t *ctx);
kmy_err_t kmy_config_list_done(const kmy_config_list_t *list, const kmy_config_key_t *key,
                               const char *where, kmy_errctx_t *ctx);
/* Comma-separated items, blanks around them dropped; replaces the list. */
kmy_err_t kmy_config_list_split(kmy_config_list_t *list, const kmy_config_key_t *key,
                                const char *text, const char *where, kmy_errctx_t *ctx);
void kmy_config_list_free(kmy_config_list_t *list);
kmy_err_t kmy_config_fail(kmy_errctx_t *ctx, const char *where, const char *path, const char *fmt,
                          ...) __attribute__((format(printf, 4, 5)));
/* The legal range in words ("1 to 100000", "1ms to 1h"), and a value as it would stand in the file. */
void kmy_config_range_text(const kmy_config_key_t *key, char *out, size_t cap);
void kmy_config_value_text(const kmy_config_key_t *key, int64_t value, char *out, size_t cap);
/* Foreign text for an error line: at most 40 bytes, nothing unprintable. */
const char *kmy_config_shown(const char *text, size_t len, char out[64]);

#endif
