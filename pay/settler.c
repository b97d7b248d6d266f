/* dollar 7/7 (EVM)   in: engine/cashier_settler   out: engine/cashier_settler */
#include "pay/settler.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

void kmy_settler_init(kmy_settler_t *s, uint64_t cap)
{
    memset(s, 0, sizeof *s);
    s->cap = cap;
}

void kmy_settler_free(kmy_settler_t *s)
{
    for (uint32_t i = 0; i < s->txs_count; i++)
        free(s->txs[i].data);
    s->txs_count = 0;
}

/* --- what it costs --------------------------------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool kmy_settler_price(uint64_t base_fee, uint64_t tip, uint64_t cap, kmy_settler_fees_t *fees)
{
    if (base_fee > cap || tip > cap - base_fee)
        return false;
    fees->tip = tip;
    fees->fee = base_fee > (cap - tip) / 2 ? cap : 2 * base_fee + tip;
    return true;
}

static bool price(const kmy_settler_t *s, kmy_settler_fees_t *fees)
{
    return kmy_settler_price(s->base_fee, s->tip, s->cap, fees);
}

/* An eighth more, rounded up, and not below what one sent now offers.  false: the cap allows no more. */
static bool bump(const kmy_settler_t *s, kmy_settler_tx_t *tx)
{
    kmy_settler_fees_t now = { 0 };
    kmy_settler_fees_t f = { .tip = tx->fees.tip + tx->fees.tip / 8 + 1,
                             .fee = tx->fees.fee + tx->fees.fee / 8 + 1 };
    if (price(s, &now)) {
        f.tip = now.tip > f.tip ? now.tip : f.tip;
        f.fee = now.fee > f.fee ? now.fee : f.fee;
    }
    if (tx->bumps >= KMY_SETTLER_BUMPS_MAX || f.fee > s->cap || f.tip > f.fee)
        return false;
    tx->fees = f;
    tx->bumps++;
    return true;
}

/* --- nonces ---------------------------------------------------------------------------------------- */

static uint32_t place_of(const kmy_settler_t *s, uint64_t nonce)
{
    uint32_t i = 0;
    while (i < s->txs_count && s->txs[i].nonce < nonce)
        i++;
    return i;
}

kmy_settler_tx_t *kmy_settler_at(kmy_settler_t *s, uint64_t nonce)
{
    uint32_t i = place_of(s, nonce);
    return i < s->txs_count && s->txs[i].nonce == nonce ? &s->txs[i] : NULL;
}

kmy_settler_tx_t *kmy_settler_of(kmy_settler_t *s, const char *payment_id)
{
    for (uint32_t i = 0; i < s->txs_count; i++) {
        if (s->txs[i].id[0] && strcmp(s->txs[i].id, payment_id) == 0)
            return &s->txs[i];
    }
    return NULL;
}

bool kmy_settler_has_foreign(const kmy_settler_t *s)
{
    bool any = false;
    for (uint32_t i = 0; i < s->txs_count; i++)
        any |= s->txs[i].foreign;
    return any;
}

static kmy_settler_tx_t *insert(kmy_settler_t *s, uint64_t nonce)
{
    KMY_ASSERT(s->txs_count < KMY_SETTLER_TXS_MAX && !kmy_settler_at(s, nonce));
    uint32_t i = place_of(s, nonce);
    memmove(&s->txs[i + 1], &s->txs[i], (s->txs_count - i) * sizeof s->txs[0]);
    s->txs_count++;
    s->txs[i] = (kmy_settler_tx_t){ .nonce = nonce };
    return &s->txs[i];
}

static void remove_tx(kmy_settler_t *s, kmy_settler_tx_t *tx)
{
    uint32_t i = (uint32_t)(tx - s->txs);
    free(tx->data);
    s->txs_count--;
    memmove(&s->txs[i], &s->txs[i + 1], (s->txs_count - i) * sizeof s->txs[0]);
}

/* Nothing of a payment is in it any more. */
static void make_empty(kmy_settler_tx_t *tx)
{
    free(tx->data);
    tx->data = NULL;
    tx->data_bytes = 0;
    tx->id[0] = '\0';
    tx->empty = true;
    tx->gas = KMY_SETTLER_GAS_EMPTY;
}

/* Nonces that were given out and that nobody here knows anything of. */
static void note_foreign(kmy_settler_t *s, int64_t now_ns)
{
    for (uint64_t n = s->mined; n < s->next && s->txs_count < KMY_SETTLER_TXS_MAX; n++) {
        if (kmy_settler_at(s, n))
            continue;
        kmy_settler_tx_t *tx = insert(s, n);
        tx->sent = tx->foreign = true;
        tx->due_ns = now_ns + KMY_SETTLER_STUCK_NS;
        make_empty(tx);
    }
}

void kmy_settler_count(kmy_settler_t *s, uint64_t latest, uint64_t pending, int64_t now_ns)
{
    s->mined = latest;
    while (s->txs_count > 0 && s->txs[0].nonce < latest)
        remove_tx(s, &s->txs[0]);
    if ((!s->known || s->recount) && pending > s->next)
        s->next = pending;
    if (latest > s->next)
        s->next = latest;
    s->known = true;
    s->recount = false;
    note_foreign(s, now_ns);
}

/* The lowest at which nothing stands, or else the next. */
static kmy_settler_tx_t *take_nonce(kmy_settler_t *s)
{
    for (uint32_t i = 0; i < s->txs_count; i++) {
        if (!s->txs[i].sent && !s->txs[i].id[0])
            return &s->txs[i];
    }
    return s->txs_count < KMY_SETTLER_TXS_MAX ? insert(s, s->next++) : NULL;
}

