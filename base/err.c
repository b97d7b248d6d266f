#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *code;
    const char *text;
    int http;
    int ws;
} rows[KMY_ERR_COUNT] = {
#define KMY_ERR_ROW(name, code, text, http, ws) [KMY_##name] = { code, text, http, ws },
    KMY_ERR_TABLE(KMY_ERR_ROW)
#undef KMY_ERR_ROW
};

const char *kmy_err_code(kmy_err_t err)
{
    return rows[err].code;
}
const char *kmy_err_text(kmy_err_t err)
{
    return rows[err].text;
}
int kmy_err_http(kmy_err_t err)
{
    return rows[err].http;
}
int kmy_err_ws(kmy_err_t err)
{
    return rows[err].ws;
}

kmy_err_t kmy_fail(kmy_errctx_t *ctx, kmy_err_t err, const char *where, int sys_errno,
                   const char *fmt, ...)
{
    if (ctx) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(ctx->detail, sizeof ctx->detail, fmt, ap);
        va_end(ap);
        ctx->where = where;
        ctx->sys_errno = sys_errno;
    }
    return err;
}

_Noreturn void kmy_assert_failed(const char *cond, const char *file, int line, const char *func)
{
    fprintf(stderr, "kamiyo: invariant broken: %s (%s:%d, %s); this is a bug, please report it\n",
            cond, file, line, func);
    abort();
}
