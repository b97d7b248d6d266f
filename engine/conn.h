/* conn: one client connection: its life, its input, its deadlines.  Owned by its shard. */
#ifndef KMY_ENGINE_CONN_H
#define KMY_ENGINE_CONN_H

#include "engine/shard_types.h"

/* Takes over an accepted socket; refuses it (and closes) above the limits. */
void kmy_conn_open(kmy_shard_t *s, int fd, uint8_t door, const struct sockaddr_storage *peer);
/* Bytes from the socket; n <= 0: it ended (0 or -errno).  `more`: the multishot receive goes on. */
void kmy_conn_received(kmy_shard_t *s, kmy_conn_t *c, uint8_t *data, int n, bool more);
/* The answer it was parked for has come: its input is looked at again. */
void kmy_conn_resume(kmy_shard_t *s, kmy_conn_t *c);
/* Everything queued has gone out: a connection that wanted to close now does. */
void kmy_conn_drained(kmy_shard_t *s, kmy_conn_t *c);
/* Ends it at once: nothing more is sent (RST if bytes were waiting). */
void kmy_conn_kill(kmy_shard_t *s, kmy_conn_t *c);
/* Ends it after what is queued: HTTP half-closes and waits for the peer, at most two seconds. */
void kmy_conn_linger(kmy_shard_t *s, kmy_conn_t *c);
/* Sends a WebSocket close frame and lingers. */
void kmy_conn_ws_close(kmy_shard_t *s, kmy_conn_t *c, uint16_t code, const char *reason);
void kmy_conn_poll_out(kmy_shard_t *s, kmy_conn_t *c);
/* The ring has a final completion for it: frees the slot once none is outstanding. */
void kmy_conn_release(kmy_shard_t *s, kmy_conn_t *c);
/* Looks at a slice of all connections: deadlines, stalls, expired tokens, heartbeats. */
void kmy_conn_scan(kmy_shard_t *s, uint32_t count);

/* It has shown a valid token: it is no stranger any more, and is not ended to make room for others. */
void kmy_conn_prove(kmy_shard_t *s, kmy_conn_t *c);
/* The upgrade to WebSocket was answered: input is frames from now on. */
void kmy_conn_become_ws(kmy_shard_t *s, kmy_conn_t *c, bool echo);
/* The head of a stream of server-sent events was answered: the body follows, further input is dropped. */
void kmy_conn_become_sse(kmy_conn_t *c);
/* Ends that body, whole, and lingers. */
void kmy_conn_sse_end(kmy_shard_t *s, kmy_conn_t *c);
/* Parks it until kmy_conn_resume (operator's answer; for accounts see account.h). */
void kmy_conn_park(kmy_conn_t *c);

#endif
