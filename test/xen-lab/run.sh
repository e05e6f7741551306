#!/bin/bash
# run.sh [-t seconds] [-d directory] [-p cpus] [-m memory] command...
# Boots Xen in QEMU, runs the command in dom0 with the directory (the current one when left out) mounted on /host,
# prints its output and exits with its exit code. 124: out of time (300 s when left out). 125: the lab failed.
# 126: this machine cannot run it, and the last line says why.
set -euo pipefail
usage() {
  sed -n 2p "$0" | cut -c3- >&2
  exit 125
}
limit=300 directory=$PWD cpus=${XENLAB_CPUS:-2} memory=${XENLAB_MEM:-3G}
while getopts t:d:p:m: option; do case $option in
  t) limit=$OPTARG ;; d) directory=$OPTARG ;; p) cpus=$OPTARG ;; m) memory=$OPTARG ;; *) usage ;;
esac; done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage
here=$(cd "$(dirname "$0")" && pwd)
"$here/build.sh" || exit $(($? == 126 ? 126 : 125))
cache=${XENLAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/netaccel-xen-lab}

command=$(printf %s "$*" | base64 -w0)
# Xen bounds a command line at 1024 bytes.
[ ${#command} -le 900 ] || { echo "the command is too long: put it into a script in $directory" >&2; exit 125; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=${XENLAB_LOG:-$work/console}
libraries=$cache/sys/usr/lib/x86_64-linux-gnu
# In the foreground, so that QEMU ends with the group that this script is in.
# The CPU has neither AVX nor SMAP: QEMU 7.2 does not emulate them well enough for Xen's paravirtualised guests.
status=0
QEMU_MODULE_DIR=$libraries/qemu timeout --foreground "$limit" \
  "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$cache/sys/usr/bin/qemu-system-x86_64" \
  -L "$cache/sys/usr/share/qemu" -L "$cache/sys/usr/share/seabios" \
  -nodefaults -no-user-config -display none -no-reboot \
  -M q35 -accel tcg -cpu qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand,+npt \
  -smp "$cpus" -m "$memory" \
  -kernel "$cache/xen" -append 'console=com1 com1=115200,8n1 dom0_mem=1536M,max:1536M' \
  -initrd "$cache/vmlinux console=hvc0 quiet labcmd=$command,$cache/base.cpio" \
  -serial "file:$log" -device virtio-serial-pci \
  -chardev file,id=out,path=/dev/stdout -device virtserialport,chardev=out \
  -chardev file,id=status,path="$work/status" -device virtserialport,chardev=status \
  -virtfs local,path="$cache",mount_tag=lab,security_model=none,readonly=on \
  -virtfs local,path="$directory",mount_tag=host,security_model=none,multidevs=remap </dev/null | cat || status=$?
[ $status != 124 ] || exit 124
[ -s "$work/status" ] || { tail -n 40 "$log" >&2; exit 125; }
exit "$(cat "$work/status")"
