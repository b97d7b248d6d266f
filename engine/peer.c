#include "engine/peer.h"

#include "base/decimal.h"
#include "base/strmap.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static void from_v4(const struct in_addr *v4, struct in6_addr *out)
{
    memset(out, 0, sizeof *out);
    out->s6_addr[10] = out->s6_addr[11] = 0xff;
    memcpy(&out->s6_addr[12], v4, 4);
}

void kmy_peer_of(const struct sockaddr_storage *ss, struct in6_addr *addr, uint16_t *port)
{
    memset(addr, 0, sizeof *addr);
    *port = 0;
    if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)(const void *)ss;
        *addr = a->sin6_addr;
        *port = ntohs(a->sin6_port);
    } else if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)(const void *)ss;
        from_v4(&a->sin_addr, addr);
        *port = ntohs(a->sin_port);
    }
}

static bool parse_plain(const char *text, size_t len, struct in6_addr *addr)
{
    char copy[INET6_ADDRSTRLEN];
    struct in_addr v4;
    if (len == 0 || len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        from_v4(&v4, addr);
        return true;
    }
    return inet_pton(AF_INET6, copy, addr) == 1;
}

/* ":80", or nothing */
static bool is_port(const char *text, size_t len)
{
    uint64_t port;
    return len == 0 || (text[0] == ':' && kmy_u64_parse(text + 1, len - 1, &port) && port <= 65535);
}

bool kmy_peer_parse(const char *text, size_t len, struct in6_addr *addr)
{
    if (len > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', len);
        if (!end)
            return false;
        size_t n = (size_t)(end - text) - 1;
        return memchr(text + 1, ':', n) && parse_plain(text + 1, n, addr) &&
               is_port(end + 1, len - n - 2);
    }
    const char *colon = memchr(text, ':', len);
    if (colon && !memchr(colon + 1, ':', len - (size_t)(colon + 1 - text))) /* one: IPv4 and port */
        return is_port(colon, len - (size_t)(colon - text)) &&
               parse_plain(text, (size_t)(colon - text), addr);
    return parse_plain(text, len, addr);
}

uint64_t kmy_peer_name(const struct in6_addr *addr)
{
    return IN6_IS_ADDR_V4MAPPED(addr) ? kmy_hash(&addr->s6_addr[12], 4)
                                      : kmy_hash(addr->s6_addr, 8);
}

/* --- networks ------------------------------------------------------------------------------ */

static bool same_bits(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned rest = bits % 8;
    if (memcmp(a->s6_addr, b->s6_addr, whole) != 0)
        return false;
    return rest == 0 || ((a->s6_addr[whole] ^ b->s6_addr[whole]) >> (8 - rest)) == 0;
}

static bool ends_with_zeros(const struct in6_addr *a, unsigned bits)
{
    for (unsigned i = bits; i < 128; i++) {
        if (a->s6_addr[i / 8] >> (7 - i % 8) & 1)
            return false;
    }
    return true;
}

bool kmy_network_parse(const char *text, kmy_network_t *n)
{
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (!parse_plain(text, len, &n->addr))
        return false;
    bool four = !memchr(text, ':', len);
    uint64_t bits = four ? 32 : 128;
    uint64_t most = bits;
    if (slash && (!kmy_u64_parse(slash + 1, strlen(slash + 1), &bits) || bits > most))
        return false;
    n->bits = (uint8_t)(bits + (four ? 96 : 0));
    return ends_with_zeros(&n->addr, n->bits);
}

kmy_err_t kmy_networks_read(kmy_networks_t *out, const kmy_config_list_t *list, kmy_errctx_t *ctx)
{
    *out = (kmy_networks_t){ .items = calloc(list->count + 1, sizeof *out->items) };
    if (!out->items)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    for (; out->count < list->count; out->count++) {
        if (kmy_network_parse(list->items[out->count], &out->items[out->count]))
            continue;
        free(out->items);
        out->items = NULL;
        return KMY_FAIL(ctx, KMY_CONFIG, "%s is no address or network", list->items[out->count]);
    }
    return KMY_OK;
}

bool kmy_networks_have(const kmy_networks_t *n, const struct in6_addr *addr)
{
    for (size_t i = 0; i < n->count; i++) {
        if (same_bits(&n->items[i].addr, addr, n->items[i].bits))
            return true;
    }
    return false;
}

/* --- what a proxy says ---------------------------------------------------------------------- */

typedef struct hop {
    struct in6_addr addr;
    bool sure; /* still walking back along trusted hops */
} hop_t;

static kmy_view_t trimmed(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (kmy_view_t){ p, (size_t)(end - p) };
}

/* The address of one list element: all of it (X-Forwarded-For), or its for= (Forwarded; "for" is case-blind, its value may be quoted). */
static bool element_address(kmy_view_t e, bool forwarded, struct in6_addr *addr)
{
    if (!forwarded)
        return kmy_peer_parse(e.ptr, e.len, addr);
    const char *end = e.ptr + e.len;
    for (const char *p = e.ptr; p < end;) {
        const char *semi = memchr(p, ';', (size_t)(end - p));
        kmy_view_t pair = trimmed(p, semi ? semi : end);
        if (pair.len > 4 && kmy_view_is_nocase((kmy_view_t){ pair.ptr, 4 }, "for=")) {
            const char *v = pair.ptr + 4;
            size_t n = pair.len - 4;
            if (n >= 2 && v[0] == '"' && v[n - 1] == '"') {
                v++;
                n -= 2;
            }
            return kmy_peer_parse(v, n, addr);
        }
        p = semi ? semi + 1 : end;
    }
    return false;
}

/* Elements from the last to the first, as long as the hop that named them is trusted. */
static void walk_back(kmy_view_t value, bool forwarded, const kmy_networks_t *trusted, hop_t *hop)
{
    const char *end = value.ptr + value.len;
    while (hop->sure && end) {
        const char *p = end;
        while (p > value.ptr && p[-1] != ',')
            p--;
        struct in6_addr addr;
        if (!element_address(trimmed(p, end), forwarded, &addr)) {
            hop->sure = false;
            return;
        }
        hop->addr = addr;
        hop->sure = kmy_networks_have(trusted, &addr);
        end = p > value.ptr ? p - 1 : NULL;
    }
}

static struct in6_addr told_by(const kmy_http_request_t *req, const char *name, bool forwarded,
                               const struct in6_addr *peer, const kmy_networks_t *trusted)
{
    hop_t hop = { *peer, true };
    for (size_t i = req->headers_count; i > 0 && hop.sure; i--) {
        if (kmy_view_is_nocase(req->headers[i - 1].name, name))
            walk_back(req->headers[i - 1].value, forwarded, trusted, &hop);
    }
    return hop.addr;
}

struct in6_addr kmy_peer_client(const kmy_http_request_t *req, const struct in6_addr *peer,
                                const kmy_networks_t *trusted)
{
    if (trusted->count == 0 || !kmy_networks_have(trusted, peer))
        return *peer;
    struct in6_addr x = told_by(req, "x-forwarded-for", false, peer, trusted);
    if (!kmy_http_header(req, "forwarded"))
        return x;
    struct in6_addr f = told_by(req, "forwarded", true, peer, trusted);
    if (!kmy_http_header(req, "x-forwarded-for") || memcmp(&x, &f, sizeof x) == 0)
        return f;
    return *peer; /* one of them went through the proxy unseen: whoever wrote it may be lying */
}
