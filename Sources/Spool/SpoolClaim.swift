// The claim: S0 to S3, or to a failure (docs/QUEUE.md). Nothing is taken from the inbox but by `takeFromInbox`, one rename.
//
// Invariants: the intent (`job.json`) is written before the first rename; the photo goes before its spec; `advanceClaim` reads
// from the disk how far the claim came, so that it may be cut off anywhere and called again.

internal import Diagnostics
internal import SystemPackage

extension Spool {
    // MARK: Starting

    /// Claims files that pairing chose. On a fault before anything was moved, everything is as before and the intake pauses.
    func claim(image: FileName?, spec: FileName?, verdict: Failure? = nil, joins: JobID? = nil) {
        let names = [image, spec].compactMap(\.self)
        guard let first = names.first, names.allSatisfy({ view.sightings[$0]?.isComplete == true }) else { return }
        let id = ids.next(unixMicroseconds: clock.unixMicroseconds)
        var entry = Entry(id: id, state: .claimed, record: intent(image: image, spec: spec))
        entry.record.verdict = verdict.map(RecordedFailure.init)
        entry.record.joins = joins?.description
        (entry.image, entry.spec) = (image, spec)
        do {
            try files.makeDirectory(home(id, .claimed), exclusively: true)
            try files.makeDirectory(home(id, .claimed) / Layout.input)
            try write(entry.record, in: home(id, .claimed), durable: false)
            try takeFromInbox(first, for: id, expected: view.sightings[first]?.status.content)
        } catch {
            pauseIntake(error)
            // Best effort: what is left is an S1 without files, which recovery removes.
            try? discard(home(id, .claimed))
            return
        }
        intakePause = Pause(until: .zero, tries: 0)
        remember(entry)
        advance(id)
        for name in names { lookAgain(name) }
    }

    private func intent(image: FileName?, spec: FileName?) -> JobRecord {
        var record = JobRecord()
        record.claimedAt = clock.unixMicroseconds
        record.image = image
        record.spec = spec
        record.imageContent = image.flatMap { view.sightings[$0]?.status.content }
        record.specContent = spec.flatMap { view.sightings[$0]?.status.content }
        if let image, case .complete(_, settled: true)? = view.sightings[image]?.stage { record.settled = true }
        return record
    }

    /// After a claim: the name is gone from the inbox, or something else stands there.
    private func lookAgain(_ name: FileName) {
        guard let inbox = watch.handle else { return }
        let known = view.sightings[name]?.status.content
        do {
            guard let status = try files.status(inbox / name) else { return view.forget(name) }
            if status.content == known {
                // It was not taken, for a fault: it settles anew.
                view.forget(name)
                view.observe(name, status, .found, now: clock.monotonic)
            } else {
                view.observe(name, status, nil, now: clock.monotonic)
            }
        } catch {
            view.noteUnexamined(name)
            pauseIntake(error)
            nextScan = intakePause.until
        }
    }

    /// Moves one file out of the inbox: into `input/`, or, where a rename cannot reach that, to `.memvpd/JOB/` beside it.
    /// A file that is gone or no longer the one expected stays, and is no fault; so a claim that took it already takes nothing.
    func takeFromInbox(_ name: FileName, for id: JobID, expected: FileStatus.Content?) throws(FileFault) {
        let inbox = try openedInbox()
        guard let expected, let status = try files.status(inbox / name), status.content == expected,
            status.kind != .directory
        else { return }
        let target = home(id, .claimed) / Layout.input / name
        do {
            try files.rename(inbox / name, target)
            _ = leaveDirectory(target, at: inbox / name)
        } catch let fault where fault.errno == .improperLink {
            try takeAside(name, for: id, inbox)
        } catch let fault where fault.errno == .noSuchFileOrDirectory {
            return
        }
    }

    /// Puts a directory back that somebody slipped in under a file's name as it was taken: directories stay in the inbox.
    ///
    /// Returns whether it is back.
    private func leaveDirectory(_ taken: Location, at place: Location) -> Bool {
        do {
            guard try files.status(taken)?.kind == .directory else { return false }
            try files.renameNoReplace(taken, place)
            return true
        } catch {
            // It was taken, whatever it is, and ends like any other odd thing.
            note(error)
            return false
        }
    }

    /// Whether the photo of a claim is out of the inbox, wherever it stands by now, or there is none. One that was replaced at the
    /// last moment is another drop, and its spec goes with that.
    private func isPhotoTaken(_ entry: Entry) throws(FileFault) -> Bool {
        guard let image = entry.record.image else { return true }
        if try files.exists(home(entry.id, .claimed) / Layout.input / image) { return true }
        return try isAside(image, entry.id)
    }

    func openedInbox() throws(FileFault) -> DirectoryHandle {
        guard let inbox = watch.handle else {
            throw FileFault(errno: .noSuchFileOrDirectory, operation: .openRoot, object: watch.path)
        }
        return inbox
    }

