/* kamiyo backup DIR: one instant of the ledger under --data, recounted, with the keys if they are asked for; also while the daemon runs. */
#include "tools/kamiyo/kamiyo.h"

#include "base/clock.h"
#include "base/money.h"
#include "pay/ledger_backup.h"
#include "tools/kamiyo/folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static json_t *nusd(int64_t v)
{
    char text[KMY_NUSD_BYTES_MAX];
    kmy_nusd_format(v, text);
    return json_string(text);
}

/* What restore compares the copy with. */
static json_t *manifest_of(const kmy_ledger_audit_t *a, const char *sha256, bool secrets)
{
    char created[32];
    snprintf(created, sizeof created, "%" PRId64, kmy_wall_ns());
    return json_pack("{s:i, s:s, s:s, s:s, s:b, s:{s:I, s:I, s:o, s:o, s:o, s:o, s:o}}",
                     "kamiyo_backup", CLI_BACKUP_VERSION, "version", KMY_VERSION, "created",
                     created, "sha256", sha256, "secrets", secrets, "ledger", "accounts",
                     (json_int_t)a->accounts_count, "entries", (json_int_t)a->entries_count,
                     "credited", nusd(a->credited_nusd), "balance", nusd(a->balance_nusd), "leased",
                     nusd(a->leased_nusd), "consumed", nusd(a->consumed_nusd), "debt",
                     nusd(a->debt_nusd));
}

static bool write_manifest(const char *folder, const json_t *manifest)
{
    char path[CLI_PATH_BYTES];
    if (!cli_join(path, folder, CLI_BACKUP_MANIFEST))
        return false;
    FILE *f = fopen(path, "wx");
    bool ok = f && json_dumpf(manifest, f, JSON_INDENT(2)) == 0 && fputc('\n', f) != EOF &&
              fflush(f) == 0 && fsync(fileno(f)) == 0;
    if (f && fclose(f) != 0)
        ok = false;
    return ok;
}

static int copy_secrets(const cli_t *cli, const char *to)
{
    char a[CLI_PATH_BYTES];
    char b[CLI_PATH_BYTES];
    char names[CLI_SECRETS_MAX][CLI_SECRET_NAME_BYTES];
    size_t count = cli_secrets(cli->data, names);
    for (size_t i = 0; i < count; i++) {
        if (!cli_join(a, cli->data, names[i]) || !cli_join(b, to, names[i]))
            return cli_fail(cli, "%s: the path is too long", to);
        if (!cli_copy_secret(a, b))
            return cli_fail(cli, "%s cannot be copied to %s: %s", a, b, strerror(errno));
    }
    return CLI_OK;
}

/* Everything into `to`, which is ours alone. */
static int fill(const cli_t *cli, const char *to, json_t **manifest)
{
    char ledger[CLI_PATH_BYTES];
    char copy[CLI_PATH_BYTES];
    char file[CLI_PATH_BYTES];
    char sha256[CLI_SHA256_TEXT];
    kmy_ledger_audit_t audit;
    kmy_errctx_t ctx = { 0 };
    if (!cli_join(ledger, cli->data, "ledger") || !cli_join(copy, to, "ledger") ||
        !cli_join(file, copy, "data.mdb"))
        return cli_fail(cli, "%s: the path is too long", to);
    kmy_err_t err = kmy_ledger_backup(ledger, copy, &audit, &ctx);
    if (err != KMY_OK)
        return cli_fail(cli, "%s: %s; name the daemon's folder with --data", ledger,
                        ctx.detail[0] ? ctx.detail : kmy_err_text(err));
    if (!cli_sha256_file(file, sha256))
        return cli_fail(cli, "%s cannot be read back: %s", file, strerror(errno));
    if (cli->with_secrets && copy_secrets(cli, to) != CLI_OK)
        return CLI_FAILED;
    *manifest = manifest_of(&audit, sha256, cli->with_secrets);
    if (!write_manifest(to, *manifest) || !cli_sync_folder(to))
        return cli_fail(cli, "%s cannot be written: %s", to, strerror(errno));
    return CLI_OK;
}

/* What fill may have left behind. */
static void clear(const char *folder)
{
    static const char *const files[] = { "ledger/data.mdb", "ledger/lock.mdb",
                                         CLI_BACKUP_MANIFEST };
    char path[CLI_PATH_BYTES];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (cli_join(path, folder, files[i]))
            unlink(path);
    char names[CLI_SECRETS_MAX][CLI_SECRET_NAME_BYTES];
    size_t count = cli_secrets(folder, names);
    for (size_t i = 0; i < count; i++)
        if (cli_join(path, folder, names[i]))
            unlink(path);
    if (cli_join(path, folder, "ledger"))
        rmdir(path);
    rmdir(folder);
}

static void tell(const cli_t *cli, const char *dir, const json_t *manifest)
{
    const json_t *ledger = json_object_get(manifest, "ledger");
    char cell[4][64];
    if (cli->json)
        cli_print_json(manifest);
    else
        printf(
            "%s: %s accounts, %s entries, credited %s, consumed %s USD; recounted: they agree%s\n",
            dir, cli_cell(ledger, "accounts", cell[0], 64),
            cli_cell(ledger, "entries", cell[1], 64), cli_cell(ledger, "credited", cell[2], 64),
            cli_cell(ledger, "consumed", cell[3], 64),
            cli->with_secrets ? "; keys included: guard it as you guard them"
                              : "; without keys (--with-secrets)");
}

int cli_backup(const cli_t *cli)
{
    char dir[CLI_PATH_BYTES];
    char partial[CLI_PATH_BYTES];
    json_t *manifest = NULL;
    snprintf(dir, sizeof dir, "%s", cli->words[0]);
    for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
        dir[n - 1] = '\0';
    if (snprintf(partial, sizeof partial, "%s.partial-%ld", dir, (long)getpid()) >=
        (int)sizeof partial)
        return cli_fail(cli, "%s: the path is too long", dir);
    if (cli_exists(dir))
        return cli_fail(cli, "%s is there already; a backup gets a folder of its own", dir);
    if (mkdir(partial, 0700) != 0)
        return cli_fail(cli, "cannot make %s: %s", partial, strerror(errno));
    int code = fill(cli, partial, &manifest);
    /* Under its name only when all of it is on the disk: a folder of that name is a whole backup. */
    if (code == CLI_OK && (rename(partial, dir) != 0 || !cli_sync_parent(dir)))
        code = cli_fail(cli, "%s cannot get its name: %s", partial, strerror(errno));
    if (code == CLI_OK)
        tell(cli, dir, manifest);
    else
        clear(partial);
    json_decref(manifest);
    return code;
}
