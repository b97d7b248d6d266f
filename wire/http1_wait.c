#include "wire/http1_wait.h"

#include "base/limits.h"

#include <string.h>

bool kmy_http_wait_over(kmy_http_wait_t *w, const void *data, size_t len)
{
    const char *bytes = data;
    size_t from = w->seen_bytes > 3 ? w->seen_bytes - 3 : 0; /* the blank line may have been cut */
    if (len >= w->want_bytes)
        return true;
    if (w->body)
        return false;
    w->seen_bytes = (uint32_t)len;
    return memmem(bytes + from, len - from, "\r\n\r\n", 4) != NULL;
}

void kmy_http_wait_head(kmy_http_wait_t *w, size_t len)
{
    bool half = len < KMY_HTTP_HEAD_BYTES_MAX / 2;
    w->want_bytes = (uint32_t)(half ? 2 * len : KMY_HTTP_HEAD_BYTES_MAX);
    w->seen_bytes = (uint32_t)len;
}

void kmy_http_wait_body(kmy_http_wait_t *w, size_t whole)
{
    w->want_bytes = (uint32_t)whole;
    w->body = true;
}
