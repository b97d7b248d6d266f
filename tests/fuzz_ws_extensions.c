/* The input is the values of Sec-WebSocket-Extensions lines, one a line.  Properties: the answer is one of two, or none; a list that is none
   stays so whatever follows; behind a good list without a taken offer a plain one is taken; what was taken stays taken. */
#include "wire/ws_extensions.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(cond) KMY_ASSERT(cond)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static kmy_http_header_t line(const char *text, size_t len)
{
    static const char name[] = "Sec-WebSocket-Extensions";
    return (kmy_http_header_t){ { name, sizeof name - 1 }, { text, len } };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kmy_http_request_t req;
    char *text = malloc(size + 1);
    CHECK(text);
    if (size > 0)
        memcpy(text, data, size);
    req.headers_count = 0;
    for (size_t at = 0; at < size && req.headers_count + 1 < KMY_HTTP_HEADERS_MAX;) {
        char *end = memchr(text + at, '\n', size - at);
        size_t len = end ? (size_t)(end - text) - at : size - at;
        req.headers[req.headers_count++] = line(text + at, len);
        at += len + 1;
    }
    const char *answer;
    const char *again;
    kmy_err_t err = kmy_ws_extensions(&req, &answer, NULL);
    CHECK(err == KMY_OK || (err == KMY_BAD_INPUT && !answer));
    CHECK(!answer || strncmp(answer, "permessage-deflate; ", 20) == 0);

    static const char plain[] = "permessage-deflate";
    req.headers[req.headers_count++] = line(plain, sizeof plain - 1);
    CHECK(kmy_ws_extensions(&req, &again, NULL) == err);
    CHECK(err != KMY_OK || (again && (!answer || strcmp(again, answer) == 0)));
    free(text);
    return 0;
}
