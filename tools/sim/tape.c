#include "tools/sim/tape.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/clock.h"

#define LINE_BYTES_MAX    (4u << 20)
#define TEXT_BYTES_MAX    (1ull << 32) /* of all recordings together */
#define FRAME_PATCHES_MAX 4096         /* one frame; !miniTicker@arr has one time a symbol */

typedef struct loader {
    sim_tape_t *tape;
    sim_streams_t *streams;
    sim_tape_venue_t venue;
    int64_t gap_ns;
    int64_t first_ns;   /* receive time of the file's first frame; -1: none yet */
    int64_t last_ns;    /* of the line before, after first_ns */
    int64_t clock_us;   /* event time at at_ns 0; 0: not known yet */
    size_t first_frame; /* of this file */
} loader_t;

static bool grow(void **mem, size_t *cap, size_t need, size_t each)
{
    if (need <= *cap)
        return true;
    size_t n = *cap ? *cap : 1024;
    while (n < need)
        n *= 2;
    void *p = realloc(*mem, n * each);
    if (!p)
        return false;
    *mem = p;
    *cap = n;
    return true;
}

/* A line as it stands in the file: its receive time and its frame. */
typedef struct line {
    const char *frame;
    size_t len;
    int64_t recv_ns; /* -1: the line names none */
} line_t;

/* "1723161253937085768 {" or "1633998512.0633569: {" */
static bool split_time(const char *text, size_t len, line_t *out)
{
    size_t at = 0;
    int64_t whole = 0, fraction = 0, unit = KMY_NS_PER_S;
    while (at < len && at < 19 && isdigit((unsigned char)text[at]))
        whole = whole * 10 + (text[at++] - '0');
    if (at == 0)
        return false;
    bool seconds = at < 12;
    if (seconds && at < len && text[at] == '.')
        for (at++; at < len && isdigit((unsigned char)text[at]) && unit > 1; at++) {
            unit /= 10;
            fraction += (text[at] - '0') * unit;
        }
    if (seconds && at < len && text[at] == ':')
        at++;
    if (at + 1 >= len || text[at] != ' ')
        return false;
    out->recv_ns = seconds ? whole * KMY_NS_PER_S + fraction : whole;
    out->frame = text + at + 1;
    out->len = len - at - 1;
    return true;
}

/* {"stream":"NAME","data":PAYLOAD} -> NAME and PAYLOAD. */
static bool unwrap(const char *text, size_t len, const char **name, size_t *name_len,
                   const char **payload, size_t *payload_len)
{
    static const char head[] = "{\"stream\":\"", middle[] = "\",\"data\":";
    if (len < sizeof head + sizeof middle || memcmp(text, head, sizeof head - 1) != 0)
        return false;
    *name = text + sizeof head - 1;
    const char *quote = memchr(*name, '"', len - (sizeof head - 1));
    if (!quote)
        return false;
    *name_len = (size_t)(quote - *name);
    size_t left = (size_t)(text + len - quote);
    if (left < sizeof middle + 1 || memcmp(quote, middle, sizeof middle - 1) != 0)
        return false;
    *payload = quote + sizeof middle - 1;
    *payload_len = (size_t)(text + len - 1 - *payload);
    return text[len - 1] == '}';
}

/* A raw payload's stream: from e and s, or bookTicker where there is no e. */
static bool raw_name(json_t *root, char *name, size_t cap)
{
    const char *symbol = json_string_value(json_object_get(root, "s"));
    const char *event = json_string_value(json_object_get(root, "e"));
    if (!event && json_object_get(root, "u") && json_object_get(root, "B"))
        event = "bookTicker";
    if (event && strcmp(event, "depthUpdate") == 0)
        event = "depth";
    if (!symbol || !event || strlen(symbol) + strlen(event) + 2 > cap)
        return false;
    size_t n = 0;
    for (; symbol[n]; n++)
        name[n] = symbol[n] >= 'A' && symbol[n] <= 'Z' ? (char)(symbol[n] + 32) : symbol[n];
    name[n++] = '@';
    memcpy(name + n, event, strlen(event) + 1);
    return true;
}

static void group_note(sim_tape_group_t *g, const sim_patch_t *p)
{
    if (g->max[p->kind] == 0 || p->value < g->min[p->kind])
        g->min[p->kind] = p->value;
    if (p->value > g->max[p->kind])
        g->max[p->kind] = p->value;
}

