/* stream: the protocol of /v1/stream (docs/protocol.md): operations of the client, frames of the server, over WebSocket or as server-sent events. */
#ifndef KMY_ENGINE_STREAM_H
#define KMY_ENGINE_STREAM_H

#include "engine/shard_types.h"

/* One whole client message. */
void kmy_stream_message(kmy_shard_t *s, kmy_conn_t *c, uint8_t opcode, const char *text,
                        size_t len);
/* A token that came with the handshake, or in an auth message. */
void kmy_stream_auth(kmy_shard_t *s, kmy_conn_t *c, const char *token, size_t len);
/* The account of a token that was good has been opened, or not. */
void kmy_stream_auth_finish(kmy_shard_t *s, kmy_conn_t *c);
void kmy_stream_unsubscribe_all(kmy_shard_t *s, kmy_conn_t *c);

/* Where a client of server-sent events was (Last-Event-ID). */
typedef struct kmy_stream_held {
    bool given;
    bool same_epoch;
    uint64_t seq; /* it has everything up to here, of all its feeds */
} kmy_stream_held_t;

/* Server-sent events: text is the subscribe message that the request stands for.  KMY_OK: it can be done, its cheapest tick costs *cheapest_nusd, and
   it is kept, with what it borrows from text, for kmy_stream_begin in the same turn.  Else the reason for an HTTP answer; nothing has changed. */
kmy_err_t kmy_stream_plan(kmy_shard_t *s, const kmy_conn_t *c, const char *text, size_t len,
                          const kmy_stream_held_t *held, int64_t *cheapest_nusd, kmy_errctx_t *ctx);
/* Is the token for all feeds of the plan, and has the account the passes it wants? */
kmy_err_t kmy_stream_plan_allowed(const kmy_shard_t *s, const kmy_shard_account_t *acc,
                                  const kmy_token_claims_t *claims, kmy_errctx_t *ctx);
/* The head of the answer is out: c becomes a session of acc, and what was planned last begins. */
void kmy_stream_begin(kmy_shard_t *s, kmy_conn_t *c, kmy_shard_account_t *acc,
                      const kmy_token_claims_t *claims);

/* An error frame and the close code that belongs to err. */
/* Beyond a limit: error and close 4429, both saying when to come back. */
void kmy_stream_close_limit(kmy_shard_t *s, kmy_conn_t *c, const char *why, int64_t retry_after_ms);
void kmy_stream_close(kmy_shard_t *s, kmy_conn_t *c, kmy_err_t err, const char *why);
void kmy_stream_heartbeat(kmy_shard_t *s, kmy_conn_t *c);
void kmy_stream_low_balance(kmy_shard_t *s, const kmy_shard_account_t *acc, kmy_conn_t *c,
                            int64_t seconds_left);
void kmy_stream_payment_required(kmy_shard_t *s, const kmy_shard_account_t *acc, kmy_conn_t *c);
/* Once each time a reader falls behind by half of what makes it slow, or more. */
void kmy_stream_slow_warning(kmy_buf_t *b, uint64_t lag_ticks);
/* The policy is `close`: the warning, if it was not given yet, and close 4413. */
void kmy_stream_too_slow(kmy_shard_t *s, kmy_conn_t *c, uint64_t lag_ticks);
void kmy_stream_gap(kmy_buf_t *b, const kmy_feed_t *feed, uint64_t from, uint64_t to,
                    uint8_t reason);
/* The prices that are to come into force for its subscriptions (kmy_sub.price_from), in one frame. */
void kmy_stream_prices(kmy_shard_t *s, kmy_conn_t *c);
void kmy_stream_goaway(kmy_shard_t *s, kmy_conn_t *c, const char *reason,
                       int64_t reconnect_after_ms);
/* A feed's state changed: tells its subscribers. */
void kmy_stream_status(kmy_shard_t *s, uint32_t feed_idx, const char *state, int64_t since_ns);
/* An HTTP request that took too long to become whole. */
void kmy_stream_http_timeout(kmy_shard_t *s, kmy_conn_t *c);

/* Verifies a bearer and the revocations; *claims is filled on KMY_OK.  For HTTP and WebSocket alike. */
kmy_err_t kmy_stream_check_token(kmy_shard_t *s, const char *token, size_t len,
                                 kmy_token_claims_t *claims, kmy_errctx_t *ctx);
/* A token id was revoked: ends the sessions that live by it. */
void kmy_stream_revoked(kmy_shard_t *s, const char *jti, int64_t expires_s);

#endif
