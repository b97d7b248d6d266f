/* Properties: whatever is valid stays so when skipped, read as an object or unescaped; tokens lie inside the text; what our writer
   makes of any bytes is valid JSON and, if they were UTF-8, reads back as the same bytes. */
#include "wire/json.h"
#include "wire/utf8.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(cond) KMY_ASSERT(cond)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_token(const char *text, size_t len, kmy_json_token_t t)
{
    if (t.type == KMY_JSON_ERROR)
        return;
    CHECK(t.text >= text && t.text + t.len <= text + len);
    if (t.type != KMY_JSON_STRING && t.type != KMY_JSON_KEY)
        return;
    CHECK(kmy_utf8_valid(t.text, t.len));
    CHECK(t.escaped == (memchr(t.text, '\\', t.len) != NULL));
    char *out = malloc(t.len + 1); /* undoing never makes longer */
    size_t n;
    CHECK(out);
    if (kmy_json_unescape(t, out, t.len + 1, &n)) {
        CHECK(n <= t.len && out[n] == '\0' && strlen(out) == n && kmy_utf8_valid(out, n));
        CHECK(kmy_json_is(t, out));
    }
    free(out);
}

static bool walk(const char *text, size_t len)
{
    kmy_json_t js;
    kmy_json_init(&js, text, len);
    for (size_t steps = 0;; steps++) {
        CHECK(steps <= len + 1);
        kmy_json_token_t t = kmy_json_next(&js);
        check_token(text, len, t);
        CHECK(js.depth <= KMY_JSON_DEPTH_MAX && kmy_json_fault_offset(&js) <= len);
        if (t.type == KMY_JSON_ERROR || t.type == KMY_JSON_END) {
            CHECK(kmy_json_next(&js).type == t.type);
            return t.type == KMY_JSON_END;
        }
    }
}

static void check_ways_agree(const char *text, size_t len, bool valid)
{
    kmy_json_t js;
    kmy_json_init(&js, text, len);
    bool skipped =
        kmy_json_skip(&js, kmy_json_next(&js)) && kmy_json_next(&js).type == KMY_JSON_END;
    CHECK(skipped == valid);

    kmy_json_field_t fields[] = { { .key = "op" }, { .key = "id" }, { .key = "feeds" } };
    kmy_json_init(&js, text, len);
    if (kmy_json_object(&js, fields, 3, NULL) != KMY_OK)
        return;
    CHECK((kmy_json_next(&js).type == KMY_JSON_END) == valid);
    for (size_t i = 0; i < 3; i++) {
        check_token(text, len, fields[i].token);
        if (fields[i].token.type == KMY_JSON_OBJECT || fields[i].token.type == KMY_JSON_ARRAY)
            CHECK(kmy_json_valid(fields[i].token.text, fields[i].token.len));
    }
}

static void check_writer(const char *text, size_t len)
{
    size_t cap = 6 * len + 2; /* \u00XX each */
    char *mem = malloc(cap);
    char *back = malloc(cap + 1);
    CHECK(mem && back);
    kmy_buf_t b = kmy_buf(mem, cap);
    kmy_buf_json_str(&b, text, len);
    CHECK(!b.overflow && kmy_json_valid(mem, b.len));
    kmy_json_t js;
    size_t n;
    kmy_json_init(&js, mem, b.len);
    if (kmy_json_unescape(kmy_json_next(&js), back, cap + 1, &n) && kmy_utf8_valid(text, len))
        CHECK(n == len && memcmp(back, text, len) == 0);
    free(mem);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    bool valid = walk(text, size);
    CHECK(kmy_json_valid(text, size) == valid);
    check_ways_agree(text, size, valid);
    check_writer(text, size);
    return 0;
}
