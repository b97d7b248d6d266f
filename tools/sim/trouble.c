#include "tools/sim/trouble.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *word;
    sim_trouble_group_t group;
    double seconds;
    uint64_t count;
    const char *help;
} kinds[SIM_TROUBLE_KINDS] = {
#define SIM_TROUBLE_ROW(name, word, group, seconds, count, help)                                   \
    [SIM_T_##name] = { word, SIM_##group, seconds, count, help },
    SIM_TROUBLE_TABLE(SIM_TROUBLE_ROW)
#undef SIM_TROUBLE_ROW
};

sim_trouble_group_t sim_trouble_group(sim_trouble_kind_t kind)
{
    return kinds[kind].group;
}
const char *sim_trouble_word(sim_trouble_kind_t kind)
{
    return kinds[kind].word;
}
const char *sim_trouble_help(sim_trouble_kind_t kind)
{
    return kinds[kind].help;
}

static bool kind_of(const char *word, sim_trouble_kind_t *out)
{
    for (int k = 0; word && k < SIM_TROUBLE_KINDS; k++)
        if (strcmp(kinds[k].word, word) == 0) {
            *out = (sim_trouble_kind_t)k;
            return true;
        }
    return false;
}

static bool targets_of(const char *word, unsigned *out)
{
    *out = !word || strcmp(word, "all") == 0 ? 3
           : strcmp(word, "binance") == 0    ? 1
           : strcmp(word, "hermes") == 0     ? 2
                                             : 0;
    return *out != 0;
}

/* A member that is a whole number in [min, max]; absent leaves *out. */
static bool whole_member(json_t *root, const char *key, int64_t min, int64_t max, int64_t *out)
{
    json_t *v = json_object_get(root, key);
    if (!v)
        return true;
    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
        return false;
    *out = json_integer_value(v);
    return true;
}

static bool known_members(json_t *root, const char **unknown)
{
    static const char *const known[] = { "kind", "target",      "seconds", "count",
                                         "conn", "bytes",       "ms",      "status",
                                         "code", "retry_after", "location" };
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        bool ok = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            ok |= strcmp(known[i], key) == 0;
        *unknown = key;
        if (!ok)
            return false;
    }
    return true;
}

static kmy_err_t numbers(json_t *root, sim_trouble_t *out, kmy_errctx_t *ctx)
{
    int64_t count = (int64_t)kinds[out->kind].count, conn = 0, bytes = 0, ms = 10, status = 503,
            retry = -1, code = 1001;
    json_t *seconds = json_object_get(root, "seconds");
    if (seconds && (!json_is_number(seconds) || !(json_number_value(seconds) >= 0) ||
                    json_number_value(seconds) > 1e6))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "seconds: a number from 0 to 1000000");
    out->seconds = seconds ? json_number_value(seconds) : kinds[out->kind].seconds;
    if (!seconds && json_object_get(root, "count"))
        out->seconds = 0; /* so many, however long it takes */
    if (!whole_member(root, "count", 0, 1000000000, &count) ||
        !whole_member(root, "conn", 0, INT64_MAX, &conn))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "count, conn: whole numbers from 0");
    if (!whole_member(root, "bytes", 0, 256 << 20, &bytes))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "bytes: a whole number up to 268435456");
    if (!whole_member(root, "ms", 1, 60000, &ms) ||
        !whole_member(root, "retry_after", 0, 1000000, &retry))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "ms: 1 to 60000; retry_after: seconds, 0 to 1000000");
    if (!whole_member(root, "status", 300, 599, &status))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "status: 300 to 599");
    if (!whole_member(root, "code", 1000, 4999, &code))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "code: 1000 to 4999");
    out->count = (uint64_t)count;
    out->conn = (uint64_t)conn;
    out->bytes = (uint64_t)bytes;
    out->ms = (uint32_t)ms;
    out->status = (int)status;
    out->retry_after = (int)retry;
    out->code = (int)code;
    return KMY_OK;
}

kmy_err_t sim_trouble_from_json(json_t *root, sim_trouble_t *out, kmy_errctx_t *ctx)
{
    *out = (sim_trouble_t){ 0 };
    const char *word = json_string_value(json_object_get(root, "kind"));
    const char *target = json_string_value(json_object_get(root, "target"));
    const char *unknown = "";
    if (!json_is_object(root))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a trouble is a JSON object with a member kind");
    if (!known_members(root, &unknown))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "unknown member '%.40s'", unknown);
    if (!kind_of(word, &out->kind))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "unknown kind '%.40s'; kamiyo-sim --help lists them",
                        word ? word : "");
    if (!targets_of(target, &out->targets) || (json_object_get(root, "target") && !target))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "target: binance, hermes or all");
    json_t *location = json_object_get(root, "location");
    const char *where = json_string_value(location);
    if (location && (!where || strlen(where) >= sizeof out->location || strpbrk(where, "\r\n")))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "location: one line, at most 255 bytes");
    if (where)
        memcpy(out->location, where, strlen(where) + 1);
    return numbers(root, out, ctx);
}

bool sim_duration(const char *text, double *seconds)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    double v = strtod(text, &end);
    static const struct {
        const char *unit;
        double worth;
    } units[] = { { "", 1 }, { "s", 1 }, { "ms", 0.001 }, { "m", 60 }, { "h", 3600 } };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(end, units[i].unit) == 0) {
            *seconds = v * units[i].worth;
            return v >= 0 && *seconds <= 1e9;
        }
    return false;
}

static json_t *value_of(const char *text)
{
    char *end;
    long long v = strtoll(text, &end, 10);
    if (*text && !*end)
        return json_integer(v);
    double d = strtod(text, &end);
    return *text && !*end ? json_real(d) : json_string(text);
}

json_t *sim_trouble_from_words(int count, char *const *words, kmy_errctx_t *ctx)
{
    json_t *root = json_object();
    unsigned targets;
    double seconds;
    for (int i = 0; i < count; i++) {
        const char *eq = strchr(words[i], '=');
        if (i == 0)
            json_object_set_new(root, "kind", json_string(words[i]));
        else if (eq)
            json_object_setn_new(root, words[i], (size_t)(eq - words[i]), value_of(eq + 1));
        else if (targets_of(words[i], &targets))
            json_object_set_new(root, "target", json_string(words[i]));
        else if (sim_duration(words[i], &seconds))
            json_object_set_new(root, "seconds", json_real(seconds));
        else {
            json_decref(root);
            kmy_fail(ctx, KMY_BAD_INPUT, __func__, 0, "'%.40s' is no target, duration or key=value",
                     words[i]);
            return NULL;
        }
    }
    return root;
}
