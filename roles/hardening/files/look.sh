# Tells what the role has to know of a host, in lines of a word and a value. Reads only; needs root.
#
#   SSHD_DROP_IN and FIREWALL must be set before: the role's own files. PROC, ETC, SYS: for the tests.
PROC=${PROC:-/proc}
ETC=${ETC:-/etc}
SYS=${SYS:-/sys}

# The login that this runs in: of all that came before this shell, the one that sshd began.
pid=$$
while [ "$pid" -gt 1 ] && [ -r "$PROC/$pid/status" ]; do
    case $(cat "$PROC/$pid/comm") in sshd*) break ;; esac
    words=$(tr '\0' '\n' <"$PROC/$pid/environ" 2>/dev/null)
    found=$(echo "$words" | sed -n 's/^SSH_CONNECTION=//p')
    if [ -n "$found" ]; then
        connection=$found
        user=$(echo "$words" | sed -n 's/^USER=//p')
    fi
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "$PROC/$pid/status")
done
echo "connection ${connection:-}"
echo "user ${user:-}"

# The way back to whoever logged in: its interface, what tunnel that is if it is one, and WireGuard's port.
from=${connection%% *}
case $from in
*%*) device=${from#*%} ;; # its own network
?*) device=$(ip -o route get "$from" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p') ;;
*) device= ;;
esac
if [ -n "$device" ]; then
    kind=$(ip -o -d link show dev "$device" 2>/dev/null |
        sed -En 's/.* (wireguard|tun|ipip|ip6tnl|gre|ip6gre|sit|xfrm|vti|vti6) .*/\1/p')
    [ "$kind" = wireguard ] && port=$(wg show "$device" listen-port 2>/dev/null)
    echo "way $device $kind ${port:-}"
fi

# Whether what it includes comes first, sshd itself is asked when it is tried.
grep -Eiq '^[[:space:]]*Include[[:space:]=]+"?/etc/ssh/sshd_config\.d/\*\.conf' "$ETC/ssh/sshd_config" && echo "include yes"
sshd=$(command -v sshd || echo /usr/sbin/sshd)
"$sshd" -T 2>/dev/null | sed -n 's/^port /port /p'
for kind in kex cipher mac; do
    echo "$kind $(ssh -Q $kind 2>/dev/null | tr '\n' ',')"
done

for file in "$SSHD_DROP_IN" "$FIREWALL"; do
    # The digest first, then the file.
    [ -f "$file" ] && echo "digest $(sha256sum <"$file" | cut -d ' ' -f 1) $file"
done

grep -qi '^ENABLED=yes' "$ETC/ufw/ufw.conf" 2>/dev/null && echo "firewall ufw"
systemctl is-active -q firewalld 2>/dev/null && echo "firewall firewalld"

# The kernel's part; without its tools nothing is confined.
[ "$(cat "$SYS/module/apparmor/parameters/enabled" 2>/dev/null)" = Y ] && echo "apparmor yes"

[ -f "$ETC/initramfs-tools/update-initramfs.conf" ] && echo "initramfs yes"

ss -Hltnup | sed 's/^/listen /'
