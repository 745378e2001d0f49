// What the tests of MemVP share: the bundles that `make models models-f32` makes, goldens, and the comparer.

import Foundation
import MemVP
import ModelFile
import Tensor

/// Bundles under build/models; a test that needs one is skipped with this reason where it is not there.
enum Bundles {
    static let missing = "no bundle under build/models: run `make models models-f32`"

    static func path(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("build/models/\(name)").path
    }

    static func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "\(path(name))/model.yaml") }

    static let int8 = "default"
    static let float32 = "default-f32"
}

enum Fixture {
    static func path(_ name: String) throws -> String {
        guard let url = Bundle.module.url(forResource: "Fixtures/\(name)", withExtension: nil) else {
            throw CocoaError(.fileNoSuchFile)
        }
        return url.path
    }

    static func bytes(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: try path(name))))
    }

    static func golden() throws -> SafetensorsFile { try SafetensorsFile(path: path("default-base.safetensors")) }
}

/// How far a vector is from the one it should be. A wrong length, NaN or infinity is infinitely far.
enum Distance {
    static func relativeL2(_ found: [Float], _ expected: [Float]) -> Double {
        guard found.count == expected.count, !expected.isEmpty, found.allSatisfy(\.isFinite) else { return .infinity }
        var difference = 0.0
        var norm = 0.0
        for (a, b) in zip(found, expected) {
            difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
            norm += Double(b) * Double(b)
        }
        return norm > 0 ? (difference / norm).squareRoot() : .infinity
    }

    static func cosine(_ found: [Float], _ expected: [Float]) -> Double {
        guard found.count == expected.count, found.allSatisfy(\.isFinite) else { return -1 }
        var product = 0.0
        var a = 0.0
        var b = 0.0
        for (x, y) in zip(found, expected) {
            product += Double(x) * Double(y)
            a += Double(x) * Double(x)
            b += Double(y) * Double(y)
        }
        return a > 0 && b > 0 ? product / (a * b).squareRoot() : -1
    }
}

/// FNV-1a over everything a run produced; equal bytes give equal hashes.
struct RunHash: Equatable {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ bits: UInt32) {
        for shift in stride(from: 0, to: 32, by: 8) {
            value = (value ^ UInt64((bits >> UInt32(shift)) & 255)) &* 0x100_0000_01b3
        }
    }
}
