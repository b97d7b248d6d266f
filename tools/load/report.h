/* report: the verdict and its three shapes: a block for people, JSON for programs, a page with plots. */
#ifndef KMY_TOOLS_LOAD_REPORT_H
#define KMY_TOOLS_LOAD_REPORT_H

#include "tools/load/load.h"

#include <stdio.h>

enum { LOAD_BROKEN_MAX = 16 };

/* Against the scenario's bars.  broken: one line for each bar that was not met. */
typedef struct load_verdict {
    bool pass;
    uint32_t broken_count;
    char broken[LOAD_BROKEN_MAX][160];
    uint64_t errors; /* all faults */
    int64_t p50_ns, p99_ns, p999_ns, p9999_ns,
        max_ns;                 /* of ticks; of queries where nobody streams */
    double cpu_us_per_delivery; /* daemon, measured seconds; 0: unknown */
    double delivered_per_s, answers_per_s;
    double seconds;    /* measured */
    double client_cpu; /* our own, 1: a whole core; near 1 the harness itself is the limit */
} load_verdict_t;

void load_judge(const load_t *l, load_verdict_t *v);
void load_report_text(const load_t *l, const load_verdict_t *v, FILE *out);
void load_report_json(const load_t *l, const load_verdict_t *v, FILE *out);
/* One self-contained page; false: errno says why. */
bool load_report_html(const load_t *l, const load_verdict_t *v, const char *path);

#endif
