// Operations of a language model's decoder on a ragged batch: rows of several sequences end to end.
#ifndef MEMVP_CKERNELS_DECODER_H
#define MEMVP_CKERNELS_DECODER_H

#include "CKernels.h"

// Where a token row stands: its sequence's cache and its position in it.
typedef struct {
    float *cache;      // [layers][2][capacity][kv_heads * head_size]: keys, then values, of each layer
    int32_t capacity;  // tokens the cache has room for
    int32_t position;  // below capacity
} mk_token_row;

// Neighbouring rows that see the same memory: y += SiLU(x keys^T) values, with values stored transposed.
typedef struct {
    mk_weights_i8 keys_i8;     // [slots, width]
    mk_weights_i8 values_i8;   // [width, slots]
    mk_weights_f32 keys_f32;   // the same in float32; one of the two pairs is set
    mk_weights_f32 values_f32;
    int32_t begin, end;        // rows
} mk_memory_group;

// Rotates queries and keys of every row by its position and stores keys and values in the cache of `layer`; fills
// `attention_rows` with where each row finds them. qkv: [m][stride]; cosines, sines: [positions][head_size / 2].
void mk_run_rotate_and_store(mk_pool *pool, const mk_table *table, float *qkv, int32_t stride, int32_t m,
                             const mk_token_row *rows, int32_t layer, int32_t heads, int32_t kv_heads,
                             int32_t head_size, const float *cosines, const float *sines,
                             mk_attention_row *attention_rows);

// y[rows] += SiLU(x[rows] keys^T) values for each group. x: one row a token, or two where `planes` is 2
// (quantize_planes); scores: [m][scores_stride] and `activated` are scratch for all m rows. Split over threads by rows,
// so each row is computed whole by one thread. Groups ascend and do not overlap; rows outside of them are left alone.
void mk_run_memory_i8(mk_pool *pool, const mk_table *table, const mk_activations_i8 *x, int32_t planes,
                      const mk_memory_group *groups, int32_t group_count, float *scores, int32_t scores_stride,
                      mk_activations_i8 *activated, float *y, int32_t y_stride);
void mk_run_memory_f32(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride,
                       const mk_memory_group *groups, int32_t group_count, float *scores, int32_t scores_stride,
                       float *y, int32_t y_stride);

#endif
