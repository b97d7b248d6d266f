/* One enum for every way to fail; its text, HTTP status and WebSocket close code stand in the same
   row.

   A function that can fail returns kmy_err_t (or bool when there is one way only) and describes the
   fault in a kmy_errctx_t, which is read once, at the edge.  Thread: any.  Nothing here allocates.
 */
#ifndef KMY_BASE_ERR_H
#define KMY_BASE_ERR_H

#include <stdint.h>

#define KMY_ERR_TABLE(X)                                                                           \
    /* name             stable code (JSON "code")   what the caller sees          http   ws */     \
    X(OK, "ok", "ok", 200, 1000)                                                                   \
    X(AGAIN, "again", "nothing yet", 503, 0)                                                       \
    X(OVERRUN, "overrun", "reader was lapped", 503, 4413)                                          \
    X(BAD_INPUT, "bad_request", "malformed input", 400, 4400)                                      \
    X(BAD_UTF8, "bad_utf8", "text is not UTF-8", 400, 1007)                                        \
    X(BAD_DEFLATE, "bad_deflate", "compressed message is damaged", 400, 1007)                      \
    X(PROTOCOL, "protocol_error", "protocol violated", 400, 1002)                                  \
    X(TOO_BIG, "too_big", "larger than the limit", 413, 1009)                                      \
    X(UNSUPPORTED, "unsupported", "not supported", 415, 1003)                                      \
    X(NOT_FOUND, "not_found", "no such thing", 404, 4400)                                          \
    X(UNKNOWN_FEED, "unknown_feed", "no such feed", 404, 4400)                                     \
    X(METHOD, "method_not_allowed", "method not allowed here", 405, 4400)                          \
    X(HEAD_TOO_BIG, "head_too_big", "request head too large", 431, 4400)                           \
    X(TARGET_TOO_LONG, "target_too_long", "request target too long", 414, 4400)                    \
    X(EXPECTATION, "expectation_failed", "this Expect is not supported", 417, 4400)                \
    X(CODING, "coding_unsupported", "transfer coding not supported", 501, 4400)                    \
    X(HTTP_VERSION, "http_version", "HTTP version not supported", 505, 4400)                       \
    X(UPGRADE_REQUIRED, "upgrade_required", "this resource speaks WebSocket", 426, 4400)           \
    X(UNAUTHENTICATED, "unauthenticated", "token missing or invalid", 401, 4401)                   \
    X(TOKEN_EXPIRED, "token_expired", "token has expired", 401, 4401)                              \
    X(TOKEN_REVOKED, "token_revoked", "token was revoked", 401, 4401)                              \
    X(FORBIDDEN, "forbidden", "not allowed", 403, 4401)                                            \
    X(UNPAID, "payment_required", "payment required", 402, 4402)                                   \
    X(NO_PASS, "no_pass", "no pass for this feed", 403, 4400)                                      \
    X(NO_BALANCE, "insufficient_balance", "balance is used up", 402, 4402)                         \
    X(DUPLICATE, "duplicate", "already applied", 200, 0)                                           \
    X(CONFLICT, "conflict", "same id, other content", 409, 4400)                                   \
    X(FULL, "limit_reached", "limit reached", 429, 4429)                                           \
    X(TIMEOUT, "timeout", "took too long", 408, 4408)                                              \
    X(STALE, "stale", "no fresh value", 503, 4400)                                                 \
    X(UNAVAILABLE, "unavailable", "not available now", 503, 1013)                                  \
    X(IO, "io_error", "input/output failed", 500, 1011)                                            \
    X(CORRUPT, "corrupt", "stored data is damaged", 500, 1011)                                     \
    X(CONFIG, "bad_config", "configuration is wrong", 500, 1011)                                   \
    X(OVERFLOW, "overflow", "number out of range", 400, 4400)                                      \
    X(INTERNAL, "internal", "fault on our side", 500, 1011)

typedef enum {
#define KMY_ERR_ENUM(name, code, text, http, ws) KMY_##name,
    KMY_ERR_TABLE(KMY_ERR_ENUM)
#undef KMY_ERR_ENUM
        KMY_ERR_COUNT
} kmy_err_t;

/* Filled by the function that found the fault, read once, at the edge. */
typedef struct kmy_errctx {
    const char *where; /* function that failed, static storage; NULL: nothing failed yet */
    int sys_errno;     /* 0, or errno as it was at the fault */
    char detail[192];  /* for people and logs, never parsed; always terminated */
} kmy_errctx_t;

const char *kmy_err_code(kmy_err_t err); /* stable word, "unauthenticated" */
const char *kmy_err_text(kmy_err_t err); /* for people */
int kmy_err_http(kmy_err_t err);         /* HTTP status */
int kmy_err_ws(kmy_err_t err);           /* WebSocket close code; 0: not one that closes */

/* kmy_fail fills *ctx (NULL is allowed) and returns err, so that `return KMY_FAIL(ctx, KMY_TOO_BIG,
   "...", ...)` reads as one thought.  KMY_FAIL_SYS also keeps errno. */
__attribute__((format(printf, 5, 6))) kmy_err_t
kmy_fail(kmy_errctx_t *ctx, kmy_err_t err, const char *where, int sys_errno, const char *fmt, ...);
#define KMY_FAIL(ctx, err, ...)     kmy_fail((ctx), (err), __func__, 0, __VA_ARGS__)
#define KMY_FAIL_SYS(ctx, err, ...) kmy_fail((ctx), (err), __func__, errno, __VA_ARGS__)

/* A broken invariant of ours: says what and where on stderr, then aborts.  Stays on in production.
 */
#define KMY_ASSERT(cond) ((cond) ? (void)0 : kmy_assert_failed(#cond, __FILE__, __LINE__, __func__))
_Noreturn void kmy_assert_failed(const char *cond, const char *file, int line, const char *func);

#endif
