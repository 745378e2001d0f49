// Constants of the exponential that every path computes: exp(x) = 2^n * p(r) with n = round(x / ln 2) and r = x - n ln 2.
// Only x <= 0 is ever needed (softmax subtracts its maximum; SiLU folds the sign), so nothing can overflow.
// p is a minimax polynomial of degree 6 on |r| <= 0.3473 with p(0) = p'(0) = 1, fitted for this project by reweighted least
// squares; its own relative error is 4.2e-9, so float32 rounding dominates (whole: below 1e-7). Below MK_EXP_LOWEST the
// result would be subnormal and is 0.
#ifndef MEMVP_CKERNELS_EXPONENTIAL_H
#define MEMVP_CKERNELS_EXPONENTIAL_H

#define MK_ROUNDER 12582912.0f      // 1.5 * 2^23: adding it rounds to an integer, half to even
#define MK_EXP_LOWEST -87.33654f    // ln(2^-126), the smallest normal float32
#define MK_LOG2_E 1.44269504f
#define MK_LN2_HIGH 0.693145752f    // ln 2 in 16 bits, so that n * MK_LN2_HIGH is exact
#define MK_LN2_LOW 1.42860677e-6f   // ln 2 - MK_LN2_HIGH

#define MK_EXP_C2 0x1.fffffcp-2f
#define MK_EXP_C3 0x1.55549p-3f
#define MK_EXP_C4 0x1.5558f8p-5f
#define MK_EXP_C5 0x1.123b02p-7f
#define MK_EXP_C6 0x1.6a2258p-10f

#endif
