// The crash handler: one line, "SIGNAL NOTE\n", into a file that was opened beforehand, then the default action.
//
// Invariants: the handler calls write(2), sigaction(2) and raise(3) only; it runs once a signal (SA_RESETHAND); the
// note it reads is one of two buffers, and the writer fills the one that is not shown before it shows it.
// Failure modes: a second crash inside the handler, or no room on the stack and no clinux_crash_thread, ends the process
// without a line; the spool then counts an unclean end instead of a strike.

#include "CLinux.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NOTE_SIZE = 80 };

static atomic_int crash_descriptor = -1;
static char notes[2][NOTE_SIZE] = {"-", "-"};
static atomic_uint shown;

static const char *signal_name(int number) {
    switch (number) {
    case SIGSEGV: return "SEGV ";
    case SIGBUS: return "BUS ";
    case SIGILL: return "ILL ";
    case SIGTRAP: return "TRAP ";
    case SIGFPE: return "FPE ";
    case SIGABRT: return "ABRT ";
    default: return "? ";
    }
}

static size_t append(char *line, size_t at, const char *text) {
    while (*text != '\0') {
        line[at++] = *text++;
    }
    return at;
}

static void on_crash(int number) {
    // One write, so that the line is whole or absent.
    char line[NOTE_SIZE + 8];
    size_t count = append(line, 0, signal_name(number));
    count = append(line, count, notes[atomic_load(&shown) & 1]);
    line[count++] = '\n';
    ssize_t written = write(atomic_load(&crash_descriptor), line, count);
    (void)written;  // there is nobody left to tell
    // The disposition is the default one by now (SA_RESETHAND); the signal is blocked until this handler returns.
    raise(number);
}

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT};
enum { SIGNAL_COUNT = sizeof signals / sizeof signals[0] };

int clinux_crash_install(int descriptor) {
    atomic_store(&crash_descriptor, descriptor);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_crash;
    action.sa_flags = (int)(SA_RESETHAND | SA_ONSTACK);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        if (sigaction(signals[i], &action, NULL) != 0) {
            return -1;
        }
    }
    return 0;
}

void clinux_crash_note(const char *note) {
    unsigned next = (atomic_load(&shown) + 1) & 1;
    const char *text = note == NULL ? "-" : note;
    strncpy(notes[next], text, NOTE_SIZE - 1);
    notes[next][NOTE_SIZE - 1] = '\0';
    atomic_store(&shown, next);
}

int clinux_crash_thread(void) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        sigaddset(&set, signals[i]);
    }
    int error = pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    if (error != 0) {
        errno = error;
        return -1;
    }
    // AVX-512 and AMX state make a signal frame larger than SIGSTKSZ; the kernel says how large (AT_MINSIGSTKSZ).
    size_t size = 64 * 1024 + getauxval(AT_MINSIGSTKSZ);
    stack_t stack;
    memset(&stack, 0, sizeof stack);
    stack.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED) {
        return -1;
    }
    stack.ss_size = size;
    return sigaltstack(&stack, NULL);
}
