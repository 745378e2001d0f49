// Names of adapters as the command line takes them.

internal import ArgumentParser

/// What an adapter of a bundle may be called. The name becomes a file of the bundle: nothing that leads out of it, and nothing that
/// model.yaml would not take.
enum ToolboxAdapterName {
    /// The rule in words.
    static let rule = "1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`, the first a letter or digit"

    /// - Throws: `ValidationError` naming the option.
    static func check(_ name: String, option: String) throws {
        let isPlain: (UInt8) -> Bool = { (0x30...0x39).contains($0) || (0x41...0x5A).contains($0 & 0xDF) }
        guard name.utf8.count <= 64, let first = name.utf8.first, isPlain(first),
            name.utf8.allSatisfy({ isPlain($0) || Array("._-".utf8).contains($0) })
        else { throw ValidationError("\(option) is '\(name)'; use \(rule).") }
    }
}
