package stack

import "syscall"

// own gives a server a process group of its own, so that Ctrl-C in the terminal
// reaches only us and we stop it in order; it dies with us even if we are killed.
func own() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
