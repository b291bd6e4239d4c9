/* Writes down every change of the files in RECORD_DIR, in order, into RECORD_LOG: preloaded into a child of the test and what
 * that starts.
 * An entry: op, length of the path, offset, length of the data (native u64s), path, data.
 * ops: 1 write, 2 truncate (offset: the size), 3 sync, 4 rename (data: the new path), 5 created, 6 folder made, 7 unlinked,
 * 8 folder removed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static ssize_t put(int fd, const void *data, size_t len) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return real(fd, data, len);
}

static int ours(const char *path) {
    const char *dir = getenv("RECORD_DIR");
    size_t len = dir ? strlen(dir) : 0;
    return dir && strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return ours(path);
}

/* The path of a name in a folder, where that is ours. */
static int path_at(int folder, const char *name, char *path) {
    if (name[0] == '/' || folder == AT_FDCWD) {
        snprintf(path, PATH_MAX, "%s", name);
        return ours(path);
    }
    if (!path_of(folder, path)) return 0;
    size_t len = strlen(path);
    snprintf(path + len, PATH_MAX - len, "/%s", name);
    return 1;
}

/* Called with the lock held. One write, as several processes do it; opened each time, as a fork closes what it doesn't know. */
static void note(uint64_t op, const char *path, uint64_t offset, const void *data, uint64_t len) {
    static int (*real)(const char *, int, ...);
    if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    int log = real(getenv("RECORD_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    uint64_t head[4] = {op, strlen(path), offset, len};
    size_t all = sizeof head + head[1] + len;
    char *entry = malloc(all);
    if (log < 0 || !entry) abort();
    memcpy(entry, head, sizeof head);
    memcpy(entry + sizeof head, path, head[1]);
    if (len) memcpy(entry + sizeof head + head[1], data, len);
    if (put(log, entry, all) != (ssize_t)all) abort();
    free(entry);
    close(log);
}

#define WRITES(name, type)                                                        \
    ssize_t name(int fd, const void *data, size_t len, type offset) {             \
        REAL(name);                                                               \
        char path[PATH_MAX];                                                      \
        if (!path_of(fd, path)) return real(fd, data, len, offset);               \
        pthread_mutex_lock(&lock);                                                \
        ssize_t n = real(fd, data, len, offset);                                  \
        if (n > 0) note(1, path, (uint64_t)offset, data, (uint64_t)n);            \
        pthread_mutex_unlock(&lock);                                              \
        return n;                                                                 \
    }
WRITES(pwrite, off_t)
WRITES(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t len) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return put(fd, data, len);
    pthread_mutex_lock(&lock);
    struct stat st;
    off_t at = fcntl(fd, F_GETFL) & O_APPEND ? (fstat(fd, &st), st.st_size) : lseek(fd, 0, SEEK_CUR);
    ssize_t n = put(fd, data, len);
    if (n > 0) note(1, path, (uint64_t)at, data, (uint64_t)n);
    pthread_mutex_unlock(&lock);
    return n;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real(fd, parts, count);
    ssize_t done = 0;
    for (int i = 0; i < count; i++) {
        ssize_t n = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (n < 0) return done ? done : n;
        done += n;
        if ((size_t)n < parts[i].iov_len) break;
    }
    return done;
}

#define TRUNCATES(name, type)                                                     \
    int name(int fd, type size) {                                                 \
        REAL(name);                                                               \
        char path[PATH_MAX];                                                      \
        if (!path_of(fd, path)) return real(fd, size);                            \
        pthread_mutex_lock(&lock);                                                \
        int done = real(fd, size);                                                \
        if (!done) note(2, path, (uint64_t)size, 0, 0);                           \
        pthread_mutex_unlock(&lock);                                              \
        return done;                                                              \
    }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

#define SYNCS(name)                                                               \
    int name(int fd) {                                                            \
        REAL(name);                                                               \
        char path[PATH_MAX];                                                      \
        if (!path_of(fd, path)) return real(fd);                                  \
        int done = real(fd);                                                      \
        pthread_mutex_lock(&lock);                                                \
        if (!done) note(3, path, 0, 0, 0);                                        \
        pthread_mutex_unlock(&lock);                                              \
        return done;                                                              \
    }
SYNCS(fsync)
SYNCS(fdatasync)

static int opened(int (*real)(int, const char *, int, ...), int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!(flags & (O_CREAT | O_TRUNC)) || !path_at(folder, name, path)) return real(folder, name, flags, mode);
    pthread_mutex_lock(&lock);
    int new = access(path, F_OK) != 0;
    int fd = real(folder, name, flags, mode);
    if (fd >= 0 && new) note(5, path, 0, 0, 0);
    else if (fd >= 0 && flags & O_TRUNC) note(2, path, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return fd;
}

static int (*open_at(void))(int, const char *, int, ...) {
    return (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");
}

#define MODE(after)                                                               \
    va_list rest;                                                                 \
    va_start(rest, after);                                                        \
    mode_t mode = va_arg(rest, mode_t);                                           \
    va_end(rest)
#define OPENS(name)                                                               \
    int name(const char *path, int flags, ...) {                                  \
        MODE(flags);                                                              \
        return opened(open_at(), AT_FDCWD, path, flags, mode);                    \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                            \
    int name(int folder, const char *path, int flags, ...) {                      \
        MODE(flags);                                                              \
        return opened(open_at(), folder, path, flags, mode);                      \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

int creat(const char *path, mode_t mode) { return opened(open_at(), AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    REAL(renameat2);
    char old[PATH_MAX], new[PATH_MAX];
    if (!path_at(from_folder, from, old) || !path_at(to_folder, to, new)) return real(from_folder, from, to_folder, to, flags);
    pthread_mutex_lock(&lock);
    int done = real(from_folder, from, to_folder, to, flags);
    if (!done) note(4, old, 0, new, strlen(new));
    pthread_mutex_unlock(&lock);
    return done;
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return renameat2(from_folder, from, to_folder, to, 0);
}

int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (!ours(path)) return real(path, mode);
    pthread_mutex_lock(&lock);
    int done = real(path, mode);
    if (!done) note(6, path, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlinkat(int folder, const char *name, int flags) {
    REAL(unlinkat);
    char path[PATH_MAX];
    if (!path_at(folder, name, path)) return real(folder, name, flags);
    pthread_mutex_lock(&lock);
    int done = real(folder, name, flags);
    if (!done) note(flags & AT_REMOVEDIR ? 8 : 7, path, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
