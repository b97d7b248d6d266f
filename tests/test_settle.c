/* pay/settle: what is done next about a payment.  The rows are the rules; tests/settle_worlds.h tries them in thousands of worlds. */
#include "pay/settle.h"

#include "tests/settle_worlds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define TX  "0x1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988"
#define TX2 "0x002e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988"
#define T0  1767225600

/* A script of letters, one event each, and what comes of it:
     V verify yes   v no        w lost      Y settle yes    N no          L lost       P pending
     U used         u unused    o unused, and valid_before passed         F found in logs   f nowhere  C cancelled
     D paid, deep   d shallow   X spent, deep   s shallow   x another's     n no receipt   - chain lost     T timer    R retry
     K credited     k conflict  ! save failed (nothing put back)
   Actions:  verify auth submit receipt logs wait credit fail (for now) FAIL (for good) none; a star: saved first */
static const struct {
    const char *why;
    bool rpc, verify;
    const char *events, *actions;
} scripts[] = {
    { "the way it should go", true, true, "VuYDK", "verify auth* submit* receipt* credit none" },
    { "nothing to ask before", true, false, "uYDK", "auth submit* receipt* credit none" },
    { "too few blocks on top", true, false, "uYdTdTDK",
      "auth submit* receipt* wait receipt wait receipt credit none" },
    { "yes, but the chain has no such transaction", true, false, "uYnuTnUFDK",
      "auth submit* receipt* auth wait* receipt auth logs receipt credit none" },
    { "yes, and a transaction that is not ours", true, false, "uYxuTuTUFDK",
      "auth submit* receipt* auth wait* auth wait auth logs receipt credit none" },
    { "the answer was lost, the money came", true, false, "uLTUFDK",
      "auth submit* wait* auth logs receipt credit none" },
    { "pending, then there", true, false, "uPTnuTDK",
      "auth submit* wait* receipt auth wait receipt credit none" },
    { "the answer was lost, nothing came, time is over", true, false, "uLTuToToTo",
      "auth submit* wait* auth wait auth wait auth wait auth FAIL*" },
    { "refused, and the chain agrees", true, false, "uNu", "auth submit* auth fail*" },
    { "refused, but the money came", true, false, "uNUFDK",
      "auth submit* auth logs receipt credit none" },
    { "refused, and came later after all", true, false, "uNuTUFDK",
      "auth submit* auth fail* auth logs receipt credit none" },
    { "refused, sent again, taken", true, false, "uNuRuYDK",
      "auth submit* auth fail* auth submit* receipt* credit none" },
    { "refused, watched until nothing can land", true, false, "uNuToToTo",
      "auth submit* auth fail* auth wait auth wait auth FAIL*" },
    { "refused before it was submitted", true, true, "vu", "verify auth fail*" },
    { "refused before, but somebody else submitted it", true, true, "vUFDK",
      "verify auth logs receipt credit none" },
    { "verify is silent", true, true, "wTwTwTwTwu",
      "verify wait verify wait verify wait verify wait verify auth fail*" },
    { "used before we could submit it", true, false, "UFDK", "auth logs receipt credit none" },
    { "cancelled", true, false, "uLTUCsTX",
      "auth submit* wait* auth logs receipt wait receipt FAIL*" },
    { "used for something else with the same nonce", true, false, "uLTUFX",
      "auth submit* wait* auth logs receipt FAIL*" },
    { "the chain does not answer", true, false, "-T-TuL",
      "auth wait auth wait auth submit* wait*" },
    { "a receipt that a reorganization takes away", true, false, "uYdTnUFnT",
      "auth submit* receipt* wait receipt auth logs receipt wait auth" },
    { "a retry of what is under way is nothing", true, false, "uRLR",
      "auth submit* none wait* none" },
    { "answers to no question are nothing", true, false, "DKYFNuVUCXkK",
      "auth none none none none none submit* none none none none none none" },
    { "credited elsewhere", true, false, "uYDk", "auth submit* receipt* credit FAIL*" },
    { "the disk refuses the credit", true, false, "uYD!TDK",
      "auth submit* receipt* credit wait receipt credit none" },
    { "over is over", true, false, "uYDKRTuYD",
      "auth submit* receipt* credit none none none none none none" },
    /* without rpc */
    { "the facilitator's word", false, false, "YK", "submit* credit none" },
    { "asked first", false, true, "VYK", "verify submit* credit none" },
    { "its no", false, false, "N", "submit* fail*" },
    { "its no, then sent again", false, false, "NRYK", "submit* fail* submit* credit none" },
    { "silence is asked again, and then a no proves nothing", false, false, "LTNTYK",
      "submit* wait* submit* wait submit* credit none" },
    { "the disk refuses the credit, the yes still holds", false, false, "Y!TK",
      "submit* credit wait credit none" },
    { "its no before submission", false, true, "v", "verify fail*" },
};

