/* What a token of wire/json.c means: escapes undone, integers, the members of one object. */
#include "wire/json.h"

#include <string.h>

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

/* UTF-8 of a code point below 0x110000 that is no surrogate; returns its length. */
static size_t put_utf8(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)((0xF00 >> n & 0xFF) | cp); /* C0, E0, F0 for 2, 3, 4 */
    return n;
}

/* A \u escape at p, the whole pair if it begins one.  Returns the bytes passed, 0 for a lone surrogate. */
static size_t take_u_escape(const char *p, const char *end, uint32_t *cp)
{
    *cp = hex4(p + 2);
    if (*cp < 0xD800 || *cp > 0xDFFF)
        return 6;
    if (*cp > 0xDBFF || end - p < 12 || p[6] != '\\' || p[7] != 'u')
        return 0;
    uint32_t low = hex4(p + 8);
    if (low < 0xDC00 || low > 0xDFFF)
        return 0;
    *cp = 0x10000 + ((*cp - 0xD800) << 10) + (low - 0xDC00);
    return 12;
}

/* Undoes the escape at p, which the reader has checked.  Returns the bytes passed; 0: NUL or a lone surrogate. */
static size_t take_escape(const char *p, const char *end, char out[4], size_t *out_len)
{
    *out_len = 1;
    switch (p[1]) {
    case 'b':
        out[0] = '\b';
        return 2;
    case 'f':
        out[0] = '\f';
        return 2;
    case 'n':
        out[0] = '\n';
        return 2;
    case 'r':
        out[0] = '\r';
        return 2;
    case 't':
        out[0] = '\t';
        return 2;
    case 'u': {
        uint32_t cp;
        size_t n = take_u_escape(p, end, &cp);
        if (n == 0 || cp == 0)
            return 0;
        *out_len = put_utf8(cp, out);
        return n;
    }
    default:
        out[0] = p[1];
        return 2;
    }
}

static bool is_text(kmy_json_token_t token)
{
    return token.type == KMY_JSON_STRING || token.type == KMY_JSON_KEY;
}

bool kmy_json_unescape(kmy_json_token_t token, char *out, size_t cap, size_t *out_len)
{
    if (cap == 0)
        return false;
    out[0] = '\0';
    if (!is_text(token))
        return false;
    const char *p = token.text;
    const char *end = p + token.len;
    size_t len = 0;
    while (p < end) {
        char piece[4];
        size_t piece_len;
        const char *from = p;
        size_t n;
        if (*p == '\\') {
            n = take_escape(p, end, piece, &piece_len);
            from = piece;
        } else {
            const char *slash = token.escaped ? memchr(p, '\\', (size_t)(end - p)) : NULL;
            n = piece_len = (size_t)((slash ? slash : end) - p);
        }
        if (n == 0 || piece_len >= cap - len) {
            out[len] = '\0';
            return false;
        }
        memcpy(out + len, from, piece_len);
        len += piece_len;
        p += n;
    }
    out[len] = '\0';
    if (out_len)
        *out_len = len;
    return true;
}

bool kmy_json_is(kmy_json_token_t token, const char *word)
{
    size_t word_len = strlen(word);
    if (!is_text(token))
        return false;
    if (!token.escaped)
        return token.len == word_len && memcmp(token.text, word, word_len) == 0;
    const char *p = token.text;
    const char *end = p + token.len;
    while (p < end) {
        char piece[4] = { *p };
        size_t piece_len = 1;
        size_t n = *p == '\\' ? take_escape(p, end, piece, &piece_len) : 1;
        if (n == 0 || piece_len > word_len || memcmp(piece, word, piece_len) != 0)
            return false;
        word += piece_len;
        word_len -= piece_len;
        p += n;
    }
    return word_len == 0;
}

bool kmy_json_i64(kmy_json_token_t token, int64_t *out)
{
    if (token.type != KMY_JSON_NUMBER)
        return false;
    bool minus = token.text[0] == '-';
    const uint64_t limit = (uint64_t)INT64_MAX + minus;
    uint64_t v = 0;
    for (size_t i = minus; i < token.len; i++) {
        uint64_t digit = (uint64_t)(uint8_t)token.text[i] - '0';
        if (digit > 9 || v > (limit - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = minus ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static kmy_json_field_t *field_of(kmy_json_field_t *fields, size_t count, kmy_json_token_t key)
{
    /* The first byte tells most keys apart; an escape may hide it. */
    char first = key.len ? key.text[0] : '\0';
    for (size_t i = 0; i < count; i++)
        if ((key.escaped || fields[i].key[0] == first) && kmy_json_is(key, fields[i].key))
            return &fields[i];
    return NULL;
}

static kmy_err_t refuse(const kmy_json_t *js, kmy_errctx_t *ctx)
{
    return KMY_FAIL(ctx, KMY_BAD_INPUT, "JSON: %s at byte %zu", js->fault ? js->fault : "no object",
                    kmy_json_fault_offset(js));
}

kmy_err_t kmy_json_object(kmy_json_t *js, kmy_json_field_t *fields, size_t fields_count,
                          kmy_errctx_t *ctx)
{
    for (size_t i = 0; i < fields_count; i++)
        fields[i].token = (kmy_json_token_t){ 0 };
    if (kmy_json_next(js).type != KMY_JSON_OBJECT)
        return refuse(js, ctx);
    for (;;) {
        kmy_json_token_t key = kmy_json_next(js);
        if (key.type == KMY_JSON_OBJECT_END)
            return KMY_OK;
        if (key.type != KMY_JSON_KEY)
            return refuse(js, ctx);
        kmy_json_field_t *field = field_of(fields, fields_count, key);
        if (field && field->token.type != KMY_JSON_ERROR)
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "JSON: member \"%s\" stands twice; send it once",
                            field->key);
        kmy_json_token_t value = kmy_json_next(js);
        if (!kmy_json_skip(js, value))
            return refuse(js, ctx);
        if (value.type == KMY_JSON_OBJECT || value.type == KMY_JSON_ARRAY)
            value.len = (size_t)(js->at - value.text);
        if (field)
            field->token = value;
    }
}

bool kmy_json_members(kmy_json_token_t object, kmy_json_field_t *fields, size_t fields_count)
{
    kmy_json_t js;
    for (size_t i = 0; i < fields_count; i++)
        fields[i].token = (kmy_json_token_t){ 0 };
    if (object.type != KMY_JSON_OBJECT)
        return false;
    kmy_json_init(&js, object.text, object.len);
    return kmy_json_object(&js, fields, fields_count, NULL) == KMY_OK;
}

bool kmy_json_array(kmy_json_t *js, kmy_json_token_t array)
{
    if (array.type != KMY_JSON_ARRAY)
        return false;
    kmy_json_init(js, array.text, array.len);
    return kmy_json_next(js).type == KMY_JSON_ARRAY;
}

bool kmy_json_element(kmy_json_t *js, kmy_json_token_t *out)
{
    kmy_json_token_t value = kmy_json_next(js);
    if (!kmy_json_skip(js, value))
        return false;
    if (value.type == KMY_JSON_OBJECT || value.type == KMY_JSON_ARRAY)
        value.len = (size_t)(js->at - value.text);
    *out = value;
    return true;
}
