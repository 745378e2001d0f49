// Which photo goes with which spec, and who waits for whom: the rules of docs/QUEUE.md, "Pairing", numbered as there.
//
// A pure function of what is in sight, so that every order of arrival can be tested without a file or a clock.

internal import Diagnostics

/// A job as pairing sees it.
struct KnownJob: Sendable, Equatable {
    enum Stage: Sendable, Equatable {
        /// Not yet in a worker's hands: a spec may join.
        case waiting
        case running
        /// Ended; the outcome's name, and when.
        case ended(outcome: FileName?, at: Duration)
    }

    let id: JobID
    let image: FileName
    var spec: FileName?
    var stage: Stage
}

struct Pairing: Sendable {
    enum Decision: Sendable, Equatable {
        case claim(photo: FileName, spec: FileName?)
        case join(spec: FileName, JobID)
        case refuse(spec: FileName, Failure)
    }

    /// Somebody who waits, for status.
    struct Waiting: Sendable, Equatable {
        let name: FileName
        let reason: String
        let until: Duration?
        /// Nothing in sight will end the wait but time, and a long time.
        var isLong = false
    }

    struct Plan: Sendable {
        var decisions: [Decision] = []
        var waiting: [Waiting] = []
        /// When the plan may change by time alone.
        var wakeAt: Duration?
    }

    let grace: Duration
    let timeout: Duration

    /// - Parameter jobs: the jobs that pairing knows of, by the stem of their image; oldest first.
    func plan(_ sightings: some Sequence<Sighting>, jobs: (FileName) -> [KnownJob], now: Duration) -> Plan {
        var plan = Plan()
        var inSight = InSight(sightings)
        for photo in inSight.photos {
            decide(photo, &inSight, &plan, now)
        }
        for spec in inSight.completeSpecs where !inSight.taken.contains(spec.name) {
            decide(spec, inSight, jobs, &plan, now)
        }
        return plan
    }

    // MARK: Photos

    private func decide(_ photo: Sighting, _ inSight: inout InSight, _ plan: inout Plan, _ now: Duration) {
        guard case .complete(let since, _) = photo.stage else { return }
        // Rule 1. Rule 4 follows: a spec that one photo took is taken.
        if let spec = inSight.spec(for: photo.name) {
            inSight.taken.insert(spec.name)
            inSight.taken.insert(photo.name)
            plan.decisions.append(.claim(photo: photo.name, spec: spec.name))
            return
        }
        // Rule 2.
        if let unfinished = inSight.unfinishedSpecs[photo.name.stem]?.first(where: { $0.seenAt + timeout > now }) {
            plan.wait(
                photo.name, "\(unfinished.name) is still being written", until: unfinished.seenAt + timeout)
            return
        }
        // Rule 3.
        let until = since + grace
        if until <= now {
            inSight.taken.insert(photo.name)
            plan.decisions.append(.claim(photo: photo.name, spec: nil))
        } else {
            plan.wait(photo.name, "a spec may follow", until: until)
        }
    }

    // MARK: Specs

    private func decide(
        _ spec: Sighting, _ inSight: InSight, _ jobs: (FileName) -> [KnownJob], _ plan: inout Plan, _ now: Duration
    ) {
        guard case .complete(let since, _) = spec.stage, let target = Target(spec) else { return }
        if let photo = inSight.unfinishedPhotos[target.stem]?.first(where: target.matches) {
            plan.waiting.append(Waiting(name: spec.name, reason: "\(photo) is still being written", until: nil))
            return
        }
        let known = jobs(target.stem).filter { target.matches($0.image) }
        // Rule 5.
        if let job = known.first(where: { $0.stage == .waiting && $0.spec == nil && !plan.joins($0.id) }) {
            plan.decisions.append(.join(spec: spec.name, job.id))
            return
        }
        if let job = known.first(where: { $0.stage == .running && $0.spec == nil }) {
            plan.waiting.append(
                Waiting(name: spec.name, reason: "its photo is being answered as job \(job.id)", until: nil))
            return
        }
        // Rules 6 and 7.
        if let failure = tooLate(spec.name, known, plan, now) {
            let until = since + grace
            if until <= now {
                plan.decisions.append(.refuse(spec: spec.name, failure))
            } else {
                plan.wait(spec.name, "a new photo may follow", until: until)
            }
            return
        }
        // Rule 8.
        let until = since + timeout
        if until <= now {
            let failure: Failure
            if case .failure(let refusal) = spec.spec {
                failure = refusal
            } else {
                failure = target.missing(spec.name, known.last, timeout)
            }
            plan.decisions.append(.refuse(spec: spec.name, failure))
        } else if case .failure(let failure) = spec.spec {
            plan.wait(spec.name, "refused (\(failure)); waiting for its photo", until: until, isLong: true)
        } else {
            plan.wait(spec.name, "waiting for \(target.phrase)", until: until, isLong: true)
        }
    }

