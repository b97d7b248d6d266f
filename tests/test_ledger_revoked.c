/* A revoked token stays revoked: over a restart, and until long after it would have expired. */
#include "tests/ledger_rig.h"

#define HOUR INT64_C(3600000000000)

typedef struct seen {
    int count;
    int stop_after;
    char last[KMY_JTI_BYTES_MAX];
    int64_t last_expires_ns;
} seen_t;

static bool see(void *arg, const char *jti, int64_t expires_ns)
{
    seen_t *s = arg;
    s->count++;
    snprintf(s->last, sizeof s->last, "%s", jti);
    s->last_expires_ns = expires_ns;
    return s->count != s->stop_after;
}

static int count_at(rig_t *r, int64_t now_ns)
{
    seen_t s = { 0 };
    assert_int_equal(kmy_ledger_visit_revoked(r->ledger, now_ns, see, &s, &r->ctx), KMY_OK);
    return s.count;
}

static void revoked_is_revoked_until_a_day_after_expiry(void **state)
{
    rig_t r;
    seen_t s = { 0 };
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_revoke(r.ledger, "short", NOW + HOUR, &r.ctx), KMY_OK);
    assert_int_equal(kmy_ledger_revoke(r.ledger, "long", NOW + 100 * HOUR, &r.ctx), KMY_OK);
    assert_int_equal(kmy_ledger_revoke(r.ledger, "ever", INT64_MAX, &r.ctx), KMY_OK);
    rig_commit(&r);
    rig_close(&r);
    rig_open(&r);
    assert_int_equal(count_at(&r, NOW), 3);
    assert_int_equal(count_at(&r, NOW + 24 * HOUR), 3); /* clocks jump */
    assert_int_equal(count_at(&r, NOW + 26 * HOUR), 2);
    assert_int_equal(count_at(&r, NOW), 3); /* only looked: nothing was removed */
    rig_begin(&r);
    assert_int_equal(count_at(&r, NOW + 26 * HOUR), 2);
    rig_commit(&r);
    assert_int_equal(count_at(&r, NOW), 2); /* in a batch it is removed */
    s.stop_after = 1;
    assert_int_equal(kmy_ledger_visit_revoked(r.ledger, NOW, see, &s, &r.ctx), KMY_OK);
    assert_int_equal(s.count, 1);
    assert_string_equal(s.last, "ever");
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void revoking_twice_keeps_the_later_expiry(void **state)
{
    rig_t r;
    seen_t s = { 0 };
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_revoke(r.ledger, "a", NOW + 5, &r.ctx), KMY_OK);
    assert_int_equal(kmy_ledger_revoke(r.ledger, "a", NOW + 9, &r.ctx), KMY_OK);
    assert_int_equal(kmy_ledger_revoke(r.ledger, "a", NOW, &r.ctx), KMY_OK);
    rig_commit(&r);
    assert_int_equal(kmy_ledger_visit_revoked(r.ledger, NOW, see, &s, &r.ctx), KMY_OK);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.last_expires_ns, NOW + 9);
    rig_remove(&r);
}

static void an_id_of_a_wrong_length_is_refused(void **state)
{
    rig_t r;
    char big[KMY_JTI_BYTES_MAX + 1];
    (void)state;
    memset(big, 'x', sizeof big);
    big[KMY_JTI_BYTES_MAX] = '\0';
    rig_make(&r, 1);
    rig_open(&r);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_revoke(r.ledger, "", NOW, &r.ctx), KMY_BAD_INPUT);
    assert_int_equal(kmy_ledger_revoke(r.ledger, big, NOW, &r.ctx), KMY_BAD_INPUT);
    big[KMY_JTI_BYTES_MAX - 1] = '\0';
    assert_int_equal(kmy_ledger_revoke(r.ledger, big, NOW, &r.ctx), KMY_OK);
    rig_commit(&r);
    assert_int_equal(count_at(&r, NOW), 1);
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revoked_is_revoked_until_a_day_after_expiry),
        cmocka_unit_test(revoking_twice_keeps_the_later_expiry),
        cmocka_unit_test(an_id_of_a_wrong_length_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
