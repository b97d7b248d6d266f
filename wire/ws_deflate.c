#include "wire/ws_deflate.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Of 239 bytes of a quote tick level 3 leaves 158 and takes 4.5 us; level 1 leaves 160, level 9 156 in 4.9 us.  The window makes no difference
   to a tick, so it is zlib's smallest, whose matches reach back by 512 - 262 = 250 bytes (its MAX_DIST): within the smallest window a
   client may ask for, 256.  Memory level 5 has room for 2,048 symbols, more than any tick, so that one is one block; and 8 KiB of hash to
   wipe for each message: zlib's usual 64 KiB cost a microsecond more.  docs/decisions/delivery.md */
enum { WINDOW_BITS_IN = 15, WINDOW_BITS_OUT = 9, LEVEL = 3, MEM_LEVEL = 5 };

/* What a flush ends with: cut by the sender, put back by the receiver (RFC 7692 section 7.2.1 and 7.2.2). */
static const uint8_t tail[4] = { 0x00, 0x00, 0xff, 0xff };

struct kmy_ws_deflate {
    z_stream out;
    z_stream in;
};

kmy_ws_deflate_t *kmy_ws_deflate_new(void)
{
    kmy_ws_deflate_t *z = calloc(1, sizeof *z);
    if (!z)
        return NULL;
    if (deflateInit2(&z->out, LEVEL, Z_DEFLATED, -WINDOW_BITS_OUT, MEM_LEVEL, Z_DEFAULT_STRATEGY) !=
            Z_OK ||
        inflateInit2(&z->in, -WINDOW_BITS_IN) != Z_OK) {
        kmy_ws_deflate_free(z);
        return NULL;
    }
    return z;
}

void kmy_ws_deflate_free(kmy_ws_deflate_t *z)
{
    if (!z)
        return;
    deflateEnd(&z->out); /* one that was never begun is left alone */
    inflateEnd(&z->in);
    free(z);
}

static Bytef *unconst(const void *bytes)
{
    return (Bytef *)(uintptr_t)bytes; /* zlib reads it; its member is not const */
}

size_t kmy_ws_deflate(kmy_ws_deflate_t *z, const void *in, size_t len, void *out, size_t cap)
{
    KMY_ASSERT(len <= UINT_MAX && cap <= UINT_MAX);
    z_stream *s = &z->out;
    int rc = deflateReset(s);
    KMY_ASSERT(rc == Z_OK);
    s->next_in = unconst(in);
    s->avail_in = (uInt)len;
    s->next_out = out;
    s->avail_out = (uInt)cap;
    if (deflate(s, Z_SYNC_FLUSH) != Z_OK || s->avail_out == 0)
        return 0;
    size_t n = cap - s->avail_out;
    KMY_ASSERT(n > sizeof tail && s->avail_in == 0);
    n -= sizeof tail;
    KMY_ASSERT(memcmp((uint8_t *)out + n, tail, sizeof tail) == 0);
    return n;
}

/* Where inflated bytes go: the caller's, and then one more, which tells that there is more. */
typedef struct room {
    uint8_t spare;
    bool full;
} room_t;

/* Feeds one piece.  *ended: a block with BFINAL ended exactly with it. */
static kmy_err_t feed(z_stream *s, const void *in, size_t len, room_t *room, bool *ended,
                      kmy_errctx_t *ctx)
{
    s->next_in = unconst(in);
    s->avail_in = (uInt)len;
    while (s->avail_in > 0) {
        if (s->avail_out == 0) {
            if (room->full)
                return KMY_FAIL(ctx, KMY_TOO_BIG, "compressed message is too big once inflated");
            room->full = true;
            s->next_out = &room->spare;
            s->avail_out = 1;
        }
        uInt before = s->avail_in;
        uInt space = s->avail_out;
        int rc = inflate(s, Z_SYNC_FLUSH);
        *ended = rc == Z_STREAM_END;
        if (rc == Z_MEM_ERROR)
            return KMY_FAIL(ctx, KMY_IO, "no memory to inflate a message");
        if (rc == Z_STREAM_END)
            rc = inflateReset(s);
        bool moved = s->avail_in < before || s->avail_out < space;
        if (rc != Z_OK || !moved)
            return KMY_FAIL(ctx, KMY_BAD_DEFLATE, "compressed message is no DEFLATE stream");
    }
    return KMY_OK;
}

kmy_err_t kmy_ws_inflate(kmy_ws_deflate_t *z, const void *in, size_t len, void *out, size_t cap,
                         size_t *out_len, kmy_errctx_t *ctx)
{
    enum { AFTER_A_BLOCK = 128 }; /* in data_type, as zlib.h says of inflate() */
    KMY_ASSERT(len <= UINT_MAX && cap <= UINT_MAX);
    z_stream *s = &z->in;
    int rc = inflateReset(s);
    KMY_ASSERT(rc == Z_OK);
    room_t room = { 0 };
    *out_len = 0;
    if (len == 0) /* section 7.2.3.6 wants one octet here; nothing is clear enough */
        return KMY_OK;
    s->next_out = out;
    s->avail_out = (uInt)cap;
    bool ended = false;
    kmy_err_t err = feed(s, in, len, &room, &ended, ctx);
    if (err == KMY_OK && !ended) /* behind a BFINAL there is nothing to be completed */
        err = feed(s, tail, sizeof tail, &room, &ended, ctx);
    if (err != KMY_OK)
        return err;
    if (room.full && s->avail_out == 0)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "compressed message is too big once inflated");
    if (!ended && !(s->data_type & AFTER_A_BLOCK))
        return KMY_FAIL(ctx, KMY_BAD_DEFLATE, "compressed message is cut");
    *out_len = room.full ? cap : cap - s->avail_out;
    return KMY_OK;
}
