/* kamiyo account: the token's account; with --account, any (operator).  kamiyo account usage: usage.c. */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_account(const cli_t *cli)
{
    json_t *answer;
    if (cli->words_count > 0 && strcmp(cli->words[0], "usage") != 0)
        return cli_wrong(cli, "no 'account %.40s'; there is usage", cli->words[0]);
    if (cli->words_count > 0 && cli->account)
        return cli_wrong(cli, "usage is the token's account's: leave --account out");
    if (cli->words_count > 0)
        return cli_usage_of_account(cli);
    char *path = cli->account ? cli_path("/v1/admin/accounts?account=", cli->account) : NULL;
    int code = cli_request(cli, path ? CLI_ADMIN : CLI_PUBLIC_PAID, path ? path : "/v1/account",
                           NULL, &answer);
    free(path);
    if (code != CLI_OK)
        return code;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        const char *name;
        json_t *value;
        json_object_foreach(answer, name, value)
        {
            char cell[256];
            if (!json_is_object(value))
                printf("%-16s %s\n", name, cli_cell(answer, name, cell, sizeof cell));
        }
    }
    json_decref(answer);
    return CLI_OK;
}
