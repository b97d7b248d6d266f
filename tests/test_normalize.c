/* What passes the normalizer: order, repetition, restarts, offsets. */
#include "adapters/normalize.h"

#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SECOND 1000000000ll

static kmy_quote_t quote_of(uint8_t source, const char *key, kmy_seq_scheme_t scheme, uint64_t seq,
                            int64_t price, int64_t event_s)
{
    kmy_quote_t q = { .key = key,
                      .key_len = (uint16_t)strlen(key),
                      .source = source,
                      .kind = KMY_KIND_ORACLE,
                      .seq_scheme = (uint8_t)scheme,
                      .source_seq = seq,
                      .price_mant = price,
                      .price_expo = -8,
                      .event_ns = event_s * SECOND,
                      .event_res = event_s ? KMY_RES_S : KMY_RES_NONE };
    return q;
}

typedef struct {
    const char *key;
    kmy_seq_scheme_t scheme;
    uint64_t seq;
    int64_t price;
    int64_t event_s;
    kmy_err_t want;
    uint64_t offset; /* of the tick, if there is one */
} row_t;

static void check_rows(const row_t *rows, size_t count)
{
    kmy_normalizer_t *n = kmy_normalizer_new(4);
    assert_int_equal(kmy_normalizer_add(n, KMY_SOURCE_PYTH, "A", 1, 1, 0), KMY_OK);
    assert_int_equal(kmy_normalizer_add(n, KMY_SOURCE_PYTH, "B", 1, 2, 0), KMY_OK);
    for (size_t i = 0; i < count; i++) {
        const row_t *r = &rows[i];
        kmy_quote_t q = quote_of(KMY_SOURCE_PYTH, r->key, r->scheme, r->seq, r->price, r->event_s);
        kmy_tick_t t;
        kmy_err_t got = kmy_normalize(n, &q, 5, 6, &t);
        if (got != r->want)
            fail_msg("row %zu: %s, not %s", i, kmy_err_code(got), kmy_err_code(r->want));
        if (got == KMY_OK)
            assert_int_equal(t.offset, r->offset);
    }
    kmy_normalizer_free(n);
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))

static void ids_must_rise_each_counter_for_itself(void **state)
{
    (void)state;
    static const row_t rows[] = {
        /* key  counter          number price time  want           offset */
        { "A", KMY_SEQ_TRADE_ID, 10, 1, 100, KMY_OK, 1 },
        { "A", KMY_SEQ_TRADE_ID, 10, 1, 100, KMY_DUPLICATE, 0 },
        { "A", KMY_SEQ_TRADE_ID, 10, 2, 100, KMY_DUPLICATE,
          0 }, /* an id is an id, whatever it says */
        { "A", KMY_SEQ_TRADE_ID, 9, 1, 100, KMY_STALE, 0 },
        { "A", KMY_SEQ_TRADE_ID, 500, 1, 99, KMY_OK,
          2 },                                          /* a jump; and times do not order trades */
        { "A", KMY_SEQ_UPDATE_ID, 3, 1, 0, KMY_OK, 3 }, /* another counter */
        { "A", KMY_SEQ_AGG_ID, 1, 1, 100, KMY_OK, 4 },
        { "A", KMY_SEQ_UPDATE_ID, 2, 1, 0, KMY_STALE, 0 },
        { "B", KMY_SEQ_TRADE_ID, 1, 1, 100, KMY_OK, 1 }, /* another key */
        { "C", KMY_SEQ_TRADE_ID, 1, 1, 100, KMY_NOT_FOUND, 0 },
        { "AA", KMY_SEQ_TRADE_ID, 1, 1, 100, KMY_NOT_FOUND, 0 },
        { "A", KMY_SEQ_TRADE_ID, UINT64_MAX, 1, 100, KMY_OK, 5 },
        { "A", KMY_SEQ_TRADE_ID, UINT64_MAX, 1, 100, KMY_DUPLICATE, 0 },
    };
    CHECK(rows);
}

