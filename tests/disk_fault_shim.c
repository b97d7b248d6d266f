/* A disk that fails when it is told to: preloaded into the daemon, for its ledger's data file alone (e2e_disk.py).

   KMY_DISK_FAULT names a file that is read before each call: empty or missing, the disk is well; else one line "WHAT ERRNO":

     write      pages cannot be written (ENOSPC: it is full)
     sync       pages are written, but fdatasync fails
     meta       the page that makes a commit valid cannot be written; LMDB then gives the environment up
     meta_late  that page is written, and only then said to have failed; what LMDB does to take it back fails as well

   The meta page goes by a descriptor of its own, opened with O_DSYNC. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static bool is_ledger(int fd)
{
    static const char data[] = "/ledger/data.mdb";
    char link[64];
    char path[PATH_MAX];
    int was = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path);
    errno = was;
    return n > (ssize_t)sizeof data &&
           memcmp(path + n - (sizeof data - 1), data, sizeof data - 1) == 0;
}

/* The errno that this kind of call must fail with now; 0: none. */
static int fault(const char *what)
{
    const char *name = getenv("KMY_DISK_FAULT");
    char text[64] = "";
    char kind[32];
    int number = 0;
    int was = errno;
    int fd = name ? (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        ssize_t n = read(fd, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
        close(fd);
    }
    errno = was;
    return sscanf(text, "%31s %d", kind, &number) == 2 && strcmp(kind, what) == 0 ? number : 0;
}

static ssize_t failed(int number)
{
    errno = number;
    return -1;
}

static ssize_t put(int fd, const void *data, size_t n, off_t offset)
{
    bool meta = fcntl(fd, F_GETFL) & O_DSYNC;
    int late = fault("meta_late");
    int number = fault(meta ? "meta" : "write");
    if (late && meta)
        syscall(SYS_pwrite64, fd, data, n, offset);
    if (late && (meta || n < 512)) /* what takes it back is as short as the meta page's end */
        return failed(late);
    return number ? failed(number) : syscall(SYS_pwrite64, fd, data, n, offset);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t n, off_t offset)
{
    return is_ledger(fd) ? put(fd, data, n, offset) : syscall(SYS_pwrite64, fd, data, n, offset);
}
EXPORT ssize_t pwrite64(int fd, const void *data, size_t n, off_t offset);
EXPORT ssize_t pwrite64(int fd, const void *data, size_t n, off_t offset)
{
    return pwrite(fd, data, n, offset);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
    int number = is_ledger(fd) ? fault("write") : 0;
    return number ? failed(number) : syscall(SYS_writev, fd, iov, count);
}

EXPORT int fdatasync(int fd)
{
    int number = is_ledger(fd) ? fault("sync") : 0;
    return (int)(number ? failed(number) : syscall(SYS_fdatasync, fd));
}
EXPORT int fsync(int fd)
{
    int number = is_ledger(fd) ? fault("sync") : 0;
    return (int)(number ? failed(number) : syscall(SYS_fsync, fd));
}
