/* kamiyo sources: upstream connections (operator). */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>

int cli_sources(const cli_t *cli)
{
    static const char *const members[] = { "source",           "state",     "connects", "frames",
                                           "last_tick_age_ms", "last_error" };
    static const char *const heads[] = { "SOURCE", "STATE",  "CONNECTS",
                                         "FRAMES", "AGE ms", "LAST ERROR" };
    static const int widths[] = { 10, 14, 9, 12, 9, 0 };
    json_t *answer;
    int code = cli_request(cli, CLI_ADMIN, "/v1/admin/sources", NULL, &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_table(json_object_get(answer, "sources"), members, heads, widths, 6);
    json_decref(answer);
    return CLI_OK;
}
