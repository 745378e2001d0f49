// Kernels of memvpd: the loops over weights and activations that take time, behind one dispatch table (`mk_table`).
// Pixels come here as activations: decoding, resizing and laying them out stand elsewhere (CJPEG, CPNG, Vision), as do
// copies and sums of rows that wait for memory, or that run once (Tensor, Vision).
//
// The scalar table is the reference and is written to be read; each fast path is tested against it. int8 products are
// summed in int32, so integers are exact and compared with ==. Every float reduction has a fixed order that depends
// neither on the number of rows, nor on the tile, nor on the thread: a row's result is the same alone and in a batch.
// Contraction is off (STDC FP_CONTRACT OFF) in every file of the serving paths; one that fuses says so by calling fma
// itself. Training kernels contract (training_rows.h). No kernel allocates.
//
// Nothing here checks bounds: `Sources/Tensor` owns the storage, checks shapes once and is the only caller.
#ifndef MEMVP_CKERNELS_H
#define MEMVP_CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- Packed weights: one layout that every path reads ----------------------------------------------------------

// Output rows in a panel: one AVX-512 register of int32 accumulators.
#define MK_PANEL 16
// Neighbouring columns kept together: what one VNNI lane multiplies.
#define MK_GROUP 4

// y = W x: int8 weights with one float32 scale an output row.
// data: [ceil(rows / 16)][ceil(columns / 4)][16][4], zero beyond rows and columns, values in -127 ... 127, 64-byte
// aligned.
typedef struct {
    const int8_t *data;
    const float *scales;  // [ceil(rows / 16) * 16], zero beyond rows
    int32_t rows;         // N, output features
    int32_t columns;      // K, input features; K <= 66,000 keeps u8 x s8 sums inside int32
} mk_weights_i8;

// y = W x in float32. data: [ceil(rows / 16)][columns][16], zero beyond rows, 64-byte aligned.
typedef struct {
    const float *data;
    int32_t rows;
    int32_t columns;
} mk_weights_f32;

// int8 activations, one row a token or pixel, with their scale and the sum of their integers
// (the sum undoes the +128 offset of u8 x s8 instructions).
typedef struct {
    int8_t *values;  // [rows][stride], zero from `columns` to `stride`; stride is a multiple of 16, 64-byte aligned
    float *scales;   // [rows]
    int32_t *sums;   // [rows]
    int32_t columns;
    int32_t stride;
} mk_activations_i8;

// What a matrix product does with each result: y = clamp(product + bias, low, high), or y += product + bias.
typedef struct {
    const float *bias;  // [rows of W], or NULL
    float low, high;    // clamp bounds; -INFINITY and INFINITY for none (then no compare may turn NaN into a number)
    bool accumulate;    // add to what y holds instead of replacing it (before the clamp)
} mk_epilogue;

// ---- Attention -------------------------------------------------------------------------------------------------

// Where one query row finds its sequence's keys and values in the current layer.
typedef struct {
    const float *keys;    // [length][position_stride], of which kv_heads * head_size are read
    const float *values;  // the same
    int32_t length;       // positions to attend to, at least 1: the row's own position + 1 (causal), or all
} mk_attention_row;

typedef struct {
    const float *queries;          // [rows][query_stride]: heads * head_size values each
    float *out;                    // [rows][out_stride]
    const mk_attention_row *rows;  // [rows]
    float *scores;                 // scratch of the calling thread: [longest length rounded up to 16]
    int32_t query_stride, out_stride;
    int32_t position_stride;             // values from one position to the next: kv_heads * head_size at least
    int32_t heads, kv_heads, head_size;  // head_size is a multiple of 16; heads a multiple of kv_heads
    float scale;                         // 1 / sqrt(head_size)
} mk_attention;

// ---- Convolution -----------------------------------------------------------------------------------------------

// Depthwise convolution in float32, channels last, TensorFlow SAME padding given as pad_top and pad_left.
typedef struct {
    int32_t height, width, channels;  // input; channels a multiple of 16 (padded with zero weights if need be)
    int32_t out_height, out_width;
    int32_t kernel, stride, pad_top, pad_left;
    float low, high;  // ReLU6: 0, 6
} mk_depthwise;

// ---- The dispatch table ----------------------------------------------------------------------------------------

typedef enum { MK_SCALAR = 0, MK_AVX2 = 1, MK_AVX512VNNI = 2, MK_NEON = 3 } mk_path;

