/* door: the daemon's two doors before and after a run: which feeds there are, tokens for the agents, what the ledger says.  Blocking, with
   deadlines; plain HTTP/1.1. */
#ifndef KMY_TOOLS_LOAD_DOOR_H
#define KMY_TOOLS_LOAD_DOOR_H

#include "tools/load/load.h"

/* "127.0.0.1:8402" or "localhost:8402". */
bool load_address_parse(const char *text, struct sockaddr_in *out);

/* GET /v1/feeds into l->feeds, and the market's feeds into l->market (venue feeds before others, in the order of the list); waits up to 15 s until
   they tick. */
kmy_err_t load_door_feeds(load_t *l, kmy_errctx_t *ctx);
/* A token and l->s.balance for each account, load:0, load:1 ... */
kmy_err_t load_door_mint(load_t *l, kmy_errctx_t *ctx);
/* What was consumed before the run.  whole: the ledger is ours alone, so that one total does; else account by account.  -1: not to be had. */
int64_t load_door_before(load_t *l, bool whole);
/* Waits (at most 20 s) until the ledger says between charged and charged + slack for all of ours, then looks at each account; notes a miscount
   otherwise, and with l->s.spend what was left unspent. */
void load_door_audit(load_t *l, bool whole, int64_t before_nusd);
/* Adds the daemon's counters of sends and delivered ticks to the two (subtracts them: sign -1).  Without an admin door, or if it does not answer in
   time: nothing. */
void load_door_count(load_t *l, int sign);

#endif
