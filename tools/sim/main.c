/* kamiyo-sim: upstream stand-ins on loopback, for tests, demos and integrators.

   Way of a frame: tape|market -> source (one cursor) -> pump (when) -> deliver (to whom, how) -> conn (bytes out).
   Trouble comes in by control, script or ctl, and is at work in mischief. */
#include "tools/sim/sim.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sim_t sim; /* one per process: the signal handler needs it */

static void on_signal(int sig)
{
    (void)sig;
    *(volatile bool *)&sim.stop = true;
}

static kmy_err_t add_market_streams(sim_venue_t *v, kmy_errctx_t *ctx)
{
    static const char *const kinds[] = { "@bookTicker", "@trade", "@aggTrade" };
    for (size_t i = 0; i < v->market.symbols_count; i++) {
        sim_market_symbol_t *s = &v->market.symbols[i];
        char name[80];
        for (size_t k = 0; k < (v->market.hermes ? 1u : 3u); k++) {
            int n = snprintf(name, sizeof name, "%s%s", v->market.hermes ? s->feed_id : s->name,
                             v->market.hermes ? "" : kinds[k]);
            for (char *at = name; *at && *at != '@'; at++)
                *at = *at >= 'A' && *at <= 'Z' ? (char)(*at + 32) : *at;
            uint32_t idx = sim_streams_intern(&v->streams, name, (size_t)n);
            if (idx != v->streams.count - 1)
                return KMY_FAIL(ctx, KMY_BAD_INPUT, "market: %s stands there twice", s->name);
            if (k == 0)
                s->stream = idx;
        }
    }
    return KMY_OK;
}

static kmy_err_t load_tape(sim_venue_t *v, const sim_options_t *o, size_t *total, kmy_errctx_t *ctx)
{
    kmy_err_t err = KMY_OK;
    for (int i = 0; i < o->replay_count && err == KMY_OK; i++) {
        size_t found = 0;
        err = sim_tape_load(&v->tape, o->replay[i],
                            v->which == SIM_HERMES ? SIM_TAPE_HERMES : SIM_TAPE_BINANCE, o->gap_ns,
                            &v->streams, &found, ctx);
        *total += found;
    }
    sim_tape_finish(&v->tape);
    return err;
}

static kmy_err_t fill_venue(sim_venue_t *v, const sim_options_t *o, kmy_errctx_t *ctx)
{
    v->source = (sim_source_t){ .loops = o->loops,
                                .rebase = o->rebase_time,
                                .begin_us = SIM_MARKET_BEGIN_US };
    if (v->tape.frames_count > 0) {
        v->source.tape = &v->tape;
    } else {
        kmy_err_t err = add_market_streams(v, ctx);
        if (err != KMY_OK)
            return err;
        v->source.market = &v->market;
    }
    v->stats = calloc(v->streams.count, sizeof *v->stats);
    return v->stats ? KMY_OK : KMY_FAIL(ctx, KMY_TOO_BIG, "out of memory");
}

static kmy_err_t load_data(kmy_errctx_t *ctx)
{
    sim_venue_t *b = &sim.venues[SIM_BINANCE], *h = &sim.venues[SIM_HERMES];
    size_t total = 0;
    kmy_err_t err = sim_market_parse(sim.o.market ? sim.o.market : "", &b->market, &h->market, ctx);
    if (err == KMY_OK)
        err = load_tape(b, &sim.o, &total, ctx);
    if (err == KMY_OK)
        err = load_tape(h, &sim.o, &total, ctx);
    if (err == KMY_OK && sim.o.replay_count > 0 && total == 0)
        err = KMY_FAIL(ctx, KMY_BAD_INPUT, "no stream frames in %.120s", sim.o.replay[0]);
    if (err == KMY_OK)
        err = fill_venue(b, &sim.o, ctx);
    return err == KMY_OK ? fill_venue(h, &sim.o, ctx) : err;
}

static kmy_err_t open_all(kmy_errctx_t *ctx)
{
    static const char *const names[] = { "binance", "hermes", "control" };
    for (int i = 0; i < SIM_VENUES; i++) {
        sim.venues[i].name = names[i];
        sim.venues[i].which = i;
        sim.venues[i].fd = -1;
    }
    kmy_err_t err = load_data(ctx);
    if (err == KMY_OK && sim.o.script)
        err = sim_script_load(sim.o.script, &sim.script, ctx);
    if (err == KMY_OK && sim.o.tls_auto)
        err = sim_tls_auto(&sim.tls, sim.o.tls_auto, ctx);
    if (err == KMY_OK && sim.o.tls_cert)
        err = sim_tls_load(&sim.tls, sim.o.tls_cert, sim.o.tls_key, ctx);
    return err == KMY_OK ? sim_server_open(&sim, ctx) : err;
}

static void say_ready(void)
{
    const char *ca = sim.tls.ca_path;
    json_t *root = json_object();
    if (!sim.o.json)
        fputs("listening", stdout);
    for (int i = 0; i < SIM_VENUES; i++) {
        if (!sim.o.listen[i])
            continue;
        json_object_set_new(root, sim.venues[i].name, json_string(sim.venues[i].url));
        if (!sim.o.json)
            printf(" %s=%s", sim.venues[i].name, sim.venues[i].url);
    }
    if (*ca)
        json_object_set_new(root, "ca", json_string(ca));
    if (sim.o.json) {
        char *text = json_dumps(root, JSON_COMPACT);
        printf("{\"listening\":%s}\n", text ? text : "{}");
        free(text);
    } else {
        printf("%s%s\n", *ca ? " ca=" : "", ca);
    }
    json_decref(root);
    fflush(stdout);
}

static void close_all(void)
{
    sim_server_close(&sim);
    for (int i = 0; i < SIM_VENUES; i++) {
        sim_tape_fini(&sim.venues[i].tape);
        sim_streams_fini(&sim.venues[i].streams);
        free(sim.venues[i].stats);
    }
    sim_tls_fini(&sim.tls);
    sim_script_free(sim.script);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "ctl") == 0)
        return sim_ctl(argc - 2, argv + 2);
    int code = sim_options_parse(argc, argv, &sim.o);
    if (code >= 0)
        return code;
    struct sigaction stop = { .sa_handler = on_signal }, ignore = { .sa_handler = SIG_IGN };
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    kmy_errctx_t ctx = { 0 };
    sim.epoll = -1;
    if (open_all(&ctx) != KMY_OK) {
        fprintf(stderr, "kamiyo-sim: %s\n", ctx.detail);
        close_all();
        return 1;
    }
    sim.start_ns = sim.now_ns = sim.timers_ns = kmy_mono_ns();
    say_ready();
    sim_server_run(&sim);
    close_all();
    return 0;
}
