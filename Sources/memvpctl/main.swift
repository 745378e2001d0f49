// memvpctl: the operator's tool (DESIGN 3).

internal import ArgumentParser
internal import Commands

ControlCommand.main()
