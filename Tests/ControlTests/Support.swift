// What the tests share: temporary directories, a served socket, raw clients, curl.
//
// Suites that serve are serialised: hundreds of cases at once would need more descriptors than a process may have.

import Diagnostics
import Foundation
import Glibc
import Logging
import Synchronization
import Testing

@testable import Control

/// A directory that is gone when the test is over; short, for a socket's path has only 107 bytes.
func withTemporaryDirectory<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let path = "/tmp/mc-\(UInt32.random(in: 0...UInt32.max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try await body(path)
}

/// Runs blocking work on a thread of its own: blocked threads of Swift's pool would starve the server under test.
func offPool<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        let thread = Thread { continuation.resume(with: Swift.Result { try body() }) }
        thread.start()
    }
}

/// Serves `router` on a socket in a directory of its own for as long as `body` runs.
@discardableResult
func withServer<Result: Sendable>(
    _ router: Router, role: SocketRole = .control, limits: ServerLimits = ServerLimits(),
    onResponse: @escaping @Sendable (SocketRole, Int) -> Void = { _, _ in },
    _ body: @escaping @Sendable (_ path: String, _ server: ControlServer) async throws -> Result
) async throws -> Result {
    try await withTemporaryDirectory { directory in
        let path = directory + "/s"
        let socket = try ListeningSocket.bind(role, path: path)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let server = ControlServer([(socket, router)], limits: limits, logger: logger, onResponse: onResponse)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            defer { server.beginShutdown() }
            let result: Result
            do { result = try await body(path, server) } catch {
                server.beginShutdown()
                throw error
            }
            server.beginShutdown()
            try await group.waitForAll()
            return result
        }
    }
}

/// More than the kernel holds for a client that does not read.
private let bigAnswer = ControlResponse(
    status: 200, contentType: "text/plain", body: Array(repeating: UInt8(ascii: "x"), count: 4 << 20))

/// A router with one of everything the server tests need.
func sampleRouter() -> Router {
    var router = Router()
    router.get("/v1/status") { request throws(Failure) in .text("fine\n") }
    router.get("/echo/:word", query: ["n"]) { request throws(Failure) in
        .text("\(try request.parameter("word")) \(request.query["n"] ?? "-")\n")
    }
    router.post("/take") { request throws(Failure) in .text("\(request.body.count)\n") }
    router.get("/fail") { _ throws(Failure) in
        throw Failure(.notFound, "job 7", "does not exist", hint: "Look it up.")
    }
    router.get("/peer") { request throws(Failure) in
        .text("\(request.peer?.processID ?? -1) \(request.peer?.userID ?? 0)\n")
    }
    router.get("/big") { _ throws(Failure) in bigAnswer }
    return router
}

/// A blocking client that sends and reads bytes as they are.
final class RawClient: Sendable {
    let descriptor: Int32

    init(_ path: String) throws {
        descriptor = try SocketBridge.makeSocket()
        if case .failed(let number) = SocketBridge.connect(descriptor, try SocketBridge.address(path)) {
            Glibc.close(descriptor)
            throw Failure(.unavailable, path, FileBridge.errorText(number))
        }
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            guard case .done(let count) = SocketBridge.send(descriptor, rest, wait: true) else {
                throw Failure(.inputOutput, "send", FileBridge.errorText(errno))
            }
            rest = rest.dropFirst(count)
        }
    }

    func finishSending() { _ = shutdown(descriptor, Int32(SHUT_WR)) }

    /// What comes until the server closes, or until `enough`; a silence beyond `patience` is a failed test.
    func read(until enough: (String) -> Bool = { _ in false }) throws -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while !enough(String(decoding: bytes, as: UTF8.self)) {
            guard case .done(1) = SocketBridge.wait(descriptor, for: POLLIN, milliseconds: patience.milliseconds) else {
                throw Failure(.unavailable, "server", "is silent after \(String(decoding: bytes, as: UTF8.self))")
            }
            guard case .done(let count) = SocketBridge.receive(descriptor, into: &buffer), count > 0 else { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func close() { Glibc.close(descriptor) }
}

/// Sends bytes to the server and gives what it says until it closes.
func exchange(_ path: String, _ bytes: String) async throws -> String {
    try await offPool {
        let client = try RawClient(path)
        defer { client.close() }
        try client.send(bytes)
        return try client.read()
    }
}

/// Runs a program, feeding it `input`; gives its exit code and what it wrote.
func run(_ program: String, _ arguments: [String], input: String = "") async throws -> (
    code: Int32, out: String, err: String
) {
    try await offPool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        let (stdin, stdout, stderr) = (Pipe(), Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        process.standardError = stderr
        try process.run()
        try stdin.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try stdin.fileHandleForWriting.close()
        let out = try stdout.fileHandleForReading.readToEnd() ?? Data()
        let err = try stderr.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: out, as: UTF8.self), String(decoding: err, as: UTF8.self))
    }
}

/// What ends a test that hangs: long enough for a machine that does other work beside, so no answer is ever too slow for it.
let patience = (seconds: "600", milliseconds: Int32(600_000), duration: Duration.seconds(600))

/// curl over the socket: the outsider that says whether this is HTTP.
func curl(_ path: String, _ arguments: [String]) async throws -> String {
    let result = try await run(
        "/usr/bin/curl",
        ["--silent", "--show-error", "--max-time", patience.seconds, "--unix-socket", path] + arguments)
    guard result.code == 0 else { throw Failure(.internalError, "curl", "exit \(result.code): \(result.err)") }
    return result.out
}

/// A fact that comes true some time: for the client's side, to wait on the server's.
final class Latch: Sendable {
    private struct State {
        var open = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func open() {
        let waiters = state.withLock { state in
            defer { state.waiters = [] }
            state.open = true
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let open = state.withLock { state in
                if !state.open { state.waiters.append(continuation) }
                return state.open
            }
            if open { continuation.resume() }
        }
    }
}

/// A file of the test's directory in the source tree.
func sourceFile(_ relative: String, from file: String = #filePath) -> String {
    URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent(relative).path
}

/// A generator whose numbers are the same in every run (Steele, Lea and Flood 2014).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
