/* dollar 3/7 (EVM)   in: pay/verify   out: pay/verify */
#include "pay/evm.h"

#include "base/decimal.h"
#include "base/err.h"
#include "wire/hex.h"
#include "wire/keccak.h"
#include "wire/secp.h"

#include <string.h>

enum { WORD = KMY_EVM_WORD_BYTES, ADDRESS = KMY_EVM_ADDRESS_BYTES };

static uint64_t load_be(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}

static void store_be(uint64_t v, uint8_t *p)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

void kmy_evm_word_set(uint64_t value, uint8_t word[WORD])
{
    memset(word, 0, WORD - 8);
    store_be(value, word + WORD - 8);
}

uint64_t kmy_evm_word_u64(const uint8_t word[WORD])
{
    uint64_t high = load_be(word) | load_be(word + 8) | load_be(word + 16);
    return high ? UINT64_MAX : load_be(word + 24);
}

bool kmy_evm_word_parse(const char *text, size_t len, uint8_t word[WORD])
{
    uint64_t limb[4] = { 0 }; /* least significant first */
    if (len == 0 || len >= KMY_EVM_DECIMAL_BYTES_MAX || (len > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(uint8_t)text[i] - '0';
        if (digit > 9)
            return false;
        unsigned __int128 carry = digit;
        for (int k = 0; k < 4; k++) {
            carry += (unsigned __int128)limb[k] * 10;
            limb[k] = (uint64_t)carry;
            carry >>= 64;
        }
        if (carry)
            return false;
    }
    for (int k = 0; k < 4; k++)
        store_be(limb[k], word + WORD - 8 - 8 * k);
    return true;
}

bool kmy_evm_address_parse(const char *text, size_t len, uint8_t address[ADDRESS])
{
    return kmy_hex_decode_0x(text, len, address, ADDRESS);
}

/* EIP-55: a letter stands upper-case where the hash of the lower-case spelling has a digit of 8 or more. */
void kmy_evm_address_text(const uint8_t address[ADDRESS], char out[KMY_EVM_ADDRESS_TEXT_BYTES])
{
    uint8_t hash[KMY_KECCAK_BYTES];
    memcpy(out, "0x", 2);
    kmy_hex_encode(address, ADDRESS, out + 2);
    kmy_keccak256(out + 2, (size_t)2 * ADDRESS, hash);
    for (int i = 0; i < 2 * ADDRESS; i++) {
        unsigned digit = i % 2 ? hash[i / 2] & 15u : hash[i / 2] >> 4;
        if (out[2 + i] >= 'a' && digit >= 8)
            out[2 + i] = (char)(out[2 + i] - 'a' + 'A');
    }
}

bool kmy_evm_address_is_typo(const char *text, size_t len)
{
    uint8_t address[ADDRESS];
    char right[KMY_EVM_ADDRESS_TEXT_BYTES];
    bool lower = false;
    bool upper = false;
    if (!kmy_evm_address_parse(text, len, address))
        return true;
    for (size_t i = 2; i < len; i++) {
        lower |= text[i] >= 'a';
        upper |= text[i] >= 'A' && text[i] <= 'F';
    }
    kmy_evm_address_text(address, right);
    return lower && upper && memcmp(text, right, len) != 0;
}

static void put_address(const uint8_t address[ADDRESS], uint8_t word[WORD])
{
    memset(word, 0, WORD - ADDRESS);
    memcpy(word + WORD - ADDRESS, address, ADDRESS);
}

static void put_hash(const char *text, uint8_t word[WORD])
{
    kmy_keccak256(text, strlen(text), word);
}

void kmy_evm_domain(const char *name, const char *version, uint64_t chain_id,
                    const uint8_t token[ADDRESS], uint8_t out[WORD])
{
    uint8_t words[5][WORD];
    put_hash("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
             words[0]);
    put_hash(name, words[1]);
    put_hash(version, words[2]);
    kmy_evm_word_set(chain_id, words[3]);
    put_address(token, words[4]);
    kmy_keccak256(words, sizeof words, out);
}

void kmy_evm_transfer_digest(const uint8_t domain[WORD], const kmy_evm_authorization_t *a,
                             uint8_t digest[WORD])
{
    /* keccak of "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)", the
       constant of EIP-3009; test_evm computes it. */
    static const uint8_t type[WORD] = { 0x7c, 0x7c, 0x6c, 0xdb, 0x67, 0xa1, 0x87, 0x43,
                                        0xf4, 0x9e, 0xc6, 0xfa, 0x9b, 0x35, 0xf5, 0x0d,
                                        0x52, 0xed, 0x05, 0xcb, 0xed, 0x4c, 0xc5, 0x92,
                                        0xe1, 0x3b, 0x44, 0x50, 0x1c, 0x1a, 0x22, 0x67 };
    uint8_t words[7][WORD];
    memcpy(words[0], type, WORD);
    put_address(a->from, words[1]);
    put_address(a->to, words[2]);
    memcpy(words[3], a->value, WORD);
    memcpy(words[4], a->valid_after, WORD);
    memcpy(words[5], a->valid_before, WORD);
    memcpy(words[6], a->nonce, WORD);
    uint8_t sealed[2 + 2 * WORD] = { 0x19, 0x01 };
    memcpy(sealed + 2, domain, WORD);
    kmy_keccak256(words, sizeof words, sealed + 2 + WORD);
    kmy_keccak256(sealed, sizeof sealed, digest);
}

void kmy_evm_personal_digest(const void *text, size_t len, uint8_t digest[WORD])
{
    kmy_keccak_t k;
    char count[20];
    kmy_keccak_init(&k);
    kmy_keccak_add(&k,
                   "\x19"
                   "Ethereum Signed Message:\n",
                   26);
    kmy_keccak_add(&k, count, kmy_u64_digits(len, count));
    kmy_keccak_add(&k, text, len);
    kmy_keccak_end(&k, digest);
}

bool kmy_evm_recover(const uint8_t digest[WORD], const uint8_t signature[KMY_EVM_SIGNATURE_BYTES],
                     uint8_t address[ADDRESS])
{
    int v = signature[64];
    return (v == 27 || v == 28) && kmy_secp_low_s(signature + 32) &&
           kmy_secp_recover_address(digest, signature, v - 27, address);
}
