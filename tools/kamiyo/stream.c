/* kamiyo stream: every tick as it comes, and at the end the two counts side by side: what we received, what the server says it charged. */
#include "tools/kamiyo/kamiyo.h"

#include "base/clock.h"
#include "base/money.h"
#include "tools/kamiyo/stream_frames.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_WAIT_NS    (10 * KMY_NS_PER_S)
#define CLOSE_WAIT_NS   (5 * KMY_NS_PER_S)
#define RECEIPT_WAIT_NS (3 * KMY_NS_PER_S) /* they wait for the disk, not longer */
#define BALANCE_POLL_NS (5 * KMY_NS_PER_S)

static volatile sig_atomic_t stop_asked;

static void on_signal(int sig)
{
    (void)sig;
    stop_asked = 1;
}

/* The first signal ends politely, the second as signals do. */
static void catch_signals(void)
{
    struct sigaction sa = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

static kmy_err_t send_op(session_t *s, json_t *op, kmy_errctx_t *ctx)
{
    char *text = json_dumps(op, JSON_COMPACT);
    if (!text)
        abort();
    kmy_err_t err = cli_ws_send(&s->ws, KMY_WS_TEXT, text, strlen(text), ctx);
    free(text);
    json_decref(op);
    return err;
}

static json_t *feeds_op(const session_t *s, const char *op, int id)
{
    json_t *feeds = json_array();
    for (int i = 0; i < s->cli->words_count; i++)
        json_array_append_new(feeds, json_string(s->cli->words[i]));
    return json_pack("{s:s, s:i, s:o}", "op", op, "id", id, "feeds", feeds);
}

static kmy_err_t ask_balance(session_t *s, int id, kmy_errctx_t *ctx)
{
    return send_op(s, json_pack("{s:s, s:i}", "op", "balance", "id", id), ctx);
}

/* Receives and handles one message. */
static kmy_err_t step(session_t *s, int64_t deadline_ns, kmy_errctx_t *ctx)
{
    const char *text;
    size_t len;
    if (!cli_ws_has_more(&s->ws))
        fflush(stdout); /* about to wait: show what there is */
    kmy_err_t err = cli_ws_receive(&s->ws, &text, &len, deadline_ns, ctx);
    if (err != KMY_OK)
        return err;
    json_t *frame = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(frame)) {
        json_decref(frame);
        return KMY_FAIL(ctx, KMY_PROTOCOL, "a message that is no JSON object: %.60s", text);
    }
    if (s->cli->json)
        printf("%s\n", text); /* the server writes no line ends inside a frame */
    stream_frame(s, frame);
    json_decref(frame);
    return KMY_OK;
}

/* Until time, count, a signal or the server ends it. */
static kmy_err_t run(session_t *s, kmy_errctx_t *ctx)
{
    int64_t now_ns = kmy_mono_ns();
    int64_t end_ns = s->cli->seconds ? now_ns + s->cli->seconds * KMY_NS_PER_S : INT64_MAX / 2;
    int64_t poll_ns = now_ns + BALANCE_POLL_NS;
    kmy_err_t err = ask_balance(s, ID_BALANCE, ctx);
    if (err == KMY_OK) {
        json_t *op = feeds_op(s, "subscribe", ID_SUBSCRIBE);
        json_object_set_new(op, "snapshot", json_true());
        err = send_op(s, op, ctx);
    }
    while (err == KMY_OK && !stop_asked && !s->failed && (now_ns = kmy_mono_ns()) < end_ns) {
        if (s->cli->count && s->book.ticks_count >= s->cli->count)
            return KMY_OK;
        if (now_ns >= poll_ns) {
            poll_ns = now_ns + BALANCE_POLL_NS;
            if ((err = ask_balance(s, ID_BALANCE, ctx)) != KMY_OK)
                return err;
        }
        err = step(s, poll_ns < end_ns ? poll_ns : end_ns, ctx);
        if (err == KMY_TIMEOUT || err == KMY_AGAIN)
            err = KMY_OK;
    }
    return err;
}

/* The receipts of what just ended: a log without them proves nothing (`kamiyo verify`).  Their absence is no fault here: the account keeps the newest. */
static void await_receipts(session_t *s)
{
    int64_t end_ns = kmy_mono_ns() + RECEIPT_WAIT_NS;
    kmy_err_t err = KMY_OK;
    while ((err == KMY_OK || err == KMY_AGAIN) && !book_is_covered(&s->book))
        err = step(s, end_ns, NULL);
}

/* Unsubscribes and waits for the server's own count, then for receipts; ticks that were under way are still counted. */
static kmy_err_t settle(session_t *s, kmy_errctx_t *ctx)
{
    int64_t end_ns = kmy_mono_ns() + CLOSE_WAIT_NS;
    kmy_err_t err = send_op(s, feeds_op(s, "unsubscribe", ID_UNSUBSCRIBE), ctx);
    if (err == KMY_OK)
        err = ask_balance(s, ID_FINAL, ctx);
    while (err == KMY_OK && !s->have_final && !s->failed) {
        err = step(s, end_ns, ctx);
        if (err == KMY_AGAIN)
            err = KMY_OK;
    }
    if (s->have_final)
        await_receipts(s);
    return err;
}

