package telemetry

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version and revision are stamped by the Makefile: -ldflags "-X …telemetry.version=…".
var version, revision string

// Version says what was built.
type Version struct {
	Version  string // v1.2.0, or devel
	Revision string // commit, or unknown
	Go       string // go1.26.8
}

// BuildVersion returns what the linker stamped, else what the Go tool knows.
func BuildVersion() Version {
	v := Version{Version: version, Revision: revision, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && v.Revision == "" {
				v.Revision = s.Value
			}
		}
	}
	if v.Version == "" {
		v.Version = "devel"
	}
	if v.Revision == "" {
		v.Revision = "unknown"
	}
	return v
}

// String is one line for people.
func (v Version) String() string {
	return fmt.Sprintf("candlestack %s (revision %s, %s)", v.Version, v.Revision, v.Go)
}
