#include "engine/session.h"

#include "engine/egress.h"
#include "engine/session_table.h"
#include "engine/stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static kmy_session_place_t place_of(const kmy_shard_t *s, const kmy_conn_t *c)
{
    return (kmy_session_place_t){ s->o.index, kmy_conn_idx(s, c), c->gen };
}

void kmy_session_begin(kmy_shard_t *s, kmy_conn_t *c)
{
    s->session_seed[0]++;
    kmy_session_id_make(place_of(s, c), kmy_hash(s->session_seed, sizeof s->session_seed),
                        c->session);
}

static bool open_session(const kmy_conn_t *c)
{
    return c->session[0] != 0 || c->session[1] != 0;
}

/* --- ending ------------------------------------------------------------------------------------- */

static bool too_old(const kmy_shard_t *s, const kmy_charges_t *l)
{
    return s->now_ns - l->end_ns > KMY_SESSION_KEEP_NS;
}

/* Its own runs, and those of the session it went on with that it may not have had again. */
static kmy_charges_t *collect(const kmy_shard_t *s, const kmy_conn_t *c)
{
    const kmy_charges_t *old = c->charges && !too_old(s, c->charges) ? c->charges : NULL;
    uint32_t count_max = c->subs_count + (old ? old->count : 0);
    kmy_charges_t *l =
        count_max > 0 ? kmy_charges_new(s->accounts[c->account].name, count_max) : NULL;
    if (!l)
        return NULL;
    for (uint32_t i = 0; old && i < old->count; i++)
        kmy_charges_add(l, old->run[i].feed, old->run[i].from, old->run[i].to);
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next)
        kmy_charges_add(l, s->subs[i].feed, s->subs[i].run_from, s->subs[i].cursor);
    kmy_charges_close(l);
    memcpy(l->id, c->session, sizeof l->id);
    return l;
}

void kmy_session_end(kmy_shard_t *s, kmy_conn_t *c)
{
    if (open_session(c) && c->account != KMY_NONE) {
        kmy_charges_t *l = collect(s, c);
        if (l && l->count > 0)
            kmy_session_table_put(s->o.sessions, l, s->now_ns);
        else
            free(l);
    }
    c->session[0] = c->session[1] = 0;
    free(c->charges);
    c->charges = NULL;
}

/* --- going on ----------------------------------------------------------------------------------- */

static kmy_charges_t *join(const kmy_charges_t *a, const kmy_charges_t *b)
{
    kmy_charges_t *l = kmy_charges_new(b->account, a->count + b->count);
    for (uint32_t i = 0; l && i < a->count; i++)
        kmy_charges_add(l, a->run[i].feed, a->run[i].from, a->run[i].to);
    for (uint32_t i = 0; l && i < b->count; i++)
        kmy_charges_add(l, b->run[i].feed, b->run[i].from, b->run[i].to);
    if (l) {
        kmy_charges_close(l);
        l->end_ns = b->end_ns;
    }
    return l;
}

/* Takes the session out of the table, if it is there and c's. */
static bool adopt(kmy_shard_t *s, kmy_conn_t *c, const uint64_t id[2])
{
    kmy_charges_t *l =
        kmy_session_table_take(s->o.sessions, id, s->accounts[c->account].name, s->now_ns);
    if (!l)
        return false;
    if (c->charges) { /* its second one */
        kmy_charges_t *both = join(c->charges, l);
        free(l);
        if (!both)
            return true;
        free(c->charges);
        l = both;
    }
    c->charges = l;
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next)
        s->subs[i].repeats = true;
    return true;
}

