/* dollar 7/7 (EVM)   in: engine/cashier_settler   out: a chain's node */
/* evm_tx: a transaction of our own account, as bytes that a node takes: type 2 (EIP-1559), without value and without access list.

   Its hash is known before it is sent, so a lost reply hides nothing.  Source: EIP-1559 (fields and their order), EIP-2718 (type byte), EIP-155's chain id
   as a field.  Fees are wei of the chain's own coin for a unit of gas; 2^64 wei are 18 of it, far above any fee.
   Any thread; nothing blocks; signing allocates inside libsecp256k1. */
#ifndef KMY_PAY_EVM_TX_H
#define KMY_PAY_EVM_TX_H

#include "pay/evm.h"

#define KMY_EVM_CALL_BYTES_MAX                                                                     \
    4608 /* transferWithAuthorization with a signature of 4,096 bytes: 4 + 9 words + it */
#define KMY_EVM_TX_BYTES_MAX                                                                       \
    (KMY_EVM_CALL_BYTES_MAX + 256) /* 11 numbers of at most 33 bytes, most below 10 */

typedef struct kmy_evm_tx {
    uint64_t chain_id;
    uint64_t nonce; /* of our account */
    uint64_t tip;   /* max_priority_fee_per_gas */
    uint64_t fee;   /* max_fee_per_gas, not below tip */
    uint64_t gas;   /* limit */
    uint8_t to[KMY_EVM_ADDRESS_BYTES];
    const uint8_t *data; /* borrowed; NULL with 0 bytes */
    size_t data_bytes;   /* at most KMY_EVM_CALL_BYTES_MAX */
} kmy_evm_tx_t;

/* Signs and writes it; returns its length and fills hash (what the chain will call it).  0: the key is none, or no memory.  key is only read. */
size_t kmy_evm_tx_sign(const kmy_evm_tx_t *tx, const uint8_t key[32],
                       uint8_t out[KMY_EVM_TX_BYTES_MAX], uint8_t hash[KMY_EVM_WORD_BYTES]);

#endif