    private func tooLate(_ spec: FileName, _ known: [KnownJob], _ plan: Plan, _ now: Duration) -> Failure? {
        for job in known.reversed() {
            switch job.stage {
            case .ended(let outcome, let at) where job.spec == nil && at + timeout > now:
                return Failure(
                    .specLate, spec.description,
                    "came after its photo \(job.image) was answered"
                        + (outcome.map { " as \($0)" } ?? "") + " (job \(job.id))",
                    hint: "Drop the photo again, together with this spec.")
            case .ended(_, let at) where at + timeout <= now: continue
            default:
                let taken = job.spec ?? plan.joining(job.id)
                guard let taken, taken != spec else { continue }
                return Failure(
                    .specConflict, spec.description,
                    "asks about \(job.image), which went with \(taken) already (job \(job.id))",
                    hint: "Put all tasks for one photo into one spec.")
            }
        }
        return nil
    }
}

extension Pairing.Plan {
    fileprivate mutating func wait(_ name: FileName, _ reason: String, until: Duration, isLong: Bool = false) {
        waiting.append(Pairing.Waiting(name: name, reason: reason, until: until, isLong: isLong))
        wakeAt = min(wakeAt ?? until, until)
    }

    fileprivate func joining(_ id: JobID) -> FileName? {
        for case .join(let spec, id) in decisions { return spec }
        return nil
    }

    fileprivate func joins(_ id: JobID) -> Bool { joining(id) != nil }
}

/// The image that a spec is about.
struct Target: Sendable {
    let stem: FileName
    /// Set when the spec names it.
    let name: FileName?

    /// Of a complete spec; nil for anything else.
    init?(_ spec: Sighting) {
        guard spec.isSpec, let result = spec.spec else { return nil }
        self.init(spec: spec.name, summary: try? result.get())
    }

    /// - Parameter summary: nil for a refused spec.
    init(spec: FileName, summary: SpecSummary?) {
        name = summary?.image.flatMap { FileName($0) }
        stem = (name ?? spec).stem
    }

    func matches(_ image: FileName) -> Bool { name.map { $0 == image } ?? (image.stem == stem) }

    var phrase: String { name.map(\.description) ?? "a photo of its stem" }

    func missing(_ spec: FileName, _ last: KnownJob?, _ timeout: Duration) -> Failure {
        var cause = "\(phrase) did not come within \(timeout.text)"
        if let last { cause += "; an earlier one was job \(last.id)" }
        return Failure(.imageMissing, spec.description, cause, hint: advice)
    }

    /// What helps: as often as not the spec was named after the whole of the photo's name.
    private var advice: String {
        guard name == nil, SpoolConfiguration.photoExtensions.contains(stem.lowercasedExtension) else {
            return "Drop the photo and its spec again, together."
        }
        return "To go with \(stem) it must be named \(stem.stem).yaml: drop both again."
    }
}

/// The inbox, arranged for pairing.
private struct InSight {
    /// Complete photos in order of arrival.
    var photos: [Sighting] = []
    var completeSpecs: [Sighting] = []
    var unfinishedSpecs: [FileName: [Sighting]] = [:]
    var unfinishedPhotos: [FileName: [FileName]] = [:]
    var taken: Set<FileName> = []
    /// Complete specs by the stem of what they are about, in order of arrival.
    private var byStem: [FileName: [(spec: Sighting, target: Target)]] = [:]

    init(_ sightings: some Sequence<Sighting>) {
        for sighting in sightings {
            switch (sighting.isSpec, sighting.isComplete) {
            case (false, true): photos.append(sighting)
            case (false, false): unfinishedPhotos[sighting.name.stem, default: []].append(sighting.name)
            case (true, false): unfinishedSpecs[sighting.name.stem, default: []].append(sighting)
            case (true, true): completeSpecs.append(sighting)
            }
        }
        photos.sort { InSight.completion($0) < InSight.completion($1) }
        completeSpecs.sort { InSight.completion($0) < InSight.completion($1) }
        for spec in completeSpecs {
            guard let target = Target(spec) else { continue }
            byStem[target.stem, default: []].append((spec, target))
        }
    }

    func spec(for photo: FileName) -> Sighting? {
        byStem[photo.stem]?.first { !taken.contains($0.spec.name) && $0.target.matches(photo) }?.spec
    }

    /// "The one that was complete first": ties go by arrival, then by name.
    private static func completion(_ sighting: Sighting) -> (Duration, UInt64, FileName) {
        guard case .complete(let since, _) = sighting.stage else { return (.zero, sighting.order, sighting.name) }
        return (since, sighting.order, sighting.name)
    }
}
