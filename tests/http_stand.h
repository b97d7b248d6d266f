/* http_stand: who we call, played in the test: an HTTP/1.1 server on loopback that answers as a test's function says, also badly.

   One thread per connection; the function runs under a lock, so that it may keep its state in the test's own variables. */
#ifndef KMY_TESTS_HTTP_STAND_H
#define KMY_TESTS_HTTP_STAND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STAND_BYTES_MAX = 65536, STAND_CONNS_MAX = 256 };

typedef struct stand_request {
    char path[256];
    char head[8192];
    char body[STAND_BYTES_MAX]; /* terminated */
} stand_request_t;

typedef struct stand_reply {
    int status;        /* 0: the connection is cut without an answer */
    char headers[256]; /* further lines, each with its CR LF */
    char body[STAND_BYTES_MAX];
    size_t pad_bytes; /* so many blanks behind the body */
    const char *raw;  /* instead of all that: these bytes, and the end */
    bool silence;     /* says nothing until the stand is closed */
    bool close;       /* ends the connection behind the answer */
} stand_reply_t;

typedef void stand_answer_t(void *arg, const stand_request_t *q, stand_reply_t *a);

typedef struct stand {
    int listen_fd;
    uint16_t port;
    char url[64]; /* "http://127.0.0.1:port" */
    stand_answer_t *answer;
    void *arg;
    pthread_mutex_t lock;
    pthread_t thread;
    _Atomic int fds[STAND_CONNS_MAX]; /* -1: over */
    pthread_t conns[STAND_CONNS_MAX];
    atomic_int conns_count;
    atomic_bool ending;
} stand_t;

typedef struct stand_conn {
    stand_t *s;
    int idx;
} stand_conn_t;

static inline bool stand_read(int fd, stand_request_t *q)
{
    size_t have = 0, need = SIZE_MAX;
    static const size_t cap = sizeof q->head + STAND_BYTES_MAX - 1;
    char *all = calloc(1, cap + 1);
    while (have < need && have < cap) {
        ssize_t n = recv(fd, all + have, cap - have, 0);
        if (n <= 0)
            break;
        have += (size_t)n;
        all[have] = 0;
        char *end = strstr(all, "\r\n\r\n");
        if (need == SIZE_MAX && end) {
            const char *len = strcasestr(all, "\r\nContent-Length:");
            need = (size_t)(end + 4 - all) + (len && len < end ? strtoull(len + 17, NULL, 10) : 0);
        }
    }
    bool whole = have == need;
    char *end = whole ? strstr(all, "\r\n\r\n") : NULL;
    if (whole) {
        *end = 0;
        snprintf(q->head, sizeof q->head, "%s", all);
        snprintf(q->body, sizeof q->body, "%s", end + 4);
        if (sscanf(all, "%*s %255s", q->path) != 1)
            whole = false;
    }
    free(all);
    return whole;
}

static inline void stand_send(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        bytes += n;
        len -= (size_t)n;
    }
}

static inline void stand_reply(int fd, const stand_reply_t *a)
{
    char head[512];
    if (a->raw) {
        stand_send(fd, a->raw, strlen(a->raw));
        return;
    }
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s%s\r\n",
                     a->status, strlen(a->body) + a->pad_bytes, a->headers,
                     a->close ? "Connection: close\r\n" : "");
    stand_send(fd, head, (size_t)n);
    stand_send(fd, a->body, strlen(a->body));
    for (size_t left = a->pad_bytes; left > 0;) {
        char blanks[4096];
        size_t m = left < sizeof blanks ? left : sizeof blanks;
        memset(blanks, ' ', m);
        stand_send(fd, blanks, m);
        left -= m;
    }
}

static inline void *stand_serve(void *arg)
{
    stand_conn_t *k = arg;
    stand_t *s = k->s;
    int fd = s->fds[k->idx];
    stand_request_t *q = calloc(1, sizeof *q);
    stand_reply_t *a = malloc(sizeof *a);
    for (bool go_on = true; go_on && stand_read(fd, q);) {
        memset(a, 0, sizeof *a);
        a->status = 200;
        pthread_mutex_lock(&s->lock);
        s->answer(s->arg, q, a);
        pthread_mutex_unlock(&s->lock);
        if (a->silence) {
            char c;
            while (recv(fd, &c, 1, 0) > 0)
                ;
        } else if (a->status != 0 || a->raw) {
            stand_reply(fd, a);
        }
        go_on = !a->silence && !a->raw && a->status != 0 && !a->close;
    }
    shutdown(fd, SHUT_RDWR);
    free(q);
    free(a);
    free(k);
    return NULL;
}

static inline void *stand_accept(void *arg)
{
    stand_t *s = arg;
    for (;;) {
        int fd = accept(s->listen_fd, NULL, NULL);
        if (fd < 0 || s->ending) {
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        int idx = s->conns_count;
        if (idx == STAND_CONNS_MAX) {
            close(fd);
            continue;
        }
        stand_conn_t *k = malloc(sizeof *k);
        *k = (stand_conn_t){ s, idx };
        s->fds[idx] = fd;
        s->conns_count = idx + 1;
        pthread_create(&s->conns[idx], NULL, stand_serve, k);
    }
}

static inline void stand_open(stand_t *s, stand_answer_t *answer, void *arg)
{
    memset(s, 0, sizeof *s);
    s->answer = answer;
    s->arg = arg;
    pthread_mutex_init(&s->lock, NULL);
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listen_fd, 64), 0);
    assert_int_equal(getsockname(s->listen_fd, (struct sockaddr *)&at, &len), 0);
    s->port = ntohs(at.sin_port);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u", s->port);
    assert_int_equal(pthread_create(&s->thread, NULL, stand_accept, s), 0);
}

static inline void stand_close(stand_t *s)
{
    s->ending = true;
    shutdown(s->listen_fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listen_fd);
    for (int i = 0; i < s->conns_count; i++)
        shutdown(s->fds[i], SHUT_RDWR);
    for (int i = 0; i < s->conns_count; i++) {
        pthread_join(s->conns[i], NULL);
        close(s->fds[i]);
    }
    pthread_mutex_destroy(&s->lock);
}

#endif
