#include "tools/kamiyo/wsclient.h"

#include "base/clock.h"
#include "tools/kamiyo/kamiyo.h"
#include "wire/base64.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define IN_BYTES       (256u << 10)
#define HEAD_BYTES_MAX 16384
#define SEND_WAIT_NS   (10 * KMY_NS_PER_S)

static const kmy_ws_rules_t rules = { .server = false,
                                      .deflate = false,
                                      .message_bytes_max = CLI_WS_MESSAGE_BYTES_MAX,
                                      .fragments_max = 0 };

static void random_bytes(void *out, size_t len)
{
    KMY_ASSERT(getrandom(out, len, 0) == (ssize_t)len); /* up to 256 bytes never come short */
}

/* Makes room behind what is buffered and reads once. */
static kmy_err_t fill(cli_ws_t *ws, int64_t deadline_ns, kmy_errctx_t *ctx)
{
    size_t got;
    if (ws->in_at > 0) {
        memmove(ws->in, ws->in + ws->in_at, ws->in_len - ws->in_at);
        ws->in_len -= ws->in_at;
        ws->in_at = 0;
    }
    KMY_ASSERT(ws->in_len < ws->in_cap); /* callers consume before they ask for more */
    kmy_err_t err = cli_socket_read(&ws->socket, ws->in + ws->in_len, ws->in_cap - ws->in_len, &got,
                                    deadline_ns, ctx);
    if (err == KMY_OK)
        ws->in_len += got;
    return err;
}

/* The value of a header line in a response head; false: absent. */
static bool head_value(const char *head, const char *name, char *out, size_t cap)
{
    size_t name_len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        const char *p = line + 2;
        if (strncasecmp(p, name, name_len) != 0 || p[name_len] != ':')
            continue;
        p += name_len + 1;
        p += strspn(p, " \t");
        size_t len = strcspn(p, "\r\n");
        while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t'))
            len--;
        if (len >= cap)
            return false;
        memcpy(out, p, len);
        out[len] = 0;
        return true;
    }
    return false;
}

/* A problem's code and detail, or the body's beginning as it is. */
static void words_of(const uint8_t *body, size_t len, int status, char *out, size_t cap)
{
    json_t *problem = json_loadb((const char *)body, len, JSON_REJECT_DUPLICATES, NULL);
    const char *code = json_string_value(json_object_get(problem, "code"));
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    if (code)
        snprintf(out, cap, "%s%s%s", code, detail ? ": " : "", detail ? detail : "");
    else if (len == 0 && status == 503)
        snprintf(out, cap, "%s", CLI_NO_ROOM);
    else
        snprintf(out, cap, "%.*s", len > 120 ? 120 : (int)len, (const char *)body);
    json_decref(problem);
}

/* Anything but 101: the status, and as much of the body (a problem's JSON) as came with it. */
static kmy_err_t refused(cli_ws_t *ws, const char *head, int64_t deadline_ns, kmy_errctx_t *ctx)
{
    int status = strncmp(head, "HTTP/1.1 ", 9) == 0 ? atoi(head + 9) : 0;
    char length[16] = "";
    char retry[12] = "";
    char words[128];
    head_value(head, "Content-Length", length, sizeof length);
    size_t want = (size_t)strtoul(length, NULL, 10);
    while (ws->in_len - ws->in_at < want && ws->in_len < ws->in_cap) {
        if (fill(ws, deadline_ns, NULL) != KMY_OK)
            break;
    }
    kmy_err_t err = status == 401   ? KMY_UNAUTHENTICATED
                    : status == 402 ? KMY_UNPAID
                    : status == 429 ? KMY_FULL
                                    : KMY_PROTOCOL;
    words_of(ws->in + ws->in_at, ws->in_len - ws->in_at, status, words, sizeof words);
    bool later = head_value(head, "Retry-After", retry, sizeof retry);
    return KMY_FAIL(ctx, err, "answered %d to the WebSocket handshake: %s%s%s%s", status, words,
                    later ? "; try again in " : "", retry, later ? " s" : "");
}

