// The documents on the wire, the routes, and docs/CONTROL.md.

import Diagnostics
import Foundation
import Testing

@testable import Control

@Suite("Documents") struct DocumentTests {
    private func roundTrip<Document: Codable & Equatable>(_ document: Document) throws {
        let bytes = try ControlJSON.encode(document)
        #expect(try ControlJSON.decode(Document.self, from: bytes) == document)
        #expect(bytes.last == UInt8(ascii: "\n") && bytes.dropLast().contains(UInt8(ascii: "\n")) == false)
    }

    @Test("Every document comes back as it went")
    func roundTrips() throws {
        try roundTrip(Samples.status)
        try roundTrip(Samples.queue)
        try roundTrip(Samples.job)
        try roundTrip(Samples.health)
        try roundTrip(ActionDocument("done", jobs: ["a"]))
        try roundTrip(ErrorDocument(Failure(.usage, "x", "is \"y\"\n", hint: "z")))
    }

    @Test("Status and error keep their form on the wire", arguments: ["status", "error", "job"])
    func wire(_ name: String) throws {
        let bytes =
            switch name {
            case "status": try ControlJSON.encode(Samples.status)
            case "job": try ControlJSON.encode(Samples.job)
            default: try ControlJSON.encode(ErrorDocument(Failure(.notFound, "job 7", "does not exist", hint: "Look.")))
            }
        try expectSnapshot(String(decoding: bytes, as: UTF8.self), "wire-\(name)")
    }

