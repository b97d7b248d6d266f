/* Exact decimals: a signed 64-bit mantissa and a power of ten.  Never a binary float on the way. */
#ifndef KMY_BASE_DECIMAL_H
#define KMY_BASE_DECIMAL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_DEC_BYTES_MAX 160 /* room for any kmy_dec_format result, with terminator */
#define KMY_DEC_EXPO_MIN  (-64)
#define KMY_DEC_EXPO_MAX  64

/* kmy_dec_parse reads [-]digits[.digits][(e|E)[+-]digits] and nothing else: no sign +, no blanks,
   no NaN, no hex, at least one digit on each side of a point.  Trailing zeros of the fraction are
   dropped first, so "1.50000000" is 15 x 10^-1. KMY_OK         *mant and *expo are the exact value
     KMY_BAD_INPUT  the text is no such number
     KMY_OVERFLOW   it does not fit a 64-bit mantissa or the exponent range
   Outputs are untouched unless KMY_OK. */
kmy_err_t kmy_dec_parse(const char *text, size_t len, int64_t *mant, int *expo);

/* kmy_dec_rescale: mant x 10^from as a multiple of 10^to.  false (and *out untouched) if that is
 * not exact or overflows. */
bool kmy_dec_rescale(int64_t mant, int from, int to, int64_t *out);

/* kmy_dec_format writes mant x 10^expo as plain decimal text without trailing zeros ("187.1234",
   "-0.5", "0"), without exponent form, terminates it and returns its length.  expo in
   [KMY_DEC_EXPO_MIN, KMY_DEC_EXPO_MAX]; out holds at least KMY_DEC_BYTES_MAX bytes.
   kmy_dec_format_u is the same for an unsigned mantissa. */
size_t kmy_dec_format(int64_t mant, int expo, char *out);
size_t kmy_dec_format_u(uint64_t mant, int expo, char *out);

/* kmy_u64_digits writes v in decimal (no terminator) and returns the count, 1..20. */
size_t kmy_u64_digits(uint64_t v, char *out);
/* kmy_u64_parse reads 1..20 digits, nothing else, no leading zero but "0" itself; false on overflow
 * or any other text. */
bool kmy_u64_parse(const char *text, size_t len, uint64_t *out);

#endif
