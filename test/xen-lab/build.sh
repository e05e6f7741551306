#!/bin/bash
# Builds the images of the Xen lab from Debian's packages into the cache; does nothing when they are there already.
# Needs no root and installs nothing. Exit code 126: this machine cannot build them, and the last line says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XENLAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/netaccel-xen-lab}
node=${XENLAB_NODE:-$(command -v node)}
release=bookworm

cannot() {
  echo "the Xen lab cannot be built here: $*" >&2
  exit 126
}
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || cannot "expected Linux on x86_64, saw $(uname -s) on $(uname -m)"
for program in apt-get dpkg-deb gunzip od sha256sum flock; do
  command -v $program >/dev/null || cannot "expected the program $program, which is not installed"
done
# shellcheck disable=SC1091
seen=$(. /etc/os-release && echo "${VERSION_CODENAME:-unknown}")
[ "$seen" = $release ] || cannot "expected package sources of Debian 12 ($release), saw those of $seen"

mkdir -p "$cache/debs/partial"
cd "$cache"
exec 9>lock
flock 9

packages=(qemu-system-x86 seabios xen-hypervisor-4.17-amd64 xen-utils-4.17 linux-image-amd64 kmod xz-utils
  busybox-static libstdc++6 ethtool iproute2 iperf3 iputils-ping openvswitch-switch)
modules=(xen-netfront xen-netback xen-gntdev xen-gntalloc xen-evtchn xen-privcmd xenfs
  virtio_pci virtio_console 9p 9pnet_virtio tun bridge
  openvswitch crc32c_generic) # libcrc32c asks for the latter by the name of an algorithm: no dependency says so
programs=(usr/bin/ip usr/bin/iperf3 usr/bin/ping usr/sbin/ethtool)
stamp=$({ cat "$here/build.sh" "$here"/dom0/*; "$node" --version; echo "${packages[*]}"; } | sha256sum)
[ "$(cat stamp 2>/dev/null)" != "$stamp" ] || exit 0
rm -rf stamp sys base modules

# 1. Download the packages with all that they depend on, as if nothing were installed here.
apt() {
  apt-get -y -qq -o Dir::State::status=/dev/null -o Dir::Cache="$cache" -o Dir::Cache::archives="$cache/debs" \
    -o Debug::NoLocking=1 "${own_lists[@]}" "$@"
}
download() { apt --no-install-recommends --download-only install "${packages[@]}" >/dev/null 2>download.log; }
own_lists=()
apt autoclean >/dev/null 2>&1 || true
if ! download; then
  # The machine's package lists are missing or out of date: use lists of our own.
  mkdir -p lists/partial
  own_lists=(-o "Dir::State::lists=$cache/lists")
  apt update >/dev/null 2>update.log || cannot "apt-get update failed: $(tail -n 1 update.log)"
  download || cannot "apt-get cannot download the packages: $(tail -n 1 download.log)"
fi

# 2. Unpack them into one tree, with /bin, /sbin and /lib* merged into /usr.
mkdir -p sys/usr/{bin,sbin,lib,lib64}
for d in bin sbin lib lib64; do ln -s usr/$d sys/$d; done
for deb in debs/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -xf - -C sys --keep-directory-symlink --no-same-owner \
    --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale'
done
libraries=sys/usr/lib/x86_64-linux-gnu
loader=$libraries/ld-linux-x86-64.so.2
kernel=$(basename sys/lib/modules/*)

# The kernel proper out of its boot image, whose header (Documentation/x86/boot.rst) has the offsets: Xen then need
# not decompress it, which takes seconds in an emulator.
image=sys/boot/vmlinuz-$kernel
setup_sectors=$(od -An -tu1 -j0x1f1 -N1 "$image")
read -r payload_at payload_bytes < <(od -An -tu4 -j0x248 -N8 "$image")
dd if="$image" iflag=skip_bytes,count_bytes skip=$(((setup_sectors + 1) * 512 + payload_at)) \
  count=$((payload_bytes - 4)) bs=1M status=none |
  $loader --library-path $libraries sys/bin/xz -dc >vmlinux
gunzip -c sys/boot/xen-4.17-amd64.gz >xen
cp "$node" node

# 3. The root file system of dom0 and of the guests.
mkdir -p base/usr/{bin,sbin,lib,lib64} base/usr/lib/x86_64-linux-gnu
mkdir -p base/{dev,proc,sys,run,tmp,etc/xen,root,lab,host} base/var/{log/xen,lib/xen,lib/xenstored}
for d in bin sbin lib lib64; do ln -s usr/$d base/$d; done
ln -s ../run base/var/run
echo 'root:x:0:0:root:/root:/bin/sh' >base/etc/passwd
install -m755 "$here/dom0/init" base/init
install -m755 "$here"/dom0/{domu,vif-up} base/bin/
ln -s /lab/node base/bin/node

xen_programs=usr/lib/xen-4.17/bin
mkdir -p base/$xen_programs
for p in xl xenstored xenconsoled xenconsole xen-init-dom0 libxl-save-helper lsevtchn; do
  cp -a sys/$xen_programs/$p base/$xen_programs/
done
for p in xl xenstored xenconsoled lsevtchn; do ln -s /$xen_programs/$p base/sbin/$p; done
cp -a sys/usr/bin/xenstore-* base/bin/
cp -a sys/etc/xen/{scripts,xl.conf} base/etc/xen/
for p in "${programs[@]}"; do cp -L "sys/$p" base/bin/; done
executables=$(ls -d ./node base/bin/* base/$xen_programs/*)

cp sys/bin/busybox base/bin/
ln -s ../bin/busybox base/sbin/modprobe # where the kernel looks for it
for applet in $(sys/bin/busybox --list); do [ -e base/bin/"$applet" ] || ln -s busybox base/bin/"$applet"; done

# Shared libraries, as the loader of the unpacked tree finds them.
for f in $executables; do
  [ -L "$f" ] || $loader --library-path $libraries --list "$f" 2>/dev/null || true # not every one is an ELF file
done | sed -n 's,.* => \(sys/[^ ]*\).*,\1,p' | sort -u | xargs cp -L -t base/usr/lib/x86_64-linux-gnu
cp -L $loader base/lib64/

# Kernel modules with those that they depend on.
depmod() { $loader --library-path $libraries --argv0 depmod sys/bin/kmod -b "$cache/$1" "$kernel"; }
module_folder=lib/modules/$kernel
depmod sys
mkdir -p modules base/$module_folder
for m in "${modules[@]}"; do
  sed -n "s,^\([^:]*/$m\.ko\):,\1,p" sys/$module_folder/modules.dep
done | xargs -n1 | sort -u | (cd sys/$module_folder && xargs cp --parents -t "$cache/modules")
mv modules/kernel sys/$module_folder/modules.{builtin,builtin.modinfo,order} base/$module_folder/
depmod base

(cd base && find . | ../sys/bin/busybox cpio -o -H newc -R 0:0 2>/dev/null) >base.cpio
rm -rf modules sys/usr/lib/modules sys/boot
echo "$stamp" >stamp
