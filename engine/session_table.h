/* session_table: sessions that ended a short while ago, by id, for whoever goes on with one; and the claims of one shard on a session
   that is still open at another.

   One for the process, behind a mutex that is taken when a connection ends or goes on, never for a tick.  Bounded: KMY_SESSION_KEEP_NS and
   KMY_SESSION_TABLE_BYTES_MAX; the oldest give way.  What is not here any more is charged again: that is no error. */
#ifndef KMY_ENGINE_SESSION_TABLE_H
#define KMY_ENGINE_SESSION_TABLE_H

#include "engine/charges.h"

#include "base/limits.h"

typedef struct kmy_session_table kmy_session_table_t;

kmy_session_table_t *kmy_session_table_new(void); /* NULL: out of memory */
void kmy_session_table_free(kmy_session_table_t *t);

/* Where an open session lives.  Its id says so, to the process that made it only: to all others it is 128 random bits. */
typedef struct kmy_session_place {
    uint32_t shard;
    uint32_t conn;
    uint32_t gen; /* 24 bits */
} kmy_session_place_t;
void kmy_session_id_make(kmy_session_place_t place, uint64_t random, uint64_t id[2]);
kmy_session_place_t kmy_session_id_place(const uint64_t id[2]);

/* A session ended: the table owns `l` (closed) from here on, under l->id and l->account.  now_ns: monotonic.  One with the same id is replaced. */
void kmy_session_table_put(kmy_session_table_t *t, kmy_charges_t *l, int64_t now_ns);
/* Takes a session out: the caller owns it.  NULL: unknown, too old, or another account's (which stays). */
kmy_charges_t *kmy_session_table_take(kmy_session_table_t *t, const uint64_t id[2],
                                      const char *account, int64_t now_ns);

/* A claim: "whoever serves this session, end it and put it here".  To shard `place.shard`; the answer comes to `by`. */
typedef struct kmy_session_claim {
    struct kmy_session_claim *next;
    uint64_t id[2];
    kmy_session_place_t by; /* the connection that goes on */
    char account[KMY_ACCOUNT_BYTES_MAX];
} kmy_session_claim_t;
/* false: no memory.  The caller wakes that shard. */
bool kmy_session_claim_send(kmy_session_table_t *t, const uint64_t id[2], const char *account,
                            kmy_session_place_t by);
/* The claims on this shard's sessions, oldest first, or (answered) the answers to its own; NULL: none, which costs one load.  The caller
   owns the list: claims go back by kmy_session_claim_answer, answers are freed. */
kmy_session_claim_t *kmy_session_claims(kmy_session_table_t *t, uint32_t shard, bool answered);
/* Is there something for kmy_session_claims to give, of either kind?  Two loads. */
bool kmy_session_claimed(const kmy_session_table_t *t, uint32_t shard);
void kmy_session_claim_answer(kmy_session_table_t *t, kmy_session_claim_t *claim);

#endif
