// Reads the fixtures that Fixtures/make_fixtures.py made, and finds the full vocabulary.

import Foundation
import ModelFile
import Testing
import Text

/// A fixture could not be read: the tests that need it must fail, not pass over nothing.
struct FixtureError: Error {
    let what: String
}

enum Fixture {
    static func data(_ name: String) throws -> Data {
        guard let directory = Bundle.module.resourceURL?.appendingPathComponent("Fixtures") else {
            throw FixtureError(what: "no resources")
        }
        return try Data(contentsOf: directory.appendingPathComponent(name))
    }

    /// The rows of a file of tab-separated values.
    static func rows(_ name: String, columns: Int) throws -> [[String]] {
        let rows = String(decoding: try data(name), as: UTF8.self).split(separator: "\n")
            .map { $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init) }
        guard !rows.isEmpty, rows.allSatisfy({ $0.count == columns }) else { throw FixtureError(what: name) }
        return rows
    }

    /// A text written as a JSON string.
    static func text(_ json: String) throws -> String { try JSONDecoder().decode(String.self, from: Data(json.utf8)) }

    /// Ids written as four hexadecimal digits each.
    static func ids(_ hexadecimal: String) throws -> [Int32] {
        let digits = Array(hexadecimal)
        guard digits.count % 4 == 0 else { throw FixtureError(what: hexadecimal) }
        return try stride(from: 0, to: digits.count, by: 4).map { start in
            guard let id = Int32(String(digits[start..<(start + 4)]), radix: 16) else {
                throw FixtureError(what: hexadecimal)
            }
            return id
        }
    }
}

/// The vocabulary of the default model, which is too large for a fixture: `make test` makes the model first.
enum FullVocabulary {
    static let path: String? = {
        // A path that was named must exist: the tests then fail rather than skip.
        if let named = ProcessInfo.processInfo.environment["MEMVP_TEST_GGUF"] { return named }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let path = root.appendingPathComponent("build/models/default/language.gguf").path
        return FileManager.default.fileExists(atPath: path) ? path : nil
    }()

    static let tokenizer = Result { () throws -> any Tokenizer in
        guard let path else { throw FixtureError(what: "no model") }
        return try GGUFFile(path: path).metadata.tokenizer()
    }
}

extension Trait where Self == ConditionTrait {
    /// Skips, loudly, where the default model was not made.
    static var needsFullVocabulary: Self {
        .enabled(
            if: FullVocabulary.path != nil,
            "needs build/models/default/language.gguf: run `make models`, or name a GGUF file in MEMVP_TEST_GGUF")
    }
}
