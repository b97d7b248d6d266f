/* dollar 1/7   in: engine (configuration, price, route)   out: a 402, and the receipt of what came of it */
#include "pay/challenge.h"

#include "base/decimal.h"
#include "pay/entry_json.h"
#include "pay/signin.h"
#include "wire/base64.h"

#include <string.h>
#include <time.h>

enum { OFFER_BYTES_MAX = 12288 }; /* 64 entries would have 16 KiB: such an offer is cut */

/* --- entries ------------------------------------------------------------------------------- */

/* One entry of an offer. */
typedef struct item {
    const kmy_pay_way_t *way;
    uint64_t units;
} item_t;

/* All there are, the first amount on every way first.  An amount that a way's minimum lifts to one that is there already is left out. */
static size_t list_items(const kmy_challenge_t *ch, bool v1,
                         item_t items[KMY_CHALLENGE_AMOUNTS_MAX * KMY_CHALLENGE_WAYS_MAX])
{
    size_t n = 0;
    KMY_ASSERT(ch->ways_count >= 1 && ch->ways_count <= KMY_CHALLENGE_WAYS_MAX);
    KMY_ASSERT(ch->amounts_count >= 1 && ch->amounts_count <= KMY_CHALLENGE_AMOUNTS_MAX);
    for (size_t a = 0; a < ch->amounts_count; a++) {
        for (size_t w = 0; w < ch->ways_count; w++) {
            const kmy_pay_way_t *way = &ch->ways[w];
            item_t item = { way, kmy_pay_units(ch->amounts_nusd[a], way->min_payment_nusd) };
            bool there = v1 && !way->in_v1;
            for (size_t i = 0; i < n; i++)
                there |= items[i].way == way && items[i].units == item.units;
            if (!there)
                items[n++] = item;
        }
    }
    return n;
}

static void put_text(kmy_buf_t *b, const char *name, const char *text)
{
    kmy_buf_fmt(b, "\"%s\":", name);
    kmy_buf_json_str(b, text, strlen(text));
}

static void put_entry(const kmy_challenge_t *ch, bool v1, const item_t *item, kmy_buf_t *b)
{
    kmy_pay_resource_t about = { ch->url, ch->description, ch->mime_type };
    char amount[21]; /* 2^64 has 20 digits */
    amount[kmy_u64_digits(item->units, amount)] = '\0';
    kmy_pay_entry_put(b, &item->way->entry, v1 ? 1 : 2, amount, &about);
}

static void put_accepts(const kmy_challenge_t *ch, bool v1, size_t count, kmy_buf_t *b)
{
    item_t items[KMY_CHALLENGE_AMOUNTS_MAX * KMY_CHALLENGE_WAYS_MAX];
    size_t all = list_items(ch, v1, items);
    KMY_ASSERT(count <= all);
    kmy_buf_str(b, "\"accepts\":[");
    for (size_t i = 0; i < count; i++) {
        kmy_buf_str(b, i ? "," : "");
        put_entry(ch, v1, &items[i], b);
    }
    kmy_buf_str(b, "]");
}

/* --- extensions ---------------------------------------------------------------------------- */

/* RFC 3339. */
static void put_time(kmy_buf_t *b, const char *name, int64_t s)
{
    time_t t = (time_t)s;
    struct tm tm;
    char text[32];
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    put_text(b, name, text);
}

/* The specification wants a schema beside info.  Clients do not look into it, and the stock one has 700 bytes: ours allows anything. */
void kmy_challenge_put_signin(const kmy_challenge_t *ch, kmy_buf_t *b)
{
    const kmy_challenge_signin_t *s = ch->signin;
    kmy_buf_str(b, "\"sign-in-with-x\":{\"info\":{");
    put_text(b, "domain", s->domain);
    kmy_buf_str(b, ",");
    put_text(b, "uri", s->uri);
    kmy_buf_str(b, ",\"version\":\"1\",");
    put_text(b, "nonce", s->nonce);
    kmy_buf_str(b, ",");
    put_time(b, "issuedAt", s->issued_s);
    kmy_buf_str(b, ",");
    put_time(b, "expirationTime", s->issued_s + KMY_SIGNIN_AGE_S_MAX);
    kmy_buf_str(b, "},\"supportedChains\":[");
    for (size_t i = 0; i < ch->ways_count; i++) {
        const kmy_pay_entry_t *e = &ch->ways[i].entry;
        kmy_buf_str(b, i ? ",{" : "{");
        put_text(b, "chainId", e->chain);
        kmy_buf_fmt(b, ",\"type\":\"%s\"}", e->family == KMY_PAY_EVM ? "eip191" : "ed25519");
    }
    kmy_buf_str(b, "],\"schema\":{}}");
}

