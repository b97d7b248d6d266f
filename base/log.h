/* log: one event, one line on stderr: time, level, thread's name, message.

   Foreign bytes (names, headers, upstream text) go through kmy_log_text, which escapes everything
   that is not printable ASCII and cuts the length, so that nobody writes our log lines for us.
   Secrets are never passed at all. Thread: any.  Blocks as write(2) to stderr does; never called on
   a tick's way. */
#ifndef KMY_BASE_LOG_H
#define KMY_BASE_LOG_H

#include <stddef.h>

typedef enum { KMY_LOG_DEBUG, KMY_LOG_INFO, KMY_LOG_WARN, KMY_LOG_ERROR } kmy_log_level_t;

void kmy_log_set_level(kmy_log_level_t least); /* default KMY_LOG_INFO */

__attribute__((format(printf, 3, 4))) void kmy_log(kmy_log_level_t level, const char *part,
                                                   const char *fmt, ...);

#define KMY_LOG_TEXT_BYTES 256
/* kmy_log_text copies at most about 200 bytes of text into out, escaped as \xNN, terminated;
 * returns out. */
const char *kmy_log_text(const void *text, size_t len, char out[KMY_LOG_TEXT_BYTES]);

#endif
