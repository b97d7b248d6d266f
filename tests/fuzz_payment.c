/* Payments from anybody, as JSON (it begins with a brace) or as a header's base64 (else): parsed, and judged against an offer of both families.  Whatever comes
   out must hold together; what was judged valid would be money. */
#include "pay/verify.h"
#include "wire/base64.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static kmy_pay_entry_t entries[2];

static void make_entries(void)
{
    const kmy_pay_terms_t base = { .name = "base",
                                   .pay_to = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" };
    const kmy_pay_terms_t solana = {
        .name = "solana",
        .pay_to = "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL",
        .fee_payer = "4Q9DECv4iZzFCLFuh2WaX2FQjMxnQXXJh4Ljvps5B5nr",
    };
    KMY_ASSERT(kmy_pay_entry_init(&entries[0], &base, NULL) == KMY_OK);
    KMY_ASSERT(kmy_pay_entry_init(&entries[1], &solana, NULL) == KMY_OK);
    kmy_pay_entry_price(&entries[0], 10000);
    kmy_pay_entry_price(&entries[1], 10000);
}

static void judge(const char *header, size_t len)
{
    char buffer[KMY_PAYMENT_BYTES_MAX];
    kmy_payment_t payment;
    kmy_pay_verdict_t v;
    kmy_errctx_t ctx = { 0 };
    const kmy_pay_offer_t offer = { entries, 2, "https://feed.example/v1/tick" };
    kmy_pay_reason_t why = kmy_payment_parse(header, len, buffer, &payment, &ctx);
    KMY_ASSERT((why == KMY_PAY_NONE) == (ctx.where == NULL));
    if (why != KMY_PAY_NONE)
        return;
    kmy_pay_result_t result = kmy_pay_verify(&offer, &payment, 1767225600, &v, &ctx);
    KMY_ASSERT((result == KMY_PAY_INVALID) == (v.reason != KMY_PAY_NONE));
    KMY_ASSERT((result == KMY_PAY_INVALID && !v.ask_chain) == (v.entry == NULL));
    if (result == KMY_PAY_NEEDS_CHAIN || v.ask_chain)
        KMY_ASSERT(v.signature.text > buffer && v.signature.text < buffer + sizeof buffer);
    KMY_ASSERT((result == KMY_PAY_INVALID) == (ctx.where != NULL));
    if (result != KMY_PAY_INVALID)
        KMY_ASSERT(memchr(v.account, '\0', sizeof v.account) != v.account);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char header[KMY_BASE64_TEXT_BYTES(KMY_PAYMENT_BYTES_MAX)];
    if (!entries[0].name[0])
        make_entries();
    if (size == 0 || size > KMY_PAYMENT_BYTES_MAX)
        return 0;
    if (data[0] == '{')
        judge(header, kmy_base64_encode(KMY_BASE64_STD, data, size, header));
    else
        judge((const char *)data + 1, size - 1);
    return 0;
}
