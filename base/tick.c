#include "base/tick.h"

#include <string.h>

static const char *const source_names[KMY_SOURCE_COUNT] = {
    [KMY_SOURCE_NONE] = "none",           [KMY_SOURCE_PYTH] = "pyth",
    [KMY_SOURCE_BINANCE] = "binance",     [KMY_SOURCE_CHAINLINK] = "chainlink",
    [KMY_SOURCE_COINGECKO] = "coingecko", [KMY_SOURCE_DEFILLAMA] = "defillama",
    [KMY_SOURCE_COINBASE] = "coinbase",   [KMY_SOURCE_KRAKEN] = "kraken",
};

static const char *const kind_names[KMY_KIND_COUNT] = {
    [KMY_KIND_NONE] = "none",     [KMY_KIND_TRADE] = "trade", [KMY_KIND_QUOTE] = "quote",
    [KMY_KIND_ORACLE] = "oracle", [KMY_KIND_STAT] = "stat",   [KMY_KIND_EVENT] = "event",
};

const char *kmy_source_name(uint8_t source)
{
    return source < KMY_SOURCE_COUNT ? source_names[source] : "?";
}
const char *kmy_kind_name(uint8_t kind)
{
    return kind < KMY_KIND_COUNT ? kind_names[kind] : "?";
}

uint8_t kmy_source_by_name(const char *name)
{
    for (uint8_t i = 1; i < KMY_SOURCE_COUNT; i++) {
        if (strcmp(source_names[i], name) == 0)
            return i;
    }
    return KMY_SOURCE_NONE;
}
