/* metrics: one table of counters; the Prometheus name follows from the row.

   Each thread owns one kmy_metrics_t and is its only writer (relaxed stores, no read-modify-write
   across threads); the page adds them up.  No label value ever comes from a customer. */
#ifndef KMY_BASE_METRICS_H
#define KMY_BASE_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* name (prefixed kamiyo_ on the page), type, help */
#define KMY_METRICS_TABLE(X)                                                                       \
    X(tick_published_total, counter, "ticks written to the ring")                                  \
    X(upstream_frame_total, counter, "whole frames read from upstream sockets")                    \
    X(upstream_byte_total, counter, "payload bytes read from upstream sockets")                    \
    X(upstream_connect_total, counter, "upstream connections that came up")                        \
    X(upstream_disconnect_total, counter, "upstream connections that ended")                       \
    X(upstream_drop_malformed_total, counter, "upstream frames refused by a parser")               \
    X(upstream_drop_unknown_total, counter, "upstream updates for a key nobody asked for")         \
    X(upstream_drop_duplicate_total, counter, "upstream updates seen before")                      \
    X(upstream_drop_old_total, counter, "upstream updates older than the last one of their feed")  \
    X(upstream_drop_range_total, counter,                                                          \
      "upstream updates whose numbers do not fit or make no sense")                                \
    X(upstream_drop_oversize_total, counter, "upstream frames above the size limit")               \
    X(upstream_control_total, counter, "acks, errors and other control frames from upstream")      \
    X(upstream_auth_refused_total, counter, "401 or 403 from an upstream: a configuration alarm")  \
    X(upstream_rate_limited_total, counter, "429 or 418 from an upstream")                         \
    X(snapshot_tick_total, counter, "ticks written to the snapshot store")                         \
    X(snapshot_lost_total, counter, "ticks the snapshot writer was lapped by")                     \
    X(snapshot_flush_total, counter, "snapshot transactions")                                      \
    X(history_ask_total, counter, "asks of shards for ticks older than their logs")                \
    X(history_row_total, counter, "rows of history looked at for them")                            \
    X(history_tick_total, counter, "ticks found for them")                                         \
    X(shard_tick_total, counter, "ticks seen by shards")                                           \
    X(shard_lost_total, counter, "ticks a shard was lapped by")                                    \
    X(delivered_tick_total, counter, "tick frames handed to sockets")                              \
    X(repeated_tick_total, counter, "of them repeated free of charge to a session that went on")   \
    X(session_taken_total, counter,                                                                \
      "open sessions ended because another connection went on with them")                          \
    X(delivered_byte_total, counter, "bytes handed to sockets")                                    \
    X(conflated_tick_total, counter, "ticks skipped for slow readers, never charged")              \
    X(send_total, counter, "send operations submitted")                                            \
    X(send_short_total, counter, "sends that a full socket cut short or refused")                  \
    X(consumed_nusd_total, counter, "nano-USD consumed by delivered ticks and queries")            \
    X(connection_open, gauge, "connections open now")                                              \
    X(connection_accept_total, counter, "connections accepted")                                    \
    X(connection_slow_total, counter, "connections cut for not reading")                           \
    X(connection_refused_total, counter, "connections refused by a limit")                         \
    X(connection_evicted_total, counter,                                                           \
      "connections without a token closed to make room for newer ones")                            \
    X(limit_address_total, counter,                                                                \
      "requests and streams refused: too many without a valid token from their address")           \
    X(limit_account_total, counter, "requests refused: too many unpaid ones of their account")     \
    X(limit_message_total, counter, "streams closed: too many messages, or too much before auth")  \
    X(request_timeout_total, counter, "requests and messages that did not become whole in time")   \
    X(subscription_open, gauge, "feed subscriptions open now")                                     \
    X(http_request_total, counter, "HTTP requests answered")                                       \
    X(http_error_total, counter, "HTTP requests answered with 4xx or 5xx")                         \
    X(ws_session_total, counter, "WebSocket handshakes accepted")                                  \
    X(sse_session_total, counter, "streams of server-sent events begun")                           \
    X(ws_message_total, counter, "client WebSocket messages")                                      \
    X(protocol_error_total, counter,                                                               \
      "connections cut for breaking HTTP, WebSocket or the stream protocol")                       \
    X(auth_refused_total, counter, "tokens refused")                                               \
    X(ledger_commit_total, counter, "durable ledger transactions")                                 \
    X(ledger_refused_total, counter, "ledger transactions that the disk refused")                  \
    X(ledger_entry_total, counter, "ledger entries written")                                       \
    X(ledger_credited_nusd_total, counter, "nano-USD credited since start")                        \
    X(lease_open_nusd, gauge, "nano-USD leased to shards now")                                     \
    X(receipt_total, counter, "receipts issued to streams")                                        \
    X(ledger_debt_nusd, gauge,                                                                     \
      "nano-USD that payments left unpaid: taken back by a chain, or advanced and failed")         \
    X(slip_refused_total, counter,                                                                 \
      "requests with a payment refused because too many were under way on their shard")            \
    X(payment_open, gauge, "payments the cashier has under way now")                               \
    X(payment_check_total, counter, "payments presented and checked")                              \
    X(payment_refused_total, counter, "payments, transfers and sign-ins refused")                  \
    X(payment_settled_total, counter, "payments settled and credited")                             \
    X(payment_failed_total, counter, "payments that could not be settled")                         \
    X(payment_reversed_total, counter, "settled payments that a chain took back")                  \
    X(payment_advanced_nusd_total, counter, "nano-USD credited before payments were settled")      \
    X(transfer_credited_total, counter, "transfers credited that were made without us")            \
    X(signin_total, counter, "sign-ins accepted")                                                  \
    X(facilitator_request_total, counter, "requests to the facilitator")                           \
    X(facilitator_failure_total, counter, "of them without an answer that says something")         \
    X(settler_sent_total, counter, "transactions of our own account handed to nodes")              \
    X(settler_resent_total, counter, "of them sent again because they were in no block")           \
    X(settler_refused_total, counter,                                                              \
      "payments that were not sent: they would fail, or we cannot")                                \
    X(settler_under_way, gauge, "transactions of our own account in no block yet")                 \
    X(settler_closed, gauge, "networks on which our own account cannot settle payments now")       \
    X(settler_payments_left, gauge, "payments that its emptiest account can pay gas for")          \
    X(chain_request_total, counter, "questions to chains")                                         \
    X(chain_failure_total, counter, "of them without an answer that says something")               \
    X(stake_request_total, counter, "questions to Solana about stakes")                            \
    X(stake_failure_total, counter, "of them without an answer that says something")

