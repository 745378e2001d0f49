// What Linux offers and Swift's Glibc module cannot reach, one thin wrapper each. They return what the system call
// returns: -1 and errno on failure. Nothing here allocates, logs or keeps state, but for the crash handler.
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// renameat(2) that fails with EEXIST when `to` exists. In <stdio.h> only under _GNU_SOURCE, which Glibc's map lacks.
int clinux_rename_noreplace(int from_directory, const char *from, int to_directory, const char *to);

/// renameat2(2) that exchanges two names in one step; both must exist.
int clinux_rename_exchange(const char *one, const char *other);

/// openat2(2): RESOLVE_BENEATH, no symbolic link anywhere on the path, no magic link. glibc has no wrapper for it.
/// Kernels and sandboxes without openat2 (ENOSYS) get openat(2) with O_NOFOLLOW.
int clinux_open_beneath(int directory, const char *path, int flags, mode_t mode);

/// getdents64(2), so that a directory is read into a plain buffer; readdir(3)'s DIR and dirent need pointers in Swift.
ssize_t clinux_directory_entries(int directory, void *buffer, size_t size);

/// Where the fields of a linux_dirent64 record are: offsetof is no constant that Swift imports.
enum { CLINUX_DIRENT_LENGTH_OFFSET = 16, CLINUX_DIRENT_NAME_OFFSET = 19 };

/// The name of the network, cluster or FUSE file system that the descriptor is on, NULL when it is a local one: there
/// inotify(7) does not see what other machines do. The magic numbers are of linux/magic.h, which no module maps.
const char *clinux_remote_file_system(int descriptor);

/// eventfd(2), close-on-exec and non-blocking. <sys/eventfd.h> is not in Glibc's map.
int clinux_event(void);

/// Events of inotify(7) that the spool asks for; a macro expression that Swift cannot import.
extern const uint32_t clinux_inbox_events;

/// Writes the signal's name and the current note, one line, to `descriptor` when SEGV, BUS, ILL, TRAP, FPE or ABRT
/// arrives, then lets the default action end the process. Only async-signal-safe calls; the descriptor is opened
/// beforehand and stays open.
int clinux_crash_install(int descriptor);

/// What the handler writes after the signal's name: at most 79 bytes of it. NULL: "-".
void clinux_crash_note(const char *note);

/// Gives the calling thread a stack for the handler, so that a stack overflow can be noted too, and lets the signals in:
/// libdispatch blocks SIGABRT in its threads, and the watchdog's needs a thread to arrive at. Freed with the process.
int clinux_crash_thread(void);

#endif
