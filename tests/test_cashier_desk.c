/* engine/cashier_desk: what the keeper alone knows: a query's answer is kept and repeated, a payment's state is told, who paid can sign in, once a nonce. */
#include "tests/cashier_rig.h"

/* --- queries ---------------------------------------------------------------------------------------------- */

static void a_query_is_answered_once_and_repeated_for_nothing(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    kmy_slip_t *s = present(w, KMY_SLIP_QUERY, &p);
    assert_slip(s, KMY_SLIP_DONE);
    assert_int_equal(s->charged_nusd, DOLLAR); /* held for it */
    char id[KMY_PAYMENT_ID_BYTES];
    memcpy(id, s->payment_id, sizeof id);
    static const char *const bodies[] = { "{\"price\":\"1\"}", "{\"price\":\"2\"}" };
    for (int i = 0; i < 2; i++) { /* two requests had the same payment: one answer */
        s = take_slip(w, 0, KMY_SLIP_ANSWER);
        memcpy(s->payment_id, id, sizeof id);
        s->body_bytes = (uint32_t)strlen(bodies[i]);
        memcpy(s->body, bodies[i], s->body_bytes);
        s->charged_nusd = DOLLAR / 4; /* of what is held */
        say(w, 0, s);
        s = hear(w, 0);
        assert_slip(s, i == 0 ? KMY_SLIP_DONE : KMY_SLIP_AGAIN);
        assert_int_equal(s->body_bytes, strlen(bodies[0]));
        assert_memory_equal(s->body, bodies[0], s->body_bytes);
        assert_int_equal(s->balance_nusd, DOLLAR - DOLLAR / 4);
    }
    s = take_slip(w, 0, KMY_SLIP_RELEASE); /* a third that had no answer: the one that is kept */
    memcpy(s->payment_id, id, sizeof id);
    say(w, 0, s);
    s = hear(w, 0);
    assert_slip(s, KMY_SLIP_AGAIN);
    assert_memory_equal(s->body, bodies[0], strlen(bodies[0]));
    world_restart(w);
    s = present(w, KMY_SLIP_QUERY, &p);
    assert_slip(s, KMY_SLIP_AGAIN);
    assert_int_equal(s->body_bytes, strlen(bodies[0]));
    assert_memory_equal(s->body, bodies[0], s->body_bytes);
    s = present(w, KMY_SLIP_DEPOSIT, &p); /* what paid a request is no deposit */
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_CONFLICT);
    assert_int_equal(w->chain.settles, 1);
    world_end(w);
}

static void what_cannot_be_answered_stays_on_the_account(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    kmy_slip_t *s = present(w, KMY_SLIP_QUERY, &p);
    assert_slip(s, KMY_SLIP_DONE);
    assert_int_equal(s->balance_nusd, 0); /* it is held */
    char id[KMY_PAYMENT_ID_BYTES];
    memcpy(id, s->payment_id, sizeof id);
    s = take_slip(w, 0, KMY_SLIP_RELEASE);
    memcpy(s->payment_id, id, sizeof id);
    say(w, 0, s);
    s = hear(w, 0);
    assert_slip(s, KMY_SLIP_DONE);
    assert_int_equal(s->balance_nusd, DOLLAR);
    s = take_slip(w, 0, KMY_SLIP_RELEASE); /* by this one, not by another at the same time */
    memcpy(s->payment_id, id, sizeof id);
    say(w, 0, s);
    s = hear(w, 0);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_CONFLICT);
    s = present(w, KMY_SLIP_QUERY, &p);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_CONFLICT);
    world_end(w);
}

static kmy_slip_t *recall(world_t *w, const payment_t *p)
{
    kmy_slip_t *s = take_slip(w, 0, KMY_SLIP_QUERY);
    s->known_only = 1;
    put_header(s, p->header);
    say(w, 0, s);
    return hear(w, 0);
}

