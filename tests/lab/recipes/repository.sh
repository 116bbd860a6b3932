# A flat apt repository with all that the deployer may install, for hosts that have no way out.
set -eu
install -d /srv/repository
cd /srv/repository
cp /run/lab/debs/*.deb . 2>/dev/null || true
[ -d /run/lab/router ] && sh /run/lab/recipes/standin.sh
# With the packages of a bare host as those installed, so that "what is missing" is exactly what it will ask for.
apt-get install -y -q --download-only -o Dir::Cache::archives=/srv/repository \
    -o Dir::State::status=/srv/bare-host.status --no-install-recommends \
    rabbitmq-server python3-pyngus python3-oslo.messaging sasl2-bin libsasl2-modules ./*.deb
rm -rf partial lock
apt-get install -y -q --no-install-recommends apt-utils >&2
apt-ftparchive packages . >Packages
gzip -9 -k -n Packages
apt-ftparchive release . >/tmp/Release
mv /tmp/Release Release
cp /run/lab/router.txt router.txt
