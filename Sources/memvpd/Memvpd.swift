// memvpd: the daemon (DESIGN 3).

internal import ArgumentParser
internal import Commands

@main
enum Memvpd {
    static func main() async { await DaemonCommand.main() }
}
