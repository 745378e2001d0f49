// A folder for a store of features, for tests that look at and change what it has on disk.

import Diagnostics
import Foundation

@testable import FineTuning

/// A folder that goes away with the value.
final class FeatureFolder {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("memvp-\(UUID().uuidString)").path
    var index: URL { URL(fileURLWithPath: "\(path)/e.index") }
    var data: URL { URL(fileURLWithPath: "\(path)/e.f16") }
    var sums: URL { URL(fileURLWithPath: "\(path)/e.sums") }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The store of two patches of three values each.
    func store() throws(Failure) -> FeatureStore {
        try FeatureStore(directory: path, encoder: "e", patches: 2, width: 3)
    }
}