static void finish(world_t *w, const char *id, const char *body)
{
    kmy_slip_t *s = take_slip(w, 0, body ? KMY_SLIP_ANSWER : KMY_SLIP_RELEASE);
    memcpy(s->payment_id, id, sizeof s->payment_id);
    s->body_bytes = body ? (uint32_t)strlen(body) : 0;
    memcpy(s->body, body ? body : "", s->body_bytes);
    s->charged_nusd = DOLLAR;
    say(w, 0, s);
    assert_slip(hear(w, 0), KMY_SLIP_DONE);
}

static void
what_cannot_be_sold_now_is_answered_to_whom_it_was_sold_and_taken_from_nobody(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1), q = pay(w, &payer, 2);
    char id[KMY_PAYMENT_ID_BYTES];
    assert_slip(recall(w, &p), KMY_SLIP_NOT_FOUND); /* new: not even reserved */
    assert_int_equal(rig_audit(&w->rig).payments_count, 0);
    assert_int_equal(w->chain.settles, 0);
    const kmy_slip_t *s = present(w, KMY_SLIP_QUERY, &p);
    assert_slip(s, KMY_SLIP_DONE);
    memcpy(id, s->payment_id, sizeof id);
    assert_slip(recall(w, &p), KMY_SLIP_NOT_FOUND); /* paid, and not answered: it can still be */
    finish(w, id, "{\"price\":\"1\"}");
    for (int i = 0; i < 3; i++) {
        s = recall(w, &p);
        assert_slip(s, KMY_SLIP_AGAIN);
        assert_int_equal(s->body_bytes, 13);
        assert_memory_equal(s->body, "{\"price\":\"1\"}", 13);
        assert_string_equal(s->payment_id, id);
        if (i == 1)
            world_restart(w);
    }
    s = present(w, KMY_SLIP_QUERY, &q); /* one that was given up says so */
    assert_slip(s, KMY_SLIP_DONE);
    memcpy(id, s->payment_id, sizeof id);
    finish(w, id, NULL);
    s = recall(w, &q);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_CONFLICT);
    payment_t forged = pay_with(&payer, &w->entry, 1, 1, time(NULL) + 3600, NULL);
    forged.header[200] ^= 1;
    assert_slip(recall(w, &forged), KMY_SLIP_REFUSED);
    assert_int_equal(w->chain.settles, 2);
    assert_int_equal(credited_in_all(w), 2 * DOLLAR);
    world_end(w);
}

static void a_contract_wallet_is_asked_before_its_answer_is_repeated(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t owner = wallet_of(1), wallet = wallet_of(2);
    memcpy(w->chain.contract, wallet.hex, sizeof wallet.hex);
    w->chain.signature_ok = true;
    uint8_t secret[32];
    memcpy(secret, wallet.secret, sizeof secret);
    memcpy(wallet.secret, owner.secret,
           sizeof secret); /* signed by another key than the address's */
    payment_t p = pay(w, &wallet, 1);
    kmy_slip_t *s = present(w, KMY_SLIP_QUERY, &p);
    assert_slip(s, KMY_SLIP_DONE);
    char id[KMY_PAYMENT_ID_BYTES];
    memcpy(id, s->payment_id, sizeof id);
    finish(w, id, "{}");
    assert_slip(recall(w, &p), KMY_SLIP_AGAIN);
    CHAIN_LOCKED(&w->chain, w->chain.signature_ok = false);
    assert_slip(recall(w, &p), KMY_SLIP_REFUSED);
    world_end(w);
}

/* --- nobody comes for the answer ----------------------------------------------------------------- */

static void assert_is_on_the_account(const kmy_slip_t *s)
{
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_CONFLICT);
    assert_non_null(strstr(s->detail, "on the payer's account"));
    assert_non_null(strstr(s->detail, "POST /v1/tokens"));
}

static kmy_slip_t *ask_state(world_t *w, const char *id)
{
    kmy_slip_t *s = take_slip(w, 0, KMY_SLIP_STATE);
    memcpy(s->payment_id, id, sizeof s->payment_id);
    say(w, 0, s);
    s = hear(w, 0);
    assert_slip(s, KMY_SLIP_DONE);
    return s;
}

