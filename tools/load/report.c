#include "tools/load/report.h"

#include "base/money.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* --- the verdict --------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void broken(load_verdict_t *v, const char *fmt, ...)
{
    v->pass = false;
    if (v->broken_count == LOAD_BROKEN_MAX)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(v->broken[v->broken_count++], sizeof v->broken[0], fmt, ap);
    va_end(ap);
}

static void at_most(load_verdict_t *v, const char *what, double got, double bar)
{
    if (bar > 0 && got > bar)
        broken(v, "%s %.3f is above %.3f", what, got, bar);
}

static void judge_counts(const load_t *l, load_verdict_t *v)
{
    const load_bars_t *b = &l->s.bars;
    if ((double)l->lost > b->lost)
        broken(v, "lost %" PRIu64 " ticks (%s)", l->lost, l->lost_detail);
    if ((double)l->miscounted > b->miscounted)
        broken(v, "miscounted %" PRIu64 " times (%s)", l->miscounted, l->miscount_detail);
    for (int i = 0; i < LOAD_FAULTS; i++) {
        v->errors += l->faults[i];
        if (l->faults[i] > 0 && (double)v->errors > b->errors)
            broken(v, "%s x %" PRIu64 " (%s)", load_fault_names[i], l->faults[i],
                   l->fault_detail[i]);
    }
    if ((double)(l->delivered + l->answers) < b->delivered_min)
        broken(v, "delivered %" PRIu64 " is below %.0f", l->delivered + l->answers,
               b->delivered_min);
    if (l->up_count < l->agents_count)
        broken(v, "only %u of %u agents came up", l->up_count, l->agents_count);
    if ((double)l->slow_warnings < b->slow_warned_min)
        broken(v, "%" PRIu64 " slow_reader_warning frames are below %.0f", l->slow_warnings,
               b->slow_warned_min);
}

static double ms(int64_t ns)
{
    return (double)ns / 1e6;
}

void load_judge(const load_t *l, load_verdict_t *v)
{
    const load_hist_t *h = l->tick.count ? &l->tick : l->query.count ? &l->query : &l->batch;
    const load_bars_t *b = &l->s.bars;
    *v = (load_verdict_t){ .pass = true };
    v->p50_ns = load_hist_quantile(h, 0.5);
    v->p99_ns = load_hist_quantile(h, 0.99);
    v->p999_ns = load_hist_quantile(h, 0.999);
    v->p9999_ns = load_hist_quantile(h, 0.9999);
    v->max_ns = h->count ? h->max_ns : 0;
    if (l->stop_ns > l->measure_ns && l->measure_ns > 0)
        v->seconds = (double)(l->stop_ns - l->measure_ns) / 1e9;
    uint64_t done = l->measured_delivered + l->measured_answers;
    double cpu_us = (double)(l->server_stop.cpu_ns - l->server_measure.cpu_ns) / 1e3;
    if (done > 0 && v->seconds > 0) {
        v->cpu_us_per_delivery = l->server_pid ? cpu_us / (double)done : 0;
        v->delivered_per_s = (double)l->measured_delivered / v->seconds;
        v->answers_per_s = (double)l->measured_answers / v->seconds;
        v->client_cpu = (double)(l->self_stop.cpu_ns - l->self_measure.cpu_ns) / 1e9 / v->seconds;
    }
    judge_counts(l, v);
    at_most(v, "p50_ms", ms(v->p50_ns), b->p50_ms);
    at_most(v, "p99_ms", ms(v->p99_ns), b->p99_ms);
    at_most(v, "p999_ms", ms(v->p999_ns), b->p999_ms);
    at_most(v, "query_p99_ms", ms(load_hist_quantile(&l->query, 0.99)), b->query_p99_ms);
    at_most(v, "back_p99_ms", ms(load_hist_quantile(&l->back, 0.99)), b->back_p99_ms);
    at_most(v, "cpu_us_per_delivery", v->cpu_us_per_delivery, b->cpu_us_per_delivery);
    at_most(v, "rss_mib", (double)l->server_rss_max / 1048576, b->rss_mib);
    if (v->delivered_per_s < b->delivered_per_s_min)
        broken(v, "delivered_per_s %.0f is below %.0f", v->delivered_per_s, b->delivered_per_s_min);
}

/* --- for people ---------------------------------------------------------------------------- */

static void latency_line(FILE *out, const char *name, const load_hist_t *h)
{
    if (h->count == 0)
        return;
    fprintf(out,
            "  %-8s p50=%.3f  p90=%.3f  p99=%.3f  p99.9=%.3f  p99.99=%.3f  max=%.3f ms  (n=%" PRIu64
            ")\n",
            name, ms(load_hist_quantile(h, 0.5)), ms(load_hist_quantile(h, 0.9)),
            ms(load_hist_quantile(h, 0.99)), ms(load_hist_quantile(h, 0.999)),
            ms(load_hist_quantile(h, 0.9999)), ms(h->max_ns), h->count);
}

