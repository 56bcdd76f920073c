/* How transfers keep their promise when channels fail, the fence and the resume of src/link, as a model that SPIN
 * searches whole. Two transfers of three slices share two channels. What comes over a one-sided channel is written into
 * memory by the receiver's device, late and whether or not its sender is still there, until the receiver has fenced the
 * channel; what comes over a stream its engine writes. Two times in all a channel breaks, at any moment, with or without
 * a word, or a stream opens at one end alone; and the receiver may stop any transfer at any moment, as for its deadline.
 * In every order of all that:
 *
 *   - nothing is written into the memory of a transfer that has ended, nor into a slice that was verified;
 *   - no slice is under way twice;
 *   - when nothing more can happen, every transfer has ended at both ends. With PATIENT, where nothing is stopped and
 *     breaks are noticed, it can only have ended with all its slices verified.
 *
 * Defined by whoever runs it: ONE_SIDED, how many of the channels are; PATIENT; a rule that is taken out (NO_...).
 *
 * Left out: the messages between the ends are one reliable stream in each direction, as the outbox of src/link makes
 * them, and tell of verified slices at a fence alone; transfers that the sender stops; markers that name the channels
 * which carried something, so that the others need not be waited for; slices that are refused, or sent in parts; places
 * that are now a stream and now one-sided; credits, windows, faults of the session, and the sender's own memory. One-sided
 * channels are up at the beginning, and no channel is opened more often than EPOCHS says. */

#define TRANSFERS 2
#define SLICES 3
#define CHANNELS 2
#define FAILURES 2
#ifndef EPOCHS
#define EPOCHS 3 /* a channel that was fenced so often does not come back */
#endif

#define bit(n) (1 << (n))
#define transfer_of(slice) ((slice) / 2)
#define slices_of(transfer) ((transfer) == 0 -> 3 : 4)
#define one_sided(c) ((c) < ONE_SIDED)
#define way(c, epoch) ((c) * EPOCHS + (epoch) - 1)

mtype = { data, record, marker };                                  /* over a channel; a record follows its data */
mtype = { opened, given_up, stopped, progress, fenced, finished }; /* between the ends */
mtype = { running, stopping, ended };                              /* a transfer */

/* The network. */
chan wire[CHANNELS * EPOCHS] = [8] of { mtype, byte };
chan to_receiver = [8] of { mtype, byte, byte };
chan to_sender = [16] of { mtype, byte, byte, byte, byte };
bool broken[CHANNELS * EPOCHS];
bool hung[CHANNELS * EPOCHS]; /* broken, and no end is told */
byte failures;
byte under_way;               /* slices whose data is */

/* The receiver. */
mtype here[TRANSFERS] = running;
byte up[CHANNELS];       /* its epoch; 0: none */
byte down[CHANNELS];     /* the newest that was fenced */
byte verified;
byte awaited[TRANSFERS]; /* channels of which a marker or a fence is */

/* The sender. */
mtype there[TRANSFERS] = running;
byte used[CHANNELS];     /* the epoch of the channel that it has; 0: none */
byte last[CHANNELS];
byte up_there[CHANNELS]; /* the newest that the receiver says it has */
byte stranded[CHANNELS]; /* the epoch that it lost, and that the receiver may still have; 0: none */
byte unsent = bit(SLICES) - 1;
byte carried[CHANNELS];  /* slices given to it, or to an older one, of which nothing is known */

/* The receiver's device, and its engine for what a stream brings. */

#ifdef NO_WAIT_FOR_DEVICE
#define comes_through(c, epoch) (one_sided(c) || up[c] == epoch)
#define is_dead(c, epoch) (!one_sided(c) && epoch <= down[c])
#else
#define comes_through(c, epoch) (up[c] == epoch)
#define is_dead(c, epoch) (epoch <= down[c])
#endif

