/* check: the conformance doors.  Each reads its input from stdin and judges it with the code that serves users; none needs a daemon.  A verb
   exits 0 when all its input was judged, whatever the verdicts (`check json` alone answers by its exit code). */
#ifndef KMY_TOOLS_KAMIYO_CHECK_H
#define KMY_TOOLS_KAMIYO_CHECK_H

#include "tools/kamiyo/kamiyo.h"

#define CHECK_LINE_BYTES_MAX                                                                       \
    (512 << 10) /* of one line; a Pyth update of 255 feeds is 113 KiB of base64 */

/* The next line of stdin without its end; false at the end of the input.  A line that is too long is read away and given as *len = SIZE_MAX.  The line
   is good until the next call, and may be written to. */
bool check_line(char **line, size_t *len);
/* A verdict that its reader wants at once when it is a program. */
void check_say(const char *text);

int check_sig(const cli_t *cli);
int check_pyth(const cli_t *cli);
int check_payment(const cli_t *cli);

#endif
