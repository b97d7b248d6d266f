/* cashier_inside: what the files of the cashier know of each other.  Everything here belongs to its thread.

   A case is something that takes more than one step: a payment under way, or a transfer that is looked up.  At each instant a case either waits for one
   job of the keeper, or for one call, or for a time (due_ns) at which its next step is run; never for two of them, so nothing is ever under way twice.

       cashier.c           the thread: slips in, slips out, turn
       cashier_case.c      cases, their jobs and calls
       cashier_verify.c    a presented payment, judged: case, or refusal
       cashier_contract.c  a contract wallet's signature
       cashier_funds.c    has its payer the money: before it is written down
       cashier_pay.c       the life of a payment: reserved, and then what pay/settle says
       cashier_ask.c       what facilitator and chain are asked for that
       cashier_ask_solana.c  the same of Solana
       cashier_settler.c   payments that we submit ourselves
       cashier_watch.c     settled payments, until no reorganization reaches them
       cashier_end.c       how it ends, and what the payer is told
       cashier_desk.c      sign-in, state, answer: what the keeper alone knows
       cashier_transfer.c  a transfer that was made without us
       cashier_holds.c     queries that were paid and never answered
       cashier_open.c      payments of an earlier life
       cashier_stake.c     what accounts have staked */
#ifndef KMY_ENGINE_CASHIER_INSIDE_H
#define KMY_ENGINE_CASHIER_INSIDE_H

#include "base/clock.h"
#include "base/log.h"
#include "base/strmap.h"
#include "engine/calls.h"
#include "engine/cashier.h"
#include "engine/settler_key.h"
#include "pay/chain_evm.h"
#include "pay/challenge.h"
#include "pay/facilitator.h"
#include "pay/settle.h"
#include "pay/settler.h"
#include "pay/token.h"
#include "pay/verify.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    KMY_CASES = 1024,
    KMY_CASES_RESERVE = 64, /* not for payments of an earlier life: somebody waits now */
    KMY_WAITS = KMY_SHARDS_MAX * KMY_SLIPS,
    KMY_CALL_RPC_MS = 10000,
    KMY_CALL_SETTLE_MS =
        30000, /* then the chain is asked: a facilitator that is still at it loses nothing by that */
    KMY_CALL_SETTLE_BLIND_MS = 90000, /* where only its word counts: as the stock server waits */
    KMY_ROOM_MS = 5,                  /* no place for a job or call: tried again so soon */
    KMY_DISK_MS = 1000,               /* the disk refused: the same */
    KMY_CALL_STAKE_MS = 5000,
    KMY_HOLD_LOOKS = 10, /* within the time a hold has: it lasts a tenth longer at most */
};

typedef struct kmy_case kmy_case_t;
typedef void kmy_case_step_t(kmy_cashier_t *c, kmy_case_t *k);
typedef void kmy_case_job_t(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job);
typedef void kmy_case_call_t(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a);

/* Our own account on a network: cashier_settler.c. */
typedef struct kmy_cashier_settler {
    kmy_settler_t table;
    kmy_case_t *round;
    int64_t prices_ns; /* monotonic: what gas costs and the account has is asked again then */
    const char *said;  /* why it is closed, as the log has it; NULL: it is open */
} kmy_cashier_settler_t;

/* A network on which payments are taken. */
typedef struct kmy_cashier_network {
    kmy_pay_way_t way;
    const char *rpc; /* "": the facilitator is believed */
    uint64_t confirmations;
    kmy_cashier_settler_t *settler; /* payments are submitted by us; NULL: by the facilitator */
    bool taken;                     /* by either of them; else only transfers are looked up here */
} kmy_cashier_network_t;

typedef enum {
    KMY_CASE_FREE,
    KMY_CASE_PAYMENT,
    KMY_CASE_TRANSFER,
    KMY_CASE_WATCH,
    KMY_CASE_SETTLER, /* the round of a network; it never ends */
} kmy_case_kind_t;

