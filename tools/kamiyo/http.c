/* One HTTP request by libcurl, its JSON answer, and its problem told in one line. */
#include "tools/kamiyo/kamiyo.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES_MAX (16u << 20) /* 4096 feeds of 1 KiB each, four times */
#define BEARER_BYTES_MAX 2048

typedef struct answer {
    char *text; /* owned */
    size_t len;
    bool too_big;
} answer_t;

static size_t receive(char *data, size_t size, size_t count, void *arg)
{
    answer_t *a = arg;
    size_t n = size * count;
    if (a->len + n > ANSWER_BYTES_MAX) {
        a->too_big = true;
        return 0;
    }
    char *grown = realloc(a->text, a->len + n + 1);
    if (!grown)
        return 0;
    a->text = grown;
    memcpy(a->text + a->len, data, n);
    a->len += n;
    a->text[a->len] = 0;
    return n;
}

char *cli_path(const char *path, const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, 0);
    char *out = NULL;
    if (!escaped || asprintf(&out, "%s%s", path, escaped) < 0)
        abort();
    curl_free(escaped);
    return out;
}

/* The operator's bearer: from the environment, else from the daemon's folder. */
static int admin_bearer(const cli_t *cli, char *out, size_t cap)
{
    char path[4096];
    const char *given = getenv("KAMIYO_ADMIN_TOKEN");
    if (given && *given) {
        snprintf(out, cap, "%s", given);
        return CLI_OK;
    }
    snprintf(path, sizeof path, "%s/admin.token", cli->data);
    FILE *f = fopen(path, "r");
    if (!f)
        return cli_fail(cli,
                        "%s: %s; name the daemon's folder with --data, or set KAMIYO_ADMIN_TOKEN",
                        path, strerror(errno));
    size_t n = fread(out, 1, cap - 1, f);
    fclose(f);
    out[n] = 0;
    out[strcspn(out, "\r\n")] = 0;
    return out[0] ? CLI_OK : cli_fail(cli, "%s is empty", path);
}

static int bearer(const cli_t *cli, cli_door_t door, char *out, size_t cap)
{
    out[0] = 0;
    if (door == CLI_ADMIN)
        return admin_bearer(cli, out, cap);
    if (door == CLI_PUBLIC)
        return CLI_OK;
    if (!cli->token)
        return cli_fail(cli, "%s", CLI_NO_TOKEN);
    if (strlen(cli->token) >= cap)
        return cli_fail(cli, "the token is too long to be one");
    memcpy(out, cli->token, strlen(cli->token) + 1);
    return CLI_OK;
}

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text ? text : "";
}

static long retry_after(CURL *curl)
{
    curl_off_t s = 0;
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &s);
    return s > 0 && s < 86400 ? (long)s : 0;
}

static int problem(const cli_t *cli, const char *url, long status, long retry_s, const json_t *body)
{
    char retry[48] = "";
    const char *code = text_of(body, "code");
    const char *detail = text_of(body, "detail");
    const char *closest = text_of(body, "closest");
    if (!*detail)
        detail = text_of(body, "title");
    if (!*detail && status == 503)
        detail = CLI_NO_ROOM;
    if (retry_s > 0)
        snprintf(retry, sizeof retry, "; try again in %ld s", retry_s);
    const char *hint = status == 402               ? "; see kamiyo account"
                       : status == 401 && !*detail ? "the token is missing, wrong or expired"
                                                   : "";
    if (*closest && strstr(detail, closest)) /* said already */
        closest = "";
    return cli_fail(cli, "%s answered %ld%s%s%s%s%s%s%s%s%s", url, status, *code ? " " : "", code,
                    *detail || *hint ? ": " : "", detail, hint, *closest ? "; did you mean " : "",
                    closest, *closest ? "?" : "", retry);
}

