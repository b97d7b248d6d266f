/* http1_chars: which byte may stand where in HTTP/1.1 (RFC 9110 section 5.5 and 5.6.2, RFC 3986).  Private to wire/http1*.c. */
#ifndef KMY_WIRE_HTTP1_CHARS_H
#define KMY_WIRE_HTTP1_CHARS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    KMY_CH_TOKEN = 1,  /* tchar: methods, header names */
    KMY_CH_TARGET = 2, /* RFC 3986 without '#', which never reaches a server */
    KMY_CH_VALUE = 4,  /* HTAB, SP, VCHAR, obs-text */
    KMY_CH_HOST = 8,   /* unreserved */
    KMY_CH_HEX = 16,
};
extern const uint8_t kmy_http_chars[256];

static inline bool kmy_http_is(char c, unsigned kinds)
{
    return (kmy_http_chars[(uint8_t)c] & kinds) != 0;
}

/* Value of a hex digit; -1: none. */
static inline int kmy_http_hex(char c)
{
    if (!kmy_http_is(c, KMY_CH_HEX))
        return -1;
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static inline char kmy_http_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

#endif
