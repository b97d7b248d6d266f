/* ed25519: signatures as Solana's runtime judges them (RFC 8032 section 5.1.7 without the cofactor, and the strict rules of
   ed25519-dalek's verify_strict): S below the group order, key and R canonical and not of small order.  OpenSSL 3.0 does the curve and
   checks S; what it lets pass (a key whose y is p or more, keys and R of small order, for which one signature fits many messages)
   is refused before it is asked.

   Any thread; never blocks; kmy_ed25519_verify allocates inside OpenSSL (EVP objects have no other home). */
#ifndef KMY_PAY_ED25519_H
#define KMY_PAY_ED25519_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_ED25519_KEY_BYTES       32
#define KMY_ED25519_SIGNATURE_BYTES 64

bool kmy_ed25519_verify(const uint8_t key[KMY_ED25519_KEY_BYTES],
                        const uint8_t signature[KMY_ED25519_SIGNATURE_BYTES], const void *message,
                        size_t len);
/* true if the 32 bytes are the compressed form of a point: what Solana asks before it calls an address derived.  Start-up and tests: allocates. */
bool kmy_ed25519_on_curve(const uint8_t key[KMY_ED25519_KEY_BYTES]);

#endif
