#include "engine/topology.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The program in one table.  A thread is pinned to its job; a link has one writer.

     link           writer   reader              slots    a slow reader ...
     ring           feeds    shard*, recorder    config   is lapped and told how much it lost
     shard_keeper   shard*   keeper              1024     holds its writer up (which keeps the item and tries again); a quarter is for what somebody waits for
     keeper_shard   keeper   shard*              1024     holds its writer up (the same)
     shard_history  shard*   history             16       cannot be: a shard has 16 asks under way at most
     history_shard  history  shard*              16       cannot be: an answer is one of those 16
     shard_cashier  shard*   cashier             64       cannot be: a shard has 64 slips, and each is in one place
     cashier_shard  cashier  shard*              64       cannot be: the same
     cashier_keeper cashier  keeper              128      cannot be: there are 128 jobs, and each is in one place
     keeper_cashier keeper   cashier             128      cannot be: the same

   feeds     upstream sockets, parse, normalize, publish                      engine/feeds.c
   shard*    one per core: clients, encode once, meter, send                  engine/shard.c
   recorder  ring to the snapshot store, in batches                           engine/recorder.c
   history   the snapshot store to shards: what is older than their logs      engine/history.c
   keeper    the ledger: all that must be on disk before it is answered       engine/keeper.c
   cashier   payments: signatures, facilitators, chains                       engine/cashier.c

   Recorder and keeper are two threads since a durable commit may take milliseconds, in which the ring would lap the snapshot store at full rate. */
enum { LINK_SLOTS = 1024 };

/* populate: MAP_POPULATE for what must never fault, 0 for what is not on a tick's way. */
static void *take_as(kmy_topology_t *t, size_t bytes, int fd, int populate)
{
    int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    KMY_ASSERT(t->mem_count < sizeof t->mem / sizeof *t->mem);
    void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | populate, fd, 0);
    if (mem == MAP_FAILED)
        return NULL;
    t->mem[t->mem_count] = mem;
    t->mem_bytes[t->mem_count++] = bytes;
    return mem;
}

static void *take(kmy_topology_t *t, size_t bytes, int fd)
{
    return take_as(t, bytes, fd, MAP_POPULATE);
}

static kmy_err_t make_ring(kmy_topology_t *t, size_t slots, const char *path, uint64_t first_seq,
                           kmy_errctx_t *ctx)
{
    size_t bytes = kmy_ring_bytes(slots);
    KMY_ASSERT(bytes > 0); /* config checked the range */
    int fd = -1;
    if (path) {
        /* A fresh file each start: readers of an earlier life keep theirs and see that it stands still. */
        unlink(path);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0)
            return KMY_FAIL_SYS(ctx, KMY_IO, "cannot make the shared ring %s: %s", path,
                                strerror(errno));
        if (ftruncate(fd, (off_t)bytes) != 0) {
            close(fd);
            return KMY_FAIL_SYS(ctx, KMY_IO, "cannot size the shared ring %s to %zu bytes: %s",
                                path, bytes, strerror(errno));
        }
    }
    void *mem = take(t, bytes, fd);
    if (fd >= 0)
        close(fd);
    if (!mem)
        return KMY_FAIL_SYS(ctx, KMY_IO, "no memory for a ring of %zu ticks: %s", slots,
                            strerror(errno));
    t->ring = kmy_ring_init(mem, slots, first_seq);
    return KMY_OK;
}

static kmy_queue_t *make_queue(kmy_topology_t *t, size_t slots, size_t item_bytes)
{
    void *mem = take(t, kmy_queue_bytes(slots, item_bytes), -1);
    return mem ? kmy_queue_init(mem, slots, item_bytes) : NULL;
}

