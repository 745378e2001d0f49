// The daemon while something stands still: its disk, a worker, itself; and when its sockets fail.

import Diagnostics
import Foundation
import Glibc
import Logging
import Spool
import Synchronization
import Testing

@testable import Control
@testable import Daemon

@Suite(
    "The daemon while something stands still", .serialized,
    .enabled(if: TestModel.isThere, "needs a model bundle: make models, or MEMVP_TEST_BUNDLE"))
struct ServiceTests {
    @Test("systemd's watchdog is fed while the daemon's actor stands still")
    func watchdog() async throws {
        let place = try Workplace()
        let manager = try Manager("\(place.root)/run/notify")
        let service = try Service(
            place, Surroundings(notifier: try manager.notifier(watchdog: 20_000), sockets: [:]))
        #expect(await offPool { manager.hears("READY=1") })
        let standstill = Standstill()
        async let isFed = offPool { () -> Bool in
            defer { standstill.go() }
            guard standstill.hasBegun() else { return false }
            // What comes from here on was sent while nothing of the actor's could run.
            _ = manager.drain()
            return (0..<3).allSatisfy { _ in manager.hears("WATCHDOG=1") }
        }
        await service.daemon.hold(standstill)
        #expect(await isFed)
        service.send(.end)
        #expect(await service.end() == nil)
    }

    @Test("a look at the outbox that does not come back holds up neither the daemon nor the answer about its health")
    func outbox() async throws {
        let place = try Workplace()
        let standstill = Standstill()
        var surroundings = try Surroundings.none()
        surroundings.outbox = OutboxLook(patience: .milliseconds(1)) { _ in
            standstill.stand()
            return "is not writable"
        }
        let daemon = try DaemonService(
            place.effective, mode: .once, log: Logger(label: "test") { _ in Lines() }, surroundings)
        let health = Task { await daemon.health() }
        #expect(await offPool { standstill.hasBegun() })
        #expect(await ends { _ = try? await daemon.status() })
        #expect(await ends { _ = await health.value })
        standstill.go()
        // As of the last look that came back, which is none.
        #expect(await health.value.checks.first { $0.name == "outbox" }?.ok == true)
    }

