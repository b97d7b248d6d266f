/* dollar 2/7   in: engine/routes, engine/stream   out: pay/verify */
#include "pay/payment.h"

#include "wire/base64.h"

#include <string.h>

size_t kmy_payment_base64(const char *header, size_t len, char buffer[KMY_PAYMENT_BYTES_MAX])
{
    size_t out_len;
    if (len > KMY_PAYMENT_BYTES_MAX)
        return 0;
    for (int pads = 0; pads < 2 && len && header[len - 1] == '='; pads++)
        len--;
    if (len == 0 || len > KMY_PAYMENT_BYTES_MAX - 4)
        return 0;
    memcpy(buffer, header, len);
    while (len % 4) /* the stock decoders do not insist on padding; ours does */
        buffer[len++] = '=';
    return kmy_base64_decode(KMY_BASE64_STD, buffer, len, buffer, KMY_PAYMENT_BYTES_MAX, &out_len)
               ? out_len
               : 0;
}

static kmy_pay_reason_t refuse(kmy_errctx_t *ctx, kmy_pay_reason_t reason, const char *why)
{
    kmy_fail(ctx, KMY_BAD_INPUT, "kmy_payment_parse", 0, "payment: %s", why);
    return reason;
}

/* The members of an object that is inside the text already. */
static bool members(kmy_json_token_t object, kmy_json_field_t *fields, size_t count,
                    kmy_errctx_t *ctx)
{
    kmy_json_t js;
    if (object.type != KMY_JSON_OBJECT)
        return false;
    kmy_json_init(&js, object.text, object.len);
    return kmy_json_object(&js, fields, count, ctx) == KMY_OK;
}

static kmy_pay_reason_t parse_accepted(kmy_json_token_t accepted, kmy_json_token_t resource,
                                       kmy_payment_t *out, kmy_errctx_t *ctx)
{
    kmy_json_field_t entry[] = { { .key = "scheme" }, { .key = "network" },
                                 { .key = "amount" }, { .key = "asset" },
                                 { .key = "payTo" },  { .key = "maxTimeoutSeconds" },
                                 { .key = "extra" } };
    kmy_json_field_t about[] = { { .key = "url" } };
    if (!members(accepted, entry, 7, ctx))
        return refuse(ctx, KMY_PAY_PAYLOAD, "\"accepted\" is no object that repeats an offer");
    out->scheme = entry[0].token;
    out->network = entry[1].token;
    out->amount = entry[2].token;
    out->asset = entry[3].token;
    out->pay_to = entry[4].token;
    out->timeout = entry[5].token;
    out->extra = entry[6].token;
    if (resource.type == KMY_JSON_ERROR || resource.type == KMY_JSON_NULL)
        return KMY_PAY_NONE;
    if (!members(resource, about, 1, ctx) || about[0].token.type != KMY_JSON_STRING)
        return refuse(ctx, KMY_PAY_PAYLOAD, "\"resource\" is no object with an url");
    out->resource_url = about[0].token;
    return KMY_PAY_NONE;
}

kmy_pay_reason_t kmy_payment_parse(const char *header, size_t len,
                                   char buffer[KMY_PAYMENT_BYTES_MAX], kmy_payment_t *out,
                                   kmy_errctx_t *ctx)
{
    enum { VERSION, SCHEME, NETWORK, PAYLOAD, ACCEPTED, RESOURCE, EXTENSIONS, FIELDS };
    kmy_json_field_t f[FIELDS] = { { .key = "x402Version" }, { .key = "scheme" },
                                   { .key = "network" },     { .key = "payload" },
                                   { .key = "accepted" },    { .key = "resource" },
                                   { .key = "extensions" } };
    kmy_json_t js;
    int64_t version = 0;
    memset(out, 0, sizeof *out);
    size_t text_len = kmy_payment_base64(header, len, buffer);
    if (text_len == 0)
        return refuse(ctx, KMY_PAY_PAYLOAD, "it is no base64 of at most 12 KiB");
    kmy_json_init(&js, buffer, text_len);
    if (kmy_json_object(&js, f, FIELDS, ctx) != KMY_OK)
        return KMY_PAY_PAYLOAD;
    if (kmy_json_next(&js).type != KMY_JSON_END)
        return refuse(ctx, KMY_PAY_PAYLOAD, "something stands behind its JSON");
    if (!kmy_json_i64(f[VERSION].token, &version) || version < 1 || version > 2)
        return refuse(ctx, KMY_PAY_VERSION, "x402Version is neither 1 nor 2");
    out->version = (int)version;
    out->scheme = f[SCHEME].token;
    out->network = f[NETWORK].token;
    if (version == 2) {
        kmy_pay_reason_t why = parse_accepted(f[ACCEPTED].token, f[RESOURCE].token, out, ctx);
        if (why != KMY_PAY_NONE)
            return why;
        if (f[EXTENSIONS].token.type == KMY_JSON_OBJECT)
            out->extensions = f[EXTENSIONS].token;
    }
    if (out->scheme.type != KMY_JSON_STRING || out->network.type != KMY_JSON_STRING)
        return refuse(ctx, KMY_PAY_PAYLOAD, "scheme or network is missing");
    if (f[PAYLOAD].token.type != KMY_JSON_OBJECT)
        return refuse(ctx, KMY_PAY_PAYLOAD, "\"payload\" is no object");
    out->payload = f[PAYLOAD].token;
    return KMY_PAY_NONE;
}
