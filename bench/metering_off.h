/* metering_off: the calls of the meter as nothing, for bench_metering_off, which compiles the daemon's own egress with them: what is left is the same way of a
   tick without money.  Included after the engine's headers, before the file that is to lose its meter; nowhere else. */
#ifndef KMY_BENCH_METERING_OFF_H
#define KMY_BENCH_METERING_OFF_H

#include "engine/account.h"
#include "engine/conn.h"
#include "engine/egress_inside.h"
#include "engine/shard.h"
#include "engine/stream.h"

#define kmy_meter_covers(lease, price_nusd) ((void)(lease), (void)(price_nusd), true)
#define kmy_meter_take_all(lease, price_nusd, n)                                                   \
    ((void)(lease), (void)(price_nusd), (void)(n), true)
#define kmy_meter_take_up_to(lease, price_nusd, n)   ((void)(lease), (void)(price_nusd), (n))
#define kmy_meter_untake_ticks(lease, price_nusd, n) ((void)(lease), (void)(price_nusd), (void)(n))
#define kmy_account_took(shard, account)             ((void)(shard), (void)(account))
#define kmy_egress_consumed(shard, nusd)             ((void)(shard), (void)(nusd))

#endif
