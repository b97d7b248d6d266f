/* What the token tests share: a signer that signs anything, made from OpenSSL's HMAC() and nothing of ours but base64. */
#ifndef KMY_TESTS_TOKEN_RIG_H
#define KMY_TESTS_TOKEN_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "pay/token.h"
#include "pay/token_jws.h"
#include "wire/base64.h"

#define SECRET "0123456789abcdef0123456789abcdef"

static inline size_t rig_b64(const void *bytes, size_t len, char *out)
{
    return kmy_base64_encode(KMY_BASE64_URL, bytes, len, out);
}

/* header and payload as JSON (or anything), signed with SECRET; out holds 4096. */
static inline size_t rig_sign(const char *header, const char *payload, const EVP_MD *md, char *out)
{
    uint8_t tag[EVP_MAX_MD_SIZE];
    unsigned tag_len;
    size_t at = rig_b64(header, strlen(header), out);
    out[at++] = '.';
    at += rig_b64(payload, strlen(payload), out + at);
    assert_non_null(HMAC(md, SECRET, sizeof SECRET - 1, (uint8_t *)out, at, tag, &tag_len));
    out[at++] = '.';
    at += rig_b64(tag, tag_len, out + at);
    out[at] = '\0';
    return at;
}

#endif
