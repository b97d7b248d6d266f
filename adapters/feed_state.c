/* tick 1/8   in: adapters/feed_ws   out: adapters/feed_ws */
#include "adapters/feed_state.h"

#include "base/clock.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* clang-format off */
static const kmy_upstream_step_t table[KMY_UP_STATES][KMY_UPEV_COUNT] = {
    /* what is not listed cannot happen: KMY_UPACT_ABORT is zero.  A socket that was let go of reports nothing any more. */
    [KMY_UP_IDLE]          [KMY_UPEV_START]   = { KMY_UPACT_DIAL,      KMY_UP_DIALING },
    [KMY_UP_IDLE]          [KMY_UPEV_STOP]    = { KMY_UPACT_NOTHING,   KMY_UP_IDLE },

    [KMY_UP_DIALING]       [KMY_UPEV_UP]      = { KMY_UPACT_SUBSCRIBE, KMY_UP_SUBSCRIBING },
    [KMY_UP_DIALING]       [KMY_UPEV_DOWN]    = { KMY_UPACT_WAIT,      KMY_UP_BACKOFF },
    [KMY_UP_DIALING]       [KMY_UPEV_DEAD]    = { KMY_UPACT_WAIT,      KMY_UP_BACKOFF },
    [KMY_UP_DIALING]       [KMY_UPEV_REFUSED] = { KMY_UPACT_ALARM,     KMY_UP_MISCONFIGURED },
    [KMY_UP_DIALING]       [KMY_UPEV_LIMITED] = { KMY_UPACT_WAIT_HOST, KMY_UP_BACKOFF },
    [KMY_UP_DIALING]       [KMY_UPEV_STOP]    = { KMY_UPACT_CLOSE,     KMY_UP_IDLE },

    [KMY_UP_SUBSCRIBING]   [KMY_UPEV_ACKED]   = { KMY_UPACT_NOTHING,   KMY_UP_LIVE },
    [KMY_UP_SUBSCRIBING]   [KMY_UPEV_DOWN]    = { KMY_UPACT_WAIT,      KMY_UP_BACKOFF },
    [KMY_UP_SUBSCRIBING]   [KMY_UPEV_DEAD]    = { KMY_UPACT_WAIT,      KMY_UP_BACKOFF },
    [KMY_UP_SUBSCRIBING]   [KMY_UPEV_LIMITED] = { KMY_UPACT_WAIT_HOST, KMY_UP_BACKOFF },
    [KMY_UP_SUBSCRIBING]   [KMY_UPEV_STOP]    = { KMY_UPACT_CLOSE,     KMY_UP_IDLE },

    [KMY_UP_LIVE]          [KMY_UPEV_ACKED]   = { KMY_UPACT_NOTHING,   KMY_UP_LIVE }, /* of a resubscription */
    [KMY_UP_LIVE]          [KMY_UPEV_DOWN]    = { KMY_UPACT_WAIT,      KMY_UP_BACKOFF },
    [KMY_UP_LIVE]          [KMY_UPEV_DEAD]    = { KMY_UPACT_WAIT,      KMY_UP_BACKOFF },
    [KMY_UP_LIVE]          [KMY_UPEV_LIMITED] = { KMY_UPACT_WAIT_HOST, KMY_UP_BACKOFF },
    [KMY_UP_LIVE]          [KMY_UPEV_STOP]    = { KMY_UPACT_CLOSE,     KMY_UP_IDLE },

    [KMY_UP_BACKOFF]       [KMY_UPEV_TIMER]   = { KMY_UPACT_DIAL,      KMY_UP_DIALING },
    [KMY_UP_BACKOFF]       [KMY_UPEV_STOP]    = { KMY_UPACT_NOTHING,   KMY_UP_IDLE },

    [KMY_UP_MISCONFIGURED] [KMY_UPEV_TIMER]   = { KMY_UPACT_DIAL,      KMY_UP_DIALING },
    [KMY_UP_MISCONFIGURED] [KMY_UPEV_STOP]    = { KMY_UPACT_NOTHING,   KMY_UP_IDLE },
};
/* clang-format on */

