/* secp: ECDSA over secp256k1 by libsecp256k1, with the strictness that money wants.  It stands in wire/ because payments and Pyth's
   signatures both need it.  Source: SEC 1 section 4.1; Ethereum's yellow paper, appendix F; EIP-2 for the low s.

   Nothing here holds a secret.  Any thread; nothing blocks or allocates. */
#ifndef KMY_WIRE_SECP_H
#define KMY_WIRE_SECP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_SECP_PUBLIC_BYTES  64 /* X and Y, without the byte 04 */
#define KMY_SECP_ADDRESS_BYTES 20

/* true if s (big-endian) is at most (n - 1) / 2: of the two signatures that are equally good, the one that counts. */
bool kmy_secp_low_s(const uint8_t s[32]);

/* kmy_secp_recover: the key whose owner signed `digest`.  rs is r and s, each in [1, n-1], low or high s; recid in 0..3.  false (and
   *public_key untouched): out of range, or no such key. */
bool kmy_secp_recover(const uint8_t digest[32], const uint8_t rs[64], int recid,
                      uint8_t public_key[KMY_SECP_PUBLIC_BYTES]);
/* The last 20 bytes of the key's Keccak-256; kmy_secp_recover_address is both, and refuses the zero address. */
void kmy_secp_address(const uint8_t public_key[KMY_SECP_PUBLIC_BYTES],
                      uint8_t address[KMY_SECP_ADDRESS_BYTES]);
bool kmy_secp_recover_address(const uint8_t digest[32], const uint8_t rs[64], int recid,
                              uint8_t address[KMY_SECP_ADDRESS_BYTES]);

/* kmy_secp_verify: plain ECDSA.  The key is 33 bytes (02, 03) or 65 (04; the hybrid 06 and 07 are refused).  sig is r and s (64 bytes), or
   with kmy_secp_verify_der a strict DER SEQUENCE of two INTEGERs.  low_s_only refuses the other of two good signatures. */
bool kmy_secp_verify(const uint8_t digest[32], const uint8_t *key, size_t key_len,
                     const uint8_t rs[64], bool low_s_only);
bool kmy_secp_verify_der(const uint8_t digest[32], const uint8_t *key, size_t key_len,
                         const uint8_t *sig, size_t sig_len, bool low_s_only);

#endif
