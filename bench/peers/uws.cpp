/* uws: uWebSockets as a peer of bench/fanout.  Not part of the build: uWebSockets and uSockets are cloned and built outside the tree
   (docs/benchmarks.md has the commands).

     uws --rate TICKS_PER_S [--lag-bytes N]

   Publishes each tick to one topic that every socket is subscribed to; uWebSockets gathers what a socket gets in one turn of its loop.  A socket with more
   than --lag-bytes waiting is skipped. */
#include "bench/pace.h"

#include <App.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

struct nothing {
};

static uWS::App *app;
static pace_t pace;

static void on_timer(us_timer_t *timer)
{
    char text[PACE_TICK_BYTES_MAX];
    int64_t now = pace_now_ns();
    size_t n;
    for (int i = 0; i < PACE_PER_TURN_MAX && (n = pace_tick(&pace, now, text)) > 0; i++)
        app->publish("tick", std::string_view(text, n), uWS::OpCode::TEXT, false);
    int64_t wait_ms = (pace_due_ns(&pace) - pace_now_ns()) / 1000000;
    us_timer_set(timer, on_timer, (int)std::max<int64_t>(wait_ms, 1), 0);
}

int main(int argc, char **argv)
{
    double rate = 50;
    unsigned lag_bytes = 1 << 20;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--rate") == 0)
            rate = strtod(argv[i + 1], nullptr);
        else if (strcmp(argv[i], "--lag-bytes") == 0)
            lag_bytes = (unsigned)strtoul(argv[i + 1], nullptr, 10);
    }
    uWS::App all;
    app = &all;
    uWS::App::WebSocketBehavior<nothing> how;
    how.compression = uWS::DISABLED;
    how.maxBackpressure = lag_bytes;
    how.closeOnBackpressureLimit = false;
    how.idleTimeout = 0;
    how.sendPingsAutomatically = false;
    how.open = [](auto *ws) { ws->subscribe("tick"); };
    all.ws<nothing>("/*", std::move(how));
    all.listen("127.0.0.1", 0, [](us_listen_socket_t *s) {
        if (!s)
            exit(1);
        printf("listening ws=127.0.0.1:%d\n", us_socket_local_port(0, (us_socket_t *)s));
        fflush(stdout);
    });
    pace_begin(&pace, rate, 1);
    us_timer_t *timer = us_create_timer((us_loop_t *)uWS::Loop::get(), 0, 0);
    us_timer_set(timer, on_timer, 1, 0);
    all.run();
    return 0;
}
