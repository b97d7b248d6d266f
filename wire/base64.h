/* base64: RFC 4648, strict in both directions, because two spellings of one value are two chances to disagree about it (a JWT
   signature, a payment that was seen before).  Any thread; nothing blocks or allocates. */
#ifndef KMY_WIRE_BASE64_H
#define KMY_WIRE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    KMY_BASE64_STD, /* section 4: + and /, padded with = to a multiple of 4 */
    KMY_BASE64_URL, /* section 5: - and _, never padded (RFC 7515 section 2) */
} kmy_base64_form_t;

/* Room for encoding n bytes (both forms), and for decoding n characters. */
#define KMY_BASE64_TEXT_BYTES(n) (((size_t)(n) + 2) / 3 * 4)
#define KMY_BASE64_DATA_BYTES(n) (((size_t)(n) + 3) / 4 * 3)

/* kmy_base64_encode writes the text of bytes[0..len) to out, which holds KMY_BASE64_TEXT_BYTES(len) and does not overlap bytes;
   returns its length, writes no terminator. */
size_t kmy_base64_encode(kmy_base64_form_t form, const void *bytes, size_t len, char *out);

/* kmy_base64_decode writes the bytes of text[0..len) to out[0..cap) and their number to *out_len.  out may be text itself (in place)
   but not overlap it otherwise.  false: a character outside the alphabet (blanks and line ends included), padding missing, misplaced
   or (url) present, bits behind the last byte that are not zero, or more than cap bytes; out then holds rubbish up to cap and
   *out_len is untouched. */
bool kmy_base64_decode(kmy_base64_form_t form, const char *text, size_t len, void *out, size_t cap,
                       size_t *out_len);

#endif
