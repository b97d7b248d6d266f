/* dollar 1/7 and 7/7   in: pay/challenge (what a client is offered), pay/facilitator (what it is judged against)   out: JSON */
/* entry_json: an entry as x402 writes it, in both generations.  Offer and requirement are one text by one function: a facilitator must judge a payment by what its payer was
   offered.  Source: the x402 specification, PaymentRequirements of version 1 and 2.

   Pure; any thread; nothing blocks or allocates.  Appends to *out and tells by out->overflow if it was too small (1 KiB and the three texts, escaped, suffice). */
#ifndef KMY_PAY_ENTRY_JSON_H
#define KMY_PAY_ENTRY_JSON_H

#include "pay/entry.h"
#include "wire/json.h"

/* What is paid for.  Terminated UTF-8; NULL: "". */
typedef struct kmy_pay_resource {
    const char *url;
    const char *description;
    const char *mime_type;
} kmy_pay_resource_t;

/* version: 1 or 2.  amount: base units, decimal; the entry's own is not looked at.  resource: of version 1, which says it in each entry (version 2 once for the whole offer); NULL: "". */
void kmy_pay_entry_put(kmy_buf_t *out, const kmy_pay_entry_t *entry, int version,
                       const char *amount, const kmy_pay_resource_t *resource);

#endif
