// Photos to features, through the bundle's encoder: from the store on disk where the encoder is frozen, computed in every step
// where adapters beside its blocks are trained.
//
// Invariant: a photo's keys follow from its bytes alone in both cases, and with them what is derived from keys: the
// identity of a run's data, which a resumed run compares, and the channels that a step drops. Where a photo lies changes
// nothing.

internal import Diagnostics
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

/// Where the views of photos are found again by an encoder in training, which decodes them in every step.
private final class PhotoPlaces {
    struct Place {
        var path: String
        /// SHA-256 of the photo.
        var hash: String
        var view: PhotoView
    }

    /// By key.
    private var places: [String: Place] = [:]

    func put(_ key: String, _ place: Place) { places[key] = place }

    func place(of key: String) throws(Failure) -> Place {
        guard let place = places[key] else { throw Failure(.internalError, key, "is the key of no photo of this run") }
        return place
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
    private let places: PhotoPlaces
    private var keys: [String: [String]] = [:]

    /// Features under `bundle`'s encoder with what `adapter` has beside its blocks; frozen ones are kept in `directory`.
    init(bundle: ModelBundle, compute: Compute, directory: String, adapter: TrainableAdapter) throws(Failure) {
        self.bundle = bundle
        vision = VisionWorker(bundle.vision, compute: compute)
        layers = adapter.configuration.layers
        let places = PhotoPlaces()
        self.places = places
        if let parameters = adapter.vision, !adapter.freezesVision, case .clip(let model) = bundle.vision {
            frozen = nil
            source = .trained(try VisionGradient(model: model, compute: compute, adapters: parameters)) {
                key throws(Failure) in
                let place = try places.place(of: key)
                let bytes = try DataFile.photo(place.path)
                guard ModelBundle.sha256(of: bytes) == place.hash else {
                    throw Failure(
                        .unreadable, place.path, "has changed since the run began", hint: "Put it back, and --resume.")
                }
                return try Self.prepared(bytes, place.path, bundle, place.view).pixels
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
            + (layers == .result ? "" : "blocks \(layers.blocks.map(\.index))") + " \(compute.kernels.name)"
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
    /// store if need be: those of `PhotoViews`, whatever the source.
    ///
    /// - Throws: the photo decoder's failures naming the photo; the store's.
    func keys(_ path: String, views: Int = 1) throws(Failure) -> [String] {
        if let known = keys[path], known.count >= views { return Array(known.prefix(views)) }
        let bytes = try DataFile.photo(path)
        let hash = ModelBundle.sha256(of: bytes)
        let found = (0..<views).map { PhotoViews.key($0, of: hash) }
        switch source {
        case .stored(let store):
            for (number, key) in found.enumerated() where !store.holds(key) {
                let pixels = try Self.prepared(bytes, path, bundle, PhotoViews.view(number, of: hash)).pixels
                try store.append(key, features: vision.encode(pixels.span, layers: layers.unscaled, adapters: frozen))
            }
        case .trained:
            _ = try Self.prepared(bytes, path, bundle, .whole)
            for (number, key) in found.enumerated() {
                let view = PhotoViews.view(number, of: hash)
                places.put(key, PhotoPlaces.Place(path: path, hash: hash, view: view))
            }
        }
        keys[path] = found
        return found
    }

    private static func prepared(
        _ bytes: [UInt8], _ path: String, _ bundle: ModelBundle, _ view: PhotoView
    ) throws(Failure) -> PreparedImage {
        do { return try bundle.prepare(photo: bytes, view: view) } catch { throw error.about(path) }
    }
}
