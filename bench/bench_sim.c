/* bench_sim: frames a second kamiyo-sim delivers at --speed max to the plainest reader possible (counts frames, looks at nothing), over wss and ws, beside
   the ceiling: the same number of bytes through a loopback TCP connection, written 16 KiB at a time.  The three are measured in turn, run by run.

   usage: bench_sim [--smoke] [--json] [--replay FILE]     default: a seeded market */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define RUNS_MAX    5
#define FRAMES      3000000
#define SMOKE       20000
#define CHUNK_BYTES 16384

static uint8_t buf[1 << 17];

static void die(const char *what)
{
    fprintf(stderr, "bench_sim: %s: %s\n", what, strerror(errno));
    exit(1);
}

typedef struct peer {
    int fd;
    SSL *ssl;
} peer_t;

static int dial(uint16_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("cannot connect");
    return fd;
}

static size_t some(const peer_t *p, uint8_t *to, size_t cap)
{
    ssize_t n = p->ssl ? SSL_read(p->ssl, to, (int)cap) : read(p->fd, to, cap);
    if (n <= 0)
        die("the other end is gone");
    return (size_t)n;
}

/* Length of the frame at data with its header; 0: not whole yet. */
static size_t frame_bytes(const uint8_t *data, size_t len)
{
    if (len < 10)
        return 0;
    uint64_t payload = data[1] & 127u;
    size_t head = payload == 126 ? 4 : payload == 127 ? 10 : 2;
    if (payload == 126)
        payload = (uint64_t)data[2] << 8 | data[3];
    for (size_t i = 2; head == 10 && i < 10; i++)
        payload = i == 2 ? data[2] : payload << 8 | data[i];
    return len >= head + payload ? head + payload : 0;
}

static void upgrade(const peer_t *p)
{
    static const char ask[] = "GET /stream?streams=btcusdt@trade/btcusdt@bookTicker "
                              "HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: "
                              "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    ssize_t n = p->ssl ? SSL_write(p->ssl, ask, sizeof ask - 1) : write(p->fd, ask, sizeof ask - 1);
    if (n != (ssize_t)sizeof ask - 1)
        die("cannot ask");
}

/* Seconds for `frames` frames; *bytes is what they came to. */
static double read_frames(const peer_t *p, uint64_t frames, uint64_t *bytes)
{
    size_t len = 0, at;
    int64_t began = 0;
    bool is_open = false;
    *bytes = 0;
    for (uint64_t n = 0; n < frames;) {
        len += some(p, buf + len, sizeof buf - len);
        at = 0;
        if (!is_open) {
            uint8_t *end = memmem(buf, len, "\r\n\r\n", 4);
            if (!end)
                continue;
            at = (size_t)(end + 4 - buf);
            is_open = true;
            began = kmy_mono_ns();
        }
        for (size_t one; n < frames && (one = frame_bytes(buf + at, len - at)) > 0; at += one, n++)
            *bytes += one;
        memmove(buf, buf + at, len - at);
        len -= at;
    }
    return (double)(kmy_mono_ns() - began) / 1e9;
}

static double run_sim(uint16_t port, SSL_CTX *tls, uint64_t frames, uint64_t *bytes)
{
    peer_t p = { dial(port), NULL };
    if (tls) {
        p.ssl = SSL_new(tls);
        if (!p.ssl || SSL_set_fd(p.ssl, p.fd) != 1 || SSL_connect(p.ssl) != 1)
            die("TLS handshake failed");
    }
    upgrade(&p);
    double s = read_frames(&p, frames, bytes);
    SSL_free(p.ssl);
    close(p.fd);
    return s;
}

static double run_ceiling(uint64_t bytes)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (door < 0 || bind(door, (struct sockaddr *)&a, sizeof a) != 0 || listen(door, 1) != 0 ||
        getsockname(door, (struct sockaddr *)&a, &len) != 0)
        die("cannot listen");
    pid_t child = fork();
    if (child == 0) {
        static uint8_t chunk[CHUNK_BYTES];
        int fd = accept(door, NULL, NULL);
        for (uint64_t left = bytes; left > 0;) {
            ssize_t n = write(fd, chunk, left < sizeof chunk ? left : sizeof chunk);
            if (n <= 0)
                _exit(1);
            left -= (uint64_t)n;
        }
        _exit(0);
    }
    peer_t p = { dial(ntohs(a.sin_port)), NULL };
    int64_t began = kmy_mono_ns();
    for (uint64_t got = 0; got < bytes;)
        got += some(&p, buf, sizeof buf);
    double s = (double)(kmy_mono_ns() - began) / 1e9;
    close(p.fd);
    close(door);
    waitpid(child, NULL, 0);
    return s;
}

typedef struct server {
    pid_t pid;
    uint16_t port;
    char ca[512];
} server_t;

