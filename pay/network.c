#include "pay/network.h"

#include "base/err.h"
#include "base/nearest.h"

#include <stddef.h>
#include <string.h>

#define USD INT64_C(1000000000)

static const kmy_pay_network_t networks[] = {
    { "base", "eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin", "2", 0, 1 },
    { "base-sepolia", "eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", "2", 0,
      1 },
    { "ethereum", "eip155:1", "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USD Coin", "2", USD,
      10 },
    { "sepolia", "eip155:11155111", "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238", "USDC", "2", 0,
      20 },
    { "polygon", "eip155:137", "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USD Coin", "2", 0,
      1000 },
    { "arbitrum", "eip155:42161", "0xaf88d065e77c8cC2239327C5EDb3A432268e5831", "USD Coin", "2", 0,
      1 },
    { "solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
      "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", "", "", 0, 0 },
    { "solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
      "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", "", "", 0, 0 },
};

const kmy_pay_network_t *kmy_pay_network(const char *name_or_chain)
{
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
        if (strcmp(networks[i].name, name_or_chain) == 0 ||
            strcmp(networks[i].chain, name_or_chain) == 0)
            return &networks[i];
    return NULL;
}

void kmy_pay_network_names(char out[KMY_PAY_NETWORK_NAMES_BYTES_MAX])
{
    size_t at = 0;
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        size_t len = strlen(networks[i].name);
        KMY_ASSERT(at + len + 3 <= KMY_PAY_NETWORK_NAMES_BYTES_MAX);
        if (at > 0) {
            memcpy(out + at, ", ", 2);
            at += 2;
        }
        memcpy(out + at, networks[i].name, len);
        at += len;
    }
    out[at] = '\0';
}

const char *kmy_pay_network_closest(const char *name)
{
    const char *best = NULL;
    size_t len = strlen(name);
    unsigned limit = kmy_nearest_limit(len);
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        const char *known = networks[i].name;
        unsigned d = kmy_nearest_distance(name, len, known, strlen(known), limit);
        if (d > limit || (best && d == limit))
            continue;
        best = known;
        limit = d;
    }
    return best;
}

bool kmy_pay_network_in_v1(const char *name)
{
    static const char *const names[] = {
        "abstract",     "abstract-testnet",
        "avalanche",    "avalanche-fuji",
        "base",         "base-sepolia",
        "educhain",     "iotex",
        "peaq",         "polygon",
        "polygon-amoy", "sei",
        "sei-testnet",  "skale-base-sepolia",
        "solana",       "solana-devnet",
        "story",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}
