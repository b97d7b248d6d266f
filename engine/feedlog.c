#include "engine/feedlog.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    BYTES_START = 16384, /* some 80 JSON ticks: a feed that ticks once a second never needs more */
    MARKS_START = 128,
};

/* The same memory twice in a row. */
static uint8_t *map_mirrored(size_t bytes)
{
    int fd = memfd_create("kamiyo-feedlog", MFD_CLOEXEC);
    if (fd < 0)
        return NULL;
    uint8_t *base = MAP_FAILED;
    if (ftruncate(fd, (off_t)bytes) == 0)
        base = mmap(NULL, bytes * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base != MAP_FAILED) {
        void *a = mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
        void *b = mmap(base + bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
        if (a == MAP_FAILED || b == MAP_FAILED) {
            munmap(base, bytes * 2);
            base = MAP_FAILED;
        }
    }
    close(fd);
    return base == MAP_FAILED ? NULL : base;
}

bool kmy_feedlog_open(kmy_feedlog_t *log, uint64_t next)
{
    memset(log, 0, sizeof *log);
    log->bytes = map_mirrored(BYTES_START);
    log->marks = calloc(MARKS_START, sizeof *log->marks);
    if (!log->bytes || !log->marks) {
        if (log->bytes)
            munmap(log->bytes, (size_t)BYTES_START * 2);
        free(log->marks);
        memset(log, 0, sizeof *log);
        return false;
    }
    log->bytes_cap = BYTES_START;
    log->marks_cap = MARKS_START;
    log->first = next;
    log->next = next;
    return true;
}

void kmy_feedlog_close(kmy_feedlog_t *log)
{
    if (log->bytes)
        munmap(log->bytes, log->bytes_cap * 2);
    free(log->marks);
    memset(log, 0, sizeof *log);
}

static bool grow_bytes(kmy_feedlog_t *log)
{
    uint64_t cap = log->bytes_cap * 2;
    uint8_t *bytes = map_mirrored(cap);
    if (!bytes)
        return false;
    uint64_t begin = kmy_feedlog_begin(log, log->first);
    memcpy(bytes + (begin & (cap - 1)), log->bytes + (begin & (log->bytes_cap - 1)),
           log->end - begin);
    munmap(log->bytes, log->bytes_cap * 2);
    log->bytes = bytes;
    log->bytes_cap = cap;
    return true;
}

static bool grow_marks(kmy_feedlog_t *log)
{
    uint64_t cap = log->marks_cap * 2;
    kmy_feedlog_mark_t *marks = calloc(cap, sizeof *marks);
    if (!marks)
        return false;
    for (uint64_t o = log->first; o < log->next; o++)
        marks[o & (cap - 1)] = log->marks[o & (log->marks_cap - 1)];
    free(log->marks);
    log->marks = marks;
    log->marks_cap = cap;
    return true;
}

/* Is the oldest frame still within the lag limits, so that it ought to be kept? */
static bool oldest_matters(const kmy_feedlog_t *log, const kmy_feedlog_limits_t *limits,
                           int64_t mono_ns)
{
    return log->next - log->first < limits->keep_ticks &&
           mono_ns - log->marks[log->first & (log->marks_cap - 1)].mono_ns < limits->keep_ns;
}

uint8_t *kmy_feedlog_reserve(kmy_feedlog_t *log, const kmy_feedlog_limits_t *limits,
                             uint64_t offset, size_t frame_bytes_max, int64_t mono_ns)
{
    KMY_ASSERT(log->bytes_cap >= frame_bytes_max);
    if (offset != log->next) {
        log->first = offset;
        log->next = offset;
    }
    while (log->first < log->next &&
           log->end + frame_bytes_max - kmy_feedlog_begin(log, log->first) > log->bytes_cap) {
        if (oldest_matters(log, limits, mono_ns) && log->bytes_cap * 2 <= limits->bytes_max &&
            grow_bytes(log))
            continue;
        log->first++;
    }
    while (log->next - log->first >= log->marks_cap) {
        if (oldest_matters(log, limits, mono_ns) && grow_marks(log))
            continue;
        log->first++;
    }
    return log->bytes + (log->end & (log->bytes_cap - 1));
}

void kmy_feedlog_commit(kmy_feedlog_t *log, size_t frame_bytes, uint64_t seq, int64_t mono_ns)
{
    log->marks[log->next & (log->marks_cap - 1)] = (kmy_feedlog_mark_t){ log->end, mono_ns, seq };
    log->end += frame_bytes;
    log->next++;
}

uint64_t kmy_feedlog_fit(const kmy_feedlog_t *log, uint64_t from, uint64_t n, size_t bytes)
{
    uint64_t begin = kmy_feedlog_begin(log, from);
    if (kmy_feedlog_begin(log, from + n) - begin <= bytes)
        return n;
    uint64_t lo = 0; /* lo frames fit, hi do not */
    uint64_t hi = n;
    while (hi - lo > 1) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (kmy_feedlog_begin(log, from + mid) - begin <= bytes)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

uint64_t kmy_feedlog_after(const kmy_feedlog_t *log, uint64_t from, uint64_t seq)
{
    uint64_t lo = from; /* all below lo are at or below seq, hi and above are above */
    uint64_t hi = log->next;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (kmy_feedlog_seq(log, mid) > seq)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}
