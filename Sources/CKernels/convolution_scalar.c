// Depthwise convolution, scalar. Taps that fall outside the image are skipped: the same as zero padding.
#include "paths.h"
#include "scalar.h"

#pragma STDC FP_CONTRACT OFF

void mk_scalar_depthwise(const mk_depthwise *shape, const float *x, const float *w, const float *bias,
                             int32_t begin, int32_t end, float *y) {
    const mk_depthwise s = *shape;
    for (int32_t row = begin; row < end; row++) {
        for (int32_t column = 0; column < s.out_width; column++) {
            float *out = y + ((size_t)row * s.out_width + column) * s.channels;
            for (int32_t c = 0; c < s.channels; c++) {
                float sum = 0;
                for (int32_t ky = 0; ky < s.kernel; ky++) {
                    int32_t iy = row * s.stride - s.pad_top + ky;
                    if (iy < 0 || iy >= s.height) continue;
                    for (int32_t kx = 0; kx < s.kernel; kx++) {
                        int32_t ix = column * s.stride - s.pad_left + kx;
                        if (ix < 0 || ix >= s.width) continue;
                        sum += x[((size_t)iy * s.width + ix) * s.channels + c] *
                               w[(size_t)(ky * s.kernel + kx) * s.channels + c];
                    }
                }
                out[c] = mk_clamp(sum + bias[c], s.low, s.high);
            }
        }
    }
}
