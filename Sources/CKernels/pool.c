// Thread pool: one job at a time, nothing allocated after creation.
//
// A job is a number of chunks that the caller and the workers claim from a counter. A worker joins while the job is
// open; the caller closes it when no chunk is left and waits only for workers that are inside. So a worker that sleeps
// or lacks a processor delays nothing: at worst the caller does all the work itself.
//
// Invariants. The job's fields are written only while `inside` is 0 and not open, and before it opens (release); a
// worker reads them after joining (acquire). `generation` counts jobs, and tells waiting workers that there is one.
// Whoever sleeps on a futex says so first (`sleepers`, `caller_sleeps`), so that nobody pays for a system call when all
// are awake; sequential consistency of that pair of words excludes the lost wake-up.
// Failure: mk_pool_create returns NULL with errno when memory or threads run out.
#include "pool.h"

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

// How long a thread looks before it sleeps: longer than the gap between two kernels of a forward pass, and about what a
// futex round trip costs. Where it shares a processor with whom it waits for (more threads than processors, or a busy
// machine), spinning only keeps the other from running: after a few spins in vain a thread sleeps almost at once, and
// tries a long spin again now and then.
#define SPIN_NANOSECONDS 40000
#define SPIN_NANOSECONDS_CROWDED 500
#define PATIENCE 4
#define WAITS_BETWEEN_TRIALS 64

// In `inside`: the job may be joined. The bits below count workers inside.
#define OPEN (1u << 31)

// One thread's experience of spinning; touched by that thread alone.
typedef struct {
    bool crowded;     // more threads than processors: long spins are never worth it
    uint32_t misses;  // long spins in vain since the last that was not
    uint32_t waits;   // short ones since the last trial
} spinning;

typedef struct {
    mk_pool *pool;
    pthread_t thread;
    int32_t index;
    spinning spins;
} worker;

struct mk_pool {
    _Alignas(64) _Atomic uint32_t generation;
    _Atomic uint32_t sleepers;
    _Atomic bool stopping;
    void (*body)(void *context, mk_chunk chunk);
    void *context;
    int32_t chunks;
    int32_t threads;
    spinning spins;  // of the caller
    _Alignas(64) _Atomic int32_t next;
    _Alignas(64) _Atomic uint32_t inside;
    _Atomic uint32_t caller_sleeps;
    worker workers[];
};

// ---- Waiting ---------------------------------------------------------------------------------------------------

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

// Looks at `word` until it differs from `old` or the time is over.
static uint32_t spin(_Atomic uint32_t *word, uint32_t old, int64_t nanoseconds) {
    const int64_t deadline = now() + nanoseconds;
    do {
        for (int32_t i = 0; i < 16; i++) {
            uint32_t seen = atomic_load(word);
            if (seen != old) return seen;
            relax();
        }
    } while (now() < deadline);
    return old;
}

// Returns once `word` differs from `old`, having counted itself in `sleepers` while it slept.
static uint32_t wait_for_change(_Atomic uint32_t *word, uint32_t old, _Atomic uint32_t *sleepers, spinning *spins) {
    const bool is_trial = spins->misses >= PATIENCE && ++spins->waits >= WAITS_BETWEEN_TRIALS;
    const bool is_long = !spins->crowded && (spins->misses < PATIENCE || is_trial);
    uint32_t seen = spin(word, old, is_long ? SPIN_NANOSECONDS : SPIN_NANOSECONDS_CROWDED);
    if (is_trial) spins->waits = 0;
    if (is_long) spins->misses = seen != old ? 0 : spins->misses + 1;
    if (seen != old) return seen;

    atomic_fetch_add(sleepers, 1);
    while ((seen = atomic_load(word)) == old) futex_wait(word, old);
    atomic_fetch_sub(sleepers, 1);
    return seen;
}

// ---- Jobs ------------------------------------------------------------------------------------------------------

static void run_claimed_chunks(mk_pool *pool, int32_t thread) {
    const int32_t chunks = pool->chunks;
    for (;;) {
        int32_t index = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (index >= chunks) return;
        pool->body(pool->context, (mk_chunk){index, chunks, thread});
    }
}

// Enters the open job, whichever it is by now; false when there is none.
static bool join(mk_pool *pool) {
    uint32_t inside = atomic_load(&pool->inside);
    while (inside & OPEN) {
        if (atomic_compare_exchange_weak(&pool->inside, &inside, inside + 1)) return true;
    }
    return false;
}

static void leave(mk_pool *pool) {
    // 1 before: the job is closed and this was the last worker inside.
    if (atomic_fetch_sub(&pool->inside, 1) == 1 && atomic_load(&pool->caller_sleeps)) futex_wake_all(&pool->inside);
}

static void *work(void *argument) {
    worker *self = argument;
    mk_pool *pool = self->pool;
    uint32_t generation = 0;
    for (;;) {
        generation = wait_for_change(&pool->generation, generation, &pool->sleepers, &self->spins);
        if (atomic_load(&pool->stopping)) return NULL;
        if (join(pool)) {
            run_claimed_chunks(pool, self->index);
            leave(pool);
        }
    }
}

void mk_pool_run_chunks(mk_pool *pool, int32_t chunks, void (*body)(void *context, mk_chunk chunk), void *context) {
    if (!pool || pool->threads == 1 || chunks == 1) {
        for (int32_t index = 0; index < chunks; index++) body(context, (mk_chunk){index, chunks, 0});
        return;
    }
    pool->body = body;
    pool->context = context;
    pool->chunks = chunks;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store(&pool->inside, OPEN);
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->sleepers) != 0) futex_wake_all(&pool->generation);

    run_claimed_chunks(pool, 0);
    uint32_t inside = atomic_fetch_and(&pool->inside, ~OPEN) & ~OPEN;
    while (inside != 0) inside = wait_for_change(&pool->inside, inside, &pool->caller_sleeps, &pool->spins);
}

void mk_pool_run_work(mk_pool *pool, int64_t work, int32_t units, void (*body)(void *context, mk_chunk chunk),
                      void *context) {
    const int32_t threads = mk_pool_threads(pool);
    int64_t chunks = (int64_t)threads * MK_CHUNKS_A_THREAD;
    if (chunks > work / MK_WORK_WORTH_A_CHUNK) chunks = work / MK_WORK_WORTH_A_CHUNK;
    if (chunks > units) chunks = units;
    const bool is_alone = threads == 1 || work < MK_WORK_WORTH_A_THREAD || chunks < 2;
    mk_pool_run_chunks(pool, is_alone ? 1 : (int32_t)chunks, body, context);
}

// ---- Life ------------------------------------------------------------------------------------------------------

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
    atomic_store(&pool->stopping, true);
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
    atomic_init(&pool->next, 0);
    atomic_init(&pool->inside, 0);
    atomic_init(&pool->caller_sleeps, 0);
    pool->threads = threads;
    pool->spins = (spinning){.crowded = threads > mk_allowed_cpus()};
    for (int32_t i = 0; i < threads - 1; i++) {
        pool->workers[i] = (worker){.pool = pool, .index = i + 1, .spins = pool->spins};
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

void mk_pool_destroy(mk_pool *pool) {
    if (pool) stop(pool, pool->threads - 1);
}
