/* bench_publish: the market of bench/fanout's brokers: ticks by the clock (pace.h) to a nats-server or to nginx with nchan, over one loopback
   connection, as kamiyo-sim brings them to the daemon.  Publishes are pipelined: no answer is waited for, answers are read and dropped. */
#include "base/err.h"
#include "bench/pace.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUT_BYTES = 1 << 20, ONE_BYTES_MAX = 1024 };

static volatile sig_atomic_t stop;
static char out[OUT_BYTES];
static size_t out_len;

static void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_publish: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int dial(uint16_t port)
{
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void drop_answers(int fd)
{
    char text[65536];
    ssize_t n;
    while ((n = recv(fd, text, sizeof text, MSG_DONTWAIT)) > 0) {
        if (memmem(text, (size_t)n, "PING\r\n", 6) && send(fd, "PONG\r\n", 6, MSG_NOSIGNAL) != 6)
            die("cannot send");
        if (memmem(text, (size_t)n, "-ERR", 4) || memmem(text, (size_t)n, "HTTP/1.1 4", 10)) {
            fprintf(stderr, "bench_publish: refused: %.*s\n", (int)(n < 200 ? n : 200), text);
            exit(1);
        }
    }
    if (n == 0 && !stop)
        die("the server hung up");
}

static void flush(int fd)
{
    for (size_t at = 0; at < out_len && !stop;) {
        ssize_t n = send(fd, out + at, out_len - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            die("cannot send");
        at += n > 0 ? (size_t)n : 0;
    }
    out_len = 0;
}

static void put(bool nats, const char *text, size_t len)
{
    char one[ONE_BYTES_MAX];
    int n = nats
                ? snprintf(one, sizeof one, "PUB tick %zu\r\n%s\r\n", len, text)
                : snprintf(one, sizeof one,
                           "POST /pub HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                           "Content-Length: %zu\r\n\r\n%s",
                           len, text);
    KMY_ASSERT(out_len + (size_t)n <= sizeof out);
    memcpy(out + out_len, one, (size_t)n);
    out_len += (size_t)n;
}

static void run(int fd, bool nats, double rate)
{
    pace_t pace;
    char text[PACE_TICK_BYTES_MAX];
    struct pollfd p = { .fd = fd, .events = POLLIN };
    pace_begin(&pace, rate, 1);
    while (!stop) {
        int64_t wait = pace_due_ns(&pace) - pace_now_ns();
        struct timespec ts = { wait > 0 ? wait / 1000000000 : 0, wait > 0 ? wait % 1000000000 : 0 };
        if (ppoll(&p, 1, &ts, NULL) > 0)
            drop_answers(fd);
        int64_t now = pace_now_ns();
        for (size_t n;
             out_len + ONE_BYTES_MAX <= sizeof out && (n = pace_tick(&pace, now, text)) > 0;)
            put(nats, text, n);
        flush(fd);
    }
}

int main(int argc, char **argv)
{
    double rate = 50;
    int port = 0;
    int core = -1;
    bool nats = false;
    bool ok = argc % 2 == 1;
    for (int i = 1; ok && i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--rate") == 0)
            rate = strtod(argv[i + 1], NULL);
        else if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--core") == 0)
            core = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--to") == 0)
            nats = strcmp(argv[i + 1], "nats") == 0;
        else
            ok = false;
    }
    if (!ok || port <= 0 || port > 65535 || !(rate > 0 && rate <= 1e6)) {
        fprintf(stderr,
                "usage: bench_publish --to nats|nchan --port N [--rate TICKS_PER_S] [--core N]\n");
        return 2;
    }
    if (core >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)core, &set);
        sched_setaffinity(0, sizeof set, &set);
    }
    struct sigaction act = { .sa_handler = on_signal };
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    int fd = dial((uint16_t)port);
    if (nats) {
        static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
        memcpy(out, hello, sizeof hello - 1);
        out_len = sizeof hello - 1;
    }
    run(fd, nats, rate);
    close(fd);
    return 0;
}
