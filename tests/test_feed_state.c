/* The table of an upstream connection, its back-off, its budget.  Each row is a rule. */
#include "adapters/feed_state.h"

#include "base/clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define S  KMY_NS_PER_S
#define MS KMY_NS_PER_MS

/* The whole product of states and events, written a second time and another way than the table under test: '.' is impossible.
   first letter the action (Nothing Dial Subscribe Wait wait-Host Alarm Close), second the state it leads to (Idle Dialing Subscribing Live Backoff Misconfigured) */
static const char *const rules[KMY_UP_STATES][KMY_UPEV_COUNT] = {
    /*                  START UP    ACKED DOWN  DEAD  REFUS LIMIT TIMER STOP */
    /* IDLE */ { "DD", ".", ".", ".", ".", ".", ".", ".", "NI" },
    /* DIALING */ { ".", "SS", ".", "WB", "WB", "AM", "HB", ".", "CI" },
    /* SUBSCRIBING */ { ".", ".", "NL", "WB", "WB", ".", "HB", ".", "CI" },
    /* LIVE */ { ".", ".", "NL", "WB", "WB", ".", "HB", ".", "CI" },
    /* BACKOFF */ { ".", ".", ".", ".", ".", ".", ".", "DD", "NI" },
    /* MISCONFIGURED */ { ".", ".", ".", ".", ".", ".", ".", "DD", "NI" },
};

static void every_pair_of_state_and_event_is_as_the_rules_say(void **state)
{
    (void)state;
    static const char acts[] = "xNDSWHAC", states[] = "IDSLBM";
    for (int s = 0; s < KMY_UP_STATES; s++)
        for (int e = 0; e < KMY_UPEV_COUNT; e++) {
            const char *rule = rules[s][e];
            assert_int_equal(kmy_upstream_step_exists(s, e), rule[0] != '.');
            if (rule[0] == '.')
                continue;
            kmy_upstream_step_t step = kmy_upstream_step(s, e);
            assert_int_equal(acts[step.act], rule[0]);
            assert_int_equal(states[step.to], rule[1]);
        }
}

static bool dies(kmy_upstream_state_t s, kmy_upstream_event_t e)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(0);
        kmy_upstream_step(s, e);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void an_impossible_pair_aborts(void **state)
{
    (void)state;
    for (int s = 0; s < KMY_UP_STATES; s++)
        for (int e = 0; e < KMY_UPEV_COUNT; e++)
            if (rules[s][e][0] == '.')
                assert_true(dies(s, e));
}

static void from_every_state_stop_leads_to_idle_and_idle_can_start(void **state)
{
    (void)state;
    for (int s = 0; s < KMY_UP_STATES; s++)
        assert_int_equal(kmy_upstream_step(s, KMY_UPEV_STOP).to, KMY_UP_IDLE);
    assert_int_equal(kmy_upstream_step(KMY_UP_IDLE, KMY_UPEV_START).to, KMY_UP_DIALING);
}

static void every_state_has_a_name(void **state)
{
    (void)state;
    for (int s = 0; s < KMY_UP_STATES; s++)
        assert_true(strlen(kmy_upstream_state_name(s)) > 0);
}

static void back_off_doubles_its_ceiling_and_keeps_its_floor(void **state)
{
    (void)state;
    static const int64_t ceiling_ms[] = { 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000 };
    for (uint64_t draw = 0; draw < 100; draw++) {
        kmy_backoff_t b = { 0 };
        for (size_t i = 0; i < sizeof ceiling_ms / sizeof *ceiling_ms; i++) {
            int64_t ns = kmy_backoff_next_ns(&b, draw * UINT64_C(0x9e3779b97f4a7c15));
            assert_true(ns >= 250 * MS);
            assert_true(ns <= ceiling_ms[i] * MS);
        }
    }
    kmy_backoff_t b = { 0 };
    assert_int_equal(kmy_backoff_next_ns(&b, 0), 250 * MS);
    b.failures = 0;
    assert_int_equal(kmy_backoff_next_ns(&b, 250 * MS), 500 * MS); /* the whole span is used */
    for (int i = 0; i < 1000; i++)
        kmy_backoff_next_ns(&b, 1);
    assert_int_equal(kmy_backoff_next_ns(&b, 29750 * MS), 30 * S);
}