static void a_price_that_was_paid_and_never_asked_for_is_free_after_a_time(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1), other = wallet_of(2);
    payment_t p = pay(w, &payer, 1), q = pay(w, &other, 2);
    char id[KMY_PAYMENT_ID_BYTES], answered[KMY_PAYMENT_ID_BYTES];
    const kmy_slip_t *s = present(w, KMY_SLIP_QUERY, &q);
    assert_slip(s, KMY_SLIP_DONE);
    memcpy(answered, s->payment_id, sizeof answered);
    finish(w, answered, "{}");
    w->hold_ns = 300 * KMY_NS_PER_MS;
    world_restart(w);
    s = present(w, KMY_SLIP_QUERY, &p);
    assert_slip(s, KMY_SLIP_DONE);
    assert_int_equal(s->balance_nusd, 0); /* held */
    memcpy(id, s->payment_id, sizeof id);
    int64_t late_ns = kmy_mono_ns() + PATIENCE_MS * KMY_NS_PER_MS;
    while (ask_state(w, id)->balance_nusd == 0 && kmy_mono_ns() < late_ns)
        poll(NULL, 0, 5);
    assert_int_equal(ask_state(w, id)->balance_nusd, DOLLAR);
    assert_is_on_the_account(present(w, KMY_SLIP_QUERY, &p));
    kmy_slip_t *late =
        take_slip(w, 0, KMY_SLIP_ANSWER); /* a shard that composed it in this very moment */
    memcpy(late->payment_id, id, sizeof id);
    late->body_bytes = 2;
    memcpy(late->body, "{}", 2);
    say(w, 0, late);
    assert_is_on_the_account(hear(w, 0));
    assert_int_equal(ask_state(w, id)->balance_nusd, DOLLAR);
    assert_slip(present(w, KMY_SLIP_QUERY, &q), KMY_SLIP_AGAIN); /* what was answered stays */
    assert_int_equal(w->chain.settles, 2);
    world_end(w);
}

static void the_same_of_one_that_a_restart_found(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1), q = pay(w, &payer, 2), r = pay(w, &payer, 3);
    char id[KMY_PAYMENT_ID_BYTES];
    const kmy_slip_t *s = present(w, KMY_SLIP_QUERY, &p);
    assert_slip(s, KMY_SLIP_DONE);
    assert_slip(present(w, KMY_SLIP_QUERY, &q), KMY_SLIP_DONE);
    assert_slip(present(w, KMY_SLIP_QUERY, &r), KMY_SLIP_DONE);
    memcpy(id, s->payment_id, sizeof id);
    world_restart(w); /* in time: it is answered, from the balance */
    s = present(w, KMY_SLIP_QUERY, &r);
    assert_slip(s, KMY_SLIP_DONE);
    memcpy(id, s->payment_id, sizeof id);
    finish(w, id, "{}");
    w->hold_ns = 1;
    world_restart(w);
    for (int i = 0; i < 2; i++) {
        assert_is_on_the_account(present(w, KMY_SLIP_QUERY, &p));
        assert_is_on_the_account(recall(w, &q));
        assert_slip(recall(w, &r), KMY_SLIP_AGAIN);
        w->hold_ns = 0; /* it stays so */
        world_restart(w);
    }
    assert_int_equal(ask_state(w, id)->balance_nusd, 2 * DOLLAR);
    assert_int_equal(credited_in_all(w), 3 * DOLLAR);
    world_end(w);
}

static void a_deposit_pays_no_query(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    const kmy_slip_t *s = present(w, KMY_SLIP_QUERY, &p);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_CONFLICT);
    world_end(w);
}

static void a_payment_nobody_knows_is_not_found(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    static const char *const ids[] = { "00000000000000000000000000000000", "", "../../etc" };
    for (size_t i = 0; i < 3; i++) {
        kmy_slip_t *s = take_slip(w, 0, KMY_SLIP_STATE);
        snprintf(s->payment_id, sizeof s->payment_id, "%s", ids[i]);
        say(w, 0, s);
        assert_slip(hear(w, 0), KMY_SLIP_NOT_FOUND);
    }
    world_end(w);
}

