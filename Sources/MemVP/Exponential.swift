// The one use of libm outside the kernels: probabilities for people, computed in Double from exact scores.

internal import Glibc

/// eˣ.
func exponential(_ x: Double) -> Double { exp(x) }
