#include "wire/rlp.h"

enum {
    TEXT = 0x80, /* + length; above SHORT_MAX: + 55 + bytes of the length, then the length */
    LIST = 0xC0,
    SHORT_MAX = 55,
};

static void put_byte(kmy_buf_t *out, unsigned byte)
{
    uint8_t b = (uint8_t)byte;
    kmy_buf_bytes(out, &b, 1);
}

static size_t big_endian(uint64_t value, uint8_t bytes[8])
{
    size_t n = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (n > 0 || value >> shift)
            bytes[n++] = (uint8_t)(value >> shift);
    }
    return n;
}

static void put_length(kmy_buf_t *out, unsigned kind, size_t len)
{
    uint8_t bytes[8];
    if (len <= SHORT_MAX) {
        put_byte(out, kind + (unsigned)len);
        return;
    }
    size_t n = big_endian(len, bytes);
    put_byte(out, kind + SHORT_MAX + (unsigned)n);
    kmy_buf_bytes(out, bytes, n);
}

void kmy_rlp_bytes(kmy_buf_t *out, const void *bytes, size_t len)
{
    if (len != 1 || *(const uint8_t *)bytes >= TEXT) /* else it stands for itself */
        put_length(out, TEXT, len);
    if (len > 0)
        kmy_buf_bytes(out, bytes, len);
}

void kmy_rlp_u64(kmy_buf_t *out, uint64_t value)
{
    uint8_t bytes[8];
    size_t n = big_endian(value, bytes);
    kmy_rlp_bytes(out, bytes, n);
}

void kmy_rlp_word(kmy_buf_t *out, const uint8_t word[32])
{
    size_t zeros = 0;
    while (zeros < 32 && word[zeros] == 0)
        zeros++;
    kmy_rlp_bytes(out, word + zeros, 32 - zeros);
}

void kmy_rlp_list(kmy_buf_t *out, const void *contents, size_t len)
{
    put_length(out, LIST, len);
    if (len > 0)
        kmy_buf_bytes(out, contents, len);
}
