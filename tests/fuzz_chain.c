/* Answers of chains' nodes: every reader gets the same bytes (the question's number is 1).  Whatever comes out must hold together; a payment that is found in garbage would be
   money. */
#include "pay/chain_evm.h"
#include "pay/chain_solana.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Those of the seeds (made for tests/test_chain_evm.c and test_chain_solana.c). */
#define EVM_TX "0x1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988"
#define SOLANA_TX                                                                                  \
    "2Ana1pUpv2ZbMVkwF5FXapYeBEjdxDatLn7nvJkhgTSXbs59SyZSx866bXirPgj8QQVB57uxHJBG1YFvkRbFj4T"

static kmy_pay_entry_t evm, solana;
static uint8_t payer[32], nonce[32];

static void make_entries(void)
{
    const kmy_pay_terms_t base = { .name = "base",
                                   .pay_to = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" };
    const kmy_pay_terms_t sol = { .name = "solana",
                                  .pay_to = "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL",
                                  .fee_payer = "4Q9DECv4iZzFCLFuh2WaX2FQjMxnQXXJh4Ljvps5B5nr" };
    KMY_ASSERT(kmy_pay_entry_init(&evm, &base, NULL) == KMY_OK);
    KMY_ASSERT(kmy_pay_entry_init(&solana, &sol, NULL) == KMY_OK);
    kmy_pay_entry_price(&evm, 10000);
    kmy_pay_entry_price(&solana, 10000);
    memcpy(payer, solana.solana.fee_payer, 32);
    memset(nonce, 0xAB, sizeof nonce);
}

static void read_evm(const char *text, size_t len)
{
    kmy_evm_transfer_t transfers[KMY_EVM_TRANSFERS_MAX];
    kmy_evm_evidence_t evidence;
    kmy_evm_receipt_t receipt;
    kmy_evm_transaction_t transaction;
    kmy_evm_block_t block;
    kmy_evm_use_t use;
    uint8_t word[32];
    uint64_t number;
    bool flag;
    kmy_chain_evm_read_chain_id(text, len, 1, &number);
    kmy_chain_evm_read_authorization(text, len, 1, &flag);
    kmy_chain_evm_read_balance(text, len, 1, word);
    kmy_chain_evm_read_code(text, len, 1, &flag);
    kmy_chain_evm_read_signature(text, len, 1, &flag);
    kmy_chain_evm_read_transaction(text, len, 1, EVM_TX, &transaction);
    if (kmy_chain_evm_read_block(text, len, 1, &block) == KMY_RPC_FOUND)
        KMY_ASSERT(block.time_s >= 0);
    if (kmy_chain_evm_read_logs(text, len, 1, &evm, payer, nonce, &use) == KMY_RPC_FOUND)
        KMY_ASSERT(strlen(use.tx) == KMY_EVM_TX_TEXT_BYTES - 1);
    if (kmy_chain_evm_read_receipt(text, len, 1, EVM_TX, &receipt) != KMY_RPC_FOUND)
        return;
    size_t count = kmy_chain_evm_transfers(&receipt, &evm, transfers);
    KMY_ASSERT(count <= KMY_EVM_TRANSFERS_MAX);
    KMY_ASSERT(receipt.success || count == 0);
    for (size_t i = 0; i < count; i++)
        KMY_ASSERT(transfers[i].units > 0);
    for (int i = 0; i < 2; i++) { /* by whoever sent the first transfer, too */
        const uint8_t *from = i && count ? transfers[0].sender : payer;
        const uint8_t *by = i && count ? transfers[0].nonce : nonce;
        kmy_chain_evm_evidence(&receipt, &evm, from, by, &evidence);
        KMY_ASSERT(!evidence.paid || (evidence.used && receipt.success && count > 0));
    }
}

static void read_solana(const char *text, size_t len)
{
    static kmy_solana_signature_t list[KMY_SOLANA_SIGNATURES_MAX];
    kmy_solana_transaction_t transaction;
    kmy_solana_blockhash_t blockhash;
    kmy_solana_received_t received;
    kmy_solana_evidence_t evidence;
    kmy_solana_status_t status;
    uint64_t number;
    size_t count;
    kmy_chain_solana_read_number(text, len, 1, &number);
    kmy_chain_solana_read_status(text, len, 1, &status);
    kmy_chain_solana_read_holding(text, len, 1, payer, solana.solana.mint, &number);
    if (kmy_chain_solana_read_blockhash(text, len, 1, &blockhash) == KMY_RPC_FOUND)
        KMY_ASSERT(strlen(blockhash.text) >= 32);
    kmy_chain_solana_read_signatures(text, len, 1, list, &count);
    KMY_ASSERT(count <= KMY_SOLANA_SIGNATURES_MAX);
    if (kmy_chain_solana_read_transaction(text, len, 1, SOLANA_TX, &transaction) != KMY_RPC_FOUND)
        return;
    bool any = kmy_chain_solana_received(&transaction, &solana, &received);
    KMY_ASSERT(!any || (transaction.success && received.units > 0));
    kmy_chain_solana_evidence(&transaction, &solana, received.sender, transaction.message_hash,
                              &evidence);
    KMY_ASSERT(!evidence.paid || any);
    KMY_ASSERT(!(evidence.paid && evidence.spent));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!evm.name[0])
        make_entries();
    read_evm((const char *)data, size);
    read_solana((const char *)data, size);
    return 0;
}
