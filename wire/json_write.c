/* The bounded writer of wire/json.h. */
#include "wire/json.h"

#include "base/decimal.h"
#include "base/money.h"
#include "wire/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void kmy_buf_bytes(kmy_buf_t *b, const void *bytes, size_t len)
{
    if (b->overflow || len > b->cap - b->len) {
        b->overflow = true;
        return;
    }
    if (len)
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
}

void kmy_buf_str(kmy_buf_t *b, const char *text)
{
    kmy_buf_bytes(b, text, strlen(text));
}

void kmy_buf_u64(kmy_buf_t *b, uint64_t v)
{
    char digits[20];
    kmy_buf_bytes(b, digits, kmy_u64_digits(v, digits));
}

void kmy_buf_i64(kmy_buf_t *b, int64_t v)
{
    char digits[21] = { '-' };
    size_t minus = v < 0;
    uint64_t magnitude = minus ? 0 - (uint64_t)v : (uint64_t)v; /* INT64_MIN has no positive twin */
    kmy_buf_bytes(b, digits, minus + kmy_u64_digits(magnitude, digits + minus));
}

void kmy_buf_fmt(kmy_buf_t *b, const char *fmt, ...)
{
    if (b->overflow)
        return;
    size_t room = b->cap - b->len;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(b->data + b->len, room, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= room)
        b->overflow = true;
    else
        b->len += (size_t)n;
}

static void put_control(kmy_buf_t *b, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = "btn\0fr"; /* of 08 to 0D; 0B has none */
    if (c >= '\b' && c <= '\r' && c != '\v') {
        const char escape[2] = { '\\', letters[c - '\b'] };
        kmy_buf_bytes(b, escape, 2);
        return;
    }
    const char escape[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
    kmy_buf_bytes(b, escape, 6);
}

/* What cannot stand as it is; returns the bytes passed. */
static size_t put_special(kmy_buf_t *b, const char *p, size_t len)
{
    if (*p == '"' || *p == '\\') {
        const char escape[2] = { '\\', *p };
        kmy_buf_bytes(b, escape, 2);
        return 1;
    }
    if ((uint8_t)*p < 0x20) {
        put_control(b, (uint8_t)*p);
        return 1;
    }
    size_t n = kmy_utf8_char_bytes(p, len);
    if (n == 0)
        kmy_buf_bytes(b, "\xEF\xBF\xBD", 3);
    else
        kmy_buf_bytes(b, p, n);
    return n ? n : 1;
}

static bool is_plain(char c)
{
    return (uint8_t)c >= 0x20 && (uint8_t)c < 0x80 && c != '"' && c != '\\';
}

void kmy_buf_json_str(kmy_buf_t *b, const char *text, size_t len)
{
    const char *p = text;
    size_t left = len;
    kmy_buf_bytes(b, "\"", 1);
    while (left > 0 && !b->overflow) {
        size_t n = 0;
        while (n < left && is_plain(p[n]))
            n++;
        if (n)
            kmy_buf_bytes(b, p, n);
        else
            n = put_special(b, p, left);
        p += n;
        left -= n;
    }
    kmy_buf_bytes(b, "\"", 1);
}

void kmy_buf_json_nusd(kmy_buf_t *b, int64_t nusd)
{
    char text[KMY_NUSD_BYTES_MAX + 2];
    size_t n = kmy_nusd_format(nusd, text + 1);
    text[0] = '"';
    text[1 + n] = '"';
    kmy_buf_bytes(b, text, n + 2);
}
