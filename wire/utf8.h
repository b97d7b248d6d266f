/* utf8: strict validation (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF), also of text that comes in
   pieces, for WebSocket messages whose fragments may cut a character.  Any thread; nothing blocks or allocates. */
#ifndef KMY_WIRE_UTF8_H
#define KMY_WIRE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kmy_utf8 {
    uint32_t state; /* 0: between characters; zero-initialized is a start */
} kmy_utf8_t;

/* kmy_utf8_feed: false as soon as the bytes so far can be no prefix of valid text (an E0 followed by an 80 is refused at the 80,
   not one byte later); false for ever after that.  Text that ends here is whole if u->state is 0. */
bool kmy_utf8_feed(kmy_utf8_t *u, const void *bytes, size_t len);
/* true if the bytes are whole, valid text; the empty text is. */
bool kmy_utf8_valid(const void *bytes, size_t len);
/* Length, 1..4, of the character that bytes[0..len) begins with; 0 if there is none, it is cut short or it is not valid. */
size_t kmy_utf8_char_bytes(const void *bytes, size_t len);

#endif
