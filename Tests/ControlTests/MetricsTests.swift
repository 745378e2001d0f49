// Metrics: values, exposition, the catalogue against its document, and promtool as the outsider.

import Diagnostics
import Foundation
import Synchronization
import Testing

@testable import Control

@Suite("Metrics") struct MetricsTests {
    private func catalog() -> MetricCatalog {
        MetricCatalog(build: { BuildInformation(version: "0.1.0", kernels: "avx2", model: "odd \"name\"\\\n") })
    }

    /// A catalogue in which every metric has moved.
    private func busy() -> MetricCatalog {
        let catalog = catalog()
        for (index, outcome) in JobOutcome.allCases.enumerated() {
            catalog.jobs.increment(outcome, by: UInt64(index + 1))
        }
        for code in FailureCode.allCases { catalog.errors.increment(code) }
        for (index, state) in QueueState.allCases.enumerated() { catalog.queue.set(state, Double(index)) }
        for stage in Stage.allCases { for value in [0.0004, 0.02, 0.7, 4000] { catalog.stages.observe(stage, value) } }
        catalog.batchJobs.observe(.only, 4)
        catalog.tokens.increment(.generated, by: 120)
        catalog.inboxIgnored.set(3)
        catalog.doneBytes.set(3.2e12)
        catalog.lastAnswer.set(1_795_432_953.456)
        catalog.countRequest(.control, status: 200)
        catalog.countRequest(.metrics, status: 503)
        return catalog
    }

