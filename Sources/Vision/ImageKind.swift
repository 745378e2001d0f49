// Which kind of file some bytes are, by their first bytes; a name's extension is never believed.
//
// A file cut so short that only the start of JPEG's marker or of PNG's signature is left counts as that kind, so that it is
// called incomplete.

/// The kind of an image file, told from its signature.
public enum ImageKind: String, Sendable, CaseIterable {
    /// JPEG (ITU-T T.81): the marker SOI.
    case jpeg = "JPEG"
    /// Portable Network Graphics (RFC 2083, 3.1).
    case png = "PNG"
    /// Graphics Interchange Format, 87a and 89a.
    case gif = "GIF"
    /// WebP in its RIFF container (RFC 9649).
    case webp = "WebP"
    /// High Efficiency Image File Format with HEVC (ISO/IEC 23008-12).
    case heic = "HEIC"
    /// AV1 Image File Format.
    case avif = "AVIF"
    /// Tagged Image File Format, both byte orders; also most raw formats of cameras.
    case tiff = "TIFF"
    /// Windows bitmap.
    case bmp = "BMP"
    /// Text, whatever its name says.
    case text
    /// Anything else.
    case unknown

    /// Tells the kind of a file from its bytes.
    public init(sniffing bytes: [UInt8]) {
        let soi: [UInt8] = [0xFF, 0xD8]
        if bytes.starts(with: soi) || (!bytes.isEmpty && soi.starts(with: bytes)) {
            self = .jpeg
        } else if !bytes.isEmpty, ImageKind.pngSignature.starts(with: bytes) {
            self = .png
        } else if let kind = ImageKind.signatures.first(where: { bytes.starts(with: $0.bytes) })?.kind {
            self = kind
        } else if bytes.starts(with: "RIFF".utf8), bytes.dropFirst(8).starts(with: "WEBP".utf8) {
            self = .webp
        } else if bytes.dropFirst(4).starts(with: "ftyp".utf8) {
            self = ImageKind(brand: bytes.dropFirst(8).prefix(4))
        } else {
            self = ImageKind.isText(bytes) ? .text : .unknown
        }
    }

    private static let pngSignature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]

    private static let signatures: [(kind: ImageKind, bytes: [UInt8])] = [
        (.png, pngSignature),
        (.gif, Array("GIF87a".utf8)), (.gif, Array("GIF89a".utf8)),
        (.tiff, [0x49, 0x49, 0x2A, 0x00]), (.tiff, [0x4D, 0x4D, 0x00, 0x2A]),
        (.bmp, Array("BM".utf8)),
    ]

    /// The kind by the major brand of an ISO base media file (ISO/IEC 14496-12, 4.3).
    private init(brand: ArraySlice<UInt8>) {
        switch String(decoding: brand, as: UTF8.self) {
        case "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1": self = .heic
        case "avif", "avis": self = .avif
        default: self = .unknown
        }
    }

    /// Whether the first bytes are UTF-8 without control characters other than white space.
    private static func isText(_ bytes: [UInt8]) -> Bool {
        let head = bytes.count > 512 ? wholeCharacters(bytes.prefix(512)) : bytes[...]
        let isPlain = head.allSatisfy { $0 >= 0x20 && $0 != 0x7F || (0x09...0x0D).contains($0) }
        return isPlain && String(validating: head, as: UTF8.self) != nil
    }

    /// The bytes without a last character of UTF-8 that the cut has parted: its first byte says how many there are.
    private static func wholeCharacters(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard let last = bytes.suffix(3).lastIndex(where: { $0 & 0xC0 != 0x80 }) else { return bytes }
        let length =
            switch bytes[last] {
            case 0xF0...0xF7: 4
            case 0xE0...0xEF: 3
            case 0xC0...0xDF: 2
            default: 1
            }
        return bytes.endIndex - last < length ? bytes[..<last] : bytes
    }
}
