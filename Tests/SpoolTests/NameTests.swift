// Names: of files as bytes, of jobs, of outcomes.

import Diagnostics
import Foundation
import Testing

@testable import Spool

@Suite struct FileNameTests {
    @Test func onlyOneComponentOfAPathIsAName() {
        for bad in [
            "", ".", "..", "a/b", "/etc/passwd", "../../etc/passwd", "a\0b", String(repeating: "x", count: 256),
        ] {
            #expect(FileName(bad) == nil, "\(bad.debugDescription)")
        }
        for good in ["a", "...", "-rf", "a b", "a\nb", String(repeating: "x", count: 255)] {
            #expect(FileName(good)?.text == good)
        }
    }

    @Test(arguments: [
        ("photo.jpg", "photo", "jpg"), ("photo.JPEG", "photo", "jpeg"), ("a.b.c", "a.b", "c"), ("noext", "noext", ""),
        (".hidden", ".hidden", ""), (".hidden.jpg", ".hidden", "jpg"), ("dot.", "dot.", ""), ("-rf.jpg", "-rf", "jpg"),
    ])
    func stemAndExtension(_ text: String, _ stem: String, _ suffix: String) throws {
        let name = try #require(FileName(text))
        #expect(name.stem.text == stem)
        #expect(name.lowercasedExtension == suffix)
    }

    @Test func descriptionsAreOneLineAndTellAllBytesApart() throws {
        let odd = try #require(FileName([0x61, 0xFF, 0x0A, 0x5C, 0xC3, 0xA9, 0x7F, 0x2E, 0x6A]))
        #expect(odd.description == "a\\xff\\x0a\\\\é\\x7f.j")
        #expect(odd.text == nil)
        #expect(odd.base64 == "Yf8KXMOpfy5q")
        #expect(FileName("Ünïcödé 照片.jpg")?.description == "Ünïcödé 照片.jpg")
        #expect(FileName([0xE7, 0x85])?.description == "\\xe7\\x85")
    }

    @Test(arguments: [[0x61, 0x62], [0xFF, 0xFE], [0x0A]] as [[UInt8]])
    func recordsKeepBytes(_ bytes: [UInt8]) throws {
        let name = try #require(FileName(bytes))
        let data = try JSONEncoder().encode([name])
        #expect(try JSONDecoder().decode([FileName].self, from: data) == [name])
    }

    @Test func recordsWithPathsAreRefused() {
        for bad in [#"["../x"]"#, #"[""]"#, #"[{"base64":"Li4="}]"#, #"[{"base64":"*"}]"#, "[1]"] {
            #expect(throws: (any Error).self) { try JSONDecoder().decode([FileName].self, from: Data(bad.utf8)) }
        }
    }
}

/// An upgrade reads what its predecessor has written: these names are for good.
@Suite struct RecordNameTests {
    @Test func aRecordOnDiskIsReadByItsNames() throws {
        let text = """
            {"alone":true,"attempts":2,"claimedAt":1795428473123456,"countedSession":"5e","firstOrdinal":3,\
            "history":[{"at":9,"kind":"requeued","note":"n"}],"image":"a.jpg","joins":"j","lastFailure":\
            {"cause":"c","code":"temporary","hint":"h","object":"o"},"notBefore":11,"outcomeCode":"poison",\
            "outcomeName":"a.json","priority":4,"retryOf":"r","settled":true,"spec":"a.yaml","starts":5,"strikes":1,\
            "timing":{"jpeg":1.5},"uncleanEnds":6,"verdict":{"cause":"c","code":"spec_late","hint":"h","object":"o"}}
            """
        let record = try #require(JobRecord(bytes: Array(text.utf8)))
        #expect(record.alone && record.attempts == 2 && record.claimedAt == 1_795_428_473_123_456)
        #expect(record.countedSession == "5e" && record.firstOrdinal == 3 && record.joins == "j")
        #expect(record.history == [JobStep(at: 9, kind: .requeued, note: "n")])
        #expect(record.image?.text == "a.jpg" && record.spec?.text == "a.yaml" && record.notBefore == 11)
        #expect(record.lastFailure?.failure == Failure(.temporary, "o", "c", hint: "h"))
        #expect(record.verdict?.failure == Failure(.specLate, "o", "c", hint: "h"))
        #expect(record.outcomeCode == "poison" && record.outcomeName?.text == "a.json" && record.priority == 4)
        #expect(record.retryOf == "r" && record.settled && record.starts == 5 && record.strikes == 1)
        #expect(record.timing == ["jpeg": 1.5] && record.uncleanEnds == 6)
        // And written by the same.
        let written = try JSONSerialization.jsonObject(with: JSONEncoder().encode(record)) as? [String: Any]
        let told = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        #expect(written?.keys.sorted() == told?.keys.sorted())
    }

