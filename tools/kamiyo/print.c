/* What goes to standard output: JSON lines and plain tables. */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>
#include <stdlib.h>

void cli_print_json(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
    if (!text)
        abort();
    puts(text);
    free(text);
}

static size_t put(char *out, size_t cap, size_t n, const char *text)
{
    for (; *text && n + 1 < cap; text++)
        out[n++] = (char)((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
    out[n] = 0;
    return n;
}

const char *cli_cell(const json_t *object, const char *member, char *out, size_t cap)
{
    const json_t *v = json_object_get(object, member);
    char number[64];
    size_t n = 0;
    put(out, cap, 0, "-");
    if (json_is_string(v)) {
        put(out, cap, 0, json_string_value(v));
    } else if (json_is_integer(v)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
        put(out, cap, 0, number);
    } else if (json_is_real(v)) {
        snprintf(number, sizeof number, "%.3f", json_real_value(v));
        put(out, cap, 0, number);
    } else if (json_is_boolean(v)) {
        put(out, cap, 0, json_is_true(v) ? "yes" : "no");
    } else if (json_is_array(v) && json_array_size(v) > 0) {
        for (size_t i = 0; i < json_array_size(v); i++) {
            const char *item = json_string_value(json_array_get(v, i));
            n = put(out, cap, n, i ? "," : "");
            n = put(out, cap, n, item ? item : "?");
        }
    }
    return out;
}

void cli_table_head(const char *const *heads, const int *widths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%-*s%s", i + 1 < count ? widths[i] : 0, heads[i], i + 1 < count ? " " : "\n");
}

void cli_table_rows(const json_t *rows, const char *const *members, const int *widths, size_t count)
{
    char cell[256];
    for (size_t r = 0; r < json_array_size(rows); r++) {
        const json_t *row = json_array_get(rows, r);
        for (size_t i = 0; i < count; i++)
            printf("%-*s%s", i + 1 < count ? widths[i] : 0,
                   cli_cell(row, members[i], cell, sizeof cell), i + 1 < count ? " " : "\n");
    }
}

void cli_table(const json_t *rows, const char *const *members, const char *const *heads,
               const int *widths, size_t count)
{
    cli_table_head(heads, widths, count);
    cli_table_rows(rows, members, widths, count);
}
