/* store/snapshot: what is kept, for how long, and what an open makes of the last writer's end.  A
   writer at full rate under a foreign reader, and kill -9: tests/test_snapshot_live.py. */
#include "store/snapshot.h"
#include "base/clock.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MINUTE_NS (60 * KMY_NS_PER_S)
#define T0        (INT64_C(28333333) * MINUTE_NS) /* a whole minute of November 2023 */

static char folder[64];
static char path[96];
static kmy_snapshot_t *s;
static bool clean;
static bool rebuilt;

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/kmy-test-snapshot-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/snapshot", folder);
    s = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    kmy_snapshot_close(s);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void open_with(kmy_snapshot_options_t o)
{
    kmy_errctx_t ctx = { 0 };
    if (o.map_bytes == 0)
        o.map_bytes = 64 << 20;
    if (kmy_snapshot_open(&s, path, &o, &clean, &rebuilt, &ctx) != KMY_OK)
        fail_msg("%s", ctx.detail);
}

static const kmy_snapshot_options_t an_hour = { .history_age_ns_max = 60 * MINUTE_NS };

static void reopen(void)
{
    kmy_snapshot_close(s);
    s = NULL;
    open_with(an_hour);
}

/* A writer that dies: the child's environment is never closed. */
static void die_writing(void (*write_something)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        open_with(an_hour);
        write_something();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static uint64_t offsets[64];

static kmy_err_t flush_one(uint32_t feed, uint64_t seq, int64_t recv_ns, const char *value)
{
    kmy_tick_t tick = { .seq = seq,
                        .offset = seq * 10,
                        .recv_ns = recv_ns,
                        .feed_id = feed,
                        .source = KMY_SOURCE_PYTH,
                        .kind = KMY_KIND_ORACLE };
    kmy_snapshot_item_t item = { &tick, value, strlen(value) };
    return kmy_snapshot_flush(s, &item, 1, recv_ns, NULL);
}

/* --- collecting what readers see --- */

typedef struct seen {
    char text[4096];
    size_t rows;
    uint64_t first_seq;
    uint64_t last_seq;
} seen_t;

static bool see_last(void *arg, uint32_t feed, uint8_t source, uint8_t kind, const void *value,
                     size_t bytes)
{
    seen_t *seen = arg;
    size_t n = strlen(seen->text);
    snprintf(seen->text + n, sizeof seen->text - n, "%u/%u/%u=%.*s ", feed, source, kind,
             (int)bytes, (const char *)value);
    seen->rows++;
    return true;
}

static bool see_history(void *arg, uint64_t seq, const void *value, size_t bytes)
{
    seen_t *seen = arg;
    size_t n = strlen(seen->text);
    if (n < 3000)
        snprintf(seen->text + n, sizeof seen->text - n, "%lu=%.*s ", (unsigned long)seq, (int)bytes,
                 (const char *)value);
    if (seen->rows++ == 0)
        seen->first_seq = seq;
    assert_true(seq > seen->last_seq);
    seen->last_seq = seq;
    return true;
}

static bool see_feed(void *arg, const char *name, size_t name_bytes, uint32_t id)
{
    seen_t *seen = arg;
    size_t n = strlen(seen->text);
    snprintf(seen->text + n, sizeof seen->text - n, "%.*s=%u ", (int)name_bytes, name, id);
    return true;
}

static seen_t last_of(uint32_t feed)
{
    kmy_snapshot_reader_t *r;
    seen_t seen = { 0 };
    assert_int_equal(kmy_snapshot_reader_share(&r, s, NULL), KMY_OK);
    assert_int_equal(kmy_snapshot_visit_last(r, feed, see_last, &seen, NULL), KMY_OK);
    kmy_snapshot_reader_close(r);
    return seen;
}

static seen_t history_from(uint64_t seq)
{
    kmy_snapshot_reader_t *r;
    seen_t seen = { 0 };
    assert_int_equal(kmy_snapshot_reader_share(&r, s, NULL), KMY_OK);
    assert_int_equal(kmy_snapshot_visit_history(r, seq, see_history, &seen, NULL), KMY_OK);
    kmy_snapshot_reader_close(r);
    return seen;
}

static seen_t feeds(void)
{
    kmy_snapshot_reader_t *r;
    seen_t seen = { 0 };
    assert_int_equal(kmy_snapshot_reader_share(&r, s, NULL), KMY_OK);
    assert_int_equal(kmy_snapshot_visit_feeds(r, see_feed, &seen, NULL), KMY_OK);
    kmy_snapshot_reader_close(r);
    return seen;
}

static kmy_snapshot_stats_t stats(void)
{
    kmy_snapshot_stats_t out;
    assert_int_equal(kmy_snapshot_stats(s, &out, NULL), KMY_OK);
    return out;
}

/* --- ids, numbers, epochs --- */

static void a_feed_keeps_its_id(void **state)
{
    (void)state;
    uint32_t a;
    uint32_t b;
    uint32_t again;
    open_with(an_hour);
    assert_int_equal(kmy_snapshot_feed_id(s, "SOL/USD", &a, NULL), KMY_OK);
    assert_int_equal(kmy_snapshot_feed_id(s, "BTC/USD", &b, NULL), KMY_OK);
    assert_int_equal(a, 1);
    assert_int_equal(b, 2);
    reopen();
    assert_int_equal(kmy_snapshot_feed_id(s, "BTC/USD", &again, NULL), KMY_OK);
    assert_int_equal(again, b);
    assert_int_equal(kmy_snapshot_feed_id(s, "ETH/USD", &again, NULL), KMY_OK);
    assert_int_equal(again, 3);
    assert_string_equal(feeds().text, "BTC/USD=2 ETH/USD=3 SOL/USD=1 ");
}

static void a_name_that_is_none_is_refused(void **state)
{
    (void)state;
    char longest[KMY_FEED_NAME_BYTES_MAX + 1];
    uint32_t id;
    open_with(an_hour);
    memset(longest, 'A', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(kmy_snapshot_feed_id(s, longest, &id, NULL), KMY_BAD_INPUT);
    assert_int_equal(kmy_snapshot_feed_id(s, longest + 1, &id, NULL), KMY_OK);
    assert_int_equal(kmy_snapshot_feed_id(s, "", &id, NULL), KMY_BAD_INPUT);
    assert_int_equal(kmy_snapshot_feed_id(s, "a\nb", &id, NULL), KMY_BAD_INPUT);
}

static void numbers_go_on_after_a_clean_stop(void **state)
{
    (void)state;
    uint64_t seq;
    uint64_t offset;
    char epoch[KMY_SNAPSHOT_EPOCH_BYTES];
    open_with(an_hour);
    assert_true(clean);
    assert_false(rebuilt);
    kmy_snapshot_resume(s, &seq, NULL);
    assert_int_equal(seq, 1);
    kmy_snapshot_last_offset(s, 7, &offset, NULL);
    assert_int_equal(offset, 0);
    assert_int_equal(flush_one(7, 5, T0, "v"), KMY_OK);
    assert_int_equal(flush_one(300, 6, T0, "v"), KMY_OK);
    strcpy(epoch, kmy_snapshot_epoch(s));
    assert_int_equal(strspn(epoch, "0123456789abcdefghijklmnopqrstuvwxyz"), strlen(epoch));
    reopen();
    assert_true(clean);
    assert_false(rebuilt);
    assert_string_equal(kmy_snapshot_epoch(s), epoch);
    kmy_snapshot_resume(s, &seq, NULL);
    assert_int_equal(seq, 7);
    kmy_snapshot_last_offset(s, 7, &offset, NULL);
    assert_int_equal(offset, 50);
    kmy_snapshot_last_offset(s, 300, &offset, NULL);
    assert_int_equal(offset, 60);
    kmy_snapshot_last_offset(s, 4000000, &offset, NULL);
    assert_int_equal(offset, 0);
}

static void write_two(void)
{
    uint32_t id;
    kmy_snapshot_feed_id(s, "SOL/USD", &id, NULL);
    flush_one(id, 41, T0, "x");
    flush_one(id, 42, T0, "y");
}

static void after_a_death_all_is_there_but_the_epoch_is_new(void **state)
{
    (void)state;
    char epoch[KMY_SNAPSHOT_EPOCH_BYTES];
    uint64_t seq;
    uint64_t offset;
    open_with(an_hour);
    strcpy(epoch, kmy_snapshot_epoch(s));
    kmy_snapshot_close(s);
    s = NULL;
    die_writing(write_two);
    open_with(an_hour);
    assert_false(clean);
    assert_false(rebuilt);
    assert_string_not_equal(kmy_snapshot_epoch(s), epoch);
    kmy_snapshot_resume(s, &seq, NULL);
    assert_int_equal(seq, 43);
    kmy_snapshot_last_offset(s, 1, &offset, NULL);
    assert_int_equal(offset, 420);
    assert_string_equal(history_from(0).text, "41=x 42=y ");
    assert_string_equal(last_of(0).text, "1/1/3=y ");
}

static void edit_state(const char *word, const char *instead)
{
    char file[128];
    char text[4096] = { 0 };
    snprintf(file, sizeof file, "%s/state", path);
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    char *at = strstr(text, word);
    assert_non_null(at);
    f = fopen(file, "w");
    fprintf(f, "%.*s%s%s", (int)(at - text), text, instead, at + strlen(word));
    fclose(f);
}

static bool exists(const char *suffix)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return access(name, F_OK) == 0;
}

static void assert_rebuilt_with_its_ids(void)
{
    uint64_t seq;
    uint32_t id;
    assert_false(clean);
    assert_true(rebuilt);
    assert_true(exists(".damaged-1/data.mdb"));
    assert_int_equal(history_from(0).rows, 0);
    kmy_snapshot_resume(s, &seq, NULL);
    assert_int_equal(seq, 1);
    assert_int_equal(kmy_snapshot_feed_id(s, "NEW", &id, NULL), KMY_OK);
    assert_int_equal(id, 2);
    assert_int_equal(kmy_snapshot_feed_id(s, "SOL/USD", &id, NULL), KMY_OK);
    assert_int_equal(id, 1);
    assert_int_equal(flush_one(1, 1, T0, "new"), KMY_OK);
    assert_string_equal(last_of(0).text, "1/1/3=new ");
}

static void after_a_death_of_the_machine_the_store_is_rebuilt_and_ids_are_kept(void **state)
{
    (void)state;
    die_writing(write_two);
    edit_state("boot ", "boot x"); /* another boot than this one */
    open_with(an_hour);
    assert_rebuilt_with_its_ids();
}

static void write_to_data_file(off_t at, const void *bytes, size_t n, off_t cut)
{
    char file[128];
    snprintf(file, sizeof file, "%s/data.mdb", path);
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0);
    if (n)
        assert_int_equal(pwrite(fd, bytes, n, at), n);
    if (cut)
        assert_int_equal(ftruncate(fd, cut), 0);
    close(fd);
}

