/* kamiyo check pyth: one accumulator update in base64 a line; 0, or 1 and the prices, each as id:price:conf:publish_time.  Retired signer sets count
   here: a recording is as true as it was. */
#include "tools/kamiyo/check.h"

#include "adapters/pyth_update.h"
#include "base/decimal.h"
#include "wire/base64.h"
#include "wire/hex.h"

#include <stdio.h>

/* mant x 10^expo; an exponent that no price has is shown as it is. */
static const char *decimal(uint64_t mant, bool minus, int expo, char out[KMY_DEC_BYTES_MAX + 16])
{
    size_t at = minus;
    out[0] = '-';
    if (expo >= KMY_DEC_EXPO_MIN && expo <= KMY_DEC_EXPO_MAX)
        kmy_dec_format_u(mant, expo, out + at);
    else
        snprintf(out + at, KMY_DEC_BYTES_MAX, "%llue%d", (unsigned long long)mant, expo);
    return out;
}

static void say_price(const kmy_pyth_price_t *p)
{
    char id[65], price[KMY_DEC_BYTES_MAX + 16], conf[KMY_DEC_BYTES_MAX + 16];
    bool minus = p->price < 0;
    kmy_hex_encode(p->id, sizeof p->id, id);
    printf(" %s:%s:%s:%lld", id,
           decimal(minus ? 0 - (uint64_t)p->price : (uint64_t)p->price, minus, p->expo, price),
           decimal(p->conf, false, p->expo, conf), (long long)p->publish_s);
}

int check_pyth(const cli_t *cli)
{
    static kmy_pyth_price_t prices[KMY_PYTH_PRICES_MAX];
    kmy_pyth_update_t update;
    char *line;
    size_t len, bytes;
    (void)cli;
    while (check_line(&line, &len)) {
        if (len == SIZE_MAX ||
            !kmy_base64_decode(KMY_BASE64_STD, line, len, line, CHECK_LINE_BYTES_MAX, &bytes) ||
            kmy_pyth_update_read(line, bytes, kmy_pyth_signers_known, kmy_pyth_signers_known_count,
                                 true, prices, KMY_PYTH_PRICES_MAX, &update, NULL) != KMY_OK) {
            check_say("0");
            continue;
        }
        putchar('1');
        for (size_t i = 0; i < update.prices_count; i++)
            say_price(&prices[i]);
        check_say("");
    }
    return CLI_OK;
}
