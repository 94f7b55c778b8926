# Sourced by the scripts of this folder: the cache, messages, packages of other suites, archives that are the same each time.
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 TZ=UTC
LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# What runs on this machine, and of which architecture the parts are.
HOST_ARCH=amd64
ARCH=${KILN_LAB_ARCH:-$HOST_ARCH}
HOST_CACHE=${KILN_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kiln-lab}
CACHE=$HOST_CACHE
[ "$ARCH" = "$HOST_ARCH" ] || CACHE=$HOST_CACHE/$ARCH
mkdir -p "$CACHE"
# One list of source trees serves all architectures.
[ "$ARCH" = "$HOST_ARCH" ] || ln -sfn ../sources "$CACHE/sources"

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# suite_site: the Debian mirror that this machine's own apt uses; KILN_DEBIAN_MIRROR where apt has none (Ubuntu).
suite_site() {
  if [ -n "${KILN_DEBIAN_MIRROR:-}" ]; then echo "$KILN_DEBIAN_MIRROR"; return; fi
  local site
  site=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(SITE)' 'Created-By: Packages' | sort -u | sed -n 's/^Debian Debian //p' | head -1)
  [ -n "$site" ] || die "apt knows no Debian mirror; name one: KILN_DEBIAN_MIRROR=http://…/debian"
  echo "$site"
}

# suite_apt SUITE COMMAND…: an apt command that sees SUITE alone, signed, from folders of its own, without root.
# The stored Release files of moving suites may be past their Valid-Until.
suite_apt() {
  local suite=$1 root=$CACHE/apt/$1
  shift
  # Its settings name the folder: one that was moved is made anew.
  if [ "$(cat "$root/ready" 2>/dev/null)" != "$root" ]; then
    local site keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -e "$keyring" ] || die "install the package debian-archive-keyring"
    site=$(suite_site)
    rm -rf "$root"
    mkdir -p "$root/lists/partial" "$root/cache/archives/partial"
    : > "$root/status"
    printf '%s [signed-by=%s] %s %s main\n' deb "$keyring" "$site" "$suite" deb-src "$keyring" "$site" "$suite" > "$root/sources.list"
    cat > "$root/apt.conf" <<C
Dir::Etc::SourceList "$root/sources.list"; Dir::Etc::SourceParts "-";
Dir::State::Lists "$root/lists"; Dir::Cache "$root/cache"; Dir::State::Status "$root/status";
Acquire::Check-Valid-Until "false"; Acquire::Languages "none"; Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Architecture "$ARCH"; APT::Architectures "$ARCH"; APT::Sandbox::User "root"; APT::Get::Only-Source "true";
C
    say "reading the package lists of $suite"
    APT_CONFIG=$root/apt.conf apt-get -qq update >&2
    echo "$root" > "$root/ready"
  fi
  APT_CONFIG=$root/apt.conf "$@"
}

# suite_version SUITE PACKAGE: its version there.
suite_version() { suite_apt "$1" apt-cache show --no-all-versions "$2" | sed -n 's/^Version: //p' | head -1; }

# suite_unpack SUITE DIR PACKAGE…: downloads the packages (apt checks them against the signed list) and unpacks them into DIR.
suite_unpack() {
  local suite=$1 into=$2 scratch deb
  shift 2
  scratch=$(mktemp -d "$CACHE/debs.XXXXXX")
  (cd "$scratch" && suite_apt "$suite" apt-get -qq download "$@" >&2)
  mkdir -p "$into"
  for deb in "$scratch"/*.deb; do dpkg-deb -x "$deb" "$into"; done
  rm -rf "$scratch"
}

# for_host COMMAND…: a function of this file that gets what runs on this machine.
for_host() { ARCH=$HOST_ARCH CACHE=$HOST_CACHE "$@"; }

# upstream_version PACKAGE_VERSION: the part that upstream numbered (1.7.24~ds1-6+deb13u1 → 1.7.24).
upstream_version() { local v=${1#*:}; v=${v%%[-+~]*}; echo "$v"; }

# pack OUT DIR OWNER MEMBER…: a gzip archive that depends on the content alone.
pack() {
  local out=$1 dir=$2 owner=$3
  shift 3
  tar --sort=name --format=gnu --mtime=@0 --owner="$owner" --group="$owner" --numeric-owner -C "$dir" -cf - "$@" | gzip -n -6 > "$out"
}

# digest FILE: bare sha256.
digest() { sha256sum < "$1" | cut -d' ' -f1; }

# scratch_folder: sets $work to a folder that goes when the script ends. Go leaves folders without write permission in it.
scratch_folder() {
  work=$(mktemp -d "$CACHE/build.XXXXXX")
  trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
}

# finished DIR COMMAND…: runs COMMAND with a scratch folder as its last argument and gives the folder its name DIR only when all is in it.
finished() {
  local dir=$1 scratch
  shift
  [ -d "$dir" ] && return
  mkdir -p "$(dirname "$dir")"
  scratch=$(mktemp -d "$(dirname "$dir")/.new.XXXXXX")
  chmod 755 "$scratch"
  "$@" "$scratch"
  [ -d "$dir" ] || mv -T "$scratch" "$dir"
  rm -rf "$scratch"
}

# What a node and its control plane are made of; kubectl is for looking. The control plane runs on this machine.
KUBERNETES_PROGRAMS=kubelet
[ "$ARCH" != "$HOST_ARCH" ] || KUBERNETES_PROGRAMS+=" kubeadm kubectl kube-apiserver kube-controller-manager kube-scheduler"

# has_all DIR NAME…: whether DIR holds every one of these programs.
has_all() {
  local dir=$1 name
  shift
  for name in "$@"; do [ -x "$dir/$name" ] || return 1; done
}

# value DEFINITION KEY: what an image definition, or one that it extends, says for KEY, as it is written there.
value() {
  local parent
  sed -n "s/^$2 *= *//p" "$1" | grep -m1 . && return
  parent=$(sed -n 's/^extends *= *"\(.*\)"/\1/p' "$1")
  [ -z "$parent" ] || value "$(dirname "$1")/$parent" "$2"
}

# pause DEFINITION: the version of the pause image in the lab's images: the definition's, else the newest that Kiln knows.
pause() { value "$1" pause | tr -d '"' | grep . || sed -n 's/^pause = .*"\([0-9.]*\)"\]$/\1/p' "$LAB_DIR/../../layers/compatibility.toml"; }
