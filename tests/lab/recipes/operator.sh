# The operator's host: where hybridmsg itself is installed, away from the clone.
set -eu
apt-get install -y -q --no-install-recommends python3-venv openssh-client
# Made here, not at each install, because a venv takes seconds; the lab installs the project's wheel into it.
python3 -m venv /opt/hybridmsg
ln -s /opt/hybridmsg/bin/hybridmsg /usr/local/bin/hybridmsg
# Not a link: Python finds its venv by the name it is started under, and would miss it from /usr/local/bin.
printf '#!/bin/sh\nexec /opt/hybridmsg/bin/python3 "$@"\n' >/usr/local/bin/hybridmsg-python
chmod 0755 /usr/local/bin/hybridmsg-python
