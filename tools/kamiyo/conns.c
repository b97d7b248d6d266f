/* kamiyo conns: open connections, as the shards see them (operator). */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>

int cli_conns(const cli_t *cli)
{
    static const char *const members[] = { "id",        "door",  "state",         "peer",
                                           "account",   "feeds", "charged_ticks", "waiting_bytes",
                                           "blocked_ms" };
    static const char *const heads[] = { "ID",    "DOOR",    "STATE",   "PEER",      "ACCOUNT",
                                         "FEEDS", "CHARGED", "WAITING", "BLOCKED ms" };
    static const int widths[] = { 12, 7, 14, 16, 28, 6, 12, 9, 0 };
    json_t *answer;
    int code = cli_request(cli, CLI_ADMIN, "/v1/admin/conns", NULL, &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        cli_print_json(answer);
    else
        cli_table(json_object_get(answer, "conns"), members, heads, widths, 9);
    json_decref(answer);
    return CLI_OK;
}
