/* kamiyo conns: open connections, as the shards see them (operator). */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>

int cli_conns(const cli_t *cli)
{
    static const char *const members[] = { "id",    "shard", "peer",      "state", "account",
                                           "feeds", "ticks", "lag_ticks", "age_s" };
    static const char *const heads[] = { "ID",    "SHARD", "PEER", "STATE", "ACCOUNT",
                                         "FEEDS", "TICKS", "LAG",  "AGE s" };
    static const int widths[] = { 10, 5, 22, 12, 28, 6, 12, 8, 0 };
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