typedef struct {
    mk_path path;
    const char *name;  // "scalar", "avx2", "avx512vnni", "neon": named in every answer

    // y[m][n] = epilogue(scale_x[m] * scale_w[n] * sum_k x[m][k] W[n][k]) for rows 0 ..< m and panels
    // panel_begin ..< panel_end. y: [m][y_stride]. Scales multiply as (scale_x * scale_w) * float(sum).
    // 2 m N K operations; reads N K bytes of W once for m up to the tile.
    void (*matmul_i8)(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                      int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue);

    // The same of two planes (`quantize_planes`): x has 2 m rows, y has m, and the product is that of row 2 i plus that
    // of row 2 i + 1, each with its own scale. What y held comes before the bias: clamp((y[i] + product) + bias).
    void (*matmul_planes_i8)(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                             int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue);

    // The integers alone: sums[m][n], for tests (exact equality on every path).
    void (*sums_i8)(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                    int32_t panel_end, int32_t *sums, int32_t sums_stride);

    // The same product in float32; k runs upwards in one accumulator an output, whatever m.
    void (*matmul_f32)(const float *x, int32_t x_stride, int32_t m, const mk_weights_f32 *w, int32_t panel_begin,
                       int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue);

    // Symmetric per-row quantisation: scale = max|x| / 127 (a row of zeros has scale 1), q = round-half-even(x / scale)
    // as x * (127 / max|x|), clamped to +-127; fills values, scales and sums of rows begin ..< end. Zeroes columns
    // ..< stride. NaN becomes 0 and infinities saturate (max|x| counts as the largest finite number); both are the
    // caller's bug, and neither may trap. A row with max|x| below 1e-30 counts as zeros: 127 / max|x| would overflow.
    void (*quantize_rows)(const float *x, int32_t x_stride, int32_t begin, int32_t end, mk_activations_i8 *out);

    // Two planes of each row: row 2 i of out is q1 as above with its scale s, row 2 i + 1 holds what rounding left,
    // q2 = round-half-even((x * (1 / s) - q1) * 254) with the scale s / 254, so that x ~ s q1 + s / 254 q2. Both are
    // ordinary int8 rows; NaN and infinities are treated alike.
    void (*quantize_planes)(const float *x, int32_t x_stride, int32_t begin, int32_t end, mk_activations_i8 *out);

    // One plane, with one given scale for all rows (a convolutional tensor):
    // q = clamp(round-half-even(x * inverse_scale)).
    void (*quantize_rows_with_scale)(const float *x, int32_t x_stride, int32_t begin, int32_t end, float scale,
                                     float inverse_scale, mk_activations_i8 *out);

    // max |x| over count values (exact, so its order does not matter); NaN is passed over.
    float (*max_abs)(const float *x, size_t count);

    // RMSNorm (arXiv 1910.07467): y = x / sqrt(mean(x^2) + epsilon) * weight, rows begin ..< end.
    void (*rms_norm)(const float *x, int32_t x_stride, const float *weight, int32_t columns, float epsilon,
                     int32_t begin, int32_t end, float *y, int32_t y_stride);

    // Rotary position embedding (arXiv 2104.09864) in place, interleaved pairs (2i, 2i+1) as in the LLaMA release:
    // x: one row of heads * head_size values, head_size a multiple of 16; cosines, sines: [head_size / 2] for the
    // position.
    void (*rope)(float *x, int32_t heads, int32_t head_size, const float *cosines, const float *sines);

    // Softmax attention of query rows begin ..< end, all heads (grouped-query: head h reads kv head
    // h / (heads / kv_heads)). A head's bytes depend on its query, keys, values and length alone.
    void (*attention)(const mk_attention *job, int32_t begin, int32_t end);

    // SwiGLU (arXiv 2002.05202) on rows of alternating panels: y[16 p + i] = SiLU(x[32 p + i]) * x[32 p + 16 + i],
    // for rows begin ..< end and p < panels.
    void (*swiglu)(const float *x, int32_t x_stride, int32_t panels, int32_t begin, int32_t end, float *y,
                   int32_t y_stride);

    // SiLU in place on count values: x / (1 + exp(-x)). The exponential is our own polynomial, so that bytes do not
    // depend on libm; it is taken of -|x|, so no finite x overflows. NaN and -infinity give NaN.
    void (*silu)(float *x, size_t count);

    // LayerNorm (arXiv 1607.06450): y = (x - mean) / sqrt(variance + epsilon) * weight + bias, rows begin ..< end.
    void (*layer_norm)(const float *x, int32_t x_stride, const float *weight, const float *bias, int32_t columns,
                       float epsilon, int32_t begin, int32_t end, float *y, int32_t y_stride);

    // GELU in place on count values, exact: x Phi(x) (arXiv 1606.08415), and CLIP's QuickGELU: x / (1 + exp(-1.702 x)).
    // Our own polynomials. NaN stays NaN; GELU of an infinity is NaN.
    void (*gelu)(float *x, size_t count);
    void (*quick_gelu)(float *x, size_t count);

    // Greedy choice and normaliser of one row of logits: index of the first maximum, and
    // log(sum(exp(x - maximum))) + maximum. A NaN is never chosen over a number; all NaN gives index 0. Any NaN makes
    // logsumexp NaN, but an infinite maximum is its own normaliser (forbidden logits are -infinity).
    void (*argmax_logsumexp)(const float *x, int32_t count, int32_t *index, float *maximum, float *logsumexp);

    // Row `row` of W as float32 (token embedding), columns values.
    void (*row_i8)(const mk_weights_i8 *w, int32_t row, float *out);
    void (*row_f32)(const mk_weights_f32 *w, int32_t row, float *out);

    // Depthwise convolution of output rows begin ..< end. x: [height][width][channels]; w: [kernel * kernel][channels];
    // bias: [channels]; y: [out_height][out_width][channels] = clamp(sum + bias, low, high). Any kernel size.
    void (*depthwise)(const mk_depthwise *shape, const float *x, const float *w, const float *bias, int32_t begin,
                      int32_t end, float *y);
} mk_table;

