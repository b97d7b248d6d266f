/* dollar 4/7   in: the disk   out: another disk */
#include "pay/ledger_backup.h"

#include "store/kv.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static void remove_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path)
        unlink(path);
}

kmy_err_t kmy_ledger_backup(const char *from, const char *to, kmy_ledger_audit_t *audit,
                            kmy_errctx_t *ctx)
{
    /* The address space of the ledger itself: it may grow under the copy's eyes. */
    const kmy_kv_options_t options = { .sync = KMY_KV_DURABLE,
                                       .map_bytes = KMY_LEDGER_MAP_BYTES,
                                       .read_only = true };
    kmy_kv_t kv;
    kmy_err_t err = kmy_kv_open(&kv, from, &options, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_kv_copy(&kv, to, ctx);
    kmy_kv_close(&kv);
    if (err != KMY_OK)
        return err;
    err = kmy_ledger_audit_path(to, audit, ctx);
    if (err == KMY_OK && audit->faults_count > 0)
        err = KMY_FAIL(ctx, KMY_CORRUPT, "%llu faults in the copy; the first: %.150s",
                       (unsigned long long)audit->faults_count, audit->first_fault);
    remove_file(to, "lock.mdb"); /* the audit's: whoever opens the copy makes his own */
    if (err != KMY_OK) {
        remove_file(to, "data.mdb");
        rmdir(to);
    }
    return err;
}
