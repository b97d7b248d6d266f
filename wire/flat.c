/* tick 6/8   in: engine/shard, store/snapshot   out: pay/meter, engine/egress, LMDB

   How an encoded tick lies in memory.  Both forms are the same from the vtable on, so alignment holds
   in both; a FlatBuffers verifier counts alignment from the first byte, with the size prefix.

      byte   stream form            store form
         0   u32 size of the rest   u32 -> table (56)
         4   u32 -> table (52)      "KMYT"
         8   "KMYT"                 0
        12   vtable: u16 44, u16 108, 20 x u16 place of a member in the table
        56   table: i32 -> vtable (44), u32 -> name (104)
        64   seq offset event_ns recv_ns                        8 bytes each, as in kmy_tick_t
        96   price bid ask conf size ask_size source_seq        the same, behind mono_ns
       152   feed_id flags source kind price_expo size_expo event_res has        12 bytes
       164   name: u32 length, bytes, 0, padding to 8 */
#include "wire/flat.h"
#include "base/decimal.h"

#include <stdio.h>
#include <string.h>

enum {
    VTABLE_AT = 12,
    MEMBERS_COUNT = 20,
    VTABLE_BYTES = 4 + 2 * MEMBERS_COUNT,
    TABLE_AT = VTABLE_AT + VTABLE_BYTES,
    CLOCKS_AT = TABLE_AT + 8, /* run 1 of the tick: seq .. recv_ns */
    CLOCKS_BYTES = 4 * 8,
    PRICES_AT = CLOCKS_AT + CLOCKS_BYTES, /* run 2: price_mant .. has */
    PRICES_BYTES = 7 * 8 + 12,
    TABLE_BYTES = 8 + CLOCKS_BYTES + PRICES_BYTES,
    NAME_AT = TABLE_AT + TABLE_BYTES,
    STREAM_PREFIX_BYTES = 4,
};

_Static_assert(TABLE_AT % 8 == 0 && CLOCKS_AT % 8 == 0 && PRICES_AT % 8 == 0, "i64 members");
_Static_assert(NAME_AT % 4 == 0, "a string begins with its u32 length");
_Static_assert(((NAME_AT + 4 + KMY_FEED_NAME_BYTES_MAX + 7) & ~7) <= KMY_TICK_FLAT_BYTES_MAX,
               "the longest name fits");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the tick is copied as it lies in memory");
_Static_assert(offsetof(kmy_tick_t, mono_ns) - offsetof(kmy_tick_t, seq) == CLOCKS_BYTES, "run 1");
_Static_assert(offsetof(kmy_tick_t, reserved) - offsetof(kmy_tick_t, price_mant) == PRICES_BYTES,
               "run 2");

/* The members in the order of their ids in tick.fbs, and their places in the tick. */
static const struct member {
    uint16_t tick_at;
    uint8_t bytes;
} members[MEMBERS_COUNT] = {
#define MEMBER(name)                                                                               \
    {                                                                                              \
        offsetof(kmy_tick_t, name), sizeof(((kmy_tick_t *)0)->name)                                \
    }
    { 0, 4 }, /* feed: an offset to the name */
    MEMBER(seq),        MEMBER(offset),        MEMBER(event_ns),   MEMBER(recv_ns),
    MEMBER(price_mant), MEMBER(bid_mant),      MEMBER(ask_mant),   MEMBER(conf_mant),
    MEMBER(size_mant),  MEMBER(ask_size_mant), MEMBER(source_seq), MEMBER(feed_id),
    MEMBER(flags),      MEMBER(source),        MEMBER(kind),       MEMBER(price_expo),
    MEMBER(size_expo),  MEMBER(event_res),     MEMBER(has),
#undef MEMBER
};

static void put16(uint8_t *p, size_t v)
{
    uint16_t w = (uint16_t)v;
    memcpy(p, &w, sizeof w);
}

static void put32(uint8_t *p, size_t v)
{
    uint32_t w = (uint32_t)v;
    memcpy(p, &w, sizeof w);
}

/* Where a member of the tick stands in our table, counted from the table's start. */
static size_t place(const struct member *m)
{
    if (m->tick_at <= offsetof(kmy_tick_t, recv_ns))
        return CLOCKS_AT - TABLE_AT + m->tick_at;
    return PRICES_AT - TABLE_AT + m->tick_at - offsetof(kmy_tick_t, price_mant);
}

static void put_vtable(uint8_t *p)
{
    put16(p, VTABLE_BYTES);
    put16(p + 2, TABLE_BYTES);
    put16(p + 4, 4); /* feed: right behind the table's offset to its vtable */
    for (size_t i = 1; i < MEMBERS_COUNT; i++)
        put16(p + 4 + 2 * i, place(&members[i]));
}

void kmy_flat_init(kmy_flat_t *t, kmy_flat_form_t form, uint32_t feed_id, const char *feed_name)
{
    size_t name_bytes = strlen(feed_name);
    KMY_ASSERT(name_bytes > 0 && name_bytes < KMY_FEED_NAME_BYTES_MAX);
    uint8_t *p = t->bytes;
    memset(t, 0, sizeof *t);
    t->feed_id = feed_id;
    t->len = (uint32_t)((NAME_AT + 4 + name_bytes + 1 + 7) & ~(size_t)7);
    if (form == KMY_FLAT_STREAM) {
        put32(p, t->len - STREAM_PREFIX_BYTES);
        p += STREAM_PREFIX_BYTES;
    }
    put32(p, TABLE_AT - (size_t)(p - t->bytes));
    memcpy(p + 4, "KMYT", 4);
    put_vtable(t->bytes + VTABLE_AT);
    put32(t->bytes + TABLE_AT, TABLE_AT - VTABLE_AT);
    put32(t->bytes + TABLE_AT + 4, NAME_AT - (TABLE_AT + 4));
    put32(t->bytes + NAME_AT, name_bytes);
    memcpy(t->bytes + NAME_AT + 4, feed_name, name_bytes);
}

