/* wire/sse: a tick and an own frame as events, byte for byte, and which ids are ours. */
#include "wire/sse.h"

#include "tests/page_edge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void a_tick_is_one_chunk_with_its_id_and_the_json_of_the_socket(void **state)
{
    (void)state;
    kmy_tick_json_t t;
    kmy_tick_t tick = { .seq = 1234567,
                        .offset = 42,
                        .recv_ns = INT64_C(1795257173223666980),
                        .price_mant = 6099937,
                        .price_expo = -2,
                        .kind = KMY_KIND_TRADE,
                        .source = KMY_SOURCE_BINANCE };
    char json[KMY_TICK_JSON_BYTES_MAX];
    char out[KMY_TICK_SSE_BYTES_MAX];
    char want[KMY_TICK_SSE_BYTES_MAX + 16];
    kmy_tick_json_init(&t, "BTC/USDT@binance");
    size_t n = kmy_tick_json_object(&t, &tick, json);
    char body[KMY_TICK_SSE_BYTES_MAX];
    int len = snprintf(body, sizeof body,
                       "event: tick\nid: 1lg2spbr2d09sft:1234567\ndata: %.*s\n\n", (int)n, json);
    int all = snprintf(want, sizeof want, "%03x\r\n%s\r\n", (unsigned)len, body);
    assert_int_equal(kmy_sse_tick(&t, "1lg2spbr2d09sft", &tick, out), all);
    assert_memory_equal(out, want, (size_t)all);
}

static void the_longest_tick_fits(void **state)
{
    (void)state;
    kmy_tick_json_t t;
    char name[KMY_FEED_NAME_BYTES_MAX];
    char epoch[KMY_SSE_EPOCH_BYTES_MAX];
    memset(name, 1, sizeof name - 1); /* six bytes each */
    name[sizeof name - 1] = 0;
    memset(epoch, 'e', sizeof epoch - 1);
    epoch[sizeof epoch - 1] = 0;
    kmy_tick_t tick = { .seq = UINT64_MAX,
                        .offset = UINT64_MAX,
                        .recv_ns = INT64_MIN,
                        .event_ns = INT64_MIN,
                        .price_mant = INT64_MIN,
                        .bid_mant = INT64_MIN,
                        .ask_mant = INT64_MIN,
                        .conf_mant = UINT64_MAX,
                        .size_mant = INT64_MIN,
                        .price_expo = -64,
                        .size_expo = -64,
                        .kind = KMY_KIND_ORACLE,
                        .source = KMY_SOURCE_DEFILLAMA,
                        .flags = KMY_TICK_DEGRADED,
                        .has = KMY_HAS_BID | KMY_HAS_ASK | KMY_HAS_CONF | KMY_HAS_SIZE };
    kmy_tick_json_init(&t, name);
    char room[KMY_TICK_SSE_BYTES_MAX] = "";
    char *at = kmy_at_page_end(room, sizeof room);
    size_t n = kmy_sse_tick(&t, epoch, &tick, at);
    assert_in_range(n, 900, KMY_TICK_SSE_BYTES_MAX);
    assert_int_equal(strtoul(at, NULL, 16), n - 5 - 2);
}

static void an_own_frame_is_named_by_its_type(void **state)
{
    (void)state;
    static const char json[] = "{\"type\":\"payment_required\",\"required\":\"0.000001000\"}";
    char out[KMY_SSE_HEAD_BYTES_MAX + sizeof json + 8];
    char want[256];
    size_t n = kmy_sse_head(json, sizeof json - 1, out);
    memcpy(out + n, json, sizeof json - 1);
    memcpy(out + n + sizeof json - 1, KMY_SSE_TAIL, sizeof KMY_SSE_TAIL);
    snprintf(want, sizeof want, "%x\r\nevent: payment_required\ndata: %s\n\n\r\n",
             (unsigned)(strlen("event: payment_required\ndata: \n\n") + sizeof json - 1), json);
    assert_string_equal(out, want);
}

static const struct {
    const char *id;
    bool good, ours;
    uint64_t seq;
} ids[] = {
    { "e1:5", true, true, 5 },
    { "e1:0", true, true, 0 },
    { "e1:18446744073709551615", true, true, UINT64_MAX },
    { "e1:18446744073709551616", false, false, 0 },
    { "other:5", true, false, 5 },
    { "e:5", true, false, 5 },
    { "e11:5", true, false, 5 },
    { ":5", false, false, 0 },
    { "e1:", false, false, 0 },
    { "e1", false, false, 0 },
    { "", false, false, 0 },
    { "e1:-1", false, false, 0 },
    { "e1: 5", false, false, 0 },
    { "e1:5x", false, false, 0 },
    { "e1:5:6", false, false, 0 },
    { "0123456789012345678901234567890123456789012345678901234567890123:5", false, false, 0 },
};

static void an_id_is_an_epoch_and_a_seq(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        bool ours = false;
        uint64_t seq = 0;
        bool good = kmy_sse_id(ids[i].id, strlen(ids[i].id), "e1", &ours, &seq);
        if (good != ids[i].good || (good && (ours != ids[i].ours || seq != ids[i].seq)))
            fail_msg("%s: %d %d %llu", ids[i].id, good, ours, (unsigned long long)seq);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tick_is_one_chunk_with_its_id_and_the_json_of_the_socket),
        cmocka_unit_test(the_longest_tick_fits),
        cmocka_unit_test(an_own_frame_is_named_by_its_type),
        cmocka_unit_test(an_id_is_an_epoch_and_a_seq),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
