// Scalar arithmetic that every path shares: the reference formulas and the few reductions that are not worth a vector.
// Inline, without state. Results are the same on every machine: no libm, no contraction, rounding mode to nearest.
#ifndef MEMVP_CKERNELS_SCALAR_H
#define MEMVP_CKERNELS_SCALAR_H

#include <math.h>
#include <string.h>

#include "CKernels.h"
#include "exponential.h"

#pragma STDC FP_CONTRACT OFF

static inline int32_t mk_min_i32(int32_t a, int32_t b) { return a < b ? a : b; }

static inline int32_t mk_max_i32(int32_t a, int32_t b) { return a > b ? a : b; }

static inline int32_t mk_panels(int32_t rows) { return rows / MK_PANEL + (rows % MK_PANEL != 0); }
static inline int32_t mk_groups(int32_t columns) { return columns / MK_GROUP + (columns % MK_GROUP != 0); }

// Rows `first` and after.
static inline mk_activations_i8 mk_rows_from(const mk_activations_i8 *x, int32_t first) {
    mk_activations_i8 rows = *x;
    rows.values += (size_t)first * (size_t)x->stride;
    rows.scales += first;
    rows.sums += first;
    return rows;
}

// The rows of W in panels begin ..< end: what a matrix product may write of y.
static inline int32_t mk_last_row(int32_t rows, int32_t panel_end) {
    return panel_end > rows / MK_PANEL ? rows : panel_end * MK_PANEL;
}

// NaN stays NaN: both comparisons are false for it.
static inline float mk_clamp(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

// ---- Quantisation ----------------------------------------------------------------------------------------------

// Below this a row counts as zeros: 127 / maximum would overflow, and no model has such a row.
#define MK_SMALLEST_MAXIMUM 1e-30f

// Maximum of a row -> (scale, 127 / maximum). An infinite maximum counts as the largest finite number, so that
// infinities saturate instead of making every neighbour NaN.
typedef struct {
    float scale, inverse;
} mk_scaling;

static inline mk_scaling mk_scaling_of(float maximum) {
    if (maximum < MK_SMALLEST_MAXIMUM) return (mk_scaling){1, 0};
    float finite = maximum > 3.40282347e38f ? 3.40282347e38f : maximum;
    return (mk_scaling){finite / 127.0f, 127.0f / finite};
}

// The second of two planes counts in steps of 1 / 254 of the first's: half a step, the most that rounding leaves, is
// 127 of them.
#define MK_FINE_STEPS 254.0f

// clamp(round-half-even(v), -127, 127); NaN gives 0. Adding 1.5 * 2^23 pushes the fraction out of the mantissa, and the
// addition itself rounds half to even.
static inline int8_t mk_round_i8(float v) {
    if (v != v) return 0;
    float clamped = v < -127.0f ? -127.0f : v > 127.0f ? 127.0f : v;
    return (int8_t)(int32_t)((clamped + MK_ROUNDER) - MK_ROUNDER);
}

// max |x|, passing over NaN.
static inline float mk_max_abs(const float *x, size_t count) {
    float maximum = 0;
    for (size_t i = 0; i < count; i++) {
        float magnitude = fabsf(x[i]);
        if (magnitude > maximum) maximum = magnitude;
    }
    return maximum;
}

// ---- Transcendental --------------------------------------------------------------------------------------------

static inline float mk_float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t mk_bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// exp(x) for x <= 0; see exponential.h. NaN stays NaN.
static inline float mk_exp_nonpositive(float x) {
    float clamped = x < MK_EXP_LOWEST ? MK_EXP_LOWEST : x;
    float rounded = clamped * MK_LOG2_E + MK_ROUNDER;
    float n = rounded - MK_ROUNDER;
    float r = (clamped - n * MK_LN2_HIGH) - n * MK_LN2_LOW;
    float p = MK_EXP_C6;
    p = p * r + MK_EXP_C5;
    p = p * r + MK_EXP_C4;
    p = p * r + MK_EXP_C3;
    p = p * r + MK_EXP_C2;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    // The low bits of `rounded` are n; moved into the exponent field they are 2^n.
    float power = mk_float_of_bits((mk_bits_of_float(rounded) << 23) + 0x3f800000u);
    return x < MK_EXP_LOWEST ? 0.0f : p * power;
}

// SiLU(x) = x / (1 + exp(-x)), written so that the exponential never overflows.
static inline float mk_silu(float x) {
    float z = mk_exp_nonpositive(-fabsf(x));
    float numerator = x < 0 ? x * z : x;
    return numerator / (1.0f + z);
}

// Natural logarithm of a finite x >= 1, in double: x = 2^e f with f in [0.7, 1.42), ln f = 2 atanh((f - 1) / (f + 1)).
// The series ends below 1e-13.
static inline double mk_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int32_t exponent = (int32_t)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull;
    double fraction;
    memcpy(&fraction, &bits, sizeof fraction);
    if (fraction > 1.4142135623730951) {
        fraction *= 0.5;
        exponent += 1;
    }
    double s = (fraction - 1) / (fraction + 1);
    double square = s * s, power = s, sum = 0;
    for (int32_t k = 1; k <= 17; k += 2) {
        sum += power / k;
        power *= square;
    }
    return exponent * 0.6931471805599453 + 2 * sum;
}

// log(sum(exp(x - maximum))) + maximum, from the sum. An infinite maximum is its own normaliser.
static inline float mk_logsumexp(float maximum, double sum) {
    if (isinf(maximum) || sum != sum) return isinf(maximum) ? maximum : (float)sum;
    return (float)(mk_log(sum) + (double)maximum);
}

#endif
