/* The ring as its readers see it: what is delivered, what is counted as lost, what is refused. */
#include "base/limits.h"
#include "ringbuf/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static kmy_ring_t *new_ring(size_t slots, uint64_t first_seq)
{
    const size_t bytes = kmy_ring_bytes(slots);
    void *mem = aligned_alloc(128, bytes);
    assert_non_null(mem);
    memset(mem, 0xa5, bytes); /* init must not count on zeroes */
    return kmy_ring_init(mem, slots, first_seq);
}

/* Everything in a tick follows from its number, so that a torn one cannot pass. */
static void make_tick(kmy_tick_t *tick, uint64_t seq)
{
    for (size_t i = 0; i < sizeof *tick / 8; i++) {
        const uint64_t word = seq * 1000 + i;
        memcpy((unsigned char *)tick + 8 * i, &word, 8);
    }
    tick->seq = 0; /* publish writes it */
}

static void assert_tick(const kmy_tick_t *tick, uint64_t seq)
{
    kmy_tick_t want;
    make_tick(&want, seq);
    want.seq = seq;
    assert_memory_equal(tick, &want, sizeof want);
}

static void publish(kmy_ring_t *ring, size_t n)
{
    kmy_tick_t ticks[64];
    const uint64_t first = kmy_ring_head(ring);
    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++)
        make_tick(&ticks[i], first + i);
    kmy_ring_publish(ring, ticks, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ticks[i].seq, first + i);
}

