// memvpctl: the operator's tool (DESIGN 3).

internal import Commands

@main
enum Memvpctl {
    static func main() { ControlCommand.start() }
}
