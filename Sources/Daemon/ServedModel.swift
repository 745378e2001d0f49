// The model that the daemon serves: opened and held against the configuration, and named in outcomes that no worker wrote.
//
// Invariant: a bundle that comes out of `load` can answer the default task with every adapter that the configuration names.
// Failure mode: whatever is wrong with it is a matter of set-up and ends a start with 78, so that systemd does not try again.

internal import Diagnostics
internal import MemVP
internal import Specification
internal import Spool
internal import Synchronization

final class ServedModel: Sendable {
    private let model: Mutex<AnswerDocument.Model>
    private let kernels: String

    init(_ bundle: ModelBundle, kernels: String) {
        model = Mutex(AnswerDocument.Model(bundle, kernels: kernels))
        self.kernels = kernels
    }

    /// What outcomes name now.
    var named: AnswerDocument.Model { model.withLock { $0 } }

    /// A reload has put another bundle into force.
    func replace(with bundle: ModelBundle) {
        model.withLock { $0 = AnswerDocument.Model(bundle, kernels: kernels) }
    }

    // MARK: Opening

    /// Opens the configured bundle.
    ///
    /// - Throws: `model_missing` or `configuration_invalid`, which end a start with 78.
    static func load(_ configuration: DaemonConfiguration) throws(Failure) -> ModelBundle {
        let bundle: ModelBundle
        do {
            bundle = try ModelBundle(
                path: configuration.model,
                positions: configuration.limits.promptTokens + configuration.limits.answerTokens)
        } catch {
            throw setUpFault(error)
        }
        try configuration.check(adapters: Set(bundle.adapters.keys), byTask: bundle.description.adapters)
        return bundle
    }

    /// What is wrong with the model as a matter of set-up; a fault that may pass stays what it is.
    static func setUpFault(_ failure: Failure) -> Failure {
        guard !failure.code.isPassing else { return failure }
        guard failure.code != .modelMissing else {
            return Failure(.modelMissing, failure.object, failure.cause, hint: hint)
        }
        return Failure(
            .configurationInvalid, failure.object, "\(failure.cause) (\(failure.code.rawValue))", hint: failure.hint)
    }

    static let hint =
        "Install a model with `memvp models install FILE.tar` where `model` in the configuration says, readable by the daemon's user: "
        + "`make models` in the source tree makes one in build/models/default."
}

extension DaemonConfiguration {
    /// Refuses a bundle that has none of the adapters that will be asked for: a base without one answers nothing.
    ///
    /// - Parameters:
    ///   - names: the adapters in the bundle.
    ///   - byTask: those that the bundle itself names for the kinds of tasks.
    /// - Throws: `model_missing`, `configuration_invalid`.
    func check(adapters names: Set<String>, byTask: [TaskKind: String]) throws(Failure) {
        guard !names.isEmpty else {
            throw Failure(
                .modelMissing, model, "has no adapter, without which no photo can be answered",
                hint: "Add one with `memvp convert adapter`, or copy a bundle that has one.")
        }
        for kind in TaskKind.allCases {
            let key = "adapters.\(kind.rawValue)"
            let name: String?
            // Who named it is whom to mend.
            let source: String
            if case .named(let chosen) = adapters[kind] {
                (name, source) = (chosen, key)
            } else {
                (name, source) = (byTask[kind], "\(model)/model.yaml: \(key)")
            }
            guard let name else {
                // A kind that the bundle does not serve is an error of the spec that asks for it, but for the default.
                guard kind != defaultTask.kind else {
                    throw Failure(
                        .configurationInvalid, key, "the model bundle names no adapter for the default task",
                        hint: "Set it to one of \(names.sorted().joined(separator: ", ")).")
                }
                continue
            }
            guard names.contains(name) else {
                throw Failure(
                    .configurationInvalid, source, "the model bundle \(model) has no adapter \(name)",
                    hint: "It has \(names.sorted().joined(separator: ", ")).")
            }
        }
    }

    /// The compute threads of each worker: the total divided evenly, the first ones taking what is left over; at least one.
    func threadShares(allowedCPUs: Int) -> [Int] {
        let workers = max(1, workers)
        let total = threads > 0 ? threads : allowedCPUs
        return (0..<workers).map { max(1, total / workers + ($0 < total % workers ? 1 : 0)) }
    }
}
