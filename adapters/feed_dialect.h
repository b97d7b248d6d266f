/* tick 1/8   in: adapters/feed_ws   out: adapters/feed_ws

   What one venue wants to hear over a WebSocket, and how it answers.  Pure functions: no socket, no allocation, no clock.  A new venue is one
   feed_dialect_<venue>.c and a row in sources.c. */
#ifndef KMY_ADAPTERS_FEED_DIALECT_H
#define KMY_ADAPTERS_FEED_DIALECT_H

#include "adapters/quote.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_STREAM_BYTES_MAX 80 /* a stream's name with its terminator */

/* What the quotes of a stream carry: key as in kmy_quote_t, and the scheme that tells apart several streams of one key. */
typedef struct kmy_stream_key {
    char key[KMY_STREAM_BYTES_MAX];
    size_t len;
    uint8_t scheme; /* kmy_seq_scheme_t */
} kmy_stream_key_t;

typedef struct kmy_dialect {
    const char *path;  /* when the URL has none */
    const char *query; /* added to the URL's query unless query_word stands there; NULL: none */
    const char *query_word;
    bool acks_have_ids; /* false: answers come in the order of the requests */

    /* false: no name of a stream. */
    bool (*read_stream)(const char *name, kmy_stream_key_t *out);
    /* Writes one request for all of names[0..count); 0: cap is too small. */
    size_t (*subscribe)(char *out, size_t cap, const char *const *names, size_t count, int64_t id);
    /* Writes the question what is subscribed; NULL: the venue cannot be asked. */
    size_t (*list)(char *out, size_t cap, int64_t id);
    /* `target` is the path and query that was dialled. */
    bool (*micros)(const char *target);
    kmy_parse_t (*parse)(const char *frame, size_t len, bool micros, kmy_quote_t *quote,
                         kmy_control_t *control);
} kmy_dialect_t;

extern const kmy_dialect_t kmy_dialect_binance;
extern const kmy_dialect_t kmy_dialect_pyth;

/* Gives the strings of a JSON array one after the other, raw (escapes not undone); starts with *at = 0.  false: no more. */
bool kmy_dialect_next_name(const char *array, size_t len, size_t *at, const char **name,
                           size_t *name_len);

#endif
