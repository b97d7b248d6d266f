/* kamiyo ledger audit: recounts the ledger's files from their entries; needs no daemon and minds none.  kamiyo ledger dump: dump.c. */
#include "tools/kamiyo/kamiyo.h"

#include "base/money.h"
#include "pay/ledger.h"

#include <stdio.h>
#include <string.h>

static json_t *nusd(int64_t v)
{
    char text[KMY_NUSD_BYTES_MAX];
    kmy_nusd_format(v, text);
    return json_string(text);
}

int cli_ledger(const cli_t *cli)
{
    char path[4096];
    kmy_errctx_t ctx = { 0 };
    kmy_ledger_audit_t a;
    if (strcmp(cli->words[0], "dump") == 0)
        return cli_ledger_dump(cli);
    if (strcmp(cli->words[0], "audit") != 0)
        return cli_wrong(cli, "no 'ledger %.40s'; there are audit and dump", cli->words[0]);
    snprintf(path, sizeof path, "%s/ledger", cli->data);
    kmy_err_t err = kmy_ledger_audit_path(path, &a, &ctx);
    if (err != KMY_OK)
        return cli_fail(cli, "%s: %s; name the daemon's folder with --data", path,
                        ctx.detail[0] ? ctx.detail : kmy_err_text(err));
    json_t *out = json_pack(
        "{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:s, s:b}", "accounts",
        (json_int_t)a.accounts_count, "entries", (json_int_t)a.entries_count, "payments",
        (json_int_t)a.payments_count, "paid", nusd(a.paid_nusd), "advanced", nusd(a.advanced_nusd),
        "credited", nusd(a.credited_nusd), "balance", nusd(a.balance_nusd), "leased",
        nusd(a.leased_nusd), "consumed", nusd(a.consumed_nusd), "debt", nusd(a.debt_nusd), "faults",
        (json_int_t)a.faults_count, "first_fault", a.first_fault, "agree", a.faults_count == 0);
    char cell[7][64];
    if (cli->json)
        cli_print_json(out);
    else
        printf("%s accounts, %s entries: credited %s%s%s = balance %s + leased %s + consumed %s "
               "USD: %s\n",
               cli_cell(out, "accounts", cell[0], 64), cli_cell(out, "entries", cell[1], 64),
               cli_cell(out, "credited", cell[2], 64), a.debt_nusd ? " + debt " : "",
               a.debt_nusd ? cli_cell(out, "debt", cell[6], 64) : "",
               cli_cell(out, "balance", cell[3], 64), cli_cell(out, "leased", cell[4], 64),
               cli_cell(out, "consumed", cell[5], 64), a.faults_count ? "FAULTS" : "they agree");
    json_decref(out);
    if (a.faults_count)
        return cli_fail(cli, "%llu faults in %s; the first: %s", (unsigned long long)a.faults_count,
                        path, a.first_fault);
    return CLI_OK;
}
