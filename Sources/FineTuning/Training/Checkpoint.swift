// Checkpoints: parameters, moments, means and the step, as a safetensors file that appears whole or not at all.

internal import Diagnostics
internal import FoundationEssentials
internal import ModelFile
internal import Tensor

/// The state of a run between two steps.
enum Checkpoint {
    /// Writes the state after `step` steps.
    ///
    /// - Throws: the writer's failures; a failed save leaves the last one in place.
    static func save(
        _ adapter: TrainableAdapter, step: Int, configuration: TrainingConfiguration, dataHash: String, to path: String
    ) throws(Failure) {
        var declarations: [TensorDeclaration] = []
        let kinds = kinds(configuration)
        for parameter in adapter.parameters {
            for kind in kinds {
                declarations.append(
                    TensorDeclaration(name: parameter.name + kind, type: .float32, shape: parameter.shape))
            }
        }
        let writer = try SafetensorsWriter(
            path: path,
            metadata: [
                "memvp.step": "\(step)", "memvp.configuration": try text(configuration), "memvp.data": dataHash,
                "memvp.adapter": adapter.constants,
            ],
            tensors: declarations)
        for parameter in adapter.parameters {
            try writer.write(parameter.values.span)
            try writer.write(parameter.moments.first.span)
            try writer.write(parameter.moments.second.span)
            if kinds.contains(average) { try writer.write(parameter.average.span) }
        }
        try writer.finish()
    }

    /// Restores `adapter` from the checkpoint at `path`.
    ///
    /// - Returns: the steps that were done.
    /// - Throws: `configuration_invalid` when it is of another run; `model_invalid` for a damaged file.
    static func restore(
        _ adapter: TrainableAdapter, configuration: TrainingConfiguration, dataHash: String, from path: String
    ) throws(Failure) -> Int {
        let file = try SafetensorsFile(path: path)
        guard let step = file.metadata["memvp.step"].flatMap({ Int($0) }), step >= 0 else {
            throw Failure(.modelInvalid, path, "is no checkpoint of memvp")
        }
        let expected = try text(configuration)
        guard file.metadata["memvp.configuration"] == expected, file.metadata["memvp.data"] == dataHash else {
            throw Failure(
                .configurationInvalid, path, "belongs to a run with other settings or other data",
                hint: "Resume with the same options and files, or start anew with another --out.")
        }
        guard file.metadata["memvp.adapter"] == adapter.constants else {
            throw Failure(
                .configurationInvalid, path,
                "belongs to a run with other shapes, constants or measures of the encoder's blocks",
                hint:
                    "Resume with the same --initial and --base, on the same kernels, or start anew with another --out.")
        }
        for parameter in adapter.parameters {
            func values(_ kind: String) throws(Failure) -> [Float] {
                let tensor = try file.tensor(named: parameter.name + kind)
                guard tensor.shape == parameter.shape else {
                    throw Failure(
                        .modelInvalid, "\(path): tensor \(tensor.name)", "has the shape \(tensor.shape)")
                }
                return try file.floats(of: tensor)
            }
            var moments = AdamWMoments(count: parameter.values.count)
            moments.first = try values(".first")
            moments.second = try values(".second")
            let mean = kinds(configuration).contains(average) ? try values(average) : []
            parameter.restore(values: try values(""), moments: moments, average: mean)
        }
        return step
    }

    private static let average = ".average"

    /// What follows a parameter's name in the names of its tensors.
    private static func kinds(_ configuration: TrainingConfiguration) -> [String] {
        ["", ".first", ".second"] + (configuration.averaging > 0 ? [average] : [])
    }

    private static func text(_ configuration: TrainingConfiguration) throws(Failure) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        do {
            return String(decoding: try encoder.encode(configuration), as: UTF8.self)
        } catch { throw Failure(.internalError, "settings", "cannot be written: \(error)") }
    }
}
