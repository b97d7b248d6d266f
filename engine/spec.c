#include "engine/spec.h"

#include "engine/reply.h"
#include "engine/throttle.h"

/* The file's bytes, by the assembler: C17 has no #embed, and 80 KB as a list of numbers is slow to compile. */
#define EMBED(name, file)                                                                          \
    __asm__(".pushsection .rodata\n" #name "_begin: .incbin \"" KMY_DOCS "/" file "\"\n" #name     \
            "_end: .byte 0\n.popsection\n");                                                       \
    extern const char name##_begin[], name##_end[]

EMBED(kmy_spec_openapi_text, "openapi.json");
EMBED(kmy_spec_asyncapi_text, "asyncapi.json");

static bool answer(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, const char *begin,
                   const char *end)
{
    if (!kmy_throttle_free(s, c, req))
        return true;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_bytes(&b, begin, (size_t)(end - begin));
    kmy_reply_json(s, c, req, &b);
    return true;
}

bool kmy_spec_openapi(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    return answer(s, c, req, kmy_spec_openapi_text_begin, kmy_spec_openapi_text_end);
}

bool kmy_spec_asyncapi(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_view_t body)
{
    (void)body;
    return answer(s, c, req, kmy_spec_asyncapi_text_begin, kmy_spec_asyncapi_text_end);
}
