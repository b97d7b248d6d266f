/* folder: what backup and restore need of files: whole or not at all, and on the disk. */
#ifndef KMY_TOOLS_KAMIYO_FOLDER_H
#define KMY_TOOLS_KAMIYO_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#define CLI_PATH_BYTES      4096
#define CLI_SHA256_TEXT     65 /* hex digits, terminated */
#define CLI_SECRET_BYTES    4096
#define CLI_BACKUP_VERSION  1
#define CLI_BACKUP_MANIFEST "manifest.json"

/* Names of the files of a data folder (or of a backup of one) that are secrets: those that are there. */
enum { CLI_SECRETS_MAX = 16, CLI_SECRET_NAME_BYTES = 48 };
size_t cli_secrets(const char *folder, char names[CLI_SECRETS_MAX][CLI_SECRET_NAME_BYTES]);

/* false: the path would be too long (errno is ENAMETOOLONG). */
bool cli_join(char out[CLI_PATH_BYTES], const char *folder, const char *name);
bool cli_sync_folder(const char *path);
/* The folder that `path` lies in, synced. */
bool cli_sync_parent(const char *path);
bool cli_exists(const char *path);
/* Hex SHA-256 of a file. */
bool cli_sha256_file(const char *path, char out[CLI_SHA256_TEXT]);
/* Copies a small file (0600, synced); there must be none at `to`. */
bool cli_copy_secret(const char *from, const char *to);
bool cli_same_secret(const char *a, const char *b);
/* Renames `path` to the first free `base`.before-restore-N, told in out.  true as well if there is nothing at path (out is then ""). */
bool cli_move_aside(const char *path, const char *base, char out[CLI_PATH_BYTES]);

#endif
