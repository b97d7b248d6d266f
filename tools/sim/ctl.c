/* ctl: `kamiyo-sim ctl URL KIND ...`: one request to the control door of a running simulator, its answer on stdout. */
#include "tools/sim/sim.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX (8u << 20)

static int fail(int code, const char *what, const char *why)
{
    fprintf(stderr, "kamiyo-sim ctl: %s%s\n", what, why);
    return code;
}

static int dial(const char *url)
{
    char host[128];
    if (strncmp(url, "http://", 7) == 0)
        url += 7;
    const char *colon = strrchr(url, ':');
    size_t len = colon ? (size_t)(colon - url) : 0;
    if (!colon || len == 0 || len >= sizeof host)
        return -1;
    memcpy(host, url, len);
    host[len] = '\0';
    char port[16];
    snprintf(port, sizeof port, "%.*s", (int)strspn(colon + 1, "0123456789"), colon + 1);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* Everything until the server closes, terminated; NULL if it is too much. */
static char *read_all(int fd)
{
    char *text = malloc(ANSWER_BYTES_MAX + 1);
    size_t len = 0;
    ssize_t n;
    while (text && len < ANSWER_BYTES_MAX && (n = read(fd, text + len, ANSWER_BYTES_MAX - len)) > 0)
        len += (size_t)n;
    if (text)
        text[len] = '\0';
    return text;
}

static int ask(const char *url, const char *method, const char *path, const char *body)
{
    int fd = dial(url);
    if (fd < 0)
        return fail(1, "cannot reach the control door at ", url);
    dprintf(fd,
            "%s %s HTTP/1.1\r\nHost: kamiyo-sim\r\nContent-Type: application/json\r\n"
            "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
            method, path, strlen(body), body);
    char *text = read_all(fd);
    close(fd);
    const char *at = text ? strstr(text, "\r\n\r\n") : NULL;
    bool ok = at && strncmp(text, "HTTP/1.1 200", 12) == 0;
    if (at)
        fprintf(ok ? stdout : stderr, "%s\n", at + 4);
    free(text);
    return ok ? 0 : 1;
}

int sim_ctl(int argc, char **argv)
{
    kmy_errctx_t ctx = { 0 };
    if (argc < 2)
        return fail(2, "usage: kamiyo-sim ctl URL KIND|stats|stop ...", "");
    if (strcmp(argv[1], "stats") == 0)
        return ask(argv[0], "GET", "/stats", "");
    if (strcmp(argv[1], "stop") == 0)
        return ask(argv[0], "POST", "/stop", "");
    json_t *root = sim_trouble_from_words(argc - 1, argv + 1, &ctx);
    sim_trouble_t checked;
    if (!root || sim_trouble_from_json(root, &checked, &ctx) != KMY_OK) {
        json_decref(root);
        return fail(2, ctx.detail, "");
    }
    char *body = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    int code = body ? ask(argv[0], "POST", "/trouble", body) : 1;
    free(body);
    return code;
}
