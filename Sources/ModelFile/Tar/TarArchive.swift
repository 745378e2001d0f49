// Reads tar archives of regular files: ustar (POSIX.1-1988), with the headers that tar(1) programs of today put around it.
//
// Invariants: names are relative, without steps upwards, and there once each; every file's bytes lie in the archive. Nothing is
// allocated beyond a small multiple of the headers. Failure modes: `model_invalid` for damage and for names that lead out
// of a directory, `model_unsupported` for compression and for entries that are no files.

public import Diagnostics
public import Tensor

/// A tar archive, mapped; its headers are read at once.
public final class TarArchive: Sendable {
    /// A regular file in the archive.
    public struct Entry: Sendable, Equatable {
        /// Its path, parts joined by slashes.
        public let name: String
        /// Where its bytes stand in the archive.
        public let range: Range<Int>
    }

    /// The mapped archive.
    public let mapping: MappedFile
    /// The regular files in the archive's order.
    public let entries: [Entry]

    /// The most entries that are read, directories included.
    static let limit = 4_096
    /// Bytes of an extended header at most: it is copied, and those of tar(1) have some hundreds.
    static let largestExtension = 1 << 20

    /// Opens an archive and checks all of its headers.
    ///
    /// - Throws: `model_missing`, `permission_denied` or `input_output` when it cannot be opened; `model_invalid`,
    ///   `model_unsupported`.
    public init(path: String) throws(Failure) {
        let mapping = try MappedFile(path: path)
        var parser = TarParser(mapping.bytes, path: path)
        try parser.run()
        self.mapping = mapping
        entries = parser.entries
    }

    /// A file's bytes, copied.
    public func copy(_ entry: Entry) -> [UInt8] {
        let mapping = mapping
        return mapping.bytes.copy(entry.range)
    }
}

/// Goes through the blocks of an archive.
private struct TarParser: ~Escapable {
    private static let block = 512

