/* engine/doors: addresses to listen on, and who may listen beside whom. */
#include "engine/doors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* as written, as understood (NULL: refused) */
static const struct {
    const char *text, *door;
} forms[] = {
    { "127.0.0.1:8402", "127.0.0.1:8402" },
    { "0.0.0.0:0", "0.0.0.0:0" },
    { "255.255.255.255:65535", "255.255.255.255:65535" },
    { "[::1]:8402", "[::1]:8402" },
    { "[::]:0", "[::]:0" },
    { "[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1" },
    { "[2001:db8:0:0:0:0:0:1]:443", "[2001:db8::1]:443" },
    { "", NULL },
    { ":", NULL },
    { ":8402", NULL },
    { "127.0.0.1", NULL },
    { "127.0.0.1:", NULL },
    { "127.0.0.1:x", NULL },
    { "127.0.0.1:-1", NULL },
    { "127.0.0.1:+1", NULL },
    { "127.0.0.1: 1", NULL },
    { "127.0.0.1:65536", NULL },
    { "127.0.0.1:18446744073709551617", NULL },
    { "127.0.0.1:8402x", NULL },
    { "127.0.0.256:1", NULL },
    { "127.1:1", NULL },
    { "localhost:8402", NULL }, /* a name may be several addresses */
    { "::1:8402", NULL },       /* where does the address end? */
    { "[::1]", NULL },
    { "[::1:8402", NULL },
    { "::1]:8402", NULL },
    { "[]:1", NULL },
    { "[127.0.0.1]:1", NULL },
    { "[::1%lo]:1", NULL },
    { "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1", NULL },
};

static void an_address_is_read_in_these_forms_and_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        kmy_door_t door;
        kmy_errctx_t ctx = { 0 };
        char text[KMY_DOOR_TEXT_BYTES];
        kmy_err_t err = kmy_door_parse(forms[i].text, &door, &ctx);
        if ((err == KMY_OK) != (forms[i].door != NULL))
            fail_msg("\"%s\": %s", forms[i].text, err == KMY_OK ? "taken" : ctx.detail);
        if (err != KMY_OK) {
            assert_int_equal(err, KMY_CONFIG);
            assert_true(ctx.detail[0] != 0);
            continue;
        }
        kmy_door_text(&door, text);
        assert_string_equal(text, forms[i].door);
    }
}

static void the_longest_address_fits_its_text(void **state)
{
    (void)state;
    kmy_door_t door;
    kmy_errctx_t ctx;
    char text[KMY_DOOR_TEXT_BYTES];
    const char *longest = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535";
    assert_int_equal(kmy_door_parse(longest, &door, &ctx), KMY_OK);
    kmy_door_text(&door, text);
    assert_string_equal(text, longest);
}

static int listen_at(const char *text, kmy_door_t *door, bool shared)
{
    kmy_errctx_t ctx = { 0 };
    int fd = -1;
    assert_int_equal(kmy_door_parse(text, door, &ctx), KMY_OK);
    if (kmy_door_listen(door, shared, &fd, &ctx) != KMY_OK)
        fail_msg("%s", ctx.detail);
    return fd;
}

static uint16_t port_of(const kmy_door_t *door)
{
    return ntohs(((const struct sockaddr_in *)&door->addr)->sin_port);
}

static bool someone_answers(const kmy_door_t *door)
{
    int s = socket(door->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = connect(s, (const struct sockaddr *)&door->addr, door->addr_len) == 0;
    close(s);
    return yes;
}

static void port_0_becomes_the_port_it_got(void **state)
{
    (void)state;
    kmy_door_t door;
    int fd = listen_at("127.0.0.1:0", &door, false);
    assert_int_not_equal(port_of(&door), 0);
    assert_true(someone_answers(&door));
    close(fd);
    assert_false(someone_answers(&door));
}

static void ipv6_is_listened_on_like_ipv4(void **state)
{
    (void)state;
    int s = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    bool has = s >= 0 && bind(s, (struct sockaddr *)&any, sizeof any) == 0;
    close(s);
    if (!has)
        skip();
    kmy_door_t door;
    int fd = listen_at("[::1]:0", &door, false);
    assert_true(someone_answers(&door));
    close(fd);
}

static void shards_share_a_port_that_the_first_one_chose(void **state)
{
    (void)state;
    kmy_door_t door;
    kmy_errctx_t ctx = { 0 };
    int a = listen_at("127.0.0.1:0", &door, true), b = -1;
    uint16_t port = port_of(&door);
    assert_int_equal(kmy_door_listen(&door, true, &b, &ctx), KMY_OK);
    assert_int_equal(port_of(&door), port);
    close(a);
    assert_true(someone_answers(&door)); /* the other one still listens */
    close(b);
}

static void a_taken_port_is_refused_and_said_so(void **state)
{
    (void)state;
    static const bool shared[] = { false,
                                   true }; /* a second daemon could join a shared door unseen */
    for (size_t i = 0; i < 2; i++) {
        kmy_door_t door;
        kmy_errctx_t ctx = { 0 };
        int other = -1, fd = listen_at("127.0.0.1:0", &door, shared[i]);
        char text[KMY_DOOR_TEXT_BYTES];
        kmy_door_text(&door, text);
        assert_int_equal(kmy_door_probe(&door, &ctx), KMY_IO);
        assert_non_null(strstr(ctx.detail, text));
        if (!shared[i]) {
            assert_int_equal(kmy_door_listen(&door, false, &other, &ctx), KMY_IO);
            assert_int_equal(other, -1);
        }
        close(fd);
        assert_int_equal(kmy_door_probe(&door, &ctx), KMY_OK);
    }
}

static void what_is_accepted_has_the_bounded_buffer_of_its_door(void **state)
{
    (void)state;
    kmy_door_t door;
    int fd = listen_at("127.0.0.1:0", &door, false), size = 0;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(s, (struct sockaddr *)&door.addr, door.addr_len), 0);
    int c = accept(fd, NULL, NULL);
    socklen_t len = sizeof size;
    assert_int_equal(getsockopt(c, SOL_SOCKET, SO_SNDBUF, &size, &len), 0);
    assert_true(size > 0);
    assert_true(size <= 2 * 256 * 1024); /* what a reader that went away was charged for at most */
    close(c);
    close(s);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_read_in_these_forms_and_no_other),
        cmocka_unit_test(the_longest_address_fits_its_text),
        cmocka_unit_test(port_0_becomes_the_port_it_got),
        cmocka_unit_test(ipv6_is_listened_on_like_ipv4),
        cmocka_unit_test(shards_share_a_port_that_the_first_one_chose),
        cmocka_unit_test(a_taken_port_is_refused_and_said_so),
        cmocka_unit_test(what_is_accepted_has_the_bounded_buffer_of_its_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
