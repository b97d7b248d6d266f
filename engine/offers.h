/* dollar 1/7   in: configuration, the public door's address   out: pay/challenge, by engine/demand */
/* offers: what is the same in every 402: where we are, on which networks we are paid, and whether at all.  Made once at start, read by every thread.

   The address comes from public.url, or is the bound one: never from a request. */
#ifndef KMY_ENGINE_OFFERS_H
#define KMY_ENGINE_OFFERS_H

#include "engine/config.h"
#include "pay/challenge.h"

enum {
    KMY_PUBLIC_URL_BYTES_MAX =
        201, /* three v1 entries each name it; the key's row allows as much */
    KMY_OFFERS_MEMBERS_BYTES_MAX =
        16384, /* all entries of 8 networks; a client's queue of own frames has 64 KiB */
    KMY_RESOURCE_URL_BYTES_MAX = KMY_PUBLIC_URL_BYTES_MAX + 64, /* with a path of ours */
};

typedef struct kmy_offers {
    char url[KMY_PUBLIC_URL_BYTES_MAX]; /* of the public door, without a slash at its end */
    char origin
        [KMY_PUBLIC_URL_BYTES_MAX]; /* its scheme and domain, as browsers write an origin: lower case, no usual port */
    char domain[KMY_PUBLIC_URL_BYTES_MAX]; /* of it */
    kmy_pay_way_t ways
        [KMY_CHALLENGE_WAYS_MAX]; /* in the order of the configuration; Solana only with a fee payer */
    size_t ways_count;
    char members
        [KMY_OFFERS_MEMBERS_BYTES_MAX]; /* what a payment_required frame says of deposits: kmy_demand_members */
    size_t members_bytes;
    bool
        open; /* there are ways, and a facilitator or our own key settles payments: else no offers are made */
    const kmy_config_t *config;
} kmy_offers_t;

/* bound: the public door's address and port, as text.  KMY_CONFIG: a network that makes no entry (configuration has checked them), or a public.url that
   no resource can be made of.  config is borrowed for as long as *out is used.  Start-up: may allocate inside OpenSSL. */
kmy_err_t kmy_offers_init(kmy_offers_t *out, const kmy_config_t *config, const char *bound,
                          kmy_errctx_t *ctx);

/* Says in the log what is configured and yet not offered, and why.  Once at start. */
void kmy_offers_tell(const kmy_offers_t *o);

/* The whole address of one of our paths ("/v1/deposit"). */
void kmy_offers_url(const kmy_offers_t *o, const char *path, char out[KMY_RESOURCE_URL_BYTES_MAX]);
/* The v1 name of a chain that we are paid on; the CAIP-2 id itself if there is none. */
const char *kmy_offers_name(const kmy_offers_t *o, const char *chain);

#endif
