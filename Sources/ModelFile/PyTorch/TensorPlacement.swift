// A pickled tensor held against its storage: no index that its shape and strides can form may lie outside.

import Diagnostics

/// Checks of shapes and strides.
enum TensorPlacement {
    /// The table entry of a tensor whose storage stands at `storage` in the file.
    ///
    /// - Throws: `model_invalid` when the tensor reaches beyond its storage; `model_unsupported` when it repeats it.
    static func entry(
        _ name: String, _ tensor: PickleTensor, storage: Range<Int>, path: String
    ) throws(Failure) -> TensorEntry {
        func invalid(_ cause: String) -> Failure {
            Failure(.modelInvalid, "\(path): tensor \(name)", cause, hint: "Copy the file again.")
        }
        let type = tensor.storage.type
        guard tensor.shape.count == tensor.strides.count, tensor.offset >= 0,
            tensor.strides.allSatisfy({ $0 >= 0 }),
            let count = ElementType.elementCount(shape: tensor.shape)
        else {
            throw invalid(
                "has the impossible shape \(tensor.shape) with strides \(tensor.strides) and offset \(tensor.offset)")
        }
        let available = tensor.storage.elementCount
        guard count > 0 else {
            return TensorEntry(
                name: name, type: type, shape: tensor.shape, byteRange: storage.lowerBound..<storage.lowerBound)
        }
        guard let last = lastIndex(tensor), last < available else {
            throw invalid(
                "with shape \(tensor.shape), strides \(tensor.strides) and offset \(tensor.offset) reaches beyond its "
                    + "storage of \(available) elements")
        }
        guard count <= available else {
            throw Failure(
                .modelUnsupported, "\(path): tensor \(name)",
                "has \(count) elements over a storage of \(available)", hint: "Save it as contiguous().")
        }
        let start = storage.lowerBound + tensor.offset * type.blockBytes
        return TensorEntry(
            name: name, type: type, shape: tensor.shape, strides: isContiguous(tensor) ? nil : tensor.strides,
            byteRange: start..<storage.lowerBound + (last + 1) * type.blockBytes)
    }

    /// The largest index that a tensor with elements can form; nil when it does not fit in an `Int`.
    private static func lastIndex(_ tensor: PickleTensor) -> Int? {
        var last = tensor.offset
        for (dimension, stride) in zip(tensor.shape, tensor.strides) {
            let (reach, overflow) = (dimension - 1).multipliedReportingOverflow(by: stride)
            let (sum, carry) = last.addingReportingOverflow(reach)
            guard !overflow, !carry else { return nil }
            last = sum
        }
        return last
    }

    /// Whether the elements stand in row-major order without gaps; strides of single steps do not matter.
    private static func isContiguous(_ tensor: PickleTensor) -> Bool {
        var expected = 1
        for (dimension, stride) in zip(tensor.shape, tensor.strides).reversed() where dimension > 1 {
            guard stride == expected else { return false }
            expected *= dimension
        }
        return true
    }
}
