// Checkpoints: parameters, moments, means and the step, as a safetensors file that appears whole or not at all.
//
// Invariant: a checkpoint has the SHA-256 of all that it says, so that one whose bytes are no longer those that were written is
// refused. Those of earlier revisions have none and are taken as they are. Failure modes: `model_invalid` for what is damaged,
// `configuration_invalid` for another run's; the writer's, which leave the last checkpoint in its place.

internal import Diagnostics
internal import MemVP
internal import ModelFile
internal import Tensor

/// The state of a run between two steps.
enum Checkpoint {
    private static let stepKey = "memvp.step"
    private static let sumKey = "memvp.sha256"
    private static let average = ".average"

    /// A tensor on its way into a file.
    private struct Stored {
        let name: String
        let shape: [Int]
        let values: [Float]
    }

    /// Writes the state after `step` steps.
    ///
    /// - Throws: the writer's failures; a failed save leaves the last one in place.
    static func save(
        _ adapter: TrainableAdapter, step: Int, identity: RunIdentity, to path: String
    ) throws(Failure) {
        var tensors: [Stored] = []
        for parameter in adapter.parameters {
            func add(_ kind: String, _ values: [Float]) {
                tensors.append(Stored(name: parameter.name + kind, shape: parameter.shape, values: values))
            }
            add("", parameter.values)
            add(".first", parameter.moments.first)
            add(".second", parameter.moments.second)
            if hasMeans(identity.configuration) { add(average, parameter.average) }
        }
        var metadata = try identity.metadata()
        metadata[stepKey] = "\(step)"
        metadata[sumKey] = sum(metadata, tensors.map { line($0.name, $0.shape, bytes($0.values)) })
        let declarations = tensors.map { TensorDeclaration(name: $0.name, type: .float32, shape: $0.shape) }
        let writer = try SafetensorsWriter(path: path, metadata: metadata, tensors: declarations)
        for tensor in tensors { try writer.write(tensor.values.span) }
        try writer.finish()
    }

    /// Restores `adapter` from the checkpoint of a run's directory.
    ///
    /// - Returns: the steps that were done.
    /// - Throws: `configuration_invalid` when it is of another run; `model_invalid` for a damaged file.
    static func restore(
        _ adapter: TrainableAdapter, identity: RunIdentity, from directory: RunDirectory
    ) throws(Failure) -> Int {
        do throws(Failure) {
            let file = try SafetensorsFile(path: directory.checkpointPath)
            guard let step = file.metadata[stepKey].flatMap({ Int($0) }), step >= 0 else {
                throw Failure(.modelInvalid, file.path, "is no checkpoint of memvp")
            }
            try checkSum(of: file)
            try identity.check(file.metadata, of: file.path)
            guard step <= identity.configuration.steps else {
                throw Failure(
                    .modelInvalid, file.path, "is of step \(step) of a run of \(identity.configuration.steps) steps")
            }
            for parameter in adapter.parameters { try restore(parameter, from: file, identity.configuration) }
            return step
        } catch {
            // Models can be had again, which is what the readers of their files advise; a checkpoint cannot.
            guard [.modelInvalid, .modelUnsupported, .modelMissing].contains(error.code) else { throw error }
            throw Failure(.modelInvalid, error.object, error.cause, hint: directory.advice())
        }
    }

    private static func restore(
        _ parameter: Parameter, from file: SafetensorsFile, _ configuration: TrainingConfiguration
    ) throws(Failure) {
        func values(_ kind: String) throws(Failure) -> [Float] {
            let tensor = try file.tensor(named: parameter.name + kind)
            guard tensor.shape == parameter.shape else {
                throw Failure(.modelInvalid, "\(file.path): tensor \(tensor.name)", "has the shape \(tensor.shape)")
            }
            return try file.floats(of: tensor)
        }
        var moments = AdamWMoments(count: parameter.values.count)
        moments.first = try values(".first")
        moments.second = try values(".second")
        let mean = hasMeans(configuration) ? try values(average) : []
        parameter.restore(values: try values(""), moments: moments, average: mean)
    }

    /// Whether there is a running mean of each parameter.
    private static func hasMeans(_ configuration: TrainingConfiguration) -> Bool { configuration.averaging > 0 }

    // MARK: The checksum

    /// Holds a file against its checksum.
    private static func checkSum(of file: SafetensorsFile) throws(Failure) {
        // A key that nobody wrote would otherwise make a checkpoint with a checksum one without.
        let first: Set<String> = [
            stepKey, RunIdentity.Key.configuration, RunIdentity.Key.data, RunIdentity.Key.constants,
        ]
        guard Set(file.metadata.keys) != first else { return }
        let lines = file.tensors.entries.map { line($0.name, $0.shape, file.mapping.copy($0.byteRange)) }
        guard file.metadata[sumKey] == sum(file.metadata, lines) else {
            throw Failure(.modelInvalid, file.path, "is damaged: its checksum was made of other contents")
        }
    }

    /// SHA-256 of metadata, but for the checksum itself, and of what `line` says of the tensors, in their order.
    private static func sum(_ metadata: [String: String], _ tensors: [String]) -> String {
        let pairs = metadata.filter { $0.key != sumKey }.sorted { $0.key < $1.key }
        // Lengths keep keys and values apart, whatever stands in them.
        let lines = pairs.map { "\($0.key.utf8.count) \($0.key) \($0.value.utf8.count) \($0.value)" } + tensors
        return ModelBundle.sha256(of: Array(lines.joined(separator: "\n").utf8))
    }

    private static func line(_ name: String, _ shape: [Int], _ bytes: [UInt8]) -> String {
        "\(name.utf8.count) \(name) \(shape) \(ModelBundle.sha256(of: bytes))"
    }

    /// Values as files have them.
    private static func bytes(_ values: [Float]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(4 * values.count)
        for value in values {
            let bits = value.bitPattern
            bytes.append(UInt8(truncatingIfNeeded: bits))
            bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
            bytes.append(UInt8(truncatingIfNeeded: bits >> 16))
            bytes.append(UInt8(truncatingIfNeeded: bits >> 24))
        }
        return bytes
    }
}
