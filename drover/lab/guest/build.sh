#!/bin/bash
# Builds the smallest guest that boots from its own disk, out of Debian packages, without root and without loop mounts.
#
#   usage: build.sh OUTPUT.qcow2 WORK_DIR
#
# The disk: MBR; partition 1 is FAT16 with syslinux, kernel and initramfs; partition 2 is ext4 "state" (host key, boot count).
# The initramfs is the whole system: busybox, dropbear, the virtio modules and the files beside this script.
set -euo pipefail

readonly OUTPUT=$1
readonly WORK=$2
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
readonly PACKAGES=(busybox-static dropbear-bin libtommath1 libtomcrypt1 libgmp10 libc6 libcrypt1 zlib1g syslinux syslinux-common)
readonly MODULES=(failover net_failover virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_net
    virtio_blk virtio-rng virtio_balloon virtio_scsi scsi_mod scsi_common cdrom sr_mod libata ata_piix isofs button evdev rng-core)
readonly LIBRARIES=lib/x86_64-linux-gnu
readonly STATE_MIB=8
readonly PACKED=$WORK/packed ROOT=$WORK/root DISK=$WORK/disk.raw
export SOURCE_DATE_EPOCH=1700000000

die() {
    echo "guest image: $*" >&2
    exit 1
}

kernel_package() {
    apt-cache depends --important linux-image-cloud-amd64 2>/dev/null |
        sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
}

# Fetches the packages and unpacks each into its own folder below $PACKED; nothing is installed.
unpack() {
    local package
    # One call for all: apt reads its lists once. It may drop privileges only where it can write, which $WORK need not be.
    (cd "$WORK" && apt-get download -qq -o APT::Sandbox::User=root "$@" >/dev/null) ||
        die "cannot download the packages (apt-get update needed?)"
    for package in "$@"; do
        mkdir -p "$PACKED/$package"
        dpkg-deb -x "$(find "$WORK" -maxdepth 1 -name "${package}_*.deb")" "$PACKED/$package"
    done
}

needed_by() { objdump -p "$@" 2>/dev/null | awk '$1 == "NEEDED" {print $2}' | sort -u; }

