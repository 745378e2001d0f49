// From the inbox: look, see what is complete, pair, claim (docs/QUEUE.md, "Taking" and "Pairing").
//
// Failure modes: a fault while files are examined leaves them for the next look; a fault while one is claimed closes the
// intake for a pause that grows, and everything stays in the inbox. Jobs in the spool wait some attempts for an inbox that
// cannot be listed, and do not wait for one that cannot be opened.

internal import Diagnostics
internal import SystemPackage

extension Spool {
    /// Decisions carried out in one step, so that workers who finish jobs are not kept waiting by a flood of drops.
    static let decisionsPerStep = 8

    // MARK: Looking

    /// Reads the watch, and scans when it is time or events were lost.
    func lookAtInbox(_ now: Duration) {
        if watch.handle == nil, nextScan.map({ $0 <= now }) ?? true { openInbox(now) }
        let seen = watch.read()
        if seen.overflowed {
            view.trustNoArrival()
            nextScan = now
            report(.overflowed)
        }
        if seen.ended || (watch.wantsInotify && nextRewatch <= now) { openInbox(now) }
        if let inbox = watch.handle {
            for (name, arrival) in seen.names where name != Layout.transfer { look(inbox, name, arrival, now) }
        }
        if nextScan.map({ $0 <= now }) ?? true {
            // A polled directory tells of no end, and neither does one that another is mounted over.
            if watch.handle != nil, !watch.isInPlace { openInbox(now) }
            scan(now)
        }
    }

    private func openInbox(_ now: Duration) {
        let before = watch.method
        watch.open(files)
        view.trustNoArrival()
        if watch.method != before { report(.watching(path: watch.path, watch.method)) }
        if watch.handle != nil {
            recoverTransfers()
        } else {
            // Nothing is known of an inbox that is not there, and jobs in the spool do not wait for it.
            view.keepOnly([])
            (plan, decisions, plannedVersion) = (Pairing.Plan(), [], nil)
            hasScanned = true
            gate.open()
        }
        nextScan = now
        nextRewatch = now + configuration.scanInterval
    }

    private func scan(_ now: Duration) {
        nextScan = now + (watch.inotify == nil ? configuration.pollInterval : configuration.scanInterval)
        guard let inbox = watch.handle else { return }
        var met: Set<FileName> = []
        do {
            try files.forEachBatch(inbox.here) { names in
                for name in names where name != Layout.transfer {
                    met.insert(name)
                    look(inbox, name, .found, now)
                }
            }
        } catch {
            pauseIntake(error)
            nextScan = intakePause.until
            // A spec for a job in the spool may stand there unseen: it is waited for, but not for ever.
            if intakePause.tries >= Spool.stuckAfter { endFirstScan() }
            return
        }
        view.keepOnly(met)
        // While nothing is claimed no claim will tell that the fault has passed.
        if view.unexamined.isEmpty, !mayClaim { intakePause = Pause(until: .zero, tries: 0) }
        endFirstScan()
    }

    /// From now on jobs are handed out.
    private func endFirstScan() {
        guard !hasScanned else { return }
        hasScanned = true
        gate.open()
    }

    /// Looks at one name; false when that failed.
    @discardableResult
    func look(_ inbox: DirectoryHandle, _ name: FileName, _ arrival: Arrival?, _ now: Duration) -> Bool {
        do {
            view.observe(name, try files.status(inbox / name), arrival, now: now)
            return true
        } catch {
            // What could not be looked at may be another's partner: nothing is paired before a scan has seen everything.
            view.noteUnexamined(name)
            pauseIntake(error)
            nextScan = intakePause.until
            return false
        }
    }

    // MARK: Completing

    /// Finds which files are complete by now.
    func completeSightings(_ now: Duration) {
        guard let inbox = watch.handle else { return }
        for name in view.due(now: now) {
            // What is complete is decided by the status of this moment, not of the last look.
            guard look(inbox, name, nil, now) else {
                view.postpone(name, now: now)
                continue
            }
            guard let sighting = view.sightings[name], !sighting.isComplete else { continue }
            guard sighting.isSpec else {
                completePhoto(inbox, sighting, now)
                continue
            }
            completeSpec(inbox, sighting, now)
        }
    }

    private func completePhoto(_ inbox: DirectoryHandle, _ sighting: Sighting, _ now: Duration) {
        if sighting.looksWhole == nil, sighting.status.kind == .regular, sighting.status.size > 0 {
            view.note(sighting.name, looksWhole: endsImage(inbox / sighting.name, sighting.status))
        }
        guard let sighting = view.sightings[sighting.name], view.rules.deadline(sighting) <= now else { return }
        view.complete(sighting.name, settled: hasSettled(sighting, now), now: now)
    }

    private func completeSpec(_ inbox: DirectoryHandle, _ sighting: Sighting, _ now: Duration) {
        let result: Result<SpecSummary, Failure>
        do {
            result = .success(try inspect(inbox / sighting.name, sighting.name, sighting.status))
        } catch {
            switch error {
            case .refused(let failure): result = .failure(failure)
            case .changing: return view.postpone(sighting.name, now: now)
            case .fault(let fault) where fault.isDenied: result = .failure(FileFault.unreadable(sighting.name))
            case .fault(let fault):
                note(fault)
                return view.postpone(sighting.name, now: now)
            }
        }
        let isGood = (try? result.get()) != nil
        view.note(sighting.name, looksWhole: isGood)
        guard let sighting = view.sightings[sighting.name], view.rules.deadline(sighting) <= now else { return }
        view.complete(sighting.name, spec: result, settled: hasSettled(sighting, now), now: now)
        if case .failure(let failure) = result { report(.specRefused(sighting.name, failure)) }
    }

