/* rlp: Ethereum's "recursive length prefix", as much of it as a transaction that we write needs: texts of bytes, numbers, lists.

   A list is written behind its length, so its contents are made first, in a buffer of their own, and then appended with kmy_rlp_list.
   Source: Ethereum's yellow paper, appendix B.  Pure; any thread; nothing blocks or allocates; a buffer that is too small says so (out->overflow). */
#ifndef KMY_WIRE_RLP_H
#define KMY_WIRE_RLP_H

#include "wire/json.h"

#include <stddef.h>
#include <stdint.h>

void kmy_rlp_bytes(kmy_buf_t *out, const void *bytes, size_t len);
/* Without leading zeros; 0 is the empty text. */
void kmy_rlp_u64(kmy_buf_t *out, uint64_t value);
/* A number of 256 bits, big-endian, likewise. */
void kmy_rlp_word(kmy_buf_t *out, const uint8_t word[32]);
/* The list whose items, already written, are contents[0..len). */
void kmy_rlp_list(kmy_buf_t *out, const void *contents, size_t len);

#endif
