/* kamiyo verify FILE: are these receipts genuine, and is none missing?  Reads what `kamiyo stream --json` printed, or the answer of
   /v1/account/receipts, or bare receipts, one a line; needs nothing but the public keys. */
#include "tools/kamiyo/kamiyo.h"

#include "base/money.h"
#include "pay/receipt.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct held {
    kmy_receipt_t r;
    uint8_t hash[KMY_RECEIPT_HASH_BYTES];
    size_t line;
} held_t;

typedef struct book {
    kmy_receipt_public_t keys[KMY_RECEIPT_KEYS_MAX];
    size_t keys_count;
    held_t *held;
    size_t count, cap;
    json_t *faults;
    const cli_t *cli;
} book_t;

__attribute__((format(printf, 3, 4))) static void fault(book_t *b, size_t line, const char *fmt,
                                                        ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_array_append_new(b->faults,
                          json_pack("{s:I, s:s}", "line", (json_int_t)line, "fault", text));
    if (!b->cli->json)
        cli_fail(b->cli, "line %zu: %s", line, text);
}

/* --- keys -------------------------------------------------------------------------------------- */

static char *slurp(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    char *text = f ? malloc(65536) : NULL;
    *len = text ? fread(text, 1, 65536, f) : 0;
    if (f)
        fclose(f);
    return text;
}

static int keys_read(book_t *b, const char *text, size_t len, const char *where)
{
    kmy_errctx_t ctx = { 0 };
    if (kmy_receipt_jwks_read(text, len, b->keys, KMY_RECEIPT_KEYS_MAX, &b->keys_count, &ctx) ==
        KMY_OK)
        return CLI_OK;
    return cli_fail(b->cli, "%s: %s; a JWK or a set of them, as /v1/keys gives it, is needed",
                    where, ctx.detail);
}

static int keys_ask(book_t *b, const char *url, const char *path)
{
    cli_t at = *b->cli;
    json_t *set = NULL;
    at.url = url;
    int code = cli_request(&at, CLI_PUBLIC, path, NULL, &set);
    if (code != CLI_OK)
        return code;
    char *text = json_dumps(set, JSON_COMPACT);
    code = keys_read(b, text ? text : "", text ? strlen(text) : 0, url);
    free(text);
    json_decref(set);
    return code;
}

static int keys_get(book_t *b)
{
    const char *key = b->cli->key;
    size_t len;
    if (!key)
        return keys_ask(b, b->cli->url, "/v1/keys");
    if (strncmp(key, "http://", 7) == 0 || strncmp(key, "https://", 8) == 0)
        return keys_ask(b, key, "");
    char *text = slurp(key, &len);
    if (!text)
        return cli_fail(b->cli, "cannot read %s; --key names a JWK file or an URL", key);
    int code = keys_read(b, text, len, key);
    free(text);
    return code;
}

/* --- lines ------------------------------------------------------------------------------------- */

/* What a frame says beside its signed text must be what is signed. */
static bool frame_agrees(const json_t *frame, const kmy_receipt_t *r)
{
    static const char *const names[] = { "from", "to", "ticks" };
    const uint64_t want[] = { r->from, r->to, r->ticks };
    char amount[KMY_NUSD_BYTES_MAX];
    for (size_t i = 0; i < 3; i++) {
        const json_t *v = json_object_get(frame, names[i]);
        if (v && (!json_is_integer(v) || (uint64_t)json_integer_value(v) != want[i]))
            return false;
    }
    kmy_nusd_format(r->amount_nusd, amount);
    const json_t *money = json_object_get(frame, "amount");
    const json_t *feed = json_object_get(frame, "feed");
    return (!money || (json_is_string(money) && strcmp(json_string_value(money), amount) == 0)) &&
           (!feed || (json_is_string(feed) && strcmp(json_string_value(feed), r->feed) == 0));
}

static void take_text(book_t *b, size_t line, const json_t *frame, const char *text, size_t len)
{
    kmy_errctx_t ctx = { 0 };
    if (b->count == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 256;
        b->held = realloc(b->held, b->cap * sizeof *b->held);
        if (!b->held)
            abort();
    }
    held_t *h = &b->held[b->count];
    if (kmy_receipt_open(b->keys, b->keys_count, text, len, &h->r, &ctx) != KMY_OK) {
        fault(b, line, "%s", ctx.detail);
        return;
    }
    if (frame && !frame_agrees(frame, &h->r))
        fault(b, line, "the frame says something else than the receipt in it (seq %" PRIu64 ")",
              h->r.seq);
    kmy_receipt_hash(text, len, h->hash);
    h->line = line;
    b->count++;
}

static void take_value(book_t *b, size_t line, const json_t *v)
{
    const json_t *list = json_object_get(v, "receipts");
    const json_t *text = json_object_get(v, "sig");
    size_t i;
    const json_t *each;
    json_array_foreach(list, i, each)
    {
        if (json_is_string(each))
            take_text(b, line, NULL, json_string_value(each), json_string_length(each));
    }
    const char *type = json_string_value(json_object_get(v, "type"));
    if (json_is_string(text) && (!type || strcmp(type, "receipt") == 0))
        take_text(b, line, v, json_string_value(text), json_string_length(text));
    else if (type && strcmp(type, "receipt") == 0)
        fault(b, line, "a receipt frame without \"sig\"");
}

