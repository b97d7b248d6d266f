/* kamiyo feeds: what can be bought. */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>

int cli_feeds(const cli_t *cli)
{
    static const char *const members[] = { "feed",        "kind",   "sources", "price_tick",
                                           "price_query", "age_ms", "aliases" };
    static const char *const heads[] = { "FEED",      "KIND",   "SOURCES", "USD/TICK",
                                         "USD/QUERY", "AGE ms", "ALIASES" };
    static const int widths[] = { 22, 7, 14, 12, 12, 8, 0 };
    json_t *answer;
    int code = cli_request(cli, CLI_PUBLIC, "/v1/feeds", NULL, &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_table(json_object_get(answer, "feeds"), members, heads, widths, 7);
    json_decref(answer);
    return CLI_OK;
}
