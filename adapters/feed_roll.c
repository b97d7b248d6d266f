/* tick 1/8   in: adapters/feed_io   out: adapters/feed_io   (a rollover: which leg delivers what)

   A rollover hands over stream by stream.  If both legs simply delivered, an heir that is quicker by 5 ms would make what is on its way on the old leg "older
   than the last one": dropped, a hole.  So the old leg delivers a stream until it has brought what the heir has brought; from then on the heir does, and what
   both bring is dropped by its number.  What the heir brings before is held, and delivered if the old leg goes without having brought it. */
#include "adapters/feed_inner.h"

#include "base/clock.h"

#include <string.h>

static bool hold(kmy_leg_t *leg, uint32_t i, const kmy_quote_t *q)
{
    kmy_feed_ws_loop_t *loop = leg->link->up->loop;
    if (loop->held_count == KMY_HELD_MAX || q->key_len > sizeof loop->held->key)
        return false;
    kmy_held_t *h = &loop->held[loop->held_count++];
    h->quote = *q;
    memcpy(h->key, q->key, q->key_len);
    h->quote.key = h->key;
    h->recv_ns = leg->recv_ns;
    h->mono_ns = leg->mono_ns;
    h->i = i;
    return true;
}

bool kmy_link_turn_of(kmy_leg_t *leg, uint32_t i, const kmy_quote_t *q)
{
    kmy_link_t *link = leg->link;
    kmy_leg_t *other = kmy_leg_other(leg);
    uint64_t seq = q->source_seq;
    if (!kmy_leg_is_up(other))
        return true;
    if (kmy_leg_is_main(leg)) {
        if (other->streams[i].handed)
            return false;
        other->streams[i].handed = other->streams[i].seq != 0 && seq >= other->streams[i].seq;
        return true;
    }
    leg->streams[i].handed |= other->streams[i].seq >= seq; /* also what has no number: 0 >= 0 */
    if (leg->streams[i].handed || hold(leg, i, q))
        return leg->streams[i].handed;
    if (leg->state != KMY_UP_LIVE) {
        link->up->loop->held_lost = true;
        return false;
    }
    kmy_link_takeover(link, kmy_mono_ns());
    return true;
}

/* What the old leg has not brought, in the order in which the heir did. */
static void deliver_held(const kmy_link_t *link, const kmy_leg_t *old, const kmy_leg_t *heir)
{
    kmy_feed_ws_t *up = link->up;
    for (uint32_t n = 0; n < up->loop->held_count; n++) {
        const kmy_held_t *h = &up->loop->held[n];
        if (!heir->streams[h->i].handed && h->quote.source_seq > old->streams[h->i].seq)
            up->options.on_quote(up->options.arg, &h->quote, h->recv_ns, h->mono_ns);
    }
    up->loop->held_count = 0;
}

void kmy_link_takeover(kmy_link_t *link, int64_t now_ns)
{
    kmy_leg_t *old = &link->legs[link->main];
    kmy_leg_t *heir = kmy_leg_other(old);
    kmy_feed_ws_t *up = link->up;
    bool seamless = heir->state == KMY_UP_LIVE && !up->loop->held_lost;
    if (kmy_leg_is_up(old))
        KMY_COUNT(up->options.metrics, upstream_disconnect_total, 1);
    link->main = (uint8_t)(heir - link->legs);
    link->roll_wanted = false;
    if (up->loop->rolling == link)
        up->loop->rolling = NULL;
    kmy_leg_event(old, KMY_UPEV_STOP, now_ns);
    if (!seamless) {
        link->lost = !kmy_leg_is_up(heir);
        if (!link->lost && up->options.on_reconnected)
            up->options.on_reconnected(up->options.arg, up->row.source);
    }
    deliver_held(link, old, heir);
}
