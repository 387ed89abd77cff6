/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The connection table: open addressing over cache-line slots, in buckets of eight.
 *
 * A tuple's hash names its home bucket and the slot to look at first. When the home bucket is full the connection goes to one
 * of the next PROBES - 1 buckets (at a stride from the same hash), and the home bucket counts it in `overflow`: so a look-up
 * leaves the home bucket only if something that belongs there is elsewhere.
 *
 * A slot becomes live under the creation lock of its tuple, so that no tuple is ever live twice. Nothing else takes a lock:
 * `control` changes by compare-and-swap, and a slot is reused only after every program that could have seen its former
 * connection has ended (it is dead for a round of the sweep, or rests when it was evicted).
 */
#pragma once

#include "maps.h"
#include "parse.h"
#include "state.h"
#include "verdict.h"

/* Set before loading, from the table's settings. Python knows this layout: six words of 64 bits, one of 32. */
const volatile struct {
	__u64 seed[6];
	__u32 bucket_mask;
} table SEC(".rodata.table") = {.seed = {1, 3, 5, 7, 9, 11}, .bucket_mask = DEFAULT_BUCKETS - 1};

#define FIELD(control, shift, bits) ((control) >> (shift) & ((1ULL << (bits)) - 1))
#define EXPIRING (1ULL << CONTROL_EXPIRING)
#define AWAY (1ULL << CONTROL_AWAY)
#define SETTLED (1ULL << CONTROL_SETTLED)
#define ASSURED (1ULL << CONTROL_ASSURED)
#define HERE (1ULL << CONTROL_HERE)
#define RESTING (1ULL << CONTROL_RESTING)
#define TEMPLATE ((__u64)TEMPLATE_PROTOCOL << CONTROL_PROTOCOL)
#define PHASE_MASK (3ULL << CONTROL_PHASE)
#define STATE_MASK (0xffULL << CONTROL_STATE)
#define IDENTITY_MASK (PHASE_MASK | 0xffULL << CONTROL_PROTOCOL | 0xffffULL << CONTROL_TAG)

static __always_inline __u32 phase_of(__u64 control)
{
	return FIELD(control, CONTROL_PHASE, 2);
}

static __always_inline __u32 side_of(__u64 control)
{
	return FIELD(control, CONTROL_SIDE, 1);
}

static __always_inline __u32 method_of(__u64 control)
{
	return FIELD(control, CONTROL_METHOD, 4);
}

static __always_inline __u32 state_of(__u64 control)
{
	return FIELD(control, CONTROL_STATE, 8);
}

static __always_inline __u64 with_state(__u64 control, __u32 state)
{
	return (control & ~STATE_MASK) | (__u64)state << CONTROL_STATE;
}

static __always_inline __u64 with_phase(__u64 control, enum slot_phase phase)
{
	return (control & ~PHASE_MASK) | phase;
}

static __always_inline bool swap_control(struct connection *connection, __u64 from, __u64 to)
{
	return __sync_val_compare_and_swap(&connection->control, from, to) == from;
}

/* Everything one needs to find a tuple. */
struct place {
	__u64 hash;
	__u32 bucket;
	__u32 start;
	__u64 identity; /* what `control & IDENTITY_MASK` of its live slot is */
};

/* The two ports of a slot, as a tuple has them. */
static __always_inline __u32 *ports_of(struct connection *connection)
{
	return (__u32 *)&connection->source_port;
}

static __always_inline __u32 join_ports(__be16 source, __be16 destination)
{
	return source | (__u32)destination << 16;
}

static __always_inline struct place place_of(const struct tuple *tuple)
{
	__u64 hash = tuple->source.half[0] * table.seed[0] + tuple->source.half[1] * table.seed[1] +
		     tuple->destination.half[0] * table.seed[2] + tuple->destination.half[1] * table.seed[3] +
		     ((__u64)tuple->ports << 8 | tuple->protocol) * table.seed[4];
	hash = (hash ^ hash >> 32) * table.seed[5];
	hash ^= hash >> 32;
	return (struct place){
		.hash = hash,
		.bucket = hash & table.bucket_mask,
		.start = hash >> 45,
		.identity = PHASE_LIVE | (__u64)tuple->protocol << CONTROL_PROTOCOL | hash >> 48 << CONTROL_TAG,
	};
}

