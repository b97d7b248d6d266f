/* dollar 4/7   in: engine/keeper   out: the operator's view */
#include "pay/ledger_inside.h"

void kmy_ledger_totals(const kmy_ledger_t *l, kmy_ledger_totals_t *out)
{
    *out = (kmy_ledger_totals_t){
        .accounts_count = l->totals.accounts_count,
        .entries_count = l->totals.entries_count,
        .credited_nusd = l->totals.sums.credited_nusd,
        .balance_nusd = l->totals.sums.balance_nusd,
        .leased_nusd = l->totals.sums.leased_nusd,
        .consumed_nusd = l->totals.sums.consumed_nusd,
        .debt_nusd = l->totals.sums.debt_nusd,
    };
}