static void put_extensions(const kmy_challenge_t *ch, kmy_buf_t *b)
{
    if (!ch->signin && !ch->identifier)
        return;
    kmy_buf_str(b, ",\"extensions\":{");
    if (ch->identifier)
        kmy_buf_str(b, "\"payment-identifier\":{\"info\":{\"required\":false},\"schema\":{}}");
    if (ch->signin) {
        kmy_buf_str(b, ch->identifier ? "," : "");
        kmy_challenge_put_signin(ch, b);
    }
    kmy_buf_str(b, "}");
}

/* --- offers -------------------------------------------------------------------------------- */

void kmy_challenge_put_v1(const kmy_challenge_t *ch, size_t count, kmy_buf_t *b)
{
    if (count == 0)
        return;
    kmy_buf_str(b, "\"x402Version\":1,");
    put_text(b, "error", ch->error);
    kmy_buf_str(b, ",");
    put_accepts(ch, true, count, b);
}

void kmy_challenge_put_v2(const kmy_challenge_t *ch, size_t count, kmy_buf_t *b)
{
    KMY_ASSERT(count > 0);
    kmy_buf_str(b, "{\"x402Version\":2,");
    put_text(b, "error", ch->error);
    kmy_buf_str(b, ",\"resource\":{");
    put_text(b, "url", ch->url);
    kmy_buf_str(b, ",");
    put_text(b, "description", ch->description);
    kmy_buf_str(b, ",");
    put_text(b, "mimeType", ch->mime_type);
    kmy_buf_str(b, "},");
    put_accepts(ch, false, count, b);
    put_extensions(ch, b);
    kmy_buf_str(b, "}");
}

/* name: value CRLF, the value in base64 as all of x402's headers are. */
static void put_line(kmy_buf_t *b, const char *name, const kmy_buf_t *json)
{
    char text[KMY_BASE64_TEXT_BYTES(OFFER_BYTES_MAX)];
    KMY_ASSERT(!json->overflow);
    KMY_ASSERT(json->len <= OFFER_BYTES_MAX);
    size_t n = kmy_base64_encode(KMY_BASE64_STD, json->data, json->len, text);
    kmy_buf_fmt(b, "%s: ", name);
    kmy_buf_bytes(b, text, n);
    kmy_buf_str(b, "\r\n");
}

static const char offer_header[] = "PAYMENT-REQUIRED";

void kmy_challenge_put_header(const kmy_challenge_t *ch, size_t count, kmy_buf_t *b)
{
    char text[OFFER_BYTES_MAX];
    kmy_buf_t json = kmy_buf(text, sizeof text);
    kmy_challenge_put_v2(ch, count, &json);
    put_line(b, offer_header, &json);
}

/* --- what fits ----------------------------------------------------------------------------- */

typedef struct fit {
    const kmy_challenge_t *ch;
    size_t room;
    item_t v1[KMY_CHALLENGE_AMOUNTS_MAX * KMY_CHALLENGE_WAYS_MAX];
    item_t v2[KMY_CHALLENGE_AMOUNTS_MAX * KMY_CHALLENGE_WAYS_MAX];
    size_t v1_bytes, v2_bytes; /* of JSON, as far as it goes */
    kmy_challenge_cut_t cut, all;
} fit_t;

static size_t written(const fit_t *f, size_t v1_bytes, size_t v2_bytes)
{
    return (f->cut.v1 || v1_bytes > f->v1_bytes ? v1_bytes : 0) + sizeof offer_header - 1 +
           strlen(": \r\n") + KMY_BASE64_TEXT_BYTES(v2_bytes);
}

static size_t *count_of(kmy_challenge_cut_t *cut, bool v1)
{
    return v1 ? &cut->v1 : &cut->v2;
}

