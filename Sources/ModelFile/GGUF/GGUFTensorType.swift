// ggml's tensor type numbers: those that are read, and the names of those that are refused.

/// The type numbers of tensors (`ggml_type`).
enum GGUFTensorType {
    /// The types that are read and written, with their numbers.
    static let supported: [(number: UInt32, type: ElementType)] = [
        (0, .float32), (1, .float16), (2, .q4_0), (3, .q4_1), (8, .q8_0), (24, .int8), (26, .int32), (30, .bfloat16),
    ]

    private static let refused: [UInt32: String] = [
        6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
        16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
        25: "I16", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
    ]

    /// The element type of a number that is read.
    static func element(_ number: UInt32) -> ElementType? { supported.first { $0.number == number }?.type }

    /// The number of an element type that GGUF has.
    static func number(_ type: ElementType) -> UInt32? { supported.first { $0.type == type }?.number }

    /// What to call a number in a message.
    static func name(_ number: UInt32) -> String { refused[number] ?? "number \(number)" }
}
