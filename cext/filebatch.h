/*
 * Many small files in one call: list and stat a folder, read whole files, create files.
 *
 * Plain C11 and POSIX, nothing of Python: every function here runs without the interpreter lock. What each one promises
 * stands in cext/reference/filebatch.py, the oracle. Errors are errno values, never a jump out of a batch.
 */

#ifndef STRONGROOM_FILEBATCH_H
#define STRONGROOM_FILEBATCH_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/xattr.h>
#endif

_Static_assert(sizeof(off_t) == 8, "file offsets have 64 bits");

#define FILEBATCH_NS 1000000000
#define FILEBATCH_CALL_BYTES_MAX ((uint64_t)1 << 30) /* some systems refuse more than 2 GiB in one call */

#define FILEBATCH_RETRY(result, call)                                                              \
    do {                                                                                           \
        (result) = (call);                                                                         \
    } while ((result) < 0 && errno == EINTR)

#ifdef __APPLE__
#define FILEBATCH_MTIME(status) ((status)->st_mtimespec)
#define FILEBATCH_CTIME(status) ((status)->st_ctimespec)
#else
#define FILEBATCH_MTIME(status) ((status)->st_mtim)
#define FILEBATCH_CTIME(status) ((status)->st_ctim)
#endif

enum { FILEBATCH_STAT_FIELDS = 11, FILEBATCH_READ_FIELDS = 6 };
enum { FILEBATCH_PLAN_FIELDS = 5, FILEBATCH_ATTRIBUTE_FIELDS = 5 };
enum { FILEBATCH_CREATE = 1, FILEBATCH_LAST = 2 };

/* Nanoseconds since 1970; the nearest end of the range where 64 bits do not reach. */
static int64_t filebatch_time_ns(struct timespec time)
{
    int64_t seconds = time.tv_sec;
    int64_t rest = time.tv_nsec;
    if (seconds > INT64_MAX / FILEBATCH_NS
        || (seconds == INT64_MAX / FILEBATCH_NS && rest > INT64_MAX % FILEBATCH_NS))
        return INT64_MAX;
    if (seconds >= 0)
        return seconds * FILEBATCH_NS + rest;
    /* one second nearer to zero, or the product would leave the range before the rest is added */
    seconds += 1;
    rest -= FILEBATCH_NS;
    if (seconds < INT64_MIN / FILEBATCH_NS
        || (seconds == INT64_MIN / FILEBATCH_NS && rest < INT64_MIN % FILEBATCH_NS))
        return INT64_MIN;
    return seconds * FILEBATCH_NS + rest;
}

/* ---- scan ---- */

struct filebatch_listing {
    DIR *folder;
    char *arena; /* names, each with a zero byte behind it, in the order of the folder */
    size_t used;
    size_t room;
    const char **names; /* into the arena, sorted */
    size_t count;
};

static void filebatch_listing_close(struct filebatch_listing *listing)
{
    if (listing->folder != NULL)
        closedir(listing->folder);
    free(listing->arena);
    free(listing->names);
    memset(listing, 0, sizeof *listing);
}

static int filebatch_listing_add(struct filebatch_listing *listing, const char *name)
{
    size_t size = strlen(name) + 1;
    if (listing->room - listing->used < size) {
        size_t room = listing->room * 2 + 4096 + size;
        char *arena = realloc(listing->arena, room);
        if (arena == NULL)
            return ENOMEM;
        listing->arena = arena;
        listing->room = room;
    }
    memcpy(listing->arena + listing->used, name, size);
    listing->used += size;
    listing->count += 1;
    return 0;
}

