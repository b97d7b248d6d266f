/* peer: who is on the other side: addresses, networks, and what a trusted proxy says of its client.  Pure functions, any thread; nothing blocks;
   only kmy_networks_read allocates. */
#ifndef KMY_ENGINE_PEER_H
#define KMY_ENGINE_PEER_H

#include "base/err.h"
#include "engine/config.h"
#include "wire/http1.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* Addresses are kept as IPv6 ones; IPv4 as ::ffff:a.b.c.d. */
void kmy_peer_of(const struct sockaddr_storage *ss, struct in6_addr *addr, uint16_t *port);
/* "192.0.2.1", "2001:db8::1", also with a port ("192.0.2.1:80", "[2001:db8::1]:80"), as Forwarded (RFC 7239 section 6) and proxies write them. */
bool kmy_peer_parse(const char *text, size_t len, struct in6_addr *addr);
/* Whom a limit by address means: an IPv4 address, or the /64 of an IPv6 one, which is what one customer is given; as a keyed hash. */
uint64_t kmy_peer_name(const struct in6_addr *addr);

typedef struct kmy_network {
    struct in6_addr addr;
    uint8_t bits; /* of the prefix, 0 to 128; an IPv4 one has 96 more */
} kmy_network_t;
typedef struct kmy_networks {
    kmy_network_t *items; /* owned */
    size_t count;
} kmy_networks_t;
/* "10.0.0.0/8", "2001:db8::/32", or one address.  false: no network, or bits set behind the prefix. */
bool kmy_network_parse(const char *text, kmy_network_t *n);
/* KMY_CONFIG: an item is no network; KMY_IO: no memory.  *out then needs no release. */
kmy_err_t kmy_networks_read(kmy_networks_t *out, const kmy_config_list_t *list, kmy_errctx_t *ctx);
bool kmy_networks_have(const kmy_networks_t *n, const struct in6_addr *addr);

/* The client of a request that came from `peer`.  Unless peer is trusted, itself.  Else the last address of X-Forwarded-For, or of the for=
   members of Forwarded, that is not trusted: what stands before it anybody may have written.  Where both headers are there and disagree, where
   something is no address, or where all are trusted: the last hop that is sure. */
struct in6_addr kmy_peer_client(const kmy_http_request_t *req, const struct in6_addr *peer,
                                const kmy_networks_t *trusted);

#endif
