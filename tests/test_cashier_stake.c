/* engine/cashier_stake: what a shard is told of a stake, and how often a chain is asked for it. */
#include "tests/cashier_rig.h"

#include "pay/solana_account.h"
#include "wire/base58.h"

enum { KEY = KMY_SOLANA_KEY_BYTES, READS = 8 };
#define MINT "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"

static struct {
    stand_t http;
    uint64_t units; /* that everybody has */
    bool silent, down;
    unsigned questions;
} node;

static void node_answers_stake(void *arg, const stand_request_t *q, stand_reply_t *a)
{
    (void)arg;
    char id[32], text[256], program[KMY_BASE58_KEY_BYTES_MAX];
    uint8_t data[72];
    const char *owner = strstr(q->body, "\"params\":[\"");
    assert_non_null(owner);
    owner += strlen("\"params\":[\"");
    assert_true(chain_member(q->body, "id", id, sizeof id));
    assert_true(kmy_base58_decode(MINT, strlen(MINT), data, KEY));
    assert_true(kmy_base58_decode(owner, strcspn(owner, "\""), data + KEY, KEY));
    memcpy(data + 64, &node.units, 8); /* little-endian, as this machine */
    kmy_base58_encode(kmy_solana_token_program[KMY_SOLANA_TOKEN], KEY, program);
    text[kmy_base64_encode(KMY_BASE64_STD, data, sizeof data, text)] = 0;
    node.questions++;
    a->silence = node.silent;
    a->status = node.down ? 503 : 200;
    snprintf(a->body, sizeof a->body,
             "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"context\":{\"slot\":1},\"value\":["
             "{\"pubkey\":\"x\",\"account\":{\"owner\":\"%s\",\"data\":[\"%s\",\"base64\"]}}]}}",
             id, program, text);
}

#define NODE_LOCKED(what)                                                                          \
    do {                                                                                           \
        pthread_mutex_lock(&node.http.lock);                                                       \
        what;                                                                                      \
        pthread_mutex_unlock(&node.http.lock);                                                     \
    } while (0)

static unsigned questions(void)
{
    unsigned n;
    NODE_LOCKED(n = node.questions);
    return n;
}

static world_t *begin(const char *times)
{
    char more[512];
    memset(&node, 0, sizeof node);
    stand_open(&node.http, node_answers_stake, NULL);
    snprintf(more, sizeof more,
             " }\nprices:\n  stake: { mint: " MINT ", decimals: 6, rpc: \"%s/key\"%s",
             node.http.url, times);
    return new_world(true, more);
}

static void end(world_t *w)
{
    world_end(w);
    stand_close(&node.http);
}

static kmy_slip_t *ask(world_t *w, uint32_t shard, uint8_t who, int64_t wait_ms)
{
    char key[KMY_BASE58_KEY_BYTES_MAX];
    uint8_t owner[KEY] = { 1, 2, who };
    kmy_slip_t *s = take_slip(w, shard, KMY_SLIP_STAKE);
    kmy_base58_encode(owner, KEY, key);
    snprintf(s->account, sizeof s->account, "solana:mainnet:%s", key);
    s->deadline_ns = kmy_mono_ns() + wait_ms * KMY_NS_PER_MS;
    say(w, shard, s);
    return s;
}

static void one_question_answers_all_who_ask(void **state)
{
    (void)state;
    world_t *w = begin("");
    node.units = 12345678901;
    int64_t began_ns = kmy_mono_ns();
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < SHARDS; i++)
            ask(w, i, 1, PATIENCE_MS);
        for (uint32_t i = 0; i < SHARDS; i++) {
            kmy_slip_t *s = hear(w, i);
            assert_slip(s, KMY_SLIP_DONE);
            assert_int_equal(s->stake, 12345); /* whole tokens */
            assert_true(s->again_ns >= began_ns + 300 * KMY_NS_PER_S);
            assert_true(s->again_ns <= kmy_mono_ns() + 300 * KMY_NS_PER_S);
        }
        assert_int_equal(questions(), 1);
    }
    ask(w, 0, 2, PATIENCE_MS);
    assert_int_equal(hear(w, 0)->stake, 12345);
    assert_int_equal(questions(), 2);
    end(w);
}