static __always_inline __u32 bucket_at(const struct place *place, __u32 probe)
{
	return (place->bucket + probe * ((__u32)(place->hash >> 32) | 1)) & table.bucket_mask;
}

static __always_inline bool same_tuple(struct connection *connection, const struct tuple *tuple)
{
	return !((connection->source.half[0] ^ tuple->source.half[0]) |
		 (connection->source.half[1] ^ tuple->source.half[1]) |
		 (connection->destination.half[0] ^ tuple->destination.half[0]) |
		 (connection->destination.half[1] ^ tuple->destination.half[1]) |
		 (*ports_of(connection) ^ tuple->ports));
}

static __always_inline bool holds(struct connection *connection, __u64 control, const struct tuple *tuple,
				  const struct place *place)
{
	return (control & IDENTITY_MASK) == place->identity && same_tuple(connection, tuple);
}

static __always_inline struct connection *slot_of(struct bucket *bucket, const struct place *place, __u32 turn)
{
	return &bucket->slot[(place->start + turn) % SLOTS];
}

static __always_inline struct connection *find_from(struct bucket *bucket, const struct tuple *tuple,
						    const struct place *place, __u32 turn)
{
#pragma unroll
	for (; turn < SLOTS; turn++) {
		struct connection *connection = slot_of(bucket, place, turn);
		if (holds(connection, READ_ONCE(connection->control), tuple, place))
			return connection;
	}
	return NULL;
}

static __always_inline struct connection *find_in(struct bucket *bucket, const struct tuple *tuple,
						  const struct place *place)
{
	return find_from(bucket, tuple, place, 0);
}

/* The same, but the lines of the two likeliest slots are asked for before either is looked at. */
static __always_inline struct connection *find_likely(struct bucket *bucket, const struct tuple *tuple,
						      const struct place *place)
{
	struct connection *first = slot_of(bucket, place, 0), *second = slot_of(bucket, place, 1);
	__u64 first_control = READ_ONCE(first->control), second_control = READ_ONCE(second->control);
	if (likely(holds(first, first_control, tuple, place)))
		return first;
	if (likely(holds(second, second_control, tuple, place)))
		return second;
	return find_from(bucket, tuple, place, 2);
}

static __always_inline struct connection *slot_at(__u32 index)
{
	__u32 bucket_index = index / SLOTS;
	struct bucket *bucket = bpf_map_lookup_elem(&connections, &bucket_index);
	if (!bucket)
		return NULL;
	only_from_here_on(index); /* the verifier wants no arithmetic on a pointer that may be null */
	return &bucket->slot[index % SLOTS];
}

/*
 * The functions that are not static are verified once, by themselves, and not along every path that leads to them; so they
 * take no pointer that isn't checked, and return numbers.
 */

/* The index + 1 of a tuple's slot, 0 where it has none. */
__noinline int find_slot(const struct tuple *tuple)
{
	if (!tuple)
		return 0;
	struct place place = place_of(tuple);
	for (__u32 probe = 0; probe < PROBES; probe++) {
		__u32 index = bucket_at(&place, probe);
		struct bucket *bucket = bpf_map_lookup_elem(&connections, &index);
		if (!bucket)
			return 0;
		struct connection *connection = find_in(bucket, tuple, &place);
		if (connection)
			return index * SLOTS + (connection - bucket->slot) + 1;
		if (!probe && !READ_ONCE(bucket->slot[0].overflow))
			return 0;
	}
	return 0;
}

static __always_inline struct connection *find_again(const struct tuple *tuple)
{
	__u32 found = find_slot(tuple);
	return found ? slot_at(found - 1) : NULL;
}

/*
 * The fast path's way to a slot: what is pointed at by a call has to be in memory, and what was just stored there is slow to
 * read; so nothing is, but a copy when the tuple may be away from home.
 */
