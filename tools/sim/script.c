/* script: trouble by the clock.  Lines "at 2.5s stall binance 5s key=value..."; '#' begins a comment; times count from the ready line. */
#include "tools/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 1024
#define WORDS_MAX 16

struct sim_script {
    size_t count, at; /* at: the next to be done */
    struct {
        int64_t at_ns;
        sim_trouble_t trouble;
    } lines[LINES_MAX];
};

static int split(char *line, char *words[WORDS_MAX])
{
    int n = 0;
    char *save = NULL;
    line[strcspn(line, "#")] = '\0';
    for (char *w = strtok_r(line, " \t\r\n", &save); w && n < WORDS_MAX;
         w = strtok_r(NULL, " \t\r\n", &save))
        words[n++] = w;
    return n;
}

static kmy_err_t add(sim_script_t *s, char *text, kmy_errctx_t *ctx)
{
    char *words[WORDS_MAX];
    int n = split(text, words);
    double seconds;
    if (n == 0)
        return KMY_OK;
    if (n < 3 || strcmp(words[0], "at") != 0 || !sim_duration(words[1], &seconds))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "expected: at TIME KIND [TARGET] [DURATION] [key=value...]");
    if (s->count == LINES_MAX)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "more than %d lines", LINES_MAX);
    json_t *root = sim_trouble_from_words(n - 2, words + 2, ctx);
    kmy_err_t err =
        root ? sim_trouble_from_json(root, &s->lines[s->count].trouble, ctx) : KMY_BAD_INPUT;
    json_decref(root);
    if (err == KMY_OK)
        s->lines[s->count++].at_ns = (int64_t)(seconds * 1e9);
    return err;
}

/* In order of time; what stands at the same time stays in order of the file. */
static void order(sim_script_t *s)
{
    for (size_t i = 1; i < s->count; i++)
        for (size_t k = i; k > 0 && s->lines[k].at_ns < s->lines[k - 1].at_ns; k--) {
            __typeof__(s->lines[0]) t = s->lines[k];
            s->lines[k] = s->lines[k - 1];
            s->lines[k - 1] = t;
        }
}

kmy_err_t sim_script_load(const char *path, sim_script_t **out, kmy_errctx_t *ctx)
{
    char line[1024];
    int number = 0;
    kmy_err_t err = KMY_OK;
    FILE *f = fopen(path, "r");
    if (!f)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot open script %.120s: %s", path, strerror(errno));
    sim_script_t *s = calloc(1, sizeof *s);
    while (s && err == KMY_OK && fgets(line, sizeof line, f)) {
        kmy_errctx_t why = { 0 };
        number++;
        err = add(s, line, &why);
        if (err != KMY_OK)
            KMY_FAIL(ctx, err, "%.60s:%d: %.110s", path, number, why.detail);
    }
    fclose(f);
    if (!s || err != KMY_OK) {
        free(s);
        return s ? err : KMY_FAIL(ctx, KMY_TOO_BIG, "out of memory");
    }
    order(s);
    *out = s;
    return KMY_OK;
}

void sim_script_run(sim_t *sim)
{
    sim_script_t *s = sim->script;
    while (s && s->at < s->count && sim->now_ns - sim->start_ns >= s->lines[s->at].at_ns)
        sim_mischief_do(sim, &s->lines[s->at++].trouble);
}

void sim_script_free(sim_script_t *script)
{
    free(script);
}
