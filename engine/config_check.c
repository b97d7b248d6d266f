#include "engine/config_check.h"

#include "base/log.h"
#include "engine/catalog.h"
#include "engine/doors.h"
#include "engine/offers.h"
#include "engine/settler_key.h"
#include "engine/tls.h"

#include <stdlib.h>
#include <string.h>

static kmy_err_t check_feeds(const kmy_config_t *cfg, kmy_errctx_t *ctx)
{
    kmy_catalog_t cat = { 0 };
    kmy_err_t err = kmy_catalog_build(&cat, cfg, ctx);
    kmy_catalog_free(&cat);
    return err;
}

static kmy_err_t check_tls(const kmy_config_t *cfg, kmy_errctx_t *ctx)
{
    kmy_tls_t *tls = NULL;
    if (!cfg->public_door.tls_cert[0])
        return KMY_OK;
    kmy_err_t err = kmy_tls_new(&tls, cfg->public_door.tls_cert, cfg->public_door.tls_key, ctx);
    if (err == KMY_OK)
        kmy_tls_free(tls);
    return err;
}

static kmy_err_t check_offers(const kmy_config_t *cfg, kmy_errctx_t *ctx)
{
    kmy_offers_t *offers = malloc(sizeof *offers);
    if (!offers)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    kmy_err_t err = kmy_offers_init(offers, cfg, cfg->public_door.listen, ctx);
    if (err == KMY_OK)
        kmy_offers_tell(offers);
    free(offers);
    return err;
}

static kmy_err_t check_settler(const kmy_config_t *cfg, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_SECP_KEY_BYTES], address[KMY_EVM_ADDRESS_BYTES];
    char text[KMY_EVM_ADDRESS_TEXT_BYTES];
    if (!kmy_settler_key_given(cfg))
        return KMY_OK;
    kmy_err_t err = kmy_settler_key_load(cfg, key, address, ctx);
    explicit_bzero(key, sizeof key);
    if (err != KMY_OK)
        return err;
    kmy_evm_address_text(address, text);
    kmy_log(KMY_LOG_INFO, "kamiyod", "payments.settler_key is that of %s", text);
    return KMY_OK;
}

kmy_err_t kmy_config_check(const kmy_config_t *cfg, kmy_errctx_t *ctx)
{
    kmy_door_t door;
    kmy_err_t err = kmy_door_parse(cfg->public_door.listen, &door, ctx);
    if (err == KMY_OK)
        err = kmy_door_parse(cfg->admin.listen, &door, ctx);
    if (err == KMY_OK)
        err = check_feeds(cfg, ctx);
    if (err == KMY_OK)
        err = check_tls(cfg, ctx);
    if (err == KMY_OK)
        err = check_settler(cfg, ctx);
    if (err == KMY_OK)
        err = check_offers(cfg, ctx);
    return err;
}
