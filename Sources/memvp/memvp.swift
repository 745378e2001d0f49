// The memvp tool: caption, ask, convert, inspect, bench, trace, eval. All of it is in Commands.

internal import Commands
internal import Glibc

@main
enum Program {
    static func main() { exit(MemvpCommand.execute(Array(CommandLine.arguments.dropFirst()))) }
}
