/* tick 1/8   in: adapters/feed_io   out: adapters/feed_io   (events to actions)

   One leg is one socket's life.  Everything that can happen to it is an event of feed_state.h's table; the action the table names is done here. */
#include "adapters/feed_inner.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void want_all_streams(kmy_leg_t *leg)
{
    for (uint32_t i = 0; i < leg->link->count; i++)
        leg->streams[i] = (kmy_leg_stream_t){ .state = KMY_STREAM_WANTED };
    leg->wanted_count = leg->link->count;
    leg->asked_count = 0;
    leg->request = leg->list_request = 0;
    leg->list_wanted = leg->ping_wanted = false;
}

static void act_subscribe(kmy_leg_t *leg, int64_t now_ns)
{
    kmy_link_t *link = leg->link;
    kmy_feed_ws_t *up = link->up;
    want_all_streams(leg);
    leg->up_ns = leg->byte_ns = leg->ping_ns = leg->send_ns = now_ns;
    leg->first_data_ns = leg->last_data_ns = 0;
    leg->assembly_len = 0;
    leg->assembling = false;
    leg->malformed_run = 0;
    leg->roll_ns = now_ns + kmy_rollover_ns(up->row.lifetime_ns, kmy_loop_random(up->loop));
    link->ever_up = true;
    link->alarmed = false;
    up->connects_count++;
    KMY_COUNT(up->options.metrics, upstream_connect_total, 1);
    if (kmy_leg_is_main(leg) && link->lost) {
        link->lost = false;
        if (up->options.on_reconnected)
            up->options.on_reconnected(up->options.arg, up->row.source);
    }
    lws_callback_on_writable(leg->wsi);
}

static void act_wait(kmy_leg_t *leg, int64_t now_ns)
{
    kmy_backoff_data(&leg->link->backoff, leg->first_data_ns, leg->last_data_ns);
    kmy_io_release(leg, false);
    leg->wake_ns =
        now_ns + kmy_backoff_next_ns(&leg->link->backoff, kmy_loop_random(leg->link->up->loop));
}

void kmy_leg_event(kmy_leg_t *leg, kmy_upstream_event_t event, int64_t now_ns)
{
    kmy_upstream_step_t step = kmy_upstream_step(leg->state, event);
    if (leg->state != step.to)
        leg->since_ns = now_ns;
    leg->state = step.to;
    leg->link->up->loop->clock_ns = 0;
    switch (step.act) {
    case KMY_UPACT_NOTHING:
        break;
    case KMY_UPACT_DIAL:
        kmy_dial(leg, now_ns);
        break;
    case KMY_UPACT_SUBSCRIBE:
        act_subscribe(leg, now_ns);
        break;
    case KMY_UPACT_WAIT_HOST: /* the gate was closed by who knew how long; the clock asks it before it dials */
    case KMY_UPACT_WAIT:
        act_wait(leg, now_ns);
        break;
    case KMY_UPACT_ALARM:
        kmy_io_release(leg, false);
        leg->wake_ns = now_ns + KMY_MISCONFIGURED_NS;
        break;
    case KMY_UPACT_CLOSE:
        kmy_io_release(leg, true);
        break;
    case KMY_UPACT_ABORT:
    case KMY_UPACT_COUNT:
        KMY_ASSERT(!"no such action");
    }
}

/* After the leg let go of its socket: is there somebody to go on? */
static void after_loss(kmy_leg_t *leg, int64_t now_ns)
{
    kmy_link_t *link = leg->link;
    kmy_leg_t *other = kmy_leg_other(leg);
    if (!kmy_leg_is_main(leg))
        return; /* the replacement failed; it backs off and tries again while the old one lives */
    if (other->state == KMY_UP_DIALING || kmy_leg_is_up(other)) {
        kmy_link_takeover(link, now_ns);
        return;
    }
    link->lost = link->ever_up;
    if (other->state != KMY_UP_IDLE)
        kmy_leg_event(other, KMY_UPEV_STOP, now_ns);
    link->roll_wanted = false;
    if (link->up->loop->rolling == link)
        link->up->loop->rolling = NULL;
}

static kmy_log_level_t level_of(const kmy_leg_t *leg, kmy_upstream_event_t event)
{
    if (event == KMY_UPEV_REFUSED)
        return leg->link->alarmed ? KMY_LOG_DEBUG : KMY_LOG_ERROR; /* once */
    return KMY_LOG_WARN;
}

