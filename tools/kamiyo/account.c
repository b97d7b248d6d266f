/* kamiyo account: the token's account; with --account, any (operator). */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>
#include <stdlib.h>

int cli_account(const cli_t *cli)
{
    json_t *answer;
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
