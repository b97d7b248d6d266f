/* The table the other way round: the effective configuration as YAML, and the reference page. */
#include "engine/config.h"
#include "engine/config_keys.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Double-quoted YAML; texts hold no control characters (config_value.c), so two escapes are enough. */
static void print_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            fputc('\\', out);
        fputc(*p, out);
    }
    fputc('"', out);
}

static void print_list(FILE *out, const kmy_config_list_t *list)
{
    fputc('[', out);
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            fputs(", ", out);
        print_text(out, list->items[i]);
    }
    fputc(']', out);
}

static void print_value(FILE *out, const void *base, const kmy_config_key_t *key)
{
    const char *at = (const char *)base + key->at;
    char text[64];
    if (key->type == KMY_KEY_TEXT) {
        print_text(out, at);
    } else if (key->type == KMY_KEY_LIST) {
        print_list(out, (const kmy_config_list_t *)(const void *)at);
    } else {
        int64_t v = key->type == KMY_KEY_BOOL ? *(const bool *)(const void *)at
                                              : *(const int64_t *)(const void *)at;
        if (key->shape == KMY_SHAPE_MS)
            v /= 1000000;
        kmy_config_value_text(key, v, text, sizeof text);
        fprintf(out, key->type == KMY_KEY_MONEY ? "\"%s\"" : "%s", text);
    }
}

/* Section heads that `path` opens and `before` had not: "sources:", "  binance:"; returns the depth of the last word. */
static int print_heads(FILE *out, const char *before, const char *path)
{
    int depth = 0;
    for (const char *p = path; (p = strchr(p, '.')) != NULL; p++) {
        size_t len = (size_t)(p - path) + 1; /* with its point */
        const char *word = p;
        while (word > path && word[-1] != '.')
            word--;
        if (strncmp(before, path, len) != 0)
            fprintf(out, "%*s%.*s:\n", 2 * depth, "", (int)(p - word), word);
        depth++;
    }
    return depth;
}

/* One list of records, one line each. */
static void print_records(FILE *out, const char *before, const char *path, const void *records,
                          size_t count, size_t record_bytes)
{
    char prefix[KMY_CONFIG_PATH_BYTES_MAX];
    int len = snprintf(prefix, sizeof prefix, "%s[].", path);
    int depth = print_heads(out, before, path);
    const char *word = strrchr(path, '.');
    fprintf(out, "%*s%s:%s\n", 2 * depth, "", word ? word + 1 : path, count ? "" : " []");
    for (size_t i = 0; i < count; i++) {
        const char *record = (const char *)records + i * record_bytes;
        const char *lead = "- { ";
        fprintf(out, "%*s", 2 * depth + 2, "");
        for (size_t k = 0; k < kmy_config_keys_count; k++) {
            const kmy_config_key_t *key = &kmy_config_keys[k];
            if (strncmp(key->path, prefix, (size_t)len) != 0)
                continue;
            fprintf(out, "%s%s: ", lead, key->path + len);
            print_value(out, record, key);
            lead = ", ";
        }
        fputs(" }\n", out);
    }
}

static void print_secret(FILE *out, const char *of, const char *file, const char *env)
{
    const char *secret = env[0] ? getenv(env) : NULL;
    fprintf(out, "# secret of %s: %s\n", of,
            file[0]               ? "from its file (masked)"
            : secret && secret[0] ? "from the environment (masked)"
                                  : "none");
}

