/* kamiyo restore DIR --data DATA: a backup becomes the ledger of a data folder whose daemon is stopped.  Nothing is deleted: what was there is
   moved aside. */
#include "tools/kamiyo/kamiyo.h"

#include "base/money.h"
#include "pay/ledger_backup.h"
#include "tools/kamiyo/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct places {
    char from[CLI_PATH_BYTES];    /* DIR/ledger */
    char ledger[CLI_PATH_BYTES];  /* DATA/ledger */
    char staging[CLI_PATH_BYTES]; /* DATA/ledger.restoring */
    char snapshot[CLI_PATH_BYTES];
} places_t;

/* A backup of ours, whose ledger is bit for bit the one that was recounted. */
static int manifest_read(const cli_t *cli, const places_t *p, json_t **out)
{
    char path[CLI_PATH_BYTES];
    char file[CLI_PATH_BYTES];
    char sha256[CLI_SHA256_TEXT];
    json_error_t at;
    if (!cli_join(path, cli->words[0], CLI_BACKUP_MANIFEST) || !cli_join(file, p->from, "data.mdb"))
        return cli_fail(cli, "%s: the path is too long", cli->words[0]);
    json_t *m = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    const char *want = json_string_value(json_object_get(m, "sha256"));
    int code = CLI_OK;
    if (!m)
        code = cli_fail(cli, "%s: %s; it is no backup by kamiyo backup", path, at.text);
    else if (json_integer_value(json_object_get(m, "kamiyo_backup")) != CLI_BACKUP_VERSION)
        code = cli_fail(cli, "%s is of another version; use the kamiyo that made it", path);
    else if (!want || !cli_sha256_file(file, sha256))
        code = cli_fail(cli, "%s cannot be read", file);
    else if (strcmp(want, sha256) != 0)
        code = cli_fail(cli, "%s was changed since the backup was made: its hash is another", file);
    if (code != CLI_OK) {
        json_decref(m);
        return code;
    }
    *out = m;
    return CLI_OK;
}

