#include "pay/signin.h"

#include "pay/ed25519.h"
#include "pay/evm.h"
#include "pay/payment.h"
#include "wire/base58.h"
#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

enum {
    DOMAIN,
    ADDRESS,
    STATEMENT,
    URI,
    VERSION,
    CHAIN,
    TYPE,
    NONCE,
    ISSUED,
    EXPIRES,
    NOT_BEFORE,
    REQUEST,
    SIGNATURE,
    TEXTS, /* all members before this one are texts */
    RESOURCES = TEXTS,
    FIELDS
};

enum { TEXT_MAX = KMY_PAYMENT_BYTES_MAX };

/* The members, escapes undone in place (an escape is never shorter than what it stands for). */
typedef struct members {
    const char *text[TEXTS]; /* NULL: absent */
    size_t len[TEXTS];
    const char *resource[KMY_SIGNIN_RESOURCES_MAX];
    size_t resources_count;
    bool has_resources;
} members_t;

static kmy_err_t malformed(kmy_errctx_t *ctx, const char *what)
{
    return kmy_fail(ctx, KMY_BAD_INPUT, "kmy_signin_verify", 0, "sign-in: %s", what);
}

static kmy_err_t refused(kmy_errctx_t *ctx, const char *why)
{
    return kmy_fail(ctx, KMY_UNAUTHENTICATED, "kmy_signin_verify", 0, "sign-in: %s", why);
}

/* A line of the signed text must stay one line: a control character could make one message read as another. */
static bool one_line(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return false;
    return true;
}

/* The token's text, terminated, written over its own raw bytes; the closing quote makes room for the terminator. */
static bool undo(kmy_json_token_t token, char *buffer, const char **out, size_t *len)
{
    char plain[TEXT_MAX];
    size_t n;
    if (token.type != KMY_JSON_STRING || !kmy_json_unescape(token, plain, sizeof plain, &n) ||
        !one_line(plain, n))
        return false;
    char *at = buffer + (token.text - buffer);
    memcpy(at, plain, n);
    at[n] = '\0';
    *out = at;
    *len = n;
    return true;
}

static bool read_resources(kmy_json_token_t token, char *buffer, members_t *m)
{
    kmy_json_t js;
    kmy_json_token_t item[KMY_SIGNIN_RESOURCES_MAX];
    size_t ignored;
    if (token.type == KMY_JSON_ERROR || token.type == KMY_JSON_NULL)
        return true;
    if (token.type != KMY_JSON_ARRAY)
        return false;
    m->has_resources = true;
    kmy_json_init(&js, token.text, token.len);
    kmy_json_next(&js);
    for (;;) { /* all are read before the first is written over */
        kmy_json_token_t t = kmy_json_next(&js);
        if (t.type == KMY_JSON_ARRAY_END)
            break;
        if (t.type != KMY_JSON_STRING || m->resources_count == KMY_SIGNIN_RESOURCES_MAX)
            return false;
        item[m->resources_count++] = t;
    }
    for (size_t i = 0; i < m->resources_count; i++)
        if (!undo(item[i], buffer, &m->resource[i], &ignored))
            return false;
    return true;
}

static kmy_err_t read_members(const char *header, size_t len, char buffer[TEXT_MAX], members_t *m,
                              kmy_errctx_t *ctx)
{
    kmy_json_field_t f[FIELDS] = {
        [DOMAIN] = { .key = "domain" },
        [ADDRESS] = { .key = "address" },
        [STATEMENT] = { .key = "statement" },
        [URI] = { .key = "uri" },
        [VERSION] = { .key = "version" },
        [CHAIN] = { .key = "chainId" },
        [TYPE] = { .key = "type" },
        [NONCE] = { .key = "nonce" },
        [ISSUED] = { .key = "issuedAt" },
        [EXPIRES] = { .key = "expirationTime" },
        [NOT_BEFORE] = { .key = "notBefore" },
        [REQUEST] = { .key = "requestId" },
        [SIGNATURE] = { .key = "signature" },
        [RESOURCES] = { .key = "resources" },
    };
    kmy_json_t js;
    size_t text_len = kmy_payment_base64(header, len, buffer);
    if (text_len == 0)
        return malformed(ctx, "it is no base64 of at most 12 KiB");
    kmy_json_init(&js, buffer, text_len);
    if (kmy_json_object(&js, f, FIELDS, ctx) != KMY_OK)
        return KMY_BAD_INPUT;
    if (kmy_json_next(&js).type != KMY_JSON_END)
        return malformed(ctx, "something stands behind its JSON");
    for (int i = 0; i < TEXTS; i++) {
        kmy_json_type_t type = f[i].token.type;
        bool optional = i == STATEMENT || i == EXPIRES || i == NOT_BEFORE || i == REQUEST;
        if (optional && (type == KMY_JSON_ERROR || type == KMY_JSON_NULL))
            continue;
        if (!undo(f[i].token, buffer, &m->text[i], &m->len[i]))
            return kmy_fail(ctx, KMY_BAD_INPUT, "kmy_signin_verify", 0,
                            "sign-in: %s is missing or is no single line of text", f[i].key);
    }
    if (!read_resources(f[RESOURCES].token, buffer, m))
        return malformed(ctx, "resources is no list of at most 16 texts");
    return KMY_OK;
}

