/* engine/stream_pay: a `pay` becomes one slip, each slip one frame for the client, and the grace of a stream without money stands still meanwhile.

   The file under test is compiled into this one; slips, limits and the socket are played here. */
#include "engine/stream_pay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/egress.h"
#include "engine/stream_pay.c"

#define OWN "eip155:8453:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"
#define ID  "0123456789abcdef0123456789abcdef"

static struct {
    kmy_shard_t s;
    kmy_conn_t conn;
    kmy_shard_account_t account;
    kmy_offers_t offers;
    kmy_metrics_t metrics;
    kmy_slip_t slip[2];
    uint32_t taken, sent, left;
    kmy_slip_t *last; /* sent */
    bool none_left, limited;
    char said[1024]; /* the last frame */
    uint32_t frames;
} x;

static const kmy_request_id_t id3 = { "3", 1 }, id4 = { "\"four\"", 6 };

/* --- the shard's other files ------------------------------------------------------------------------ */

kmy_slip_t *kmy_slip_take(kmy_shard_t *s)
{
    (void)s;
    if (x.none_left)
        return NULL;
    kmy_slip_t *slip = &x.slip[x.taken++ % 2];
    memset(slip, 0, offsetof(kmy_slip_t, header));
    return slip;
}

uint32_t kmy_slips_left(const kmy_shard_t *s)
{
    (void)s;
    return x.left;
}

void kmy_slip_send(kmy_shard_t *s, kmy_slip_t *slip)
{
    (void)s;
    x.sent++;
    x.last = slip;
}

kmy_verdict_t kmy_limiter_account(kmy_limiter_t *l, const char *name, int64_t now_ns,
                                  kmy_limit_window_t *which)
{
    (void)l;
    (void)now_ns;
    *which = KMY_LIMIT_MINUTE;
    assert_string_equal(name, OWN);
    return (kmy_verdict_t){ .taken = !x.limited, .wait_ns = 600 * KMY_NS_PER_MS };
}

kmy_demand_t kmy_demand_deposit(const char *path, int64_t amount_nusd)
{
    assert_int_equal(amount_nusd, 0);
    return (kmy_demand_t){ .path = path, .amounts_nusd = { 100, 1000 }, .amounts_count = 2 };
}

int64_t kmy_paid_left(kmy_shard_t *s, const kmy_slip_t *slip)
{
    (void)s;
    return slip->balance_nusd;
}

bool kmy_egress_text(kmy_shard_t *s, kmy_conn_t *c, const kmy_buf_t *buf)
{
    (void)s;
    (void)c;
    assert_false(buf->overflow);
    assert_true(buf->len < sizeof x.said);
    memcpy(x.said, buf->data, buf->len);
    x.said[buf->len] = '\0';
    x.frames++;
    return true;
}

/* --- what happens ------------------------------------------------------------------------------------ */

static char scratch[KMY_SCRATCH_BYTES];

static void begin(void)
{
    kmy_stream_pay_forget(&x.conn);
    memset(&x, 0, sizeof x);
    x.s.conns = &x.conn;
    x.s.accounts = &x.account;
    x.s.metrics = &x.metrics;
    x.s.o.offers = &x.offers;
    x.s.scratch = scratch;
    x.left = KMY_SLIPS;
    x.s.now_ns = 1000 * KMY_NS_PER_S;
    x.conn.state = KMY_CONN_WS;
    x.conn.gen = 7;
    snprintf(x.account.name, sizeof x.account.name, "%s", OWN);
    snprintf(x.offers.url, sizeof x.offers.url, "http://a");
    x.offers.open = true;
}

static void pay_text(const char *text, size_t len, const kmy_request_id_t *id)
{
    kmy_json_token_t t = { .type = KMY_JSON_STRING,
                           .escaped = memchr(text, '\\', len) != NULL,
                           .text = text,
                           .len = len };
    x.said[0] = '\0';
    kmy_stream_pay(&x.s, &x.conn, id, t);
}

static void pay(const char *text, const kmy_request_id_t *id)
{
    pay_text(text, strlen(text), id);
}

