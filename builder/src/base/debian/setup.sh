# Setup hook of mmdebstrap: $1 is the new root, standard input a tar with the folder kiln/.
# It runs before mmdebstrap mounts anything, and ends with everything in the root that dpkg needs to run there.
set -eu
umask 022
root=$1

# What mmdebstrap has written so far depends on its version and on the host (its resolv.conf, its hostname).
rm -rf "$root/etc" "$root/var"
tar -C "$root" -x -f -
. "$root/kiln/settings"

# Debian's /usr is merged; packages of bookworm still hold /bin and /lib as folders.
for name in $merged; do
    mkdir -p "$root/usr/$name"
    ln -s "usr/$name" "$root/$name"
done

xargs -P 2 -n 4 sh -euc '
    root=$0
    for name; do
        dpkg-deb --fsys-tarfile "$root/kiln/$name.deb" |
            tar -C "$root" --keep-directory-symlink --exclude=./usr/share/doc --exclude=./usr/share/info \
                --exclude=./usr/share/locale --exclude=./usr/share/man -x -f -
    done
' "$root" <"$root/kiln/bootstrap"

mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/var/log"
: >"$root/var/lib/dpkg/status"
