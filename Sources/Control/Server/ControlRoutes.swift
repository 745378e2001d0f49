// The routes of docs/CONTROL.md over what the daemon can do: the whole table of paths stands here.
//
// Invariant: the metrics socket has no verb and names no job; who may open it learns nothing about single photos.

public import Diagnostics

/// What the daemon does when it is asked over a socket.
public protocol ControlOperations: Sendable {
    /// The daemon's condition. Its warnings go to the metrics socket too, so they name no dropped file.
    func status() async throws(Failure) -> StatusDocument
    /// Whether it can do its work.
    func health() async -> HealthDocument
    /// The metrics in Prometheus text format.
    func metrics() async -> String
    /// The jobs in `state` (all when `nil`), at most `limit`.
    func queue(state: String?, limit: Int) async throws(Failure) -> QueueDocument
    /// One job; `not_found` when there is none.
    func job(_ id: String) async throws(Failure) -> JobDocument
    /// Starts no further job until `release`.
    func hold(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument
    /// Ends a hold or a drain.
    func release(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument
    /// Takes nothing more from the inbox and works off what is there.
    func drain(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument
    /// Reads the configuration again and returns when it is in force.
    func reload(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument
    /// Keeps one job back.
    func hold(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument
    /// Lets a job that is kept back go on.
    func release(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument
    /// Makes a new job from a failed one.
    func retry(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument
    /// Makes new jobs from all failed ones.
    func retryAll(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument
    /// Ends a job with the outcome `removed`.
    func remove(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument
}

/// The routers of the two sockets.
public enum ControlRoutes {
    /// The most jobs that one answer lists.
    public static let queueLimit = 10_000

    /// Everything: for the control socket.
    public static func control(_ operations: any ControlOperations) -> Router {
        var router = metrics(operations)
        router.get("/v1/queue", query: ["state", "limit"]) { request throws(Failure) in
            let limit = try request.number("limit", standard: 1000, in: 1...queueLimit)
            return .json(try await operations.queue(state: request.query["state"], limit: limit))
        }
        router.get("/v1/jobs/:id") { request throws(Failure) in .json(try await operations.job(try jobID(request))) }
        verb("/v1/hold", in: &router) { request throws(Failure) in try await operations.hold(by: request.peer) }
        verb("/v1/release", in: &router) { request throws(Failure) in try await operations.release(by: request.peer) }
        verb("/v1/drain", in: &router) { request throws(Failure) in try await operations.drain(by: request.peer) }
        verb("/v1/reload", in: &router) { request throws(Failure) in try await operations.reload(by: request.peer) }
        verb("/v1/jobs/retry-all", in: &router) { request throws(Failure) in
            try await operations.retryAll(by: request.peer)
        }
        verb("/v1/jobs/:id/hold", in: &router) { request throws(Failure) in
            try await operations.hold(try jobID(request), by: request.peer)
        }
        verb("/v1/jobs/:id/release", in: &router) { request throws(Failure) in
            try await operations.release(try jobID(request), by: request.peer)
        }
        verb("/v1/jobs/:id/retry", in: &router) { request throws(Failure) in
            try await operations.retry(try jobID(request), by: request.peer)
        }
        verb("/v1/jobs/:id/remove", in: &router) { request throws(Failure) in
            try await operations.remove(try jobID(request), by: request.peer)
        }
        return router
    }

    /// Metrics, status and health: for the metrics socket.
    public static func metrics(_ operations: any ControlOperations) -> Router {
        var router = Router()
        router.get("/metrics") { _ throws(Failure) in
            .text(await operations.metrics(), contentType: MetricsRegistry.contentType)
        }
        router.get("/v1/status") { request throws(Failure) in
            var status = try await operations.status()
            if request.socket == .metrics { status.hideNames() }
            return .json(status)
        }
        router.get("/v1/health") { request throws(Failure) in
            var health = await operations.health()
            if request.socket == .metrics { health.hideNames() }
            return .json(health, status: health.ok ? 200 : 503)
        }
        return router
    }

    private static func verb(
        _ path: String, in router: inout Router,
        _ action: @escaping @Sendable (ControlRequest) async throws(Failure) -> ActionDocument
    ) {
        router.post(path) { request throws(Failure) in
            guard request.body.isEmpty else {
                throw Failure(.usage, request.path, "takes no body, but \(request.body.count) bytes came")
            }
            return .json(try await action(request))
        }
    }

    /// The identifier in the path: a job's directory is named after it, so nothing else may pass.
    private static func jobID(_ request: ControlRequest) throws(Failure) -> String {
        let id = try request.parameter("id")
        let isPlain = id.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        guard isPlain, id.utf8.count <= 128, !id.hasPrefix(".") else {
            throw Failure(.notFound, "job", "there is no job with such a name", hint: "memvpctl queue lists the jobs.")
        }
        return id
    }
}

extension ErrorDetail {
    /// Leaves the code: messages name files.
    fileprivate mutating func hide() {
        message = "ask on the control socket"
        hint = ""
    }
}

extension HealthDocument {
    /// Takes out the directories.
    fileprivate mutating func hideNames() {
        checks = checks.map { check in
            var check = check
            check.path = nil
            return check
        }
    }
}

extension StatusDocument {
    /// Takes out what belongs to single files, leaving codes and counts.
    fileprivate mutating func hideNames() {
        inbox.directories = []
        inbox.waiting = nil
        lastError?.job = nil
        lastError?.file = nil
        lastError?.error.hide()
        troubles = troubles?.map { trouble in
            var trouble = trouble
            trouble.hide()
            return trouble
        }
    }
}
