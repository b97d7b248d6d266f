/* engine/calls: whatever the other end does, a call ends once, in its time, with an answer or with what was wrong; and what must not be sent twice is not. */
#include "engine/calls.h"

#include "base/clock.h"
#include "tests/http_stand.h"

#include <fcntl.h>

static struct {
    stand_t stand;
    kmy_calls_t *calls;
    stand_reply_t reply;
    stand_request_t seen;
    unsigned requests;
    /* what came of the last call */
    unsigned ended;
    kmy_call_answer_t answer;
    char body[256];
    uint64_t word;
} x;

static void answer(void *arg, const stand_request_t *q, stand_reply_t *a)
{
    (void)arg;
    x.requests++;
    x.seen = *q;
    *a = x.reply;
}

static void ended(void *arg, uint64_t word, const kmy_call_answer_t *a)
{
    assert_ptr_equal(arg, &x);
    x.ended++;
    x.word = word;
    x.answer = *a;
    snprintf(x.body, sizeof x.body, "%.*s",
             (int)(a->body_bytes < sizeof x.body ? a->body_bytes : sizeof x.body - 1),
             a->body ? a->body : "");
}

static kmy_call_t call_of(const char *url, const char *body)
{
    return (kmy_call_t){ .url = url,
                         .body = body,
                         .body_bytes = body ? strlen(body) : 0,
                         .timeout_ms = 20000,
                         .word = 7,
                         .answered = ended,
                         .arg = &x };
}

static void until_ended(unsigned n)
{
    int64_t late = kmy_mono_ns() + INT64_C(60000000000);
    while (x.ended < n && kmy_mono_ns() < late) {
        kmy_calls_turn(x.calls);
        if (x.ended < n)
            kmy_calls_wait(x.calls, -1, 1000);
    }
    assert_int_equal(x.ended, n);
    assert_int_equal(kmy_calls_count(x.calls), 0);
}

static void make(const kmy_call_t *call)
{
    unsigned before = x.ended;
    assert_true(kmy_calls_begin(x.calls, call));
    assert_int_equal(x.ended, before); /* never before it returns */
    until_ended(before + 1);
}

static int begin(void **state)
{
    (void)state;
    kmy_errctx_t ctx;
    memset(&x, 0, sizeof x);
    x.reply.status = 200;
    stand_open(&x.stand, answer, &x);
    return kmy_calls_new(&x.calls, NULL, &ctx) == KMY_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    kmy_calls_free(x.calls);
    stand_close(&x.stand);
    return 0;
}

static void what_is_asked_arrives_and_what_is_answered_comes_back(void **state)
{
    (void)state;
    kmy_call_t c = call_of(x.stand.url, "{\"a\":1}");
    c.bearer = "s3cret";
    snprintf(x.reply.body, sizeof x.reply.body, "{\"b\":2}");
    make(&c);
    assert_int_equal(x.answer.status, 200);
    assert_string_equal(x.body, "{\"b\":2}");
    assert_int_equal(x.word, 7);
    assert_true(x.answer.sent);
    assert_null(x.answer.fault);
    assert_string_equal(x.seen.body, "{\"a\":1}");
    assert_non_null(strstr(x.seen.head, "\r\nAuthorization: Bearer s3cret"));
    assert_non_null(strstr(x.seen.head, "\r\nContent-Type: application/json"));
    assert_null(strcasestr(x.seen.head, "\r\nExpect:"));
    assert_ptr_equal(strstr(x.seen.head, "POST / HTTP/1.1\r\n"), x.seen.head);
    c = call_of(x.stand.url, NULL);
    make(&c);
    assert_ptr_equal(strstr(x.seen.head, "GET / HTTP/1.1\r\n"), x.seen.head);
    assert_null(
        strstr(x.seen.head, "Authorization")); /* the bearer of an earlier use of the place */
}

static void a_refusal_is_an_answer_with_its_body(void **state)
{
    (void)state;
    static const int status[] = { 400, 402, 404, 500, 503 };
    for (size_t i = 0; i < sizeof status / sizeof status[0]; i++) {
        kmy_call_t c = call_of(x.stand.url, "{}");
        x.reply.status = status[i];
        snprintf(x.reply.body, sizeof x.reply.body, "no");
        make(&c);
        assert_int_equal(x.answer.status, status[i]);
        assert_string_equal(x.body, "no");
    }
}

static void a_redirect_is_not_followed(void **state)
{
    (void)state;
    kmy_call_t c = call_of(x.stand.url, "{}");
    x.reply.status = 307;
    snprintf(x.reply.headers, sizeof x.reply.headers, "Location: %s/elsewhere\r\n", x.stand.url);
    make(&c);
    assert_int_equal(x.answer.status, 307);
    assert_int_equal(x.requests, 1);
}

