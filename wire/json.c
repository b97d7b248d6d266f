#include "wire/json.h"

#include "wire/utf8.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* What may stand next.  A key and its colon are two states, because the key is a token and the colon is none. */
enum {
    WANT_VALUE,
    WANT_VALUE_OR_END, /* behind '[' */
    WANT_KEY,          /* behind ',' in an object */
    WANT_KEY_OR_END,   /* behind '{' */
    WANT_COLON,
    WANT_COMMA_OR_END, /* behind a value inside something */
    WANT_NOTHING,      /* behind the whole value */
    FINISHED,
    FAULTY,
};

static const kmy_json_token_t no_token = { KMY_JSON_ERROR, false, NULL, 0 };

void kmy_json_init(kmy_json_t *js, const char *text, size_t len)
{
    *js = (kmy_json_t){ .begin = text, .at = text, .end = len ? text + len : text };
}

/* js->at stays where the offending token begins. */
static kmy_json_token_t fault(kmy_json_t *js, const char *why)
{
    js->state = FAULTY;
    js->fault = why;
    return no_token;
}

size_t kmy_json_fault_offset(const kmy_json_t *js)
{
    return js->at ? (size_t)(js->at - js->begin) : 0;
}

static bool in_object(const kmy_json_t *js)
{
    unsigned level = js->depth - 1u;
    return js->stack[level / 8] >> (level % 8) & 1;
}

static kmy_json_token_t open_level(kmy_json_t *js, bool object)
{
    if (js->depth == KMY_JSON_DEPTH_MAX)
        return fault(js, "nested too deep");
    unsigned level = js->depth++;
    uint8_t bit = (uint8_t)(1u << (level % 8));
    js->stack[level / 8] =
        (uint8_t)(object ? js->stack[level / 8] | bit : js->stack[level / 8] & ~bit);
    js->state = object ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    js->at++;
    return (kmy_json_token_t){ object ? KMY_JSON_OBJECT : KMY_JSON_ARRAY, false, js->at - 1, 1 };
}

static void after_value(kmy_json_t *js)
{
    js->state = js->depth ? WANT_COMMA_OR_END : WANT_NOTHING;
}

static kmy_json_token_t close_level(kmy_json_t *js)
{
    bool object = in_object(js);
    if (*js->at != (object ? '}' : ']'))
        return fault(js, "closes what is not open");
    js->depth--;
    js->at++;
    after_value(js);
    return (kmy_json_token_t){ object ? KMY_JSON_OBJECT_END : KMY_JSON_ARRAY_END, false, js->at - 1,
                               1 };
}

/* First byte in [p, end) that is a quote, a backslash or a control; end if none.  *beyond_ascii is set if a byte above 7F was
   passed (it may also be set by one that stands shortly behind the result: that costs a check, nothing else). */
static const char *plain_end(const char *p, const char *end, bool *beyond_ascii)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1F);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        *beyond_ascii |= _mm_movemask_epi8(v) != 0;
        int mask = _mm_movemask_epi8(stop);
        if (mask)
            return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
#endif
    for (; p < end; p++) {
        uint8_t c = (uint8_t)*p;
        if (c == '"' || c == '\\' || c < 0x20)
            break;
        *beyond_ascii |= c >= 0x80;
    }
    return p;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Length of the escape that the backslash at p begins; 0 if it is none. */
static size_t escape_bytes(const char *p, const char *end)
{
    if (end - p < 2)
        return 0;
    if (p[1] != 'u')
        return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) ? 2 : 0;
    if (end - p < 6)
        return 0;
    for (int i = 2; i < 6; i++)
        if (hex_digit(p[i]) < 0)
            return 0;
    return 6;
}

static kmy_json_token_t read_string(kmy_json_t *js, kmy_json_type_t type)
{
    const char *text = js->at + 1;
    const char *p = text;
    bool escaped = false;
    bool beyond_ascii = false;
    for (;;) {
        p = plain_end(p, js->end, &beyond_ascii);
        if (p == js->end)
            return fault(js, "string without end");
        if (*p == '"')
            break;
        size_t n = *p == '\\' ? escape_bytes(p, js->end) : 0;
        if (n == 0)
            return fault(js, *p == '\\' ? "bad escape in string" : "control byte in string");
        escaped = true;
        p += n;
    }
    size_t len = (size_t)(p - text);
    if (beyond_ascii && !kmy_utf8_valid(text, len))
        return fault(js, "string is not UTF-8");
    js->at = p + 1;
    if (type == KMY_JSON_KEY)
        js->state = WANT_COLON;
    else
        after_value(js);
    return (kmy_json_token_t){ type, escaped, text, len };
}

static const char *pass_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* RFC 8259 section 6: [-] (0 | 1-9 digits) [. digits] [e [+-] digits].  Returns its end, NULL if it is no number.  A digit behind
   a leading zero is refused by whoever wants a comma next. */
