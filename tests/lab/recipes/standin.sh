# The package qdrouterd made of the stand-in, into the current directory; it carries a proton of its own.
set -eu
root=$(mktemp -d)
cp -R /run/lab/router/package/. "$root"
install -d "$root/usr/lib/qdrouterd-standin" "$root/var/lib/qdrouterd"
cp -R /run/lab/router/standin /srv/proton/. "$root/usr/lib/qdrouterd-standin"
sed -i "s/ARCHITECTURE/$(dpkg --print-architecture)/" "$root/DEBIAN/control"
chmod -R u=rwX,go=rX "$root"
chmod 0755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm" "$root/usr/sbin/qdrouterd"
dpkg-deb --root-owner-group -Zgzip --build "$root" .
rm -rf "$root"
