/* config_diff: what differs between two configurations, key by key, and which of it can be taken over while the daemon runs. */
#ifndef KMY_ENGINE_CONFIG_DIFF_H
#define KMY_ENGINE_CONFIG_DIFF_H

#include "engine/config.h"

/* was, is: as they would stand in the file; of an address only "(changed)", for there may be a key in it. `live`: kmy_config_take_live takes it over;
   else it needs a restart. */
typedef void kmy_config_diff_visit_t(void *arg, const char *path, const char *was, const char *is,
                                     bool live);
/* Calls visit for each key that differs, in the order of the table; lists of records count as one.  Returns how many. */
size_t kmy_config_diff(const kmy_config_t *was, const kmy_config_t *is,
                       kmy_config_diff_visit_t *visit, void *arg);

/* Copies the values of all live keys; they are plain numbers and words, so nothing of `from` is borrowed. */
void kmy_config_take_live(kmy_config_t *to, const kmy_config_t *from);

#endif
