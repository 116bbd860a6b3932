# Every catalogued service that Debian has: its code and the configuration file it ships, unpacked and never installed.
# What a package's scripts would do (users, databases, questions to an administrator) has no part in what it reads.
set -eu
services="aodh barbican ceilometer cinder cloudkitty designate glance heat ironic keystone magnum manila masakari
    mistral murano neutron nova octavia sahara senlin trove"
programs="python3-ironic-inspector python3-pyngus"
settings="ironic-inspector keystone"
for service in $services; do
    programs="$programs python3-$service"
    [ $service = keystone ] || settings="$settings $service-common"
done
mkdir /tmp/debs
cd /tmp/debs
missing=$(apt-get install -s --no-install-recommends $programs | sed -n 's/^Inst \([^ ]*\) .*(\([^ ]*\) .*/\1=\2/p')
apt-get download -q $missing $settings
for deb in *.deb; do
    # --keep-directory-symlink: /lib is a link to /usr/lib, and must stay one.
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C / --keep-directory-symlink \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'
done
rm -r /tmp/debs
# The versions of all that was unpacked, and of what the layer below had installed already.
{ for one in $missing; do echo "${one%%=*} ${one#*=}"; done; dpkg-query -W -f '${Package} ${Version}\n'; } >/srv/versions
