/* The handshake of wire/ws.h (RFC 6455 section 4.2). */
#include "wire/ws.h"

#include "wire/base64.h"

/* The one-shot SHA1() of OpenSSL 3 fetches and allocates; these three, though deprecated, do not.  SHA-1 keeps nothing secret here. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <string.h>

#define KEY_BYTES 24 /* base64 of 16 */

void kmy_ws_accept(const char *key, size_t key_len, char accept[KMY_WS_ACCEPT_BYTES])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* section 1.3 */
    uint8_t digest[SHA_DIGEST_LENGTH];
    SHA_CTX sha;
    SHA1_Init(&sha);
    SHA1_Update(&sha, key, key_len);
    SHA1_Update(&sha, guid, sizeof guid - 1);
    SHA1_Final(digest, &sha);
    size_t n = kmy_base64_encode(KMY_BASE64_STD, digest, sizeof digest, accept);
    KMY_ASSERT(n == KMY_WS_ACCEPT_BYTES);
}

/* 22 characters and "==".  The four bits behind the last byte may be anything: nobody decodes a key, and hand-made clients send
   keys that no encoder would. */
static bool is_key(kmy_view_t key)
{
    char canonical[KEY_BYTES];
    uint8_t bytes[18];
    size_t n;
    if (key.len != KEY_BYTES || key.ptr[22] != '=' || key.ptr[23] != '=')
        return false;
    memcpy(canonical, key.ptr, KEY_BYTES);
    canonical[22] = canonical[23] =
        'A'; /* now 18 whole bytes: the last character is checked, its bits are not */
    return kmy_base64_decode(KMY_BASE64_STD, canonical, KEY_BYTES, bytes, sizeof bytes, &n);
}

kmy_err_t kmy_ws_check_upgrade(const kmy_http_request_t *req, char accept[KMY_WS_ACCEPT_BYTES],
                               kmy_errctx_t *ctx)
{
    static const char version_name[] = "Sec-WebSocket-Version";
    static const char key_name[] = "Sec-WebSocket-Key";
    if (!kmy_view_is(req->method, "GET") || req->minor != 1 || !req->upgrade_websocket)
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "no WebSocket upgrade: GET, HTTP/1.1, Connection: Upgrade, Upgrade: "
                        "websocket");
    if (req->chunked || req->body_bytes > 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "WebSocket upgrade with a body");
    if (kmy_http_header_count(req, version_name) != 1)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "WebSocket upgrade without exactly one %s",
                        version_name);
    if (!kmy_view_is(*kmy_http_header(req, version_name), "13"))
        return KMY_FAIL(ctx, KMY_UNSUPPORTED, "%s other than 13", version_name);
    if (kmy_http_header_count(req, key_name) != 1)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "WebSocket upgrade without exactly one %s", key_name);
    kmy_view_t key = *kmy_http_header(req, key_name);
    if (!is_key(key))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "%s is not 16 bytes in base64", key_name);
    kmy_ws_accept(key.ptr, key.len, accept);
    return KMY_OK;
}
