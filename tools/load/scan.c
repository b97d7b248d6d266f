#include "tools/load/scan.h"

#include "base/decimal.h"
#include "base/tick.h"
#include "wire/flat.h"
#include "wire/json.h"

#include <string.h>

/* --- the fixed shape ----------------------------------------------------------------------- */

typedef struct cursor {
    const char *at;
    const char *end;
} cursor_t;

static bool literal(cursor_t *c, const char *text, size_t len)
{
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, text, len) != 0)
        return false;
    c->at += len;
    return true;
}
#define LITERAL(c, text) literal((c), (text), sizeof(text) - 1)

static bool digits(cursor_t *c, uint64_t *out)
{
    const char *begin = c->at;
    uint64_t v = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        if (c->at - begin == 19) /* 20 digits may overflow: the full reader's business */
            return false;
        v = v * 10 + (uint64_t)(*c->at++ - '0');
    }
    *out = v;
    return c->at > begin && (*begin != '0' || c->at == begin + 1);
}

/* "-12.5" up to and with the closing quote. */
static bool decimal(cursor_t *c)
{
    if (c->at < c->end && *c->at == '-')
        c->at++;
    const char *whole = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    if (c->at == whole || (*whole == '0' && c->at > whole + 1))
        return false;
    if (c->at < c->end && *c->at == '.') {
        const char *fraction = ++c->at;
        while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
            c->at++;
        if (c->at == fraction || c->at[-1] == '0') /* no trailing zeros are promised */
            return false;
    }
    return LITERAL(c, "\"");
}

/* One of the words of a closed list, with the closing quote. */
static bool word(cursor_t *c, const char *(*name)(uint8_t), uint8_t count)
{
    const char *quote = memchr(c->at, '"', (size_t)(c->end - c->at));
    if (!quote)
        return false;
    size_t len = (size_t)(quote - c->at);
    for (uint8_t i = 1; i < count; i++) {
        const char *n = name(i);
        if (strlen(n) == len && memcmp(n, c->at, len) == 0) {
            c->at = quote + 1;
            return true;
        }
    }
    return false;
}

static bool feed_name(cursor_t *c, load_tick_t *out)
{
    out->feed = c->at;
    while (c->at < c->end && *c->at != '"') {
        if (*c->at == '\\' || (unsigned char)*c->at < 0x20 || (unsigned char)*c->at > 0x7e)
            return false;
        c->at++;
    }
    out->feed_len = (size_t)(c->at - out->feed);
    return out->feed_len > 0;
}

bool load_scan_json(const char *text, size_t len, load_tick_t *out)
{
    cursor_t c = { text, text + len };
    load_tick_t t;
    uint64_t event = 0;
    uint64_t recv = 0;
    if (!LITERAL(&c, "{\"type\":\"tick\",\"feed\":\"") || !feed_name(&c, &t) ||
        !LITERAL(&c, "\",\"offset\":") || !digits(&c, &t.offset) || !LITERAL(&c, ",\"kind\":\"") ||
        !word(&c, kmy_kind_name, KMY_KIND_COUNT) || !LITERAL(&c, ",\"price\":\""))
        return false;
    const char *price = c.at;
    if (!decimal(&c) ||
        kmy_dec_parse(price, (size_t)(c.at - 1 - price), &t.price_mant, &t.price_expo) != KMY_OK)
        return false;
    if (LITERAL(&c, ",\"conf\":\"") && !decimal(&c))
        return false;
    if (LITERAL(&c, ",\"bid\":\"") && !decimal(&c))
        return false;
    if (LITERAL(&c, ",\"ask\":\"") && !decimal(&c))
        return false;
    if (LITERAL(&c, ",\"size\":\"") && !decimal(&c))
        return false;
    if (!LITERAL(&c, ",\"source\":\"") || !word(&c, kmy_source_name, KMY_SOURCE_COUNT))
        return false;
    if (LITERAL(&c, ",\"ts_event\":\"") && (!digits(&c, &event) || !LITERAL(&c, "\"")))
        return false;
    if (!LITERAL(&c, ",\"ts_recv\":\"") || !digits(&c, &recv) || !LITERAL(&c, "\""))
        return false;
    (void)LITERAL(&c, ",\"degraded\":true");
    if (!LITERAL(&c, "}") || c.at != c.end || t.offset == 0 || recv > INT64_MAX)
        return false;
    t.recv_ns = (int64_t)recv;
    *out = t;
    return true;
}

/* --- any legal spelling -------------------------------------------------------------------- */

static bool read_price(kmy_json_token_t t, load_tick_t *out)
{
    return t.type == KMY_JSON_STRING &&
           kmy_dec_parse(t.text, t.len, &out->price_mant, &out->price_expo) == KMY_OK;
}

kmy_err_t load_read_json(const char *text, size_t len, load_tick_t *out, kmy_errctx_t *ctx)
{
    enum { TYPE, FEED, OFFSET, KIND, PRICE, SOURCE, RECV };
    kmy_json_field_t f[] = { { .key = "type" },   { .key = "feed" },  { .key = "offset" },
                             { .key = "kind" },   { .key = "price" }, { .key = "source" },
                             { .key = "ts_recv" } };
    kmy_json_t js;
    kmy_json_init(&js, text, len);
    kmy_err_t err = kmy_json_object(&js, f, sizeof f / sizeof f[0], ctx);
    if (err != KMY_OK)
        return err;
    if (kmy_json_next(&js).type != KMY_JSON_END)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "something follows the tick's object");
    uint64_t recv;
    if (!kmy_json_is(f[TYPE].token, "tick") || f[FEED].token.type != KMY_JSON_STRING ||
        f[OFFSET].token.type != KMY_JSON_NUMBER ||
        !kmy_u64_parse(f[OFFSET].token.text, f[OFFSET].token.len, &out->offset) ||
        out->offset == 0 || f[KIND].token.type != KMY_JSON_STRING ||
        !read_price(f[PRICE].token, out) || f[SOURCE].token.type != KMY_JSON_STRING ||
        f[RECV].token.type != KMY_JSON_STRING ||
        !kmy_u64_parse(f[RECV].token.text, f[RECV].token.len, &recv) || recv > INT64_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "not a tick: %.*s", len < 120 ? (int)len : 120, text);
    out->feed = f[FEED].token.text;
    out->feed_len = f[FEED].token.len;
    out->recv_ns = (int64_t)recv;
    return KMY_OK;
}

