#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static atomic_int level_min = KMY_LOG_INFO;

void kmy_log_set_level(kmy_log_level_t least)
{
    atomic_store(&level_min, (int)least);
}

void kmy_log(kmy_log_level_t level, const char *part, const char *fmt, ...)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    if ((int)level < atomic_load(&level_min))
        return;
    char line[1024];
    int64_t now_ns = kmy_wall_ns();
    time_t s = (time_t)(now_ns / KMY_NS_PER_S);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n,
                          ".%06dZ %-5s %s: ", (int)(now_ns % KMY_NS_PER_S / 1000), names[level],
                          part);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    va_end(ap);
    if (m > 0)
        n += (size_t)m < sizeof line - n - 1 ? (size_t)m : sizeof line - n - 2;
    for (size_t i = 0; i < n; i++) { /* one event is one line whatever the arguments held */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    }
    line[n++] = '\n';
    ssize_t w = write(STDERR_FILENO, line, n); /* one write: lines of several threads do not mix */
    (void)w;
}

const char *kmy_log_text(const void *text, size_t len, char out[KMY_LOG_TEXT_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *in = text;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (n + 8 > KMY_LOG_TEXT_BYTES) {
            out[n++] = '.';
            out[n++] = '.';
            out[n++] = '.';
            break;
        }
        if (in[i] >= 0x20 && in[i] < 0x7f && in[i] != '\\') {
            out[n++] = (char)in[i];
        } else {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[in[i] >> 4];
            out[n++] = hex[in[i] & 15];
        }
    }
    out[n] = 0;
    return out;
}
