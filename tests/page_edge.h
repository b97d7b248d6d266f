/* page_edge: bytes placed so that the next one faults: an over-read by one byte cannot pass unseen, sanitizer or not. */
#ifndef KMY_TESTS_PAGE_EDGE_H
#define KMY_TESTS_PAGE_EDGE_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define KMY_PAGE_EDGE_BYTES_MAX (1u << 20)

/* A writable copy of bytes[0..len) that ends where an unreadable page begins.  The next call reuses the place. */
static inline char *kmy_at_page_end(const void *bytes, size_t len)
{
    static char *edge;
    if (!edge) {
        char *map = mmap(NULL, KMY_PAGE_EDGE_BYTES_MAX + 4096, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED || mprotect(map + KMY_PAGE_EDGE_BYTES_MAX, 4096, PROT_NONE) != 0)
            abort();
        edge = map + KMY_PAGE_EDGE_BYTES_MAX;
    }
    if (len > KMY_PAGE_EDGE_BYTES_MAX)
        abort();
    if (len)
        memcpy(edge - len, bytes, len);
    return edge - len;
}

#endif