/* --- FlatBuffers --------------------------------------------------------------------------- */

static uint32_t u32_at(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static kmy_err_t flat_bytes(const uint8_t *data, size_t len, size_t *bytes, kmy_errctx_t *ctx)
{
    if (len < 4 || (uint64_t)u32_at(data) + 4 > len)
        return KMY_FAIL(ctx, KMY_CORRUPT, "a FlatBuffers prefix runs beyond its frame");
    *bytes = (size_t)u32_at(data) + 4;
    if (*bytes % 8 != 0 || *bytes < 16)
        return KMY_FAIL(ctx, KMY_CORRUPT, "a FlatBuffers tick of %zu bytes: not padded to 8",
                        *bytes);
    return KMY_OK;
}

kmy_err_t load_read_flat(const uint8_t *data, size_t len, load_tick_t *out, size_t *bytes,
                         char feed[64], kmy_errctx_t *ctx)
{
    kmy_tick_t tick;
    kmy_err_t err = flat_bytes(data, len, bytes, ctx);
    if (err == KMY_OK)
        err = kmy_flat_decode(data + 4, *bytes - 4, &tick, feed, ctx);
    if (err != KMY_OK)
        return err;
    if (tick.offset == 0 || tick.recv_ns <= 0)
        return KMY_FAIL(ctx, KMY_CORRUPT, "a FlatBuffers tick without offset or recv_ns");
    out->feed = feed;
    out->feed_len = strlen(feed);
    out->offset = tick.offset;
    out->recv_ns = tick.recv_ns;
    out->price_mant = tick.price_mant;
    out->price_expo = tick.price_expo;
    return KMY_OK;
}

/* A member's place by the vtable (FlatBuffers internals: root offset, signed distance to the vtable, u16 slots from its byte 4 on). */
static const uint8_t *member(const uint8_t *root, size_t len, uint32_t id, size_t size)
{
    uint64_t table = u32_at(root);
    if (table + 4 > len)
        return NULL;
    int64_t vtable = (int64_t)table - (int32_t)u32_at(root + table);
    uint64_t slot = (uint64_t)vtable + 4 + 2 * (uint64_t)id;
    if (vtable < 0 || slot + 2 > len)
        return NULL;
    uint16_t at;
    memcpy(&at, root + slot, 2);
    return at && table + at + size <= len ? root + table + at : NULL;
}

bool load_peek_flat(const uint8_t *data, size_t len, size_t *bytes, uint64_t *offset,
                    uint32_t *feed_id)
{
    if (flat_bytes(data, len, bytes, NULL) != KMY_OK)
        return false;
    const uint8_t *o = member(data + 4, *bytes - 4, 2, sizeof *offset);
    const uint8_t *f = member(data + 4, *bytes - 4, 12, sizeof *feed_id);
    if (!o || !f)
        return false;
    memcpy(offset, o, sizeof *offset);
    memcpy(feed_id, f, sizeof *feed_id);
    return true;
}

/* --- seen before --------------------------------------------------------------------------- */

load_same_t load_seen_find(const load_seen_t *seen, uint64_t offset, const void *bytes, size_t len,
                           int64_t *recv_ns)
{
    uint64_t i = offset % LOAD_SEEN_SLOTS;
    if (seen->slots[i].offset != offset || offset == 0)
        return LOAD_NEW;
    if (seen->slots[i].len != len || memcmp(seen->slots[i].bytes, bytes, len) != 0)
        return LOAD_DIFFERS;
    *recv_ns = seen->slots[i].recv_ns;
    return LOAD_SAME;
}

void load_seen_put(load_seen_t *seen, uint64_t offset, const void *bytes, size_t len,
                   int64_t recv_ns)
{
    uint64_t i = offset % LOAD_SEEN_SLOTS;
    if (len > LOAD_SEEN_BYTES)
        return;
    seen->slots[i].offset = offset;
    seen->slots[i].recv_ns = recv_ns;
    seen->slots[i].len = (uint32_t)len;
    memcpy(seen->slots[i].bytes, bytes, len);
}

static bool same_price(int64_t a, int a_expo, int64_t b, int b_expo)
{
    int64_t scaled;
    if (a_expo < b_expo)
        return kmy_dec_rescale(b, b_expo, a_expo, &scaled) && scaled == a;
    return kmy_dec_rescale(a, a_expo, b_expo, &scaled) && scaled == b;
}

bool load_values_agree(load_values_t *values, const load_tick_t *t)
{
    uint64_t i = t->offset % LOAD_SEEN_SLOTS;
    if (values->slots[i].offset == t->offset)
        return values->slots[i].recv_ns == t->recv_ns &&
               same_price(values->slots[i].price_mant, values->slots[i].price_expo, t->price_mant,
                          t->price_expo);
    values->slots[i].offset = t->offset;
    values->slots[i].recv_ns = t->recv_ns;
    values->slots[i].price_mant = t->price_mant;
    values->slots[i].price_expo = t->price_expo;
    return true;
}
