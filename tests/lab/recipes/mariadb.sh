# The database server, kept small: a lab's tables hold next to nothing.
set -eu
apt-get install -y -q --no-install-recommends mariadb-server
cat >/etc/mysql/mariadb.conf.d/90-lab.cnf <<'END'
[mariadbd]
bind-address = 0.0.0.0
skip-name-resolve
max_connections = 400
performance_schema = off
key_buffer_size = 1M
innodb_buffer_pool_size = 64M
innodb_log_file_size = 16M
innodb_log_buffer_size = 2M
innodb_flush_log_at_trx_commit = 2
END
systemctl -q enable mariadb.service
