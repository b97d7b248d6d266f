#include "tools/sim/streams.h"

#include <stdlib.h>
#include <string.h>

uint32_t sim_streams_intern(sim_streams_t *s, const char *name, size_t len)
{
    uint32_t idx;
    if (sim_streams_find(s, name, len, &idx))
        return idx;
    if (s->count == SIM_STREAMS_MAX)
        return UINT32_MAX;
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        char **names = realloc(s->names, cap * sizeof *names);
        if (!names)
            return UINT32_MAX;
        s->names = names;
        s->cap = cap;
    }
    char *copy = strndup(name, len);
    if (!copy || !kmy_strmap_put(&s->map, name, len, (uint32_t)s->count)) {
        free(copy);
        return UINT32_MAX;
    }
    s->names[s->count] = copy;
    return (uint32_t)s->count++;
}

bool sim_streams_find(const sim_streams_t *s, const char *name, size_t len, uint32_t *idx)
{
    return s->count > 0 && kmy_strmap_get(&s->map, name, len, idx);
}

void sim_streams_fini(sim_streams_t *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->names[i]);
    free(s->names);
    kmy_strmap_fini(&s->map);
    *s = (sim_streams_t){ 0 };
}
