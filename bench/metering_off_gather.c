/* The daemon's egress_gather without the meter: bench_metering_off. */
#include "bench/metering_off.h"
#include "engine/egress_gather.c"
