// The commands of memvpctl that only look.

internal import ArgumentParser
internal import Control
internal import Diagnostics
internal import FoundationEssentials
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
    @Flag(name: .customShort("j"), help: "One JSON object a line.")
    var lines = false
    @Option(help: "Only jobs in this state.")
    var state: String?
    @Option(help: "The most jobs to list.")
    var limit = 1000

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            let filter = state.map { "&state=\(ControlClient.encode($0))" } ?? ""
            let queue = try connection.client().get("/v1/queue?limit=\(limit)\(filter)", as: QueueDocument.self)
            try Output.write(lines || connection.json ? QueueView.jsonLines(queue) : QueueView.render(queue))
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
                    let message = check.message.isEmpty ? "" : ": \(check.message)"
                    try Output.write("\(check.ok ? "ok  " : "FAIL")  \(check.name)\(message)")
                }
            }
            guard health.ok else { throw Failure(.unavailable, "memvpd", "is not well") }
        }
    }
}

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Checks a task spec; asks no daemon.")
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The task spec.")
    var spec: String

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            guard let bytes = FileManager.default.contents(atPath: spec) else {
                throw Failure(.notFound, spec, "is not there or cannot be read")
            }
            let tasks = try TaskSpec(yaml: [UInt8](bytes), named: spec).tasks.map(\.id)
            guard connection.json else {
                return try Output.write("\(spec): good; tasks: \(tasks.joined(separator: ", "))")
            }
            try Output.write(String(decoding: ControlJSON.encode(["tasks": tasks]), as: UTF8.self))
        }
    }
}
