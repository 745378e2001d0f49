// The messages of sentencepiece_model.proto: ModelProto, its SentencePiece, TrainerSpec and NormalizerSpec. Field numbers
// are the proto file's; fields that do not matter here are passed over.

import Diagnostics

extension SentencePieceModel {
    /// Parses a whole file's bytes.
    init(parsing bytes: RawSpan, path: String) throws(Failure) {
        var text: [UInt8] = []
        var ends: [Int] = []
        pieces = ByteStrings([[UInt8]]())
        var reader = ProtobufReader(bytes, 0..<bytes.byteCount, path: path, part: "model")
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let range)):
                let part = ProtobufReader(bytes, range, path: path, part: "piece \(types.count)")
                let piece = try readPiece(part)
                bytes.append(piece, to: &text)
                ends.append(text.count)
            case (2, .bytes(let range)):
                try readTrainer(ProtobufReader(bytes, range, path: path, part: "trainer_spec"))
            case (3, .bytes(let range)):
                try readNormalizer(ProtobufReader(bytes, range, path: path, part: "normalizer_spec"), bytes)
            case (1...3, _): throw reader.cursor.invalid("has field \(field.number) of another wire type")
            default: break
            }
        }
        guard let stored = ByteStrings(bytes: text, ends: ends), stored.count > 0 else {
            throw reader.cursor.invalid("has no pieces")
        }
        pieces = stored
        try checkIdentifiers(reader.cursor)
    }

    /// Reads one piece's score and type; the result is where its text stands.
    private mutating func readPiece(_ message: consuming ProtobufReader) throws(Failure) -> Range<Int> {
        var reader = message
        var text = 0..<0
        var score: Float = 0
        var type = PieceType.normal
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let range)): text = range
            case (2, .fixed32(let bits)): score = Float(bitPattern: bits)
            case (3, .varint(let number)):
                guard let known = PieceType(rawValue: Int32(clamping: number)) else {
                    throw reader.cursor.unsupported("is of type \(number)", hint: "Types 1 to 6 are read.")
                }
                type = known
            case (1...3, _): throw reader.cursor.invalid("has field \(field.number) of another wire type")
            default: break
            }
        }
        guard !text.isEmpty, score.isFinite else { throw reader.cursor.invalid("has no text or no finite score") }
        scores.append(score)
        types.append(type)
        return text
    }

    private mutating func readTrainer(_ message: consuming ProtobufReader) throws(Failure) {
        var reader = message
        while let field = try reader.next() {
            guard case .varint(let number) = field.value else { continue }
            switch field.number {
            case 3:
                guard let known = Algorithm(rawValue: Int(clamping: number)) else {
                    throw reader.cursor.unsupported("has the model type \(number)", hint: "Types 1 to 4 are read.")
                }
                algorithm = known
            case 24: whitespaceIsSuffix = number != 0
            case 25: splitDigits = number != 0
            case 35: byteFallback = number != 0
            case 40: unknownID = SentencePieceModel.identifier(number)
            case 41: beginID = SentencePieceModel.identifier(number)
            case 42: endID = SentencePieceModel.identifier(number)
            case 43: paddingID = SentencePieceModel.identifier(number)
            default: break
            }
        }
    }

    private mutating func readNormalizer(_ message: consuming ProtobufReader, _ bytes: RawSpan) throws(Failure) {
        var reader = message
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let range)):
                guard let name = String(validating: bytes.copy(range), as: UTF8.self) else {
                    throw reader.cursor.invalid("has a name that is not UTF-8")
                }
                normalizer = name
            case (2, .bytes(let range)): hasCharacterMap = !range.isEmpty
            case (3, .varint(let number)): addsDummyPrefix = number != 0
            case (4, .varint(let number)): removesExtraWhitespace = number != 0
            case (5, .varint(let number)): escapesWhitespace = number != 0
            default: break
            }
        }
    }

    /// The special ids are pieces of this model, or −1; the unknown token must be one.
    private func checkIdentifiers(_ cursor: ByteCursor) throws(Failure) {
        for (name, id) in [("unk_id", unknownID), ("bos_id", beginID), ("eos_id", endID), ("pad_id", paddingID)]
        where id >= pieces.count || id < (name == "unk_id" ? 0 : -1) {
            throw cursor.invalid("has \(name) \(id), but \(pieces.count) pieces")
        }
    }

    /// An int32 as protobuf stores it: sign-extended to 64 bits.
    private static func identifier(_ number: UInt64) -> Int { Int(Int32(truncatingIfNeeded: number)) }
}
