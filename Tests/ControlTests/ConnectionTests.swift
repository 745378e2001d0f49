// Clients that misbehave: raw bytes on a real socket.

import Diagnostics
import Foundation
import Glibc
import Logging
import Synchronization
import Testing

@testable import Control

@Suite("Server, asked in raw bytes", .serialized) struct ConnectionTests {
    static let get = "GET /v1/status HTTP/1.1\r\nHost: m\r\n\r\n"

    /// Limits that no test waits for, so that the one it shortens is the one that acts.
    private func patient(_ shorten: (inout ServerLimits) -> Void = { _ in }) -> ServerLimits {
        var limits = ServerLimits()
        (limits.idle, limits.request, limits.handler, limits.write) = (
            .seconds(900), .seconds(900), .seconds(900), .seconds(900)
        )
        shorten(&limits)
        return limits
    }

    @Test(
        "What is not HTTP/1.1 gets an explained 4xx or 5xx, then the connection ends",
        arguments: [
            ("hello\r\n\r\n", "400"), ("GET /v1/status\r\n\r\n", "505"), ("GET  HTTP/1.1\r\n\r\n", "400"),
            ("GET /v1/status HTTP/1.1\r\n\r\n", "400"),
            ("GET /v1/status HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
            ("GET /v1/status HTTP/1.1\r\nHost: m\r\nbad header\r\n\r\n", "400"),
            ("GET /v1/status HTTP/2.0\r\nHost: m\r\n\r\n", "505"),
            ("GET /v1/status HTTP/3.7\r\nHost: m\r\n\r\n", "505"),
            ("POST /take HTTP/1.1\r\nHost: m\r\nContent-Length: -1\r\n\r\n", "400"),
            ("POST /take HTTP/1.1\r\nHost: m\r\nContent-Length: 99999999999999999999\r\n\r\n", "400"),
            ("POST /take HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
            ("POST /take HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
            ("GET /\u{0}x HTTP/1.1\r\nHost: m\r\n\r\n", "400"), ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", "400"),
        ])
    func malformed(_ bytes: String, _ status: String) async throws {
        try await withServer(sampleRouter()) { path, _ in
            let answer = try await offPool {
                let client = try RawClient(path)
                defer { client.close() }
                try client.send(bytes)
                client.finishSending()
                return try client.read()
            }
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            #expect(answer.contains("Connection: close\r\n"))
            let body = answer.components(separatedBy: "\r\n\r\n").last ?? ""
            let document = try ControlJSON.decode(ErrorDocument.self, from: Array(body.utf8))
            #expect(document.error.code == .known(.protocolViolation))
            // And the server is as well as before.
            #expect(try await curl(path, ["http://memvpd/v1/status"]) == "fine\n")
        }
    }

    @Test("Requests with bytes changed, dropped or doubled at random end in answers or a close, and the server lives")
    func mutations() async throws {
        let seeds = [
            Self.get, "POST /take HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\nabcde",
            "POST /take HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"
                + Self.get,
            "GET /echo/a%20b?n=1 HTTP/1.1\r\nHost: m\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" + Self.get,
        ].map { Array($0.utf8) }
        try await withServer(sampleRouter()) { path, _ in
            try await offPool {
                var random = SplitMix(state: 2024)
                for round in 0..<400 {
                    var bytes = seeds[round % seeds.count]
                    for _ in 0...(random.next() % 4) {
                        let index = Int(random.next() % UInt64(bytes.count))
                        switch random.next() % 3 {
                        case 0: bytes[index] = UInt8(truncatingIfNeeded: random.next())
                        case 1: bytes.remove(at: index)
                        default: bytes.insert(contentsOf: bytes[index...], at: index)
                        }
                    }
                    let client = try RawClient(path)
                    defer { client.close() }
                    try client.send(bytes)
                    client.finishSending()
                    let answer = try client.read()
                    #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 "), "\(bytes)")
                }
            }
            #expect(try await curl(path, ["http://memvpd/v1/status"]) == "fine\n")
        }
    }

    @Test("Bytes that are not UTF-8 in a target are refused")
    func binaryTarget() async throws {
        try await withServer(sampleRouter()) { path, _ in
            let answer = try await offPool {
                let client = try RawClient(path)
                defer { client.close() }
                try client.send(Array("GET /echo/".utf8) + [0xFF, 0xFE] + Array(" HTTP/1.1\r\nHost: m\r\n\r\n".utf8))
                return try client.read { $0.contains("\n}") || $0.hasSuffix("}\n") }
            }
            #expect(answer.hasPrefix("HTTP/1.1 400 "))
        }
    }

    @Test("Pipelined requests are answered in order")
    func pipelining() async throws {
        try await withServer(sampleRouter()) { path, _ in
            let requests = (0..<50).map { "GET /echo/\($0) HTTP/1.1\r\nHost: m\r\n\r\n" }.joined()
            let last = "GET /v1/status HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n"
            let answer = try await exchange(path, requests + last)
            let bodies = answer.components(separatedBy: "\r\n\r\n").dropFirst().map { $0.prefix { $0 != "\n" } }
            #expect(bodies == (0..<50).map { "\($0) -" } + ["fine"])
        }
    }

    @Test("A refused body is read to its end, so that who sends it all first still learns why")
    func lingering() async throws {
        try await withServer(sampleRouter(), limits: patient()) { path, _ in
            let length = 4 << 20
            let head = "POST /take HTTP/1.1\r\nHost: m\r\nContent-Length: \(length)\r\n\r\n"
            let answer = try await exchange(path, head + String(repeating: "x", count: length))
            #expect(answer.hasPrefix("HTTP/1.1 413 "))
        }
    }

    @Test("A length over the limit is refused before a byte of the body")
    func announced() async throws {
        try await withServer(sampleRouter(), limits: patient()) { path, _ in
            let answer = try await exchange(path, "POST /take HTTP/1.1\r\nHost: m\r\nContent-Length: 65537\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 413 "))
        }
    }

    @Test("After an upgrade was asked for, the answer is HTTP/1.1 and the connection ends")
    func upgrade() async throws {
        try await withServer(sampleRouter(), limits: patient()) { path, _ in
            let head = "GET /v1/status HTTP/1.1\r\nHost: m\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
            let answer = try await exchange(path, head + Self.get)
            #expect(answer.hasPrefix("HTTP/1.1 200 "))
            #expect(answer.hasSuffix("\r\n\r\nfine\n"))
        }
    }

    @Test("A request byte by byte, even in a body, is one request")
    func byteByByte() async throws {
        try await withServer(sampleRouter()) { path, _ in
            let answer = try await offPool {
                let client = try RawClient(path)
                defer { client.close() }
                let request = "POST /take HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde"
                for byte in request.utf8 { try client.send([byte]) }
                return try client.read()
            }
            #expect(answer.hasSuffix("\r\n\r\n5\n"))
        }
    }

    @Test("A client that has finished sending still gets its answer")
    func halfClose() async throws {
        try await withServer(sampleRouter()) { path, _ in
            let answer = try await offPool {
                let client = try RawClient(path)
                defer { client.close() }
                try client.send(Self.get)
                client.finishSending()
                return try client.read()
            }
            #expect(answer.hasSuffix("fine\n"))
        }
    }

    @Test(
        "A head that never ends is cut off at the deadline, and so is an idle connection",
        arguments: [
            "GET /v1/sta", "", get,
        ])
    func slowHead(_ bytes: String) async throws {
        let limits = patient { $0.idle = .milliseconds(100) }
        try await withServer(sampleRouter(), limits: limits) { path, _ in
            let answer = try await exchange(path, bytes)
            #expect(bytes == Self.get ? answer.hasSuffix("fine\n") : answer.isEmpty)
        }
    }

    @Test("A body that never ends gets 408")
    func slowBody() async throws {
        let limits = patient { $0.request = .milliseconds(100) }
        try await withServer(sampleRouter(), limits: limits) { path, _ in
            let answer = try await exchange(path, "POST /take HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\nab")
            #expect(answer.hasPrefix("HTTP/1.1 408 "))
        }
    }

    @Test("A handler that takes too long gives 504, and its late answer goes nowhere")
    func slowHandler() async throws {
        let latch = Latch()
        var router = sampleRouter()
        router.get("/wait") { _ throws(Failure) in
            await latch.wait()
            return .text("late\n")
        }
        let limits = patient { $0.handler = .milliseconds(100) }
        try await withServer(router, limits: limits) { path, _ in
            defer { latch.open() }
            let answer = try await exchange(path, "GET /wait HTTP/1.1\r\nHost: m\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 504 "))
            #expect(!answer.contains("late"))
        }
    }

    @Test("A client that never reads is cut off, and cannot make the server hold more than one answer")
    func neverReads() async throws {
        let answers = Mutex(0)
        let limits = patient { $0.write = .milliseconds(300) }
        try await withServer(sampleRouter(), limits: limits, onResponse: { _, _ in answers.withLock { $0 += 1 } }) {
            path, _ in
            try await offPool {
                let client = try RawClient(path)
                defer { client.close() }
                let request = "GET /big HTTP/1.1\r\nHost: m\r\n\r\n"
                try client.send(String(repeating: request, count: 100))
                // The server hangs up on us, unread: only that ends this wait.
                while case .done(0) = SocketBridge.wait(client.descriptor, for: 0, milliseconds: patience.milliseconds)
                {
                    throw Failure(.unavailable, "server", "does not cut off a client that never reads")
                }
            }
        }
        #expect(answers.withLock { $0 } == 1)
    }

    @Test(
        "Clients that vanish at any point do no harm",
        arguments: [
            "", "GET", get, "POST /take HTTP/1.1\r\nHost: m\r\nContent-Length: 50\r\n\r\nab",
            "GET /big HTTP/1.1\r\nHost: m\r\n\r\n",
        ])
    func abruptClose(_ bytes: String) async throws {
        try await withServer(sampleRouter()) { path, _ in
            for _ in 0..<50 {
                let client = try RawClient(path)
                try client.send(bytes)
                client.close()
            }
            #expect(try await curl(path, ["http://memvpd/v1/status"]) == "fine\n")
        }
    }

    @Test(
        "Handlers of clients that left count as well: the next request is told to come back", .timeLimit(.minutes(10)))
    func abandonedHandlers() async throws {
        let (reached, go) = (Latch(), Latch())
        var router = sampleRouter()
        router.get("/wait") { _ throws(Failure) in
            reached.open()
            await go.wait()
            return .text("done\n")
        }
        let limits = patient { $0.connections = 1 }
        try await withServer(router, limits: limits) { path, _ in
            defer { go.open() }
            let client = try RawClient(path)
            try client.send("GET /wait HTTP/1.1\r\nHost: m\r\n\r\n")
            await reached.wait()
            client.close()
            let arguments = ["--write-out", "%{http_code}", "http://memvpd/v1/status"]
            let refused = try await curl(path, arguments)
            #expect(refused.hasSuffix("503"))
            go.open()
            // Nothing tells when the permit is back, but that it serves again; a server that kept it never would.
            while try await curl(path, arguments) != "fine\n200" {}
        }
    }

    @Test("No more connections than allowed are served; the next waits until one leaves")
    func connectionLimit() async throws {
        var limits = ServerLimits()
        limits.connections = 2
        try await withServer(sampleRouter(), limits: limits) { path, _ in
            try await offPool {
                let held = try (0..<2).map { _ in try RawClient(path) }
                for client in held {
                    try client.send(Self.get)
                    _ = try client.read { $0.hasSuffix("fine\n") }
                }
                let third = try RawClient(path)
                defer { third.close() }
                try third.send(Self.get)
                // Each answer to another takes a turn of the server's loop, in which it would take the third in as well, and answer it.
                for _ in 0..<50 {
                    try held[0].send(Self.get)
                    _ = try held[0].read { $0.hasSuffix("fine\n") }
                }
                guard case .done(0) = SocketBridge.wait(third.descriptor, for: POLLIN, milliseconds: 0) else {
                    throw Failure(.internalError, "server", "served a third connection where two are allowed")
                }
                held[0].close()
                #expect(try third.read { $0.hasSuffix("fine\n") }.hasPrefix("HTTP/1.1 200 "))
                held[1].close()
            }
        }
    }
}

@Suite("Shutdown", .serialized) struct ShutdownTests {
    /// A router whose `/wait` says that it was reached and then waits to be let go.
    private func waiting(_ reached: Latch, _ go: Latch) -> Router {
        var router = sampleRouter()
        router.get("/wait") { _ throws(Failure) in
            reached.open()
            await go.wait()
            return .text("done\n")
        }
        return router
    }