/* strcmp compares unsigned bytes, and no name holds a zero byte: this is the order of the bytes */
static int filebatch_compare(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static int filebatch_listing_sort(struct filebatch_listing *listing)
{
    const char *name = listing->arena;
    if (listing->count == 0)
        return 0;
    listing->names = malloc(listing->count * sizeof *listing->names);
    if (listing->names == NULL)
        return ENOMEM;
    for (size_t i = 0; i < listing->count; i++) {
        listing->names[i] = name;
        name += strlen(name) + 1;
    }
    qsort(listing->names, listing->count, sizeof *listing->names, filebatch_compare);
    return 0;
}

/* Names of a folder, sorted; close the listing whatever this returns. */
static int filebatch_listing_open(struct filebatch_listing *listing, const char *path)
{
    int file;
    FILEBATCH_RETRY(file, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (file < 0)
        return errno;
    listing->folder = fdopendir(file);
    if (listing->folder == NULL) {
        int error = errno;
        close(file);
        return error;
    }
    for (;;) {
        const struct dirent *entry;
        const char *name;
        int error;
        errno = 0;
        entry = readdir(listing->folder);
        if (entry == NULL) {
            if (errno != 0)
                return errno;
            return filebatch_listing_sort(listing);
        }
        name = entry->d_name;
        if (name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)))
            continue;
        error = filebatch_listing_add(listing, name);
        if (error != 0)
            return error;
    }
}

/* Bytes of all names, without what stands between them here. */
static size_t filebatch_listing_bytes(const struct filebatch_listing *listing)
{
    return listing->used - listing->count;
}

static void filebatch_listing_stat(const struct filebatch_listing *listing, char *names,
                                   uint64_t *ends, int64_t *rows)
{
    int folder = dirfd(listing->folder);
    uint64_t end = 0;
    for (size_t i = 0; i < listing->count; i++) {
        const char *name = listing->names[i];
        size_t length = strlen(name);
        int64_t *row = rows + i * FILEBATCH_STAT_FIELDS;
        struct stat status;
        memcpy(names + end, name, length);
        end += length;
        ends[i] = end;
        memset(row, 0, FILEBATCH_STAT_FIELDS * sizeof *row);
        if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
            row[10] = errno;
            continue;
        }
        row[0] = status.st_mode;
        row[1] = status.st_size;
        row[2] = filebatch_time_ns(FILEBATCH_MTIME(&status));
        row[3] = filebatch_time_ns(FILEBATCH_CTIME(&status));
        row[4] = (int64_t)status.st_ino;
        row[5] = (int64_t)status.st_dev;
        row[6] = (int64_t)status.st_nlink;
        row[7] = status.st_uid;
        row[8] = status.st_gid;
        row[9] = status.st_blocks;
    }
}

/* ---- read ---- */

/* Without following a link, without waiting for the other end of a fifo, without touching atime where permitted. */
static int filebatch_open_quietly(int folder, const char *path)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
    int file;
#ifdef O_NOATIME
    FILEBATCH_RETRY(file, openat(folder, path, flags | O_NOATIME));
    if (file >= 0 || errno != EPERM)
        return file;
#endif
    FILEBATCH_RETRY(file, openat(folder, path, flags));
    return file;
}

/* The folder of the file read last: files of one folder follow each other, and their names alone are looked up quicker. */
struct filebatch_folder {
    const unsigned char *path; /* in the arena of paths */
    size_t length;
    int file; /* or negative */
};

static void filebatch_folder_close(struct filebatch_folder *folder)
{
    if (folder->file >= 0)
        close(folder->file);
    folder->file = -1;
    folder->length = 0;
}

/*
 * Open a file by its name in its folder, or by its whole path where the folder cannot be held: the errors are those of the
 * path. `scratch` holds the path, `path` is the same in the arena.
 */
static int filebatch_open_in(struct filebatch_folder *folder, const unsigned char *path,
                             char *scratch)
{
    char *slash = strrchr(scratch, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - scratch);
    if (length == 0)
        return filebatch_open_quietly(AT_FDCWD, scratch);
#ifdef O_PATH
    if (length != folder->length || memcmp(path, folder->path, length) != 0) {
        filebatch_folder_close(folder);
        *slash = 0;
        FILEBATCH_RETRY(folder->file, open(scratch, O_PATH | O_DIRECTORY | O_CLOEXEC));
        *slash = '/';
        folder->path = path;
        folder->length = length;
    }
    if (folder->file >= 0 && slash[1] != 0)
        return filebatch_open_quietly(folder->file, slash + 1);
#else
    (void)path;
    (void)folder;
#endif
    return filebatch_open_quietly(AT_FDCWD, scratch);
}

