/* stream_frame: how every frame of ours begins and ends, and the one that says no.  By WebSocket or as an event, as the connection is.  Shard thread. */
#ifndef KMY_ENGINE_STREAM_FRAME_H
#define KMY_ENGINE_STREAM_FRAME_H

#include "engine/shard_types.h"

/* A client's request id: a number or a string, echoed as it was sent. */
typedef struct kmy_request_id {
    char text[KMY_ID_BYTES_MAX + 2];
    size_t len; /* 0: none was sent */
} kmy_request_id_t;

/* {"type":...,"id":... in the shard's scratch; id may be NULL.  One frame at a time. */
kmy_buf_t kmy_frame_begin(kmy_shard_t *s, const char *type, const kmy_request_id_t *id);
/* ,"key":"0.000000000" */
void kmy_frame_nusd(kmy_buf_t *b, const char *key, int64_t nusd);
/* ,"key":"text", escaped */
void kmy_frame_text(kmy_buf_t *b, const char *key, const char *text);
/* Closes and queues it.  false: the connection was shut down, do not touch it further. */
bool kmy_frame_send(kmy_shard_t *s, kmy_conn_t *c, kmy_buf_t *b);

/* Is it worth another try? */
bool kmy_frame_retries(kmy_err_t err);
/* An `error` up to its fixed members: more may follow. */
kmy_buf_t kmy_frame_begin_error(kmy_shard_t *s, const kmy_request_id_t *id, const char *code,
                                const char *message, bool retry);
/* The whole one.  false as above. */
bool kmy_frame_error(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id, kmy_err_t err,
                     const char *message);
/* With retry_after_ms, if that is above 0. */
bool kmy_frame_error_later(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id, kmy_err_t err,
                           const char *message, int64_t retry_after_ms);

#endif
