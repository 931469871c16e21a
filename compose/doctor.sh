#!/usr/bin/env bash
# Can the stack run here? One line for each thing that is in the way, which says what to do; nothing, and 0, if all is well.
# Bash for its /dev/tcp: bash is everywhere, nc is not. It runs on the bash of macOS too, which is 3.2.
set -u
cd "$(dirname "$0")/.." || exit 1

COMPOSE=2.25 # the first with !override, !reset and paths of env_file that work
ENGINE=25    # the first with start_interval
DISK=6000    # MB for the images and a week of data
SKEW=5       # seconds

bad=0
say() { bad=1; echo "doctor: $*" >&2; }
end() { say "$@"; exit 1; }
# older A B: is version A before B?
older() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -t. -k1,1n -k2,2n | head -n 1)" != "$2" ]; }
# seconds RFC3339: since 1970; date can read a time here and not there.
seconds() {
  local y=${1:0:4} m=$((10#${1:5:2})) d=$((10#${1:8:2})) zone=${1:19} off=0
  zone=${zone#"${zone%%[Z+-]*}"}
  [ "$zone" = Z ] || [ -z "$zone" ] || off=$((${zone:0:1}(10#${zone:1:2} * 3600 + 10#${zone:4:2} * 60)))
  y=$((m > 2 ? y : y - 1)) m=$(((m + 9) % 12))
  echo $(((365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + d - 719469) * 86400 +
    10#${1:11:2} * 3600 + 10#${1:14:2} * 60 + 10#${1:17:2} - off))
}

# Docker.
command -v docker >/dev/null || end 'there is no docker: install Docker Engine with its compose plugin, or Docker Desktop'
info=$(docker info -f '{{.ServerVersion}}|{{.MemTotal}}|{{.SystemTime}}|{{.DockerRootDir}}' 2>/dev/null) && [ -n "${info%%|*}" ] ||
  end 'Docker does not answer: start it, and see that you may use it (docker info)'
IFS='|' read -r version memory clock root <<<"$info"
! older "$version" $ENGINE || say "Docker Engine $version is older than $ENGINE: update it"
version=$(docker compose version --short 2>/dev/null) || end 'docker has no compose: install its plugin docker-compose'
! older "${version#v}" $COMPOSE || say "docker compose $version is older than $COMPOSE: update it"

# Settings: first what compose itself finds wrong in .env and in the files that it names, then what only our commands know.
config=$(docker compose config --format json 2>&1) || end ".env: $(tail -n 1 <<<"$config")"
# setting NAME VARIABLE PATTERN MEANING; VARIABLE ends the name in a container, where compose has put the value.
setting() {
  local value
  value=$(sed -n "s/^ *\"[A-Z_]*${2}\": \"\(.*\)\",\{0,1\}$/\1/p" <<<"$config" | head -n 1)
  [[ -z $value || $value =~ ^($3)$ ]] || say ".env: $1 \"$value\" is not $4"
}
setting SEED SIMULATE_SEED '-?[0-9]{1,18}' 'a whole number'
setting INSTRUMENTS BINANCE_INSTRUMENTS '([A-Z0-9]{1,20}-[A-Z0-9]{1,20})(,[A-Z0-9]{1,20}-[A-Z0-9]{1,20})*' 'a list such as BTC-USDT,ETH-USDT'
setting RETENTION TOPICS_RETENTION '[0-9]+h' 'a number of hours such as 168h'
setting HISTORY_SINCE BINANCE_SINCE '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z' 'a time such as 2024-01-01T00:00:00Z'
setting HISTORY_UNTIL BINANCE_UNTIL '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z' 'a time such as 2024-01-01T00:00:00Z'
value=$(sed -n 's/.*"--storage.tsdb.retention.time=\(.*\)".*/\1/p' <<<"$config")
[[ -z $value || $value =~ ^[0-9]+[hdwy]$ ]] || say ".env: PROMETHEUS_RETENTION \"$value\" is not a time such as 15d"

# Ports, but those that this stack holds already.
ours=$(docker compose ps --format '{{.Ports}}' 2>/dev/null)
ports=$(sed -n 's/^ *"published": "\([0-9]*\)".*/\1/p' <<<"$config")
for port in $(sort -n <<<"$ports" | uniq -d); do say ".env: port $port is given to two services"; done
for port in $(sort -nu <<<"$ports"); do
  case $ours in *":$port->"*) continue ;; esac
  ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || say "port $port is taken: stop what listens on it, or give another one in .env"
done

# Memory: the limits of all services, which they do not reach all at once.
need=$(sed -n 's/^ *"mem_limit": "\([0-9]*\)".*/\1/p' <<<"$config" | awk '{ sum += $1 } END { print int(sum / 1048576) }')
[ $((memory / 1048576)) -ge "$need" ] ||
  say "Docker has $((memory / 1048576)) MB of memory and the stack may take $need: give it more (Docker Desktop: Settings, Resources)"
if [ -z "$ours" ] && free=$(free -m 2>/dev/null | awk '/^Mem:/ { print $7 }') && [ -n "$free" ]; then
  [ "$free" -ge $((need * 2 / 3)) ] || say "$free MB of memory are free and the stack needs $((need * 2 / 3)): close something"
fi

# Disk, where Docker keeps its data; in a virtual machine that is a file here.
[ -d "$root" ] || root=.
free=$(df -Pk "$root" | awk 'NR == 2 { print int($4 / 1024) }')
[ "$free" -ge $DISK ] || say "$free MB of disk are free at $root and the stack needs $DISK: make room (docker system prune)"

# The clock: a virtual machine's falls behind while the laptop sleeps, and then no age of anything is right.
skew=$(($(seconds "$clock") - $(seconds "$(date -u +%Y-%m-%dT%H:%M:%SZ)")))
[ ${skew#-} -le $SKEW ] || say "Docker's clock is ${skew#-} seconds from this machine's: restart Docker"

exit $bad