static kmy_settle_event_t event_of(char c)
{
    kmy_settle_event_t e = {
        .tx = TX, .reason = "some_reason", .head = 5000, .time_s = T0 + 10, .log_index = 7
    };
    static const struct {
        char letter;
        kmy_settle_event_kind_t kind;
    } kinds[] = {
        { 'V', KMY_SETTLE_EV_VERIFY_YES },     { 'v', KMY_SETTLE_EV_VERIFY_NO },
        { 'w', KMY_SETTLE_EV_VERIFY_LOST },    { 'Y', KMY_SETTLE_EV_SETTLE_YES },
        { 'N', KMY_SETTLE_EV_SETTLE_NO },      { 'L', KMY_SETTLE_EV_SETTLE_LOST },
        { 'P', KMY_SETTLE_EV_SETTLE_PENDING }, { 'U', KMY_SETTLE_EV_AUTHORIZATION },
        { 'u', KMY_SETTLE_EV_AUTHORIZATION },  { 'o', KMY_SETTLE_EV_AUTHORIZATION },
        { 'F', KMY_SETTLE_EV_LOGS_USED },      { 'f', KMY_SETTLE_EV_LOGS_NONE },
        { 'C', KMY_SETTLE_EV_LOGS_CANCELLED }, { 's', KMY_SETTLE_EV_RECEIPT_OTHER },
        { 'D', KMY_SETTLE_EV_RECEIPT_PAID },   { 'd', KMY_SETTLE_EV_RECEIPT_PAID },
        { 'X', KMY_SETTLE_EV_RECEIPT_OTHER },  { 'x', KMY_SETTLE_EV_RECEIPT_OTHER },
        { 'n', KMY_SETTLE_EV_RECEIPT_NONE },   { '-', KMY_SETTLE_EV_CHAIN_LOST },
        { 'T', KMY_SETTLE_EV_TIMER },          { 'R', KMY_SETTLE_EV_RETRY },
        { 'K', KMY_SETTLE_EV_CREDITED },       { 'k', KMY_SETTLE_EV_CREDIT_CONFLICT },
        { '!', KMY_SETTLE_EV_SAVE_FAILED },
    };
    size_t i = 0;
    while (kinds[i].letter != c)
        assert_true(++i < sizeof kinds / sizeof kinds[0]);
    e.kind = kinds[i].kind;
    e.used = c == 'U';
    e.spent = c == 'X' || c == 's';
    e.depth = c == 'd' || c == 's' ? 2 : 3;
    if (c == 'N' || c == 'L')
        e.tx = NULL;
    if (c == 'F')
        e.tx = TX2;
    return e;
}

static const char *name_of(const kmy_settle_action_t *a)
{
    static const char *const names[] = { "none", "verify", "auth",   "submit", "receipt",
                                         "logs", "wait",   "credit", "fail" };
    return a->final ? "FAIL" : names[a->kind];
}

static void each_event_leads_to_the_next_action(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        const kmy_settle_terms_t terms = { .has_rpc = scripts[i].rpc,
                                           .ask_verify = scripts[i].verify,
                                           .confirmations = 3,
                                           .created_s = T0,
                                           .valid_before_s = T0 + 60 };
        char got[512] = "";
        kmy_settle_t s;
        kmy_settle_now_t now = { 0, T0 };
        kmy_settle_init(&s, &terms, KMY_PAYMENT_RESERVED, 0, "", "");
        kmy_settle_event_t e = { .kind = KMY_SETTLE_EV_START };
        kmy_settle_action_t a = kmy_settle_step(&s, &e, now);
        snprintf(got, sizeof got, "%s%s", name_of(&a), a.save ? "*" : "");
        for (const char *c = scripts[i].events; *c; c++) {
            e = event_of(*c);
            if (*c == 'o') /* one block later each */
                e.time_s = T0 + 60, e.head = 5030 + (uint64_t)(c - scripts[i].events) / 2;
            a = kmy_settle_step(&s, &e, now);
            size_t len = strlen(got);
            snprintf(got + len, sizeof got - len, " %s%s", name_of(&a), a.save ? "*" : "");
            if (a.kind == KMY_SETTLE_CREDIT && scripts[i].rpc)
                assert_int_equal(s.log_index, 7);
        }
        if (strcmp(got, scripts[i].actions) != 0)
            fail_msg("%s:\n  got  %s\n  want %s", scripts[i].why, got, scripts[i].actions);
    }
}