static void an_overwritten_environment_is_moved_aside(void **state)
{
    (void)state;
    char garbage[8192];
    memset(garbage, 0xa5, sizeof garbage);
    die_writing(write_two);
    write_to_data_file(0, garbage, sizeof garbage, 0);
    open_with(an_hour);
    assert_rebuilt_with_its_ids();
}

static void an_environment_cut_short_is_moved_aside(void **state)
{
    (void)state;
    die_writing(write_two);
    write_to_data_file(0, NULL, 0, 3 * 4096);
    open_with(an_hour);
    assert_rebuilt_with_its_ids();
}

static void a_state_file_of_garbage_is_damage(void **state)
{
    (void)state;
    die_writing(write_two);
    edit_state("dirty\n", "perhaps\n");
    open_with(an_hour);
    assert_true(rebuilt);
    assert_true(exists(".damaged-1/data.mdb"));
}

static void damaged_copies_do_not_pile_up(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        die_writing(write_two);
        edit_state("boot ", "boot x");
        open_with(an_hour);
        assert_true(rebuilt);
        kmy_snapshot_close(s);
        s = NULL;
    }
    assert_true(exists(".damaged-4"));
    assert_false(exists(".damaged-5"));
}

static void a_store_of_a_newer_format_is_refused_and_left_alone(void **state)
{
    (void)state;
    kmy_errctx_t ctx = { 0 };
    open_with(an_hour);
    kmy_snapshot_close(s);
    s = NULL;
    edit_state("kamiyo-snapshot 1", "kamiyo-snapshot 2");
    assert_int_equal(kmy_snapshot_open(&s, path, &an_hour, &clean, &rebuilt, &ctx), KMY_CONFIG);
    assert_null(s);
    assert_non_null(strstr(ctx.detail, "newer"));
    assert_true(exists("/data.mdb"));
    assert_false(exists(".damaged-1"));
}

