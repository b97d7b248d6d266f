/* kamiyo token: mint prints the token and nothing else, so that it can stand in $(...); revoke takes a token or its id; rotate
   makes a new key. */
#include "tools/kamiyo/kamiyo.h"

#include "base/limits.h"
#include "base/money.h"
#include "wire/base64.h"

#include <stdio.h>
#include <string.h>

static int mint(const cli_t *cli)
{
    json_t *answer;
    int64_t nusd;
    if (cli->words_count != 1 || !cli->account || !cli->usd)
        return cli_wrong(cli,
                         "usage: kamiyo token mint --account ID --usd X [--spend Y] [--rate N] "
                         "[--ttl SECONDS] [--feeds A,B]");
    if (kmy_nusd_parse(cli->usd, strlen(cli->usd), &nusd) != KMY_OK)
        return cli_wrong(cli,
                         "--usd '%.40s' is no amount such as 10 or 0.5, with at most nine decimals",
                         cli->usd);
    if (cli->spend && kmy_nusd_parse(cli->spend, strlen(cli->spend), &nusd) != KMY_OK)
        return cli_wrong(
            cli, "--spend '%.40s' is no amount such as 10 or 0.5, with at most nine decimals",
            cli->spend);
    json_t *body = json_pack("{s:s, s:s}", "account", cli->account, "usd", cli->usd);
    if (!body)
        return cli_wrong(cli, "--account is not UTF-8");
    if (cli->feeds) {
        json_t *feeds = json_array();
        for (const char *at = cli->feeds; *at;) {
            size_t n = strcspn(at, ",");
            json_array_append_new(feeds, json_stringn(at, n));
            at += n + (at[n] == ',');
        }
        json_object_set_new(body, "feeds", feeds);
    }
    if (cli->spend)
        json_object_set_new(body, "spend", json_string(cli->spend));
    if (cli->rate)
        json_object_set_new(body, "rate", json_integer((json_int_t)cli->rate));
    if (cli->ttl_s)
        json_object_set_new(body, "ttl_s", json_integer(cli->ttl_s));
    int code = cli_request(cli, CLI_ADMIN, "/v1/admin/tokens", body, &answer);
    json_decref(body);
    if (code != CLI_OK)
        return code;
    const char *token = json_string_value(json_object_get(answer, "token"));
    if (cli->json)
        cli_print_json(answer);
    else if (token)
        puts(token);
    else
        code = cli_fail(cli, "%s answered without a token", cli->admin);
    json_decref(answer);
    return code;
}

/* The jti inside a token's second part; false: not a token. */
static bool jti_of(const char *token, char out[KMY_JTI_BYTES_MAX])
{
    const char *begin = strchr(token, '.');
    const char *end = begin ? strchr(begin + 1, '.') : NULL;
    char claims[KMY_TOKEN_BYTES_MAX];
    size_t len;
    if (!end || !kmy_base64_decode(KMY_BASE64_URL, begin + 1, (size_t)(end - begin - 1), claims,
                                   sizeof claims, &len))
        return false;
    json_t *object = json_loadb(claims, len, 0, NULL);
    const char *jti = json_string_value(json_object_get(object, "jti"));
    bool good = jti && strlen(jti) < KMY_JTI_BYTES_MAX;
    if (good)
        memcpy(out, jti, strlen(jti) + 1);
    json_decref(object);
    return good;
}

static int revoke(const cli_t *cli)
{
    json_t *answer;
    char jti[KMY_JTI_BYTES_MAX];
    if (cli->words_count != 2)
        return cli_wrong(cli, "usage: kamiyo token revoke JTI|TOKEN");
    const char *word = cli->words[1];
    if (strchr(word, '.') && !jti_of(word, jti))
        return cli_wrong(cli, "that is neither a token nor a token's id");
    if (!strchr(word, '.') && strlen(word) >= sizeof jti)
        return cli_wrong(cli, "a token's id has at most %zu bytes", sizeof jti - 1);
    json_t *body = json_pack("{s:s}", "jti", strchr(word, '.') ? jti : word);
    if (!body)
        return cli_wrong(cli, "a token's id is plain text");
    int code = cli_request(cli, CLI_ADMIN, "/v1/admin/tokens/revoke", body, &answer);
    json_decref(body);
    if (code == CLI_OK && cli->json)
        cli_print_json(answer);
    json_decref(answer);
    return code;
}

static int rotate(const cli_t *cli)
{
    json_t *answer;
    if (cli->words_count != 1)
        return cli_wrong(cli, "usage: kamiyo token rotate [--drop]");
    json_t *body = json_pack("{s:b}", "drop", cli->drop);
    int code = cli_request(cli, CLI_ADMIN, "/v1/admin/tokens/rotate", body, &answer);
    json_decref(body);
    const char *kid = json_string_value(json_object_get(answer, "kid"));
    if (code == CLI_OK && cli->json)
        cli_print_json(answer);
    else if (code == CLI_OK)
        printf("key %s signs from now on; %s\n", kid ? kid : "-",
               cli->drop ? "tokens signed before are void" : "tokens signed before stay good");
    json_decref(answer);
    return code;
}

int cli_token(const cli_t *cli)
{
    if (strcmp(cli->words[0], "mint") == 0)
        return mint(cli);
    if (strcmp(cli->words[0], "revoke") == 0)
        return revoke(cli);
    if (strcmp(cli->words[0], "rotate") == 0)
        return rotate(cli);
    return cli_wrong(cli, "no 'token %.40s'; there are mint, revoke and rotate", cli->words[0]);
}
