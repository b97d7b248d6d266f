/* mint: a new token for an account, as an answer shows it.  Shard thread. */
#ifndef KMY_ENGINE_MINT_H
#define KMY_ENGINE_MINT_H

#include "engine/shard_types.h"

/* Writes "account":...,"token":...,"jti":...,"expires_at":... (ns) without braces.  life_s as tokens.lifetime allows; 0: that one.  The account need not have
   been credited yet: the token is good once it is. */
kmy_err_t kmy_mint_put(kmy_shard_t *s, const char *account, int64_t life_s, kmy_buf_t *b,
                       kmy_errctx_t *ctx);
/* The same for some feeds only (names and patterns, one blank between two) and at a rate (0: none): pay/token.h. */
kmy_err_t kmy_mint_put_scoped(kmy_shard_t *s, const char *account, int64_t life_s,
                              const char *scope, int64_t rate_per_min, kmy_buf_t *b,
                              kmy_errctx_t *ctx);

/* The claims as they stand; an empty jti is filled. */
kmy_err_t kmy_mint_put_claims(kmy_shard_t *s, kmy_token_claims_t *claims, kmy_buf_t *b,
                              kmy_errctx_t *ctx);

enum { KMY_MINT_TTL_MIN_S = 60, KMY_MINT_TTL_MAX_S = 86400 };
/* What a body asks of a token. */
typedef struct kmy_mint_wish {
    char scope[KMY_SCOPE_BYTES_MAX]; /* of "feeds"; "": left out */
    int64_t ttl_s;                   /* 0: left out */
    int64_t spend_nusd;              /* 0: left out */
    int64_t rate_per_min;            /* 0: left out */
} kmy_mint_wish_t;
/* "feeds": an array of names and patterns (names become canonical, so that an alias means what it means today), "ttl_s", "spend": USD as a string, "rate": a minute.
   KMY_BAD_INPUT, KMY_UNKNOWN_FEED. */
kmy_err_t kmy_mint_read(const kmy_shard_t *s, kmy_view_t body, kmy_mint_wish_t *w,
                        kmy_errctx_t *ctx);
/* An allowance's part of the ask.  key: the header Idempotency-Key: the same key of the same account is the same token; NULL: another one each time. */
kmy_err_t kmy_mint_ask_allowance(const kmy_mint_wish_t *w, const char *account,
                                 const kmy_view_t *key, int64_t expires_s, kmy_ask_t *a,
                                 kmy_errctx_t *ctx);
/* The token of the keeper's answer, with "balance" and "spend"; as kmy_mint_put. */
kmy_err_t kmy_mint_put_allowance(kmy_shard_t *s, const kmy_tell_t *t, const kmy_mint_wish_t *w,
                                 kmy_buf_t *b, kmy_errctx_t *ctx);

#endif
