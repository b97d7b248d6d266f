/* store/kv: one environment, opened once. */
#include "store/kv.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static char path[96];
static char other[96];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/kmy-test-kv-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/env", folder);
    snprintf(other, sizeof other, "%s/copy", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

typedef struct rows {
    unsigned from;
    unsigned count;
} rows_t;

static int put_rows(MDB_txn *txn, void *arg)
{
    const rows_t *rows = arg;
    MDB_dbi db;
    char text[256];
    int rc = mdb_dbi_open(txn, "rows", MDB_CREATE, &db);
    memset(text, 'x', sizeof text);
    for (unsigned i = rows->from; rc == 0 && i < rows->from + rows->count; i++) {
        MDB_val key = { sizeof i, &i };
        MDB_val data = { sizeof text, text };
        rc = mdb_put(txn, db, &key, &data, 0);
    }
    return rc;
}

static size_t count_rows(kmy_kv_t *kv)
{
    MDB_txn *txn;
    MDB_dbi db;
    MDB_stat stat = { 0 };
    assert_int_equal(mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn), 0);
    if (mdb_dbi_open(txn, "rows", 0, &db) == 0)
        mdb_stat(txn, db, &stat);
    mdb_txn_abort(txn);
    return stat.ms_entries;
}

static void what_is_committed_is_there_after_opening_again(void **state)
{
    (void)state;
    for (int sync = KMY_KV_DURABLE; sync <= KMY_KV_RELAXED; sync++) {
        kmy_kv_t kv;
        kmy_kv_options_t o = { .sync = (kmy_kv_sync_t)sync, .map_bytes = 1 << 22 };
        rows_t rows = { (unsigned)sync * 100, 100 };
        assert_int_equal(kmy_kv_open(&kv, path, &o, NULL), KMY_OK);
        assert_int_equal(kmy_kv_write(&kv, put_rows, &rows, NULL), KMY_OK);
        kmy_kv_close(&kv);
        o.read_only = true;
        assert_int_equal(kmy_kv_open(&kv, path, &o, NULL), KMY_OK);
        assert_int_equal(count_rows(&kv), ((unsigned)sync + 1) * 100);
        kmy_kv_close(&kv);
    }
}

static void the_folder_is_for_its_owner_alone(void **state)
{
    (void)state;
    kmy_kv_t kv;
    kmy_kv_options_t o = { 0 };
    struct stat st;
    assert_int_equal(kmy_kv_open(&kv, path, &o, NULL), KMY_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    kmy_kv_close(&kv);
}

static void a_second_open_in_one_process_is_refused_and_harmless(void **state)
{
    (void)state;
    kmy_kv_t kv;
    kmy_kv_t second;
    kmy_kv_options_t o = { 0 };
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(kmy_kv_open(&kv, path, &o, NULL), KMY_OK);
    assert_int_equal(kmy_kv_open(&second, path, &o, &ctx), KMY_CONFLICT);
    assert_non_null(strstr(ctx.detail, "already"));
    rows_t rows = { 0, 10 };
    assert_int_equal(kmy_kv_write(&kv, put_rows, &rows, NULL), KMY_OK);
    kmy_kv_close(&kv);
    assert_int_equal(kmy_kv_open(&second, path, &o, NULL), KMY_OK);
    kmy_kv_close(&second);
}

static void a_full_map_grows_up_to_its_limit_and_keeps_what_it_had(void **state)
{
    (void)state;
    kmy_kv_t kv;
    kmy_errctx_t ctx = { 0 };
    kmy_kv_options_t o = { .map_bytes = 1 << 18, .map_bytes_max = 1 << 21 };
    assert_int_equal(kmy_kv_open(&kv, path, &o, NULL), KMY_OK);
    rows_t rows = { 0, 4000 }; /* 4,000 x 256 bytes: a megabyte, four times the map */
    assert_int_equal(kmy_kv_write(&kv, put_rows, &rows, NULL), KMY_OK);
    assert_int_equal(count_rows(&kv), 4000);
    rows_t too_many = { 4000, 40000 };
    assert_int_equal(kmy_kv_write(&kv, put_rows, &too_many, &ctx), KMY_FULL);
    assert_non_null(strstr(ctx.detail, "MAP_FULL"));
    assert_int_equal(count_rows(&kv), 4000);
    kmy_kv_close(&kv);
}

static int put_and_fail(MDB_txn *txn, void *arg)
{
    int rc = put_rows(txn, arg);
    return rc ? rc : MDB_KEYEXIST;
}

static void a_failed_write_leaves_nothing(void **state)
{
    (void)state;
    kmy_kv_t kv;
    kmy_kv_options_t o = { 0 };
    rows_t rows = { 0, 10 };
    assert_int_equal(kmy_kv_open(&kv, path, &o, NULL), KMY_OK);
    assert_int_equal(kmy_kv_write(&kv, put_and_fail, &rows, NULL), KMY_DUPLICATE);
    assert_int_equal(count_rows(&kv), 0);
    kmy_kv_close(&kv);
}

static void reserved_space_has_disk_blocks(void **state)
{
    (void)state;
    kmy_kv_t kv;
    kmy_kv_options_t o = { .sync = KMY_KV_RELAXED, .map_bytes = (size_t)1 << 30 };
    struct stat st;
    char file[128];
    snprintf(file, sizeof file, "%s/data.mdb", path);
    assert_int_equal(kmy_kv_open(&kv, path, &o, NULL), KMY_OK);
    assert_int_equal(kmy_kv_reserve(&kv, 5 << 20, NULL), KMY_OK);
    assert_int_equal(stat(file, &st), 0);
    assert_true((size_t)st.st_blocks * 512 >= 5u << 20);
    blkcnt_t blocks = st.st_blocks;
    assert_int_equal(kmy_kv_reserve(&kv, 5 << 20, NULL), KMY_OK); /* has it already */
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_blocks, blocks);
    kmy_kv_close(&kv);
}

