// Runs the questions of a data set through one answerer, many photos at a time: each photo is encoded once, and tasks of
// several photos share forward passes.
//
// Invariants: every task has its outcome, in the place of the task; a photo that cannot be used costs its own tasks alone.
// Without images the memory is the same everywhere, so equal tasks are run once.

internal import Diagnostics
internal import Files
internal import MemVP
internal import Specification
internal import Vision

/// A photo with what is asked about it.
struct PhotoTasks {
    /// The photo's path; nil for no image.
    var image: String?
    /// One task or more.
    var tasks: [TaskSpec.Task]
}

/// Answers photos in batches.
struct BatchedAnswers {
    /// What came of a task.
    typealias Outcome = Result<Answer, Failure>

    let answerer: Answerer

    /// Runs all tasks.
    ///
    /// - Parameter progress: is told how many photos are done.
    /// - Returns: for each photo an outcome for each of its tasks.
    func run(_ photos: [PhotoTasks], progress: (Int) -> Void) -> [[Outcome]] {
        var outcomes: [[Outcome]] = Array(repeating: [], count: photos.count)
        var inFlight: [Int: (photo: Int, tasks: Range<Int>)] = [:]
        var next = 0
        var done = 0
        while next < photos.count || !inFlight.isEmpty {
            while next < photos.count, answerer.hasRoom {
                let photo = photos[next]
                outcomes[next] = Array(
                    repeating: .failure(Failure(.internalError, "evaluation", "a task was not run")),
                    count: photo.tasks.count)
                submit(photo, at: next, into: &outcomes[next], inFlight: &inFlight)
                if !inFlight.values.contains(where: { $0.photo == next }) { done += 1 }
                next += 1
            }
            for finished in answerer.step() {
                guard let place = inFlight.removeValue(forKey: finished.job) else { continue }
                if let failure = finished.answers.failure {
                    for task in place.tasks { outcomes[place.photo][task] = .failure(failure) }
                }
                for (task, answer) in zip(place.tasks, finished.answers.answers) {
                    outcomes[place.photo][task] = .success(answer)
                }
                if !inFlight.values.contains(where: { $0.photo == place.photo }) { done += 1 }
            }
            progress(done)
        }
        return outcomes
    }

    /// Submits a photo's tasks together; if one of them is refused, each on its own, so that the others are answered.
    private func submit(
        _ photo: PhotoTasks, at index: Int, into outcomes: inout [Outcome],
        inFlight: inout [Int: (photo: Int, tasks: Range<Int>)]
    ) {
        let image: PreparedImage?
        do throws(Failure) {
            image = try photo.image.map { (path) throws(Failure) in try prepare(path) }
        } catch {
            for task in outcomes.indices { outcomes[task] = .failure(error) }
            return
        }
        do throws(Failure) {
            let job = try answerer.submit(image: image, tasks: photo.tasks, contentSeed: 0)
            inFlight[job] = (index, photo.tasks.indices)
            return
        } catch {}
        for task in photo.tasks.indices {
            do throws(Failure) {
                let job = try answerer.submit(image: image, tasks: [photo.tasks[task]], contentSeed: 0)
                inFlight[job] = (index, task..<task + 1)
            } catch { outcomes[task] = .failure(error) }
        }
    }

    private func prepare(_ path: String) throws(Failure) -> PreparedImage {
        let limits = ImageLimits()
        let bytes = try InputFile.read(path, limit: limits.maxBytes, tooLarge: .imageTooLarge)
        do {
            return try answerer.bundle.prepare(photo: bytes, limits: limits)
        } catch { throw error.about(path) }
    }
}
