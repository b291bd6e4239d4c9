/* Writes down every change of the files under RECORD_DIR, in order, into RECORD_LOG: preloaded into a child of the test.
 * An entry: op, length of the path, offset, length of the data (native u64s), path, data.
 * ops: 1 write, 2 truncate (offset: the size), 3 sync, 4 rename (data: the new path), 5 created, 6 folder made, 7 unlinked. */
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
    return dir && strncmp(path, dir, strlen(dir)) == 0;
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return ours(path);
}

/* Called with the lock held. */
static void note(uint64_t op, const char *path, uint64_t offset, const void *data, uint64_t len) {
    static int log = -1;
    if (log < 0) {
        static int (*real)(const char *, int, ...);
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
        log = real(getenv("RECORD_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    uint64_t head[4] = {op, strlen(path), offset, len};
    if (put(log, head, sizeof head) < 0 || put(log, path, head[1]) < 0 || (len && put(log, data, len) < 0)) abort();
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

#define OPENS(name)                                                               \
    int name(const char *path, int flags, ...) {                                  \
        REAL(name);                                                               \
        va_list rest;                                                             \
        va_start(rest, flags);                                                    \
        mode_t mode = va_arg(rest, mode_t);                                       \
        va_end(rest);                                                             \
        if (!(flags & (O_CREAT | O_TRUNC)) || !ours(path)) return real(path, flags, mode); \
        pthread_mutex_lock(&lock);                                                \
        int new = access(path, F_OK) != 0;                                        \
        int fd = real(path, flags, mode);                                         \
        if (fd >= 0 && new) note(5, path, 0, 0, 0);                               \
        else if (fd >= 0 && flags & O_TRUNC) note(2, path, 0, 0, 0);              \
        pthread_mutex_unlock(&lock);                                              \
        return fd;                                                                \
    }
OPENS(open)
OPENS(open64)

int rename(const char *from, const char *to) {
    REAL(rename);
    if (!ours(from)) return real(from, to);
    pthread_mutex_lock(&lock);
    int done = real(from, to);
    if (!done) note(4, from, 0, to, strlen(to));
    pthread_mutex_unlock(&lock);
    return done;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (!ours(path)) return real(path, mode);
    pthread_mutex_lock(&lock);
    int done = real(path, mode);
    if (!done) note(6, path, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) {
    REAL(unlink);
    if (!ours(path)) return real(path);
    pthread_mutex_lock(&lock);
    int done = real(path);
    if (!done) note(7, path, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