/* Takes the next entry of v1 or v2 in; false: it does not fit. */
static bool take(fit_t *f, bool v1)
{
    char text[2048];
    kmy_buf_t b = kmy_buf(text, sizeof text);
    size_t at = *count_of(&f->cut, v1);
    put_entry(f->ch, v1, v1 ? &f->v1[at] : &f->v2[at], &b);
    size_t more = b.len + (at > 0);
    size_t v1_bytes = f->v1_bytes + (v1 ? more : 0), v2_bytes = f->v2_bytes + (v1 ? 0 : more);
    if (b.overflow || v2_bytes > OFFER_BYTES_MAX || written(f, v1_bytes, v2_bytes) > f->room)
        return false;
    f->v1_bytes = v1_bytes;
    f->v2_bytes = v2_bytes;
    (*count_of(&f->cut, v1))++;
    return true;
}

/* Is there a next entry of that version, for the first amount (or for any)? */
static bool has_next(const fit_t *f, bool v1, bool any)
{
    size_t at = v1 ? f->cut.v1 : f->cut.v2;
    if (at == (v1 ? f->all.v1 : f->all.v2))
        return false;
    const item_t *item = v1 ? &f->v1[at] : &f->v2[at];
    return any || item->units == kmy_pay_units(f->ch->amounts_nusd[0], item->way->min_payment_nusd);
}

/* What stands around the entries. */
static void measure_frames(fit_t *f)
{
    char text[OFFER_BYTES_MAX];
    kmy_buf_t b = kmy_buf(text, sizeof text);
    put_text(&b, "error", f->ch->error);
    f->v1_bytes = strlen("\"x402Version\":1,") + b.len + strlen(",\"accepts\":[]");
    b = kmy_buf(text, sizeof text);
    kmy_buf_str(&b, "{\"x402Version\":2,,\"resource\":{,,},\"accepts\":[]}");
    put_text(&b, "error", f->ch->error);
    put_text(&b, "url", f->ch->url);
    put_text(&b, "description", f->ch->description);
    put_text(&b, "mimeType", f->ch->mime_type);
    put_extensions(f->ch, &b);
    KMY_ASSERT(!b.overflow);
    f->v2_bytes = b.len;
}

kmy_challenge_cut_t kmy_challenge_fit(const kmy_challenge_t *ch, size_t room)
{
    fit_t f = { .ch = ch, .room = room };
    f.all.v1 = list_items(ch, true, f.v1);
    f.all.v2 = list_items(ch, false, f.v2);
    measure_frames(&f);
    bool fits = true;
    while (fits && (has_next(&f, false, false) || has_next(&f, true, false))) {
        fits = !has_next(&f, false, false) || take(&f, false);
        fits = fits && (!has_next(&f, true, false) || take(&f, true));
    }
    while (fits && has_next(&f, false, true))
        fits = take(&f, false);
    while (fits && has_next(&f, true, true))
        fits = take(&f, true);
    return f.cut;
}

/* --- receipts ------------------------------------------------------------------------------ */

/* Some of it is a facilitator's own words: what would need an escape, six bytes for one, becomes a question mark, so that the longest receipt fits its line. */
static void put_plain(kmy_buf_t *b, const char *name, const char *text)
{
    kmy_buf_fmt(b, "\"%s\":\"", name);
    for (; *text; text++) {
        bool plain = *text >= ' ' && *text <= '~' && *text != '"' && *text != '\\';
        kmy_buf_bytes(b, plain ? text : "?", 1);
    }
    kmy_buf_str(b, "\"");
}

void kmy_challenge_put_receipt(const kmy_pay_receipt_t *r, kmy_buf_t *b)
{
    char text[1024];
    kmy_buf_t json = kmy_buf(text, sizeof text);
    bool success = !r->reason || !r->reason[0];
    KMY_ASSERT(r->version == 1 || r->version == 2);
    kmy_buf_fmt(&json, "{\"success\":%s,", success ? "true" : "false");
    if (!success) {
        put_plain(&json, "errorReason", r->reason);
        kmy_buf_str(&json, ",");
    }
    put_plain(&json, "transaction", r->transaction);
    kmy_buf_str(&json, ",");
    put_plain(&json, "network", r->network);
    if (r->payer[0]) {
        kmy_buf_str(&json, ",");
        put_plain(&json, "payer", r->payer);
    }
    kmy_buf_str(&json, "}");
    put_line(b, r->version == 1 ? "X-PAYMENT-RESPONSE" : "PAYMENT-RESPONSE", &json);
}