// The table of a path, or NULL where this CPU (or this build) cannot run it. Detection (cpuid and xgetbv) runs once.
const mk_table *mk_table_for(mk_path path);
// The fastest path that this machine runs.
mk_path mk_best_path(void);

// ---- Packing ---------------------------------------------------------------------------------------------------

// Bytes of a packed matrix.
size_t mk_packed_size_i8(int32_t rows, int32_t columns);
size_t mk_packed_size_f32(int32_t rows, int32_t columns);
// Row-major to packed, one panel at a time (rows of the panel at source; fewer than 16 at the end: count).
void mk_pack_panel_i8(const int8_t *source, int32_t count, int32_t columns, int8_t *panel);
void mk_pack_panel_f32(const float *source, int32_t count, int32_t columns, float *panel);
// One row of weights to int8: scale = max|w| / 127 (1 for zeros), round half to even, clamp; returns the scale.
float mk_quantize_weight_row(const float *source, int32_t columns, int8_t *out);

// ---- Threads ---------------------------------------------------------------------------------------------------

// A pool of threads that run one job at a time, cut into chunks. The caller and the others claim chunks; one that is
// late delays nothing, since the rest take its share. Between jobs the others spin briefly, then wait on a futex: no
// lock, no allocation after creation. A NULL pool is the caller alone.
typedef struct mk_pool mk_pool;
mk_pool *mk_pool_create(int32_t threads);  // NULL when threads cannot be made (errno says why)
int32_t mk_pool_threads(const mk_pool *pool);
// Chunk `index` of `count`; `thread` (0 ..< threads) is the one that runs it, for scratch of its own.
typedef struct {
    int32_t index, count, thread;
} mk_chunk;
// Calls body once for every chunk and returns when all have returned; one caller at a time.
void mk_pool_run_chunks(mk_pool *pool, int32_t chunks, void (*body)(void *context, mk_chunk chunk), void *context);
void mk_pool_destroy(mk_pool *pool);
// How many CPUs this process may run on (sched_getaffinity), at least 1.
int32_t mk_allowed_cpus(void);

// ---- Whole operations: a kernel, split over a pool ---------------------------------------------------------------
// Each splits by output panels, rows or heads into chunks that the threads claim; results do not depend on the split.
// Jobs shorter than a wake-up stay on the caller, as does everything where pool is NULL. `scores` of attention is
// [threads][scores_stride].

void mk_run_matmul_i8(mk_pool *pool, const mk_table *table, const mk_activations_i8 *x, int32_t m,
                      const mk_weights_i8 *w, float *y, int32_t y_stride, mk_epilogue epilogue);
void mk_run_matmul_planes_i8(mk_pool *pool, const mk_table *table, const mk_activations_i8 *x, int32_t m,
                             const mk_weights_i8 *w, float *y, int32_t y_stride, mk_epilogue epilogue);
void mk_run_matmul_f32(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                       const mk_weights_f32 *w, float *y, int32_t y_stride, mk_epilogue epilogue);
void mk_run_quantize_rows(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                          mk_activations_i8 *out);
void mk_run_quantize_planes(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                            mk_activations_i8 *out);
// One scale for the whole tensor: finds max|x| over all rows first, then quantises; returns the scale.
float mk_run_quantize_tensor(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                             mk_activations_i8 *out);
void mk_run_rms_norm(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, const float *weight,
                     int32_t columns, float epsilon, int32_t m, float *y, int32_t y_stride);
void mk_run_layer_norm(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, const float *weight,
                       const float *bias, int32_t columns, float epsilon, int32_t m, float *y, int32_t y_stride);
// An activation of the table (silu, gelu, quick_gelu) in place on `columns` values of each of m rows.
void mk_run_activation(mk_pool *pool, void (*activation)(float *x, size_t count), float *x, int32_t x_stride,
                       int32_t columns, int32_t m);
void mk_run_attention(mk_pool *pool, const mk_table *table, mk_attention job, int32_t m, int32_t scores_stride);
void mk_run_swiglu(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t panels, int32_t m,
                   float *y, int32_t y_stride);
void mk_run_depthwise(mk_pool *pool, const mk_table *table, const mk_depthwise *shape, const float *x, const float *w,
                      const float *bias, float *y);

#include "CKernelsDecoder.h"
#include "CKernelsTraining.h"

#endif