static void cpu_model(char *out, size_t cap)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    snprintf(out, cap, "?");
    while (f && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, ": ");
        if (strncmp(line, "model name", 10) != 0 || !at)
            continue;
        snprintf(out, cap, "%.*s", (int)strcspn(at + 2, "\n\"\\"), at + 2);
        break;
    }
    if (f)
        fclose(f);
}

static void head_lines(const load_t *l, FILE *out)
{
    char cpu[128];
    struct utsname u;
    cpu_model(cpu, sizeof cpu);
    uname(&u);
    fprintf(out, "kamiyo-load %s  cpu=\"%s\" %ld cores  kernel=%s\n", l->s.name, cpu,
            sysconf(_SC_NPROCESSORS_ONLN), u.release);
    fprintf(out, "  load     agents=%u  feeds=%u  ticks/s=%g each (%s)%s%s  groups=%u\n",
            l->s.agents, l->s.market_feeds, l->s.ticks_per_s, l->s.stream,
            l->s.pyth ? " + pyth" : "", l->raw ? "  not kamiyod" : "", l->s.groups_count);
}

void load_report_text(const load_t *l, const load_verdict_t *v, FILE *out)
{
    head_lines(l, out);
    fprintf(out,
            "  result   delivered=%" PRIu64 " (%.0f/s over %.1f s)  answers=%" PRIu64
            " (%.0f/s)  lost=%" PRIu64 "  miscounted=%" PRIu64 "  errors=%" PRIu64 "\n",
            l->delivered, v->delivered_per_s, v->seconds, l->answers, v->answers_per_s, l->lost,
            l->miscounted, v->errors);
    latency_line(out, "tick", &l->tick);
    latency_line(out, "query", &l->query);
    latency_line(out, "batch", &l->batch);
    latency_line(out, "topup", &l->topup);
    latency_line(out, "join", &l->join);
    latency_line(out, "back", &l->back);
    latency_line(out, "balance", &l->answer);
    latency_line(out, "bye", &l->bye);
    fprintf(out, "  gaps    ");
    for (int i = 0; i < LOAD_GAP_REASONS; i++) {
        if (l->gaps[i] > 0 || i == 0)
            fprintf(out, " %s=%" PRIu64 " (%" PRIu64 " ticks) ", load_gap_names[i], l->gaps[i],
                    l->gap_ticks[i]);
    }
    fprintf(out, " storms=%u  reconnects=%" PRIu64 "  evicted=%" PRIu64 "  topups=%" PRIu64 "\n",
            l->storms, l->reconnects, l->evicted, l->topups);
    if (l->storms > 0)
        fprintf(out, "  storms   all back after %.0f ms at most\n", ms(l->all_back_ns));
    if (l->tls)
        fprintf(out, "  tls      handshakes=%" PRIu64 "  resumed=%" PRIu64 "%s\n",
                l->tls_handshakes, l->tls_resumed,
                l->tls_insecure ? "  INSECURE: nobody checked who answered" : "");
    if (l->s.spend)
        fprintf(out, "  spent    accounts=%u  paused=%" PRIu64 "  unspent ticks=%" PRIu64 "\n",
                l->accounts_count, l->paused, l->unspent);
    if (l->server_pid)
        fprintf(
            out,
            "  daemon   cpu=%.2f s (%.0f %% of a core)  cpu/delivery=%.3f us  rss=%.1f MiB (most "
            "%.1f)\n",
            (double)(l->server_stop.cpu_ns - l->server_measure.cpu_ns) / 1e9,
            v->seconds > 0
                ? (double)(l->server_stop.cpu_ns - l->server_measure.cpu_ns) / 1e7 / v->seconds
                : 0,
            v->cpu_us_per_delivery, (double)l->server_stop.rss_bytes / 1048576,
            (double)l->server_rss_max / 1048576);
    fprintf(out, "  harness  cpu=%.0f %% of a core  reads=%" PRIu64 "  ticks/read=%.1f%s\n",
            v->client_cpu * 100, l->reads, l->reads ? (double)l->delivered / (double)l->reads : 0,
            v->client_cpu > 0.95 ? "  (the harness is the limit)" : "");
    fprintf(out, "  verdict  %s\n", v->pass ? "pass" : "FAIL");
    for (uint32_t i = 0; i < v->broken_count; i++)
        fprintf(out, "           %s\n", v->broken[i]);
}

/* --- for programs -------------------------------------------------------------------------- */

static void json_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c > 0x7e)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void json_latency(FILE *out, const char *name, const load_hist_t *h, bool first)
{
    fprintf(out, "%s\"%s\":{\"count\":%" PRIu64, first ? "" : ",", name, h->count);
    static const struct {
        const char *name;
        double q;
    } at[] = { { "p50_ms", 0.5 },    { "p90_ms", 0.9 },      { "p99_ms", 0.99 },
               { "p999_ms", 0.999 }, { "p9999_ms", 0.9999 }, { "max_ms", 1 } };
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
        fprintf(out, ",\"%s\":%.6f", at[i].name, ms(load_hist_quantile(h, at[i].q)));
    fputc('}', out);
}

