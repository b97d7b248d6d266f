/* dollar 4/7   in: pay/ledger_record, pay/ledger_payment_record   out: LMDB pages

   Numbers in a record's value: little-endian on each machine. */
#ifndef KMY_PAY_LEDGER_BYTES_H
#define KMY_PAY_LEDGER_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { KMY_RECORD_VERSION = 1 }; /* first byte of each value */

static inline void kmy_put64(uint8_t *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, sizeof v);
}
static inline void kmy_put32(uint8_t *at, uint32_t v)
{
    v = htole32(v);
    memcpy(at, &v, sizeof v);
}
static inline uint64_t kmy_get64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return le64toh(v);
}
static inline uint32_t kmy_get32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return le32toh(v);
}

/* Version and zeros: eight bytes at the head of each value but the entry's. */
static inline void kmy_head_put(uint8_t *out)
{
    memset(out, 0, 8);
    out[0] = KMY_RECORD_VERSION;
}
static inline bool kmy_head_ok(const uint8_t *in, size_t len, size_t want)
{
    return len == want && in[0] == KMY_RECORD_VERSION;
}

#endif