static int judge(const cli_t *cli, const char *url, CURL *curl, CURLcode rc, const char *fault,
                 const answer_t *a, json_t **out)
{
    long status = 0;
    if (a->too_big)
        return cli_fail(cli, "%s: the answer is larger than %u bytes", url, ANSWER_BYTES_MAX);
    if (rc != CURLE_OK)
        return cli_fail(cli, "%s: %s; is kamiyod running there?", url,
                        fault[0] ? fault : curl_easy_strerror(rc));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    json_t *body = a->len ? json_loadb(a->text, a->len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (status >= 400 || status < 200) {
        int code = problem(cli, url, status, retry_after(curl), body);
        json_decref(body);
        return code;
    }
    if (!body)
        return cli_fail(cli, "%s answered %ld without JSON: that is not a kamiyo door", url,
                        status);
    *out = body;
    return CLI_OK;
}

/* How every request of ours is made. */
static void set_manners(const cli_t *cli, CURL *curl, const char *url, answer_t *answer,
                        char fault[CURL_ERROR_SIZE])
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "kamiyo/" KMY_VERSION);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 5L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L); /* a payment may settle for 20 s */
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, fault);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (cli->ca)
        curl_easy_setopt(curl, CURLOPT_CAINFO, cli->ca);
}

static size_t receive_header(char *data, size_t size, size_t count, void *arg)
{
    static const char name[] = "payment-required:";
    cli_exchange_t *x = arg;
    size_t n = size * count;
    if (n > sizeof name && strncasecmp(data, name, sizeof name - 1) == 0 && !x->offer) {
        const char *value = data + sizeof name - 1;
        value += strspn(value, " ");
        x->offer = strndup(value, strcspn(value, "\r\n"));
    }
    return n;
}

int cli_exchange(const cli_t *cli, const char *path, const char *line, cli_exchange_t *x)
{
    char fault[CURL_ERROR_SIZE] = "";
    char *url = NULL;
    answer_t answer = { 0 };
    memset(x, 0, sizeof *x);
    CURL *curl = curl_easy_init();
    if (!curl || asprintf(&url, "%s%s", cli->url, path) < 0)
        abort();
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
    if (line)
        headers = curl_slist_append(headers, line);
    set_manners(cli, curl, url, &answer, fault);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, receive_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &x->status);
    x->retry_s = retry_after(curl);
    int code = CLI_OK;
    if (rc != CURLE_OK)
        code = cli_fail(cli, "%s: %s", url, fault[0] ? fault : curl_easy_strerror(rc));
    else if (answer.len)
        x->body = json_loadb(answer.text, answer.len, JSON_REJECT_DUPLICATES, NULL);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    free(answer.text);
    free(url);
    return code;
}

void cli_exchange_free(cli_exchange_t *x)
{
    json_decref(x->body);
    free(x->offer);
    memset(x, 0, sizeof *x);
}

int cli_problem(const cli_t *cli, const char *path, const cli_exchange_t *x)
{
    char url[1024];
    snprintf(url, sizeof url, "%s%s", cli->url, path);
    return problem(cli, url, x->status, x->retry_s, x->body);
}

int cli_request(const cli_t *cli, cli_door_t door, const char *path, const json_t *body,
                json_t **out)
{
    char secret[BEARER_BYTES_MAX];
    char line[BEARER_BYTES_MAX + 32];
    char fault[CURL_ERROR_SIZE] = "";
    char *url = NULL;
    answer_t answer = { 0 };
    struct curl_slist *headers = NULL;
    *out = NULL;
    int code = bearer(cli, door, secret, sizeof secret);
    if (code != CLI_OK)
        return code;
    CURL *curl = curl_easy_init();
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!curl || (body && !text) ||
        asprintf(&url, "%s%s", door == CLI_ADMIN ? cli->admin : cli->url, path) < 0)
        abort();
    if (secret[0]) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", secret);
        headers = curl_slist_append(headers, line);
    }
    headers = curl_slist_append(headers, "Accept: application/json");
    if (text) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
    }
    set_manners(cli, curl, url, &answer, fault);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    CURLcode rc = curl_easy_perform(curl);
    code = judge(cli, url, curl, rc, fault, &answer, out);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    free(answer.text);
    free(text);
    free(url);
    return code;
}