static void a_zero_id_is_an_id(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { "A", KMY_SEQ_TRADE_ID, 0, 1, 100, KMY_OK, 1 },
        { "A", KMY_SEQ_TRADE_ID, 0, 1, 100, KMY_DUPLICATE, 0 },
    };
    CHECK(rows);
}

static void within_one_slot_only_new_content_passes(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { "A", KMY_SEQ_SLOT, 10, 1, 100, KMY_OK, 1 },
        { "A", KMY_SEQ_SLOT, 10, 1, 100, KMY_DUPLICATE, 0 },
        { "A", KMY_SEQ_SLOT, 10, 2, 100, KMY_OK, 2 },
        { "A", KMY_SEQ_SLOT, 11, 2, 100, KMY_OK, 3 }, /* a new slot says the price stands */
        { "A", KMY_SEQ_SLOT, 10, 3, 101, KMY_STALE, 0 },
        { "A", KMY_SEQ_NONE, 0, 2, 100, KMY_DUPLICATE,
          0 }, /* the same update from a connection without slots */
        { "A", KMY_SEQ_NONE, 0, 2, 99, KMY_STALE, 0 },
    };
    CHECK(rows);
}

static void without_a_counter_time_and_content_decide(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { "A", KMY_SEQ_NONE, 0, 1, 100, KMY_OK, 1 },
        { "A", KMY_SEQ_NONE, 0, 1, 100, KMY_DUPLICATE, 0 },
        { "A", KMY_SEQ_NONE, 0, 2, 100, KMY_OK, 2 }, /* same second, new price: a real update */
        { "A", KMY_SEQ_NONE, 0, 3, 99, KMY_STALE, 0 },
        { "A", KMY_SEQ_NONE, 0, 2, 101, KMY_OK, 3 },
        { "B", KMY_SEQ_NONE, 0, 7, 0, KMY_OK, 1 }, /* no time at all */
        { "B", KMY_SEQ_NONE, 0, 7, 0, KMY_DUPLICATE, 0 },
        { "B", KMY_SEQ_NONE, 0, 8, 0, KMY_OK, 2 },
        { "B", KMY_SEQ_NONE, 0, 8, 50, KMY_OK, 3 },
        { "B", KMY_SEQ_NONE, 0, 9, 0, KMY_OK, 4 },     /* times come and go: */
        { "B", KMY_SEQ_NONE, 0, 9, 49, KMY_STALE, 0 }, /* the newest one still counts */
    };
    CHECK(rows);
}

static void a_tick_carries_the_quote_and_our_clocks(void **state)
{
    (void)state;
    kmy_normalizer_t *n = kmy_normalizer_new(1);
    assert_int_equal(kmy_normalizer_add(n, KMY_SOURCE_BINANCE, "KMYUSDT", 7, 42, 1000), KMY_OK);
    kmy_quote_t q = quote_of(KMY_SOURCE_BINANCE, "KMYUSDT", KMY_SEQ_UPDATE_ID, 77, 105, 9);
    q.kind = KMY_KIND_QUOTE;
    q.has = KMY_HAS_BID | KMY_HAS_ASK | KMY_HAS_CONF | KMY_HAS_SIZE | KMY_HAS_ASK_SIZE;
    q.flags = KMY_TICK_CONF_IS_SPREAD;
    q.bid_mant = 100;
    q.ask_mant = 110;
    q.conf_mant = 10;
    q.size_mant = 3;
    q.ask_size_mant = 4;
    q.size_expo = -5;
    kmy_tick_t got;
    memset(&got, 0xaa, sizeof got);
    assert_int_equal(kmy_normalize(n, &q, 11, 12, &got), KMY_OK);
    got.seq = 0;
    const kmy_tick_t want = { .offset = 1001,
                              .event_ns = 9 * SECOND,
                              .recv_ns = 11,
                              .mono_ns = 12,
                              .price_mant = 105,
                              .bid_mant = 100,
                              .ask_mant = 110,
                              .conf_mant = 10,
                              .size_mant = 3,
                              .ask_size_mant = 4,
                              .source_seq = 77,
                              .feed_id = 42,
                              .flags = KMY_TICK_CONF_IS_SPREAD,
                              .source = KMY_SOURCE_BINANCE,
                              .kind = KMY_KIND_QUOTE,
                              .price_expo = -8,
                              .size_expo = -5,
                              .event_res = KMY_RES_S,
                              .has = q.has };
    assert_memory_equal(&got, &want, sizeof want); /* reserved bytes are zero too */
    kmy_normalizer_free(n);
}

