/* Time: integer nanoseconds.  Wall time is since the Unix epoch, monotonic time since an arbitrary
   start. Thread: any.  Never blocks (vDSO). */
#ifndef KMY_BASE_CLOCK_H
#define KMY_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define KMY_NS_PER_S  INT64_C(1000000000)
#define KMY_NS_PER_MS INT64_C(1000000)

static inline int64_t kmy_clock_read(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * KMY_NS_PER_S + ts.tv_nsec;
}

static inline int64_t kmy_wall_ns(void)
{
    return kmy_clock_read(CLOCK_REALTIME);
}
static inline int64_t kmy_mono_ns(void)
{
    return kmy_clock_read(CLOCK_MONOTONIC);
}

#endif
