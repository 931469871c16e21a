//go:build !linux

package stack

import "syscall"

// own gives a server a process group of its own, so that Ctrl-C in the terminal
// reaches only us and we stop it in order.
func own() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