static __always_inline struct connection *find(const struct tuple *tuple, const struct place *place)
{
	__u32 index = place->bucket;
	struct bucket *home = bpf_map_lookup_elem(&connections, &index);
	if (!home)
		return NULL;
	struct connection *connection = find_likely(home, tuple, place);
	if (likely(connection || !READ_ONCE(home->slot[0].overflow)))
		return connection;
	__u32 zero = 0;
	struct opening *opening = bpf_map_lookup_elem(&openings, &zero);
	if (!opening)
		return NULL;
	opening->tuple = *tuple;
	return find_again(&opening->tuple);
}

static __always_inline struct connection *peer_of(const struct connection *connection)
{
	__u32 peer = READ_ONCE(connection->peer);
	return peer ? slot_at(peer - 1) : NULL;
}

/* What a new slot holds, beside its tuple. */
struct entry {
	__u8 side;
	__u8 method;
	__u8 state;
	bool here;
	__u32 deadline;
	__u32 server;
	__u32 link;
	__u32 peer;
};

static __always_inline void fill(struct connection *connection, const struct tuple *tuple, const struct entry *entry,
				 const struct place *place, __u64 generation, bool away)
{
	connection->source = tuple->source;
	connection->destination = tuple->destination;
	*ports_of(connection) = tuple->ports;
	connection->deadline = entry->deadline;
	connection->server = entry->server;
	connection->link = entry->link;
	connection->peer = entry->peer;
	__u64 control = place->identity | (__u64)entry->side << CONTROL_SIDE | (__u64)entry->method << CONTROL_METHOD |
			(__u64)entry->state << CONTROL_STATE | generation << CONTROL_GENERATION | (away ? AWAY : 0) |
			(entry->here ? HERE : 0);
	/* an exchange is a full barrier: whoever sees the slot live sees what is in it */
	(void)__sync_lock_test_and_set(&connection->control, control);
}

enum claim_result { CLAIMED, FOUND, FULL };

/* Take a free slot of one bucket, if there is one; the slot's number is left in *slot. Runs under the creation lock. */
static __always_inline enum claim_result claim_in(struct bucket *bucket, const struct tuple *tuple,
						  const struct entry *entry, const struct place *place, bool away,
						  __u32 *slot)
{
	for (__u32 i = 0; i < SLOTS; i++) {
		__u32 number = (place->start + i) % SLOTS;
		struct connection *connection = &bucket->slot[number];
		__u64 control = READ_ONCE(connection->control);
		if (phase_of(control) != PHASE_FREE)
			continue;
		__u64 generation = FIELD(control, CONTROL_GENERATION, 16) + 1 & 0xffff;
		if (!swap_control(connection, control, PHASE_BUSY | generation << CONTROL_GENERATION))
			continue;
		fill(connection, tuple, entry, place, generation, away);
		*slot = number;
		return CLAIMED;
	}
	return FULL;
}

static __always_inline struct creation_lock *creation_lock_of(const struct place *place)
{
	__u32 stripe = place->hash % LOCKS;
	return bpf_map_lookup_elem(&creation_locks, &stripe);
}

/*
 * The home bucket is full, or what belongs there is elsewhere. The lock is held for the whole walk, so nothing may be called
 * meanwhile: the buckets are looked up first.
 */
__noinline int insert_away(const struct tuple *tuple, const struct entry *entry, __u32 *index)
{
	struct bucket *buckets[PROBES];
	if (!tuple || !entry || !index)
		return FULL;
	struct place place = place_of(tuple);
#pragma unroll
	for (__u32 probe = 0; probe < PROBES; probe++) {
		__u32 number = bucket_at(&place, probe);
		buckets[probe] = bpf_map_lookup_elem(&connections, &number);
		if (!buckets[probe])
			return FULL;
	}
	struct creation_lock *lock = creation_lock_of(&place);
	if (!lock)
		return FULL;
	enum claim_result result = FULL;
	__u32 slot = 0, found = 0;
	bpf_spin_lock(&lock->lock);
#pragma unroll
	for (__u32 probe = 0; probe < PROBES; probe++)
		if (result == FULL && find_in(buckets[probe], tuple, &place))
			result = FOUND;
#pragma unroll
	for (__u32 probe = 0; probe < PROBES; probe++) {
		if (result != FULL)
			continue;
		result = claim_in(buckets[probe], tuple, entry, &place, probe, &slot);
		found = probe;
	}
	if (result == CLAIMED && found)
		__sync_fetch_and_add(&buckets[0]->slot[0].overflow, 1);
	bpf_spin_unlock(&lock->lock);
	*index = bucket_at(&place, found) * SLOTS + slot;
	return result;
}

