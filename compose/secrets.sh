#!/bin/sh
# Writes the passwords of the stack, and the forms of them that its programs want, into a folder: secrets.sh FOLDER
# [PASSWORD]. Without PASSWORD each is random. The files are readable by all, since images run as users of their own; the
# folder is not.
set -eu
folder=${1:?a folder}
[ ! -e "$folder" ] || { echo "secrets: $folder is there already" >&2; exit 1; }
umask 022
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

put() { printf '%s\n' "$2" >"$1"; }
word() { LC_ALL=C tr -dc A-Za-z0-9 </dev/urandom | dd bs=1 count=32 2>/dev/null; }
password() { if [ -n "${fixed:-}" ]; then echo "$fixed"; else word; fi; }
fixed=${2:-}

for user in root candlestack reader exporter; do
  mysql=$(password) mongo=$(password)
  case $user in candlestack) name= ;; *) name=-$user ;; esac
  put "mysql$name-password" "$mysql"
  put "mongo$name-password" "$mongo"
  case $user in
    candlestack | reader)
      put "mysql$name-dsn" "$user:$mysql@tcp(mysql:3306)/market"
      put "mongo$name-uri" "mongodb://$user:$mongo@mongo:27017/?replicaSet=rs0" ;;
    exporter)
      printf '[client]\nhost=mysql\nport=3306\nuser=exporter\npassword=%s\n' "$mysql" >mysql-exporter.cnf
      put mongodb-exporter.env "MONGODB_URI=mongodb://exporter:$mongo@mongo:27017/?directConnection=true" ;;
  esac
done
printf 'MYSQL_PASSWORD=%s\nGF_SECURITY_ADMIN_PASSWORD=%s\n' "$(cat mysql-reader-password)" "$(password)" >grafana.env
mongo=$(cat mongo-reader-password)
printf 'ME_CONFIG_MONGODB_URL=%s\nME_CONFIG_BASICAUTH_USERNAME=reader\nME_CONFIG_BASICAUTH_PASSWORD=%s\n' \
  "mongodb://reader:$mongo@mongo:27017/news?authSource=admin&replicaSet=rs0" "$mongo" >mongo-express.env
put jupyter.env "JUPYTER_TOKEN=$(password)"
put cryptopanic-token "${fixed:-put-the-token-here}"
if [ -n "$fixed" ]; then put mongo-key "Q2xhc3Nyb29tIGtleSBvZiBhIHJlcGxpY2Egc2V0IG9mIG9uZS4="; else dd if=/dev/urandom bs=64 count=1 2>/dev/null | base64 | tr -d '\n' >mongo-key; fi
