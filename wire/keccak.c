#include "wire/keccak.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "lanes are little-endian in memory");

#define ROL(x, n) ((x) << (n) | (x) >> (64 - (n)))

/* One row of chi: five lanes that theta has changed, turned by their rho offset and placed by pi. */
#define CHI(o, x0, x1, x2, x3, x4)                                                                 \
    do {                                                                                           \
        uint64_t b0 = (x0), b1 = (x1), b2 = (x2), b3 = (x3), b4 = (x4);                            \
        (o)[0] = b0 ^ (~b1 & b2);                                                                  \
        (o)[1] = b1 ^ (~b2 & b3);                                                                  \
        (o)[2] = b2 ^ (~b3 & b4);                                                                  \
        (o)[3] = b3 ^ (~b4 & b0);                                                                  \
        (o)[4] = b4 ^ (~b0 & b1);                                                                  \
    } while (0)

/* A whole round from a to e, written out: offsets that the compiler knows are worth a factor of two. */
static inline void round_to(const uint64_t a[25], uint64_t e[25], uint64_t constant)
{
    uint64_t c0 = a[0] ^ a[5] ^ a[10] ^ a[15] ^ a[20];
    uint64_t c1 = a[1] ^ a[6] ^ a[11] ^ a[16] ^ a[21];
    uint64_t c2 = a[2] ^ a[7] ^ a[12] ^ a[17] ^ a[22];
    uint64_t c3 = a[3] ^ a[8] ^ a[13] ^ a[18] ^ a[23];
    uint64_t c4 = a[4] ^ a[9] ^ a[14] ^ a[19] ^ a[24];
    uint64_t d0 = c4 ^ ROL(c1, 1);
    uint64_t d1 = c0 ^ ROL(c2, 1);
    uint64_t d2 = c1 ^ ROL(c3, 1);
    uint64_t d3 = c2 ^ ROL(c4, 1);
    uint64_t d4 = c3 ^ ROL(c0, 1);
    CHI(e, a[0] ^ d0, ROL(a[6] ^ d1, 44), ROL(a[12] ^ d2, 43), ROL(a[18] ^ d3, 21),
        ROL(a[24] ^ d4, 14));
    e[0] ^= constant;
    CHI(e + 5, ROL(a[3] ^ d3, 28), ROL(a[9] ^ d4, 20), ROL(a[10] ^ d0, 3), ROL(a[16] ^ d1, 45),
        ROL(a[22] ^ d2, 61));
    CHI(e + 10, ROL(a[1] ^ d1, 1), ROL(a[7] ^ d2, 6), ROL(a[13] ^ d3, 25), ROL(a[19] ^ d4, 8),
        ROL(a[20] ^ d0, 18));
    CHI(e + 15, ROL(a[4] ^ d4, 27), ROL(a[5] ^ d0, 36), ROL(a[11] ^ d1, 10), ROL(a[17] ^ d2, 15),
        ROL(a[23] ^ d3, 56));
    CHI(e + 20, ROL(a[2] ^ d2, 62), ROL(a[8] ^ d3, 55), ROL(a[14] ^ d4, 39), ROL(a[15] ^ d0, 41),
        ROL(a[21] ^ d1, 2));
}

static const uint64_t constants[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000,
    0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A,
    0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

static void permute(uint64_t lane[25])
{
    uint64_t other[25];
    for (int i = 0; i < 24; i += 2) {
        round_to(lane, other, constants[i]);
        round_to(other, lane, constants[i + 1]);
    }
}

void kmy_keccak_init(kmy_keccak_t *k)
{
    memset(k, 0, sizeof *k);
}

void kmy_keccak_add(kmy_keccak_t *k, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint8_t *state = (uint8_t *)k->lane;
    while (len > 0) {
        size_t n = KMY_KECCAK_RATE_BYTES - k->fill;
        n = n < len ? n : len;
        size_t i = 0;
        if (k->fill % 8 == 0)
            for (; i + 8 <= n; i += 8) {
                uint64_t v;
                memcpy(&v, p + i, 8);
                k->lane[(k->fill + i) / 8] ^= v;
            }
        for (; i < n; i++)
            state[k->fill + i] ^= p[i];
        p += n;
        len -= n;
        k->fill += n;
        if (k->fill == KMY_KECCAK_RATE_BYTES) {
            permute(k->lane);
            k->fill = 0;
        }
    }
}

void kmy_keccak_end(kmy_keccak_t *k, uint8_t out[KMY_KECCAK_BYTES])
{
    uint8_t *state = (uint8_t *)k->lane;
    state[k->fill] ^= 0x01;
    state[KMY_KECCAK_RATE_BYTES - 1] ^= 0x80;
    permute(k->lane);
    memcpy(out, k->lane, KMY_KECCAK_BYTES);
}

void kmy_keccak256(const void *data, size_t len, uint8_t out[KMY_KECCAK_BYTES])
{
    kmy_keccak_t k;
    kmy_keccak_init(&k);
    kmy_keccak_add(&k, data, len);
    kmy_keccak_end(&k, out);
}
