// Training kernels for AVX-512.
#include "training.h"

#if defined(__x86_64__)

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#define MK_T(name) mk_avx512_training_##name
#define MK_LANES 16
#define MK_TILE_ROWS 8
#define MK_TILE_VECTORS 2
#include "training_rows.h"
#pragma clang attribute pop

#endif