static void a_copy_without_state_file_is_read_but_starts_a_new_epoch(void **state)
{
    (void)state;
    char file[128];
    char epoch[KMY_SNAPSHOT_EPOCH_BYTES];
    open_with(an_hour);
    write_two();
    strcpy(epoch, kmy_snapshot_epoch(s));
    kmy_snapshot_close(s);
    s = NULL;
    snprintf(file, sizeof file, "%s/state", path);
    assert_int_equal(unlink(file), 0);
    open_with(an_hour);
    assert_false(clean);
    assert_false(rebuilt);
    assert_string_not_equal(kmy_snapshot_epoch(s), epoch);
    assert_string_equal(history_from(0).text, "41=x 42=y ");
}

static void a_second_writer_is_refused(void **state)
{
    (void)state;
    kmy_snapshot_t *second;
    bool c;
    bool r;
    open_with(an_hour);
    assert_int_equal(kmy_snapshot_open(&second, path, &an_hour, &c, &r, NULL), KMY_CONFLICT);
    assert_null(second);
    assert_int_equal(flush_one(1, 1, T0, "v"), KMY_OK);
}

/* --- what a flush keeps --- */

static void the_newest_of_each_source_and_kind_is_last(void **state)
{
    (void)state;
    static const struct {
        uint32_t feed;
        uint8_t source;
        uint8_t kind;
        const char *value;
    } rows[] = {
        { 2, 1, 3, "a" }, { 1, 2, 1, "b" }, { 1, 2, 2, "c" }, { 1, 2, 1, "d" },
        { 2, 1, 3, "e" }, { 9, 1, 3, "f" }, { 1, 2, 1, "g" }, { 1, 3, 1, "h" },
    };
    enum { N = sizeof rows / sizeof *rows };
    kmy_tick_t ticks[N];
    kmy_snapshot_item_t items[N];
    open_with(an_hour);
    for (size_t i = 0; i < N; i++) {
        ticks[i] = (kmy_tick_t){ .seq = i + 1,
                                 .offset = i + 1,
                                 .recv_ns = T0,
                                 .feed_id = rows[i].feed,
                                 .source = rows[i].source,
                                 .kind = rows[i].kind };
        items[i] = (kmy_snapshot_item_t){ &ticks[i], rows[i].value, 1 };
    }
    assert_int_equal(kmy_snapshot_flush(s, items, N, T0, NULL), KMY_OK);
    assert_string_equal(last_of(0).text, "1/2/1=g 1/2/2=c 1/3/1=h 2/1/3=e 9/1/3=f ");
    assert_string_equal(last_of(1).text, "1/2/1=g 1/2/2=c 1/3/1=h ");
    assert_string_equal(last_of(3).text, "");
    assert_string_equal(history_from(0).text, "1=a 2=b 3=c 4=d 5=e 6=f 7=g 8=h ");
    assert_string_equal(history_from(7).text, "7=g 8=h ");
}