void kmy_config_print(const kmy_config_t *cfg, FILE *out)
{
    const char *before = "";
    for (size_t i = 0; i < kmy_config_keys_count; i++) {
        const kmy_config_key_t *key = &kmy_config_keys[i];
        if (strcmp(key->path, "feeds[].name") == 0)
            print_records(out, before, "feeds", cfg->feeds, cfg->feeds_count, sizeof *cfg->feeds);
        if (strcmp(key->path, "prices.tiers[].stake") == 0)
            print_records(out, before, "prices.tiers", cfg->prices.tiers.at,
                          cfg->prices.tiers.count, sizeof *cfg->prices.tiers.at);
        if (strcmp(key->path, "payments.networks[].name") == 0)
            print_records(out, before, "payments.networks", cfg->payments.networks,
                          cfg->payments.networks_count, sizeof *cfg->payments.networks);
        if (key->at == KMY_CONFIG_LATER || strchr(key->path, '['))
            continue;
        int depth = print_heads(out, before, key->path);
        const char *word = strrchr(key->path, '.');
        fprintf(out, "%*s%s: ", 2 * depth, "", word ? word + 1 : key->path);
        print_value(out, cfg, key);
        fputc('\n', out);
        before = key->path;
    }
    print_secret(out, "sources.pyth", cfg->pyth.token_file, cfg->pyth.token_env);
    print_secret(out, "payments.facilitator", cfg->payments.facilitator_token_file,
                 cfg->payments.facilitator_token_env);
    print_secret(out, "payments.settler_key", cfg->payments.settler_key_file,
                 cfg->payments.settler_key_env);
}

static const char *type_name(const kmy_config_key_t *key)
{
    static const char *const names[KMY_KEY_TYPES] = {
        [KMY_KEY_TEXT] = "text",         [KMY_KEY_BOOL] = "bool",
        [KMY_KEY_INT] = "integer",       [KMY_KEY_DURATION] = "duration",
        [KMY_KEY_SIZE] = "size",         [KMY_KEY_MONEY] = "USD",
        [KMY_KEY_LIST] = "list of text", [KMY_KEY_MAP] = "mapping of text"
    };
    return names[key->type];
}

static void reference_row(FILE *out, const kmy_config_key_t *key)
{
    char env[KMY_CONFIG_PATH_BYTES_MAX];
    char range[128];
    bool has_env = kmy_config_env_name(key, env);
    kmy_config_range_text(key, range, sizeof range);
    fprintf(out, "| `%s` | %s | ", key->path, type_name(key));
    if (!key->def)
        fputs("must be given", out);
    else if (key->def[0])
        fprintf(out, "`%s`", key->def);
    else
        fputs("empty", out);
    fprintf(out, " | %s%s | %s%s%s |", range,
            key->shape == KMY_SHAPE_POWER2 ? ", power of two" : "", has_env ? "`" : "",
            has_env ? env : "-", has_env ? "`" : "");
    fprintf(out, " %s%s |\n", key->at == KMY_CONFIG_LATER ? "*Checked, not used yet.* " : "",
            key->help);
}

void kmy_config_reference(FILE *out)
{
    fputs("# Configuration\n\n"
          "<!-- Generated from engine/config_keys.c: kamiyod print-config --reference > "
          "docs/configuration.md -->\n\n"
          "One YAML file, at most 1 MiB; every key has a default, so an empty file starts a daemon "
          "that reaches for the\n"
          "real upstreams. The environment overrides the file for all keys but those inside lists "
          "of mappings; lists are\n"
          "comma-separated there. An unknown key, a key that stands twice, a wrong type or a value "
          "out of range is refused with\n"
          "file, line, key and the legal range. Anchors, aliases and tags are not accepted. An "
          "unknown `KAMIYO_` variable is warned of.\n\n"
          "- Durations: whole number and unit: `250ms`, `5s`, `10m`, `12h` (also `ns`, `us`).\n"
          "- Sizes: bytes, or with a unit: `65536`, `64KiB`, `16MiB`, `1GiB`.\n"
          "- USD: decimal text with at most nine decimals: `\"0.0001\"`; exact, never a binary "
          "float.\n"
          "- Secrets never stand in the file: they come from a file of their own or from the "
          "environment.\n\n"
          "| key | type | default | legal | environment | meaning |\n"
          "|---|---|---|---|---|---|\n",
          out);
    for (size_t i = 0; i < kmy_config_keys_count; i++)
        reference_row(out, &kmy_config_keys[i]);
}
