#include "engine/body.h"

#include "engine/conn.h"
#include "engine/egress.h"
#include "engine/reply.h"

#include <stdlib.h>

struct kmy_body {
    kmy_blob_t *blob; /* a reference */
    size_t at;        /* handed to egress so far */
};

void kmy_body_forget(kmy_conn_t *c)
{
    if (!c->body)
        return;
    kmy_blob_unref(c->body->blob);
    free(c->body);
    c->body = NULL;
}

void kmy_body_reply(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, const char *type,
                    const char *extra, kmy_blob_t *blob)
{
    KMY_ASSERT(!c->body);
    kmy_body_t *body = malloc(sizeof *body);
    if (!body) {
        kmy_blob_unref(blob);
        kmy_conn_kill(s, c);
        return;
    }
    *body = (kmy_body_t){ blob, 0 };
    c->body = body;
    if (kmy_reply_head(s, c, req, 200, type, extra, blob->len))
        kmy_body_more(s, c);
    else
        kmy_body_forget(c);
}

bool kmy_body_more(kmy_shard_t *s, kmy_conn_t *c)
{
    kmy_body_t *body = c->body;
    if (!body)
        return false;
    size_t left = body->blob->len - body->at;
    size_t n = left < KMY_BODY_PIECE_BYTES ? left : KMY_BODY_PIECE_BYTES;
    const uint8_t *piece = body->blob->bytes + body->at;
    body->at += n;
    kmy_egress_bytes(s, c, piece, n); /* copied */
    if (n == left)
        kmy_body_forget(c);
    return true;
}
