// The images of a batch as the decoder sees them, with their gradients: memories, or image tokens before the text
// (`Adapter.Prompting`). Either is made of rows V + E, so the projector fills both alike.

internal import MemVP
internal import Tensor

/// Images of up to `capacity` sequences.
enum VisualBank {
    /// Rows of every feed-forward layer.
    case memory(MemoryBank)
    /// Rows of x₀.
    case tokens(ImageTokenBank)

    /// Room for `capacity` images under an adapter.
    init(_ c: Adapter.Configuration, capacity: Int) {
        switch c.prompting {
        case .memory: self = .memory(MemoryBank(capacity: capacity, slots: c.slots, width: c.width))
        case .input: self = .tokens(ImageTokenBank(capacity: capacity, slots: c.slots, width: c.width))
        }
    }

    /// Images there is room for.
    var capacity: Int {
        switch self {
        case .memory(let bank): bank.capacity
        case .tokens(let bank): bank.capacity
        }
    }

    /// Rows that stand before each sequence's text.
    var imageTokens: Int {
        guard case .tokens(let bank) = self else { return 0 }
        return bank.slots
    }

    /// What stands before the text of sequence `entry`.
    func inputs(_ entry: Int) -> [InputRow] {
        guard case .tokens(let bank) = self else { return [] }
        return (entry * bank.slots..<(entry + 1) * bank.slots).map { .embedding(bank.rows, row: $0) }
    }

    /// What the projector fills, with the gradients that it takes back; in the order of `TrainableAdapter.embeddings`.
    /// [capacity · slots, width]
    var projections: [(rows: FloatRows, gradients: FloatRows)] {
        switch self {
        case .memory(let bank): [(bank.keys, bank.keyGradients), (bank.values, bank.valueGradients)]
        case .tokens(let bank): [(bank.rows, bank.gradients)]
        }
    }

    /// Completes the first `count` images once their rows are there, and clears their gradients.
    ///
    /// - Parameter rounded: memories as int8 serving packs them; image tokens are float32 there too.
    func finish(_ count: Int, rounded: Bool, compute: Compute) {
        switch self {
        case .memory(let bank): bank.finish(count, rounded: rounded, compute: compute)
        case .tokens(let bank): compute.clear(bank.gradients, rows: count * bank.slots)
        }
    }
}

/// Image tokens of up to `capacity` sequences: entry b owns rows b · slots ..< (b + 1) · slots.
final class ImageTokenBank {
    let capacity: Int
    let slots: Int
    /// V + E₁. [capacity · slots, width]
    let rows: FloatRows
    /// ∂L/∂rows. [capacity · slots, width]
    let gradients: FloatRows

    init(capacity: Int, slots: Int, width: Int) {
        self.capacity = capacity
        self.slots = slots
        rows = FloatRows(capacity: capacity * slots, columns: width)
        gradients = FloatRows(capacity: capacity * slots, columns: width)
    }
}
