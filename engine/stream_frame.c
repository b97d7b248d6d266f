#include "engine/stream_frame.h"

#include "base/money.h"
#include "engine/egress.h"

#include <inttypes.h>
#include <string.h>

kmy_buf_t kmy_frame_begin(kmy_shard_t *s, const char *type, const kmy_request_id_t *id)
{
    kmy_buf_t b = kmy_buf(s->scratch, KMY_SCRATCH_BYTES);
    kmy_buf_fmt(&b, "{\"type\":\"%s\"", type);
    if (id && id->len > 0) {
        kmy_buf_str(&b, ",\"id\":");
        kmy_buf_bytes(&b, id->text, id->len);
    }
    return b;
}

void kmy_frame_nusd(kmy_buf_t *b, const char *key, int64_t nusd)
{
    kmy_buf_fmt(b, ",\"%s\":", key);
    kmy_buf_json_nusd(b, nusd);
}

void kmy_frame_text(kmy_buf_t *b, const char *key, const char *text)
{
    kmy_buf_fmt(b, ",\"%s\":", key);
    kmy_buf_json_str(b, text, strlen(text));
}

bool kmy_frame_send(kmy_shard_t *s, kmy_conn_t *c, kmy_buf_t *b)
{
    kmy_buf_str(b, "}");
    return kmy_egress_text(s, c, b);
}

bool kmy_frame_retries(kmy_err_t err)
{
    return err == KMY_AGAIN || err == KMY_FULL || err == KMY_UNAVAILABLE || err == KMY_TIMEOUT;
}

kmy_buf_t kmy_frame_begin_error(kmy_shard_t *s, const kmy_request_id_t *id, const char *code,
                                const char *message, bool retry)
{
    kmy_buf_t b = kmy_frame_begin(s, "error", id);
    kmy_frame_text(&b, "code", code);
    kmy_frame_text(&b, "message", message);
    kmy_buf_fmt(&b, ",\"retry\":%s", retry ? "true" : "false");
    return b;
}

bool kmy_frame_error_later(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id, kmy_err_t err,
                           const char *message, int64_t retry_after_ms)
{
    kmy_buf_t b = kmy_frame_begin_error(s, id, kmy_err_code(err), message, kmy_frame_retries(err));
    if (retry_after_ms > 0)
        kmy_buf_fmt(&b, ",\"retry_after_ms\":%" PRId64, retry_after_ms);
    return kmy_frame_send(s, c, &b);
}

bool kmy_frame_error(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id, kmy_err_t err,
                     const char *message)
{
    return kmy_frame_error_later(s, c, id, err, message, 0);
}
