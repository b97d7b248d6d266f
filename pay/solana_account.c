#include "pay/solana_account.h"

#include "pay/ed25519.h"

#include <openssl/sha.h>
#include <string.h>

enum { KEY = KMY_SOLANA_KEY_BYTES };

/* TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA and TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb */
const uint8_t kmy_solana_token_program[KMY_SOLANA_TOKENS][KEY] = {
    { 0x06, 0xDD, 0xF6, 0xE1, 0xD7, 0x65, 0xA1, 0x93, 0xD9, 0xCB, 0xE1,
      0x46, 0xCE, 0xEB, 0x79, 0xAC, 0x1C, 0xB4, 0x85, 0xED, 0x5F, 0x5B,
      0x37, 0x91, 0x3A, 0x8C, 0xF5, 0x85, 0x7E, 0xFF, 0x00, 0xA9 },
    { 0x06, 0xDD, 0xF6, 0xE1, 0xEE, 0x75, 0x8F, 0xDE, 0x18, 0x42, 0x5D,
      0xBC, 0xE4, 0x6C, 0xCD, 0xDA, 0xB6, 0x1A, 0xFC, 0x4D, 0x83, 0xB9,
      0x0D, 0x27, 0xFE, 0xBD, 0xF9, 0x28, 0xD8, 0xA1, 0x8B, 0xFC },
};

/* ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL */
static const uint8_t associated_program[KEY] = { 0x8C, 0x97, 0x25, 0x8F, 0x4E, 0x24, 0x89, 0xF1,
                                                 0xBB, 0x3D, 0x10, 0x29, 0x14, 0x8E, 0x0D, 0x83,
                                                 0x0B, 0x5A, 0x13, 0x99, 0xDA, 0xFF, 0x10, 0x84,
                                                 0x04, 0x8E, 0x7B, 0xD8, 0xDB, 0xE9, 0xF8, 0x59 };

bool kmy_solana_associated(const uint8_t wallet[KEY], const uint8_t mint[KEY],
                           kmy_solana_token_t program, uint8_t account[KEY])
{
    static const char marker[] = "ProgramDerivedAddress";
    uint8_t seed[3 * KEY + 1 + KEY + sizeof marker - 1];
    uint8_t *bump = seed + 3 * KEY;
    memcpy(seed, wallet, KEY);
    memcpy(seed + KEY, kmy_solana_token_program[program], KEY);
    memcpy(seed + 2 * KEY, mint, KEY);
    memcpy(bump + 1, associated_program, KEY);
    memcpy(bump + 1 + KEY, marker, sizeof marker - 1);
    for (int b = 255; b >= 0; b--) {
        uint8_t hash[SHA256_DIGEST_LENGTH];
        *bump = (uint8_t)b;
        SHA256(seed, sizeof seed, hash);
        if (kmy_ed25519_on_curve(hash))
            continue;
        memcpy(account, hash, KEY);
        return true;
    }
    return false;
}
