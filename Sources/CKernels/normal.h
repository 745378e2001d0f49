// Constants of the Gaussian error linear unit that every path computes: GELU(x) = x Phi(x), Phi the normal distribution's
// cumulative function (arXiv 1606.08415, the exact form).
//
// Phi(-a) = exp(-a^2 / 2) t P(t) with t = 1 / (1 + p a), a >= 0: exp(a^2 / 2) Phi(-a) falls smoothly from 1/2 like 1 / a.
// P is a polynomial of degree 8 on 0 <= a <= 13.5, fitted for this project by reweighted least squares in relative
// error; its own is 3.2e-8, so float32 rounding dominates. Beyond 13.5 the exponential is 0.
#ifndef MEMVP_CKERNELS_NORMAL_H
#define MEMVP_CKERNELS_NORMAL_H

#define MK_NORMAL_P 0.35f
#define MK_NORMAL_C0 0x1.1df1eap-3f
#define MK_NORMAL_C1 0x1.1e6e7p-3f
#define MK_NORMAL_C2 0x1.eaea68p-4f
#define MK_NORMAL_C3 0x1.afda5ap-4f
#define MK_NORMAL_C4 -0x1.77cc22p-6f
#define MK_NORMAL_C5 0x1.457c74p-3f
#define MK_NORMAL_C6 -0x1.05a2d8p-2f
#define MK_NORMAL_C7 0x1.26a652p-3f
#define MK_NORMAL_C8 -0x1.dd326cp-6f

// QuickGELU(x) = x / (1 + exp(-1.702 x)), CLIP's approximation.
#define MK_QUICK_GELU 1.702f

#endif
