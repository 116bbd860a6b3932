# A flat apt repository with all that the deployer may install, for hosts that have no way out.
set -eu
install -d /srv/repository
cd /srv/repository
# On the bare image, so that "what is missing there" is exactly what a bare host will ask for.
apt-get install -y -q --download-only -o Dir::Cache::archives=/srv/repository --no-install-recommends \
    rabbitmq-server python3-pyngus sasl2-bin libsasl2-modules
rm -rf partial lock
apt-get install -y -q --no-install-recommends apt-utils >&2
apt-ftparchive packages . >Packages
gzip -9 -k -n Packages
apt-ftparchive release . >/tmp/Release
mv /tmp/Release Release
