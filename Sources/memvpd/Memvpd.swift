// memvpd: the daemon (DESIGN 3).

internal import Commands

@main
enum Memvpd {
    static func main() async { await DaemonCommand.start() }
}
