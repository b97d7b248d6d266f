/* Money inside is int64_t nano-USD (10^-9 USD), the suffix is _nusd; at the doors it is decimal
   text in USD. One place converts, and it never rounds: text with more than nine decimals is
   refused. */
#ifndef KMY_BASE_MONEY_H
#define KMY_BASE_MONEY_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define KMY_NUSD_PER_USD   INT64_C(1000000000)
#define KMY_NUSD_PER_UUSDC INT64_C(1000) /* a USDC base unit is 10^-6 */
#define KMY_NUSD_BYTES_MAX 24            /* "-9223372036.854775808" and its terminator */

/* kmy_nusd_parse reads "0.0001" or "10".  KMY_BAD_INPUT: not a plain decimal (a sign or an exponent
   is refused too); KMY_OVERFLOW: more than nine decimals, or above INT64_MAX. */
kmy_err_t kmy_nusd_parse(const char *text, size_t len, int64_t *out_nusd);

/* kmy_nusd_format writes exactly nine decimals ("0.999900000"), terminates, returns the length. */
size_t kmy_nusd_format(int64_t nusd, char out[KMY_NUSD_BYTES_MAX]);

#endif
