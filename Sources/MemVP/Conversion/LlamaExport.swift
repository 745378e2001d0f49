// A bundle's language.gguf becomes a `llama` GGUF that other programs run: packed panels back in rows, fused matrices
// taken apart, weights in Q8_0, the tokenizer's keys as they came.
//
// Invariant: an int8 row keeps its integers, only its scale is rounded to binary16, so what is exported from an import
// of an export is the same file. The memory and the adapters stay behind: other programs have no MemVP.

internal import Diagnostics
internal import Language
internal import ModelFile
internal import Tensor

/// Exports the language model.
struct LlamaExport {
    /// ggml's `general.file_type` of files that are mostly Q8_0.
    private static let mostlyQ8: UInt32 = 7

    private let source: GGUFFile
    private let precision: Precision
    private let parts: [Part]

    /// What one tensor, or one packed matrix, of the bundle becomes.
    private enum Part {
        /// float32 under the same name. [count]
        case vector(String, count: Int)
        /// The packed matrix `name` [rows, columns] holds `tensors`.
        case matrix(String, rows: Int, columns: Int, tensors: [Share])
    }

    /// A tensor inside a packed matrix.
    private struct Share {
        let name: String
        let rows: Int
        /// Where a row of the tensor stands in the matrix.
        let place: (Int) -> Int
    }

    /// A packed matrix in rows.
    private enum Rows {
        case integers([Int8], scales: [Float])
        case floats([Float])
    }

    /// Reads what `source`, a bundle's language.gguf, holds.
    ///
    /// - Throws: `model_unsupported` for another architecture, `model_invalid`.
    init(_ source: GGUFFile) throws(Failure) {
        let architecture = try source.string("general.architecture")
        guard architecture == LlamaConfiguration.architecture else {
            throw Failure(
                .modelUnsupported, source.path, "has the architecture \(architecture)",
                hint: "Language models of our own bundles are exported.")
        }
        let name = try source.string("memvpd.precision")
        guard let precision = Precision(rawValue: name) else {
            throw Failure(.modelInvalid, "\(source.path): memvpd.precision", "is \(name)")
        }
        self.source = source
        self.precision = precision
        let configuration = try LlamaConfiguration(
            source, vocabulary: source.integer("llama.vocab_size"), precision: precision)
        parts = Self.parts(configuration, hasOutput: source.has(tensor: "output.weight"))
    }

    /// Writes `target`.
    ///
    /// - Throws: the reader's and the writer's failures; `model_unsupported` for values that Q8_0 cannot hold.
    func write(to target: String, progress: (Double) -> Void) throws(Failure) {
        let writer = try GGUFWriter(path: target, metadata: try metadata(), tensors: parts.flatMap(declarations))
        for (index, part) in parts.enumerated() {
            try write(part, to: writer)
            progress(Double(index + 1) / Double(parts.count))
        }
        try writer.finish()
    }

    private func metadata() throws(Failure) -> [(String, GGUFValue)] {
        var metadata: [(String, GGUFValue)] = [
            ("general.architecture", .string("llama")),
            ("general.name", .string(try source.string("general.name"))),
            ("general.file_type", .uint32(Self.mostlyQ8)),
            ("general.quantization_version", .uint32(2)),
        ]
        for (key, value) in source.metadata where LlamaConversion.keptPrefixes.contains(where: key.hasPrefix) {
            metadata.append((key, value))
        }
        return metadata
    }

    // MARK: Tensors