size_t kmy_flat_encode(const kmy_flat_t *t, const kmy_tick_t *tick, uint8_t *out)
{
    KMY_ASSERT(tick->feed_id == t->feed_id);
    const uint8_t *from = (const uint8_t *)tick;
    const size_t len = t->len; /* out might alias it, for all the compiler knows */
    memcpy(out, t->bytes, CLOCKS_AT);
    memcpy(out + CLOCKS_AT, from, CLOCKS_BYTES);
    memcpy(out + PRICES_AT, from + offsetof(kmy_tick_t, price_mant), PRICES_BYTES);
    /* Length of the name, then its bytes in whole words: a short loop of moves, no call. */
    memcpy(out + NAME_AT, t->bytes + NAME_AT, 4);
    for (size_t at = NAME_AT + 4; at < len; at += 8)
        memcpy(out + at, t->bytes + at, 8);
    return len;
}

_Static_assert((NAME_AT + 4) % 8 == 0,
               "from the name's first byte to the end there are whole words");

/* --- reading: bytes of anybody --- */

typedef struct view {
    const uint8_t *bytes;
    size_t len;
    size_t table;
    size_t table_bytes;
    size_t vtable;
    size_t vtable_bytes;
} view_t;

static uint16_t get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* NULL if the frame (root, identifier, vtable, table) lies within the buffer, else what is wrong. */
static const char *check_frame(view_t *v)
{
    /* A vtable offset is signed 32 bits; nothing we keep is near that. */
    if (v->len < 12 || v->len > INT32_MAX)
        return "too short or too long";
    if (memcmp(v->bytes + 4, "KMYT", 4) != 0)
        return "file identifier is not KMYT";
    v->table = get32(v->bytes);
    if (v->table < 8 || v->table > v->len - 4)
        return "table lies outside";
    int64_t vtable = (int64_t)v->table - (int32_t)get32(v->bytes + v->table);
    if (vtable < 0 || vtable > (int64_t)v->len - 4)
        return "vtable lies outside";
    v->vtable = (size_t)vtable;
    v->vtable_bytes = get16(v->bytes + v->vtable);
    v->table_bytes = get16(v->bytes + v->vtable + 2);
    if (v->vtable_bytes < 4 || v->vtable_bytes % 2 || v->vtable_bytes > v->len - v->vtable)
        return "vtable is cut short";
    if (v->table_bytes < 4 || v->table_bytes > v->len - v->table)
        return "table is cut short";
    return NULL;
}

/* Place of member idx in the buffer; 0: absent.  false: it lies outside its table. */
static bool find_member(const view_t *v, size_t idx, size_t *at)
{
    *at = 0;
    if (4 + 2 * idx + 2 > v->vtable_bytes)
        return true;
    size_t in_table = get16(v->bytes + v->vtable + 4 + 2 * idx);
    if (in_table == 0)
        return true;
    if (in_table < 4 || in_table + members[idx].bytes > v->table_bytes)
        return false;
    *at = v->table + in_table;
    return true;
}

static const char *read_name(const view_t *v, const uint8_t **name, size_t *name_bytes)
{
    size_t at;
    if (!find_member(v, 0, &at))
        return "a member lies outside the table";
    if (at == 0)
        return "there is no feed name";
    size_t string = at + get32(v->bytes + at); /* at < 2^31: no overflow of 64 bits */
    if (string > v->len - 4)
        return "feed name lies outside";
    size_t bytes = get32(v->bytes + string);
    if (bytes == 0 || bytes >= KMY_FEED_NAME_BYTES_MAX || bytes >= v->len - string - 4)
        return "feed name is empty, too long or cut short";
    *name = v->bytes + string + 4;
    *name_bytes = bytes;
    if (memchr(*name, 0, bytes) || (*name)[bytes] != 0)
        return "feed name is not terminated where it ends";
    return NULL;
}

static const char *read_tick(const view_t *v, kmy_tick_t *tick)
{
    for (size_t i = 1; i < MEMBERS_COUNT; i++) {
        size_t at;
        if (!find_member(v, i, &at))
            return "a member lies outside the table";
        if (at)
            memcpy((uint8_t *)tick + members[i].tick_at, v->bytes + at, members[i].bytes);
    }
    if (tick->price_expo < KMY_DEC_EXPO_MIN || tick->price_expo > KMY_DEC_EXPO_MAX ||
        tick->size_expo < KMY_DEC_EXPO_MIN || tick->size_expo > KMY_DEC_EXPO_MAX)
        return "an exponent is out of range";
    return NULL;
}

kmy_err_t kmy_flat_decode(const void *bytes, size_t len, kmy_tick_t *out,
                          char feed_name[KMY_FEED_NAME_BYTES_MAX], kmy_errctx_t *ctx)
{
    view_t v = { .bytes = bytes, .len = len };
    kmy_tick_t tick = { 0 };
    const uint8_t *name = NULL;
    size_t name_bytes = 0;
    const char *fault = check_frame(&v);
    if (!fault)
        fault = read_name(&v, &name, &name_bytes);
    if (!fault)
        fault = read_tick(&v, &tick);
    if (fault)
        return KMY_FAIL(ctx, KMY_CORRUPT, "stored tick of %zu bytes: %s", len, fault);
    *out = tick;
    if (feed_name) {
        memcpy(feed_name, name, name_bytes);
        feed_name[name_bytes] = 0;
    }
    return KMY_OK;
}
