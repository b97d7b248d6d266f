/* Answers of a facilitator: the first byte picks the question and the status, the rest is the body.  Whatever is answered must hold together: a yes is
   about our payment, a named transaction is one, no text carries a control character. */
#include "pay/facilitator.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static kmy_pay_entry_t entries[2];
static uint8_t payers[2][32];

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
    memcpy(payers[0], entries[0].evm.pay_to, 20);
    memcpy(payers[1], entries[1].solana.fee_payer, 32);
}

static void check_text(const char *text, size_t cap)
{
    const char *end = memchr(text, '\0', cap);
    KMY_ASSERT(end != NULL);
    for (; text < end; text++)
        KMY_ASSERT((uint8_t)*text >= 0x20 && *text != 0x7F);
}

static void check_answer(const kmy_facilitator_answer_t *a, const kmy_pay_entry_t *entry,
                         int status)
{
    check_text(a->reason, sizeof a->reason);
    check_text(a->message, sizeof a->message);
    check_text(a->tx, sizeof a->tx);
    KMY_ASSERT(!a->tx[0] || kmy_facilitator_is_tx(entry, a->tx, strlen(a->tx)));
    if (a->word == KMY_FACILITATOR_YES)
        KMY_ASSERT(status >= 200 && status < 300);
    if (a->word == KMY_FACILITATOR_PENDING)
        KMY_ASSERT(a->tx[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = { 200, 400, 500, 0 };
    static char mem[KMY_FACILITATOR_REQUEST_BYTES_MAX];
    kmy_facilitator_answer_t a;
    kmy_facilitator_support_t support;
    if (!entries[0].name[0])
        make_entries();
    if (size == 0)
        return 0;
    int which = data[0] & 1;
    int status = statuses[data[0] >> 1 & 3];
    const kmy_pay_entry_t *entry = &entries[which];
    const char *text = (const char *)data + 1;
    kmy_facilitator_read_verify(text, size - 1, status, entry, payers[which], &a);
    check_answer(&a, entry, status);
    kmy_facilitator_read_settle(text, size - 1, status, entry, payers[which], &a);
    check_answer(&a, entry, status);
    KMY_ASSERT(a.word != KMY_FACILITATOR_YES || a.tx[0]);
    kmy_facilitator_read_supported(text, size - 1, status, entry, &support);
    check_text(support.fee_payer, sizeof support.fee_payer);
    kmy_buf_t out = kmy_buf(mem, sizeof mem); /* and as a payment to be passed on */
    if (kmy_facilitator_request(&out, 1 + which, text, size - 1, entry, NULL))
        KMY_ASSERT(kmy_json_valid(mem, out.len));
    return 0;
}
