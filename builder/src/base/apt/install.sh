# Called by mmdebstrap's customize hook: $1 is the root, with /proc, /sys and /dev mounted. Installs the packages and removes every trace of it.
set -eu
umask 022
root=$1
. "$root/kiln/settings"

inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TZ=UTC SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
        DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true DEBCONF_NOWARNINGS=yes chroot "$root" "$@"
}

# All at once: every dependency is in the set, and what dpkg itself needs was put in place before.
inside sh -euc '
    cd /kiln
    export PATH HOME LC_ALL
    set -f
    options="--force-unsafe-io --force-depends --no-pager"
    for pattern in $(cat excluded); do options="$options --path-exclude=$pattern"; done
    for pattern in $(cat included); do options="$options --path-include=$pattern"; done
    dpkg $options --unpack $(sed "s/$/.deb/" packages)
    dpkg --force-unsafe-io --no-pager --configure --pending
'

# The database is the truth of scanners and of the SBOM: it must hold the lock, no more and no less.
inside dpkg-query -W -f '${Package} ${Version} ${Architecture} ${db:Status-Status}\n' | LC_ALL=C sort >"$root/kiln/installed"
if ! difference=$(diff "$root/kiln/expected" "$root/kiln/installed"); then
    echo "kiln: dpkg's database is not what the lock says (<: lock, >: installed)" >&2
    echo "$difference" >&2
    exit 1
fi

cd "$root"
# Logs, caches, locks, backups, and what each machine must make for itself.
rm -rf kiln run/* tmp/* var/tmp/* var/log/apt var/cache/apt var/cache/ldconfig/* var/lib/apt/lists
rm -f var/log/dpkg.log var/log/alternatives.log var/log/bootstrap.log var/cache/debconf/*-old \
    var/lib/dpkg/*-old var/lib/dpkg/lock var/lib/dpkg/lock-frontend var/lib/dpkg/triggers/Lock var/lib/dpkg/arch \
    etc/.pwd.lock etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid- \
    var/lib/dbus/machine-id var/lib/systemd/random-seed var/lib/systemd/credential.secret etc/ssh/ssh_host_*_key* \
    initrd.img initrd.img.old vmlinuz.old etc/.resolv.conf.systemd-resolved.bak
for log in var/log/btmp var/log/wtmp var/log/lastlog var/log/faillog; do
    if [ -e "$log" ]; then : >"$log"; fi
done
# Empty, not absent: systemd then makes one and keeps it (machine-id(5)).
: >etc/machine-id
chmod 0644 etc/machine-id