static void only_a_minute_of_data_forgives_failures(void **state)
{
    (void)state;
    static const struct {
        int64_t first, last;
        bool forgives;
    } rows[] = {
        { 0, 0, false },          /* a handshake is not data */
        { 0, 500 * S, false },    /* no first stamp: none came */
        { 5 * S, 5 * S, false },  /* one tick */
        { 5 * S, 64 * S, false }, /* 59 s */
        { 5 * S, 65 * S, true },  /* 60 s */
        { 5 * S, 90000 * S, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_backoff_t b = { .failures = 5 };
        kmy_backoff_data(&b, rows[i].first, rows[i].last);
        assert_int_equal(b.failures, rows[i].forgives ? 0 : 5);
    }
}

static void the_budget_allows_sixty_connects_in_any_five_minutes(void **state)
{
    (void)state;
    kmy_connect_budget_t b = { 0 };
    int64_t now = 1000 * S;
    for (int i = 0; i < KMY_CONNECTS_MAX; i++) {
        assert_int_equal(kmy_connect_budget_at(&b, now), now);
        kmy_connect_budget_spend(&b, now);
        now += S;
    }
    assert_int_equal(kmy_connect_budget_at(&b, now), 1300 * S); /* when the first one is old */
    assert_int_equal(kmy_connect_budget_at(&b, 1300 * S), 1300 * S);
    kmy_connect_budget_spend(&b, 1300 * S);
    assert_int_equal(kmy_connect_budget_at(&b, 1300 * S), 1301 * S);
}

static void the_budget_never_exceeds_its_window_whatever_the_pace(void **state)
{
    (void)state;
    kmy_connect_budget_t b = { 0 };
    static int64_t at[2000];
    int64_t now = 1;
    for (int i = 0; i < 2000; i++) { /* as eager as can be */
        now = kmy_connect_budget_at(&b, now);
        kmy_connect_budget_spend(&b, now);
        at[i] = now;
        if (i >= KMY_CONNECTS_MAX)
            assert_true(at[i] - at[i - KMY_CONNECTS_MAX] >= KMY_CONNECTS_WINDOW_NS);
        now += (i % 7) * S;
    }
}

static void a_closed_gate_holds_and_is_never_shortened(void **state)
{
    (void)state;
    kmy_connect_budget_t b = { 0 };
    kmy_connect_budget_close(&b, 50 * S);
    kmy_connect_budget_close(&b, 20 * S);
    assert_int_equal(kmy_connect_budget_at(&b, 10 * S), 50 * S);
    assert_int_equal(kmy_connect_budget_at(&b, 60 * S), 60 * S);
}

static void retry_after_is_seconds_or_a_date_within_bounds(void **state)
{
    (void)state;
    /* Sun, 06 Nov 1994 08:49:37 GMT is 784111777 */
    static const struct {
        const char *text;
        int64_t want_s;
    } rows[] = {
        { NULL, 60 },
        { "", 60 },
        { "soon", 60 },
        { "-5", 60 },
        { "12x", 60 },
        { "0", 10 },
        { "3", 10 },
        { "10", 10 },
        { " 120 ", 120 },
        { "259200", 259200 },
        { "259201", 259200 },
        { "99999999999999999999999", 259200 },
        { "Sun, 06 Nov 1994 08:49:37 GMT", 100 },
        { "Sun, 06 Nov 1994 08:00:00 GMT", 10 }, /* past */
        { "Sun, 06 Nov 1994", 60 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(kmy_retry_after_ns(rows[i].text, INT64_C(784111677) * S, 60 * S),
                         rows[i].want_s * S);
    assert_int_equal(kmy_retry_after_ns(NULL, 0, 1), 10 * S);
}

static void rollover_falls_between_20_and_23_of_24_parts(void **state)
{
    (void)state;
    const int64_t day = 86400 * S;
    int64_t least = INT64_MAX, most = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        int64_t at = kmy_rollover_ns(day, i * UINT64_C(0x9e3779b97f4a7c15));
        least = at < least ? at : least;
        most = at > most ? at : most;
    }
    assert_true(least >= 20 * 3600 * S);
    assert_true(most <= 23 * 3600 * S);
    assert_true(most - least > 10700 * S); /* nearly all of the three hours is used */
    assert_true(kmy_rollover_ns(24, UINT64_MAX) <= 23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_state_and_event_is_as_the_rules_say),
        cmocka_unit_test(an_impossible_pair_aborts),
        cmocka_unit_test(from_every_state_stop_leads_to_idle_and_idle_can_start),
        cmocka_unit_test(every_state_has_a_name),
        cmocka_unit_test(back_off_doubles_its_ceiling_and_keeps_its_floor),
        cmocka_unit_test(only_a_minute_of_data_forgives_failures),
        cmocka_unit_test(the_budget_allows_sixty_connects_in_any_five_minutes),
        cmocka_unit_test(the_budget_never_exceeds_its_window_whatever_the_pace),
        cmocka_unit_test(a_closed_gate_holds_and_is_never_shortened),
        cmocka_unit_test(retry_after_is_seconds_or_a_date_within_bounds),
        cmocka_unit_test(rollover_falls_between_20_and_23_of_24_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
