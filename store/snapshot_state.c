/* The state file: the one thing about a snapshot store that is true after any crash.

      kamiyo-snapshot 1
      epoch <text>
      boot <uuid>
      clean | dirty
      feed <id> <name>     ids ascending
      end */
#include "store/snapshot_impl.h"
#include "base/clock.h"
#include "base/decimal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

void kmy_snapshot_boot_id(char out[48])
{
    out[0] = 0;
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!f)
        return;
    if (!fgets(out, 48, f))
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    fclose(f);
}

/* Seconds of the wall clock, then 40 random bits: sorts by age for people, never repeats. */
void kmy_snapshot_new_epoch(char out[KMY_SNAPSHOT_EPOCH_BYTES])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
    uint64_t random;
    KMY_ASSERT(getrandom(&random, sizeof random, 0) == (ssize_t)sizeof random);
    uint64_t seconds = (uint64_t)(kmy_wall_ns() / KMY_NS_PER_S);
    char *p = out;
    for (int shift = 30; shift >= 0; shift -= 5)
        *p++ = digits[seconds >> shift & 31];
    for (int i = 0; i < 8; i++, random >>= 5)
        *p++ = digits[random & 31];
    *p = 0;
}

bool kmy_snapshot_state_set_feed(snapshot_state_t *state, uint32_t id, const char *name,
                                 size_t name_bytes)
{
    KMY_ASSERT(id > 0 && name_bytes > 0 && name_bytes < KMY_FEED_NAME_BYTES_MAX);
    if (id > state->feeds_count) {
        void *grown = realloc(state->feed_names, (size_t)id * KMY_FEED_NAME_BYTES_MAX);
        if (!grown)
            return false;
        state->feed_names = grown;
        memset(state->feed_names[state->feeds_count], 0,
               (size_t)(id - state->feeds_count) * KMY_FEED_NAME_BYTES_MAX);
        state->feeds_count = id;
    }
    memcpy(state->feed_names[id - 1], name, name_bytes);
    state->feed_names[id - 1][name_bytes] = 0;
    return true;
}

void kmy_snapshot_state_fini(snapshot_state_t *state)
{
    free(state->feed_names);
    *state = (snapshot_state_t){ 0 };
}

static bool is_epoch(const char *text)
{
    size_t n = strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz");
    return n > 0 && n < KMY_SNAPSHOT_EPOCH_BYTES && text[n] == 0;
}

/* "feed <id> <name>" */
static bool take_feed(snapshot_state_t *state, const char *text)
{
    uint64_t id;
    size_t digits = strspn(text, "0123456789");
    const char *name = text + digits + 1;
    if (text[digits] != ' ' || !kmy_u64_parse(text, digits, &id) || id == 0 ||
        id > KMY_SNAPSHOT_FEED_ID_MAX)
        return false;
    size_t n = strlen(name);
    return n > 0 && n < KMY_FEED_NAME_BYTES_MAX &&
           kmy_snapshot_state_set_feed(state, (uint32_t)id, name, n);
}

/* One line without its newline; *end: the last line was seen. */
static bool take_line(snapshot_state_t *state, unsigned line_idx, const char *line, bool *end)
{
    if (*end)
        return false;
    switch (line_idx) {
    case 0:
        return strcmp(line, "kamiyo-snapshot 1") == 0;
    case 1:
        if (strncmp(line, "epoch ", 6) != 0 || !is_epoch(line + 6))
            return false;
        memcpy(state->epoch, line + 6, strlen(line + 6) + 1); /* is_epoch measured it */
        return true;
    case 2:
        if (strncmp(line, "boot ", 5) != 0 || strlen(line + 5) >= sizeof state->boot)
            return false;
        memcpy(state->boot, line + 5, strlen(line + 5) + 1);
        return true;
    case 3:
        state->clean = strcmp(line, "clean") == 0;
        return state->clean || strcmp(line, "dirty") == 0;
    default:
        *end = strcmp(line, "end") == 0;
        return *end || (strncmp(line, "feed ", 5) == 0 && take_feed(state, line + 5));
    }
}

state_result_t kmy_snapshot_state_read(const char *path, snapshot_state_t *state)
{
    char file[PATH_MAX];
    char line[KMY_FEED_NAME_BYTES_MAX + 64];
    bool end = false;
    bool ok = true;
    *state = (snapshot_state_t){ 0 };
    if (snprintf(file, sizeof file, "%s/state", path) >= (int)sizeof file)
        return STATE_ABSENT;
    FILE *f = fopen(file, "re");
    if (!f)
        return errno == ENOENT ? STATE_ABSENT : STATE_BAD;
    for (unsigned i = 0; ok && fgets(line, sizeof line, f); i++) {
        size_t n = strlen(line);
        ok = n > 0 && line[n - 1] == '\n';
        line[n - ok] = 0;
        ok = ok && take_line(state, i, line, &end);
    }
    bool newer = !ok && !state->epoch[0] && strncmp(line, "kamiyo-snapshot ", 16) == 0;
    ok = ok && !ferror(f) && end;
    fclose(f);
    if (newer)
        return STATE_NEWER;
    if (!ok) /* what feeds it did name are kept: each line was checked */
        state->clean = false;
    return ok ? STATE_OK : STATE_BAD;
}

static bool print_state(FILE *f, const snapshot_state_t *state)
{
    fprintf(f, "kamiyo-snapshot %d\nepoch %s\nboot %s\n%s\n", KMY_SNAPSHOT_FORMAT, state->epoch,
            state->boot, state->clean ? "clean" : "dirty");
    for (uint32_t i = 0; i < state->feeds_count; i++)
        if (state->feed_names[i][0])
            fprintf(f, "feed %u %s\n", i + 1, state->feed_names[i]);
    fprintf(f, "end\n");
    return fflush(f) == 0 && !ferror(f) && fsync(fileno(f)) == 0;
}

static bool sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0;
    close(fd);
    return ok;
}

kmy_err_t kmy_snapshot_state_write(const char *path, const snapshot_state_t *state,
                                   kmy_errctx_t *ctx)
{
    char file[PATH_MAX];
    char aside[PATH_MAX];
    if (snprintf(file, sizeof file, "%s/state", path) >= (int)sizeof file ||
        snprintf(aside, sizeof aside, "%s/state.new", path) >= (int)sizeof aside)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "path of the snapshot store has %zu bytes", strlen(path));
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f) {
        kmy_err_t err = KMY_FAIL_SYS(ctx, KMY_IO, "cannot write %s", aside);
        if (fd >= 0)
            close(fd);
        return err;
    }
    bool ok = print_state(f, state);
    ok = fclose(f) == 0 && ok;
    if (!ok || rename(aside, file) != 0 || !sync_folder(path))
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot write %s", file);
    return KMY_OK;
}
