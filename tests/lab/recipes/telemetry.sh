# The notification consumer: writes each notification it hears as one line of /var/lib/ceilometer/events.log.
set -eu
apt-get install -y -q --no-install-recommends ceilometer-agent-notification
cat >/etc/ceilometer/event_pipeline.yaml <<'END'
sources:
  - name: all
    events: ["*"]
    sinks: [file]
sinks:
  - name: file
    publishers: ["file:///var/lib/ceilometer/events.log"]
END
cat >/etc/ceilometer/pipeline.yaml <<'END'
sources:
  - name: all
    meters: ["*"]
    sinks: [file]
sinks:
  - name: file
    publishers: ["file:///var/lib/ceilometer/samples.log"]
END
# Ceilometer's own file publisher can publish events, but the package registers it for samples only.
registered=/usr/lib/python3/dist-packages/hybridmsg_lab-1.dist-info
mkdir $registered
printf 'Metadata-Version: 2.1\nName: hybridmsg-lab\nVersion: 1\n' >$registered/METADATA
printf '[ceilometer.event.publisher]\nfile = ceilometer.publisher.file:FilePublisher\n' >$registered/entry_points.txt
chgrp ceilometer /etc/ceilometer/event_pipeline.yaml /etc/ceilometer/pipeline.yaml
python3 /run/lab/recipes/iniset.py /etc/ceilometer/ceilometer.conf <<'END'
notification workers 1
END
# Debian leaves it disabled or enabled as it likes; the consumer must run either way.
cat >/etc/systemd/system/lab-services.service <<'END'
[Unit]
Description=Start the notification consumer also where Debian leaves it disabled (lab)
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=systemctl start --no-block ceilometer-agent-notification
[Install]
WantedBy=multi-user.target
END
systemctl -q enable lab-services.service
