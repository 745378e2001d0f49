// swift-tools-version: 6.2
// Targets mirror the layout in ARCHITECTURE.md; imports point one way only (Tests/RepositoryTests checks it).
import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),  // Span accessors of our own storage name what they borrow
    .treatAllWarnings(as: .error),
]

let cSettings: [CSetting] = [
    .enableWarning("all"),
    .enableWarning("extra"),
    .treatAllWarnings(as: .error),
    .define("_GNU_SOURCE"),
    .unsafeFlags(["-O3"]),  // kernels are compiled for speed in every configuration
]

/// A library of ours with its tests.
func library(
    _ name: String, _ dependencies: [Target.Dependency], tests: [Target.Dependency] = [], fixtures: Bool = false
) -> [Target] {
    [
        .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings),
        .testTarget(
            name: "\(name)Tests", dependencies: [.target(name: name)] + dependencies + tests,
            resources: fixtures ? [.copy("Fixtures")] : [], swiftSettings: swiftSettings),
    ]
}

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
    .product(name: "NIOHTTP1", package: "swift-nio"),
]
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let heap: Target.Dependency = .product(name: "HeapModule", package: "swift-collections")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

var targets: [Target] = [
    .target(name: "CKernels", cSettings: cSettings),
    .target(name: "CAllocations", path: "Tests/CAllocations", cSettings: cSettings),
    .testTarget(name: "CKernelsTests", dependencies: ["CKernels"], swiftSettings: swiftSettings),
    .target(name: "CJPEG", cSettings: cSettings, linkerSettings: [.linkedLibrary("jpeg")]),
    .target(name: "CPNG", cSettings: cSettings, linkerSettings: [.linkedLibrary("png")]),
    .target(name: "CLinux", cSettings: cSettings),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
]
targets += library("Diagnostics", [])
targets += library("Tensor", ["CKernels", "Diagnostics"])
targets += library("Files", ["Diagnostics"])
targets += library("ModelFile", ["Diagnostics", "Files", "Tensor"], fixtures: true)
targets += library("Text", ["Diagnostics", "ModelFile", heap], fixtures: true)
targets += library("Vision", ["CJPEG", "CPNG", "Diagnostics", "ModelFile", "Tensor"], fixtures: true)
targets += library("Language", ["Diagnostics", "ModelFile", "Tensor", heap])
targets += library("Specification", ["CYAML", "Diagnostics", "Files"])
targets += library("Spool", ["CLinux", "Diagnostics", heap, system])
targets += library("Control", ["Diagnostics", logging] + nio, fixtures: true)
targets += library(
    "MemVP",
    [
        "CLinux", "Diagnostics", "Files", "Language", "ModelFile", "Specification", "Tensor", "Text", "Vision", crypto,
    ],
    tests: ["CAllocations"], fixtures: true)
targets += library(
    "FineTuning",
    [
        "Diagnostics", "Files", "Language", "MemVP", "ModelFile", "Specification", "Tensor", "Text", "Vision", crypto,
        system,
    ], fixtures: true)
targets += library(
    "Daemon",
    ["Control", "Diagnostics", "MemVP", "Specification", "Spool", "Tensor", "Vision", logging, system])
targets += library(
    "Commands",
    [
        "Control", "Daemon", "Diagnostics", "Files", "FineTuning", "Language", "MemVP", "ModelFile", "Specification",
        "Spool", "Tensor", "Text", "Vision", arguments, logging, system,
    ], fixtures: true)
targets += ["memvpd", "memvpctl", "memvp"].map {
    .executableTarget(name: $0, dependencies: ["Commands"], swiftSettings: swiftSettings)
}
targets += [
    .testTarget(name: "RepositoryTests", swiftSettings: swiftSettings),
    .testTarget(
        name: "EndToEndTests", dependencies: ["memvpd", "memvpctl", "memvp"], resources: [.copy("Fixtures")],
        swiftSettings: swiftSettings),
]

let package = Package(
    name: "memvpd",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: targets,
    cLanguageStandard: .c17
)
