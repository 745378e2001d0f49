// Options that several commands share, and the model that they lead to.

internal import ArgumentParser
internal import Diagnostics
internal import FoundationEssentials
internal import MemVP
internal import Tensor

/// The arithmetic as the command line names it.
enum ToolboxPrecision: String, CaseIterable, ExpressibleByArgument {
    case int8
    case f32

    var precision: Precision { self == .int8 ? .int8 : .float32 }
}

/// Options of every command that runs a model.
struct ToolboxModelOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The model bundle.", valueName: "directory"))
    var model: String

    @Option(help: "Compute threads; by default as many as there are CPUs.")
    var threads: Int?

    @Option(help: "Refuse a bundle of another precision.")
    var precision: ToolboxPrecision?

    /// Options that another command's arguments stand for.
    static func parsed(model: String, threads: Int?, precision: ToolboxPrecision?) -> ToolboxModelOptions {
        var options = ToolboxModelOptions()
        options.model = model
        options.threads = threads
        options.precision = precision
        return options
    }

    func validate() throws {
        if let threads, !(1...256).contains(threads) {
            throw ValidationError("--threads is \(threads); it must be 1 to 256.")
        }
    }

    /// Opens the bundle.
    ///
    /// - Throws: the bundle's failures; `configuration_invalid` when it is not of the precision that was asked for.
    func bundle() throws(Failure) -> ModelBundle {
        let bundle = try ModelBundle(path: model)
        guard let wanted = precision?.precision, wanted != bundle.precision else { return bundle }
        throw Failure(
            .configurationInvalid, "--precision \(wanted.rawValue)",
            "does not match the bundle \(model), which is \(bundle.precision.rawValue)",
            hint: wanted == .float32
                ? "Make the float32 bundle with `make models-f32`." : "Make the int8 bundle with `make models`.")
    }

    /// Threads and kernels.
    ///
    /// - Throws: `usage` or `unavailable` for MEMVP_KERNELS, `unavailable` when there are no threads.
    func compute() throws(Failure) -> Compute {
        let kernels = try Kernels.choose(forced: ProcessInfo.processInfo.environment["MEMVP_KERNELS"])
        return try Compute(kernels: kernels, threads: threads ?? Compute.allowedCPUs)
    }
}

/// Values as lines of JSON.
enum ToolboxJSON {
    /// One line of JSON, keys in order, so that equal values are equal lines.
    ///
    /// - Throws: `internal_error` for a number that JSON cannot hold.
    static func line(_ value: some Encodable) throws(Failure) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return String(decoding: try encoder.encode(value), as: UTF8.self)
        } catch { throw Failure(.internalError, "JSON", "cannot hold a result: \(error)") }
    }
}

/// Files that people name on the command line.
enum ToolboxFile {
    /// The size of a file in megabytes, for rates; 0 when it is not there.
    static func megabytes(_ path: String) -> Double {
        let file = URL(filePath: path).resolvingSymlinksInPath().path
        let attributes = try? FileManager.default.attributesOfItem(atPath: file)
        return Double(attributes?[.size] as? Int ?? 0) / 1_000_000
    }
}
