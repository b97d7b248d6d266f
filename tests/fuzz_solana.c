/* Solana transactions from anybody.  The signature would stop a fuzzer at once, but it is checked last, so all the rest is walked before. */
#include "pay/solana.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kmy_pay_entry_t entry;
    kmy_solana_payment_t paid;
    if (!entry.name[0]) {
        const kmy_pay_terms_t terms = {
            .name = "solana",
            .pay_to = "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL",
            .fee_payer = "4Q9DECv4iZzFCLFuh2WaX2FQjMxnQXXJh4Ljvps5B5nr",
        };
        KMY_ASSERT(kmy_pay_entry_init(&entry, &terms, NULL) == KMY_OK);
        kmy_pay_entry_price(&entry, 10000);
    }
    kmy_pay_reason_t why = kmy_solana_check(data, size, &entry, &paid);
    KMY_ASSERT(why == KMY_PAY_NONE || why >= KMY_PAY_SVM_DECODE);
    return 0;
}