inline write(slice, c, epoch) {
  under_way = under_way & ~bit(slice);
  if
  :: !one_sided(c) && (here[transfer_of(slice)] == ended || (verified & bit(slice)) != 0) ->
       printf("receiver: slice %d goes nowhere\n", slice)
  :: else ->
       printf("device: slice %d is written, channel %d, epoch %d\n", slice, c, epoch);
       assert(here[transfer_of(slice)] != ended);
       assert((verified & bit(slice)) == 0)
  fi
}

inline lose(c, epoch) {
  do
  :: wire[way(c, epoch)]?data(what) -> under_way = under_way & ~bit(what)
  :: wire[way(c, epoch)]?record(what)
  :: wire[way(c, epoch)]?marker(what)
  :: empty(wire[way(c, epoch)]) -> break
  od;
  what = 0
}

/* The receiver's engine. */

inline tell_sender(message, x, y, z, w) {
  assert(nfull(to_sender));
  to_sender!message(x, y, z, w)
}

/* Fewer states: what became of a channel that neither end has any more does not matter. */
inline forget(c, epoch) {
  if
  :: epoch != 0 && used[c] != epoch && epoch <= down[c] ->
       broken[way(c, epoch)] = false;
       hung[way(c, epoch)] = false
  :: else
  fi
}

inline try_end(t) {
  if
  :: here[t] == stopping && awaited[t] == 0 ->
       here[t] = ended;
       printf("receiver: transfer %d has ended\n", t)
  :: else
  fi
}

inline take_marker(c, t) {
  awaited[t] = awaited[t] & ~bit(c);
  try_end(t)
}

inline take_record(slice) {
  if
  :: here[transfer_of(slice)] != ended ->
       verified = verified | bit(slice);
       printf("receiver: slice %d is verified\n", slice);
       if
       :: here[transfer_of(slice)] == running && (verified & slices_of(transfer_of(slice))) == slices_of(transfer_of(slice)) ->
            here[transfer_of(slice)] = ended;
            printf("receiver: transfer %d is complete\n", transfer_of(slice));
            tell_sender(finished, transfer_of(slice), 0, 0, 0)
       :: else
       fi
  :: else
  fi
}

inline bring(c, epoch) {
  if
  :: wire[way(c, epoch)]?data(what) -> write(what, c, epoch)
  :: wire[way(c, epoch)]?record(what) -> if :: up[c] == epoch -> take_record(what) :: else fi
  :: wire[way(c, epoch)]?marker(what) -> if :: up[c] == epoch -> take_marker(c, what) :: else fi
  fi;
  what = 0
}

proctype device(byte c) {
  byte what;
end:
  do
  :: atomic { nempty(wire[way(c, 1)]) && comes_through(c, 1) -> bring(c, 1) }
  :: atomic { nempty(wire[way(c, 2)]) && comes_through(c, 2) -> bring(c, 2) }
#if EPOCHS > 2
  :: atomic { nempty(wire[way(c, 3)]) && comes_through(c, 3) -> bring(c, 3) }
#endif
  /* What was under way when it broke may come yet, or never. */
  :: atomic { broken[way(c, 1)] && nempty(wire[way(c, 1)]) -> lose(c, 1) }
  :: atomic { broken[way(c, 2)] && nempty(wire[way(c, 2)]) -> lose(c, 2) }
#if EPOCHS > 2
  :: atomic { broken[way(c, 3)] && nempty(wire[way(c, 3)]) -> lose(c, 3) }
#endif
  :: atomic { failures < FAILURES && used[c] != 0 && !broken[way(c, used[c])] ->
       failures++;
       broken[way(c, used[c])] = true;
       if
#ifndef PATIENT
       :: hung[way(c, used[c])] = true;
          printf("network: channel %d, epoch %d breaks, and nobody is told\n", c, used[c])
#endif
       :: printf("network: channel %d, epoch %d breaks\n", c, used[c])
       fi }
  od
}