    @Test("a spool whose disk stands still holds up neither health nor metrics, and both and the status say so")
    func spool() async throws {
        let place = try Workplace()
        var surroundings = try Surroundings.none()
        surroundings.spool = SpoolLook.Patience(
            glance: .milliseconds(1), status: .milliseconds(1), fault: .milliseconds(5))
        let service = try Service(place, surroundings)
        let daemon = service.daemon
        @Sendable func isWell() async -> Bool? { await daemon.health().checks.first { $0.name == "spool" }?.ok }
        // However long it takes until the inbox is watched.
        #expect(
            await ends {
                while !["inotify", "poll"].contains((try? await daemon.status())?.directories.first?.watch) {}
            })
        #expect((try? await daemon.hold(by: nil)) != nil)
        #expect(await ends { while await !daemon.metrics().contains("\nmemvpd_held 1\n") {} })
        let standstill = Standstill()
        let held = Task { await daemon.spool.hold(standstill) }
        #expect(await offPool { standstill.hasBegun() })
        #expect(await ends { while await isWell() != false {} })
        let health = await daemon.health()
        #expect(health.checks.filter { !$0.ok }.map(\.name) == ["spool"])
        #expect(health.checks.first { !$0.ok }?.message.hasPrefix("has not answered for ") == true)
        let status = await #expect(throws: Failure.self) { try await daemon.status() }
        #expect(status?.code == .unavailable && status?.object == "spool")
        let metrics = await daemon.metrics().split(separator: "\n")
        let gauge = metrics.first { $0.hasPrefix("memvpd_spool_standstill_seconds ") }
        #expect(try #require(gauge?.split(separator: " ").last.flatMap { Double($0) }) > 0)
        // As of the last look.
        #expect(metrics.contains("memvpd_held 1"))
        standstill.go()
        await held.value
        #expect(await ends { while await isWell() != true {} })
        service.send(.end)
        #expect(await service.end() == nil)
    }

    @Test("however many ask for the spool while it stands still, one look goes on and one comes after it")
    func oneLook() async throws {
        let standstill = Standstill()
        let looks = Atomic(0)
        let place = try Workplace()
        let daemon = try DaemonService(
            place.effective, mode: .once, log: Logger(label: "test") { _ in Lines() }, Surroundings.none())
        let spool = await daemon.spool.snapshot()
        let look = SpoolLook {
            if looks.add(1, ordering: .relaxed).newValue == 1 { await offPool { standstill.stand() } }
            return spool
        }
        for number in 0..<20 {
            let seen = await look.snapshot(within: .milliseconds(1))
            #expect(seen.last == nil && seen.standstill != nil)
            if number == 0 { #expect(await offPool { standstill.hasBegun() }) }
        }
        standstill.go()
        let seen = await look.snapshot(within: .seconds(600))
        #expect(seen.last != nil && seen.standstill == nil)
        #expect((2...3).contains(looks.load(ordering: .relaxed)))
    }

    @Test("a textfile that cannot be written to its end holds up the daemon no more")
    func textfile() async throws {
        let place = try Workplace("metrics: {textfile: ROOT/run/memvpd.prom}")
        let standstill = Standstill()
        var surroundings = try Surroundings.none()
        surroundings.writeTextfile = { _, _ in standstill.stand() }
        let service = try Service(place, surroundings)
        #expect(await offPool { standstill.hasBegun() })
        #expect(await ends { _ = try? await service.daemon.status() })
        #expect(await ends { _ = await service.daemon.metrics() })
        standstill.go()
        service.send(.end)
        #expect(await service.end() == nil)
    }

    @Test("the metrics' socket has its three routes, the control socket all of them")
    func roles() async throws {
        let place = try Workplace()
        let service = try Service(place, Surroundings.none())
        let statuses = await offPool { () -> [String: Int] in
            var statuses: [String: Int] = [:]
            for socket in ["control", "metrics"] {
                let client = ControlClient(socketPath: "\(place.root)/run/\(socket).sock", timeout: .seconds(600))
                for (method, path) in [
                    ("GET", "/metrics"), ("GET", "/v1/health"), ("GET", "/v1/queue"), ("POST", "/v1/hold"),
                    ("POST", "/v1/release"), ("POST", "/v1/jobs/retry-all"),
                ] {
                    statuses["\(socket) \(path)"] = (try? client.send(method, path))?.status
                }
            }
            return statuses
        }
        #expect(
            statuses == [
                "control /metrics": 200, "control /v1/health": 200, "control /v1/queue": 200, "control /v1/hold": 200,
                "control /v1/release": 200, "control /v1/jobs/retry-all": 200,
                "metrics /metrics": 200, "metrics /v1/health": 200, "metrics /v1/queue": 404, "metrics /v1/hold": 404,
                "metrics /v1/release": 404, "metrics /v1/jobs/retry-all": 404,
            ])
        service.send(.end)
        #expect(await service.end() == nil)
    }

    /// A daemon that is ready and whose worker's thread stands still, where a reload makes buffers: it waits for that.
    private func heldAtItsWorker() async throws -> (Workplace, Manager, Service, Standstill, Task<Void, Never>) {
        let place = try Workplace()
        let manager = try Manager("\(place.root)/run/notify")
        let service = try Service(place, Surroundings(notifier: try manager.notifier(), sockets: [:]))
        #expect(await offPool { manager.hears("READY=1") })
        let standstill = Standstill()
        let held = Task { await service.daemon.holdWorker(standstill) }
        #expect(await offPool { standstill.hasBegun() })
        return (place, manager, service, standstill, held)
    }

    @Test("a stop in the middle of a reload is told at once")
    func stopWhileReloading() async throws {
        let (place, manager, service, standstill, held) = try await heldAtItsWorker()
        defer { withExtendedLifetime(place) {} }
        service.send(.reload)
        #expect(await offPool { manager.hears("RELOADING=1") })
        service.send(.end)
        #expect(await offPool { manager.hears("STOPPING=1") })
        standstill.go()
        await held.value
        #expect(await service.end() == nil)
    }

    @Test("a reload while one goes on is refused, and leaves that one alone")
    func reloadWhileReloading() async throws {
        let (place, manager, service, standstill, held) = try await heldAtItsWorker()
        defer { withExtendedLifetime(place) {} }
        let first = Task { () -> Failure? in
            do throws(Failure) { try await service.daemon.reload() } catch { return error }
            return nil
        }
        #expect(await offPool { manager.hears("RELOADING=1") })
        let refusal = Mutex<Failure?>(nil)
        let isRefused = await ends {
            do throws(Failure) { try await service.daemon.reload() } catch { refusal.withLock { $0 = error } }
        }
        standstill.go()
        await held.value
        #expect(isRefused && refusal.withLock { $0?.code } == .unavailable)
        #expect(refusal.withLock { $0?.cause } == "memvpd is reloading")
        #expect(await first.value == nil)
        service.send(.end)
        #expect(await service.end() == nil)
    }

    @Test("a reload of a configuration that is away says to mend it: the running daemon reads no other file")
    func reloadWithoutFile() async throws {
        let place = try Workplace()
        let service = try Service(place, Surroundings.none())
        #expect(await ends { while (try? await service.daemon.status())?.state != "running" {} })
        try FileManager.default.removeItem(atPath: "\(place.root)/memvpd.yaml")
        let failure = await #expect(throws: Failure.self) { try await service.daemon.reload() }
        #expect(failure?.code == .configurationInvalid && failure?.object == "\(place.root)/memvpd.yaml")
        #expect(failure?.hint == "Put it right, then reload again; until then the old configuration goes on.")
        service.send(.end)
        #expect(await service.end() == nil)
    }

    @Test("a reload that outlasts the stop does not say that the daemon is ready")
    func reloadAfterStop() async throws {
        let (place, manager, service, standstill, held) = try await heldAtItsWorker()
        defer { withExtendedLifetime(place) {} }
        // Asked for through the socket, so that its end can be waited for: the run's does not wait for it.
        let reload = Task { try? await service.daemon.reload() }
        #expect(await offPool { manager.hears("RELOADING=1") })
        service.send(.end)
        #expect(await offPool { manager.hears("STOPPING=1") })
        standstill.go()
        await held.value
        await reload.value
        #expect(await service.end() == nil)
        #expect(!manager.drain().contains { $0.hasPrefix("READY=1") })
    }

    @Test("sockets that cannot be served end the run with their fault, after which systemd starts another")
    func sockets() async throws {
        let place = try Workplace()
        let socket = try ListeningSocket.bind(.control, path: "\(place.root)/run/control.sock")
        // Somebody else has its descriptor by now.
        let descriptor = try #require(socket.take())
        defer { close(descriptor) }
        let nobody = try Surroundings.none()
        let service = try Service(place, Surroundings(notifier: nobody.notifier, sockets: [.control: socket]))
        let isOver = await ends { _ = await service.end() }
        service.send(.end)
        let fault = await service.end()
        #expect(isOver)
        #expect(fault?.cause == "is served already" && fault?.code.exitCode == .software)
    }
}
