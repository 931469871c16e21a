// Package grafana holds what Grafana is told: data sources and dashboards as
// files. Grafana reads them from disk; the demo and the tests read them from here.
//
// The dashboards are written by generate; `make dashboards` runs it.
package grafana

import "embed"

// Dashboards holds dashboards/<name>.json, one classic dashboard each, whose uid
// is candlestack-<name>.
//
//go:embed dashboards/*.json
var Dashboards embed.FS

// Provisioning holds what lies below Grafana's provisioning folder, under
// provisioning/. Grafana puts environment variables in the place of ${NAME}:
// PROMETHEUS_URL, MYSQL_ADDRESS (host:port), MYSQL_USER, MYSQL_PASSWORD,
// ALERTMANAGER_URL.
//
//go:embed provisioning/*/*.yml
var Provisioning embed.FS