    @Test func stepsHaveTheNamesOfTheControlDocument() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let page = try String(contentsOf: root.appending(path: "docs/CONTROL.md"), encoding: .utf8)
        for kind in JobStep.Kind.allCases { #expect(page.contains("`\(kind.rawValue)`"), "\(kind.rawValue)") }
        #expect(
            JobStep.Kind.allCases.map(\.rawValue) == [
                "queued", "joined", "held", "released", "running", "requeued", "deferred", "interrupted", "answered",
                "failed", "published",
            ])
    }
}

@Suite struct JobIDTests {
    @Test func namesTellTheInstant() throws {
        // date -u -d @1795428473 +%Y%m%dT%H%M%S
        let id = JobID(unixMicroseconds: 1_795_428_473_123_456, random: 0x9F3A_01BC)
        #expect(id.description == "20261123T100753.123456Z-9f3a01bc")
        #expect(id.unixMicroseconds == 1_795_428_473_123_456)
        #expect(JobID(id.description) == id)
        #expect(FileName(id.description)?.bytes.count == JobID.length)
    }

    @Test(arguments: [
        "", "20261123T100753.123456Z-9f3a01bC", "20261123T090753.123456Z-9f3a01b", "20261123 090753.123456Z-9f3a01bc",
        "../61123T090753.123456Z-9f3a01bc", "20261123T100753.123456Z-9f3a01bc.tmp",
    ])
    func otherTextsAreNoNames(_ text: String) {
        #expect(JobID(text) == nil)
    }

    @Test func daysAgreeWithFoundation() {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        for day in stride(from: 0, to: 60_000, by: 97) {
            let date = calendar.dateComponents(
                [.year, .month, .day], from: Date(timeIntervalSince1970: Double(day) * 86_400))
            let civil = CivilDate(daysSince1970: day)
            #expect(civil == CivilDate(year: date.year ?? 0, month: date.month ?? 0, day: date.day ?? 0))
            #expect(civil.daysSince1970 == day)
        }
    }

    @Test func namesRiseThoughTheClockIsSetBack() {
        var source = JobIDSource()
        let ids = [5_000_000, 5_000_000, 1, 4_999_999].map { source.next(unixMicroseconds: $0) }
        #expect(ids == ids.sorted())
        #expect(Set(ids.map(\.unixMicroseconds)).count == 4)
        source.follow(JobID(unixMicroseconds: 9_000_000, random: 0))
        #expect(source.next(unixMicroseconds: 1).unixMicroseconds > 9_000_000)
    }
}

@Suite struct OutcomeNameTests {
    @Test func numbersBeginAtTwo() throws {
        let stem = try #require(FileName("photo"))
        #expect(
            (1...3).map { OutcomeName.name(stem: stem, ordinal: $0).description } == [
                "photo.json", "photo-2.json", "photo-3.json",
            ])
    }

    @Test(arguments: [1, 2, 12, 345])
    func numbersAreReadBack(_ ordinal: Int) throws {
        for text in ["photo", "photo-2", "-", String(repeating: "é", count: 125), String(repeating: "x", count: 255)] {
            let stem = try #require(FileName(text))
            #expect(OutcomeName.ordinal(of: OutcomeName.name(stem: stem, ordinal: ordinal), stem: stem) == ordinal)
        }
    }

    @Test func longStemsAreCutBetweenCharacters() throws {
        let stem = try #require(FileName(String(repeating: "é", count: 127)))
        let name = OutcomeName.name(stem: stem, ordinal: 10)
        #expect(name.bytes.count <= 255)
        #expect(name.text?.hasSuffix("é-10.json") == true)
        let raw = try #require(FileName([UInt8](repeating: 0xFF, count: 255)))
        #expect(OutcomeName.name(stem: raw, ordinal: 1).bytes.count == 255)
    }
}

@Suite struct RecordTests {
    @Test func recordsComeBack() throws {
        var record = JobRecord()
        record.image = FileName([0x61, 0xFF])
        record.imageContent = FileStatus.Content(inode: .max, size: 3, modified: -1)
        record.attempts = 4
        record.verdict = RecordedFailure(.init(.specLate, "a", "b", hint: "c"))
        record.outcomeName = FileName("a.json")
        #expect(JobRecord(bytes: record.bytes) == record)
        #expect(record.verdict?.failure.code == .specLate)
    }

    @Test func damageCostsFieldsNeverTheRecord() {
        #expect(JobRecord(bytes: []) == nil)
        #expect(JobRecord(bytes: Array("{\"attempts\":".utf8)) == nil)
        let odd = JobRecord(
            bytes: Array(#"{"attempts":"x","priority":7,"image":"../x","strikes":-3,"unknown":1}"#.utf8))
        #expect(odd?.attempts == 0)
        #expect(odd?.priority == 7)
        #expect(odd?.image == nil)
        #expect(odd?.strikes == 0)
    }
}
