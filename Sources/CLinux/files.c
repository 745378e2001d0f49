// System calls on files that Swift's Glibc module does not map (CLinux.h says why each is here).
// Invariant: no wrapper changes the meaning of its call; errno is the call's own.

#include "CLinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

_Static_assert(offsetof(struct dirent64, d_reclen) == CLINUX_DIRENT_LENGTH_OFFSET, "linux_dirent64 is fixed ABI");
_Static_assert(offsetof(struct dirent64, d_name) == CLINUX_DIRENT_NAME_OFFSET, "linux_dirent64 is fixed ABI");

int clinux_rename_noreplace(int from_directory, const char *from, int to_directory, const char *to) {
    return renameat2(from_directory, from, to_directory, to, RENAME_NOREPLACE);
}

int clinux_rename_exchange(const char *one, const char *other) {
    return renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE);
}

int clinux_open_beneath(int directory, const char *path, int flags, mode_t mode) {
    struct open_how how = {
        .flags = (uint64_t)flags,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long descriptor = syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (descriptor < 0 && errno == ENOSYS) {
        return openat(directory, path, flags | O_NOFOLLOW, mode);
    }
    return (int)descriptor;
}

ssize_t clinux_directory_entries(int directory, void *buffer, size_t size) {
    return getdents64(directory, buffer, size);
}

const char *clinux_remote_file_system(int descriptor) {
    static const struct {
        uint32_t magic;
        const char *name;
    } remote[] = {
        {0x00006969, "nfs"},   {0x0000517B, "smb"},  {0xFF534D42, "cifs"},  {0xFE534D42, "smb2"},
        {0x65735546, "fuse"},  {0x01021997, "9p"},   {0x00C36400, "ceph"},  {0x5346414F, "afs"},
        {0x6B414653, "kafs"},  {0x73757245, "coda"}, {0x7461636F, "ocfs2"}, {0x01161970, "gfs2"},
        {0x786F4256, "vboxsf"}, {0x0BD00BD0, "lustre"}, {0x47504653, "gpfs"}, {0x19830326, "fhgfs"},
    };
    struct statfs status;
    if (fstatfs(descriptor, &status) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof remote / sizeof remote[0]; i++) {
        if ((uint32_t)status.f_type == remote[i].magic) {
            return remote[i].name;
        }
    }
    return NULL;
}

int clinux_event(void) {
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

const uint32_t clinux_inbox_events =
    IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF |
    IN_ONLYDIR;
