# A light service host: relay, two small services on real oslo.messaging, deaf on the bus as Debian's services are.
set -eu
# nftables: how a test cuts such a host's network.
apt-get install -y -q --no-install-recommends python3-oslo.messaging nftables
systemctl -q disable nftables.service

cp -R /run/lab/relay /usr/lib/relay-lab
chmod -R u=rwX,go=rX /usr/lib/relay-lab
mkdir /usr/lib/relay
mv /usr/lib/relay-lab /usr/lib/relay/relay
useradd --system --home-dir /var/lib/relay --shell /usr/sbin/nologin relay
install -d -o relay -g relay -m 0750 /var/lib/relay /var/log/relay
install -d -m 0755 /etc/relay
cat >/etc/relay/relay.conf <<'END'
[DEFAULT]

#
# From oslo.messaging
#

# The network address and optional user credentials for connecting to the messaging backend, in URL format. (string value)
#transport_url = rabbit://

# Size of executor thread pool when executor is threading. (integer value)
executor_thread_pool_size = 4
rpc_ping_enabled = true

[oslo_messaging_notifications]

# The drivers to handle sending a notification. (multi valued)
#driver =

[relay]
# What relay-api begins a second.
rate = 4
END
chown root:relay /etc/relay/relay.conf
chmod 0640 /etc/relay/relay.conf

for role in conductor api ask; do
    cat >/usr/bin/relay-$role <<END
#!/usr/bin/python3
import sys

sys.path.insert(0, "/usr/lib/relay")
from relay.main import main

main("relay-$role")
END
    chmod 0755 /usr/bin/relay-$role
done
for role in conductor api; do
    cat >/lib/systemd/system/relay-$role.service <<END
[Unit]
Description=relay's $role (lab)
After=network-online.target
[Service]
User=relay
ExecStart=/usr/bin/relay-$role --config-file /etc/relay/relay.conf
Restart=on-failure
TimeoutStopSec=20
[Install]
WantedBy=multi-user.target
END
done
