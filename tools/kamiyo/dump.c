/* kamiyo ledger dump: price books and entries as they stand in the files, one a line; needs no daemon and minds none. */
#include "tools/kamiyo/kamiyo.h"

#include "base/money.h"
#include "pay/ledger_dump.h"

#include <inttypes.h>
#include <stdio.h>

static json_t *nusd(int64_t v)
{
    char text[KMY_NUSD_BYTES_MAX];
    kmy_nusd_format(v, text);
    return json_string(text);
}

static json_t *time_of(int64_t ns)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, ns);
    return json_string(text);
}

static void tell(const cli_t *cli, json_t *row)
{
    const char *name;
    json_t *value;
    if (cli->json)
        cli_print_json(row);
    else
        json_object_foreach(row, name, value)
        {
            char cell[256];
            printf("%s=%s ", name, cli_cell(row, name, cell, sizeof cell));
        }
    if (!cli->json)
        putchar('\n');
    json_decref(row);
}

static void book(void *arg, const kmy_price_book_t *b, int64_t since_ns)
{
    tell(arg, json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:i, s:i}", "kind", "prices",
                        "price_book", (json_int_t)b->version, "since", time_of(since_ns), "tick",
                        nusd(b->tick_nusd), "query", nusd(b->query_nusd), "market_query",
                        nusd(b->market_query_nusd), "pass", nusd(b->pass_nusd), "batch_discount",
                        (int)b->batch_discount_percent, "batch_from", (int)b->batch_from));
}

static void entry(void *arg, uint64_t id, const kmy_entry_t *e, const char *account,
                  const char *feed)
{
    json_t *row = json_pack("{s:s, s:I, s:o, s:s, s:o}", "kind", kmy_entry_kind_name(e->kind),
                            "entry", (json_int_t)id, "time", time_of(e->time_ns), "account",
                            account, "amount", nusd(e->amount_nusd));
    if (kmy_entry_to(e->kind) == KMY_SIDE_CONSUMED) {
        json_object_set_new(row, "mode", json_string(kmy_mode_name((kmy_mode_t)e->mode)));
        json_object_set_new(row, "feed", json_string(feed));
        json_object_set_new(row, "price_book", json_integer((json_int_t)e->price_book));
        json_object_set_new(row, "discount", json_integer(e->discount_percent));
        json_object_set_new(row, "ticks", json_integer((json_int_t)e->ticks_count));
        json_object_set_new(row, "queries", json_integer((json_int_t)e->queries_count));
    } else if (kmy_entry_has_ref(e->kind)) {
        json_object_set_new(row, "word", json_stringn(e->word, e->word_bytes));
        json_object_set_new(row, "ref", json_stringn(e->ref, e->ref_bytes));
    } else {
        json_object_set_new(row, "shard", json_integer(e->shard));
    }
    tell(arg, row);
}

int cli_ledger_dump(const cli_t *cli)
{
    char path[4096];
    kmy_errctx_t ctx = { 0 };
    const kmy_ledger_dump_t to = { (void *)cli, book, entry };
    snprintf(path, sizeof path, "%s/ledger", cli->data);
    kmy_err_t err = kmy_ledger_dump_path(path, &to, &ctx);
    if (err != KMY_OK)
        return cli_fail(cli, "%s: %s; name the daemon's folder with --data", path,
                        ctx.detail[0] ? ctx.detail : kmy_err_text(err));
    return CLI_OK;
}