static kmy_settle_t begun(const kmy_settle_terms_t *terms, kmy_payment_state_t state, uint64_t from,
                          kmy_settle_action_t *a)
{
    kmy_settle_t s;
    kmy_settle_event_t e = { .kind = KMY_SETTLE_EV_START };
    kmy_settle_init(&s, terms, state, from, "", "");
    *a = kmy_settle_step(&s, &e, (kmy_settle_now_t){ 0, T0 });
    return s;
}

static const kmy_settle_terms_t plain = {
    .has_rpc = true, .confirmations = 1, .created_s = T0, .valid_before_s = T0 + 60
};

static void waits_double_from_1_to_60_seconds(void **state)
{
    (void)state;
    static const int want[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 };
    kmy_settle_action_t a;
    kmy_settle_t s = begun(&plain, KMY_PAYMENT_SUBMITTED, 100, &a);
    assert_int_equal(s.state, KMY_PAYMENT_UNKNOWN);
    assert_true(a.save);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        kmy_settle_event_t lost = { .kind = KMY_SETTLE_EV_CHAIN_LOST },
                           timer = { .kind = KMY_SETTLE_EV_TIMER };
        a = kmy_settle_step(&s, &lost, (kmy_settle_now_t){ 1000, T0 });
        assert_int_equal(a.kind, KMY_SETTLE_WAIT);
        assert_int_equal(a.until_ns, 1000 + want[i] * INT64_C(1000000000));
        a = kmy_settle_step(&s, &timer, (kmy_settle_now_t){ 1000, T0 });
        assert_int_equal(a.kind, KMY_SETTLE_ASK_AUTHORIZATION);
    }
}

static void logs_are_asked_for_page_by_page_from_the_block_of_submission(void **state)
{
    (void)state;
    kmy_settle_action_t a;
    kmy_settle_t s = begun(&plain, KMY_PAYMENT_UNKNOWN, 100, &a);
    kmy_settle_event_t used = {
        .kind = KMY_SETTLE_EV_AUTHORIZATION, .used = true, .head = 2500, .time_s = T0
    };
    kmy_settle_event_t none = { .kind = KMY_SETTLE_EV_LOGS_NONE };
    static const uint64_t want[][2] = { { 100, 1099 }, { 1100, 2099 }, { 2100, UINT64_MAX } };
    a = kmy_settle_step(&s, &used, (kmy_settle_now_t){ 0, T0 });
    for (int i = 0; i < 3; i++) {
        assert_int_equal(a.kind, KMY_SETTLE_ASK_LOGS);
        assert_int_equal(a.from, want[i][0]);
        assert_int_equal(a.to, want[i][1]);
        a = kmy_settle_step(&s, &none, (kmy_settle_now_t){ 0, T0 });
    }
    assert_int_equal(a.kind, KMY_SETTLE_WAIT);
}

static void a_use_before_submission_is_looked_for_in_the_blocks_since_it_was_presented(void **state)
{
    (void)state;
    kmy_settle_action_t a;
    kmy_settle_t s = begun(&plain, KMY_PAYMENT_RESERVED, 0, &a);
    kmy_settle_event_t used = {
        .kind = KMY_SETTLE_EV_AUTHORIZATION, .used = true, .head = 1000000, .time_s = T0 + 100
    };
    a = kmy_settle_step(&s, &used, (kmy_settle_now_t){ 0, T0 });
    assert_int_equal(a.from, 1000000 - 4 * 700);
    s = begun(&plain, KMY_PAYMENT_RESERVED, 0, &a);
    used.time_s = T0 + 10000000;
    a = kmy_settle_step(&s, &used, (kmy_settle_now_t){ 0, T0 });
    assert_int_equal(a.from, 1000000 - KMY_SETTLE_LOOK_BACK_BLOCKS);
    s = begun(&plain, KMY_PAYMENT_RESERVED, 0, &a);
    used.head = 50;
    a = kmy_settle_step(&s, &used, (kmy_settle_now_t){ 0, T0 });
    assert_int_equal(a.from, 1);
}