struct kmy_case {
    uint32_t gen;
    uint8_t kind;
    bool busy;      /* a job or a call is under way */
    bool in_ledger; /* reserved, or about to be: who presents it joins this one */
    bool unwritten; /* not yet: its chain is asked whether its payer has the money */
    bool funded;    /* the chain said so, in this life */
    bool settling;  /* settle has begun: it says what is done next */
    bool retry;     /* it was presented again: settle is to be told */
    bool waiting;   /* for settle's timer, and nothing else */
    bool
        late; /* presented when it could not be settled any more: only what the ledger has counts */
    bool known_only; /* of the slip: looked up and never entered, so nobody joins it */
    int64_t due_ns;  /* monotonic; INT64_MAX: waits for an answer, or for nothing */
    kmy_case_step_t *step;
    kmy_case_job_t *then_job;
    kmy_case_call_t *then_call;
    const kmy_cashier_network_t *net;
    kmy_pay_entry_t entry;                     /* at what was paid */
    kmy_payment_row_t row;                     /* as the ledger has it; json is this case's */
    char *json;                                /* the decoded payment; owned */
    char payer_account[KMY_ACCOUNT_BYTES_MAX]; /* where it will be credited; "": not looked up */
    char resource_url[512];

    kmy_settle_t settle;
    kmy_settle_t before; /* settle before the step whose action is to be saved */
    kmy_settle_action_t action;
    uint64_t ask_id;      /* of the last JSON-RPC question */
    kmy_evm_block_t head; /* asked before it */

    /* Submitted by us (cashier_settler.c). */
    int64_t own_until_ns;               /* monotonic: patience ends */
    uint64_t own_gas, own_nonce;        /* own_nonce: SETTLER, of what is being sent again */
    char own_tx[KMY_EVM_TX_TEXT_BYTES]; /* "": nothing was sent yet */

    uint64_t depth;                         /* Solana: of the transaction that is being looked at */
    struct kmy_case_candidates *candidates; /* Solana: those that may be the one; owned */
    uint32_t gone_count;                    /* WATCH: looks in a row that did not find it */

    uint8_t digest
        [32]; /* EVM, contract wallets: what was signed, and where the signature stands in json */
    uint32_t signature_at, signature_bytes;

    struct {
        kmy_err_t err;
        const char *reason, *detail; /* borrowed while it is told */
    } refusal;
    const kmy_job_t *kept_job;              /* the same: a query's answer as it was kept */
    kmy_account_t account;                  /* figures after the settlement, or the transfers */
    uint32_t transfer_shard, transfer_slip; /* TRANSFER: who asked */
    kmy_evm_transfer_t transfers[KMY_EVM_TRANSFERS_MAX];
    uint32_t transfers_count, transfers_done;
    int64_t credited_nusd;
    bool contract; /* TRANSFER: its sender is one */
};

/* A slip that waits for a case. */
typedef struct kmy_wait {
    uint32_t shard, slip;
    uint32_t case_idx;
} kmy_wait_t;

/* Who a job was for. */
typedef struct kmy_job_note {
    void (*done)(kmy_cashier_t *c, kmy_job_t *job);
    uint32_t idx, gen;    /* of a case */
    uint32_t shard, slip; /* of a slip */
} kmy_job_note_t;

struct kmy_cashier {
    kmy_cashier_options_t o;
    kmy_topology_t *topology;
    kmy_metrics_t *metrics;
    kmy_calls_t *calls;
    char bearer[1024]; /* of the facilitator; wiped */
    char settle_url[KMY_CONFIG_TEXT_BYTES_MAX + 16];
    char verify_url[KMY_CONFIG_TEXT_BYTES_MAX + 16];
    kmy_cashier_network_t networks[KMY_CONFIG_NETWORKS_MAX];
    uint32_t networks_count;
    kmy_pay_entry_t *offer; /* networks_count x KMY_SLIP_AMOUNTS_MAX, made for each slip */
    kmy_case_t *cases;      /* KMY_CASES */
    uint32_t cases_count;
    uint32_t watched_count;                  /* of them, WATCH */
    uint32_t settlers_count;                 /* of them, SETTLER */
    uint8_t settler_key[KMY_SECP_KEY_BYTES]; /* wiped */
    uint8_t settler_address[KMY_EVM_ADDRESS_BYTES];
    kmy_strmap_t ids; /* payment id -> case, of those in the ledger */
    kmy_wait_t waits[KMY_WAITS];
    uint32_t waits_count;
    kmy_job_note_t notes[KMY_JOBS];
    uint64_t jobs_free[KMY_JOBS / 64];
    uint32_t jobs_free_count;
    uint64_t ask_id; /* of the last JSON-RPC question */
    int64_t now_ns;  /* monotonic, once per turn */
    int64_t now_s;   /* Unix */
    bool draining;
    bool open_done;    /* all open payments of earlier lives were seen */
    bool settled_done; /* then also those that settled so lately that they are still watched */
    bool open_asked;
    char open_id[KMY_PAYMENT_ID_BYTES]; /* of the last one */
    int64_t open_again_ns;
    bool holds_asked;
    int64_t holds_due_ns;
    struct kmy_stakes *stakes; /* owned; NULL: nobody has any */
    atomic_bool drain, stop;
    pthread_t thread;
};

