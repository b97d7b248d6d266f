/* dollar 6/7   in: configuration (prices)   out: pay/meter, engine/routes */
#include "pay/price.h"

#include "base/limits.h"

#include <inttypes.h>
#include <stdbool.h>

enum { WHOLE = 100 }; /* percent */

/* 4096 items x 10^12 nano-USD x 100 x 100 = 4.1 x 10^19: above 2^63, so products are taken in 128 bits; the quotient fits again. */
_Static_assert(KMY_PRICE_ITEMS_MAX >= KMY_FEEDS_MAX, "a snapshot of all feeds is one batch");
_Static_assert(KMY_PRICE_ITEMS_MAX *KMY_PRICE_NUSD_MAX < INT64_MAX / 2, "a batch's sum fits");

kmy_price_book_t kmy_price_book_default(void)
{
    return (kmy_price_book_t){ .query_nusd = 100 * 1000,
                               .market_query_nusd = 200 * 1000,
                               .tick_nusd = 1000,
                               .pass_nusd = 10 * 1000 * 1000,
                               .batch_discount_percent = 20,
                               .batch_from = 10,
                               .version = 1 };
}

static kmy_err_t price_check(const char *name, int64_t nusd, kmy_errctx_t *ctx)
{
    if (nusd >= 0 && nusd <= KMY_PRICE_NUSD_MAX)
        return KMY_OK;
    return KMY_FAIL(ctx, KMY_CONFIG,
                    "price of a %s is %" PRId64 " nano-USD; legal are 0 to 1000 USD", name, nusd);
}

kmy_err_t kmy_price_book_check(const kmy_price_book_t *book, kmy_errctx_t *ctx)
{
    kmy_err_t err = price_check("query", book->query_nusd, ctx);
    if (err == KMY_OK)
        err = price_check("market query", book->market_query_nusd, ctx);
    if (err == KMY_OK)
        err = price_check("tick", book->tick_nusd, ctx);
    if (err == KMY_OK)
        err = price_check("pass", book->pass_nusd, ctx);
    if (err == KMY_OK && book->batch_discount_percent > WHOLE)
        return KMY_FAIL(ctx, KMY_CONFIG, "batch discount is %u %%; legal are 0 to 100",
                        book->batch_discount_percent);
    return err;
}

static int64_t discounted(int64_t sum_nusd, uint32_t first_percent, uint32_t second_percent)
{
    KMY_ASSERT(sum_nusd >= 0);
    KMY_ASSERT(first_percent <= WHOLE);
    KMY_ASSERT(second_percent <= WHOLE);
    __extension__ __int128 product =
        (__int128)sum_nusd * (WHOLE - first_percent) * (WHOLE - second_percent);
    return (int64_t)(product / (WHOLE * WHOLE));
}

int64_t kmy_price_discounted(int64_t price_nusd, uint32_t discount_percent)
{
    return discounted(price_nusd, discount_percent, 0);
}

int64_t kmy_price_item(int64_t price_nusd, uint32_t batch_percent, uint32_t discount_percent)
{
    return discounted(price_nusd, batch_percent, discount_percent);
}

int64_t kmy_price_batch(const kmy_price_book_t *book, const int64_t *prices_nusd, size_t count,
                        uint32_t discount_percent)
{
    int64_t sum = 0;
    bool batch = book->batch_from > 0 && count >= book->batch_from;
    KMY_ASSERT(count <= KMY_PRICE_ITEMS_MAX);
    for (size_t i = 0; i < count; i++) {
        KMY_ASSERT(prices_nusd[i] >= 0);
        KMY_ASSERT(prices_nusd[i] <= KMY_PRICE_NUSD_MAX);
        sum += prices_nusd[i];
    }
    return discounted(sum, batch ? book->batch_discount_percent : 0, discount_percent);
}
