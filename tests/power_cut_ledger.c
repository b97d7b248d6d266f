/* Drives a ledger so that its disk can be recorded (power_cut_shim.c), and judges the disks that a power cut may leave (power_cut.py).

   power_cut_ledger drive DIR ACKS SEED BATCHES   random calls in batches on a new ledger; after each commit that returned, what it brought
                                                  is written to ACKS, a line a fact, and last the hash of all that the ledger then holds
   power_cut_ledger recover DIR ACKS              opens and closes it: what is on the way when a recovery is cut
   power_cut_ledger check                         lines "DIR ACKS HASH.." on standard input; for each "ok", or what is wrong with that disk */
#include "tests/ledger_payment_rig.h"

#include "pay/ledger_receipt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>

enum { ACCOUNTS = 5, PAYERS = 3, PAYMENTS = 24, TXS = 12, SHARDS = 3, FACT_BYTES = 160 };
#define HOUR (INT64_C(3600) * 1000000000)

/* --- what the ledger holds, as one number ----------------------------------------------------------- */

static uint64_t mix(uint64_t h, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < len; i++)
        h = (h ^ at[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return (h ^ len) * UINT64_C(0x100000001b3);
}

static int hash_rows(MDB_txn *txn, MDB_dbi dbi, uint64_t *h)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        *h = mix(*h, key.mv_data, key.mv_size);
        *h = mix(*h, value.mv_data, value.mv_size);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Every table and every row in it, in order. */
static int hash_tables(MDB_txn *txn, uint64_t *h)
{
    MDB_dbi names, dbi;
    MDB_cursor *cursor;
    MDB_val key, value;
    char name[64];
    int rc = mdb_dbi_open(txn, NULL, 0, &names);
    if (rc == 0)
        rc = mdb_cursor_open(txn, names, &cursor);
    if (rc)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        snprintf(name, sizeof name, "%.*s", (int)key.mv_size, (char *)key.mv_data);
        *h = mix(*h, name, strlen(name));
        rc = mdb_dbi_open(txn, name, 0, &dbi);
        if (rc == 0)
            rc = hash_rows(txn, dbi, h);
        if (rc)
            break;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* 0: there is none, or it cannot be read.  Without locks, so that it may be asked beside the ledger between two batches. */
static uint64_t hash_of(const char *path)
{
    MDB_env *env;
    MDB_txn *txn;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    if (mdb_env_create(&env))
        return 0;
    mdb_env_set_maxdbs(env, 64);
    int rc = mdb_env_open(env, path, MDB_RDONLY | MDB_NOLOCK, 0600);
    if (rc == 0)
        rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    if (rc == 0) {
        rc = hash_tables(txn, &h);
        mdb_txn_abort(txn);
    }
    mdb_env_close(env);
    return rc ? 0 : h;
}

/* --- driving ------------------------------------------------------------------------------------------ */

typedef struct drive {
    rig_t rig;
    int acks_fd;
    uint64_t random;
    int64_t now;
    unsigned commit, refs, nonces, jtis;
    uint64_t account[ACCOUNTS];
    int64_t lease[ACCOUNTS][SHARDS]; /* as this batch sees it */
    int64_t lease_saved[ACCOUNTS][SHARDS];
    kmy_receipt_key_t *key;
    char facts[64][FACT_BYTES]; /* of this batch */
    unsigned facts_count;
} drive_t;

static void must(drive_t *d, kmy_err_t err, const char *what)
{
    if (err == KMY_OK)
        return;
    fprintf(stderr, "power_cut_ledger: %s: %s: %s\n", what, kmy_err_code(err), d->rig.ctx.detail);
    exit(3);
}

/* A refusal is as good as a deed here, but what means that the disk or a record is bad. */
static bool done(drive_t *d, kmy_err_t err, const char *what)
{
    if (err == KMY_IO || err == KMY_CORRUPT || err == KMY_BAD_INPUT)
        must(d, err, what);
    return err == KMY_OK;
}

__attribute__((format(printf, 2, 3))) static void fact(drive_t *d, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    KMY_ASSERT(d->facts_count < 64);
    vsnprintf(d->facts[d->facts_count++], FACT_BYTES, fmt, ap);
    va_end(ap);
}

static void acknowledge(drive_t *d)
{
    char text[64 * FACT_BYTES];
    size_t n = 0;
    for (unsigned i = 0; i < d->facts_count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s\n", d->facts[i]);
    n += (size_t)snprintf(text + n, sizeof text - n, "hash %016" PRIx64 "\n", hash_of(d->rig.path));
    if (write(d->acks_fd, text, n) != (ssize_t)n)
        exit(3);
    d->facts_count = 0;
    d->commit++;
}

static unsigned some(drive_t *d, unsigned n)
{
    return (unsigned)(rig_random(&d->random) % n);
}

static void do_grant(drive_t *d)
{
    unsigned slot = some(d, ACCOUNTS);
    int64_t amount = 1 + some(d, 1000000);
    unsigned n = some(d, 4) || d->refs == 0 ? d->refs++ : some(d, d->refs);
    char ref[40];
    snprintf(ref, sizeof ref, "grant-%u", n);
    if (done(d,
             kmy_ledger_credit(d->rig.ledger, d->account[slot], "grant", ref, amount, d->now, NULL,
                               &d->rig.ctx),
             "grant"))
        fact(d, "grant %" PRIu64 " %s %" PRId64, d->account[slot], ref, amount);
}

static void do_lease(drive_t *d)
{
    unsigned slot = some(d, ACCOUNTS), shard = some(d, SHARDS);
    int64_t granted = 0;
    if (done(d,
             kmy_ledger_lease(d->rig.ledger, d->account[slot], shard, 1 + some(d, 50000), d->now,
                              &granted, NULL, &d->rig.ctx),
             "lease"))
        d->lease[slot][shard] += granted;
}

static void do_report(drive_t *d)
{
    unsigned slot = some(d, ACCOUNTS), shard = some(d, SHARDS);
    int64_t open = d->lease[slot][shard];
    if (open == 0)
        return;
    kmy_account_t acc;
    kmy_ledger_report_t r = { .account_id = d->account[slot],
                              .shard = shard,
                              .consumed_nusd = some(d, (unsigned)open + 1) };
    r.ticks_count = (uint64_t)r.consumed_nusd / 100;
    r.returned_nusd = some(d, 3) ? 0 : open - r.consumed_nusd;
    must(d, kmy_ledger_settle(d->rig.ledger, &r, d->now, &acc, &d->rig.ctx), "report");
    d->lease[slot][shard] -= r.consumed_nusd + r.returned_nusd;
    fact(d, "consumed %" PRIu64 " %" PRId64, acc.id, acc.consumed_nusd);
}

static void do_reserve(drive_t *d)
{
    unsigned n = some(d, PAYMENTS);
    kmy_payment_row_t row = n % 2 ? pay_query(n, n % PAYERS) : pay_row(n, n % PAYERS);
    if (done(d, pay_reserve(&d->rig, row, NULL), "reserve"))
        fact(d, "reserved %u", n);
}

static void do_state(drive_t *d)
{
    static const uint8_t to[] = { 2, 3, 3, 4, 6 };
    unsigned n = some(d, PAYMENTS);
    done(d, pay_state(&d->rig, n, (kmy_payment_state_t)to[some(d, sizeof to)]), "state");
}

static void do_settle(drive_t *d)
{
    unsigned n = some(d, PAYMENTS), tx = some(d, TXS);
    if (done(d, pay_settle(&d->rig, n, tx, n % 2, NULL), "settle"))
        fact(d, "settled %u", n);
}

static void do_answer(drive_t *d)
{
    unsigned n = some(d, PAYMENTS);
    if (done(d, pay_answer(&d->rig, n, some(d, 4) ? "{\"price\":1}" : NULL, d->now, NULL, NULL),
             "answer"))
        fact(d, "answered %u", n);
}

static void do_reverse(drive_t *d)
{
    if (some(d, 6) == 0)
        done(d, pay_reverse(&d->rig, some(d, PAYMENTS), NULL), "reverse");
}

static void do_nonce(drive_t *d)
{
    char nonce[40];
    snprintf(nonce, sizeof nonce, "nonce-%u", d->nonces);
    if (done(d, kmy_ledger_spend_nonce(d->rig.ledger, nonce, d->now + HOUR, d->now, &d->rig.ctx),
             "nonce"))
        fact(d, "nonce nonce-%u", d->nonces++);
}

static void do_revoke(drive_t *d)
{
    char jti[40];
    snprintf(jti, sizeof jti, "token-%u", d->jtis);
    if (done(d, kmy_ledger_revoke(d->rig.ledger, jti, d->now + HOUR, &d->rig.ctx), "revoke"))
        fact(d, "revoked token-%u", d->jtis++);
}

static void batch(drive_t *d)
{
    static void (*const steps[])(drive_t *) = {
        do_grant,  do_grant,  do_lease,  do_lease,   do_lease,   do_report,
        do_report, do_report, do_report, do_reserve, do_reserve, do_state,
        do_settle, do_settle, do_answer, do_reverse, do_nonce,   do_revoke,
    };
    d->now += 1000000;
    memcpy(d->lease_saved, d->lease, sizeof d->lease);
    must(d, kmy_ledger_begin(d->rig.ledger, &d->rig.ctx), "begin");
    for (unsigned n = 1 + some(d, some(d, 10) ? 6 : 40); n > 0; n--)
        steps[some(d, sizeof steps / sizeof *steps)](d);
    if (some(d, 12) == 0) {
        kmy_ledger_abort(d->rig.ledger);
        memcpy(d->lease, d->lease_saved, sizeof d->lease);
        d->facts_count = 0;
        return;
    }
    must(d, kmy_ledger_commit(d->rig.ledger, &d->rig.ctx), "commit");
    acknowledge(d);
}

static void reopen(drive_t *d)
{
    kmy_ledger_close(d->rig.ledger);
    must(d, kmy_ledger_open(&d->rig.ledger, d->rig.path, NULL, &d->rig.ctx), "open");
    memset(d->lease, 0, sizeof d->lease);
    acknowledge(d);
}

static void begin(drive_t *d, const char *path, const char *acks)
{
    memset(d, 0, sizeof *d);
    snprintf(d->rig.path, sizeof d->rig.path, "%s", path);
    d->acks_fd = open(acks, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    d->now = NOW;
    must(d, kmy_ledger_open(&d->rig.ledger, path, NULL, &d->rig.ctx), "open");
    acknowledge(d); /* that it is open: nobody was told anything, but from here on it is there */
}

static void drive(const char *path, const char *acks, uint64_t seed, int batches)
{
    static drive_t d;
    begin(&d, path, acks);
    d.random = rig_seed(seed);
    must(&d, kmy_ledger_begin(d.rig.ledger, &d.rig.ctx), "begin");
    for (int i = 0; i < ACCOUNTS; i++) {
        kmy_account_t acc;
        char name[32];
        snprintf(name, sizeof name, "local:%d", i);
        must(&d, kmy_ledger_account_make(d.rig.ledger, name, d.now, &acc, &d.rig.ctx), "account");
        d.account[i] = acc.id;
    }
    must(&d, kmy_ledger_commit(d.rig.ledger, &d.rig.ctx), "commit");
    acknowledge(&d);
    for (int i = 0; i < batches; i++) {
        if (some(&d, 25) == 0)
            reopen(&d); /* as after a kill: leases go back */
        batch(&d);
    }
    kmy_ledger_close(d.rig.ledger);
}

/* --- judging ------------------------------------------------------------------------------------------ */

static char wrong[320]; /* "": nothing yet */

__attribute__((format(printf, 1, 2))) static void blame(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (!wrong[0])
        vsnprintf(wrong, sizeof wrong, fmt, ap);
    va_end(ap);
}

static bool is_word(void *arg, const char *jti, int64_t expires_ns)
{
    const char **sought = arg;
    (void)expires_ns;
    if (*sought && strcmp(jti, *sought) == 0)
        *sought = NULL;
    return *sought != NULL;
}

static void want(kmy_err_t err, kmy_err_t expected, const char *line)
{
    if (err != expected)
        blame("acknowledged: %s; done again the ledger says %s", line, kmy_err_code(err));
}

/* What was acknowledged is there, and cannot happen a second time. */
static void check_fact(rig_t *r, const char *line)
{
    uint64_t id;
    int64_t amount;
    unsigned n;
    char word[64];
    kmy_account_t acc;
    if (sscanf(line, "grant %" SCNu64 " %63s %" SCNd64, &id, word, &amount) == 3) {
        want(kmy_ledger_credit(r->ledger, id, "grant", word, amount, NOW, &acc, &r->ctx),
             KMY_DUPLICATE, line);
    } else if (sscanf(line, "consumed %" SCNu64 " %" SCNd64, &id, &amount) == 2) {
        if (kmy_ledger_account_by_id(r->ledger, id, &acc, &r->ctx) != KMY_OK ||
            acc.consumed_nusd < amount)
            blame("acknowledged: %s; it is less", line);
    } else if (sscanf(line, "reserved %u", &n) == 1) {
        want(pay_reserve(r, n % 2 ? pay_query(n, n % PAYERS) : pay_row(n, n % PAYERS), NULL),
             KMY_DUPLICATE, line);
    } else if (sscanf(line, "settled %u", &n) == 1) {
        uint8_t state = pay_get(r, n).state; /* what a chain took back may be settled once more */
        if (state != KMY_PAYMENT_REVERSED)
            want(pay_settle(r, n, TXS + n, 0, &acc), KMY_DUPLICATE, line);
    } else if (sscanf(line, "answered %u", &n) == 1) {
        if (pay_get(r, n).state != KMY_PAYMENT_REVERSED && !pay_get(r, n).answered)
            blame("acknowledged: %s; it is not", line);
    } else if (sscanf(line, "nonce %63s", word) == 1) {
        want(kmy_ledger_spend_nonce(r->ledger, word, NOW + 2 * HOUR, NOW, &r->ctx), KMY_DUPLICATE,
             line);
    } else if (sscanf(line, "revoked %63s", word) == 1) {
        const char *sought = word;
        kmy_ledger_visit_revoked(r->ledger, NOW, is_word, &sought, &r->ctx);
        if (sought)
            blame("acknowledged: %s; it is not", line);
    } else if (strncmp(line, "hash ", 5) != 0) {
        blame("no such fact: %s", line);
    }
}

static void check_facts(rig_t *r, const char *acks)
{
    char line[FACT_BYTES];
    FILE *f = fopen(acks, "r");
    if (!f || kmy_ledger_begin(r->ledger, &r->ctx) != KMY_OK) {
        blame("%s: %s", acks, strerror(errno));
        return;
    }
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        check_fact(r, line);
    }
    fclose(f);
    kmy_ledger_abort(r->ledger);
}

static bool open_clean(rig_t *r, const char *when)
{
    kmy_ledger_audit_t audit;
    kmy_err_t err = kmy_ledger_open(&r->ledger, r->path, &r->recovery, &r->ctx);
    if (err == KMY_OK)
        err = kmy_ledger_audit(r->ledger, &audit, &r->ctx);
    if (err != KMY_OK)
        blame("%s: %s: %s", when, kmy_err_code(err), r->ctx.detail);
    else if (audit.faults_count > 0)
        blame("%s: the audit: %s", when, audit.first_fault);
    else if (audit.leased_nusd != 0)
        blame("%s: %" PRId64 " are leased to nobody", when, audit.leased_nusd);
    return !wrong[0];
}

/* It goes on: one more credit, found again by the next life. */
static void check_goes_on(rig_t *r)
{
    kmy_account_t acc;
    kmy_err_t err = kmy_ledger_begin(r->ledger, &r->ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_make(r->ledger, "local:later", NOW, &acc, &r->ctx);
    if (err == KMY_OK)
        err = kmy_ledger_credit(r->ledger, acc.id, "grant", "later", 77, NOW, &acc, &r->ctx);
    if (err == KMY_OK)
        err = kmy_ledger_commit(r->ledger, &r->ctx);
    rig_close(r);
    if (err != KMY_OK)
        blame("it does not go on: %s", r->ctx.detail);
    else if (open_clean(r, "one life later") &&
             (kmy_ledger_account_by_name(r->ledger, "local:later", &acc, &r->ctx) != KMY_OK ||
              acc.credited_nusd != 77))
        blame("what was credited after the cut is not there");
}

/* hashes: those that the ledger may have, of the last commit that returned and of the one that was on its way; NULL: any. */
static void check(const char *path, const char *acks, const char *hashes)
{
    rig_t r = { 0 };
    char hash[24];
    snprintf(r.path, sizeof r.path, "%s", path);
    snprintf(hash, sizeof hash, "%016" PRIx64, hash_of(path));
    wrong[0] = '\0';
    if (hashes && !strstr(hashes, hash))
        blame("holds %s, which is neither the last commit nor the next: %s", hash, hashes);
    if (open_clean(&r, "after the cut")) {
        check_facts(&r, acks);
        check_goes_on(&r);
    }
    kmy_ledger_close(r.ledger);
    puts(wrong[0] ? wrong : "ok");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    char line[1024];
    if (strcmp(verb, "drive") == 0 && argc == 6) {
        drive(argv[2], argv[3], strtoull(argv[4], NULL, 10), atoi(argv[5]));
    } else if (strcmp(verb, "recover") == 0 && argc == 4) {
        static drive_t d;
        begin(&d, argv[2], argv[3]);
        kmy_ledger_close(d.rig.ledger);
    } else if (strcmp(verb, "check") == 0) {
        while (fgets(line, sizeof line, stdin)) {
            line[strcspn(line, "\n")] = '\0';
            char *path = strtok(line, " ");
            char *acks = strtok(NULL, " ");
            check(path, acks, strtok(NULL, ""));
        }
    } else {
        fputs("see the top of power_cut_ledger.c\n", stderr);
        return 2;
    }
    return 0;
}
