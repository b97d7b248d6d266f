/* The secret: made once, kept private, read the same for ever. */
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

#include "pay/token.h"

static char dir[] = "/tmp/kamiyo-secret-XXXXXX";
static char file[64];
static kmy_errctx_t ctx;

static void put_file(const char *text, size_t len, mode_t mode)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    fclose(f);
    assert_int_equal(chmod(file, mode), 0);
}

static void a_secret_is_made_once_with_mode_0600(void **state)
{
    uint8_t first[128];
    uint8_t again[128];
    size_t len = 0;
    struct stat st;
    char made[64];
    (void)state;
    snprintf(made, sizeof made, "%s/token.key", dir);
    assert_int_equal(kmy_token_secret_load("", dir, first, sizeof first, &len, &ctx), KMY_OK);
    assert_int_equal(len, 32);
    assert_int_equal(stat(made, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_nlink, 1); /* nothing left aside */
    assert_int_equal(kmy_token_secret_load(NULL, dir, again, sizeof again, &len, &ctx), KMY_OK);
    assert_memory_equal(first, again, 32);
    assert_int_equal(kmy_token_secret_load(made, dir, again, sizeof again, &len, &ctx), KMY_OK);
    assert_int_equal(len, 32);
    assert_memory_equal(first, again, 32);
    unlink(made);
    assert_int_equal(kmy_token_secret_load("", dir, again, sizeof again, &len, &ctx), KMY_OK);
    assert_memory_not_equal(first, again, 32);
    unlink(made);
}

static void a_secret_file_is_private_long_enough_and_no_longer_than_there_is_room(void **state)
{
    static const char text[] = "0123456789abcdef0123456789abcdef\nrest-of-a-long-secret";
    static const struct {
        size_t len;
        mode_t mode;
        size_t cap;
        kmy_err_t want;
        size_t want_len;
    } rows[] = {
        { 32, 0600, 64, KMY_OK, 32 },    { 33, 0600, 64, KMY_OK, 32 }, /* the newline is not it */
        { 34, 0600, 64, KMY_OK, 34 },                                  /* inside it is */
        { 32, 0640, 64, KMY_OK, 32 },    { 32, 0604, 64, KMY_CONFIG, 0 },
        { 32, 0602, 64, KMY_CONFIG, 0 }, { 31, 0600, 64, KMY_CONFIG, 0 },
        { 0, 0600, 64, KMY_CONFIG, 0 },  { 40, 0600, 40, KMY_OK, 40 },
        { 41, 0600, 40, KMY_CONFIG, 0 },
    };
    uint8_t out[64];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = 0;
        put_file(text, rows[i].len, rows[i].mode);
        assert_int_equal(kmy_token_secret_load(file, dir, out, rows[i].cap, &len, &ctx),
                         rows[i].want);
        if (rows[i].want == KMY_OK) {
            assert_int_equal(len, rows[i].want_len);
            assert_memory_equal(out, text, len);
        } else {
            assert_non_null(strstr(ctx.detail, file));
        }
        unlink(file);
    }
    size_t len;
    assert_int_equal(kmy_token_secret_load(file, dir, out, sizeof out, &len, &ctx), KMY_CONFIG);
    assert_int_equal(kmy_token_secret_load(dir, dir, out, sizeof out, &len, &ctx), KMY_CONFIG);
    assert_int_equal(kmy_token_secret_load("", "/nonexistent", out, sizeof out, &len, &ctx),
                     KMY_IO);
}

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return 1;
    snprintf(file, sizeof file, "%s/secret", dir);
    return 0;
}
static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_made_once_with_mode_0600),
        cmocka_unit_test(a_secret_file_is_private_long_enough_and_no_longer_than_there_is_room),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
