/* What a program asked of the disk, in its order: preloaded into the program that drives a ledger (power_cut_ledger.c), this writes every
   write, truncation, creation and sync below one folder to a log, of which power_cut.py makes the disks that a power cut may leave behind.

   KMY_POWER_CUT_DIR    the folder, its real path.  A file is named by what follows it; the folder is ".", its parent ".."
   KMY_POWER_CUT_LOG    the log: records of struct record, each followed by its name and its data
   KMY_POWER_CUT_ACKS   what is written to this file (outside the folder) is what was acknowledged: it gets its place in the order

   System calls are made directly, so that it works below sanitizers as well.  One thread. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct record {
    char op; /* see note() */
    uint8_t name_bytes;
    uint16_t zero;
    uint32_t data_bytes; /* that follow the name */
    uint64_t offset;
    uint64_t length;
} record_t;
_Static_assert(sizeof(record_t) == 24, "power_cut.py reads <cBHIQQ");

static int log_fd = -1;
static char dir[PATH_MAX];
static char acks[PATH_MAX];

static void die(const char *what)
{
    fprintf(stderr, "power_cut_shim: %s: %s\n", what, strerror(errno));
    abort();
}

static void put(const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        long n = syscall(SYS_write, log_fd, at, len);
        if (n <= 0)
            die("the log");
        at += n;
        len -= (size_t)n;
    }
}

