// The walk over one output row of a depthwise convolution, shared by the vector paths: which taps of each pixel fall inside
// the image. Border columns go one by one with narrowed tap ranges; interior columns go several at once with constant ones.
#ifndef MEMVP_CKERNELS_DEPTHWISE_H
#define MEMVP_CKERNELS_DEPTHWISE_H

#include "scalar.h"

// Output columns computed together in the interior.
#define MK_COLUMNS 4

// Taps top ..< bottom of left ..< right.
typedef struct {
    int32_t top, bottom, left, right;
} mk_taps;

// `strip` is the caller's own state; count is 1 or MK_COLUMNS.
typedef void (*mk_columns_function)(const void *strip, int32_t row, int32_t column, int32_t count, mk_taps taps);

// The part of 0 ..< kernel that falls inside 0 ..< extent when it starts at origin.
static inline void mk_valid_taps(int32_t origin, int32_t kernel, int32_t extent, int32_t *begin, int32_t *end) {
    *begin = mk_max_i32(0, -origin);
    *end = mk_max_i32(*begin, mk_min_i32(kernel, extent - origin));
}

static inline __attribute__((always_inline)) void mk_walk_row(const mk_depthwise *s, const void *strip, int32_t row,
                                                              const int32_t kernel, mk_columns_function columns) {
    mk_taps taps, all;
    mk_valid_taps(row * s->stride - s->pad_top, kernel, s->height, &taps.top, &taps.bottom);
    all = (mk_taps){taps.top, taps.bottom, 0, kernel};
    // Interior: column * stride - pad_left >= 0 and column * stride - pad_left + kernel <= width.
    int32_t begin = mk_min_i32(s->out_width, (s->pad_left + s->stride - 1) / s->stride);
    int32_t room = s->width - kernel + s->pad_left;
    int32_t end = room < 0 ? begin : mk_max_i32(begin, mk_min_i32(s->out_width, room / s->stride + 1));

    int32_t column = 0;
    for (; column < begin; column++) {
        mk_valid_taps(column * s->stride - s->pad_left, kernel, s->width, &taps.left, &taps.right);
        columns(strip, row, column, 1, taps);
    }
    for (; column + MK_COLUMNS <= end; column += MK_COLUMNS) columns(strip, row, column, MK_COLUMNS, all);
    for (; column < end; column++) columns(strip, row, column, 1, all);
    for (; column < s->out_width; column++) {
        mk_valid_taps(column * s->stride - s->pad_left, kernel, s->width, &taps.left, &taps.right);
        columns(strip, row, column, 1, taps);
    }
}

// Where tap (0, 0) of an output pixel reads; outside the image for border pixels, so an offset and not a pointer.
static inline ptrdiff_t mk_depthwise_origin(const mk_depthwise *s, int32_t row, int32_t column) {
    ptrdiff_t y = (ptrdiff_t)row * s->stride - s->pad_top, x = (ptrdiff_t)column * s->stride - s->pad_left;
    return (y * s->width + x) * s->channels;
}

#endif
