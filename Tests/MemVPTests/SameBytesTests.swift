// DESIGN 1 "Same bytes": a task's tokens and probabilities do not depend on threads, batch size or neighbours.

import Language
import MemVP
import Specification
import Tensor
import Testing
import Vision

@Suite("Same bytes")
struct SameBytesTests {
    /// The answers of one photo, bit for bit.
    static func hash(_ answers: [Answer]) -> RunHash {
        var hash = RunHash()
        for answer in answers {
            for token in answer.tokens { hash.add(UInt32(bitPattern: token)) }
            for value in [answer.confidence] + (answer.probabilities?.map(\.probability) ?? []) {
                hash.add(UInt32(truncatingIfNeeded: value.bitPattern))
                hash.add(UInt32(truncatingIfNeeded: value.bitPattern >> 32))
            }
        }
        return hash
    }

    static let tasks = [
        TaskSpec.Task(id: "caption", work: .caption(.caption)),
        TaskSpec.Task(
            id: "drawn",
            work: .caption(
                TaskSpec.Generation(maximumTokens: 12, sampling: .random(temperature: 0.8, topP: 0.9, seed: 7)))),
        TaskSpec.Task(
            id: "choice", work: .ask(question: "Is it a rocket?", answer: .choice(["yes", "no", "maybe not"]))),
    ]

    /// Answers `tasks` about the rocket, with `neighbours` other photos in flight.
    static func run(_ bundle: ModelBundle, kernels: Kernels, threads: Int, batch: Int, neighbours: Int) throws
        -> RunHash
    {
        let compute = try Compute(kernels: kernels, threads: threads)
        let answerer = try Answerer(bundle: bundle, compute: compute, batch: batch)
        let rocket = try bundle.prepare(photo: Fixture.bytes("rocket.jpg"))
        let other = try bundle.prepare(photo: Fixture.bytes("astronaut.jpg"))
        for index in 0..<neighbours {
            let question = String(repeating: "Who is this? ", count: index + 1)
            let task = TaskSpec.Task(
                id: "n", work: .ask(question: question, answer: .free(TaskSpec.Generation(maximumTokens: 3 + index))))
            _ = try answerer.submit(image: other, tasks: [task], contentSeed: UInt64(index))
        }
        let job = try answerer.submit(image: rocket, tasks: tasks, contentSeed: 1)
        while !answerer.isIdle {
            for ended in answerer.step() where ended.job == job { return hash(ended.answers.answers) }
        }
        throw EndedWithoutAnswer()
    }

    struct EndedWithoutAnswer: Error {}

    @Test(
        "threads, batch and neighbours change nothing, on every kernel path",
        .enabled(if: Bundles.exists(Bundles.int8), Comment(rawValue: Bundles.missing)))
    func sameBytes() throws {
        let bundle = try ModelBundle(path: Bundles.path(Bundles.int8), verify: false)
        for kernels in Kernels.available {
            // The scalar path is the slow reference: one comparison suffices there.
            let variants =
                kernels.name == "scalar" ? [(2, 16, 0)] : [(2, 1, 0), (1, 16, 3), (2, 4, 1), (2, 16, 15)]
            let alone = try Self.run(bundle, kernels: kernels, threads: 1, batch: 1, neighbours: 0)
            for (threads, batch, neighbours) in variants {
                let found = try Self.run(
                    bundle, kernels: kernels, threads: threads, batch: batch, neighbours: neighbours)
                #expect(found == alone, "\(kernels.name), \(threads) threads, batch \(batch), \(neighbours) neighbours")
            }
        }
    }

    @Test(
        "tasks of one job share a prefix and answer as if alone",
        .enabled(if: Bundles.exists(Bundles.int8), Comment(rawValue: Bundles.missing)))
    func sharedPrefix() throws {
        let bundle = try ModelBundle(path: Bundles.path(Bundles.int8), verify: false)
        let compute = try Compute(kernels: Kernels.choose(forced: nil), threads: 2)
        let answerer = try Answerer(bundle: bundle, compute: compute, batch: 16)
        let image = try bundle.prepare(photo: Fixture.bytes("rocket.jpg"))
        let questions = ["Is it a rocket?", "Is it a cat?", "Is it day?"].map {
            TaskSpec.Task(id: $0, work: .ask(question: $0, answer: .choice(["yes", "no"])))
        }
        func answers(_ tasks: [TaskSpec.Task]) throws -> [Answer] {
            _ = try answerer.submit(image: image, tasks: tasks, contentSeed: 0)
            while !answerer.isIdle { for ended in answerer.step() { return ended.answers.answers } }
            throw EndedWithoutAnswer()
        }
        let together = try answers(questions)
        let apart = try questions.flatMap { try answers([$0]) }
        #expect(together == apart)
        for answer in together {
            let sum = answer.probabilities?.reduce(0) { $0 + $1.probability } ?? 0
            #expect(abs(sum - 1) < 1e-9)
            #expect(answer.finish == "choice")
        }
    }
}