static void a_seq_that_is_not_above_the_last_finds_its_place(void **state)
{
    (void)state;
    open_with(an_hour);
    assert_int_equal(flush_one(1, 10, T0, "ten"), KMY_OK);
    assert_int_equal(flush_one(1, 12, T0, "twelve"), KMY_OK);
    assert_int_equal(flush_one(1, 11, T0, "eleven"), KMY_OK);
    assert_int_equal(flush_one(1, 12, T0, "twelve again"), KMY_OK);
    assert_int_equal(flush_one(1, 13, T0, "thirteen"), KMY_OK);
    assert_string_equal(history_from(0).text, "10=ten 11=eleven 12=twelve again 13=thirteen ");
    assert_int_equal(stats().history_bytes, 3 + 6 + 12 + 8);
    assert_int_equal(stats().oldest_seq, 10);
    assert_int_equal(stats().newest_seq, 13);
}

static void a_minute_leads_to_the_first_tick_of_a_feed(void **state)
{
    (void)state;
    kmy_snapshot_reader_t *r;
    uint64_t seq;
    uint64_t offset;
    uint32_t minute = (uint32_t)(T0 / MINUTE_NS);
    open_with(an_hour);
    flush_one(1, 1, T0, "v");
    flush_one(1, 2, T0 + 59 * KMY_NS_PER_S, "v");
    flush_one(2, 3, T0 + 60 * KMY_NS_PER_S, "v");
    flush_one(1, 4, T0 + 180 * KMY_NS_PER_S, "v");
    flush_one(1, 5, T0 + 30 * KMY_NS_PER_S,
              "v"); /* the clock stepped back: the first stays first */
    flush_one(1, 6, T0 + 181 * KMY_NS_PER_S, "v");
    assert_int_equal(kmy_snapshot_reader_share(&r, s, NULL), KMY_OK);
    static const struct {
        uint32_t feed;
        int minute;
        uint64_t seq;
    } rows[] = { { 1, 0, 1 }, { 1, -5, 1 }, { 1, 1, 4 }, { 1, 3, 4 }, { 1, 4, 0 },
                 { 2, 0, 3 }, { 2, 1, 3 },  { 2, 2, 0 }, { 3, 0, 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_err_t err = kmy_snapshot_seek(r, rows[i].feed, minute + (uint32_t)rows[i].minute, &seq,
                                          &offset, NULL);
        assert_int_equal(err, rows[i].seq ? KMY_OK : KMY_NOT_FOUND);
        if (rows[i].seq) {
            assert_int_equal(seq, rows[i].seq);
            assert_int_equal(offset, seq * 10);
        }
    }
    kmy_snapshot_reader_close(r);
}

static void an_offset_leads_to_a_place_at_or_below_it(void **state)
{
    (void)state;
    kmy_snapshot_reader_t *r;
    open_with(an_hour); /* flush_one: offset = 10 x seq */
    flush_one(1, 2, T0, "v");
    flush_one(2, 3, T0 + 60 * KMY_NS_PER_S, "v");
    flush_one(1, 4, T0 + 180 * KMY_NS_PER_S, "v");
    flush_one(1, 5, T0 - 120 * KMY_NS_PER_S, "v"); /* the clock stepped back two minutes and more */
    flush_one(1, 6, T0 + 181 * KMY_NS_PER_S, "v");
    flush_one(3, 7, T0 + 181 * KMY_NS_PER_S, "v");
    assert_int_equal(kmy_snapshot_reader_share(&r, s, NULL), KMY_OK);
    static const struct {
        uint32_t feed;
        uint64_t offset;
        uint64_t seq; /* 0: no history */
    } rows[] = {
        { 1, 20, 2 }, { 1, 39, 2 },         { 1, 40, 4 }, { 1, 49, 4 },
        { 1, 60, 4 }, { 1, UINT64_MAX, 4 }, { 1, 19, 2 }, /* older than all that is held: the oldest, though its minute is not the first */
        { 1, 0, 2 },  { 2, 30, 3 },         { 2, 1, 3 },  { 3, 70, 7 },
        { 3, 71, 7 }, { 4, 10, 0 },         { 0, 10, 0 }, { KMY_SNAPSHOT_FEED_ID_MAX, 1, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t seq = 0;
        kmy_err_t err = kmy_snapshot_seek_offset(r, rows[i].feed, rows[i].offset, &seq, NULL);
        if (err != (rows[i].seq ? KMY_OK : KMY_NOT_FOUND) || seq != rows[i].seq)
            fail_msg("row %zu: %d, seq %lu", i, err, (unsigned long)seq);
    }
    kmy_snapshot_reader_close(r);
}

static bool stop_at_once(void *arg, uint64_t seq, const void *value, size_t bytes)
{
    (void)seq;
    (void)value;
    (void)bytes;
    ++*(int *)arg;
    return false;
}

static void a_visitor_can_stop(void **state)
{
    (void)state;
    int calls = 0;
    kmy_snapshot_reader_t *r;
    open_with(an_hour);
    flush_one(1, 1, T0, "v");
    flush_one(1, 2, T0, "v");
    assert_int_equal(kmy_snapshot_reader_share(&r, s, NULL), KMY_OK);
    assert_int_equal(kmy_snapshot_visit_history(r, 0, stop_at_once, &calls, NULL), KMY_OK);
    assert_int_equal(calls, 1);
    kmy_snapshot_reader_close(r);
}

/* --- retention --- */

/* n ticks of 40 feeds, one a millisecond of the store's time, in batches of 100. */
static void run_of_ticks(uint64_t from_seq, size_t n, int64_t step_ns)
{
    static char value[200];
    kmy_tick_t ticks[100];
    kmy_snapshot_item_t items[100];
    for (size_t done = 0; done < n; done += 100) {
        for (size_t i = 0; i < 100; i++) {
            uint64_t seq = from_seq + done + i;
            uint32_t feed = (uint32_t)(seq % 40) + 1;
            ticks[i] = (kmy_tick_t){ .seq = seq,
                                     .offset = ++offsets[feed],
                                     .feed_id = feed,
                                     .recv_ns = T0 + (int64_t)seq * step_ns,
                                     .source = 1,
                                     .kind = 1 };
            items[i] = (kmy_snapshot_item_t){ &ticks[i], value, sizeof value };
        }
        assert_int_equal(kmy_snapshot_flush(s, items, 100, ticks[99].recv_ns, NULL), KMY_OK);
    }
}

static size_t rows_of(const char *name)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db;
    MDB_stat stat;
    assert_int_equal(mdb_env_create(&env), 0); /* s is closed: this process may open it anew */
    mdb_env_set_maxdbs(env, 8);
    assert_int_equal(mdb_env_open(env, path, MDB_RDONLY, 0), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, name, 0, &db), 0);
    mdb_stat(txn, db, &stat);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return stat.ms_entries;
}

