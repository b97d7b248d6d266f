/* dollar 4/7   in: engine/paid   out: engine/bearer, engine/reply */
#include "engine/grant.h"

#include "base/clock.h"
#include "engine/paid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool kmy_grant_make(kmy_shard_t *s, kmy_conn_t *c, const kmy_slip_t *slip, bool on_account)
{
    if (!c->grant) {
        kmy_grant_t *g = calloc(1, sizeof *g);
        if (!g)
            return false;
        memcpy(g->payment_id, slip->payment_id, sizeof g->payment_id);
        memcpy(g->account, slip->account, sizeof g->account);
        g->held_nusd = slip->charged_nusd;
        g->balance_nusd = slip->balance_nusd;
        kmy_paid_receipt(s, slip, g->receipt, sizeof g->receipt);
        c->grant = g;
    }
    c->grant->on_account = on_account;
    return true;
}

void kmy_grant_forget(kmy_conn_t *c)
{
    free(c->grant);
    c->grant = NULL;
}

void kmy_grant_claims(const kmy_shard_t *s, const kmy_conn_t *c, kmy_token_claims_t *out)
{
    KMY_ASSERT(kmy_grant_on_account(c));
    memset(out, 0, sizeof *out);
    memcpy(out->account, c->grant->account, sizeof out->account);
    out->issued_s = s->now_wall_ns / KMY_NS_PER_S;
    out->expires_s = out->issued_s + s->config->tokens.lifetime_ns / KMY_NS_PER_S;
}
