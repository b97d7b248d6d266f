#include "tools/kamiyo/stream_frames.h"

#include "base/clock.h"
#include "base/money.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void stream_tell_error(session_t *s)
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

void stream_frame(session_t *s, const json_t *frame)
{
    const char *type = text_of(frame, "type");
    stream_tell_error(s);
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