static uint32_t group_of(loader_t *l, const char *stream, size_t len)
{
    sim_tape_t *t = l->tape;
    const char *at = memchr(stream, '@', len);
    size_t group_len = l->venue == SIM_TAPE_HERMES ? 0 : at ? (size_t)(at - stream) : len;
    uint32_t g = sim_streams_intern(&t->group_names, stream, group_len);
    if (g == UINT32_MAX)
        return g;
    size_t had = t->groups_cap;
    if (!grow((void **)&t->groups, &t->groups_cap, (size_t)g + 1, sizeof *t->groups))
        return UINT32_MAX;
    memset(t->groups + had, 0, (t->groups_cap - had) * sizeof *t->groups);
    if (g >= t->groups_count)
        t->groups_count = (size_t)g + 1;
    return g;
}

static bool add_patches(loader_t *l, sim_tape_frame_t *f, const char *text)
{
    sim_tape_t *t = l->tape;
    static sim_patch_t found[FRAME_PATCHES_MAX];
    int n = sim_shift_find(text, f->len, found, FRAME_PATCHES_MAX);
    if (n < 0 ||
        !grow((void **)&t->patches, &t->patches_cap, t->patches_count + (size_t)n, sizeof *found))
        return false;
    f->patch_at = (uint32_t)t->patches_count;
    f->patches_count = (uint16_t)n;
    for (int i = 0; i < n; i++) {
        group_note(&t->groups[f->group], &found[i]);
        t->patches[t->patches_count++] = found[i];
    }
    return true;
}

static uint64_t frame_value(const sim_tape_t *t, const sim_tape_frame_t *f, sim_num_t kind)
{
    for (int i = 0; i < f->patches_count; i++)
        if (t->patches[f->patch_at + (uint32_t)i].kind == kind)
            return t->patches[f->patch_at + (uint32_t)i].value;
    return 0;
}

static void lay_in_time(loader_t *l, sim_tape_frame_t *f, int64_t recv_ns)
{
    f->no_clock = recv_ns < 0;
    if (f->no_clock) {
        f->at_ns = l->first_ns < 0 ? 0 : l->last_ns + l->gap_ns;
        l->first_ns = 0;
    } else {
        if (l->first_ns < 0)
            l->first_ns = recv_ns;
        f->at_ns = recv_ns > l->first_ns ? recv_ns - l->first_ns : 0;
    }
    l->last_ns = f->at_ns;
    int64_t event_us = (int64_t)frame_value(l->tape, f, SIM_TIME);
    if (f->no_clock) {
        f->clock_us = event_us;
        return;
    }
    if (l->clock_us == 0 && event_us > 0)
        l->clock_us = event_us - f->at_ns / 1000;
    f->clock_us = l->clock_us + f->at_ns / 1000;
}

static kmy_err_t add_frame(loader_t *l, const line_t *line, const char *name, size_t name_len,
                           const char *payload, size_t len, kmy_errctx_t *ctx)
{
    sim_tape_t *t = l->tape;
    if (t->text_len + len > TEXT_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "recordings exceed %llu bytes", TEXT_BYTES_MAX);
    sim_tape_frame_t f = { .text_at = t->text_len, .len = (uint32_t)len };
    f.stream = sim_streams_intern(l->streams, name, name_len);
    f.group = group_of(l, name, name_len);
    f.meta_at = f.vaa_at = (uint32_t)len >= 2 ? (uint32_t)len - 2 : 0;
    if (f.stream == UINT32_MAX || f.group == UINT32_MAX || !add_patches(l, &f, payload) ||
        !grow((void **)&t->text, &t->text_cap, t->text_len + len, 1) ||
        !grow((void **)&t->frames, &t->frames_cap, t->frames_count + 1, sizeof f))
        return KMY_FAIL(ctx, KMY_TOO_BIG, "out of memory or more than %d streams", SIM_STREAMS_MAX);
    memcpy(t->text + t->text_len, payload, len);
    t->text_len += len;
    lay_in_time(l, &f, line->recv_ns);
    t->frames[t->frames_count++] = f;
    return KMY_OK;
}

