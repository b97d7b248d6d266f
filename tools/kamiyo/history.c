/* kamiyo history: ticks that the daemon keeps, page by page; paid. */
#include "tools/kamiyo/kamiyo.h"

#include "base/clock.h"
#include "base/money.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_MAX = 1000, COUNT_DEFAULT = 100 };

enum { COLUMNS = 8 };
static const char *const members[COLUMNS] = { "ts_recv", "offset", "kind", "source",
                                              "price",   "bid",    "ask",  "size" };
static const char *const heads[COLUMNS] = { "RECEIVED ns", "OFFSET", "KIND", "SOURCE",
                                            "PRICE",       "BID",    "ASK",  "SIZE" };
static const int widths[COLUMNS] = { 20, 10, 7, 9, 16, 16, 16, 0 };

static void print_ticks(const cli_t *cli, const json_t *page)
{
    const json_t *ticks = json_object_get(page, "ticks");
    for (size_t i = 0; cli->json && i < json_array_size(ticks); i++)
        cli_print_json(json_array_get(ticks, i));
    if (!cli->json)
        cli_table_rows(ticks, members, widths, COLUMNS);
}

static int ask(const cli_t *cli, uint64_t limit, int64_t from_ns, const char *cursor, json_t **page)
{
    char path[256];
    int n =
        snprintf(path, sizeof path, "/v1/history?limit=%" PRIu64 "&from=%" PRId64, limit, from_ns);
    if (cursor[0])
        n += snprintf(path + n, sizeof path - (size_t)n, "&cursor=%s", cursor);
    snprintf(path + n, sizeof path - (size_t)n, "&feed=");
    char *whole = cli_path(path, cli->words[0]);
    int code = cli_request(cli, CLI_PUBLIC_PAID, whole, NULL, page);
    free(whole);
    return code;
}

static int64_t charged(const json_t *page)
{
    const char *text = json_string_value(json_object_get(page, "charged"));
    int64_t nusd = 0;
    if (text)
        kmy_nusd_parse(text, strlen(text), &nusd);
    return nusd;
}

int cli_history(const cli_t *cli)
{
    uint64_t left = cli->count ? cli->count : COUNT_DEFAULT;
    int64_t from_ns = cli->seconds ? kmy_wall_ns() - cli->seconds * KMY_NS_PER_S : 0;
    int64_t sum_nusd = 0;
    uint64_t got = 0;
    char cursor[32] = "";
    char balance[64] = "-";
    for (bool more = true; more && left > 0;) {
        json_t *page;
        int code = ask(cli, left < PAGE_MAX ? left : PAGE_MAX, from_ns, cursor, &page);
        if (code != CLI_OK)
            return code;
        uint64_t count = json_array_size(json_object_get(page, "ticks"));
        if (!cli->json && got == 0 && count > 0)
            cli_table_head(heads, widths, COLUMNS);
        print_ticks(cli, page);
        cli_cell(page, "cursor", cursor, sizeof cursor);
        cli_cell(page, "balance", balance, sizeof balance);
        sum_nusd += charged(page);
        got += count;
        left -= count < left ? count : left;
        more = json_is_true(json_object_get(page, "more")) && count > 0 &&
               strspn(cursor, "0123456789") == strlen(cursor);
        json_decref(page);
    }
    char usd[KMY_NUSD_BYTES_MAX];
    kmy_nusd_format(sum_nusd, usd);
    if (!cli->json)
        printf("%" PRIu64 " ticks, charged %s USD, balance %s USD\n", got, usd, balance);
    return CLI_OK;
}