/* The daemon's own lock, kept until we end: none runs, and none starts meanwhile. */
static int lock_data(const cli_t *cli)
{
    char path[CLI_PATH_BYTES];
    if (mkdir(cli->data, 0700) != 0 && errno != EEXIST)
        return cli_fail(cli, "cannot make %s: %s", cli->data, strerror(errno));
    if (!cli_join(path, cli->data, "lock"))
        return cli_fail(cli, "%s: the path is too long", cli->data);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return cli_fail(cli, "cannot open %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return cli_fail(cli, "a kamiyod runs on %s: stop it first", cli->data);
    return CLI_OK; /* the kernel closes it with us */
}

/* Is there a ledger that somebody would miss? */
static int may_replace(const cli_t *cli, const places_t *p)
{
    char file[CLI_PATH_BYTES];
    kmy_ledger_audit_t a = { 0 };
    kmy_errctx_t ctx = { 0 };
    if (!cli_join(file, p->ledger, "data.mdb") || !cli_exists(file) || cli->force)
        return CLI_OK;
    if (kmy_ledger_audit_path(p->ledger, &a, &ctx) == KMY_OK && a.accounts_count == 0 &&
        a.entries_count == 0 && a.faults_count == 0)
        return CLI_OK;
    return cli_fail(cli, "%s has a ledger of %llu accounts; --force moves it aside", p->ledger,
                    (unsigned long long)a.accounts_count);
}

/* The sums that were told when the backup was made are those of what is about to be put in place. */
static bool agrees(const json_t *manifest, const kmy_ledger_audit_t *a)
{
    const json_t *l = json_object_get(manifest, "ledger");
    const char *names[] = { "credited", "balance", "leased", "consumed", "debt" };
    const int64_t sums[] = { a->credited_nusd, a->balance_nusd, a->leased_nusd, a->consumed_nusd,
                             a->debt_nusd };
    for (size_t i = 0; i < 5; i++) {
        char text[KMY_NUSD_BYTES_MAX];
        const char *said = json_string_value(json_object_get(l, names[i]));
        kmy_nusd_format(sums[i], text);
        if (!said || strcmp(said, text) != 0)
            return false;
    }
    return json_integer_value(json_object_get(l, "entries")) == (json_int_t)a->entries_count &&
           json_integer_value(json_object_get(l, "accounts")) == (json_int_t)a->accounts_count;
}

static void clear_staging(const places_t *p)
{
    char file[CLI_PATH_BYTES];
    if (cli_join(file, p->staging, "data.mdb"))
        unlink(file);
    rmdir(p->staging);
}

/* The new ledger under the name of the old, in one step where there is an old one: at no instant could a daemon start without any. */
static bool exchange(const cli_t *cli, const places_t *p, char aside[CLI_PATH_BYTES])
{
    aside[0] = '\0';
    if (!cli_exists(p->ledger))
        return rename(p->staging, p->ledger) == 0 && cli_sync_folder(cli->data);
    return renameat2(AT_FDCWD, p->staging, AT_FDCWD, p->ledger, RENAME_EXCHANGE) == 0 &&
           cli_sync_folder(cli->data) && cli_move_aside(p->staging, p->ledger, aside);
}

/* Keys that are there stay, unless --force: then they are moved aside. */
static int put_secrets(const cli_t *cli)
{
    char from[CLI_PATH_BYTES];
    char to[CLI_PATH_BYTES];
    char aside[CLI_PATH_BYTES];
    char names[CLI_SECRETS_MAX][CLI_SECRET_NAME_BYTES];
    size_t count = cli_secrets(cli->words[0], names);
    for (size_t i = 0; i < count; i++) {
        if (!cli_join(from, cli->words[0], names[i]) || !cli_join(to, cli->data, names[i]))
            return cli_fail(cli, "%s: the path is too long", cli->data);
        if (cli_exists(to) && cli_same_secret(from, to))
            continue;
        if (cli_exists(to) && !cli->force) {
            fprintf(stderr,
                    "kamiyo restore: %s is another than the backup's and stays; --force takes "
                    "the backup's\n",
                    to);
            continue;
        }
        if (!cli_move_aside(to, to, aside) || !cli_copy_secret(from, to))
            return cli_fail(cli, "%s cannot be put in place: %s", to, strerror(errno));
    }
    return CLI_OK;
}

static int put_in_place(const cli_t *cli, const places_t *p, const json_t *manifest)
{
    char ledger_aside[CLI_PATH_BYTES];
    char snapshot_aside[CLI_PATH_BYTES];
    kmy_ledger_audit_t audit;
    kmy_errctx_t ctx = { 0 };
    clear_staging(p); /* of a restore that was cut off */
    if (kmy_ledger_backup(p->from, p->staging, &audit, &ctx) != KMY_OK)
        return cli_fail(cli, "%s: %s; nothing was changed", p->from, ctx.detail);
    if (!agrees(manifest, &audit)) {
        clear_staging(p);
        return cli_fail(cli, "%s does not have the sums of its manifest; nothing was changed",
                        p->from);
    }
    int code = put_secrets(cli);
    if (code != CLI_OK)
        return code;
    /* The values and offsets of another time go: a new store begins a new epoch, and nobody goes on across it unknowing. */
    if (!cli_move_aside(p->snapshot, p->snapshot, snapshot_aside))
        return cli_fail(cli, "%s cannot be moved aside: %s", p->snapshot, strerror(errno));
    if (!exchange(cli, p, ledger_aside) || !cli_sync_folder(cli->data))
        return cli_fail(cli, "the ledger cannot be put in place in %s: %s", cli->data,
                        strerror(errno));
    json_t *out = json_pack("{s:s, s:O, s:s, s:s}", "data", cli->data, "ledger",
                            json_object_get(manifest, "ledger"), "ledger_aside", ledger_aside,
                            "snapshot_aside", snapshot_aside);
    char cell[2][64];
    const json_t *l = json_object_get(manifest, "ledger");
    if (cli->json)
        cli_print_json(out);
    else
        printf("%s: %s accounts, credited %s USD, as of the backup; recounted: they agree%s%s\n",
               cli->data, cli_cell(l, "accounts", cell[0], 64),
               cli_cell(l, "credited", cell[1], 64), ledger_aside[0] ? "; the old ledger is " : "",
               ledger_aside);
    json_decref(out);
    return CLI_OK;
}

int cli_restore(const cli_t *cli)
{
    places_t p;
    json_t *manifest = NULL;
    if (!cli_join(p.from, cli->words[0], "ledger") || !cli_join(p.ledger, cli->data, "ledger") ||
        !cli_join(p.staging, cli->data, "ledger.restoring") ||
        !cli_join(p.snapshot, cli->data, "snapshot"))
        return cli_fail(cli, "the path is too long");
    int code = manifest_read(cli, &p, &manifest);
    if (code == CLI_OK)
        code = lock_data(cli);
    if (code == CLI_OK)
        code = may_replace(cli, &p);
    if (code == CLI_OK)
        code = put_in_place(cli, &p, manifest);
    json_decref(manifest);
    return code;
}