    @Test("A newer daemon's documents are read, what is unknown in them as text or not at all")
    func future() throws {
        let status = try Array(Data(contentsOf: URL(fileURLWithPath: sourceFile("Fixtures/future-status.json"))))
        let document = try ControlJSON.decode(StatusDocument.self, from: status)
        #expect(document.api == 9)
        #expect(document.state == "hibernating")
        #expect(document.lastError?.error.code == .other("moon_phase"))
        #expect(document.queue.jobs["dreaming"] == 4)
        let text = StatusView.render(document, now: Samples.now)
        for word in ["hibernating", "moon_phase", "4 dreaming", "polish"] { #expect(text.contains(word), "\(word)") }
        let error = try Array(Data(contentsOf: URL(fileURLWithPath: sourceFile("Fixtures/future-error.json"))))
        let detail = try ControlJSON.decode(ErrorDocument.self, from: error)
        #expect(detail.error.code == .other("quota_exceeded"))
    }

    @Test(
        "Every code is known to the decoder, and an unknown code keeps the kind that the status gives",
        arguments: [
            (400, FailureCode.usage), (403, .permissionDenied), (404, .notFound), (409, .usage), (500, .internalError),
            (503, .unavailable), (504, .unavailable), (599, .internalError), (0, .internalError),
        ])
    func codes(_ status: Int, _ code: FailureCode) throws {
        for code in FailureCode.allCases {
            let document = ErrorDocument(Failure(code, "x", "y"))
            #expect(document.failure(status: status).code == code)
            #expect((400...599).contains(code.httpStatus))
        }
        let body = Array(#"{"error":{"code":"new","message":"m"}}"#.utf8)
        #expect(try ControlJSON.decode(ErrorDocument.self, from: body).failure(status: status).code == code)
    }

    @Test("The status of an error goes with its code (RFC 9110, section 15)")
    func statuses() {
        let others: [FailureCode: Int] = [
            .notFound: 404, .imageMissing: 404, .permissionDenied: 403, .unreadable: 403, .unavailable: 503,
            .temporary: 503, .noSpace: 507, .internalError: 500, .inputOutput: 500, .cannotCreate: 500,
            .modelInvalid: 422, .modelUnsupported: 422, .modelMissing: 422, .adapterMismatch: 422, .adapterWorse: 422,
            .configurationInvalid: 422,
        ]
        for code in FailureCode.allCases {
            #expect(ControlResponse.failure(Failure(code, "x", "y")).status == others[code] ?? 400, "\(code)")
        }
    }

    @Test(
        "What is not the document is refused with the member's name",
        arguments: [
            "", "null", "[]", "{}", #"{"error":{"code":5,"message":"m"}}"#, #"{"error":{"code":"x"}}"#, "{\"error\":",
            "\u{0}",
        ])
    func malformed(_ text: String) {
        #expect(
            failureCode { _ = try ControlJSON.decode(ErrorDocument.self, from: Array(text.utf8)) } == .protocolViolation
        )
        let reply = ControlReply(status: 500, contentType: "", body: Array(text.utf8))
        #expect(reply.failure.code == .protocolViolation)
    }

    @Test("A number without a JSON form is an error, not a trap")
    func notFinite() {
        var status = Samples.status
        status.daemon.uptimeSeconds = .nan
        #expect(failureCode { _ = try ControlJSON.encode(status) } == .internalError)
        #expect(ControlResponse.json(status).status == 500)
    }

    @Test(
        "Times are RFC 3339 to the millisecond, both ways",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (1_795_432_953_456, "2026-11-23T11:22:33.456Z"),
            (-1, "1969-12-31T23:59:59.999Z"), (951_782_400_007, "2000-02-29T00:00:00.007Z"),
        ] as [(Int64, String)])
    func times(_ milliseconds: Int64, _ text: String) throws {
        #expect(Timestamp(milliseconds: milliseconds).description == text)
        #expect(
            try ControlJSON.decode([Timestamp].self, from: Array("[\"\(text)\"]".utf8)).first?.milliseconds
                == milliseconds)
    }

    @Test("Every millisecond survives")
    func everyMillisecond() throws {
        for offset in Int64(0)..<1000 { try roundTrip([Timestamp(milliseconds: Samples.now.milliseconds + offset)]) }
        let plain = try ControlJSON.decode([Timestamp].self, from: Array(#"["2026-11-23T11:22:33Z"]"#.utf8))
        #expect(plain == [Timestamp(milliseconds: 1_795_432_953_000)])
        #expect(
            failureCode { _ = try ControlJSON.decode([Timestamp].self, from: Array(#"["today"]"#.utf8)) }
                == .protocolViolation)
    }

    @Test("A name that is not UTF-8 keeps its bytes")
    func names() throws {
        let name = FileLabel([0x61, 0xFF, 0x62])
        #expect(name.text == "a\u{FFFD}b")
        try roundTrip(name)
        #expect(String(decoding: try ControlJSON.encode(name), as: UTF8.self).contains(#""name_bytes":"Yf9i""#))
        #expect(FileLabel(Array("a.jpg".utf8)) == FileLabel("a.jpg"))
    }
}

@Suite("Routes", .serialized) struct RouteTests {
    @Test("docs/CONTROL.md lists exactly the routes of both sockets")
    func document() throws {
        let text = try String(contentsOfFile: sourceFile("../../docs/CONTROL.md"), encoding: .utf8)
        let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `GET ") || $0.hasPrefix("| `POST ") }
        let listed = rows.map { row in
            let cells = row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            return [cells[0].trimmingCharacters(in: ["`"]).replacing("ID", with: ":id"), cells[1]]
        }
        let metrics = Set(ControlRoutes.metrics(SampleOperations()).descriptions)
        let expected = ControlRoutes.control(SampleOperations()).descriptions.map { route in
            [route, metrics.contains(route) ? "both" : "control"]
        }
        #expect(Set(listed) == Set(expected))
        #expect(listed.count == expected.count)
    }

    @Test(
        "Every route answers on the control socket",
        arguments: [
            ("GET", "/metrics", "memvpd_held 0"), ("GET", "/v1/status", "\"per_minute\":212"),
            ("GET", "/v1/health", "\"ok\":true"), ("GET", "/v1/queue?state=queued&limit=5", "beach.jpg"),
            ("GET", "/v1/jobs/20261123T110958.356102Z-9f3a01bc", "\"strikes\":1"), ("POST", "/v1/hold", "held"),
            ("POST", "/v1/release", "released"), ("POST", "/v1/drain", "draining"), ("POST", "/v1/reload", "reloaded"),
            ("POST", "/v1/jobs/a/hold", "\"jobs\":[\"a\"]"), ("POST", "/v1/jobs/a/release", "released"),
            ("POST", "/v1/jobs/a/retry", "retried"), ("POST", "/v1/jobs/retry-all", "all retried"),
            ("POST", "/v1/jobs/a/remove", "removed by \(getuid())"),
        ])
    func control(_ method: String, _ target: String, _ part: String) async throws {
        try await withServer(ControlRoutes.control(SampleOperations())) { path, _ in
            let text = try await curl(path, ["--fail-with-body", "--request", method, "http://memvpd" + target])
            #expect(text.contains(part), "\(text)")
        }
    }

    @Test("The metrics socket has no verb, no queue and no job, and its status names no file")
    func metrics() async throws {
        let trouble = ErrorDetail(
            Failure(.permissionDenied, "inbox", "/in/secret.jpg: cannot be moved", hint: "chmod secret.jpg"))
        let operations = SampleOperations(troubles: [trouble])
        let router = ControlRoutes.metrics(operations)
        try await withServer(ControlRoutes.control(operations)) { path, _ in
            let status = try await curl(path, ["http://memvpd/v1/status"])
            #expect(status.contains("secret.jpg"))
        }
        try await withServer(router, role: .metrics) { path, _ in
            for target in ["/v1/queue", "/v1/jobs/20261123T110958.356102Z-9f3a01bc", "/v1/hold", "/v1/jobs/retry-all"] {
                for method in ["GET", "POST"] {
                    let text = try await curl(
                        path, ["--request", method, "-w", "%{http_code}", "http://memvpd" + target])
                    #expect(text.hasSuffix("404"))
                }
            }
            let status = try await curl(path, ["http://memvpd/v1/status"])
            #expect(status.contains("corrupt_image") && status.contains("permission_denied"))
            for secret in ["secret", "holiday", "2025\"", "9f3a01bc", "slow.jpg"] {
                #expect(!status.contains(secret), "\(secret)")
            }
            let metrics = try await curl(path, ["--include", "http://memvpd/metrics"])
            #expect(metrics.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"))
        }
    }

    @Test("A daemon that is not well answers its health with 503; it names directories on the control socket alone")
    func unwell() async throws {
        try await withServer(ControlRoutes.metrics(SampleOperations(healthy: false)), role: .metrics) { path, _ in
            let text = try await curl(path, ["--write-out", "%{http_code}", "http://memvpd/v1/health"])
            #expect(text.hasSuffix("503"))
            #expect(text.contains("\"is gone\"") && !text.contains("secret"))
        }
        try await withServer(ControlRoutes.control(SampleOperations(healthy: false))) { path, _ in
            let text = try await curl(path, ["http://memvpd/v1/health"])
            #expect(text.contains("\"is gone\"") && text.contains("\"path\":\"/secret/in\""))
        }
    }

    @Test(
        "Odd requests are refused with the reason",
        arguments: [
            (["http://memvpd/v1/queue?limit=0"], "400", "Give one from 1 to 10000."),
            (["http://memvpd/v1/queue?limit=99999"], "400", "10000"),
            (["http://memvpd/v1/queue?limit=1&limit=2"], "400", "twice"),
            (["http://memvpd/v1/queue?sate=x"], "400", "limit, state"),
            (["--data", "x=1", "http://memvpd/v1/hold"], "400", "no body"),
            (["http://memvpd/v1/jobs/.hidden"], "404", "no job"), (["http://memvpd/v1/jobs/a%5Cb"], "404", "no job"),
            (["http://memvpd/v1/jobs/" + String(repeating: "a", count: 200)], "404", "no job"),
        ])
    func odd(_ arguments: [String], _ status: String, _ reason: String) async throws {
        try await withServer(ControlRoutes.control(SampleOperations())) { path, _ in
            let text = try await curl(path, ["--write-out", "%{http_code}"] + arguments)
            #expect(text.hasSuffix(status))
            #expect(text.contains(reason), "\(text)")
        }
    }
}

@Suite("Request targets") struct RequestTargetTests {
    @Test(
        "Targets are decoded once",
        arguments: [
            ("/", [], [:]), ("/v1/status", ["v1", "status"], [:]), ("/a%20b", ["a b"], [:]), ("/a+b", ["a+b"], [:]),
            ("/%252e", ["%2e"], [:]), ("/x?", ["x"], [:]), ("/x?a", ["x"], ["a": ""]),
            ("/x?a=b=c", ["x"], ["a": "b=c"]),
            ("/x?a=%26&b=+%2B", ["x"], ["a": "&", "b": " +"]), ("http://memvpd/v1", ["v1"], [:]), ("HTTP://m", [], [:]),
            ("http://m?a=1", nil, [:]), ("/x?a=?/", ["x"], ["a": "?/"]),
        ] as [(String, [String]?, [String: String])])
    func decodes(_ target: String, _ segments: [String]?, _ query: [String: String]) throws {
        guard let segments else {
            #expect(failureCode { _ = try RequestTarget(target) } == .protocolViolation)
            return
        }
        let decoded = try RequestTarget(target)
        #expect(decoded.segments == segments)
        #expect(decoded.query == query)
    }

    @Test(
        "What does not fit is refused",
        arguments: [
            "", "v1", "*", "memvpd:80", "//", "/a//b", "/a/", "/.", "/..", "/a/../b", "/%2e%2E", "/a%2Fb", "/%", "/%4",
            "/%4x",
            "/%zz", "/%ff", "/%c3", "/%00", "/%0a", "/a#b", "/a b", "/\u{e9}", "/x?=1", "/x?a=1&a=2", "/x?a=%zz",
            "/x?&",
            "/%C2%85", "ftp://m/x",
        ])
    func refuses(_ target: String) {
        #expect(failureCode { _ = try RequestTarget(target) } == .protocolViolation)
    }
}
