#!/bin/sh
# Takes out of a Debian root file system what a container that only runs Python never calls, and
# adds the user that the bot runs as. Runs once, inside the image's build.
#
# What stays: libc, Python, OpenSSL's library, SQLite, dash and coreutils (for the person who has to
# look inside), dpkg's list of what is installed (for scanners), copyrights. The certificates of
# authorities come with the Python package certifi.
set -eu

printf '%s\n' 'gridbot:x:10001:10001:grid bot:/nonexistent:/usr/sbin/nologin' >>/etc/passwd
printf '%s\n' 'gridbot:x:10001:' >>/etc/group
mkdir -p /var/lib/gridbot /var/lib/gridbot-exchange
chown 10001:10001 /var/lib/gridbot /var/lib/gridbot-exchange

unused='apt|libapt-pkg[0-9.]*|libseccomp2|sqv|gpgv|debian-archive-keyring
|libhogweed6.*|libnettle8.*|libgmp10|libgnutls30.*
|perl-base|debconf|init-system-helpers|sysvinit-utils|adduser|passwd|login|login.defs|libpam-.*
|libsemanage.*|libsepol2|libdb5.*|bash|util-linux|mount|bsdutils|diffutils|hostname|ncurses-.*
|openssl|openssl-provider-legacy|ca-certificates|tzdata|e2fsprogs|libext2fs.*|logsave'
unused=$(printf '%s' "$unused" | tr -d '\n')
drop=$(dpkg-query -W -f='${Package}\n' | grep -Ex "$unused")
# Without the maintainer scripts: they would act on a running system, which this is not.
rm -f /var/lib/dpkg/info/*.prerm /var/lib/dpkg/info/*.postrm
# shellcheck disable=SC2086 # one argument for each package
dpkg --purge --force-all $drop >/tmp/purge.log 2>&1 || { cat /tmp/purge.log >&2; exit 1; }

rm -rf /usr/lib/*-linux-gnu/gconv /usr/share/perl5 /usr/share/info /usr/share/man \
    /usr/share/locale /usr/share/zoneinfo /usr/share/bash-completion /usr/share/lintian \
    /usr/lib/python3.13/pydoc_data /usr/lib/python3.13/ensurepip /usr/lib/python3.13/idlelib \
    /var/cache/* /var/lib/apt /var/lib/dpkg/info /var/lib/dpkg/*-old /var/log/* /tmp/*
find /usr/share/doc -type f ! -name copyright -delete
