/* base58: the alphabet of Bitcoin and Solana (no 0, O, I, l), for keys and signatures of known size.  A leading '1' is a leading zero byte,
   so each value has exactly one spelling.  Any thread; nothing blocks or allocates. */
#ifndef KMY_WIRE_BASE58_H
#define KMY_WIRE_BASE58_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_BASE58_DATA_BYTES_MAX 64 /* a signature */
#define KMY_BASE58_TEXT_BYTES_MAX                                                                  \
    89 /* of 64 bytes: 64 x log 256 / log 58 = 87.4, and a terminator */
#define KMY_BASE58_KEY_BYTES_MAX 45 /* of 32 bytes: 43.7, and a terminator */

/* kmy_base58_decode reads text[0..len), which must stand for exactly `bytes` (at most KMY_BASE58_DATA_BYTES_MAX) bytes, into out.  false:
   a foreign character, or another size; out is then untouched. */
bool kmy_base58_decode(const char *text, size_t len, void *out, size_t bytes);
/* kmy_base58_encode writes the text of bytes[0..bytes) (at most KMY_BASE58_DATA_BYTES_MAX), terminated; out holds
   KMY_BASE58_TEXT_BYTES_MAX, or KMY_BASE58_KEY_BYTES_MAX if bytes is 32.  Returns its length. */
size_t kmy_base58_encode(const void *data, size_t bytes, char *out);

#endif
