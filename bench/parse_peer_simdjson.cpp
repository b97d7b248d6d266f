/* simdjson's two readers.  Members are asked for in the order they stand in, which is their best case.  The decimal text is turned into
   a mantissa by the plain loop a user of the library writes; the symbol and its length go into the sum. */
#include "bench/parse_peer.h"

#include <simdjson.h>

using namespace simdjson;

static bool take_decimal(std::string_view text, uint64_t &sum)
{
    uint64_t v = 0;
    int decimals = -1;
    for (char c : text) {
        if (c == '.' && decimals < 0) {
            decimals = 0;
            continue;
        }
        unsigned digit = static_cast<unsigned char>(c) - '0';
        if (digit > 9 || v > (INT64_MAX - 9) / 10)
            return false;
        v = v * 10 + digit;
        decimals += decimals >= 0;
    }
    for (; decimals < 8; decimals++)
        v *= 10;
    sum += v;
    return true;
}

static bool take_integer(std::string_view text, uint64_t &sum)
{
    uint64_t v = 0;
    for (char c : text) {
        unsigned digit = static_cast<unsigned char>(c) - '0';
        if (digit > 9)
            return c == '-';
        v = v * 10 + digit;
    }
    sum += v;
    return true;
}

template <class Object> static bool take_trade(Object data, uint64_t &sum)
{
    std::string_view event, symbol, price, size;
    uint64_t sent, id, time;
    bool maker;
    if (data["e"].get(event) || event != "trade" || data["E"].get(sent) || data["s"].get(symbol) ||
        data["t"].get(id) || data["p"].get(price) || !take_decimal(price, sum) ||
        data["q"].get(size) || !take_decimal(size, sum) || data["T"].get(time) ||
        data["m"].get(maker))
        return false;
    sum += symbol.size() + id + time + maker;
    return true;
}

template <class Object> static bool take_book(Object data, uint64_t &sum)
{
    std::string_view symbol, text;
    uint64_t id;
    if (data["u"].get(id) || data["s"].get(symbol))
        return false;
    for (const char *name : { "b", "B", "a", "A" })
        if (data[name].get(text) || !take_decimal(text, sum))
            return false;
    sum += symbol.size() + id;
    return true;
}

template <class Object> static bool take_hermes(Object feed, uint64_t &sum)
{
    std::string_view id, price, conf;
    int64_t expo, time;
    if (feed["id"].get(id) || id.size() != 64)
        return false;
    auto inner = feed["price"];
    if (inner["price"].get(price) || !take_integer(price, sum) || inner["conf"].get(conf) ||
        !take_integer(conf, sum) || inner["expo"].get(expo) || inner["publish_time"].get(time))
        return false;
    sum += static_cast<uint64_t>(expo + time);
    return true;
}

template <class Document> static bool take(int kind, Document &doc, uint64_t &sum)
{
    std::string_view stream;
    if (kind == PEER_HERMES) {
        if (doc["type"].get(stream) || stream != "price_update")
            return false;
        return take_hermes(doc["price_feed"], sum);
    }
    if (doc["stream"].get(stream))
        return false;
    return kind == PEER_TRADE ? take_trade(doc["data"], sum) : take_book(doc["data"], sum);
}

size_t peer_padding(void)
{
    return SIMDJSON_PADDING;
}

int peer_on_demand(int kind, const char *frame, size_t len, size_t readable, uint64_t *sum)
{
    static ondemand::parser parser;
    ondemand::document doc;
    if (parser.iterate(padded_string_view(frame, len, readable)).get(doc))
        return 0;
    return take(kind, doc, *sum);
}

int peer_dom(int kind, const char *frame, size_t len, size_t readable, uint64_t *sum)
{
    static dom::parser parser;
    dom::element doc;
    (void)readable;
    if (parser.parse(reinterpret_cast<const uint8_t *>(frame), len, false).get(doc))
        return 0;
    return take(kind, doc, *sum);
}
