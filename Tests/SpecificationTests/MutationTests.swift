// Thousands of broken documents: each is taken or refused with faults that have a place in it, none ends the process.
import Testing

@testable import Specification

/// SplitMix64 (Steele, Lea, Flood 2014): the same documents in every run.
private struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

@Suite("Mutated documents")
struct MutationTests {
    private static let splices: [[UInt8]] =
        [
            "&a ", "*a", "!!str ", "<<: ", "- ", "? ", ": ", "{", "}", "[", "]", ",", "\"", "'", "|\n", ">", "#", "%",
            "\n---\n",
            "\t", "\r", "\0", "\u{FEFF}", "\\ud800", "\\x00", "99999999999999999999", "-", "é", "\u{2028}", "ask: ",
            "id: a",
        ].map { Array($0.utf8) } + [[0xFF], [0xC3], [0xED, 0xA0, 0x80]]

    /// `original` with one to eight changes.
    private func mutate(_ original: [UInt8], _ random: inout SplitMix64) -> [UInt8] {
        var bytes = original
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            let length = Int.random(in: 0...min(12, bytes.count - place), using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes.removeSubrange(place..<place + length)
            case 2: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
            case 3:
                let from = Int.random(in: 0...bytes.count, using: &random)
                bytes.insert(contentsOf: bytes[from...].prefix(80), at: place)
            default: bytes.insert(contentsOf: Self.splices.randomElement(using: &random) ?? [], at: place)
            }
        }
        return bytes
    }

    @Test("task specs", arguments: 0..<8)
    func specs(seed: UInt64) {
        let original = """
            version: 1
            image: "a photo.jpg"
            priority: -3   # comment
            tasks:
              - id: alt
                caption: { max_tokens: 40, temperature: 0.5, seed: 12 }
              - ask: "Is it \\u00e9 raining?"
                adapter: vqa
                answer:
                  choices: [yes, 'no', on
                    Sundays]
              - ask: |
                  Why?
            """
        var random = SplitMix64(state: seed)
        #expect(TaskSpec.faults(in: Array(original.utf8)) == [])
        var taken = 0
        for _ in 0..<750 {
            let bytes = mutate(Array(original.utf8), &random)
            let faults = TaskSpec.faults(in: bytes)
            taken += faults.isEmpty ? 1 : 0
            check(faults, bytes)
        }
        // Mutations that all fail or all pass would test one path only.
        #expect((10..<740).contains(taken), "\(taken) of 750 taken")
    }

    @Test("configurations", arguments: 100..<104)
    func configurations(seed: UInt64) {
        var random = SplitMix64(state: seed)
        for _ in 0..<500 {
            let bytes = mutate(Array(ConfigurationTests.changed.utf8), &random)
            do {
                let decoded = try ConfigurationDecoder.decode(bytes)
                #expect(decoded.configuration.directories.inbox.hasPrefix("/"))
            } catch {
                check(error.all, bytes)
            }
        }
    }

    private func check(_ faults: [Fault], _ bytes: [UInt8]) {
        // Every byte that may end a line: CR and LF, and the parts of NEL, LS and PS.
        let lines = bytes.count { [0x0A, 0x0D, 0x85, 0xA8, 0xA9].contains($0) } + 2
        for fault in faults {
            #expect(!fault.cause.isEmpty)
            guard let position = fault.position else { continue }
            #expect(
                (1...lines).contains(position.line) && (1...bytes.count + 1).contains(position.column), "\(fault.line)")
        }
        #expect(faults.map { $0.position ?? Position(line: 0, column: 0) }.isSorted)
    }
}

extension [Position] {
    fileprivate var isSorted: Bool { zip(self, dropFirst()).allSatisfy { $0 <= $1 } }
}