# Copies the shared libraries that the given files need, and those that these need.
copy_libraries() {
    local todo=("$@") next name found
    while [ ${#todo[@]} -gt 0 ]; do
        next=()
        for name in $(needed_by "${todo[@]}"); do
            [ -e "$ROOT/$LIBRARIES/$name" ] && continue
            found=$(find "$PACKED" -name "$name" | head -n 1)
            [ -n "$found" ] || die "no package has $name"
            cp -L "$found" "$ROOT/$LIBRARIES/$name"
            next+=("$ROOT/$LIBRARIES/$name")
        done
        todo=("${next[@]}")
    done
    mkdir -p "$ROOT/lib64"
    cp -L "$(find "$PACKED/libc6" -name ld-linux-x86-64.so.2 | head -n 1)" "$ROOT/lib64/"
    strip -s "$ROOT/$LIBRARIES"/*.so*
}

copy_programs() {
    local applet
    cp "$PACKED/busybox-static/bin/busybox" "$ROOT/bin/"
    for applet in $("$ROOT/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$ROOT/bin/$applet"
    done
    ln -s ../bin/busybox "$ROOT/sbin/init"
    ln -s sbin/init "$ROOT/init"
    cp "$PACKED/dropbear-bin/usr/sbin/dropbear" "$ROOT/sbin/"
    cp "$PACKED/dropbear-bin/usr/bin/dropbearkey" "$ROOT/bin/"
    copy_libraries "$ROOT/sbin/dropbear" "$ROOT/bin/dropbearkey"
}

copy_modules() {
    local source version module file
    source=$(find "$PACKED/$KERNEL/lib/modules" -mindepth 1 -maxdepth 1)
    version=$(basename "$source")
    mkdir -p "$ROOT/lib/modules/$version"
    for module in "${MODULES[@]}"; do
        file=$(find "$source" -name "$module.ko")
        [ -z "$file" ] || install -D "$file" "$ROOT/lib/modules/$version${file#"$source"}" # else it is built in
    done
    cp "$source"/modules.{builtin,order} "$ROOT/lib/modules/$version/"
    "$ROOT/bin/busybox" depmod -b "$ROOT" "$version"
}

copy_configuration() {
    install -m755 "$HERE"/{rcS,shutdown,udhcpc} "$ROOT/etc/"
    install -m644 "$HERE"/{inittab,network-config.awk} "$ROOT/etc/"
    install -D -m755 "$HERE/power-button" "$ROOT/etc/acpi/PWRF/00000080"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$ROOT/etc/passwd"
    echo 'root:*:19000:0:99999:7:::' >"$ROOT/etc/shadow"
    echo 'root:x:0:' >"$ROOT/etc/group"
    echo /bin/sh >"$ROOT/etc/shells"
    printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$ROOT/etc/nsswitch.conf"
    chmod 600 "$ROOT/etc/shadow"
}

make_initramfs() {
    mkdir -p "$ROOT"/{bin,sbin,proc,sys,dev,tmp,run,mnt,state,www,root,var,etc/dropbear} "$ROOT/$LIBRARIES"
    chmod 700 "$ROOT/root"
    ln -s ../run "$ROOT/var/run"
    copy_programs
    copy_modules
    copy_configuration
    find "$ROOT" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
    (cd "$ROOT" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible --owner 0:0) | gzip -9n >"$WORK/initrd.gz"
    cp "$PACKED/$KERNEL"/boot/vmlinuz-* "$WORK/vmlinuz"
}

# Two entries of a partition table: type, first sector and count, little-endian; LBA only, no BIOS of this century reads CHS.
write_partition_table() {
    local boot_sectors=$1 state_sectors=$2
    {
        partition 80 0e 2048 "$boot_sectors"
        partition 00 83 $((2048 + boot_sectors)) "$state_sectors"
        head -c 32 /dev/zero
        printf '\x55\xaa'
    } | dd of="$DISK" bs=1 seek=446 conv=notrunc status=none
}

partition() { printf "\\x$1\\xfe\\xff\\xff\\x$2\\xfe\\xff\\xff$(little_endian "$3")$(little_endian "$4")"; }

little_endian() { printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }

make_boot_partition() {
    local sectors=$1 partition=$DISK@@1M
    export MTOOLS_SKIP_CHECK=1
    mformat -i "$partition" -T "$sectors" -h 16 -s 63 -H 2048 -N 44524f56 -v BOOT ::
    "$PACKED/syslinux/usr/bin/syslinux" --install -t 1048576 "$DISK"
    printf 'DEFAULT linux\nPROMPT 0\nTIMEOUT 0\nLABEL linux\n KERNEL /vmlinuz\n INITRD /initrd.gz\n APPEND console=ttyS0 quiet\n' \
        >"$WORK/syslinux.cfg"
    mcopy -i "$partition" "$WORK/vmlinuz" "$WORK/initrd.gz" "$WORK/syslinux.cfg" ::
    dd if="$(find "$PACKED/syslinux-common" -path '*/mbr/mbr.bin')" of="$DISK" bs=440 count=1 conv=notrunc status=none
}

make_state_partition() {
    local offset_mib=$1
    truncate -s "${STATE_MIB}M" "$WORK/state"
    /sbin/mke2fs -q -F -t ext4 -L state -m 0 -E root_owner=0:0 "$WORK/state"
    dd if="$WORK/state" of="$DISK" bs=1M seek="$offset_mib" conv=notrunc,sparse status=none
}

make_disk() {
    local boot_mib
    boot_mib=$((($(stat -c%s "$WORK/vmlinuz") + $(stat -c%s "$WORK/initrd.gz")) / 1048576 + 3))
    truncate -s "$((1 + boot_mib + STATE_MIB))M" "$DISK"
    make_boot_partition $((boot_mib * 2048))
    make_state_partition $((1 + boot_mib))
    write_partition_table $((boot_mib * 2048)) $((STATE_MIB * 2048))
    qemu-img convert -O qcow2 "$DISK" "$OUTPUT"
}

KERNEL=$(kernel_package)
readonly KERNEL
[ -n "$KERNEL" ] || die "apt knows no linux-image-cloud-amd64 (Debian on x86_64 has it; apt-get update needed?)"
unpack "${PACKAGES[@]}" "$KERNEL"
make_initramfs
make_disk
