/* kamiyo snapshot: the last ticks straight out of the store's files, also while the daemon writes. */
#include "tools/kamiyo/kamiyo.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "store/snapshot.h"
#include "wire/flat.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct view {
    const cli_t *cli;
    uint64_t shown_count;
    uint64_t damaged_count;
} view_t;

static void add_decimal(json_t *row, const char *name, bool has, int64_t mant, int expo)
{
    char text[KMY_DEC_BYTES_MAX];
    if (!has)
        return;
    kmy_dec_format(mant, expo, text);
    json_object_set_new(row, name, json_string(text));
}

static void add_time(json_t *row, const char *name, int64_t ns)
{
    char text[24];
    if (ns == 0)
        return;
    snprintf(text, sizeof text, "%lld", (long long)ns);
    json_object_set_new(row, name, json_string(text));
}

static json_t *row_of(const kmy_tick_t *t, const char *feed)
{
    json_t *row = json_pack("{s:s, s:I, s:I, s:s}", "feed", feed, "offset", (json_int_t)t->offset,
                            "seq", (json_int_t)t->seq, "kind", kmy_kind_name(t->kind));
    char text[KMY_DEC_BYTES_MAX];
    add_decimal(row, "price", true, t->price_mant, t->price_expo);
    if (t->has & KMY_HAS_CONF) {
        kmy_dec_format_u(t->conf_mant, t->price_expo, text);
        json_object_set_new(row, "conf", json_string(text));
    }
    add_decimal(row, "bid", t->has & KMY_HAS_BID, t->bid_mant, t->price_expo);
    add_decimal(row, "ask", t->has & KMY_HAS_ASK, t->ask_mant, t->price_expo);
    add_decimal(row, "size", t->has & KMY_HAS_SIZE, t->size_mant, t->size_expo);
    json_object_set_new(row, "source", json_string(kmy_source_name(t->source)));
    add_time(row, "ts_event", t->event_ns);
    add_time(row, "ts_recv", t->recv_ns);
    return row;
}

/* --feed takes any spelling the daemon takes for a canonical name. */
static bool is_wanted(const char *want, const char *feed)
{
    if (!want)
        return true;
    for (; *want && *feed; want++, feed++) {
        char c = *want == '-' ? '/' : *want;
        if (strncasecmp(&c, feed, 1) != 0)
            return false;
    }
    return *want == *feed;
}

static bool visit(void *arg, uint32_t feed_id, uint8_t source, uint8_t kind, const void *value,
                  size_t bytes)
{
    view_t *v = arg;
    kmy_tick_t tick;
    char feed[KMY_FEED_NAME_BYTES_MAX];
    char price[KMY_DEC_BYTES_MAX];
    (void)feed_id;
    (void)source;
    (void)kind;
    if (kmy_flat_decode(value, bytes, &tick, feed, NULL) != KMY_OK) {
        v->damaged_count++;
        return true;
    }
    if (!is_wanted(v->cli->feed, feed))
        return true;
    v->shown_count++;
    if (v->cli->json) {
        json_t *row = row_of(&tick, feed);
        cli_print_json(row);
        json_decref(row);
        return true;
    }
    kmy_dec_format(tick.price_mant, tick.price_expo, price);
    printf("%-22s %-18s %-7s %-10s offset %-12llu age %lld ms\n", feed, price,
           kmy_kind_name(tick.kind), kmy_source_name(tick.source), (unsigned long long)tick.offset,
           (long long)((kmy_wall_ns() - tick.recv_ns) / KMY_NS_PER_MS));
    return true;
}

int cli_snapshot(const cli_t *cli)
{
    char path[4096];
    kmy_errctx_t ctx = { 0 };
    kmy_snapshot_reader_t *reader;
    view_t view = { .cli = cli };
    snprintf(path, sizeof path, "%s/snapshot", cli->data);
    kmy_err_t err = kmy_snapshot_reader_open(&reader, path, &ctx);
    if (err == KMY_OK) {
        err = kmy_snapshot_visit_last(reader, 0, visit, &view, &ctx);
        kmy_snapshot_reader_close(reader);
    }
    if (err != KMY_OK)
        return cli_fail(cli, "%s: %s; name the daemon's folder with --data", path,
                        ctx.detail[0] ? ctx.detail : kmy_err_text(err));
    if (view.damaged_count)
        return cli_fail(cli, "%s: %llu values are no ticks", path,
                        (unsigned long long)view.damaged_count);
    if (cli->feed && view.shown_count == 0)
        return cli_fail(cli, "%s holds no tick of %.60s", path, cli->feed);
    return CLI_OK;
}