static void old_ticks_and_their_index_go(void **state)
{
    (void)state;
    open_with((kmy_snapshot_options_t){ .history_age_ns_max = 5 * MINUTE_NS });
    run_of_ticks(1, 60000, 100 * KMY_NS_PER_MS); /* 100 minutes, 600 ticks each */
    kmy_snapshot_stats_t st = stats();
    assert_int_equal(st.newest_seq, 60000);
    assert_in_range(st.history_rows, 5 * 600, 6 * 600 + 100);
    assert_int_equal(st.history_bytes, st.history_rows * 200);
    seen_t seen = history_from(0);
    assert_int_equal(seen.rows, st.history_rows);
    assert_int_equal(seen.first_seq, st.oldest_seq);
    assert_int_equal(seen.last_seq, 60000);
    assert_int_equal(last_of(0).rows, 40); /* the newest stay, however old */
    kmy_snapshot_close(s);
    s = NULL;
    assert_in_range(rows_of("hindex"), 5 * 40, 8 * 40);
    assert_in_range(rows_of("minutes"), 5 * 41, 8 * 41);
}

static void history_stays_below_its_bytes_and_the_file_stops_growing(void **state)
{
    (void)state;
    open_with((kmy_snapshot_options_t){ .history_age_ns_max = 1000 * MINUTE_NS,
                                        .history_bytes_max = 1 << 20 });
    run_of_ticks(1, 20000, KMY_NS_PER_MS);
    uint64_t used = stats().file_bytes_used;
    run_of_ticks(20001, 60000, KMY_NS_PER_MS);
    assert_in_range(stats().history_bytes, (1 << 20) - 200 * 200, 1 << 20);
    assert_true(stats().file_bytes_used <= used + used / 4);
    assert_int_equal(stats().newest_seq, 80000);
}

