/* dollar 7/7   in: engine/cashier   out: engine/cashier */
/* calls: HTTP requests to facilitators and chains, many under way at once, on the cashier's thread: libcurl's multi interface.

   Whoever is called is a stranger, so: http and https only; TLS verified (against ca_file, or the system's CAs); no redirect is followed; no proxy of the
   environment; an answer has at most KMY_CALLS_ANSWER_BYTES_MAX; a connection is made within KMY_CALLS_CONNECT_MS or not, and the whole call ends in its
   time.  Addresses and bearers are secrets (keys stand in RPC addresses): nothing here logs them, and no text that comes out of here has them.

   One thread.  kmy_calls_wait blocks, nothing else does; libcurl allocates, and resolves names on threads of its own. */
#ifndef KMY_ENGINE_CALLS_H
#define KMY_ENGINE_CALLS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KMY_CALLS_MAX = 64, /* under way at once */
    KMY_CALLS_ANSWER_BYTES_MAX = 1 << 20,
    KMY_CALLS_CONNECT_MS = 5000,
};

typedef struct kmy_calls kmy_calls_t;

typedef struct kmy_call_answer {
    int status;       /* 0: there is none, fault says why */
    const char *body; /* borrowed until the call-back returns; not terminated */
    size_t body_bytes;
    const char *fault; /* static; NULL with a status */
    bool
        sent; /* false: no byte of the request has left, so whoever was called knows nothing of it */
} kmy_call_answer_t;
/* May begin other calls. */
typedef void kmy_calls_answered_t(void *arg, uint64_t word, const kmy_call_answer_t *answer);

typedef struct kmy_call {
    const char *url;    /* http or https; copied, as body is */
    const char *bearer; /* Authorization; NULL or "": none */
    const void *body;   /* JSON, POST; NULL: GET */
    size_t body_bytes;
    bool
        once; /* must not reach them twice: on a connection of its own, since libcurl repeats what a kept one swallowed */
    int64_t timeout_ms; /* for all of it */
    uint64_t word;      /* the caller's, handed back */
    kmy_calls_answered_t *answered;
    void *arg;
} kmy_call_t;

/* ca_file: PEM, borrowed for the life of it; NULL or "": the system's.  KMY_IO: no memory; KMY_CONFIG: ca_file cannot be read. */
kmy_err_t kmy_calls_new(kmy_calls_t **out, const char *ca_file, kmy_errctx_t *ctx);
/* Ends all calls without their call-backs.  NULL is allowed. */
void kmy_calls_free(kmy_calls_t *c);

/* false: KMY_CALLS_MAX are under way, or no memory: nothing was begun.  Never calls back before it returns. */
bool kmy_calls_begin(kmy_calls_t *c, const kmy_call_t *call);
uint32_t kmy_calls_count(const kmy_calls_t *c);
/* Moves what can be moved and calls back for what has ended; returns how many ended. */
uint32_t kmy_calls_turn(kmy_calls_t *c);
/* Waits until there is something to move, `fd` can be read (-1: none) or so much time has passed. */
void kmy_calls_wait(kmy_calls_t *c, int fd, int timeout_ms);

#endif
