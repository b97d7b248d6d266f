/* dollar 7/7   in: engine/cashier   out: pay/chain_evm, pay/chain_solana */
/* rpc: JSON-RPC 2.0 as chains speak it: one question, one answer.

   A node is believed about its chain, but its bytes are as foreign as anybody's, and silence or garbage says nothing: KMY_RPC_LOST is never "no".
   Source: JSON-RPC 2.0 specification; EIP-1474 for the error of a reverted call.  Pure; any thread; nothing blocks or allocates. */
#ifndef KMY_PAY_RPC_H
#define KMY_PAY_RPC_H

#include "wire/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_RPC_REQUEST_BYTES_MAX 10240 /* a contract wallet's signature is the longest */
#define KMY_RPC_ANSWER_BYTES_MAX                                                                   \
    (256 * 1024) /* a log has some 800 bytes: a receipt of 300 transfers */

/* What an answer says; every reader of chain_evm and chain_solana returns it. */
typedef enum {
    KMY_RPC_LOST,     /* no answer, garbage, or an error that says nothing: ask again later */
    KMY_RPC_NONE,     /* null: the chain has no such thing (yet) */
    KMY_RPC_FOUND,    /* the reader's output is whole */
    KMY_RPC_REVERTED, /* eth_call: the contract refused */
} kmy_rpc_word_t;

/* begin writes up to the opening bracket of "params", end closes it. */
void kmy_rpc_begin(kmy_buf_t *out, uint64_t id, const char *method);
void kmy_rpc_end(kmy_buf_t *out);

/* The result of the answer to question `id`; *result is borrowed from text, objects and arrays as spans.  The HTTP status is not looked at: nodes
   differ, the body decides. */
kmy_rpc_word_t kmy_rpc_read(const char *text, size_t len, uint64_t id, kmy_json_token_t *result);

/* true: it is an answer to question `id` that names an error; *message is what it says of it, borrowed (type KMY_JSON_ERROR: nothing). */
bool kmy_rpc_read_error(const char *text, size_t len, uint64_t id, kmy_json_token_t *message);

#endif
