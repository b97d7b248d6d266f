/* One writer at full speed, several readers of different habits, a ring small enough to be lapped all the time.  Every tick
   delivered must be whole (each of its words follows from its number), numbers must be consecutive between losses, and
   delivered + lost must be what was published.  Bounded by a count of ticks, not by time; made to be run under ThreadSanitizer. */
#include "base/err.h"
#include "ringbuf/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READERS = 4, TICKS = 300000, FIRST = 12345 };

static kmy_ring_t *ring;

typedef struct reader {
    size_t max; /* ticks asked for in one call */
    int dawdle; /* yields after so many calls; 0: never */
    uint64_t delivered, lost, laps;
} reader_t;

static uint64_t word_of(uint64_t seq, size_t i)
{
    return seq ^ (UINT64_C(0x9e3779b97f4a7c15) * (i + 1)); /* differs in every word and tick */
}

static void check_whole(const kmy_tick_t *tick, uint64_t seq)
{
    KMY_ASSERT(tick->seq == seq);
    for (size_t i = 1; i < sizeof *tick / 8; i++) {
        uint64_t word;
        memcpy(&word, (const unsigned char *)tick + 8 * i, 8);
        KMY_ASSERT(word == word_of(seq, i));
    }
}

static void *read_all(void *arg)
{
    reader_t *r = arg;
    kmy_tick_t out[100];
    uint64_t cursor = FIRST;
    for (uint64_t calls = 1; cursor < FIRST + TICKS; calls++) {
        const uint64_t before = cursor, lost_before = r->lost;
        const size_t got = kmy_ring_read(ring, &cursor, out, r->max, &r->lost);
        KMY_ASSERT(cursor - before == got + (r->lost - lost_before));
        for (size_t i = 0; i < got; i++)
            check_whole(&out[i], cursor - got + i);
        r->delivered += got;
        r->laps += r->lost != lost_before;
        if (got == 0 || (r->dawdle != 0 && calls % (uint64_t)r->dawdle == 0))
            sched_yield();
    }
    return NULL;
}

static void write_all(size_t slots)
{
    kmy_tick_t batch[64];
    size_t n = 1;
    for (uint64_t seq = FIRST; seq < FIRST + TICKS; seq += n) {
        n = 1 + (seq * 2654435761u >> 7) % (slots / 2 < 64 ? slots / 2 : 64);
        if (n > FIRST + TICKS - seq)
            n = FIRST + TICKS - seq;
        for (size_t k = 0; k < n; k++) {
            for (size_t i = 1; i < sizeof batch[k] / 8; i++) {
                const uint64_t word = word_of(seq + k, i);
                memcpy((unsigned char *)&batch[k] + 8 * i, &word, 8);
            }
        }
        kmy_ring_publish(ring, batch, n);
        if (seq % 64 == 0)
            sched_yield(); /* so that readers get a share on few cores */
    }
}

static void stress(size_t slots)
{
    reader_t readers[READERS] = {
        { .max = 1 }, { .max = 32 }, { .max = 100, .dawdle = 3 }, { .max = 7, .dawdle = 1 }
    };
    pthread_t thread[READERS];
    void *mem = aligned_alloc(128, kmy_ring_bytes(slots));
    KMY_ASSERT(mem != NULL);
    ring = kmy_ring_init(mem, slots, FIRST);
    for (int i = 0; i < READERS; i++)
        KMY_ASSERT(pthread_create(&thread[i], NULL, read_all, &readers[i]) == 0);
    write_all(slots);
    for (int i = 0; i < READERS; i++) {
        pthread_join(thread[i], NULL);
        KMY_ASSERT(readers[i].delivered + readers[i].lost == TICKS);
        printf("slots %4zu  reader %d  delivered %llu  lost %llu  laps %llu\n", slots, i,
               (unsigned long long)readers[i].delivered, (unsigned long long)readers[i].lost,
               (unsigned long long)readers[i].laps);
    }
    free(mem);
}

int main(void)
{
    stress(2);
    stress(16);
    stress(64);
    stress(1024);
    return 0;
}
