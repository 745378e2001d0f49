// What the configuration means to the spool; what a reload takes over and what waits for a restart.

import Diagnostics
import Specification
import Spool
import Testing
import Vision

@testable import Daemon

@Suite struct ReloadTests {
    @Test func reloadTakesTheModelAndLeavesDirectories() {
        var old = DaemonConfiguration()
        var new = old
        new.model = "/elsewhere"
        new.batch = 3
        new.limits.answerTokens = 99
        new.directories.inbox = "/other"
        new.threads = 7
        old.takeReloadable(from: new)
        #expect(old.model == "/elsewhere" && old.batch == 3 && old.limits.answerTokens == 99)
        #expect(old.directories == DaemonConfiguration().directories && old.threads == 0)
        #expect(old != new)
        #expect(EffectiveConfiguration.differences(between: old, and: new) == ["directories.inbox", "threads"])
        #expect(EffectiveConfiguration.differences(between: new, and: new).isEmpty)
    }

    @Test func whatWaitsForARestartIsWhatThePageSays() {
        var old = DaemonConfiguration()
        var new = old
        (new.model, new.batch, new.metrics.textfile) = ("/elsewhere", 3, "/m.prom")
        (new.adapters.ask, new.adapters.caption) = (.named("a"), .named("c"))
        (new.limits.imagePixels, new.limits.imageSide) = (1_000_000, 1_000)
        (new.limits.promptTokens, new.limits.answerTokens) = (99, 88)
        let reloaded = new
        (new.workers, new.limits.queue, new.settle) = (2, 7, .seconds(9))
        old.takeReloadable(from: new)
        #expect(EffectiveConfiguration.differences(between: old, and: new) == ["workers", "limits.queue", "settle"])
        #expect(old == reloaded)
    }

    /// Together with the test of etc/memvpd.yaml this makes one set of defaults of three: in the shipped file, in the
    /// daemon's configuration and in the spool's.
    @Test func theSpoolsDefaultsAreTheDaemons() {
        let directories = DaemonConfiguration().directories
        var defaults = SpoolConfiguration(
            directories: .init(
                inbox: directories.inbox, spool: directories.spool, outbox: directories.outbox,
                failed: directories.failed, done: directories.done))
        defaults.notesCrashes = true
        #expect(DaemonConfiguration().spool == defaults)
        #expect(DaemonConfiguration().limits.imageBytes == ImageLimits().maxBytes)
        #expect(DaemonConfiguration().limits.imagePixels == ImageLimits().maxPixels)
        #expect(DaemonConfiguration().limits.imageSide == ImageLimits().maxSide)
    }

    @Test func everyWaitOfTheConfigurationReachesTheSpool() {
        var configuration = DaemonConfiguration()
        configuration.settle = .seconds(11)
        configuration.writingTimeout = .seconds(12)
        (configuration.pairing.grace, configuration.pairing.timeout) = (.seconds(13), .seconds(14))
        (configuration.scan.poll, configuration.scan.interval) = (.seconds(15), .seconds(16))
        (configuration.retry.initial, configuration.retry.maximum) = (.seconds(17), .seconds(18))
        (configuration.retry.attempts, configuration.limits.queue) = (19, 20)
        (configuration.limits.imageBytes, configuration.limits.specBytes) = (21, 22)
        (configuration.retention.done, configuration.retention.failed) = (.after(.seconds(23)), .after(.seconds(24)))
        let spool = configuration.spool
        #expect(spool.settle == .seconds(11) && spool.writingTimeout == .seconds(12))
        #expect(spool.pairing.grace == .seconds(13) && spool.pairing.timeout == .seconds(14))
        #expect(spool.pollInterval == .seconds(15) && spool.scanInterval == .seconds(16))
        #expect(spool.retry.initial == .seconds(17) && spool.retry.maximum == .seconds(18))
        #expect(spool.retry.attempts == 19 && spool.limits.jobs == 20)
        #expect(spool.limits.imageBytes == 21 && spool.limits.specBytes == 22)
        #expect(spool.retention.done == .seconds(23) && spool.retention.failed == .seconds(24))
        for (choice, watch) in [
            (WatchChoice.auto, SpoolConfiguration.Watch.automatic), (.inotify, .inotify), (.poll, .poll),
        ] {
            configuration.watch.inbox = choice
            #expect(configuration.spool.watch == watch)
        }
    }

    @Test func specsAreReadWithinTheLimitsInForce() throws {
        let spec = Array("version: 1\ntasks:\n  - { id: a, caption: { max_tokens: 400 } }\n".utf8)
        var configuration = DaemonConfiguration()
        let reader = SpecReader(limits: configuration.limits.spec)
        #expect(throws: (any Error).self) { try reader.inspect(spec) }
        configuration.limits.answerTokens = 512
        reader.replace(with: configuration.limits.spec)
        _ = try reader.inspect(spec)
    }

    @Test func specFaultsNameTheirPlaceInWords() throws {
        let reader = SpecReader(limits: TaskSpec.Limits())
        #expect(try reader.inspect(Array("task: caption\npriority: 4\n".utf8)).priority == 4)
        let failure = #expect(throws: (any Error).self) { try reader.inspect(Array("task: caption\ncolour: x\n".utf8)) }
        #expect("\(try #require(failure))".contains("line 2, column 1"))
    }

    @Test(
        arguments: [
            (1, 0, [4]), (3, 0, [2, 1, 1]), (4, 0, [1, 1, 1, 1]), (6, 0, [1, 1, 1, 1, 1, 1]), (1, 9, [9]),
            (2, 9, [5, 4]),
            (3, 2, [1, 1, 1]),
        ])
    func threadsAreDividedBetweenWorkers(workers: Int, threads: Int, shares: [Int]) {
        var configuration = DaemonConfiguration()
        (configuration.workers, configuration.threads) = (workers, threads)
        #expect(configuration.threadShares(allowedCPUs: 4) == shares)
    }

    @Test func adaptersAreHeldAgainstTheBundle() throws {
        func refusal(_ names: Set<String>, _ byTask: [TaskKind: String], _ change: (inout DaemonConfiguration) -> Void)
            -> Failure?
        {
            var configuration = DaemonConfiguration()
            change(&configuration)
            do throws(Failure) { try configuration.check(adapters: names, byTask: byTask) } catch { return error }
            return nil
        }
        #expect(refusal(["a.1"], [.caption: "a.1"]) { _ in } == nil)
        #expect(refusal(["a.1"], [:]) { $0.adapters.caption = .named("a.1") } == nil)
        for (names, byTask, choice, cause) in [
            ([], [:], AdapterChoice.bundleDefault, "has no adapter, without"),
            (["a"], [.ask: "a"], .bundleDefault, "names no adapter for the default task"),
            (["a"], [.caption: "b"], .bundleDefault, "has no adapter b"),
            (["a"], [.caption: "a"], .named("c"), "has no adapter c"),
        ] as [(Set<String>, [TaskKind: String], AdapterChoice, String)] {
            let failure = try #require(refusal(names, byTask) { $0.adapters.caption = choice })
            #expect(failure.cause.contains(cause) && failure.code.exitCode == .configuration && !failure.hint.isEmpty)
        }
    }
}
