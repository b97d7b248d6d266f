/* dollar 7/7   in: engine/cashier   out: engine/cashier */
#include "engine/calls.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ANSWER_START = 4096,
    PER_HOST_MAX = 16, /* connections: what a facilitator or node of good manners grants anybody */
    TEXT_BYTES = 1100, /* an authorization: "Authorization: Bearer " and a token */
};

typedef struct under_way {
    CURL *easy; /* kept for the next use of the place; NULL: never used */
    struct curl_slist *headers;
    kmy_calls_answered_t *answered;
    void *arg;
    uint64_t word;
    char *request; /* owned */
    size_t request_bytes;
    char *answer; /* owned; kept */
    size_t answer_bytes, answer_cap;
    bool too_big;
    bool busy;
} under_way_t;

struct kmy_calls {
    CURLM *multi;
    const char *ca_file;
    uint32_t count;
    under_way_t call[KMY_CALLS_MAX];
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static void init_global(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

kmy_err_t kmy_calls_new(kmy_calls_t **out, const char *ca_file, kmy_errctx_t *ctx)
{
    if (ca_file && ca_file[0] && access(ca_file, R_OK) != 0)
        return KMY_FAIL_SYS(ctx, KMY_CONFIG, "cannot read the CA certificates %.120s", ca_file);
    pthread_once(&global_once, init_global);
    kmy_calls_t *c = calloc(1, sizeof *c);
    CURLM *multi = c ? curl_multi_init() : NULL;
    if (!multi) {
        free(c);
        return KMY_FAIL(ctx, KMY_IO, "no memory for HTTP calls");
    }
    curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)PER_HOST_MAX);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)KMY_CALLS_MAX);
    c->multi = multi;
    c->ca_file = ca_file && ca_file[0] ? ca_file : NULL;
    *out = c;
    return KMY_OK;
}

/* The place may be used again. */
static void let_go(kmy_calls_t *c, under_way_t *u)
{
    curl_multi_remove_handle(c->multi, u->easy);
    curl_easy_reset(u->easy);
    for (struct curl_slist *h = u->headers; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data)); /* one of them may be the bearer */
    curl_slist_free_all(u->headers);
    free(u->request);
    u->headers = NULL;
    u->request = NULL;
    u->busy = false;
    c->count--;
}

void kmy_calls_free(kmy_calls_t *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < KMY_CALLS_MAX; i++) {
        under_way_t *u = &c->call[i];
        if (u->busy)
            let_go(c, u);
        if (u->easy)
            curl_easy_cleanup(u->easy);
        free(u->answer);
    }
    curl_multi_cleanup(c->multi);
    free(c);
}

/* --- one call --------------------------------------------------------------------------------- */

static size_t keep(char *data, size_t size, size_t n, void *arg)
{
    under_way_t *u = arg;
    size_t bytes = size * n;
    if (u->answer_bytes + bytes > KMY_CALLS_ANSWER_BYTES_MAX) {
        u->too_big = true;
        return 0; /* ends the call */
    }
    size_t cap = u->answer_cap ? u->answer_cap : ANSWER_START;
    while (cap < u->answer_bytes + bytes)
        cap *= 2;
    if (cap > u->answer_cap) {
        char *grown = realloc(u->answer, cap);
        if (!grown)
            return 0;
        u->answer = grown;
        u->answer_cap = cap;
    }
    memcpy(u->answer + u->answer_bytes, data, bytes);
    u->answer_bytes += bytes;
    return bytes;
}

static bool add_header(under_way_t *u, const char *line)
{
    struct curl_slist *longer = curl_slist_append(u->headers, line);
    if (longer)
        u->headers = longer;
    return longer != NULL;
}

static bool set_headers(under_way_t *u, const kmy_call_t *call)
{
    char text[TEXT_BYTES];
    bool ok = add_header(u, "Accept: application/json") && add_header(u, "Expect:");
    if (ok && call->body)
        ok = add_header(u, "Content-Type: application/json");
    if (!ok || !call->bearer || !call->bearer[0])
        return ok;
    int n = snprintf(text, sizeof text, "Authorization: Bearer %s", call->bearer);
    ok = n > 0 && (size_t)n < sizeof text && add_header(u, text);
    explicit_bzero(text, sizeof text);
    return ok;
}

