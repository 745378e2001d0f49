// Where the daemon is, and how its answers are printed: the options that memvpctl's commands share.

internal import ArgumentParser
internal import Control
internal import Daemon
internal import Diagnostics
internal import FoundationEssentials
internal import Specification

struct ConnectionOptions: ParsableArguments {
    @Option(help: "The control socket; missing: the one in the configuration.")
    var socket: String?
    @Option(help: "The configuration file that names the socket.")
    var config: String?
    @Flag(help: "Print JSON.")
    var json = false

    /// A client of the daemon that the options, the configuration or the defaults name, in this order.
    func client(timeout: Duration = .seconds(10)) throws(Failure) -> ControlClient {
        ControlClient(socketPath: try path(), timeout: timeout)
    }

    private func path() throws(Failure) -> String {
        if let socket { return socket }
        if let config { return try EffectiveConfiguration(file: config).configuration.sockets.control }
        let standard = "/etc/memvpd.yaml"
        // Operators may not be allowed to read the daemon's configuration; the default socket then is the best guess.
        guard FileManager.default.isReadableFile(atPath: standard) else {
            return DaemonConfiguration().sockets.control
        }
        do throws(Failure) {
            return try EffectiveConfiguration(file: standard).configuration.sockets.control
        } catch {
            // The daemon goes on with the configuration that it has; its operators must reach it all the more.
            let path = DaemonConfiguration().sockets.control
            CommandEnd.complain(
                "warning: \(standard) has faults, so \(path) is asked; memvpd --check-config names them")
            return path
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