    private func hasSettled(_ sighting: Sighting, _ now: Duration) -> Bool {
        sighting.changedAt + configuration.settle <= now
    }

    private func endsImage(_ at: Location, _ status: FileStatus) -> Bool {
        let tail = try? files.withFile(at) { (descriptor) throws(FileFault) in
            try files.read(descriptor, at, from: max(0, status.size - 8), atMost: 8)
        }
        return tail.map(SightingRules.endsImage) ?? false
    }

    /// Reads a spec and sums it up; a spec whose `image:` is more than a file name is refused.
    func inspect(_ at: Location, _ name: FileName, _ status: FileStatus) throws(ReadFault) -> SpecSummary {
        guard status.kind == .regular else { throw .refused(Failure.notRegular(name, status.kind)) }
        guard status.size > 0 else { throw .refused(Failure.empty(name)) }
        let bytes = try files.readWhole(
            at, name: name, limit: configuration.limits.specBytes, expected: nil, tooLarge: .specInvalid)
        let summary: SpecSummary
        do {
            summary = try inspector.inspect(bytes)
        } catch {
            throw .refused(error.about(name.description))
        }
        if let image = summary.image, FileName(image).map({ view.rules.isIgnored($0) || view.rules.isSpec($0) }) ?? true
        {
            throw .refused(
                Failure(
                    .specInvalid, name.description,
                    "image: \(image.debugDescription) is not the plain name of an image",
                    hint: "Name a file in the inbox, without directories, or leave the key out."))
        }
        return summary
    }

    // MARK: Pairing

    /// Carries out what pairing decides, a number of drops a step; returns whether there is more.
    func pairAndClaim(_ now: Duration) -> Bool {
        nextPairing = nil
        guard watch.handle != nil else { return false }
        for _ in 0..<Spool.decisionsPerStep {
            guard intakePause.until <= now else {
                nextPairing = intakePause.until
                return false
            }
            guard mayClaim || hasJoin else { return false }
            // Where nothing is claimed the plan does not run out, and jobs come back that a spec may join.
            if !mayClaim || decisions.isEmpty || plannedVersion != view.version { makePlan(now) }
            // A decision of a plan that is some steps old is checked against the disk as it is carried out.
            guard let decision = nextDecision() else { return false }
            carryOut(decision)
        }
        return true
    }

    /// Whether another drop may be taken into the spool; if it is full, the next job that ends wakes the intake.
    private var mayClaim: Bool { takesIn && entries.count < configuration.limits.jobs }

    private func makePlan(_ now: Duration) {
        plan = pairing.plan(view.sightings.values, jobs: knownJobs, now: now)
        plannedVersion = view.version
        decisions = plan.decisions[...]
        nextPairing = plan.wakeAt
        // Everything in sight could be looked at, and nothing is left to take.
        if decisions.isEmpty, intakePause.tries > 0 { intakePause = Pause(until: .zero, tries: 0) }
    }

    /// A spec that joins a job takes nothing more into the spool, and the job waits for it: that is never put off.
    private func nextDecision() -> Pairing.Decision? {
        guard !mayClaim else { return decisions.popFirst() }
        let join = decisions.firstIndex {
            if case .join = $0 { return true }
            return false
        }
        return join.map { decisions.remove(at: $0) }
    }

    /// Whether a complete spec in sight is about a waiting job that has none: a cheap look before everything is planned.
    private var hasJoin: Bool {
        view.specs(ofStems: { jobsByStem[$0] != nil }).contains { spec in
            guard let target = Target(spec) else { return false }
            return (jobsByStem[target.stem] ?? []).contains { id in
                guard let entry = entries[id], let image = entry.image else { return false }
                return entry.isWaiting && entry.spec == nil && target.matches(image)
            }
        }
    }

    private func carryOut(_ decision: Pairing.Decision) {
        switch decision {
        case .claim(let photo, let spec): claim(image: photo, spec: spec)
        case .join(let spec, let id): join(spec, to: id)
        case .refuse(let spec, let failure): claim(image: nil, spec: spec, verdict: failure)
        }
    }

    /// The jobs that pairing must know of, by the stem of their image.
    func knownJobs(_ stem: FileName) -> [KnownJob] {
        let present = (jobsByStem[stem] ?? []).compactMap { entries[$0] }.sorted { $0.id < $1.id }
        return recent.jobs(stem)
            + present.compactMap { entry in
                entry.image.map {
                    KnownJob(id: entry.id, image: $0, spec: entry.spec, stage: entry.isWaiting ? .waiting : .running)
                }
            }
    }

    /// Closes the intake for a while after a fault.
    func pauseIntake(_ fault: FileFault) {
        note(fault)
        let tries = intakePause.tries + 1
        intakePause = Pause(
            until: clock.monotonic + Spool.pause(afterTry: tries), tries: tries, fault: fault)
    }
}
