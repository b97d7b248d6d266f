/* The vectors of tests/corpus/x402 (its README says where they come from), read by jansson, so that the reader under test does not judge
   itself. */
#ifndef KMY_TESTS_X402_VECTORS_H
#define KMY_TESTS_X402_VECTORS_H

#include "wire/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static inline json_t *vectors_load(const char *file)
{
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%s/corpus/x402/%s", KMY_TESTS_DIR, file);
    json_t *root = json_load_file(path, 0, &error);
    if (!root)
        fail_msg("%s: %s", path, error.text);
    return root;
}

static inline json_t *vectors_of(json_t *root)
{
    json_t *list = json_object_get(root, "vectors");
    assert_true(json_array_size(list) > 0);
    return list;
}

static inline const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* Bytes of an "0x..." member; returns their number. */
static inline size_t bytes_of(const json_t *object, const char *key, uint8_t *out, size_t cap)
{
    const char *text = text_of(object, key);
    size_t len = strlen(text);
    assert_true(len >= 2 && len % 2 == 0 && (len - 2) / 2 <= cap);
    assert_true(kmy_hex_decode_0x(text, len, out, (len - 2) / 2));
    return (len - 2) / 2;
}

#endif
