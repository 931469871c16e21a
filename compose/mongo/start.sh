#!/bin/bash
# mongod wants a key that is its own and nobody else's to read, which a secret is not: it keeps its owner and mode on the host.
set -eu
install -m 400 /run/secrets/mongo-key /data/configdb/key
MONGO_INITDB_ROOT_PASSWORD=$(cat /run/secrets/mongo-root-password)
export MONGO_INITDB_ROOT_PASSWORD
exec docker-entrypoint.sh "$@"
