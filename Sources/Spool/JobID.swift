// Names of jobs: the UTC instant of the claim in microseconds, strictly rising within a process, and 32 random bits.
//
// Invariants: fixed width, so that byte order is order of arrival; a valid file name; never reused, since the
// directory that carries it is made with mkdir, which fails where one exists.

/// The name of a job and of its directory: `20261123T112233.123456Z-9f3a01bc`.
public struct JobID: Hashable, Sendable, LosslessStringConvertible {
    /// The text of the name.
    public let description: String

    static let length = 32

    /// Reads a job's name; nil when the text is none.
    public init?(_ description: String) {
        let text = Array(description.utf8)
        guard text.count == JobID.length else { return nil }
        for (position, byte) in text.enumerated() {
            let fits =
                switch position {
                case 8: byte == UInt8(ascii: "T")
                case 15: byte == UInt8(ascii: ".")
                case 22: byte == UInt8(ascii: "Z")
                case 23: byte == UInt8(ascii: "-")
                case 24...: (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
                default: (0x30...0x39).contains(byte)
                }
            guard fits else { return nil }
        }
        self.description = description
    }

    init?(_ name: FileName) {
        guard name.bytes.count == JobID.length, let text = name.text else { return nil }
        self.init(text)
    }

    /// Makes the name for an instant, in microseconds since 1970 (0 … 9999-12-31), and random bits.
    init(unixMicroseconds: Int64, random: UInt32) {
        let latest: Int64 = 253_402_300_799_999_999
        let instant = min(max(0, unixMicroseconds), latest)
        let (seconds, microseconds) = instant.quotientAndRemainder(dividingBy: 1_000_000)
        let (days, second) = seconds.quotientAndRemainder(dividingBy: 86_400)
        let date = CivilDate(daysSince1970: Int(days))
        func digits(_ value: Int, _ width: Int, radix: Int = 10) -> String {
            let text = String(value, radix: radix)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        let clock = digits(Int(second) / 3600, 2) + digits(Int(second) / 60 % 60, 2) + digits(Int(second) % 60, 2)
        description =
            digits(date.year, 4) + digits(date.month, 2) + digits(date.day, 2) + "T" + clock + "."
            + digits(Int(microseconds), 6) + "Z-" + digits(Int(random), 8, radix: 16)
    }

    /// The instant in the name, in microseconds since 1970.
    public var unixMicroseconds: Int64 {
        let digits = description.utf8.map { Int64($0) - 0x30 }
        func number(_ range: Range<Int>) -> Int64 { digits[range].reduce(0) { $0 * 10 + $1 } }
        let date = CivilDate(year: Int(number(0..<4)), month: Int(number(4..<6)), day: Int(number(6..<8)))
        let second = number(9..<11) * 3600 + number(11..<13) * 60 + number(13..<15)
        return (Int64(date.daysSince1970) * 86_400 + second) * 1_000_000 + number(16..<22)
    }
}

extension JobID: Comparable {
    /// Order of arrival.
    public static func < (left: JobID, right: JobID) -> Bool {
        left.description.utf8.lexicographicallyPrecedes(right.description.utf8)
    }
}

/// Hands out job names that rise strictly, also when the wall clock is set back.
struct JobIDSource: Sendable {
    private var last: Int64 = 0

    /// Names made from now on come after `id`.
    mutating func follow(_ id: JobID) {
        last = max(last, id.unixMicroseconds)
    }

    mutating func next(unixMicroseconds: Int64) -> JobID {
        last = max(last + 1, unixMicroseconds)
        return JobID(unixMicroseconds: last, random: UInt32.random(in: .min ... .max))
    }
}

/// A day of the proleptic Gregorian calendar; conversion after the civil-from-days method, in which the year begins in March.
struct CivilDate: Equatable {
    let year: Int
    let month: Int
    let day: Int

    private static let daysIn400Years = 146_097
    /// Days from 0000-03-01 to 1970-01-01.
    private static let epoch = 719_468

    init(year: Int, month: Int, day: Int) {
        (self.year, self.month, self.day) = (year, month, day)
    }

    init(daysSince1970 days: Int) {
        let shifted = days + CivilDate.epoch
        let era = shifted / CivilDate.daysIn400Years
        let dayOfEra = shifted % CivilDate.daysIn400Years
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let march = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * march + 2) / 5 + 1
        month = march < 10 ? march + 3 : march - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    var daysSince1970: Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted % 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * CivilDate.daysIn400Years + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
            - CivilDate.epoch
    }
}
