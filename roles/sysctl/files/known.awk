# Fails with a line naming the settings in a sysctl.d(5) file that the kernel lacks. Its names have
# slashes; those with a leading - may be lacking. Needs -v kernel=/proc/sys.
/^[^#]/ && !/^-/ {
    file = kernel "/" $1
    if ((getline line <file) < 0) { missing = missing separator $1; separator = ", " }
    close(file)
}
END {
    if (missing) {
        print "the kernel has no " missing "; a leading - in sysctl_values would allow that"
        exit 1
    }
}
