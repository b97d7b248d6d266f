/* ws: WebSocket (RFC 6455) handshake and frames, server and client side.  Owns no socket and no memory.  Any thread; nothing
   blocks or allocates. */
#ifndef KMY_WIRE_WS_H
#define KMY_WIRE_WS_H

#include "base/err.h"
#include "wire/http1.h"
#include "wire/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KMY_WS_CONT = 0,
    KMY_WS_TEXT = 1,
    KMY_WS_BINARY = 2,
    KMY_WS_CLOSE = 8,
    KMY_WS_PING = 9,
    KMY_WS_PONG = 10
};

#define KMY_WS_ACCEPT_BYTES     28
#define KMY_WS_HEADER_BYTES_MAX 14

/* kmy_ws_check_upgrade judges a request (section 4.2.1): GET, 1.1, upgrade_websocket, no body, Sec-WebSocket-Version 13, a key of
   16 bytes in base64, exactly one of each.  KMY_OK and accept[] (28 bytes, not terminated); KMY_UNSUPPORTED: another version
   (answer 426 with Sec-WebSocket-Version: 13); else KMY_BAD_INPUT.  Origin and subprotocol are the caller's. */
kmy_err_t kmy_ws_check_upgrade(const kmy_http_request_t *req, char accept[KMY_WS_ACCEPT_BYTES],
                               kmy_errctx_t *ctx);
/* The answer to any key text, also for clients that check it. */
void kmy_ws_accept(const char *key, size_t key_len, char accept[KMY_WS_ACCEPT_BYTES]);

/* One frame's header as read. */
typedef struct kmy_ws_header {
    uint64_t payload_bytes;
    uint8_t header_bytes;
    uint8_t opcode;
    bool fin;
    bool rsv1; /* permessage-deflate, where negotiated */
    bool masked;
    uint8_t mask[4];
} kmy_ws_header_t;

typedef struct kmy_ws_rules {
    bool server;  /* we are the server: client frames must be masked; as a client: must not */
    bool deflate; /* RSV1 allowed on the first frame of a data message */
    uint64_t
        message_bytes_max; /* all fragments of one message together; compressed ones may be a 64th longer on the wire, for what does not
                              compress (DEFLATE adds 5 bytes to each stored block), and are judged again once inflated */
    uint32_t fragments_max; /* 0: any number */
} kmy_ws_rules_t;

/* kmy_ws_header judges data[0..len): KMY_OK and *h; KMY_AGAIN: header not whole; KMY_PROTOCOL (kmy_err_ws gives the close code),
   as early as the bytes allow: RSV bits, unknown opcodes, mask rule, control frames that are fragmented or above 125 bytes, lengths
   not in shortest form or with the top bit set (section 5.2).  Sizes are judged by kmy_ws_stream_frame.  *h is written on KMY_OK. */
kmy_err_t kmy_ws_header(const kmy_ws_rules_t *rules, const uint8_t *data, size_t len,
                        kmy_ws_header_t *h, kmy_errctx_t *ctx);

/* In place; `phase` is the offset of data[0] in its payload, so that a payload may come in pieces. */
void kmy_ws_unmask(uint8_t *data, size_t len, const uint8_t mask[4], uint64_t phase);

/* Message assembly rules across frames: who may follow whom, how much, and UTF-8 as it streams. */
typedef struct kmy_ws_stream {
    uint64_t message_bytes;
    uint32_t fragments;
    uint8_t opcode;  /* of the message being assembled; 0: none */
    bool compressed; /* its first frame had RSV1; UTF-8 is then checked after inflating */
    kmy_utf8_t utf8;
} kmy_ws_stream_t; /* zero-initialized is a start */
/* Call for each data frame's header, before its payload.  KMY_PROTOCOL: a continuation without a message, a new message inside
   another; KMY_TOO_BIG: too many bytes or fragments.  Control frames are not passed here (a bug of ours: KMY_ASSERT). */
kmy_err_t kmy_ws_stream_frame(kmy_ws_stream_t *s, const kmy_ws_rules_t *rules,
                              const kmy_ws_header_t *h, kmy_errctx_t *ctx);
/* Call for each unmasked piece of payload, at least once a frame (len 0 for an empty one); frame_ends: it is the frame's last, fin
   is that frame's.  KMY_BAD_UTF8 as soon as text cannot be valid, at the latest at its end.  With the last piece of the last frame
   the message is through and *s is a start again: read s->opcode before. */
kmy_err_t kmy_ws_stream_payload(kmy_ws_stream_t *s, const void *data, size_t len, bool frame_ends,
                                bool fin, kmy_errctx_t *ctx);

/* A received close frame's payload, unmasked: empty (*code 1005), or a code that may stand on the wire (section 7.4 and the IANA
   registry: 1000..1003, 1007..1014, 3000..4999; else KMY_PROTOCOL) and a UTF-8 reason (else KMY_BAD_UTF8). */
kmy_err_t kmy_ws_close_parse(const uint8_t *payload, size_t len, uint16_t *code, kmy_errctx_t *ctx);

/* Writes a header (mask NULL: unmasked; payload_bytes below 2^63) and returns its length. */
size_t kmy_ws_put_header(uint8_t out[KMY_WS_HEADER_BYTES_MAX], uint8_t opcode, bool fin, bool rsv1,
                         uint64_t payload_bytes, const uint8_t *mask);
/* A whole unmasked close frame; code 0 or 1005: without one.  reason (may be NULL) is cut to 123 bytes at a character border, and
   before its first byte that is not UTF-8; returns the frame's length (at most 127). */
size_t kmy_ws_put_close(uint8_t out[128], uint16_t code, const char *reason);

#endif
