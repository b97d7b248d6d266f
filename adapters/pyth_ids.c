/* Ids of common feeds on Pyth's stable network, so that a configuration may say "SOL/USD".  Facts, published by the network; any other
   feed is configured by its id.  Names are not unique across networks (the beta network has other ids for the same names). */
#include "adapters/pyth.h"

#include <string.h>

static const struct {
    const char *name;
    const char *id;
} known[] = {
    /* sorted by name, for people */
    { "AAVE/USD", "2b9ab1e972a281585084148ba1389800799bd4be63b957507db1349314e47445" },
    { "ADA/USD", "2a01deaec9e51a579277b34b122399984d0bbf57e2458a7e42fecd2829867a0d" },
    { "APT/USD", "03ae4db29ed4ae33d323568895aa00337e658e348b37509f5372ae51f0af00d5" },
    { "ARB/USD", "3fa4252848f9f0a1480be62745a4629d9eb1322aebab8a791e344b3b9c1adcf5" },
    { "AVAX/USD", "93da3352f9f1d105fdfe4971cfa80e9dd777bfc5d0f683ebb6e1294b92137bb7" },
    { "BNB/USD", "2f95862b045670cd22bee3114c39763a4a08beeb663b145d283c31d7d1101c4f" },
    { "BONK/USD", "72b021217ca3fe68922a19aaf990109cb9d84e9ad004b4d2025ad6f529314419" },
    { "BTC/USD", "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43" },
    { "CBBTC/USD", "2817d7bfe5c64b8ea956e9a26f573ef64e72e4d7891f2d6af9bcc93f7aff9a97" },
    { "DAI/USD", "b0948a5e5313200c632b51bb5ca32f6de0d36e9950a942d19751e833f70dabfd" },
    { "DOGE/USD", "dcef50dd0a4cd2dcc17e45df1676dcb336a11a61c69df7a0299b0150c672d25c" },
    { "ETH/USD", "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace" },
    { "EURC/USD", "76fa85158bf14ede77087fe3ae472f66213f6ea2f5b411cb2de472794990fa5c" },
    { "HYPE/USD", "4279e31cc369bbcc2faf022b382b080e32a8e689ff20fbc530d2a603eb6cd98b" },
    { "JUP/USD", "0a0408d619e9380abad35060f9192039ed5042fa6f82301d0e48bb52be830996" },
    { "LINK/USD", "8ac0c70fff57e9aefdf5edf44b51d62c2d433653cbb2cf5cc06bb115af04d221" },
    { "NEAR/USD", "c415de8d2eba7db216527dff4b60e8f3a5311c740dadb233e13e12547e226750" },
    { "OP/USD", "385f64d993f7b77d8182ed5003d97c60aa3361f3cecfe711544d2d59165e9bdf" },
    { "PENGU/USD", "bed3097008b9b5e3c93bec20be79cb43986b85a996475589351a21e67bae9b61" },
    { "POL/USD", "ffd11c5a1cfd42f80afb2df4d9f264c15f956d68153335374ec10722edd70472" },
    { "PYTH/USD", "0bbf28e9a841a1cc788f6a361b17ca072d0ea3098a1e5df1c3922d06719579ff" },
    { "PYUSD/USD", "c1da1b73d7f01e7ddd54b3766cf7fcd644395ad14f70aa706ec5384c59e76692" },
    { "SEI/USD", "53614f1cb0c031d4af66c04cb9c756234adad0e1cee85303795091499a4084eb" },
    { "SOL/USD", "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d" },
    { "SUI/USD", "23d7315113f5b1d3ba7a83604c44b94d79f4fd69af77f804fc7f920a6dc65744" },
    { "TIA/USD", "09f7c1d7dfbb7df2b8fe3d3d87ee94a2259d212da4f30c1f0540d066dfa44723" },
    { "TON/USD", "8963217838ab4cf5cadc172203c1f0b763fbaa45f346d8ee50ba994bbcac3026" },
    { "TRUMP/USD", "879551021853eec7a7dc827578e8e69da7e4fa8148339aa0d3d5296405be4b1a" },
    { "TRX/USD", "67aed5a24fdad045475e7195c98a98aea119c763f272d4523f5bac93a4f33c2b" },
    { "UNI/USD", "78d185a741d07edb3412b09008b7c5cfb9bbbd7d568bf00ba737b456ba171501" },
    { "USDC/USD", "eaa020c61cc479712813461ce153894a96a6c00b21ed0cfc2798d1f9a9e9c94a" },
    { "USDT/USD", "2b89b9dc8fdf9f34709a5b106b472f0f39bb6ca9ce04b0fd7f2e971688e2e53b" },
    { "WBTC/USD", "c9d8b075a5c69303365ae23633d4e085199bf5c520a3b90fed1322a0342ffc33" },
    { "WIF/USD", "4ca4beeca86f0d164160323817a4e42b10010a724c2217c6ee41b54cd4cc61fc" },
    { "WSTETH/USD", "6df640f3b8963d8f8358f791f352b8364513f6ab1cca5ed3f1f7b5448980e784" },
    { "XAG/USD", "f2fb02c32b055c805e7238d628e5e9dadef274376114eb1f012337cabe93871e" },
    { "XAU/USD", "765d2ba906dbc32ca17cc11f5310a89e9ee1f6420508c63861f2f8ba4ee34bb2" },
    { "XRP/USD", "ec5d399846a9209f3fe5881d70aae9268c94339ff9817e8d18ff19fa05eea1c8" },
};

/* 0..15; -1 for anything else. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool kmy_pyth_canonical_id(const char *text, size_t len, char hex[65])
{
    if (len == 66 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        text += 2;
        len -= 2;
    }
    if (len != 64)
        return false;
    for (size_t i = 0; i < 64; i++) {
        int v = hex_value(text[i]);
        if (v < 0)
            return false;
        hex[i] = "0123456789abcdef"[v];
    }
    hex[64] = '\0';
    return true;
}

const char *kmy_pyth_feed_id(const char *name, char hex[65])
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].id;
    return kmy_pyth_canonical_id(name, strlen(name), hex) ? hex : NULL;
}