static kmy_err_t check_head(cli_ws_t *ws, const char *head, const char *key, int64_t deadline_ns,
                            kmy_errctx_t *ctx)
{
    char value[64];
    char want[KMY_WS_ACCEPT_BYTES + 1] = "";
    if (strncmp(head, "HTTP/1.1 101", 12) != 0)
        return refused(ws, head, deadline_ns, ctx);
    kmy_ws_accept(key, strlen(key), want);
    if (!head_value(head, "Sec-WebSocket-Accept", value, sizeof value) || strcmp(value, want) != 0)
        return KMY_FAIL(ctx, KMY_PROTOCOL, "wrong Sec-WebSocket-Accept: not a WebSocket server");
    if (!head_value(head, "Upgrade", value, sizeof value) || strcasecmp(value, "websocket") != 0)
        return KMY_FAIL(ctx, KMY_PROTOCOL, "no Upgrade: websocket in the answer");
    if (head_value(head, "Sec-WebSocket-Extensions", value, sizeof value))
        return KMY_FAIL(ctx, KMY_PROTOCOL, "an extension nobody asked for: %.40s", value);
    return KMY_OK;
}

static kmy_err_t handshake(cli_ws_t *ws, const cli_url_t *url, const char *path, const char *bearer,
                           int64_t deadline_ns, kmy_errctx_t *ctx)
{
    uint8_t nonce[16];
    char key[25] = "";
    char *request = NULL;
    random_bytes(nonce, sizeof nonce);
    kmy_base64_encode(KMY_BASE64_STD, nonce, sizeof nonce, key);
    int n =
        asprintf(&request,
                 "GET %s%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
                 "User-Agent: kamiyo/" KMY_VERSION "\r\n%s%s%s\r\n",
                 url->path, path, url->authority, key, bearer ? "Authorization: Bearer " : "",
                 bearer ? bearer : "", bearer ? "\r\n" : "");
    if (n < 0)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    kmy_err_t err = cli_socket_write(&ws->socket, request, (size_t)n, deadline_ns, ctx);
    free(request);
    while (err == KMY_OK) {
        char *end = memmem(ws->in, ws->in_len, "\r\n\r\n", 4);
        if (end) {
            size_t head_len = (size_t)(end - (char *)ws->in) + 4;
            char *head = strndup((char *)ws->in, head_len - 2);
            if (!head)
                abort();
            ws->in_at = head_len;
            err = check_head(ws, head, key, deadline_ns, ctx);
            free(head);
            return err;
        }
        if (ws->in_len > HEAD_BYTES_MAX)
            return KMY_FAIL(ctx, KMY_PROTOCOL, "the answer's head is larger than %d bytes",
                            HEAD_BYTES_MAX);
        err = fill(ws, deadline_ns, ctx);
    }
    return err;
}

kmy_err_t cli_ws_open(cli_ws_t *ws, const char *url, const char *path, const char *bearer,
                      const char *ca_file, int64_t deadline_mono_ns, kmy_errctx_t *ctx)
{
    cli_url_t parts;
    *ws = (cli_ws_t){ .socket.fd = -1, .in_cap = IN_BYTES };
    kmy_err_t err = cli_url_parse(url, &parts, ctx);
    if (err != KMY_OK)
        return err;
    for (const char *p = bearer; p && *p; p++) { /* it stands in a header line */
        if (*p <= 0x20 || *p == 0x7f)
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "the token holds a blank or a control character");
    }
    ws->in = malloc(IN_BYTES);
    ws->message = malloc(CLI_WS_MESSAGE_BYTES_MAX + 1);
    if (!ws->in || !ws->message)
        err = KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    if (err == KMY_OK)
        err = cli_socket_open(&ws->socket, &parts, ca_file, deadline_mono_ns, ctx);
    if (err == KMY_OK)
        err = handshake(ws, &parts, path, bearer, deadline_mono_ns, ctx);
    if (err != KMY_OK) {
        cli_socket_close(&ws->socket);
        cli_ws_close(ws);
    }
    return err;
}

kmy_err_t cli_ws_send(cli_ws_t *ws, uint8_t opcode, const void *data, size_t len, kmy_errctx_t *ctx)
{
    uint8_t mask[4];
    random_bytes(mask, sizeof mask);
    uint8_t *frame = malloc(KMY_WS_HEADER_BYTES_MAX + len);
    if (!frame)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    size_t n = kmy_ws_put_header(frame, opcode, true, false, len, mask);
    memcpy(frame + n, data, len);
    kmy_ws_unmask(frame + n, len, mask, 0); /* masking is its own inverse */
    kmy_err_t err =
        cli_socket_write(&ws->socket, frame, n + len, kmy_mono_ns() + SEND_WAIT_NS, ctx);
    free(frame);
    return err;
}

