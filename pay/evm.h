/* dollar 3/7 (EVM)   in: pay/verify   out: pay/verify */
/* evm: what an EVM chain's signature is over, and whose it is.

   Sources: EIP-712 (typed data), EIP-3009 (TransferWithAuthorization), EIP-191 (personal messages), EIP-55 (checksummed spelling), EIP-2 (low s).
   Everything is pure; any thread; nothing blocks or allocates.  Words are 32 bytes, big-endian. */
#ifndef KMY_PAY_EVM_H
#define KMY_PAY_EVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_EVM_ADDRESS_BYTES      20
#define KMY_EVM_ADDRESS_TEXT_BYTES 43 /* 0x, 40 digits, terminator */
#define KMY_EVM_WORD_BYTES         32
#define KMY_EVM_SIGNATURE_BYTES    65
#define KMY_EVM_DECIMAL_BYTES_MAX  79 /* 2^256 has 78 digits; terminator */

/* One authorization of EIP-3009. */
typedef struct kmy_evm_authorization {
    uint8_t from[KMY_EVM_ADDRESS_BYTES];
    uint8_t to[KMY_EVM_ADDRESS_BYTES];
    uint8_t value[KMY_EVM_WORD_BYTES];
    uint8_t valid_after[KMY_EVM_WORD_BYTES]; /* Unix seconds */
    uint8_t valid_before[KMY_EVM_WORD_BYTES];
    uint8_t nonce[KMY_EVM_WORD_BYTES];
} kmy_evm_authorization_t;

/* Decimal text to a word: 1 to 78 digits and nothing else, no leading zero but "0" itself, below 2^256.  false: *word untouched. */
bool kmy_evm_word_parse(const char *text, size_t len, uint8_t word[KMY_EVM_WORD_BYTES]);
void kmy_evm_word_set(uint64_t value, uint8_t word[KMY_EVM_WORD_BYTES]);
/* The word as a number, UINT64_MAX if it is that or more. */
uint64_t kmy_evm_word_u64(const uint8_t word[KMY_EVM_WORD_BYTES]);

/* "0x" and 40 digits.  The case of the letters is not looked at: a payment's signature covers the bytes, and clients differ.
   kmy_evm_address_is_typo: letters of both cases that are not the checksum of EIP-55, which only a slip of the hand produces: for
   addresses that people write into a configuration. */
bool kmy_evm_address_parse(const char *text, size_t len, uint8_t address[KMY_EVM_ADDRESS_BYTES]);
bool kmy_evm_address_is_typo(const char *text, size_t len);
void kmy_evm_address_text(const uint8_t address[KMY_EVM_ADDRESS_BYTES],
                          char out[KMY_EVM_ADDRESS_TEXT_BYTES]); /* checksummed */

/* The domain separator of a token's contract, which depends on the network alone: computed once. */
void kmy_evm_domain(const char *name, const char *version, uint64_t chain_id,
                    const uint8_t token[KMY_EVM_ADDRESS_BYTES], uint8_t out[KMY_EVM_WORD_BYTES]);
void kmy_evm_transfer_digest(const uint8_t domain[KMY_EVM_WORD_BYTES],
                             const kmy_evm_authorization_t *authorization,
                             uint8_t digest[KMY_EVM_WORD_BYTES]);
/* EIP-191, version 45: what wallets sign when they sign text. */
void kmy_evm_personal_digest(const void *text, size_t len, uint8_t digest[KMY_EVM_WORD_BYTES]);

/* The address that signed, as the token itself sees it: r and s in range, s low, v 27 or 28, not the zero address.  false: refused. */
bool kmy_evm_recover(const uint8_t digest[KMY_EVM_WORD_BYTES],
                     const uint8_t signature[KMY_EVM_SIGNATURE_BYTES],
                     uint8_t address[KMY_EVM_ADDRESS_BYTES]);

#endif
