/* kamiyo stream: every tick as it comes, and at the end the two counts side by side: what we received, what the server says it charged. */
#include "tools/kamiyo/kamiyo.h"

#include "base/clock.h"
#include "base/money.h"
#include "tools/kamiyo/stream_book.h"
#include "tools/kamiyo/wsclient.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_WAIT_NS    (10 * KMY_NS_PER_S)
#define CLOSE_WAIT_NS   (5 * KMY_NS_PER_S)
#define RECEIPT_WAIT_NS (3 * KMY_NS_PER_S) /* they wait for the disk, not longer */
#define BALANCE_POLL_NS (5 * KMY_NS_PER_S)

enum { ID_BALANCE = 1, ID_SUBSCRIBE = 2, ID_UNSUBSCRIBE = 3, ID_FINAL = 4 };

typedef struct session {
    const cli_t *cli;
    cli_ws_t ws;
    book_t book;
    int64_t balance_nusd; /* as the server last said, less what came since; -1: not known yet */
    int64_t charge_at_poll_nusd; /* book.charge_nusd at that time */
    uint64_t charged_count;      /* of the final balance frame */
    bool have_final;
    bool subscribed;
    bool failed; /* an error frame ended it; told already */
    char error
        [512]; /* an error frame of no request: a close mostly follows, and one line tells both; "": none */
    char goaway[32];            /* the reason of the goaway frame; "": none came */
    int64_t reconnect_after_ms; /* what it said */
} session_t;

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

static const char *text_of(const json_t *frame, const char *member)
{
    const char *text = json_string_value(json_object_get(frame, member));
    return text ? text : "";
}

static int64_t nusd_of(const json_t *frame, const char *member, int64_t otherwise)
{
    const char *text = text_of(frame, member);
    int64_t v;
    return *text && kmy_nusd_parse(text, strlen(text), &v) == KMY_OK ? v : otherwise;
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

static int64_t balance_now(const session_t *s)
{
    if (s->balance_nusd < 0)
        return -1;
    int64_t v = s->balance_nusd - (s->book.charge_nusd - s->charge_at_poll_nusd);
    return v < 0 ? 0 : v;
}

static void show_tick(const session_t *s, const book_feed_t *f, const json_t *frame)
{
    char charge[KMY_NUSD_BYTES_MAX];
    char balance[KMY_NUSD_BYTES_MAX] = "?";
    char feed[64], price[64], source[32], kind[16];
    int64_t recv_ns = strtoll(text_of(frame, "ts_recv"), NULL, 10);
    double age_ms = recv_ns ? (double)(kmy_wall_ns() - recv_ns) / 1e6 : 0;
    kmy_nusd_format(f->price_nusd, charge);
    if (balance_now(s) >= 0)
        kmy_nusd_format(balance_now(s), balance);
    printf("%-20s %16s  %-6s %-9s age %8.2f ms  charge %s  balance %s%s\n",
           cli_cell(frame, "feed", feed, sizeof feed),
           cli_cell(frame, "price", price, sizeof price),
           cli_cell(frame, "kind", kind, sizeof kind),
           cli_cell(frame, "source", source, sizeof source), age_ms, charge, balance,
           json_is_true(json_object_get(frame, "degraded")) ? "  degraded" : "");
}

static void on_tick(session_t *s, const json_t *frame)
{
    book_feed_t *f = book_feed(&s->book, text_of(frame, "feed"));
    json_int_t offset = json_integer_value(json_object_get(frame, "offset"));
    if (!f || offset <= 0) {
        s->book.violations_count++;
        return;
    }
    book_tick(&s->book, f, (uint64_t)offset);
    if (!s->cli->json)
        show_tick(s, f, frame);
}

static void on_gap(session_t *s, const json_t *frame)
{
    book_feed_t *f = book_feed(&s->book, text_of(frame, "feed"));
    json_int_t from = json_integer_value(json_object_get(frame, "from"));
    json_int_t to = json_integer_value(json_object_get(frame, "to"));
    char feed[64], reason[32];
    if (f)
        book_gap(&s->book, f, (uint64_t)from, (uint64_t)to,
                 strcmp(text_of(frame, "reason"), "epoch") == 0);
    if (!s->cli->json)
        printf("%-20s gap %" JSON_INTEGER_FORMAT "..%" JSON_INTEGER_FORMAT " (%s), not charged\n",
               cli_cell(frame, "feed", feed, sizeof feed), from, to,
               cli_cell(frame, "reason", reason, sizeof reason));
}

static void on_receipt(session_t *s, const json_t *frame)
{
    book_feed_t *f = book_feed(&s->book, text_of(frame, "feed"));
    json_int_t ticks = json_integer_value(json_object_get(frame, "ticks"));
    if (f && ticks > 0)
        book_receipt(f, (uint64_t)ticks);
}

static void on_subscribed(session_t *s, const json_t *frame)
{
    const json_t *feeds = json_object_get(frame, "feeds");
    for (size_t i = 0; i < json_array_size(feeds); i++) {
        const json_t *row = json_array_get(feeds, i);
        book_feed_t *f = book_feed(&s->book, text_of(row, "feed"));
        char a[64], b[64], c[32];
        if (f)
            f->price_nusd = nusd_of(row, "price_tick", 0);
        if (!s->cli->json)
            printf("subscribed %s at %s USD a tick (%s)\n", cli_cell(row, "feed", a, sizeof a),
                   cli_cell(row, "price_tick", b, sizeof b), cli_cell(row, "plan", c, sizeof c));
    }
    s->subscribed = true;
}

/* The operator changed prices. */
static void on_prices(session_t *s, const json_t *frame)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(frame, "feeds"), i, row)
    {
        book_feed_t *f = book_feed(&s->book, text_of(row, "feed"));
        json_int_t from = json_integer_value(json_object_get(row, "from"));
        int64_t price_nusd = nusd_of(row, "price_tick", -1);
        char a[64], b[64];
        if (!f || from <= 0 || price_nusd < 0)
            continue;
        book_price(f, (uint64_t)from, price_nusd);
        if (!s->cli->json)
            printf("%-20s costs %s USD a tick from offset %" JSON_INTEGER_FORMAT " on\n",
                   cli_cell(row, "feed", a, sizeof a), cli_cell(row, "price_tick", b, sizeof b),
                   from);
    }
}

