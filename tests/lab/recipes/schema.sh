# Fills the database: runs on a merger of the mariadb and controller layers, of which only /var/lib/mysql is kept.
set -eu
password=$(cat /run/lab/secret/database)
echo '127.0.0.1 localhost db1' >/etc/hosts
install -d -o mysql -g mysql /run/mysqld

# Nothing here outlives a failed build, so nothing is flushed to disk until the server stops.
mariadbd --user=mysql --skip-log-bin --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=0 \
    --skip-innodb-doublewrite >/tmp/mariadbd.log 2>&1 &
server=$!
tries=0
until mariadb-admin ping >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ] || ! kill -0 $server; then cat /tmp/mariadbd.log; exit 1; fi
    sleep 0.1
done

account() { # USER DATABASE...
    user=$1
    shift
    echo "CREATE USER '$user'@'%' IDENTIFIED BY '$password';"
    for name; do
        echo "CREATE DATABASE $name CHARACTER SET utf8mb4;"
        echo "GRANT ALL ON $name.* TO '$user'@'%';"
    done
}
{
    account nova nova nova_api nova_cell0
    for project in cinder heat glance neutron; do account $project $project; done
} | mariadb

# The cell's URLs are templates: nova fills them from its own transport_url and [database], whatever those become.
template='{scheme}://{username}:{password}@{hostname}:{port}/{path}?{query}'
nova() {
    nova-manage api_db sync
    nova-manage cell_v2 map_cell0
    nova-manage db sync
    nova-manage cell_v2 create_cell --name cell1 \
        --transport-url "$template" --database_connection "$template"
}
others() {
    heat-manage db_sync
    cinder-manage db sync
    glance-manage db_sync
}
neutron() {
    neutron-db-manage --config-file /etc/neutron/neutron.conf \
        --config-file /etc/neutron/plugins/ml2/ml2_conf.ini upgrade head
}
branches=
for branch in nova neutron others; do
    (set -e; $branch) >/tmp/$branch.log 2>&1 &
    branches="$branches $branch:$!"
done
for branch in $branches; do
    wait "${branch#*:}" || { tail -30 "/tmp/${branch%:*}.log"; exit 1; }
done
mariadb-admin shutdown
wait $server