__noinline int insert_home(const struct tuple *tuple, const struct entry *entry, __u32 *index)
{
	if (!tuple || !entry || !index)
		return FULL;
	struct place place = place_of(tuple);
	__u32 number = place.bucket;
	struct bucket *home = bpf_map_lookup_elem(&connections, &number);
	struct creation_lock *lock = creation_lock_of(&place);
	if (!home || !lock)
		return FULL;
	__u32 slot = 0;
	enum claim_result result = FULL;
	bpf_spin_lock(&lock->lock);
	if (find_in(home, tuple, &place))
		result = FOUND;
	else if (!READ_ONCE(home->slot[0].overflow))
		result = claim_in(home, tuple, entry, &place, false, &slot);
	bpf_spin_unlock(&lock->lock);
	*index = place.bucket * SLOTS + slot;
	return result;
}

/* Make a tuple live unless it is already. *index is the new slot's, for CLAIMED. */
static __always_inline int insert(const struct tuple *tuple, const struct entry *entry, __u32 *index)
{
	int result = insert_home(tuple, entry, index);
	return unlikely(result == FULL) ? insert_away(tuple, entry, index) : result;
}

/* Make a slot that has ended usable again, once nobody can still be reading it. */
static __always_inline void free_slot(struct connection *connection, __u64 control)
{
	if (!swap_control(connection, control, with_phase(control, PHASE_BUSY)))
		return;
	if (control & AWAY) {
		struct tuple tuple = {
			.source = connection->source,
			.destination = connection->destination,
			.ports = *ports_of(connection),
			.protocol = FIELD(control, CONTROL_PROTOCOL, 8),
		};
		struct place place = place_of(&tuple);
		struct bucket *home = bpf_map_lookup_elem(&connections, &place.bucket);
		if (home)
			__sync_fetch_and_add(&home->slot[0].overflow, -1);
	}
	__u64 generation = FIELD(control, CONTROL_GENERATION, 16);
	(void)__sync_lock_test_and_set(&connection->control, PHASE_FREE | generation << CONTROL_GENERATION);
}

static __always_inline bool is_active(__u32 state)
{
	return active_state[state % STATE_SLOTS];
}

/* Nobody has answered the client yet, or the answer has not been acknowledged. */
static __always_inline bool is_embryonic(__u32 state)
{
	return state == STATE_SYN_RECV || state == STATE_SYNACK || state == STATE_SCTP_INIT ||
	       state == STATE_SCTP_INIT1;
}

static __always_inline __u64 load_of(__u32 state)
{
	return is_active(state) ? LOAD_ACTIVE : LOAD_INACTIVE;
}

static __always_inline __u32 connections_of(__u64 load)
{
	return (__u32)(load >> 32) + (__u32)load;
}

/* A connection more; with it the server may have reached its upper threshold. */
static __always_inline void bind(struct server *server, __u64 load)
{
	__u64 now = __sync_fetch_and_add(&server->load, load) + load;
	if (unlikely(server->upper_threshold) && connections_of(now) >= server->upper_threshold)
		WRITE_ONCE(server->overloaded, 1);
}

/* A connection less; an overloaded server takes new ones again from below its lower threshold on. */
static __always_inline void unbind(struct server *server, __u64 load)
{
	__u64 left = connections_of(__sync_fetch_and_add(&server->load, -load) - load);
	if (likely(!server->overloaded))
		return;
	__u64 upper = server->upper_threshold, lower = server->lower_threshold;
	if (lower ? left < lower : left * 4 < upper * 3 || !upper)
		WRITE_ONCE(server->overloaded, 0);
}

/* What ends no longer counts as its server's. */
static __always_inline void leave_server(__u32 server_index, __u64 control)
{
	struct server *server = bpf_map_lookup_elem(&servers, &server_index);
	if (!server)
		return;
	if (control & TEMPLATE)
		__sync_fetch_and_add(&server->templates, -1);
	else
		unbind(server, load_of(state_of(control)));
}

