/* engine/slips: what a shard asks the cashier comes back to who asked, or to nobody, and no slip is ever lost or in two hands.

   The file under test is compiled into this one; the connections' life and the cashier are played here. */
#include "engine/slips.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/slips.c"

enum { CONNS = KMY_SLIPS + 1 };

static struct {
    kmy_shard_t s;
    kmy_topology_t t;
    kmy_metrics_t metrics;
    kmy_conn_t conn[CONNS];
    uint32_t resumed, paid, told;
    kmy_slip_t *seen;
    bool send_again;
} x;

/* --- the shard's other files ------------------------------------------------------------------------ */

void kmy_conn_park(kmy_conn_t *c)
{
    assert_false(c->parked);
    c->parked = true;
    c->parked_account = KMY_NONE;
}

/* The request is run again. */
void kmy_conn_resume(kmy_shard_t *s, kmy_conn_t *c)
{
    assert_true(c->answered);
    assert_false(c->parked);
    x.resumed++;
    x.seen = s->slip;
    if (x.send_again) {
        x.send_again = false;
        s->slip->kind = KMY_SLIP_ANSWER;
        kmy_slip_send_and_park(s, c, s->slip);
    }
}

void kmy_stream_paid(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip)
{
    (void)s;
    (void)c;
    x.paid++;
    x.seen = slip;
}

void kmy_discount_told(kmy_shard_t *s, const kmy_slip_t *slip)
{
    (void)s;
    (void)slip;
    x.told++;
}

/* --- the cashier --------------------------------------------------------------------------------------- */

static kmy_slip_t *cashier_takes(void)
{
    uint64_t idx;
    return kmy_queue_pop(x.t.shard_cashier[0], &idx) ? &x.t.slips[0][idx] : NULL;
}

static void cashier_answers(kmy_slip_t *slip)
{
    uint64_t idx = (uint64_t)(slip - x.t.slips[0]);
    slip->result = KMY_SLIP_DONE;
    assert_true(kmy_queue_push(x.t.cashier_shard[0], &idx));
}

/* --- */

static int begin(void **state)
{
    (void)state;
    kmy_config_t cfg;
    kmy_errctx_t ctx;
    memset(&cfg, 0, sizeof cfg);
    memset(&x, 0, sizeof x);
    cfg.ring.slots = 64;
    if (kmy_topology_make(&x.t, &cfg, 1, NULL, 1, &ctx) != KMY_OK)
        return -1;
    x.s.o.topology = &x.t;
    x.s.metrics = &x.metrics;
    x.s.conns = x.conn;
    x.s.conns_high = CONNS;
    for (uint32_t i = 0; i < CONNS; i++)
        x.conn[i] = (kmy_conn_t){ .state = KMY_CONN_HTTP, .gen = 7, .parked_account = KMY_NONE };
    kmy_slips_init(&x.s);
    return 0;
}

static int end(void **state)
{
    (void)state;
    kmy_topology_free(&x.t);
    return 0;
}

static void all_are_free(void)
{
    for (size_t i = 0; i < KMY_SLIPS / 64; i++)
        assert_true(x.s.slips_free[i] == UINT64_MAX && x.s.slips_sent[i] == 0);
    assert_null(x.s.slip);
}

static kmy_slip_t *ask(uint32_t conn)
{
    kmy_slip_t *slip = kmy_slip_take(&x.s);
    assert_non_null(slip);
    kmy_slip_send_and_park(&x.s, &x.conn[conn], slip);
    return slip;
}

static void the_request_that_asked_is_run_again_with_its_answer(void **state)
{
    (void)state;
    kmy_slip_t *slip = ask(3);
    assert_true(x.conn[3].parked);
    assert_ptr_equal(cashier_takes(), slip);
    assert_int_equal(kmy_slips_turn(&x.s, KMY_SLIPS), 0); /* nothing yet */
    cashier_answers(slip);
    assert_int_equal(kmy_slips_turn(&x.s, KMY_SLIPS), 1);
    assert_int_equal(x.resumed, 1);
    assert_ptr_equal(x.seen, slip);
    assert_false(x.conn[3].parked);
    assert_false(x.conn[3].answered);
    all_are_free();
}

static void a_slip_may_be_sent_again_by_the_request_that_got_it(void **state)
{
    (void)state;
    kmy_slip_t *slip = ask(3);
    cashier_answers(cashier_takes());
    x.send_again = true;
    kmy_slips_turn(&x.s, KMY_SLIPS);
    assert_true(x.conn[3].parked);
    assert_true(x.s.slips_free[0] != UINT64_MAX); /* nobody else may have it now */
    assert_ptr_equal(cashier_takes(), slip);
    assert_int_equal(slip->kind, KMY_SLIP_ANSWER);
    cashier_answers(slip);
    kmy_slips_turn(&x.s, KMY_SLIPS);
    assert_int_equal(x.resumed, 2);
    all_are_free();
}