static const char *number_end(const char *p, const char *end)
{
    p += p < end && *p == '-';
    if (p == end || *p < '0' || *p > '9')
        return NULL;
    p = *p == '0' ? p + 1 : pass_digits(p, end);
    if (p < end && *p == '.') {
        const char *digits = ++p;
        p = pass_digits(p, end);
        if (p == digits)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        const char *digits = p;
        p = pass_digits(p, end);
        if (p == digits)
            return NULL;
    }
    return p;
}

static kmy_json_token_t read_number(kmy_json_t *js)
{
    const char *text = js->at;
    const char *p = number_end(text, js->end);
    if (!p)
        return fault(js, "bad number");
    js->at = p;
    after_value(js);
    return (kmy_json_token_t){ KMY_JSON_NUMBER, false, text, (size_t)(p - text) };
}

static kmy_json_token_t read_word(kmy_json_t *js, const char *word, size_t len,
                                  kmy_json_type_t type)
{
    if ((size_t)(js->end - js->at) < len || memcmp(js->at, word, len) != 0)
        return fault(js, "no value");
    const char *text = js->at;
    js->at += len;
    after_value(js);
    return (kmy_json_token_t){ type, false, text, len };
}

static kmy_json_token_t read_value(kmy_json_t *js)
{
    switch (*js->at) {
    case '{':
        return open_level(js, true);
    case '[':
        return open_level(js, false);
    case '"':
        return read_string(js, KMY_JSON_STRING);
    case 't':
        return read_word(js, "true", 4, KMY_JSON_TRUE);
    case 'f':
        return read_word(js, "false", 5, KMY_JSON_FALSE);
    case 'n':
        return read_word(js, "null", 4, KMY_JSON_NULL);
    default:
        return read_number(js);
    }
}

/* Passes blanks; false if the text ends there. */
static bool pass_blanks(kmy_json_t *js)
{
    while (js->at < js->end &&
           (*js->at == ' ' || *js->at == '\n' || *js->at == '\t' || *js->at == '\r'))
        js->at++;
    return js->at < js->end;
}

/* Passes a comma or colon; false if the text ends behind it. */
static bool pass_sign(kmy_json_t *js, uint8_t next_state)
{
    js->at++;
    js->state = next_state;
    return pass_blanks(js);
}

static kmy_json_token_t text_ends(kmy_json_t *js)
{
    if (js->state != WANT_NOTHING)
        return fault(js, "text ends too early");
    js->state = FINISHED;
    return (kmy_json_token_t){ KMY_JSON_END, false, js->at, 0 };
}

kmy_json_token_t kmy_json_next(kmy_json_t *js)
{
    if (js->state == FAULTY)
        return no_token;
    if (js->state == FINISHED)
        return (kmy_json_token_t){ KMY_JSON_END, false, js->at, 0 };
    if (!pass_blanks(js))
        return text_ends(js);

    if (js->state == WANT_COLON) {
        if (*js->at != ':')
            return fault(js, "no colon behind a key");
        if (!pass_sign(js, WANT_VALUE))
            return text_ends(js);
    } else if (js->state == WANT_COMMA_OR_END) {
        if (*js->at != ',')
            return close_level(js);
        if (!pass_sign(js, in_object(js) ? WANT_KEY : WANT_VALUE))
            return text_ends(js);
    }

    switch (js->state) {
    case WANT_VALUE_OR_END:
        return *js->at == ']' ? close_level(js) : read_value(js);
    case WANT_KEY_OR_END:
        if (*js->at == '}')
            return close_level(js);
        /* fall through */
    case WANT_KEY:
        return *js->at == '"' ? read_string(js, KMY_JSON_KEY) : fault(js, "no key");
    case WANT_NOTHING:
        return fault(js, "something stands behind the value");
    default:
        return read_value(js);
    }
}

bool kmy_json_skip(kmy_json_t *js, kmy_json_token_t token)
{
    if (token.type == KMY_JSON_KEY)
        token = kmy_json_next(js);
    switch (token.type) {
    case KMY_JSON_STRING:
    case KMY_JSON_NUMBER:
    case KMY_JSON_TRUE:
    case KMY_JSON_FALSE:
    case KMY_JSON_NULL:
        return true;
    case KMY_JSON_OBJECT:
    case KMY_JSON_ARRAY:
        break;
    default:
        return false;
    }
    for (unsigned outside = js->depth - 1u; js->depth > outside;)
        if (kmy_json_next(js).type == KMY_JSON_ERROR)
            return false;
    return true;
}

bool kmy_json_valid(const char *text, size_t len)
{
    kmy_json_t js;
    kmy_json_init(&js, text, len);
    for (;;) {
        kmy_json_type_t type = kmy_json_next(&js).type;
        if (type == KMY_JSON_END || type == KMY_JSON_ERROR)
            return type == KMY_JSON_END;
    }
}