static void keys_of_one_feed_share_its_offsets(void **state)
{
    (void)state;
    kmy_normalizer_t *n = kmy_normalizer_new(2);
    assert_int_equal(kmy_normalizer_add(n, KMY_SOURCE_PYTH, "A", 1, 9, 5), KMY_OK);
    assert_int_equal(kmy_normalizer_add(n, KMY_SOURCE_BINANCE, "A", 1, 9, 3), KMY_OK);
    kmy_tick_t t;
    kmy_quote_t q = quote_of(KMY_SOURCE_PYTH, "A", KMY_SEQ_SLOT, 1, 1, 1);
    assert_int_equal(kmy_normalize(n, &q, 0, 0, &t), KMY_OK);
    assert_int_equal(t.offset, 6);
    q.source = KMY_SOURCE_BINANCE; /* the same bytes of another source are another key */
    assert_int_equal(kmy_normalize(n, &q, 0, 0, &t), KMY_OK);
    assert_int_equal(t.offset, 7);
    kmy_normalizer_free(n);
}

static void adding_keys_has_limits(void **state)
{
    (void)state;
    char longest[KMY_QUOTE_KEY_BYTES_MAX + 1];
    memset(longest, 'k', sizeof longest);
    kmy_normalizer_t *n = kmy_normalizer_new(2);
    assert_int_equal(kmy_normalizer_add(n, 1, longest, sizeof longest, 1, 0), KMY_TOO_BIG);
    assert_int_equal(kmy_normalizer_add(n, 1, "", 0, 1, 0), KMY_TOO_BIG);
    assert_int_equal(kmy_normalizer_add(n, 1, longest, sizeof longest - 1, 1, 0), KMY_OK);
    assert_int_equal(kmy_normalizer_add(n, 1, longest, sizeof longest - 1, 2, 0), KMY_DUPLICATE);
    assert_int_equal(kmy_normalizer_add(n, 2, longest, sizeof longest - 1, 1, 0), KMY_OK);
    assert_int_equal(kmy_normalizer_add(n, 1, "x", 1, 1, 0), KMY_FULL);
    kmy_normalizer_free(n);
}

/* As many keys as the table was made for, of all lengths: each is found, and none that was not added. */
static void thousands_of_keys_are_told_apart(void **state)
{
    (void)state;
    enum { KEYS = 4096 };
    kmy_normalizer_t *n = kmy_normalizer_new(KEYS);
    char key[KMY_QUOTE_KEY_BYTES_MAX + 1];
    kmy_tick_t t;
    for (int added = 0; added < 2; added++) {
        for (uint32_t i = 0; i < KEYS; i++) {
            int len = snprintf(key, sizeof key, "%u%.*s", i, (int)(i % 60),
                               "USDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDT");
            if (len > KMY_QUOTE_KEY_BYTES_MAX)
                len = KMY_QUOTE_KEY_BYTES_MAX;
            key[len] = '\0';
            kmy_quote_t q = quote_of(1, key, KMY_SEQ_TRADE_ID, 1, 1, 1);
            assert_int_equal(kmy_normalize(n, &q, 0, 0, &t), added ? KMY_OK : KMY_NOT_FOUND);
            if (added)
                assert_int_equal(t.feed_id, i + 1);
        }
        for (uint32_t i = 0; i < KEYS && !added; i++) {
            int len = snprintf(key, sizeof key, "%u%.*s", i, (int)(i % 60),
                               "USDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDTUSDT");
            if (len > KMY_QUOTE_KEY_BYTES_MAX)
                len = KMY_QUOTE_KEY_BYTES_MAX;
            assert_int_equal(kmy_normalizer_add(n, 1, key, (size_t)len, i + 1, 0), KMY_OK);
        }
    }
    kmy_normalizer_free(n);
}

