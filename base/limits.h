/* Every maximum of the program in one place; their relations are checked here. */
#ifndef KMY_BASE_LIMITS_H
#define KMY_BASE_LIMITS_H

#define KMY_FEEDS_MAX           4096 /* feeds in one catalog */
#define KMY_FEED_NAME_BYTES_MAX 64   /* with its terminator; canonical names and aliases */
#define KMY_PATTERNS_MAX                                                                           \
    16 /* names with a star in one request: 16 x 4,096 names of some 16 bytes are 1 ms */
#define KMY_SHARDS_MAX        64
#define KMY_ACCOUNT_BYTES_MAX 128  /* CAIP-10, with its terminator */
#define KMY_JTI_BYTES_MAX     40   /* token id, with its terminator */
#define KMY_TOKEN_BYTES_MAX   1024 /* a JWT as it stands in a header */
#define KMY_SCOPE_BYTES_MAX   256 /* names and patterns of the feeds it is for, with a terminator */
#define KMY_PAYMENT_BYTES_MAX                                                                      \
    12288 /* an x402 payment in base64: 2,030 seen, up to 5 KiB of echoed extensions, room */

#define KMY_UPSTREAM_FRAME_BYTES_MAX                                                               \
    (1 << 20) /* one whole upstream message; Binance's largest seen is 64 KiB */

#define KMY_HTTP_HEAD_BYTES_MAX   16384 /* request line and header lines */
#define KMY_HTTP_HEADERS_MAX      64
#define KMY_HTTP_TARGET_BYTES_MAX 8192
#define KMY_HTTP_BODY_BYTES_MAX   65536
#define KMY_WS_FRAME_BYTES_MAX    65536 /* one client message, all its fragments together */
#define KMY_WS_FRAGMENTS_MAX      64    /* of one client message */

#define KMY_JSON_DEPTH_MAX 32

/* A tick as JSON text with its WebSocket header, the longest possible (test_tick_json fills every
   member): frame header 4, type and feed 34 + 6 x 63 (each byte of the name a \u00XX escape), offset
   20, kind and price 27, five decimals of up to 84 bytes (20 digits and 64 zeros) with 38 bytes of
   names, source 22, two times of 20 bytes with 27 of names, degraded 17: 1,027.  The writer copies in
   strides and may touch up to 64 bytes more. */
#define KMY_TICK_JSON_BYTES_MAX  1152
#define KMY_TICK_FLAT_BYTES_MAX  256
/* The same JSON as a server-sent event in a chunk of its own: chunk size 5, event 12, id with an epoch of up to 63 bytes 89, data 6, ends 4. */
#define KMY_TICK_SSE_BYTES_MAX   1280
#define KMY_TICK_FRAME_BYTES_MAX KMY_TICK_SSE_BYTES_MAX /* in any encoding */

/* One answer of the history reader, and what a connection that catches up holds of it: 128 ticks are 25 KiB of JSON, usually. */
#define KMY_HISTORY_TICKS_MAX 128
#define KMY_HISTORY_CHUNKS    16    /* asks of one shard that are under way at once; power of two */
#define KMY_CATCHUP_BYTES_MAX 32768 /* of frames; the rest of a chunk is asked for again */

/* Sessions that ended, kept for those that go on with them: of 8 feeds each takes some 400 bytes, so 40,000 of them. */
#define KMY_SESSION_KEEP_NS         (INT64_C(600) * 1000000000)
#define KMY_SESSION_TABLE_BYTES_MAX (16u << 20)

#define KMY_RING_SLOTS_MAX  (1u << 24)
#define KMY_QUEUE_SLOTS_MAX (1u << 20)

_Static_assert(KMY_CATCHUP_BYTES_MAX >= 2 * KMY_TICK_FRAME_BYTES_MAX, "some frames fit");
_Static_assert(KMY_WS_FRAME_BYTES_MAX <= KMY_HTTP_BODY_BYTES_MAX,
               "one size of assembly buffer serves both");
_Static_assert(KMY_HTTP_HEAD_BYTES_MAX <= KMY_HTTP_BODY_BYTES_MAX, "the same");
_Static_assert(KMY_PAYMENT_BYTES_MAX < KMY_HTTP_HEAD_BYTES_MAX, "a payment is a header");

#endif
