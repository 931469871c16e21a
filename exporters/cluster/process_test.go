package cluster_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// process is an exporter at work.
type process struct {
	cmd *exec.Cmd
	url string
}

// start starts an exporter that ends with the test.
func start(t testing.TB, binary string, flags ...string) *process {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	var log bytes.Buffer
	p := &process{cmd: exec.Command(binary, append(flags, "--web.listen-address="+address)...), url: "http://" + address}
	p.cmd.Stderr = &log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		if err := p.cmd.Wait(); p.cmd.ProcessState.ExitCode() > 0 { // not one that the signal ended
			t.Errorf("the exporter: %v\n%s", err, &log)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if answer, err := http.Get(p.url + "/healthz"); err == nil {
			_ = answer.Body.Close()
			return p
		}
		if time.Now().After(deadline) {
			t.Fatal("the exporter does not serve after a minute")
		}
	}
}

// get reads a page as it comes.
func (p *process) get(t testing.TB, path, accept string) []byte {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", accept)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