/* A session of this shard that is still open, perhaps only on our side, is ended for the sake of the one that goes on. */
static void end_for(kmy_shard_t *s, const uint64_t id[2], const char *account)
{
    kmy_session_place_t at = kmy_session_id_place(id);
    kmy_conn_t *c = at.conn < s->conns_high ? kmy_conn_at(s, at.conn) : NULL;
    if (!c || c->gen != at.gen || c->session[0] != id[0] || c->session[1] != id[1] ||
        c->account == KMY_NONE || strcmp(s->accounts[c->account].name, account) != 0)
        return;
    kmy_session_end(s, c);
    KMY_COUNT(s->metrics, session_taken_total, 1);
    if (c->state == KMY_CONN_WS) /* else it is on its way out already */
        kmy_stream_close(s, c, KMY_TIMEOUT, "the session goes on at another connection");
}

static bool read_hex(const char *text, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < 16; i++) {
        char ch = text[i];
        unsigned digit = ch >= '0' && ch <= '9'   ? (unsigned)(ch - '0')
                         : ch >= 'a' && ch <= 'f' ? (unsigned)(ch - 'a' + 10)
                                                  : 16;
        if (digit == 16)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

kmy_err_t kmy_session_read(kmy_json_token_t token, uint64_t id[2], kmy_errctx_t *ctx)
{
    id[0] = id[1] = 0;
    if (token.type == KMY_JSON_ERROR || token.type == KMY_JSON_NULL)
        return KMY_OK;
    if (token.type == KMY_JSON_STRING && token.len == 32 && read_hex(token.text, &id[0]) &&
        read_hex(token.text + 16, &id[1]))
        return KMY_OK;
    return KMY_FAIL(ctx, KMY_BAD_INPUT,
                    "\"session\" must be the 32 hex digits that `authenticated` gave");
}

void kmy_session_resume(kmy_shard_t *s, kmy_conn_t *c, const uint64_t id[2])
{
    bool none = id[0] == 0 && id[1] == 0;
    bool own = id[0] == c->session[0] && id[1] == c->session[1];
    if (none || own || c->claiming) /* claiming: one session at a time, the first one named */
        return;
    kmy_session_place_t at = kmy_session_id_place(id);
    if (adopt(s, c, id) || at.shard >= s->o.topology->shards_count)
        return;
    const char *account = s->accounts[c->account].name;
    if (at.shard == s->o.index) {
        end_for(s, id, account);
        adopt(s, c, id);
    } else if (kmy_session_claim_send(s->o.sessions, id, account, place_of(s, c))) {
        c->claiming = true; /* ticks wait until it is known which are free */
        kmy_wake_signal(&s->o.topology->shard_wake[at.shard]);
    }
}

/* --- claims ------------------------------------------------------------------------------------- */

static void take_reply(kmy_shard_t *s, const kmy_session_claim_t *claim)
{
    kmy_conn_t *c = kmy_conn_at(s, claim->by.conn);
    if (c->gen != claim->by.gen || !c->claiming)
        return; /* it hung up meanwhile: the session stays in the table */
    c->claiming = false;
    if (c->account != KMY_NONE)
        adopt(s, c, claim->id);
    kmy_egress_mark(s, c);
}

uint32_t kmy_session_turn(kmy_shard_t *s)
{
    uint32_t n = 0;
    kmy_session_claim_t *next;
    for (kmy_session_claim_t *claim = kmy_session_claims(s->o.sessions, s->o.index, false); claim;
         claim = next, n++) {
        next = claim->next;
        uint32_t by = claim->by.shard;
        end_for(s, claim->id, claim->account);
        kmy_session_claim_answer(s->o.sessions, claim);
        kmy_wake_signal(&s->o.topology->shard_wake[by]);
    }
    for (kmy_session_claim_t *claim = kmy_session_claims(s->o.sessions, s->o.index, true); claim;
         claim = next, n++) {
        next = claim->next;
        take_reply(s, claim);
        free(claim);
    }
    return n;
}

void kmy_session_scan(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!c->charges || !too_old(s, c->charges))
        return;
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next) {
        if (s->subs[i].repeats)
            return; /* it went on in time, and is still at it */
    }
    free(c->charges);
    c->charges = NULL;
}
