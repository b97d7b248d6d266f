/* Any bytes as a configuration file: read or refused with a reason, and what was read prints and reads back the same. */
#include "base/log.h"
#include "engine/config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *printed(const kmy_config_t *cfg, size_t *len)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, len);
    if (!f)
        abort();
    kmy_config_print(cfg, f);
    fclose(f);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kmy_config_t a, b;
    kmy_errctx_t ctx = { 0 };
    kmy_log_set_level(KMY_LOG_ERROR);
    kmy_err_t err = kmy_config_read(&a, "fuzz", (const char *)data, size, &ctx);
    if (err != KMY_OK) {
        KMY_ASSERT(err == KMY_CONFIG);
        KMY_ASSERT(ctx.where && ctx.detail[0]);
        return 0;
    }
    size_t once_len, twice_len;
    char *once = printed(&a, &once_len);
    KMY_ASSERT(kmy_config_read(&b, "again", once, once_len, &ctx) == KMY_OK);
    char *twice = printed(&b, &twice_len);
    KMY_ASSERT(once_len == twice_len && memcmp(once, twice, once_len) == 0);
    free(once);
    free(twice);
    kmy_config_free(&a);
    kmy_config_free(&b);
    return 0;
}
