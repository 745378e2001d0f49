// The memvp tool: caption, ask, convert, inspect, bench, trace, eval. All of it is in Commands.

internal import Commands
internal import Glibc

@main
enum Program {
    static func main() {
        // A file that grows beyond `ulimit -f` is then told as any other that cannot be written; the signal would end the process.
        signal(SIGXFSZ, SIG_IGN)
        exit(MemvpCommand.execute(Array(CommandLine.arguments.dropFirst())))
    }
}