static void the_first_quote_of_each_key_after_a_reconnect_says_so(void **state)
{
    (void)state;
    kmy_normalizer_t *n = kmy_normalizer_new(3);
    assert_int_equal(kmy_normalizer_add(n, KMY_SOURCE_PYTH, "A", 1, 1, 0), KMY_OK);
    assert_int_equal(kmy_normalizer_add(n, KMY_SOURCE_BINANCE, "A", 1, 2, 0), KMY_OK);
    kmy_normalizer_reconnected(n, KMY_SOURCE_PYTH);
    kmy_tick_t t;
    kmy_quote_t q = quote_of(KMY_SOURCE_PYTH, "A", KMY_SEQ_SLOT, 1, 1, 1);
    assert_int_equal(kmy_normalize(n, &q, 0, 0, &t), KMY_OK);
    assert_true(t.flags & KMY_TICK_RECONNECT);
    assert_int_equal(kmy_normalize(n, &q, 0, 0, &t), KMY_DUPLICATE);
    q.source_seq = 2;
    assert_int_equal(kmy_normalize(n, &q, 0, 0, &t), KMY_OK);
    assert_false(t.flags & KMY_TICK_RECONNECT);
    q.source = KMY_SOURCE_BINANCE;
    assert_int_equal(kmy_normalize(n, &q, 0, 0, &t), KMY_OK);
    assert_false(t.flags & KMY_TICK_RECONNECT); /* that source did not reconnect */
    kmy_normalizer_free(n);
}

static void a_book_crossed_beyond_sense_makes_no_tick(void **state)
{
    (void)state;
    kmy_normalizer_t *n = kmy_normalizer_new(1);
    assert_int_equal(kmy_normalizer_add(n, KMY_SOURCE_BINANCE, "A", 1, 1, 0), KMY_OK);
    kmy_tick_t t;
    kmy_quote_t q = quote_of(KMY_SOURCE_BINANCE, "A", KMY_SEQ_UPDATE_ID, 1, 150, 0);
    q.flags = KMY_TICK_CROSSED;
    q.bid_mant = 200;
    q.ask_mant = 100;
    assert_int_equal(kmy_normalize(n, &q, 0, 0, &t), KMY_OK);
    assert_true(t.flags & KMY_TICK_CROSSED);
    q.bid_mant = 202;
    q.source_seq = 2;
    assert_int_equal(kmy_normalize(n, &q, 0, 0, &t), KMY_OVERFLOW);
    q.bid_mant = 200; /* and it did not use up its id */
    assert_int_equal(kmy_normalize(n, &q, 0, 0, &t), KMY_OK);
    kmy_normalizer_free(n);
}

/* Sends `count` quotes with ids from `first` up, one each `step_ns`; says what the last came to. */
static kmy_err_t send_run(kmy_normalizer_t *n, uint64_t first, int count, int64_t *mono_ns,
                          int64_t step_ns, int64_t event_s)
{
    kmy_err_t err = KMY_OK;
    for (int i = 0; i < count; i++) {
        kmy_tick_t t;
        kmy_quote_t q =
            quote_of(KMY_SOURCE_BINANCE, "A", KMY_SEQ_TRADE_ID, first + (uint64_t)i, 1, event_s);
        err = kmy_normalize(n, &q, 0, *mono_ns, &t);
        *mono_ns += step_ns;
    }
    return err;
}