    @Test("The text format is what the format's document says, to the byte")
    func format() {
        let registry = MetricsRegistry()
        let jobs = registry.counter("t_jobs_total", "Back\\slash\nand line.", by: JobOutcome.self)
        let temperature = registry.gauge("t_celsius", "Warmth.")
        let seconds = registry.histogram("t_seconds", "Time.", bounds: [0.5, 1, 2.5])
        registry.info("t_info", "Text.", labels: ["a", "b"]) { ["q\"b\\n\nl", ""] }
        registry.sampled("t_absent", "Not there.") { nil }
        registry.sampled("t_sampled", "There.", kind: .counter) { 1.5 }
        jobs.increment(.error, by: 7)
        temperature.set(-0.25)
        temperature.set(.nan)
        for value in [0.25, 0.5, 0.75, 2.5, 99, .infinity, .nan] { seconds.observe(.only, value) }
        #expect(
            registry.exposition() == #"""
                # HELP t_jobs_total Back\\slash\nand line.
                # TYPE t_jobs_total counter
                t_jobs_total{outcome="answered"} 0
                t_jobs_total{outcome="error"} 7
                t_jobs_total{outcome="removed"} 0
                # HELP t_celsius Warmth.
                # TYPE t_celsius gauge
                t_celsius -0.25
                # HELP t_seconds Time.
                # TYPE t_seconds histogram
                t_seconds_bucket{le="0.5"} 2
                t_seconds_bucket{le="1"} 3
                t_seconds_bucket{le="2.5"} 4
                t_seconds_bucket{le="+Inf"} 5
                t_seconds_sum 103
                t_seconds_count 5
                # HELP t_info Text.
                # TYPE t_info gauge
                t_info{a="q\"b\\n\nl",b=""} 1
                # HELP t_sampled There.
                # TYPE t_sampled counter
                t_sampled 1.5

                """#)
    }

    @Test("Escaping leaves no raw line feed or quote, not even in CR LF")
    func escaping() {
        #expect(Exposition.escapeLabel("a\r\nb\"\\") == "a\r\\nb\\\"\\\\")
        #expect(Exposition.escapeHelp("a\r\nb\"\\") == "a\r\\nb\"\\\\")
    }

    @Test(
        "Values are written as Go reads them",
        arguments: [
            (0, "0"), (-3, "-3"), (0.1, "0.1"), (1e-9, "1e-09"), (9_007_199_254_740_991, "9007199254740991"),
            (1e300, "1e+300"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
        ] as [(Double, String)])
    func values(_ value: Double, _ text: String) { #expect(Exposition.text(value) == text) }

    @Test("promtool finds nothing to say")
    func promtool() async throws {
        let tool = "/usr/bin/promtool"
        guard FileManager.default.isExecutableFile(atPath: tool) else {
            print(
                "SKIPPED: promtool is not installed, so the exposition was not checked by it (apt install prometheus)")
            return
        }
        for text in [
            catalog().registry.exposition(), busy().registry.exposition(), busy().registry.textfileExposition(),
        ] {
            let result = try await run(tool, ["check", "metrics"], input: text)
            #expect(result.code == 0, "\(result.out)\(result.err)")
            #expect(result.out.isEmpty && result.err.isEmpty, "\(result.out)\(result.err)")
        }
        // A tool that never complains would prove nothing.
        let bad = try await run(tool, ["check", "metrics"], input: "# TYPE x counter\nx 1\n")
        #expect(bad.code != 0)
    }

    @Test("Every property of the catalogue is registered, and every name is given once")
    func complete() {
        let catalog = catalog()
        let names = catalog.registry.descriptors.map(\.name)
        let properties = Mirror(reflecting: catalog).children.compactMap {
            ($0.value as? any MetricFamily)?.descriptor.name
        }
        #expect(properties.count >= 15)
        #expect(Set(properties).isSubset(of: names))
        #expect(Set(names).count == names.count)
        let plain = /[a-z][a-z0-9_]*/
        for descriptor in catalog.registry.descriptors {
            #expect(descriptor.name.wholeMatch(of: plain) != nil, "\(descriptor.name)")
            #expect((descriptor.kind == .counter) == descriptor.name.hasSuffix("_total"), "\(descriptor.name)")
            #expect(descriptor.help.hasSuffix("."), "\(descriptor.name)")
        }
    }

    @Test("docs/METRICS.md lists exactly the metrics of the catalogue, with kind and labels")
    func document() throws {
        let text = try String(contentsOfFile: sourceFile("../../docs/METRICS.md"), encoding: .utf8)
        let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `") }.map { line in
            line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
        }
        let listed = rows.map { Array($0.prefix(4)) }
        let expected = catalog().registry.descriptors.map { metric in
            [
                "`\(metric.name)`", metric.kind.rawValue,
                metric.labels.isEmpty ? "" : metric.labels.map { "`\($0)`" }.joined(separator: ", "), metric.help,
            ]
        }
        #expect(listed == expected)
        for metric in catalog().registry.descriptors where metric.labels != ["code"] {
            for value in metric.labelValues { #expect(text.contains("`\(value)`"), "\(metric.name) \(value)") }
        }
    }

    @Test("The textfile has no process_ metrics, which node_exporter has for itself")
    func textfile() {
        #expect(busy().registry.exposition().contains("\nprocess_resident_memory_bytes "))
        #expect(!busy().registry.textfileExposition().contains("process_"))
        #expect(busy().registry.textfileExposition().contains("memvpd_jobs_total"))
    }

    @Test("Readings of this process are there and plausible")
    func process() throws {
        let resident = try #require(ProcessStatistics.residentBytes())
        let virtual = try #require(ProcessStatistics.virtualBytes())
        #expect(resident > 1e6 && resident < virtual)
        #expect(try #require(ProcessStatistics.processorSeconds()) > 0)
        let start = try #require(ProcessStatistics.startSeconds())
        #expect(abs(start - Date().timeIntervalSince1970) < 3600)
        // Against the boot time that the kernel itself gives, in whole seconds.
        let stat = try String(contentsOfFile: "/proc/stat", encoding: .utf8).split(separator: "\n")
        let boot = try #require(stat.first { $0.hasPrefix("btime ") }.flatMap { Double($0.dropFirst(6)) })
        let fields = try String(contentsOfFile: "/proc/self/stat", encoding: .utf8).split(separator: ") ").last
        let ticks = try #require(fields?.split(separator: " ").dropFirst(19).first.flatMap { Double($0) })
        #expect(abs(start - boot - ticks / 100) < 2)
        let open = try #require(ProcessStatistics.openDescriptors())
        let most = try #require(ProcessStatistics.maximumDescriptors())
        #expect(open >= 3 && open < most)
    }

    @Test("Counts from many threads add up, in the sum and in every bucket")
    func concurrency() async throws {
        let catalog = catalog()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for index in 0..<2000 {
                        catalog.jobs.increment(.answered)
                        catalog.stages.observe(.vision, index % 2 == 0 ? 0.002 : 2)
                    }
                }
            }
        }
        #expect(catalog.jobs.value(.answered) == 16_000)
        #expect(catalog.stages.count(.vision) == 16_000)
        let samples = catalog.stages.samples().filter { $0.labels.first?.value == "vision" }
        #expect(samples.first { $0.suffix == "_sum" }?.value.rounded() == 16_016)
        #expect(samples.first { $0.labels.last?.value == "1" }?.value == 8000)
    }

    @Test("p50 and p95 are exact over the latest 1,024 values", arguments: [1, 2, 19, 20, 21, 1023, 1024, 1025, 5000])
    func quantiles(_ count: Int) throws {
        var generator = SplitMix(state: UInt64(count))
        let values = (0..<count).map { _ in Double.random(in: 0...100, using: &generator) }
        let histogram = Histogram<NoLabel>("t_seconds", "Time.", bounds: [1])
        for value in values { histogram.observe(.only, value) }
        let latest = values.suffix(1024)
        let found = try #require(histogram.quantiles(.only, [0, 0.5, 0.95, 1]))
        // Nearest rank, from its definition: the least value that at least this part of all values do not exceed.
        for (rank, value) in zip([0, 0.5, 0.95, 1], found) {
            let least = latest.filter { candidate in
                Double(latest.count { $0 <= candidate }) >= rank * Double(latest.count)
            }.min()
            #expect(value == least)
        }
        #expect(histogram.count(.only) == UInt64(count))
    }

    @Test("Before the first value there is no quantile")
    func noQuantile() {
        #expect(catalog().stages.quantiles(.vision, [0.5]) == nil)
        #expect(catalog().stageTimes().isEmpty)
        #expect(busy().stageTimes().map(\.stage) == Stage.allCases.map(\.rawValue))
    }

    @Test("The rate counts the last 60 seconds and no more")
    func rate() {
        let start = ContinuousClock.now
        let meter = RateMeter(start: start)
        for second in 0..<200 { meter.record(at: start + .seconds(second)) }
        #expect(meter.perMinute(at: start + .seconds(199)) == 60)
        #expect(meter.perMinute(at: start + .seconds(229)) == 30)
        #expect(meter.perMinute(at: start + .seconds(259)) == 0)
        #expect(meter.perMinute(at: start - .seconds(5)) == 0)
        meter.record(at: start - .seconds(5))
        #expect(meter.perMinute(at: start - .seconds(5)) == 1)
    }
}

@Suite("Textfile writer") struct TextfileWriterTests {
    @Test("A reader sees whole texts only; the file is 0644; nothing else is left in the directory")
    func whole() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/memvpd.prom"
            let writer = try TextfileWriter(path: path)
            let texts = ["a", "b"].map { String(repeating: $0, count: 300_000) }
            try writer.write(texts[0])
            async let seen = offPool {
                var seen: Set<String> = []
                for _ in 0..<200 { seen.insert(try String(contentsOfFile: path, encoding: .utf8)) }
                return seen
            }
            for round in 0..<60 { try writer.write(texts[round % 2]) }
            #expect(try await seen.isSubset(of: texts))
            #expect(try FileBridge.status(path)?.mode == 0o644)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["memvpd.prom"])
        }
    }

    @Test("A failed write leaves the old file and no temporary one")
    func failing() async throws {
        try await withTemporaryDirectory { directory in
            // A directory of that name cannot be replaced by a file: rename fails after the text was written.
            let path = directory + "/memvpd.prom"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            let writer = try TextfileWriter(path: path)
            #expect(failureCode { try writer.write("x") } == .cannotCreate)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["memvpd.prom"])
            let none = try TextfileWriter(path: directory + "/none/memvpd.prom")
            #expect(failureCode { try none.write("x") } == .cannotCreate)
        }
    }

    @Test("A symbolic link in the temporary file's place is not followed")
    func link() async throws {
        try await withTemporaryDirectory { directory in
            let victim = directory + "/victim"
            try Data("keep".utf8).write(to: URL(fileURLWithPath: victim))
            let temporary = directory + "/.m.prom.tmp"
            try FileManager.default.createSymbolicLink(atPath: temporary, withDestinationPath: victim)
            try TextfileWriter(path: directory + "/m.prom").write("new")
            #expect(try String(contentsOfFile: victim, encoding: .utf8) == "keep")
            #expect(try String(contentsOfFile: directory + "/m.prom", encoding: .utf8) == "new")
        }
    }

    @Test(
        "Paths that the collector would not read are refused",
        arguments: [
            "memvpd.prom", "/var/lib/memvpd.txt", "/var/lib/", "/.prom", "/x/.a.prom", "",
        ])
    func paths(_ path: String) {
        #expect(failureCode { _ = try TextfileWriter(path: path) } == .configurationInvalid)
    }
}