static int filebatch_has_xattr(int file)
{
#ifdef __linux__
    return flistxattr(file, NULL, 0) > 0;
#else
    (void)file;
    return 0;
#endif
}

/* Up to `room` bytes of an open file of `size` bytes. */
static int filebatch_fill(int file, unsigned char *into, uint64_t room, uint64_t size,
                          uint64_t *got)
{
    uint64_t done = 0;
    /* at the size that the file had when it was opened another read would only say: the end */
    do {
        uint64_t wanted = room - done;
        ssize_t count;
        if (wanted > FILEBATCH_CALL_BYTES_MAX)
            wanted = FILEBATCH_CALL_BYTES_MAX;
        FILEBATCH_RETRY(count, read(file, into + done, (size_t)wanted));
        if (count < 0)
            return errno;
        if (count == 0)
            break;
        done += (uint64_t)count;
    } while (done < room && done != size);
    *got = done;
    return 0;
}

static int filebatch_read_open(int file, unsigned char *into, uint64_t size, uint64_t *got,
                               int64_t *row)
{
    struct stat status;
    int error;
    if (fstat(file, &status) < 0)
        return errno;
    if (!S_ISREG(status.st_mode))
        return EINVAL;
    error = filebatch_fill(file, into, size + 1, (uint64_t)status.st_size, got);
    if (error != 0)
        return error;
    if (fstat(file, &status) < 0)
        return errno;
    row[1] = status.st_size;
    row[2] = filebatch_time_ns(FILEBATCH_MTIME(&status));
    row[3] = filebatch_time_ns(FILEBATCH_CTIME(&status));
    row[4] = (int64_t)status.st_ino;
    row[5] = filebatch_has_xattr(file);
    return 0;
}

/* The next path of an arena with a zero byte behind it, in `scratch`, which has room for the longest. */
static char *filebatch_path(const unsigned char *paths, const uint64_t *ends, size_t i,
                            char *scratch)
{
    uint64_t start = i == 0 ? 0 : ends[i - 1];
    size_t length = (size_t)(ends[i] - start);
    memcpy(scratch, paths + start, length);
    scratch[length] = 0;
    return scratch;
}

static void filebatch_read(const unsigned char *paths, const uint64_t *ends, const uint64_t *sizes,
                           size_t count, char *scratch, unsigned char *buffer, uint64_t *spans,
                           int64_t *rows)
{
    struct filebatch_folder folder = {NULL, 0, -1};
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t *row = rows + i * FILEBATCH_READ_FIELDS;
        uint64_t got = 0;
        int error;
        int file = filebatch_open_in(&folder, paths + (i == 0 ? 0 : ends[i - 1]),
                                     filebatch_path(paths, ends, i, scratch));
        memset(row, 0, FILEBATCH_READ_FIELDS * sizeof *row);
        if (file < 0) {
            error = errno;
        } else {
            error = filebatch_read_open(file, buffer + at, sizes[i], &got, row);
            close(file);
        }
        row[0] = error;
        spans[2 * i] = at;
        if (error == 0)
            at += got;
        spans[2 * i + 1] = at;
    }
    filebatch_folder_close(&folder);
}

/* ---- write ---- */

struct filebatch_piece {
    const unsigned char *data;
    uint64_t size;
};

static int filebatch_pwrite(int file, const unsigned char *data, uint64_t size, uint64_t offset)
{
    while (size > 0) {
        uint64_t wanted = size < FILEBATCH_CALL_BYTES_MAX ? size : FILEBATCH_CALL_BYTES_MAX;
        ssize_t count;
        FILEBATCH_RETRY(count, pwrite(file, data, (size_t)wanted, (off_t)offset));
        if (count < 0)
            return errno;
        if (count == 0)
            return EIO; /* no progress and no reason: going on would never end */
        data += count;
        size -= (uint64_t)count;
        offset += (uint64_t)count;
    }
    return 0;
}

