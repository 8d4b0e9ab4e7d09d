# Tells what is installed of the packages named by its arguments, in lines of a word and a value.
# Reads only; quick where all of them are there. From the environment:
#
#   DPKG  dpkg's database (default /var/lib/dpkg);  NOTES  what the role noted
: "${DPKG:=/var/lib/dpkg}" "${NOTES:=/var/lib/gridberry/packages}"
installed=$(dpkg-query --admindir="$DPKG" -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
    sed -n 's/ installed$//p')
missing=$(printf '%s\n' "$@" | grep -vxF "$installed")
printf '%s\n' "$installed" | sed -n 's/^./installed &/p'
printf '%s\n' "$missing" | sed -n 's/^./missing &/p'
if [ -r "$NOTES" ]; then sed 's/^/noted /' "$NOTES" | sort -u; fi
# dpkg keeps a journal while it works: what lies there was left by a power cut.
if [ -n "$(ls -A "$DPKG/updates" 2>/dev/null)" ]; then echo "interrupted journal"; fi
if [ -n "$missing" ]; then
    dpkg-query --admindir="$DPKG" -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null |
        sed -n -E 's/^(half-configured|half-installed|unpacked|triggers-awaited|triggers-pending) /interrupted /p'
    # Without package lists apt knows no package.
    if [ -n "$(find "${LISTS:-/var/lib/apt/lists}" -maxdepth 1 -name '*_Packages*' -print 2>/dev/null | head -n 1)" ]; then
        echo "lists yes"
    fi
    # Nor does Ansible say without this module of Debian's what apt would do.
    if "${PYTHON:-/usr/bin/python3}" -c 'import apt' 2>/dev/null; then echo "python-apt yes"; fi
fi
