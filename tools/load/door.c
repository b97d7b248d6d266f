#include "tools/load/door.h"
#include "tools/load/tls.h"

#include "base/clock.h"
#include "base/money.h"
#include "wire/http1.h"
#include "wire/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_BYTES_MAX = 4 << 20, DOOR_S = 15, MINTS_AT_ONCE = 32 };

bool load_address_parse(const char *text, struct sockaddr_in *out)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host)
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end || port == 0 || port > 65535)
        return false;
    *out = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    return inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                     &out->sin_addr) == 1;
}

/* --- one connection ------------------------------------------------------------------------ */

typedef struct door {
    int fd;
    struct ssl_st *tls; /* the public door's, if it has it; owned */
    char *bytes;        /* ANSWER_BYTES_MAX; owned */
    size_t len;
} door_t;

static kmy_err_t door_open(door_t *d, const struct sockaddr_in *to, kmy_errctx_t *ctx)
{
    struct timeval limit = { .tv_sec = DOOR_S };
    d->len = 0;
    d->tls = NULL;
    d->bytes = malloc(ANSWER_BYTES_MAX);
    d->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(d->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(d->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (!d->bytes || d->fd < 0 || connect(d->fd, (const struct sockaddr *)to, sizeof *to) != 0)
        return KMY_FAIL_SYS(ctx, KMY_UNAVAILABLE, "cannot reach 127.0.0.1:%u: %s",
                            ntohs(to->sin_port), strerror(errno));
    return KMY_OK;
}

/* The same to the public door, through TLS if it speaks that. */
static kmy_err_t door_open_public(door_t *d, load_t *l, kmy_errctx_t *ctx)
{
    kmy_err_t err = door_open(d, &l->public_at, ctx);
    if (err != KMY_OK || !l->tls)
        return err;
    d->tls = load_tls_open(l, d->fd, NULL);
    if (!d->tls)
        return KMY_FAIL(ctx, KMY_INTERNAL, "no memory for a TLS session");
    kmy_errctx_t why = { 0 };
    if (load_tls_shake(l, d->tls, &why) == LOAD_TLS_DONE) /* the socket blocks */
        return KMY_OK;
    return KMY_FAIL(ctx, KMY_UNAVAILABLE, "%s (--ca-file FILE names whom to believe)",
                    why.detail[0] ? why.detail : "no TLS handshake in time");
}

static void door_close(door_t *d)
{
    load_tls_close(d->tls, true);
    d->tls = NULL;
    if (d->fd >= 0)
        close(d->fd);
    free(d->bytes);
}

static bool door_send(door_t *d, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n =
            d->tls ? load_tls_send(d->tls, text, len) : send(d->fd, text, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

/* One answer; its body stays valid until the next call. */
static kmy_err_t door_read(door_t *d, kmy_view_t *body, kmy_errctx_t *ctx)
{
    d->len = 0;
    for (;;) {
        char *end = memmem(d->bytes, d->len, "\r\n\r\n", 4);
        if (end) {
            *end = 0;
            const char *at = strcasestr(d->bytes, "\r\ncontent-length:");
            size_t head = (size_t)(end - d->bytes) + 4;
            size_t n = at ? strtoul(at + 17, NULL, 10) : 0;
            *end = '\r';
            if (d->len >= head + n) {
                *body = (kmy_view_t){ d->bytes + head, n };
                if (memcmp(d->bytes, "HTTP/1.1 200", 12) == 0)
                    return KMY_OK;
                return KMY_FAIL(ctx, KMY_UNAVAILABLE, "the daemon answered %.*s: %.*s", 12,
                                d->bytes, (int)(n < 120 ? n : 120), d->bytes + head);
            }
        }
        ssize_t n = 0;
        size_t room = ANSWER_BYTES_MAX - d->len;
        if (room > 0)
            n = d->tls ? load_tls_some(d->tls, d->bytes + d->len, room)
                       : recv(d->fd, d->bytes + d->len, room, 0);
        if (n <= 0)
            return KMY_FAIL(ctx, KMY_UNAVAILABLE, "no whole answer from the daemon");
        d->len += (size_t)n;
    }
}

/* --- feeds --------------------------------------------------------------------------------- */

static bool copy_text(kmy_json_token_t t, char *out, size_t cap)
{
    size_t len;
    return t.type == KMY_JSON_STRING && kmy_json_unescape(t, out, cap, &len);
}

static bool money(kmy_json_token_t t, int64_t *out)
{
    return t.type == KMY_JSON_STRING && kmy_nusd_parse(t.text, t.len, out) == KMY_OK;
}

/* One entry of the list; *ticks: it has had a tick. */
static bool read_feed(load_t *l, kmy_json_t *js, bool *ticks)
{
    kmy_json_field_t f[] = { { .key = "feed" },
                             { .key = "price_tick" },
                             { .key = "price_query" },
                             { .key = "epoch" },
                             { .key = "offset" } };
    load_feed_t *feed = &l->feeds[l->feeds_count];
    int64_t offset = 0;
    *feed = (load_feed_t){ 0 };
    if (kmy_json_object(js, f, 5, NULL) != KMY_OK ||
        !copy_text(f[0].token, feed->name, sizeof feed->name) ||
        !money(f[1].token, &feed->tick_nusd) || !money(f[2].token, &feed->query_nusd) ||
        !copy_text(f[3].token, feed->epoch, sizeof feed->epoch) ||
        !kmy_json_i64(f[4].token, &offset))
        return false;
    feed->name_len = strlen(feed->name);
    *ticks = offset > 0;
    if (!kmy_strmap_put(&l->feed_names, feed->name, feed->name_len, l->feeds_count))
        return false;
    if (strchr(feed->name, '@') && l->market_count < l->s.market_feeds)
        l->market[l->market_count++] = l->feeds_count;
    l->feeds_count++;
    return true;
}

/* The list; *all: every feed has had a tick. */
static kmy_err_t read_feeds(load_t *l, kmy_view_t body, bool *all, kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_json_field_t f[] = { { .key = "feeds" } };
    kmy_json_init(&js, body.ptr, body.len);
    kmy_err_t err = kmy_json_object(&js, f, 1, ctx);
    if (err != KMY_OK || f[0].token.type != KMY_JSON_ARRAY)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "GET /v1/feeds has no list of feeds");
    kmy_json_init(&js, f[0].token.text, f[0].token.len);
    kmy_json_next(&js);
    l->feeds_count = l->market_count = 0;
    *all = true;
    for (;;) {
        kmy_json_t probe = js;
        if (kmy_json_next(&probe).type == KMY_JSON_ARRAY_END)
            break;
        bool ticks;
        if (l->feeds_count == KMY_FEEDS_MAX || !read_feed(l, &js, &ticks))
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "GET /v1/feeds: entry %u is not understood",
                            l->feeds_count);
        *all &= ticks;
    }
    for (uint32_t i = 0; i < l->feeds_count && l->market_count < l->s.market_feeds; i++) {
        if (!strchr(l->feeds[i].name, '@'))
            l->market[l->market_count++] = i;
    }
    return l->market_count > 0 ? KMY_OK : KMY_FAIL(ctx, KMY_BAD_INPUT, "the daemon has no feeds");
}

kmy_err_t load_door_feeds(load_t *l, kmy_errctx_t *ctx)
{
    door_t d = { .fd = -1 };
    int64_t until = kmy_mono_ns() + DOOR_S * KMY_NS_PER_S;
    static const char ask[] = "GET /v1/feeds HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    kmy_view_t body;
    bool all = false;
    l->feeds = calloc(KMY_FEEDS_MAX, sizeof *l->feeds);
    kmy_err_t err =
        l->feeds ? door_open_public(&d, l, ctx) : KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    while (err == KMY_OK && !all) {
        err = door_send(&d, ask, sizeof ask - 1)
                  ? door_read(&d, &body, ctx)
                  : KMY_FAIL(ctx, KMY_UNAVAILABLE, "the daemon takes no bytes");
        if (err == KMY_OK)
            err = read_feeds(l, body, &all, ctx);
        if (err == KMY_OK && !all && kmy_mono_ns() > until)
            break; /* a feed that is down is no reason not to test the others */
        if (!all)
            poll(NULL, 0, 20);
    }
    door_close(&d);
    return err;
}

/* --- tokens -------------------------------------------------------------------------------- */

static bool mint_ask(door_t *d, const load_t *l, uint32_t account)
{
    char body[256];
    char text[1024];
    int n = snprintf(body, sizeof body, "{\"account\":\"%s%u\",\"usd\":\"%s\",\"ttl_s\":86400}",
                     l->prefix, account, l->s.balance);
    n = snprintf(text, sizeof text,
                 "POST /v1/admin/tokens HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
                 "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                 l->admin_token, n, body);
    return door_send(d, text, (size_t)n);
}

static kmy_err_t mint_read(door_t *d, load_t *l, uint32_t account, kmy_errctx_t *ctx)
{
    kmy_view_t body;
    kmy_json_t js;
    kmy_json_field_t f[] = { { .key = "token" }, { .key = "balance" } };
    load_account_t *a = &l->accounts[account];
    kmy_err_t err = door_read(d, &body, ctx);
    if (err != KMY_OK)
        return err;
    kmy_json_init(&js, body.ptr, body.len);
    a->token = malloc(LOAD_TOKEN_BYTES_MAX);
    if (!a->token || kmy_json_object(&js, f, 2, ctx) != KMY_OK ||
        !copy_text(f[0].token, a->token, LOAD_TOKEN_BYTES_MAX) ||
        !money(f[1].token, &a->credited_nusd))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "the mint's answer is not understood");
    return KMY_OK;
}

/* Several connections ask at once, so that the ledger commits them as a group. */
kmy_err_t load_door_mint(load_t *l, kmy_errctx_t *ctx)
{
    door_t doors[MINTS_AT_ONCE];
    kmy_err_t err = KMY_OK;
    uint32_t opened = 0;
    while (opened < MINTS_AT_ONCE && opened < l->accounts_count && err == KMY_OK)
        err = door_open(&doors[opened++], &l->admin_at, ctx);
    for (uint32_t i = 0; i < l->accounts_count && err == KMY_OK; i += opened) {
        uint32_t n = l->accounts_count - i < opened ? l->accounts_count - i : opened;
        for (uint32_t k = 0; k < n && err == KMY_OK; k++) {
            if (!mint_ask(&doors[k], l, i + k))
                err = KMY_FAIL(ctx, KMY_UNAVAILABLE, "the admin door takes no bytes");
        }
        for (uint32_t k = 0; k < n && err == KMY_OK; k++)
            err = mint_read(&doors[k], l, i + k, ctx);
    }
    while (opened > 0)
        door_close(&doors[--opened]);
    return err;
}

/* --- the ledger ---------------------------------------------------------------------------- */

static bool get_send(door_t *d, const load_t *l, const char *path)
{
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n", path,
                     l->admin_token);
    return door_send(d, text, (size_t)n);
}

/* -1: not to be had, and ctx says why. */
static int64_t consumed_read(door_t *d, kmy_errctx_t *ctx)
{
    kmy_view_t body;
    kmy_json_t js;
    kmy_json_field_t f[] = { { .key = "consumed" } };
    int64_t nusd;
    if (door_read(d, &body, ctx) != KMY_OK)
        return -1;
    kmy_json_init(&js, body.ptr, body.len);
    if (kmy_json_object(&js, f, 1, NULL) == KMY_OK && money(f[0].token, &nusd))
        return nusd;
    (void)KMY_FAIL(ctx, KMY_BAD_INPUT, "no \"consumed\" in its answer");
    return -1;
}

static int64_t total_consumed(const load_t *l, kmy_errctx_t *ctx)
{
    door_t d = { .fd = -1 };
    int64_t nusd = -1;
    if (door_open(&d, &l->admin_at, ctx) == KMY_OK) {
        if (get_send(&d, l, "/v1/admin/ledger"))
            nusd = consumed_read(&d, ctx);
        else
            (void)KMY_FAIL(ctx, KMY_UNAVAILABLE, "it takes no bytes");
    }
    door_close(&d);
    return nusd;
}

/* What each account consumed so far into consumed_nusd, by several connections at once; their sum, -1: not to be had. */
static int64_t accounts_consumed(load_t *l, kmy_errctx_t *ctx)
{
    door_t doors[MINTS_AT_ONCE];
    uint32_t opened = 0;
    int64_t sum = 0;
    while (opened < MINTS_AT_ONCE && opened < l->accounts_count && sum >= 0)
        sum = door_open(&doors[opened++], &l->admin_at, ctx) == KMY_OK ? 0 : -1;
    for (uint32_t i = 0; i < l->accounts_count && sum >= 0; i += opened) {
        uint32_t n = l->accounts_count - i < opened ? l->accounts_count - i : opened;
        for (uint32_t k = 0; k < n && sum >= 0; k++) {
            char path[96];
            snprintf(path, sizeof path, "/v1/admin/accounts?account=%s%u", l->prefix, i + k);
            sum = get_send(&doors[k], l, path) ? sum : -1;
        }
        for (uint32_t k = 0; k < n && sum >= 0; k++) {
            int64_t one = l->accounts[i + k].consumed_nusd = consumed_read(&doors[k], ctx);
            sum = one < 0 ? -1 : sum + one;
        }
    }
    while (opened > 0)
        door_close(&doors[--opened]);
    return sum;
}

int64_t load_door_before(load_t *l, bool whole)
{
    kmy_errctx_t ctx = { 0 };
    if (whole)
        return total_consumed(l, &ctx);
    int64_t sum = accounts_consumed(l, &ctx);
    for (uint32_t i = 0; i < l->accounts_count; i++)
        l->accounts[i].before_nusd = l->accounts[i].consumed_nusd;
    return sum;
}

/* --- the audit ----------------------------------------------------------------------------- */

static void miscount(load_t *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void miscount(load_t *l, const char *fmt, ...)
{
    va_list ap;
    if (l->miscounted++ > 0)
        return;
    va_start(ap, fmt);
    vsnprintf(l->miscount_detail, sizeof l->miscount_detail, fmt, ap);
    va_end(ap);
}

/* By our own count: what the account's agents read, and what they may have been charged beyond that. */
typedef struct counted {
    int64_t charged_nusd, slack_nusd;
    int64_t tick_nusd; /* the cheapest tick any of its agents was offered */
} counted_t;

static counted_t *count_by_account(const load_t *l)
{
    counted_t *by = calloc(l->accounts_count, sizeof *by);
    for (uint32_t i = 0; by && i < l->s.agents; i++) {
        const load_agent_t *a = &l->agents[i];
        counted_t *c = &by[a->account];
        c->charged_nusd += a->charged_nusd;
        c->slack_nusd += a->slack_nusd;
        for (uint32_t k = 0; k < a->subs_count; k++) {
            int64_t price = l->feeds[a->subs[k].feed].tick_nusd;
            c->tick_nusd = c->tick_nusd == 0 || price < c->tick_nusd ? price : c->tick_nusd;
        }
    }
    return by;
}

/* One account's books: by the ledger what we counted; never more than was paid in; where all is to be spent, all that buys a whole tick. */
static void audit_account(load_t *l, uint32_t i, const counted_t *c)
{
    const load_account_t *a = &l->accounts[i];
    int64_t got = a->consumed_nusd - a->before_nusd;
    if (got < c->charged_nusd || got > c->charged_nusd + c->slack_nusd)
        miscount(l,
                 "account %s%u: the ledger consumed %" PRId64 " nano-USD, by our count %" PRId64
                 "..%" PRId64,
                 l->prefix, i, got, c->charged_nusd, c->charged_nusd + c->slack_nusd);
    if (c->charged_nusd > a->credited_nusd)
        miscount(l, "account %s%u: paid %" PRId64 " nano-USD, was given %" PRId64 " worth",
                 l->prefix, i, a->credited_nusd, c->charged_nusd);
    int64_t left = a->credited_nusd - c->charged_nusd - c->slack_nusd;
    if (l->s.spend && c->tick_nusd > 0 && left >= c->tick_nusd) {
        l->unspent += (uint64_t)(left / c->tick_nusd);
        load_fault(l, NULL, LOAD_FAULT_UNSPENT,
                   "account %s%u: %" PRId64 " nano-USD left, a tick costs %" PRId64, l->prefix, i,
                   left, c->tick_nusd);
    }
}

void load_door_audit(load_t *l, bool whole, int64_t before_nusd)
{
    counted_t *by = count_by_account(l);
    int64_t charged = 0;
    int64_t slack = 0;
    for (uint32_t i = 0; by && i < l->accounts_count; i++) {
        charged += by[i].charged_nusd;
        slack += by[i].slack_nusd;
    }
    int64_t until = kmy_mono_ns() + 20 * KMY_NS_PER_S;
    int64_t got;
    kmy_errctx_t why = { 0 };
    bool told;
    for (
        ;
        ;) { /* leases come back as the sockets close, and a ledger that is behind says so: asked again */
        int64_t now = whole ? total_consumed(l, &why) : accounts_consumed(l, &why);
        got = now < 0 ? now : now - before_nusd;
        told = now >= 0;
        if (told && got >= charged && whole)
            told = accounts_consumed(l, &why) >= 0;
        if ((told && got >= charged) || kmy_mono_ns() > until)
            break;
        poll(NULL, 0, 50);
    }
    l->ledger_nusd = got;
    l->charged_nusd = charged;
    l->slack_nusd = slack;
    bool known = by && told;
    if (!known)
        load_fault(l, NULL, LOAD_FAULT_LEDGER, "the admin door does not tell what was consumed: %s",
                   why.detail);
    else if (got < charged || got > charged + slack)
        miscount(l, "the ledger consumed %" PRId64 " nano-USD, by our count %" PRId64 "..%" PRId64,
                 got, charged, charged + slack);
    for (uint32_t i = 0; known && i < l->accounts_count; i++)
        audit_account(l, i, &by[i]);
    free(by);
}

/* --- counters ------------------------------------------------------------------------------ */

static bool counter(kmy_view_t page, const char *name, uint64_t *out)
{
    char line[64];
    size_t n = (size_t)snprintf(line, sizeof line, "\nkamiyo_%s ", name);
    const char *at = memmem(page.ptr, page.len, line, n);
    if (!at)
        return false;
    *out = strtoull(at + n, NULL, 10); /* ends in the page: a line feed follows */
    return true;
}

void load_door_count(load_t *l, int sign)
{
    door_t d = { .fd = -1 };
    kmy_errctx_t ctx;
    kmy_view_t page;
    uint64_t sends;
    uint64_t ticks;
    if (!l->admin_token[0])
        return;
    if (door_open(&d, &l->admin_at, &ctx) == KMY_OK && get_send(&d, l, "/metrics") &&
        door_read(&d, &page, &ctx) == KMY_OK && counter(page, "send_total", &sends) &&
        counter(page, "delivered_tick_total", &ticks)) {
        l->server_sends += (uint64_t)sign * sends;
        l->server_ticks += (uint64_t)sign * ticks;
    }
    door_close(&d);
}
