/* dollar 7/7 (EVM)   in: engine/cashier_settler   out: a chain's node */
/* chain_evm_send: what a node is asked by who sends transactions himself: how many his account has made, what a block costs now, what a call would take, and to take
   one.

   Source: the Ethereum JSON-RPC specification (execution-apis).  Errors of eth_sendRawTransaction have no codes of their own: nodes say them in words, and each in its
   own (geth, reth, nethermind, erigon, besu, anvil); a word that is not known here is KMY_EVM_SEND_LOST: it may have been taken.
   Pure; any thread; nothing blocks or allocates.  Requests and readers: as in chain_evm.h. */
#ifndef KMY_PAY_CHAIN_EVM_SEND_H
#define KMY_PAY_CHAIN_EVM_SEND_H

#include "pay/chain_evm.h"
#include "pay/evm_tx.h"

/* eth_getTransactionCount: the nonce of the account's next transaction, by what is in blocks, or (pending) also by what waits for one. */
void kmy_chain_evm_count(kmy_buf_t *out, uint64_t id, const uint8_t account[KMY_EVM_ADDRESS_BYTES],
                         bool pending);
/* The chain's own coin, in wei, that the account has. */
void kmy_chain_evm_coin(kmy_buf_t *out, uint64_t id, const uint8_t account[KMY_EVM_ADDRESS_BYTES]);
/* eth_maxPriorityFeePerGas, wei. */
void kmy_chain_evm_tip(kmy_buf_t *out, uint64_t id);
/* A number, which is what all three answer; UINT64_MAX: that or more. */
kmy_rpc_word_t kmy_chain_evm_read_number(const char *text, size_t len, uint64_t id,
                                         uint64_t *number);

/* eth_estimateGas of a call of `to` by `from`.  REVERTED: it would fail; *message is then the node's text, borrowed (type KMY_JSON_ERROR: none). */
void kmy_chain_evm_gas(kmy_buf_t *out, uint64_t id, const uint8_t from[KMY_EVM_ADDRESS_BYTES],
                       const uint8_t to[KMY_EVM_ADDRESS_BYTES], const uint8_t *data,
                       size_t data_bytes);
kmy_rpc_word_t kmy_chain_evm_read_gas(const char *text, size_t len, uint64_t id, uint64_t *gas,
                                      kmy_json_token_t *message);

typedef enum {
    KMY_EVM_SEND_LOST,  /* no answer, or one that does not say: it may have it */
    KMY_EVM_SEND_TAKEN, /* it has it, now or from before */
    KMY_EVM_SEND_NONCE, /* the account has made one with this nonce already: that one, or another */
    KMY_EVM_SEND_PRICE, /* not taken: the fees are too low, for a block or to replace another */
    KMY_EVM_SEND_FUNDS, /* not taken: the account cannot pay for it */
} kmy_evm_send_t;

/* eth_sendRawTransaction of a signed transaction. */
void kmy_chain_evm_send(kmy_buf_t *out, uint64_t id, const uint8_t *tx, size_t tx_bytes);
/* *message: as above, of whatever error there was. */
kmy_evm_send_t kmy_chain_evm_read_send(const char *text, size_t len, uint64_t id,
                                       kmy_json_token_t *message);

#endif