/* The cashier's answer to the slip that was sent last. */
static void answer(uint32_t result, const char *state)
{
    x.last->result = result;
    snprintf(x.last->state, sizeof x.last->state, "%s", state);
    snprintf(x.last->payment_id, sizeof x.last->payment_id, "%s", ID);
    snprintf(x.last->account, sizeof x.last->account, "%s", OWN);
    snprintf(x.last->tx, sizeof x.last->tx, "0xabc");
    x.last->credited_nusd = 100000000;
    x.last->balance_nusd = 100000030;
    x.said[0] = '\0';
    kmy_stream_paid(&x.s, &x.conn, x.last);
}

static void later(int64_t ms)
{
    x.s.now_ns += ms * KMY_NS_PER_MS;
}

/* Asked again now? */
static bool looks(void)
{
    uint32_t sent = x.sent;
    kmy_stream_pay_scan(&x.s, &x.conn);
    return x.sent > sent;
}

static const char paid3[] = "{\"type\":\"paid\",\"id\":3,\"credited\":\"0.100000000\",\"balance\":"
                            "\"0.100000030\",\"transaction\":\"0xabc\"}";

/* --- rules -------------------------------------------------------------------------------------------- */

static void a_pay_is_a_deposit_that_the_sockets_own_account_must_have_signed(void **state)
{
    (void)state;
    begin();
    pay("ab\\/+=", &id3);
    assert_int_equal(x.sent, 1);
    const kmy_slip_t *s = x.last;
    assert_int_equal(s->kind, KMY_SLIP_DEPOSIT);
    assert_true(s->ask & KMY_SLIP_ASK_STREAM);
    assert_int_equal(s->conn, 0);
    assert_int_equal(s->gen, 7);
    assert_int_equal(s->version, 0); /* either */
    assert_int_equal(s->header_bytes, 5);
    assert_memory_equal(s->header, "ab/+=", 5);
    assert_int_equal(s->amounts_count, 2);
    assert_int_equal(s->amounts_nusd[1], 1000);
    assert_string_equal(s->resource_url, "http://a/v1/deposit");
    assert_string_equal(s->account, OWN);
    assert_int_equal(s->deadline_ns, 0);
    assert_int_equal(x.frames, 0);
    answer(KMY_SLIP_DONE, "settled");
    assert_string_equal(x.said, paid3);
    assert_null(x.conn.pay);
}

static void a_payment_longer_than_any_is_left_to_the_cashier_to_refuse(void **state)
{
    static char text[KMY_PAYMENT_BYTES_MAX + 2];
    (void)state;
    memset(text, 'A', sizeof text);
    begin();
    pay_text(text, KMY_PAYMENT_BYTES_MAX, &id3);
    assert_int_equal(x.last->header_bytes, KMY_PAYMENT_BYTES_MAX);
    begin();
    pay_text(text, KMY_PAYMENT_BYTES_MAX + 1, &id3);
    assert_int_equal(x.last->header_bytes, 0);
}

/* What stands in the way -> code, retry.  Nothing is sent, nothing is kept. */
static void what_cannot_be_begun_says_why_and_takes_nothing(void **state)
{
    enum { CLOSED, NUMBER, EMPTY, STOPS, LEAVES, LIMIT, SLIPS };
    static const char *const row[] = {
        [CLOSED] = "\"unsupported\" false", [NUMBER] = "\"bad_request\" false",
        [EMPTY] = "\"bad_request\" false",  [STOPS] = "\"unavailable\" true",
        [LEAVES] = "\"unavailable\" true",  [LIMIT] = "\"limit_reached\" true",
        [SLIPS] = "\"unavailable\" true",
    };
    (void)state;
    for (int i = CLOSED; i <= SLIPS; i++) {
        begin();
        x.offers.open = i != CLOSED;
        x.s.stopping = i == STOPS;
        x.conn.leaving = i == LEAVES;
        x.limited = i == LIMIT;
        x.none_left = i == SLIPS;
        kmy_json_token_t t = { .type = i == NUMBER ? KMY_JSON_NUMBER : KMY_JSON_STRING,
                               .text = "12",
                               .len = i == EMPTY ? 0 : 2 };
        kmy_stream_pay(&x.s, &x.conn, &id3, t);
        char code[64], retry[32];
        snprintf(code, sizeof code, "\"code\":%.*s,", (int)strcspn(row[i], " "), row[i]);
        snprintf(retry, sizeof retry, "\"retry\":%s", strchr(row[i], ' ') + 1);
        assert_non_null(strstr(x.said, "{\"type\":\"error\",\"id\":3,"));
        assert_non_null(strstr(x.said, code));
        assert_non_null(strstr(x.said, retry));
        assert_true(!strstr(x.said, "\"retry_after_ms\":601") == (i != LIMIT));
        assert_int_equal(x.sent, 0);
        assert_null(x.conn.pay);
    }
}

