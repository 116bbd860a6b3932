# A controller: the services of the openstack layer pointed at db1, without keystone, deaf on the bus.
# [oslo_messaging_notifications] and transport_url stay as Debian ships them: setting them is the product's work.
# Only nova gets a transport_url, the one a rabbitmq-server on the host itself would answer: nova fills its cell's
# URL template from it, and without any it makes "None" of the port and ends at once instead of waiting.
set -eu
here=/run/lab/recipes
password=$(cat /run/lab/secret/database)
iniset() { python3 "$here/iniset.py" "$@"; }
database() { printf 'mysql+pymysql://%s:%s@db1:3306/%s?charset=utf8mb4' "$1" "$password" "$2"; }

# Values with a password go in by stdin, one "section key value" a line: never on a command line.
iniset /etc/nova/nova.conf <<END
DEFAULT transport_url rabbit://guest:guest@localhost:5672/
database connection $(database nova nova)
api_database connection $(database nova nova_api)
conductor workers 1
scheduler workers 1
placement auth_type none
placement endpoint_override http://127.0.0.1:8778
END
iniset /etc/cinder/cinder.conf <<END
database connection $(database cinder cinder)
END
iniset /etc/heat/heat.conf <<END
DEFAULT num_engine_workers 1
database connection $(database heat heat)
END
iniset /etc/glance/glance-api.conf <<END
DEFAULT workers 1
DEFAULT enforce_secure_rbac false
database connection $(database glance glance)
glance_store stores file
glance_store default_store file
paste_deploy flavor
END
# As Debian ships it but for keystone, nova and the database: ML2 with drivers for agents that are nowhere.
iniset /etc/neutron/neutron.conf <<END
DEFAULT auth_strategy noauth
DEFAULT notify_nova_on_port_status_changes false
DEFAULT notify_nova_on_port_data_changes false
DEFAULT rpc_workers 1
database connection $(database neutron neutron)
END
# With threads neutron-api hangs as soon as its RPC is on AMQP 1.0 (docs/lab.md), and now and then when it is stopped.
iniset /etc/neutron/neutron-api-uwsgi.ini <<END
uwsgi processes 1
uwsgi threads 1
END
# Where Debian lets operators and plugins add to what both services read: before neutron.conf for neutron-api, after it
# for neutron-rpc-server.
echo '# Settings of this site.' >/etc/neutron/server.conf.d/site.conf
chown root:neutron /etc/neutron/server.conf.d/site.conf
chmod 0640 /etc/neutron/server.conf.d/site.conf

# The packages note the build machine's address here; each host gets its own when it boots first.
sed -i '/^my_ip *=/d' /etc/nova/nova.conf /etc/cinder/cinder.conf

install -m 0755 "$here/fake_placement.py" /usr/local/sbin/fake-placement
cat >/etc/systemd/system/fake-placement.service <<'END'
[Unit]
Description=Stand-in for the placement API, so that nova-scheduler starts (lab)
Before=nova-scheduler.service
[Service]
ExecStart=/usr/bin/python3 /usr/local/sbin/fake-placement
DynamicUser=yes
[Install]
WantedBy=multi-user.target
END
# Debian leaves some of them disabled at boot. They stay so, and yet must run: this starts them.
cat >/etc/systemd/system/lab-services.service <<'END'
[Unit]
Description=Start the OpenStack services that Debian leaves disabled at boot (lab)
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=systemctl start --no-block nova-conductor nova-scheduler cinder-scheduler heat-engine glance-api \
    neutron-rpc-server neutron-api
[Install]
WantedBy=multi-user.target
END
systemctl -q enable fake-placement.service lab-services.service
systemctl -q mask lvm2-monitor.service blk-availability.service lvm2-lvmpolld.socket dm-event.socket \
    rtslib-fb-targetctl.service tgt.service iscsid.service open-iscsi.service iscsid.socket multipathd.service \
    multipathd.socket