/* kamiyo-sim stands beside this program. */
static server_t start(const char *replay, const char *tls_dir)
{
    char exe[4096], line[1024] = "";
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 32);
    if (n <= 0)
        die("cannot find myself");
    exe[n] = '\0';
    strcpy(strrchr(exe, '/') + 1, "kamiyo-sim");
    int out[2];
    if (pipe(out) != 0)
        die("pipe");
    server_t s = { .pid = fork() };
    if (s.pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        execl(exe, exe, "--speed", "max", "--loop", "forever", "--seconds", "300",
              "--messages-per-second", "0", replay ? "--replay" : "--market",
              replay ? replay : "seed=1,symbols=BTCUSDT:61000.00", tls_dir ? "--tls-auto" : NULL,
              tls_dir, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *f = fdopen(out[0], "r");
    char *at = f && fgets(line, sizeof line, f) ? strstr(line, "binance=") : NULL;
    at = at ? strstr(at, "127.0.0.1:") : NULL;
    if (!at)
        die("kamiyo-sim did not start");
    s.port = (uint16_t)atoi(at + 10);
    char *ca = strstr(line, " ca=");
    snprintf(s.ca, sizeof s.ca, "%.*s", ca ? (int)strcspn(ca + 4, "\n") : 0, ca ? ca + 4 : "");
    fclose(f);
    return s;
}

static void stop(server_t *s)
{
    kill(s->pid, SIGTERM);
    waitpid(s->pid, NULL, 0);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct series {
    const char *name;
    double v[RUNS_MAX];
} series_t;

static void cpu_name(char *out, size_t cap)
{
    char line[256];
    snprintf(out, cap, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(out, cap, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\n"),
                     strchr(line, ':') + 2);
            break;
        }
    if (f)
        fclose(f);
}

static void report(series_t *s, size_t count, int runs, uint64_t frames, double frame, bool json)
{
    char cpu[128];
    struct utsname os;
    cpu_name(cpu, sizeof cpu);
    uname(&os);
    if (!json) {
        printf("bench_sim  cpu=\"%s\" %ld cores kernel=%s\n", cpu, sysconf(_SC_NPROCESSORS_ONLN),
               os.release);
        printf("  load    --speed max, one connection, %" PRIu64
               " frames of %.0f B a run, runs=%d in turn; the reader counts only\n",
               frames, frame, runs);
    } else {
        printf("{\"bench\":\"sim\",\"frames\":%" PRIu64 ",\"frame_bytes\":%.1f,\"runs\":%d", frames,
               frame, runs);
    }
    for (size_t i = 0; i < count; i++) {
        qsort(s[i].v, (size_t)runs, sizeof s[i].v[0], by_size);
        double mid = s[i].v[runs / 2];
        if (json)
            printf(",\"%s\":{\"frames_per_s\":%.0f,\"min\":%.0f,\"max\":%.0f}", s[i].name, mid,
                   s[i].v[0], s[i].v[runs - 1]);
        else
            printf("  %-8s %9.0f frames/s (%.0f..%.0f)  %5.0f MB/s\n", s[i].name, mid, s[i].v[0],
                   s[i].v[runs - 1], mid * frame / 1e6);
    }
    fputs(json ? "}\n" : "", stdout);
}

int main(int argc, char **argv)
{
    bool smoke = false, json = false;
    const char *replay = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0)
            smoke = true;
        else if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--replay") == 0 && i + 1 < argc)
            replay = argv[++i];
        else
            return fprintf(stderr, "usage: bench_sim [--smoke] [--json] [--replay FILE]\n"), 2;
    }
    char dir[] = "/tmp/bench_sim.XXXXXX", path[600];
    if (!mkdtemp(dir))
        die("no directory for certificates");
    server_t wss = start(replay, dir), ws = start(replay, NULL);
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (!tls || SSL_CTX_load_verify_locations(tls, wss.ca, NULL) != 1)
        die("no CA");
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    int runs = smoke ? 1 : RUNS_MAX;
    uint64_t frames = smoke ? SMOKE : FRAMES, bytes = 0;
    series_t s[] = { { "wss", { 0 } }, { "ws", { 0 } }, { "ceiling", { 0 } } };
    for (int i = 0; i < runs; i++) {
        s[0].v[i] = (double)frames / run_sim(wss.port, tls, frames, &bytes);
        s[1].v[i] = (double)frames / run_sim(ws.port, NULL, frames, &bytes);
        s[2].v[i] = (double)frames / run_ceiling(bytes);
    }
    report(s, 3, runs, frames, (double)bytes / (double)frames, json);
    stop(&wss);
    stop(&ws);
    SSL_CTX_free(tls);
    static const char *const files[] = { "ca.pem", "server.pem", "server.key" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    return rmdir(dir) == 0 ? 0 : 1;
}