__attribute__((constructor)) static void begin(void)
{
    const char *log = getenv("KMY_POWER_CUT_LOG");
    const char *d = getenv("KMY_POWER_CUT_DIR");
    const char *a = getenv("KMY_POWER_CUT_ACKS");
    if (!log || !d || !a)
        return;
    snprintf(dir, sizeof dir, "%s", d);
    snprintf(acks, sizeof acks, "%s", a);
    log_fd =
        (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        die(log);
}

/* What the log calls this path; NULL: none of ours. */
static const char *name_of(const char *path)
{
    size_t n = strlen(dir);
    if (log_fd < 0)
        return NULL;
    if (strcmp(path, acks) == 0)
        return "acks";
    if (strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0'))
        return path[n] ? path + n + 1 : ".";
    const char *slash = strrchr(dir, '/');
    if (slash && strlen(path) == (size_t)(slash - dir) && strncmp(path, dir, strlen(path)) == 0)
        return "..";
    return NULL;
}

static const char *name_of_fd(int fd, char path[PATH_MAX])
{
    char link[64];
    if (log_fd < 0 || fd == log_fd)
        return NULL;
    int was = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    errno = was;
    if (n < 0)
        return NULL;
    path[n] = '\0';
    return name_of(path);
}

/* w: data at offset; r: what was written at offset, length is durable; s: all of it is; t: cut to length; c: made; u: removed; n: renamed, l: linked,
   the new name is the data; a: acknowledged, data. */
static void note(char op, const char *name, uint64_t offset, uint64_t length, const void *data,
                 size_t data_bytes)
{
    int was = errno;
    record_t r = { op, (uint8_t)strlen(name), 0, (uint32_t)data_bytes, offset, length };
    put(&r, sizeof r);
    put(name, r.name_bytes);
    put(data, data_bytes);
    errno = was;
}

static void wrote(int fd, off_t offset, const void *data, ssize_t n)
{
    char path[PATH_MAX];
    const char *name = n > 0 ? name_of_fd(fd, path) : NULL;
    if (!name)
        return;
    if (strcmp(name, "acks") == 0) {
        note('a', "", 0, 0, data, (size_t)n);
        return;
    }
    note('w', name, (uint64_t)offset, (uint64_t)n, data, (size_t)n);
    if (fcntl(fd, F_GETFL) & O_DSYNC) /* such a write makes itself durable, and nothing else */
        note('r', name, (uint64_t)offset, (uint64_t)n, NULL, 0);
}

/* Where a write without an offset begins; 0 for what cannot seek, which is none of ours. */
static off_t place(int fd)
{
    int was = errno;
    off_t at = lseek(fd, 0, SEEK_CUR);
    errno = was;
    return at < 0 ? 0 : at;
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t n, off_t offset);
EXPORT ssize_t pwrite(int fd, const void *data, size_t n, off_t offset)
{
    ssize_t done = syscall(SYS_pwrite64, fd, data, n, offset);
    wrote(fd, offset, data, done);
    return done;
}
EXPORT ssize_t pwrite64(int fd, const void *data, size_t n, off_t offset);
EXPORT ssize_t pwrite64(int fd, const void *data, size_t n, off_t offset)
{
    return pwrite(fd, data, n, offset);
}

EXPORT ssize_t write(int fd, const void *data, size_t n)
{
    off_t at = place(fd);
    ssize_t done = syscall(SYS_write, fd, data, n);
    wrote(fd, at, data, done);
    return done;
}

static void wrote_parts(int fd, off_t offset, const struct iovec *iov, int count, ssize_t done)
{
    for (int i = 0; i < count && done > 0; i++) {
        ssize_t n = (ssize_t)iov[i].iov_len < done ? (ssize_t)iov[i].iov_len : done;
        wrote(fd, offset, iov[i].iov_base, n);
        offset += n;
        done -= n;
    }
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
    off_t at = place(fd);
    ssize_t done = syscall(SYS_writev, fd, iov, count);
    wrote_parts(fd, at, iov, count, done);
    return done;
}
EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    ssize_t done = syscall(SYS_pwritev, fd, iov, count, offset, 0);
    wrote_parts(fd, offset, iov, count, done);
    return done;
}

static int cut_to(int fd, off_t length)
{
    char path[PATH_MAX];
    int rc = (int)syscall(SYS_ftruncate, fd, length);
    const char *name = rc == 0 ? name_of_fd(fd, path) : NULL;
    if (name)
        note('t', name, 0, (uint64_t)length, NULL, 0);
    return rc;
}
EXPORT int ftruncate(int fd, off_t length)
{
    return cut_to(fd, length);
}
EXPORT int ftruncate64(int fd, off_t length);
EXPORT int ftruncate64(int fd, off_t length)
{
    return cut_to(fd, length);
}

static int synced(int fd, int rc)
{
    char path[PATH_MAX];
    const char *name = rc == 0 ? name_of_fd(fd, path) : NULL;
    if (name)
        note('s', name, 0, 0, NULL, 0);
    return rc;
}
EXPORT int fsync(int fd)
{
    return synced(fd, (int)syscall(SYS_fsync, fd));
}
EXPORT int fdatasync(int fd)
{
    return synced(fd, (int)syscall(SYS_fdatasync, fd));
}

static int opened(int at, const char *path, int flags, mode_t mode)
{
    char real[PATH_MAX];
    struct stat st;
    bool is_new = flags & O_CREAT && fstatat(at, path, &st, 0) != 0;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    const char *name = fd >= 0 && is_new ? name_of_fd(fd, real) : NULL;
    if (name && strcmp(name, "acks") != 0)
        note('c', name, 0, 0, NULL, 0);
    return fd;
}
static mode_t mode_of(int flags, va_list ap)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}
EXPORT int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return opened(AT_FDCWD, path, flags, mode);
}
EXPORT int open64(const char *path, int flags, ...);
EXPORT int open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return opened(AT_FDCWD, path, flags, mode);
}
EXPORT int openat(int at, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return opened(at, path, flags, mode);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    int rc = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    const char *name = rc == 0 ? name_of(path) : NULL;
    if (name)
        note('c', name, 0, 0, NULL, 0);
    return rc;
}
EXPORT int unlink(const char *path)
{
    int rc = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    const char *name = rc == 0 ? name_of(path) : NULL;
    if (name)
        note('u', name, 0, 0, NULL, 0);
    return rc;
}
EXPORT int rmdir(const char *path)
{
    int rc = (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    const char *name = rc == 0 ? name_of(path) : NULL;
    if (name)
        note('u', name, 0, 0, NULL, 0);
    return rc;
}

static int renamed(const char *from, const char *to, unsigned flags)
{
    int rc = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
    const char *old = rc == 0 ? name_of(from) : NULL;
    const char *now = rc == 0 ? name_of(to) : NULL;
    if (old && now)
        note('n', old, 0, 0, now, strlen(now));
    return rc;
}
EXPORT int rename(const char *from, const char *to)
{
    return renamed(from, to, 0);
}
EXPORT int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags)
{
    if (at != AT_FDCWD || to_at != AT_FDCWD)
        return (int)syscall(SYS_renameat2, at, from, to_at, to, flags);
    return renamed(from, to, flags);
}

EXPORT int link(const char *from, const char *to)
{
    int rc = (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    const char *old = rc == 0 ? name_of(from) : NULL;
    const char *now = rc == 0 ? name_of(to) : NULL;
    if (old && now)
        note('l', old, 0, 0, now, strlen(now));
    return rc;
}

/* What is written through a map cannot be seen here: the data must not be (LMDB without MDB_WRITEMAP).  Its lock file is worth nothing after a cut. */
EXPORT void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    char path[PATH_MAX];
    if (fd >= 0 && prot & PROT_WRITE && flags & MAP_SHARED) {
        const char *name = name_of_fd(fd, path);
        if (name && !strstr(name, "lock.mdb")) {
            errno = EINVAL;
            die("a file of the ledger is mapped to be written");
        }
    }
    return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, offset); /* NOLINT */
}