static bool digits(const char *text, size_t count, int *out)
{
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *out = *out * 10 + (text[i] - '0');
    }
    return true;
}

/* Days since 1970-01-01 of a date in the Gregorian calendar: years begin in March, so that the leap day is the last. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? month + 9 : month - 3;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool read_zone(const char *text, size_t len, int64_t *seconds)
{
    int hours, minutes;
    *seconds = 0;
    if (len == 1 && (text[0] == 'Z' || text[0] == 'z'))
        return true;
    if (len != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':' ||
        !digits(text + 1, 2, &hours) || !digits(text + 4, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *seconds = (hours * 60 + minutes) * (text[0] == '+' ? 60 : -60);
    return true;
}

bool kmy_signin_time(const char *text, size_t len, int64_t *out_s)
{
    static const uint8_t month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year, month, day, hour, minute, second;
    int64_t zone;
    if (len < 20 || text[4] != '-' || text[7] != '-' || (text[10] | 0x20) != 't' ||
        text[13] != ':' || text[16] != ':' || !digits(text, 4, &year) ||
        !digits(text + 5, 2, &month) || !digits(text + 8, 2, &day) ||
        !digits(text + 11, 2, &hour) || !digits(text + 14, 2, &minute) ||
        !digits(text + 17, 2, &second))
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1 || day > month_days[month - 1] + (month == 2 && leap) ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    size_t at = 19;
    if (text[at] == '.') {
        size_t first = ++at;
        while (at < len && text[at] >= '0' && text[at] <= '9')
            at++;
        if (at == first)
            return false;
    }
    if (!read_zone(text + at, len - at, &zone))
        return false;
    *out_s = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone;
    return true;
}

static bool of_origin(const char *uri, const char *origin)
{
    size_t len = strlen(origin);
    return strncmp(uri, origin, len) == 0 && (uri[len] == '\0' || strchr("/?#", uri[len]));
}

static kmy_err_t check_times(const members_t *m, int64_t now_s, kmy_signin_t *out,
                             kmy_errctx_t *ctx)
{
    int64_t not_before = INT64_MIN;
    out->expires_s = INT64_MAX;
    if (!kmy_signin_time(m->text[ISSUED], m->len[ISSUED], &out->issued_s) ||
        (m->text[EXPIRES] &&
         !kmy_signin_time(m->text[EXPIRES], m->len[EXPIRES], &out->expires_s)) ||
        (m->text[NOT_BEFORE] &&
         !kmy_signin_time(m->text[NOT_BEFORE], m->len[NOT_BEFORE], &not_before)))
        return malformed(ctx, "a time in it is not as RFC 3339 writes them");
    if (out->issued_s > now_s + KMY_SIGNIN_LEEWAY_S || not_before > now_s + KMY_SIGNIN_LEEWAY_S)
        return refused(ctx, "it is not valid yet");
    if (now_s - out->issued_s >= KMY_SIGNIN_AGE_S_MAX || now_s >= out->expires_s)
        return refused(ctx, "it is too old; ask for a new nonce");
    return KMY_OK;
}

static kmy_err_t check_terms(const members_t *m, const kmy_signin_terms_t *terms, kmy_errctx_t *ctx)
{
    if (strcmp(m->text[DOMAIN], terms->domain) != 0 || !of_origin(m->text[URI], terms->origin))
        return refused(ctx, "it was signed for another domain");
    if (strcmp(m->text[VERSION], "1") != 0)
        return malformed(ctx, "version is not 1");
    for (size_t i = 0; i < terms->chains_count; i++)
        if (strcmp(m->text[CHAIN], terms->chains[i]) == 0)
            return KMY_OK;
    return kmy_fail(ctx, KMY_UNSUPPORTED, __func__, 0, "sign-in: chain %.60s was not offered",
                    m->text[CHAIN]);
}

static void line(kmy_buf_t *b, const char *label, const char *text)
{
    if (!text)
        return;
    kmy_buf_str(b, label);
    kmy_buf_str(b, text);
}

/* The signed text.  Where no statement is, EIP-4361 has two empty lines, and the Solana form of the packages one. */
static size_t compose(const members_t *m, bool evm, char out[TEXT_MAX])
{
    kmy_buf_t b = kmy_buf(out, TEXT_MAX);
    kmy_buf_str(&b, m->text[DOMAIN]);
    kmy_buf_str(&b, evm ? " wants you to sign in with your Ethereum account:\n"
                        : " wants you to sign in with your Solana account:\n");
    kmy_buf_str(&b, m->text[ADDRESS]);
    kmy_buf_str(&b, "\n\n");
    if (m->text[STATEMENT] && (evm || m->len[STATEMENT])) {
        kmy_buf_str(&b, m->text[STATEMENT]);
        kmy_buf_str(&b, "\n\n");
    } else if (evm) {
        kmy_buf_str(&b, "\n");
    }
    line(&b, "URI: ", m->text[URI]);
    line(&b, "\nVersion: ", m->text[VERSION]);
    line(&b, "\nChain ID: ", strchr(m->text[CHAIN], ':') + 1);
    line(&b, "\nNonce: ", m->text[NONCE]);
    line(&b, "\nIssued At: ", m->text[ISSUED]);
    line(&b, "\nExpiration Time: ", m->text[EXPIRES]);
    line(&b, "\nNot Before: ", m->text[NOT_BEFORE]);
    line(&b, "\nRequest ID: ", m->text[REQUEST]);
    if (m->has_resources && (evm || m->resources_count))
        kmy_buf_str(&b, "\nResources:");
    for (size_t i = 0; i < m->resources_count; i++)
        line(&b, "\n- ", m->resource[i]);
    return b.overflow ? 0 : b.len;
}

