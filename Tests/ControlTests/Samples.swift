// Documents for the tests, and a daemon that gives them.

import Diagnostics

@testable import Control

enum Samples {
    static let now = Timestamp(milliseconds: 1_795_432_953_456)  // 2026-11-23T11:22:33.456Z

    static let status = StatusDocument(
        state: "running",
        daemon: .init(
            version: "0.1.0", processID: 4711, startedAt: Timestamp(milliseconds: now.milliseconds - 273_753_000),
            uptimeSeconds: 273_753),
        model: .init(
            name: "smollm2-135m-efficientnet-lite2", precision: "int8", kernels: "avx512vnni", threads: 2, workers: 1,
            batch: 16, adapters: ["ask": "questions", "caption": "captions"]),
        queue: .init(
            jobs: [
                "waiting": 1, "queued": 12, "claimed": 0, "running": 4, "held": 1, "deferred": 0, "answered": 0,
                "failed": 2,
            ], held: false,
            oldestSeconds: 3.21),
        throughput: .init(perMinute: 212, answered: 1204, errors: 3),
        stages: [
            .init(stage: "queued", p50Milliseconds: 812.5, p95Milliseconds: 3_400, count: 1204),
            .init(stage: "jpeg", p50Milliseconds: 4.2, p95Milliseconds: 9.87, count: 1201),
            .init(stage: "vision", p50Milliseconds: 19.4, p95Milliseconds: 22.1, count: 1201),
            .init(stage: "total", p50Milliseconds: 1_150, p95Milliseconds: 65_000, count: 1204),
        ],
        lastError: .init(
            at: Timestamp(milliseconds: now.milliseconds - 754_000), job: "20261123T110958.356102Z-9f3a01bc",
            file: FileLabel("holiday.jpg"),
            error: ErrorDetail(
                Failure(
                    .corruptImage, "holiday.jpg", "the data ends in the middle of the picture, at byte 81,920",
                    hint: "Copy it again, then: memvpctl retry 20261123T110958.356102Z-9f3a01bc."))),
        directories: [
            .init(role: "inbox", path: "/var/lib/memvpd/inbox", watch: "inotify"),
            .init(
                role: "inbox", path: "/srv/camera", watch: "poll", note: "it is on nfs4, which sends no inotify events"),
            .init(role: "spool", path: "/var/lib/memvpd/spool"),
            .init(role: "outbox", path: "/var/lib/memvpd/outbox"),
            .init(role: "done", path: "/var/lib/memvpd/done", jobs: 1204, bytes: 3_214_000_000),
        ],
        inbox: .init(
            ignored: ["dot_file": 3, "partial": 1], directories: [FileLabel("2025")],
            waiting: [
                .init(file: FileLabel("slow.jpg"), reason: "is being written", remainingSeconds: 3_541),
                .init(file: FileLabel("alone.yaml"), reason: "waiting for a photo of its stem", remainingSeconds: nil),
            ]), warnings: [])

    static let queue = QueueDocument(
        held: false, total: 17,
        jobs: [
            QueueEntry(
                job: "20261123T112230.246000Z-0c11d2e4", state: "running", image: FileLabel("beach.jpg"),
                spec: FileLabel("beach.yaml"),
                priority: 5, since: Timestamp(milliseconds: now.milliseconds - 3210)),
            QueueEntry(
                job: "20261123T112231.356000Z-71b0aa93", state: "queued",
                image: FileLabel([0x66, 0xFC, 0x72, 0x0A, 0x2E, 0x6A]),
                since: Timestamp(milliseconds: now.milliseconds - 2100), position: 1),
            QueueEntry(
                job: nil, state: "waiting", image: nil, spec: FileLabel("日本の写真.yaml"),
                since: Timestamp(milliseconds: now.milliseconds - 3_600_000), note: "its image has not come"),
        ])

    static let job = JobDocument(
        entry: QueueEntry(
            job: "20261123T110958.356102Z-9f3a01bc", state: "failed", image: FileLabel("holiday.jpg"),
            spec: FileLabel("holiday.yaml"),
            since: Timestamp(milliseconds: now.milliseconds - 754_000)),
        explanation:
            "The job ended with an error, which stands in the outbox. Its inputs are kept in failed/20261123T110958.356102Z-9f3a01bc; memvpctl retry makes a new job of them.",
        history: [
            .init(at: Timestamp(milliseconds: now.milliseconds - 755_100), event: "claimed"),
            .init(at: Timestamp(milliseconds: now.milliseconds - 754_200), event: "running", note: "batch of 4"),
            .init(at: Timestamp(milliseconds: now.milliseconds - 754_000), event: "failed", note: "corrupt_image"),
        ],
        attempts: 2, strikes: 1, retryOf: "20261122T090000.000417Z-5e5e01fa", answer: FileLabel("holiday-2.json"),
        error: status.lastError?.error, timing: ["queued": 900.4, "jpeg": 3.2, "total": 1100])

    static let health = HealthDocument(checks: [
        .init("model", ok: true), .init("inbox", ok: false, message: "is gone", path: "/secret/in"),
    ])
}

/// Answers with the samples, and with who asked.
struct SampleOperations: ControlOperations {
    var healthy = true
    var troubles: [ErrorDetail]?

    func status() async -> StatusDocument {
        var status = Samples.status
        status.troubles = troubles
        return status
    }
    func health() async -> HealthDocument {
        healthy ? HealthDocument(checks: [.init("model", ok: true)]) : Samples.health
    }
    func metrics() async -> String { "memvpd_held 0\n" }
    func queue(state: String?, limit: Int) async throws(Failure) -> QueueDocument { Samples.queue }
    func job(_ id: String) async throws(Failure) -> JobDocument {
        guard id == Samples.job.entry.job else {
            throw Failure(.notFound, "job \(id)", "does not exist", hint: "memvpctl queue lists the jobs.")
        }
        return Samples.job
    }
    func hold(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument { ActionDocument("held") }
    func release(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument { ActionDocument("released") }
    func drain(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument { ActionDocument("draining") }
    func reload(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument { ActionDocument("reloaded") }
    func hold(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        ActionDocument("held", jobs: [id])
    }
    func release(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        ActionDocument("released", jobs: [id])
    }
    func retry(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        ActionDocument("retried", jobs: [id])
    }
    func retryAll(by peer: PeerCredentials?) async throws(Failure) -> ActionDocument { ActionDocument("all retried") }
    func remove(_ id: String, by peer: PeerCredentials?) async throws(Failure) -> ActionDocument {
        ActionDocument("removed by \(peer?.userID ?? 0)", jobs: [id])
    }
}
