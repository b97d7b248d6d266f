/* bench_ceiling: the least that delivering a tick can cost on this machine, to hold Kamiyo against.

   A bare io_uring loop: no protocol, no money, no subscriptions.  It accepts TCP connections, waits for one line of hello on each, and sends every
   connection the same prebuilt frames: the daemon's JSON tick with its WebSocket header, offset and ts_recv patched once per tick.  Frames stand in
   one byte log, a connection is a position in it; each turn submits one MSG_DONTWAIT send for each connection with all that is due (so that it
   coalesces under load as the daemon does) and one submission for all.  A full socket waits for POLLOUT.  A reader further behind than the lag
   limit is set to the newest tick, as the daemon does with one that conflates; what it misses counts as lost.

   --gather N makes ticks in bursts of N, so that a send carries N: what the daemon's cost at N ticks a send is held against.
   `kamiyo-load run SCENARIO --url raw://ADDR:PORT` is the client; bench/fanout runs both. */
#include "base/clock.h"
#include "base/err.h"
#include "bench/pace.h"

#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNS_MAX = 65536,
    SQ_ENTRIES = 4096, /* as the daemon's */
    CQ_ENTRIES = 32768,
    SEND_BYTES_MAX = 65536, /* the daemon's limit of one send */
    LOG_BYTES = 64 << 20,   /* power of two; mapped twice in a row, so that any run is one piece */
    LAG_TICKS = 4096,       /* the daemon's limits.lag_ticks */
};

typedef enum { OP_ACCEPT, OP_HELLO, OP_SEND, OP_POLL } op_t;

typedef struct conn {
    int fd;         /* -1: closed */
    uint64_t at;    /* byte position in the log */
    uint32_t asked; /* bytes of the send that is out */
    bool live, blocked;
    char hello[16];
} conn_t;

static struct io_uring ring;
static conn_t *conns;
static uint32_t conns_count;
static uint8_t *log_bytes;
static uint64_t log_end;
static uint64_t frame_bytes; /* all frames have one length; 0: none yet */
static uint64_t lag_ticks = LAG_TICKS;
static uint64_t skipped; /* ticks */
static volatile sig_atomic_t stop;

static void die(const char *what)
{
    fprintf(stderr, "bench_ceiling: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

static struct io_uring_sqe *sqe_get(op_t op, uint32_t idx)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (!sqe) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    KMY_ASSERT(sqe != NULL);
    sqe->user_data = 0;
    io_uring_sqe_set_data64(sqe, (uint64_t)op << 32 | idx);
    return sqe;
}

/* io_uring_prep_* clears user_data in some versions of liburing: set it again. */
static void tag(struct io_uring_sqe *sqe, op_t op, uint32_t idx)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)op << 32 | idx);
}

