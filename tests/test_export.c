/* store/export: a snapshot is an environment that LMDB itself reads, with what was wanted and nothing else. */
#include "store/export.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FEEDS = 300 };

static char folder[64];
static kmy_snapshot_t *store;
static kmy_snapshot_reader_t *reader;
static kmy_errctx_t ctx;

static void must(kmy_err_t err)
{
    if (err != KMY_OK)
        fail_msg("%s", ctx.detail);
}

/* One tick of each feed, twice, from two sources. */
static void fill(uint32_t feeds)
{
    static kmy_tick_t tick[4 * FEEDS];
    static kmy_snapshot_item_t item[4 * FEEDS];
    static char value[4 * FEEDS][200];
    size_t n = 0;
    for (uint64_t round = 1; round <= 2; round++) {
        for (uint32_t i = 0; i < feeds; i++) {
            for (uint8_t source = 1; source <= 2; source++, n++) {
                char name[32];
                uint32_t id;
                snprintf(name, sizeof name, "F%u/USD", i);
                must(kmy_snapshot_feed_id(store, name, &id, &ctx));
                tick[n] = (kmy_tick_t){ .seq = n + 1,
                                        .offset = 2 * round + source,
                                        .feed_id = id,
                                        .source = source,
                                        .kind = 3,
                                        .recv_ns = 1 };
                memset(value[n], 0, sizeof value[n]);
                snprintf(value[n], sizeof value[n], "%s round %d source %u", name, (int)round,
                         source);
                item[n] = (kmy_snapshot_item_t){ &tick[n], value[n], sizeof value[n] };
            }
        }
    }
    must(kmy_snapshot_flush(store, item, n, 1, &ctx));
}

static int set_up(void **state)
{
    (void)state;
    const kmy_snapshot_options_t o = { .map_bytes = 64 << 20, .history_age_ns_max = INT64_MAX };
    bool clean, rebuilt;
    strcpy(folder, "/tmp/kmy-test-export-XXXXXX");
    assert_non_null(mkdtemp(folder));
    must(kmy_snapshot_open(&store, folder, &o, &clean, &rebuilt, &ctx));
    must(kmy_snapshot_reader_share(&reader, store, &ctx));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    kmy_snapshot_reader_close(reader);
    kmy_snapshot_close(store);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static bool odd_only(void *arg, uint32_t feed_id, uint8_t source, uint8_t kind, const void *value,
                     size_t bytes)
{
    assert_int_equal(kind, 3);
    assert_true(source == 1 || source == 2);
    assert_int_equal(bytes, 200);
    assert_non_null(strstr(value, "round 2"));
    ++*(unsigned *)arg;
    return feed_id % 2 == 1;
}

/* Saved under a name of our own and opened by LMDB, as a customer would. */
static MDB_env *open_saved(const kmy_export_t *e, const char *name)
{
    char file[128];
    snprintf(file, sizeof file, "%s/%s", folder, name);
    FILE *f = fopen(file, "w");
    assert_int_equal(fwrite(e->bytes, 1, e->len, f), e->len);
    fclose(f);
    MDB_env *env;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
    assert_int_equal(mdb_env_open(env, file, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0), 0);
    return env;
}

static size_t rows(MDB_env *env, const char *table)
{
    MDB_txn *txn;
    MDB_dbi db;
    MDB_stat st;
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &db), 0);
    assert_int_equal(mdb_stat(txn, db, &st), 0);
    mdb_txn_abort(txn);
    return st.ms_entries;
}

static void it_holds_what_was_wanted_and_nothing_else(void **state)
{
    (void)state;
    fill(FEEDS);
    kmy_export_t e;
    unsigned seen = 0;
    must(kmy_snapshot_export(&e, reader, "epoch-1", odd_only, &seen, &ctx));
    assert_int_equal(seen, 2 * FEEDS);
    assert_in_range(e.len, FEEDS * 200, FEEDS * 200 * 2);
    MDB_env *env = open_saved(&e, "odd.mdb");
    assert_int_equal(rows(env, "last"), FEEDS);
    assert_int_equal(rows(env, "feeds"), FEEDS / 2);
    assert_int_equal(rows(env, "history"), 0);
    assert_int_equal(rows(env, "meta"), 2);
    MDB_txn *txn;
    MDB_dbi db;
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "last", 0, &db), 0);
    uint8_t bytes[6] = { 0, 0, 0, 7, 2, 3 }; /* as docs/snapshot-store.md has it */
    MDB_val key = { 6, bytes };
    MDB_val data;
    assert_int_equal(mdb_get(txn, db, &key, &data), 0);
    assert_string_equal(data.mv_data, "F6/USD round 2 source 2");
    bytes[3] = 8;
    assert_int_equal(mdb_get(txn, db, &key, &data), MDB_NOTFOUND);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    munmap(e.bytes, e.len);
}

static bool all(void *arg, uint32_t feed_id, uint8_t source, uint8_t kind, const void *value,
                size_t bytes)
{
    (void)arg, (void)feed_id, (void)source, (void)kind, (void)value, (void)bytes;
    return true;
}

static void of_nothing_it_is_an_environment_too(void **state)
{
    (void)state;
    kmy_export_t e;
    must(kmy_snapshot_export(&e, reader, "epoch-1", all, NULL, &ctx));
    MDB_env *env = open_saved(&e, "none.mdb");
    assert_int_equal(rows(env, "last"), 0);
    mdb_env_close(env);
    munmap(e.bytes, e.len);
}

static void in_a_folder_it_reads_like_the_store_itself(void **state)
{
    (void)state;
    fill(3);
    kmy_export_t e;
    must(kmy_snapshot_export(&e, reader, "epoch-1", all, NULL, &ctx));
    char command[256];
    snprintf(command, sizeof command, "mkdir %s/copy", folder);
    assert_int_equal(system(command), 0);
    MDB_env *env = open_saved(&e, "copy/data.mdb");
    mdb_env_close(env);
    kmy_snapshot_reader_t *copy;
    snprintf(command, sizeof command, "%s/copy", folder);
    must(kmy_snapshot_reader_open(&copy, command, &ctx));
    unsigned seen = 0;
    must(kmy_snapshot_visit_last(copy, 0, odd_only, &seen, &ctx));
    assert_int_equal(
        seen, 3); /* both sources of feed 1, and the first of feed 2, where the visitor stops */
    kmy_snapshot_reader_close(copy);
    munmap(e.bytes, e.len);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_holds_what_was_wanted_and_nothing_else),
        TEST(of_nothing_it_is_an_environment_too),
        TEST(in_a_folder_it_reads_like_the_store_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
