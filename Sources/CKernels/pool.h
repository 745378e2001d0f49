// The pool's own interface to run.c: a job cut into more chunks than there are threads. Contracts: CKernels.h, pool.c.
#ifndef MEMVP_CKERNELS_POOL_H
#define MEMVP_CKERNELS_POOL_H

#include "CKernels.h"

// Chunk `index` of `count`; `thread` (0 ..< threads) is the one that runs it, for scratch of its own.
typedef struct {
    int32_t index, count, thread;
} mk_chunk;

// Calls body once for every chunk and returns when all have returned; one caller at a time.
void mk_pool_run_chunks(mk_pool *pool, int32_t chunks, void (*body)(void *context, mk_chunk chunk), void *context);

#endif
