/* nats: the client side of nats-server's protocol inside WebSocket frames, as far as one subscriber needs it (docs.nats.io, "Client Protocol"
   and "WebSocket"): for bench/fanout.  A frame holds whole protocol messages, as many as had gathered. */
#include "tools/load/load.h"

#include "wire/ws.h"

#include <stdlib.h>
#include <string.h>

enum { NATS_LINE_BYTES_MAX = 4096, NATS_FRAME_BYTES_MAX = 1 << 30 };

bool load_nats_subscribe(load_t *l, load_agent_t *a)
{
    static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB tick 1\r\n";
    return load_agent_text(l, a, hello, sizeof hello - 1);
}

/* "MSG tick 1 285" -> 285 */
static size_t message_bytes(const char *line, size_t len)
{
    size_t at = len;
    while (at > 0 && line[at - 1] >= '0' && line[at - 1] <= '9')
        at--;
    return len - at < 8 ? strtoul(line + at, NULL, 10) : 0;
}

/* One protocol message; the bytes used up, 0: not whole. */
static size_t one(load_t *l, load_agent_t *a, const char *text, size_t len)
{
    static const char pong[] = "PONG\r\n";
    const char *end =
        memmem(text, len < NATS_LINE_BYTES_MAX ? len : NATS_LINE_BYTES_MAX, "\r\n", 2);
    if (!end)
        return 0;
    size_t line = (size_t)(end - text);
    if (line > 4 && memcmp(text, "MSG ", 4) == 0) {
        size_t bytes = message_bytes(text, line);
        if (len < line + 2 + bytes + 2)
            return 0;
        load_text(l, a, text + line + 2, bytes);
        return line + 2 + bytes + 2;
    }
    if (line == 4 && memcmp(text, "PING", 4) == 0 && !load_agent_text(l, a, pong, sizeof pong - 1))
        load_agent_over(l, a);
    else if (line > 4 && memcmp(text, "-ERR", 4) == 0)
        load_fault(l, a, LOAD_FAULT_REFUSED, "%.*s", (int)(line < 120 ? line : 120), text);
    return line + 2;
}

/* A frame's header; the bytes used up, 0: not whole, or the agent is over. */
static size_t header(load_t *l, load_agent_t *a, const uint8_t *data, size_t len)
{
    static const kmy_ws_rules_t rules = { .message_bytes_max = NATS_FRAME_BYTES_MAX };
    kmy_ws_header_t h;
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_ws_header(&rules, data, len, &h, &ctx);
    if (err == KMY_AGAIN)
        return 0;
    if (err == KMY_OK && h.opcode < KMY_WS_CLOSE && h.payload_bytes <= NATS_FRAME_BYTES_MAX) {
        a->nats_left = h.payload_bytes;
        return h.header_bytes;
    }
    if (err == KMY_OK && h.opcode == KMY_WS_CLOSE)
        load_fault(l, a, LOAD_FAULT_CLOSED, "the server closed: too slow a consumer, as a rule");
    else
        load_fault(l, a, LOAD_FAULT_PROTOCOL, "%s",
                   err == KMY_OK ? "an unexpected frame" : ctx.detail);
    load_agent_over(l, a);
    return 0;
}

size_t load_nats(load_t *l, load_agent_t *a, const uint8_t *data, size_t len)
{
    size_t used = 0;
    while (a->fd >= 0 && used < len) {
        size_t left = len - used;
        size_t n;
        if (a->nats_left == 0) {
            n = header(l, a, data + used, left);
        } else {
            bool rest = a->nats_left <= left; /* all of the frame's rest is here */
            n = one(l, a, (const char *)data + used, rest ? (size_t)a->nats_left : left);
            if (n == 0 && rest) {
                load_fault(l, a, LOAD_FAULT_PROTOCOL, "a message is cut at its frame's end");
                load_agent_over(l, a);
            }
            a->nats_left -= n;
        }
        if (n == 0)
            break;
        used += n;
    }
    return used;
}
