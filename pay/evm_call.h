/* dollar 7/7 (EVM)   in: engine/cashier_settler   out: pay/evm_tx */
/* evm_call: a payment that was presented, as the call of its token that moves the money.

   Two overloads of transferWithAuthorization: of a key's signature (v, r, s), which every EIP-3009 token has, and of any bytes, which FiatTokenV2_2 has for contract
   wallets (EIP-1271).  Source: EIP-3009; Circle's FiatTokenV2_2; the Solidity ABI specification for the layout.
   Pure and bounded; any thread; nothing blocks or allocates. */
#ifndef KMY_PAY_EVM_CALL_H
#define KMY_PAY_EVM_CALL_H

#include "pay/evm.h"
#include "pay/evm_tx.h"
#include "wire/json.h"

/* payment: the decoded payment, JSON, as it was presented and verified (v1 or v2: both carry payload.authorization and payload.signature).
   contract: the signature is a contract wallet's.  Returns the call's length in out; 0: the payment is not of that shape, or its signature too long: then it was never
   verified here. */
size_t kmy_evm_call(const char *payment, size_t payment_bytes, bool contract,
                    uint8_t out[KMY_EVM_CALL_BYTES_MAX]);

/* Why the token refused, in a word of x402, from what a node says of a call that reverted ("execution reverted: ..."): static. */
const char *kmy_evm_call_reason(kmy_json_token_t message);

#endif
