# Called by mmdebstrap's setup hook: $1 is the new root, which holds the folder kiln/ of this script and the packages.
# It runs before mmdebstrap mounts anything, and ends with everything in the root that dpkg needs to run there.
set -eu
umask 022
root=$1
. "$root/kiln/settings"

# What mmdebstrap has written so far depends on its version and on the host (its resolv.conf, its hostname).
rm -rf "$root/etc" "$root/var"

# Debian's /usr is merged; packages of bookworm still hold /bin and /lib as folders.
for name in $merged; do
    mkdir -p "$root/usr/$name"
    ln -s "usr/$name" "$root/$name"
done

# One tar writes what dpkg-deb unpacks ahead of it.
while read -r name; do
    dpkg-deb --fsys-tarfile "$root/kiln/$name.deb"
done <"$root/kiln/bootstrap" |
    tar -C "$root" --ignore-zeros --keep-directory-symlink --exclude-from="$root/kiln/excluded-here" -x -f -

mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/var/log"
: >"$root/var/lib/dpkg/status"
