#!/usr/bin/env bash
# backup.sh save FOLDER     dumps the databases, stops the stack, archives its volumes and starts again what ran
# backup.sh restore FOLDER  fills the volumes of a stack that has none
#
# The volumes are the whole state: topics, offsets and stores belong together. The dumps are for another version or place:
# they hold the stores alone. Passwords are not in it, but the databases know them: restore with the same SECRETS.
set -euo pipefail
end() { echo "backup: $*" >&2; exit 1; }
[ -n "${2:-}" ] || end 'name a folder: BACKUP=FOLDER'
folder=$2
cd "$(dirname "$0")/.."

project=$(docker compose config --format json | sed -n '2s/.*"name": "\(.*\)".*/\1/p')
volumes() { docker volume ls -q --filter "label=com.docker.compose.project=$project"; }
# in_volume VOLUME COMMAND...: in a container of an image that the stack has anyway, as root: owners must survive.
in_volume() {
  docker run --rm -i --network none --user 0 --entrypoint "$2" -v "$1:/volume" "$(docker compose config --images mongo | head -n 1)" "${@:3}"
}
# dump SERVICE PROGRAM COMMAND FILE
dump() {
  docker compose exec -T "$1" sh -c "command -v $2" >/dev/null || { echo "backup: no dump of $1: its image has no $2"; return 0; }
  docker compose exec -T "$1" bash -c "$3" >"$4"
}

save() {
  [ ! -e "$folder" ] || end "$folder is there already"
  [ -n "$(volumes)" ] || end "$project has no volumes: there is nothing to save"
  mkdir -p "$folder"
  chmod 700 "$folder"
  local running volume
  running=$(docker compose ps --services --status running)
  case $'\n'$running$'\n' in
    *$'\nmysql\n'*) dump mysql mysqldump 'MYSQL_PWD=$(cat /run/secrets/mysql-root-password) mysqldump -uroot --single-transaction --routines --set-gtid-purged=OFF --databases market lab | gzip' "$folder/mysql.sql.gz" ;;
    *) echo 'backup: no dump of mysql: it does not run' ;;
  esac
  case $'\n'$running$'\n' in
    *$'\nmongo\n'*) dump mongo mongodump 'mongodump --quiet --username root --config <(echo "password: $(cat /run/secrets/mongo-root-password)") --archive --gzip' "$folder/mongo.archive.gz" ;;
    *) echo 'backup: no dump of mongo: it does not run' ;;
  esac
  docker compose --profile '*' stop
  for volume in $(volumes); do
    in_volume "$volume" tar -C /volume -cf - . | gzip -1 >"$folder/${volume#"${project}_"}.volume.tar.gz"
  done
  # shellcheck disable=SC2086 # a list of names
  [ -z "$running" ] || docker compose --profile '*' up -d --wait $running
  du -sh "$folder"
}

restore() {
  local archive
  ls "$folder"/*.volume.tar.gz >/dev/null 2>&1 || end "$folder holds no archives of volumes"
  [ -z "$(volumes)" ] || end "$project has data: make reset deletes them"
  for archive in "$folder"/*.volume.tar.gz; do gzip -t "$archive" || end "$archive is damaged"; done
  docker compose create --quiet-pull
  for archive in "$folder"/*.volume.tar.gz; do
    gzip -dc "$archive" | in_volume "${project}_$(basename "$archive" .volume.tar.gz)" tar -C /volume -xpf - --numeric-owner
  done
  echo 'backup: restored; make up starts it'
}

case $1 in save | restore) "$1" ;; *) end "save or restore, not $1" ;; esac
