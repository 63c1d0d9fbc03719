#!/bin/bash
# A guest's start, from the host by /lab: mounts what there is, runs the job, and switches off.
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp
mount /dev/ubdb /var/tmp
chmod 1777 /var/tmp
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

for word in $(cat /proc/cmdline); do
    case $word in lab.*) declare "${word#lab.}" ;; esac
done
job=/lab
mkdir -p /run/lock /run/udev "/lib/modules/$(uname -r)"
mount -t hostfs none "/lib/modules/$(uname -r)" -o "$modules"

hostname lab
echo "127.0.0.1 localhost lab" > /etc/hosts
ip link set lo up
ulimit -n 65536

# The host's directories: seen at their own paths. What the guest writes there stays in the guest, but for `shared`.
if [ -b /dev/ubdc ]; then
    mkdir -p /run/lab/packed
    mount -r /dev/ubdc /run/lab/packed
fi
number=0
while IFS=: read -r kind path; do
    mkdir -p "$path"
    number=$((number + 1))
    over=/var/tmp/.over/$number
    mkdir -p $over/upper $over/work /run/lab/lower/$number
    case $kind in
        shared) mount -t hostfs none "$path" -o "$path" ;;
        seen) mount -t hostfs -r none /run/lab/lower/$number -o "$path" ;;
        packed) mount --bind "/run/lab/packed$path" /run/lab/lower/$number ;;
    esac
    [ "$kind" = shared ] ||
        mount -t overlay none "$path" -o lowerdir=/run/lab/lower/$number,upperdir=$over/upper,workdir=$over/work
done < $job/directories

modprobe -qa configfs loop sd_mod sg iscsi_tcp dm_thin_pool dm_snapshot dm_crypt dm_multipath dm_service_time \
    dm_round_robin target_core_mod target_core_iblock iscsi_target_mod
mount -t configfs none /sys/kernel/config
/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add --subsystem-match=block
udevadm settle -t 30

# No daemon watches here, and no file says which devices LVM may look at: all that are made for it.
printf 'devices { use_devicesfile = 0 }\nactivation { monitoring = 0 reserved_memory = 0 reserved_stack = 0 }\n' > /etc/lvm/lvmlocal.conf
echo "InitiatorName=iqn.1993-08.org.debian:01:lab" > /etc/iscsi/initiatorname.iscsi
# A storage that does not answer is given up in seconds, not minutes.
cat >> /etc/iscsi/iscsid.conf <<'END'
node.session.timeo.replacement_timeout = 5
node.conn[0].timeo.noop_out_interval = 2
node.conn[0].timeo.noop_out_timeout = 2
node.conn[0].timeo.login_timeout = 5
node.conn[0].timeo.logout_timeout = 5
node.session.initial_login_retry_max = 1
END
iscsid

cd "$(cat $job/working)"
set -a
. $job/environment
set +a
bash $job/command < /dev/null > $job/output 2>&1
code=$?
sync
echo $code > $job/code.part
mv $job/code.part $job/code
echo o > /proc/sysrq-trigger
sleep 5
