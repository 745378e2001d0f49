// Probabilities for people, computed in Double from exact scores by the C library's exp.

internal import Glibc

/// eˣ.
func exponential(_ x: Double) -> Double { exp(x) }
