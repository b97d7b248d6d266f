/* tick 1/8   in: adapters/feed_ws   out: adapters/feed_leg   (what happens because time passes)

   Every deadline is "the last good thing + its limit" on the monotonic clock, never "now + limit": an unrelated event cannot push it away. */
#include "adapters/feed_inner.h"

#include "base/clock.h"
#include "base/log.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

/* The kernel knows when the last byte came, also of pings, which libwebsockets answers without a word to us. */
static void read_byte_clock(kmy_leg_t *leg, int64_t now_ns)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (leg->wsi == NULL ||
        getsockopt(lws_get_socket_fd(leg->wsi), IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return;
    int64_t at = now_ns - (int64_t)info.tcpi_last_data_recv * KMY_NS_PER_MS;
    if (at > leg->byte_ns)
        leg->byte_ns = at;
}

/* A venue's list takes one message for all streams, so one silent stream is enough to ask. */
static bool any_stream_silent(kmy_leg_t *leg, int64_t now_ns)
{
    kmy_feed_ws_t *up = leg->link->up;
    bool any = false;
    for (uint32_t i = 0; i < leg->link->count; i++) {
        uint32_t s = leg->link->first + i;
        int64_t last = up->data_ns[s] > up->checked_ns[s] ? up->data_ns[s] : up->checked_ns[s];
        bool silent = now_ns - last > up->row.data_silence_ns_max;
        if (silent && leg->streams[i].state == KMY_STREAM_ACKED) {
            any = true;
            if (!up->silent[s])
                kmy_log(KMY_LOG_WARN, "feeds", "%s %s: no data from %s for %lld s; asking",
                        kmy_source_name(up->row.source), up->authority, up->names[s],
                        (long long)(up->row.data_silence_ns_max / KMY_NS_PER_S));
            up->silent[s] = true;
        } else if (up->data_ns[s] > up->checked_ns[s]) {
            up->silent[s] = false;
        }
    }
    return any;
}

/* No list to be had: the silent streams are subscribed again, which is harmless if they are. */
static void want_silent_again(kmy_leg_t *leg, int64_t now_ns)
{
    kmy_feed_ws_t *up = leg->link->up;
    for (uint32_t i = 0; i < leg->link->count; i++) {
        uint32_t s = leg->link->first + i;
        int64_t last = up->data_ns[s] > up->checked_ns[s] ? up->data_ns[s] : up->checked_ns[s];
        if (leg->streams[i].state != KMY_STREAM_ACKED ||
            now_ns - last <= up->row.data_silence_ns_max)
            continue;
        leg->streams[i].state = KMY_STREAM_WANTED;
        leg->wanted_count++;
        up->checked_ns[s] = now_ns;
    }
}

/* false: the leg was given up. */
static bool check_data(kmy_leg_t *leg, int64_t now_ns)
{
    kmy_feed_ws_t *up = leg->link->up;
    int64_t last = leg->last_data_ns > leg->up_ns ? leg->last_data_ns : leg->up_ns;
    if (now_ns - last > 2 * up->row.data_silence_ns_max) {
        kmy_leg_lost(leg, KMY_UPEV_DEAD, now_ns, "subscribed, but no data for %lld ms",
                     (long long)((now_ns - last) / KMY_NS_PER_MS));
        return false;
    }
    if (leg->list_request != 0 || leg->list_wanted || leg->wanted_count > 0 ||
        leg->asked_count > 0 || !any_stream_silent(leg, now_ns))
        return true;
    if (up->dialect->list)
        leg->list_wanted = true;
    else
        want_silent_again(leg, now_ns);
    return true;
}

static bool check_answers(kmy_leg_t *leg, int64_t now_ns)
{
    int64_t limit = leg->link->up->row.ack_ns_max;
    if (leg->asked_count > 0 && now_ns - leg->progress_ns > limit) {
        kmy_leg_lost(leg, KMY_UPEV_DEAD, now_ns, "%u streams not acknowledged within %lld ms",
                     leg->asked_count, (long long)(limit / KMY_NS_PER_MS));
        return false;
    }
    if (leg->list_request != 0 && now_ns - leg->list_ns > limit) {
        kmy_leg_lost(leg, KMY_UPEV_DEAD, now_ns, "no answer to LIST_SUBSCRIPTIONS within %lld ms",
                     (long long)(limit / KMY_NS_PER_MS));
        return false;
    }
    return true;
}

static bool check_bytes(kmy_leg_t *leg, int64_t now_ns)
{
    int64_t limit = leg->link->up->row.silence_ns_max;
    read_byte_clock(leg, now_ns);
    if (now_ns - leg->byte_ns > limit) {
        kmy_leg_lost(leg, KMY_UPEV_DEAD, now_ns, "silent for %lld ms, pings unanswered",
                     (long long)((now_ns - leg->byte_ns) / KMY_NS_PER_MS));
        return false;
    }
    if (now_ns - leg->byte_ns > limit / 2 && now_ns - leg->ping_ns > limit / 2)
        leg->ping_wanted = true;
    return true;
}

static void clock_up(kmy_leg_t *leg, int64_t now_ns)
{
    if (!check_bytes(leg, now_ns) || !check_answers(leg, now_ns))
        return;
    if (leg->state == KMY_UP_LIVE && !check_data(leg, now_ns))
        return;
    kmy_backoff_data(&leg->link->backoff, leg->first_data_ns, leg->last_data_ns);
    if (kmy_leg_has_words(leg) && now_ns >= leg->send_ns)
        lws_callback_on_writable(leg->wsi);
}

static void clock_waiting(kmy_leg_t *leg, kmy_upstream_event_t event, int64_t now_ns)
{
    if (now_ns >= leg->wake_ns && kmy_connect_budget_at(leg->link->up->budget, now_ns) <= now_ns)
        kmy_leg_event(leg, event, now_ns);
}

static void clock_leg(kmy_leg_t *leg, int64_t now_ns)
{
    switch (leg->state) {
    case KMY_UP_IDLE:
        leg->wake_ns = 0;
        if (kmy_leg_is_main(leg))
            clock_waiting(leg, KMY_UPEV_START, now_ns);
        break;
    case KMY_UP_BACKOFF:
    case KMY_UP_MISCONFIGURED:
        clock_waiting(leg, KMY_UPEV_TIMER, now_ns);
        break;
    case KMY_UP_DIALING:
        if (leg->lookup)
            kmy_dial_look(leg, now_ns);
        if (leg->state == KMY_UP_DIALING && now_ns - leg->since_ns > leg->link->up->row.dial_ns_max)
            kmy_leg_lost(leg, KMY_UPEV_DEAD, now_ns, "no connection within %lld ms",
                         (long long)(leg->link->up->row.dial_ns_max / KMY_NS_PER_MS));
        break;
    case KMY_UP_SUBSCRIBING:
    case KMY_UP_LIVE:
        clock_up(leg, now_ns);
        break;
    case KMY_UP_STATES:
        KMY_ASSERT(!"no such state");
    }
}

static bool all_handed(const kmy_leg_t *heir)
{
    for (uint32_t i = 0; i < heir->link->count; i++)
        if (heir->streams[i].seq != 0 && !heir->streams[i].handed)
            return false;
    return true;
}

/* Both were read for overlap_ns and every stream that moves is handed over; or for twice that, for the old one may be stalled and what is held must not grow
   old; or nothing moves in the heir's market for eight times that. */
static bool may_take_over(const kmy_leg_t *heir, int64_t now_ns)
{
    int64_t overlap = heir->link->up->row.overlap_ns;
    if (heir->first_data_ns == 0)
        return now_ns - heir->since_ns >= 8 * overlap;
    int64_t both = now_ns - heir->first_data_ns;
    return both >= 2 * overlap || (both >= overlap && all_handed(heir));
}

/* Make before break. */
static void clock_rollover(kmy_link_t *link, int64_t now_ns)
{
    kmy_feed_ws_t *up = link->up;
    kmy_leg_t *old = &link->legs[link->main], *heir = kmy_leg_other(old);
    if (heir->state == KMY_UP_LIVE) {
        if (!may_take_over(heir, now_ns))
            return;
        kmy_log(KMY_LOG_INFO, "feeds", "%s %s: rolled over to a new connection",
                kmy_source_name(up->row.source), up->authority);
        kmy_link_takeover(link, now_ns);
        return;
    }
    if (old->state != KMY_UP_LIVE || heir->state != KMY_UP_IDLE || up->loop->rolling)
        return;
    if (!link->roll_wanted && now_ns < old->roll_ns)
        return;
    if (kmy_connect_budget_at(up->budget, now_ns) > now_ns)
        return;
    up->loop->rolling = link;
    up->loop->held_count = 0;
    up->loop->held_lost = false;
    kmy_leg_event(heir, KMY_UPEV_START, now_ns);
}

void kmy_link_clock(kmy_link_t *link, int64_t now_ns)
{
    clock_leg(&link->legs[0], now_ns);
    clock_leg(&link->legs[1], now_ns);
    clock_rollover(link, now_ns);
}
