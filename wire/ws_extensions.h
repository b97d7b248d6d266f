/* ws_extensions: what a client offers in Sec-WebSocket-Extensions (RFC 6455 section 9.1), and what we take of it: permessage-deflate
   (RFC 7692 section 7.1).  Owns no memory.  Any thread; nothing blocks or allocates. */
#ifndef KMY_WIRE_WS_EXTENSIONS_H
#define KMY_WIRE_WS_EXTENSIONS_H

#include "base/err.h"
#include "wire/http1.h"

/* kmy_ws_extensions reads every such line of an upgrade request, in order, and takes the first offer that we can serve.
     KMY_OK         *answer is the value to answer with (static storage): the extension is in force; NULL: none was taken
     KMY_BAD_INPUT  not of the RFC's grammar: the handshake must be refused (section 9.1); *answer is NULL
   The answer forbids context takeover on both sides, so that a tick is compressed once for everybody and an inflater serves all.
   An offer is declined, and the next one looked at, if it
     is another extension, or spells the name otherwise
     has a parameter RFC 7692 does not know, one twice, or one with a value it cannot have (section 7.1.1 to 7.1.2)
   Any window asked of us will do, since what we compress refers back by 250 bytes at most (ws_deflate.h); so one log serves all. */
kmy_err_t kmy_ws_extensions(const kmy_http_request_t *req, const char **answer, kmy_errctx_t *ctx);

#endif
