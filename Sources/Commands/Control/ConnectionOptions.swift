// Where the daemon is, and how its answers are printed: the options that memvpctl's commands share.

internal import ArgumentParser
internal import Control
internal import Diagnostics
internal import FoundationEssentials
internal import Specification

struct ConnectionOptions: ParsableArguments {
    @Option(help: "The control socket; missing: the one in the configuration.")
    var socket: String?
    @Option(help: "The configuration file that names the socket and the limits of task specs.")
    var config: String?
    @Flag(help: "Print JSON.")
    var json = false

    /// A client of the daemon that the options, the configuration or the defaults name, in this order.
    func client(timeout: Duration = .seconds(10)) throws(Failure) -> ControlClient {
        ControlClient(socketPath: try path(), timeout: timeout)
    }

    private func path() throws(Failure) -> String {
        if let socket { return socket }
        let usual = DaemonConfiguration().sockets.control
        return try configuration(withFaults: "\(usual) is asked").configuration.sockets.control
    }

    /// The configuration that the options name, or else the daemon's own; where that one may not be read or has faults, the
    /// defaults, of which a warning says what they mean.
    func configuration(withFaults consequence: String) throws(Failure) -> EffectiveConfiguration {
        if let config { return try EffectiveConfiguration(file: config) }
        let standard = "/etc/memvpd.yaml"
        // Operators may not be allowed to read the daemon's configuration; the defaults then are the best guess.
        guard FileManager.default.isReadableFile(atPath: standard) else { return EffectiveConfiguration() }
        do throws(Failure) {
            return try EffectiveConfiguration(file: standard)
        } catch {
            // The daemon goes on with the configuration that it has; its operators must reach it all the more.
            CommandEnd.complain(
                "warning: \(standard) has faults, so \(consequence); memvpd --check-config names them")
            return EffectiveConfiguration()
        }
    }

    /// Reads a document and prints it, as JSON or as the text of `render`.
    func show<Document: Codable>(
        _ path: String, as type: Document.Type, _ render: (Document) throws(Failure) -> String
    ) throws(Failure) {
        let document = try client().get(path, as: type)
        try Output.write(json ? String(decoding: ControlJSON.encode(document), as: UTF8.self) : render(document))
    }

    /// Has a verb done and prints what it did.
    func perform(_ path: String, timeout: Duration = .seconds(30)) throws(Failure) {
        let done = try client(timeout: timeout).post(path)
        try Output.write(json ? String(decoding: ControlJSON.encode(done), as: UTF8.self) : done.message)
    }
}
