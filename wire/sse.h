/* sse: server-sent events (WHATWG HTML, section 9.2 "Server-sent events"), each as one chunk of a chunked HTTP/1.1 body (RFC 9112 section 7.1),
   so that an event can be kept finished and sent to anybody, and a body never has to know its length.

   An event is  event: NAME, id: EPOCH:SEQ (ticks only), data: JSON  and an empty line.  JSON of ours has no line breaks inside (json.h escapes
   them), so one data line is enough.  Any thread; nothing blocks or allocates. */
#ifndef KMY_WIRE_SSE_H
#define KMY_WIRE_SSE_H

#include "base/err.h"
#include "wire/tick_json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KMY_SSE_HEAD_BYTES_MAX =
        96, /* what stands before the data: chunk size 8 + 2, "event: " 7, a name of up to 64, "\ndata: " 7 */
    KMY_SSE_EPOCH_BYTES_MAX = 64,
};

/* The last chunk: the body ends here and is whole. */
#define KMY_SSE_END       "0\r\n\r\n"
/* What ends the chunk of an event: the empty line, and the chunk's own end. */
#define KMY_SSE_TAIL      "\n\n\r\n"
/* A comment, which clients read over: says that the connection lives. */
#define KMY_SSE_HEARTBEAT "6\r\n: hb\n\n\r\n"

/* A tick as one event, with its id: the same bytes for all readers.  `epoch`: up to KMY_SSE_EPOCH_BYTES_MAX - 1 bytes (asserted).  out has room
   for KMY_TICK_SSE_BYTES_MAX bytes, all of which may be touched; returns how many count. */
size_t kmy_sse_tick(const kmy_tick_json_t *t, const char *epoch, const kmy_tick_t *tick, char *out);

/* What stands before `json`, an object of ours whose first member is "type" (asserted), which names the event.  out has room for
   KMY_SSE_HEAD_BYTES_MAX; returns how many are used.  The event is this, json, and KMY_SSE_TAIL. */
size_t kmy_sse_head(const char *json, size_t len, char *out);

/* Last-Event-ID, "EPOCH:SEQ" as it was sent.  false: it was never ours.  *ours: the epoch is this one. */
bool kmy_sse_id(const char *text, size_t len, const char *epoch, bool *ours, uint64_t *seq);

#endif