static void a_ring_has_a_power_of_two_of_slots(void **state)
{
    static const struct {
        size_t slots, bytes;
    } row[] = {
        { 0, 0 },
        { 1, 0 },
        { 2, 512 },
        { 3, 0 },
        { 4, 768 },
        { 6, 0 },
        { 65536, 256 + 65536 * 128 },
        { KMY_RING_SLOTS_MAX, 256 + (size_t)KMY_RING_SLOTS_MAX * 128 },
        { (size_t)KMY_RING_SLOTS_MAX * 2, 0 },
        { SIZE_MAX, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        assert_int_equal(kmy_ring_bytes(row[i].slots), row[i].bytes);
}

static void ticks_arrive_in_order_and_whole(void **state)
{
    kmy_ring_t *ring = new_ring(64, 1);
    kmy_tick_t out[64];
    uint64_t cursor = 1, lost = 0;
    (void)state;
    assert_int_equal(kmy_ring_read(ring, &cursor, out, 64, &lost), 0);
    for (uint64_t seq = 1; seq < 500;) {
        const size_t n = 1 + seq % 32;
        publish(ring, n);
        assert_int_equal(kmy_ring_head(ring), seq + n);
        assert_int_equal(kmy_ring_read(ring, &cursor, out, 64, &lost), n);
        for (size_t i = 0; i < n; i++)
            assert_tick(&out[i], seq + i);
        seq += n;
        assert_int_equal(cursor, seq);
    }
    assert_int_equal(lost, 0);
    free(ring);
}

static void publishing_nothing_changes_nothing(void **state)
{
    kmy_ring_t *ring = new_ring(2, 7);
    (void)state;
    kmy_ring_publish(ring, NULL, 0);
    assert_int_equal(kmy_ring_head(ring), 7);
    free(ring);
}

static void a_reader_takes_no_more_than_it_asks_for(void **state)
{
    kmy_ring_t *ring = new_ring(128, 1);
    kmy_tick_t out[65];
    uint64_t cursor = 1, lost = 0;
    (void)state;
    publish(ring, 64);
    publish(ring, 36);
    memset(out, 0x77, sizeof out);
    assert_int_equal(kmy_ring_read(ring, &cursor, out, 0, &lost), 0);
    assert_int_equal(cursor, 1);
    assert_int_equal(kmy_ring_read(ring, &cursor, out, 64, &lost), 64); /* two inner batches */
    assert_tick(&out[0], 1);
    assert_tick(&out[63], 64);
    assert_int_equal(out[64].seq, 0x7777777777777777);
    assert_int_equal(kmy_ring_read(ring, &cursor, out, 64, &lost), 36);
    assert_tick(&out[35], 100);
    assert_int_equal(lost, 0);
    free(ring);
}

/* Eight slots.  After the ticks of the row were published one by one, a reader at `cursor` gets `got` ticks from `from` on and
   is told of `lost`. */
static void losses_are_counted_to_the_tick(void **state)
{
    static const struct {
        uint64_t first_seq, published, cursor;
        size_t max;
        uint64_t lost, from;
        size_t got;
    } row[] = {
        /* first  published cursor max  lost  from  got */
        { 1, 0, 1, 99, 0, 1, 0 },
        { 1, 8, 1, 99, 0, 1, 8 }, /* full: the oldest slot is still whole */
        { 1, 9, 1, 99, 5, 6, 4 }, /* one too many: on at head - 4, head = 10 */
        { 1, 9, 2, 99, 0, 2, 8 }, /* the second oldest reader loses nothing */
        { 1, 9, 6, 99, 0, 6, 4 },
        { 1, 9, 10, 99, 0, 10, 0 },  /* at the head: nothing new */
        { 1, 9, 1, 1, 5, 6, 1 },     /* the loss is counted once, ... */
        { 1, 9, 7, 1, 0, 7, 1 },     /* ... and not again */
        { 1, 16, 1, 99, 12, 13, 4 }, /* exactly two rounds */
        { 1, 17, 1, 99, 13, 14, 4 },
        { 1, 17, 10, 99, 0, 10, 8 },
        { 1, 1000, 1, 99, 996, 997, 4 }, /* many rounds */
        { 1, 1000, 992, 99, 5, 997, 4 },
        { 1, 1000, 993, 99, 0, 993, 8 },
        { 1, 9, 1, 0, 5, 6, 0 }, /* asking for nothing still tells */
        /* a daemon that goes on numbering */
        { 1000, 0, 1000, 99, 0, 1000, 0 },
        { 1000, 3, 1000, 99, 0, 1000, 3 },
        { 1000, 3, 999, 99, 1, 1000, 3 }, /* 999 was in the ring of an earlier life */
        { 1000, 0, 1, 99, 999, 1000, 0 },
        { 1000, 9, 1, 99, 1004, 1005, 4 },
        { 1000, 3, 2000, 99, 0, 2000, 0 }, /* a cursor from the future waits */
        { 5, 8, 5, 99, 0, 5, 8 },          /* the first slot used is not slot 0 */
        { 5, 9, 5, 99, 5, 10, 4 },
        { KMY_RING_SEQ_MAX, 9, KMY_RING_SEQ_MAX, 99, 5, KMY_RING_SEQ_MAX + 5, 4 },
        { KMY_RING_SEQ_MAX, 8, KMY_RING_SEQ_MAX, 99, 0, KMY_RING_SEQ_MAX, 8 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        kmy_ring_t *ring = new_ring(8, row[i].first_seq);
        kmy_tick_t out[99];
        uint64_t cursor = row[i].cursor, lost = 100;
        for (uint64_t n = 0; n < row[i].published; n++)
            publish(ring, 1);
        assert_int_equal(kmy_ring_read(ring, &cursor, out, row[i].max, &lost), row[i].got);
        assert_int_equal(lost, 100 + row[i].lost);
        assert_int_equal(cursor, row[i].from + row[i].got);
        for (size_t k = 0; k < row[i].got; k++)
            assert_tick(&out[k], row[i].from + k);
        free(ring);
    }
}

/* Every cursor against every head, for the smallest rings and all sizes of batch. */
static void delivered_and_lost_make_up_what_was_published(void **state)
{
    (void)state;
    for (size_t slots = 2; slots <= 16; slots *= 2) {
        for (size_t batch = 1; batch <= slots / 2; batch++) {
            kmy_ring_t *ring = new_ring(slots, 3);
            for (uint64_t head = 3; head < 3 + 3 * slots; head += batch) {
                for (uint64_t from = 1; from <= head; from++) {
                    kmy_tick_t out[16];
                    uint64_t cursor = from, lost = 0;
                    size_t got = kmy_ring_read(ring, &cursor, out, 16, &lost);
                    assert_int_equal(cursor, head);
                    assert_int_equal(got + lost, head - from);
                    for (size_t i = 0; i < got; i++)
                        assert_tick(&out[i], head - got + i);
                    if (from >= 3 && head - from <= slots)
                        assert_int_equal(lost, 0);
                }
                publish(ring, batch);
            }
            free(ring);
        }
    }
}

static void readers_do_not_know_of_each_other(void **state)
{
    kmy_ring_t *ring = new_ring(16, 1);
    kmy_tick_t out[16];
    uint64_t fast = 1, slow = 1, fast_lost = 0, slow_lost = 0;
    (void)state;
    for (int i = 0; i < 10; i++) {
        publish(ring, 8);
        assert_int_equal(kmy_ring_read(ring, &fast, out, 16, &fast_lost), 8);
    }
    assert_int_equal(fast_lost, 0);
    assert_int_equal(kmy_ring_read(ring, &slow, out, 16, &slow_lost), 8);
    assert_int_equal(slow_lost, 72);
    free(ring);
}

/* The writer has marked the slot of tick 1 for tick 9 and not published yet: what a reader finds that is overtaken while it
   copies.  The layout is the one ring.h draws. */
static void a_tick_that_is_being_overwritten_is_lost_not_torn(void **state)
{
    kmy_ring_t *ring = new_ring(8, 1);
    kmy_tick_t out[8];
    uint64_t cursor = 1, lost = 0;
    uint64_t *slot0 = (uint64_t *)((unsigned char *)ring + 256);
    uint64_t *slot1 = slot0 + 16;
    (void)state;
    publish(ring, 4);
    publish(ring, 4);
    slot1[0] = 9; /* tick 1 stood in slot 1 mod 8 */
    slot1[3] = 0xdead;
    assert_int_equal(kmy_ring_read(ring, &cursor, out, 8, &lost), 4);
    assert_int_equal(lost, 4);
    assert_tick(&out[0], 5);
    cursor = 2;
    lost = 0;
    assert_int_equal(kmy_ring_read(ring, &cursor, out, 8, &lost), 7);
    assert_int_equal(lost, 0);
    free(ring);
}

static void attach_takes_what_init_made(void **state)
{
    kmy_ring_t *ring = new_ring(8, 1);
    kmy_errctx_t ctx = { 0 };
    (void)state;
    assert_ptr_equal(kmy_ring_attach(ring, kmy_ring_bytes(8), &ctx), ring);
    assert_ptr_equal(kmy_ring_attach(ring, kmy_ring_bytes(8) + 4096, &ctx), ring);
    assert_null(ctx.where);
    free(ring);
}

static void attach_refuses_what_is_no_ring(void **state)
{
    enum { BYTES = 256 + 8 * 128 };
    static const struct {
        size_t at, width;
        uint64_t value;
        size_t bytes, shift;
        const char *says;
    } row[] = {
        { 0, 8, 0, BYTES, 0, "magic" },
        { 0, 1, 'X', BYTES, 0, "magic" },
        { 8, 4, 2, BYTES, 0, "version" },
        { 12, 4, 64, BYTES, 0, "64 bytes" },
        { 16, 8, 0, BYTES, 0, "power of two" },
        { 16, 8, 1, BYTES, 0, "power of two" },
        { 16, 8, 7, BYTES, 0, "power of two" },
        { 16, 8, 16, BYTES, 0, "are mapped" },
        { 16, 8, UINT64_C(1) << 63, BYTES, 0, "power of two" },
        { 24, 8, 0, BYTES, 0, "first number" },
        { 24, 8, UINT64_MAX, BYTES, 0, "first number" },
        { 128, 8, 0, BYTES, 0, "head" },
        { 128, 8, 4, BYTES, 0, "head" }, /* below the first number, 5 */
        { 200, 1, 0, BYTES - 1, 0, "are mapped" },
        { 200, 1, 0, 255, 0, "too few" },
        { 200, 1, 0, 0, 0, "too few" },
        { 200, 1, 0, BYTES, 8, "multiple of 64" },
    };
    (void)state;
    unsigned char *ring = (unsigned char *)new_ring(8, 5);
    unsigned char *copy = aligned_alloc(128, BYTES + 128);
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        kmy_errctx_t ctx = { 0 };
        memcpy(copy, ring, BYTES);
        memcpy(copy + row[i].at, &row[i].value, row[i].width);
        assert_null(kmy_ring_attach(copy + row[i].shift, row[i].bytes, &ctx));
        assert_non_null(ctx.where);
        if (strstr(ctx.detail, row[i].says) == NULL)
            fail_msg("row %zu says: %s", i, ctx.detail);
        assert_null(kmy_ring_attach(copy + row[i].shift, row[i].bytes, NULL));
    }
    free(copy);
    free(ring);
}

/* ---- another process, which may not write ---- */

/* Exit status of the child: 0, or the line that failed. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            _exit(__LINE__ % 250 + 1);                                                             \
    } while (0)

static void read_in_child(int fd, size_t bytes, uint64_t ticks)
{
    kmy_errctx_t ctx = { 0 };
    kmy_tick_t out[32];
    uint64_t cursor = 1, lost = 0, got_all = 0;
    void *mem = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    CHECK(mem != MAP_FAILED);
    const kmy_ring_t *ring = kmy_ring_attach(mem, bytes, &ctx);
    CHECK(ring != NULL);
    while (cursor <= ticks) {
        const size_t got = kmy_ring_read(ring, &cursor, out, 32, &lost);
        for (size_t i = 0; i < got; i++) {
            kmy_tick_t want;
            make_tick(&want, cursor - got + i);
            want.seq = cursor - got + i;
            CHECK(memcmp(&out[i], &want, sizeof want) == 0);
        }
        got_all += got;
    }
    CHECK(got_all + lost == ticks);
    CHECK(got_all > 0);
    _exit(0);
}

static void another_process_reads_a_mapping_it_cannot_write(void **state)
{
    enum { SLOTS = 256, TICKS = 50000 };
    const size_t bytes = kmy_ring_bytes(SLOTS);
    (void)state;
    int fd = memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(mem, MAP_FAILED);
    kmy_ring_t *ring = kmy_ring_init(mem, SLOTS, 1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0); /* from now on read-only */
    assert_ptr_equal(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);

    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        read_in_child(fd, bytes, TICKS);
    for (uint64_t sent = 0; sent < TICKS; sent += 10)
        publish(ring, 10);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    munmap(mem, bytes);
    close(fd);
}

/* ---- our own bugs end the program ---- */

static int death_of(void (*act)(kmy_ring_t *))
{
    kmy_ring_t *ring = new_ring(8, 1);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        act(ring);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    free(ring);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static kmy_tick_t scratch[8];
static void publish_too_many(kmy_ring_t *ring)
{
    kmy_ring_publish(ring, scratch, 5);
}
static void publish_half(kmy_ring_t *ring)
{
    kmy_ring_publish(ring, scratch, 4);
}
static void read_from_zero(kmy_ring_t *ring)
{
    uint64_t cursor = 0, lost = 0;
    kmy_ring_read(ring, &cursor, scratch, 8, &lost);
}
static void init_at_zero(kmy_ring_t *ring)
{
    kmy_ring_init(ring, 8, 0);
}
static void init_three(kmy_ring_t *ring)
{
    kmy_ring_init(ring, 3, 1);
}
static void init_beyond(kmy_ring_t *ring)
{
    kmy_ring_init(ring, 8, KMY_RING_SEQ_MAX + 1);
}

static void a_fault_of_ours_aborts(void **state)
{
    (void)state;
    assert_int_equal(death_of(publish_half), 0);
    assert_int_equal(death_of(publish_too_many), SIGABRT);
    assert_int_equal(death_of(read_from_zero), SIGABRT);
    assert_int_equal(death_of(init_at_zero), SIGABRT);
    assert_int_equal(death_of(init_three), SIGABRT);
    assert_int_equal(death_of(init_beyond), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_has_a_power_of_two_of_slots),
        cmocka_unit_test(ticks_arrive_in_order_and_whole),
        cmocka_unit_test(publishing_nothing_changes_nothing),
        cmocka_unit_test(a_reader_takes_no_more_than_it_asks_for),
        cmocka_unit_test(losses_are_counted_to_the_tick),
        cmocka_unit_test(delivered_and_lost_make_up_what_was_published),
        cmocka_unit_test(readers_do_not_know_of_each_other),
        cmocka_unit_test(a_tick_that_is_being_overwritten_is_lost_not_torn),
        cmocka_unit_test(attach_takes_what_init_made),
        cmocka_unit_test(attach_refuses_what_is_no_ring),
        cmocka_unit_test(another_process_reads_a_mapping_it_cannot_write),
        cmocka_unit_test(a_fault_of_ours_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
