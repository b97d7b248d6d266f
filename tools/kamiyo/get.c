/* kamiyo get: one paid query. */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>
#include <stdlib.h>

int cli_get(const cli_t *cli)
{
    json_t *answer;
    char a[128], b[64], c[64], d[64], e[64];
    char *path = cli_path("/v1/ingest-data?feed=", cli->words[0]);
    int code = cli_request(cli, CLI_PUBLIC_PAID, path, NULL, &answer);
    free(path);
    if (code != CLI_OK)
        return code;
    const json_t *data = json_object_get(answer, "data");
    if (cli->json)
        cli_print_json(answer);
    else
        printf("%s %s %s, age %s ms, charged %s USD", cli_cell(answer, "feed", a, sizeof a),
               cli_cell(data, "price", b, sizeof b), cli_cell(data, "source", c, sizeof c),
               cli_cell(answer, "age_ms", d, sizeof d), cli_cell(answer, "charged", e, sizeof e));
    if (!cli->json)
        printf(", balance %s USD%s\n", cli_cell(answer, "balance", a, sizeof a),
               json_is_true(json_object_get(answer, "degraded")) ? " (degraded)" : "");
    json_decref(answer);
    return CLI_OK;
}
