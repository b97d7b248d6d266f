/* Chunked request bodies (RFC 9112 section 7.1): the framing is a table of states, the payload a memmove.

   Strict where decoders in a row have disagreed: every line ends with CR LF, also inside extensions; blanks stand before a ';' or
   around a '=' only (BWS), never behind a bare size; extensions and trailers have to be well formed, though nobody reads them. */
#include "wire/http1.h"
#include "wire/http1_chars.h"

#include <string.h>

enum {
    CR,
    LF,
    BLANK,
    SEMICOLON,
    EQUALS,
    QUOTE,
    BACKSLASH,
    COLON,
    HEX,
    TOKEN, /* the others that may stand in a token */
    TEXT,  /* the others that may stand in a value */
    NONE,
    KINDS,
};

enum {
    REFUSED = 0, /* as a table entry */
    START = 0,   /* as a state: nothing leads here */
    SIZE_FIRST,
    SIZE,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    /* From here on bytes count as overhead. */
    SIZE_BLANK,
    EXT_FIRST,
    EXT_NAME,
    EXT_NAME_BLANK,
    EXT_VALUE_FIRST,
    EXT_VALUE,
    EXT_VALUE_BLANK,
    EXT_QUOTED,
    EXT_ESCAPE,
    EXT_QUOTED_END,
    TRAILER_FIRST,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    DONE,
    DEAD, /* refused once: no byte leads on */
    STATES,
};

#define FIRST_SIZE_ROW                                                                             \
    {                                                                                              \
        [HEX] = SIZE                                                                               \
    }
static const uint8_t step[STATES][KINDS] = {
    /* what is not listed is refused */
    [START] = FIRST_SIZE_ROW,
    [SIZE_FIRST] = FIRST_SIZE_ROW,
    [SIZE] = { [HEX] = SIZE, [BLANK] = SIZE_BLANK, [SEMICOLON] = EXT_FIRST, [CR] = SIZE_LF },
    [SIZE_LF] = { [LF] = DATA }, /* or TRAILER_FIRST, behind the last chunk */
    [DATA_CR] = { [CR] = DATA_LF },
    [DATA_LF] = { [LF] = SIZE_FIRST },
    [SIZE_BLANK] = { [BLANK] = SIZE_BLANK, [SEMICOLON] = EXT_FIRST },
    [EXT_FIRST] = { [BLANK] = EXT_FIRST, [HEX] = EXT_NAME, [TOKEN] = EXT_NAME },
    [EXT_NAME] = { [HEX] = EXT_NAME,
                   [TOKEN] = EXT_NAME,
                   [BLANK] = EXT_NAME_BLANK,
                   [EQUALS] = EXT_VALUE_FIRST,
                   [SEMICOLON] = EXT_FIRST,
                   [CR] = SIZE_LF },
    [EXT_NAME_BLANK] = { [BLANK] = EXT_NAME_BLANK,
                         [EQUALS] = EXT_VALUE_FIRST,
                         [SEMICOLON] = EXT_FIRST },
    [EXT_VALUE_FIRST] = { [BLANK] = EXT_VALUE_FIRST,
                          [HEX] = EXT_VALUE,
                          [TOKEN] = EXT_VALUE,
                          [QUOTE] = EXT_QUOTED },
    [EXT_VALUE] = { [HEX] = EXT_VALUE,
                    [TOKEN] = EXT_VALUE,
                    [BLANK] = EXT_VALUE_BLANK,
                    [SEMICOLON] = EXT_FIRST,
                    [CR] = SIZE_LF },
    [EXT_VALUE_BLANK] = { [BLANK] = EXT_VALUE_BLANK, [SEMICOLON] = EXT_FIRST },
    [EXT_QUOTED] = { [BLANK] = EXT_QUOTED,
                     [SEMICOLON] = EXT_QUOTED,
                     [EQUALS] = EXT_QUOTED,
                     [COLON] = EXT_QUOTED,
                     [HEX] = EXT_QUOTED,
                     [TOKEN] = EXT_QUOTED,
                     [TEXT] = EXT_QUOTED,
                     [BACKSLASH] = EXT_ESCAPE,
                     [QUOTE] = EXT_QUOTED_END },
    [EXT_ESCAPE] = { [BLANK] = EXT_QUOTED,
                     [SEMICOLON] = EXT_QUOTED,
                     [EQUALS] = EXT_QUOTED,
                     [COLON] = EXT_QUOTED,
                     [HEX] = EXT_QUOTED,
                     [TOKEN] = EXT_QUOTED,
                     [TEXT] = EXT_QUOTED,
                     [BACKSLASH] = EXT_QUOTED,
                     [QUOTE] = EXT_QUOTED },
    [EXT_QUOTED_END] = { [BLANK] = EXT_VALUE_BLANK, [SEMICOLON] = EXT_FIRST, [CR] = SIZE_LF },
    [TRAILER_FIRST] = { [HEX] = TRAILER_NAME, [TOKEN] = TRAILER_NAME, [CR] = LAST_LF },
    [TRAILER_NAME] = { [HEX] = TRAILER_NAME, [TOKEN] = TRAILER_NAME, [COLON] = TRAILER_VALUE },
    [TRAILER_VALUE] = { [BLANK] = TRAILER_VALUE,
                        [SEMICOLON] = TRAILER_VALUE,
                        [EQUALS] = TRAILER_VALUE,
                        [COLON] = TRAILER_VALUE,
                        [HEX] = TRAILER_VALUE,
                        [TOKEN] = TRAILER_VALUE,
                        [TEXT] = TRAILER_VALUE,
                        [BACKSLASH] = TRAILER_VALUE,
                        [QUOTE] = TRAILER_VALUE,
                        [CR] = TRAILER_LF },
    [TRAILER_LF] = { [LF] = TRAILER_FIRST },
    [LAST_LF] = { [LF] = DONE },
};