/* By force: the device stops, and only then the sender hears of it, and of what is verified. */
inline fence(c, next) {
  printf("receiver: channel %d, epoch %d is fenced\n", c, up[c]);
#ifndef NO_WAIT_FOR_DEVICE
  lose(c, up[c]);
#endif
#ifdef NO_PROGRESS_BEFORE_FENCE
  tell_sender(fenced, c, up[c], next, 0);
  tell_sender(progress, 0, 0, 0, verified);
#else
  tell_sender(fenced, c, up[c], next, verified);
#endif
  down[c] = up[c];
  up[c] = next;
  forget(c, down[c]);
  take_marker(c, 0);
  take_marker(c, 1)
}

inline stop(t) {
  printf("receiver: transfer %d is stopped\n", t);
  here[t] = stopping;
#ifndef NO_FENCE
  awaited[t] = (one_sided(0) && up[0] != 0 -> 1 : 0) | (one_sided(1) && up[1] != 0 -> 2 : 0);
#endif
  tell_sender(stopped, t, 0, 0, 0);
  try_end(t)
}

proctype receiver() {
  byte what, c, epoch;
end:
  do
  :: atomic { to_receiver?opened(c, epoch) ->
       if
       :: up[c] != 0 -> fence(c, epoch)
       :: else ->
            up[c] = epoch;
            if
            :: one_sided(c) -> tell_sender(fenced, c, epoch - 1, epoch, 0)
            :: else
            fi
       fi;
       c = 0; epoch = 0 }
  :: atomic { to_receiver?given_up(c, epoch) ->
       if
       :: up[c] == epoch -> fence(c, 0)
       :: else
       fi;
       c = 0; epoch = 0 }
  :: atomic { up[0] != 0 && broken[way(0, up[0])] && !hung[way(0, up[0])] -> fence(0, 0) }
  :: atomic { up[1] != 0 && broken[way(1, up[1])] && !hung[way(1, up[1])] -> fence(1, 0) }
#ifndef PATIENT
  :: atomic { here[0] == running -> stop(0) }
  :: atomic { here[1] == running -> stop(1) }
#ifndef NO_FORCE
  /* A marker has not come in time. */
  :: atomic { (awaited[0] | awaited[1]) & 1 -> fence(0, 0) }
  :: atomic { (awaited[0] | awaited[1]) & 2 -> fence(1, 0) }
#endif
#endif
  od
}

/* The sender's engine. */

#ifdef NO_WAIT_FOR_FENCE
#define is_free(c) (used[c] != 0)
#else
#define is_free(c) (used[c] != 0 && stranded[c] == 0)
#endif
#ifdef NO_WAIT_FOR_UP
/* The connection is there, whether or not the receiver has said so among its messages. */
#define may_send(c) (is_free(c) && (!one_sided(c) || up[c] == used[c]))
#else
#define may_send(c) (is_free(c) && (!one_sided(c) || up_there[c] == used[c]))
#endif

inline send(slice, c) {
  printf("sender: slice %d over channel %d, epoch %d\n", slice, c, used[c]);
  assert((under_way & bit(slice)) == 0);
  unsent = unsent & ~bit(slice);
  carried[c] = carried[c] | bit(slice);
  if
  :: !is_dead(c, used[c]) ->
       under_way = under_way | bit(slice);
       wire[way(c, used[c])]!data(slice);
       wire[way(c, used[c])]!record(slice)
  :: else
  fi
}

/* One that is lost before its predecessor was fenced has carried nothing. */
inline lost(c) {
  epoch = used[c];
  if
  :: stranded[c] == 0 -> stranded[c] = epoch
  :: else
  fi;
  used[c] = 0;
  forget(c, epoch);
  epoch = 0
}

inline give_up(c) {
  printf("sender: gives up channel %d, epoch %d\n", c, used[c]);
  assert(nfull(to_receiver));
  to_receiver!given_up(c, used[c]);
  lost(c);
#ifdef NO_ONE_CARRIER
  unsent = unsent | carried[c];
  carried[c] = 0;
#endif
}