    var entries: [TarArchive.Entry] = []
    private var cursor: ByteCursor
    private var names: Set<String> = []
    private var count = 0

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan, path: String) {
        cursor = ByteCursor(bytes, path: path, part: "archive")
    }

    mutating func run() throws(Failure) {
        try refuseCompression()
        while true {
            cursor.part = "archive"
            guard cursor.remaining >= Self.block else {
                throw cursor.invalid("ends without the two empty blocks that close an archive: it was cut short")
            }
            let block = try cursor.take(Self.block)
            let header = cursor.bytes.copy(block)
            if header.allSatisfy({ $0 == 0 }) { return }
            count += 1
            guard count <= TarArchive.limit else { throw cursor.invalid("has more than \(TarArchive.limit) entries") }
            try readEntry(header)
        }
    }

    private func refuseCompression() throws(Failure) {
        let magics: [(bytes: [UInt8], program: String)] = [
            ([0x1f, 0x8b], "gunzip"), ([0x28, 0xb5, 0x2f, 0xfd], "unzstd"), ([0xfd, 0x37, 0x7a], "unxz"),
            ([0x42, 0x5a, 0x68], "bunzip2"),
        ]
        for (magic, program) in magics
        where cursor.remaining >= magic.count && cursor.bytes.copy(0..<magic.count) == magic {
            throw cursor.unsupported("is compressed", hint: "Unpack it with \(program) first.")
        }
    }

    private mutating func readEntry(_ header: [UInt8]) throws(Failure) {
        guard Array(header[257..<262]) == Array("ustar".utf8) else {
            throw cursor.invalid("has no tar header at byte \(cursor.position - Self.block)")
        }
        // The sum of all bytes, those of the sum itself taken for spaces.
        let sum = header.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 32 : Int($1.element)) }
        guard octal(header[148..<156]) == sum else {
            throw cursor.invalid("has a damaged header at byte \(cursor.position - Self.block)")
        }
        let name = try self.name(header)
        cursor.part = "entry \(Self.shown(name))"
        guard let size = octal(header[124..<136]) else {
            throw cursor.invalid("has a size that is no octal number")
        }
        let range = try cursor.take(size)
        // The padding of the last file may be missing only if the archive is cut short, which the next header shows.
        _ = try cursor.take(min(cursor.remaining, (Self.block - size % Self.block) % Self.block))
        try place(name, type: header[156], range)
    }

    /// Notes a file; passes over directories and over headers that say nothing about names and sizes.
    private mutating func place(_ name: [UInt8], type: UInt8, _ range: Range<Int>) throws(Failure) {
        switch type {
        case UInt8(ascii: "0"), 0, UInt8(ascii: "7"):
            let name = try path(name)
            guard !name.isEmpty else { throw cursor.invalid("has an empty name") }
            guard names.insert(name).inserted else { throw cursor.invalid("is there twice") }
            entries.append(TarArchive.Entry(name: name, range: range))
        case UInt8(ascii: "5"):
            _ = try path(name)
            guard range.isEmpty else { throw cursor.invalid("is a directory with \(range.count) bytes") }
        case UInt8(ascii: "x"), UInt8(ascii: "g"): try readExtension(range)
        case UInt8(ascii: "1"), UInt8(ascii: "2"):
            throw cursor.unsupported("is a link", hint: "Pack regular files only: memvp models pack.")
        case UInt8(ascii: "3"), UInt8(ascii: "4"), UInt8(ascii: "6"):
            throw cursor.unsupported("is a device or a FIFO", hint: "Pack regular files only: memvp models pack.")
        default:
            throw cursor.unsupported(
                "is of the type \(Self.shown([type]))", hint: "Pack with memvp models pack, or tar --format=ustar.")
        }
    }

    /// A pax header may tell times and owners; one that renames or resizes the next entry would go past the checks here.
    private func readExtension(_ range: Range<Int>) throws(Failure) {
        guard range.count <= TarArchive.largestExtension else {
            throw cursor.invalid(
                "is an extended header of \(range.count) bytes; at most \(TarArchive.largestExtension) are read")
        }
        var rest = cursor.bytes.copy(range)[...]
        while !rest.isEmpty {
            guard let space = rest.firstIndex(of: 32),
                let length = Int(String(decoding: rest[..<space], as: UTF8.self)),
                length > space - rest.startIndex, length <= rest.count
            else { throw cursor.invalid("is a damaged extended header") }
            let record = rest[(space + 1)..<(rest.startIndex + length)]
            let key = String(decoding: record.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)
            if ["path", "linkpath", "size", "hdrcharset"].contains(key) || key.hasPrefix("GNU.sparse") {
                throw cursor.unsupported(
                    "has the extended header \(key)", hint: "Pack with memvp models pack, or tar --format=ustar.")
            }
            rest = rest[(rest.startIndex + length)...]
        }
    }

    // MARK: Fields

    private func name(_ header: [UInt8]) throws(Failure) -> [UInt8] {
        let name = Array(header[0..<100].prefix { $0 != 0 })
        // The old GNU format keeps times where ustar has a prefix.
        guard header[262] == 0 else { return name }
        let prefix = Array(header[345..<500].prefix { $0 != 0 })
        return prefix.isEmpty ? name : prefix + [UInt8(ascii: "/")] + name
    }

    /// A relative path without empty parts and steps upwards; `./` before it and a slash behind it are left out.
    private func path(_ bytes: [UInt8]) throws(Failure) -> String {
        guard let text = String(validating: bytes, as: UTF8.self),
            text.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 })
        else { throw cursor.invalid("has a name that is not printable UTF-8") }
        guard !text.hasPrefix("/") else { throw cursor.invalid("has an absolute name") }
        var parts = text.split(separator: "/", omittingEmptySubsequences: false)[...]
        while parts.first == "." { parts.removeFirst() }
        if parts.last == "" { parts.removeLast() }
        guard !parts.contains("..") else { throw cursor.invalid("has a name that leads upwards") }
        guard parts.allSatisfy({ !$0.isEmpty && $0 != "." }) else {
            throw cursor.invalid("has an empty part in its name")
        }
        return parts.joined(separator: "/")
    }

    /// An octal number between spaces, ended by a space or NUL; nil for anything else.
    private func octal(_ field: ArraySlice<UInt8>) -> Int? {
        let digits = field.drop { $0 == 32 }.prefix { $0 != 32 && $0 != 0 }
        guard !digits.isEmpty, digits.allSatisfy({ (48...55).contains($0) }) else { return nil }
        return digits.reduce(0) { $0 << 3 | Int($1 - 48) }
    }

    /// Foreign bytes for a message.
    private static func shown(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.prefix(100), as: UTF8.self).unicodeScalars.map { $0.escaped(asASCII: false) }.joined()
    }
}
