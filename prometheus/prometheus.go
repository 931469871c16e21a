// Package prometheus holds what Prometheus is told: its configuration, its
// targets, recording and alert rules, and a runbook for each alert. The compose
// stack mounts this folder; the demo and the tests read it from here.
package prometheus

import "embed"

// Files holds prometheus.yml, targets/ (a file an environment) and rules/ (a
// folder a subject), under these paths.
//
//go:embed prometheus.yml targets/*.yml rules/pipeline/*.yml rules/kafka/*.yml rules/foreign/*.yml rules/demo/*.yml
var Files embed.FS
