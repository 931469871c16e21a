#!/bin/sh
# Where to look. What does not run is left out.
set -eu
line() { # SERVICE PORT PATH WHAT
  at=$(docker compose port "$1" "$2" 2>/dev/null) && [ -n "$at" ] || return 0
  printf '%-14s %-46s %s\n' "$1" "$3$at$4" "$5"
}
line grafana 3000 http:// '' 'boards; to change something: admin, password in compose/secrets'
line prometheus 9090 http:// '' 'metrics and alert rules'
line alertmanager 9093 http:// '' 'alerts'
line exporter 9308 http:// '' 'what the exporter shows'
line simulator 9700 http:// '' 'the simulated exchange, and its faults'
line kafka 19092 '' '' 'bootstrap server'
line mysql 3306 '' '' 'database market, user reader'
line mongo 27017 mongodb://reader@ '/?directConnection=true' 'database news'
line adminer 8080 http:// '' 'MySQL in the browser'
line mongo-express 8081 http:// '' 'MongoDB in the browser'
line kafka-ui 8080 http:// '' 'Kafka in the browser'
line jupyter 8888 http:// '' 'notebooks; token in compose/secrets'
line kafka-exporter 9308 http:// '/metrics' 'the exporter that ours replaces'
