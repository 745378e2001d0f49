// The version, which all three programs print and the daemon tells.

/// The version of the programs.
public let memvpdVersion = "0.1.0"
