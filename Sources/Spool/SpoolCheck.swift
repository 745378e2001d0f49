// What is wrong with a drop, as far as the spool can tell without decoding it: each thing one explained failure.
//
// Whether it is an image at all is told by the extension; what the bytes are worth is the decoder's to say.

internal import Diagnostics
internal import SystemPackage

extension Spool {
    /// Checks claimed inputs: what their spec asks for, or the one failure that they get. Throws faults that may pass.
    func check(_ inputs: [Input], joins: String? = nil) throws(FileFault) -> Result<SpecSummary?, Failure> {
        let spec = inputs.first { view.rules.isSpec($0.name) }
        guard let image = inputs.first(where: { !view.rules.isSpec($0.name) }) else {
            // One that could not even be copied has its own fault to tell.
            if let spec, spec.isKept, let refusal = try refusal(of: spec) { return .failure(refusal) }
            return .failure(missingImage(spec?.name, joins))
        }
        if let failure = try failure(ofImage: image) { return .failure(failure) }
        guard let spec else { return .success(nil) }
        do {
            let summary = try summary(of: spec)
            guard Target(spec: spec.name, summary: summary).matches(image.name) else {
                return .failure(
                    Failure(
                        .specConflict, spec.name.description,
                        "was rewritten while it was taken, and names another image",
                        hint: "Drop the photo and its spec again."))
            }
            return .success(summary)
        } catch {
            return .failure(try refusal(error, of: spec))
        }
    }

    /// What is wrong with a spec, if something is.
    private func refusal(of spec: Input) throws(FileFault) -> Failure? {
        do {
            _ = try summary(of: spec)
            return nil
        } catch {
            return try refusal(error, of: spec)
        }
    }

    private func refusal(_ error: ReadFault, of spec: Input) throws(FileFault) -> Failure {
        switch error {
        case .refused(let failure): return failure
        case .changing: throw FileFault(errno: .resourceBusy, operation: .read, object: spec.location.description)
        case .fault(let fault) where fault.isDenied: return FileFault.unreadable(spec.name)
        case .fault(let fault): throw fault
        }
    }

    private func missingImage(_ spec: FileName?, _ joins: String?) -> Failure {
        guard let joins else {
            return Failure(
                .imageMissing, spec?.description ?? "", "its image is not there",
                hint: "Drop the photo and its spec again.")
        }
        return Failure(
            .specLate, spec?.description ?? "", "came while its photo was being answered (job \(joins))",
            hint: "Drop the photo again, together with this spec.")
    }

    private func failure(ofImage image: Input) throws(FileFault) -> Failure? {
        let name = image.name
        guard image.status.kind == .regular else { return place(Failure.notRegular(name, image.status.kind), image) }
        guard view.rules.isImage(name) else { return place(unsupported(name), image) }
        guard image.status.size > 0 else { return place(Failure.empty(name), image) }
        let limit = configuration.limits.imageBytes
        guard image.status.size <= Int64(limit) else {
            return place(Failure.tooLarge(.imageTooLarge, name, image.status.size, limit), image)
        }
        guard !image.isKept else { return place(FileFault.unreadable(name), image) }
        do {
            try files.withFile(image.location) { _ in }
            return nil
        } catch let fault where fault.isDenied {
            return FileFault.unreadable(name)
        }
    }

    private func unsupported(_ name: FileName) -> Failure {
        let known = configuration.imageExtensions.sorted().map { "." + $0 }.joined(separator: ", ")
        let given = name.lowercasedExtension
        return Failure(
            .unsupportedType, name.description,
            given.isEmpty
                ? "has no extension that names an image type" : "files of type .\(given) are not supported",
            hint: "Images: \(known). Task specs: .yaml, .yml. Save it as one of these and drop it again.")
    }

    private func summary(of spec: Input) throws(ReadFault) -> SpecSummary {
        if spec.isKept {
            guard spec.status.kind == .regular else {
                throw .refused(place(Failure.notRegular(spec.name, spec.status.kind), spec))
            }
            let limit = configuration.limits.specBytes
            guard spec.status.size <= Int64(limit) else {
                throw .refused(place(Failure.tooLarge(.specInvalid, spec.name, spec.status.size, limit), spec))
            }
            throw .refused(place(FileFault.unreadable(spec.name), spec))
        }
        return try inspect(spec.location, spec.name, spec.status)
    }

    /// Adds where a file stays that could not be copied.
    func place(_ failure: Failure, _ input: Input) -> Failure {
        guard input.isKept else { return failure }
        return Failure(
            failure.code, failure.object, failure.cause,
            hint: failure.hint + " The file stays in \(input.location).")
    }

    /// Reads the spec that joined a waiting job: its priority counts from now on; a refused one ends the job. Until that is done,
    /// the record does not name the spec, and the job is not handed out.
    func examine(_ id: JobID) throws(FileFault) -> Progress {
        guard let entry = entries[id], let image = entry.image, let spec = entry.spec else { return .finished }
        let directory = home(id, entry.state) / Layout.input
        var inputs: [Input] = []
        for name in [image, spec] {
            guard let status = try files.status(directory / name) else { continue }
            inputs.append(Input(name: name, location: directory / name, status: status, isKept: false))
        }
        let result = try check(inputs)
        // Before the record or an error says that it is there.
        try makeDurable(inputs.filter { $0.name == spec }, in: directory)
        syncInbox()
        switch result {
        case .failure(let failure):
            try seal(id, failing: failure)
            return .onward
        case .success(let summary):
            var record = entry.record
            record.spec = spec
            record.priority = summary?.priority ?? 0
            try write(record, in: home(id, entry.state), durable: true)
            try files.syncDirectory(home(id, entry.state))
            entries[id]?.record = record
            if entry.state == .queued { putInQueue(id) }
            // A deferred job may have come due while its spec was yet to be read.
            gate.open()
            return .finished
        }
    }
}
