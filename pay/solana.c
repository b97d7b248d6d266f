/* dollar 3/7 (Solana)   in: pay/verify   out: pay/verify */
#include "pay/solana.h"

#include "pay/ed25519.h"
#include "wire/utf8.h"

#include <openssl/sha.h>
#include <string.h>

enum {
    KEY = KMY_SOLANA_KEY_BYTES,
    SIGNATURE = KMY_ED25519_SIGNATURE_BYTES,
    KEYS_MAX = KMY_SOLANA_TRANSACTION_BYTES_MAX / KEY,
    MEMO_MAX = 566, /* what the memo program can log within 200,000 units */
};

/* ComputeBudget111111111111111111111111111111 */
static const uint8_t budget_program[KEY] = { 0x03, 0x06, 0x46, 0x6F, 0xE5, 0x21, 0x17, 0x32,
                                             0xFF, 0xEC, 0xAD, 0xBA, 0x72, 0xC3, 0x9B, 0xE7,
                                             0xBC, 0x8C, 0xE5, 0xBB, 0xC5, 0xF7, 0x12, 0x6B,
                                             0x2C, 0x43, 0x9B, 0x3A, 0x40, 0x00, 0x00, 0x00 };
/* MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr */
static const uint8_t memo_program[KEY] = { 0x05, 0x4A, 0x53, 0x5A, 0x99, 0x29, 0x21, 0x06,
                                           0x4D, 0x24, 0xE8, 0x71, 0x60, 0xDA, 0x38, 0x7C,
                                           0x7C, 0x35, 0xB5, 0xDD, 0xBC, 0x92, 0xBB, 0x81,
                                           0xE4, 0x1F, 0xA8, 0x40, 0x41, 0x05, 0x44, 0x8D };
/* L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95 */
static const uint8_t guard_program[KEY] = { 0x04, 0xDF, 0xAD, 0x79, 0x62, 0xFF, 0xB1, 0xDD,
                                            0x92, 0x5D, 0x0A, 0x9F, 0xB5, 0xE6, 0xD0, 0x0C,
                                            0xE6, 0x19, 0x5B, 0xA8, 0xBB, 0x3A, 0x91, 0xFD,
                                            0x07, 0xEF, 0x98, 0x60, 0xC5, 0xE9, 0x7B, 0xB8 };

typedef struct instruction {
    uint8_t program; /* all numbers are indexes into the keys, checked */
    const uint8_t *accounts;
    size_t accounts_count;
    const uint8_t *data;
    size_t data_bytes;
} instruction_t;

/* The transaction taken apart; everything points into its bytes. */
typedef struct parts {
    const uint8_t *signatures;
    const uint8_t *message;
    size_t message_bytes;
    const uint8_t *keys;
    size_t keys_count;
    unsigned signers, readonly_signers,
        readonly_others; /* keys stand in this order: signers, then others; writable before readonly in both */
    instruction_t instruction[KMY_SOLANA_INSTRUCTIONS_MAX];
    size_t instructions_count;
} parts_t;

typedef struct reader {
    const uint8_t *at;
    const uint8_t *end;
} reader_t;

/* The next n bytes; NULL if there are fewer. */
static const uint8_t *take(reader_t *r, size_t n)
{
    if ((size_t)(r->end - r->at) < n)
        return NULL;
    r->at += n;
    return r->at - n;
}

