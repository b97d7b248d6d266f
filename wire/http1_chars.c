#include "wire/http1_chars.h"

#define T KMY_CH_TOKEN
#define U KMY_CH_TARGET
#define V KMY_CH_VALUE
#define H KMY_CH_HOST
#define X KMY_CH_HEX

const uint8_t kmy_http_chars[256] = {
    ['\t'] = V,
    [' '] = V,
    ['!'] = T | U | V,
    ['"'] = V,
    ['#'] = T | V,
    ['$' ... '\''] = T | U | V, /* $ % & ' */
    ['(' ... ')'] = U | V,
    ['*' ... '+'] = T | U | V,
    [','] = U | V,
    ['-' ... '.'] = T | U | V | H,
    ['/'] = U | V,
    ['0' ... '9'] = T | U | V | H | X,
    [':' ... ';'] = U | V,
    ['<'] = V,
    ['='] = U | V,
    ['>'] = V,
    ['?' ... '@'] = U | V,
    ['A' ... 'F'] = T | U | V | H | X,
    ['G' ... 'Z'] = T | U | V | H,
    ['['] = U | V,
    ['\\'] = V,
    [']'] = U | V,
    ['^'] = T | V,
    ['_'] = T | U | V | H,
    ['`'] = T | V,
    ['a' ... 'f'] = T | U | V | H | X,
    ['g' ... 'z'] = T | U | V | H,
    ['{'] = V,
    ['|'] = T | V,
    ['}'] = V,
    ['~'] = T | U | V | H,
    [0x80 ... 0xFF] = V,
};
