/* utf8: strict validation (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF), also of text that comes in
   pieces, for WebSocket messages whose fragments may cut a character. */
#ifndef KMY_WIRE_UTF8_H
#define KMY_WIRE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kmy_utf8 {
    uint32_t state; /* 0: between characters; zero-initialized is a start */
} kmy_utf8_t;

/* false: the bytes so far can be no prefix of valid text. */
bool kmy_utf8_feed(kmy_utf8_t *u, const void *bytes, size_t len);
bool kmy_utf8_valid(const void *bytes, size_t len);

#endif
