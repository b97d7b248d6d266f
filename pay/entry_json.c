/* dollar 1/7 and 7/7   in: pay/challenge, pay/facilitator   out: JSON */
#include "pay/entry_json.h"

#include <string.h>

static void put_text(kmy_buf_t *out, const char *key, const char *text)
{
    kmy_buf_fmt(out, ",\"%s\":", key);
    kmy_buf_json_str(out, text ? text : "", text ? strlen(text) : 0);
}

/* What signatures depend on and nothing else: the token's EIP-712 domain; who pays Solana's fee, and the memo that must stand there. */
static void put_extra(kmy_buf_t *out, const kmy_pay_entry_t *e)
{
    const char *const keys[] = { "name", "version", "feePayer", "memo" };
    const char *const texts[] = { e->asset_name, e->asset_version, e->fee_payer, e->memo };
    bool any = false;
    kmy_buf_str(out, ",\"extra\":{");
    for (int i = e->family == KMY_PAY_EVM ? 0 : 2; i < 4; i++) {
        if (!texts[i][0])
            continue;
        kmy_buf_fmt(out, "%s\"%s\":", any ? "," : "", keys[i]);
        kmy_buf_json_str(out, texts[i], strlen(texts[i]));
        any = true;
    }
    kmy_buf_str(out, "}");
}

void kmy_pay_entry_put(kmy_buf_t *out, const kmy_pay_entry_t *entry, int version,
                       const char *amount, const kmy_pay_resource_t *resource)
{
    KMY_ASSERT(version == 1 || version == 2);
    kmy_buf_str(out, "{\"scheme\":\"exact\"");
    put_text(out, "network", version == 1 ? entry->name : entry->chain);
    put_text(out, version == 1 ? "maxAmountRequired" : "amount", amount);
    if (version == 1) {
        put_text(out, "resource", resource ? resource->url : "");
        put_text(out, "description", resource ? resource->description : "");
        put_text(out, "mimeType", resource ? resource->mime_type : "");
    }
    put_text(out, "asset", entry->asset);
    put_text(out, "payTo", entry->pay_to);
    kmy_buf_fmt(out, ",\"maxTimeoutSeconds\":%u", entry->timeout_s);
    put_extra(out, entry);
    kmy_buf_str(out, "}");
}
