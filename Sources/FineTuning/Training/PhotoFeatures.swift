// Photos to features, through the bundle's frozen encoder and the store on disk.

internal import Diagnostics
internal import FoundationEssentials
internal import MemVP
internal import Specification
internal import Tensor
internal import Vision

/// Computes what the feature store lacks.
final class PhotoFeatures {
    let store: FeatureStore
    private let bundle: ModelBundle
    private let compute: Compute
    private let vision: VisionWorker
    private var hashes: [String: String] = [:]

    /// Features under `bundle`'s encoder, kept in `directory`.
    init(bundle: ModelBundle, compute: Compute, directory: String) throws(Failure) {
        self.bundle = bundle
        self.compute = compute
        vision = VisionWorker(bundle.vision, compute: compute)
        let image = bundle.description.image
        let identity =
            "\(bundle.description.files["vision.gguf"] ?? "") \(image.side) \(image.divisor) \(image.mean) "
            + "\(image.deviation)"
        store = try FeatureStore(
            directory: directory, encoder: String(ModelBundle.sha256(of: Array(identity.utf8)).prefix(24)),
            patches: bundle.vision.patches, width: bundle.vision.features)
    }

    /// The photo's key in the store, after its features were put there if need be.
    ///
    /// - Throws: the photo decoder's failures naming the photo; the store's.
    func key(_ path: String) throws(Failure) -> String {
        if let known = hashes[path] { return known }
        guard let contents = FileManager.default.contents(atPath: path) else {
            throw Failure(.unreadable, path, "cannot be read", hint: "Check that it is there, and its permissions.")
        }
        let bytes = [UInt8](contents)
        let hash = ModelBundle.sha256(of: bytes)
        if !store.holds(hash) {
            let prepared: PreparedImage
            do { prepared = try bundle.prepare(photo: bytes) } catch { throw error.about(path) }
            try store.append(hash, features: vision.encode(prepared.pixels.span))
        }
        hashes[path] = hash
        return hash
    }
}