bool kmy_upstream_step_exists(kmy_upstream_state_t state, kmy_upstream_event_t event)
{
    KMY_ASSERT((unsigned)state < KMY_UP_STATES);
    KMY_ASSERT((unsigned)event < KMY_UPEV_COUNT);
    return table[state][event].act != KMY_UPACT_ABORT;
}

kmy_upstream_step_t kmy_upstream_step(kmy_upstream_state_t state, kmy_upstream_event_t event)
{
    KMY_ASSERT(kmy_upstream_step_exists(state, event));
    return table[state][event];
}

const char *kmy_upstream_state_name(kmy_upstream_state_t state)
{
    static const char *const names[KMY_UP_STATES] = { "idle", "dialing", "subscribing",
                                                      "live", "backoff", "misconfigured" };
    KMY_ASSERT((unsigned)state < KMY_UP_STATES);
    return names[state];
}

/* A value in [low, high]; the bias of the remainder is below 2^-27 for spans of minutes in nanoseconds. */
static int64_t uniform(int64_t low, int64_t high, uint64_t random)
{
    KMY_ASSERT(low <= high);
    return low + (int64_t)(random % (uint64_t)(high - low + 1));
}

int64_t kmy_backoff_next_ns(kmy_backoff_t *b, uint64_t random)
{
    if (b->failures < 31)
        b->failures++;
    int64_t high = KMY_BACKOFF_NS_MIN << (b->failures < 8 ? b->failures : 8); /* 64 s at 8 */
    return uniform(KMY_BACKOFF_NS_MIN, high < KMY_BACKOFF_NS_MAX ? high : KMY_BACKOFF_NS_MAX,
                   random);
}

void kmy_backoff_data(kmy_backoff_t *b, int64_t first_ns, int64_t last_ns)
{
    if (first_ns != 0 && last_ns - first_ns >= KMY_BACKOFF_RESET_NS)
        b->failures = 0;
}

int64_t kmy_connect_budget_at(const kmy_connect_budget_t *b, int64_t now_ns)
{
    int64_t at = b->gate_ns > now_ns ? b->gate_ns : now_ns;
    if (b->count < KMY_CONNECTS_MAX)
        return at;
    int64_t free_at = b->at_ns[b->next] + KMY_CONNECTS_WINDOW_NS; /* the oldest leaves the window */
    return free_at > at ? free_at : at;
}

void kmy_connect_budget_spend(kmy_connect_budget_t *b, int64_t now_ns)
{
    b->at_ns[b->next] = now_ns;
    b->next = (b->next + 1) % KMY_CONNECTS_MAX;
    if (b->count < KMY_CONNECTS_MAX)
        b->count++;
}

void kmy_connect_budget_close(kmy_connect_budget_t *b, int64_t until_ns)
{
    if (until_ns > b->gate_ns)
        b->gate_ns = until_ns;
}

/* false: neither seconds nor a date. */
static bool retry_after_read(const char *text, int64_t wall_ns, int64_t *out_ns)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t digits = strspn(text, "0123456789");
    if (digits > 0) {
        if (text[digits + strspn(text + digits, " \t")] != '\0')
            return false;
        *out_ns = digits > 9 ? INT64_MAX : atoll(text) * KMY_NS_PER_S; /* 9 digits: no overflow */
        return true;
    }
    struct tm tm = { 0 };
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (end == NULL)
        return false;
    time_t at = timegm(&tm);
    if (at < 0 || at > INT64_C(9000000000)) /* the year 2255: nanoseconds still fit */
        return false;
    *out_ns = (int64_t)at * KMY_NS_PER_S - wall_ns;
    return true;
}

int64_t kmy_retry_after_ns(const char *text, int64_t wall_ns, int64_t fallback_ns)
{
    int64_t ns = 0;
    if (text == NULL || !retry_after_read(text, wall_ns, &ns))
        ns = fallback_ns;
    if (ns < KMY_RETRY_AFTER_NS_MIN)
        return KMY_RETRY_AFTER_NS_MIN;
    return ns < KMY_RETRY_AFTER_NS_MAX ? ns : KMY_RETRY_AFTER_NS_MAX;
}

int64_t kmy_rollover_ns(int64_t lifetime_ns, uint64_t random)
{
    KMY_ASSERT(lifetime_ns > 0);
    return uniform(lifetime_ns / 24 * 20, lifetime_ns / 24 * 23, random);
}