static unsigned kind_of(char c)
{
    switch (c) {
    case '\r':
        return CR;
    case '\n':
        return LF;
    case ' ':
    case '\t':
        return BLANK;
    case ';':
        return SEMICOLON;
    case '=':
        return EQUALS;
    case '"':
        return QUOTE;
    case '\\':
        return BACKSLASH;
    case ':':
        return COLON;
    default:
        return kmy_http_is(c, KMY_CH_HEX)     ? HEX
               : kmy_http_is(c, KMY_CH_TOKEN) ? TOKEN
               : kmy_http_is(c, KMY_CH_VALUE) ? TEXT
                                              : NONE;
    }
}

static kmy_err_t refuse(kmy_http_chunks_t *c, kmy_err_t err, const char *why, kmy_errctx_t *ctx)
{
    c->state = DEAD;
    return KMY_FAIL(ctx, err, "chunked body: %s", why);
}

/* One byte of framing. */
static kmy_err_t take_framing(kmy_http_chunks_t *c, char byte, kmy_errctx_t *ctx)
{
    uint8_t next = step[c->state][kind_of(byte)];
    if (next == REFUSED)
        return refuse(c, KMY_BAD_INPUT, "a byte where it may not stand", ctx);
    if (c->state >= SIZE_BLANK && ++c->overhead > KMY_HTTP_HEAD_BYTES_MAX)
        return refuse(c, KMY_TOO_BIG, "too many extensions or trailers", ctx);
    if (next == SIZE) {
        if (c->state != SIZE)
            c->left = c->digits = 0;
        if (c->digits++ == 16) /* 64 bits */
            return refuse(c, KMY_BAD_INPUT, "size has more than 16 digits", ctx);
        c->left = c->left << 4 | (uint64_t)kmy_http_hex(byte);
    }
    if (next == DATA && c->left == 0)
        next = TRAILER_FIRST;
    c->state = next;
    return KMY_OK;
}

kmy_err_t kmy_http_chunks_feed(kmy_http_chunks_t *c, char *data, size_t *len, size_t *out_len,
                               kmy_errctx_t *ctx)
{
    size_t at = 0;
    size_t out = 0;
    kmy_err_t err = KMY_OK;
    while (at < *len && c->state != DONE && err == KMY_OK) {
        if (c->state != DATA) {
            err = take_framing(c, data[at++], ctx);
            continue;
        }
        size_t n = *len - at < c->left ? *len - at : (size_t)c->left;
        memmove(data + out, data + at, n);
        at += n;
        out += n;
        c->left -= n;
        if (c->left == 0)
            c->state = DATA_CR;
    }
    *len = at;
    *out_len = out;
    if (err != KMY_OK)
        return err;
    return c->state == DONE ? KMY_OK : KMY_AGAIN;
}
