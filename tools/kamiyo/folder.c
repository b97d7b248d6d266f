#include "tools/kamiyo/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* token.key.until-*: keys before a rotation, good for checks until their tokens have expired (pay/token.h). */
static bool is_secret(const char *name)
{
    static const char earlier[] = "token.key.until-";
    return strcmp(name, "token.key") == 0 || strcmp(name, "receipt.key") == 0 ||
           strcmp(name, "admin.token") == 0 || strncmp(name, earlier, sizeof earlier - 1) == 0;
}

size_t cli_secrets(const char *folder, char names[CLI_SECRETS_MAX][CLI_SECRET_NAME_BYTES])
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && n < CLI_SECRETS_MAX && (e = readdir(dir));) {
        if (is_secret(e->d_name) && strlen(e->d_name) < CLI_SECRET_NAME_BYTES)
            memcpy(names[n++], e->d_name, strlen(e->d_name) + 1);
    }
    if (dir)
        closedir(dir);
    return n;
}

bool cli_join(char out[CLI_PATH_BYTES], const char *folder, const char *name)
{
    if (snprintf(out, CLI_PATH_BYTES, "%s/%s", folder, name) < CLI_PATH_BYTES)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

bool cli_sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0;
    close(fd);
    return ok;
}

bool cli_sync_parent(const char *path)
{
    char parent[CLI_PATH_BYTES];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash == parent)
        slash++;
    if (slash)
        *slash = '\0';
    return cli_sync_folder(slash ? parent : ".");
}

bool cli_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

bool cli_sha256_file(const char *path, char out[CLI_SHA256_TEXT])
{
    static uint8_t block[1 << 16];
    uint8_t hash[32];
    unsigned len = 0;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = fd >= 0 && md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    while (ok && (n = read(fd, block, sizeof block)) > 0)
        ok = EVP_DigestUpdate(md, block, (size_t)n) == 1;
    ok = ok && n == 0 && EVP_DigestFinal_ex(md, hash, &len) == 1 && len == sizeof hash;
    EVP_MD_CTX_free(md);
    if (fd >= 0)
        close(fd);
    for (size_t i = 0; ok && i < sizeof hash; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
    return ok;
}

/* At most CLI_SECRET_BYTES; -1: cannot be read, or is longer. */
static ssize_t read_small(const char *path, uint8_t out[CLI_SECRET_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t at = 0;
    ssize_t n = -1;
    while (fd >= 0 && at < CLI_SECRET_BYTES && (n = read(fd, out + at, CLI_SECRET_BYTES - at)) > 0)
        at += (size_t)n;
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && n > 0)
        errno = EFBIG;
    return n == 0 ? (ssize_t)at : -1;
}

bool cli_copy_secret(const char *from, const char *to)
{
    uint8_t bytes[CLI_SECRET_BYTES];
    ssize_t len = read_small(from, bytes);
    int fd = len < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, bytes, (size_t)len) == len && fsync(fd) == 0;
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    OPENSSL_cleanse(bytes, sizeof bytes);
    return ok;
}

bool cli_same_secret(const char *a, const char *b)
{
    uint8_t x[CLI_SECRET_BYTES];
    uint8_t y[CLI_SECRET_BYTES];
    ssize_t n = read_small(a, x);
    bool same = n >= 0 && read_small(b, y) == n && CRYPTO_memcmp(x, y, (size_t)n) == 0;
    OPENSSL_cleanse(x, sizeof x);
    OPENSSL_cleanse(y, sizeof y);
    return same;
}

bool cli_move_aside(const char *path, const char *base, char out[CLI_PATH_BYTES])
{
    out[0] = '\0';
    if (!cli_exists(path))
        return true;
    for (unsigned n = 1; n < 10000; n++) {
        if (snprintf(out, CLI_PATH_BYTES, "%s.before-restore-%u", base, n) >= CLI_PATH_BYTES) {
            errno = ENAMETOOLONG;
            return false;
        }
        if (!cli_exists(out))
            return rename(path, out) == 0;
    }
    errno = EEXIST;
    return false;
}
