#include "tick_generated.h"

#include <cstring>

#define _Static_assert static_assert
extern "C" {
#include "base/tick.h"
#include "bench/encode_peer.h"
}

// One builder, cleared and reused, as its authors advise.
size_t kmy_peer_flatbuffers(const kmy_tick_t *t, const char *name, uint8_t *out)
{
    static flatbuffers::FlatBufferBuilder b(1024);
    b.Clear();
    b.ForceDefaults(true); // all members, as ours
    kamiyo::FinishSizePrefixedTickBuffer(
        b, kamiyo::CreateTick(
               b, b.CreateString(name), t->seq, t->offset, t->event_ns, t->recv_ns, t->price_mant,
               t->bid_mant, t->ask_mant, t->conf_mant, t->size_mant, t->ask_size_mant,
               t->source_seq, t->feed_id, static_cast<kamiyo::Flags>(t->flags),
               static_cast<kamiyo::Source>(t->source), static_cast<kamiyo::Kind>(t->kind),
               t->price_expo, t->size_expo, static_cast<kamiyo::Resolution>(t->event_res),
               static_cast<kamiyo::Has>(t->has)));
    std::memcpy(out, b.GetBufferPointer(), b.GetSize());
    return b.GetSize();
}
