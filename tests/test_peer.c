/* engine/peer: addresses as proxies write them, networks, and whom a request came from. */
#include "engine/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static void text_of(const struct in6_addr *a, char out[INET6_ADDRSTRLEN])
{
    char all[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, a, all, sizeof all);
    snprintf(out, INET6_ADDRSTRLEN, "%s", strncmp(all, "::ffff:", 7) == 0 ? all + 7 : all);
}

/* as written, as understood (NULL: no address) */
static const struct {
    const char *text, *addr;
} forms[] = {
    { "192.0.2.1", "192.0.2.1" },
    { "192.0.2.1:80", "192.0.2.1" },
    { "2001:db8::1", "2001:db8::1" },
    { "[2001:db8::1]", "2001:db8::1" },
    { "[2001:db8::1]:4711", "2001:db8::1" },
    { "::ffff:192.0.2.1", "192.0.2.1" },
    { "", NULL },
    { "unknown", NULL },
    { "_hidden", NULL },
    { "192.0.2", NULL },
    { "192.0.2.1:", NULL },
    { "192.0.2.1:65536", NULL },
    { "192.0.2.1 ", NULL },
    { "[192.0.2.1]", NULL },
    { "[2001:db8::1", NULL },
    { "[2001:db8::1]4711", NULL },
    { "2001:db8::1::", NULL },
    { "2001:0db8:0000:0000:0000:0000:0000:0000:0000:0000:0001", NULL },
};

static void addresses_are_read_in_these_forms_and_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct in6_addr a;
        char text[INET6_ADDRSTRLEN] = "";
        bool ok = kmy_peer_parse(forms[i].text, strlen(forms[i].text), &a);
        if (ok)
            text_of(&a, text);
        if (ok != (forms[i].addr != NULL) || (ok && strcmp(text, forms[i].addr) != 0))
            fail_msg("\"%s\": %s", forms[i].text, ok ? text : "refused");
    }
}

static void networks_have_a_prefix_and_nothing_behind_it(void **state)
{
    (void)state;
    static const struct {
        const char *network, *inside, *outside;
    } rows[] = {
        { "10.0.0.0/8", "10.255.1.2", "11.0.0.0" },
        { "192.0.2.7", "192.0.2.7", "192.0.2.6" },
        { "192.0.2.6/31", "192.0.2.7", "192.0.2.8" },
        { "0.0.0.0/0", "203.0.113.9", "2001:db8::1" },
        { "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::" },
        { "::1", "::1", "::2" },
        { "10.0.0.1/8", NULL, NULL },
        { "10.0.0.0/33", NULL, NULL },
        { "10.0.0.0/", NULL, NULL },
        { "10.0.0.0/-1", NULL, NULL },
        { "2001:db8::/129", NULL, NULL },
        { "example.org", NULL, NULL },
        { "", NULL, NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_network_t n;
        bool ok = kmy_network_parse(rows[i].network, &n);
        if (ok != (rows[i].inside != NULL))
            fail_msg("%s: %s", rows[i].network, ok ? "taken" : "refused");
        if (!ok)
            continue;
        kmy_networks_t all = { &n, 1 };
        struct in6_addr in, out;
        assert_true(kmy_peer_parse(rows[i].inside, strlen(rows[i].inside), &in));
        assert_true(kmy_peer_parse(rows[i].outside, strlen(rows[i].outside), &out));
        if (!kmy_networks_have(&all, &in) || kmy_networks_have(&all, &out))
            fail_msg("%s", rows[i].network);
    }
}

/* Trusted are 10.0.0.0/8 and 2001:db8:99::/48. */
static const struct {
    const char *peer, *headers, *client;
} hops[] = {
    { "203.0.113.1", "", "203.0.113.1" },
    { "203.0.113.1", "X-Forwarded-For: 198.51.100.1\r\n",
      "203.0.113.1" }, /* anybody can write that */
    { "203.0.113.1", "Forwarded: for=198.51.100.1\r\n", "203.0.113.1" },
    { "10.0.0.1", "", "10.0.0.1" },
    { "10.0.0.1", "X-Forwarded-For: 198.51.100.1\r\n", "198.51.100.1" },
    { "10.0.0.1", "x-forwarded-for: 1.1.1.1, 198.51.100.1\r\n",
      "198.51.100.1" }, /* the first is the client's word */
    { "10.0.0.1", "X-Forwarded-For: 1.1.1.1, 198.51.100.1, 10.2.3.4\r\n", "198.51.100.1" },
    { "10.0.0.1", "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 198.51.100.1,10.9.9.9\r\n",
      "198.51.100.1" },
    { "10.0.0.1", "X-Forwarded-For: 198.51.100.1, unknown\r\n", "10.0.0.1" },
    { "10.0.0.1", "X-Forwarded-For: 198.51.100.1, unknown, 10.9.9.9\r\n", "10.9.9.9" },
    { "10.0.0.1", "X-Forwarded-For: 10.1.1.1, 10.2.2.2\r\n", "10.1.1.1" },
    { "10.0.0.1", "X-Forwarded-For: ,\r\n", "10.0.0.1" },
    { "10.0.0.1", "X-Forwarded-For:\r\n", "10.0.0.1" },
    { "10.0.0.1", "X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7" },
    { "2001:db8:99::1", "Forwarded: for=\"[2001:db8::7]:4711\"\r\n", "2001:db8::7" },
    { "10.0.0.1", "Forwarded: by=10.0.0.1;For=198.51.100.1;proto=https\r\n", "198.51.100.1" },
    { "10.0.0.1", "Forwarded: for=1.1.1.1, for=198.51.100.1; by=x, for=10.3.3.3\r\n",
      "198.51.100.1" },
    { "10.0.0.1", "Forwarded: for=_secret\r\n", "10.0.0.1" },
    { "10.0.0.1", "Forwarded: proto=https\r\n", "10.0.0.1" },
    { "10.0.0.1", "Forwarded: for=198.51.100.1\r\nX-Forwarded-For: 198.51.100.1\r\n",
      "198.51.100.1" },
    { "10.0.0.1", "Forwarded: for=1.1.1.1\r\nX-Forwarded-For: 198.51.100.1\r\n", "10.0.0.1" },
};

static void a_client_is_who_the_last_trusted_hop_saw(void **state)
{
    (void)state;
    kmy_network_t items[2];
    assert_true(kmy_network_parse("10.0.0.0/8", &items[0]));
    assert_true(kmy_network_parse("2001:db8:99::/48", &items[1]));
    kmy_networks_t trusted = { items, 2 };
    for (size_t i = 0; i < sizeof hops / sizeof hops[0]; i++) {
        char head[512];
        kmy_http_request_t req;
        kmy_errctx_t ctx = { 0 };
        struct in6_addr peer;
        int n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", hops[i].headers);
        assert_int_equal(kmy_http_parse(head, (size_t)n, &req, &ctx), KMY_OK);
        assert_true(kmy_peer_parse(hops[i].peer, strlen(hops[i].peer), &peer));
        struct in6_addr client = kmy_peer_client(&req, &peer, &trusted);
        char text[INET6_ADDRSTRLEN];
        text_of(&client, text);
        if (strcmp(text, hops[i].client) != 0)
            fail_msg("%s, %s: %s", hops[i].peer, hops[i].headers, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_in_these_forms_and_no_other),
        cmocka_unit_test(networks_have_a_prefix_and_nothing_behind_it),
        cmocka_unit_test(a_client_is_who_the_last_trusted_hop_saw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