/* The template of a connection, as index + 1, 0 where it has none. */
static __always_inline __u32 template_of(const struct connection *owner, const struct connection *peer, __u64 control)
{
	if (control & TEMPLATE)
		return 0;
	if (method_of(control) != METHOD_FULLNAT)
		return READ_ONCE(owner->link);
	return peer ? READ_ONCE(peer->link) : 0;
}

static __always_inline void leave_template(__u32 template)
{
	struct connection *held = template ? slot_at(template - 1) : NULL;
	if (held)
		__sync_fetch_and_add(&held->link, -1);
}

/* The other side's slot is dead with its owner; it carries no counters. */
static __always_inline void kill_peer(struct connection *peer, __u32 owner_index)
{
	for (int i = 0; i < 8; i++) {
		__u64 control = READ_ONCE(peer->control);
		if (phase_of(control) != PHASE_LIVE || side_of(control) != SIDE_SERVER || peer->peer != owner_index + 1)
			return;
		if (swap_control(peer, control, with_phase(control & ~EXPIRING, PHASE_DEAD)))
			return;
	}
}

/*
 * End a live connection, given its owner's slot and the control word seen there. False if it has changed since. What else is in
 * the slot is read before the swap: that it succeeds proves that all of it belonged together.
 */
__noinline int end_connection(struct connection *owner, __u32 owner_index, __u64 control)
{
	if (!owner)
		return false;
	__u32 server = READ_ONCE(owner->server);
	struct connection *peer = peer_of(owner);
	__u32 template = template_of(owner, peer, control);
	if (phase_of(control) != PHASE_LIVE ||
	    !swap_control(owner, control, with_phase(control & ~EXPIRING, PHASE_DEAD)))
		return false;
	leave_server(server, control);
	if (peer)
		kill_peer(peer, owner_index);
	leave_template(template);
	return true;
}

/* Tell the server side's slot of its owner's state, until what it was told is what holds. */
static __always_inline void publish_state(struct connection *owner, struct connection *peer, __u32 deadline)
{
	for (int i = 0; i < 8; i++) {
		__u32 state = state_of(READ_ONCE(owner->control));
		__u64 control = READ_ONCE(peer->control);
		if (phase_of(control) != PHASE_LIVE)
			return;
		if (state_of(control) == state)
			break;
		swap_control(peer, control, with_state(control, state));
	}
	WRITE_ONCE(peer->deadline, deadline);
}

