// How an image reaches the language model: as memory of every feed-forward layer (MemVP), or as tokens of the input sequence,
// which is what the paper compares it with (arXiv 2405.05615, section 4).
//
//     memory:  FFN(x) + s · SiLU( x (V + E₁)ᵀ ) (V + E₂)        input:  x₀ = [ V + E₁ ; embed(prompt) ]
//
// An adapter says which (`Adapter.Prompting`); what follows from it travels with the image as a `VisualPrompt`.

public import Tensor

extension Adapter {
    /// Where an adapter's image tokens go. The raw value stands in adapter files and on the command line.
    public enum Prompting: String, Sendable, Codable, CaseIterable {
        /// Into the weights of every feed-forward layer.
        case memory
        /// Into the input sequence, before the prompt; E₁ is then their position embedding, and there is no E₂.
        case input
    }
}

extension Adapter.Configuration {
    /// Memory rows of an image in every feed-forward layer.
    public var memorySlots: Int { prompting == .memory ? slots : 0 }
    /// Positions that an image takes in the sequence.
    public var imageTokens: Int { prompting == .input ? slots : 0 }
}

/// One image (or none) under one adapter, ready for the decoder.
public enum VisualPrompt {
    /// Extra rows of every feed-forward layer.
    case memory(FeedForwardMemory)
    /// Image tokens before the prompt's. [slots, width]
    case tokens(FloatRows)

    /// What feed-forward layers see of it.
    public var memory: FeedForwardMemory? {
        guard case .memory(let memory) = self else { return nil }
        return memory
    }

    /// Positions that it takes in the sequence.
    var inputTokens: Int {
        guard case .tokens(let rows) = self else { return 0 }
        return rows.capacity
    }

    /// What a sequence begins with: image tokens, if the image has such, then the prompt.
    public static func inputs(_ image: VisualPrompt?, before prompt: some Collection<Int32>) -> [InputRow] {
        let text = prompt.map { InputRow.token($0) }
        guard case .tokens(let rows) = image else { return text }
        return (0..<rows.capacity).map { .embedding(rows, row: $0) } + text
    }

    /// Whether both are the same object, so that sequences may share what was computed of it.
    static func areOne(_ a: VisualPrompt?, _ b: VisualPrompt?) -> Bool {
        switch (a, b) {
        case (.memory(let a), .memory(let b)): a === b
        case (.tokens(let a), .tokens(let b)): a === b
        case (nil, nil): true
        default: false
        }
    }
}
