# The image every host starts from: Debian with sshd, python3 and sudo, made quiet and reachable.
set -eu

# mmdebstrap leaves the machine's own sources behind; a host knows only the lab's repository.
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/*mmdebstrap*
echo 'deb [trusted=yes] http://10.77.0.1:8080/ ./' >/etc/apt/sources.list.d/lab.list
printf 'Acquire::Languages "none";\n' >/etc/apt/apt.conf.d/90lab

# Would start user@0.service per login: slow, and past 20 hosts the kernel's inotify instances run out.
if dpkg -s libpam-systemd >/dev/null 2>&1; then apt-get purge -y -q libpam-systemd; fi

# deploy is the user a deployer is told to use; sudo asks the user "asks" for a password nobody has.
useradd -m -u 1000 -s /bin/sh -p '*' deploy
useradd -m -u 1001 -s /bin/sh -p '*' asks
printf 'deploy ALL=(ALL) NOPASSWD: ALL\nasks ALL=(ALL) ALL\n' >/etc/sudoers.d/lab
chmod 0440 /etc/sudoers.d/lab
for home in /root /home/deploy /home/asks; do
    install -d -m 0700 -o "$(stat -c %U $home)" -g "$(stat -c %G $home)" $home/.ssh
done

cat >/etc/ssh/sshd_config.d/lab.conf <<'END'
UseDNS no
PermitRootLogin prohibit-password
PasswordAuthentication no
GSSAPIAuthentication no
MaxStartups 100
END

# Identities are made per host when it boots first; an image must not hand the same one to all.
rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id
: >/etc/machine-id

systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \
    e2scrub_reap.service systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
    systemd-resolved.service systemd-timesyncd.service systemd-tmpfiles-clean.timer man-db.timer \
    logrotate.timer console-getty.service container-getty@.service getty.target
systemctl -q enable ssh.service

install -d /etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n' >/etc/systemd/journald.conf.d/lab.conf