static void one_payment_at_a_time(void **state)
{
    (void)state;
    begin();
    pay("AAAA", &id3);
    pay("BBBB", &id4);
    assert_non_null(strstr(x.said, "\"id\":\"four\",\"code\":\"limit_reached\""));
    assert_non_null(strstr(x.said, "\"retry\":true"));
    assert_int_equal(x.sent, 1);
    answer(KMY_SLIP_DONE, "settled");
    assert_string_equal(x.said, paid3);
    pay("BBBB", &id4);
    assert_int_equal(x.sent, 2);
}

/* What the cashier refuses -> the client's code and retry. */
static void a_refusal_has_x402s_word_or_ours(void **state)
{
    static const struct {
        kmy_err_t err;
        const char *reason, *state, *said;
    } row[] = {
        { KMY_UNPAID, "invalid_network", "",
          "\"code\":\"invalid_network\",\"message\":\"why\",\"retry\":false" },
        { KMY_FORBIDDEN, "payer_mismatch", "",
          "\"code\":\"payer_mismatch\",\"message\":\"why\",\"retry\":false" },
        { KMY_UNPAID, "insufficient_funds", "failed",
          "\"code\":\"insufficient_funds\",\"message\":\"why\",\"retry\":true" },
        { KMY_UNAVAILABLE, "", "", "\"code\":\"unavailable\",\"message\":\"why\",\"retry\":true" },
        { KMY_CONFLICT, "", "", "\"code\":\"conflict\",\"message\":\"why\",\"retry\":false" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        begin();
        pay("AAAA", &id3);
        x.last->err = row[i].err;
        snprintf(x.last->reason, sizeof x.last->reason, "%s", row[i].reason);
        snprintf(x.last->detail, sizeof x.last->detail, "why");
        answer(KMY_SLIP_REFUSED, row[i].state);
        assert_non_null(strstr(x.said, row[i].said));
        assert_non_null(strstr(x.said, "\"payment_id\":\"" ID "\"}"));
        assert_null(x.conn.pay);
    }
}

static void credit_on_another_account_of_the_payer_says_which(void **state)
{
    (void)state;
    begin();
    pay("AAAA", &id3);
    snprintf(x.account.name, sizeof x.account.name, "eip155:1:0x00");
    answer(KMY_SLIP_DONE, "settled");
    assert_non_null(strstr(x.said, "\"transaction\":\"0xabc\",\"account\":\"" OWN "\"}"));
}

static void what_is_late_is_pending_and_asked_for_until_it_is_known(void **state)
{
    static const int64_t wait_ms[] = { 1000, 2000, 4000, 8000, 8000 };
    (void)state;
    begin();
    pay("AAAA", &id3);
    answer(KMY_SLIP_PENDING, "submitted");
    assert_non_null(strstr(x.said, "{\"type\":\"error\",\"id\":3,\"code\":\"payment_pending\""));
    assert_non_null(
        strstr(x.said, "\"retry\":true,\"payment_id\":\"" ID "\",\"state\":\"submitted\"}"));
    for (size_t i = 0; i < sizeof wait_ms / sizeof wait_ms[0]; i++) {
        later(wait_ms[i] - 1);
        assert_false(looks());
        later(1);
        assert_true(looks());
        assert_int_equal(x.last->kind, KMY_SLIP_STATE);
        assert_string_equal(x.last->payment_id, ID);
        assert_false(looks()); /* one at a time */
        answer(i % 2 ? KMY_SLIP_REFUSED : KMY_SLIP_DONE, "unknown");
        assert_string_equal(x.said, "");
    }
    later(8000);
    assert_true(looks());
    answer(KMY_SLIP_DONE, "settled");
    assert_string_equal(x.said, paid3);
    assert_null(x.conn.pay);
    later(60000);
    assert_false(looks());
}

static void what_was_pending_and_failed_is_refused_in_the_end(void **state)
{
    (void)state;
    begin();
    pay("AAAA", &id3);
    answer(KMY_SLIP_PENDING, "unknown");
    later(1000);
    assert_true(looks());
    snprintf(x.last->reason, sizeof x.last->reason, "insufficient_funds");
    answer(KMY_SLIP_DONE, "failed");
    assert_non_null(strstr(x.said, "\"code\":\"insufficient_funds\""));
    assert_null(x.conn.pay);
}

static void looking_leaves_half_the_slips_to_who_pays_and_stops_with_the_daemon(void **state)
{
    (void)state;
    begin();
    pay("AAAA", &id3);
    answer(KMY_SLIP_PENDING, "unknown");
    later(1000);
    x.left = KMY_SLIPS / 2 - 1;
    assert_false(looks());
    x.left = KMY_SLIPS / 2;
    later(2000);
    x.s.stopping = true;
    assert_false(looks());
    x.s.stopping = false;
    assert_true(looks());
}

static void a_payment_sent_behind_a_pending_one_takes_its_place(void **state)
{
    (void)state;
    begin();
    pay("AAAA", &id3);
    answer(KMY_SLIP_PENDING, "unknown");
    later(1000);
    assert_true(looks());
    kmy_slip_t *earlier = x.last;
    x.none_left = true;
    pay("BBBB", &id4);
    assert_non_null(x.conn.pay); /* what pends is not forgotten for it */
    x.none_left = false;
    pay("BBBB", &id4);
    kmy_slip_t *now = x.last;
    x.last = earlier;
    answer(KMY_SLIP_DONE, "settled");
    assert_string_equal(x.said, ""); /* of the one that was replaced */
    x.last = now;
    answer(KMY_SLIP_DONE, "settled");
    assert_non_null(strstr(x.said, "{\"type\":\"paid\",\"id\":\"four\","));
}

/* Paused so long before the payment, or only after it was sent, for 10 s: the grace stood still while it was under way. */
static void the_grace_stands_still_from_the_payment_to_its_end(void **state)
{
    static const struct {
        int64_t paused_s, used_s; /* behind the payment; used of the grace at its end */
    } row[] = { { -30, 30 }, { -1, 1 }, { 0, 0 }, { 4, 0 } };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        begin();
        x.conn.unpaid_ns = x.s.now_ns + row[i].paused_s * KMY_NS_PER_S;
        pay("AAAA", &id3);
        later(3000);
        answer(KMY_SLIP_PENDING, "unknown");
        later(7000);
        assert_true(looks());
        answer(KMY_SLIP_DONE, "failed");
        assert_int_equal(x.s.now_ns - x.conn.unpaid_ns, row[i].used_s * KMY_NS_PER_S);
    }
}