static void take_line(book_t *b, size_t line, const char *text, size_t len)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r' || text[len - 1] == ' '))
        len--;
    if (len == 0)
        return;
    json_t *v = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    if (v)
        take_value(b, line, v);
    else if (strncmp(text, "eyJ", 3) == 0)
        take_text(b, line, NULL, text, len);
    else
        fault(b, line, "neither JSON nor a receipt");
    json_decref(v);
}

static int read_lines(book_t *b, const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    char *text = NULL;
    size_t cap = 0;
    ssize_t n;
    if (!f)
        return cli_fail(b->cli, "cannot read %s", path);
    for (size_t line = 1; (n = getline(&text, &cap, f)) > 0; line++)
        take_line(b, line, text, (size_t)n);
    free(text);
    if (f != stdin)
        fclose(f);
    return CLI_OK;
}

/* --- chains ------------------------------------------------------------------------------------ */

static int by_chain(const void *a, const void *b)
{
    const held_t *x = a;
    const held_t *y = b;
    int order = strcmp(x->r.account, y->r.account);
    if (order != 0)
        return order;
    if (x->r.seq != y->r.seq)
        return x->r.seq < y->r.seq ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static json_t *nusd(int64_t v)
{
    char text[KMY_NUSD_BYTES_MAX];
    kmy_nusd_format(v, text);
    return json_string(text);
}

/* held[from..to) is one account's: adds its row. */
static void judge_chain(book_t *b, size_t from, size_t to, json_t *accounts)
{
    uint64_t ticks = 0;
    int64_t amount = 0;
    size_t distinct = 0;
    const held_t *last = NULL;
    kmy_errctx_t ctx = { 0 };
    for (size_t i = from; i < to; i++) {
        const held_t *h = &b->held[i];
        if (last && last->r.seq == h->r.seq && memcmp(last->hash, h->hash, sizeof h->hash) == 0)
            continue; /* told twice: on the socket and by the account's list */
        if ((last || h->r.seq == 1) &&
            kmy_receipt_follows(last ? &last->r : NULL, last ? last->hash : NULL, &h->r, &ctx) !=
                KMY_OK)
            fault(b, h->line, "%.100s: %s", h->r.account, ctx.detail);
        if (__builtin_add_overflow(ticks, h->r.ticks, &ticks) ||
            __builtin_add_overflow(amount, h->r.amount_nusd, &amount))
            fault(b, h->line, "the sums are too large to be true");
        distinct++;
        last = h;
    }
    json_array_append_new(accounts,
                          json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", "account",
                                    last->r.account, "receipts", (json_int_t)distinct, "from_seq",
                                    (json_int_t)b->held[from].r.seq, "to_seq",
                                    (json_int_t)last->r.seq, "ticks", (json_int_t)ticks, "amount",
                                    nusd(amount), "total_ticks", (json_int_t)last->r.total_ticks,
                                    "total_amount", nusd(last->r.total_nusd)));
}

static json_t *judge_all(book_t *b)
{
    json_t *accounts = json_array();
    if (b->count > 0)
        qsort(b->held, b->count, sizeof *b->held, by_chain);
    for (size_t from = 0, to; from < b->count; from = to) {
        for (to = from + 1;
             to < b->count && strcmp(b->held[to].r.account, b->held[from].r.account) == 0;)
            to++;
        judge_chain(b, from, to, accounts);
    }
    return accounts;
}

static void print_rows(const json_t *accounts)
{
    size_t i;
    const json_t *row;
    char cell[6][160];
    json_array_foreach(accounts, i, row) printf("%s: %s receipts, seq %s to %s: %s ticks, %s USD\n",
                                                cli_cell(row, "account", cell[0], sizeof cell[0]),
                                                cli_cell(row, "receipts", cell[1], sizeof cell[1]),
                                                cli_cell(row, "from_seq", cell[2], sizeof cell[2]),
                                                cli_cell(row, "to_seq", cell[3], sizeof cell[3]),
                                                cli_cell(row, "ticks", cell[4], sizeof cell[4]),
                                                cli_cell(row, "amount", cell[5], sizeof cell[5]));
}

int cli_verify(const cli_t *cli)
{
    book_t b = { .cli = cli, .faults = json_array() };
    int code = keys_get(&b);
    if (code == CLI_OK)
        code = read_lines(&b, cli->words[0]);
    if (code != CLI_OK) {
        json_decref(b.faults);
        free(b.held);
        return code;
    }
    json_t *accounts = judge_all(&b);
    size_t faults = json_array_size(b.faults);
    bool empty = b.count == 0 && faults == 0;
    if (empty && cli->json) {
        fault(&b, 0, "there is no receipt in it");
        faults = 1;
    }
    if (cli->json) {
        json_t *out = json_pack("{s:b, s:I, s:O, s:O}", "ok", faults == 0, "receipts",
                                (json_int_t)b.count, "accounts", accounts, "faults", b.faults);
        cli_print_json(out);
        json_decref(out);
    } else {
        print_rows(accounts);
    }
    json_decref(accounts);
    json_decref(b.faults);
    free(b.held);
    if (empty && !cli->json)
        return cli_fail(cli, "there is no receipt in %s", cli->words[0]);
    return faults == 0 ? CLI_OK
           : cli->json
               ? CLI_FAILED
               : cli_fail(cli, "%zu fault%s in %s", faults, faults == 1 ? "" : "s", cli->words[0]);
}