    // MARK: Going on

    /// Brings a claim to its end from wherever it stopped.
    func advanceClaim(_ id: JobID) throws(FileFault) -> Progress {
        guard let entry = entries[id] else { return .finished }
        let home = home(id, .claimed)
        try files.makeDirectory(home)
        try files.makeDirectory(home / Layout.input)
        if let image = entry.record.image {
            try takeFromInbox(image, for: id, expected: entry.record.imageContent)
        }
        if let spec = entry.record.spec, try isPhotoTaken(entry) {
            try takeFromInbox(spec, for: id, expected: entry.record.specContent)
        }
        guard try bringOver(id) else { return .again(after: configuration.settle) }

        let inputs = try inputs(of: id)
        guard !inputs.isEmpty else {
            try discard(home)
            forget(id)
            return .finished
        }
        var current = entries[id] ?? entry
        current.image = inputs.first { !view.rules.isSpec($0.name) }?.name
        current.spec = inputs.first { view.rules.isSpec($0.name) }?.name
        remember(current)
        guard hasStoodStill(id, inputs) else { return .again(after: configuration.settle) }
        return try settle(id, inputs)
    }

    /// Ends a claim that a fault stops with a failure: what could not be copied stays beside the inbox, and what is still in the inbox
    /// is not part of it. False when it has no file.
    ///
    /// The verdict is written first: whatever is cut off after that, the claim ends with it.
    func endClaim(_ id: JobID, _ failure: Failure) throws(FileFault) -> Bool {
        // Without the inbox nobody knows what stands beside it.
        _ = try openedInbox()
        guard var entry = entries[id] else { return false }
        var found = try inputs(of: id).map(\.name)
        found += try namesAside(id)
        guard !found.isEmpty else { return false }
        entry.record.verdict = RecordedFailure(failure)
        entry.image = found.first { !view.rules.isSpec($0) }
        entry.spec = found.first { view.rules.isSpec($0) }
        (entry.record.image, entry.record.spec) = (entry.image, entry.spec)
        try write(entry.record, in: home(id, .claimed), durable: true)
        remember(entry)
        try keepAside(id)
        let claimed = try inputs(of: id)
        // As well as may be: the operator does not wait for the fault that stops the claim.
        try? makeDurable(claimed, in: home(id, .claimed) / Layout.input)
        let kept = claimed.first(where: \.isKept)
        try conclude(id, kept.map { place(failure, $0) } ?? failure)
        return true
    }

    /// A claimed file: in the job's `input/`, or kept in the inbox's `.memvpd/kept/JOB/` because it could not be copied.
    struct Input {
        let name: FileName
        let location: Location
        let status: FileStatus
        let isKept: Bool
    }

    private func inputs(of id: JobID) throws(FileFault) -> [Input] {
        var inputs: [Input] = []
        let directories =
            [(home(id, .claimed) / Layout.input, false)] + (try keptDirectory(id).map { [($0, true)] } ?? [])
        for (directory, isKept) in directories {
            for name in try files.list(directory) {
                guard let status = try files.status(directory / name) else { continue }
                inputs.append(Input(name: name, location: directory / name, status: status, isKept: isKept))
            }
        }
        return inputs
    }

    /// Whether the files are those that were seen before the claim, or have stood unchanged for `settle` since.
    private func hasStoodStill(_ id: JobID, _ inputs: [Input]) -> Bool {
        guard var entry = entries[id] else { return true }
        func content(_ name: FileName?) -> FileStatus.Content? { inputs.first { $0.name == name }?.status.content }
        let contents = [content(entry.image), content(entry.spec)]
        let expected = [entry.record.imageContent, entry.record.specContent]
        if zip(contents, expected).allSatisfy({ $0 == nil || $1 == nil || $0 == $1 }) { return true }

        let now = clock.monotonic
        if let watched = entry.watched, watched.contents == contents, watched.since + configuration.settle <= now {
            (entry.record.imageContent, entry.record.specContent) = (contents[0], contents[1])
            entry.record.settled = true
            remember(entry)
            return true
        }
        if entry.watched?.contents != contents {
            entry.watched = (contents, now)
            remember(entry)
        }
        return false
    }

