// Which examples each step takes: every epoch an order of its own, which follows from the seed.

/// The places of each step's examples.
struct BatchOrder {
    /// Examples that there are.
    let count: Int
    /// Examples a step.
    let batch: Int
    let seed: UInt64
    private var epoch: (number: Int, places: [Int]) = (-1, [])

    /// An order of `count` examples, at least 1.
    init(count: Int, batch: Int, seed: UInt64) {
        self.count = count
        self.batch = batch
        self.seed = seed
    }

    /// The places of step `step`, counted from 0; a step may reach into the next epoch.
    mutating func places(_ step: Int) -> [Int] {
        (step * batch..<(step + 1) * batch).map { position in
            let number = position / count
            if epoch.number != number {
                var random = TrainingRandom(seed: seed, stream: UInt64(number) + 1)
                epoch = (number, random.permutation(count))
            }
            return epoch.places[position % count]
        }
    }
}
