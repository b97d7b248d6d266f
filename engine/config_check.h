/* config_check: what `kamiyod run` would refuse of a configuration that is well-formed by itself, as far as it can be known without opening, binding or
   making anything. */
#ifndef KMY_ENGINE_CONFIG_CHECK_H
#define KMY_ENGINE_CONFIG_CHECK_H

#include "base/err.h"
#include "engine/config.h"

/* The doors' addresses, the feeds, the certificate and its key (read), what is offered.  KMY_CONFIG and the reason `run` would give.  Before any thread;
   blocks on the files, keeps nothing. */
kmy_err_t kmy_config_check(const kmy_config_t *cfg, kmy_errctx_t *ctx);

#endif
