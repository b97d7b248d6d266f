/* mangle: what a broken or lying upstream makes of a good frame.  Pure; in place. */
#ifndef KMY_SIM_MANGLE_H
#define KMY_SIM_MANGLE_H

#include "tools/sim/trouble.h"

#include <stddef.h>

/* Changes text[0..len) by one of SPIKE, WRONGTYPE, NULLPRICE, ARRAY, TRUNCATED; cap >= 2 * len + 64.  Returns the new length.  A frame
   without a price ("p", "b", "a", "price" as a string) is left as it is by the first three. */
size_t sim_mangle(sim_trouble_kind_t kind, char *text, size_t len, size_t cap);

#endif