void kmy_leg_lost(kmy_leg_t *leg, kmy_upstream_event_t event, int64_t now_ns, const char *fmt, ...)
{
    kmy_feed_ws_t *up = leg->link->up;
    char text[sizeof up->last_error], safe[KMY_LOG_TEXT_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    kmy_log_text(text, strlen(text), safe);
    snprintf(up->last_error, sizeof up->last_error, "%.*s", (int)sizeof up->last_error - 1, safe);
    kmy_log(level_of(leg, event), "feeds", "%s %s, %s: %s", kmy_source_name(up->row.source),
            up->authority, kmy_upstream_state_name(leg->state), safe);
    if (event == KMY_UPEV_REFUSED) {
        leg->link->alarmed = true;
        KMY_COUNT(up->options.metrics, upstream_auth_refused_total, 1);
    }
    if (event == KMY_UPEV_LIMITED)
        KMY_COUNT(up->options.metrics, upstream_rate_limited_total, 1);
    if (kmy_leg_is_up(leg))
        KMY_COUNT(up->options.metrics, upstream_disconnect_total, 1);
    kmy_leg_event(leg, event, now_ns);
    after_loss(leg, now_ns);
}

void kmy_leg_limited(kmy_leg_t *leg, int64_t wait_ns, int64_t now_ns, const char *why)
{
    kmy_connect_budget_close(leg->link->up->budget, now_ns + wait_ns);
    kmy_leg_lost(leg, KMY_UPEV_LIMITED, now_ns, "%s; no connection to this host for %lld s", why,
                 (long long)(wait_ns / KMY_NS_PER_S));
}

/* ---- requests ---- */

bool kmy_leg_has_words(const kmy_leg_t *leg)
{
    return kmy_leg_is_up(leg) && (leg->ping_wanted || leg->list_wanted || leg->wanted_count > 0);
}

/* Marks up to batch_max wanted streams as asked by `request`, and gives their names. */
static size_t take_batch(kmy_leg_t *leg, uint32_t request, const char **names)
{
    const kmy_link_t *link = leg->link;
    size_t n = 0;
    for (uint32_t i = 0; i < link->count && n < link->up->row.batch_max; i++) {
        if (leg->streams[i].state != KMY_STREAM_WANTED)
            continue;
        leg->streams[i].request = request;
        leg->streams[i].state = KMY_STREAM_ASKED;
        names[n++] = link->up->names[link->first + i];
    }
    leg->wanted_count -= (uint32_t)n;
    leg->asked_count += (uint32_t)n;
    return n;
}

static size_t write_request(kmy_leg_t *leg, char *out, size_t cap, int64_t now_ns)
{
    const kmy_dialect_t *dialect = leg->link->up->dialect;
    if (leg->list_wanted) {
        leg->list_wanted = false;
        leg->list_request = ++leg->request;
        leg->list_ns = now_ns;
        return dialect->list(out, cap, leg->list_request);
    }
    const char *names[KMY_SOURCE_BATCH_MAX];
    size_t n = take_batch(leg, ++leg->request, names);
    leg->progress_ns = now_ns;
    return dialect->subscribe(out, cap, names, n, leg->request);
}

bool kmy_leg_send(kmy_leg_t *leg, int64_t now_ns)
{
    kmy_feed_ws_t *up = leg->link->up;
    unsigned char *out = (unsigned char *)up->loop->request + LWS_PRE;
    if (!kmy_leg_has_words(leg) || now_ns < leg->send_ns)
        return true;
    leg->send_ns = now_ns + up->row.send_gap_ns;
    if (leg->ping_wanted) {
        leg->ping_wanted = false;
        leg->ping_ns = now_ns;
        return lws_write(leg->wsi, out, 0, LWS_WRITE_PING) >= 0;
    }
    size_t n = write_request(leg, (char *)out, sizeof up->loop->request - LWS_PRE, now_ns);
    KMY_ASSERT(n > 0); /* the buffer holds batch_max of the longest names */
    return lws_write(leg->wsi, out, n, LWS_WRITE_TEXT) >= (int)n;
}

/* ---- answers ---- */

/* The request an answer belongs to: its id, or the oldest open one; 0: none of ours. */
static uint32_t request_of(const kmy_leg_t *leg, int64_t id)
{
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < leg->link->count; i++) {
        const kmy_leg_stream_t *s = &leg->streams[i];
        if (s->state != KMY_STREAM_ASKED)
            continue;
        if (leg->link->up->dialect->acks_have_ids ? (int64_t)s->request == id
                                                  : oldest == 0 || s->request < oldest)
            oldest = s->request;
    }
    return oldest;
}

