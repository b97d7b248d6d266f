/* wake: lets a producer rouse a sleeping consumer at the price of one load while it is awake.

   The consumer, before it blocks: kmy_wake_arm, look at its rings once more, block on fd (read or
   poll) only if they are empty, then kmy_wake_disarm.  The producer, after it published:
   kmy_wake_signal.  The two full fences make it impossible that the producer misses `armed` while
   the consumer misses the item (the store-buffer pattern; either sees the other). */
#ifndef KMY_BASE_WAKE_H
#define KMY_BASE_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct kmy_wake {
    _Alignas(64) atomic_uint armed; /* written by the consumer, cleared by whoever signals */
    int fd;                         /* eventfd, non-blocking; owned by this object */
} kmy_wake_t;

/* false: no eventfd to be had, errno says why. */
static inline bool kmy_wake_init(kmy_wake_t *w)
{
    atomic_init(&w->armed, 0);
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return w->fd >= 0;
}

static inline void kmy_wake_fini(kmy_wake_t *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

static inline void kmy_wake_arm(kmy_wake_t *w)
{
    atomic_store_explicit(&w->armed, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the fence in kmy_wake_signal */
}

static inline void kmy_wake_disarm(kmy_wake_t *w)
{
    atomic_store_explicit(&w->armed, 0, memory_order_relaxed);
}

static inline void kmy_wake_signal(kmy_wake_t *w)
{
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the fence in kmy_wake_arm */
    if (atomic_load_explicit(&w->armed, memory_order_relaxed) == 0)
        return;
    if (atomic_exchange_explicit(&w->armed, 0, memory_order_relaxed) == 0)
        return; /* another producer does it */
    uint64_t one = 1;
    ssize_t n =
        write(w->fd, &one,
              sizeof one); /* EAGAIN: already signalled 2^64 - 2 times, which wakes as well */
    (void)n;
}

#endif
