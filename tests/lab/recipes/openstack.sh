# OpenStack services of Debian's, as their packages install them; the layer above configures them.
set -eu
apt-get install -y -q --no-install-recommends nova-conductor nova-scheduler cinder-scheduler heat-engine \
    glance-api neutron-rpc-server neutron-api python3-pymysql
