/* kamiyo check json | jws | sig | pyth | payment */
#include "tools/kamiyo/check.h"

#include "pay/token_jws.h"
#include "wire/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_BYTES_MAX = 64 << 20 };

bool check_line(char **line, size_t *len)
{
    static char text[CHECK_LINE_BYTES_MAX + 1];
    size_t n = 0;
    bool cut = false;
    int c;
    while ((c = getchar_unlocked()) != EOF && c != '\n') {
        cut |= n == CHECK_LINE_BYTES_MAX;
        if (!cut)
            text[n++] = (char)c;
    }
    if (c == EOF && n == 0)
        return false;
    if (!cut && n > 0 && text[n - 1] == '\r')
        n--;
    text[n] = '\0';
    *line = text;
    *len = cut ? SIZE_MAX : n;
    return true;
}

void check_say(const char *text)
{
    puts(text);
    fflush(stdout);
}

static int check_json(const cli_t *cli)
{
    char *text = malloc(JSON_BYTES_MAX + 1);
    if (!text)
        return cli_fail(cli, "out of memory");
    size_t len = fread(text, 1, JSON_BYTES_MAX + 1, stdin);
    bool good = len <= JSON_BYTES_MAX && kmy_json_valid(text, len);
    free(text);
    if (ferror(stdin))
        return cli_fail(cli, "standard input cannot be read");
    return good ? CLI_OK : CLI_FAILED; /* refusing is the answer, not a complaint */
}

/* The key as the daemon takes it from tokens.secret_file, but for the file's mode, which is the operator's affair there and a test's here. */
static kmy_token_key_t *read_key(const cli_t *cli)
{
    char secret[4096];
    kmy_errctx_t ctx = { 0 };
    FILE *f = fopen(cli->secret_file, "rb");
    if (!f) {
        cli_fail(cli, "%s cannot be opened", cli->secret_file);
        return NULL;
    }
    size_t len = fread(secret, 1, sizeof secret, f);
    fclose(f);
    if (len > 0 && secret[len - 1] == '\n')
        len--;
    kmy_token_key_t *key = kmy_token_key_new(secret, len, &ctx);
    explicit_bzero(secret, sizeof secret);
    if (!key)
        cli_fail(cli, "%s: %s", cli->secret_file, ctx.detail);
    return key;
}

static int check_jws(const cli_t *cli)
{
    char payload[KMY_TOKEN_PAYLOAD_BYTES_MAX];
    size_t payload_len, len;
    char *line;
    if (!cli->secret_file)
        return cli_wrong(cli, "usage: kamiyo check jws --secret-file FILE");
    kmy_token_key_t *key = read_key(cli);
    if (!key)
        return CLI_FAILED;
    while (check_line(&line, &len))
        check_say(kmy_token_jws_open(key, line, len, payload, &payload_len, NULL) == KMY_OK ? "1"
                                                                                            : "0");
    kmy_token_key_free(key);
    return CLI_OK;
}

int cli_check(const cli_t *cli)
{
    static const struct {
        const char *name;
        int (*run)(const cli_t *cli);
    } doors[] = { { "json", check_json },
                  { "jws", check_jws },
                  { "sig", check_sig },
                  { "pyth", check_pyth },
                  { "payment", check_payment } };
    for (size_t i = 0; i < sizeof doors / sizeof doors[0]; i++)
        if (strcmp(cli->words[0], doors[i].name) == 0)
            return doors[i].run(cli);
    return cli_wrong(cli, "no 'check %.40s'; there are json, jws, sig, pyth and payment",
                     cli->words[0]);
}
