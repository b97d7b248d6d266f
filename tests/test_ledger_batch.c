/* Group commit when the disk does not play along: the batch is undone as a whole, the answer is in words, and the next batch works. */
#include "tests/ledger_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The page that makes a commit valid is written by a descriptor of its own, opened with O_DSYNC: here it fails as told. */
static enum { META_WELL, META_FAILS, META_FAILS_LATE } meta;

ssize_t pwrite(int fd, const void *data, size_t n, off_t offset); /* instead of the C library's */
ssize_t pwrite(int fd, const void *data, size_t n, off_t offset)
{
    bool is_meta = fcntl(fd, F_GETFL) & O_DSYNC;
    bool takes_back = !is_meta && n < 512; /* LMDB writes the end of the old page again */
    if (meta == META_FAILS_LATE && is_meta)
        syscall(SYS_pwrite64, fd, data, n, offset);
    if ((is_meta && meta != META_WELL) || (takes_back && meta == META_FAILS_LATE)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, n, offset);
}

static void credit_n(rig_t *r, uint64_t id, int from, int n, kmy_err_t *err)
{
    char ref[KMY_ACCOUNT_BYTES_MAX];
    for (int i = from; i < from + n && *err == KMY_OK; i++) {
        /* long references, so that pages fill soon */
        snprintf(ref, sizeof ref, "%0100d", i);
        *err = kmy_ledger_credit(r->ledger, id, "grant", ref, 1, NOW, NULL, &r->ctx);
    }
}

/* Batches until one fails; then nothing of that one is there, all before is, and the same references can be used once there is room.
   Returns how many credits were acknowledged. */
static int fill_until_refused(rig_t *r, uint64_t id, int per_batch)
{
    int done = 0;
    kmy_err_t err = KMY_OK;
    while (err == KMY_OK) {
        assert_in_range(done, 0, 10 * 1000 * 1000);
        err = kmy_ledger_begin(r->ledger, &r->ctx);
        if (err != KMY_OK)
            break;
        credit_n(r, id, done, per_batch, &err);
        kmy_err_t committed = kmy_ledger_commit(r->ledger, &r->ctx);
        if (err != KMY_OK)
            assert_int_equal(committed, err); /* a broken batch cannot be committed */
        err = committed;
        if (err == KMY_OK)
            done += per_batch;
    }
    assert_int_equal(err, KMY_IO);
    assert_true(strlen(r->ctx.detail) > 20);
    return done;
}

static void assert_holds(rig_t *r, uint64_t id, int64_t credits)
{
    kmy_account_t a;
    assert_int_equal(kmy_ledger_account_by_id(r->ledger, id, &a, &r->ctx), KMY_OK);
    assert_int_equal(a.credited_nusd, credits);
    assert_int_equal(a.balance_nusd, credits);
    rig_assert_clean(r);
}

static void a_full_map_undoes_the_batch_and_a_larger_one_goes_on(void **state)
{
    static const int batch_sizes[] = { 1, 7, 64 };
    (void)state;
    for (size_t i = 0; i < sizeof batch_sizes / sizeof *batch_sizes; i++) {
        rig_t r;
        kmy_ledger_options_t small = { .map_bytes = (size_t)256 << 10 };
        rig_make(&r, 1);
        assert_int_equal(kmy_ledger_open_with(&r.ledger, r.path, &small, NULL, &r.ctx), KMY_OK);
        uint64_t id = rig_account(&r, "local:a", 0);
        int done = fill_until_refused(&r, id, batch_sizes[i]);
        assert_true(done > 0);
        assert_non_null(strstr(r.ctx.detail, "undone"));
        assert_holds(&r, id, done);
        rig_close(&r);
        rig_open(&r);
        assert_holds(&r, id, done);
        kmy_err_t err = KMY_OK;
        rig_begin(&r);
        credit_n(&r, id, done, batch_sizes[i], &err); /* the refused ones, again */
        assert_int_equal(err, KMY_OK);
        rig_commit(&r);
        assert_holds(&r, id, done + batch_sizes[i]);
        rig_remove(&r);
    }
}

