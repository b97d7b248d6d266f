#include "tools/load/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* One plot's frame on the page, in SVG units. */
enum { WIDTH = 860, HEIGHT = 300, LEFT = 64, RIGHT = 16, TOP = 16, BOTTOM = 40 };
#define PLOT_W (WIDTH - LEFT - RIGHT)
#define PLOT_H (HEIGHT - TOP - BOTTOM)

static const char style[] =
    "<style>body{font:14px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;"
    "color:#1a2230;background:#fff}"
    "h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2em}pre{background:#f3f5f8;padding:1em;"
    "overflow:auto}svg{width:100%;height:auto}.grid{stroke:#dde3ea}.axis{fill:#5a6678;font:11px "
    "sans-serif}.pass{color:#0a7d38}.fail{color:#b3261e}.a{stroke:#1f6feb;fill:none;stroke-width:1."
    "8}"
    ".b{stroke:#c2410c;fill:none;stroke-width:1.8}.c{stroke:#7c3aed;fill:none;stroke-width:1.4}"
    "@media(prefers-color-scheme:dark){body{color:#dfe6ee;background:#10151c}pre{background:#"
    "1a212b}"
    ".grid{stroke:#2a3340}.axis{fill:#93a0b2}}</style>";

static double ms(int64_t ns)
{
    return (double)ns / 1e6;
}

static void escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

/* The next of 1, 2, 5 x 10^n that is not below v: a scale people can read. */
static double round_up(double v)
{
    double p = pow(10, floor(log10(v > 1e-6 ? v : 1e-6)));
    double m = v / p;
    return (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10) * p;
}

static void begin_plot(FILE *out, const char *unit, double y_max)
{
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\">", WIDTH, HEIGHT);
    for (int i = 0; i <= 5; i++) {
        double y = TOP + PLOT_H * (5 - i) / 5.0;
        fprintf(out,
                "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text class=\"axis\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g%s</text>",
                LEFT, WIDTH - RIGHT, y, y, LEFT - 6, y + 4, y_max * i / 5, i == 5 ? unit : "");
    }
}

static void x_label(FILE *out, double x, const char *text)
{
    fprintf(out,
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>"
            "<text class=\"axis\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>",
            x, x, TOP, TOP + PLOT_H, x, HEIGHT - BOTTOM + 18, text);
}

/* Quantiles on an axis of nines: each step to the right is a tenth of what is left. */
static void percentile_curve(FILE *out, const load_hist_t *h)
{
    static const char *const labels[] = { "0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %" };
    double y_max = round_up(ms(h->max_ns));
    begin_plot(out, " ms", y_max);
    for (int i = 0; i < 6; i++)
        x_label(out, LEFT + PLOT_W * i / 5.0, labels[i]);
    fputs("<path class=\"a\" d=\"", out);
    for (int i = 0; i <= 250; i++) {
        double nines = i / 50.0;
        double q = 1 - pow(10, -nines);
        double y = ms(load_hist_quantile(h, q)) / y_max;
        fprintf(out, "%c%.1f %.1f", i ? 'L' : 'M', LEFT + PLOT_W * nines / 5,
                TOP + PLOT_H * (1 - y));
    }
    fputs("\"/></svg>\n", out);
}

static double value_of(const load_second_t *s, int which)
{
    switch (which) {
    case 0:
        return (double)s->p50_ms;
    case 1:
        return (double)s->p99_ms;
    case 2:
        return (double)s->delivered + s->answers;
    default:
        return (double)s->cpu * 100;
    }
}

/* At most a thousand points: of longer runs each point is the worst of its seconds. */
static double worst(const load_t *l, uint32_t from, uint32_t to, int which)
{
    double v = 0;
    for (uint32_t i = from; i < to; i++) {
        double one = value_of(&l->timeline[i], which);
        v = one > v ? one : v;
    }
    return v;
}

static void timeline(FILE *out, const load_t *l, int first, int last, const char *unit)
{
    uint32_t n = l->seconds < LOAD_SECONDS_MAX ? l->seconds : LOAD_SECONDS_MAX;
    if (n == 0)
        return;
    uint32_t step = n / 1000 + 1;
    double y_max = 0;
    for (int w = first; w <= last; w++) {
        double v = worst(l, 0, n, w);
        y_max = v > y_max ? v : y_max;
    }
    y_max = round_up(y_max);
    begin_plot(out, unit, y_max);
    for (int i = 0; i <= 5; i++) {
        char text[32];
        snprintf(text, sizeof text, "%.0f s", n * i / 5.0);
        x_label(out, LEFT + PLOT_W * i / 5.0, text);
    }
    for (int w = first; w <= last; w++) {
        fprintf(out, "<path class=\"%c\" d=\"", "abc"[w - first]);
        for (uint32_t i = 0; i < n; i += step) {
            double v = worst(l, i, i + step < n ? i + step : n, w) / y_max;
            fprintf(out, "%c%.1f %.1f", i ? 'L' : 'M', LEFT + PLOT_W * (i + 0.5) / n,
                    TOP + PLOT_H * (1 - v));
        }
        fputs("\"/>", out);
    }
    fputs("</svg>\n", out);
}

bool load_report_html(const load_t *l, const load_verdict_t *v, const char *path)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return false;
    const load_hist_t *h = l->tick.count ? &l->tick : l->query.count ? &l->query : &l->batch;
    fputs("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
          "content=\"width=device-width\"><title>kamiyo-load ",
          out);
    escaped(out, l->s.name);
    fprintf(out, "</title>%s<h1>", style);
    escaped(out, l->s.name);
    fprintf(out, ": <span class=\"%s\">%s</span></h1><p>", v->pass ? "pass" : "fail",
            v->pass ? "pass" : "fail");
    escaped(out, l->s.about);
    fputs("</p><pre>", out);
    char *text = NULL;
    size_t len = 0;
    FILE *mem = open_memstream(&text, &len);
    if (mem) {
        load_report_text(l, v, mem);
        fclose(mem);
        escaped(out, text);
        free(text);
    }
    fputs("</pre><h2>Latency by percentile</h2>\n", out);
    if (h->count > 0)
        percentile_curve(out, h);
    fputs("<h2>Latency second by second: p50 (blue), p99 (orange)</h2>\n", out);
    timeline(out, l, 0, 1, " ms");
    fputs("<h2>Deliveries and answers a second</h2>\n", out);
    timeline(out, l, 2, 2, "");
    fputs("<h2>CPU of the daemon, per cent of a core</h2>\n", out);
    timeline(out, l, 3, 3, " %");
    fputs("</html>\n", out);
    return fclose(out) == 0;
}
