// Which handler answers which method and path: a value, built once, read by every connection.
//
// Invariants: literal parts win over parameters; a query name that the route does not declare is an error, so a misspelt
// option is never silently ignored; HEAD is answered by the GET route.

public import Diagnostics

/// Routes requests to handlers.
public struct Router: Sendable {
    /// Answers a request; should return soon after its task is cancelled.
    public typealias Handler = @Sendable (ControlRequest) async throws(Failure) -> ControlResponse

    private enum Part: Sendable {
        case literal(String)
        case parameter(String)
    }

    private struct Route: Sendable {
        let method: ControlRequest.Method
        let parts: [Part]
        let query: Set<String>
        let handler: Handler

        var literals: Int { parts.count { if case .literal = $0 { true } else { false } } }

        func match(_ segments: [String]) -> [String: String]? {
            guard segments.count == parts.count else { return nil }
            var parameters: [String: String] = [:]
            for (part, segment) in zip(parts, segments) {
                switch part {
                case .literal(let text): guard text == segment else { return nil }
                case .parameter(let name): parameters[name] = segment
                }
            }
            return parameters
        }
    }

    private var routes: [Route] = []

    /// Makes a router without routes.
    public init() {}

    /// Adds a route that reads: `pattern` as in `/v1/jobs/:id`, `query` the names that may be asked with.
    public mutating func get(_ pattern: String, query: Set<String> = [], _ handler: @escaping Handler) {
        add(.get, pattern, query, handler)
    }

    /// Adds a route that acts.
    public mutating func post(_ pattern: String, query: Set<String> = [], _ handler: @escaping Handler) {
        add(.post, pattern, query, handler)
    }

    /// Every route as `GET /v1/status`, in the order added.
    public var descriptions: [String] {
        routes.map { route in
            let path = route.parts.map { part in
                switch part {
                case .literal(let text): "/" + text
                case .parameter(let name): "/:" + name
                }
            }
            return route.method.name + " " + path.joined()
        }
    }

    /// Finds the route and lets it answer; 404, 405 and 400 are answered here.
    public func respond(to request: ControlRequest) async -> ControlResponse {
        let matches = routes.compactMap { route in route.match(request.segments).map { (route, $0) } }
            .sorted { $0.0.literals > $1.0.literals }
        guard !matches.isEmpty else {
            return .failure(
                Failure(
                    .notFound, request.path, "there is nothing at this path", hint: "docs/CONTROL.md lists the paths."))
        }
        let method: ControlRequest.Method = request.method == .head ? .get : request.method
        guard let (route, parameters) = matches.first(where: { $0.0.method == method }) else {
            return notAllowed(request, matches.map(\.0.method))
        }
        if let unknown = request.query.keys.sorted().first(where: { !route.query.contains($0) }) {
            let known = route.query.sorted().joined(separator: ", ")
            return .failure(
                Failure(
                    .usage, unknown, "is not a query of \(request.path)",
                    hint: known.isEmpty ? "It takes none." : "It takes \(known)."))
        }
        var routed = request
        routed.parameters = parameters
        do throws(Failure) { return try await route.handler(routed) } catch { return .failure(error) }
    }

    private mutating func add(
        _ method: ControlRequest.Method, _ pattern: String, _ query: Set<String>, _ handler: @escaping Handler
    ) {
        let parts = pattern.split(separator: "/").map { part in
            part.hasPrefix(":") ? Part.parameter(String(part.dropFirst())) : .literal(String(part))
        }
        routes.append(Route(method: method, parts: parts, query: query, handler: handler))
    }

    private func notAllowed(_ request: ControlRequest, _ methods: [ControlRequest.Method]) -> ControlResponse {
        var names: Set<String> = Set(methods.map(\.name))
        if names.contains("GET") { names.insert("HEAD") }
        let allowed = names.sorted().joined(separator: ", ")
        var response = ControlResponse.failure(
            Failure(.usage, request.path, "\(request.method.name) is not possible here", hint: "Possible: \(allowed)."),
            status: 405)
        response.headers["Allow"] = allowed
        return response
    }
}
