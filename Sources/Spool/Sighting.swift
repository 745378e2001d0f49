// What is known of the files in the inbox, and which of them are complete (docs/QUEUE.md, "Taking").
//
// Invariants: a file is complete only while its status is the one that made it complete; any change starts it over.
// Order of arrival is the order of first sight, and among files of one scan that of their last change. What is asked at every
// step (who is due, whose spec is in sight) walks what is not complete yet or is of one stem, not the whole inbox: `put` keeps both.

public import Diagnostics

/// What the spool asks of a task spec; reading YAML is another module's work.
public struct SpecSummary: Sendable, Equatable {
    /// The file that the spec's `image:` names; nil: the image of the same stem.
    public var image: String?
    /// -10 … 10; higher is taken earlier.
    public var priority: Int

    /// Sums up a spec.
    public init(image: String? = nil, priority: Int = 0) {
        (self.image, self.priority) = (image, priority)
    }
}

/// Reads task specs for the spool.
public protocol SpecInspector: Sendable {
    /// Sums up a spec of these bytes; throws what is wrong with it.
    func inspect(_ bytes: [UInt8]) throws(Failure) -> SpecSummary
}

/// A file in the inbox.
struct Sighting: Sendable {
    enum Stage: Sendable {
        case settling
        /// Complete since then.
        case complete(since: Duration, settled: Bool)
    }

    let name: FileName
    /// By its extension; all else (images, odd files) is paired like a photo.
    let isSpec: Bool
    let order: UInt64
    /// When it was first seen.
    let seenAt: Duration
    var arrival: Arrival
    var status: FileStatus
    /// When the status last changed, as far as was seen.
    var changedAt: Duration
    var stage = Stage.settling
    /// Whether the bytes end like a whole file, once looked at for this status.
    var looksWhole: Bool?
    /// Whether it could not be examined when it was to be complete: however it came, it settles anew.
    var isPostponed = false
    /// Of a complete spec: what it asks for, or why it is refused.
    var spec: Result<SpecSummary, Failure>?

    var isComplete: Bool {
        if case .complete = stage { return true }
        return false
    }

    /// The stem of the image that a spec is about: its own, until it is complete and may name another. Nil for anything else.
    var specStem: FileName? { isSpec ? Target(self)?.stem ?? name.stem : nil }
}

/// The inbox as the spool sees it.
struct InboxView: Sendable {
    let rules: SightingRules
    private(set) var sightings: [FileName: Sighting] = [:]
    /// Those that are not complete.
    private var unfinished: Set<FileName> = []
    /// The specs, by the stem of the image that they are about.
    private var specsByStem: [FileName: Set<FileName>] = [:]
    private(set) var ignored: Set<FileName> = []
    private(set) var directories: Set<FileName> = []
    /// Names that something happened to and that could not be looked at.
    private(set) var unexamined: Set<FileName> = []
    /// Changes with everything that pairing may decide otherwise for; not when a file leaves because it was taken.
    private(set) var version: UInt64 = 0 { didSet { revision += 1 } }
    /// Changes with everything that a job may be kept back or let go for, also when a file leaves because it was taken.
    private(set) var revision: UInt64 = 0
    private var nextOrder: UInt64 = 0

    init(rules: SightingRules) { self.rules = rules }