static void an_idle_flush_still_prunes(void **state)
{
    (void)state;
    open_with((kmy_snapshot_options_t){ .history_age_ns_max = MINUTE_NS });
    run_of_ticks(1, 1000, KMY_NS_PER_MS);
    for (int i = 0; i < 20; i++)
        assert_int_equal(kmy_snapshot_flush(s, NULL, 0, T0 + 60 * MINUTE_NS, NULL), KMY_OK);
    assert_int_equal(stats().history_rows, 0);
    assert_int_equal(stats().history_bytes, 0);
    assert_int_equal(flush_one(1, 2000, T0 + 60 * MINUTE_NS, "v"), KMY_OK);
    assert_int_equal(stats().history_rows, 1);
}

static void age_zero_keeps_no_history(void **state)
{
    (void)state;
    uint64_t seq;
    open_with((kmy_snapshot_options_t){ 0 });
    run_of_ticks(1, 1000, KMY_NS_PER_MS);
    assert_int_equal(stats().history_rows, 0);
    assert_int_equal(last_of(0).rows, 40);
    kmy_snapshot_resume(s, &seq, NULL);
    assert_int_equal(seq, 1001);
}

static bool hold_while_writing(void *arg, uint64_t seq, const void *value, size_t bytes)
{
    (void)seq;
    (void)value;
    (void)bytes;
    kmy_tick_t tick = { .seq = 1000000, .offset = 1, .recv_ns = T0, .feed_id = 1 };
    static char large[KMY_SNAPSHOT_VALUE_BYTES_MAX];
    kmy_snapshot_item_t item = { &tick, large, sizeof large };
    kmy_err_t *err = arg;
    for (int i = 0; *err == KMY_OK && i < 20000; i++, tick.seq++)
        *err = kmy_snapshot_flush(s, &item, 1, T0, NULL);
    return false;
}