static void no_answer_is_told_from_nothing_sent(void **state)
{
    (void)state;
    static char nobody[64];
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound and not listening: refuses everybody */
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(nobody, sizeof nobody, "http://127.0.0.1:%u", ntohs(at.sin_port));
    static const struct {
        const char *url; /* NULL: the stand */
        const char *raw;
        int status;
        bool silence, sent;
    } row[] = {
        { nobody, NULL, 200, false, false },
        { NULL, NULL, 0, false, true },  /* cut */
        { NULL, NULL, 200, true, true }, /* never answers */
        { NULL, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", 200, false, true },
        { NULL, "220 mail.example ESMTP\r\n", 200, false, true },
        { "ftp://127.0.0.1/x", NULL, 200, false, false },
        { "file:///etc/passwd", NULL, 200, false, false },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        kmy_call_t c = call_of(row[i].url ? row[i].url : x.stand.url, "{}");
        c.timeout_ms = row[i].silence ? 100 : 20000;
        memset(&x.reply, 0, sizeof x.reply);
        x.reply.status = row[i].status;
        x.reply.raw = row[i].raw;
        x.reply.silence = row[i].silence;
        make(&c);
        assert_int_equal(x.answer.status, 0);
        assert_non_null(x.answer.fault);
        assert_null(strstr(x.answer.fault, "127.0.0.1"));
        if (x.answer.sent != row[i].sent)
            fail_msg("row %zu: sent is %d: %s", i, x.answer.sent, x.answer.fault);
    }
    close(fd);
}

static void an_answer_of_more_than_a_mebibyte_is_none(void **state)
{
    (void)state;
    kmy_call_t c = call_of(x.stand.url, "{}");
    x.reply.pad_bytes = KMY_CALLS_ANSWER_BYTES_MAX;
    make(&c);
    assert_int_equal(x.answer.status, 200);
    assert_int_equal(x.answer.body_bytes, KMY_CALLS_ANSWER_BYTES_MAX);
    x.reply.pad_bytes++;
    make(&c);
    assert_int_equal(x.answer.status, 0);
    assert_non_null(strstr(x.answer.fault, "1 MiB"));
}

static void the_environments_proxy_is_nobody_of_ours(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    kmy_call_t c = call_of(x.stand.url, "{}");
    make(&c);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    assert_int_equal(x.answer.status, 200);
}

/* The stand answers the first request and swallows the second: libcurl would send that again, for it thinks the kept connection was stale. */
static unsigned swallowed;
static void swallow(void *arg, const stand_request_t *q, stand_reply_t *a)
{
    (void)arg;
    (void)q;
    x.requests++;
    a->status = swallowed++ ? 0 : 200;
}

static void what_must_be_sent_once_is_sent_once(void **state)
{
    (void)state;
    for (int once = 0; once < 2; once++) {
        swallowed = 0;
        x.requests = 0;
        x.stand.answer = swallow;
        kmy_call_t c = call_of(x.stand.url, "{}");
        make(&c);
        assert_int_equal(x.answer.status, 200);
        c.once = once;
        make(&c);
        assert_int_equal(x.answer.status, 0);
        assert_true(x.answer.sent);
        assert_int_equal(x.requests, once ? 2 : 3); /* the repetition is what `once` is for */
    }
}

static void there_are_so_many_at_once_and_their_places_come_back(void **state)
{
    (void)state;
    kmy_call_t c = call_of(x.stand.url, "{}");
    for (int round = 0; round < 2; round++) {
        unsigned before = x.ended;
        for (uint32_t i = 0; i < KMY_CALLS_MAX; i++)
            assert_true(kmy_calls_begin(x.calls, &c));
        assert_false(kmy_calls_begin(x.calls, &c));
        until_ended(before + KMY_CALLS_MAX);
    }
}

static unsigned chained;
static void again(void *arg, uint64_t word, const kmy_call_answer_t *a)
{
    static const char mark[] = "mark";
    assert_int_equal(a->body_bytes, 4);
    if (chained < 100) {
        kmy_call_t c = call_of(x.stand.url, "{}");
        c.answered = again;
        c.word = word + 1;
        for (uint32_t i = kmy_calls_count(x.calls); i < KMY_CALLS_MAX / 2; i++) {
            chained++;
            assert_true(kmy_calls_begin(x.calls, &c));
        }
    }
    assert_memory_equal(a->body, mark, 4); /* still ours, whatever was begun */
    ended(arg, word, a);
}

static void a_call_may_begin_others_when_it_ends(void **state)
{
    (void)state;
    kmy_call_t c = call_of(x.stand.url, "{}");
    snprintf(x.reply.body, sizeof x.reply.body, "mark");
    c.answered = again;
    chained = 0;
    assert_true(kmy_calls_begin(x.calls, &c));
    int64_t late = kmy_mono_ns() + INT64_C(60000000000);
    while (kmy_calls_count(x.calls) > 0 && kmy_mono_ns() < late) {
        kmy_calls_turn(x.calls);
        kmy_calls_wait(x.calls, -1, 100);
    }
    assert_int_equal(kmy_calls_count(x.calls), 0);
    assert_true(chained >= 100);
    assert_int_equal(x.ended, 1 + chained);
}

static void freed_in_the_middle_nobody_is_called_back(void **state)
{
    (void)state;
    kmy_errctx_t ctx;
    kmy_call_t c = call_of(x.stand.url, "{}");
    x.reply.silence = true;
    assert_true(kmy_calls_begin(x.calls, &c));
    kmy_calls_turn(x.calls);
    kmy_calls_free(x.calls);
    assert_int_equal(x.ended, 0);
    assert_int_equal(kmy_calls_new(&x.calls, NULL, &ctx), KMY_OK);
}

static void ca_certificates_that_cannot_be_read_are_said(void **state)
{
    (void)state;
    kmy_calls_t *none;
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(kmy_calls_new(&none, "/nowhere/ca.pem", &ctx), KMY_CONFIG);
    assert_non_null(strstr(ctx.detail, "/nowhere/ca.pem"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(what_is_asked_arrives_and_what_is_answered_comes_back),
        TEST(a_refusal_is_an_answer_with_its_body),
        TEST(a_redirect_is_not_followed),
        TEST(no_answer_is_told_from_nothing_sent),
        TEST(an_answer_of_more_than_a_mebibyte_is_none),
        TEST(the_environments_proxy_is_nobody_of_ours),
        TEST(what_must_be_sent_once_is_sent_once),
        TEST(there_are_so_many_at_once_and_their_places_come_back),
        TEST(a_call_may_begin_others_when_it_ends),
        TEST(freed_in_the_middle_nobody_is_called_back),
        TEST(ca_certificates_that_cannot_be_read_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
