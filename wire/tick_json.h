/* tick 6/8   in: engine/shard   out: pay/meter, engine/egress

   A tick as the JSON text frame of the stream (contract section 6): one whole unmasked WebSocket frame, the same bytes for all
   subscribers.  The part that does not change for a feed is rendered once into a template. */
#ifndef KMY_WIRE_TICK_JSON_H
#define KMY_WIRE_TICK_JSON_H

#include "base/limits.h"
#include "base/tick.h"

#include <stddef.h>
#include <stdint.h>

typedef struct kmy_tick_json {
    uint16_t len;
    char head[32 + 6 * KMY_FEED_NAME_BYTES_MAX]; /* {"type":"tick","feed":"...","offset": */
} kmy_tick_json_t;

void kmy_tick_json_init(kmy_tick_json_t *t, const char *feed_name);
/* The object without frame header; out holds KMY_TICK_JSON_BYTES_MAX; returns its length.  Members: type, feed, offset (number),
   kind, price, conf?, bid?, ask?, size?, source, ts_event?, ts_recv, degraded?; prices are decimal strings without trailing zeros,
   times decimal strings of ns.  conf that is only the spread is not written. */
size_t kmy_tick_json_object(const kmy_tick_json_t *t, const kmy_tick_t *tick, char *out);
/* The same as a complete server-to-client WebSocket text frame (FIN, unmasked). */
size_t kmy_tick_json_frame(const kmy_tick_json_t *t, const kmy_tick_t *tick, char *out);

#endif
