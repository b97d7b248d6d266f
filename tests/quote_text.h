/* quote_text: a parser's outcome as one line of text, so that a test's table shows what it expects.

     quote    KEY trade price P eEXPO size Q at NSunit COUNTER ID [maker]     P and Q as plain decimals; a book has bid, ask, conf too
     control  ack|list|error|rate_limit|lifetime|shutdown ID CODE TEXT
     other    ignored|malformed|range */
#ifndef KMY_TESTS_QUOTE_TEXT_H
#define KMY_TESTS_QUOTE_TEXT_H

#include "adapters/quote.h"
#include "base/decimal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { QUOTE_TEXT_BYTES = 2048 };

static inline char *quote_text_add(char *p, const char *name, bool present, int64_t mant, int expo)
{
    char number[KMY_DEC_BYTES_MAX];
    if (!present)
        return p;
    kmy_dec_format(mant, expo, number);
    return p + sprintf(p, " %s %s", name, number);
}

static inline void quote_text(kmy_parse_t result, const kmy_quote_t *q, const kmy_control_t *c,
                              char out[QUOTE_TEXT_BYTES])
{
    static const char *const results[] = { "", "", "ignored", "malformed", "range" };
    static const char *const controls[] = { "ack",        "list",     "error",
                                            "rate_limit", "lifetime", "shutdown" };
    static const char *const schemes[] = { "none", "trade", "agg", "update", "slot" };
    static const char *const units[] = { "", "s", "ms", "us", "ns" };
    char *p = out;
    if (result == KMY_PARSE_CONTROL) {
        sprintf(p, "%s %" PRId64 " %" PRId64 " %.*s", controls[c->kind], c->id, c->code,
                (int)c->text_len, c->text ? c->text : "");
        return;
    }
    if (result != KMY_PARSE_QUOTE) {
        sprintf(p, "%s", results[result]);
        return;
    }
    p += sprintf(p, "%.*s %s", (int)q->key_len, q->key, kmy_kind_name(q->kind));
    p = quote_text_add(p, "price", true, q->price_mant, q->price_expo);
    p += sprintf(p, " e%d", q->price_expo);
    p = quote_text_add(p, "bid", q->has & KMY_HAS_BID, q->bid_mant, q->price_expo);
    p = quote_text_add(p, "ask", q->has & KMY_HAS_ASK, q->ask_mant, q->price_expo);
    if (q->has & KMY_HAS_CONF) {
        char number[KMY_DEC_BYTES_MAX];
        kmy_dec_format_u(q->conf_mant, q->price_expo, number);
        p += sprintf(p, " conf %s", number);
    }
    p = quote_text_add(p, "size", q->has & KMY_HAS_SIZE, q->size_mant, q->size_expo);
    p = quote_text_add(p, "ask_size", q->has & KMY_HAS_ASK_SIZE, q->ask_size_mant, q->size_expo);
    p += sprintf(p, " at %" PRId64 "%s %s %" PRIu64, q->event_ns, units[q->event_res],
                 schemes[q->seq_scheme], q->source_seq);
    if (q->flags & KMY_TICK_BUYER_MAKER)
        p += sprintf(p, " maker");
    if (q->flags & KMY_TICK_CROSSED)
        p += sprintf(p, " crossed");
    if (q->flags & KMY_TICK_CONF_IS_SPREAD)
        p += sprintf(p, " spread");
}

/* Every member that a quote promises, key bytes included. */
static inline bool quote_equal(const kmy_quote_t *a, const kmy_quote_t *b)
{
    return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0 &&
           a->source == b->source && a->kind == b->kind && a->has == b->has &&
           a->event_res == b->event_res && a->seq_scheme == b->seq_scheme &&
           a->price_expo == b->price_expo && a->size_expo == b->size_expo && a->flags == b->flags &&
           a->event_ns == b->event_ns && a->price_mant == b->price_mant &&
           a->bid_mant == b->bid_mant && a->ask_mant == b->ask_mant &&
           a->conf_mant == b->conf_mant && a->size_mant == b->size_mant &&
           a->ask_size_mant == b->ask_size_mant && a->source_seq == b->source_seq;
}

#endif
