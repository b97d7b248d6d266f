/* daemon: everything kamiyod is, started and stopped in order. */
#ifndef KMY_ENGINE_DAEMON_H
#define KMY_ENGINE_DAEMON_H

#include "base/err.h"
#include "engine/config.h"

#include <stdbool.h>

typedef struct kmy_daemon kmy_daemon_t;

typedef struct kmy_daemon_options {
    const kmy_config_t *config; /* borrowed */
    bool conformance_echo;
    bool migrate; /* a ledger of an older format becomes one of ours */
} kmy_daemon_options_t;

/* Opens the stores (recovering what an unclean stop left, and saying so), binds the doors, starts the threads.  On KMY_OK it serves. */
kmy_err_t kmy_daemon_start(kmy_daemon_t **out, const kmy_daemon_options_t *options,
                           kmy_errctx_t *ctx);
/* "127.0.0.1:8402", as bound. */
const char *kmy_daemon_public(const kmy_daemon_t *d);
const char *kmy_daemon_admin(const kmy_daemon_t *d);
/* No new sessions, and those that are there end (engine/drain.h); or as before. */
void kmy_daemon_quiet(kmy_daemon_t *d, bool quiet);
bool kmy_daemon_is_quiet(const kmy_daemon_t *d);
/* Reads the certificate and key again (new connections get them), logs what in `fresh` differs from what is in force, and takes over what can be
   (engine/config_diff.h).  `fresh` is borrowed for the call.  On failure nothing changes. */
kmy_err_t kmy_daemon_reload(kmy_daemon_t *d, const kmy_config_t *fresh, kmy_errctx_t *ctx);
/* Drains the shards, records what is in hand, marks a clean stop. */
void kmy_daemon_stop(kmy_daemon_t *d);

#endif
