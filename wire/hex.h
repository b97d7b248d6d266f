/* hex: bytes as hexadecimal digits, strict and bounded.  Any thread; nothing blocks or allocates. */
#ifndef KMY_WIRE_HEX_H
#define KMY_WIRE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* kmy_hex_decode reads text[0..len), which must be exactly 2 x bytes digits of either case, into out[0..bytes); kmy_hex_decode_0x wants
   "0x" before them (never "0X").  false: anything else; out then holds rubbish. */
bool kmy_hex_decode(const char *text, size_t len, void *out, size_t bytes);
bool kmy_hex_decode_0x(const char *text, size_t len, void *out, size_t bytes);

/* kmy_hex_encode writes 2 x bytes lower-case digits to out and a terminator behind them. */
void kmy_hex_encode(const void *data, size_t bytes, char *out);

#endif
