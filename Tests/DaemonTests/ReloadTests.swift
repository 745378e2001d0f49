// What a reload takes over and what waits for a restart.

import Specification
import Spool
import Testing

@testable import Daemon

@Suite struct ReloadTests {
    @Test func reloadTakesTheModelAndLeavesDirectories() {
        var old = DaemonConfiguration()
        var new = old
        new.model = "/elsewhere"
        new.batch = 3
        new.limits.answerTokens = 99
        new.directories.inbox = "/other"
        new.threads = 7
        old.takeReloadable(from: new)
        #expect(old.model == "/elsewhere" && old.batch == 3 && old.limits.answerTokens == 99)
        #expect(old.directories == DaemonConfiguration().directories && old.threads == 0)
        #expect(old != new)
    }

    @Test func specFaultsNameTheirPlaceInWords() throws {
        let reader = SpecReader(limits: TaskSpec.Limits())
        #expect(try reader.inspect(Array("task: caption\npriority: 4\n".utf8)).priority == 4)
        let failure = #expect(throws: (any Error).self) { try reader.inspect(Array("task: caption\ncolour: x\n".utf8)) }
        #expect("\(try #require(failure))".contains("line 2, column 1"))
    }
}
