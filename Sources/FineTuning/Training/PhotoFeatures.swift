// Photos to features, through the bundle's encoder: from the store on disk where the encoder is frozen, computed in every step
// where adapters beside its blocks are trained.

internal import Diagnostics
internal import FoundationEssentials
internal import MemVP
internal import Specification
internal import Tensor
internal import Vision

/// Where a step gets its features, and where their gradient goes.
enum PhotoSource {
    /// Frozen features, on disk.
    case stored(FeatureStore)
    /// Features of an encoder in training: photos are decoded and encoded anew.
    case trained(VisionGradient, pixels: (_ photo: String) throws(Failure) -> [Float])

    /// Whether the features' gradient is of use.
    var isTrained: Bool {
        if case .trained = self { return true }
        return false
    }

    /// Patches of a photo.
    var patches: Int {
        switch self {
        case .stored(let store): store.patches
        case .trained(let encoder, _): encoder.patches
        }
    }

    /// Puts a photo's features into rows from `row` on.
    func features(_ photo: String, into rows: FloatRows, at row: Int, compute: Compute) throws(Failure) {
        switch self {
        case .stored(let store): try store.read(photo, into: rows, at: row, compute: compute)
        case .trained(let encoder, let pixels):
            let pixels = try pixels(photo)
            encoder.forward(pixels.span, into: rows, at: row)
        }
    }

    /// Lets go of memory that the features of photos gone by still hold.
    func releasePages() {
        if case .stored(let store) = self { store.releasePages() }
    }

    /// Adds the gradients of the encoder's adapters, from the gradient of a photo's features.
    func backward(_ photo: String, gradient: FloatRows, at row: Int) throws(Failure) {
        guard case .trained(let encoder, let pixels) = self else { return }
        let values = try pixels(photo)
        encoder.backward(values.span, gradient: gradient, at: row)
    }
}

/// Finds the features of photos: computes what the store lacks, or checks that photos decode.
final class PhotoFeatures {
    /// Where steps get features.
    let source: PhotoSource
    private let bundle: ModelBundle
    private let vision: VisionWorker
    private let frozen: CLIPAdapters?
    private let layers: FeatureLayers
    private var keys: [String: [String]] = [:]

    /// Features under `bundle`'s encoder with what `adapter` has beside its blocks; frozen ones are kept in `directory`.
    init(bundle: ModelBundle, compute: Compute, directory: String, adapter: TrainableAdapter) throws(Failure) {
        self.bundle = bundle
        vision = VisionWorker(bundle.vision, compute: compute)
        layers = adapter.configuration.layers
        if let parameters = adapter.vision, !adapter.freezesVision, case .clip(let model) = bundle.vision {
            frozen = nil
            source = .trained(try VisionGradient(model: model, compute: compute, adapters: parameters)) {
                key throws(Failure) in
                // A key is the view's number and the path.
                let parts = key.split(separator: " ", maxSplits: 1)
                let (number, path) = (Int(parts[0]) ?? 0, String(parts[1]))
                let bytes = try Self.bytes(path)
                let hash = number > 1 ? ModelBundle.sha256(of: bytes) : ""
                return try Self.prepared(bytes, path, bundle, PhotoViews.view(number, of: hash)).pixels
            }
            return
        }
        let beside = adapter.tensors.vision
        frozen = try beside.map { tensors throws(Failure) in
            try tensors.packed(width: adapter.configuration.features, precision: bundle.precision)
        }
        let image = bundle.description.image
        let identity =
            "\(bundle.description.files["vision.gguf"] ?? "") \(image.side) \(image.divisor) \(image.mean) "
            + "\(image.deviation)" + (beside.map { "\($0.scale) \($0.fc1) \($0.fc2)" } ?? "")
            + (layers == .result ? "" : "blocks \(layers.blocks.map(\.index))")
        source = .stored(
            try FeatureStore(
                directory: directory, encoder: String(ModelBundle.sha256(of: Array(identity.utf8)).prefix(24)),
                patches: bundle.vision.patches, width: adapter.configuration.features,
                factors: bundle.vision.factors(of: layers)))
    }

    /// Lets other runs fill the store.
    func release() {
        if case .stored(let store) = source { store.release() }
    }

    /// The names under which a step asks for `views` views of the photo, the whole first, after their features were put into the
    /// store if need be.
    ///
    /// - Throws: the photo decoder's failures naming the photo; the store's.
    func keys(_ path: String, views: Int = 1) throws(Failure) -> [String] {
        if let known = keys[path], known.count >= views { return Array(known.prefix(views)) }
        let bytes = try Self.bytes(path)
        var found: [String] = []
        if case .stored(let store) = source {
            let hash = ModelBundle.sha256(of: bytes)
            for number in 0..<views {
                let key = PhotoViews.key(number, of: hash)
                found.append(key)
                if store.holds(key) { continue }
                let pixels = try Self.prepared(bytes, path, bundle, PhotoViews.view(number, of: hash)).pixels
                try store.append(key, features: vision.encode(pixels.span, layers: layers.unscaled, adapters: frozen))
            }
        } else {
            _ = try Self.prepared(bytes, path, bundle, .whole)
            found = (0..<views).map { "\($0) \(path)" }
        }
        keys[path] = found
        return found
    }

    private static func bytes(_ path: String) throws(Failure) -> [UInt8] {
        guard let contents = FileManager.default.contents(atPath: path) else {
            throw Failure(.unreadable, path, "cannot be read", hint: "Check that it is there, and its permissions.")
        }
        return [UInt8](contents)
    }

    private static func prepared(
        _ bytes: [UInt8], _ path: String, _ bundle: ModelBundle, _ view: PhotoView
    ) throws(Failure) -> PreparedImage {
        do { return try bundle.prepare(photo: bytes, view: view) } catch { throw error.about(path) }
    }
}