    /// Everything is in: the claim ends as a queued job, as part of another job, or as a failure.
    private func settle(_ id: JobID, _ inputs: [Input]) throws(FileFault) -> Progress {
        guard var entry = entries[id] else { return .finished }
        let kept = inputs.first(where: \.isKept)
        if entry.image == nil, kept == nil, let other = entry.record.joins.flatMap({ JobID($0) }),
            try hand(id, over: other)
        {
            return .finished
        }
        var verdict = entry.record.verdict?.failure
        if let known = verdict, let kept { verdict = place(known, kept) }
        if verdict == nil {
            switch try check(inputs, joins: entry.record.joins) {
            case .success(let summary): entry.record.priority = summary?.priority ?? 0
            case .failure(let failure): verdict = failure
            }
        }
        (entry.record.image, entry.record.spec) = (entry.image, entry.spec)
        entry.record.imageContent = inputs.first { $0.name == entry.image }?.status.content
        entry.record.specContent = inputs.first { $0.name == entry.spec }?.status.content
        remember(entry)
        if let verdict {
            // Its error is published in a moment: a power cut must not lose what it is about, nor put it back into the inbox.
            try makeDurable(inputs, in: home(id, .claimed) / Layout.input)
            syncInbox()
            try seal(id, failing: verdict)
            return .onward
        }
        try enqueue(id, inputs)
        return .finished
    }

    /// S2 to S3. From here on the spool answers for the drop, so everything is made durable first.
    private func enqueue(_ id: JobID, _ inputs: [Input]) throws(FileFault) {
        note(id, .queued)
        guard let entry = entries[id] else { return }
        let home = home(id, .claimed)
        for input in inputs { try files.syncFile(input.location) }
        try write(entry.record, in: home, durable: true)
        try files.syncDirectory(home / Layout.input)
        try files.syncDirectory(home)
        try move(id, to: .queued)
        entries[id]?.hasUnwrittenSteps = false
        putInQueue(id)
        if let image = entry.image { report(.queued(id, image: image, spec: entry.spec)) }
        do {
            try files.syncDirectory(directory(.queued))
            syncInbox()
        } catch {
            // The drop is claimed all the same; undone by a power cut, it is claimed again.
            note(error)
        }
    }

    /// Makes inputs and their names durable. What stays beside the inbox is not in the spool; what is no regular file has no bytes;
    /// and what may not be read is no more than a name to us.
    func makeDurable(_ inputs: [Input], in directory: Location) throws(FileFault) {
        for input in inputs where !input.isKept && input.status.kind == .regular {
            do {
                try files.syncFile(input.location)
            } catch let fault where fault.isDenied {
                continue
            }
        }
        try files.syncDirectory(directory)
    }

    /// Makes durable, as well as may be, that files have left the inbox: undone by a power cut, they are there again.
    func syncInbox() {
        do {
            if let inbox = watch.handle { try files.syncDirectory(inbox.here) }
        } catch {
            note(error)
        }
    }

    /// Gives a job its place in the queue, by what its record says.
    func putInQueue(_ id: JobID, at: Duration? = nil) {
        guard let record = entries[id]?.record else { return }
        let lane: JobQueue.Lane = record.alone ? .suspect : record.attempts > 0 ? .retried : .fresh
        queue.insert(id, priority: record.priority, lane: lane, at: at)
        if at == nil { gate.open() }
    }

    /// Removes a job's directory that holds no inputs.
    func discard(_ home: Location) throws(FileFault) {
        for name in try files.list(home) where name != Layout.input { try files.remove(home / name) }
        try files.removeDirectory(home / Layout.input)
        try files.removeDirectory(home)
    }

    // MARK: Joining

    /// A spec joins a job that waits. Where a rename cannot reach it, the spec is claimed first and then handed over.
    func join(_ spec: FileName, to id: JobID) {
        guard let entry = entries[id], entry.isWaiting, entry.spec == nil, let inbox = watch.handle else { return }
        let target = home(id, entry.state) / Layout.input / spec
        do {
            try files.rename(inbox / spec, target)
            if leaveDirectory(target, at: inbox / spec) { return view.forget(spec) }
        } catch {
            if error.errno == .improperLink {
                claim(image: nil, spec: spec, joins: id)
            } else if error.errno == .noSuchFileOrDirectory {
                view.forget(spec)
            } else {
                pauseIntake(error)
            }
            return
        }
        intakePause = Pause(until: .zero, tries: 0)
        view.forget(spec)
        admit(spec, to: id)
    }

    /// Renames a claimed spec into the job that it joins; false when that job no longer waits for one.
    private func hand(_ id: JobID, over other: JobID) throws(FileFault) -> Bool {
        guard let spec = entries[id]?.spec, let target = entries[other], target.isWaiting, target.spec == nil else {
            return false
        }
        let from = home(id, .claimed)
        try files.rename(from / Layout.input / spec, home(other, target.state) / Layout.input / spec)
        admit(spec, to: other)
        try discard(from)
        forget(id)
        return true
    }

    /// Takes note of a spec that stands in a waiting job's `input/`.
    func admit(_ spec: FileName, to id: JobID) {
        guard var entry = entries[id] else { return }
        entry.spec = spec
        remember(entry)
        note(id, .joined, spec.description)
        report(.joined(id, spec: spec))
        advance(id)
    }
}
