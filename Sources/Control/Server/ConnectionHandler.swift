// One HTTP/1.1 connection (RFC 9112): puts a request together within the limits, has it answered, writes the answer.
//
// Invariants: confined to the event loop; one request at a time, the next is not looked at before the answer to this one is
// in the kernel's hands, so a client that does not read can make us hold one answer and no more; one deadline is armed at
// all times; whatever is refused is answered with a JSON error, then the connection is read out and closed.
// Failure modes: a client that is too slow for its head is closed without a word (there is no request to answer); one that
// is too slow for its body gets 408; a handler that takes too long gives 504.

import Diagnostics
import Logging
import NIOCore
import NIOHTTP1

/// A request on its way to its handler, and the way back.
struct PendingRequest: Sendable {
    let request: ControlRequest
    let router: Router
    let reply: @Sendable (ControlResponse) -> Void
}

/// The last handler in a connection's pipeline.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// What all connections of one socket share.
    struct Environment: Sendable {
        let socket: SocketRole
        let router: Router
        let limits: ServerLimits
        let permits: RequestPermits
        let logger: Logger
        let submit: @Sendable (PendingRequest) -> Void
        let onResponse: @Sendable (SocketRole, Int) -> Void
    }

    private enum State {
        /// Waiting for a request head.
        case idle
        /// The head is here, the body is coming.
        case receiving(HTTPRequestHead, body: [UInt8])
        /// The handler works on the request with this number.
        case handling(number: UInt64, head: HTTPRequestHead)
        /// An answer is on its way; `whole` when the request had come to its end before it.
        case writing(keepAlive: Bool, whole: Bool)
        /// Our side is closed, theirs is read and dropped.
        case lingering
        /// Nothing more happens.
        case closed
    }

    private let environment: Environment
    private let peer: PeerCredentials?
    private var state = State.idle
    private var deadline: Scheduled<Void>?
    private var requestNumber: UInt64 = 0
    private var peerFinished = false

    init(_ environment: Environment, peer: PeerCredentials?) {
        self.environment = environment
        self.peer = peer
    }

    // MARK: Events

    func handlerAdded(context: ChannelHandlerContext) { arm(environment.limits.idle, context) }

    func channelInactive(context: ChannelHandlerContext) {
        state = .closed
        deadline?.cancel()
        deadline = nil
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (unwrapInboundIn(data), state) {
        case (.head(let head), .idle): begin(head, context)
        case (.body(let part), .receiving(let head, var body)):
            guard part.readableBytes <= environment.limits.bodyBytes - body.count else { return refuseBody(context) }
            body.append(contentsOf: part.readableBytesView)
            state = .receiving(head, body: body)
        case (.end, .receiving(let head, let body)): dispatch(head, body, context)
        case (.end, .lingering): close(context)
        case (.end, .writing(let keepAlive, whole: false)): state = .writing(keepAlive: keepAlive, whole: true)
        default: break  // The rest of a request that was refused.
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event {
            peerFinished = true
            switch state {
            case .idle, .receiving, .lingering: close(context)
            case .handling, .writing, .closed: break
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // After an error the decoder reports all bytes that still come; that is no news.
        if error is ByteToMessageDecoderError { return }
        guard let error = error as? HTTPParserError else {
            environment.logger.debug(
                "connection lost", metadata: ["cause": "\(error)", "socket": "\(environment.socket)"])
            return close(context)
        }
        switch state {
        case .idle, .receiving:
            let status: HTTPResponseStatus =
                switch error {
                case .headerOverflow: .requestHeaderFieldsTooLarge
                case .invalidVersion: .httpVersionNotSupported
                default: .badRequest
                }
            refuse(status, "is not HTTP/1.1: \(error)", hint: "Speak HTTP/1.1 as in RFC 9112.", whole: false, context)
        case .handling, .writing, .lingering, .closed: break
        }
    }

    // MARK: Request

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        state = .receiving(head, body: [])
        arm(environment.limits.request, context)
        guard head.version == .http1_1 || head.version == .http1_0 else {
            return refuse(.httpVersionNotSupported, "is of version \(head.version)", whole: false, context)
        }
        guard head.version == .http1_0 || head.headers["host"].count == 1 else {
            return refuse(
                .badRequest, "has \(head.headers["host"].count) Host fields", hint: "Send exactly one.", whole: false,
                context)
        }
        if let length = head.headers.first(name: "content-length").flatMap({ Int($0) }),
            length > environment.limits.bodyBytes
        {
            return refuseBody(context)
        }
        if head.headers[canonicalForm: "expect"].contains(where: { $0.lowercased() == "100-continue" }) {
            let part = HTTPServerResponsePart.head(HTTPResponseHead(version: .http1_1, status: .continue))
            context.writeAndFlush(wrapOutboundOut(part), promise: nil)
        }
    }

    private func refuseBody(_ context: ChannelHandlerContext) {
        refuse(
            .payloadTooLarge, "has a body of more than \(environment.limits.bodyBytes) bytes",
            hint: "No route needs one as long.", whole: false, context)
    }

    private func dispatch(_ head: HTTPRequestHead, _ body: [UInt8], _ context: ChannelHandlerContext) {
        let target: RequestTarget
        do throws(Failure) { target = try RequestTarget(head.uri) } catch {
            return respond(.failure(error), to: head, whole: true, context)
        }
        guard environment.permits.take() else {
            let busy = Failure(.temporary, "request", "too many requests are being worked on", hint: "Try again.")
            return respond(.failure(busy), to: head, whole: true, context)
        }
        requestNumber += 1
        let number = requestNumber
        state = .handling(number: number, head: head)
        arm(environment.limits.handler, context)
        let request = ControlRequest(
            method: ControlRequest.Method(head.method.rawValue), segments: target.segments, query: target.query,
            body: body, socket: environment.socket, peer: peer)
        let loop = context.eventLoop
        let handler = NIOLoopBound(self, eventLoop: loop)
        let bound = context.loopBound
        environment.submit(
            PendingRequest(request: request, router: environment.router) { [permits = environment.permits] response in
                permits.giveBack()
                loop.execute { handler.value.handled(number, response, bound.value) }
            })
    }

    private func handled(_ number: UInt64, _ response: ControlResponse, _ context: ChannelHandlerContext) {
        // An answer that comes after its deadline or its connection has nowhere to go.
        guard case .handling(number, let head) = state else { return }
        respond(response, to: head, whole: true, context)
    }

    // MARK: Response

    private func refuse(
        _ status: HTTPResponseStatus, _ cause: String, hint: String = "", whole: Bool, _ context: ChannelHandlerContext
    ) {
        let failure = Failure(.protocolViolation, "request", cause, hint: hint)
        environment.logger.notice(
            "request refused",
            metadata: [
                "socket": "\(environment.socket)", "status": "\(status.code)", "cause": "\(cause)",
                "peer": "\(peer.map { "uid \($0.userID) pid \($0.processID)" } ?? "unknown")",
            ])
        respond(.failure(failure, status: Int(status.code)), to: nil, whole: whole, context)
    }

    /// Writes head and body, and when the kernel has them, the end, which lets the next request through. Without `head`
    /// the connection is closed afterwards.
    private func respond(
        _ response: ControlResponse, to head: HTTPRequestHead?, whole: Bool, _ context: ChannelHandlerContext
    ) {
        // After an upgrade was asked for, the decoder hands out nothing more; HTTP/1.0 clients expect the close.
        let mayStay = head.map { $0.isKeepAlive && $0.version == .http1_1 && !$0.headers.contains(name: "upgrade") }
        let keepAlive = mayStay == true && !peerFinished
        state = .writing(keepAlive: keepAlive, whole: whole)
        arm(environment.limits.write, context)
        var headers = HTTPHeaders([
            ("Content-Type", response.contentType), ("Content-Length", String(response.body.count)),
            ("Connection", keepAlive ? "keep-alive" : "close"),
        ])
        for (name, value) in response.headers.sorted(by: { $0.key < $1.key }) { headers.add(name: name, value: value) }
        let status = HTTPResponseStatus(statusCode: response.status)
        let start = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
        environment.onResponse(environment.socket, response.status)
        let flushed = context.eventLoop.makePromise(of: Void.self)
        if head?.method == .HEAD || response.body.isEmpty {
            context.write(wrapOutboundOut(.head(start)), promise: flushed)
        } else {
            context.write(wrapOutboundOut(.head(start)), promise: nil)
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: response.body)))), promise: flushed)
        }
        flushed.futureResult.assumeIsolated().whenComplete { result in
            if case .success = result { self.written(context) } else { self.close(context) }
        }
        context.flush()
    }

    private func written(_ context: ChannelHandlerContext) {
        guard case .writing(let keepAlive, let whole) = state else { return }
        let keepsGoing = keepAlive && whole && !peerFinished
        // Writing the end may at once bring the next request of a pipeline: the state must be ready for it.
        if keepsGoing {
            state = .idle
            arm(environment.limits.idle, context)
        } else {
            state = .lingering
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        if keepsGoing { return }
        guard !whole else { return close(context) }
        // Closing now would throw away what the client still sends, and with it, by a reset, our answer.
        arm(environment.limits.linger, context)
        context.close(mode: .output, promise: nil)
    }

    private func close(_ context: ChannelHandlerContext) {
        state = .closed
        context.close(promise: nil)
    }

    // MARK: Deadline

    private func arm(_ time: Duration, _ context: ChannelHandlerContext) {
        deadline?.cancel()
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(time)) { self.expired(context) }
    }

    private func expired(_ context: ChannelHandlerContext) {
        switch state {
        case .receiving:
            refuse(
                .requestTimeout, "did not come to its end in time", hint: "Send the body without a break.",
                whole: false,
                context)
        case .handling(_, let head):
            environment.logger.error("no answer in time", metadata: ["uri": "\(head.uri)"])
            let failure = Failure(
                .temporary, "request", "had no answer in time", hint: "Look at memvpctl status and the journal.")
            respond(.failure(failure, status: 504), to: nil, whole: true, context)
        case .idle, .writing, .lingering: close(context)
        case .closed: break
        }
    }
}
