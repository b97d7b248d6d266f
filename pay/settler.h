/* dollar 7/7 (EVM)   in: engine/cashier_settler   out: engine/cashier_settler */
/* settler: the transactions of our own account on one chain: which nonce is next, what each may cost, and which must be sent again.

   An account's transactions are mined in the order of their nonces, without gaps, so one that is stuck holds up all behind it, whoever they are for.  That is why they are
   kept here, by nonce, until the chain has them, and not with the payments they carry: a payment may be given up, its nonce may not.  A nonce that turns out to
   carry nothing any more (its payment ended, or an earlier life of ours used it for what nobody knows) is filled with an empty transaction to ourselves.

   Nothing of it survives a crash, and need not: what became of a payment is said by the token (authorizationState, logs), which nonces are taken by the chain.  An
   authorization moves money once, so one that is sent twice costs gas and nothing else.

   Pure: knows no socket and no clock; one thread.  Nothing blocks; only kmy_settler_take copies (malloc), and what it copied is freed with the transaction.  Wei are those of one unit of gas. */
#ifndef KMY_PAY_SETTLER_H
#define KMY_PAY_SETTLER_H

#include "pay/chain_evm_send.h"
#include "pay/payment_id.h"

#define KMY_SETTLER_TXS_MAX                                                                        \
    128 /* not in a block yet: at 2 s a block 64 payments a second; nodes keep so many of one account while their pool has room */
#define KMY_SETTLER_GAS_MAX                                                                        \
    200000 /* of one payment: FiatToken takes 60,000 to 100,000 by a key, a wallet's own checks come on top */
#define KMY_SETTLER_GAS_USUAL 100000
#define KMY_SETTLER_GAS_EMPTY 21000 /* the yellow paper's G_transaction */
#define KMY_SETTLER_STUCK_NS                                                                       \
    INT64_C(20000000000) /* not mined for so long: sent again.  Ethereum's blocks come every 12 s */
#define KMY_SETTLER_AGAIN_NS  INT64_C(1000000000) /* refused for its price, or a gap: the same */
#define KMY_SETTLER_BUMPS_MAX 12                  /* 1.125^12: four times what it began with */

/* What a transaction offers.  Replacing one takes 10 % more of both (geth; others less): here it is an eighth. */
typedef struct kmy_settler_fees {
    uint64_t tip, fee; /* tip <= fee */
} kmy_settler_fees_t;

/* What one sent now offers: twice the base fee of the latest block (it can rise by an eighth a block: six of them in a row) and the tip, as the cap allows.
   false: not even the next block would take it at that cap. */
bool kmy_settler_price(uint64_t base_fee, uint64_t tip, uint64_t cap, kmy_settler_fees_t *fees);

typedef struct kmy_settler_tx {
    uint64_t nonce;
    bool sent; /* some node may have it; else nothing stands at this nonce */
    bool
        foreign; /* an earlier life's, or one that a reorganization took away: what it is nobody knows */
    bool empty; /* to ourselves, to fill the nonce; no payment's */
    uint8_t bumps;
    kmy_settler_fees_t fees;
    uint64_t gas;
    int64_t due_ns; /* monotonic: sent again then, if it is not in a block */
    int64_t valid_before_s;
    char id[KMY_PAYMENT_ID_DIGITS + 1]; /* its payment's; "": none */
    char hash[KMY_EVM_TX_TEXT_BYTES];   /* of what was sent last; "": nothing */
    uint8_t to[KMY_EVM_ADDRESS_BYTES];
    uint8_t *data; /* owned; NULL: empty */
    size_t data_bytes;
} kmy_settler_tx_t;

typedef struct kmy_settler {
    bool known;     /* the chain was asked for `next` */
    bool recount;   /* somebody else uses our key: it must be asked again */
    uint64_t next;  /* the first nonce that was never given out */
    uint64_t mined; /* all below are in blocks, as far as we know */
    uint32_t txs_count;
    kmy_settler_tx_t txs[KMY_SETTLER_TXS_MAX]; /* by nonce, from the lowest */
    /* What the account meets with now; the owner writes them. */
    bool chain_checked, chain_wrong;
    uint64_t base_fee, tip, cap, coin; /* wei; coin: what the account has in all */
} kmy_settler_t;

void kmy_settler_init(kmy_settler_t *s, uint64_t cap);
void kmy_settler_free(kmy_settler_t *s); /* what its transactions own */

/* The chain counts `latest` in blocks; pending: and in what waits, asked where !known or recount, else 0. */
void kmy_settler_count(kmy_settler_t *s, uint64_t latest, uint64_t pending, int64_t now_ns);

/* A nonce for a payment's call, which is copied: the lowest that is free.  NULL: not known yet, KMY_SETTLER_TXS_MAX are under way, no price that the cap allows, or
   no memory.  It counts as not sent until kmy_settler_said. */
kmy_settler_tx_t *kmy_settler_take(kmy_settler_t *s, const char *payment_id, const uint8_t *to,
                                   const uint8_t *data, size_t data_bytes, uint64_t gas,
                                   int64_t valid_before_s, int64_t now_ns);
/* The one that carries this payment; NULL: none, or its nonce is in a block. */
kmy_settler_tx_t *kmy_settler_of(kmy_settler_t *s, const char *payment_id);
/* Are there any of an earlier life, of which nobody knows what they carry? */
bool kmy_settler_has_foreign(const kmy_settler_t *s);
kmy_settler_tx_t *kmy_settler_at(kmy_settler_t *s, uint64_t nonce);

/* The lowest that must be sent (again) now, made ready for that: dearer, or empty, where it must be.  NULL: none, or no price that the cap
   allows. */
kmy_settler_tx_t *kmy_settler_again(kmy_settler_t *s, int64_t now_ns, int64_t now_s);

/* It was sent, and the node said that.  May remove it (NONCE; FUNDS of one that was never sent): tx is then not to be used any more. */
void kmy_settler_said(kmy_settler_t *s, kmy_settler_tx_t *tx, kmy_evm_send_t word, int64_t now_ns);
/* It was not sent at all. */
void kmy_settler_drop(kmy_settler_t *s, kmy_settler_tx_t *tx, int64_t now_ns);

/* Why no payment can be settled now, in a word for people and programs (static); NULL: it can.  What is not known yet ("settler_unreachable") may be soon. */
const char *kmy_settler_closed(const kmy_settler_t *s);
/* How many usual payments the account can still pay for, at most INT32_MAX. */
int64_t kmy_settler_left(const kmy_settler_t *s);

#endif
