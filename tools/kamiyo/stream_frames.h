/* stream_frames: what `kamiyo stream` does with each frame that comes: writes it down in the book and shows it to people.  With --json the caller has
   printed it already, and nothing is shown here. */
#ifndef KMY_TOOLS_STREAM_FRAMES_H
#define KMY_TOOLS_STREAM_FRAMES_H

#include "tools/kamiyo/kamiyo.h"
#include "tools/kamiyo/stream_book.h"
#include "tools/kamiyo/wsclient.h"

/* Of our requests; answers carry them. */
enum { ID_BALANCE = 1, ID_SUBSCRIBE = 2, ID_UNSUBSCRIBE = 3, ID_FINAL = 4 };

typedef struct session {
    const cli_t *cli;
    cli_ws_t ws;
    book_t book;
    int64_t balance_nusd; /* as the server last said, less what came since; -1: not known yet */
    int64_t charge_at_poll_nusd; /* book.charge_nusd at that time */
    uint64_t charged_count;      /* of the final balance frame */
    bool have_final;
    bool subscribed;
    bool failed; /* an error frame ended it; told already */
    char error
        [512]; /* an error frame of no request: a close mostly follows, and one line tells both; "": none */
    char goaway[32];            /* the reason of the goaway frame; "": none came */
    int64_t reconnect_after_ms; /* what it said */
} session_t;

/* One frame; an error frame of no request is kept in s->error until it is known whether a close tells the same. */
void stream_frame(session_t *s, const json_t *frame);
/* No close followed the error: tells it. */
void stream_tell_error(session_t *s);

#endif
