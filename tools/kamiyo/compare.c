/* kamiyo compare: the sources of one feed beside each other; paid. */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>
#include <stdlib.h>

int cli_compare(const cli_t *cli)
{
    static const char *const members[] = { "rank", "source", "price",  "deviation_bps", "bid",
                                           "ask",  "conf",   "age_ms", "stale" };
    static const char *const heads[] = { "RANK", "SOURCE", "PRICE",  "BPS",  "BID",
                                         "ASK",  "CONF",   "AGE ms", "STALE" };
    static const int widths[] = { 4, 10, 16, 8, 16, 16, 12, 8, 0 };
    json_t *answer;
    char a[128], b[128], c[128], d[128];
    char *path = cli_path("/v1/compare?max=8&feed=", cli->words[0]);
    int code = cli_request(cli, CLI_PUBLIC_PAID, path, NULL, &answer);
    free(path);
    if (code != CLI_OK)
        return code;
    if (cli->json) {
        cli_print_json(answer);
    } else {
        const json_t *range = json_object_get(answer, "range");
        cli_table(json_object_get(answer, "sources"), members, heads, widths, 9);
        printf("%s: median %s, range %s to %s", cli_cell(answer, "feed", a, sizeof a),
               cli_cell(answer, "median", b, sizeof b), cli_cell(range, "low", c, sizeof c),
               cli_cell(range, "high", d, sizeof d));
        printf("; charged %s USD, balance %s USD\n", cli_cell(answer, "charged", a, sizeof a),
               cli_cell(answer, "balance", b, sizeof b));
    }
    json_decref(answer);
    return CLI_OK;
}
