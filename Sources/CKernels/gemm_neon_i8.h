// The int8 product with NEON, included once for each way to multiply bytes. The includer defines
//   MK_NAME(name)       the name of a function in this variant
//   MK_DOT(sum, w, x)   int32x4 + the dot products of four bytes each of w and x, exact for ±127
// and, for the rest of the file, the instruction set. No include guard: it is meant to be read twice.

typedef struct {
    const mk_activations_i8 *x;
    const mk_weights_i8 *w;
    int32_t groups;
    int32_t planes;  // rows of x that make a row of y: 1, or 2 that stand in one tile
    float *y;
    int32_t y_stride;
    int32_t *sums;
    int32_t sums_stride;
    mk_epilogue epilogue;
} MK_NAME(product);

MK_INLINE float32x4_t MK_NAME(scaled)(const MK_NAME(product) * p, int32_t row, int32_t n, int32x4_t sum) {
    float32x4_t scale = vmulq_f32(vdupq_n_f32(p->x->scales[row]), vld1q_f32(p->w->scales + n));
    return vmulq_f32(scale, vcvtq_f32_s32(sum));
}

// Outputs n ... n + 3 of one row.
MK_INLINE void MK_NAME(store)(const MK_NAME(product) * p, int32_t row, int32_t n, int32x4_t sum) {
    int32_t remaining = mk_min_i32(4, p->w->rows - n);
    if (remaining <= 0) return;
    if (p->sums) {
        int32_t four[4];
        vst1q_s32(four, sum);
        memcpy(p->sums + (size_t)row * p->sums_stride + n, four, (size_t)remaining * sizeof *four);
        return;
    }
    mk_finish4(MK_NAME(scaled)(p, row, n, sum), p->y + (size_t)row * p->y_stride, n, remaining, &p->epilogue);
}

// Rows `row` and row + 1 of x are the planes of one row of y. What y held comes before the bias.
MK_INLINE void MK_NAME(store_planes)(const MK_NAME(product) * p, int32_t row, int32_t n, int32x4_t coarse,
                                     int32x4_t fine) {
    int32_t remaining = mk_min_i32(4, p->w->rows - n);
    if (remaining <= 0) return;
    float *y = p->y + (size_t)(row / 2) * p->y_stride + n;
    float32x4_t v = vaddq_f32(MK_NAME(scaled)(p, row, n, coarse), MK_NAME(scaled)(p, row + 1, n, fine));
    if (p->epilogue.accumulate) v = vaddq_f32(mk_load4(y, remaining, 0), v);
    if (p->epilogue.bias) v = vaddq_f32(v, mk_load4(p->epilogue.bias + n, remaining, 0));
    mk_store4(y, remaining, mk_clamp4(v, vdupq_n_f32(p->epilogue.low), vdupq_n_f32(p->epilogue.high)));
}

// One tile of one panel; `rows` is a compile-time constant in every instance.
MK_INLINE void MK_NAME(tile)(const MK_NAME(product) * p, int32_t row, int32_t panel, const int32_t rows) {
    const size_t stride = (size_t)p->x->stride;
    const int8_t *x = p->x->values + (size_t)row * stride;
    const int8_t *w = p->w->data + (size_t)panel * (size_t)p->groups * MK_PANEL * MK_GROUP;
    int32x4_t sums[4][4];
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int32_t q = 0; q < 4; q++) sums[r][q] = vdupq_n_s32(0);
    for (int32_t group = 0; group < p->groups; group++, x += MK_GROUP, w += MK_PANEL * MK_GROUP) {
        int8x16_t weights[4];
#pragma clang loop unroll(full)
        for (int32_t q = 0; q < 4; q++) weights[q] = vld1q_s8(w + 16 * q);
#pragma clang loop unroll(full)
        for (int32_t r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x + (size_t)r * stride, sizeof four);
            const int8x16_t value = vreinterpretq_s8_s32(vdupq_n_s32(four));
#pragma clang loop unroll(full)
            for (int32_t q = 0; q < 4; q++) sums[r][q] = MK_DOT(sums[r][q], weights[q], value);
        }
    }
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int32_t q = 0; q < 4; q++) {
            const int32_t n = panel * MK_PANEL + 4 * q;
            if (p->planes == 1) {
                MK_NAME(store)(p, row + r, n, sums[r][q]);
            } else if (r % 2 == 1) {
                MK_NAME(store_planes)(p, row + r - 1, n, sums[r - 1][q], sums[r][q]);
            }
        }
}

static void MK_NAME(multiply)(const MK_NAME(product) * p, int32_t m, int32_t panel_begin, int32_t panel_end) {
    for (int32_t panel = panel_begin; panel < panel_end; panel++) {
        int32_t row = 0;
        for (; row + 4 <= m; row += 4) MK_NAME(tile)(p, row, panel, 4);
        for (; row + 2 <= m; row += 2) MK_NAME(tile)(p, row, panel, 2);
        for (; row < m; row++) MK_NAME(tile)(p, row, panel, 1);
    }
}

// m rows of y. Tiles have four, two or, at the end of an odd number, one row, so the planes of a row share one.
static void MK_NAME(matmul)(const mk_activations_i8 *x, int32_t planes, int32_t m, const mk_weights_i8 *w,
                            int32_t panel_begin, int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    MK_NAME(product) p = {.x = x, .w = w, .groups = mk_groups(w->columns), .planes = planes,
                          .y = y, .y_stride = y_stride, .epilogue = epilogue};
    MK_NAME(multiply)(&p, planes * m, panel_begin, panel_end);
}

static void MK_NAME(sums)(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                          int32_t panel_end, int32_t *sums, int32_t sums_stride) {
    MK_NAME(product) p = {.x = x, .w = w, .groups = mk_groups(w->columns), .planes = 1,
                          .sums = sums, .sums_stride = sums_stride};
    MK_NAME(multiply)(&p, m, panel_begin, panel_end);
}

#undef MK_NAME
#undef MK_DOT
