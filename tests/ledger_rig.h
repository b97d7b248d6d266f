/* What the ledger's tests share: a folder of their own, seeded randomness, and a ledger that must be clean. */
#ifndef KMY_TESTS_LEDGER_RIG_H
#define KMY_TESTS_LEDGER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pay/ledger.h"

#define USD INT64_C(1000000000)
#define NOW INT64_C(1795000000000000000)

typedef struct rig {
    char path[96];
    kmy_ledger_t *ledger; /* NULL: closed */
    kmy_ledger_recovery_t recovery;
    kmy_errctx_t ctx;
} rig_t;

/* xorshift64*: the same numbers on each machine, for ever. */
static inline uint64_t rig_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}
static inline uint64_t rig_seed(uint64_t n)
{
    uint64_t state = n * UINT64_C(0x9e3779b97f4a7c15) + 1;
    rig_random(&state);
    return state;
}

/* in_memory: where what is tested is not the disk, a tmpfs saves the waiting for it. */
static inline void rig_make(rig_t *r, int in_memory)
{
    memset(r, 0, sizeof *r);
    const char *base = in_memory && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(r->path, sizeof r->path, "%s/kamiyo-ledger-XXXXXX", base);
    assert_non_null(mkdtemp(r->path));
}

static inline void rig_open(rig_t *r)
{
    kmy_err_t err = kmy_ledger_open(&r->ledger, r->path, &r->recovery, &r->ctx);
    if (err != KMY_OK)
        print_error("open: %s\n", r->ctx.detail);
    assert_int_equal(err, KMY_OK);
}

static inline void rig_close(rig_t *r)
{
    kmy_ledger_close(r->ledger);
    r->ledger = NULL;
}

static inline void rig_remove(rig_t *r)
{
    static const char *const files[] = { "data.mdb", "lock.mdb", "owner.lock" };
    char file[160];
    rig_close(r);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(file, sizeof file, "%s/%s", r->path, files[i]);
        unlink(file);
    }
    assert_int_equal(rmdir(r->path), 0);
}

static inline kmy_ledger_audit_t rig_audit(rig_t *r)
{
    kmy_ledger_audit_t audit;
    kmy_err_t err = r->ledger ? kmy_ledger_audit(r->ledger, &audit, &r->ctx)
                              : kmy_ledger_audit_path(r->path, &audit, &r->ctx);
    if (err != KMY_OK)
        print_error("audit: %s\n", r->ctx.detail);
    assert_int_equal(err, KMY_OK);
    return audit;
}

static inline void rig_assert_clean(rig_t *r)
{
    kmy_ledger_audit_t audit = rig_audit(r);
    if (audit.faults_count)
        print_error("audit: %s\n", audit.first_fault);
    assert_int_equal(audit.faults_count, 0);
    assert_int_equal(audit.credited_nusd + audit.debt_nusd,
                     audit.balance_nusd + audit.leased_nusd + audit.consumed_nusd);
}

static inline void rig_begin(rig_t *r)
{
    assert_int_equal(kmy_ledger_begin(r->ledger, &r->ctx), KMY_OK);
}
static inline void rig_commit(rig_t *r)
{
    assert_int_equal(kmy_ledger_commit(r->ledger, &r->ctx), KMY_OK);
}

/* A ledger with one account that has so much; in a batch of its own. */
static inline uint64_t rig_account(rig_t *r, const char *name, int64_t credit_nusd)
{
    kmy_account_t account;
    char ref[KMY_ACCOUNT_BYTES_MAX + 8];
    snprintf(ref, sizeof ref, "first-%s", name);
    rig_begin(r);
    assert_int_equal(kmy_ledger_account_make(r->ledger, name, NOW, &account, &r->ctx), KMY_OK);
    if (credit_nusd > 0)
        assert_int_equal(kmy_ledger_credit(r->ledger, account.id, "grant", ref, credit_nusd, NOW,
                                           &account, &r->ctx),
                         KMY_OK);
    rig_commit(r);
    return account.id;
}

#endif