/* The same pages twice in a row. */
static void map_log(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    uint8_t *at = mmap(NULL, 2 * (size_t)LOG_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fd < 0 || ftruncate(fd, LOG_BYTES) != 0 || at == MAP_FAILED)
        die("no memory for the log");
    for (int i = 0; i < 2; i++) {
        if (mmap(at + (size_t)i * LOG_BYTES, LOG_BYTES, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
            die("no memory for the log");
    }
    close(fd);
    log_bytes = at;
}

/* --- sending ------------------------------------------------------------------------------- */

static void drop(conn_t *c)
{
    close(c->fd);
    c->fd = -1;
    c->live = false;
}

static void wait_writable(uint32_t idx)
{
    struct io_uring_sqe *sqe = sqe_get(OP_POLL, idx);
    io_uring_prep_poll_add(sqe, conns[idx].fd, POLLOUT);
    tag(sqe, OP_POLL, idx);
    conns[idx].blocked = true;
}

/* Beyond the lag limit only the frame that was cut is finished; then it goes on with the newest. */
static uint64_t bytes_due(conn_t *c)
{
    if (log_end - c->at <= lag_ticks * frame_bytes)
        return log_end - c->at;
    uint64_t cut = c->at % frame_bytes;
    if (cut > 0)
        return frame_bytes - cut;
    skipped += (log_end - c->at) / frame_bytes - 1;
    c->at = log_end - frame_bytes;
    return frame_bytes;
}

static uint32_t prepare_sends(void)
{
    uint32_t sends = 0;
    for (uint32_t i = 0; i < conns_count && sends < SQ_ENTRIES - 64; i++) {
        conn_t *c = &conns[i];
        if (!c->live || c->blocked || c->at == log_end)
            continue;
        KMY_ASSERT(log_end - c->at < LOG_BYTES); /* the lag limit is far below */
        uint64_t n = bytes_due(c);
        c->asked = (uint32_t)(n < SEND_BYTES_MAX ? n : SEND_BYTES_MAX);
        struct io_uring_sqe *sqe = sqe_get(OP_SEND, i);
        io_uring_prep_send(sqe, c->fd, log_bytes + (c->at & (LOG_BYTES - 1)), c->asked,
                           MSG_DONTWAIT | MSG_NOSIGNAL);
        tag(sqe, OP_SEND, i);
        sends++;
    }
    return sends;
}

static void sent(uint32_t idx, int res)
{
    conn_t *c = &conns[idx];
    if (res > 0) {
        c->at += (uint64_t)res;
        if ((uint32_t)res < c->asked)
            wait_writable(idx);
    } else if (res == -EAGAIN || res == -EINTR) {
        wait_writable(idx);
    } else {
        drop(c);
    }
}

/* --- everything else ------------------------------------------------------------------------ */

static void accepted(int fd)
{
    int one = 1;
    if (fd < 0)
        return;
    KMY_ASSERT(conns_count < CONNS_MAX);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    uint32_t idx = conns_count++;
    conns[idx] = (conn_t){ .fd = fd };
    struct io_uring_sqe *sqe = sqe_get(OP_HELLO, idx);
    io_uring_prep_recv(sqe, fd, conns[idx].hello, sizeof conns[idx].hello, 0);
    tag(sqe, OP_HELLO, idx);
}

static void arm_accept(int listen_fd)
{
    struct io_uring_sqe *sqe = sqe_get(OP_ACCEPT, 0);
    io_uring_prep_multishot_accept(sqe, listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    tag(sqe, OP_ACCEPT, 0);
}

/* One completion; true: it was a send. */
static bool dispatch(const struct io_uring_cqe *cqe, int listen_fd)
{
    uint32_t idx = (uint32_t)cqe->user_data;
    switch ((op_t)(cqe->user_data >> 32)) {
    case OP_ACCEPT:
        accepted(cqe->res);
        if (!(cqe->flags & IORING_CQE_F_MORE))
            arm_accept(listen_fd);
        return false;
    case OP_HELLO:
        if (cqe->res <= 0) {
            drop(&conns[idx]);
        } else {
            conns[idx].live = true;
            conns[idx].at = log_end;
        }
        return false;
    case OP_POLL:
        conns[idx].blocked = false;
        return false;
    case OP_SEND:
        sent(idx, cqe->res);
        return true;
    }
    return false;
}

static uint32_t drain(int listen_fd)
{
    struct io_uring_cqe *cqe;
    uint32_t sends = 0;
    while (io_uring_peek_cqe(&ring, &cqe) == 0) {
        struct io_uring_cqe e = *cqe;
        io_uring_cqe_seen(&ring, cqe);
        sends += dispatch(&e, listen_fd);
    }
    return sends;
}

static void flush(int listen_fd)
{
    for (uint32_t awaited; (awaited = prepare_sends()) > 0;) {
        io_uring_submit(&ring);
        for (uint32_t done = drain(listen_fd); done < awaited; done += drain(listen_fd)) {
            if (done < awaited)
                io_uring_submit_and_wait(&ring, 1);
        }
        if (awaited < SQ_ENTRIES - 64)
            break; /* what did not fit into one send waits for the next turn, as in the daemon */
    }
}

/* Everything due by now goes into the log, each in the frame of the daemon's shape. */
static void make_ticks(pace_t *pace)
{
    int64_t now = pace_now_ns();
    char text[PACE_TICK_BYTES_MAX];
    size_t n;
    for (int i = 0; i < PACE_PER_TURN_MAX && (n = pace_tick(pace, now, text)) > 0; i++) {
        uint8_t *out = log_bytes + (log_end & (LOG_BYTES - 1));
        out[0] = 0x81;
        out[1] = 126;
        out[2] = (uint8_t)(n >> 8);
        out[3] = (uint8_t)n;
        memcpy(out + 4, text, n);
        KMY_ASSERT(frame_bytes == 0 || frame_bytes == n + 4);
        frame_bytes = n + 4;
        log_end += n + 4;
    }
}

static void run(int listen_fd, double rate, uint64_t gather)
{
    pace_t pace;
    pace_begin(&pace, rate, gather);
    arm_accept(listen_fd);
    while (!stop) {
        bool more = false;
        for (uint32_t i = 0; i < conns_count && !more; i++)
            more = conns[i].live && !conns[i].blocked && conns[i].at < log_end;
        int64_t wait = pace_due_ns(&pace) - pace_now_ns();
        if (wait > 0 && !more) {
            struct __kernel_timespec ts = { wait / KMY_NS_PER_S, wait % KMY_NS_PER_S };
            struct io_uring_cqe *cqe;
            io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &ts, NULL);
        } else { /* deferred task work (polls, hellos) runs only when asked for */
            io_uring_submit_and_get_events(&ring);
        }
        drain(listen_fd);
        make_ticks(&pace);
        flush(listen_fd);
    }
}

static int listen_on(uint16_t port)
{
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        die("cannot listen");
    printf("listening raw=127.0.0.1:%u\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void open_ring(void)
{
    struct io_uring_params p = {
        .flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                 IORING_SETUP_DEFER_TASKRUN,
        .cq_entries = CQ_ENTRIES,
    };
    int rc = io_uring_queue_init_params(SQ_ENTRIES, &ring, &p);
    if (rc < 0) {
        errno = -rc;
        die("io_uring");
    }
}

int main(int argc, char **argv)
{
    double rate = 50;
    uint64_t gather = 1;
    int core = -1;
    uint16_t port = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--rate") == 0 && i + 1 < argc) {
            rate = strtod(argv[++i], NULL);
        } else if (strcmp(argv[i], "--gather") == 0 && i + 1 < argc) {
            gather = strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--lag-ticks") == 0 && i + 1 < argc) {
            lag_ticks = strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--core") == 0 && i + 1 < argc) {
            core = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
            port = (uint16_t)atoi(argv[++i]);
        } else {
            fprintf(stderr,
                    "usage: bench_ceiling [--rate TICKS_PER_S] [--gather N] [--lag-ticks N] "
                    "[--core N] [--port N]\n");
            return 2;
        }
    }
    if (!(rate > 0 && rate <= 1e6))
        die("--rate must be above 0, at most 1000000");
    if (gather < 1 || gather > PACE_PER_TURN_MAX || lag_ticks < 1 || lag_ticks > 65536)
        die("--gather must be 1 to 4096, --lag-ticks 1 to 65536");
    if (core >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)core, &set);
        sched_setaffinity(0, sizeof set, &set);
    }
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    struct sigaction act = { .sa_handler = on_signal };
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    conns = calloc(CONNS_MAX, sizeof *conns);
    if (!conns)
        die("no memory");
    map_log();
    open_ring();
    run(listen_on(port), rate, gather);
    fprintf(stderr, "skipped %lu ticks of readers beyond the lag limit\n", (unsigned long)skipped);
    return 0;
}
