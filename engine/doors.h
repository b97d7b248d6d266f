/* doors: listening sockets. */
#ifndef KMY_ENGINE_DOORS_H
#define KMY_ENGINE_DOORS_H

#include "base/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#define KMY_DOOR_TEXT_BYTES 64

typedef struct kmy_door {
    struct sockaddr_storage addr;
    socklen_t addr_len;
} kmy_door_t;

/* "127.0.0.1:8402", "[::1]:8402", "0.0.0.0:0"; an address, not a name. */
kmy_err_t kmy_door_parse(const char *text, kmy_door_t *door, kmy_errctx_t *ctx);
/* KMY_IO if somebody else listens there.  Call it before the first kmy_door_listen of a shared door. */
kmy_err_t kmy_door_probe(const kmy_door_t *door, kmy_errctx_t *ctx);
/* One listening socket; shared: others bind the same port (SO_REUSEPORT).  With port 0 *door is filled with the port it got, so that the next one
   binds that.  *fd is the caller's. */
kmy_err_t kmy_door_listen(kmy_door_t *door, bool shared, int *fd, kmy_errctx_t *ctx);
void kmy_door_text(const kmy_door_t *door, char out[KMY_DOOR_TEXT_BYTES]);

#endif
