// memvpctl's client against the real server and against servers that lie.

import Diagnostics
import Foundation
import Glibc
import Testing

@testable import Control

/// Answers one connection with fixed bytes, whatever is asked.
func withLiar<Result: Sendable>(
    _ bytes: [UInt8], hold: Bool = false, _ body: @escaping @Sendable (String) throws -> Result
) async throws -> Result {
    try await withTemporaryDirectory { directory in
        let path = directory + "/s"
        let socket = try ListeningSocket.bind(.control, path: path)
        let listener = try #require(socket.take())
        defer { close(listener) }
        async let result = offPool { try body(path) }
        let client = try await offPool { accept(listener, nil, nil) }
        var rest = bytes[...]
        while !rest.isEmpty, case .done(let count) = SocketBridge.send(client, rest, wait: true) {
            rest = rest.dropFirst(count)
        }
        if hold {
            defer { close(client) }
            return try await result
        }
        // Half closed, so that what we were asked does not reset what we answered.
        _ = shutdown(client, Int32(SHUT_WR))
        defer { close(client) }
        return try await result
    }
}

@Suite("Client", .serialized) struct ClientTests {
    @Test("Documents come from the real server; its errors come back as they were thrown")
    func real() async throws {
        let router = ControlRoutes.control(SampleOperations())
        try await withServer(router) { path, _ in
            try await offPool {
                let client = ControlClient(socketPath: path, timeout: patience.duration)
                let status = try client.get("/v1/status", as: StatusDocument.self)
                #expect(status == Samples.status)
                let queue = try client.get("/v1/queue?limit=2", as: QueueDocument.self)
                #expect(queue == Samples.queue)
                let action = try client.post("/v1/hold")
                #expect(action.message == "held")
                do throws(Failure) {
                    _ = try client.get("/v1/jobs/none", as: JobDocument.self)
                    Issue.record("an unknown job was found")
                } catch {
                    #expect(error.code == .notFound)
                    #expect(error.description.contains("job none"))
                    #expect(error.hint == "memvpctl queue lists the jobs.")
                }
            }
        }
    }

