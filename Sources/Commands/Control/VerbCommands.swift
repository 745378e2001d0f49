// The commands of memvpctl that change something.

internal import ArgumentParser
internal import Control
internal import Diagnostics

struct RetryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry", abstract: "Makes a new job of an ended one, or of all failed ones.")
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The job.")
    var job: String?
    @Flag(help: "All failed jobs.")
    var all = false

    /// For all, a little longer than the daemon itself waits, so that its own words come through.
    var patience: Duration { all ? .seconds(130) : .seconds(30) }

    func validate() throws {
        guard (job == nil) == all else { throw ValidationError("Name a job, or say --all.") }
    }

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            let path = job.map { "/v1/jobs/\(ControlClient.encode($0))/retry" } ?? "/v1/jobs/retry-all"
            try connection.perform(path, timeout: patience)
        }
    }
}

struct HoldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold", abstract: "Starts no further job, or keeps one back, until release.")
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The job; missing: the whole queue.")
    var job: String?

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            try connection.perform(job.map { "/v1/jobs/\(ControlClient.encode($0))/hold" } ?? "/v1/hold")
        }
    }
}

struct ReleaseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release", abstract: "Ends a hold or a drain, or lets one job go on.")
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The job; missing: the whole queue.")
    var job: String?

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            try connection.perform(job.map { "/v1/jobs/\(ControlClient.encode($0))/release" } ?? "/v1/release")
        }
    }
}

struct RemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Ends a waiting job with the outcome removed; originals stay.")
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The job.")
    var job: String

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in
            try connection.perform("/v1/jobs/\(ControlClient.encode(job))/remove")
        }
    }
}

struct DrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Takes nothing more from the inbox and works off what is there.")
    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        try CommandEnd.explain { () throws(Failure) in try connection.perform("/v1/drain") }
    }
}

struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload", abstract: "Reads configuration and model again; waits until they are in force.")
    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        // A little longer than the daemon itself waits, so that its own words come through.
        try CommandEnd.explain { () throws(Failure) in
            try connection.perform("/v1/reload", timeout: .seconds(130))
        }
    }
}
