/* dollar 7/7 (EVM)   in: engine/cashier_settler   out: a chain's node */
#include "pay/evm_tx.h"

#include "base/err.h"
#include "wire/keccak.h"
#include "wire/rlp.h"
#include "wire/secp_sign.h"

#define TYPE 0x02 /* EIP-2718 */

static void put_fields(kmy_buf_t *b, const kmy_evm_tx_t *tx)
{
    kmy_rlp_u64(b, tx->chain_id);
    kmy_rlp_u64(b, tx->nonce);
    kmy_rlp_u64(b, tx->tip);
    kmy_rlp_u64(b, tx->fee);
    kmy_rlp_u64(b, tx->gas);
    kmy_rlp_bytes(b, tx->to, sizeof tx->to);
    kmy_rlp_u64(b, 0); /* value */
    kmy_rlp_bytes(b, tx->data, tx->data_bytes);
    kmy_rlp_list(b, NULL, 0); /* access list */
}

/* The type and the list of fields: what is hashed, and what is sent. */
static size_t seal(const kmy_buf_t *fields, uint8_t *out, uint8_t hash[KMY_EVM_WORD_BYTES])
{
    kmy_buf_t b = kmy_buf(out, KMY_EVM_TX_BYTES_MAX);
    kmy_buf_bytes(&b, (const uint8_t[]){ TYPE }, 1);
    kmy_rlp_list(&b, fields->data, fields->len);
    KMY_ASSERT(!b.overflow && !fields->overflow);
    kmy_keccak256(out, b.len, hash);
    return b.len;
}

size_t kmy_evm_tx_sign(const kmy_evm_tx_t *tx, const uint8_t key[32],
                       uint8_t out[KMY_EVM_TX_BYTES_MAX], uint8_t hash[KMY_EVM_WORD_BYTES])
{
    uint8_t mem[KMY_EVM_TX_BYTES_MAX], rs[64];
    int odd = 0;
    kmy_buf_t fields = kmy_buf(mem, sizeof mem);
    KMY_ASSERT(tx->data_bytes <= KMY_EVM_CALL_BYTES_MAX && tx->tip <= tx->fee);
    put_fields(&fields, tx);
    seal(&fields, out, hash);
    if (!kmy_secp_sign(hash, key, rs, &odd))
        return 0;
    kmy_rlp_u64(&fields, (uint64_t)odd);
    kmy_rlp_word(&fields, rs);
    kmy_rlp_word(&fields, rs + 32);
    return seal(&fields, out, hash);
}