    @Test("A daemon that is not running, and a socket that is not ours to open, say what to do")
    func absent() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/s"
            let client = ControlClient(socketPath: path)
            func failure() -> Failure? {
                do throws(Failure) { _ = try client.send("GET", "/metrics") } catch { return error }
                return nil
            }
            #expect(failure()?.code == .unavailable)
            #expect(failure()?.hint.contains("systemctl start memvpd") == true)
            let dead = try SocketBridge.makeSocket()
            _ = SocketBridge.bind(dead, try SocketBridge.address(path))
            close(dead)
            #expect(failure()?.code == .unavailable)
            // A socket of another kind is somebody else's.
            try FileManager.default.removeItem(atPath: path)
            let other = try SocketBridge.makeSocket(datagram: true)
            defer { close(other) }
            _ = SocketBridge.bind(other, try SocketBridge.address(path))
            #expect(failure()?.code == .unavailable && failure()?.hint.contains("sockets") == true)
            #expect(failureCode { _ = try ControlClient(socketPath: "").send("GET", "/") } == .configurationInvalid)
            let long = "/" + String(repeating: "x", count: 120)
            #expect(failureCode { _ = try ControlClient(socketPath: long).send("GET", "/") } == .configurationInvalid)
            #expect(failureCode { _ = try client.send("GET", "/a b") } == .usage)
            #expect(failureCode { _ = try client.send("GET", "/\r\nX: y") } == .usage)
        }
    }

    @Test("A closed door names the group to join", .enabled(if: getuid() == 0, "needs root to become nobody"))
    func denied() async throws {
        try await withTemporaryDirectory { directory in
            let socket = try ListeningSocket.bind(.control, path: directory + "/s", mode: 0o600)
            defer { socket.release() }
            let client = ControlClient(socketPath: directory + "/s")
            // setfsuid(2) changes the file rights of one thread only, which ends with the closure; Glibc's module hides it.
            let failure = try await offPool { () -> Failure? in
                let symbol = try unsafe #require(unsafe dlsym(nil, "setfsuid"))
                _ = unsafe unsafeBitCast(symbol, to: (@convention(c) (UInt32) -> Int32).self)(65534)
                do throws(Failure) { _ = try client.send("GET", "/") } catch { return error }
                return nil
            }
            #expect(failure?.code == .permissionDenied)
            #expect(failure?.hint.contains("memvpd-operators") == true)
        }
    }

    @Test(
        "Answers that are not HTTP, too long or cut off are refused",
        arguments: [
            "", "HTTP/1.1 200 OK\r\n", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 999 OK\r\n\r\n",
            "HTTP/1.1 -12 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc", "HTTP/1.1 200 OK\r\nContent-Length: 5 5\r\n\r\nabcde",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: 2000),
            "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 40_000),
            String(repeating: "HTTP/1.1 100 Continue\r\n\r\n", count: 3),
        ])
    func liars(_ bytes: String) async throws {
        let code = try await withLiar(Array(bytes.utf8)) { path in
            failureCode { _ = try ControlClient(socketPath: path, bodyLimit: 1000).send("GET", "/metrics") }
        }
        #expect(code == .protocolViolation)
    }

    @Test(
        "What is too long is refused at once, not when the daemon has sent it all",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: 1001),
            "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 16 << 10),
        ])
    func atOnce(_ bytes: String) async throws {
        let code = try await withLiar(Array(bytes.utf8), hold: true) { path in
            failureCode { _ = try ControlClient(socketPath: path, bodyLimit: 1000).send("GET", "/metrics") }
        }
        #expect(code == .protocolViolation)
    }

    @Test(
        "An answer without a length ends with the connection; 1xx is skipped",
        arguments: [
            "HTTP/1.1 200 OK\r\n\r\nabc", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabcdef",
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:3\r\n\r\nabc",
        ])
    func lenient(_ bytes: String) async throws {
        let reply = try await withLiar(Array(bytes.utf8)) { try ControlClient(socketPath: $0).send("GET", "/") }
        #expect(reply.text == "abc")
        #expect(reply.status == 200)
    }

    @Test("A silent daemon is given up at the deadline")
    func silent() async throws {
        let code = try await withLiar([], hold: true) { path in
            failureCode { _ = try ControlClient(socketPath: path, timeout: .milliseconds(100)).send("GET", "/") }
        }
        #expect(code == .unavailable)
    }

    @Test("The parser gives the same, however the bytes are cut", arguments: 1...40)
    func pieces(_ size: Int) throws {
        let bytes = Array("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nabcde".utf8)
        var parser = ResponseParser(bodyLimit: 100)
        var response: ResponseParser.Response?
        for start in stride(from: 0, to: bytes.count, by: size) where response == nil {
            response = try parser.feed(bytes[start..<min(start + size, bytes.count)])
        }
        #expect(response == .init(status: 404, contentType: "", body: Array("abcde".utf8)))
    }

    @Test("An error of a newer daemon is explained in its own words")
    func futureError() async throws {
        let body = try Data(contentsOf: URL(fileURLWithPath: sourceFile("Fixtures/future-error.json")))
        let head = "HTTP/1.1 422 Unprocessable\r\nContent-Length: \(body.count)\r\n\r\n"
        let failure = try await withLiar(Array(head.utf8) + Array(body)) { path -> Failure? in
            do throws(Failure) { _ = try ControlClient(socketPath: path).post("/v1/hold") } catch { return error }
            return nil
        }
        #expect(failure?.code == .usage)
        #expect(failure?.description.contains("quota_exceeded") == true)
        #expect(failure?.hint == "Wait until tomorrow.")
    }

    @Test("What goes into a path is percent-encoded, and comes out of the server's decoder as it was")
    func encoding() throws {
        let odd = "a b/c%d?é\u{1F600}&=+"
        let target = try RequestTarget("/x?name=" + ControlClient.encode(odd))
        #expect(target.query == ["name": odd])
    }
}
