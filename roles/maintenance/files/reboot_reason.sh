# Tells why a reboot is due, as a line of the word reboot_reason and why; nothing where none is. Reads
# only. The roles facts, maintenance and status all ask this. For tests: PROC, RUN, MODULES, BOOT.
why_reboot() {
    # The newest kernel of the kind that runs: 6.12.30+rpt-rpi-v8, 6.1.0-28-arm64. Not what is left of
    # one that was removed.
    kernel=$(uname -r)
    kind=$(echo "$kernel" | sed -E 's/^[0-9.]+(\+[^-]*)?(-[0-9]+)?-//')
    newest=$(for directory in "${MODULES:-/lib/modules}"/*-"$kind"; do
        [ -d "$directory/kernel" ] && basename "$directory"
    done | sort -V | tail -n 1)
    if [ "${newest:-$kernel}" != "$kernel" ]; then
        echo "kernel $newest is installed and $kernel runs"
        return
    fi
    for firmware in ${BOOT:-/boot/firmware /boot}; do
        if [ -r "$firmware/cmdline.txt" ] && ! grep -q 'DO NOT EDIT' "$firmware/cmdline.txt"; then
            # The firmware puts the board's own name in the place of console=serial0.
            missing=$(awk '{gsub("\r", "")} FILENAME == ARGV[1] {for (i = 1; i <= NF; i++) told[$i]; next}
                {for (i = 1; i <= NF; i++) if (!($i in told) && $i !~ /^console=serial/) printf " %s", $i}' \
                "${PROC:-/proc}/cmdline" "$firmware/cmdline.txt")
            if [ -n "$missing" ]; then
                echo "cmdline.txt has$missing, which the kernel was not told"
                return
            fi
            break
        fi
    done
    # The role boot_config's mark, which goes with the next boot.
    if changed=$(cat "${RUN:-/run}/gridberry/boot-files-changed" 2>/dev/null); then
        echo "$changed changed since it started"
    elif [ -e "${RUN:-/run}/reboot-required" ]; then
        echo "a package asks for it"
    fi
}
why_reboot | sed 's/^/reboot_reason /'
