# Tells what keeps the clock, in lines of two words. Reads only. From the environment:
#
#   DPKG  dpkg's database (default /var/lib/dpkg);  NOTE  where the role noted what it replaced
: "${DPKG:=/var/lib/dpkg}" "${NOTE:=/var/lib/gridberry/time_sync.replaced}"
dpkg-query --admindir="$DPKG" -W -f='${db:Status-Status} ${Package}\n' \
    chrony systemd-timesyncd ntpsec openntpd ntp 2>/dev/null
if [ -r "$NOTE" ]; then sed 's/^/replaced /' "$NOTE"; fi
