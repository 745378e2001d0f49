// What keeps an adapter from learning photos by heart: views in turn, channels left out.

import MemVP
import Tensor
import Testing
import Vision

@testable import FineTuning

@Suite("Augmentation")
struct AugmentationTests {
    private static let hash = ModelBundle.sha256(of: [1, 2, 3])

    @Test("views are the whole, its mirror image, then crops inside the photo, each with a key of its own")
    func views() {
        let views = (0..<8).map { PhotoViews.view($0, of: Self.hash) }
        #expect(views[0] == .whole)
        #expect(views[1] == PhotoView(isMirrored: true))
        #expect(views.map(\.isMirrored) == [false, true, false, true, false, true, false, true])
        for view in views[2...] {
            #expect((0.75...1).contains(view.width) && (0.75...1).contains(view.height))
            #expect(view.left >= 0 && view.left + view.width <= 1 && view.top >= 0 && view.top + view.height <= 1)
        }
        #expect(Set(views[2...].map(\.left)).count == 6)
        #expect(PhotoViews.view(3, of: Self.hash) == views[3])
        #expect(PhotoViews.view(3, of: ModelBundle.sha256(of: [9])) != views[3])
        let keys = (0..<8).map { PhotoViews.key($0, of: Self.hash) }
        #expect(keys[0] == Self.hash && Set(keys).count == 8 && keys.allSatisfy { $0.count == 64 })
    }

    @Test(
        "what says left or right is not shown mirrored",
        arguments: [
            ("what is on the Left side?", [0, 2]), ("right.", [0, 2]), ("a bright leftover", [0, 1, 2, 3]),
        ])
    func sides(text: String, fitting: [Int]) {
        var row = ExampleRow(image: "a.jpg", task: .caption(text))
        #expect(PhotoViews.fitting(4, row) == fitting)
        row.view = 3
        #expect(PhotoViews.fitting(4, row) == [3])
    }

    @Test("an example is seen in all its views, and as it is where it has none")
    func seen() {
        var random = TrainingRandom(seed: 3)
        let example = PreparedExample(tokens: [1, 2], promptCount: 1, photo: "a", views: ["a", "b", "c"])
        #expect(Set((0..<40).map { _ in example.seen(&random).photo }) == ["a", "b", "c"])
        #expect(PreparedExample(tokens: [1, 2], promptCount: 1, photo: "a").seen(&random).photo == "a")
    }

    @Test("a caption weighs as much as it has in common with the others of its photo")
    func consensus() {
        let rows: [(photo: String, task: ExampleRow.Task)] = [
            ("a", .caption("a dog runs on the grass")), ("b", .caption("two women talk at a table")),
            ("a", .caption("a brown dog runs on grass")), ("a", .caption("zebras everywhere today")),
            ("b", .caption("two women sit at a table")), ("c", .caption("a red car")),
            ("a", .question("is it a dog?", answer: "yes")),
        ]
        let weights = CaptionConsensus.weights(rows)
        #expect(weights[5] == 1 && weights[6] == 1)
        #expect(weights[3] == 0 && weights[0] > 0)
        let scored = [0, 1, 2, 3, 4].map { weights[$0] }
        #expect(abs(scored.reduce(0, +) / 5 - 1) < 1e-5)
        #expect(CaptionConsensus.weights([("a", .caption("x")), ("a", .caption("y"))]) == [1, 1])
    }

    @Test("each epoch has every place once, in an order of its own; a step may reach into the next")
    func order() {
        var order = BatchOrder(count: 7, batch: 3, seed: 4)
        let places = (0..<14).flatMap { order.places($0) }
        #expect(places.count == 42)
        let epochs = stride(from: 0, to: 42, by: 7).map { Array(places[$0..<$0 + 7]) }
        #expect(epochs.allSatisfy { $0.sorted() == Array(0..<7) })
        #expect(Set(epochs).count == 6)
        var later = BatchOrder(count: 7, batch: 3, seed: 4)
        #expect(later.places(5) == Array(places[15..<18]))
    }

    @Test("whole channels of a photo are left out, the others scaled up; the gradient passes where the value did")
    func dropout() {
        let (photos, patches, columns) = (["a", "b", "a"], 4, 400)
        func ones() -> FloatRows {
            let rows = FloatRows(capacity: photos.count * patches, columns: columns)
            let one = [Float](repeating: 1, count: columns)
            for row in 0..<photos.count * patches { rows.setRow(row, one.span) }
            return rows
        }
        let (features, gradient) = (ones(), ones())
        var dropout = FeatureDropout(rate: 0.25, seed: 1, step: 2)
        dropout.drop(features, photos: photos, patches: patches)
        dropout.apply(to: gradient, patches: patches)
        let rows = (0..<photos.count * patches).map { features.array(row: $0) }
        #expect(rows == (0..<photos.count * patches).map { gradient.array(row: $0) })
        for photo in photos.indices {
            let first = rows[photo * patches]
            #expect((1..<patches).allSatisfy { rows[photo * patches + $0] == first })
            let dropped = first.count { $0 == 0 }
            #expect((60...140).contains(dropped))
            #expect(first.allSatisfy { $0 == 0 || abs($0 - 4 / 3) < 1e-6 })
        }
        // One photo is seen in one way, wherever it stands.
        #expect(rows[0] != rows[patches] && rows[0] == rows[2 * patches])
        // The same step drops the same, another step or seed others, and without a rate nothing changes.
        func masked(_ rate: Float, _ step: Int, seed: UInt64 = 1) -> [Float] {
            let rows = ones()
            var dropout = FeatureDropout(rate: rate, seed: seed, step: step)
            dropout.drop(rows, photos: photos, patches: patches)
            return rows.array(row: 0)
        }
        #expect(masked(0.25, 2) == rows[0] && masked(0.25, 3) != rows[0])
        #expect(masked(0.25, 2, seed: 2) != rows[0])
        #expect(masked(0, 2) == [Float](repeating: 1, count: columns))
    }
}
