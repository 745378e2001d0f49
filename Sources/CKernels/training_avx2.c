// Training kernels for AVX2 with FMA.
#include "training.h"

#if defined(__x86_64__)

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define MK_T(name) mk_avx2_training_##name
#define MK_LANES 8
#define MK_TILE_ROWS 6
#define MK_TILE_VECTORS 2
#include "training_rows.h"
#pragma clang attribute pop

#endif