static __always_inline struct settings *all_settings(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline __u32 knob(enum knob which)
{
	struct settings *setting = all_settings();
	return setting ? READ_ONCE(setting->knob[which]) : 0;
}

static __always_inline __u32 deadline_after(__u32 state)
{
	struct settings *setting = all_settings();
	return setting ? READ_ONCE(setting->now) + READ_ONCE(setting->timeout[state % STATE_SLOTS]) : 0;
}

/* A direction as the tables of states know it, while secure_tcp is up and while it isn't. */
static __always_inline __u32 defended(__u32 direction)
{
	struct settings *setting = all_settings();
	return setting && READ_ONCE(setting->defences) & DEFENCE_SECURE_TCP ? direction | SECURE : direction;
}

static __always_inline __u32 now_in_ticks(void)
{
	struct settings *setting = all_settings();
	return setting ? READ_ONCE(setting->now) : 0;
}

static __always_inline bool due(__u32 deadline, __u32 when)
{
	return (__s32)(deadline - when) <= 0;
}

/* One of a template's connections is established: from now on it is more than a client's promise. */
static __always_inline void assure_template(__u32 template)
{
	struct connection *held = template ? slot_at(template - 1) : NULL;
	if (!held)
		return;
	__u64 control = READ_ONCE(held->control);
	if (control & TEMPLATE && !(control & ASSURED) && phase_of(control) == PHASE_LIVE)
		swap_control(held, control, control | ASSURED);
}

static __always_inline void move_load(__u32 server_index, __u32 before, __u32 after)
{
	struct server *server = bpf_map_lookup_elem(&servers, &server_index);
	if (server)
		__sync_fetch_and_add(&server->load, load_of(after) - load_of(before));
}

/* A connection is worth its template from when it is established, or over UDP from its first answer on. */
static __always_inline bool assures(__u32 before, __u32 after, __u32 direction)
{
	if (after == STATE_UDP)
		return (direction & ~SECURE) == OUTPUT;
	return (after == STATE_ESTABLISHED || after == STATE_SCTP_ESTABLISHED) && before != after;
}

/* Of UDP: its template is not yet assured. That it is then is noted in the answers' slot, so that no later one looks again. */
static __always_inline bool is_first_answer(__u64 control, __u32 direction)
{
	return (direction & ~SECURE) == OUTPUT && state_of(control) == STATE_UDP && !(control & ASSURED);
}

static __always_inline void note_first_answer(struct connection *answer, __u32 direction)
{
	__u64 control = READ_ONCE(answer->control);
	if (is_first_answer(control, direction))
		swap_control(answer, control, control | ASSURED);
}

/* The slow part of a hit: the state changes, an answer over UDP is the first, or the sweep was about to end the connection. False if it ended first. */
__noinline int change_state(struct connection *owner, __u32 direction, __u32 tcp_flags)
{
	if (!owner)
		return false;
	direction %= DIRECTION_SLOTS; /* so that the verifier knows, whatever is handed in */
	for (int i = 0; i < 8; i++) {
		__u64 control = READ_ONCE(owner->control);
		if (phase_of(control) != PHASE_LIVE)
			return false;
		__u32 before = state_of(control);
		__u32 after = state_after(before, direction, FIELD(control, CONTROL_PROTOCOL, 8), tcp_flags);
		__u32 server = READ_ONCE(owner->server);
		struct connection *peer = peer_of(owner);
		if (!swap_control(owner, control, with_state(control & ~EXPIRING, after)))
			continue;
		if (is_active(before) != is_active(after))
			move_load(server, before, after);
		if (assures(before, after, direction))
			assure_template(template_of(owner, peer, control));
		__u32 deadline = deadline_after(after);
		WRITE_ONCE(owner->deadline, deadline);
		if (peer) {
			publish_state(owner, peer, deadline);
			note_first_answer(peer, direction);
		}
		return true;
	}
	return true; /* others change it as fast as we do: their change is as good */
}

/*
 * Does a packet do more than put off the end? Then the connection's state changes, or the sweep may have marked it. A mark is on the
 * owner's slot alone, so an answer that comes when there may be one looks there.
 */
static __always_inline bool is_news(const struct connection *connection, __u64 control, __u32 direction,
				    __u16 tcp_flags)
{
	__u32 state = state_of(control);
	if (state_after(state, direction, FIELD(control, CONTROL_PROTOCOL, 8), tcp_flags) != state ||
	    is_first_answer(control, direction))
		return true;
	return (direction & ~SECURE) == OUTPUT ? due(READ_ONCE(connection->deadline), now_in_ticks() + 2 * SWEEP_TICKS)
					       : control & EXPIRING;
}

static __always_inline void put_off(struct connection *connection, __u32 state)
{
	__u32 before = READ_ONCE(connection->deadline);
	__u32 deadline = deadline_after(state);
	if (before != deadline)
		WRITE_ONCE(connection->deadline, deadline);
	if (unlikely(!due(before, deadline))) { /* timeouts were made shorter: it holds for the silent side, too */
		struct connection *peer = peer_of(connection);
		if (peer)
			WRITE_ONCE(peer->deadline, deadline);
	}
}

/* A packet of the connection was seen. False if the connection ended before it. */
static __always_inline bool refresh(struct connection *connection, __u64 control, __u32 direction, __u16 tcp_flags)
{
	if (unlikely(is_news(connection, control, direction, tcp_flags))) {
		if ((direction & ~SECURE) != OUTPUT)
			return change_state(connection, direction, tcp_flags);
		struct connection *owner = peer_of(connection);
		return owner && peer_of(owner) == connection && change_state(owner, direction, tcp_flags);
	}
	put_off(connection, state_of(control));
	return true;
}
