/* wsclient: a blocking WebSocket client on wire/ws: text messages only, no extensions.  Single-threaded. */
#ifndef KMY_TOOLS_WSCLIENT_H
#define KMY_TOOLS_WSCLIENT_H

#include "base/err.h"
#include "tools/kamiyo/socket.h"
#include "wire/ws.h"

#include <stddef.h>
#include <stdint.h>

#define CLI_WS_MESSAGE_BYTES_MAX                                                                   \
    (1u << 20) /* `subscribed` of 4096 feeds is the largest: 256 bytes each */

typedef struct cli_ws {
    cli_socket_t socket;
    uint8_t *in; /* owned; bytes read but not yet handed out */
    size_t in_at, in_len, in_cap;
    uint8_t *message; /* owned; the message being put together, or the one last handed out */
    size_t message_len;
    kmy_ws_stream_t stream;
    uint16_t
        close_code; /* once the peer closed: 1005 if it gave none, 1006 without a close frame */
    char close_reason[128];
} cli_ws_t;

/* Dials `url` + path, with the bearer in a header (NULL: none).  KMY_UNAUTHENTICATED, KMY_UNPAID, KMY_FULL or KMY_PROTOCOL: the server answered
   something else than 101, ctx says what. */
kmy_err_t cli_ws_open(cli_ws_t *ws, const char *url, const char *path, const char *bearer,
                      const char *ca_file, int64_t deadline_mono_ns, kmy_errctx_t *ctx);
/* The next text message; borrowed until the next call.  Pings are answered inside.
     KMY_AGAIN    a signal came       KMY_TIMEOUT      nothing until the deadline
     KMY_UNAVAILABLE  the peer closed: close_code, close_reason      others: broken, the connection is of no more use */
kmy_err_t cli_ws_receive(cli_ws_t *ws, const char **text, size_t *len, int64_t deadline_mono_ns,
                         kmy_errctx_t *ctx);
/* true if a receive would (most likely) not have to wait. */
bool cli_ws_has_more(const cli_ws_t *ws);
kmy_err_t cli_ws_send(cli_ws_t *ws, uint8_t opcode, const void *data, size_t len,
                      kmy_errctx_t *ctx);
/* Says goodbye (1000) if the connection still stands; frees. */
void cli_ws_close(cli_ws_t *ws);

#endif
