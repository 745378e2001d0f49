// Owned, 64-byte aligned memory for activations, caches and packed weights.
//
// Invariant: `count` elements at `base`, initialised to zero, freed once in deinit. Not Sendable by itself: state belongs
// to one worker; what is shared between workers (`WeightMatrix`) is written before it is shared and never after.

import Glibc

/// Bytes from which on memory comes from the system by itself and goes back to it whole. Caches of sequences come and go among small
/// objects that stay: from the heap they would leave holes that grow with the order of things (docs/BENCHMARKS.md).
private let mappedFrom = 1 << 20

/// A fixed number of trivial values in 64-byte aligned memory, zero at first.
@safe public final class AlignedStorage<Element: BitwiseCopyable> {
    /// How many elements there are.
    public let count: Int
    /// The first element; only Tensor's own kernel calls use it.
    let base: UnsafeMutablePointer<Element>
    private let mappedBytes: Int  // 0: of the heap

    /// Allocates `count` zero elements (at least one cache line).
    public init(count: Int) {
        let bytes = max(64, (count * MemoryLayout<Element>.stride + 63) / 64 * 64)
        // Running out of memory here is not an input error: sizes were bounded when the model and the limits were read.
        var mapped: UnsafeMutableRawPointer?
        if bytes >= mappedFrom {
            unsafe mapped = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            if unsafe mapped == MAP_FAILED { unsafe mapped = nil }
        }
        let raw: UnsafeMutableRawPointer
        if let mapped = unsafe mapped {
            unsafe (raw, mappedBytes) = (mapped, bytes)
        } else {
            unsafe raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
            unsafe memset(raw, 0, bytes)
            mappedBytes = 0
        }
        unsafe base = raw.bindMemory(to: Element.self, capacity: bytes / MemoryLayout<Element>.stride)
        self.count = count
    }

    /// A copy of `values`.
    public convenience init(_ values: [Element]) {
        self.init(count: values.count)
        for (index, value) in values.enumerated() { unsafe base[index] = value }
    }

    deinit {
        guard mappedBytes > 0 else { return unsafe UnsafeMutableRawPointer(base).deallocate() }
        unsafe munmap(base, mappedBytes)
    }

    /// The elements, to read.
    public var span: Span<Element> {
        @_lifetime(borrow self)
        get {
            let span = unsafe Span(_unsafeStart: UnsafePointer(base), count: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The elements, to write: the closure is the only user meanwhile.
    public func withMutableSpan<Result>(_ body: (inout MutableSpan<Element>) -> Result) -> Result {
        var span = unsafe MutableSpan(_unsafeStart: base, count: count)
        return body(&span)
    }
}