/* Members a Hermes subscriber may not have asked for; the serializer puts them last, metadata before vaa. */
static void mark_hermes(sim_tape_t *t, sim_tape_frame_t *f)
{
    const char *text = t->text + f->text_at;
    const char *meta = memmem(text, f->len, ",\"metadata\":", 12);
    const char *vaa = memmem(text, f->len, ",\"vaa\":", 7);
    if (vaa)
        f->meta_at = f->vaa_at = (uint32_t)(vaa - text);
    if (meta)
        f->meta_at = (uint32_t)(meta - text);
    f->only_vaa = vaa != NULL;
}

static kmy_err_t add_hermes(loader_t *l, const line_t *line, kmy_errctx_t *ctx)
{
    json_t *root = json_loadb(line->frame, line->len, 0, NULL);
    json_t *feed = json_object_get(root, "price_feed");
    const char *id = json_string_value(json_object_get(feed, "id"));
    kmy_err_t err = KMY_OK;
    if (id && strlen(id) == 64) {
        err = add_frame(l, line, id, 64, line->frame, line->len, ctx);
        if (err == KMY_OK)
            mark_hermes(l->tape, &l->tape->frames[l->tape->frames_count - 1]);
    } else {
        l->tape->skipped_count++;
    }
    json_decref(root);
    return err;
}

static kmy_err_t add_binance(loader_t *l, const line_t *line, kmy_errctx_t *ctx)
{
    json_t *root = json_loadb(line->frame, line->len, 0, NULL);
    const char *name, *payload;
    size_t name_len, payload_len;
    char raw[96];
    kmy_err_t err = KMY_OK;
    if (root && unwrap(line->frame, line->len, &name, &name_len, &payload, &payload_len))
        err = add_frame(l, line, name, name_len, payload, payload_len, ctx);
    else if (root && raw_name(root, raw, sizeof raw))
        err = add_frame(l, line, raw, strlen(raw), line->frame, line->len, ctx);
    else
        l->tape->skipped_count++;
    json_decref(root);
    return err;
}

/* {"dir":"in","frame":"..."}: *own is the frame's text, to be freed; NULL if this is no incoming frame. */
static char *unpack_dir(const char *text, size_t len)
{
    json_t *root = json_loadb(text, len, 0, NULL);
    const char *dir = json_string_value(json_object_get(root, "dir"));
    const char *frame = json_string_value(json_object_get(root, "frame"));
    char *own = dir && frame && strcmp(dir, "in") == 0 ? strdup(frame) : NULL;
    json_decref(root);
    return own;
}

static kmy_err_t add_line(loader_t *l, const char *text, size_t len, kmy_errctx_t *ctx)
{
    line_t line = { .frame = text, .len = len, .recv_ns = -1 };
    char *own = NULL;
    if (len > 7 && memcmp(text, "{\"dir\":", 7) == 0) {
        own = unpack_dir(text, len);
        if (!own) {
            l->tape->skipped_count++;
            return KMY_OK;
        }
        line.frame = own;
        line.len = strlen(own);
    } else if (len > 0 && text[0] != '{') {
        if (!split_time(text, len, &line)) {
            l->tape->skipped_count += len > 0;
            return KMY_OK;
        }
    }
    bool hermes = memmem(line.frame, line.len, "\"price_feed\"", 12) != NULL;
    kmy_err_t err = KMY_OK;
    if (hermes && l->venue == SIM_TAPE_HERMES)
        err = add_hermes(l, &line, ctx);
    else if (!hermes && l->venue == SIM_TAPE_BINANCE)
        err = add_binance(l, &line, ctx);
    free(own);
    return err;
}

/* One line without its end; *len bytes; false at the end of the file. */
static bool read_line(gzFile file, char *buf, size_t cap, size_t *len)
{
    if (!gzgets(file, buf, (int)cap))
        return false;
    size_t n = strlen(buf);
    while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == '\r'))
        n--;
    *len = n;
    return true;
}

/* Older slots behind newer ones of the same feed are what allow_out_of_order is for. */
static void mark_late(sim_tape_t *t, size_t from, size_t streams_count)
{
    uint64_t *newest = calloc(streams_count ? streams_count : 1, sizeof *newest);
    for (size_t i = from; newest && i < t->frames_count; i++) {
        sim_tape_frame_t *f = &t->frames[i];
        uint64_t slot = frame_value(t, f, SIM_SLOT);
        f->late = slot > 0 && slot < newest[f->stream];
        if (slot > newest[f->stream])
            newest[f->stream] = slot;
    }
    free(newest);
}

