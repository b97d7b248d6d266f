/* The daemon's egress_settle without the meter: bench_metering_off. */
#include "bench/metering_off.h"
#include "engine/egress_settle.c"