/* --- cashier.c --- */

static inline kmy_slip_t *kmy_cashier_slip(kmy_cashier_t *c, uint32_t shard, uint32_t slip)
{
    return &c->topology->slips[shard][slip];
}
/* Back to its shard. */
void kmy_cashier_answer(kmy_cashier_t *c, uint32_t shard, uint32_t slip, kmy_slip_result_t result);
void kmy_cashier_refuse(kmy_cashier_t *c, uint32_t shard, uint32_t slip, kmy_err_t err,
                        const char *reason, const char *detail);
/* What to do with a slip that waited for k, which has come to its end (or half of it): calls fill for each, which sets result and members. */
typedef void kmy_case_fill_t(kmy_cashier_t *c, kmy_case_t *k, kmy_slip_t *slip);
void kmy_cashier_answer_case(kmy_cashier_t *c, kmy_case_t *k, kmy_case_fill_t *fill);
void kmy_cashier_attach(kmy_cashier_t *c, kmy_case_t *k, uint32_t shard, uint32_t slip);
bool kmy_cashier_waits(const kmy_cashier_t *c, const kmy_case_t *k);
/* All who wait for k came when its authorization was known to others: slip.h. */
void kmy_cashier_expose(kmy_cashier_t *c, const kmy_case_t *k);

/* --- cashier_case.c --- */

/* A new one, due at once; NULL: none free.  kmy_case_free: nobody waits for it any more. */
kmy_case_t *kmy_case_take(kmy_cashier_t *c, kmy_case_kind_t kind);
void kmy_case_free(kmy_cashier_t *c, kmy_case_t *k);
kmy_case_t *kmy_case_of(kmy_cashier_t *c, const char *payment_id);
/* Its id is known to be in the ledger (or on the way there): the next who presents it joins it. */
void kmy_case_enter(kmy_cashier_t *c, kmy_case_t *k);
/* The opposite; what was presented is forgotten. */
void kmy_case_leave(kmy_cashier_t *c, kmy_case_t *k);
void kmy_case_next(kmy_cashier_t *c, kmy_case_t *k, kmy_case_step_t *step);
void kmy_case_later(kmy_cashier_t *c, kmy_case_t *k, kmy_case_step_t *step, int64_t ns);
/* A free job, zeroed but for json and body; NULL: none.  kmy_case_send: with row, json and kind filled: then is called with the answer; the job
   is given back after that. */
kmy_job_t *kmy_cashier_job(kmy_cashier_t *c);
void kmy_cashier_send(kmy_cashier_t *c, kmy_job_t *job, const kmy_job_note_t *note);
void kmy_cashier_give_back(kmy_cashier_t *c, kmy_job_t *job); /* not sent after all */
/* A job about k's row, of that kind; NULL: none is free, k->step is run again soon.  with_json: what was presented goes along. */
kmy_job_t *kmy_case_job(kmy_cashier_t *c, kmy_case_t *k, kmy_job_kind_t kind, bool with_json);
void kmy_case_send(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job, kmy_case_job_t *then);
/* Asks the network's node; false: no place, k->step is run again soon. */
uint64_t kmy_case_question(kmy_cashier_t *c, kmy_case_t *k); /* its number, also in k->ask_id */
bool kmy_case_ask(kmy_cashier_t *c, kmy_case_t *k, const kmy_buf_t *question,
                  kmy_case_call_t *then);
bool kmy_case_call(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_t *call, kmy_case_call_t *then);
/* Runs what is due; returns when the next is (monotonic). */
int64_t kmy_cases_turn(kmy_cashier_t *c);
uint32_t kmy_jobs_turn(kmy_cashier_t *c);