/* Short vector length: seven bits a byte, the lowest first, at most 16 bits, and only its shortest form. */
static bool take_count(reader_t *r, size_t *out)
{
    size_t v = 0;
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t *p = take(r, 1);
        if (!p || (i == 2 && *p > 3) || (i > 0 && *p == 0))
            return false;
        v |= (size_t)(*p & 0x7F) << 7 * i;
        if (*p < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool take_vector(reader_t *r, const uint8_t **items, size_t *count, size_t item_bytes)
{
    return take_count(r, count) && (*items = take(r, *count * item_bytes)) != NULL;
}

static bool take_instruction(reader_t *r, size_t keys_count, instruction_t *out)
{
    const uint8_t *program = take(r, 1);
    if (!program || *program == 0 || *program >= keys_count)
        return false; /* 0 is the fee payer, which is no program */
    out->program = *program;
    if (!take_vector(r, &out->accounts, &out->accounts_count, 1) ||
        !take_vector(r, &out->data, &out->data_bytes, 1))
        return false;
    for (size_t i = 0; i < out->accounts_count; i++)
        if (out->accounts[i] >= keys_count)
            return false;
    return true;
}

static bool keys_differ(const parts_t *t)
{
    for (size_t i = 0; i < t->keys_count; i++)
        for (size_t k = 0; k < i; k++)
            if (memcmp(t->keys + KEY * i, t->keys + KEY * k, KEY) == 0)
                return false;
    return true;
}

/* The three numbers in front of a message; version 0 has a byte before them. */
static bool take_head(reader_t *r, parts_t *t, bool *has_tables)
{
    const uint8_t *p = take(r, 1);
    if (!p)
        return false;
    *has_tables = (*p & 0x80) != 0;
    if (*has_tables && (*p != 0x80 || (p = take(r, 1)) == NULL))
        return false; /* a version that is not known */
    const uint8_t *rest = take(r, 2);
    if (!rest)
        return false;
    t->signers = *p;
    t->readonly_signers = rest[0];
    t->readonly_others = rest[1];
    return true;
}

/* Too many instructions are no fault of form: the rest is passed over and the count tells. */
static bool take_instructions(reader_t *r, parts_t *t)
{
    if (!take_count(r, &t->instructions_count))
        return false;
    for (size_t i = 0; i < t->instructions_count; i++) {
        instruction_t rest;
        bool kept = i < KMY_SOLANA_INSTRUCTIONS_MAX;
        if (!take_instruction(r, t->keys_count, kept ? &t->instruction[i] : &rest))
            return false;
    }
    return true;
}

static bool take_message(reader_t *r, parts_t *t)
{
    bool has_tables;
    size_t tables = 0;
    if (!take_head(r, t, &has_tables) || !take_vector(r, &t->keys, &t->keys_count, KEY))
        return false;
    if (t->keys_count > KEYS_MAX || t->signers == 0 || t->readonly_signers >= t->signers ||
        t->signers + t->readonly_others > t->keys_count || !keys_differ(t))
        return false;
    if (!take(r, KEY) || !take_instructions(r, t)) /* the blockhash is the network's to judge */
        return false;
    /* An address table would name accounts that are not seen here. */
    return (!has_tables || (take_count(r, &tables) && tables == 0)) && r->at == r->end;
}

static bool take_apart(const uint8_t *bytes, size_t len, parts_t *t)
{
    reader_t r = { bytes, bytes + len };
    size_t signatures;
    if (len > KMY_SOLANA_TRANSACTION_BYTES_MAX ||
        !take_vector(&r, &t->signatures, &signatures, SIGNATURE))
        return false;
    t->message = r.at;
    t->message_bytes = (size_t)(r.end - r.at);
    return take_message(&r, t) && signatures == t->signers;
}

static const uint8_t *key_at(const parts_t *t, size_t index)
{
    return t->keys + KEY * index;
}

static bool runs(const parts_t *t, const instruction_t *i, const uint8_t program[KEY])
{
    return memcmp(key_at(t, i->program), program, KEY) == 0;
}

static bool writable(const parts_t *t, size_t index)
{
    return index < t->signers ? index < t->signers - t->readonly_signers
                              : index < t->keys_count - t->readonly_others;
}

static uint64_t number_le(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes);
    return v;
}

static kmy_pay_reason_t check_budget(const parts_t *t)
{
    const instruction_t *limit = &t->instruction[0];
    const instruction_t *price = &t->instruction[1];
    if (!runs(t, limit, budget_program) || limit->accounts_count || limit->data_bytes != 5 ||
        limit->data[0] != 2)
        return KMY_PAY_SVM_LIMIT;
    if (number_le(limit->data + 1, 4) > KMY_SOLANA_UNITS_MAX)
        return KMY_PAY_SVM_LIMIT_HIGH;
    if (!runs(t, price, budget_program) || price->accounts_count || price->data_bytes != 9 ||
        price->data[0] != 3)
        return KMY_PAY_SVM_PRICE;
    if (number_le(price->data + 1, 8) > KMY_SOLANA_UNIT_PRICE_MAX)
        return KMY_PAY_SVM_PRICE_HIGH;
    return KMY_PAY_NONE;
}

/* The fee payer signs the whole transaction later: it must not stand where its signature could move anything of its own. */
static kmy_pay_reason_t check_fee_payer(const parts_t *t, const kmy_pay_entry_t *entry)
{
    if (!entry->fee_payer[0])
        return KMY_PAY_SVM_NO_FEE_PAYER;
    if (memcmp(key_at(t, 0), entry->solana.fee_payer, KEY) != 0)
        return KMY_PAY_SVM_OTHER_FEE_PAYER;
    for (size_t i = 0; i < t->instructions_count; i++)
        if (memchr(t->instruction[i].accounts, 0, t->instruction[i].accounts_count))
            return KMY_PAY_SVM_FEE_PAYER;
    return t->signers == 2 ? KMY_PAY_NONE : KMY_PAY_SVM_SIGNERS;
}

/* TransferChecked: data 12, amount, decimals; accounts source, mint, destination, authority. */
static kmy_pay_reason_t check_transfer(const parts_t *t, const kmy_pay_entry_t *entry)
{
    const instruction_t *transfer = &t->instruction[2];
    int token = -1;
    for (int k = 0; k < KMY_SOLANA_TOKENS; k++)
        if (runs(t, transfer, kmy_solana_token_program[k]))
            token = k;
    if (token < 0 || transfer->accounts_count != 4 || transfer->data_bytes != 10 ||
        transfer->data[0] != 12 || transfer->data[9] != KMY_PAY_DECIMALS)
        return KMY_PAY_SVM_TRANSFER;
    const uint8_t *account = transfer->accounts;
    if (account[3] != 1 || !writable(t, account[0]) || !writable(t, account[2]))
        return KMY_PAY_SVM_TRANSFER; /* the authority is the one signer beside the fee payer */
    if (memcmp(key_at(t, account[1]), entry->solana.mint, KEY) != 0)
        return KMY_PAY_SVM_MINT;
    if (memcmp(key_at(t, account[2]), entry->solana.account[token], KEY) != 0 ||
        account[0] == account[2]) /* from us to us moves nothing */
        return KMY_PAY_SVM_RECIPIENT;
    return number_le(transfer->data + 1, 8) == entry->amount_units ? KMY_PAY_NONE
                                                                   : KMY_PAY_SVM_AMOUNT;
}

static bool memo_is(const instruction_t *i, const char *memo)
{
    return i->data_bytes == strlen(memo) && memcmp(i->data, memo, i->data_bytes) == 0;
}

/* What may follow the transfer: memos, and guards that only look.  A memo that we asked for must stand there once, and be the only one. */
static kmy_pay_reason_t check_rest(const parts_t *t, const kmy_pay_entry_t *entry)
{
    unsigned memos = 0;
    unsigned guards = 0;
    bool equal = true;
    for (size_t i = 3; i < t->instructions_count; i++) {
        const instruction_t *rest = &t->instruction[i];
        bool memo = runs(t, rest, memo_program);
        if (memo && (rest->data_bytes > MEMO_MAX ||
                     !kmy_utf8_valid((const char *)rest->data, rest->data_bytes)))
            return KMY_PAY_SVM_MEMO;
        if (!memo && (!runs(t, rest, guard_program) || ++guards > KMY_SOLANA_GUARDS_MAX))
            return KMY_PAY_SVM_UNKNOWN;
        memos += memo;
        equal &= !memo || !entry->memo[0] || memo_is(rest, entry->memo);
    }
    if (entry->memo[0] && memos != 1)
        return KMY_PAY_SVM_MEMO_COUNT;
    return equal ? KMY_PAY_NONE : KMY_PAY_SVM_MEMO;
}

kmy_pay_reason_t kmy_solana_check(const uint8_t *transaction, size_t len,
                                  const kmy_pay_entry_t *entry, kmy_solana_payment_t *out)
{
    parts_t t;
    kmy_pay_reason_t why;
    if (!take_apart(transaction, len, &t))
        return KMY_PAY_SVM_DECODE;
    if (t.instructions_count < 3 || t.instructions_count > KMY_SOLANA_INSTRUCTIONS_MAX)
        return KMY_PAY_SVM_COUNT;
    if ((why = check_fee_payer(&t, entry)) != KMY_PAY_NONE ||
        (why = check_budget(&t)) != KMY_PAY_NONE ||
        (why = check_transfer(&t, entry)) != KMY_PAY_NONE ||
        (why = check_rest(&t, entry)) != KMY_PAY_NONE)
        return why;
    if (!kmy_ed25519_verify(key_at(&t, 1), t.signatures + SIGNATURE, t.message, t.message_bytes))
        return KMY_PAY_SVM_SIGNATURE;
    memcpy(out->payer, key_at(&t, 1), KEY);
    SHA256(t.message, t.message_bytes, out->id);
    return KMY_PAY_NONE;
}
