// Thread pool: one job at a time, as many parts as threads, nothing allocated after creation.
//
// Invariants. `generation` counts jobs; a worker runs each generation once. body and context are written before the
// generation is raised (release) and read after it is seen (acquire). `pending` counts the parts that other threads still
// run; the caller returns when it is 0, so no worker touches the job afterwards.
// Waiting is a short spin, then a futex; whoever sleeps says so first (`sleepers`, `caller_sleeps`), so that nobody pays
// for a system call when all are awake. Sequential consistency on that pair of flags excludes the lost wake-up.
// Failure: mk_pool_create returns NULL with errno when memory or threads run out.
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "CKernels.h"

// How long a thread looks before it sleeps: longer than the gap between two kernels of a forward pass, and about what a
// futex round trip costs. With more threads than processors spinning only takes the processor from whom it waits for.
#define SPIN_NANOSECONDS 40000
#define SPIN_NANOSECONDS_CROWDED 500

typedef struct {
    mk_pool *pool;
    pthread_t thread;
    int32_t part;
} worker;

struct mk_pool {
    _Alignas(64) _Atomic uint32_t generation;
    _Atomic uint32_t sleepers;
    _Atomic bool stopping;
    void (*body)(void *context, int32_t part, int32_t parts);
    void *context;
    int32_t threads;
    int64_t spin;
    _Alignas(64) _Atomic uint32_t pending;
    _Atomic uint32_t caller_sleeps;
    worker workers[];
};

static void futex_wait(_Atomic uint32_t *word, uint32_t expected) {
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word) {
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Returns once `word` differs from `old`, having counted itself in `sleepers` while it slept.
static uint32_t wait_for_change(_Atomic uint32_t *word, uint32_t old, _Atomic uint32_t *sleepers, int64_t spin) {
    int64_t deadline = now() + spin;
    do {
        for (int32_t i = 0; i < 16; i++) {
            uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
            if (seen != old) return seen;
            relax();
        }
    } while (now() < deadline);

    atomic_fetch_add(sleepers, 1);
    uint32_t seen;
    while ((seen = atomic_load(word)) == old) futex_wait(word, old);
    atomic_fetch_sub(sleepers, 1);
    return seen;
}

static void *work(void *argument) {
    const worker *self = argument;
    mk_pool *pool = self->pool;
    uint32_t generation = 0;
    for (;;) {
        // Jobs cannot overtake a worker: the caller raises the generation again only after all parts are done.
        generation = wait_for_change(&pool->generation, generation, &pool->sleepers, pool->spin);
        if (atomic_load_explicit(&pool->stopping, memory_order_acquire)) return NULL;
        pool->body(pool->context, self->part, pool->threads);
        if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->caller_sleeps)) {
            futex_wake_all(&pool->pending);
        }
    }
}

// Signals of the process belong to its main thread; faults must still reach their handler on the thread that made them.
static int start(worker *one) {
    sigset_t blocked, before;
    sigfillset(&blocked);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT, SIGSYS};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int error = pthread_create(&one->thread, NULL, work, one);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) pthread_setname_np(one->thread, "kernels");
    return error;
}

static void stop(mk_pool *pool, int32_t started) {
    atomic_store_explicit(&pool->stopping, true, memory_order_release);
    atomic_fetch_add(&pool->generation, 1);
    futex_wake_all(&pool->generation);
    for (int32_t i = 0; i < started; i++) pthread_join(pool->workers[i].thread, NULL);
    free(pool);
}

mk_pool *mk_pool_create(int32_t threads) {
    if (threads < 1) {
        errno = EINVAL;
        return NULL;
    }
    size_t size = sizeof(mk_pool) + (size_t)(threads - 1) * sizeof(worker);
    mk_pool *pool = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!pool) return NULL;
    atomic_init(&pool->generation, 0);
    atomic_init(&pool->sleepers, 0);
    atomic_init(&pool->stopping, false);
    atomic_init(&pool->pending, 0);
    atomic_init(&pool->caller_sleeps, 0);
    pool->body = NULL;
    pool->context = NULL;
    pool->threads = threads;
    pool->spin = threads > mk_allowed_cpus() ? SPIN_NANOSECONDS_CROWDED : SPIN_NANOSECONDS;
    for (int32_t i = 0; i < threads - 1; i++) {
        pool->workers[i] = (worker){.pool = pool, .part = i + 1};
        int error = start(&pool->workers[i]);
        if (error != 0) {
            stop(pool, i);
            errno = error;
            return NULL;
        }
    }
    return pool;
}

int32_t mk_pool_threads(const mk_pool *pool) { return pool ? pool->threads : 1; }

void mk_pool_run(mk_pool *pool, void (*body)(void *context, int32_t part, int32_t parts), void *context) {
    if (!pool || pool->threads == 1) {
        body(context, 0, 1);
        return;
    }
    pool->body = body;
    pool->context = context;
    atomic_store_explicit(&pool->pending, (uint32_t)pool->threads - 1, memory_order_relaxed);
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->sleepers) != 0) futex_wake_all(&pool->generation);

    body(context, 0, pool->threads);
    uint32_t pending = atomic_load_explicit(&pool->pending, memory_order_acquire);
    while (pending != 0) pending = wait_for_change(&pool->pending, pending, &pool->caller_sleeps, pool->spin);
}

void mk_pool_destroy(mk_pool *pool) {
    if (pool) stop(pool, pool->threads - 1);
}
