// The configuration as a file: what stands at its path is read within a limit. A file that is missing, none, too large, not to be
// read or wrong is a fault of the configuration; a disk that fails or descriptors that have run out are not, and may pass.

public import Diagnostics
internal import Files

extension EffectiveConfiguration {
    /// Bytes of a configuration at most: every key with long paths and comments has a tenth of it.
    private static let largest = 65_536
    /// What helps where the file itself is none to go on with.
    public static let otherFile = "Name another file with --config FILE."

    /// Reads a configuration file.
    ///
    /// - Throws: `configuration_invalid` when it is not to be read or is wrong; `input_output` when reading it fails.
    public init(file path: String) throws(Failure) {
        let bytes: [UInt8]
        do throws(Failure) {
            bytes = try InputFile.read(path, limit: Self.largest, tooLarge: .configurationInvalid)
        } catch {
            guard error.code != .inputOutput else { throw error }
            // Rights can be mended where the file is; for all else there must be another file.
            let hint = error.code == .unreadable ? error.hint : Self.otherFile
            throw Failure(.configurationInvalid, error.object, error.cause, hint: hint)
        }
        try self.init(yaml: bytes, named: path)
    }
}
