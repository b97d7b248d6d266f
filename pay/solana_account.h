/* solana_account: where a wallet's tokens lie.  The associated account is derived from (wallet, token program, mint) alone: the first
   hash, bump from 255 down, that is no point of the curve (so that nobody has its key).  Source: Solana's program-derived addresses
   (Pubkey::find_program_address) and the Associated Token Account program.  Start-up: allocates inside OpenSSL. */
#ifndef KMY_PAY_SOLANA_ACCOUNT_H
#define KMY_PAY_SOLANA_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#define KMY_SOLANA_KEY_BYTES 32

typedef enum { KMY_SOLANA_TOKEN, KMY_SOLANA_TOKEN_2022, KMY_SOLANA_TOKENS } kmy_solana_token_t;

/* Program ids. */
extern const uint8_t kmy_solana_token_program[KMY_SOLANA_TOKENS][KMY_SOLANA_KEY_BYTES];

/* false: no bump fits (as likely as guessing a key). */
bool kmy_solana_associated(const uint8_t wallet[KMY_SOLANA_KEY_BYTES],
                           const uint8_t mint[KMY_SOLANA_KEY_BYTES], kmy_solana_token_t program,
                           uint8_t account[KMY_SOLANA_KEY_BYTES]);

#endif