    private static func parts(_ c: LlamaConfiguration, hasOutput: Bool) -> [Part] {
        func whole(_ name: String, _ rows: Int, _ columns: Int) -> Part {
            .matrix(
                name, rows: rows, columns: columns,
                tensors: [Share(name: "\(name).weight", rows: rows, place: { $0 })])
        }
        let queries = c.attention.queryWidth
        let keys = c.attention.keyValueWidth
        var parts = [whole("token_embd", c.vocabulary, c.width)]
        for layer in 0..<c.layers {
            let name = "blk.\(layer)"
            parts += [
                .vector("\(name).attn_norm.weight", count: c.width),
                .matrix(
                    "\(name).attn_qkv", rows: c.attention.totalWidth, columns: c.width,
                    tensors: [
                        Share(name: "\(name).attn_q.weight", rows: queries, place: { $0 }),
                        Share(name: "\(name).attn_k.weight", rows: keys, place: { queries + $0 }),
                        Share(name: "\(name).attn_v.weight", rows: keys, place: { queries + keys + $0 }),
                    ]),
                whole("\(name).attn_output", c.width, queries),
                .vector("\(name).ffn_norm.weight", count: c.width),
                // Panels of 16 rows of gate and up alternate (`LlamaPlan.interleave`).
                .matrix(
                    "\(name).ffn_gate_up", rows: 2 * c.hidden, columns: c.width,
                    tensors: [
                        Share(name: "\(name).ffn_gate.weight", rows: c.hidden, place: { $0 / 16 * 32 + $0 % 16 }),
                        Share(name: "\(name).ffn_up.weight", rows: c.hidden, place: { $0 / 16 * 32 + 16 + $0 % 16 }),
                    ]),
                whole("\(name).ffn_down", c.width, c.hidden),
            ]
        }
        parts.append(.vector("output_norm.weight", count: c.width))
        if hasOutput { parts.append(whole("output", c.vocabulary, c.width)) }
        return parts
    }

    /// Rows that do not divide into blocks of 32 stay float32.
    private static func isBlocked(_ columns: Int) -> Bool { columns % Q8Encoding.blockElements == 0 }

    private func declarations(_ part: Part) -> [TensorDeclaration] {
        switch part {
        case .vector(let name, let count): return [TensorDeclaration(name: name, type: .float32, shape: [count])]
        case .matrix(_, _, let columns, let tensors):
            let type: ElementType = Self.isBlocked(columns) ? .q8_0 : .float32
            return tensors.map { TensorDeclaration(name: $0.name, type: type, shape: [$0.rows, columns]) }
        }
    }

    private func write(_ part: Part, to writer: GGUFWriter) throws(Failure) {
        switch part {
        case .vector(let name, let count):
            let values = try source.floats(of: source.required(name, .float32, [count]))
            try writer.write(values.span)
        case .matrix(let name, let rows, let columns, let tensors):
            let values = try unpacked(name, rows: rows, columns: columns)
            for tensor in tensors {
                if Self.isBlocked(columns) {
                    let bytes = try Self.blocks(of: tensor, in: values, columns: columns)
                    try writer.write(bytes.span)
                } else {
                    let floats = Self.floats(of: tensor, in: values, columns: columns)
                    try writer.write(floats.span)
                }
            }
        }
    }

    private func unpacked(_ name: String, rows: Int, columns: Int) throws(Failure) -> Rows {
        guard precision == .int8 else {
            return .floats(try source.unpackedFloats(name, rows: rows, columns: columns))
        }
        let (values, scales) = try source.unpackedIntegers(name, rows: rows, columns: columns)
        return .integers(values, scales: scales)
    }

    private static func blocks(of tensor: Share, in values: Rows, columns: Int) throws(Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(tensor.rows * columns / 32 * ElementType.q8_0.blockBytes)
        for row in 0..<tensor.rows {
            let place = tensor.place(row)
            let range = place * columns..<(place + 1) * columns
            switch values {
            case .integers(let values, let scales):
                try Q8Encoding.append(values[range], scale: scales[place], to: &bytes, name: tensor.name)
            case .floats(let values): try Q8Encoding.append(values[range], to: &bytes, name: tensor.name)
            }
        }
        return bytes
    }

    private static func floats(of tensor: Share, in values: Rows, columns: Int) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(tensor.rows * columns)
        for row in 0..<tensor.rows {
            let place = tensor.place(row)
            let range = place * columns..<(place + 1) * columns
            switch values {
            case .integers(let values, let scales): result += values[range].map { Float($0) * scales[place] }
            case .floats(let values): result += values[range]
            }
        }
        return result
    }
}
