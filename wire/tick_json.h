/* tick 6/8   in: engine/shard   out: pay/meter, engine/egress

   A tick as the JSON text frame of the stream (docs/protocol.md): one whole unmasked WebSocket
   frame, the same bytes for all subscribers.  The part that does not change for a feed is rendered
   once into a template.  Any thread; nothing blocks or allocates. */
#ifndef KMY_WIRE_TICK_JSON_H
#define KMY_WIRE_TICK_JSON_H

#include "base/limits.h"
#include "base/tick.h"

#include <stddef.h>
#include <stdint.h>

/* A feed's template: written once by kmy_tick_json_init, then only read, by any number of threads. */
typedef struct kmy_tick_json {
    uint16_t len;
    char head[64 + 6 * KMY_FEED_NAME_BYTES_MAX]; /* {"type":"tick","feed":"...","offset": */
} kmy_tick_json_t;

/* feed_name: 1 to KMY_FEED_NAME_BYTES_MAX - 1 bytes, copied (asserted).  Escaped as JSON wants it;
   bytes that are not UTF-8 become U+FFFD. */
void kmy_tick_json_init(kmy_tick_json_t *t, const char *feed_name);

/* The object without frame header; returns its length, at most KMY_TICK_JSON_BYTES_MAX - 64.  out has
   room for KMY_TICK_JSON_BYTES_MAX bytes, all of which may be touched; no terminator is written.
   Members, in this order: type, feed, offset (number), kind, price, conf?, bid?, ask?, size?, source,
   ts_event?, ts_recv, degraded?; prices and size are decimal strings without trailing zeros, times
   decimal strings of ns.  Left out: what `has` does not name, conf that is only the spread, a time the
   source did not give, degraded where it is false.  size is the trade's, on a quote the bid's.
   Exponents are within KMY_DEC_EXPO_MIN..MAX (asserted). */
size_t kmy_tick_json_object(const kmy_tick_json_t *t, const kmy_tick_t *tick, char *out);

/* The same as a complete server-to-client WebSocket text frame (FIN, unmasked). */
size_t kmy_tick_json_frame(const kmy_tick_json_t *t, const kmy_tick_t *tick, char *out);

#endif