static kmy_normalizer_t *with_id_1000000_seen(int64_t *mono_ns)
{
    kmy_normalizer_t *n = kmy_normalizer_new(1);
    *mono_ns = 77;
    assert_int_equal(kmy_normalizer_add(n, KMY_SOURCE_BINANCE, "A", 1, 1, 0), KMY_OK);
    assert_int_equal(send_run(n, 1000000, 1, mono_ns, 1, 100), KMY_OK);
    return n;
}

static void a_counter_that_restarted_is_believed_after_a_while(void **state)
{
    (void)state;
    const int64_t step = KMY_RESTART_NS / (KMY_RESTART_QUOTES - 1) + 1;
    int64_t now;
    kmy_normalizer_t *n = with_id_1000000_seen(&now);
    assert_int_equal(send_run(n, 1, KMY_RESTART_QUOTES - 1, &now, step, 101), KMY_STALE);
    assert_int_equal(kmy_normalizer_restarts(n), 0);
    assert_int_equal(send_run(n, KMY_RESTART_QUOTES, 1, &now, step, 101), KMY_OK);
    assert_int_equal(kmy_normalizer_restarts(n), 1);
    assert_int_equal(send_run(n, KMY_RESTART_QUOTES, 1, &now, step, 101), KMY_DUPLICATE);
    assert_int_equal(send_run(n, KMY_RESTART_QUOTES + 1, 1, &now, step, 101), KMY_OK);
    kmy_normalizer_free(n);
}

static void what_is_no_restart_stays_stale(void **state)
{
    (void)state;
    const int64_t slow = KMY_RESTART_NS / 8;
    int64_t now;
    kmy_normalizer_t *n = with_id_1000000_seen(&now);
    assert_int_equal(send_run(n, 1, 10 * KMY_RESTART_QUOTES, &now, 1, 101),
                     KMY_STALE); /* a burst: too quick */
    kmy_normalizer_free(n);

    n = with_id_1000000_seen(&now);
    assert_int_equal(send_run(n, 1, KMY_RESTART_QUOTES - 1, &now, slow, 101),
                     KMY_STALE); /* too few */
    assert_int_equal(send_run(n, 1000000, 1, &now, slow, 101),
                     KMY_DUPLICATE); /* the old numbering lives */
    assert_int_equal(send_run(n, 500, 1, &now, slow, 101), KMY_STALE);
    kmy_normalizer_free(n);

    n = with_id_1000000_seen(&now);
    for (int i = 0; i < 4; i++) /* begins again and again: a replay, not a counter */
        assert_int_equal(send_run(n, 1, KMY_RESTART_QUOTES - 1, &now, slow, 101), KMY_STALE);
    kmy_normalizer_free(n);

    n = with_id_1000000_seen(&now);
    for (int i = 0; i < 10 * KMY_RESTART_QUOTES; i++) /* one and the same for ever */
        assert_int_equal(send_run(n, 5000, 1, &now, slow, 101), KMY_STALE);
    kmy_normalizer_free(n);

    n = with_id_1000000_seen(&now);
    assert_int_equal(send_run(n, 1, 4 * KMY_RESTART_QUOTES, &now, slow, 99),
                     KMY_STALE); /* old messages by the source's own clock */
    assert_int_equal(kmy_normalizer_restarts(n), 0);
    kmy_normalizer_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_must_rise_each_counter_for_itself),
        cmocka_unit_test(a_zero_id_is_an_id),
        cmocka_unit_test(within_one_slot_only_new_content_passes),
        cmocka_unit_test(without_a_counter_time_and_content_decide),
        cmocka_unit_test(a_tick_carries_the_quote_and_our_clocks),
        cmocka_unit_test(keys_of_one_feed_share_its_offsets),
        cmocka_unit_test(adding_keys_has_limits),
        cmocka_unit_test(thousands_of_keys_are_told_apart),
        cmocka_unit_test(the_first_quote_of_each_key_after_a_reconnect_says_so),
        cmocka_unit_test(a_book_crossed_beyond_sense_makes_no_tick),
        cmocka_unit_test(a_counter_that_restarted_is_believed_after_a_while),
        cmocka_unit_test(what_is_no_restart_stays_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
