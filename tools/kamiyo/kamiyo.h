/* kamiyo: the client at a terminal.  One verb a file; this is what they share.  Exit codes: 0 done, 1 failed, 2 wrong usage; an error is one line
   on stderr that says what, where and what to do.  Single-threaded; everything here may block. */
#ifndef KMY_TOOLS_KAMIYO_H
#define KMY_TOOLS_KAMIYO_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

typedef struct cli {
    const char *verb;
    const char *url;   /* public door, without a trailing slash */
    const char *admin; /* admin door, the same */
    const char *token; /* NULL: none */
    const char *data;  /* the daemon's folder */
    const char *ca;    /* NULL: the system's certificates */
    const char *feed;
    const char *account;
    const char *usd;
    const char *spend;  /* of token mint: its cap; NULL: none */
    uint64_t rate;      /* of token mint: requests a minute; 0: as the account is limited */
    const char *window; /* of account usage; NULL: 24h */
    const char *feeds;  /* of token mint: names and patterns, by commas; NULL: all */
    const char *secret_file;
    const char *wallet; /* of deposit: file with the key; NULL: KAMIYO_WALLET_KEY */
    const char *key;    /* of verify: file or URL; NULL: the public door's */
    const char *config; /* the daemon's configuration, for check payment; NULL: defaults */
    const char *network, *amount, *pay_to, *fee_payer, *memo,
        *resource;     /* of check payment's offer */
    int64_t timeout_s; /* of that offer; 0: the default */
    int64_t now_s;     /* 0: the clock */
    int64_t ttl_s;     /* 0: the daemon's default */
    int64_t seconds;   /* 0: until interrupted */
    uint64_t count;    /* 0: no limit */
    bool json;
    bool with_secrets, force, drop; /* of backup, of restore, of token rotate */
    char **words;                   /* what is left behind the verb; borrowed from argv */
    int words_count;
} cli_t;

/* The verbs: each returns an exit code. */
int cli_feeds(const cli_t *cli);
int cli_get(const cli_t *cli);
int cli_batch(const cli_t *cli);
int cli_stream(const cli_t *cli);
int cli_compare(const cli_t *cli);
int cli_history(const cli_t *cli);
int cli_account(const cli_t *cli);
int cli_usage_of_account(const cli_t *cli); /* account usage */
int cli_ledger_dump(const cli_t *cli);      /* ledger dump */
int cli_deposit(const cli_t *cli);
int cli_snapshot(const cli_t *cli);
int cli_conns(const cli_t *cli);
int cli_sources(const cli_t *cli);
int cli_drain(const cli_t *cli);
int cli_token(const cli_t *cli);
int cli_ledger(const cli_t *cli);
int cli_check(const cli_t *cli);
int cli_verify(const cli_t *cli);
int cli_backup(const cli_t *cli);
int cli_restore(const cli_t *cli);

/* One line on stderr, "kamiyo stream: ...", with nothing unprintable in it; returns CLI_FAILED or CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_fail(const cli_t *cli, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) int cli_wrong(const cli_t *cli, const char *fmt, ...);

#define CLI_NO_TOKEN                                                                               \
    "no token: give --token or set KAMIYO_TOKEN (kamiyo deposit USD buys one; an operator makes "  \
    "one with kamiyo token mint)"
/* What a 503 without a word means: a door answers so before it has read a request. */
#define CLI_NO_ROOM "no new connections are taken there now: it drains or is full"

/* http.c: one request to a door; the answer's JSON is *out, the caller's to json_decref (NULL on failure).  A status of 400 or more is a failure:
   the problem's code, detail and nearest name are told.  Returns an exit code. */
typedef enum {
    CLI_PUBLIC,
    CLI_PUBLIC_PAID,
    CLI_ADMIN
} cli_door_t; /* with no bearer, the customer's, the operator's */
int cli_request(const cli_t *cli, cli_door_t door, const char *path, const json_t *body,
                json_t **out);
/* `text` percent-encoded behind `path`; the caller frees. */
char *cli_path(const char *path, const char *text);

/* One POST without a body to the public door, with one more header line (NULL: none).  CLI_OK: there was an answer, of whichever status; the caller
   frees *x.  Else the fault was told.  cli_problem tells the answer's. */
typedef struct cli_exchange {
    long status;
    long retry_s; /* of Retry-After; 0: none */
    char *offer;  /* the value of PAYMENT-REQUIRED; NULL: none */
    json_t *body; /* NULL: no JSON */
} cli_exchange_t;
int cli_exchange(const cli_t *cli, const char *path, const char *line, cli_exchange_t *x);
void cli_exchange_free(cli_exchange_t *x);
int cli_problem(const cli_t *cli, const char *path, const cli_exchange_t *x);

/* print.c: JSON as one line, and cells of tables (missing members are "-"; nothing unprintable reaches the terminal). */
void cli_print_json(const json_t *value);
const char *cli_cell(const json_t *object, const char *member, char *out, size_t cap);
/* The rows of an array of objects under the named members; `heads` are shown above. */
void cli_table(const json_t *rows, const char *const *members, const char *const *heads,
               const int *widths, size_t count);
/* Its two parts, for a table that comes in pages. */
void cli_table_head(const char *const *heads, const int *widths, size_t count);
void cli_table_rows(const json_t *rows, const char *const *members, const int *widths,
                    size_t count);

#endif
