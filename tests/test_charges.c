/* engine/charges: what was charged is known exactly, whatever order and overlap it was told in, and the border between free and paid is found. */
#include "engine/charges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

typedef struct row {
    const char *rule;
    kmy_charged_t add[5]; /* { from, to, feed }; to 0: no more */
    kmy_charged_t want[5];
} row_t;

static void runs_are_joined_and_the_newest_are_kept(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { "nothing", { { 0 } }, { { 0 } } },
        { "an empty run is none", { { 5, 5, 1 }, { 7, 6, 1 } }, { { 0 } } },
        { "one", { { 5, 9, 1 } }, { { 5, 9, 1 } } },
        { "feeds are sorted", { { 1, 2, 9 }, { 1, 2, 3 } }, { { 1, 2, 3 }, { 1, 2, 9 } } },
        { "touching is one", { { 5, 9, 1 }, { 9, 12, 1 } }, { { 5, 12, 1 } } },
        { "overlapping is one", { { 5, 9, 1 }, { 7, 12, 1 } }, { { 5, 12, 1 } } },
        { "inside is one", { { 5, 20, 1 }, { 7, 12, 1 } }, { { 5, 20, 1 } } },
        { "touching, but another feed",
          { { 5, 9, 1 }, { 9, 12, 2 } },
          { { 5, 9, 1 }, { 9, 12, 2 } } },
        { "apart is two", { { 30, 40, 1 }, { 5, 9, 1 } }, { { 5, 9, 1 }, { 30, 40, 1 } } },
        { "of three the oldest goes",
          { { 30, 40, 1 }, { 5, 9, 1 }, { 15, 20, 1 } },
          { { 15, 20, 1 }, { 30, 40, 1 } } },
        { "not another feed's",
          { { 30, 40, 1 }, { 5, 9, 0 }, { 5, 9, 1 }, { 15, 20, 1 }, { 1, 2, 2 } },
          { { 5, 9, 0 }, { 15, 20, 1 }, { 30, 40, 1 }, { 1, 2, 2 } } },
        { "three that a fourth joins are one",
          { { 30, 40, 1 }, { 5, 9, 1 }, { 9, 30, 1 } },
          { { 5, 40, 1 } } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_charges_t *l = kmy_charges_new("local:a", 5);
        for (size_t j = 0; j < 5 && rows[i].add[j].to; j++)
            kmy_charges_add(l, rows[i].add[j].feed, rows[i].add[j].from, rows[i].add[j].to);
        kmy_charges_close(l);
        uint32_t want = 0;
        while (want < 5 && rows[i].want[want].to)
            want++;
        if (l->count != want)
            fail_msg("%s: %u runs", rows[i].rule, l->count);
        for (uint32_t j = 0; j < want; j++) {
            if (l->run[j].from != rows[i].want[j].from || l->run[j].to != rows[i].want[j].to ||
                l->run[j].feed != rows[i].want[j].feed)
                fail_msg("%s: run %u", rows[i].rule, j);
        }
        free(l);
    }
}

static void the_border_between_free_and_paid_is_exact(void **state)
{
    (void)state;
    kmy_charges_t *l = kmy_charges_new("local:a", 8);
    kmy_charges_add(l, 1, 10, 20);
    kmy_charges_add(l, 1, 30, 40);
    kmy_charges_add(l, 3, 5, 6);
    kmy_charges_close(l);
    static const struct {
        uint32_t feed;
        uint64_t offset, n, want;
        bool charged, more;
    } rows[] = {
        { 1, 1, 100, 9, false, true },  { 1, 9, 100, 1, false, true },
        { 1, 10, 100, 10, true, true }, { 1, 10, 3, 3, true, true },
        { 1, 19, 100, 1, true, true },  { 1, 20, 100, 10, false, true },
        { 1, 20, 5, 5, false, true },   { 1, 30, 10, 10, true, true },
        { 1, 39, 1, 1, true, true },    { 1, 40, 100, 100, false, false },
        { 0, 10, 7, 7, false, false },  { 2, 10, 7, 7, false, false },
        { 3, 4, 7, 1, false, true },    { 3, 5, 7, 1, true, true },
        { 3, 6, 7, 7, false, false },   { 4, 5, 7, 7, false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool charged;
        bool more;
        uint64_t n =
            kmy_charges_border(l, rows[i].feed, rows[i].offset, rows[i].n, &charged, &more);
        if (n != rows[i].want || charged != rows[i].charged || more != rows[i].more)
            fail_msg("row %zu: %llu %d %d", i, (unsigned long long)n, charged, more);
    }
    free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_joined_and_the_newest_are_kept),
        cmocka_unit_test(the_border_between_free_and_paid_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
