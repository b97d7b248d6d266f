/* FlatBuffers' own C++ builder, as a peer of bench_encode (bench/encode_peer.cpp; needs flatc and libflatbuffers-dev). */
#ifndef KMY_BENCH_ENCODE_PEER_H
#define KMY_BENCH_ENCODE_PEER_H

#include <stddef.h>
#include <stdint.h>

struct kmy_tick;
size_t kmy_peer_flatbuffers(const struct kmy_tick *tick, const char *name, uint8_t *out);

#endif
