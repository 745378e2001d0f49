// What sequences keep in memory is bounded by the engine's limits, whatever is asked: tasks wait, choices take turns, and no
// answer changes by it.

import Language
import ModelFile
import Specification
import Tensor
import Testing

@testable import MemVP

/// The caches that were seen in an engine and still exist, whoever holds them.
private struct CacheWatch {
    private final class Sight {
        weak var cache: KeyValueCache?

        init(_ cache: KeyValueCache) { self.cache = cache }
    }

    private var sights: [Sight] = []
    /// The most that there were at a time.
    private(set) var most = 0

    /// How many there are.
    var alive: Int { sights.filter { $0.cache != nil }.count }

    mutating func look(at engine: Engine) {
        note(engine.caches)
        most = max(most, alive)
    }

    private mutating func note(_ caches: [KeyValueCache]) {
        sights.removeAll { $0.cache == nil }
        for cache in caches where !sights.contains(where: { $0.cache === cache }) { sights.append(Sight(cache)) }
    }
}

@Suite("Memory of sequences")
struct CacheBoundTests {
    private let workshop: Workshop
    private let bundle: ModelBundle
    private let compute: Compute

    init() throws {
        workshop = try Workshop()
        let model = TinyLlama(metadata: [("llama.context_length", .uint32(512))])
        bundle = try ModelBundle(path: workshop.bundle("b", model, precision: .int8, adapter: true))
        compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 1)
    }

    private func makeEngine(streams: Int, rows: Int = 512) -> Engine {
        Engine(
            model: bundle.language, compute: compute,
            limits: EngineLimits(streams: streams, rows: rows, positions: 400, slots: 1))
    }

    /// What came of tasks, and what it took.
    private struct Run {
        var results: [TokenResult] = []
        var passes = 0
        var caches = CacheWatch()
    }

    private func run(_ tasks: [TokenTask], streams: Int, rows: Int = 512) -> Run {
        let engine = makeEngine(streams: streams, rows: rows)
        var run = Run()
        var results: [Int: TokenResult] = [:]
        let ids = engine.submit(tasks)
        while !engine.isIdle {
            for ended in engine.step() { results[ended.id] = ended.result }
            run.caches.look(at: engine)
        }
        run.results = ids.compactMap { results[$0] }
        run.passes = engine.passes
        return run
    }

    /// Tokens of the tiny vocabulary, none of them a control token.
    private static func tokens(_ count: Int, from first: Int = 0) -> [Int32] {
        (0..<count).map { Int32(2 + (first + 31 * $0) % 90) }
    }

    // MARK: Choices

    /// 64 choices of one, two and three tokens after a prompt of 300.
    private static var question: TokenTask {
        let choices = (0..<64).map { tokens(1 + $0 % 3, from: 7 * $0) }
        return TokenTask(prompt: tokens(300), goal: .choose(choices, end: 0), image: nil)
    }

    @Test("64 choices after a long prompt take turns in the caches there are, and score as with a cache for each")
    func manyChoices() {
        let wide = run([Self.question], streams: 64)
        #expect(wide.passes == 2)
        #expect(wide.results.first?.choiceScores.count == 64)
        // One pass of the prompt, then as many choices in each as there may be sequences.
        for (streams, passes) in [(1, 65), (2, 33), (5, 14)] {
            let narrow = run([Self.question], streams: streams)
            #expect(narrow.passes == passes, "\(streams) streams")
            #expect(narrow.results == wide.results, "\(streams) streams")
        }
        // Small passes leave choices for the next ones, so that copies are there between them.
        for streams in [1, 2, 5, 64] {
            let narrow = run([Self.question], streams: streams, rows: 16)
            #expect(narrow.caches.most <= streams)
            #expect(narrow.caches.alive == 0)
            #expect(narrow.results == wide.results, "\(streams) streams")
        }
    }

    @Test("caches of choices make room for tasks that come later")
    func choicesMakeRoom() {
        let later = (0..<4).map {
            TokenTask(
                prompt: Self.tokens(6, from: $0), goal: .generate(maximumTokens: 5, end: -1, sampling: .greedy),
                image: nil)
        }
        let expected = run([Self.question], streams: 64).results + later.flatMap { run([$0], streams: 1).results }
        let engine = makeEngine(streams: 5, rows: 16)
        var ids = engine.submit([Self.question])
        // 19 passes of the prompt, one of the first choices.
        let ended = (0..<20).reduce(0) { count, _ in count + engine.step().count }
        #expect(ended == 0)
        #expect(engine.caches.count == 5)
        for task in later { ids += engine.submit([task]) }
        #expect(engine.freeStreams == 0)
        var caches = CacheWatch()
        var results: [Int: TokenResult] = [:]
        while !engine.isIdle {
            for ended in engine.step() { results[ended.id] = ended.result }
            caches.look(at: engine)
        }
        #expect(caches.most == 5)
        #expect(caches.alive == 0)
        #expect(ids.compactMap { results[$0] } == expected)
    }

    // MARK: Tasks

    /// Tasks of all goals with a common beginning.
    private static func tasks(_ count: Int, from first: Int = 0) -> [TokenTask] {
        (0..<count).map { index in
            let goal: TokenTask.Goal
            switch index % 3 {
            case 0: goal = .choose([[40], [41, 42], [43, 44, 45]], end: 0)
            case 1: goal = .generate(maximumTokens: 1 + index % 4, end: -1, sampling: .greedy)
            default:
                goal = .generate(
                    maximumTokens: 3, end: -1, sampling: Sampling(temperature: 1, seed: UInt64(index)))
            }
            return TokenTask(prompt: tokens(20, from: first) + [Int32(2 + index), 5], goal: goal, image: nil)
        }
    }

    @Test("64 tasks of a job start in order, no more at a time than the limit, and end as if all started at once")
    func manyTasks() {
        let tasks = Self.tasks(64)
        let expected = run(tasks, streams: 64).results
        #expect(expected.count == 64)
        #expect(expected == tasks.flatMap { run([$0], streams: 1).results })
        for (streams, rows) in [(1, 512), (2, 8), (2, 512), (7, 512)] {
            let engine = makeEngine(streams: streams, rows: rows)
            let ids = engine.submit(tasks)
            var results: [Int: TokenResult] = [:]
            var begun: Set<Int> = []
            var caches = CacheWatch()
            while !engine.isIdle {
                for ended in engine.step() { results[ended.id] = ended.result }
                let started = ids.filter { engine.hasStarted($0) }
                #expect(started.count <= streams)
                begun.formUnion(started)
                begun.formUnion(results.keys)
                #expect(begun == Set(ids.prefix(begun.count)))
                #expect(engine.freeStreams == max(0, streams - (tasks.count - results.count)))
                caches.look(at: engine)
            }
            // One more than the tasks': the beginning, as long as a task waits for it.
            #expect(caches.most <= streams + 1)
            #expect(caches.alive == 0)
            #expect(ids.compactMap { results[$0] } == expected, "\(streams) streams, \(rows) rows")
        }
    }

    @Test("jobs beyond the limit all end, and one that is cancelled gives back what it held", arguments: [false, true])
    func jobsTogether(cancels: Bool) {
        let jobs = [Self.tasks(20), Self.tasks(20, from: 17), Self.tasks(5, from: 40)]
        let expected = jobs.map { run($0, streams: 64).results }
        let engine = makeEngine(streams: 3)
        let ids = jobs.map { engine.submit($0) }
        var results: [Int: TokenResult] = [:]
        var caches = CacheWatch()
        var isCancelled = false
        while !engine.isIdle {
            for ended in engine.step() { results[ended.id] = ended.result }
            caches.look(at: engine)
            if cancels, !isCancelled, results.count >= 5 {
                engine.cancel(Set(ids[0]))
                isCancelled = true
            }
        }
        #expect(isCancelled == cancels)
        #expect(ids[0].compactMap { results[$0] }.count < 20 || !cancels)
        for job in (cancels ? 1 : 0)..<3 { #expect(ids[job].compactMap { results[$0] } == expected[job]) }
        #expect(caches.most <= 4)
        #expect(caches.alive == 0)
        #expect(engine.freeStreams == 3)
    }

    @Test("the beginning of a cancelled job is not run to its end")
    func cancelledBeginning() {
        let engine = makeEngine(streams: 3, rows: 8)
        let ids = engine.submit(Self.tasks(20))
        _ = engine.step()
        #expect(engine.caches.count == 1)
        engine.cancel(Set(ids))
        #expect(engine.isIdle)
        #expect(engine.caches.isEmpty)
        _ = engine.step()
        #expect(engine.passes == 1)
    }

    // MARK: Answers

    private func makeAnswerer(batch: Int) throws -> Answerer {
        try Answerer(bundle: bundle, compute: compute, batch: batch, promptTokens: 400, answerTokens: 56)
    }

    /// Free answers, choices, drawn captions, and problems that are explained first and then answered.
    private static func questions() throws -> [TaskSpec.Task] {
        let format = try #require(QuestionFormat(named: "QCM-LEA"))
        return (0..<64).map { index in
            let work: TaskSpec.Work
            switch index % 4 {
            case 0: work = .ask(question: "he", answer: .free(TaskSpec.Generation(maximumTokens: 1 + index % 5)))
            case 1: work = .ask(question: "z", answer: .choice(["he", "abc", "z\(index)"]))
            case 2:
                work = .caption(
                    TaskSpec.Generation(
                        maximumTokens: 4, sampling: .random(temperature: 0.8, topP: 0.9, seed: nil)))
            default:
                work = .problem(TaskSpec.Problem(question: "he", options: ["a", "b\(index)"], format: format))
            }
            return TaskSpec.Task(id: "t\(index)", work: work)
        }
    }

    /// Steps until nothing is in flight; returns the answers of each job.
    private static func end(_ answerer: Answerer) -> [Int: [Answer]] {
        var ended: [Int: [Answer]] = [:]
        while !answerer.isIdle { for job in answerer.step() { ended[job.job] = job.answers.answers } }
        return ended
    }

    @Test("a spec of more tasks than the batch has room for is one job with all answers, the same as in a large batch")
    func oneJob() throws {
        let tasks = try Self.questions()
        let large = try makeAnswerer(batch: 64)
        let whole = try large.submit(image: nil, tasks: tasks, contentSeed: 3)
        let expected = try #require(Self.end(large)[whole])
        #expect(expected.map(\.id) == tasks.map(\.id))
        for batch in [1, 2] {
            let answerer = try makeAnswerer(batch: batch)
            let job = try answerer.submit(image: nil, tasks: tasks, contentSeed: 3)
            #expect(!answerer.hasRoom)
            #expect(Self.end(answerer) == [job: expected])
            #expect(answerer.hasRoom)

            let dropped = try answerer.submit(image: nil, tasks: tasks, contentSeed: 3)
            let kept = try answerer.submit(image: nil, tasks: Array(tasks.prefix(5)), contentSeed: 3)
            let ended = (0..<20).reduce(0) { count, _ in count + answerer.step().count }
            #expect(ended == 0)
            answerer.cancel(dropped)
            #expect(Self.end(answerer) == [kept: Array(expected.prefix(5))])
            #expect(answerer.hasRoom)
        }
    }
}