/* --- sign-in -------------------------------------------------------------------------------------------------- */

static kmy_slip_t *sign_in(world_t *w, const wallet_t *who, const char *nonce)
{
    char text[2048], json[2048], issued[64], address[43], signature[131];
    uint8_t digest[32], raw[65];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(issued, sizeof issued, "%Y-%m-%dT%H:%M:%S.000Z", &tm);
    kmy_evm_address_text(who->address, address);
    int n = snprintf(text, sizeof text,
                     "feed.example wants you to sign in with your Ethereum account:\n%s\n\n\n"
                     "URI: https://feed.example/v1/signin\nVersion: 1\nChain ID: 8453\nNonce: "
                     "%s\nIssued At: %s",
                     address, nonce, issued);
    kmy_evm_personal_digest(text, (size_t)n, digest);
    wallet_sign(who, digest, raw);
    kmy_hex_encode(raw, 65, signature);
    n = snprintf(
        json, sizeof json,
        "{\"domain\":\"feed.example\",\"address\":\"%s\",\"uri\":\"https://feed.example/v1/"
        "signin\",\"version\":\"1\",\"chainId\":\"eip155:8453\",\"type\":\"eip191\","
        "\"nonce\":\"%s\",\"issuedAt\":\"%s\",\"signature\":\"0x%s\"}",
        address, nonce, issued, signature);
    kmy_slip_t *s = take_slip(w, 0, KMY_SLIP_SIGNIN);
    s->header_bytes = (uint32_t)kmy_base64_encode(KMY_BASE64_STD, json, (size_t)n, s->header);
    say(w, 0, s);
    return hear(w, 0);
}

static void who_paid_signs_in_to_his_account_and_each_nonce_works_once(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1), stranger = wallet_of(2);
    payment_t p = pay(w, &payer, 1);
    char nonce[KMY_SIGNIN_NONCE_DIGITS + 1], account[KMY_ACCOUNT_BYTES_MAX];
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    assert_true(kmy_signin_nonce_make(w->token_key, time(NULL), nonce));
    const kmy_slip_t *s = sign_in(w, &payer, nonce);
    assert_slip(s, KMY_SLIP_DONE);
    snprintf(account, sizeof account, "eip155:8453:0x%s", payer.hex);
    assert_string_equal(s->account, account);
    assert_int_equal(s->balance_nusd, DOLLAR);
    s = sign_in(w, &payer, nonce);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_UNAUTHENTICATED);
    world_restart(w); /* a restart does not make it good again */
    assert_slip(sign_in(w, &payer, nonce), KMY_SLIP_REFUSED);
    assert_true(kmy_signin_nonce_make(w->token_key, time(NULL), nonce));
    s = sign_in(w, &stranger, nonce); /* proven, but it never paid */
    assert_slip(s, KMY_SLIP_NOT_FOUND);
    snprintf(account, sizeof account, "eip155:8453:0x%s", stranger.hex);
    assert_string_equal(s->account, account);
    s = sign_in(w, &payer, "00000000000000000000000000000000"); /* none of ours */
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_UNAUTHENTICATED);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_is_answered_once_and_repeated_for_nothing),
        cmocka_unit_test(what_cannot_be_answered_stays_on_the_account),
        cmocka_unit_test(
            what_cannot_be_sold_now_is_answered_to_whom_it_was_sold_and_taken_from_nobody),
        cmocka_unit_test(a_contract_wallet_is_asked_before_its_answer_is_repeated),
        cmocka_unit_test(a_price_that_was_paid_and_never_asked_for_is_free_after_a_time),
        cmocka_unit_test(the_same_of_one_that_a_restart_found),
        cmocka_unit_test(a_deposit_pays_no_query),
        cmocka_unit_test(a_payment_nobody_knows_is_not_found),
        cmocka_unit_test(who_paid_signs_in_to_his_account_and_each_nonce_works_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
