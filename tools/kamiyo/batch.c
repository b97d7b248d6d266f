/* kamiyo batch: several paid queries in one request; items fail one by one, the exit code says whether all were delivered. */
#include "tools/kamiyo/kamiyo.h"

#include <stdio.h>

/* `asked` is the name as the customer gave it: a failed item need not repeat it. */
static bool show(const json_t *item, const char *asked)
{
    char a[128], b[64], c[64], d[64];
    const json_t *data = json_object_get(item, "data");
    const json_t *error = json_object_get(item, "error");
    if (data)
        printf("%-22s %s %s, age %s ms\n", cli_cell(item, "feed", a, sizeof a),
               cli_cell(data, "price", b, sizeof b), cli_cell(data, "source", c, sizeof c),
               cli_cell(item, "age_ms", d, sizeof d));
    else
        printf("%-22s failed: %s %s\n", asked,
               json_is_object(error) ? cli_cell(error, "code", b, sizeof b)
                                     : cli_cell(item, "error", b, sizeof b),
               json_is_object(error) ? cli_cell(error, "detail", c, sizeof c) : "");
    return data != NULL;
}

int cli_batch(const cli_t *cli)
{
    json_t *queries = json_array();
    json_t *answer;
    char a[64], b[64];
    for (int i = 0; i < cli->words_count; i++)
        json_array_append_new(queries, json_pack("{s:s}", "feed_type", cli->words[i]));
    json_t *body = json_pack("{s:o}", "queries", queries);
    if (!body)
        return cli_fail(cli, "a feed name is not UTF-8");
    int code = cli_request(cli, CLI_PUBLIC_PAID, "/v1/ingest-data/batch", body, &answer);
    json_decref(body);
    if (code != CLI_OK)
        return code;
    const json_t *results = json_object_get(answer, "results");
    bool whole = json_array_size(results) == (size_t)cli->words_count;
    for (size_t i = 0; i < json_array_size(results) && whole; i++) {
        const json_t *item = json_array_get(results, i);
        if (cli->json ? !json_object_get(item, "data") : !show(item, cli->words[i]))
            code = CLI_FAILED;
    }
    if (!whole)
        code = cli_fail(cli, "asked for %d feeds, %zu came back", cli->words_count,
                        json_array_size(results));
    if (cli->json)
        cli_print_json(answer);
    else
        printf("charged %s USD, balance %s USD\n", cli_cell(answer, "charged", a, sizeof a),
               cli_cell(answer, "balance", b, sizeof b));
    json_decref(answer);
    return code;
}
