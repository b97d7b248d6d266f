/* engine/session_table: what ended is found again by its own account, once, for ten minutes, and never takes more memory than it may. */
#include "engine/session_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define T0 INT64_C(5000000000)
static kmy_session_table_t *t;

static int set_up(void **state)
{
    (void)state;
    t = kmy_session_table_new();
    return t ? 0 : -1;
}
static int tear_down(void **state)
{
    (void)state;
    kmy_session_table_free(t);
    return 0;
}

static void end_session(uint64_t id, const char *account, uint32_t runs, int64_t now_ns)
{
    kmy_charges_t *l = kmy_charges_new(account, runs);
    for (uint32_t i = 0; i < runs; i++)
        kmy_charges_add(l, i, 1, 1 + id);
    kmy_charges_close(l);
    l->id[0] = id;
    l->id[1] = ~id;
    kmy_session_table_put(t, l, now_ns);
}

static bool taken(uint64_t id, const char *account, int64_t now_ns)
{
    kmy_charges_t *l = kmy_session_table_take(t, (const uint64_t[]){ id, ~id }, account, now_ns);
    bool got = l != NULL;
    if (got)
        assert_int_equal(l->run[0].to, 1 + id);
    free(l);
    return got;
}

static void a_session_is_taken_once_and_by_its_account_alone(void **state)
{
    (void)state;
    end_session(1, "local:a", 1, T0);
    end_session(2, "local:b", 1, T0);
    assert_false(taken(3, "local:a", T0));
    assert_false(taken(1, "local:b", T0));
    assert_false(taken(1, "local:ab", T0));
    assert_true(taken(1, "local:a", T0)); /* who tried before took nothing away */
    assert_false(taken(1, "local:a", T0));
    assert_true(taken(2, "local:b", T0));
}

static void an_id_that_comes_twice_is_the_later_one(void **state)
{
    (void)state;
    end_session(1, "local:a", 1, T0);
    end_session(1, "local:b", 1, T0);
    assert_false(taken(1, "local:a", T0));
    assert_true(taken(1, "local:b", T0));
    assert_false(taken(1, "local:b", T0));
}

static void after_ten_minutes_it_is_gone(void **state)
{
    (void)state;
    end_session(1, "local:a", 1, T0);
    end_session(2, "local:a", 1, T0);
    assert_true(taken(1, "local:a", T0 + KMY_SESSION_KEEP_NS));
    assert_false(taken(2, "local:a", T0 + KMY_SESSION_KEEP_NS + 1));
}

static void above_its_memory_the_oldest_give_way(void **state)
{
    (void)state;
    const size_t each = sizeof(kmy_charges_t) + 100 * sizeof(kmy_charged_t);
    const uint64_t fit = KMY_SESSION_TABLE_BYTES_MAX / each;
    for (uint64_t id = 1; id <= fit + 10; id++)
        end_session(id, "local:a", 100, T0);
    for (uint64_t id = 1; id <= 10; id++)
        assert_false(taken(id, "local:a", T0));
    for (uint64_t id = 11; id <= fit + 10; id++)
        assert_true(taken(id, "local:a", T0));
}

static void an_id_says_where_its_session_lives(void **state)
{
    (void)state;
    static const kmy_session_place_t places[] = { { 0, 0, 0 },
                                                  { 63, UINT32_MAX, 0xffffff },
                                                  { 5, 19999, 77 } };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        uint64_t id[2];
        kmy_session_id_make(places[i], 0x1234567890abcdef + i, id);
        assert_int_not_equal(id[0] >> 32,
                             (uint64_t)places[i].shard << 24 | places[i].gen); /* and hides it */
        kmy_session_place_t p = kmy_session_id_place(id);
        assert_memory_equal(&p, &places[i], sizeof p);
    }
}

static void a_claim_goes_to_the_shard_of_the_session_and_its_answer_back(void **state)
{
    (void)state;
    uint64_t id[2];
    kmy_session_id_make((kmy_session_place_t){ 2, 7, 9 }, 42, id);
    assert_null(kmy_session_claims(t, 2, false));
    assert_true(kmy_session_claim_send(t, id, "local:a", (kmy_session_place_t){ 1, 3, 4 }));
    assert_true(kmy_session_claim_send(t, id, "local:b", (kmy_session_place_t){ 1, 5, 6 }));
    assert_null(kmy_session_claims(t, 1, false));
    kmy_session_claim_t *c = kmy_session_claims(t, 2, false);
    assert_non_null(c);
    assert_string_equal(c->account, "local:a");
    assert_memory_equal(c->id, id, sizeof id);
    assert_null(kmy_session_claims(t, 2, false)); /* handed over once */
    kmy_session_claim_t *second = c->next;
    assert_string_equal(second->account, "local:b");
    assert_null(second->next);
    kmy_session_claim_answer(t, c);
    kmy_session_claim_answer(t, second); /*   */
    c = kmy_session_claims(t, 1, true);
    assert_int_equal(c->by.conn, 3);
    assert_int_equal(c->next->by.conn, 5);
    free(c->next);
    free(c);
    assert_null(kmy_session_claims(t, 1, true));
    assert_true(kmy_session_claim_send(t, id, "local:c",
                                       (kmy_session_place_t){ 1, 3, 4 })); /* never looked at */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_session_is_taken_once_and_by_its_account_alone),
        TEST(an_id_that_comes_twice_is_the_later_one),
        TEST(after_ten_minutes_it_is_gone),
        TEST(above_its_memory_the_oldest_give_way),
        TEST(an_id_says_where_its_session_lives),
        TEST(a_claim_goes_to_the_shard_of_the_session_and_its_answer_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
