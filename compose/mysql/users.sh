#!/bin/bash
# The image makes root and candlestack, the sink's user, who owns market. Here are those who only read, and lab, where the
# notebooks' faulty data lie. Runs once, when the volume is new.
set -eu
secret() { cat "/run/secrets/$1"; }
MYSQL_PWD=$(secret mysql-root-password) mysql --protocol=socket -uroot <<SQL
CREATE DATABASE lab;
GRANT ALL ON lab.* TO candlestack@'%';
CREATE USER reader@'%' IDENTIFIED BY '$(secret mysql-reader-password)';
GRANT SELECT, SHOW VIEW ON market.* TO reader@'%';
GRANT SELECT, SHOW VIEW ON lab.* TO reader@'%';
CREATE USER exporter@'%' IDENTIFIED BY '$(secret mysql-exporter-password)' WITH MAX_USER_CONNECTIONS 3;
GRANT PROCESS, REPLICATION CLIENT ON *.* TO exporter@'%';
GRANT SELECT ON performance_schema.* TO exporter@'%';
SQL