kmy_err_t sim_tape_load(sim_tape_t *tape, const char *path, sim_tape_venue_t venue, int64_t gap_ns,
                        sim_streams_t *streams, size_t *found, kmy_errctx_t *ctx)
{
    *found = 0;
    gzFile file = gzopen(path, "rb");
    if (!file)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot open recording %s: %s", path, strerror(errno));
    char *buf = malloc(LINE_BYTES_MAX);
    kmy_err_t err = buf ? KMY_OK : KMY_FAIL(ctx, KMY_TOO_BIG, "out of memory");
    loader_t l = { tape, streams, venue, gap_ns, -1, 0, 0, tape->frames_count };
    size_t len;
    while (err == KMY_OK && read_line(file, buf, LINE_BYTES_MAX, &len))
        err = add_line(&l, buf, len, ctx);
    int zerr = Z_OK;
    const char *why = gzerror(file, &zerr);
    if (err == KMY_OK && zerr != Z_OK && zerr != Z_STREAM_END)
        err = KMY_FAIL(ctx, KMY_IO, "cannot read recording %s: %s", path, why);
    if (venue == SIM_TAPE_HERMES)
        mark_late(tape, l.first_frame, streams->count);
    *found = tape->frames_count - l.first_frame;
    gzclose(file);
    free(buf);
    return err;
}

static int by_time(const void *a, const void *b)
{
    const sim_tape_frame_t *x = a, *y = b;
    if (x->at_ns != y->at_ns)
        return x->at_ns < y->at_ns ? -1 : 1;
    return x->text_at < y->text_at ? -1 : 1; /* as read; text_at never repeats */
}

/* A loop lasts as long as its receive times and its event times do, and one gap more, in whole seconds: so times go on and the
   seconds of Hermes move by whole ones. */
static int64_t loop_length_ns(const sim_tape_t *t)
{
    int64_t span_us = 0;
    for (size_t i = 0; i < t->groups_count; i++) {
        const sim_tape_group_t *g = &t->groups[i];
        int64_t span = (int64_t)(g->max[SIM_TIME] - g->min[SIM_TIME]);
        if (span > span_us)
            span_us = span;
    }
    int64_t ns = t->frames_count ? t->frames[t->frames_count - 1].at_ns : 0;
    if (t->frames_count && !t->frames[0].no_clock && span_us * 1000 > ns)
        ns = span_us * 1000;
    return (ns / KMY_NS_PER_S + 1) * KMY_NS_PER_S;
}

void sim_tape_finish(sim_tape_t *tape)
{
    bool sorted = true;
    for (size_t i = 1; i < tape->frames_count; i++)
        sorted &= by_time(&tape->frames[i - 1], &tape->frames[i]) < 0;
    if (!sorted)
        qsort(tape->frames, tape->frames_count, sizeof *tape->frames, by_time);
    tape->loop_ns = loop_length_ns(tape);
    for (size_t i = 0; i < tape->groups_count; i++) {
        const sim_tape_group_t *g = &tape->groups[i];
        if (g->max[SIM_SLOT] > tape->slot_max)
            tape->slot_max = g->max[SIM_SLOT];
    }
}

void sim_tape_delta(const sim_tape_t *tape, const sim_tape_frame_t *frame, uint64_t loop,
                    int64_t delta[SIM_NUMS])
{
    const sim_tape_group_t *g = &tape->groups[frame->group];
    for (int k = 0; k < SIM_NUMS; k++)
        delta[k] = g->max[k] ? (int64_t)(loop * (g->max[k] - g->min[k] + 1)) : 0;
    int64_t loop_us = tape->loop_ns / 1000;
    if (frame->no_clock) { /* recorded without receive times: its event times may span years */
        int64_t span_us = (int64_t)(g->max[SIM_TIME] - g->min[SIM_TIME]);
        loop_us = (span_us / 1000000 + 1) * 1000000;
    }
    delta[SIM_TIME] = (int64_t)loop * loop_us;
}

void sim_tape_fini(sim_tape_t *tape)
{
    free(tape->text);
    free(tape->frames);
    free(tape->patches);
    free(tape->groups);
    sim_streams_fini(&tape->group_names);
    *tape = (sim_tape_t){ 0 };
}
