// The memories of a batch: key and value rows of each sequence's image, in both orders, with their gradients.
//
// Invariant: entry b owns rows b · slots ..< (b + 1) · slots of what has a row a slot, and rows b · width ..< (b + 1) · width of
// what is transposed. Columns beyond `slots` of transposed rows are zero, so padded products add nothing.

internal import Tensor

/// Memories of up to `capacity` sequences.
final class MemoryBank {
    let capacity: Int
    let slots: Int
    let width: Int

    /// V + E₁. [capacity · slots, width]
    let keys: FloatRows
    /// (V + E₁)ᵀ. [capacity · width, slots]
    let keysTransposed: FloatRows
    /// s · (V + E₂). [capacity · slots, width]
    let values: FloatRows
    /// (s · (V + E₂))ᵀ. [capacity · width, slots]
    let valuesTransposed: FloatRows
    /// ∂L/∂keys. [capacity · slots, width]
    let keyGradients: FloatRows
    /// ∂L/∂values. [capacity · slots, width]
    let valueGradients: FloatRows

    init(capacity: Int, slots: Int, width: Int) {
        self.capacity = capacity
        self.slots = slots
        self.width = width
        keys = FloatRows(capacity: capacity * slots, columns: width)
        keysTransposed = FloatRows(capacity: capacity * width, columns: slots)
        values = FloatRows(capacity: capacity * slots, columns: width)
        valuesTransposed = FloatRows(capacity: capacity * width, columns: slots)
        keyGradients = FloatRows(capacity: capacity * slots, columns: width)
        valueGradients = FloatRows(capacity: capacity * slots, columns: width)
    }

    /// Completes the first `count` entries from `keys` and `values`: rounds them as serving packs them (keys by slot, values by
    /// output feature) where `rounded`, transposes, and clears the gradients.
    func finish(_ count: Int, rounded: Bool, compute: Compute) {
        if rounded { compute.roundToInt8(keys, row: 0, rows: count * slots) }
        for entry in 0..<count {
            compute.transpose(keys, row: entry * slots, rows: slots, into: keysTransposed, row: entry * width)
            compute.transpose(values, row: entry * slots, rows: slots, into: valuesTransposed, row: entry * width)
        }
        if rounded {
            compute.roundToInt8(valuesTransposed, row: 0, rows: count * width)
            for entry in 0..<count {
                compute.transpose(
                    valuesTransposed, row: entry * width, rows: width, into: values, row: entry * slots)
            }
        }
        compute.clear(keyGradients, rows: count * slots)
        compute.clear(valueGradients, rows: count * slots)
    }
}
