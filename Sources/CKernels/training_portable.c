// Training kernels in what every processor of the architecture has (SSE2, NEON).
#include "training.h"

#define MK_T(name) mk_portable_training_##name
#define MK_LANES 4
#define MK_TILE_ROWS 4
#define MK_TILE_VECTORS 2
#include "training_rows.h"
