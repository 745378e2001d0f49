// The commands of memvpctl that only look.

internal import ArgumentParser
internal import Control
internal import Diagnostics
internal import Files
internal import Specification

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "The daemon's condition.")
    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            try connection.show("/v1/status", as: StatusDocument.self) { StatusView.render($0) }
        }
    }
}

struct QueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "The jobs, those to be worked on first at the head.")
    @OptionGroup var connection: ConnectionOptions
    @Flag(name: .customShort("j"), help: "One JSON object a line, as --json does.")
    var lines = false
    @Option(help: "Only jobs in this state.")
    var state: String?
    @Option(help: "The most jobs to list.")
    var limit = 1000

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            let filter = state.map { "&state=\(ControlClient.encode($0))" } ?? ""
            let queue = try connection.client().get("/v1/queue?limit=\(limit)\(filter)", as: QueueDocument.self)
            try Output.write(
                lines || connection.json ? QueueView.jsonLines(queue) : QueueView.render(queue, state: state))
        }
    }
}

struct ShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "One job with its history.")
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The job.")
    var job: String

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            try connection.show("/v1/jobs/\(ControlClient.encode(job))", as: JobDocument.self) { JobView.render($0) }
        }
    }
}

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "What a job's state means and what comes next.")
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The job.")
    var job: String

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            try connection.show("/v1/jobs/\(ControlClient.encode(job))", as: JobDocument.self) {
                JobView.explanation($0)
            }
        }
    }
}

struct MetricsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "The metrics in Prometheus text format.")
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        guard !connection.json else {
            throw ValidationError("Metrics are Prometheus text and have no JSON form; memvpctl status --json has one.")
        }
    }

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            let reply = try connection.client().send("GET", "/metrics")
            guard reply.isSuccess else { throw reply.failure }
            try Output.write(reply.text)
        }
    }
}

struct HealthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health", abstract: "Whether the daemon can do its work; ends with 69 if it cannot.")
    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            // An unwell daemon answers 503 with the same document.
            let reply = try connection.client().send("GET", "/v1/health")
            guard reply.isSuccess || reply.status == 503 else { throw reply.failure }
            let health = try reply.decode(HealthDocument.self)
            if connection.json {
                try Output.write(reply.text)
            } else {
                for check in health.checks {
                    let parts = [check.name, check.path ?? "", check.message].filter { !$0.isEmpty }
                    try Output.write("\(check.ok ? "ok  " : "FAIL")  \(parts.joined(separator: ": "))")
                }
            }
            guard health.ok else {
                let unwell = health.checks.filter { !$0.ok }.map(\.name)
                // The status has nothing without the spool.
                throw Failure(
                    .unavailable, "memvpd", "is not well: \(unwell.joined(separator: ", "))",
                    hint: unwell.contains("spool")
                        ? "See that the disks of inbox, spool and outbox answer; journalctl -k may say which does not."
                        : "memvpctl status and journalctl -u memvpd say more.")
            }
        }
    }
}

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Checks a task spec against the configuration's limits; asks no daemon.")
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The task spec.")
    var spec: String

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            let effective = try connection.configuration(withFaults: "the default limits hold")
            let limits = effective.configuration.limits.spec
            var report = CheckReport(file: spec, limits: effective.file)
            do throws(Failure) {
                let bytes = try read(atMost: limits.bytes)
                // That there are no bytes is an error of its own and has no place.
                let faults = bytes.isEmpty ? [] : TaskSpec.faults(in: bytes, limits: limits)
                report.faults = faults.map { CheckReport.Entry($0) }
                report.tasks = try TaskSpec(yaml: bytes, named: spec, limits: limits).tasks.map(\.id)
            } catch {
                report.error = ErrorDetail(error)
                if connection.json { try write(report) }
                throw error
            }
            if connection.json { return try write(report) }
            let source = effective.file.map { "the limits of \($0)" } ?? "the default limits"
            try Output.write(
                "\(spec): good within \(source); tasks: \((report.tasks ?? []).joined(separator: ", "))")
        }
    }

    private func read(atMost limit: Int) throws(Failure) -> [UInt8] {
        do throws(Failure) {
            return try InputFile.read(spec, limit: limit, tooLarge: .specInvalid)
        } catch {
            throw error.code == .specInvalid ? error.advising("It is limits.spec_bytes that allows no more.") : error
        }
    }

    private func write(_ report: CheckReport) throws(Failure) {
        try Output.write(String(decoding: ControlJSON.encode(report), as: UTF8.self))
    }
}

/// What `check --json` writes: for a good spec its tasks, for a bad one the error and each of the faults.
private struct CheckReport: Encodable {
    struct Entry: Encodable {
        let line: Int?
        let column: Int?
        let message: String
        let hint: String

        init(_ fault: Fault) {
            (line, column) = (fault.position?.line, fault.position?.column)
            (message, hint) = (fault.cause, fault.hint)
        }
    }

    let file: String
    /// The configuration whose limits hold; missing for the defaults.
    let limits: String?
    var tasks: [String]?
    var error: ErrorDetail?
    var faults: [Entry] = []
}
