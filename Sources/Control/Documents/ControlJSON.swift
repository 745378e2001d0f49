// How documents become JSON and come back: one encoder setting for daemon and memvpctl.
//
// Invariants: keys are sorted and slashes stay, so equal documents are equal bytes; members that a reader does not know are
// ignored, so an older memvpctl reads a newer daemon.

public import Diagnostics
import FoundationEssentials

/// Encodes and decodes the documents of docs/CONTROL.md.
public enum ControlJSON {
    /// One line of JSON, ended by a line feed: also a line of JSON Lines.
    ///
    /// - Throws: `internal_error` when a value has no JSON form, such as a number that is not finite.
    public static func encode(_ document: some Encodable) throws(Failure) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do { return Array(try encoder.encode(document)) + [UInt8(ascii: "\n")] } catch {
            throw Failure(.internalError, "\(type(of: document))", "has no JSON form: \(error)")
        }
    }

    /// A document from JSON.
    ///
    /// - Throws: `protocol_violation` when it is not that document.
    public static func decode<Document: Decodable>(_ type: Document.Type, from bytes: [UInt8]) throws(Failure)
        -> Document
    {
        do { return try JSONDecoder().decode(type, from: Data(bytes)) } catch {
            throw Failure(
                .protocolViolation, "\(type)", "the daemon's answer does not have this form: \(Self.explain(error))",
                hint: "memvpd and memvpctl may be of different versions: compare memvpctl --version with status.")
        }
    }

    private static func explain(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return "\(error)" }
        let (context, what): (DecodingError.Context, String) =
            switch error {
            case .keyNotFound(let key, let context): (context, "there is no \(key.stringValue)")
            case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
                (context, context.debugDescription)
            @unknown default: (DecodingError.Context(codingPath: [], debugDescription: ""), "\(error)")
            }
        let path = context.codingPath.map(\.stringValue).joined(separator: ".")
        return path.isEmpty ? what : "\(path): \(what)"
    }
}
