/* bench_metering: the shard's way of a tick - fan out, gather, meter, send, settle - with the daemon's own code, a real ring and real sockets, made for
   callgrind: bench/metering counts the instructions of kmy_subs_fan_out and kmy_egress_flush under it, with and without the meter
   (bench_metering_off is this program with the calls of the meter compiled away).

     bench_metering [--turns N] [--conns N] [--gather N] [--price NUSD]

   Each turn makes `gather` ticks of one feed and delivers them to every connection in one send each; the peers are read empty between turns.
   Prints what was delivered, so that counts can be divided by it. */
#include "engine/account.h"
#include "engine/egress.h"
#include "engine/shard.h"
#include "engine/subs.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS_MAX = 400, GATHER_MAX = 128, LOG_BYTES_MAX = 1 << 22 };

typedef struct rig {
    kmy_shard_t s;
    kmy_config_t cfg;
    kmy_catalog_t catalog;
    kmy_metrics_t metrics;
    int peer[CONNS_MAX];
    uint64_t read_bytes;
} rig_t;

static rig_t rig;

static void die(const char *what)
{
    fprintf(stderr, "bench_metering: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *zeroes(size_t n, size_t bytes)
{
    void *p = calloc(n, bytes);
    if (!p)
        die("no memory");
    return p;
}

static void open_ring(kmy_shard_t *s)
{
    struct io_uring_params p = { .flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                                          IORING_SETUP_DEFER_TASKRUN };
    errno = -io_uring_queue_init_params(KMY_SENDS_MAX, &s->uring, &p);
    if (errno)
        die("io_uring");
}

static void open_feed(kmy_shard_t *s, int64_t price_nusd)
{
    static const char yaml[] = "sources: { pyth: { feeds: [] }, binance: { symbols: [SOLUSDT] } }";
    kmy_errctx_t ctx;
    uint32_t id = 1;
    if (kmy_config_read(&rig.cfg, "bench", yaml, sizeof yaml - 1, &ctx) != KMY_OK ||
        kmy_catalog_build(&rig.catalog, &rig.cfg, &ctx) != KMY_OK ||
        kmy_catalog_assign(&rig.catalog, &id, &ctx) != KMY_OK) {
        fprintf(stderr, "bench_metering: %s\n", ctx.detail);
        exit(1);
    }
    KMY_ASSERT(rig.catalog.feeds_count == 1);
    rig.catalog.feeds[0].tick_nusd = price_nusd;
    s->feeds = zeroes(1, sizeof *s->feeds);
    s->touched_feeds = zeroes(1, sizeof *s->touched_feeds);
    s->log_limits = (kmy_feedlog_limits_t){ 4096, INT64_C(60000000000), LOG_BYTES_MAX };
    kmy_tick_json_init(&s->feeds[0].json, rig.catalog.feeds[0].name);
    kmy_flat_init(&s->feeds[0].flat, KMY_FLAT_STREAM, id, rig.catalog.feeds[0].name);
}

/* One account, as rich as the run needs and known to the keeper as rich: every send looks at it as in the daemon. */
static void open_account(kmy_shard_t *s)
{
    s->accounts = zeroes(1, sizeof *s->accounts);
    s->accounts_high = 1;
    s->touched = zeroes(1, sizeof *s->touched);
    s->accounts[0] = (kmy_shard_account_t){ .state = KMY_ACCOUNT_OPEN,
                                            .id = 1,
                                            .free_nusd = INT64_C(1000000000000000),
                                            .conns_head = KMY_NONE,
                                            .waiters_head = KMY_NONE,
                                            .waiters_tail = KMY_NONE };
    s->accounts[0].lease = (kmy_lease_t){ .granted_nusd = INT64_C(1000000000000000),
                                          .left_nusd = INT64_C(1000000000000000) };
}

/* A loopback connection: what a send costs the kernel is part of the way. */
static void connect_pair(int door, int pair[2])
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    int one = 1;
    pair[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (getsockname(door, (struct sockaddr *)&at, &len) != 0 ||
        connect(pair[1], (struct sockaddr *)&at, sizeof at) != 0)
        die("cannot connect");
    pair[0] = accept(door, NULL, NULL);
    if (pair[0] < 0)
        die("cannot accept");
    setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static int open_door(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 16) != 0)
        die("cannot listen");
    return fd;
}

static void open_conns(kmy_shard_t *s, uint32_t count)
{
    int door = open_door();
    s->conns = zeroes(count, sizeof *s->conns);
    s->dirty = zeroes(count, sizeof *s->dirty);
    s->dirty_next = zeroes(count, sizeof *s->dirty_next);
    s->starving = zeroes(count, sizeof *s->starving);
    s->subs = zeroes(count, sizeof *s->subs);
    s->subs_max = count;
    s->subs_free = KMY_NONE;
    s->stage = zeroes(1, KMY_STAGE_BYTES);
    s->sends = zeroes(KMY_SENDS_MAX, sizeof *s->sends);
    s->segments = zeroes(KMY_SEGMENTS_MAX, sizeof *s->segments);
    for (uint32_t i = 0; i < count; i++) {
        int fd[2];
        connect_pair(door, fd);
        rig.peer[i] = fd[1];
        s->conns[i] = (kmy_conn_t){ .fd = fd[0],
                                    .state = KMY_CONN_WS,
                                    .authenticated = true,
                                    .payer = &s->accounts[0],
                                    .subs_head = KMY_NONE,
                                    .pending_head = KMY_NONE,
                                    .pending_tail = KMY_NONE };
        kmy_sub_options_t o = { .encoding = KMY_ENC_JSON };
        kmy_resume_t none = { .given = false };
        if (kmy_subs_add(s, &s->conns[i], 0, &o, &none) == KMY_NONE)
            die("cannot subscribe");
    }
    close(door);
}

static void make_tick(kmy_shard_t *s)
{
    uint64_t offset = s->feeds[0].last.offset + 1;
    kmy_tick_t t = { .offset = offset,
                     .recv_ns = s->now_wall_ns,
                     .price_mant = (int64_t)(offset * 10 + 7),
                     .price_expo = -2,
                     .feed_id = 1,
                     .source = KMY_SOURCE_BINANCE,
                     .kind = KMY_KIND_TRADE };
    kmy_subs_tick(s, &t);
}

static void read_peers(uint32_t count)
{
    static uint8_t bytes[KMY_SEND_BYTES_MAX];
    for (uint32_t i = 0; i < count; i++) {
        ssize_t n = recv(rig.peer[i], bytes, sizeof bytes, 0); /* one send, one read */
        if (n <= 0)
            die("a peer got nothing");
        rig.read_bytes += (uint64_t)n;
    }
}

static bool number(const char *text, long min, long max, long *out)
{
    char *end;
    *out = strtol(text, &end, 10);
    return end != text && *end == 0 && *out >= min && *out <= max;
}

int main(int argc, char **argv)
{
    long turns = 1000, conns = 200, gather = 1, price = 1000;
    bool ok = argc % 2 == 1;
    for (int i = 1; ok && i < argc; i += 2)
        ok = strcmp(argv[i], "--turns") == 0    ? number(argv[i + 1], 1, 1000000, &turns)
             : strcmp(argv[i], "--conns") == 0  ? number(argv[i + 1], 1, CONNS_MAX, &conns)
             : strcmp(argv[i], "--gather") == 0 ? number(argv[i + 1], 1, GATHER_MAX, &gather)
             : strcmp(argv[i], "--price") == 0  ? number(argv[i + 1], 0, 1000000, &price)
                                                : false;
    if (!ok) {
        fprintf(stderr,
                "usage: bench_metering [--turns N] [--conns 1..%d] [--gather 1..%d] "
                "[--price NUSD]\n",
                CONNS_MAX, GATHER_MAX);
        return 2;
    }
    kmy_shard_t *s = &rig.s;
    s->config = &rig.cfg;
    s->catalog = &rig.catalog;
    s->metrics = &rig.metrics;
    s->now_ns = s->now_wall_ns = INT64_C(1795000000000000000);
    kmy_pace_init(&s->pace, s->now_ns);
    open_ring(s);
    open_feed(s, price);
    open_account(s);
    open_conns(s, (uint32_t)conns);
    for (long i = 0; i < turns; i++) {
        s->now_ns += 1000000;
        s->now_wall_ns += 1000000;
        for (long k = 0; k < gather; k++)
            make_tick(s);
        kmy_subs_fan_out(s);
        kmy_egress_flush(s);
        read_peers((uint32_t)conns);
    }
    kmy_metrics_t *all = &rig.metrics;
    int64_t delivered = kmy_metrics_sum(&all, 1, KMY_METRIC_delivered_tick_total);
    int64_t sends = kmy_metrics_sum(&all, 1, KMY_METRIC_send_total);
    printf("delivered=%" PRId64 " sends=%" PRId64 " spent_nusd=%" PRId64 " bytes=%" PRIu64 "\n",
           delivered, sends, s->accounts[0].lease.spent_nusd, rig.read_bytes);
    return delivered == (int64_t)turns * conns * gather ? 0 : 1;
}
