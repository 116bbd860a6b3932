# Qpid Proton for Python with Cyrus SASL compiled in: Debian's is built without, and could not check a password.
set -eu
# What a bare host has, noted before the compiler joins it: the repository holds what such a host will ask for.
cp /var/lib/dpkg/status /srv/bare-host.status
apt-get install -y -q --no-install-recommends gcc libc6-dev python3-dev python3-cffi python3-setuptools pkg-config \
    libsasl2-dev libssl-dev
mkdir /tmp/proton
tar -xzf /run/lab/proton/python_qpid_proton-*.tar.gz -C /tmp/proton --strip-components=1
cd /tmp/proton
python3 ext_build.py
install -d /srv/proton
cp -R proton cproton.py cproton_ffi*.so /srv/proton
PYTHONPATH=/srv/proton python3 -c 'import proton; assert proton.SASL.extended() and proton.SSL.present()'
find /srv/proton -name __pycache__ -prune -exec rm -rf {} +
rm -rf /tmp/proton
