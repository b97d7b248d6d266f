#include "engine/doors.h"

#include "base/decimal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    SNDBUF_BYTES =
        256 *
        1024, /* bounds what a reader that went away was charged for and did not read (the kernel doubles it) */
    DEAD_PEER_MS = 30000, /* bytes unacknowledged this long: the peer is gone */
};

kmy_err_t kmy_door_parse(const char *text, kmy_door_t *door, kmy_errctx_t *ctx)
{
    memset(door, 0, sizeof *door);
    const char *colon = strrchr(text, ':');
    uint64_t port;
    char host[KMY_DOOR_TEXT_BYTES];
    if (!colon || !kmy_u64_parse(colon + 1, strlen(colon + 1), &port) || port > 65535 ||
        (size_t)(colon - text) >= sizeof host)
        return KMY_FAIL(ctx, KMY_CONFIG,
                        "%s is no address to listen on; write 127.0.0.1:8402 or [::1]:8402", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&door->addr;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&door->addr;
    size_t n = strlen(host);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        door->addr_len = sizeof *v4;
        return KMY_OK;
    }
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = 0;
        if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1) {
            v6->sin6_family = AF_INET6;
            v6->sin6_port = htons((uint16_t)port);
            door->addr_len = sizeof *v6;
            return KMY_OK;
        }
    }
    return KMY_FAIL(ctx, KMY_CONFIG,
                    "%s: the host must be an IP address, such as 127.0.0.1, 0.0.0.0 or [::1]",
                    text);
}

void kmy_door_text(const kmy_door_t *door, char out[KMY_DOOR_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (door->addr.ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&door->addr;
        inet_ntop(AF_INET6, &a->sin6_addr, host, sizeof host);
        snprintf(out, KMY_DOOR_TEXT_BYTES, "[%s]:%u", host, ntohs(a->sin6_port));
    } else {
        const struct sockaddr_in *a = (const struct sockaddr_in *)&door->addr;
        inet_ntop(AF_INET, &a->sin_addr, host, sizeof host);
        snprintf(out, KMY_DOOR_TEXT_BYTES, "%s:%u", host, ntohs(a->sin_port));
    }
}

/* Options that accepted sockets inherit from the listener, so that accepting costs no further calls. */
static void set_options(int fd, bool shared)
{
    int one = 1;
    int sndbuf = SNDBUF_BYTES;
    unsigned dead_ms = DEAD_PEER_MS;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
}

/* SO_REUSEPORT would let a second daemon share our port without a word: bind it once alone first. */
static bool is_taken(const kmy_door_t *door)
{
    int one = 1;
    int s = socket(door->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return false; /* the real attempt says why */
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool taken =
        bind(s, (const struct sockaddr *)&door->addr, door->addr_len) != 0 && errno == EADDRINUSE;
    close(s);
    return taken;
}

kmy_err_t kmy_door_probe(const kmy_door_t *door, kmy_errctx_t *ctx)
{
    char text[KMY_DOOR_TEXT_BYTES];
    kmy_door_text(door, text);
    if (is_taken(door))
        return KMY_FAIL(
            ctx, KMY_IO,
            "cannot listen on %s: another program does already; stop it or choose another address",
            text);
    return KMY_OK;
}

kmy_err_t kmy_door_listen(kmy_door_t *door, bool shared, int *fd, kmy_errctx_t *ctx)
{
    char text[KMY_DOOR_TEXT_BYTES];
    kmy_door_text(door, text);
    int s = socket(door->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "no socket to listen on %s with: %s", text,
                            strerror(errno));
    set_options(s, shared);
    kmy_err_t err = KMY_OK;
    if (bind(s, (struct sockaddr *)&door->addr, door->addr_len) != 0 || listen(s, BACKLOG) != 0)
        err = KMY_FAIL_SYS(ctx, KMY_IO, "cannot listen on %s: %s", text, strerror(errno));
    else if (getsockname(s, (struct sockaddr *)&door->addr, &door->addr_len) != 0)
        err = KMY_FAIL_SYS(ctx, KMY_IO, "listening socket has no name: %s", strerror(errno));
    if (err != KMY_OK) {
        close(s);
        return err;
    }
    *fd = s;
    return KMY_OK;
}