static int report(session_t *s, int64_t started_ns, int code)
{
    const book_t *b = &s->book;
    char charge[KMY_NUSD_BYTES_MAX];
    char balance[KMY_NUSD_BYTES_MAX];
    bool agree = s->have_final && b->ticks_count == s->charged_count;
    kmy_nusd_format(b->charge_nusd, charge);
    kmy_nusd_format(s->balance_nusd < 0 ? 0 : s->balance_nusd, balance);
    if (s->cli->json) {
        json_t *out = json_pack(
            "{s:I, s:o, s:b, s:s, s:s, s:I, s:I, s:I, s:f}", "received", (json_int_t)b->ticks_count,
            "charged", s->have_final ? json_integer((json_int_t)s->charged_count) : json_null(),
            "agree", agree, "charged_usd", charge, "balance", balance, "gaps",
            (json_int_t)b->gaps_count, "gap_ticks", (json_int_t)b->gap_ticks_count, "violations",
            (json_int_t)b->violations_count, "seconds",
            (double)((kmy_mono_ns() - started_ns) / KMY_NS_PER_MS) / 1000.0);
        cli_print_json(out);
        json_decref(out);
    } else if (s->have_final) {
        printf("received %" PRIu64 ", charged %" PRIu64 " ticks = %s USD, they %s\n",
               b->ticks_count, s->charged_count, charge, agree ? "agree" : "DISAGREE");
    } else if (s->subscribed) {
        printf("received %" PRIu64
               " ticks = %s USD; it ended before the server said what it charged\n",
               b->ticks_count, charge);
    }
    fflush(stdout); /* the closing line before the fault */
    if (b->violations_count)
        code = cli_fail(s->cli, "%" PRIu64 " frames out of place; the first: %s",
                        b->violations_count, b->first_violation);
    if (s->have_final && !agree)
        code = cli_fail(s->cli, "received %" PRIu64 " ticks but %" PRIu64 " were charged",
                        b->ticks_count, s->charged_count);
    return code;
}

/* The stream ended by itself: one line, with what the frames before said about it. */
static int why(session_t *s, const kmy_errctx_t *ctx, kmy_err_t err)
{
    uint16_t code = s->ws.close_code;
    const char *detail = ctx->detail[0] ? ctx->detail : kmy_err_text(err);
    const char *reason = s->ws.close_reason;
    char away[160] = "";
    if (s->goaway[0] && code == 1012)
        snprintf(away, sizeof away, " (%s%s); connect again in %.1f s", s->goaway,
                 strcmp(s->goaway, "drain") == 0 ? ": the daemon goes on without new sessions" : "",
                 (double)s->reconnect_after_ms / 1000.0);
    if (s->error[0] && reason[0] && strstr(s->error, reason))
        s->error[0] = '\0'; /* the close says the same */
    return cli_fail(s->cli, "%s: %s%s%s%s%s", s->cli->url, detail, s->error[0] ? "; " : "",
                    s->error, away,
                    code == 4401   ? "; get a new token"
                    : code == 4402 ? "; top the account up (kamiyo deposit USD)"
                                   : "");
}

int cli_stream(const cli_t *cli)
{
    session_t s = { .cli = cli, .balance_nusd = -1 };
    kmy_errctx_t ctx = { 0 };
    if (!cli->token)
        return cli_fail(cli, "%s", CLI_NO_TOKEN);
    for (int i = 0; i < cli->words_count; i++) {
        json_t *probe = json_string(cli->words[i]);
        if (!probe)
            return cli_wrong(cli, "feed %d is not UTF-8", i + 1);
        json_decref(probe);
    }
    catch_signals();
    int64_t started_ns = kmy_mono_ns();
    kmy_err_t err = cli_ws_open(&s.ws, cli->url, "/v1/stream", cli->token, cli->ca,
                                started_ns + OPEN_WAIT_NS, &ctx);
    if (err != KMY_OK) /* nothing was opened; cli_ws_open cleaned up */
        return cli_fail(cli, "%s: %s%s", cli->url, ctx.detail,
                        err == KMY_UNAVAILABLE       ? "; is kamiyod running there?"
                        : err == KMY_UNAUTHENTICATED ? "; get a new token"
                                                     : "");
    err = run(&s, &ctx);
    if (err == KMY_OK && !s.failed)
        err = settle(&s, &ctx);
    int code = report(&s, started_ns, CLI_OK);
    if (s.failed)
        code = CLI_FAILED;
    else if (err != KMY_OK)
        code = why(&s, &ctx, err);
    else
        stream_tell_error(&s);
    cli_ws_close(&s.ws);
    book_free(&s.book);
    return code;
}
