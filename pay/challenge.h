/* dollar 1/7   in: engine (configuration, price, route)   out: a 402, and the receipt of what came of it */
/* challenge: what a client without money is told, in the words of x402: the offers of both generations at once (v1: members of the body; v2: the
   header PAYMENT-REQUIRED), and the receipt header of a payment.  Sources: the x402 specification, and what the stock clients check (zod rules of
   x402 1.2.0 and @x402/core 2.27.0), which is less forgiving: the v1 client reads every entry before it chooses, so an entry with a network it does
   not know breaks it for all, and an outputSchema of null does; the v2 client wants at least one entry.

   Nothing of a request goes into an offer: the address is the caller's own, so a foreign Host cannot lead a payment elsewhere.

   Pure; any thread; nothing blocks or allocates.  What is borrowed is borrowed for the call. */
#ifndef KMY_PAY_CHALLENGE_H
#define KMY_PAY_CHALLENGE_H

#include "pay/entry.h"
#include "wire/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KMY_CHALLENGE_AMOUNTS_MAX = 4, KMY_CHALLENGE_WAYS_MAX = 16 };

/* A network on which payments are taken. */
typedef struct kmy_pay_way {
    kmy_pay_entry_t entry; /* its amount is not looked at */
    int64_t min_payment_nusd;
    bool in_v1; /* the legacy client knows the network (kmy_pay_network_in_v1) */
} kmy_pay_way_t;

/* The extension sign-in-with-x: a payer proves who it is, and need not pay (pay/signin.h). */
typedef struct kmy_challenge_signin {
    const char *domain; /* as kmy_signin_terms_t has it */
    const char *uri;
    const char *nonce;
    int64_t issued_s; /* Unix; good for KMY_SIGNIN_AGE_S_MAX */
} kmy_challenge_signin_t;

/* Every text is terminated UTF-8. */
typedef struct kmy_challenge {
    const kmy_pay_way_t *ways; /* 1..KMY_CHALLENGE_WAYS_MAX, the preferred ones first */
    size_t ways_count;
    const int64_t *
        amounts_nusd; /* 1..KMY_CHALLENGE_AMOUNTS_MAX, each > 0: any of them is asked for; the first one first */
    size_t amounts_count;
    const char *url; /* of the resource, absolute */
    const char *description;
    const char *mime_type;
    const char *error;                    /* why there is a 402, for people and for clients */
    const kmy_challenge_signin_t *signin; /* NULL: not offered */
    bool
        identifier; /* the extension payment-identifier is understood: a client's own id for its payment */
} kmy_challenge_t;

/* How many entries of each generation are written: a prefix of all there are. */
typedef struct kmy_challenge_cut {
    size_t v1, v2;
} kmy_challenge_cut_t;

/* kmy_challenge_fit: as many as fit into `room` bytes, the v1 members and the v2 header line together (SIZE_MAX: all).  In this order: the first amount on
   each way, v2 before v1; then further amounts of v2, then those of v1, whose stock client pays no more than 0.10 dollars anyway; it ends
   at the first that does not fit.  { 0, 0 }: not one does. */
kmy_challenge_cut_t kmy_challenge_fit(const kmy_challenge_t *ch, size_t room);

/* "x402Version":1,"error":...,"accepts":[...] without braces, `count` entries; nothing if count is 0. */
void kmy_challenge_put_v1(const kmy_challenge_t *ch, size_t count, kmy_buf_t *b);
/* The offer of v2 as an object; as a header line with its CRLF.  count > 0. */
void kmy_challenge_put_v2(const kmy_challenge_t *ch, size_t count, kmy_buf_t *b);
void kmy_challenge_put_header(const kmy_challenge_t *ch, size_t count, kmy_buf_t *b);

/* "sign-in-with-x":{...} as it stands among the extensions, for where nothing is offered; ch->signin, ways and ways_count alone are looked at. */
void kmy_challenge_put_signin(const kmy_challenge_t *ch, kmy_buf_t *b);

/* What became of a payment.  version: of x402 in which it was written, 1 or 2.  reason: NULL or "": it succeeded.  Texts may be "" where nothing is
   known.  network: as that version names it. */
typedef struct kmy_pay_receipt {
    int version;
    const char *transaction, *network, *payer;
    const char *reason;
} kmy_pay_receipt_t;
enum { KMY_RECEIPT_LINE_BYTES_MAX = 768 }; /* 97 + 81 + 48 + 96 and some 90 of names, in base64 */

/* X-PAYMENT-RESPONSE or PAYMENT-RESPONSE, a header line with its CRLF. */
void kmy_challenge_put_receipt(const kmy_pay_receipt_t *r, kmy_buf_t *b);

#endif