static kmy_err_t check_evm(const members_t *m, const char *text, size_t len, kmy_signin_t *out,
                           kmy_errctx_t *ctx)
{
    uint8_t address[KMY_EVM_ADDRESS_BYTES], signer[KMY_EVM_ADDRESS_BYTES], digest[32],
        signature[KMY_EVM_SIGNATURE_BYTES];
    char hex[2 * KMY_EVM_ADDRESS_BYTES + 1];
    if (!kmy_evm_address_parse(m->text[ADDRESS], m->len[ADDRESS], address))
        return malformed(ctx, "address is not 0x and 40 digits");
    if (m->len[SIGNATURE] > 2 + 2 * sizeof signature)
        return kmy_fail(ctx, KMY_UNSUPPORTED, __func__, 0,
                        "sign-in: contract wallets cannot sign in yet");
    if (!kmy_hex_decode_0x(m->text[SIGNATURE], m->len[SIGNATURE], signature, sizeof signature))
        return malformed(ctx, "signature is not 65 bytes of hex");
    kmy_evm_personal_digest(text, len, digest);
    if (!kmy_evm_recover(digest, signature, signer) || memcmp(signer, address, sizeof signer) != 0)
        return refused(ctx, "the signature is not that of its address");
    kmy_hex_encode(address, sizeof address, hex);
    snprintf(out->account, sizeof out->account, "%.60s:0x%s", m->text[CHAIN], hex);
    return KMY_OK;
}

static kmy_err_t check_solana(const members_t *m, const char *text, size_t len, kmy_signin_t *out,
                              kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ED25519_KEY_BYTES], signature[KMY_ED25519_SIGNATURE_BYTES];
    if (!kmy_base58_decode(m->text[ADDRESS], m->len[ADDRESS], key, sizeof key) ||
        !kmy_base58_decode(m->text[SIGNATURE], m->len[SIGNATURE], signature, sizeof signature))
        return malformed(ctx, "address or signature is no base58 of its size");
    if (!kmy_ed25519_verify(key, signature, text, len))
        return refused(ctx, "the signature is not that of its address");
    snprintf(out->account, sizeof out->account, "%.60s:%s", m->text[CHAIN], m->text[ADDRESS]);
    return KMY_OK;
}

static kmy_err_t judge(const members_t *m, const kmy_signin_terms_t *terms, int64_t now_s,
                       kmy_signin_t *out, kmy_errctx_t *ctx)
{
    char text[TEXT_MAX];
    bool evm = strncmp(m->text[CHAIN], "eip155:", 7) == 0;
    kmy_err_t err = check_terms(m, terms, ctx);
    if (err == KMY_OK)
        err = check_times(m, now_s, out, ctx);
    if (err != KMY_OK)
        return err;
    if (strcmp(m->text[TYPE], evm ? "eip191" : "ed25519") != 0)
        return malformed(ctx, "type is not that of its chain");
    if (m->len[NONCE] == 0 || m->len[NONCE] >= sizeof out->nonce)
        return malformed(ctx, "nonce is empty or longer than 128 bytes");
    memcpy(out->nonce, m->text[NONCE], m->len[NONCE] + 1);
    size_t len = compose(m, evm, text);
    if (len == 0)
        return malformed(ctx, "its text is too long");
    return evm ? check_evm(m, text, len, out, ctx) : check_solana(m, text, len, out, ctx);
}

kmy_err_t kmy_signin_verify(const char *header, size_t len, const kmy_signin_terms_t *terms,
                            int64_t now_s, kmy_signin_t *out, kmy_errctx_t *ctx)
{
    char buffer[KMY_PAYMENT_BYTES_MAX];
    members_t m = { 0 };
    kmy_signin_t signin = { 0 };
    kmy_err_t err = read_members(header, len, buffer, &m, ctx);
    if (err == KMY_OK)
        err = judge(&m, terms, now_s, &signin, ctx);
    if (err == KMY_OK)
        *out = signin;
    return err;
}