static void json_counts(const load_t *l, FILE *out)
{
    fputs(",\"gaps\":{", out);
    for (int i = 0; i < LOAD_GAP_REASONS; i++)
        fprintf(out, "%s\"%s\":{\"frames\":%" PRIu64 ",\"ticks\":%" PRIu64 "}", i ? "," : "",
                load_gap_names[i], l->gaps[i], l->gap_ticks[i]);
    fputs("},\"error_kinds\":{", out);
    for (int i = 0, n = 0; i < LOAD_FAULTS; i++) {
        if (l->faults[i] == 0)
            continue;
        fprintf(out, "%s\"%s\":{\"count\":%" PRIu64 ",\"first\":", n++ ? "," : "",
                load_fault_names[i], l->faults[i]);
        json_text(out, l->fault_detail[i]);
        fputc('}', out);
    }
    fprintf(out,
            "},\"storms\":%u,\"reconnects\":%" PRIu64 ",\"resumes\":%" PRIu64
            ",\"sessions\":%" PRIu64 ",\"evicted\":%" PRIu64 ",\"slow_reader_warnings\":%" PRIu64
            ",\"topups\":%" PRIu64 ",\"accounts\":%u,\"paused\":%" PRIu64 ",\"unspent\":%" PRIu64
            ",\"all_back_ms\":%.3f",
            l->storms, l->reconnects, l->resumes, l->sessions, l->evicted, l->slow_warnings,
            l->topups, l->accounts_count, l->paused, l->unspent, ms(l->all_back_ns));
}

void load_report_json(const load_t *l, const load_verdict_t *v, FILE *out)
{
    fputs("{\"scenario\":", out);
    json_text(out, l->s.name);
    fprintf(out,
            ",\"verdict\":\"%s\",\"agents\":%u,\"delivered\":%" PRIu64 ",\"lost\":%" PRIu64
            ",\"miscounted\":%" PRIu64
            ",\"p50_ms\":%.6f,\"p99_ms\":%.6f,\"p999_ms\":%.6f,\"errors\":%" PRIu64,
            v->pass ? "pass" : "fail", l->s.agents, l->delivered, l->lost, l->miscounted,
            ms(v->p50_ns), ms(v->p99_ns), ms(v->p999_ns), v->errors);
    fprintf(out,
            ",\"server\":{\"cpu_s\":%.6f,\"rss_bytes\":%" PRId64 ",\"rss_max_bytes\":%" PRId64
            ",\"ticks_per_send\":%.3f}",
            (double)(l->server_end.cpu_ns - l->server_begin.cpu_ns) / 1e9, l->server_stop.rss_bytes,
            l->server_rss_max,
            l->server_sends ? (double)l->server_ticks / (double)l->server_sends : 0);
    fprintf(out,
            ",\"answers\":%" PRIu64 ",\"measured\":{\"seconds\":%.3f,\"delivered\":%" PRIu64
            ",\"answers\":%" PRIu64
            ",\"delivered_per_s\":%.1f,\"answers_per_s\":%.1f,\"cpu_s\":%.6f,"
            "\"cpu_us_per_delivery\":%.6f}",
            l->answers, v->seconds, l->measured_delivered, l->measured_answers, v->delivered_per_s,
            v->answers_per_s, (double)(l->server_stop.cpu_ns - l->server_measure.cpu_ns) / 1e9,
            v->cpu_us_per_delivery);
    fputs(",\"latency\":{", out);
    json_latency(out, "tick", &l->tick, true);
    json_latency(out, "query", &l->query, false);
    json_latency(out, "batch", &l->batch, false);
    json_latency(out, "topup", &l->topup, false);
    json_latency(out, "join", &l->join, false);
    json_latency(out, "back", &l->back, false);
    json_latency(out, "balance", &l->answer, false);
    json_latency(out, "bye", &l->bye, false);
    fputc('}', out);
    json_counts(l, out);
    if (l->tls)
        fprintf(out,
                ",\"tls\":{\"handshakes\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"insecure\":%s}",
                l->tls_handshakes, l->tls_resumed, l->tls_insecure ? "true" : "false");
    char ledger[KMY_NUSD_BYTES_MAX], ours[KMY_NUSD_BYTES_MAX], slack[KMY_NUSD_BYTES_MAX];
    kmy_nusd_format(l->ledger_nusd, ledger);
    kmy_nusd_format(l->charged_nusd, ours);
    kmy_nusd_format(l->slack_nusd, slack);
    fprintf(
        out,
        ",\"money\":{\"ledger\":\"%s\",\"counted\":\"%s\",\"open\":\"%s\"},\"harness\":{\"cpu\":"
        "%.3f,\"reads\":%" PRIu64 ",\"bytes\":%" PRIu64 "},\"broken\":[",
        ledger, ours, slack, v->client_cpu, l->reads, l->bytes);
    for (uint32_t i = 0; i < v->broken_count; i++) {
        fputs(i ? "," : "", out);
        json_text(out, v->broken[i]);
    }
    fputs("]}\n", out);
}
