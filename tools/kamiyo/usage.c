/* kamiyo account usage: what the token's account used in a window, by feed and mode, page by page. */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>
#include <string.h>

static void print_modes(const char *feed, const json_t *modes)
{
    const char *mode;
    json_t *used;
    json_object_foreach((json_t *)modes, mode, used)
    {
        char cell[2][64];
        printf("%-28s %-8s %12s %18s\n", feed, mode, cli_cell(used, "count", cell[0], 64),
               cli_cell(used, "amount", cell[1], 64));
    }
}

static void print_page(const json_t *page)
{
    const json_t *feeds = json_object_get(page, "feeds");
    for (size_t i = 0; i < json_array_size(feeds); i++) {
        const json_t *feed = json_array_get(feeds, i);
        char cell[128];
        print_modes(cli_cell(feed, "feed", cell, sizeof cell), json_object_get(feed, "modes"));
    }
}

static void print_total(const json_t *page)
{
    const json_t *total = json_object_get(page, "total");
    char cell[3][64];
    printf("%s USD in all, from %s to %s\n", cli_cell(total, "amount", cell[0], 64),
           cli_cell(page, "from", cell[1], 64), cli_cell(page, "to", cell[2], 64));
}

int cli_usage_of_account(const cli_t *cli)
{
    char cursor[32] = "";
    do {
        char path[128];
        json_t *page;
        snprintf(path, sizeof path, "/v1/account/usage?window=%.16s%s%s",
                 cli->window ? cli->window : "24h", cursor[0] ? "&cursor=" : "", cursor);
        int code = cli_request(cli, CLI_PUBLIC_PAID, path, NULL, &page);
        if (code != CLI_OK)
            return code;
        const char *next = json_string_value(json_object_get(page, "cursor"));
        snprintf(cursor, sizeof cursor, "%.20s", next ? next : "");
        if (cli->json)
            cli_print_json(page);
        else
            print_page(page);
        if (!cli->json && !cursor[0])
            print_total(page);
        json_decref(page);
    } while (cursor[0]);
    return CLI_OK;
}