enum {
#define KMY_METRIC_ENUM(name, type, help) KMY_METRIC_##name,
    KMY_METRICS_TABLE(KMY_METRIC_ENUM)
#undef KMY_METRIC_ENUM
        KMY_METRIC_COUNT
};

typedef struct kmy_metrics {
    _Alignas(64) _Atomic int64_t value[KMY_METRIC_COUNT];
} kmy_metrics_t;

/* Owner thread only. */
static inline void kmy_metric_add(kmy_metrics_t *m, int idx, int64_t n)
{
    int64_t v = atomic_load_explicit(&m->value[idx], memory_order_relaxed);
    atomic_store_explicit(&m->value[idx], v + n, memory_order_relaxed);
}
static inline void kmy_metric_set(kmy_metrics_t *m, int idx, int64_t v)
{
    atomic_store_explicit(&m->value[idx], v, memory_order_relaxed);
}
#define KMY_COUNT(m, name, n) kmy_metric_add((m), KMY_METRIC_##name, (int64_t)(n))
#define KMY_GAUGE(m, name, v) kmy_metric_set((m), KMY_METRIC_##name, (int64_t)(v))

/* Any thread.  kmy_metrics_text sums `count` threads' tables and writes Prometheus text exposition
   0.0.4 into out; returns the bytes it needs, so a result above `cap` means nothing useful was
   written: come back with more room. */
int64_t kmy_metrics_sum(kmy_metrics_t *const *threads, size_t count, int idx);
size_t kmy_metrics_text(kmy_metrics_t *const *threads, size_t count, char *out, size_t cap);

#endif
