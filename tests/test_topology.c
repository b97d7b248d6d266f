/* engine/topology: every link is there, joins the two it should, and is given back whole, also after half a start. */
#include "engine/topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static kmy_config_t config(int64_t slots)
{
    kmy_config_t cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.ring.slots = slots;
    return cfg;
}

static int fds_open(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void each_shard_has_its_own_pair_of_queues_and_its_own_wake(void **state)
{
    (void)state;
    kmy_config_t cfg = config(1024);
    kmy_topology_t t;
    kmy_errctx_t ctx;
    const int before = fds_open();
    assert_int_equal(kmy_topology_make(&t, &cfg, 4, NULL, 42, &ctx), KMY_OK);
    assert_int_equal(kmy_ring_head(t.ring), 42);
    for (uint32_t i = 0; i < 4; i++) {
        kmy_ask_t ask = { .kind = KMY_ASK_OPEN, .slot = i };
        kmy_tell_t tell = { .kind = KMY_TELL_OPENED, .slot = 100 + i };
        assert_true(kmy_queue_push(t.shard_keeper[i], &ask));
        assert_true(kmy_queue_push(t.keeper_shard[i], &tell));
    }
    for (uint32_t i = 0; i < 4; i++) {
        kmy_ask_t ask;
        kmy_tell_t tell;
        assert_true(kmy_queue_pop(t.shard_keeper[i], &ask));
        assert_int_equal(ask.slot, i);
        assert_false(kmy_queue_pop(t.shard_keeper[i], &ask));
        assert_true(kmy_queue_pop(t.keeper_shard[i], &tell));
        assert_int_equal(tell.slot, 100 + i);
        for (uint32_t j = 0; j < i; j++)
            assert_int_not_equal(t.shard_wake[i].fd, t.shard_wake[j].fd);
        assert_int_not_equal(t.shard_wake[i].fd, t.keeper_wake.fd);
    }
    kmy_topology_free(&t);
    assert_int_equal(fds_open(), before);
}

static void every_job_fits_into_either_queue_and_has_memory_of_its_own(void **state)
{
    (void)state;
    kmy_config_t cfg = config(64);
    kmy_topology_t t;
    kmy_errctx_t ctx;
    assert_int_equal(kmy_topology_make(&t, &cfg, 1, NULL, 1, &ctx), KMY_OK);
    for (uint64_t i = 0; i < KMY_JOBS; i++) {
        t.jobs[i].kind = (uint32_t)i;
        t.jobs[i].body[sizeof t.jobs[i].body - 1] = 'z';
        assert_true(kmy_queue_push(t.cashier_keeper, &i));
    }
    for (uint64_t i = 0, job; kmy_queue_pop(t.cashier_keeper, &job); i++) {
        assert_int_equal(t.jobs[job].kind, i);
        assert_true(kmy_queue_push(t.keeper_cashier, &job)); /* nobody takes any yet */
    }
    assert_int_equal(kmy_queue_count(t.keeper_cashier), KMY_JOBS);
    assert_true(t.cashier_wake.fd >= 0 && t.cashier_wake.fd != t.keeper_wake.fd);
    kmy_topology_free(&t);
}

static void the_most_shards_there_may_be_fit_into_its_tables(void **state)
{
    (void)state;
    kmy_config_t cfg = config(64);
    kmy_topology_t t;
    kmy_errctx_t ctx;
    assert_int_equal(kmy_topology_make(&t, &cfg, KMY_SHARDS_MAX, NULL, 1, &ctx), KMY_OK);
    assert_int_equal(t.mem_count, sizeof t.mem / sizeof t.mem[0]);
    kmy_topology_free(&t);
}

static void every_slip_of_a_shard_can_be_under_way_at_once(void **state)
{
    (void)state;
    kmy_config_t cfg = config(64);
    kmy_topology_t t;
    kmy_errctx_t ctx;
    assert_int_equal(kmy_topology_make(&t, &cfg, 2, NULL, 1, &ctx), KMY_OK);
    assert_ptr_not_equal(t.slips[0], t.slips[1]);
    for (uint32_t shard = 0; shard < 2; shard++) {
        for (uint64_t i = 0; i < KMY_SLIPS; i++) {
            assert_true(kmy_queue_push(t.shard_cashier[shard], &i));
            assert_true(kmy_queue_push(t.cashier_shard[shard], &i));
            t.slips[shard][i].body[KMY_SLIP_BODY_BYTES_MAX - 1] = 1;
        }
    }
    kmy_topology_free(&t);
}

static void a_shared_ring_is_a_file_that_others_can_attach_to(void **state)
{
    (void)state;
    char dir[] = "/tmp/kamiyo-topology-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/ring", dir);
    kmy_config_t cfg = config(256);
    kmy_topology_t t;
    kmy_errctx_t ctx;
    for (uint64_t life = 1; life <= 2; life++) { /* a file of an earlier life is no hindrance */
        assert_int_equal(kmy_topology_make(&t, &cfg, 1, path, 1000 * life, &ctx), KMY_OK);
        struct stat st;
        int fd = open(path, O_RDONLY);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, kmy_ring_bytes(256));
        void *mem = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        assert_ptr_not_equal(mem, MAP_FAILED);
        const kmy_ring_t *ring = kmy_ring_attach(mem, (size_t)st.st_size, &ctx);
        assert_non_null(ring);
        kmy_tick_t tick = { .feed_id = 7 }, got;
        kmy_ring_publish(t.ring, &tick, 1);
        uint64_t cursor = 1000 * life, lost = 0;
        assert_int_equal(kmy_ring_read(ring, &cursor, &got, 1, &lost), 1);
        assert_int_equal(got.feed_id, 7);
        munmap(mem, (size_t)st.st_size);
        close(fd);
        kmy_topology_free(&t);
    }
    unlink(path);
    rmdir(dir);
}

static void a_ring_file_that_cannot_be_made_is_said_with_its_path(void **state)
{
    (void)state;
    kmy_config_t cfg = config(256);
    kmy_topology_t t;
    kmy_errctx_t ctx;
    const int before = fds_open();
    assert_int_equal(kmy_topology_make(&t, &cfg, 2, "/nowhere/at/all/ring", 1, &ctx), KMY_IO);
    assert_non_null(strstr(ctx.detail, "/nowhere/at/all/ring"));
    assert_int_equal(fds_open(), before);
    kmy_topology_free(&t); /* the daemon's clean-up does not know how far it came */
    assert_int_equal(fds_open(), before);
}

static void freeing_what_was_never_made_closes_nobodys_descriptor(void **state)
{
    (void)state;
    kmy_topology_t t;
    memset(&t, 0, sizeof t); /* its descriptors are 0, which is somebody's */
    const int before = fds_open();
    kmy_topology_free(&t);
    assert_int_equal(fds_open(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_shard_has_its_own_pair_of_queues_and_its_own_wake),
        cmocka_unit_test(every_job_fits_into_either_queue_and_has_memory_of_its_own),
        cmocka_unit_test(the_most_shards_there_may_be_fit_into_its_tables),
        cmocka_unit_test(every_slip_of_a_shard_can_be_under_way_at_once),
        cmocka_unit_test(a_shared_ring_is_a_file_that_others_can_attach_to),
        cmocka_unit_test(a_ring_file_that_cannot_be_made_is_said_with_its_path),
        cmocka_unit_test(freeing_what_was_never_made_closes_nobodys_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