kmy_settler_tx_t *kmy_settler_take(kmy_settler_t *s, const char *payment_id, const uint8_t *to,
                                   const uint8_t *data, size_t data_bytes, uint64_t gas,
                                   int64_t valid_before_s, int64_t now_ns)
{
    kmy_settler_fees_t fees;
    KMY_ASSERT(data_bytes > 0 && strlen(payment_id) <= KMY_PAYMENT_ID_DIGITS);
    KMY_ASSERT(!kmy_settler_of(s, payment_id));
    uint8_t *copy = s->known && !s->recount && price(s, &fees) ? malloc(data_bytes) : NULL;
    kmy_settler_tx_t *tx = copy ? take_nonce(s) : NULL;
    if (!tx) {
        free(copy);
        return NULL;
    }
    memcpy(copy, data, data_bytes);
    *tx = (kmy_settler_tx_t){ .nonce = tx->nonce,
                              .fees = fees,
                              .gas = gas,
                              .due_ns = now_ns + KMY_SETTLER_STUCK_NS,
                              .valid_before_s = valid_before_s,
                              .data = copy,
                              .data_bytes = data_bytes };
    memcpy(tx->id, payment_id, strlen(payment_id));
    memcpy(tx->to, to, sizeof tx->to);
    return tx;
}

/* --- again ------------------------------------------------------------------------------------------- */

/* A gap matters only to those behind it. */
static bool is_due(const kmy_settler_t *s, uint32_t i, int64_t now_ns)
{
    const kmy_settler_tx_t *tx = &s->txs[i];
    bool gap = !tx->sent && !tx->id[0] && i + 1 < s->txs_count;
    return (tx->sent || gap) && tx->due_ns <= now_ns;
}

/* What is sent at that nonce now.  The first at a gap has nothing to outbid; one that only waits behind others is sent once more as it was, for a node that forgot it. */
static void make_ready(const kmy_settler_t *s, kmy_settler_tx_t *tx, int64_t now_s)
{
    kmy_settler_fees_t now = { 0 };
    bool priced = price(s, &now);
    KMY_ASSERT(priced);
    if (!tx->sent || (!tx->empty && now_s >= tx->valid_before_s))
        make_empty(tx); /* nothing is there; or it could only fail, for more gas */
    tx->sent = true;    /* from now on a node may have it */
    if (tx->fees.fee == 0)
        tx->fees = now;
    else if (tx == s->txs || tx->empty || now.fee > tx->fees.fee)
        bump(s, tx);
}

kmy_settler_tx_t *kmy_settler_again(kmy_settler_t *s, int64_t now_ns, int64_t now_s)
{
    kmy_settler_fees_t now;
    for (uint32_t i = 0; i < s->txs_count && price(s, &now); i++) {
        if (!is_due(s, i, now_ns))
            continue;
        make_ready(s, &s->txs[i], now_s);
        return &s->txs[i];
    }
    return NULL;
}

/* Nothing stands at its nonce: free again for the next payment, or no nonce of ours at all if it was the last. */
static void let_go(kmy_settler_t *s, kmy_settler_tx_t *tx, int64_t now_ns)
{
    if (tx->nonce + 1 == s->next) {
        s->next--;
        remove_tx(s, tx);
        return;
    }
    make_empty(tx);
    tx->sent = false;
    tx->fees = (kmy_settler_fees_t){ 0 };
    tx->due_ns = now_ns + KMY_SETTLER_AGAIN_NS;
}

void kmy_settler_drop(kmy_settler_t *s, kmy_settler_tx_t *tx, int64_t now_ns)
{
    KMY_ASSERT(!tx->sent);
    let_go(s, tx, now_ns);
}

void kmy_settler_said(kmy_settler_t *s, kmy_settler_tx_t *tx, kmy_evm_send_t word, int64_t now_ns)
{
    switch (word) {
    case KMY_EVM_SEND_NONCE: /* in a block: this one, or what another holder of our key has sent */
        s->recount = true;
        remove_tx(s, tx);
        return;
    case KMY_EVM_SEND_FUNDS:
        s->coin = 0; /* until the chain is asked again */
        if (!tx->sent) {
            let_go(s, tx, now_ns);
            return;
        }
        tx->due_ns = now_ns + KMY_SETTLER_STUCK_NS;
        return;
    case KMY_EVM_SEND_PRICE:
        tx->sent = true; /* it is to be: dearer, soon */
        tx->due_ns = now_ns + KMY_SETTLER_AGAIN_NS;
        return;
    default:
        tx->sent = true;
        tx->due_ns = now_ns + KMY_SETTLER_STUCK_NS;
    }
}

/* --- whether at all ------------------------------------------------------------------------------------ */

int64_t kmy_settler_left(const kmy_settler_t *s)
{
    uint64_t one = s->base_fee <= s->cap ? s->base_fee + least(s->tip, s->cap) : s->cap;
    uint64_t left = one == 0 ? UINT64_MAX : s->coin / one / KMY_SETTLER_GAS_USUAL;
    return left > INT32_MAX ? INT32_MAX : (int64_t)left;
}

const char *kmy_settler_closed(const kmy_settler_t *s)
{
    kmy_settler_fees_t fees;
    if (s->chain_wrong)
        return "settler_wrong_chain";
    if (!s->chain_checked || !s->known)
        return "settler_unreachable";
    if (!price(s, &fees))
        return "settler_fees_above_cap";
    /* Nodes want the whole of gas x fee to be there, though less is taken. */
    if (s->coin / KMY_SETTLER_GAS_USUAL < fees.fee || s->coin == 0)
        return "settler_out_of_gas";
    return NULL;
}
