/* kamiyo drain: no new sessions, and those that are there end; `drain off`: as before (operator). */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>
#include <string.h>

int cli_drain(const cli_t *cli)
{
    bool on = cli->words_count == 0;
    if (!on && strcmp(cli->words[0], "off") != 0)
        return cli_wrong(cli, "drain takes nothing, or off");
    json_t *answer;
    json_t *body = json_pack("{s:b}", "on", on);
    int code = cli_request(cli, CLI_ADMIN, "/v1/admin/drain", body, &answer);
    json_decref(body);
    if (code != CLI_OK)
        return code;
    char open[32];
    if (cli->json)
        cli_print_json(answer);
    else
        printf("%s; %s connections open\n",
               on ? "draining: no new sessions" : "new sessions are taken",
               cli_cell(answer, "open", open, sizeof open));
    json_decref(answer);
    return CLI_OK;
}
