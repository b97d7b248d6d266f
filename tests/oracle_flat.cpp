// flatc's own reader and verifier against ours: random ticks, encoded by wire/flat, must verify in both forms and read as they went in;
// ticks built by FlatBuffers' own builder (other layout, defaults left out) must be read by kmy_flat_decode.
#include "tick_generated.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#define _Static_assert static_assert
#define _Alignas alignas
#define _Noreturn [[noreturn]]
extern "C" {
#include "wire/flat.h"
}

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                        \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

static std::mt19937_64 rng(1); // fixed: a failure can be repeated

static kmy_tick_t random_tick(uint32_t feed_id)
{
    kmy_tick_t t = {};
    // Small and large numbers alike.
    auto any = [] { return rng() >> (rng() % 64); };
    t.seq = any();
    t.offset = any();
    t.event_ns = static_cast<int64_t>(any());
    t.recv_ns = static_cast<int64_t>(any());
    t.price_mant = static_cast<int64_t>(any());
    t.bid_mant = -static_cast<int64_t>(any() >> 1);
    t.ask_mant = static_cast<int64_t>(any());
    t.conf_mant = any();
    t.size_mant = static_cast<int64_t>(any());
    t.ask_size_mant = static_cast<int64_t>(any());
    t.source_seq = any();
    t.feed_id = feed_id;
    t.flags = static_cast<uint16_t>(rng() % 64);
    t.source = static_cast<uint8_t>(rng() % KMY_SOURCE_COUNT);
    t.kind = static_cast<uint8_t>(rng() % KMY_KIND_COUNT);
    t.price_expo = static_cast<int8_t>(static_cast<int>(rng() % 129) - 64);
    t.size_expo = static_cast<int8_t>(static_cast<int>(rng() % 129) - 64);
    t.event_res = static_cast<uint8_t>(rng() % 5);
    t.has = static_cast<uint8_t>(rng() % 32);
    return t;
}

static void check_same(const kamiyo::Tick *r, const kmy_tick_t &t, const std::string &name)
{
    CHECK(r->feed()->str() == name);
    CHECK(r->seq() == t.seq && r->offset() == t.offset);
    CHECK(r->event_ns() == t.event_ns && r->recv_ns() == t.recv_ns);
    CHECK(r->price_mant() == t.price_mant && r->bid_mant() == t.bid_mant);
    CHECK(r->ask_mant() == t.ask_mant && r->conf_mant() == t.conf_mant);
    CHECK(r->size_mant() == t.size_mant && r->ask_size_mant() == t.ask_size_mant);
    CHECK(r->source_seq() == t.source_seq && r->feed_id() == t.feed_id);
    CHECK(static_cast<uint16_t>(r->flags()) == t.flags);
    CHECK(static_cast<uint8_t>(r->source()) == t.source);
    CHECK(static_cast<uint8_t>(r->kind()) == t.kind);
    CHECK(r->price_expo() == t.price_expo && r->size_expo() == t.size_expo);
    CHECK(static_cast<uint8_t>(r->event_res()) == t.event_res);
    CHECK(static_cast<uint8_t>(r->has()) == t.has);
}

static void ours_read_by_theirs(const kmy_tick_t &t, const std::string &name)
{
    alignas(16) uint8_t out[KMY_TICK_FLAT_BYTES_MAX];
    kmy_flat_t flat;
    kmy_flat_init(&flat, KMY_FLAT_STREAM, t.feed_id, name.c_str());
    size_t len = kmy_flat_encode(&flat, &t, out);
    flatbuffers::Verifier stream(out, len);
    CHECK(len % 8 == 0);
    CHECK(kamiyo::VerifySizePrefixedTickBuffer(stream));
    check_same(kamiyo::GetSizePrefixedTick(out), t, name);

    kmy_flat_init(&flat, KMY_FLAT_STORE, t.feed_id, name.c_str());
    len = kmy_flat_encode(&flat, &t, out);
    flatbuffers::Verifier store(out, len);
    CHECK(kamiyo::TickBufferHasIdentifier(out));
    CHECK(kamiyo::VerifyTickBuffer(store));
    check_same(kamiyo::GetTick(out), t, name);
}

static void theirs_read_by_ours(const kmy_tick_t &t, const std::string &name)
{
    flatbuffers::FlatBufferBuilder b;
    b.Finish(kamiyo::CreateTick(
                 b, b.CreateString(name), t.seq, t.offset, t.event_ns, t.recv_ns, t.price_mant,
                 t.bid_mant, t.ask_mant, t.conf_mant, t.size_mant, t.ask_size_mant, t.source_seq,
                 t.feed_id, static_cast<kamiyo::Flags>(t.flags),
                 static_cast<kamiyo::Source>(t.source), static_cast<kamiyo::Kind>(t.kind),
                 t.price_expo, t.size_expo, static_cast<kamiyo::Resolution>(t.event_res),
                 static_cast<kamiyo::Has>(t.has)),
             kamiyo::TickIdentifier());
    kmy_tick_t back;
    char back_name[KMY_FEED_NAME_BYTES_MAX];
    kmy_errctx_t ctx = {};
    if (kmy_flat_decode(b.GetBufferPointer(), b.GetSize(), &back, back_name, &ctx) != KMY_OK)
        std::fprintf(stderr, "%s\n", ctx.detail);
    CHECK(ctx.where == nullptr);
    CHECK(std::memcmp(&back, &t, sizeof t) == 0);
    CHECK(name == back_name);
}

// The numbers of the schema are the numbers of base/tick.h.
static_assert(static_cast<int>(kamiyo::Source::kraken) == KMY_SOURCE_KRAKEN, "sources");
static_assert(static_cast<int>(kamiyo::Source::MAX) + 1 == KMY_SOURCE_COUNT, "sources");
static_assert(static_cast<int>(kamiyo::Kind::MAX) + 1 == KMY_KIND_COUNT, "kinds");
static_assert(static_cast<int>(kamiyo::Has::ask_size) == KMY_HAS_ASK_SIZE, "has");
static_assert(static_cast<int>(kamiyo::Flags::verified) == KMY_TICK_VERIFIED, "flags");
static_assert(static_cast<int>(kamiyo::Flags::conf_is_spread) == KMY_TICK_CONF_IS_SPREAD, "flags");
static_assert(static_cast<int>(kamiyo::Resolution::ns) == KMY_RES_NS, "resolutions");

int main()
{
    for (int i = 0; i < KMY_SOURCE_COUNT; i++)
        CHECK(std::strcmp(kamiyo::EnumNameSource(static_cast<kamiyo::Source>(i)),
                          kmy_source_name(static_cast<uint8_t>(i))) == 0);
    for (int i = 0; i < KMY_KIND_COUNT; i++)
        CHECK(std::strcmp(kamiyo::EnumNameKind(static_cast<kamiyo::Kind>(i)),
                          kmy_kind_name(static_cast<uint8_t>(i))) == 0);
    for (int i = 0; i < 20000; i++) {
        std::string name(1 + rng() % (KMY_FEED_NAME_BYTES_MAX - 1), 'x');
        for (char &c : name)
            c = static_cast<char>('!' + rng() % 90);
        kmy_tick_t t = random_tick(static_cast<uint32_t>(rng() % 5000));
        ours_read_by_theirs(t, name);
        theirs_read_by_ours(t, name);
    }
    std::puts("20000 ticks agree");
    return 0;
}
