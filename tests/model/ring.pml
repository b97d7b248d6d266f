/* Model of ringbuf/ring.c: one writer, one reader (readers write nothing that anybody reads, so one stands for all), a ring of
   four slots of two words, batches of one or two ticks, reads of one to three ticks.  Checked exhaustively:

     - no tick is ever delivered that is not whole and the one expected (TORN)
     - a reader that was lapped goes forward, by at least one tick (PROGRESS)
     - at the end, delivered + lost = published, and the cursor is at the head (LOSS)

   Spin interleaves whole statements in one order that everybody sees, which real machines do not.  What a C11 machine may do with
   relaxed accesses is modelled by order left open: each side keeps the set of accesses that are still to be done, and any of them
   may be next unless a fence or an acquire/release forbids it.  So the writer's marks among themselves, and its tick words among
   themselves, become visible in any order; the reader's loads of tick words take place in any order.  The rules are those
   of the comment in ring.c:

     F1  no mark of a batch before the head of the batch before          W3  no head before all words and marks of its batch
     F2  no tick word of a batch before all its marks                    R1  no tick word is loaded before the head
     F3  the slot word is loaded after all tick words                    F5  the head is loaded again after the slot word

   (An old value that a relaxed load may return is the value of an earlier load, which the open order covers.)  Each rule
   can be dropped by defining DROP_F1, DROP_F2, DROP_F3, DROP_F5 or DROP_W3, the check itself by DROP_CHECK, the bound n <= slots / 2
   by BIG_BATCH, and CHECK_NEWEST looks at the wrong slot: each of these must make the check fail. */

#define SLOTS 4
#define HALF 2
#define LAST 9 /* ticks 1..9: two rounds and a bit */
#define READ 3
#ifdef BIG_BATCH
#define BATCH 3
#else
#define BATCH 2
#endif

byte seq[SLOTS];        /* slot words */
byte word[2 * SLOTS];   /* tick words: hold the number of the tick they are part of */
byte head = 1;

#ifdef DROP_F2
#define MARKS_DONE true
#else
#define MARKS_DONE (marks == 0)
#endif
#ifdef DROP_W3
#define BATCH_DONE true
#else
#define BATCH_DONE (marks == 0 && words == 0)
#endif
#ifdef DROP_F1
#define HEAD_DONE (late == 0)
#else
#define HEAD_DONE (next == 0)
#endif

/* marks, words: bit sets of the stores of batch [first, first + n) still to be done.  next: the head it will leave, 0 when that is
   stored.  late: without F1, the head of the batch before may still be on its way while this one is marked; F2 stands behind
   it, so words wait. */
active proctype writer()
{
    byte first = 1, n = 0, marks = 0, words = 0, next = 0, late = 0;
    do
    :: atomic { first + n <= LAST && marks == 0 && words == 0 && HEAD_DONE ->
           late = next;
           first = first + n;
           if
           :: n = 1
           :: first + 1 <= LAST -> n = 2
#if BATCH == 3
           :: first + 2 <= LAST -> n = 3
#endif
           fi;
           marks = (1 << n) - 1;
           words = (1 << (2 * n)) - 1;
           next = first + n }
#define MARK(i) \
    :: atomic { (marks & (1 << i)) -> \
           seq[(first + i) % SLOTS] = first + i; marks = marks - (1 << i) }
#define FILL(i) \
    :: atomic { (words & (1 << i)) && late == 0 && MARKS_DONE -> \
           word[2 * ((first + i / 2) % SLOTS) + i % 2] = first + i / 2; words = words - (1 << i) }
    MARK(0)
    MARK(1)
    FILL(0)
    FILL(1)
    FILL(2)
    FILL(3)
#if BATCH == 3
    MARK(2)
    FILL(4)
    FILL(5)
#endif
    :: atomic { late != 0 -> head = late; late = 0 }
    :: atomic { next != 0 && late == 0 && BATCH_DONE -> head = next; next = 0 }
    :: first + n > LAST && marks == 0 && words == 0 && next == 0 && late == 0 -> break
    od
}

active proctype reader()
{
    byte cursor = 1, delivered = 0, lost = 0;
    byte h, n, loads, checked, again;
    byte got[2 * READ];
    bool check_todo;
    do
    :: cursor == LAST + 1 -> break
    :: else ->
        atomic { head > cursor -> h = head }; /* R1; an empty read changes nothing */
        if
        :: h - cursor > SLOTS -> lost = lost + (h - HALF - cursor); cursor = h - HALF
        :: else
        fi;
        atomic {
            if
            :: n = 1
            :: h - cursor >= 2 -> n = 2
            :: h - cursor >= 3 -> n = 3
            fi;
            loads = (1 << (2 * n)) - 1;
            check_todo = true; again = 0
        };
#ifdef DROP_F3
#define MAY_CHECK true
#else
#define MAY_CHECK (loads == 0)
#endif
#ifdef CHECK_NEWEST
#define LOOK_AT (cursor + n - 1)
#else
#define LOOK_AT cursor
#endif
#define LOAD(i) \
        :: atomic { (loads & (1 << i)) -> \
               got[i] = word[2 * ((cursor + i / 2) % SLOTS) + i % 2]; loads = loads - (1 << i) }
        do
        LOAD(0)
        LOAD(1)
        LOAD(2)
        LOAD(3)
        LOAD(4)
        LOAD(5)
        :: atomic { check_todo && MAY_CHECK -> checked = seq[LOOK_AT % SLOTS]; check_todo = false }
#ifdef DROP_F5
        :: atomic { again == 0 -> again = head }
#endif
        :: atomic { loads == 0 && !check_todo -> break }
        od;
#ifdef DROP_CHECK
        checked = LOOK_AT;
#endif
        if
        :: atomic { checked == LOOK_AT ->
               assert(got[0] == cursor && got[1] == cursor); /* TORN */
               assert(n < 2 || (got[2] == cursor + 1 && got[3] == cursor + 1));
               assert(n < 3 || (got[4] == cursor + 2 && got[5] == cursor + 2));
               delivered = delivered + n; cursor = cursor + n }
        :: atomic { checked != LOOK_AT ->
               if
               :: again == 0 -> again = head /* F5 */
               :: else
               fi;
               assert(again > cursor + HALF); /* PROGRESS */
               lost = lost + (again - HALF - cursor); cursor = again - HALF }
        fi;
        atomic { n = 0; h = 0; checked = 0; again = 0;
                 got[0] = 0; got[1] = 0; got[2] = 0; got[3] = 0; got[4] = 0; got[5] = 0 }
    od;
    assert(delivered + lost == LAST); /* LOSS */
}
