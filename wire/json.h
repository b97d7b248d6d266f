/* json: a bounded reader for foreign JSON (RFC 8259) and a bounded writer for our own.

   The reader is a pull tokenizer over one whole text: no allocation, no copies but unescaped strings, depth at most
   KMY_JSON_DEPTH_MAX, strict UTF-8, strict numbers, nothing after the value, no byte order mark.  It checks everything it
   passes, also what is skipped, so a text that was read to KMY_JSON_END is valid JSON.  Duplicate keys: kmy_json_object
   refuses them.  A \u escape of NUL or of half a surrogate pair is valid JSON and passes as raw text; undoing it is refused.

   Any thread, one at a time for each kmy_json_t; nothing blocks or allocates. */
#ifndef KMY_WIRE_JSON_H
#define KMY_WIRE_JSON_H

#include "base/err.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    KMY_JSON_ERROR, /* first: a zeroed token is an error */
    KMY_JSON_OBJECT,
    KMY_JSON_OBJECT_END,
    KMY_JSON_ARRAY,
    KMY_JSON_ARRAY_END,
    KMY_JSON_KEY,
    KMY_JSON_STRING,
    KMY_JSON_NUMBER,
    KMY_JSON_TRUE,
    KMY_JSON_FALSE,
    KMY_JSON_NULL,
    KMY_JSON_END,
} kmy_json_type_t;

/* text/len: the raw bytes inside the quotes of a key or string (escapes not undone, `escaped` says whether there are any), or the
   literal of a number.  Borrowed from the input. */
typedef struct kmy_json_token {
    kmy_json_type_t type;
    bool escaped;
    const char *text;
    size_t len;
} kmy_json_token_t;

typedef struct kmy_json {
    const char *begin;
    const char *at;
    const char *end;
    const char *fault;                         /* static text once a token was KMY_JSON_ERROR */
    uint8_t stack[KMY_JSON_DEPTH_MAX / 8 + 1]; /* one bit a level: object or array */
    uint8_t depth;
    uint8_t state;
} kmy_json_t;

/* Borrows text[0..len) for as long as js or a token of it is used; text may be NULL if len is 0. */
void kmy_json_init(kmy_json_t *js, const char *text, size_t len);
/* The next token; after KMY_JSON_ERROR or KMY_JSON_END the same again for ever.  A key is followed by its value's token(s). */
kmy_json_token_t kmy_json_next(kmy_json_t *js);
/* Skips the whole value that `token` (just returned) began, or the value behind it if it is a key; a scalar is skipped already.
   false if that is not valid, or token begins no value. */
bool kmy_json_skip(kmy_json_t *js, kmy_json_token_t token);
/* Byte offset of the fault, for error texts: where the offending token begins, at most len. */
size_t kmy_json_fault_offset(const kmy_json_t *js);
/* true if text is one valid JSON value within our depth. */
bool kmy_json_valid(const char *text, size_t len);

/* Undoes the escapes of a key or string into out (cap bytes, terminated); *out_len (may be NULL) is the length without the
   terminator.  false if it does not fit or holds a NUL or a lone surrogate: out is then terminated rubbish. */
bool kmy_json_unescape(kmy_json_token_t token, char *out, size_t cap, size_t *out_len);
bool kmy_json_is(kmy_json_token_t token,
                 const char *word); /* key or string equal to word, escapes undone */
bool kmy_json_i64(kmy_json_token_t token,
                  int64_t *out); /* number without point or exponent, in range; else untouched */

/* kmy_json_object reads one object whose members the caller lists.  For each member found it fills fields[i].token; a value that is
   an object or array is validated and given as its raw text span in fields[i].token.text/len with its type (KMY_JSON_OBJECT or
   KMY_JSON_ARRAY).  Unknown members are validated and skipped.  A listed key that stands twice is KMY_BAD_INPUT (a money field
   must not depend on who reads it), also if it is spelled with escapes once.  js must stand before the object's opening brace
   and stands behind the closing one afterwards: at the top level, ask for KMY_JSON_END.  On failure (KMY_BAD_INPUT) the
   fields are partly filled. */
typedef struct kmy_json_field {
    const char *key;
    kmy_json_token_t token; /* type KMY_JSON_ERROR: absent */
} kmy_json_field_t;
kmy_err_t kmy_json_object(kmy_json_t *js, kmy_json_field_t *fields, size_t fields_count,
                          kmy_errctx_t *ctx);
/* The same of an object that kmy_json_object or kmy_json_element gave as a span.  false: it is no object, or as above. */
bool kmy_json_members(kmy_json_token_t object, kmy_json_field_t *fields, size_t fields_count);
/* The next element of an array, spans as above.  false: there is none any more, or the text is no JSON (the next token of js tells
   which).  Begin with kmy_json_array, which puts js inside an array that was given as a span; false: it is none. */
bool kmy_json_array(kmy_json_t *js, kmy_json_token_t array);
bool kmy_json_element(kmy_json_t *js, kmy_json_token_t *out);

/* The writer: appends into a caller's buffer and remembers when it ran out, so that one check at the end suffices.  A piece that
   does not fit is left out as a whole (of a JSON string, its front may stand). */
typedef struct kmy_buf {
    char *data;
    size_t len;
    size_t cap;
    bool overflow; /* once true nothing more is written */
} kmy_buf_t;

static inline kmy_buf_t kmy_buf(void *mem, size_t cap)
{
    return (kmy_buf_t){ (char *)mem, 0, cap, false };
}
void kmy_buf_bytes(kmy_buf_t *b, const void *bytes, size_t len);
void kmy_buf_str(kmy_buf_t *b, const char *text);
void kmy_buf_u64(kmy_buf_t *b, uint64_t v);
void kmy_buf_i64(kmy_buf_t *b, int64_t v);
/* Needs one spare byte behind its text, for printf's terminator. */
__attribute__((format(printf, 2, 3))) void kmy_buf_fmt(kmy_buf_t *b, const char *fmt, ...);
/* A JSON string with its quotes; each byte that belongs to no valid UTF-8 character becomes U+FFFD, controls are escaped. */
void kmy_buf_json_str(kmy_buf_t *b, const char *text, size_t len);
/* Nano-USD as a JSON string, "0.999900000". */
void kmy_buf_json_nusd(kmy_buf_t *b, int64_t nusd);

#endif
