/* A secret is made once, whole or not at all, and read by nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pay/secret_file.h"

static void what_a_file_holds_decides(void **state)
{
    (void)state;
    static const struct {
        const char *content;
        mode_t mode;
        kmy_err_t want;
        size_t len;
    } rows[] = {
        { "0123456789abcdef", 0600, KMY_OK, 16 },
        { "0123456789abcdef\n", 0600, KMY_OK, 16 }, /* an editor's newline */
        { "0123456789abcdef", 0640, KMY_OK, 16 },   /* a group may be the operator's choice */
        { "0123456789abcdef", 0604, KMY_CONFIG, 0 },
        { "short", 0600, KMY_CONFIG, 0 },
        { "0123456789abcdef0", 0600, KMY_CONFIG, 0 }, /* longer than cap */
        { NULL, 0, KMY_NOT_FOUND, 0 },
    };
    char folder[] = "/tmp/kamiyo-secret-XXXXXX";
    char path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.key", folder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t out[17];
        size_t len = 0;
        kmy_errctx_t ctx = { 0 };
        unlink(path);
        FILE *f = rows[i].content ? fopen(path, "w") : NULL;
        if (f) {
            fputs(rows[i].content, f);
            fclose(f);
            assert_int_equal(chmod(path, rows[i].mode), 0);
        }
        size_t cap = i == 5 ? 16 : sizeof out;
        assert_int_equal(kmy_secret_read("test secret", path, 16, out, cap, &len, &ctx),
                         rows[i].want);
        assert_int_equal(len, rows[i].len);
        if (rows[i].want != KMY_OK)
            assert_non_null(strstr(ctx.detail, "test secret"));
    }
    uint8_t out[17];
    size_t len;
    assert_int_equal(kmy_secret_read("test secret", folder, 16, out, sizeof out, &len, NULL),
                     KMY_CONFIG); /* no file */
    unlink(path);
    rmdir(folder);
}

static void the_first_maker_wins_and_all_read_the_same(void **state)
{
    (void)state;
    char folder[] = "/tmp/kamiyo-secret-XXXXXX";
    char path[64];
    struct stat st;
    uint8_t a[KMY_SECRET_MADE_BYTES];
    uint8_t b[KMY_SECRET_MADE_BYTES];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.key", folder);
    assert_int_equal(kmy_secret_load("secret", path, a, NULL), KMY_OK);
    assert_int_equal(kmy_secret_write("secret", path, "another", 7, NULL), KMY_OK);
    assert_int_equal(kmy_secret_load("secret", path, b, NULL), KMY_OK);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* nothing was left beside it */
    assert_int_equal(kmy_secret_load("secret", path, a, NULL), KMY_IO); /* no such folder */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_file_holds_decides),
        cmocka_unit_test(the_first_maker_wins_and_all_read_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
