// Damaged files of every format end in a failure or in a table whose tensors can be read: never in a trap. The sequences are
// seeded, so a fault comes back on every run.

import Diagnostics
import Tensor
import Testing

@testable import ModelFile

/// A format with the fixture that its mutations start from.
enum MutatedFormat: String, CaseIterable, CustomTestStringConvertible {
    case gguf = "tiny.gguf"
    case ggufTypes = "types.gguf"
    case safetensors = "tiny.safetensors"
    case legacy = "tiny-legacy.pth"
    case legacyTypes = "types-legacy.pth"
    case archive = "tiny-archive.pth"
    case script = "script.pt"
    case sentencePiece = "tokenizer.model"

    var testDescription: String { rawValue }

    /// The bytes that mutations change: all, but for the long vocabulary, whose pieces are alike.
    func original() throws -> [UInt8] {
        let bytes = try fixtureBytes(rawValue)
        guard self == .sentencePiece else { return bytes }
        return Array(bytes.prefix(300) + bytes.suffix(300))
    }

    /// Opens a file of these bytes and reads all it holds; false when it is refused.
    func read(_ path: String) throws(Failure) -> Bool {
        do {
            switch self {
            case .gguf, .ggufTypes: try readAll(GGUFFile(path: path))
            case .safetensors: try readAll(SafetensorsFile(path: path))
            case .legacy, .legacyTypes, .archive, .script: try readAll(PyTorchFile(path: path))
            case .sentencePiece: _ = try SentencePieceModel(path: path)
            }
            return true
        } catch {
            // An internal error would mean that a checked table did not fit its own file.
            guard error.code == .modelInvalid || error.code == .modelUnsupported else { throw error }
            return false
        }
    }

    private func readAll(_ container: some TensorContainer) throws(Failure) {
        for entry in container.tensors.entries {
            if entry.type.isFloatingPoint {
                _ = try container.floats(of: entry)
            } else {
                _ = try container.integers(of: entry)
            }
        }
    }
}

@Suite("Damaged files")
struct MutationTests {
    @Test("every truncation is refused", arguments: MutatedFormat.allCases)
    func truncations(format: MutatedFormat) throws {
        let directory = try TemporaryDirectory()
        let original = try fixtureBytes(format.rawValue)
        #expect(try format.read(directory.file(original)))
        // GGUF ends in padding and SentencePiece between any two messages; the others end with their last byte.
        let padding = format == .gguf ? 8 : format == .ggufTypes ? 20 : 0
        let step = original.count > 4000 ? 7 : 1
        for length in stride(from: 1, to: original.count - padding, by: step) {
            let accepted = try format.read(directory.file(Array(original.prefix(length))))
            #expect(!accepted || format == .sentencePiece, "\(length) bytes")
        }
    }

    @Test("random byte changes end in a failure or a readable table", arguments: MutatedFormat.allCases)
    func randomChanges(format: MutatedFormat) throws {
        let directory = try TemporaryDirectory()
        let original = try format.original()
        var generator = SeededGenerator(state: 1)
        var refused = 0
        for _ in 0..<2000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(
                    in: .min ... .max, using: &generator)
            }
            if try !format.read(directory.file(bytes)) { refused += 1 }
        }
        #expect(refused > 0)
    }

    @Test("hostile numbers in every place end likewise", arguments: MutatedFormat.allCases)
    func hostileNumbers(format: MutatedFormat) throws {
        let directory = try TemporaryDirectory()
        let original = try format.original()
        let wide: [UInt64] = [UInt64(Int64.max), .max, 1 << 63, 1 << 62, UInt64(original.count)]
        let narrow: [UInt32] = [.max, UInt32(Int32.max), 1 << 31, 0]
        let replacements = wide.map { littleEndian($0) } + narrow.map { littleEndian($0) }
        for offset in 0..<min(original.count, 800) {
            let replacement = replacements[offset % replacements.count]
            _ = try format.read(directory.file(patched(original, offset, replacement)))
            let other = replacements[(offset / replacements.count) % replacements.count]
            _ = try format.read(directory.file(patched(original, original.count - 1 - offset, other)))
        }
    }
}