static kmy_err_t closed_by_peer(cli_ws_t *ws, const uint8_t *payload, size_t len, kmy_errctx_t *ctx)
{
    uint16_t code = 1002;
    kmy_err_t err = kmy_ws_close_parse(payload, len, &code, ctx);
    ws->close_code = code;
    if (err == KMY_OK && len > 2)
        snprintf(ws->close_reason, sizeof ws->close_reason, "%.*s", (int)len - 2,
                 (const char *)payload + 2);
    cli_ws_send(ws, KMY_WS_CLOSE, payload, len < 2 ? len : 2, NULL);
    cli_socket_close(&ws->socket);
    return KMY_FAIL(ctx, KMY_UNAVAILABLE, "the server closed with %u %s", code, ws->close_reason);
}

/* The whole control frame at the front of the buffer (headers are checked: at most 125 bytes). */
static kmy_err_t control(cli_ws_t *ws, const kmy_ws_header_t *h, kmy_errctx_t *ctx)
{
    const uint8_t *payload = ws->in + ws->in_at + h->header_bytes;
    size_t len = (size_t)h->payload_bytes;
    ws->in_at += h->header_bytes + len;
    if (h->opcode == KMY_WS_CLOSE)
        return closed_by_peer(ws, payload, len, ctx);
    return h->opcode == KMY_WS_PING ? cli_ws_send(ws, KMY_WS_PONG, payload, len, ctx) : KMY_OK;
}

/* One frame off the buffer.  KMY_AGAIN: it is not whole yet; *whole: it ended a message. */
static kmy_err_t take_frame(cli_ws_t *ws, bool *whole, kmy_errctx_t *ctx)
{
    kmy_ws_header_t h;
    size_t have = ws->in_len - ws->in_at;
    kmy_err_t err = kmy_ws_header(&rules, ws->in + ws->in_at, have, &h, ctx);
    *whole = false;
    if (err != KMY_OK)
        return err;
    bool is_control = h.opcode >= KMY_WS_CLOSE;
    if (!is_control && h.payload_bytes > CLI_WS_MESSAGE_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "a message above %u bytes", CLI_WS_MESSAGE_BYTES_MAX);
    size_t total = h.header_bytes + (size_t)h.payload_bytes;
    if (have < total) {
        if (total > ws->in_cap) { /* at most 1 MiB and a header; grown once or twice, kept */
            uint8_t *grown = realloc(ws->in, total);
            if (!grown)
                return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
            ws->in = grown;
            ws->in_cap = total;
        }
        return KMY_AGAIN;
    }
    if (is_control)
        return control(ws, &h, ctx);
    if (h.opcode != KMY_WS_CONT)
        ws->message_len = 0;
    const uint8_t *payload = ws->in + ws->in_at + h.header_bytes;
    err = kmy_ws_stream_frame(&ws->stream, &rules, &h, ctx);
    if (err == KMY_OK)
        err =
            kmy_ws_stream_payload(&ws->stream, payload, (size_t)h.payload_bytes, true, h.fin, ctx);
    if (err != KMY_OK)
        return err;
    memcpy(ws->message + ws->message_len, payload, (size_t)h.payload_bytes);
    ws->message_len +=
        (size_t)h.payload_bytes; /* stream_frame holds the sum to message_bytes_max */
    ws->in_at += total;
    *whole = h.fin;
    return KMY_OK;
}

kmy_err_t cli_ws_receive(cli_ws_t *ws, const char **text, size_t *len, int64_t deadline_mono_ns,
                         kmy_errctx_t *ctx)
{
    for (;;) {
        bool whole = false;
        kmy_err_t err = ws->socket.fd < 0
                            ? KMY_FAIL(ctx, KMY_UNAVAILABLE, "the connection is closed")
                            : take_frame(ws, &whole, ctx);
        if (err == KMY_OK && whole) {
            ws->message[ws->message_len] = 0;
            *text = (const char *)ws->message;
            *len = ws->message_len;
            return KMY_OK;
        }
        if (err == KMY_AGAIN)
            err = fill(ws, deadline_mono_ns, ctx);
        if (err == KMY_UNAVAILABLE && ws->close_code == 0)
            ws->close_code = 1006;
        if (err != KMY_OK)
            return err;
    }
}

bool cli_ws_has_more(const cli_ws_t *ws)
{
    return ws->in_len > ws->in_at;
}

void cli_ws_close(cli_ws_t *ws)
{
    static const uint8_t normal[2] = { 1000 >> 8, 1000 & 0xff };
    if (ws->socket.fd >= 0)
        cli_ws_send(ws, KMY_WS_CLOSE, normal, sizeof normal, NULL);
    cli_socket_close(&ws->socket);
    free(ws->in);
    free(ws->message);
    ws->in = ws->message = NULL;
}
