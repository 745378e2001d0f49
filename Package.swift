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
]

let package = Package(
    name: "memvpd",
    targets: [
        .target(name: "Diagnostics", swiftSettings: swiftSettings),
        .target(name: "Tensor", dependencies: ["Diagnostics"], swiftSettings: swiftSettings),
        .testTarget(name: "DiagnosticsTests", dependencies: ["Diagnostics"], swiftSettings: swiftSettings),
    ],
    cLanguageStandard: .c17
)
