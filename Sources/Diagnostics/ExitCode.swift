/// Process exit codes of sysexits(3) that the programs use (DESIGN 3).
public enum ExitCode: Int32, Sendable, Equatable {
    /// Success.
    case ok = 0
    /// The command line was wrong (EX_USAGE).
    case usage = 64
    /// The input data was wrong (EX_DATAERR).
    case dataError = 65
    /// An input file does not exist or cannot be read (EX_NOINPUT).
    case noInput = 66
    /// A service or feature is unavailable (EX_UNAVAILABLE).
    case unavailable = 69
    /// An internal error: a bug of ours (EX_SOFTWARE).
    case software = 70
    /// An output cannot be created (EX_CANTCREAT).
    case cantCreate = 73
    /// Reading or writing failed (EX_IOERR).
    case inputOutput = 74
    /// A passing fault: try again (EX_TEMPFAIL).
    case tryAgain = 75
    /// Permission was denied (EX_NOPERM).
    case permission = 77
    /// The configuration or the model is wrong (EX_CONFIG).
    case configuration = 78
}
