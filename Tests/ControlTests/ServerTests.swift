// The real server on a real socket, asked by curl.

import Diagnostics
import Foundation
import Synchronization
import Testing

@testable import Control

@Suite("Server, asked by curl", .serialized) struct ServerTests {
    @Test("GET, HEAD and POST are answered; the body's length is stated")
    func methods() async throws {
        try await withServer(sampleRouter()) { path, _ in
            #expect(try await curl(path, ["http://memvpd/v1/status"]) == "fine\n")
            let head = try await curl(path, ["--head", "http://memvpd/v1/status"])
            #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(head.contains("Content-Length: 5\r\n"))
            #expect(head.hasSuffix("\r\n\r\n"))
            #expect(try await curl(path, ["--data", "abcdef", "http://memvpd/take"]) == "6\n")
            #expect(try await curl(path, ["--http1.0", "http://memvpd/v1/status"]) == "fine\n")
        }
    }

    @Test("Parameters and queries arrive decoded")
    func decoding() async throws {
        try await withServer(sampleRouter()) { path, _ in
            let text = try await curl(path, ["http://memvpd/echo/a%20b%C3%A9?n=x+y%26"])
            #expect(text == "a bé x y&\n")
        }
    }

    @Test(
        "Errors are JSON with code, message and hint, and the status that fits",
        arguments: [
            ("/fail", "GET", 404, "not_found"), ("/nowhere", "GET", 404, "not_found"),
            ("/v1/status", "DELETE", 405, "usage"), ("/take", "GET", 405, "usage"),
            ("/v1/status?x=1", "GET", 400, "usage"), ("/echo/%zz", "GET", 400, "protocol_violation"),
            ("/echo/%2e%2e", "GET", 400, "protocol_violation"), ("//", "GET", 400, "protocol_violation"),
        ])
    func errors(_ target: String, _ method: String, _ status: Int, _ code: String) async throws {
        try await withServer(sampleRouter()) { path, _ in
            let text = try await curl(
                path,
                [
                    "--path-as-is", "--request", method, "--write-out", "%{http_code} %{content_type}",
                    "http://memvpd" + target,
                ])
            let parts = text.split(separator: "\n", maxSplits: 1)
            #expect(parts.last == "\(status) application/json")
            let document = try ControlJSON.decode(ErrorDocument.self, from: Array(parts[0].utf8))
            #expect(document.error.code.text == code)
            #expect(!document.error.message.isEmpty)
        }
    }

    @Test("405 names what is allowed")
    func allow() async throws {
        try await withServer(sampleRouter()) { path, _ in
            let text = try await curl(path, ["--include", "--request", "PUT", "http://memvpd/v1/status"])
            #expect(text.contains("Allow: GET, HEAD\r\n"))
        }
    }

    @Test("One connection serves request after request")
    func keepAlive() async throws {
        try await withServer(sampleRouter()) { path, _ in
            let url = "http://memvpd/v1/status"
            let text = try await curl(path, ["--write-out", "%{num_connects} ", url, url, url])
            #expect(text == "fine\n1 fine\n0 fine\n0 ")
        }
    }

    @Test("curl's 100-continue and HTTP/2 upgrade end in an answer")
    func negotiation() async throws {
        try await withServer(sampleRouter()) { path, _ in
            let verbose = try await run(
                "/usr/bin/curl",
                [
                    "-sv", "--max-time", patience.seconds, "--unix-socket", path, "--header", "Expect: 100-continue",
                    "--data",
                    "abc",
                    "http://memvpd/take",
                ])
            #expect(verbose.out == "3\n")
            #expect(verbose.err.contains("HTTP/1.1 100 Continue"))
            let url = "http://memvpd/v1/status"
            #expect(try await curl(path, ["--http2", url, url]) == "fine\nfine\n")
        }
    }

    @Test("A body over the limit gives 413, with a length and without", arguments: [false, true])
    func longBody(_ chunked: Bool) async throws {
        try await withServer(sampleRouter()) { path, _ in
            let body = path + ".body"
            try Data(repeating: 65, count: 4 << 20).write(to: URL(fileURLWithPath: body))
            let framing = chunked ? ["--header", "Transfer-Encoding: chunked"] : []
            // Without Expect, so that the body is on its way when the refusal comes.
            let text = try await curl(
                path,
                framing + [
                    "--header", "Expect:", "--data-binary", "@" + body, "--write-out", "%{http_code}",
                    "http://memvpd/take",
                ])
            #expect(text.hasSuffix("413"))
            #expect(text.contains("protocol_violation"))
            let most = try await curl(path, ["--data", String(repeating: "a", count: 64 << 10), "http://memvpd/take"])
            #expect(most == "65536\n")
        }
    }

    @Test(
        "A head over the limit gives 431",
        arguments: [
            ["--header", "X: " + String(repeating: "y", count: 17 << 10), "http://memvpd/v1/status"],
            ["http://memvpd/" + String(repeating: "y", count: 17 << 10)],
            (0..<150).flatMap { ["--header", "X\($0): y"] } + ["http://memvpd/v1/status"],
        ])
    func longHead(_ arguments: [String]) async throws {
        try await withServer(sampleRouter()) { path, _ in
            let text = try await curl(path, ["--write-out", "%{http_code}"] + arguments)
            #expect(text.hasSuffix("431"))
        }
    }

    @Test("The handler learns who asks")
    func peer() async throws {
        try await withServer(sampleRouter()) { path, _ in
            let parts = try await curl(path, ["http://memvpd/peer"]).split(whereSeparator: \.isWhitespace)
            #expect(parts.count == 2)
            #expect(Int32(parts[0]) ?? 0 > 1)
            #expect(Int32(parts[0]) != getpid())
            #expect(parts[1] == "\(getuid())")
        }
    }

    @Test("100 clients at once, more than the connections allowed, are all answered, each once")
    func manyClients() async throws {
        let answers = Mutex(0)
        var limits = ServerLimits()
        limits.connections = 16
        try await withServer(sampleRouter(), limits: limits, onResponse: { _, _ in answers.withLock { $0 += 1 } }) {
            path, _ in
            let texts = try await withThrowingTaskGroup(of: String.self) { group in
                for number in 0..<100 {
                    group.addTask {
                        try await offPool {
                            let client = ControlClient(socketPath: path, timeout: patience.duration)
                            return try client.send("GET", "/echo/\(number)").text
                        }
                    }
                }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(texts == Set((0..<100).map { "\($0) -\n" }))
        }
        #expect(answers.withLock { $0 } == 100)
    }

    @Test("A large answer comes whole")
    func largeAnswer() async throws {
        try await withServer(sampleRouter()) { path, _ in
            let text = try await curl(path, ["http://memvpd/big"])
            #expect(text.utf8.count == 4 << 20)
        }
    }
}