/* The links of one shard. */
static bool make_links(kmy_topology_t *t, uint32_t i)
{
    t->shard_keeper[i] = make_queue(t, LINK_SLOTS, sizeof(kmy_ask_t));
    t->keeper_shard[i] = make_queue(t, LINK_SLOTS, sizeof(kmy_tell_t));
    t->shard_history[i] = make_queue(t, KMY_HISTORY_CHUNKS, sizeof(uint64_t));
    t->history_shard[i] = make_queue(t, KMY_HISTORY_CHUNKS, sizeof(uint64_t));
    t->history_chunks[i] = take(t, KMY_HISTORY_CHUNKS * sizeof *t->history_chunks[i], -1);
    t->shard_cashier[i] = make_queue(t, KMY_SLIPS, sizeof(uint64_t));
    t->cashier_shard[i] = make_queue(t, KMY_SLIPS, sizeof(uint64_t));
    t->slips[i] = take_as(t, KMY_SLIPS * sizeof *t->slips[i], -1, 0);
    return t->shard_keeper[i] && t->keeper_shard[i] && t->shard_history[i] && t->history_shard[i] &&
           t->history_chunks[i] && t->shard_cashier[i] && t->cashier_shard[i] && t->slips[i] &&
           kmy_wake_init(&t->shard_wake[i]);
}

/* Between cashier and keeper.  128 jobs of 80 KiB are 10 MiB, most of it room for bodies that few payments have. */
static bool make_jobs(kmy_topology_t *t)
{
    t->cashier_keeper = make_queue(t, KMY_JOBS, sizeof(uint64_t));
    t->keeper_cashier = make_queue(t, KMY_JOBS, sizeof(uint64_t));
    t->jobs = take_as(t, KMY_JOBS * sizeof *t->jobs, -1, 0);
    return t->cashier_keeper && t->keeper_cashier && t->jobs && kmy_wake_init(&t->cashier_wake);
}

kmy_err_t kmy_topology_make(kmy_topology_t *t, const kmy_config_t *cfg, uint32_t shards_count,
                            const char *ring_path, uint64_t first_seq, kmy_errctx_t *ctx)
{
    memset(t, 0, sizeof *t);
    t->keeper_wake.fd = t->history_wake.fd = t->recorded.wake.fd = t->cashier_wake.fd = -1;
    for (uint32_t i = 0; i < KMY_SHARDS_MAX; i++)
        t->shard_wake[i].fd = -1;
    t->shards_count = shards_count;
    kmy_err_t err = make_ring(t, (size_t)cfg->ring.slots, ring_path, first_seq, ctx);
    atomic_init(&t->recorded.seq, first_seq);
    bool ok = err == KMY_OK && kmy_wake_init(&t->keeper_wake) && kmy_wake_init(&t->history_wake) &&
              kmy_wake_init(&t->recorded.wake) && make_jobs(t);
    for (uint32_t i = 0; ok && i < shards_count; i++)
        ok = make_links(t, i);
    if (ok)
        return KMY_OK;
    if (err == KMY_OK)
        err = KMY_FAIL_SYS(ctx, KMY_IO, "no memory or descriptors for the links of %u shards: %s",
                           shards_count, strerror(errno));
    kmy_topology_free(t);
    return err;
}

void kmy_topology_quiet(kmy_topology_t *t, bool quiet)
{
    atomic_store(&t->quiet, quiet);
    for (uint32_t i = 0; i < t->shards_count; i++)
        kmy_wake_signal(&t->shard_wake[i]);
}

void kmy_topology_free(kmy_topology_t *t)
{
    if (t->mem_count == 0)
        return; /* nothing was made, or it is freed already: its descriptors are zeroes, not ours */
    for (size_t i = 0; i < t->mem_count; i++)
        munmap(t->mem[i], t->mem_bytes[i]);
    for (uint32_t i = 0; i < t->shards_count; i++)
        kmy_wake_fini(&t->shard_wake[i]);
    kmy_wake_fini(&t->keeper_wake);
    kmy_wake_fini(&t->history_wake);
    kmy_wake_fini(&t->recorded.wake);
    kmy_wake_fini(&t->cashier_wake);
    memset(t, 0, sizeof *t);
}