static void a_node_that_fails_is_not_asked_by_everybody_anew(void **state)
{
    (void)state;
    world_t *w = begin("");
    node.down = true;
    for (uint32_t i = 0; i < SHARDS; i++) {
        ask(w, i, 1, PATIENCE_MS);
        kmy_slip_t *s = hear(w, i);
        assert_slip(s, KMY_SLIP_DONE);
        assert_int_equal(s->stake, 0);
        assert_true(s->again_ns <= kmy_mono_ns() + 30 * KMY_NS_PER_S);
    }
    assert_int_equal(questions(), 1);
    end(w);
}

static void a_reading_outlives_the_node(void **state)
{
    (void)state;
    world_t *w = begin(", refresh: 100ms, keep: 1h");
    node.units = 7000000;
    ask(w, 0, 1, PATIENCE_MS);
    assert_int_equal(hear(w, 0)->stake, 7);
    NODE_LOCKED(node.down = true);
    while (questions() < 4) { /* each failure rests 100 ms */
        ask(w, 0, 1, PATIENCE_MS);
        assert_int_equal(hear(w, 0)->stake, 7);
    }
    NODE_LOCKED(node.down = false; node.units = 0);
    unsigned before = questions();
    uint64_t stake = 7;
    while (stake != 0) { /* a node that says 0 is believed */
        ask(w, 0, 1, PATIENCE_MS);
        stake = hear(w, 0)->stake;
        assert_true(stake == 0 || questions() <= before + 1);
    }
    end(w);
}

static void who_waits_is_told_at_its_deadline_and_a_silent_node_is_asked_eight_things(void **state)
{
    (void)state;
    enum { ACCOUNTS = 40 };
    world_t *w = begin("");
    node.silent = true;
    node.units = 5000000;
    for (uint8_t i = 0; i < ACCOUNTS; i++)
        ask(w, 0, i, 50);
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        kmy_slip_t *s = hear(w, 0);
        assert_slip(s, KMY_SLIP_DONE);
        assert_int_equal(s->stake, 0);
        assert_true(s->again_ns <=
                    kmy_mono_ns() + 1000 * KMY_NS_PER_MS); /* soon: it is under way */
    }
    while (questions() < READS)
        sched_yield();
    ask(w, 0, 1, 50);
    hear(w, 0);
    assert_int_equal(questions(), READS);
    end(w);
}

static void nobody_waits_for_a_node_that_failed_until_it_answers(void **state)
{
    (void)state;
    world_t *w = begin("");
    node.down = true;
    node.units = 5000000;
    ask(w, 0, 1, PATIENCE_MS);
    assert_int_equal(hear(w, 0)->stake, 0);
    NODE_LOCKED(node.silent = true);
    ask(w, 0, 2, PATIENCE_MS); /* it is asked, and says nothing */
    const kmy_slip_t *s = hear_within(w, 0, 2000);
    assert_non_null(s);
    assert_int_equal(s->stake, 0);
    assert_true(s->again_ns <= kmy_mono_ns() + 1000 * KMY_NS_PER_MS);
    while (questions() < 2)
        sched_yield();
    NODE_LOCKED(node.silent = node.down = false);
    uint64_t stake = 0;
    while (stake == 0) { /* told soon after it answers again */
        ask(w, 0, 3, PATIENCE_MS);
        stake = hear(w, 0)->stake;
    }
    ask(w, 0, 4, PATIENCE_MS); /* and from then on the first who asks is told */
    assert_int_equal(hear(w, 0)->stake, 5);
    end(w);
}

static void a_drain_waits_for_no_chain(void **state)
{
    (void)state;
    world_t *w = begin("");
    node.silent = true;
    ask(w, 3, 1, PATIENCE_MS);
    while (questions() < 1)
        sched_yield();
    kmy_cashier_drain(w->cashier);
    assert_int_equal(hear_within(w, 3, 2000)->stake, 0);
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_question_answers_all_who_ask),
        cmocka_unit_test(a_node_that_fails_is_not_asked_by_everybody_anew),
        cmocka_unit_test(a_reading_outlives_the_node),
        cmocka_unit_test(who_waits_is_told_at_its_deadline_and_a_silent_node_is_asked_eight_things),
        cmocka_unit_test(nobody_waits_for_a_node_that_failed_until_it_answers),
        cmocka_unit_test(a_drain_waits_for_no_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
