// Lets at most so many connections of one socket be open: the permit is taken before accept(2) is called.
//
// Invariants: confined to the event loop; `open` counts accepted connections that are not closed; while it is at the limit
// no read is passed on, so further clients wait in the kernel's queue and are served as others leave.

import NIOCore

/// A handler of the listening channel that holds back accepts.
final class ConnectionGate: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never

    private let limit: Int
    private var open = 0
    private var readHeld = false

    init(limit: Int) { self.limit = max(1, limit) }

    func read(context: ChannelHandlerContext) {
        if open < limit { context.read() } else { readHeld = true }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        open += 1
        let child = unwrapInboundIn(data)
        let gate = NIOLoopBound(self, eventLoop: context.eventLoop)
        let bound = context.loopBound
        child.closeFuture.hop(to: context.eventLoop).whenComplete { _ in gate.value.closed(bound.value) }
        context.fireChannelRead(data)
    }

    private func closed(_ context: ChannelHandlerContext) {
        open -= 1
        guard readHeld else { return }
        readHeld = false
        context.read()
    }
}