static void on_balance(session_t *s, const json_t *frame)
{
    s->balance_nusd = nusd_of(frame, "balance", s->balance_nusd);
    s->charge_at_poll_nusd = s->book.charge_nusd;
    if (json_integer_value(json_object_get(frame, "id")) != ID_FINAL)
        return;
    const json_t *charged = json_object_get(frame, "charged_ticks");
    s->charged_count = json_is_string(charged) ? strtoull(json_string_value(charged), NULL, 10)
                                               : (uint64_t)json_integer_value(charged);
    s->have_final = charged != NULL;
}

static void tell(const session_t *s, const char *what)
{
    if (!s->cli->json)
        puts(what);
}

/* Why no tick comes, or that they come again. */
static void on_status(const session_t *s, const json_t *frame)
{
    char feed[64], state[32], source[32];
    int64_t since_ns = strtoll(text_of(frame, "since"), NULL, 10);
    if (s->cli->json)
        return;
    printf("%-20s is %s (%s", cli_cell(frame, "feed", feed, sizeof feed),
           cli_cell(frame, "state", state, sizeof state),
           cli_cell(frame, "source", source, sizeof source));
    if (since_ns > 0)
        printf("; last tick %" PRId64 " s ago)\n", (kmy_wall_ns() - since_ns) / KMY_NS_PER_S);
    else
        puts("; no tick yet)");
}

static void on_low_balance(const session_t *s, const json_t *frame)
{
    char text[160], balance[64];
    snprintf(text, sizeof text,
             "balance is running low: %s USD, at this rate for %" JSON_INTEGER_FORMAT " s",
             cli_cell(frame, "balance", balance, sizeof balance),
             json_integer_value(json_object_get(frame, "seconds_left")));
    tell(s, text);
}

/* No close followed the error. */
static void tell_error(session_t *s)
{
    if (s->error[0])
        cli_fail(s->cli, "%s", s->error);
    s->error[0] = '\0';
}

static void on_error(session_t *s, const json_t *frame)
{
    json_int_t id = json_integer_value(json_object_get(frame, "id"));
    const char *closest = text_of(frame, "closest");
    if (!json_object_get(frame, "id")) {
        snprintf(s->error, sizeof s->error, "%s: %s", text_of(frame, "code"),
                 text_of(frame, "message"));
        return;
    }
    cli_fail(s->cli, "%s: %s%s%s%s", text_of(frame, "code"), text_of(frame, "message"),
             *closest ? "; did you mean " : "", closest, *closest ? "?" : "");
    if (id == ID_SUBSCRIBE || !s->subscribed)
        s->failed = true;
}

static void on_goaway(session_t *s, const json_t *frame)
{
    char text[80];
    snprintf(s->goaway, sizeof s->goaway, "%s", text_of(frame, "reason"));
    s->reconnect_after_ms = json_integer_value(json_object_get(frame, "reconnect_after_ms"));
    snprintf(text, sizeof text, "the server is going away (%s)",
             cli_cell(frame, "reason", (char[32]){ 0 }, 32));
    tell(s, text);
}

static void on_frame(session_t *s, const json_t *frame)
{
    const char *type = text_of(frame, "type");
    tell_error(s);
    if (strcmp(type, "tick") == 0)
        on_tick(s, frame);
    else if (strcmp(type, "gap") == 0)
        on_gap(s, frame);
    else if (strcmp(type, "receipt") == 0)
        on_receipt(s, frame);
    else if (strcmp(type, "subscribed") == 0)
        on_subscribed(s, frame);
    else if (strcmp(type, "balance") == 0)
        on_balance(s, frame);
    else if (strcmp(type, "error") == 0)
        on_error(s, frame);
    else if (strcmp(type, "authenticated") == 0 && s->balance_nusd < 0)
        s->balance_nusd = nusd_of(frame, "balance", -1);
    else if (strcmp(type, "payment_required") == 0)
        tell(s, "balance used up: the stream pauses until it is topped up");
    else if (strcmp(type, "low_balance") == 0)
        on_low_balance(s, frame);
    else if (strcmp(type, "status") == 0)
        on_status(s, frame);
    else if (strcmp(type, "prices") == 0)
        on_prices(s, frame);
    else if (strcmp(type, "goaway") == 0)
        on_goaway(s, frame);
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
    on_frame(s, frame);
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
        tell_error(&s);
    cli_ws_close(&s.ws);
    book_free(&s.book);
    return code;
}