static void what_is_no_environment_is_corrupt(void **state)
{
    (void)state;

    char file[128];
    char page[8192];
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(file, sizeof file, "%s/data.mdb", path);
    memset(page, 0x5a, sizeof page);
    memcpy(page, "this is not LMDB", 16);
    int fd = open(file, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, page, sizeof page), sizeof page);
    close(fd);
    kmy_kv_t kv;
    kmy_kv_options_t o = { .sync = KMY_KV_RELAXED };
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(kmy_kv_open(&kv, path, &o, &ctx), KMY_CORRUPT);
    assert_non_null(strstr(ctx.detail, path));
}

static void what_a_power_cut_left_of_a_new_one_is_in_nobodys_way(void **state)
{
    (void)state;
    char aside[128];
    char file[128];
    struct stat st;
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(aside, sizeof aside, "%s/new-%d.mdb", path, (int)getpid());
    snprintf(file, sizeof file, "%s/data.mdb", path);
    int fd = open(aside, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(ftruncate(fd, 8192), 0); /* two pages of nothing */
    close(fd);
    kmy_kv_t kv;
    kmy_kv_options_t o = { .sync = KMY_KV_DURABLE };
    assert_int_equal(kmy_kv_open(&kv, path, &o, NULL), KMY_OK);
    assert_int_equal(stat(aside, &st), -1);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(st.st_mode & 0777, 0600);
    kmy_kv_close(&kv);
}

static void a_reader_of_nothing_is_told_so(void **state)
{
    (void)state;
    kmy_kv_t kv;
    kmy_errctx_t ctx = { 0 };
    kmy_kv_options_t o = { .read_only = true };
    assert_int_equal(kmy_kv_open(&kv, path, &o, &ctx), KMY_IO);
    assert_non_null(strstr(ctx.detail, path));
}

static void a_hot_copy_is_whole_and_never_overwrites(void **state)
{
    (void)state;
    kmy_kv_t kv;
    kmy_kv_t copy;
    kmy_kv_options_t o = { 0 };
    rows_t rows = { 0, 1000 };
    assert_int_equal(kmy_kv_open(&kv, path, &o, NULL), KMY_OK);
    assert_int_equal(kmy_kv_write(&kv, put_rows, &rows, NULL), KMY_OK);
    assert_int_equal(kmy_kv_copy(&kv, other, NULL), KMY_OK);
    assert_int_equal(kmy_kv_copy(&kv, other, NULL), KMY_IO);
    assert_int_equal(kmy_kv_open(&copy, other, &o, NULL), KMY_OK);
    assert_int_equal(count_rows(&copy), 1000);
    kmy_kv_close(&copy);
    kmy_kv_close(&kv);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_committed_is_there_after_opening_again),
        TEST(the_folder_is_for_its_owner_alone),
        TEST(a_second_open_in_one_process_is_refused_and_harmless),
        TEST(a_full_map_grows_up_to_its_limit_and_keeps_what_it_had),
        TEST(a_failed_write_leaves_nothing),
        TEST(reserved_space_has_disk_blocks),
        TEST(what_is_no_environment_is_corrupt),
        TEST(what_a_power_cut_left_of_a_new_one_is_in_nobodys_way),
        TEST(a_reader_of_nothing_is_told_so),
        TEST(a_hot_copy_is_whole_and_never_overwrites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
