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
#include "pay/token_jws.h"

#include <dirent.h>

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

/* What the folder's keys say of tokens that earlier ones signed. */
static bool opens(const char *token, int64_t now_s)
{
    char payload[KMY_TOKEN_PAYLOAD_BYTES_MAX];
    size_t len;
    kmy_token_key_t *keys = kmy_token_keys_load("", dir, now_s, &ctx);
    if (!keys)
        fail_msg("%s", ctx.detail);
    bool good = kmy_token_jws_open(keys, token, strlen(token), payload, &len, NULL) == KMY_OK;
    kmy_token_key_free(keys);
    return good;
}

static void sign_now(int64_t now_s, char token[KMY_TOKEN_BYTES_MAX])
{
    kmy_token_key_t *keys = kmy_token_keys_load("", dir, now_s, &ctx);
    assert_non_null(keys);
    assert_true(kmy_token_jws_sign(keys, "{}", 2, token, KMY_TOKEN_BYTES_MAX) > 0);
    kmy_token_key_free(keys);
}

static size_t files(void)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void clear_folder(void)
{
    char path[512];
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    closedir(d);
}

static void a_rotated_key_checks_until_its_tokens_have_expired(void **state)
{
    enum { NOW = 1795000000, LIFE = 86400 };
    char first[KMY_TOKEN_BYTES_MAX];
    char second[KMY_TOKEN_BYTES_MAX];
    (void)state;
    clear_folder();
    sign_now(NOW, first);
    assert_int_equal(kmy_token_keys_rotate(dir, NOW, NOW + LIFE, false, &ctx), KMY_OK);
    sign_now(NOW, second);
    assert_true(opens(first, NOW + LIFE - 1));
    assert_false(opens(first, NOW + LIFE));
    assert_true(opens(second, NOW + 10 * LIFE));
    assert_int_equal(files(), 2);
    /* Within the same second again; and the first key's file goes when its time is over. */
    assert_int_equal(kmy_token_keys_rotate(dir, NOW, NOW + LIFE, false, &ctx), KMY_OK);
    assert_int_equal(files(), 3);
    assert_true(opens(first, NOW) && opens(second, NOW));
    assert_int_equal(kmy_token_keys_rotate(dir, NOW + LIFE + 5, NOW + 2 * LIFE, false, &ctx),
                     KMY_OK);
    assert_int_equal(files(), 2);
    clear_folder();
}

static void a_leaked_key_is_void_at_once(void **state)
{
    char first[KMY_TOKEN_BYTES_MAX];
    char second[KMY_TOKEN_BYTES_MAX];
    (void)state;
    clear_folder();
    sign_now(1, first);
    assert_int_equal(kmy_token_keys_rotate(dir, 1, 100, false, &ctx), KMY_OK);
    sign_now(1, second);
    assert_int_equal(kmy_token_keys_rotate(dir, 1, 100, true, &ctx), KMY_OK);
    assert_false(opens(first, 2) || opens(second, 2));
    assert_int_equal(files(), 1);
    clear_folder();
}

static void too_many_rotations_are_refused_and_change_nothing(void **state)
{
    char token[KMY_TOKEN_BYTES_MAX];
    (void)state;
    clear_folder();
    sign_now(1, token);
    for (int i = 1; i < KMY_TOKEN_KEYS_MAX; i++)
        assert_int_equal(kmy_token_keys_rotate(dir, 1, 100, false, &ctx), KMY_OK);
    assert_int_equal(kmy_token_keys_rotate(dir, 1, 100, false, &ctx), KMY_FULL);
    assert_true(opens(token, 1));
    assert_int_equal(files(), KMY_TOKEN_KEYS_MAX);
    clear_folder();
}

/* Each file that a rotation makes, alone: what a crash may leave. */
static void a_rotation_that_was_cut_off_leaves_the_old_key(void **state)
{
    char token[KMY_TOKEN_BYTES_MAX];
    char path[160];
    char now[160];
    (void)state;
    clear_folder();
    sign_now(1, token);
    snprintf(now, sizeof now, "%s/token.key", dir);
    snprintf(path, sizeof path, "%s/token.key.next", dir);
    FILE *f = fopen(path, "w");
    fputs("half", f);
    fclose(f);
    assert_true(opens(token, 1));
    snprintf(path, sizeof path, "%s/token.key.until-100", dir);
    assert_int_equal(link(now, path), 0); /* the same key twice is one */
    assert_true(opens(token, 1));
    assert_int_equal(kmy_token_keys_rotate(dir, 1, 100, false, &ctx), KMY_OK);
    assert_true(opens(token, 1));
    /* A damaged earlier key is told, not passed over: tokens that should be good would be refused. */
    snprintf(path, sizeof path, "%s/token.key.until-200", dir);
    f = fopen(path, "w");
    fputs("half", f);
    fclose(f);
    chmod(path, 0600);
    assert_null(kmy_token_keys_load("", dir, 1, &ctx));
    clear_folder();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_made_once_with_mode_0600),
        cmocka_unit_test(a_secret_file_is_private_long_enough_and_no_longer_than_there_is_room),
        cmocka_unit_test(a_rotated_key_checks_until_its_tokens_have_expired),
        cmocka_unit_test(a_leaked_key_is_void_at_once),
        cmocka_unit_test(too_many_rotations_are_refused_and_change_nothing),
        cmocka_unit_test(a_rotation_that_was_cut_off_leaves_the_old_key),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