static void a_socket_that_is_closing_is_told_nothing(void **state)
{
    (void)state;
    begin();
    pay("AAAA", &id3);
    x.conn.state = KMY_CONN_LINGER;
    answer(KMY_SLIP_DONE, "settled");
    assert_int_equal(x.frames, 0);
    assert_null(x.conn.pay);
    answer(KMY_SLIP_DONE, "settled"); /* nobody's any more */
    assert_int_equal(x.frames, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pay_is_a_deposit_that_the_sockets_own_account_must_have_signed),
        cmocka_unit_test(a_payment_longer_than_any_is_left_to_the_cashier_to_refuse),
        cmocka_unit_test(what_cannot_be_begun_says_why_and_takes_nothing),
        cmocka_unit_test(one_payment_at_a_time),
        cmocka_unit_test(a_refusal_has_x402s_word_or_ours),
        cmocka_unit_test(credit_on_another_account_of_the_payer_says_which),
        cmocka_unit_test(what_is_late_is_pending_and_asked_for_until_it_is_known),
        cmocka_unit_test(what_was_pending_and_failed_is_refused_in_the_end),
        cmocka_unit_test(looking_leaves_half_the_slips_to_who_pays_and_stops_with_the_daemon),
        cmocka_unit_test(a_payment_sent_behind_a_pending_one_takes_its_place),
        cmocka_unit_test(the_grace_stands_still_from_the_payment_to_its_end),
        cmocka_unit_test(a_socket_that_is_closing_is_told_nothing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kmy_stream_pay_forget(&x.conn);
    return failed;
}