/* Owner, mode, times, in the order in which none undoes another; negative: only the owner was refused. */
static int filebatch_set_attributes(int file, const struct stat *status, const int64_t *attributes)
{
    int64_t uid = attributes[1];
    int64_t gid = attributes[2];
    int64_t seconds = attributes[3] / FILEBATCH_NS;
    int64_t rest = attributes[3] % FILEBATCH_NS;
    struct timespec times[2];
    int owner_error = 0;
    int result;
    if ((uid != -1 && uid != (int64_t)status->st_uid)
        || (gid != -1 && gid != (int64_t)status->st_gid)) {
        FILEBATCH_RETRY(result, fchown(file, (uid_t)uid, (gid_t)gid));
        if (result < 0)
            owner_error = errno;
    }
    FILEBATCH_RETRY(result, fchmod(file, (mode_t)attributes[0]));
    if (result < 0)
        return errno;
    if (rest < 0) {
        seconds -= 1;
        rest += FILEBATCH_NS;
    }
    times[0].tv_sec = (time_t)seconds;
    times[0].tv_nsec = (long)rest;
    times[1] = times[0];
    FILEBATCH_RETRY(result, futimens(file, times));
    if (result < 0)
        return errno;
    return -owner_error;
}

/* The rows plan[0..rows) of one open file, then its attributes. */
static int filebatch_write_open(int file, const struct filebatch_piece *pieces,
                                const uint64_t *plan, size_t rows, const int64_t *attributes)
{
    struct stat status;
    if (fstat(file, &status) < 0)
        return errno;
    if (!S_ISREG(status.st_mode))
        return EINVAL;
    for (size_t i = 0; i < rows; i++, plan += FILEBATCH_PLAN_FIELDS) {
        int error = filebatch_pwrite(file, pieces[plan[2]].data + plan[3], plan[4], plan[1]);
        if (error != 0)
            return error;
    }
    if (attributes[4] & FILEBATCH_LAST)
        return filebatch_set_attributes(file, &status, attributes);
    return 0;
}

static int filebatch_write_one(int root, const char *path, const struct filebatch_piece *pieces,
                               const uint64_t *plan, size_t rows, const int64_t *attributes)
{
    /* O_NONBLOCK: a fifo that took the place of a file is an error, not a wait */
    int flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
    int file;
    int error;
    if (attributes[4] & FILEBATCH_CREATE)
        flags |= O_CREAT | O_EXCL;
    FILEBATCH_RETRY(file, openat(root, path, flags, 0600));
    if (file < 0)
        return errno;
    error = filebatch_write_open(file, pieces, plan, rows, attributes);
    /* on some systems a full disk is told only here; after EINTR the file is closed all the same */
    if (close(file) < 0 && errno != EINTR && error <= 0)
        error = errno;
    return error;
}

/* Errno of the root; nothing is done if it cannot be opened. */
static int filebatch_write(const char *root, const unsigned char *paths, const uint64_t *ends,
                           size_t count, char *scratch, const struct filebatch_piece *pieces,
                           const uint64_t *plan, size_t rows, const int64_t *attributes,
                           int64_t *errors)
{
    size_t first = 0;
    int folder;
    FILEBATCH_RETRY(folder, open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder < 0)
        return errno;
    for (size_t i = 0; i < count; i++) {
        size_t behind = first;
        while (behind < rows && plan[behind * FILEBATCH_PLAN_FIELDS] == i)
            behind++;
        errors[i] = filebatch_write_one(folder, filebatch_path(paths, ends, i, scratch), pieces,
                                        plan + first * FILEBATCH_PLAN_FIELDS, behind - first,
                                        attributes + i * FILEBATCH_ATTRIBUTE_FIELDS);
        first = behind;
    }
    close(folder);
    return 0;
}

#endif