static void the_block_of_submission_is_noted_with_it(void **state)
{
    (void)state;
    kmy_settle_action_t a;
    kmy_settle_t s = begun(&plain, KMY_PAYMENT_RESERVED, 0, &a);
    kmy_settle_event_t unused = { .kind = KMY_SETTLE_EV_AUTHORIZATION, .head = 5000, .time_s = T0 };
    a = kmy_settle_step(&s, &unused, (kmy_settle_now_t){ 0, T0 });
    assert_int_equal(a.kind, KMY_SETTLE_SUBMIT);
    assert_true(a.save);
    assert_int_equal(s.from_block, 5000 - KMY_SETTLE_BLOCKS_BACK);
}

static void what_ends_in_less_than_6_seconds_is_not_submitted(void **state)
{
    (void)state;
    static const struct {
        int64_t chain_s, our_s;
        bool submits;
    } rows[] = {
        { T0 + 54, T0 + 54, true },  { T0 + 55, T0, false },       { T0, T0 + 55, false },
        { T0 + 60, T0 + 54, false }, { T0 - 3600, T0 + 54, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_settle_action_t a;
        kmy_settle_terms_t terms = plain;
        terms.confirmations =
            2; /* the first block behind valid_before is not enough to fail for good */
        kmy_settle_t s = begun(&terms, KMY_PAYMENT_RESERVED, 0, &a);
        kmy_settle_event_t unused = { .kind = KMY_SETTLE_EV_AUTHORIZATION,
                                      .head = 5000,
                                      .time_s = rows[i].chain_s };
        a = kmy_settle_step(&s, &unused, (kmy_settle_now_t){ 0, rows[i].our_s });
        assert_int_equal(a.kind, rows[i].submits ? KMY_SETTLE_SUBMIT : KMY_SETTLE_FAIL);
        assert_false(a.final);
    }
}

/* By us: in 5 s, however it was lost.  By somebody else: not for 10 minutes. */
static void what_we_submit_ourselves_is_submitted_again_while_it_is_unused(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        kmy_settle_action_t a;
        kmy_settle_terms_t terms = plain;
        terms.own = own;
        kmy_settle_t s = begun(&terms, KMY_PAYMENT_SUBMITTED, 5000, &a);
        assert_int_equal(a.kind, KMY_SETTLE_ASK_AUTHORIZATION);
        for (int i = 0; i < 6; i++) { /* at T0 + 0, 1, ... 5 */
            kmy_settle_event_t unused = { .kind = KMY_SETTLE_EV_AUTHORIZATION,
                                          .head = 5000,
                                          .time_s = T0 };
            kmy_settle_event_t timer = { .kind = KMY_SETTLE_EV_TIMER };
            a = kmy_settle_step(&s, &unused, (kmy_settle_now_t){ 0, T0 + i });
            bool submits = own && i == KMY_SETTLE_AGAIN_S;
            assert_int_equal(a.kind, submits ? KMY_SETTLE_SUBMIT : KMY_SETTLE_WAIT);
            if (!submits)
                a = kmy_settle_step(&s, &timer, (kmy_settle_now_t){ 0, T0 + i });
        }
        assert_int_equal(s.submits, own);
        assert_int_equal(s.state, KMY_PAYMENT_UNKNOWN); /* until it is found */
    }
}

