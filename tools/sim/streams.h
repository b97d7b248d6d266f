/* streams: names of streams and symbols, numbered from 0 in order of appearance. */
#ifndef KMY_SIM_STREAMS_H
#define KMY_SIM_STREAMS_H

#include "base/strmap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_STREAMS_MAX 65536

typedef struct sim_streams {
    kmy_strmap_t map;
    char **names; /* owned, terminated */
    size_t count, cap;
} sim_streams_t;

/* Number of that name, given if new; UINT32_MAX: out of memory or SIM_STREAMS_MAX reached. */
uint32_t sim_streams_intern(sim_streams_t *s, const char *name, size_t len);
bool sim_streams_find(const sim_streams_t *s, const char *name, size_t len, uint32_t *idx);
void sim_streams_fini(sim_streams_t *s);

#endif
