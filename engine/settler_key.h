/* settler_key: the key of the account that submits payments itself, where the operator gives us one: who has it needs no facilitator on EVM networks.

   It holds the chain's own coin for gas and nothing else: what customers pay goes to pay_to, which it cannot touch.  At start and in check-config only: reads a file. */
#ifndef KMY_ENGINE_SETTLER_KEY_H
#define KMY_ENGINE_SETTLER_KEY_H

#include "engine/config.h"
#include "pay/evm.h"
#include "wire/secp_sign.h"

/* Is one configured: by file, or by a variable that is set? */
bool kmy_settler_key_given(const kmy_config_t *config);
/* Are payments on that network submitted with it?  It serves EVM chains that have a node to send to; the facilitator, if there is one, serves the rest. */
bool kmy_settler_key_serves(const kmy_config_t *config, const kmy_config_network_t *network);

/* Reads it: 64 hex digits, 0x before them or not, a newline behind.  Of a file (settler_key_file, which wins), or of the variable named by settler_key_env.  Only
   the caller has it afterwards, and wipes it.  KMY_NOT_FOUND: none is configured; KMY_CONFIG: no file, readable by others, or no key. */
kmy_err_t kmy_settler_key_load(const kmy_config_t *config, uint8_t key[KMY_SECP_KEY_BYTES],
                               uint8_t address[KMY_EVM_ADDRESS_BYTES], kmy_errctx_t *ctx);

#endif
