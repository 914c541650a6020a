/* Stops the process at each call that changes files below a folder, or sends it a signal.
 *
 * Loaded before the C library (LD_PRELOAD), so that it sees what Python and compiled modules do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[4096];
static int log_file = -1;

/* From now on the process stops before each operation below a folder, and in the middle of what it
 * writes. Each stop is a line of the file descriptor `log`. */
void stop_at_operations(const char *folder, int log) {
    snprintf(root, sizeof root, "%s/", folder);
    log_file = log;
}

/* Send this process a signal when it has computed for some time, however busy the machine is. */
int signal_after(double seconds, int number) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
    timer_t timer;
    long whole = seconds;
    struct itimerspec when = {.it_value = {whole, 1e9 * (seconds - whole) + 1}};
    return timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) ||
           timer_settime(timer, 0, &when, 0);
}

/* Whether the process was stopped: it is if the path, an absolute one, is below the folder. */
static int step(const char *name, const char *path) {
    if (log_file < 0 || strncmp(path, root, strlen(root))) return 0;
    char line[4200];
    int size = snprintf(line, sizeof line, "%s %s\n", name, path + strlen(root));
    syscall(SYS_write, log_file, line, size);
    raise(SIGSTOP);
    return 1;
}

static int step_at(const char *name, int folder, const char *path) {
    char whole[8192];
    if (path[0] == '/') return step(name, path);
    if (folder == AT_FDCWD) {
        if (!getcwd(whole, 4096)) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t size = readlink(link, whole, 4095);
        if (size < 0) return 0;
        whole[size] = 0;
    }
    snprintf(whole + strlen(whole), 4096, "/%s", path);
    return step(name, whole);
}

static int step_open(const char *name, int file) {
    char link[64], path[4096];
    if (log_file < 0 || file == log_file) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return step(name, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define MODE(last) \
    mode_t mode = 0; \
    va_list list; \
    va_start(list, last); \
    if (flags & (O_CREAT | O_TMPFILE)) mode = va_arg(list, mode_t); \
    va_end(list); \
    if (flags & (O_CREAT | O_TRUNC))

int open(const char *path, int flags, ...) {
    MODE(flags) step_at("open", AT_FDCWD, path);
    return REAL(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags) step_at("open", AT_FDCWD, path);
    return REAL(open64)(path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags) step_at("open", folder, path);
    return REAL(openat)(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags) step_at("open", folder, path);
    return REAL(openat64)(folder, path, flags, mode);
}

ssize_t write(int file, const void *content, size_t size) {
    ssize_t half = 0;
    if (step_open("write", file) && size > 1) {
        half = REAL(write)(file, content, size / 2);
        if (half < 0) return half;
        step_open("half", file);
    }
    ssize_t rest = REAL(write)(file, (const char *)content + half, size - half);
    return rest < 0 ? rest : half + rest;
}
ssize_t pwrite64(int file, const void *content, size_t size, off64_t at) {
    step_open("write", file);
    return REAL(pwrite64)(file, content, size, at);
}
ssize_t writev(int file, const struct iovec *parts, int n) {
    step_open("write", file);
    return REAL(writev)(file, parts, n);
}

#define ON_PATH(name, path, declared, given) \
    int name declared { \
        step_at(#name, AT_FDCWD, path); \
        return REAL(name) given; \
    }
#define ON_PATH_AT(name, folder, path, declared, given) \
    int name declared { \
        step_at(#name, folder, path); \
        return REAL(name) given; \
    }
#define ON_FILE(name, declared, given) \
    int name declared { \
        step_open(#name, file); \
        return REAL(name) given; \
    }
ON_PATH(rename, to, (const char *from, const char *to), (from, to))
ON_PATH_AT(renameat, j, to, (int i, const char *from, int j, const char *to), (i, from, j, to))
ON_PATH(link, to, (const char *from, const char *to), (from, to))
ON_PATH(symlink, to, (const char *from, const char *to), (from, to))
ON_PATH(unlink, path, (const char *path), (path))
ON_PATH_AT(unlinkat, folder, path, (int folder, const char *path, int flags), (folder, path, flags))
ON_PATH(mkdir, path, (const char *path, mode_t mode), (path, mode))
ON_PATH_AT(mkdirat, folder, path, (int folder, const char *path, mode_t mode), (folder, path, mode))
ON_PATH(rmdir, path, (const char *path), (path))
ON_PATH(truncate64, path, (const char *path, off64_t size), (path, size))
ON_FILE(ftruncate64, (int file, off64_t size), (file, size))
ON_FILE(fsync, (int file), (file))
ON_FILE(fdatasync, (int file), (file))

ssize_t sendfile64(int file, int from, off64_t *at, size_t size) {
    step_open("write", file);
    return REAL(sendfile64)(file, from, at, size);
}
ssize_t copy_file_range(int from, off64_t *i, int file, off64_t *j, size_t size, unsigned flags) {
    step_open("write", file);
    return REAL(copy_file_range)(from, i, file, j, size, flags);
}