static void a_reader_that_never_ends_fills_the_map_and_its_end_frees_it(void **state)
{
    (void)state;
    kmy_snapshot_reader_t *r;
    kmy_err_t err = KMY_OK;
    open_with((kmy_snapshot_options_t){
        .map_bytes = 4 << 20, .history_age_ns_max = MINUTE_NS, .history_bytes_max = 100000 });
    assert_int_equal(flush_one(1, 1, T0, "v"), KMY_OK);
    assert_int_equal(kmy_snapshot_reader_share(&r, s, NULL), KMY_OK);
    assert_int_equal(kmy_snapshot_visit_history(r, 0, hold_while_writing, &err, NULL), KMY_OK);
    assert_int_equal(err, KMY_FULL);
    uint64_t newest = stats().newest_seq;
    assert_int_equal(flush_one(1, newest + 1, T0, "after"), KMY_OK);
    assert_int_equal(stats().newest_seq, newest + 1);
    seen_t seen = history_from(newest);
    assert_int_equal(seen.rows, 2);
    kmy_snapshot_reader_close(r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_feed_keeps_its_id),
        TEST(a_name_that_is_none_is_refused),
        TEST(numbers_go_on_after_a_clean_stop),
        TEST(after_a_death_all_is_there_but_the_epoch_is_new),
        TEST(after_a_death_of_the_machine_the_store_is_rebuilt_and_ids_are_kept),
        TEST(an_overwritten_environment_is_moved_aside),
        TEST(an_environment_cut_short_is_moved_aside),
        TEST(a_state_file_of_garbage_is_damage),
        TEST(damaged_copies_do_not_pile_up),
        TEST(a_store_of_a_newer_format_is_refused_and_left_alone),
        TEST(a_copy_without_state_file_is_read_but_starts_a_new_epoch),
        TEST(a_second_writer_is_refused),
        TEST(the_newest_of_each_source_and_kind_is_last),
        TEST(a_seq_that_is_not_above_the_last_finds_its_place),
        TEST(a_minute_leads_to_the_first_tick_of_a_feed),
        TEST(an_offset_leads_to_a_place_at_or_below_it),
        TEST(a_visitor_can_stop),
        TEST(old_ticks_and_their_index_go),
        TEST(history_stays_below_its_bytes_and_the_file_stops_growing),
        TEST(an_idle_flush_still_prunes),
        TEST(age_zero_keeps_no_history),
        TEST(a_reader_that_never_ends_fills_the_map_and_its_end_frees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
