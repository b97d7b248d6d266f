/* keccak: Keccak-256 as Ethereum and Pyth use it: the original padding (first byte 01), not SHA3-256 (06) of FIPS 202, which OpenSSL has.
   Source: "The Keccak reference", version 3.0, sections 1.2 and 1.3; rate 1088, capacity 512.  Any thread; nothing blocks or allocates. */
#ifndef KMY_WIRE_KECCAK_H
#define KMY_WIRE_KECCAK_H

#include <stddef.h>
#include <stdint.h>

#define KMY_KECCAK_BYTES      32
#define KMY_KECCAK_RATE_BYTES 136 /* absorbed by one permutation */

/* In pieces: init, any number of adds, one end; the object is then spent. */
typedef struct kmy_keccak {
    uint64_t lane[25];
    size_t fill; /* bytes absorbed since the last permutation; below the rate */
} kmy_keccak_t;

void kmy_keccak_init(kmy_keccak_t *k);
void kmy_keccak_add(kmy_keccak_t *k, const void *data, size_t len);
void kmy_keccak_end(kmy_keccak_t *k, uint8_t out[KMY_KECCAK_BYTES]);

/* The hash of data[0..len), which may be out itself. */
void kmy_keccak256(const void *data, size_t len, uint8_t out[KMY_KECCAK_BYTES]);

#endif
