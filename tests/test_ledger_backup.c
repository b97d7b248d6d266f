/* A backup is one instant of the ledger, it adds up, and nothing half-made is left where one was asked for. */
#include "tests/ledger_rig.h"

#include "pay/ledger_backup.h"

#include <fcntl.h>

static void folder_beside(const rig_t *r, char out[96])
{
    snprintf(out, 96, "%.80s-copy", r->path);
}

static void remove_copy(const char *path)
{
    char file[160];
    snprintf(file, sizeof file, "%s/data.mdb", path);
    unlink(file);
    snprintf(file, sizeof file, "%s/lock.mdb", path);
    unlink(file);
    snprintf(file, sizeof file, "%s/owner.lock", path);
    unlink(file);
    rmdir(path);
}

static void a_backup_is_one_instant_and_its_open_leases_go_back_when_it_is_opened(void **state)
{
    (void)state;
    rig_t r;
    rig_t copy;
    char to[96];
    kmy_account_t a;
    kmy_ledger_audit_t audit;
    int64_t granted;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", 5 * USD);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_lease(r.ledger, id, 0, USD, NOW, &granted, NULL, &r.ctx), KMY_OK);
    rig_commit(&r);
    folder_beside(&r, to);
    rig_close(&r); /* one handle in a process: e2e_backup does it beside a daemon that writes */
    assert_int_equal(kmy_ledger_backup(r.path, to, &audit, &r.ctx), KMY_OK);
    assert_int_equal(audit.leased_nusd, USD);
    rig_open(&r);
    rig_account(&r, "local:after", USD);

    memset(&copy, 0, sizeof copy);
    snprintf(copy.path, sizeof copy.path, "%s", to);
    rig_open(&copy);
    assert_int_equal(copy.recovery.leases_count, 1);
    assert_int_equal(kmy_ledger_account_by_name(copy.ledger, "local:a", &a, &copy.ctx), KMY_OK);
    assert_int_equal(a.balance_nusd, 5 * USD);
    assert_int_equal(kmy_ledger_account_by_name(copy.ledger, "local:after", &a, &copy.ctx),
                     KMY_NOT_FOUND);
    rig_assert_clean(&copy);
    rig_remove(&copy);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void what_is_no_ledger_or_does_not_add_up_leaves_nothing(void **state)
{
    (void)state;
    rig_t r;
    char to[96];
    char file[160];
    kmy_ledger_audit_t audit;
    kmy_errctx_t ctx = { 0 };
    rig_make(&r, 1);
    folder_beside(&r, to);
    assert_int_not_equal(kmy_ledger_backup(r.path, to, &audit, &ctx), KMY_OK); /* empty folder */
    assert_int_equal(access(to, F_OK), -1);
    rig_open(&r);
    rig_account(&r, "local:somebody", 5 * USD);
    rig_close(&r);
    /* A name that is changed on the disk: LMDB does not see it, the recount does. */
    snprintf(file, sizeof file, "%s/data.mdb", r.path);
    int fd = open(file, O_RDWR);
    static char bytes[1 << 20];
    ssize_t n = read(fd, bytes, sizeof bytes);
    int changed = 0;
    for (ssize_t i = 0; i + 14 < n; i++) {
        if (memcmp(bytes + i, "local:somebody", 14) == 0 && bytes[i + 14] != 0 && !changed)
            changed = pwrite(fd, "local:somebodx", 14, i) == 14;
    }
    close(fd);
    assert_true(changed);
    kmy_err_t err = kmy_ledger_backup(r.path, to, &audit, &ctx);
    assert_int_equal(err, KMY_CORRUPT);
    assert_non_null(strstr(ctx.detail, "fault"));
    assert_int_equal(access(to, F_OK), -1);
    rig_remove(&r);
}

static void a_backup_never_overwrites(void **state)
{
    (void)state;
    rig_t r;
    char to[96];
    kmy_ledger_audit_t audit;
    rig_make(&r, 1);
    rig_open(&r);
    rig_account(&r, "local:a", USD);
    rig_close(&r);
    folder_beside(&r, to);
    assert_int_equal(kmy_ledger_backup(r.path, to, &audit, NULL), KMY_OK);
    assert_int_equal(audit.credited_nusd, USD);
    assert_int_not_equal(kmy_ledger_backup(r.path, to, &audit, NULL), KMY_OK);
    char file[160];
    snprintf(file, sizeof file, "%s/data.mdb", to);
    assert_int_equal(access(file, F_OK), 0);
    remove_copy(to);
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_is_one_instant_and_its_open_leases_go_back_when_it_is_opened),
        cmocka_unit_test(what_is_no_ledger_or_does_not_add_up_leaves_nothing),
        cmocka_unit_test(a_backup_never_overwrites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