static void an_accounts_slip_comes_back_to_no_connection_of_its_number(void **state)
{
    (void)state;
    kmy_slip_t *of_conn = ask(3);
    kmy_slip_t *slip = kmy_slip_take(&x.s);
    slip->ask = KMY_SLIP_ASK_ACCOUNT;
    slip->conn = 3;
    slip->gen = 7;
    kmy_slip_send(&x.s, slip);
    cashier_takes();
    cashier_answers(slip);
    kmy_slips_turn(&x.s, KMY_SLIPS);
    assert_int_equal(x.told, 1);
    assert_int_equal(x.resumed + x.paid, 0);
    assert_true(x.conn[3].parked);
    cashier_takes();
    cashier_answers(of_conn);
    kmy_slips_turn(&x.s, KMY_SLIPS);
    assert_int_equal(x.resumed, 1);
    all_are_free();
}

static void there_are_so_many_and_then_there_is_none(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < KMY_SLIPS; i++)
        ask(i);
    assert_null(kmy_slip_take(&x.s));
    assert_int_equal(x.metrics.value[KMY_METRIC_slip_refused_total], 1);
    for (uint32_t i = 0; i < KMY_SLIPS; i++)
        cashier_answers(cashier_takes());
    assert_int_equal(kmy_slips_turn(&x.s, KMY_SLIPS), KMY_SLIPS);
    assert_int_equal(x.resumed, KMY_SLIPS);
    all_are_free();
}

static void a_slip_begins_with_nothing_of_its_earlier_use(void **state)
{
    (void)state;
    kmy_slip_t *slip = kmy_slip_take(&x.s);
    memset(slip, 0xaa, sizeof *slip);
    kmy_slip_drop(&x.s, slip);
    assert_ptr_equal(kmy_slip_take(&x.s), slip);
    for (size_t i = 0; i < offsetof(kmy_slip_t, header); i++)
        assert_int_equal(((const uint8_t *)slip)[i], 0);
    kmy_slip_drop(&x.s, slip);
    all_are_free();
}

static void who_is_gone_is_answered_no_more(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint32_t gen;
        uint8_t conn_state;
        bool parked;
        uint32_t parked_account;
    } row[] = {
        { "another has its slot", 8, KMY_CONN_HTTP, true, KMY_NONE },
        { "its slot is free", 7, KMY_CONN_FREE, true, KMY_NONE },
        { "it is dying", 7, KMY_CONN_DEAD, true, KMY_NONE },
        { "it waits for nothing", 7, KMY_CONN_HTTP, false, KMY_NONE },
        { "it waits for an account", 7, KMY_CONN_HTTP, true, 5 },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        ask(3);
        x.conn[3].gen = row[i].gen;
        x.conn[3].state = row[i].conn_state;
        x.conn[3].parked = row[i].parked;
        x.conn[3].parked_account = row[i].parked_account;
        cashier_answers(cashier_takes());
        assert_int_equal(kmy_slips_turn(&x.s, KMY_SLIPS), 1);
        if (x.resumed != 0 || x.paid != 0)
            fail_msg("answered, though %s", row[i].what);
        all_are_free();
        x.conn[3] = (kmy_conn_t){ .state = KMY_CONN_HTTP, .gen = 7, .parked_account = KMY_NONE };
    }
}

static void a_stream_that_pays_is_told_and_not_parked(void **state)
{
    (void)state;
    kmy_slip_t *slip = kmy_slip_take(&x.s);
    slip->conn = 9;
    slip->gen = 7;
    slip->ask = KMY_SLIP_ASK_STREAM | 5;
    x.conn[9].state = KMY_CONN_WS;
    kmy_slip_send(&x.s, slip);
    cashier_answers(cashier_takes());
    kmy_slips_turn(&x.s, KMY_SLIPS);
    assert_int_equal(x.paid, 1);
    assert_int_equal(x.resumed, 0);
    assert_ptr_equal(x.seen, slip);
    all_are_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_request_that_asked_is_run_again_with_its_answer, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_slip_may_be_sent_again_by_the_request_that_got_it, begin,
                                        end),
        cmocka_unit_test_setup_teardown(an_accounts_slip_comes_back_to_no_connection_of_its_number,
                                        begin, end),
        cmocka_unit_test_setup_teardown(there_are_so_many_and_then_there_is_none, begin, end),
        cmocka_unit_test_setup_teardown(a_slip_begins_with_nothing_of_its_earlier_use, begin, end),
        cmocka_unit_test_setup_teardown(who_is_gone_is_answered_no_more, begin, end),
        cmocka_unit_test_setup_teardown(a_stream_that_pays_is_told_and_not_parked, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