static void acknowledge(kmy_leg_t *leg, uint32_t request, int64_t now_ns)
{
    kmy_feed_ws_t *up = leg->link->up;
    for (uint32_t i = 0; i < leg->link->count; i++) {
        kmy_leg_stream_t *s = &leg->streams[i];
        if (s->state != KMY_STREAM_ASKED || s->request != request)
            continue;
        s->state = KMY_STREAM_ACKED;
        up->checked_ns[leg->link->first + i] = now_ns;
        leg->asked_count--;
    }
    leg->progress_ns = now_ns;
    if (leg->asked_count > 0 || leg->wanted_count > 0)
        return;
    if (leg->state == KMY_UP_SUBSCRIBING)
        kmy_log(KMY_LOG_INFO, "feeds", "%s %s: %u streams subscribed",
                kmy_source_name(up->row.source), up->authority, leg->link->count);
    kmy_leg_event(leg, KMY_UPEV_ACKED, now_ns);
}

/* The venue's own list: what it lacks is asked for again, before anybody thinks of a new connection. */
static void compare_list(kmy_leg_t *leg, const kmy_control_t *c, int64_t now_ns)
{
    kmy_link_t *link = leg->link;
    const char *name;
    size_t at = 0, len;
    leg->list_request = 0;
    for (uint32_t i = 0; i < link->count; i++)
        if (leg->streams[i].state == KMY_STREAM_ACKED) {
            leg->streams[i].state = KMY_STREAM_WANTED;
            leg->wanted_count++;
        }
    uint32_t hint = 0; /* venues keep our order, so that the next name is the next stream */
    while (kmy_dialect_next_name(c->text, c->text_len, &at, &name, &len))
        for (uint32_t n = 0; n < link->count; n++) {
            uint32_t i = (hint + n) % link->count;
            const char *ours = link->up->names[link->first + i];
            if (leg->streams[i].state != KMY_STREAM_WANTED || strncmp(ours, name, len) != 0 ||
                ours[len] != '\0')
                continue;
            leg->streams[i].state = KMY_STREAM_ACKED;
            link->up->checked_ns[link->first + i] = now_ns;
            leg->wanted_count--;
            hint = i + 1;
            break;
        }
    if (leg->wanted_count > 0)
        kmy_log(KMY_LOG_WARN, "feeds",
                "%s %s: %u of %u streams are gone from the venue's list; subscribing again",
                kmy_source_name(link->up->row.source), link->up->authority, leg->wanted_count,
                link->count);
}

static void refused(kmy_leg_t *leg, const kmy_control_t *c, int64_t now_ns)
{
    char safe[KMY_LOG_TEXT_BYTES];
    kmy_log_text(c->text ? c->text : "", c->text ? c->text_len : 0, safe);
    bool ours = request_of(leg, c->id) != 0 || (c->id < 0 && leg->asked_count > 0);
    if (ours)
        kmy_leg_lost(leg, KMY_UPEV_DEAD, now_ns, "subscribing was refused: %.120s", safe);
    else
        kmy_log(KMY_LOG_WARN, "feeds", "%s %s says: %s", kmy_source_name(leg->link->up->row.source),
                leg->link->up->authority, safe);
}

void kmy_leg_control(kmy_leg_t *leg, const kmy_control_t *c, int64_t now_ns)
{
    uint32_t request;
    switch (c->kind) {
    case KMY_CONTROL_ACK:
        if ((request = request_of(leg, c->id)) != 0)
            acknowledge(leg, request, now_ns);
        break;
    case KMY_CONTROL_LIST:
        if (leg->list_request != 0 && c->id == (int64_t)leg->list_request && c->text != NULL)
            compare_list(leg, c, now_ns);
        break;
    case KMY_CONTROL_ERROR:
        refused(leg, c, now_ns);
        break;
    case KMY_CONTROL_RATE_LIMITED:
        kmy_leg_limited(leg, leg->link->up->row.limited_ns, now_ns, "rate limit exceeded");
        break;
    case KMY_CONTROL_LIFETIME:
    case KMY_CONTROL_SHUTDOWN:
        if (kmy_leg_is_main(leg))
            leg->link->roll_wanted = true;
        leg->link->up->loop->clock_ns = 0;
        break;
    }
}
