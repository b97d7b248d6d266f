/* engine/settler_key: one key, out of a file that only its owner reads or out of the environment, or a refusal that does not repeat it. */
#include "engine/settler_key.h"

#include "wire/hex.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* The first account of the mnemonic that test chains begin with. */
#define KEY     "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
#define ADDRESS "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"

static kmy_config_t cfg;
static char path[64];

static void begin(void)
{
    if (kmy_config_read(&cfg, "f", "", 0, NULL) != KMY_OK)
        fail();
    snprintf(path, sizeof path, "/tmp/kamiyo-settler-%ld", (long)getpid());
    unsetenv("KAMIYO_SETTLER_KEY");
}

static int end(void **state)
{
    (void)state;
    unlink(path);
    unsetenv("KAMIYO_SETTLER_KEY");
    kmy_config_free(&cfg);
    return 0;
}

static void write_file(const char *text, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    snprintf(cfg.payments.settler_key_file, sizeof cfg.payments.settler_key_file, "%s", path);
}

static kmy_err_t load(kmy_errctx_t *ctx)
{
    static const uint8_t none[32];
    uint8_t key[32], address[20], want[20];
    *ctx = (kmy_errctx_t){ 0 };
    memset(key, 0xEE, sizeof key);
    kmy_err_t err = kmy_settler_key_load(&cfg, key, address, ctx);
    if (err != KMY_OK) {
        assert_memory_equal(key, none, 32);
        assert_null(strstr(ctx->detail, "0974bec3"));
        return err;
    }
    assert_true(kmy_hex_decode(ADDRESS, 40, want, 20));
    assert_memory_equal(address, want, 20);
    return err;
}

static void a_key_is_64_digits_in_a_file_of_its_owner(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        mode_t mode;
        const char *refusal; /* NULL: it is read */
    } row[] = {
        { KEY, 0600, NULL },
        { KEY "\n", 0400, NULL },
        { "0x" KEY, 0600, NULL },
        { "0x" KEY "\r\n", 0600, NULL },
        { KEY, 0640, "chmod 600" },
        { KEY, 0604, "chmod 600" },
        { KEY, 0620, "chmod 600" },
        { "0X" KEY, 0600, "64 hex digits" },
        { " " KEY, 0600, "64 hex digits" },
        { KEY "00", 0600, "64 hex digits" },
        { "g" KEY, 0600, "64 hex digits" },
        { "ac09", 0600, "at least 64" },
        { KEY KEY, 0600, "more than" },
        { "0000000000000000000000000000000000000000000000000000000000000000", 0600, "no key" },
        { "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", 0600, "no key" },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        kmy_errctx_t ctx;
        begin();
        write_file(row[i].text, row[i].mode);
        kmy_err_t err = load(&ctx);
        if (err != (row[i].refusal ? KMY_CONFIG : KMY_OK) ||
            (row[i].refusal && !strstr(ctx.detail, row[i].refusal)))
            fail_msg("row %zu: %s", i, ctx.detail);
        end(NULL);
    }
}

static void the_environment_holds_it_too_and_the_file_wins(void **state)
{
    (void)state;
    kmy_errctx_t ctx;
    begin();
    assert_false(kmy_settler_key_given(&cfg));
    assert_int_equal(load(&ctx), KMY_NOT_FOUND);
    setenv("KAMIYO_SETTLER_KEY", KEY, 1);
    assert_true(kmy_settler_key_given(&cfg));
    assert_int_equal(load(&ctx), KMY_OK);
    write_file("rubbish", 0600);
    assert_int_equal(load(&ctx), KMY_CONFIG);
    unlink(path);
    assert_int_equal(load(&ctx), KMY_CONFIG); /* named, and not there */
}

static void it_serves_evm_networks_that_have_a_node(void **state)
{
    (void)state;
    static const struct {
        const char *chain, *rpc;
        bool serves;
    } row[] = {
        { "eip155:8453", "http://127.0.0.1:9", true },
        { "eip155:8453", "", false },
        { "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "http://127.0.0.1:9", false },
    };
    begin();
    for (int given = 0; given < 2; given++) {
        for (size_t i = 0; i < 3; i++) {
            kmy_config_network_t n = { 0 };
            snprintf(n.chain, sizeof n.chain, "%s", row[i].chain);
            snprintf(n.rpc, sizeof n.rpc, "%s", row[i].rpc);
            assert_int_equal(kmy_settler_key_serves(&cfg, &n), row[i].serves && given);
        }
        setenv("KAMIYO_SETTLER_KEY", KEY, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_key_is_64_digits_in_a_file_of_its_owner, end),
        cmocka_unit_test_teardown(the_environment_holds_it_too_and_the_file_wins, end),
        cmocka_unit_test_teardown(it_serves_evm_networks_that_have_a_node, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
