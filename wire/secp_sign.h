/* secp_sign: the other half of secp: signatures by a key of our own, for what we send to chains.

   Whoever holds the 32 bytes of a key wipes them.  The nonce of a signature is RFC 6979's (the library's own), so the same key and digest give the same
   signature; s is low.  Each call makes a context blinded with fresh random numbers and takes some 50 us: once per payment, not on a shard.
   Any thread; allocates inside the library. */
#ifndef KMY_WIRE_SECP_SIGN_H
#define KMY_WIRE_SECP_SIGN_H

#include "wire/secp.h"

#define KMY_SECP_KEY_BYTES 32

/* The address of a private key.  false: it is none (zero, or not below the group's order), or no memory. */
bool kmy_secp_key_address(const uint8_t key[KMY_SECP_KEY_BYTES],
                          uint8_t address[KMY_SECP_ADDRESS_BYTES]);
/* rs and recid as kmy_secp_recover takes them, recid in 0..1.  false: no such key, or no memory; rs is then zero. */
bool kmy_secp_sign(const uint8_t digest[32], const uint8_t key[KMY_SECP_KEY_BYTES], uint8_t rs[64],
                   int *recid);

#endif