/* --- the others: a slip that came; a case that begins --- */
/* Is `account`, whichever chain it is named after, that of this payer (CAIP-10)?  A key holds an address on all EVM chains; a contract only on its own. */
bool kmy_payer_has(const char *account, const char *payer, bool contract);
void kmy_cashier_presented(kmy_cashier_t *c, uint32_t shard, uint32_t slip);
void kmy_cashier_transfer(kmy_cashier_t *c, uint32_t shard, uint32_t slip);
void kmy_cashier_desk(kmy_cashier_t *c, uint32_t shard, uint32_t slip);
void kmy_contract_begin(kmy_cashier_t *c, kmy_case_t *k);
/* Has it reserved, if its payer has the money; the first who presents it waits already, or not. */
void kmy_pay_begin(kmy_cashier_t *c, kmy_case_t *k);
/* A payment that the ledger does not know: kmy_pay_reserve comes next, or a refusal.  Of a network with rpc. */
void kmy_funds_begin(kmy_cashier_t *c, kmy_case_t *k);
void kmy_pay_reserve(kmy_cashier_t *c, kmy_case_t *k);
/* row is what the ledger has of it: goes on from there. */
void kmy_pay_go_on(kmy_cashier_t *c, kmy_case_t *k);
/* It was presented again while it is under way. */
void kmy_pay_again(kmy_cashier_t *c, kmy_case_t *k);
/* Something happened to it. */
void kmy_pay_event(kmy_cashier_t *c, kmy_case_t *k, const kmy_settle_event_t *e);
/* Asks what settle wants to know. */
void kmy_ask(kmy_cashier_t *c, kmy_case_t *k);
void kmy_ask_solana(kmy_cashier_t *c, kmy_case_t *k);
/* The same of a payment that we submit ourselves: SETTLE_YES, _NO or _LOST comes of it. */
void kmy_settler_submit(kmy_cashier_t *c, kmy_case_t *k);
/* Why a new payment on k's network cannot be settled now, a word of pay/settler; NULL: it can, or a facilitator does it.  _detail: that word for people; NULL: none of
   those. */
const char *kmy_settler_refuses(const kmy_case_t *k);
const char *kmy_settler_detail(const char *reason);
/* Start and stop.  false: no memory. */
bool kmy_settler_open(kmy_cashier_t *c, kmy_cashier_network_t *net, int64_t max_fee_gwei);
void kmy_settler_close(kmy_cashier_network_t *net);
/* POSTs k's payment to /verify or /settle; once: it must not arrive twice.  false: no place, k->step is run again soon. */
bool kmy_ask_facilitator(kmy_cashier_t *c, kmy_case_t *k, const char *url, bool once,
                         kmy_case_call_t *then);
/* Ends: of one that never reached the ledger; of one that failed (settle.reason), whose case may go on; of one that is settled. */
void kmy_end_refuse(kmy_cashier_t *c, kmy_case_t *k, kmy_err_t err, const char *reason,
                    const char *detail);
void kmy_end_failed(kmy_cashier_t *c, kmy_case_t *k);
void kmy_end_settled(kmy_cashier_t *c, kmy_case_t *k);
/* Why a query's payment that was used has no answer (any more); static. */
const char *kmy_end_used(const kmy_payment_row_t *r);
/* Step, known_only: the answer that is kept for it, or that there is none. */
void kmy_end_known(kmy_cashier_t *c, kmy_case_t *k);
/* One that settled in an earlier life: the watch goes on. */
void kmy_watch_resume(kmy_cashier_t *c, const kmy_cashier_network_t *net,
                      const kmy_payment_row_t *row);
/* Watches it, or frees it where there is nothing to watch. */
void kmy_watch_begin(kmy_cashier_t *c, kmy_case_t *k);
/* Returns when it wants to be called again. */
int64_t kmy_open_turn(kmy_cashier_t *c);
int64_t kmy_holds_turn(kmy_cashier_t *c); /* the same */
/* KMY_IO: no memory.  Leaves c->stakes NULL where no mint is configured; kmy_stakes_free: NULL is allowed. */
kmy_err_t kmy_stakes_new(kmy_cashier_t *c, kmy_errctx_t *ctx);
void kmy_stakes_free(struct kmy_stakes *stakes);
void kmy_cashier_stake(kmy_cashier_t *c, uint32_t shard, uint32_t slip);
int64_t kmy_stakes_turn(kmy_cashier_t *c); /* as kmy_open_turn */
const kmy_cashier_network_t *kmy_cashier_network(const kmy_cashier_t *c, const char *name_or_chain);

#endif
