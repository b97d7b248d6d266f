/* What a peer of bench_parse offers: the same work as ours on the same bytes, the members of a quote read and its texts turned into
   64-bit mantissas.  `sum` takes every value read, so that nothing can be left out. */
#ifndef KMY_BENCH_PARSE_PEER_H
#define KMY_BENCH_PARSE_PEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PEER_TRADE, PEER_BOOK, PEER_HERMES, PEER_KINDS };

/* How many bytes must be readable behind a frame. */
size_t peer_padding(void);
/* 0: refused. */
int peer_on_demand(int kind, const char *frame, size_t len, size_t readable, uint64_t *sum);
int peer_dom(int kind, const char *frame, size_t len, size_t readable, uint64_t *sum);

#ifdef __cplusplus
}
#endif
#endif