static void but_not_more_than_five_times_nor_near_its_end(void **state)
{
    (void)state;
    kmy_settle_action_t a;
    kmy_settle_terms_t terms = plain;
    terms.own = true;
    kmy_settle_t s = begun(&terms, KMY_PAYMENT_SUBMITTED, 5000, &a);
    kmy_settle_event_t unused = { .kind = KMY_SETTLE_EV_AUTHORIZATION, .head = 5000, .time_s = T0 };
    kmy_settle_event_t lost = { .kind = KMY_SETTLE_EV_SETTLE_LOST },
                       timer = { .kind = KMY_SETTLE_EV_TIMER };
    int64_t now = T0;
    for (int i = 0; i < 30 && a.kind != KMY_SETTLE_FAIL; i++) {
        now += KMY_SETTLE_AGAIN_S;
        a = kmy_settle_step(&s, &unused, (kmy_settle_now_t){ 0, now });
        if (a.kind == KMY_SETTLE_SUBMIT) {
            assert_true(now <= T0 + 54);
            a = kmy_settle_step(&s, &lost, (kmy_settle_now_t){ 0, now });
        }
        if (a.kind == KMY_SETTLE_WAIT)
            a = kmy_settle_step(&s, &timer, (kmy_settle_now_t){ 0, now });
    }
    assert_int_equal(a.kind, KMY_SETTLE_FAIL);
    assert_false(a.final);
    assert_int_equal(s.submits, KMY_SETTLE_SUBMITS_MAX);
}

static void a_solana_transaction_fails_for_good_only_when_its_blockhash_is_long_gone(void **state)
{
    (void)state;
    kmy_settle_terms_t terms = { .solana = true,
                                 .has_rpc = true,
                                 .confirmations = 1,
                                 .created_s = T0,
                                 .valid_before_s = INT64_MAX };
    kmy_settle_action_t a;
    kmy_settle_t s = begun(&terms, KMY_PAYMENT_SUBMITTED, 100000, &a);
    kmy_settle_event_t head = { .kind = KMY_SETTLE_EV_AUTHORIZATION,
                                .head = 100000 + KMY_SETTLE_SOLANA_BLOCKS };
    kmy_settle_event_t none = { .kind = KMY_SETTLE_EV_LOGS_NONE },
                       timer = { .kind = KMY_SETTLE_EV_TIMER };
    const kmy_settle_now_t now = { 0, T0 };
    a = kmy_settle_step(&s, &head, now);
    assert_int_equal(a.kind,
                     KMY_SETTLE_ASK_LOGS); /* unused cannot be asked on Solana: it is looked for */
    a = kmy_settle_step(&s, &none, now);
    assert_int_equal(a.kind, KMY_SETTLE_WAIT);
    kmy_settle_step(&s, &timer, now);
    head.head++;
    kmy_settle_step(&s, &head, now);
    a = kmy_settle_step(&s, &none, now);
    assert_int_equal(a.kind, KMY_SETTLE_FAIL);
    assert_true(a.final);
}

static void depth_counts_both_ends_and_never_wraps(void **state)
{
    (void)state;
    assert_int_equal(kmy_settle_depth(100, 100), 1);
    assert_int_equal(kmy_settle_depth(102, 100), 3);
    assert_int_equal(kmy_settle_depth(99, 100), 0);
    assert_true(kmy_settle_depth(UINT64_MAX, 0) == UINT64_MAX);
}

static void in_every_world_the_money_that_came_is_credited_once_and_no_other(void **state)
{
    (void)state;
    world_count_t count = { 0 };
    for (uint64_t seed = 1; seed <= 20000; seed++)
        if (!world_run(seed, &count))
            fail_msg("seed %llu: %s", (unsigned long long)seed, world_fault);
    /* every kind of end was seen, or the worlds test nothing */
    assert_true(count.credited > 2000);
    assert_true(count.failed > 2000);
    assert_true(count.by_others > 200);
    assert_true(count.refused_but_came > 100);
    assert_true(count.crashes > 5000);
    assert_true(count.reorganized > 200);
    assert_true(count.retried > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_leads_to_the_next_action),
        cmocka_unit_test(waits_double_from_1_to_60_seconds),
        cmocka_unit_test(logs_are_asked_for_page_by_page_from_the_block_of_submission),
        cmocka_unit_test(
            a_use_before_submission_is_looked_for_in_the_blocks_since_it_was_presented),
        cmocka_unit_test(the_block_of_submission_is_noted_with_it),
        cmocka_unit_test(what_ends_in_less_than_6_seconds_is_not_submitted),
        cmocka_unit_test(what_we_submit_ourselves_is_submitted_again_while_it_is_unused),
        cmocka_unit_test(but_not_more_than_five_times_nor_near_its_end),
        cmocka_unit_test(a_solana_transaction_fails_for_good_only_when_its_blockhash_is_long_gone),
        cmocka_unit_test(depth_counts_both_ends_and_never_wraps),
        cmocka_unit_test(in_every_world_the_money_that_came_is_credited_once_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