inline open(c) {
  last[c]++;
  used[c] = last[c];
  assert(nfull(to_receiver));
  to_receiver!opened(c, used[c]);
  if
  :: printf("sender: opens channel %d, epoch %d\n", c, used[c])
  :: !one_sided(c) && failures < FAILURES ->
       failures++;
       printf("network: channel %d, epoch %d opens at the receiver, and not at the sender\n", c, used[c]);
       broken[way(c, used[c])] = true;
       used[c] = 0
  fi
}

inline known() {
  unsent = unsent & ~bits;
  carried[0] = carried[0] & ~bits;
  carried[1] = carried[1] & ~bits
}

inline over(t) {
  there[t] = ended;
  unsent = unsent & ~slices_of(t);
  carried[0] = carried[0] & ~slices_of(t);
  carried[1] = carried[1] & ~slices_of(t)
}

inline mark(c, t) {
  if
  :: used[c] != 0 && one_sided(c) && !is_dead(c, used[c]) -> wire[way(c, used[c])]!marker(t)
  :: else
  fi
}

#ifdef NO_EPOCH
#define releases(c, epoch) (stranded[c] != 0)
#else
#define releases(c, epoch) (stranded[c] != 0 && epoch >= stranded[c])
#endif

proctype sender() {
  byte a, b, next, bits, epoch;
end:
  do
  :: atomic { to_sender?progress(_, _, _, bits) -> known(); bits = 0 }
  :: atomic { to_sender?fenced(a, b, next, bits) ->
       known();
       if
       :: used[a] != 0 && used[a] <= b -> lost(a)
       :: else
       fi;
       if
       :: releases(a, b) ->
            stranded[a] = 0;
            unsent = unsent | carried[a];
            carried[a] = 0
       :: else
       fi;
       if
       :: next > up_there[a] -> up_there[a] = next
       :: else
       fi;
       forget(a, b);
       a = 0; b = 0; next = 0; bits = 0 }
  :: atomic { to_sender?finished(a, _, _, _) -> over(a); a = 0 }
  :: atomic { to_sender?stopped(a, _, _, _) ->
       printf("sender: hears that transfer %d is stopped\n", a);
       mark(0, a);
       mark(1, a);
#ifndef NO_STOP
       over(a);
#endif
       a = 0 }
  :: atomic { (unsent & 1) && may_send(0) -> send(0, 0) }
  :: atomic { (unsent & 1) && may_send(1) -> send(0, 1) }
  :: atomic { (unsent & 2) && may_send(0) -> send(1, 0) }
  :: atomic { (unsent & 2) && may_send(1) -> send(1, 1) }
  :: atomic { (unsent & 4) && may_send(0) -> send(2, 0) }
  :: atomic { (unsent & 4) && may_send(1) -> send(2, 1) }
  :: atomic { used[0] != 0 && broken[way(0, used[0])] && !hung[way(0, used[0])] -> give_up(0) }
  :: atomic { used[1] != 0 && broken[way(1, used[1])] && !hung[way(1, used[1])] -> give_up(1) }
  :: atomic { used[0] == 0 && last[0] < EPOCHS && (there[0] == running || there[1] == running) -> open(0) }
  :: atomic { used[1] == 0 && last[1] < EPOCHS && (there[0] == running || there[1] == running) -> open(1) }
  od
}

/* When nothing more happens. */
proctype nothing_waits() {
  timeout ->
    printf("nothing more happens\n");
    assert(here[0] == ended && here[1] == ended && there[0] == ended && there[1] == ended)
}

init {
  atomic {
    byte c;
    for (c : 0 .. CHANNELS - 1) {
      if
      :: one_sided(c) -> up[c] = 1; used[c] = 1; last[c] = 1; up_there[c] = 1
      :: else
      fi;
      run device(c)
    }
    run receiver();
    run sender();
    run nothing_waits()
  }
}
