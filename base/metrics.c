#include "base/metrics.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *name;
    const char *type;
    const char *help;
} rows[KMY_METRIC_COUNT] = {
#define KMY_METRIC_ROW(name, type, help) { #name, #type, help },
    KMY_METRICS_TABLE(KMY_METRIC_ROW)
#undef KMY_METRIC_ROW
};

int64_t kmy_metrics_sum(kmy_metrics_t *const *threads, size_t count, int idx)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += atomic_load_explicit(&threads[i]->value[idx], memory_order_relaxed);
    return sum;
}

size_t kmy_metrics_text(kmy_metrics_t *const *threads, size_t count, char *out, size_t cap)
{
    size_t n = 0;
    for (int i = 0; i < KMY_METRIC_COUNT; i++) {
        int m = snprintf(n < cap ? out + n : NULL, n < cap ? cap - n : 0,
                         "# HELP kamiyo_%s %s\n# TYPE kamiyo_%s %s\nkamiyo_%s %" PRId64 "\n",
                         rows[i].name, rows[i].help, rows[i].name, rows[i].type, rows[i].name,
                         kmy_metrics_sum(threads, count, i));
        n += m > 0 ? (size_t)m : 0;
    }
    return n;
}