    /// Takes in what a look at one name gave; nil: nothing stands there.
    mutating func observe(_ name: FileName, _ status: FileStatus?, _ arrival: Arrival?, now: Duration) {
        if unexamined.remove(name) != nil { revision += 1 }
        guard let status else {
            if sightings[name] != nil { version += 1 }
            return forget(name)
        }
        if rules.isIgnored(name) {
            ignored.insert(name)
            return
        }
        guard status.kind != .directory else {
            forget(name)
            directories.insert(name)
            return
        }
        directories.remove(name)
        if var known = sightings[name] {
            if let arrival, arrival != .found {
                known.arrival = arrival
            } else if known.status.content.inode != status.content.inode
                || (known.status.content != status.content && !known.arrival.isWriting)
            {
                // Not the file that was heard of, or a change of which nothing was heard (yet).
                known.arrival = .found
            }
            if known.status != status {
                known.status = status
                known.changedAt = now
                known.stage = .settling
                known.looksWhole = nil
                known.isPostponed = false
                known.spec = nil
                version += 1
            }
            put(known, as: name)
        } else {
            version += 1
            let new = Sighting(
                name: name, isSpec: rules.isSpec(name), order: nextOrder, seenAt: now, arrival: arrival ?? .found,
                status: status, changedAt: now)
            put(new, as: name)
            nextOrder += 1
        }
    }

    /// Takes in a sighting, replaces it or, with nil, forgets it: the one place where that is done.
    private mutating func put(_ sighting: Sighting?, as name: FileName) {
        if let stem = sightings[name]?.specStem {
            specsByStem[stem]?.remove(name)
            if specsByStem[stem]?.isEmpty == true { specsByStem[stem] = nil }
        }
        if let stem = sighting?.specStem { specsByStem[stem, default: []].insert(name) }
        if let sighting, !sighting.isComplete { unfinished.insert(name) } else { unfinished.remove(name) }
        sightings[name] = sighting
    }

    /// A file was taken, or is gone.
    mutating func forget(_ name: FileName) {
        if sightings[name] != nil { revision += 1 }
        put(nil, as: name)
        ignored.remove(name)
        directories.remove(name)
    }

    /// Forgets what a scan did not meet.
    mutating func keepOnly(_ names: Set<FileName>) {
        for name in sightings.keys where !names.contains(name) {
            put(nil, as: name)
            version += 1
        }
        ignored.formIntersection(names)
        if !unexamined.isSubset(of: names) { revision += 1 }
        unexamined.formIntersection(names)
        directories.formIntersection(names)
    }

    /// After lost events nothing is known of any writer: the close may be among what was lost.
    mutating func trustNoArrival() {
        for name in unfinished where sightings[name]?.arrival.isWriting == true {
            sightings[name]?.arrival = .found
        }
    }

    /// The names that may be complete now, in order of arrival.
    func due(now: Duration) -> [FileName] {
        unfinished.compactMap { sightings[$0] }
            .filter { rules.mayBeComplete($0, now: now) }
            .sorted { $0.order < $1.order }
            .map(\.name)
    }

    /// When the next file may be complete by standing still.
    var nextDeadline: Duration? {
        unfinished.compactMap { sightings[$0] }.map { rules.deadline($0) }.min()
    }

    mutating func noteUnexamined(_ name: FileName) {
        if unexamined.insert(name).inserted { revision += 1 }
    }

    /// What is in sight of specs about an image.
    enum SpecInSight: Equatable { case none, unfinished, complete }

    /// Whether a spec is in sight that is, or may turn out to be, about this image. One that is still being written counts
    /// if it was first seen after `since`.
    func specs(about image: FileName, since: Duration) -> SpecInSight {
        if unexamined.contains(where: { rules.isSpec($0) && $0.stem == image.stem }) { return .unfinished }
        var found = SpecInSight.none
        for sighting in (specsByStem[image.stem] ?? []).compactMap({ sightings[$0] }) {
            if let target = Target(sighting) {
                if target.matches(image) { found = .complete }
            } else if sighting.name.stem == image.stem, sighting.seenAt > since {
                return .unfinished
            }
        }
        return found
    }

    /// The specs that are not complete yet.
    var unfinishedSpecs: [Sighting] { unfinished.compactMap { sightings[$0] }.filter(\.isSpec) }

    /// The specs about images of a stem for which `isWanted` is true.
    func specs(ofStems isWanted: (FileName) -> Bool) -> [Sighting] {
        specsByStem.filter { isWanted($0.key) }.values.joined().compactMap { sightings[$0] }
    }