static void file_bytes_max(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* RLIMIT_FSIZE makes write() fail where the file would grow, as a full disk or an I/O error does. */
static void a_failing_write_undoes_the_batch_and_the_same_ledger_goes_on(void **state)
{
    rig_t r;
    char file[160];
    struct stat st;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", 0);
    int done = 0;
    for (int round = 0; round < 5; round++) {
        snprintf(file, sizeof file, "%s/data.mdb", r.path);
        assert_int_equal(stat(file, &st), 0);
        file_bytes_max((rlim_t)st.st_size);
        kmy_err_t err = KMY_OK;
        rig_begin(&r);
        credit_n(&r, id, done, 500, &err);
        assert_int_equal(err, KMY_OK);
        assert_int_equal(kmy_ledger_commit(r.ledger, &r.ctx), KMY_IO);
        assert_non_null(strstr(r.ctx.detail, "File too large"));
        assert_holds(&r, id, done);
        file_bytes_max(RLIM_INFINITY);

        rig_begin(&r);
        credit_n(&r, id, done, 500, &err);
        assert_int_equal(err, KMY_OK);
        rig_commit(&r);
        done += 500;
        assert_holds(&r, id, done);
    }
    rig_close(&r);
    rig_open(&r);
    assert_holds(&r, id, done);
    rig_remove(&r);
}

static void a_ledger_that_was_given_up_is_opened_anew_and_leases_stay_lent(void **state)
{
    rig_t r;
    (void)state;
    int64_t granted;
    kmy_err_t err = KMY_OK;
    kmy_account_t account;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", 1000);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_lease(r.ledger, id, 3, 600, NOW, &granted, NULL, &r.ctx), KMY_OK);
    rig_commit(&r);
    for (int round = 0; round < 3; round++) {
        char ref[32];
        snprintf(ref, sizeof ref, "again-%d", round);
        rig_begin(&r);
        assert_int_equal(kmy_ledger_credit(r.ledger, id, "grant", ref, 5, NOW, NULL, &r.ctx),
                         KMY_OK);
        meta = META_FAILS;
        assert_int_equal(kmy_ledger_commit(r.ledger, &r.ctx), KMY_IO);
        meta = META_WELL;
        rig_begin(&r); /* opens it anew */
        assert_int_equal(kmy_ledger_account_by_id(r.ledger, id, &account, &r.ctx), KMY_OK);
        assert_int_equal(account.credited_nusd, 1000 + 5 * round);
        assert_int_equal(account.leased_nusd, 600 - round);
        assert_int_equal(kmy_ledger_credit(r.ledger, id, "grant", ref, 5, NOW, NULL, &r.ctx),
                         KMY_OK);
        kmy_ledger_report_t report = { .account_id = id, .shard = 3, .consumed_nusd = 1 };
        err = kmy_ledger_settle(r.ledger, &report, NOW, NULL, &r.ctx);
        assert_int_equal(err, KMY_OK);
        rig_commit(&r);
    }
    rig_assert_clean(&r);
    rig_close(&r);
    rig_open(&r);
    assert_int_equal(r.recovery.leases_nusd, 597);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void a_batch_that_the_disk_refused_and_kept_ends_the_ledger_until_it_is_opened(void **state)
{
    rig_t r;
    (void)state;
    kmy_account_t account;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", 1000);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_revoke(r.ledger, "jti", NOW, &r.ctx), KMY_OK); /* no entry */
    meta = META_FAILS_LATE;
    assert_int_equal(kmy_ledger_commit(r.ledger, &r.ctx), KMY_IO);
    meta = META_WELL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kmy_ledger_begin(r.ledger, &r.ctx), KMY_CONFLICT);
        assert_int_equal(kmy_ledger_account_by_id(r.ledger, id, &account, &r.ctx), KMY_IO);
    }
    rig_close(&r);
    rig_open(&r);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void a_full_disk_undoes_the_batch_and_room_made_is_room_used(void **state)
{
    rig_t r;
    char ballast[160];
    (void)state;
    rig_make(&r, 0);
    if (mount("tmpfs", r.path, "tmpfs", 0, "size=1m") != 0) {
        rig_remove(&r);
        skip(); /* needs the right to mount */
    }
    snprintf(ballast, sizeof ballast, "%s/ballast", r.path);
    FILE *f = fopen(ballast, "w");
    assert_non_null(f);
    static const char zeros[512 << 10];
    assert_int_equal(fwrite(zeros, 1, sizeof zeros, f), sizeof zeros);
    fclose(f);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", 0);
    int done = fill_until_refused(&r, id, 64);
    assert_true(done > 0);
    /* LMDB calls a write that was cut short "Input/output error"; the next one is told ENOSPC. */
    assert_true(strstr(r.ctx.detail, "No space left") || strstr(r.ctx.detail, "Input/output"));
    assert_non_null(strstr(r.ctx.detail, "make room"));
    assert_holds(&r, id, done);
    assert_int_equal(unlink(ballast), 0);
    kmy_err_t err = KMY_OK;
    rig_begin(&r);
    credit_n(&r, id, done, 64, &err);
    assert_int_equal(err, KMY_OK);
    rig_commit(&r);
    assert_holds(&r, id, done + 64);
    rig_close(&r);
    rig_open(&r);
    assert_holds(&r, id, done + 64);
    rig_close(&r);
    assert_int_equal(umount2(r.path, MNT_DETACH), 0);
    assert_int_equal(rmdir(r.path), 0);
}

static void an_aborted_batch_and_a_refused_call_leave_no_trace(void **state)
{
    rig_t r;
    kmy_account_t a;
    int64_t granted;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", 5 * USD);
    kmy_ledger_audit_t before = rig_audit(&r);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_account_make(r.ledger, "local:b", NOW, &a, &r.ctx), KMY_OK);
    assert_int_equal(kmy_ledger_credit(r.ledger, a.id, "grant", "b", 7, NOW, NULL, &r.ctx), KMY_OK);
    assert_int_equal(kmy_ledger_lease(r.ledger, id, 0, USD, NOW, &granted, NULL, &r.ctx), KMY_OK);
    kmy_ledger_abort(r.ledger);
    kmy_ledger_audit_t after = rig_audit(&r);
    assert_memory_equal(&before, &after, sizeof before);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_credit(r.ledger, 99, "grant", "x", 7, NOW, NULL, &r.ctx),
                     KMY_NOT_FOUND);
    assert_int_equal(kmy_ledger_credit(r.ledger, id, "Not A Word", "x", 7, NOW, NULL, &r.ctx),
                     KMY_BAD_INPUT);
    assert_int_equal(kmy_ledger_credit(r.ledger, id, "grant", "x", INT64_MAX, NOW, NULL, &r.ctx),
                     KMY_OVERFLOW);
    rig_commit(&r);
    after = rig_audit(&r);
    assert_memory_equal(&before, &after, sizeof before);
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_aborted_batch_and_a_refused_call_leave_no_trace),
        cmocka_unit_test(a_full_map_undoes_the_batch_and_a_larger_one_goes_on),
        cmocka_unit_test(a_failing_write_undoes_the_batch_and_the_same_ledger_goes_on),
        cmocka_unit_test(a_ledger_that_was_given_up_is_opened_anew_and_leases_stay_lent),
        cmocka_unit_test(a_batch_that_the_disk_refused_and_kept_ends_the_ledger_until_it_is_opened),
        cmocka_unit_test(a_full_disk_undoes_the_batch_and_room_made_is_room_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
