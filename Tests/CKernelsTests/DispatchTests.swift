// Which paths this machine runs, and that it says so.
import Foundation
import Testing

@Suite struct DispatchTests {
    @Test func scalarIsAlwaysThere() throws {
        #expect(Path.scalar.isAvailable)
        #expect(try #require(Path.best).isAvailable)
    }

    @Test(arguments: Path.allCases)
    func tablesCarryTheirNames(path: Path) throws {
        #expect(try path.kernels().name == path.rawValue)
    }

    /// Fails where detection overlooks a path: /proc/cpuinfo is the kernel's own reading of the processor.
    @Test func detectionAgreesWithTheKernel() throws {
        let text = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
        let line = text.split(separator: "\n").first { $0.hasPrefix("flags") || $0.hasPrefix("Features") }
        let flags = Set(try #require(line).split(separator: " ").map(String.init))
        #expect(Path.avx2.isAvailable == flags.isSuperset(of: ["avx2", "fma"]))
        #expect(
            Path.avx512vnni.isAvailable
                == flags.isSuperset(of: ["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"]))
        #expect(Path.neon.isAvailable == flags.contains("asimd"))
    }
}