    mutating func note(_ name: FileName, looksWhole: Bool) {
        sightings[name]?.looksWhole = looksWhole
    }

    /// Lets a file that could not be examined settle once more.
    mutating func postpone(_ name: FileName, now: Duration) {
        sightings[name]?.changedAt = now
        sightings[name]?.looksWhole = false
        sightings[name]?.isPostponed = true
    }

    mutating func complete(
        _ name: FileName, spec: Result<SpecSummary, Failure>? = nil, settled: Bool, now: Duration
    ) {
        version += 1
        guard var sighting = sightings[name] else { return }
        sighting.spec = spec
        sighting.stage = .complete(since: now, settled: settled)
        put(sighting, as: name)
    }
}

/// Why a name in the inbox is left alone, as status tells it.
public enum IgnoredReason: String, Sendable, CaseIterable {
    /// Its name begins with a dot.
    case dotFile = "dot_file"
    /// A download or a copy that is under way.
    case partial
    /// A program's temporary or backup file.
    case temporary
}

/// When a file is complete, and what it is by its name.
struct SightingRules: Sendable {
    let settle: Duration
    let writingTimeout: Duration
    let imageExtensions: Set<String>
    let specExtensions: Set<String>
    let ignoredSuffixes: [String]

    init(_ configuration: SpoolConfiguration) {
        settle = configuration.settle
        writingTimeout = max(configuration.settle, configuration.writingTimeout)
        imageExtensions = configuration.imageExtensions
        specExtensions = configuration.specExtensions
        ignoredSuffixes = configuration.ignoredSuffixes
    }

    func isIgnored(_ name: FileName) -> Bool { ignoredReason(name) != nil }

    /// Why a name is left alone; nil when it is not.
    func ignoredReason(_ name: FileName) -> IgnoredReason? {
        if name.isHidden { return .dotFile }
        guard let suffix = ignoredSuffixes.first(where: { name.hasSuffix($0) }) else { return nil }
        return [".part", ".crdownload"].contains(suffix) ? .partial : .temporary
    }

    func isSpec(_ name: FileName) -> Bool { specExtensions.contains(name.lowercasedExtension) }
    func isImage(_ name: FileName) -> Bool { imageExtensions.contains(name.lowercasedExtension) }

    /// How long a file must stand unchanged, and so when it is complete at the latest.
    func deadline(_ sighting: Sighting) -> Duration { sighting.changedAt + patience(sighting) }

    /// Whether a look at the bytes could find it complete before the deadline.
    func mayBeComplete(_ sighting: Sighting, now: Duration) -> Bool {
        if deadline(sighting) <= now { return true }
        guard sighting.looksWhole == nil, sighting.status.kind == .regular, sighting.status.size > 0 else {
            return false
        }
        return sighting.arrival == .closed
    }

    /// Whether somebody has the file open for writing, and will close it.
    func isBeingWritten(_ sighting: Sighting) -> Bool {
        guard sighting.status.kind == .regular else { return false }
        // A link appears with IN_CREATE as well, its bytes with it, and nobody will ever close it.
        return sighting.arrival == .written || (sighting.arrival == .created && sighting.status.size == 0)
    }

    private func patience(_ sighting: Sighting) -> Duration {
        guard sighting.status.kind == .regular else { return .zero }
        if isBeingWritten(sighting) { return writingTimeout }
        if sighting.isPostponed { return settle }
        if sighting.status.size > 0, sighting.arrival == .moved { return .zero }
        if sighting.status.size > 0, sighting.arrival == .closed, sighting.looksWhole == true { return .zero }
        return settle
    }

    /// Whether an image's last bytes end it: a JPEG end marker or a PNG end chunk (ITU-T T.81, B.1.1.3; PNG 1.2, 4.1.4).
    static func endsImage(_ tail: [UInt8]) -> Bool {
        tail.suffix(2) == [0xFF, 0xD9] || tail.suffix(8) == [0x49, 0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60, 0x82]
    }
}