static void set_manners(const kmy_calls_t *c, CURL *easy, const kmy_call_t *call)
{
    curl_easy_setopt(easy, CURLOPT_URL, call->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* not even the environment's */
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)KMY_CALLS_CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)call->once);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "kamiyod/" KMY_VERSION);
    if (c->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, c->ca_file);
}

static under_way_t *take_place(kmy_calls_t *c)
{
    for (uint32_t i = 0; i < KMY_CALLS_MAX; i++) {
        under_way_t *u = &c->call[i];
        if (u->busy)
            continue;
        if (!u->easy)
            u->easy = curl_easy_init();
        return u->easy ? u : NULL;
    }
    return NULL;
}

static bool fill(const kmy_calls_t *c, under_way_t *u, const kmy_call_t *call)
{
    u->answer_bytes = 0;
    u->too_big = false;
    u->answered = call->answered;
    u->arg = call->arg;
    u->word = call->word;
    set_manners(c, u->easy, call);
    curl_easy_setopt(u->easy, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(u->easy, CURLOPT_WRITEDATA, u);
    curl_easy_setopt(u->easy, CURLOPT_PRIVATE, u);
    if (call->body) {
        u->request = malloc(call->body_bytes + 1);
        if (!u->request)
            return false;
        memcpy(u->request, call->body, call->body_bytes);
        curl_easy_setopt(u->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(u->easy, CURLOPT_POSTFIELDS, u->request);
        curl_easy_setopt(u->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_bytes);
    }
    bool ok = set_headers(u, call);
    curl_easy_setopt(u->easy, CURLOPT_HTTPHEADER, u->headers);
    return ok;
}

bool kmy_calls_begin(kmy_calls_t *c, const kmy_call_t *call)
{
    under_way_t *u = take_place(c);
    if (!u)
        return false;
    u->busy = true;
    c->count++;
    if (fill(c, u, call) && curl_multi_add_handle(c->multi, u->easy) == CURLM_OK)
        return true;
    let_go(c, u);
    return false;
}

uint32_t kmy_calls_count(const kmy_calls_t *c)
{
    return c->count;
}

/* --- what comes of it --------------------------------------------------------------------------- */

static const char *fault_of(const under_way_t *u, CURLcode code)
{
    if (u->too_big)
        return "its answer is larger than 1 MiB";
    return curl_easy_strerror(code); /* static; names neither host nor address */
}

static void ended(kmy_calls_t *c, under_way_t *u, CURLcode code)
{
    long status = 0, sent = 0;
    kmy_call_answer_t a = { 0 };
    curl_easy_getinfo(u->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(u->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (code == CURLE_OK && status > 0) {
        a.status = (int)status;
        a.body = u->answer;
        a.body_bytes = u->answer_bytes;
    } else {
        a.fault = code == CURLE_OK ? "it is no HTTP answer" : fault_of(u, code);
    }
    a.sent = sent > 0;
    kmy_calls_answered_t *answered = u->answered;
    void *arg = u->arg;
    uint64_t word = u->word;
    /* The place is let go first, so that the call-back finds one for what comes next; its bytes are borrowed, so another has not begun there
       before it returns. */
    char *kept = u->answer;
    u->answer = NULL;
    size_t cap = u->answer_cap;
    u->answer_cap = 0;
    let_go(c, u);
    answered(arg, word, &a);
    if (!u->answer) {
        u->answer = kept;
        u->answer_cap = cap;
    } else {
        free(kept);
    }
}

uint32_t kmy_calls_turn(kmy_calls_t *c)
{
    int running, left;
    uint32_t n = 0;
    curl_multi_perform(c->multi, &running);
    for (CURLMsg *m = curl_multi_info_read(c->multi, &left); m;
         m = curl_multi_info_read(c->multi, &left)) {
        if (m->msg != CURLMSG_DONE)
            continue;
        under_way_t *u;
        CURLcode code = m->data.result; /* m dies with the handle's removal */
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&u);
        ended(c, u, code);
        n++;
    }
    return n;
}

void kmy_calls_wait(kmy_calls_t *c, int fd, int timeout_ms)
{
    struct curl_waitfd extra = { .fd = fd, .events = CURL_WAIT_POLLIN };
    curl_multi_poll(c->multi, fd >= 0 ? &extra : NULL, fd >= 0, timeout_ms, NULL);
}