    @Test("A request in flight is answered, idle connections end, new ones are refused")
    func graceful() async throws {
        let (reached, go) = (Latch(), Latch())
        try await withServer(waiting(reached, go)) { path, server in
            defer { go.open() }
            let idle = try RawClient(path)
            defer { idle.close() }
            async let answer = exchange(path, "GET /wait HTTP/1.1\r\nHost: m\r\n\r\n")
            await reached.wait()
            server.beginShutdown()
            // The idle connection is closed once the shutdown has begun, and by then the listener is too.
            #expect(try await offPool { try idle.read() } == "")
            #expect(try FileBridge.status(path) == nil)
            go.open()
            let text = try await answer
            #expect(text.hasSuffix("done\n"))
            #expect(text.contains("Connection: close\r\n") || text.contains("connection: close\r\n"))
        }
    }

    @Test("A request that outlives the limit is cut, its task cancelled, and the server ends")
    func bounded() async throws {
        let reached = Latch()
        let cancelled = Latch()
        var router = sampleRouter()
        router.get("/hang") { _ throws(Failure) in
            await withTaskCancellationHandler {
                reached.open()
                await cancelled.wait()
            } onCancel: {
                cancelled.open()
            }
            return .text("never\n")
        }
        var limits = ServerLimits()
        limits.shutdown = .milliseconds(100)
        try await withServer(router, limits: limits) { path, server in
            async let answer = exchange(path, "GET /hang HTTP/1.1\r\nHost: m\r\n\r\n")
            await reached.wait()
            server.beginShutdown()
            let text = try await answer
            #expect(text.isEmpty)
        }
    }

    @Test("Cancelling the task ends the server; a shutdown before the start does too")
    func otherEnds() async throws {
        try await withTemporaryDirectory { directory in
            let socket = try ListeningSocket.bind(.control, path: directory + "/s")
            let server = ControlServer([(socket, sampleRouter())], logger: Logger(label: "test"))
            let task = Task { try await server.run() }
            #expect(try await curl(directory + "/s", ["http://memvpd/v1/status"]) == "fine\n")
            task.cancel()
            try await task.value
            #expect(!FileManager.default.fileExists(atPath: directory + "/s"))

            let second = try ListeningSocket.bind(.control, path: directory + "/s")
            let never = ControlServer([(second, sampleRouter())], logger: Logger(label: "test"))
            never.beginShutdown()
            try await never.run()
            #expect(!FileManager.default.fileExists(atPath: directory + "/s"))
        }
    }

    @Test("The name is removed at the end, but not one that has taken its place")
    func unlinking() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/s"
            let socket = try ListeningSocket.bind(.control, path: path)
            try FileManager.default.removeItem(atPath: path)
            try Data("mine".utf8).write(to: URL(fileURLWithPath: path))
            socket.release()
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "mine")
        }
    }
}
