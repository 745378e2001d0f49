// How an operation is split over a pool: into chunks that its threads claim. One policy for serving and training.
// Contracts of the pool itself: CKernels.h, pool.c.
#ifndef MEMVP_CKERNELS_POOL_H
#define MEMVP_CKERNELS_POOL_H

#include "CKernels.h"

// Work is counted in multiplications. An element of a row kernel counts as eight: it is read and written in float32.
#define MK_WORK_OF_AN_ELEMENT 8
// Below this a second thread costs more than it brings: a wake-up is 2 to 5 us when the other thread sleeps, and so
// much is about 4 us of a lone row's product (weights at 32 GB/s) or of attention.
#define MK_WORK_WORTH_A_THREAD (1 << 17)
// At least this much in a chunk, 1 or 2 us, so that claiming it costs nothing in comparison.
#define MK_WORK_WORTH_A_CHUNK (1 << 16)
// A few chunks for each thread: where another process holds up one, the others take over what it has not begun.
#define MK_CHUNKS_A_THREAD 4

// Calls body for every chunk of a job of `work` multiplications that falls into `units` parts, on the caller alone
// where the job is short or cannot be split.
void mk_pool_run_work(mk_pool *pool, int64_t work, int32_t units, void (*body)(void *context, mk_chunk chunk),
                      void *context);

typedef struct {
    int32_t begin, end;
} mk_range;

// How often `grain` goes into `count`, the last time perhaps in part.
static inline int32_t mk_units(int32_t count, int32_t grain) { return count / grain + (count % grain != 0); }

// The chunk's part of 0 ..< count, in multiples of `grain` (the last one takes what is left).
static inline mk_range mk_range_of(int32_t count, mk_chunk chunk, int32_t grain) {
    const int64_t units = mk_units(count, grain);
    const int64_t begin = units * chunk.index / chunk.count * grain;
    const int64_t end = units * (chunk.index + 1) / chunk.count * grain;
    return (mk_range){(int32_t)(begin < count ? begin : count), (int32_t)(end < count ? end : count)};
}

#endif
